-- What was shared can be taken back by whoever manages the keys, from whoever has it.
\set VERBOSITY sqlstate
CREATE SCHEMA lent;
GRANT ALL ON SCHEMA lent TO PUBLIC;
CREATE VIEW lent_links AS
  SELECT r.table_name, t.relation, t.seals FROM envelope.keyring r JOIN envelope.keyring_table t USING (keyring_id)
  WHERE r.table_name LIKE 'lent.%' ORDER BY 1, 2;
SET ROLE envelope_owner;
CREATE TABLE lent.cards (id int, v bytea);
INSERT INTO lent.cards VALUES (1, envelope_encrypt_text('lent.cards', 'one'));
SELECT envelope.grant_key('lent.cards', 'envelope_other', 'manage');
GRANT SELECT ON lent.cards TO envelope_other;

-- Who was let manage has lent it to a table of their own, and keeps it when the right is gone.
SET ROLE envelope_other;
CREATE TABLE lent.mine (id int, v bytea);
SELECT envelope.share_keyring('lent.cards', 'lent.mine');
INSERT INTO lent.mine TABLE lent.cards;
SET ROLE envelope_owner;
SELECT envelope.revoke_key('lent.cards', 'envelope_other', 'manage');
-- Nobody has to guess who that is.
SELECT relation, grantee, verb, origin FROM envelope.key_privileges WHERE origin <> 'owner' AND relation ~ '^lent';
SET ROLE envelope_other;
SELECT relation, grantee, verb, origin FROM envelope.key_privileges WHERE origin <> 'owner' AND relation ~ '^lent';
SELECT envelope_decrypt_text('lent.mine', v) FROM lent.cards;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine');

-- Values that would open no more are not taken by accident.
SET ROLE envelope_owner;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine');
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine', NULL);
SELECT envelope.unshare_keyring('lent.cards', NULL);
SELECT envelope.unshare_keyring(NULL, 'lent.mine');
SELECT envelope.unshare_keyring('lent.cards', 'lent.cards');
BEGIN;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine', force => true);
SELECT envelope_decrypt_text('lent.cards', v) FROM lent.cards;
RESET ROLE;
TABLE lent_links;
SET LOCAL ROLE envelope_other;
SELECT envelope_decrypt_text('lent.mine', v) FROM lent.mine;
ROLLBACK;
-- Those of a later version count, too.
SET ROLE envelope_owner;
SELECT envelope.rotate_key('lent.cards') IS NOT NULL AS rotated;
INSERT INTO lent.cards VALUES (2, envelope_encrypt_text('lent.cards', 'two'));
RESET ROLE;
GRANT INSERT ON lent.cards TO envelope_other;
DELETE FROM lent.mine;
INSERT INTO lent.mine SELECT * FROM lent.cards WHERE id = 2;
SET ROLE envelope_owner;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine');
-- Under that table's own key they do not.
SET ROLE envelope_other;
SELECT envelope.create_key('lent.mine') IS NOT NULL AS made;
CALL envelope.reencrypt('lent.mine', 'v');
SET ROLE envelope_owner;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine');
RESET ROLE;
TABLE lent_links;
SET ROLE envelope_other;
SELECT envelope_decrypt_text('lent.mine', v) FROM lent.mine;
SELECT envelope_decrypt_text('lent.mine', v) FROM lent.cards;
SELECT relation, grantee, verb, origin FROM envelope.key_privileges WHERE origin <> 'owner' AND relation ~ '^lent';
-- It is gone, and what a table seals with itself is not lent.
SET ROLE envelope_owner;
SELECT envelope.unshare_keyring('lent.cards', 'lent.mine');
SELECT envelope.unshare_keyring('lent.mine', 'lent.cards');
SELECT envelope.shred('lent.cards', 'nobody else has it');
RESET ROLE;

-- A partition opens what its root seals, lent or not; a value in any partition holds the loan.
CREATE TABLE lent.log (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE lent.log_1 PARTITION OF lent.log FOR VALUES FROM (0) TO (10);
INSERT INTO lent.log VALUES (1, envelope_encrypt_text('lent.log', 'one'));
SELECT envelope.share_keyring('lent.log', 'lent.log_1');
SELECT envelope.unshare_keyring('lent.log', 'lent.log_1');
SELECT envelope_decrypt_text('lent.log_1', v) FROM lent.log_1;
CREATE TABLE lent.log_2 (id int, v bytea);
INSERT INTO lent.log_2 VALUES (11, envelope_encrypt_text('lent.log_2', 'its own'));
SELECT envelope.share_keyring('lent.log_2', 'lent.log');
ALTER TABLE lent.log ATTACH PARTITION lent.log_2 FOR VALUES FROM (10) TO (20);
SELECT envelope.unshare_keyring('lent.log_2', 'lent.log');
SELECT envelope.unshare_keyring('lent.log_2', 'lent.log', force => true);
SELECT envelope_decrypt_text('lent.log', v) FROM lent.log_2;
SELECT envelope_decrypt_text('lent.log_2', v) FROM lent.log_2;
DROP VIEW lent_links;
DROP SCHEMA lent CASCADE;
