-- Relations that can have no data key, or that are gone, by every function that takes one.
\set VERBOSITY terse
CREATE TABLE holders (id int PRIMARY KEY, ssn bytea);
CREATE TABLE "it's" (id int, v bytea);
CREATE TABLE of_numbers AS SELECT 1 AS id;
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON holders FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
INSERT INTO holders VALUES (1, 'x');
CREATE VIEW direct AS SELECT id, ssn FROM holders;
CREATE VIEW through AS SELECT d.ssn, n.id FROM direct d JOIN of_numbers n USING (id);
CREATE VIEW two AS SELECT h.ssn, i.v FROM holders h, "it's" i;
CREATE VIEW none AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM through;
CREATE VIEW over_kept AS SELECT * FROM kept;
CREATE INDEX holders_ssn ON holders (ssn);
CREATE SEQUENCE counter;
CREATE TYPE pair AS (a bytea, b bytea);
CREATE TEMP TABLE passing AS SELECT * FROM holders;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE FOREIGN TABLE far (ssn bytea) SERVER nowhere;
CREATE TABLE to_go (id int, ssn bytea);
CREATE TABLE kinds AS SELECT name, name::regclass::oid AS oid, n FROM unnest(ARRAY[
  'direct', 'through', 'two', 'none', 'kept', 'over_kept', 'holders_ssn', 'counter', 'pair', 'passing', 'far', 'to_go'])
  WITH ORDINALITY AS k (name, n);
-- Known in this session, without a key, before it goes.
SELECT envelope.warm('to_go');
DROP TABLE to_go;

-- SQLSTATE, and the tables that the HINT names.
CREATE FUNCTION pg_temp.tried(statement text) RETURNS text LANGUAGE plpgsql AS $$
  DECLARE hint text;
  BEGIN
    EXECUTE statement;
    RETURN 'ok';
  EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' ', SQLSTATE, (SELECT string_agg(m[1], ', ') FROM regexp_matches(hint, '(public\.("[^"]+"|\w+))', 'g') m));
  END $$;
CREATE TABLE calls (statement text);
INSERT INTO calls VALUES
  ('SELECT envelope_encrypt(%s::regclass, ''x'')'),
  ('SELECT envelope_decrypt(%s::regclass, ssn) FROM holders'),
  ('SELECT envelope_encrypt_text(%s::regclass, ''x'')'),
  ('SELECT envelope_decrypt_text(%s::regclass, ssn) FROM holders'),
  ('SELECT envelope.reseal(%s::regclass, ssn) FROM holders'),
  ('SELECT envelope.create_key(%s::regclass)'),
  ('SELECT envelope.rotate_key(%s::regclass)'),
  ('SELECT envelope.warm(%s::regclass)'),
  ('SELECT envelope.set_limits(%s::regclass, ''{}'')'),
  ('SELECT envelope.set_minimum_version(%s::regclass, 1)'),
  ('SELECT envelope.grant_key(%s::regclass, ''envelope_other'', ''decrypt'')'),
  ('SELECT envelope.revoke_key(%s::regclass, ''envelope_other'', ''decrypt'')'),
  ('SELECT envelope.add_kek(%s::regclass, ''file:///tmp/x'')'),
  ('SELECT envelope.drop_kek(%s::regclass, ''file:///tmp/x'')'),
  ('SELECT * FROM envelope.rewrap(''file:///tmp/x'', ''file:///tmp/x'', %s::regclass)'),
  ('SELECT envelope.share_keyring(%s::regclass, ''holders'')'),
  ('SELECT envelope.share_keyring(''holders'', %s::regclass)'),
  ('SELECT envelope.unshare_keyring(%s::regclass, ''holders'')'),
  ('SELECT envelope.unshare_keyring(''holders'', %s::regclass)'),
  ('SELECT envelope.unshare_keyring(''holders'', %s::regclass, force => true)'),
  ('SELECT envelope.adopt_keyring(gen_random_uuid(), %s::regclass)'),
  ('SELECT envelope.export_keyring(%s::regclass)'),
  ('SELECT envelope.import_keyring(envelope.export_keyring(''holders''), %s::regclass)'),
  ('SELECT envelope.shred(%s::regclass, ''a test'')'),
  ('SELECT envelope.register_column(%s::regclass, ''ssn'')'),
  ('SELECT envelope.unregister_column(%s::regclass, ''ssn'')');
SELECT k.name, pg_temp.tried(format(c.statement, k.oid)) AS outcome, count(*) AS calls
FROM kinds k, calls c GROUP BY k.name, k.n, 2 ORDER BY k.n, 2;
-- What a census counts need not be sealed for the relation: materialized views and temporary tables store rows.
SELECT k.name, pg_temp.tried(format('SELECT * FROM envelope.census(%s::regclass, ''ssn'')', k.oid)) AS census
FROM kinds k WHERE name NOT IN ('none', 'counter', 'pair') ORDER BY n;
-- A right on the keys of a view is nobody's.
SELECT k.name, pg_temp.tried(format('SELECT envelope.has_key_privilege(%s::regclass, ''decrypt'')', k.oid)) AS privilege
FROM kinds k ORDER BY n;
SELECT envelope.has_key_privilege(oid::regclass, 'decrypt') FROM kinds WHERE name = 'to_go';

-- Procedures.
CALL envelope.reencrypt('through', 'ssn');
CALL envelope.reencrypt('kept', 'ssn');
CALL envelope.reencrypt('far', 'ssn');
CALL envelope.reencrypt(4294967295::oid::regclass, 'ssn');

-- The trigger, where PostgreSQL lets it stand.
CREATE TRIGGER seal INSTEAD OF INSERT ON direct FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
INSERT INTO direct VALUES (2, 'y');
CREATE TRIGGER seal BEFORE INSERT ON passing FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
\set VERBOSITY sqlstate
INSERT INTO passing VALUES (2, 'y');

-- A re-encryption looks at the heirs that can have keys.
CREATE TEMP TABLE passing_heir () INHERITS (holders);
SELECT parts::regclass[] FROM envelope.sweep_family('holders');

-- The keys of a partitioned table serve its foreign partitions.
CREATE TABLE spread (id int, ssn bytea) PARTITION BY RANGE (id);
CREATE FOREIGN TABLE spread_far PARTITION OF spread FOR VALUES FROM (0) TO (10) SERVER nowhere;
SELECT envelope_decrypt_text('spread_far', envelope_encrypt_text('spread_far', 'far')) AS opened;
-- A view whose values are opened by the name of their table.
SELECT envelope_decrypt_text('holders', ssn) FROM through UNION ALL SELECT 'none';
-- The name is spelt as SQL reads it.
SET envelope.auto_create_key = off;
SELECT pg_temp.tried($$SELECT envelope_encrypt('it''s', 'x')$$);
DO $$
DECLARE hint text;
BEGIN
  PERFORM envelope_encrypt('it''s', 'x');
EXCEPTION WHEN undefined_object THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  EXECUTE substring(hint FROM 'SELECT envelope.create_key\(''.*''\)');
END $$;
RESET envelope.auto_create_key;
SELECT relation, version FROM envelope.keys WHERE relation ~ 'it''s';

DROP SERVER nowhere CASCADE;
DROP FOREIGN DATA WRAPPER nothing;
DROP TABLE passing, passing_heir, spread, kinds, calls;
DROP TABLE holders, "it's", of_numbers CASCADE;
DROP VIEW none;
DROP SEQUENCE counter;
DROP TYPE pair;
