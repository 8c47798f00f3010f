\set VERBOSITY sqlstate
-- The seals of a re-encryption do not end a key's turn, or it would chase its own tail.
CREATE TABLE chased (id int PRIMARY KEY, v bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON chased FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO chased SELECT g, 'x' FROM generate_series(1, 500) g;
SELECT envelope.rotate_key('chased') IS NOT NULL AS rotated;
SELECT envelope.set_limits('chased', '{"rotate_after_seals": 50}');
SET statement_timeout = '60s';
CALL envelope.reencrypt('chased', 'v', 100);
RESET statement_timeout;
SELECT version, rows FROM envelope.census('chased', 'v');
-- New values do.
INSERT INTO chased SELECT g, 'x' FROM generate_series(501, 560) g;
SELECT version, state FROM envelope.keys WHERE relation = 'public.chased' ORDER BY 1;

-- A row that comes to stand on pages already read is found before it ends.
CREATE TABLE shuffled (id int PRIMARY KEY, v bytea);
INSERT INTO shuffled SELECT g, envelope_encrypt('shuffled', 'old') FROM generate_series(1, 1000) g;
SELECT envelope.rotate_key('shuffled') IS NOT NULL AS rotated;
UPDATE shuffled SET v = envelope_encrypt('shuffled', 'new') WHERE id < 1000;
VACUUM FULL shuffled;
SELECT from_block = 0 AS from_start, to_block > 0 AS forward FROM envelope.reencrypt_window('reencrypt', 'shuffled', 'v', 10, true, NULL, false);
SELECT envelope.reencrypt_note('reencrypt', 'shuffled', 'v', 10, 0, 1, 0, 0, 0);
UPDATE shuffled SET id = 0 WHERE envelope_decrypt_text('shuffled', v) = 'old';
CLUSTER shuffled USING shuffled_pkey;
SELECT ctid FROM shuffled WHERE id = 0;
CALL envelope.reencrypt('shuffled', 'v', 10);
SELECT version, rows FROM envelope.census('shuffled', 'v');
SELECT envelope_decrypt_text('shuffled', v), count(*) FROM shuffled GROUP BY 1 ORDER BY 1;

-- A trigger that puts the old value back is told, and does not make the table grow for ever.
CREATE TABLE kept (id int PRIMARY KEY, v bytea);
INSERT INTO kept SELECT g, envelope_encrypt('kept', 'x') FROM generate_series(1, 500) g;
SELECT envelope.rotate_key('kept') IS NOT NULL AS rotated;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.v := OLD.v; RETURN NEW; END $$;
CREATE TRIGGER keep BEFORE UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
SET statement_timeout = '60s';
CALL envelope.reencrypt('kept', 'v', 100, row_lock_timeout => '0');
RESET statement_timeout;
SELECT version, rows FROM envelope.census('kept', 'v');
SELECT pg_relation_size('kept') < 100 * 8192 AS small;
DROP TRIGGER keep ON kept;
CALL envelope.reencrypt('kept', 'v', 100);
SELECT version, rows FROM envelope.census('kept', 'v');
DROP TABLE chased, shuffled, kept;
DROP FUNCTION keep();
