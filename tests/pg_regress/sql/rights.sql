\set VERBOSITY sqlstate
CREATE SCHEMA shop AUTHORIZATION envelope_owner;
GRANT USAGE ON SCHEMA shop TO envelope_other;
SET ROLE envelope_owner;
CREATE TABLE shop.cards (id int PRIMARY KEY, pan bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON shop.cards
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('pan');
GRANT ALL ON shop.cards TO envelope_other;
-- The owner needs no right beside the table's.
INSERT INTO shop.cards VALUES (1, '4929');
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;
SELECT relation, version, state FROM envelope.keys WHERE NOT orphaned;
SELECT version, relation, state FROM shop.cards, envelope.inspect(pan);

-- Another role, with every right on the table and none on its keys.
SET ROLE envelope_other;
SELECT envelope_decrypt('shop.cards', pan) FROM shop.cards;
SELECT envelope_encrypt('shop.cards', 'x');
INSERT INTO shop.cards VALUES (2, '5555');
UPDATE shop.cards SET pan = 'x' WHERE id = 1;
SELECT envelope.create_key('shop.cards');
SELECT count(*) FROM envelope.keys WHERE NOT orphaned;
SELECT version, relation, state FROM shop.cards, envelope.inspect(pan);
-- What needs no key goes on.
UPDATE shop.cards SET id = 10 WHERE id = 1;
SELECT id, envelope.is_sealed(pan) FROM shop.cards;
-- The catalog is closed.
TABLE envelope.wrapped_key;
TABLE envelope.keyring;
INSERT INTO envelope.key_grant VALUES (gen_random_uuid(), gen_random_uuid(), 'envelope_other', 'decrypt');
SELECT * FROM envelope.check_kek('file:///etc/passwd');
CREATE TABLE envelope.mine ();
-- So are the settings.
SET envelope.default_kek = 'file:///tmp/x';
SET envelope.cache_ttl = 3600;

-- The right counts for the current role: a SECURITY DEFINER function lends its owner's.
SET ROLE envelope_owner;
CREATE FUNCTION shop.last_digits(int) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog
  RETURN (SELECT right(public.envelope_decrypt_text('shop.cards', pan), 2) FROM shop.cards WHERE id = $1);
SET ROLE envelope_other;
SELECT shop.last_digits(10);
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;

-- It goes with the table's owner, and with membership, at once and within a transaction.
RESET ROLE;
BEGIN;
ALTER TABLE shop.cards OWNER TO envelope_other;
SET LOCAL ROLE envelope_other;
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;
ROLLBACK;
SET ROLE envelope_other;
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;
RESET ROLE;
GRANT envelope_owner TO envelope_other;
SET ROLE envelope_other;
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;
RESET ROLE;
REVOKE envelope_owner FROM envelope_other;
SET ROLE envelope_other;
SELECT envelope_decrypt_text('shop.cards', pan) FROM shop.cards;

-- The owner of a partition does not get at the root's values.
RESET ROLE;
CREATE TABLE shop.log (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE shop.log_1 PARTITION OF shop.log FOR VALUES IN (1);
INSERT INTO shop.log VALUES (1, envelope_encrypt('shop.log', 'secret'));
ALTER TABLE shop.log_1 OWNER TO envelope_other;
SET ROLE envelope_other;
SELECT envelope_decrypt('shop.log_1', v) FROM shop.log_1;
SELECT envelope_encrypt('shop.log_1', 'x');
-- … also when the partition has values under a key of its own, which its owner opens.
RESET ROLE;
GRANT CREATE ON SCHEMA shop TO envelope_other;
SET ROLE envelope_other;
CREATE TABLE shop.log_2 (id int, v bytea);
INSERT INTO shop.log_2 VALUES (2, envelope_encrypt('shop.log_2', 'own'));
RESET ROLE;
ALTER TABLE shop.log ATTACH PARTITION shop.log_2 FOR VALUES IN (2);
INSERT INTO shop.log VALUES (2, envelope_encrypt('shop.log', 'secret'));
SET ROLE envelope_other;
SELECT envelope_decrypt_text('shop.log_2', v) FROM shop.log_2 LIMIT 1;
SELECT envelope_decrypt_text('shop.log_2', v) FROM shop.log_2 OFFSET 1;
RESET ROLE;
DROP SCHEMA shop CASCADE;
