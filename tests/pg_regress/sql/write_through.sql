-- Views with write => 'triggers': the opened column is written to, the table is what changes.
\pset format unaligned
CREATE ROLE envelope_scribe;
CREATE ROLE envelope_blind;
CREATE SCHEMA "Q ""x";
CREATE TABLE "Q ""x"."T'" (
  "A $1" int, "b""c" text, name text DEFAULT 'nobody', n int DEFAULT 1, doc json, big text,
  made int GENERATED ALWAYS AS (n * 2) STORED, serial int GENERATED ALWAYS AS IDENTITY,
  ssn envelope.sealed, born envelope.sealed, raw bytea, word bytea, PRIMARY KEY ("b""c", "A $1"));
ALTER TABLE "Q ""x"."T'" ALTER big SET STORAGE EXTERNAL;
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON "Q ""x"."T'"
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn', 'born', 'raw', 'word');
SELECT envelope.set_policy('"Q ""x"."T''"', 'born', value_type => 'date');
SELECT envelope.set_policy('"Q ""x"."T''"', 'word', form => 'bytea', value_type => 'text');
SELECT envelope.open_view('"Q ""x"."T''"', '"Q ""x".V', write => 'triggers', execute => true);
-- Defaults, generated columns and identities come back.
INSERT INTO "Q ""x".v ("A $1", "b""c", ssn, born, raw, word) VALUES (1, 'k', '123', '1970-01-02', '\x00ff', 'C:\101')
  RETURNING "A $1", "b""c", name, n, made, serial, ssn, born, raw, word, envelope.is_sealed(ssn_sealed) AS sealed;
INSERT INTO "Q ""x".v ("A $1", "b""c", name, n) VALUES (2, 'k', NULL, 5) RETURNING name, n, made, serial, ssn;
INSERT INTO "Q ""x".v ("A $1", "b""c", ssn_sealed) VALUES (3, 'k', 'plain') RETURNING ssn;
INSERT INTO "Q ""x".v ("A $1", "b""c", doc, big)
  SELECT 4, 'k', '{"a": 1}', string_agg(md5(g::text), '') FROM generate_series(1, 1000) AS g RETURNING doc, length(big);
COPY "Q ""x".v ("A $1", "b""c", ssn) FROM STDIN;
5	k	from copy
\.
SELECT "A $1", name, ssn, born, raw, word, doc, length(big) FROM "Q ""x".v ORDER BY 1;
SELECT "A $1", envelope.is_sealed(ssn) AS ssn, envelope.is_sealed(born) AS born, envelope.is_sealed(raw) AS raw,
       envelope.is_sealed(word) AS word FROM "Q ""x"."T'" ORDER BY 1;
-- Only what differs is written: other sealed values keep their bytes, large values are not stored again.
CREATE TABLE before AS SELECT ctid AS at, * FROM "Q ""x"."T'";
CREATE TABLE written (columns text[]);
CREATE FUNCTION note_columns() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO written SELECT TG_ARGV::text[]; RETURN NEW; END $$;
CREATE TRIGGER a BEFORE UPDATE OF name ON "Q ""x"."T'" FOR EACH ROW EXECUTE FUNCTION note_columns('name');
CREATE TRIGGER b BEFORE UPDATE OF ssn ON "Q ""x"."T'" FOR EACH ROW EXECUTE FUNCTION note_columns('ssn');
CREATE TRIGGER c BEFORE UPDATE OF big ON "Q ""x"."T'" FOR EACH ROW EXECUTE FUNCTION note_columns('big');
UPDATE "Q ""x".v SET name = 'Ann', big = big, ssn = ssn, ssn_sealed = ssn_sealed WHERE "A $1" IN (1, 4) RETURNING name, ssn;
UPDATE "Q ""x".v SET ssn = '456' WHERE "A $1" = 1 RETURNING ssn, born;
SELECT columns[0] FROM written;
SELECT n."A $1", n.ssn OPERATOR(envelope.*=) o.ssn AS ssn, n.born OPERATOR(envelope.*=) o.born AS born, n.word = o.word AS word
FROM "Q ""x"."T'" n JOIN before o USING ("A $1") WHERE "A $1" IN (1, 4) ORDER BY 1;
-- Nothing differs: nothing is written.
UPDATE "Q ""x".v SET name = name, ssn = ssn;
SELECT count(*) FROM written;
DROP TRIGGER a ON "Q ""x"."T'"; DROP TRIGGER b ON "Q ""x"."T'"; DROP TRIGGER c ON "Q ""x"."T'";
-- Other ways to give a value, and to take it away; keys change too.
UPDATE "Q ""x".v SET ssn_sealed = 'by the sealed column', born = '0044-03-15 BC', "A $1" = 11, raw = NULL, word = 'zzz', doc = '{}'
  WHERE "A $1" = 1 RETURNING "A $1", ssn, born, raw, word, doc;
UPDATE "Q ""x".v SET ssn = NULL WHERE "A $1" = 11 RETURNING ssn, ssn_sealed;
UPDATE "Q ""x".v SET n = n + 1 WHERE "A $1" = 11 RETURNING n, made;
DELETE FROM "Q ""x".v WHERE "A $1" = 5 RETURNING ssn;
\set VERBOSITY sqlstate
INSERT INTO "Q ""x".v ("A $1", "b""c", ssn, ssn_sealed) VALUES (6, 'k', 'x', 'y');
UPDATE "Q ""x".v SET ssn = 'x', ssn_sealed = 'y' WHERE "A $1" = 3;
INSERT INTO "Q ""x".v ("A $1", "b""c", serial) VALUES (6, 'k', 6);
UPDATE "Q ""x".v SET made = 6 WHERE "A $1" = 3;
INSERT INTO "Q ""x".v ("A $1", "b""c") VALUES (3, 'k');
INSERT INTO "Q ""x".v ("A $1", "b""c", born) VALUES (6, 'k', 'no date');
-- PostgreSQL takes no conflict target here; without one it does as if nothing were said.
INSERT INTO "Q ""x".v ("A $1", "b""c") VALUES (3, 'k') ON CONFLICT ("b""c", "A $1") DO NOTHING;
INSERT INTO "Q ""x".v ("A $1", "b""c") VALUES (3, 'k') ON CONFLICT DO NOTHING;
\set VERBOSITY default
-- Names change, columns come.
ALTER TABLE "Q ""x"."T'" RENAME TO t;
ALTER TABLE "Q ""x".t RENAME COLUMN doc TO "the doc";
ALTER TABLE "Q ""x".t RENAME COLUMN "A $1" TO id;
ALTER TABLE "Q ""x".t ADD later int DEFAULT 7;
ALTER VIEW "Q ""x".v RENAME COLUMN "A $1" TO id;
UPDATE "Q ""x".v SET ssn = 'renamed' WHERE id = 3 RETURNING id, ssn;
INSERT INTO "Q ""x".v (id, "b""c", ssn) VALUES (8, 'k', 'later') RETURNING ssn;
SELECT later FROM "Q ""x".t WHERE id = 8;
DELETE FROM "Q ""x".v WHERE id = 8;
-- The table's triggers and rules of the day: a row that they leave alone is passed over.
CREATE FUNCTION leave_alone() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN IF OLD.name = 'kept' THEN RETURN NULL; END IF; IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$;
CREATE TRIGGER leave BEFORE UPDATE OR DELETE ON "Q ""x".t FOR EACH ROW EXECUTE FUNCTION leave_alone();
UPDATE "Q ""x".v SET name = 'kept' WHERE id = 3;
UPDATE "Q ""x".v SET n = 100 WHERE id = 3 RETURNING n;
DELETE FROM "Q ""x".v WHERE id = 3;
SELECT n FROM "Q ""x".v WHERE id = 3;
DROP TRIGGER leave ON "Q ""x".t;
-- The same row twice in one statement.
\set VERBOSITY sqlstate
UPDATE "Q ""x".v SET n = v.n + 1 FROM generate_series(1, 2) WHERE id = 3;
WITH first AS (UPDATE "Q ""x".v SET n = 50 WHERE id = 3 RETURNING id) UPDATE "Q ""x".v SET n = 51 FROM first WHERE v.id = first.id;
\set VERBOSITY default

-- Rights are those of the role that writes.
GRANT USAGE ON SCHEMA "Q ""x" TO envelope_scribe, envelope_blind;
GRANT SELECT, INSERT, UPDATE, DELETE ON "Q ""x".v TO envelope_scribe, envelope_blind;
GRANT SELECT ON "Q ""x".t TO envelope_scribe, envelope_blind;
SELECT envelope.grant_key('"Q ""x".t', 'envelope_scribe', 'encrypt, decrypt');
SELECT envelope.grant_key('"Q ""x".t', 'envelope_blind', 'encrypt');
\set VERBOSITY sqlstate
SET ROLE envelope_scribe;
UPDATE "Q ""x".v SET name = 'x' WHERE id = 3;
DELETE FROM "Q ""x".v WHERE id = 3;
RESET ROLE;
GRANT INSERT, UPDATE (name, ssn), DELETE ON "Q ""x".t TO envelope_scribe, envelope_blind;
SET ROLE envelope_scribe;
UPDATE "Q ""x".v SET name = 'Bob' WHERE id = 3 RETURNING name, ssn;
UPDATE "Q ""x".v SET ssn = 'Bob''s' WHERE id = 3 RETURNING name, ssn;
UPDATE "Q ""x".v SET n = 0 WHERE id = 3;
-- Who sees no value changes none by the column that would show it.
SET ROLE envelope_blind;
UPDATE "Q ""x".v SET name = 'Cid', ssn = ssn WHERE id = 3 RETURNING name, ssn;
UPDATE "Q ""x".v SET ssn = 'x' WHERE id = 3;
UPDATE "Q ""x".v SET ssn_sealed = 'new' WHERE id = 3 RETURNING name, ssn;
INSERT INTO "Q ""x".v (id, "b""c", ssn) VALUES (9, 'k', 'unseen') RETURNING id, ssn;
RESET ROLE;
SELECT id, name, ssn FROM "Q ""x".v WHERE id IN (3, 9) ORDER BY 1;
\set VERBOSITY default

-- Columns of their own for plaintext, and values bound to their row.
CREATE TABLE sources (id int PRIMARY KEY, ssn text, ssn_sealed envelope.sealed, note bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON sources
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn_sealed=ssn', 'note');
SELECT envelope.set_policy('sources', 'ssn_sealed', form => 'source', source => 'ssn', bind => '{id}');
SELECT envelope.set_policy('sources', 'note', form => 'bytea', value_type => 'text', bind => '{id}');
SELECT envelope.open_view('sources', 'sources_open', write => 'triggers', execute => true);
INSERT INTO sources_open (id, ssn, note) VALUES (1, '123', 'bound') RETURNING id, ssn, note, ssn_new;
SELECT id, ssn, envelope.is_sealed(ssn_sealed) AS ssn_sealed, envelope.is_sealed(note) AS note FROM sources;
UPDATE sources_open SET ssn = 'new' RETURNING ssn, note;
UPDATE sources_open SET id = 2 RETURNING id, ssn, note;
UPDATE sources_open SET ssn_new = 'by the source' RETURNING ssn;
UPDATE sources_open SET ssn = NULL, note = NULL RETURNING ssn, note, ssn_sealed;
\set VERBOSITY sqlstate
UPDATE sources_open SET ssn = 'x', ssn_new = 'y';
UPDATE sources_open SET ssn = 'x', ssn_sealed = NULL;
\set VERBOSITY default
-- The default view takes new values by the source.
SELECT count(*) FROM envelope.open_view('sources', 'sources_plain', execute => true);
INSERT INTO sources_plain (id, ssn_new, note_sealed) VALUES (3, '456', 'note') RETURNING ssn, note;
INSERT INTO sources_plain AS s (id, ssn_new) VALUES (3, '789') ON CONFLICT (id) DO UPDATE SET ssn_sealed = excluded.ssn_sealed RETURNING ssn;
DROP TABLE sources CASCADE;

-- Values with types, under whatever settings; bytea columns of typed values, arrays, enums, domains.
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN zip AS varchar(5) CHECK (value ~ '^[0-9]+$');
CREATE TABLE typed_in (id int PRIMARY KEY, born date, born_sealed envelope.sealed, due bytea, pay envelope.sealed,
  ok envelope.sealed, mood envelope.sealed, nums envelope.sealed, doc envelope.sealed, zip envelope.sealed, note envelope.sealed);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON typed_in FOR EACH ROW
  EXECUTE FUNCTION envelope_seal('born_sealed=born', 'due', 'pay', 'ok', 'mood', 'nums', 'doc', 'zip', 'note');
SELECT envelope.set_policy('typed_in', 'born_sealed', form => 'source', source => 'born');
SELECT envelope.set_policy('typed_in', 'due', form => 'bytea', value_type => 'timestamptz', bind => '{id}');
SELECT envelope.set_policy('typed_in', c.name, value_type => c.type) FROM (VALUES ('pay', 'numeric(8,2)'), ('ok', 'boolean'),
  ('mood', 'mood'), ('nums', 'integer[]'), ('doc', 'jsonb'), ('zip', 'zip')) AS c (name, type);
SELECT envelope.set_policy('typed_in', 'note', value_type => 'text', block => 64);
SELECT count(*) FROM envelope.open_view('typed_in', 'typed_open', write => 'triggers', execute => true);
SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo';
INSERT INTO typed_open (id, born, due, pay, ok, mood, nums, doc, zip, note)
  VALUES (1, '31/12/1999', '31/12/1999 23:00+00', 12.5, true, 'sad', '{1,NULL,3}', '{"a": [1]}', '12345', 'short')
  RETURNING born, due, pay, ok, mood, nums, doc, zip, note;
UPDATE typed_open SET born = born + 1, due = due + interval '1 hour', pay = pay * 2, ok = NOT ok, mood = 'glad', nums = nums || 4,
  zip = '54321', note = note || 'er' RETURNING born, due, pay, ok, mood, nums, doc, zip, note;
RESET DateStyle; RESET TimeZone;
SELECT * FROM (SELECT born, due, pay, ok, mood, nums, doc, zip, note FROM typed_open) AS opened;
SELECT length(note::bytea) - 58 AS note, length(ok::bytea) - 58 AS ok, born FROM typed_in;
\set VERBOSITY sqlstate
UPDATE typed_open SET zip = 'x';
UPDATE typed_open SET mood = 'angry';
UPDATE typed_open SET pay = 1000000;
\set VERBOSITY default
DROP TABLE typed_in CASCADE;
DROP TYPE mood;
DROP DOMAIN zip;

-- What cannot be written through.
CREATE TABLE no_key (id int UNIQUE, v envelope.sealed);
CREATE TABLE one_key (id int NOT NULL, v envelope.sealed);
CREATE UNIQUE INDEX ON one_key (id) WHERE id > 0;
CREATE UNIQUE INDEX ON one_key ((id + 1));
\set VERBOSITY sqlstate
SELECT envelope.open_view('no_key', 'no_key_open', write => 'triggers');
SELECT envelope.open_view('one_key', 'one_key_open', write => 'triggers');
CREATE UNIQUE INDEX one_key_id ON one_key (id);
-- Without a sealing trigger nothing is stored.
SELECT count(*) FROM envelope.open_view('one_key', 'one_key_open', write => 'triggers', execute => true);
INSERT INTO one_key_open VALUES (1, 'v');
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON one_key FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO one_key_open VALUES (1, 'v') RETURNING v;
DROP INDEX one_key_id;
UPDATE one_key_open SET v = 'w';
CREATE TRIGGER wrong BEFORE INSERT ON no_key FOR EACH ROW EXECUTE FUNCTION envelope.write_through();
INSERT INTO no_key VALUES (1, 'x');
CREATE VIEW joined AS SELECT a.id FROM one_key a JOIN one_key b USING (id);
CREATE TRIGGER wrong INSTEAD OF INSERT ON joined FOR EACH ROW EXECUTE FUNCTION envelope.write_through();
INSERT INTO joined VALUES (1);
CREATE UNIQUE INDEX one_key_id ON one_key (id);
CREATE VIEW misnamed AS SELECT id, v FROM one_key;
CREATE TRIGGER wrong INSTEAD OF INSERT ON misnamed FOR EACH ROW EXECUTE FUNCTION envelope.write_through('v', 'v', 'v');
INSERT INTO misnamed VALUES (1);
SELECT envelope.write_through();
\set VERBOSITY default
SET client_min_messages = error;
DROP TABLE no_key, one_key, before, written CASCADE;
DROP FUNCTION note_columns, leave_alone CASCADE;
DROP SCHEMA "Q ""x" CASCADE;
DROP ROLE envelope_scribe, envelope_blind;
