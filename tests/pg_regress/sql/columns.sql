\set VERBOSITY sqlstate
CREATE TABLE people (id int PRIMARY KEY, "SSN ä" bytea, other bytea, n int);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('SSN ä');
INSERT INTO people SELECT g, convert_to(g::text, 'UTF8') FROM generate_series(1, 9) g;
UPDATE envelope.data_key SET state = 'decrypt-only'
WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'public.people');
SELECT envelope.create_key('people') IS NOT NULL AS made;
-- Short, compressed, out of line.
INSERT INTO people VALUES (10, ''), (11, NULL), (12, decode(repeat('00', 3000), 'hex')),
  (13, (SELECT string_agg(sha512(g::text::bytea), '') FROM generate_series(1, 200) g));
SELECT id, k.version FROM people JOIN envelope.keys k ON k.key_id = envelope.key_id_of("SSN ä")
WHERE id >= 9 ORDER BY id;
SELECT envelope.key_id_of(NULL), envelope.key_id_of(''), envelope.key_id_of('plain text, longer than a header');
-- Cut after its header it names its key, not before.
SELECT envelope.key_id_of(substr("SSN ä", 1, 18)) = envelope.key_id_of("SSN ä") AS named,
       envelope.key_id_of(substr("SSN ä", 1, 17)) FROM people WHERE id = 9;

-- Census: by version, and what is sealed under none.
SELECT version, state, rows, bytes FROM envelope.census('people', 'SSN ä');
ALTER TABLE people DISABLE TRIGGER seal;
INSERT INTO people VALUES (20, 'plain'), (21, set_byte(envelope_encrypt('people', ''), 5, 1));
ALTER TABLE people ENABLE TRIGGER seal;
SELECT version, state, rows FROM envelope.census('people', 'SSN ä');
SELECT sum(rows) = (SELECT count(*) FROM people) AS all_rows FROM envelope.census('people', 'SSN ä');
SELECT sum(rows) FROM envelope.census('people', 'SSN ä', 100);
DELETE FROM people WHERE id IN (20, 21);
-- It counts, or it fails: a policy must hide nothing.
ALTER TABLE people ENABLE ROW LEVEL SECURITY;
ALTER TABLE people FORCE ROW LEVEL SECURITY;
GRANT SELECT ON people TO envelope_other;
SET ROLE envelope_other;
SELECT * FROM envelope.census('people', 'SSN ä');
RESET ROLE;
ALTER TABLE people DISABLE ROW LEVEL SECURITY;
SET ROLE envelope_other;
-- Who may read the table may count; versions and states are the owner's to see.
SELECT version, state, rows FROM envelope.census('people', 'SSN ä') ORDER BY rows;
RESET ROLE;
REVOKE ALL ON people FROM envelope_other;
SET ROLE envelope_other;
SELECT * FROM envelope.census('people', 'SSN ä');
RESET ROLE;
SELECT * FROM envelope.census('people', 'missing');
SELECT * FROM envelope.census('people', 'SSN ä', 0);
SELECT * FROM envelope.census('people', 'SSN ä', 101);
SELECT * FROM envelope.census(NULL, 'SSN ä');
SELECT * FROM envelope.census('people', NULL);

-- Partitions count with their root; children by inheritance have keys of their own.
CREATE TABLE parts (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO parts SELECT g, 'x' FROM generate_series(8, 12) g;
SELECT version, rows FROM envelope.census('parts', 'v');
SELECT version, rows FROM envelope.census('parts_1', 'v');
CREATE TABLE heir () INHERITS (people);
INSERT INTO heir VALUES (1, envelope_encrypt('heir', 'x'));
SELECT sum(rows) FROM envelope.census('people', 'SSN ä');

-- The register.
SELECT envelope.register_column('people', 'other'), envelope.register_column('people', 'other');
SELECT envelope.register_column('people', 'n');
SELECT envelope.register_column('people', 'ctid');
SELECT envelope.register_column('people', 'missing');
SELECT envelope.register_column('people', NULL);
SELECT envelope.register_column(NULL, 'other');
SELECT envelope.register_column('pg_class', 'relname');
CREATE DOMAIN sealed AS bytea CHECK (envelope.is_sealed(VALUE));
ALTER TABLE people ADD of_domain sealed;
SELECT envelope.register_column('people', 'of_domain');
SET ROLE envelope_other;
SELECT envelope.register_column('people', 'SSN ä');
SELECT envelope.unregister_column('people', 'other');
SELECT * FROM envelope.sealed_columns;
RESET ROLE;
SELECT * FROM envelope.sealed_columns WHERE relation ~ '^public\.(people|parts)' ORDER BY relation, column_name;
-- A column that is gone can be taken off.
ALTER TABLE people DROP of_domain;
SELECT envelope.unregister_column('people', 'of_domain'), envelope.unregister_column('people', 'of_domain');
SELECT envelope.unregister_column('people', 'other'), envelope.unregister_column('people', 'other');
SELECT column_name, triggers FROM envelope.sealed_columns WHERE relation = 'public.people';
DROP TABLE people, parts CASCADE;
DROP DOMAIN sealed;
