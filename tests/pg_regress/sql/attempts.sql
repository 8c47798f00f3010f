-- What a role without a right may try, with all that PostgreSQL lets it do.
\set VERBOSITY sqlstate
CREATE SCHEMA vault AUTHORIZATION envelope_owner;
CREATE SCHEMA evil AUTHORIZATION envelope_other;
GRANT USAGE ON SCHEMA vault, evil TO PUBLIC;
SET ROLE envelope_owner;
CREATE TABLE vault.cards (id int PRIMARY KEY, pan bytea);
INSERT INTO vault.cards VALUES (1, envelope_encrypt('vault.cards', '4929'));
GRANT ALL ON vault.cards TO envelope_other;

-- search_path, functions, operators and casts: what the extension runs as others is not theirs to choose.
SET ROLE envelope_other;
CREATE TABLE evil.ran (as_role text, what text);
GRANT ALL ON evil.ran TO PUBLIC;
CREATE FUNCTION evil.ran(what text) RETURNS void LANGUAGE sql AS 'INSERT INTO evil.ran VALUES (current_user, what)';
CREATE FUNCTION evil.convert_from(bytea, name) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('convert_from'); RETURN pg_catalog.convert_from($1, $2); END $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('now'); RETURN pg_catalog.now(); END $$;
CREATE FUNCTION evil.same(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('uuid ='); RETURN true; END $$;
CREATE FUNCTION evil.same(oid, oid) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('oid ='); RETURN true; END $$;
CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('text ='); RETURN true; END $$;
CREATE FUNCTION evil.both(text, text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN PERFORM evil.ran('||'); RETURN $1; END $$;
CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
CREATE OPERATOR evil.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.both);
CREATE DOMAIN evil.regclass AS text CHECK (evil.same(VALUE, ''));
CREATE DOMAIN evil.regrole AS text CHECK (evil.same(VALUE, ''));
CREATE DOMAIN evil.jsonb AS text CHECK (evil.same(VALUE, ''));
CREATE VIEW evil.pg_roles AS SELECT evil.ran('pg_roles')::text AS ran, 1::oid AS oid;
-- The built-in casts and the extension's cannot be replaced, nor can a cast be hung on their types.
CREATE CAST (oid AS envelope.role_ref) WITHOUT FUNCTION AS IMPLICIT;
CREATE FUNCTION evil.to_ref(text) RETURNS envelope.role_ref LANGUAGE sql AS $$ SELECT '-'::envelope.role_ref $$;
CREATE CAST (text AS envelope.role_ref) WITH FUNCTION evil.to_ref(text) AS IMPLICIT;
RESET ROLE;
-- The owner comes by with that path, and so does a superuser.
CREATE FUNCTION public.go_by() RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM envelope.create_key('vault.fresh');
    PERFORM envelope.grant_key('vault.fresh', 'envelope_other', 'encrypt');
    PERFORM envelope.revoke_key('vault.fresh', 'envelope_other', 'encrypt');
    PERFORM envelope.set_limits('vault.fresh', '{"cache_ttl": 60}');
    PERFORM public.envelope_decrypt('vault.fresh', public.envelope_encrypt('vault.fresh', ''));
    PERFORM FROM envelope.keys, envelope.inspect('\x00'), envelope.check(), envelope.key_privileges;
    DROP TABLE vault.fresh;
  END $$;
SET search_path = evil, pg_catalog, public;
CREATE TABLE vault.fresh (v bytea);
SELECT public.go_by();
ALTER SCHEMA vault OWNER TO envelope_owner;
SET ROLE envelope_owner;
CREATE TABLE vault.fresh (v bytea);
SELECT public.go_by();
RESET ROLE;
RESET search_path;
SELECT DISTINCT as_role, what FROM evil.ran;

-- Temporary objects come first in an unqualified look-up, unless the path says otherwise.
SET ROLE envelope_other;
CREATE TEMP TABLE pg_roles (oid oid);
CREATE TEMP TABLE keyring (keyring_id uuid, table_name text, default_kek text, kms_context jsonb, limits jsonb);
CREATE TEMP TABLE key_grant (LIKE pg_roles);
SET search_path = pg_temp, public;
SELECT envelope_decrypt('vault.cards', pan) FROM vault.cards;
CREATE TABLE evil.mine (v bytea);
SELECT envelope.create_key('evil.mine') IS NOT NULL AS made;
SELECT envelope.grant_key('evil.mine', 'envelope_owner', 'decrypt');
SELECT envelope.grant_key('evil.mine', 'envelope_other', 'search');
RESET search_path;
SELECT grantee, verb FROM envelope.key_privileges WHERE relation = 'evil.mine' AND origin = 'grant' ORDER BY 1;

-- A view lends its owner's rights on tables, and none on keys; neither does a rule or a policy.
SET ROLE envelope_owner;
CREATE VIEW vault.opened AS SELECT id, envelope_decrypt_text('vault.cards', pan) AS pan FROM vault.cards;
GRANT SELECT ON vault.opened TO envelope_other;
SELECT pan FROM vault.opened;
SET ROLE envelope_other;
SELECT pan FROM vault.opened;
CREATE VIEW evil.opened AS SELECT envelope_decrypt_text('vault.cards', pan) AS pan FROM vault.cards;
SELECT pan FROM evil.opened;
CREATE TABLE evil.trap (v text);
CREATE RULE open AS ON INSERT TO evil.trap DO INSTEAD
  SELECT envelope_decrypt_text('vault.cards', pan) FROM vault.cards;
INSERT INTO evil.trap VALUES ('x');
SET ROLE envelope_owner;
ALTER TABLE vault.cards ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_value ON vault.cards USING (envelope_decrypt_text('vault.cards', pan) = '4929');
SET ROLE envelope_other;
SELECT count(*) FROM vault.cards;
SET row_security = off;
SELECT count(*) FROM vault.cards;
RESET row_security;
SET ROLE envelope_owner;
ALTER TABLE vault.cards DISABLE ROW LEVEL SECURITY;
-- Row security on the catalog is the superuser's to make; no row is hidden from the extension by it.
SET ROLE envelope_other;
ALTER TABLE envelope.key_grant ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON envelope.key_grant USING (true);
CREATE RULE r AS ON SELECT TO envelope.key_grant DO INSTEAD SELECT 1;
CREATE TRIGGER t BEFORE INSERT ON envelope.key_grant FOR EACH ROW EXECUTE FUNCTION envelope_seal('verb');
COMMENT ON TABLE envelope.key_grant IS 'mine';
BEGIN;
LOCK TABLE envelope.key_grant IN ACCESS SHARE MODE;
ROLLBACK;

-- What PostgreSQL runs for others, it runs as the table's owner: a superuser's maintenance lends nothing.
CREATE FUNCTION evil.peek(bytea) RETURNS bytea LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN RETURN public.envelope_decrypt('vault.cards', $1); EXCEPTION WHEN insufficient_privilege THEN RETURN 'denied'; END $$;
CREATE TABLE evil.copy AS SELECT pan FROM vault.cards;
CREATE INDEX peeked ON evil.copy (evil.peek(pan));
CREATE MATERIALIZED VIEW evil.seen AS SELECT evil.peek(pan) AS pan FROM evil.copy;
RESET ROLE;
REINDEX TABLE evil.copy;
ANALYZE evil.copy;
REFRESH MATERIALIZED VIEW evil.seen;
SELECT pan FROM evil.seen;
SELECT most_common_vals IS NULL AS nothing_common FROM pg_stats WHERE schemaname = 'evil' AND tablename = 'peeked';

-- A trigger on somebody's table needs the right TRIGGER on it; without it, no plaintext to be seen.
SET ROLE envelope_owner;
REVOKE TRIGGER ON vault.cards FROM envelope_other;
SET ROLE envelope_other;
CREATE FUNCTION evil.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.ran(NEW.pan::text); RETURN NEW; END $$;
CREATE TRIGGER a_look BEFORE INSERT ON vault.cards FOR EACH ROW EXECUTE FUNCTION evil.look();
-- Event triggers, C functions and the extension's own callbacks are out of reach.
CREATE FUNCTION evil.watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION evil.watch();
ALTER EVENT TRIGGER envelope_watch_drops DISABLE;
CREATE FUNCTION evil.invalidate() RETURNS trigger LANGUAGE c AS 'pgrx-example', 'envelope_invalidate_wrapper';
CREATE TRIGGER flood AFTER INSERT ON evil.mine FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
SELECT envelope.watch_drops();
CREATE OR REPLACE FUNCTION envelope.is_sealed(value bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';
ALTER FUNCTION envelope_decrypt(regclass, bytea, text) SECURITY DEFINER;
DROP FUNCTION envelope_seal() CASCADE;
ALTER EXTENSION "pgrx-example" DROP FUNCTION envelope_seal();
CREATE TABLE envelope.mine ();
-- A number is no way to a table or a role, and a name no way to what one may not see.
SELECT (SELECT oid FROM pg_class WHERE relname = 'cards')::text::envelope.table_ref::text AS by_number,
       '10'::envelope.role_ref::text AS role_by_number;
SELECT '"Vault".cards'::envelope.table_ref::text AS other_name;
RESET ROLE;
REVOKE USAGE ON SCHEMA vault FROM PUBLIC;
SET ROLE envelope_other;
SELECT 'vault.cards'::envelope.table_ref;
RESET ROLE;

-- KEKs: what is not allowed is told before anything is looked at, whether it is there or not.
SET ROLE envelope_other;
SELECT envelope.create_key('evil.copy', 'file:///etc/passwd');
SELECT envelope.create_key('evil.copy', 'file:///etc/no-such-file');
SELECT envelope.create_key('evil.copy', 'file:///etc/no-such-directory/file');
SELECT envelope.create_key('evil.copy', 'file:///root/kek');
SELECT envelope.create_key('evil.copy', 'aws-kms://alias/anything');
-- Nor is there a way out of the directory of key files.
RESET ROLE;
SELECT replace((SELECT kek FROM envelope.wrapped_key LIMIT 1), 'default.kek', '') AS directory \gset
SET ROLE envelope_other;
SELECT envelope.create_key('evil.copy', :'directory' || '../passwd');
SELECT envelope.create_key('evil.copy', :'directory' || './../passwd');
SELECT envelope.create_key('evil.copy', :'directory' || '%2e%2e/passwd');
SELECT envelope.create_key('evil.copy', :'directory' || '/passwd');
SELECT envelope.create_key('evil.copy', :'directory');
-- A keyring's own KEK must be allowed when its next key is made, not only when it was named.
RESET ROLE;
CREATE TABLE vault.next (v bytea);
SELECT envelope.create_key('vault.next', :'directory' || 'default.kek') IS NOT NULL AS made;
BEGIN;
UPDATE envelope.data_key SET state = 'decrypt-only'
WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'vault.next');
SET LOCAL envelope.allowed_keks = 'aws-kms://*';
SELECT envelope.create_key('vault.next');
ROLLBACK;
SELECT envelope.revoke_key('evil.mine', 'envelope_owner', 'decrypt');
SELECT envelope.revoke_key('evil.mine', 'envelope_other', 'search');
DROP SCHEMA vault, evil CASCADE;
DROP FUNCTION go_by;
