\set VERBOSITY sqlstate
CREATE TABLE merged (id int PRIMARY KEY, v bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON merged FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO merged VALUES (1, 'one');

-- PostgreSQL 14 has no MERGE.
MERGE INTO merged m USING (VALUES (1, 'merged'), (2, 'new')) AS n (id, v) ON m.id = n.id
  WHEN MATCHED THEN UPDATE SET v = convert_to(n.v, 'UTF8')
  WHEN NOT MATCHED THEN INSERT (id, v) VALUES (n.id, convert_to(n.v, 'UTF8'));
SELECT id, envelope.is_sealed(v) AS sealed, envelope_decrypt_text('merged', v) AS v FROM merged ORDER BY id;

DROP TABLE merged;
