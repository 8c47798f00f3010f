\set VERBOSITY sqlstate
CREATE TABLE people (id int PRIMARY KEY, name text, ssn bytea, card bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn', 'card');
CREATE VIEW opened AS
  SELECT id, name, envelope_decrypt_text('people', ssn) AS ssn,
         envelope_decrypt_text('people', card) AS card,
         envelope.is_sealed(ssn) AS sealed
  FROM people;

-- INSERT, of several rows, of NULL; COPY.
INSERT INTO people VALUES (1, 'Ann', '123-45-6789', '4929'), (2, 'Bob', NULL, '5555');
COPY people FROM stdin;
3	Cid	987-65-4321	\N
\.
SELECT * FROM opened ORDER BY id;

-- UPDATE of another column leaves the sealed bytes as they are; of the column, seals.
CREATE TABLE before AS SELECT * FROM people;
UPDATE people SET name = upper(name);
SELECT count(*) AS untouched FROM people p JOIN before b USING (id)
  WHERE p.ssn IS NOT DISTINCT FROM b.ssn AND p.card IS NOT DISTINCT FROM b.card;
UPDATE people SET ssn = '000' WHERE id = 1;
-- Moved as it is, it stays as it is; a column may take another's, both being of this table.
UPDATE people SET ssn = card WHERE id = 2;
SELECT * FROM opened ORDER BY id;
SELECT b.card = p.ssn AS same_bytes FROM people p JOIN before b USING (id) WHERE id = 2;

-- UPSERT: EXCLUDED is sealed already, and is not sealed twice.
INSERT INTO people VALUES (1, 'Ann', '111', '222')
  ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn, card = EXCLUDED.card;
INSERT INTO people VALUES (1, 'Ann', '333', '444')
  ON CONFLICT (id) DO UPDATE SET ssn = 'fresh';
SELECT * FROM opened WHERE id = 1;

-- Rows inserted from the table itself, and from its dump.
INSERT INTO people SELECT id + 100, name, ssn, card FROM people;
SELECT a.ssn IS NOT DISTINCT FROM b.ssn AS same_bytes
FROM people a JOIN people b ON b.id = a.id + 100 ORDER BY a.id;

-- The four-way decision.
-- (a) a key of this table: it must open.
INSERT INTO people SELECT 201, 'cut', substr(card, 1, length(card) - 1) FROM people WHERE id = 1;
INSERT INTO people SELECT 202, 'short', substr(card, 1, 30) FROM people WHERE id = 1;
INSERT INTO people SELECT 203, 'changed', set_byte(card, 45, get_byte(card, 45) # 1)
  FROM people WHERE id = 1;
INSERT INTO people VALUES (204, 'context', envelope_encrypt('people', 'x', 'another'));
-- (b) a key of another table.
CREATE TABLE strangers (v bytea);
INSERT INTO people VALUES (205, 'stranger', envelope_encrypt('strangers', 'x'));
-- (c) the shape of a sealed value, a key that nobody knows.
INSERT INTO people SELECT 206, 'unknown', set_byte(card, 3, get_byte(card, 3) # 1)
  FROM people WHERE id = 1;
-- … which envelope_encrypt seals as plaintext.
INSERT INTO people SELECT 207, 'as plaintext',
  envelope_encrypt('people', set_byte(card, 3, get_byte(card, 3) # 1)) FROM people WHERE id = 1;
-- (d) anything else is plaintext: short, of another suite, of another UUID version, empty.
INSERT INTO people (id, ssn) VALUES
  (208, '\xf7e1'), (209, ''), (210, '\xf7e1' || decode(repeat('00', 80), 'hex')),
  (211, '\xf7e2' || decode(repeat('88', 80), 'hex')), (212, '\xf7e1' || decode(repeat('88', 30), 'hex'));
SELECT id, length(ssn) - length(envelope_decrypt('people', ssn)) AS overhead
FROM people WHERE id > 206 ORDER BY id;

-- Plaintext from before the trigger is sealed by the next UPDATE, whatever it touches.
ALTER TABLE people DISABLE TRIGGER seal;
INSERT INTO people VALUES (301, 'early', 'plain', 'plain');
ALTER TABLE people ENABLE TRIGGER seal;
UPDATE people SET name = 'late' WHERE id = 301;
SELECT * FROM opened WHERE id = 301;

-- Toasted and compressed values; an untouched one is not fetched and not opened.
INSERT INTO people (id, ssn) VALUES (401, convert_to(repeat('abc', 100000), 'UTF8'));
SELECT length(ssn), sealed FROM opened WHERE id = 401;
SELECT envelope.flush_cache() > 0 AS flushed;
UPDATE people SET name = 'big' WHERE id = 401;
SELECT keys_cached FROM envelope.stats;
SELECT length(ssn), sealed FROM opened WHERE id = 401;

-- A statement with RETURNING.
INSERT INTO people (id, ssn) VALUES (502, 'x') RETURNING envelope.is_sealed(ssn) AS sealed;

-- A CHECK that holds whoever writes.
ALTER TABLE people ADD CHECK (envelope.is_sealed(ssn));
ALTER TABLE people DISABLE TRIGGER seal;
INSERT INTO people (id, ssn) VALUES (503, 'plain');
ALTER TABLE people ENABLE TRIGGER seal;

-- Ways to set it up that cannot seal.
CREATE TABLE wrong (id int, v bytea, t text);
CREATE TRIGGER s AFTER INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH STATEMENT EXECUTE FUNCTION envelope_seal('v');
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE DELETE ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO wrong VALUES (1);
DELETE FROM wrong;
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal();
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('nope');
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('t');
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
ALTER TABLE wrong ADD g bytea GENERATED ALWAYS AS (v) STORED;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('g');
INSERT INTO wrong (v) VALUES ('clear');
DROP TRIGGER s ON wrong;
CREATE TRIGGER s BEFORE INSERT ON wrong FOR EACH ROW EXECUTE FUNCTION envelope_seal('context=id');
INSERT INTO wrong VALUES (1);
DROP TRIGGER s ON wrong;
SELECT envelope_seal();

DROP VIEW opened;
DROP TABLE people, before, strangers, wrong;
