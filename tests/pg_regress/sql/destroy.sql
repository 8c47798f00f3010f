\set VERBOSITY sqlstate
CREATE FUNCTION key_of(version int, relation text DEFAULT 'public.clients') RETURNS uuid LANGUAGE sql
  RETURN (SELECT k.key_id FROM envelope.keys k WHERE k.relation = $2 AND k.version = $1);
CREATE PROCEDURE next_version(relation text) LANGUAGE sql AS $$
  UPDATE envelope.data_key SET state = 'decrypt-only' WHERE state = 'active'
    AND key_id IN (SELECT key_id FROM envelope.keys k WHERE k.relation = 'public.' || $1);
  SELECT envelope.create_key($1::regclass) $$;
CREATE TABLE clients (id int PRIMARY KEY, ssn bytea, spare bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON clients FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
INSERT INTO clients VALUES (1, 'one');
-- The active key stays.
SELECT envelope.retire_key(key_of(1));
SELECT envelope.destroy_key(key_of(1), 'why');
SELECT envelope.destroy_key(key_of(1), 'why', shred => true);
CALL next_version('clients');
INSERT INTO clients VALUES (2, 'two');

-- Retired: does not open, and comes back.
SELECT envelope.retire_key(key_of(1), 'suspected');
SELECT version, state, reason, state_changed_at > created_at AS later FROM envelope.keys
WHERE relation = 'public.clients' ORDER BY version;
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 1;
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 2;
INSERT INTO clients SELECT 3, ssn FROM clients WHERE id = 1;
UPDATE clients SET id = 4 WHERE id = 1;
SELECT envelope.retire_key(key_of(1));
SELECT envelope.unretire_key(key_of(2));
SELECT envelope.unretire_key(key_of(1), 'false alarm');
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 4;
SELECT envelope.unretire_key(key_of(1));
-- Rolled back it opens.
BEGIN;
SELECT envelope.retire_key(key_of(1));
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 4;
ROLLBACK;
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 4;

-- In use: refused, wherever the value stands.
SELECT envelope.destroy_key(key_of(1), 'done with');
SELECT envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 4;
UPDATE clients SET spare = ssn, ssn = 'four' WHERE id = 4;
SELECT envelope.destroy_key(key_of(1), 'done with');
CREATE TABLE copy AS SELECT spare AS hidden FROM clients WHERE id = 4;
UPDATE clients SET spare = NULL;
SELECT envelope.destroy_key(key_of(1), 'done with');
CREATE DOMAIN sealed AS bytea;
CREATE DOMAIN still_sealed AS sealed;
ALTER TABLE copy ALTER hidden TYPE still_sealed;
SELECT envelope.destroy_key(key_of(1), 'done with');
CREATE MATERIALIZED VIEW seen AS SELECT hidden::bytea FROM copy;
ALTER TABLE copy RENAME TO hidden_copy;
CREATE TABLE keep AS TABLE hidden_copy;
TRUNCATE hidden_copy;
TRUNCATE keep;
SELECT envelope.destroy_key(key_of(1), 'done with');
-- A damaged value counts, too.
REFRESH MATERIALIZED VIEW seen;
ALTER TABLE clients DISABLE TRIGGER seal;
UPDATE clients SET spare = '\xf7e1' || uuid_send(key_of(1)) WHERE id = 2;
ALTER TABLE clients ENABLE TRIGGER seal;
SELECT envelope.destroy_key(key_of(1), 'done with');
UPDATE clients SET spare = NULL;

-- Arguments, rights, states.
SELECT envelope.destroy_key(NULL, 'why');
SELECT envelope.destroy_key(key_of(1), NULL);
SELECT envelope.destroy_key(key_of(1), ' ');
SELECT envelope.destroy_key(key_of(1), repeat('x', 5000));
SELECT envelope.destroy_key(key_of(1), 'why', NULL);
SELECT envelope.destroy_key('00000000-0000-8000-8000-000000000000', 'why');
SELECT envelope.retire_key('00000000-0000-8000-8000-000000000000');
SELECT key_of(1) AS first \gset
SET ROLE envelope_other;
SELECT envelope.retire_key(:'first');
SELECT envelope.unretire_key(:'first');
SELECT envelope.destroy_key(:'first', 'why');
SELECT envelope.destroy_key(:'first', 'why', shred => true);
SELECT envelope.shred('clients', 'why');
RESET ROLE;
-- An earlier snapshot would miss what others have done since.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT envelope.destroy_key(key_of(1), 'why');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT envelope.shred('clients', 'why');
ROLLBACK;
BEGIN READ ONLY;
SELECT envelope.destroy_key(key_of(1), 'why');
ROLLBACK;

-- Rolled back it is there as before.
BEGIN;
SELECT envelope.destroy_key(key_of(1), 'done with');
SELECT state FROM envelope.keys WHERE key_id = :'first';
SELECT count(*) FROM envelope.wrapped_key WHERE key_id = :'first';
ROLLBACK;
SELECT state FROM envelope.keys WHERE key_id = :'first';
SELECT count(*) FROM envelope.wrapped_key WHERE key_id = :'first';

-- Destroyed.
SELECT envelope.retire_key(key_of(1));
SELECT envelope.destroy_key(key_of(1), 'done with');
SELECT version, state, reason, keks FROM envelope.keys WHERE key_id = :'first';
SELECT envelope.destroy_key(key_of(1), 'again');
SELECT envelope.unretire_key(key_of(1));
SELECT envelope.retire_key(key_of(1));
-- check() finds nothing wrong with that, and a wrap that came back.
SELECT ok, sqlstate FROM envelope.check() WHERE relation = 'public.clients';
BEGIN;
INSERT INTO envelope.wrapped_key SELECT :'first', kek, kms_context, wrapped FROM envelope.wrapped_key LIMIT 1;
SELECT ok, sqlstate, key_id = :'first' AS that FROM envelope.check() WHERE relation = 'public.clients' ORDER BY ok;
ROLLBACK;

-- Shredding on purpose: the key, the values stay and say so.
CALL next_version('clients');
SELECT envelope.destroy_key(key_of(2), 'customer left', shred => true);
CREATE FUNCTION error_of(value bytea, OUT state text, OUT message text, OUT detail text, OUT hint text)
LANGUAGE plpgsql AS $$ BEGIN
  PERFORM envelope_decrypt('clients', value);
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
    detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
SELECT state, regexp_replace(message, '[0-9a-f-]{36}', 'ID') AS message,
       detail ~ '^At \d{4}-.*: customer left$' AS detail
FROM clients, LATERAL error_of(ssn) WHERE id = 2;
-- The row can still be kept, changed elsewhere, overwritten.
UPDATE clients SET id = 22 WHERE id = 2;
INSERT INTO clients SELECT 5, ssn FROM clients WHERE id = 22;
UPDATE clients SET ssn = 'anew' WHERE id = 22;
SELECT id, envelope_decrypt_text('clients', ssn) FROM clients WHERE id = 22;

-- The whole table.
CREATE TABLE wards (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE wards_1 PARTITION OF wards FOR VALUES FROM (0) TO (10);
CREATE TABLE wards_2 (id int, v bytea);
INSERT INTO wards_2 VALUES (11, envelope_encrypt('wards_2', 'its own'));
ALTER TABLE wards ATTACH PARTITION wards_2 FOR VALUES FROM (10) TO (20);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON wards FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO wards VALUES (1, 'x'), (12, 'y');
CALL next_version('wards');
SELECT envelope.shred('wards_1', 'why');
SELECT envelope.shred('wards', NULL);
SELECT envelope.shred('hidden_copy', 'why');
-- Another table that opens with its keys would lose its values.
BEGIN;
INSERT INTO envelope.keyring_table SELECT gen_random_uuid(), keyring_id, 'public.clients'::regclass, false
FROM envelope.keyring_table WHERE relation::oid = 'wards'::regclass;
SELECT envelope.shred('wards', 'why');
ROLLBACK;
SELECT envelope.shred('wards', 'end of contract') AS destroyed;
SELECT DISTINCT state, reason, keks FROM envelope.keys WHERE relation IN ('public.wards', 'public.wards_2');
SELECT envelope_decrypt('wards', v) FROM wards WHERE id = 1;
SELECT envelope_decrypt('wards_2', v) FROM wards_2 WHERE id = 11;
SELECT envelope_decrypt('wards_2', v) FROM wards_2 WHERE id = 12;
INSERT INTO wards VALUES (2, 'z');
SELECT envelope.shred('wards', 'again');
SELECT count(*) FROM envelope.check() WHERE relation ~ 'wards';
-- Its owner can begin anew.
SELECT envelope.create_key('wards') IS NOT NULL AS made;
INSERT INTO wards VALUES (2, 'z');
SELECT envelope_decrypt_text('wards', v) FROM wards WHERE id = 2;
-- Keys of a dropped table are a superuser's.
ALTER TABLE clients OWNER TO envelope_owner;
CALL next_version('clients');
DROP TABLE clients;
SELECT key_id AS orphan FROM envelope.keys WHERE relation = 'public.clients' AND version = 3 \gset
SET ROLE envelope_owner;
SELECT envelope.destroy_key(:'orphan', 'why');
RESET ROLE;
SELECT envelope.destroy_key(:'orphan', 'table is gone');
-- Its active one too, on purpose: no table can be given another.
SELECT key_id AS orphan FROM envelope.keys WHERE relation = 'public.clients' AND state = 'active' \gset
SET ROLE envelope_owner;
SELECT envelope.destroy_key(:'orphan', 'why', shred => true);
RESET ROLE;
SELECT envelope.destroy_key(:'orphan', 'why');
SELECT envelope.destroy_key(:'orphan', 'table is gone', shred => true);
SELECT state, keks FROM envelope.keys WHERE key_id = :'orphan';
-- Whoever adopts it later begins anew.
CREATE TABLE clients (id int PRIMARY KEY, ssn bytea);
SELECT envelope.adopt_keyring(keyring_id, 'clients') FROM envelope.keys WHERE key_id = :'orphan';
SELECT envelope.create_key('clients') IS NOT NULL AS made;
SELECT ok, message FROM envelope.check() WHERE relation = 'public.clients' AND NOT ok;
DROP TABLE clients;
DROP MATERIALIZED VIEW seen;
DROP TABLE hidden_copy, keep, wards;
DROP DOMAIN still_sealed, sealed;
DROP FUNCTION key_of, error_of;
DROP PROCEDURE next_version;
