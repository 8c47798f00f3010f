\set VERBOSITY sqlstate
CREATE PROCEDURE next_version(relation text) LANGUAGE sql AS $$
  UPDATE envelope.data_key SET state = 'decrypt-only' WHERE state = 'active'
    AND key_id IN (SELECT key_id FROM envelope.keys k WHERE k.relation = 'public.' || $1);
  SELECT envelope.create_key($1::regclass) $$;
CREATE TABLE members (id int PRIMARY KEY, ssn bytea, note bytea, touched int DEFAULT 0);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON members FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn');
INSERT INTO members SELECT g, convert_to('ssn ' || g, 'UTF8') FROM generate_series(1, 1000) g;
UPDATE members SET ssn = decode(repeat(md5(id::text), 500), 'hex') WHERE id <= 10;
UPDATE members SET ssn = NULL WHERE id = 500;
CREATE TABLE before AS SELECT id, ssn, envelope_decrypt('members', ssn) AS opened FROM members;
-- One value: under the active key it stays, under another it is sealed anew.
SELECT bool_and(envelope.reseal('members', ssn) = ssn) AS same FROM members;
CALL next_version('members');
SELECT envelope_decrypt_text('members', envelope.reseal('members', ssn)) AS opened,
       envelope.reseal('members', ssn) <> ssn AS changed, octet_length(envelope.reseal('members', ssn)) = octet_length(ssn) AS as_long,
       (SELECT version FROM envelope.inspect(envelope.reseal('members', ssn)))
FROM members WHERE id = 99;
SELECT envelope.reseal('members', NULL);
SELECT envelope.reseal(NULL, '');
SELECT envelope.reseal('members', '', NULL);
SELECT envelope.reseal('members', 'no sealed value');
SELECT envelope.reseal('members', set_byte(ssn, 50, get_byte(ssn, 50) # 1)) FROM members WHERE id = 99;
SELECT envelope.reseal('members', ssn, 'another context') FROM members WHERE id = 99;
GRANT SELECT ON members TO envelope_other;
SET ROLE envelope_other;
SELECT envelope.reseal('members', ssn) FROM members WHERE id = 99;
SELECT * FROM envelope.reencrypt_window('reencrypt', 'members', 'ssn', 1000, true, NULL, false);
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, 0, 1, 1, 1, 0);
CALL envelope.reencrypt('members', 'ssn');
RESET ROLE;

-- A whole column, its trigger in place.
BEGIN;
CALL envelope.reencrypt('members', 'ssn');
ROLLBACK;
CALL envelope.reencrypt('members', 'ssn', batch_size => 100);
SELECT version, rows FROM envelope.census('members', 'ssn');
SELECT count(*), bool_and(envelope_decrypt('members', m.ssn) IS NOT DISTINCT FROM b.opened) AS opens,
       count(*) FILTER (WHERE m.ssn = b.ssn) AS as_before
FROM members m JOIN before b USING (id);
SELECT relation, column_name, rows_done, rows_left, rows_skipped, finished_at >= started_at AS finished, eta
FROM envelope.progress WHERE relation = 'public.members';
-- Again: nothing to do, and nothing is touched.
CREATE TABLE rows_before AS SELECT id, xmin::text AS version FROM members;
CALL envelope.reencrypt('members', 'ssn');
SELECT count(*) FROM members m JOIN rows_before b USING (id) WHERE m.xmin::text = b.version;
SELECT rows_done, rows_left, pass FROM envelope.progress WHERE relation = 'public.members';
-- Arguments.
CALL envelope.reencrypt('members', 'missing');
CALL envelope.reencrypt('members', 'touched');
CALL envelope.reencrypt('members', 'ssn', 0);
CALL envelope.reencrypt('members', NULL);
CALL envelope.reencrypt(NULL, 'ssn');
CALL envelope.reencrypt('pg_stats', 'ssn');
CALL envelope.reencrypt('before', 'ssn');
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, -9223372036854775808, 9223372036854775807, 1, 1, 0);
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, -1, 1, 1, 1, 0);
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, 1, 1, 1, 1, 0);
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, 0, 1, 1, 2, 0);
SELECT envelope.reencrypt_note('reencrypt', 'members', 'ssn', 1000, 0, 1, 1, -1, 0);
-- Nothing of it is looked up where others may have put something of the same name.
CREATE SCHEMA trap;
CREATE DOMAIN trap.record AS int;
CREATE DOMAIN trap.text AS int;
CREATE DOMAIN trap.regclass AS int;
SET search_path = trap, pg_catalog, public;
CALL envelope.reencrypt('public.members', 'ssn');
RESET search_path;
DROP SCHEMA trap CASCADE;

-- Other triggers fire, or keep quiet for who may ask for that.
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON members FOR EACH ROW EXECUTE FUNCTION touch();
CALL next_version('members');
CALL envelope.reencrypt('members', 'ssn', quiet => true);
SELECT sum(touched) FROM members;
SHOW session_replication_role;
CALL next_version('members');
CALL envelope.reencrypt('members', 'ssn');
SELECT sum(touched) FROM members;
SELECT version, rows FROM envelope.census('members', 'ssn');
DROP TRIGGER touch ON members;
-- An owner needs no more than the table.
ALTER TABLE members OWNER TO envelope_owner;
GRANT CREATE ON SCHEMA public TO envelope_owner;
CALL next_version('members');
SET ROLE envelope_owner;
CALL envelope.reencrypt('members', 'ssn', quiet => true);
CALL envelope.reencrypt('members', 'ssn');
SELECT version, rows FROM envelope.census('members', 'ssn');
SELECT rows_done FROM envelope.progress;
RESET ROLE;
REVOKE CREATE ON SCHEMA public FROM envelope_owner;
-- A policy must hide nothing.
ALTER TABLE members ENABLE ROW LEVEL SECURITY;
ALTER TABLE members FORCE ROW LEVEL SECURITY;
SET ROLE envelope_owner;
CALL envelope.reencrypt('members', 'ssn');
RESET ROLE;
ALTER TABLE members NO FORCE ROW LEVEL SECURITY;
ALTER TABLE members DISABLE ROW LEVEL SECURITY;

-- A trigger that puts the old value back is found out.
CALL next_version('members');
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ssn := OLD.ssn; RETURN NEW; END $$;
CREATE TRIGGER zz BEFORE UPDATE ON members FOR EACH ROW WHEN (OLD.id = 7) EXECUTE FUNCTION keep();
CALL envelope.reencrypt('members', 'ssn', row_lock_timeout => '0.3s');
SELECT version, rows FROM envelope.census('members', 'ssn');
SELECT finished_at FROM envelope.progress WHERE relation = 'public.members';
DROP TRIGGER zz ON members;
CALL envelope.reencrypt('members', 'ssn');
SELECT version, rows FROM envelope.census('members', 'ssn');
-- A damaged value stops it, and stays; so does one under a retired key.
CALL next_version('members');
ALTER TABLE members DISABLE TRIGGER seal;
UPDATE members SET ssn = ssn || '\x00' WHERE id = 8;
ALTER TABLE members ENABLE TRIGGER seal;
CALL envelope.reencrypt('members', 'ssn');
DELETE FROM members WHERE id = 8;
SELECT envelope.retire_key((SELECT key_id FROM envelope.census('members', 'ssn') c WHERE c.state = 'decrypt-only'));
CALL envelope.reencrypt('members', 'ssn');
SELECT envelope.unretire_key((SELECT key_id FROM envelope.census('members', 'ssn') c WHERE c.state = 'retired'));
CALL envelope.reencrypt('members', 'ssn');
SELECT version, state, rows FROM envelope.census('members', 'ssn');
-- So does one that is under the active key and does not open, unless that is not asked for.
ALTER TABLE members DISABLE TRIGGER seal;
UPDATE members SET ssn = ssn || '\x00' WHERE id = 9;
ALTER TABLE members ENABLE TRIGGER seal;
CALL envelope.reencrypt('members', 'ssn');
CALL envelope.reencrypt('members', 'ssn', verify => false);
DELETE FROM members WHERE id = 9;
-- What is not sealed, and what is lost already, is left alone.
CALL next_version('members');
SELECT envelope.destroy_key((SELECT key_id FROM envelope.census('members', 'ssn') c WHERE c.state = 'decrypt-only'),
                            'a test', shred => true);
ALTER TABLE members DISABLE TRIGGER seal;
UPDATE members SET ssn = 'plain' WHERE id > 995;
ALTER TABLE members ENABLE TRIGGER seal;
CALL envelope.reencrypt('members', 'ssn');
SELECT version, state, rows FROM envelope.census('members', 'ssn');
SELECT rows_done, rows_left FROM envelope.progress WHERE relation = 'public.members';

-- With a context: an expression over the row.
CREATE TABLE bound (id int, "Wörd" text, v bytea);
INSERT INTO bound SELECT g, 'w' || g, envelope_encrypt_text('bound', 't' || g, envelope_context('v', g::text, 'w' || g))
FROM generate_series(1, 50) g;
CALL next_version('bound');
CALL envelope.reencrypt('bound', 'v');
CALL envelope.reencrypt('bound', 'v', context => $$envelope_context('v', id::text)$$);
CALL envelope.reencrypt('bound', 'v', context => $$envelope_context('v', id::text, "Wörd")$$);
SELECT version, rows FROM envelope.census('bound', 'v');
SELECT count(*) FROM bound WHERE envelope_decrypt_text('bound', v, envelope_context('v', id::text, "Wörd")) = 't' || id;
-- The caller's own SQL: no more than the caller may do.
CALL envelope.reencrypt('bound', 'v', context => 'no_such_column');
CALL envelope.reencrypt('bound', 'v', context => $$''), id = (0$$);

-- Partitions, one of them with a key of its own from before; a child by inheritance is another table.
CREATE TABLE months (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE months_1 PARTITION OF months FOR VALUES FROM (0) TO (10);
CREATE TABLE months_2 PARTITION OF months FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE months_2a PARTITION OF months_2 DEFAULT;
CREATE TABLE months_3 (id int, v bytea);
INSERT INTO months_3 SELECT g, envelope_encrypt('months_3', 'own') FROM generate_series(20, 29) g;
ALTER TABLE months ATTACH PARTITION months_3 FOR VALUES FROM (20) TO (30);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON months FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO months SELECT g, 'shared' FROM generate_series(0, 19) g;
CALL next_version('months');
CALL envelope.reencrypt('months', 'v', batch_size => 1);
SELECT version, rows FROM envelope.census('months', 'v');
SELECT relation, rows_done, rows_left FROM envelope.progress WHERE relation ~ 'months' ORDER BY 1;
SELECT count(DISTINCT k.relation) FROM months JOIN envelope.keys k ON k.key_id = envelope.key_id_of(v);
SELECT envelope_decrypt_text('months', v), count(*) FROM months GROUP BY 1 ORDER BY 1;
CREATE TABLE offspring () INHERITS (bound);
INSERT INTO offspring VALUES (1, 'x', envelope_encrypt('offspring', 'x'));
CALL next_version('offspring');
CALL envelope.reencrypt('bound', 'v', verify => false);
SELECT version FROM offspring, envelope.inspect(v);
CREATE TABLE empty (v bytea) PARTITION BY RANGE (v);
SELECT envelope.create_key('empty') IS NOT NULL AS made;
CALL envelope.reencrypt('empty', 'v');
-- Dropped tables take their progress along.
DROP TABLE members, before, rows_before, bound, offspring, months, empty;
SELECT count(*) FROM envelope.reencryption;
DROP PROCEDURE next_version;
DROP FUNCTION touch, keep;
