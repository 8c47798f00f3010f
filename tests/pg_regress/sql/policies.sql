-- Policies: what a column is, what its values are bound to, where plaintext comes in.
\set VERBOSITY sqlstate
CREATE TABLE insured (id int PRIMARY KEY, region text NOT NULL DEFAULT 'eu', day date, iban envelope.sealed,
  born date CHECK (envelope.must_be_empty(born)), born_sealed envelope.sealed);
SELECT envelope.set_policy('insured', 'iban', value_type => 'text', bind => '{id,region}', block => 32);
SELECT envelope.set_policy('insured', 'born_sealed', 'source', source => 'born', bind => '{id}', mask => 'last4');
SELECT envelope.set_policy('insured', 'born_sealed', 'source', source => 'born', tag => 'insured.iban');
SELECT envelope.set_policy('insured', 'born_sealed', 'source', source => 'born', bind => '{day}');
TABLE envelope.policies;
CREATE TRIGGER seal BEFORE INSERT ON insured FOR EACH ROW EXECUTE FUNCTION envelope_seal('iban');
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON insured FOR EACH ROW
  EXECUTE FUNCTION envelope_seal('iban', 'born_sealed=born');
INSERT INTO insured (id, iban, born) VALUES (1, 'DE02 1203', '2000-02-29'), (2, 'C:\101', NULL), (3, NULL, NULL);
CREATE VIEW opened AS
  SELECT id, envelope_decrypt_text('insured', iban::bytea, envelope.row_context('insured', 'iban', id::text, region)) AS iban,
         envelope_decrypt_as('insured', born_sealed::bytea, NULL::date,
                             envelope.row_context('insured', 'born_sealed', id::text)) AS born,
         octet_length(iban::bytea) AS stored
  FROM insured ORDER BY id;
TABLE opened;
-- Another row, another column, another key.
UPDATE insured SET iban = (SELECT iban FROM insured WHERE id = 1) WHERE id = 2;
UPDATE insured SET born_sealed = iban WHERE id = 1;
UPDATE insured SET id = id + 10, region = 'us';
TABLE opened;
UPDATE insured SET region = NULL WHERE id = 11;
-- The source is sealed, and says nothing when it is NULL.
UPDATE insured SET born = NULL WHERE id = 11;
UPDATE insured SET born = NULL, born_sealed = born_sealed WHERE id = 11;
UPDATE insured SET born = '2001-01-01', born_sealed = NULL WHERE id = 12;
INSERT INTO insured (id, born, born_sealed) VALUES (14, '2001-01-01', '2001-01-01');
INSERT INTO insured (id, born) VALUES (11, '1999-12-31') ON CONFLICT (id) DO UPDATE SET born_sealed = EXCLUDED.born_sealed;
UPDATE insured SET born_sealed = '20011231' WHERE id = 13;
UPDATE insured SET born_sealed = '31.12.2001' WHERE id = 13;
TABLE opened;
-- What is followed, and what is refused.
ALTER TABLE insured RENAME id TO number;
ALTER TABLE insured RENAME iban TO account;
SELECT tgname, encode(tgargs, 'escape') FROM pg_trigger WHERE tgrelid = 'insured'::regclass ORDER BY 1;
SELECT column_name, tag, bound_columns FROM envelope.policies ORDER BY 1;
TABLE opened;
DROP VIEW opened;
ALTER TABLE insured ALTER number TYPE bigint;
ALTER TABLE insured ALTER number TYPE text;
ALTER TABLE insured DROP number;
ALTER TABLE insured DROP born;
ALTER TABLE insured DROP account;
SELECT column_name FROM envelope.policies;
SELECT envelope.drop_policy('insured', 'born_sealed'), envelope.drop_policy('insured', 'born_sealed');
SELECT envelope.row_context('insured', 'born_sealed', '1');
DROP TABLE insured;
