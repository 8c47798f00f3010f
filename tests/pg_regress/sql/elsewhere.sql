\set VERBOSITY sqlstate
-- A table whose rows stand on other nodes. What a SELECT sees must be seen by whoever decides that a key
-- is not needed.
CREATE FUNCTION old_key(relation text) RETURNS uuid LANGUAGE sql
  RETURN (SELECT k.key_id FROM envelope.keys k WHERE k.relation = $1 AND k.version = 1);
CREATE TABLE far (id int, v bytea);
CREATE TABLE near (id int, v bytea);
CREATE TABLE spread (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE spread_1 PARTITION OF spread FOR VALUES IN (1);
SELECT count(envelope.create_key(t)) FROM unnest('{far,near,spread}'::regclass[]) t;
SELECT count(envelope.rotate_key(t)) FROM unnest('{far,near,spread}'::regclass[]) t;

-- Lists of that name that anybody could have made count for nothing.
CREATE TABLE pg_dist_partition (logicalrelid regclass);
INSERT INTO pg_dist_partition VALUES ('far');
SELECT envelope.destroy_key(old_key('public.far'), 'nobody says that it is elsewhere');
DROP TABLE pg_dist_partition;
SELECT envelope.rotate_key('far') IS NOT NULL AS rotated;
CREATE FUNCTION second_key(relation text) RETURNS uuid LANGUAGE sql
  RETURN (SELECT k.key_id FROM envelope.keys k WHERE k.relation = $1 AND k.version = 2);

CREATE EXTENSION citus;
INSERT INTO pg_dist_partition VALUES ('far', 'h', NULL), ('spread_1', 'h', NULL);
SELECT envelope.destroy_key(second_key('public.far'), 'too early');
SELECT envelope.destroy_key(old_key('public.spread'), 'too early');
CALL envelope.reencrypt('far', 'v');
CALL envelope.reencrypt('spread', 'v');
SELECT state FROM envelope.keys WHERE key_id = second_key('public.far');
-- Another one that opens with it, and a registered column.
SELECT envelope.share_keyring('near', 'far');
SELECT envelope.destroy_key(old_key('public.near'), 'too early');
SELECT envelope.unshare_keyring('near', 'far');
SELECT envelope.unshare_keyring('near', 'far', force => true);
SELECT envelope.register_column('far', 'v');
SELECT envelope.destroy_key(old_key('public.near'), 'too early');
SELECT envelope.unregister_column('far', 'v');
SELECT envelope.destroy_key(old_key('public.near'), 'nothing of it is there');
-- On purpose it goes on, and says what was not looked at.
\set VERBOSITY terse
SELECT envelope.share_keyring('near', 'far');
SELECT envelope.unshare_keyring('near', 'far', force => true);
SELECT regexp_replace(envelope.destroy_key(second_key('public.far'), 'on purpose', shred => true)::text, '.*', '') AS done
\gset
\set VERBOSITY sqlstate
SELECT state FROM envelope.keys WHERE key_id = second_key('public.far');
SELECT envelope.shred('spread', 'on purpose');

-- One of that name in pg_catalog that is not of the extension.
ALTER EXTENSION citus DROP TABLE pg_catalog.pg_dist_partition;
CREATE TABLE not_far (v bytea);
SELECT envelope.create_key('not_far') IS NOT NULL AS made, envelope.rotate_key('not_far') IS NOT NULL AS rotated;
INSERT INTO pg_dist_partition VALUES ('not_far', 'h', NULL);
SELECT envelope.destroy_key(old_key('public.not_far'), 'nobody says that it is elsewhere');
ALTER EXTENSION citus ADD TABLE pg_catalog.pg_dist_partition;
DROP EXTENSION citus;

-- A table that is stored in another way is counted, too. Here an index that PostgreSQL has been told to
-- leave out makes a SELECT count what is not in the table's file.
CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE odd (id int PRIMARY KEY, v bytea) USING other;
INSERT INTO odd SELECT g, envelope_encrypt('odd', 'x') FROM generate_series(1, 10) g;
SELECT envelope.rotate_key('odd') IS NOT NULL AS rotated;
SELECT envelope.destroy_key(old_key('public.odd'), 'too early');
CALL envelope.reencrypt('odd', 'v');
SELECT version, rows FROM envelope.census('odd', 'v');
UPDATE pg_index SET indisready = false WHERE indexrelid = 'odd_pkey'::regclass;
INSERT INTO odd VALUES (11, NULL);
UPDATE pg_index SET indisready = true WHERE indexrelid = 'odd_pkey'::regclass;
SET enable_seqscan = off;
SELECT count(*) FROM odd;
SELECT envelope.destroy_key(old_key('public.odd'), 'not all is seen');
SELECT envelope.rotate_key('odd') IS NOT NULL AS rotated;
CALL envelope.reencrypt('odd', 'v');
RESET enable_seqscan;
CALL envelope.reencrypt('odd', 'v');
SELECT envelope.destroy_key(old_key('public.odd'), 'all is seen');
-- To count is to plan, which runs functions of the table's owner: as that owner, and nobody else.
GRANT CREATE ON SCHEMA public TO envelope_owner;
GRANT USAGE ON SCHEMA public TO envelope_owner;
SET ROLE envelope_owner;

CREATE FUNCTION tell(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RAISE WARNING 'a function of the table runs as %', current_user;
  RETURN 1;
END $$;
CREATE TABLE trap (id int, v bytea) USING other;
CREATE STATISTICS trap_1 ON (tell(1)), id FROM trap;
INSERT INTO trap SELECT g, envelope_encrypt('trap', 'x') FROM generate_series(1, 3) g;
RESET ROLE;
SELECT envelope.rotate_key('trap') IS NOT NULL AS rotated;
CALL envelope.reencrypt('trap', 'v');
SELECT key_id AS trapped FROM envelope.keys WHERE relation = 'public.trap' AND version = 1 \gset
\c -
\set VERBOSITY terse
SELECT envelope.destroy_key(:'trapped', 'whose functions run');
\set VERBOSITY sqlstate
-- Nor is it done where another role, who owns the schema, could put a view in the table's place.
CREATE SCHEMA theirs AUTHORIZATION envelope_other;
ALTER TABLE trap SET SCHEMA theirs;
SELECT envelope.rotate_key('theirs.trap') IS NOT NULL AS rotated;
CALL envelope.reencrypt('theirs.trap', 'v');
ALTER SCHEMA theirs OWNER TO envelope_owner;
CALL envelope.reencrypt('theirs.trap', 'v');
DROP SCHEMA theirs CASCADE;

DROP FUNCTION tell;
REVOKE CREATE ON SCHEMA public FROM envelope_owner;
DROP TABLE far, near, spread, not_far, odd;
DROP ACCESS METHOD other;
DROP FUNCTION old_key, second_key;
