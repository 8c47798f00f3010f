-- A key is in the cache only as long as it will be in the catalog.
\set VERBOSITY sqlstate
CREATE TABLE tx_t (v bytea);
CREATE VIEW keys_of_t AS SELECT count(*) FROM envelope.keys WHERE relation = 'public.tx_t';

-- Rolled back: gone from both, and the next use makes another.
BEGIN;
SELECT length(envelope_encrypt('tx_t', '')) AS sealed;
TABLE keys_of_t;
ROLLBACK;
SELECT keys_cached FROM envelope.stats;
TABLE keys_of_t;

-- A savepoint rolled back, in it a savepoint released.
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SELECT length(envelope_encrypt('tx_t', '')) AS sealed;
RELEASE b;
SELECT keys_cached FROM envelope.stats;
ROLLBACK TO a;
SELECT keys_cached FROM envelope.stats;
INSERT INTO tx_t VALUES (envelope_encrypt('tx_t', 'after the savepoint'));
COMMIT;
SELECT envelope.flush_cache() AS flushed;
SELECT envelope_decrypt_text('tx_t', v) FROM tx_t;
TABLE keys_of_t;

-- An exception block of PL/pgSQL is a savepoint.
CREATE TABLE tx_u (v bytea);
DO $$
BEGIN
  BEGIN
    INSERT INTO tx_u VALUES (envelope_encrypt('tx_u', 'lost'));
    RAISE division_by_zero;
  EXCEPTION WHEN division_by_zero THEN NULL;
  END;
  INSERT INTO tx_u VALUES (envelope_encrypt('tx_u', 'kept'));
END $$;
SELECT envelope.flush_cache() AS flushed;
SELECT envelope_decrypt_text('tx_u', v) FROM tx_u;

-- A procedure that commits.
CREATE TABLE tx_w (v bytea);
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO tx_w VALUES (envelope_encrypt('tx_w', 'rolled back'));
  ROLLBACK;
  INSERT INTO tx_w VALUES (envelope_encrypt('tx_w', 'one'));
  COMMIT;
  INSERT INTO tx_w VALUES (envelope_encrypt('tx_w', 'two'));
END $$;
CALL fill();
SELECT envelope.flush_cache() AS flushed;
SELECT envelope_decrypt_text('tx_w', v) FROM tx_w;

-- A table that is made and gets its key in one transaction; one that is rolled back with it.
BEGIN;
CREATE TABLE tx_x (v bytea);
INSERT INTO tx_x VALUES (envelope_encrypt('tx_x', 'x'));
COMMIT;
SELECT envelope_decrypt_text('tx_x', v) FROM tx_x;
BEGIN;
CREATE TABLE tx_y (v bytea);
INSERT INTO tx_y VALUES (envelope_encrypt('tx_y', 'y'));
ROLLBACK;
SELECT count(*) FROM envelope.keyring WHERE table_name = 'public.tx_y';

-- No key is made where nothing can be written, and the error says so; with a key, sealing goes on.
CREATE TABLE tx_z (v bytea);
BEGIN READ ONLY;
SELECT envelope_encrypt('tx_z', '');
ROLLBACK;
BEGIN READ ONLY;
SELECT length(envelope_encrypt('tx_x', '')) AS sealed;
ROLLBACK;
SET envelope.auto_create_key = off;
SELECT envelope_encrypt('tx_z', '');
SELECT envelope.create_key('tx_z') IS NOT NULL AS made;
SELECT envelope.create_key('tx_z');
SELECT length(envelope_encrypt('tx_z', '')) AS sealed;
RESET envelope.auto_create_key;

-- A cursor that outlives its transaction.
BEGIN;
DECLARE c CURSOR WITH HOLD FOR SELECT envelope_decrypt_text('tx_w', v) FROM tx_w;
COMMIT;
FETCH ALL c;
CLOSE c;

DROP VIEW keys_of_t;
DROP PROCEDURE fill;
DROP TABLE tx_t, tx_u, tx_w, tx_x, tx_z;
