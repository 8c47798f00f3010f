\set VERBOSITY sqlstate
CREATE TABLE residents (id int PRIMARY KEY, "SSN ä" bytea, other bytea, n int);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON residents
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('SSN ä');
INSERT INTO residents SELECT g, convert_to(g::text, 'UTF8') FROM generate_series(1, 9) g;
UPDATE envelope.data_key SET state = 'decrypt-only'
WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'public.residents');
SELECT envelope.create_key('residents') IS NOT NULL AS made;
-- Short, compressed, out of line.
INSERT INTO residents VALUES (10, ''), (11, NULL), (12, decode(repeat('00', 3000), 'hex')),
  (13, (SELECT string_agg(sha512(g::text::bytea), '') FROM generate_series(1, 200) g));
SELECT id, k.version FROM residents JOIN envelope.keys k ON k.key_id = envelope.key_id_of("SSN ä")
WHERE id >= 9 ORDER BY id;
SELECT envelope.key_id_of(NULL), envelope.key_id_of(''), envelope.key_id_of('plain text, longer than a header');
-- Cut after its header it names its key, not before.
SELECT envelope.key_id_of(substr("SSN ä", 1, 18)) = envelope.key_id_of("SSN ä") AS named,
       envelope.key_id_of(substr("SSN ä", 1, 17)) FROM residents WHERE id = 9;

-- Census: by version, and what is sealed under none.
SELECT version, state, rows, bytes FROM envelope.census('residents', 'SSN ä');
ALTER TABLE residents DISABLE TRIGGER seal;
INSERT INTO residents VALUES (20, 'plain');
INSERT INTO residents SELECT 21, set_byte(sealed, 5, get_byte(sealed, 5) # 1) FROM envelope_encrypt('residents', '') AS sealed;
ALTER TABLE residents ENABLE TRIGGER seal;
SELECT version, state, rows FROM envelope.census('residents', 'SSN ä');
SELECT sum(rows) = (SELECT count(*) FROM residents) AS all_rows FROM envelope.census('residents', 'SSN ä');
SELECT sum(rows) FROM envelope.census('residents', 'SSN ä', 100);
DELETE FROM residents WHERE id IN (20, 21);
-- It counts, or it fails: a policy must hide nothing.
ALTER TABLE residents ENABLE ROW LEVEL SECURITY;
ALTER TABLE residents FORCE ROW LEVEL SECURITY;
GRANT SELECT ON residents TO envelope_other;
SET ROLE envelope_other;
SELECT * FROM envelope.census('residents', 'SSN ä');
RESET ROLE;
ALTER TABLE residents DISABLE ROW LEVEL SECURITY;
SET ROLE envelope_other;
-- Who may read the table may count; versions and states are the owner's to see.
SELECT version, state, rows FROM envelope.census('residents', 'SSN ä') ORDER BY rows;
RESET ROLE;
REVOKE ALL ON residents FROM envelope_other;
SET ROLE envelope_other;
SELECT * FROM envelope.census('residents', 'SSN ä');
RESET ROLE;
SELECT * FROM envelope.census('residents', 'missing');
SELECT * FROM envelope.census('residents', 'SSN ä', 0);
SELECT * FROM envelope.census('residents', 'SSN ä', 101);
SELECT * FROM envelope.census(NULL, 'SSN ä');
SELECT * FROM envelope.census('residents', NULL);

-- Partitions count with their root; children by inheritance have keys of their own.
CREATE TABLE regions (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE regions_1 PARTITION OF regions FOR VALUES FROM (0) TO (10);
CREATE TABLE regions_2 PARTITION OF regions FOR VALUES FROM (10) TO (20);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON regions FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO regions SELECT g, 'x' FROM generate_series(8, 12) g;
SELECT version, rows FROM envelope.census('regions', 'v');
SELECT version, rows FROM envelope.census('regions_1', 'v');
CREATE TABLE descendant () INHERITS (residents);
INSERT INTO descendant VALUES (1, envelope_encrypt('descendant', 'x'));
SELECT sum(rows) FROM envelope.census('residents', 'SSN ä');

-- The register.
SELECT envelope.register_column('residents', 'other'), envelope.register_column('residents', 'other');
SELECT envelope.register_column('residents', 'n');
SELECT envelope.register_column('residents', 'ctid');
SELECT envelope.register_column('residents', 'missing');
SELECT envelope.register_column('residents', NULL);
SELECT envelope.register_column(NULL, 'other');
SELECT envelope.register_column('pg_class', 'relname');
CREATE DOMAIN sealed AS bytea CHECK (envelope.is_sealed(VALUE));
ALTER TABLE residents ADD of_domain sealed;
SELECT envelope.register_column('residents', 'of_domain');
SET ROLE envelope_other;
SELECT envelope.register_column('residents', 'SSN ä');
SELECT envelope.unregister_column('residents', 'other');
SELECT * FROM envelope.sealed_columns;
RESET ROLE;
SELECT * FROM envelope.sealed_columns WHERE relation ~ '^public\.(residents|regions)' ORDER BY relation, column_name;
-- A column that is gone can be taken off.
ALTER TABLE residents DROP of_domain;
SELECT envelope.unregister_column('residents', 'of_domain'), envelope.unregister_column('residents', 'of_domain');
SELECT envelope.unregister_column('residents', 'other'), envelope.unregister_column('residents', 'other');
SELECT column_name, triggers FROM envelope.sealed_columns WHERE relation = 'public.residents';
DROP TABLE residents, regions CASCADE;
DROP DOMAIN sealed;
