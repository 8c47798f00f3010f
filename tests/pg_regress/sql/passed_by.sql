\set VERBOSITY sqlstate
-- What re-encryption leaves alone it says, by kind.
CREATE TABLE own (id int, v bytea);
INSERT INTO own SELECT g, envelope_encrypt('own', 'x') FROM generate_series(1, 3) g;
CREATE TABLE own_log AS TABLE own;
SELECT envelope.create_key('own_log') IS NOT NULL AS made;
\set VERBOSITY default
CALL envelope.reencrypt('own_log', 'v');
\set VERBOSITY sqlstate
SELECT rows_done, rows_of_others, finished_at IS NOT NULL AS finished FROM envelope.progress WHERE relation = 'public.own_log';
CALL envelope.reencrypt('own_log', 'v', strict => true);
CALL envelope.reencrypt('own_log', 'v', strict => NULL);
CALL envelope.reencrypt('own_log', 'v', verify => NULL);
CALL envelope.reencrypt('own_log', 'v', row_lock_timeout => NULL);
SELECT envelope.reencrypt_note('reencrypt', 'own_log', 'v', 100, 0, 1, 9223372036854775807, 0, 0);
-- Each way that the HINT shows.
BEGIN;
INSERT INTO own_log VALUES (9, envelope_encrypt('own_log', 'its own'));
SELECT envelope.rotate_key('own') IS NOT NULL AS rotated;
UPDATE public.own_log SET "v" = envelope.reseal('public.own', "v") WHERE (envelope.inspect("v")).relation = 'public.own';
SELECT relation, version, count(*) FROM own_log, envelope.inspect(v) GROUP BY 1, 2 ORDER BY 1;
ROLLBACK;
UPDATE public.own_log SET "v" = 'in clear' WHERE id = 1;
CALL envelope.seal_column('public.own_log', 'v');
SELECT envelope_decrypt_text('own_log', v) FROM own_log WHERE id = 1;
UPDATE own_log l SET v = o.v FROM own o WHERE o.id = 1 AND l.id = 1;
SELECT envelope.share_keyring('own', 'own_log');
CALL envelope.reencrypt('own_log', 'v', strict => true);
SELECT rows_done, rows_of_others FROM envelope.progress WHERE relation = 'public.own_log' AND work = 'reencrypt';
SELECT state, rows FROM envelope.census('own_log', 'v');
SELECT envelope.unshare_keyring('own', 'own_log');

-- Every kind at once, over partitions, one of them foreign.
CREATE TABLE mixed (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE mixed_1 PARTITION OF mixed FOR VALUES FROM (0) TO (10);
CREATE TABLE mixed_2 PARTITION OF mixed FOR VALUES FROM (10) TO (20);
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE mixed_3 PARTITION OF mixed FOR VALUES FROM (20) TO (30) SERVER nowhere;
SELECT envelope.create_key('mixed') IS NOT NULL AS made;
INSERT INTO mixed VALUES (1, envelope_encrypt('mixed', 'destroyed'));
SELECT envelope.rotate_key('mixed') IS NOT NULL AS rotated;
SELECT envelope.destroy_key(key_id, 'a test', shred => true) FROM envelope.keys WHERE relation = 'public.mixed' AND version = 1;
INSERT INTO mixed VALUES (2, envelope_encrypt('mixed', 'moved'));
SELECT envelope.rotate_key('mixed') IS NOT NULL AS rotated;
INSERT INTO mixed VALUES (3, 'clear'), (11, 'clear'), (12, NULL), (13, envelope_encrypt('own', 'of another')),
  (14, '\xf7e1' || decode('00112233445586778899aabbccddeeff', 'hex') || decode(repeat('00', 50), 'hex')),
  (15, envelope_encrypt('mixed', 'active'));
\set VERBOSITY default
CALL envelope.reencrypt('mixed', 'v');
\set VERBOSITY sqlstate
SELECT relation, rows_done, rows_plaintext, rows_of_others, rows_unknown, rows_destroyed
FROM envelope.progress WHERE relation ~ 'mixed' ORDER BY 1;
CALL envelope.reencrypt('mixed', 'v', strict => true);
-- What is mended is told no more.
DELETE FROM mixed_1 WHERE id <> 2;
DELETE FROM mixed_2 WHERE id IN (11, 13, 14);
DROP FOREIGN TABLE mixed_3;
CALL envelope.reencrypt('mixed', 'v', strict => true);

-- A name that is SQL stays a name.
CREATE TABLE named (id int, "c""=NULL; -- %s" bytea);
SELECT envelope.create_key('named') IS NOT NULL AS made;
INSERT INTO named VALUES (1, 'clear');
\set VERBOSITY default
CALL envelope.reencrypt('named', 'c"=NULL; -- %s');
\set VERBOSITY sqlstate
DROP TABLE named;
-- A partition that came without being read, and one that another session has begun anew.
CREATE TABLE late (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE late_1 PARTITION OF late FOR VALUES IN (1);
SELECT envelope.create_key('late') IS NOT NULL AS made;
CALL envelope.reencrypt('late', 'v', strict => true);
CREATE TABLE late_2 PARTITION OF late FOR VALUES IN (2);
INSERT INTO late VALUES (2, 'clear');
SELECT envelope.reencrypt_ended('reencrypt', 'late', 'v', true);
CALL envelope.reencrypt('late', 'v');
SELECT to_block FROM envelope.reencrypt_window('reencrypt', 'late_2', 'v', 10, true, 'late', false);
SELECT envelope.reencrypt_ended('reencrypt', 'late', 'v', true);
DROP TABLE late;

-- A table that was emptied meanwhile has nothing left, and the rest of the tree is reached.
CREATE TABLE days (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM (0) TO (1000);
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM (1000) TO (2000);
INSERT INTO days SELECT g, envelope_encrypt('days', 'x') FROM generate_series(0, 1999) g;
SELECT envelope.rotate_key('days') IS NOT NULL AS rotated;
SELECT from_block, to_block > 0 AS forward FROM envelope.reencrypt_window('reencrypt', 'days_1', 'v', 10, true, 'days', false);
SELECT envelope.reencrypt_note('reencrypt', 'days_1', 'v', 10, 0, 1, 60, 60, 0);
TRUNCATE days_1;
CALL envelope.reencrypt('days', 'v', strict => true);
SELECT version, rows FROM envelope.census('days', 'v');
-- Also when it had ended, and another row has come from elsewhere since.
SELECT envelope.rotate_key('days') IS NOT NULL AS rotated;
TRUNCATE days;
CALL envelope.reencrypt('days', 'v');
SELECT envelope.sweep_left(f.parts, 'envelope.key_id_of(v) = ANY ($1)', NULL, f.old_keys, f.active_key) FROM envelope.sweep_family('days') f;
SELECT count(*) FROM envelope.reencrypt_window('reencrypt', 'days_1', 'v', 10, false, 'days', false);
-- Or became shorter, and then longer again.
INSERT INTO days_1 SELECT g % 1000, envelope_encrypt('days', 'x') FROM generate_series(0, 1999) g;
SELECT envelope.rotate_key('days') IS NOT NULL AS rotated;
SELECT from_block FROM envelope.reencrypt_window('reencrypt', 'days_1', 'v', 1000, true, 'days', false);
SELECT envelope.reencrypt_note('reencrypt', 'days_1', 'v', 1000, 0, 20, 0, 0, 0);
TRUNCATE days_1;
INSERT INTO days_1 SELECT g % 1000, envelope_encrypt('days', 'x') FROM generate_series(0, 999) g;
SELECT envelope.rotate_key('days') IS NOT NULL AS rotated;
CALL envelope.reencrypt('days', 'v');
SELECT version, rows FROM envelope.census('days', 'v');

-- Every error over many rows says in which it was.
CREATE FUNCTION place_of(statement text, OUT state text, OUT place text) LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE statement;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, place = PG_EXCEPTION_DETAIL;
  place := regexp_replace(place, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID');
END $$;
CREATE TABLE hurt (id int PRIMARY KEY, v bytea, n int);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON hurt FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO hurt SELECT g, 'x' FROM generate_series(1, 50) g;
ALTER TABLE hurt DISABLE TRIGGER seal;
UPDATE hurt SET v = set_byte(v, 45, get_byte(v, 45) # 1) WHERE id = 33;
ALTER TABLE hurt ENABLE TRIGGER seal;
SELECT ctid FROM hurt WHERE id = 33;
CREATE FUNCTION rows_of(relation regclass, old uuid[], active uuid) RETURNS SETOF record LANGUAGE sql
  AS $$ SELECT r FROM envelope.sweep_expressions(relation, 'v', NULL, 'error') e, envelope.sweep_statements(relation, e.value,
    'envelope.key_id_at(%1$s, v, ''v'', ctid) = ANY ($1)', 'v = envelope.resealed(' || e.cell || ', ctid)', NULL, e.is_sound) s,
    envelope.reencrypt_rows(s.change, s.change_free, s.number, false, 1, 0, 10, old, active, false) r $$;
SELECT * FROM place_of($$SELECT rows_of('hurt', '{}', (SELECT key_id FROM envelope.keys WHERE relation = 'public.hurt'))$$);
SELECT envelope.rotate_key('hurt') IS NOT NULL AS rotated;
SELECT * FROM place_of($$SELECT rows_of('hurt', ARRAY(SELECT key_id FROM envelope.keys WHERE relation = 'public.hurt' AND version = 1),
  (SELECT key_id FROM envelope.keys WHERE relation = 'public.hurt' AND version = 2))$$);
SELECT * FROM place_of($$SELECT envelope.destroy_key(key_id, 'a test') FROM envelope.keys
  WHERE relation = 'public.hurt' AND version = 1$$);
-- The trigger: the row that an UPDATE replaces; a new one has no place yet.
SELECT ctid FROM hurt WHERE id = 7;
SELECT * FROM place_of($$UPDATE hurt SET v = (SELECT v FROM hurt WHERE id = 33) WHERE id = 7$$);
SELECT * FROM place_of($$INSERT INTO hurt SELECT 100, v FROM hurt WHERE id = 33$$);
SELECT * FROM place_of($$UPDATE hurt SET v = envelope_encrypt('own', 'x') WHERE id = 7$$);
-- A value whose bytes PostgreSQL cannot give back.
CREATE EXTENSION pg_surgery;
CREATE TABLE holed (id int PRIMARY KEY, v bytea);
ALTER TABLE holed ALTER v SET STORAGE EXTERNAL;
INSERT INTO holed SELECT g, envelope_encrypt('holed', decode(repeat('00', 5000), 'hex')) FROM generate_series(1, 9) g;
SELECT reltoastrelid::regclass AS toast FROM pg_class WHERE oid = 'holed'::regclass \gset
SELECT ctid FROM holed WHERE id = 5;
SELECT array_agg(ctid) AS chunks FROM :toast
WHERE chunk_id = (SELECT DISTINCT chunk_id FROM :toast ORDER BY 1 OFFSET 4 LIMIT 1) \gset
SELECT heap_force_kill(:'toast', :'chunks'::tid[]);
SELECT * FROM place_of($$SELECT * FROM envelope.census('holed', 'v')$$);
SELECT envelope.rotate_key('holed') IS NOT NULL AS rotated;
SELECT * FROM place_of($$SELECT rows_of('holed', '{}', (SELECT key_id FROM envelope.keys WHERE relation = 'public.holed' AND version = 1))$$);
CREATE FUNCTION old_key() RETURNS uuid LANGUAGE sql
  RETURN (SELECT key_id FROM envelope.keys WHERE relation = 'public.holed' AND version = 1);
DELETE FROM holed WHERE id < 5;
SELECT * FROM place_of($$SELECT envelope.destroy_key(old_key(), 'a test')$$);
DELETE FROM holed WHERE id = 5;
CALL envelope.reencrypt('holed', 'v');
SELECT * FROM place_of($$SELECT envelope.destroy_key(old_key(), 'a test')$$);
DROP EXTENSION pg_surgery;
DROP TABLE own, own_log, mixed, days, hurt, holed;
DROP FOREIGN DATA WRAPPER nowhere CASCADE;
DROP FUNCTION place_of, old_key, rows_of;
