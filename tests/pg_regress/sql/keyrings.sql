-- Keyrings outlive their tables, and are adopted, shared, exported and imported.
\set VERBOSITY sqlstate
CREATE ROLE envelope_member IN ROLE envelope_owner;
CREATE SCHEMA attic;
GRANT ALL ON SCHEMA attic TO PUBLIC;
CREATE VIEW links AS
  SELECT r.table_name, t.relation, t.seals,
         CASE t.former_owner::oid WHEN 10 THEN 'superuser' ELSE t.former_owner::text END AS former_owner
  FROM envelope.keyring r LEFT JOIN envelope.keyring_table t USING (keyring_id)
  WHERE r.table_name LIKE 'attic.%' ORDER BY 1, 2, 3;

-- A drop leaves the keyring, under the last name and with the owner, whoever drops.
SET ROLE envelope_owner;
CREATE TABLE attic.papers (id int, v bytea);
INSERT INTO attic.papers VALUES (1, envelope_encrypt('attic.papers', 'one'));
CREATE TABLE attic.backup AS TABLE attic.papers;
ALTER TABLE attic.papers RENAME TO letters;
RESET ROLE;
SELECT keyring_id FROM envelope.keys WHERE relation = 'attic.letters' \gset
TABLE links;
BEGIN;
DROP TABLE attic.letters;
TABLE links;
ROLLBACK;
BEGIN;
SAVEPOINT s;
DROP TABLE attic.letters;
ROLLBACK TO s;
COMMIT;
TABLE links;
SELECT envelope_decrypt_text('attic.letters', v) FROM attic.letters;
SET ROLE envelope_owner;
DROP TABLE attic.letters;
RESET ROLE;
TABLE links;
SELECT relation, state FROM envelope.keys WHERE keyring_id = :'keyring_id';

-- Who owned the table sees it, others do not.
SET ROLE envelope_owner;
SELECT relation, state, orphaned FROM envelope.keys WHERE relation LIKE 'attic.%';
SET ROLE envelope_other;
SELECT count(*) FROM envelope.keys WHERE relation LIKE 'attic.%';
RESET ROLE;
-- A new table of that name is told of it, once, and gets a key of its own.
CREATE TABLE attic.letters (id int, v bytea);
SELECT length(envelope_encrypt('attic.letters', '')) AS sealed;
SELECT length(envelope_encrypt('attic.letters', '')) AS sealed;
TABLE links;
DROP TABLE attic.letters;

-- Adopting: the former owner, or a member of it, for a table that is theirs; a superuser for any.
CREATE TABLE attic.not_theirs (id int, v bytea);
SET ROLE envelope_other;
CREATE TABLE attic.strangers (id int, v bytea);
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.strangers');
SELECT envelope.adopt_keyring(gen_random_uuid(), 'attic.strangers');
SET ROLE envelope_member;
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.not_theirs');
BEGIN;
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.backup');
SELECT envelope_decrypt_text('attic.backup', v) FROM attic.backup;
ROLLBACK;
SELECT envelope_decrypt_text('attic.backup', v) FROM attic.backup;
SET ROLE envelope_owner;
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.backup');
SELECT envelope_decrypt_text('attic.backup', v) FROM attic.backup;
INSERT INTO attic.backup VALUES (2, envelope_encrypt('attic.backup', 'two'));
SELECT count(DISTINCT key_id) AS keys FROM attic.backup, envelope.inspect(v);
-- It is theirs no more to adopt.
CREATE TABLE attic.second (id int, v bytea);
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.second');
RESET ROLE;
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.second');
TABLE links;
-- A table that seals already opens with it, and seals as before.
DROP TABLE attic.backup;
SET ROLE envelope_owner;
SELECT envelope.create_key('attic.second') IS NOT NULL AS made;
CREATE TABLE attic.kept AS SELECT envelope_encrypt('attic.second', 'of its own') AS v;
SELECT envelope.adopt_keyring(:'keyring_id', 'attic.second');
SELECT envelope_decrypt_text('attic.second', v) FROM attic.kept;
INSERT INTO attic.kept VALUES (envelope_encrypt('attic.second', 'more'));
SELECT count(DISTINCT key_id) AS keys FROM attic.kept, envelope.inspect(v);
RESET ROLE;
SELECT relation, seals FROM links WHERE relation::text = 'attic.second' ORDER BY 2;
-- What cannot have keys cannot adopt; NULL is no argument.
CREATE TEMP TABLE passing (v bytea);
SELECT envelope.adopt_keyring(:'keyring_id', 'passing');
SELECT envelope.adopt_keyring(:'keyring_id', 'links');
SELECT envelope.adopt_keyring(NULL, 'attic.second');
SELECT envelope.adopt_keyring(:'keyring_id', NULL);
SELECT envelope.adopt_keyring(:'keyring_id', 0);
DROP TABLE passing;

-- Sharing: both must be one's own; again is nothing; what a table seals with stays.
SET ROLE envelope_owner;
CREATE TABLE attic.reader (v bytea);
SELECT envelope.share_keyring('attic.second', 'attic.reader');
SELECT envelope.share_keyring('attic.second', 'attic.reader');
SELECT envelope_decrypt_text('attic.reader', v) FROM attic.kept;
INSERT INTO attic.reader VALUES (envelope_encrypt('attic.reader', 'its own'));
SELECT envelope_decrypt_text('attic.second', v) FROM attic.reader;
SELECT envelope.share_keyring('attic.second', 'attic.second');
SELECT envelope.share_keyring('attic.second', 'attic.not_theirs');
SELECT envelope.share_keyring('attic.not_theirs', 'attic.reader');
SET ROLE envelope_other;
SELECT envelope.share_keyring('attic.second', 'attic.strangers');
RESET ROLE;
SELECT envelope.share_keyring('attic.strangers', 'attic.reader');
SELECT envelope.share_keyring('attic.second', NULL);
SELECT relation, seals FROM links WHERE relation::text IN ('attic.second', 'attic.reader') ORDER BY 1, 2;

-- Who has only opened with a keyring has no claim to it.
BEGIN;
SELECT keyring_id AS shared FROM envelope.keys WHERE relation = 'attic.second' \gset
SELECT envelope.share_keyring('attic.second', 'attic.strangers');
DROP TABLE attic.second;
DROP TABLE attic.strangers;
SET LOCAL ROLE envelope_other;
CREATE TABLE attic.grasping (v bytea);
SELECT envelope.adopt_keyring(:'shared', 'attic.grasping');
ROLLBACK;

-- DROP SCHEMA and DROP OWNED leave keyrings, too; partitions and temporary tables have none.
CREATE SCHEMA cellar AUTHORIZATION envelope_other;
SET ROLE envelope_other;
CREATE TABLE cellar.wine (v bytea);
CREATE TABLE cellar.log (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE cellar.log_1 PARTITION OF cellar.log FOR VALUES IN (1);
CREATE TABLE attic.owned (v bytea);
SELECT count(envelope_encrypt(t, '')) FROM unnest('{cellar.wine,cellar.log_1,attic.owned}'::regclass[]) t;
DROP TABLE cellar.log_1;
RESET ROLE;
SELECT table_name, relation, seals, former_owner FROM envelope.keyring JOIN envelope.keyring_table USING (keyring_id)
WHERE table_name LIKE 'cellar.%' ORDER BY 1;
SET client_min_messages = error;
DROP SCHEMA cellar CASCADE;
SET ROLE envelope_other;
DROP OWNED BY envelope_other;
RESET ROLE;
RESET client_min_messages;
SELECT table_name, relation, seals, former_owner FROM envelope.keyring JOIN envelope.keyring_table USING (keyring_id)
WHERE table_name LIKE 'cellar.%' OR table_name = 'attic.owned' ORDER BY 1;
-- CASCADE by way of a function.
CREATE FUNCTION attic.bucket(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2';
CREATE TABLE attic.buckets (id int, v bytea) PARTITION BY LIST (attic.bucket(id));
SELECT length(envelope_encrypt('attic.buckets', '')) AS sealed;
SET client_min_messages = error;
DROP FUNCTION attic.bucket CASCADE;
RESET client_min_messages;
SELECT relation, former_owner = current_user::regrole AS of_mine FROM envelope.keyring JOIN envelope.keyring_table USING (keyring_id)
WHERE table_name = 'attic.buckets';
-- Owning a table is not owning the keyring of another's root.
CREATE TABLE attic.root (id int, v bytea) PARTITION BY LIST (id);
CREATE TABLE attic.leaf PARTITION OF attic.root FOR VALUES IN (1);
ALTER TABLE attic.leaf OWNER TO envelope_owner;
SELECT length(envelope_encrypt('attic.root', '')) AS sealed;
SET ROLE envelope_owner;
SELECT envelope.share_keyring('attic.leaf', 'attic.reader');
SELECT envelope.export_keyring('attic.leaf');
RESET ROLE;

-- Export and import.
SET ROLE envelope_owner;
CREATE TABLE attic.traveller (v bytea);
INSERT INTO attic.traveller VALUES (envelope_encrypt('attic.traveller', 'far'));
SELECT envelope.set_limits('attic.traveller', '{"cache_ttl": 60}');
SELECT envelope.export_keyring('attic.traveller') AS exported,
       v AS bytes FROM attic.traveller \gset
SELECT k, jsonb_typeof(v) FROM jsonb_each(:'exported') AS e(k, v) ORDER BY 1;
SELECT k, jsonb_typeof(v) FROM jsonb_each(:'exported'::jsonb #> '{keyrings,0}') AS e(k, v) ORDER BY 1;
SELECT k, jsonb_typeof(v) FROM jsonb_each(:'exported'::jsonb #> '{keyrings,0,data_keys,0}') AS e(k, v) ORDER BY 1;
SELECT k, jsonb_typeof(v) FROM jsonb_each(:'exported'::jsonb #> '{keyrings,0,data_keys,0,wraps}' -> 0) AS e(k, v) ORDER BY 1;
-- What it opens with beside comes along.
SELECT r ->> 'table_name' AS keyring_of, r -> 'seals' AS seals
FROM jsonb_array_elements(envelope.export_keyring('attic.second') -> 'keyrings') r;
RESET ROLE;
-- Wrapped keys only, as they stand.
SELECT decode(w ->> 'wrapped', 'base64') = c.wrapped AS same, w -> 'kms_context' = c.kms_context AS same_context
FROM jsonb_array_elements(:'exported'::jsonb #> '{keyrings,0,data_keys,0,wraps}') w, envelope.wrapped_key c
WHERE c.key_id = (:'exported'::jsonb #>> '{keyrings,0,data_keys,0,key_id}')::uuid;
SET ROLE envelope_other;
SELECT envelope.export_keyring('attic.traveller');
SELECT envelope.import_keyring(:'exported');
RESET ROLE;
SELECT envelope.export_keyring('attic.not_theirs');
SELECT envelope.export_keyring(NULL);
SELECT envelope.import_keyring(NULL);
-- A superuser who grants it gives nothing away.
GRANT EXECUTE ON FUNCTION envelope.import_keyring TO envelope_other;
SET ROLE envelope_other;
SELECT envelope.import_keyring(:'exported');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION envelope.import_keyring FROM envelope_other;
-- It is there: nothing changes, nothing is added.
CREATE TABLE before AS SELECT to_jsonb(k) AS was FROM envelope.data_key k
  UNION ALL SELECT to_jsonb(w) FROM envelope.wrapped_key w
  UNION ALL SELECT to_jsonb(t) FROM envelope.keyring_table t
  UNION ALL SELECT to_jsonb(r) FROM envelope.keyring r;
CREATE VIEW changed AS
  (SELECT to_jsonb(k) FROM envelope.data_key k UNION ALL SELECT to_jsonb(w) FROM envelope.wrapped_key w
   UNION ALL SELECT to_jsonb(t) FROM envelope.keyring_table t UNION ALL SELECT to_jsonb(r) FROM envelope.keyring r)
  EXCEPT TABLE before;
SELECT envelope.import_keyring(:'exported')::text = :'exported'::jsonb #>> '{keyrings,0,keyring_id}' AS same_id;
SELECT count(*) FROM changed;
-- What is missing comes back as it was: times, limits and all; and to the table of that name.
DELETE FROM envelope.keyring_table WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
DELETE FROM envelope.keyring WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
DELETE FROM envelope.data_key WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
DELETE FROM envelope.wrapped_key WHERE key_id = (:'exported'::jsonb #>> '{keyrings,0,data_keys,0,key_id}')::uuid;
SELECT envelope_decrypt_text('attic.traveller', v) FROM attic.traveller;
SELECT envelope.import_keyring(:'exported') IS NOT NULL AS imported;
SELECT envelope_decrypt_text('attic.traveller', v) FROM attic.traveller;
SELECT to_jsonb(k) AS key FROM envelope.data_key k WHERE NOT to_jsonb(k) IN (TABLE before);
SELECT table_name, limits FROM envelope.keyring WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
SELECT relation, seals FROM links WHERE table_name = 'attic.traveller';
SELECT envelope.export_keyring('attic.traveller') = :'exported'::jsonb AS same;
-- An older export changes nothing of what happened since, and wakes nothing that was destroyed.
BEGIN;
UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = (:'exported'::jsonb #>> '{keyrings,0,data_keys,0,key_id}')::uuid;
SELECT envelope.import_keyring(:'exported') IS NOT NULL AS imported;
SELECT state FROM envelope.keys WHERE relation = 'attic.traveller';
UPDATE envelope.data_key SET state = 'destroyed' WHERE key_id = (:'exported'::jsonb #>> '{keyrings,0,data_keys,0,key_id}')::uuid;
DELETE FROM envelope.wrapped_key WHERE key_id = (:'exported'::jsonb #>> '{keyrings,0,data_keys,0,key_id}')::uuid;
SELECT envelope.import_keyring(:'exported') IS NOT NULL AS imported;
SELECT state, keks FROM envelope.keys WHERE relation = 'attic.traveller';
ROLLBACK;
-- Keys that contradict what is here, wraps that hold another key: nothing of it is written.
SELECT jsonb_set(jsonb_set(:'exported', '{keyrings,0,data_keys,0,version}', '2'), '{keyrings,0,data_keys,0,key_id}',
                 '"11111111-1111-8111-8111-111111111111"') AS another,
       jsonb_set(:'exported', '{keyrings,0,data_keys,0,key_id}', '"11111111-1111-8111-8111-111111111111"') AS twin,
       jsonb_set(:'exported', '{keyrings,0,data_keys,0,version}', '3') AS renumbered,
       jsonb_set(:'exported', '{keyrings,0,keyring_id}', to_jsonb(gen_random_uuid())) AS stolen,
       jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,wrapped}', '"AAAA"') AS rewrapped \gset
SELECT envelope.import_keyring(:'another');
SELECT envelope.import_keyring(:'twin');
SELECT envelope.import_keyring(:'rewrapped');
SELECT envelope.import_keyring(:'stolen');
-- A key is known by its id. Its version is a number of each node's own: the one that is here stays.
SELECT envelope.import_keyring(:'renumbered') IS NOT NULL AS imported;
SELECT count(*) FROM changed WHERE to_jsonb::text LIKE '%11111111%';
-- A newer version that is active there seals here, too, and the one that did opens.
BEGIN;
CREATE TABLE attic.newer (v bytea);
SELECT length(envelope_encrypt('attic.newer', '')) AS sealed;
SELECT jsonb_insert(jsonb_set(:'exported', '{keyrings,0,data_keys,0,state}', '"decrypt-only"'),
         '{keyrings,0,data_keys,1}',
         jsonb_set(envelope.export_keyring('attic.newer') #> '{keyrings,0,data_keys,0}', '{version}', '2')) AS newer \gset
DELETE FROM envelope.wrapped_key WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.newer');
DELETE FROM envelope.data_key WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.newer');
SELECT envelope.import_keyring(:'newer') IS NOT NULL AS imported;
SELECT version, state FROM envelope.keys WHERE relation = 'attic.traveller' ORDER BY 1;
SELECT bool_and(ok) FROM envelope.check() WHERE relation = 'attic.traveller';
ROLLBACK;
-- KEKs that are not allowed here.
SELECT envelope.import_keyring(jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,kek}', '"file:///elsewhere/kek"'));
SET envelope.allowed_keks = 'aws-kms://*';
SELECT envelope.import_keyring(:'exported');
RESET envelope.allowed_keks;
-- Anything but an exported keyring.
CREATE FUNCTION import_state(keyring jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN envelope.import_keyring(keyring);
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
END $$;
SELECT what, import_state(keyring) FROM (VALUES
  ('no object', '[]'::jsonb),
  ('empty', '{}'),
  ('format', jsonb_set(:'exported', '{format}', '"envelope/2 keyring"')),
  ('extra', :'exported'::jsonb || '{"x": 1}'),
  ('extra in key', jsonb_set(:'exported', '{keyrings,0,data_keys,0,x}', '1')),
  ('extra in wrap', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,x}', '1')),
  ('missing', :'exported'::jsonb - 'keyrings'),
  ('no keyring', jsonb_set(:'exported', '{keyrings}', '[]')),
  ('none seals', jsonb_set(:'exported', '{keyrings,0,seals}', 'false')),
  ('keyring twice', jsonb_insert(:'exported', '{keyrings,0}', jsonb_set(:'exported'::jsonb #> '{keyrings,0}', '{seals}', 'false'))),
  ('extra in keyring', jsonb_set(:'exported', '{keyrings,0,x}', '1')),
  ('missing in keyring', :'exported'::jsonb #- '{keyrings,0,data_keys}'),
  ('missing in key', :'exported'::jsonb #- '{keyrings,0,data_keys,0,state}'),
  ('missing in wrap', :'exported'::jsonb #- '{keyrings,0,data_keys,0,wraps,0,wrapped}'),
  ('keyring_id', jsonb_set(:'exported', '{keyrings,0,keyring_id}', '"x"')),
  ('keyring_id form', jsonb_set(:'exported', '{keyrings,0,keyring_id}', '"{11111111-1111-8111-8111-111111111111}"')),
  ('key_id', jsonb_set(:'exported', '{keyrings,0,data_keys,0,key_id}', '"11111111-1111-4111-8111-111111111111"')),
  ('purpose', jsonb_set(:'exported', '{keyrings,0,data_keys,0,purpose}', '"open"')),
  ('state', jsonb_set(:'exported', '{keyrings,0,data_keys,0,state}', '"idle"')),
  ('version 0', jsonb_set(:'exported', '{keyrings,0,data_keys,0,version}', '0')),
  ('version text', jsonb_set(:'exported', '{keyrings,0,data_keys,0,version}', '"1"')),
  ('time', jsonb_set(:'exported', '{keyrings,0,data_keys,0,created_at}', '"now"')),
  ('early', jsonb_set(:'exported', '{keyrings,0,data_keys,0,created_at}', '-9223372036854775808')),
  ('no wraps', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps}', '[]')),
  ('destroyed with wraps', jsonb_set(:'exported', '{keyrings,0,data_keys,0,state}', '"destroyed"')),
  ('wrap twice', jsonb_insert(:'exported', '{keyrings,0,data_keys,0,wraps,0}', :'exported'::jsonb #> '{keyrings,0,data_keys,0,wraps,0}')),
  ('key twice', jsonb_insert(:'exported', '{keyrings,0,data_keys,0}', :'exported'::jsonb #> '{keyrings,0,data_keys,0}')),
  ('two active', jsonb_insert(:'exported', '{keyrings,0,data_keys,0}', :'another'::jsonb #> '{keyrings,0,data_keys,0}')),
  ('kek', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,kek}', '"file://relative"')),
  ('context', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,kms_context}', '{"a": 1}')),
  ('base64', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,wrapped}', '"é"')),
  ('empty wrap', jsonb_set(:'exported', '{keyrings,0,data_keys,0,wraps,0,wrapped}', '""')),
  ('limits', jsonb_set(:'exported', '{keyrings,0,limits}', '{"x": 1}'))) AS v(what, keyring);
DROP FUNCTION import_state;
SELECT count(*) FROM changed WHERE to_jsonb::text LIKE '%11111111%';
-- To a table that is named, and to none when the name's own table seals already.
DROP TABLE attic.traveller;
CREATE TABLE attic.traveller (v bytea);
SET client_min_messages = error;
SELECT envelope.create_key('attic.traveller') IS NOT NULL AS made;
RESET client_min_messages;
SELECT envelope.import_keyring(:'exported') IS NOT NULL AS imported;
SELECT relation, seals, former_owner FROM envelope.keyring_table WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
CREATE TABLE attic.destination (v bytea);
SELECT envelope.import_keyring(:'exported', 'attic.destination') IS NOT NULL AS imported;
SELECT envelope_decrypt_text('attic.destination', :'bytes');
SELECT relation, seals, former_owner FROM envelope.keyring_table WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid;
SELECT envelope.import_keyring(:'exported', 'attic.traveller') IS NOT NULL AS imported;
SELECT relation, seals FROM envelope.keyring_table WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid ORDER BY 2;
SELECT envelope_decrypt_text('attic.traveller', :'bytes');
-- It is sealed with elsewhere: a table without a key of its own opens with it, and makes its own to seal.
CREATE TABLE attic.third (v bytea);
SELECT envelope.import_keyring(:'exported', 'attic.third') IS NOT NULL AS imported;
SELECT relation, seals FROM envelope.keyring_table WHERE keyring_id = (:'exported'::jsonb #>> '{keyrings,0,keyring_id}')::uuid ORDER BY 2, 1;
SELECT envelope.import_keyring(:'exported', 'links');
SELECT length(envelope_encrypt('attic.third', '')) AS sealed;

-- check(): a row for every wrapped key of one's own tables; no failure hides another.
SET ROLE envelope_owner;
SELECT relation, ok, count(*) FROM envelope.check() GROUP BY 1, 2 ORDER BY 1;
SET ROLE envelope_other;
SELECT relation, ok FROM envelope.check();
RESET ROLE;
SELECT count(key_id) = (SELECT count(*) FROM envelope.wrapped_key) AS all_wraps, bool_and(ok) FROM envelope.check();
-- What no table uses is told, and is no failure.
SELECT relation, ok, key_id IS NULL AS no_key, sqlstate, message IS NULL AS no_message
FROM envelope.check() WHERE relation LIKE 'cellar.%' ORDER BY 1, 3;
BEGIN;
UPDATE envelope.wrapped_key SET wrapped = set_byte(wrapped, 60, get_byte(wrapped, 60) # 1)
WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.second');
DELETE FROM envelope.wrapped_key WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.reader');
UPDATE envelope.data_key SET state = 'retired' WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.root');
DELETE FROM envelope.keyring WHERE table_name = 'attic.destination';
INSERT INTO envelope.wrapped_key (key_id, kek, kms_context, wrapped) VALUES (gen_random_uuid(), 'file:///k', '{}', '');
-- Rows that cannot be read.
UPDATE envelope.wrapped_key SET kms_context = '[]'
WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'attic.traveller');
UPDATE envelope.keyring SET kms_context = '{"a": 1}' WHERE table_name = 'attic.third';
UPDATE envelope.keyring SET limits = '{"cache_ttl": 0}' WHERE table_name = 'cellar.wine';
-- Sessions that do not learn of a change, and drops that go unseen.
ALTER TABLE envelope.data_key ENABLE TRIGGER invalidate;
ALTER TABLE envelope.wrapped_key DISABLE TRIGGER invalidate_truncate;
ALTER EVENT TRIGGER envelope_watch_drops ENABLE;
SELECT relation, keyring_id IS NULL AS no_keyring, key_id IS NULL AS no_key, kek IS NULL AS no_kek, sqlstate
FROM envelope.check() WHERE NOT ok ORDER BY 1, 2, 3, 4;
SET LOCAL ROLE envelope_owner;
SELECT relation, sqlstate FROM envelope.check() WHERE NOT ok ORDER BY 1;
ROLLBACK;

-- The extension is not dropped by the way, whoever takes it along; a superuser may allow it.
SET client_min_messages = error;
DROP EXTENSION "pgrx-example";
DROP EXTENSION "pgrx-example" CASCADE;
DROP SCHEMA public CASCADE;
DROP SCHEMA envelope CASCADE;
DROP TABLE envelope.keyring;
\set VERBOSITY default
\set SHOW_CONTEXT never
BEGIN;
DELETE FROM envelope.keyring WHERE table_name NOT IN ('attic.root', 'cellar.wine');
DROP EXTENSION "pgrx-example" CASCADE;
ROLLBACK;
\set VERBOSITY sqlstate
SET ROLE envelope_owner;
SET envelope.allow_drop = on;
RESET ROLE;
BEGIN;
SET LOCAL envelope.allow_drop = on;
DROP EXTENSION "pgrx-example" CASCADE;
DROP TABLE attic.second;
ROLLBACK;
BEGIN;
SET LOCAL envelope.allow_drop = on;
DROP SCHEMA public CASCADE;
ROLLBACK;
-- Without keyrings nothing is lost.
BEGIN;
DELETE FROM envelope.keyring;
DROP EXTENSION "pgrx-example" CASCADE;
ROLLBACK;
SELECT count(*) FROM pg_extension WHERE extname = 'pgrx-example';
DROP SCHEMA attic CASCADE;
DROP VIEW links, changed;
DROP TABLE before;
DROP ROLE envelope_member;
