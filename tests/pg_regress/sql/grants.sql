-- Rights per table and verb.
\set VERBOSITY sqlstate
CREATE ROLE envelope_ingest;
CREATE ROLE envelope_report;
CREATE ROLE envelope_steward;
CREATE ROLE envelope_group;
CREATE ROLE envelope_member ROLE envelope_other;
CREATE SCHEMA desk AUTHORIZATION envelope_owner;
GRANT USAGE, CREATE ON SCHEMA desk TO PUBLIC;
SET ROLE envelope_owner;
CREATE TABLE desk.claims (id int PRIMARY KEY, v bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON desk.claims
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
GRANT ALL ON desk.claims TO PUBLIC;
-- A grant is on keys, so there must be some.
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', 'encrypt');
SELECT envelope.create_key('desk.claims') IS NOT NULL AS made;
-- What cannot be granted, and to whom not.
SELECT envelope.grant_key('desk.claims', 'public', 'decrypt');
SELECT envelope.grant_key('desk.claims', 'PUBLIC', 'decrypt');
SELECT envelope.grant_key('desk.claims', 'nobody_of_that_name', 'decrypt');
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', 'select');
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', '');
SELECT envelope.grant_key(NULL, 'envelope_ingest', 'decrypt');
SELECT envelope.grant_key('desk.claims', NULL, 'decrypt');
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', NULL);
SELECT envelope.grant_key(0, 'envelope_ingest', 'decrypt');
-- Twice is once.
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', 'encrypt');
SELECT envelope.grant_key('desk.claims', 'envelope_ingest', 'encrypt');
SELECT envelope.grant_key('desk.claims', 'envelope_report', 'Decrypt');
SELECT envelope.grant_key('desk.claims', 'envelope_steward', 'manage');
SELECT grantee, verb, origin FROM envelope.key_privileges WHERE relation = 'desk.claims' ORDER BY 1, 2, 3;

-- Every verb, for every role.
CREATE FUNCTION desk.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
  BEGIN
    EXECUTE statement;
    RETURN 'ok';
  EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
  END $$;
INSERT INTO desk.claims VALUES (1, 'first');
CREATE FUNCTION desk.may() RETURNS TABLE (what text, outcome text) LANGUAGE sql AS $$
  VALUES ('seal', desk.outcome($q$SELECT envelope_encrypt('desk.claims', 'x')$q$)),
         ('seal text', desk.outcome($q$SELECT envelope_encrypt_text('desk.claims', 'x')$q$)),
         ('insert', desk.outcome($q$INSERT INTO desk.claims VALUES (2, 'second') ON CONFLICT (id) DO UPDATE SET v = excluded.v$q$)),
         ('open', desk.outcome($q$SELECT envelope_decrypt('desk.claims', v) FROM desk.claims$q$)),
         ('open text', desk.outcome($q$SELECT envelope_decrypt_text('desk.claims', v) FROM desk.claims$q$)),
         ('warm', desk.outcome($q$SELECT envelope.warm('desk.claims')$q$)),
         ('make a key', desk.outcome($q$SELECT envelope.create_key('desk.claims')$q$)),
         ('limits', desk.outcome($q$SELECT envelope.set_limits('desk.claims', '{}')$q$)),
         ('grant', desk.outcome($q$SELECT envelope.grant_key('desk.claims', 'envelope_report', 'decrypt')$q$)),
         ('revoke', desk.outcome($q$SELECT envelope.revoke_key('desk.claims', 'envelope_other', 'search')$q$)),
         ('keys seen', (SELECT count(*)::text FROM envelope.keys WHERE relation = 'desk.claims')),
         ('privileges seen', (SELECT count(*)::text FROM envelope.key_privileges WHERE relation = 'desk.claims')),
         ('checked', (SELECT count(*)::text FROM envelope.check() WHERE relation = 'desk.claims' AND ok)),
         ('has', (SELECT string_agg(verb, ' ') FROM unnest('{encrypt,decrypt,search,manage}'::text[]) verb
                  WHERE envelope.has_key_privilege('desk.claims', verb))) $$;
SELECT * FROM desk.may();
SET ROLE envelope_ingest;
SELECT * FROM desk.may();
SET ROLE envelope_report;
SELECT * FROM desk.may();
SET ROLE envelope_steward;
SELECT * FROM desk.may();
SET ROLE envelope_other;
SELECT * FROM desk.may();

-- What a role that seals may not learn by way of the trigger: a value of the table is kept, and no more.
SET ROLE envelope_ingest;
INSERT INTO desk.claims SELECT 3, v FROM desk.claims WHERE id = 1;
UPDATE desk.claims SET v = set_byte(v, length(v) - 1, get_byte(v, length(v) - 1) # 1) WHERE id = 3;
-- A role that opens may not move a value's bytes about.
SET ROLE envelope_report;
INSERT INTO desk.claims SELECT 4, v FROM desk.claims WHERE id = 1;
UPDATE desk.claims SET id = 4 WHERE id = 3;
-- Taken back.
SET ROLE envelope_steward;
SELECT envelope.revoke_key('desk.claims', 'envelope_report', 'decrypt, encrypt');
SET ROLE envelope_report;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;

-- Within one transaction, and undone with it.
RESET ROLE;
BEGIN;
SELECT envelope.grant_key('desk.claims', 'envelope_report', 'decrypt');
SET LOCAL ROLE envelope_report;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
RESET ROLE;
SAVEPOINT s;
SELECT envelope.revoke_key('desk.claims', 'envelope_report', 'decrypt');
SET LOCAL ROLE envelope_report;
SELECT desk.outcome($q$SELECT envelope_decrypt('desk.claims', v) FROM desk.claims$q$);
ROLLBACK TO s;
SET LOCAL ROLE envelope_report;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
ROLLBACK;
SET ROLE envelope_report;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;

-- Membership, as PostgreSQL counts it: NOINHERIT lends nothing until SET ROLE.
RESET ROLE;
SELECT envelope.grant_key('desk.claims', 'envelope_group', 'decrypt');
GRANT envelope_group TO envelope_member;
SET ROLE envelope_other;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
RESET ROLE;
REVOKE envelope_group FROM envelope_member;
SET ROLE envelope_other;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
RESET ROLE;
CREATE ROLE envelope_noinherit NOINHERIT IN ROLE envelope_group;
SET SESSION AUTHORIZATION envelope_noinherit;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
SET ROLE envelope_group;
SELECT count(envelope_decrypt('desk.claims', v)) FROM desk.claims;
RESET SESSION AUTHORIZATION;

-- Two roles in one statement: each call counts for the role that it runs as.
SET ROLE envelope_owner;
CREATE FUNCTION desk.lent(v bytea) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog RETURN public.envelope_decrypt_text('desk.claims', v);
SET ROLE envelope_other;
SELECT desk.lent(v), desk.outcome(format('SELECT envelope_decrypt(%L, %L)', 'desk.claims', v)), desk.lent(v)
FROM desk.claims WHERE id < 3 ORDER BY id;
-- A definer function cannot be made to run as yet another role.
SET ROLE envelope_owner;
CREATE FUNCTION desk.switch(statement text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog AS $$
  BEGIN
    EXECUTE statement;
    RETURN public.envelope_decrypt_text('desk.claims', v) FROM desk.claims WHERE id = 1;
  END $$;
SET ROLE envelope_other;
SELECT desk.switch('SELECT 1');
SELECT desk.switch('SET ROLE ' || 10::oid::regrole);
SELECT desk.switch('SET LOCAL ROLE envelope_other');
SELECT desk.switch('SET SESSION AUTHORIZATION ' || 10::oid::regrole);
SELECT desk.switch('RESET SESSION AUTHORIZATION');
RESET ROLE;

-- Asking, in PostgreSQL's manner.
SELECT envelope.has_key_privilege('envelope_ingest', 'desk.claims', 'encrypt') AS ingest,
       envelope.has_key_privilege('envelope_ingest', 'desk.claims', 'decrypt') AS opens,
       envelope.has_key_privilege('envelope_ingest'::regrole, 'desk.claims', 'decrypt, encrypt') AS any_of,
       envelope.has_key_privilege('envelope_owner', 'desk.claims', 'manage') AS owner,
       envelope.has_key_privilege('public', 'desk.claims', 'decrypt') AS everybody,
       envelope.has_key_privilege(4294967295::oid, 'desk.claims', 'decrypt') AS gone_role,
       envelope.has_key_privilege('envelope_ingest', 4294967295::oid::regclass, 'decrypt') AS gone_table,
       envelope.has_key_privilege(NULL::oid, 'desk.claims', 'decrypt') AS nobody,
       envelope.has_key_privilege(current_user, 'desk.claims', 'search') AS me,
       envelope.has_key_privilege('desk.claims', 'search') AS i;
SELECT envelope.has_key_privilege('nobody_of_that_name', 'desk.claims', 'decrypt');
SELECT envelope.has_key_privilege('desk.claims', 'select');

-- A partition's rights are its root's: they are on the keyring that seals.
SET ROLE envelope_owner;
CREATE TABLE desk.log (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE desk.log_1 PARTITION OF desk.log FOR VALUES IN (1);
INSERT INTO desk.log VALUES (1, envelope_encrypt('desk.log', 'secret'));
RESET ROLE;
ALTER TABLE desk.log_1 OWNER TO envelope_other;
SET ROLE envelope_other;
SELECT envelope.grant_key('desk.log_1', 'envelope_other', 'decrypt');
SET ROLE envelope_owner;
SELECT envelope.grant_key('desk.log_1', 'envelope_other', 'decrypt');
SET ROLE envelope_other;
SELECT envelope_decrypt_text('desk.log_1', v), envelope.has_key_privilege('desk.log', 'decrypt') FROM desk.log_1;
SELECT envelope_encrypt('desk.log_1', 'x');
RESET ROLE;

-- A partition that was sealed by itself before: what is given and taken holds for both keyrings.
SET ROLE envelope_owner;
CREATE TABLE desk.log_2 (id int, v bytea);
INSERT INTO desk.log_2 VALUES (2, envelope_encrypt('desk.log_2', 'own'));
SELECT envelope.grant_key('desk.log_2', 'envelope_report', 'decrypt');
ALTER TABLE desk.log ATTACH PARTITION desk.log_2 FOR VALUES IN (2);
INSERT INTO desk.log VALUES (2, envelope_encrypt('desk.log', 'root'));
GRANT SELECT ON desk.log_2 TO envelope_report;
SET ROLE envelope_report;
SELECT desk.outcome('SELECT envelope_decrypt(''desk.log_2'', ' || quote_literal(v) || ')') FROM desk.log_2;
SET ROLE envelope_owner;
SELECT envelope.grant_key('desk.log_2', 'envelope_report', 'decrypt');
SET ROLE envelope_report;
SELECT envelope_decrypt_text('desk.log_2', v) FROM desk.log_2;
SET ROLE envelope_owner;
SELECT envelope.revoke_key('desk.log_2', 'envelope_report', 'decrypt');
SET ROLE envelope_report;
SELECT desk.outcome('SELECT envelope_decrypt(''desk.log_2'', ' || quote_literal(v) || ')') FROM desk.log_2;
RESET ROLE;

-- DROP ROLE is not held up, and what it leaves is reported, and goes with the next change of rights.
CREATE ROLE envelope_leaver;
SELECT envelope.grant_key('desk.claims', 'envelope_leaver', 'decrypt, manage');
DROP ROLE envelope_leaver;
SELECT grantee, verb, origin FROM envelope.key_privileges
WHERE relation = 'desk.claims' AND grantee = '-' ORDER BY 2, 3;
SELECT key_id IS NULL AS of_keyring, ok, sqlstate, message FROM envelope.check()
WHERE relation = 'desk.claims' AND NOT ok ORDER BY message;
SELECT envelope.grant_key('desk.claims', 'envelope_group', 'decrypt');
SELECT count(*) FROM envelope.key_privileges WHERE relation = 'desk.claims' AND grantee = '-';
SELECT count(*) FROM envelope.check() WHERE relation = 'desk.claims' AND NOT ok;

-- A new owner has what the old one had; grants stay.
ALTER TABLE desk.claims OWNER TO envelope_group;
SELECT grantee, verb, origin FROM envelope.key_privileges WHERE relation = 'desk.claims' ORDER BY 1, 2, 3;
SELECT envelope.has_key_privilege('envelope_owner', 'desk.claims', 'decrypt') AS former_owner;

-- A grant outlives its table with the keyring, for whoever adopts it: here it would.
SELECT envelope.revoke_key('desk.log', 'envelope_other', 'decrypt');
DROP SCHEMA desk CASCADE;
DROP ROLE envelope_ingest, envelope_report, envelope_steward, envelope_group, envelope_member, envelope_noinherit;
