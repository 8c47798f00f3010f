-- envelope_decrypt_or_null is NULL for a missing right, and for nothing else.
CREATE ROLE envelope_reader;
CREATE TABLE half_open (id int PRIMARY KEY, v bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON half_open FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO half_open VALUES (1, 'bytes'), (2, envelope_encrypt_text('half_open', 'text')), (3, NULL);
CREATE TABLE half_other (id int, v bytea);
SELECT envelope.create_key('half_other') IS NOT NULL AS made;
-- 4: changed, 5: cut, 6: in clear, 7: of another table, 8: under a key that is not here.
CREATE TABLE half_bad AS
  SELECT 4 AS id, set_byte(v, 45, get_byte(v, 45) # 1) AS v FROM half_open WHERE id = 1
  UNION ALL SELECT 5, substr(v, 1, 50) FROM half_open WHERE id = 1
  UNION ALL SELECT 6, 'in clear'
  UNION ALL SELECT 7, envelope_encrypt('half_other', 'x')
  UNION ALL SELECT 8, set_byte(v, 10, get_byte(v, 10) # 1) FROM half_open WHERE id = 1;
CREATE FUNCTION half_outcome(v bytea, context text DEFAULT '') RETURNS TABLE (outcome text, as_text text)
  LANGUAGE plpgsql AS $$
  BEGIN
    BEGIN
      outcome := coalesce(encode(envelope_decrypt_or_null('half_open', v, context), 'escape'), 'NULL');
    EXCEPTION WHEN OTHERS THEN outcome := SQLSTATE; END;
    BEGIN
      as_text := coalesce(envelope_decrypt_text_or_null('half_open', v, context), 'NULL');
    EXCEPTION WHEN OTHERS THEN as_text := SQLSTATE; END;
    RETURN NEXT;
  END $$;
GRANT SELECT ON half_open, half_bad TO envelope_reader;
SELECT id, o.* FROM (TABLE half_open UNION ALL TABLE half_bad) AS t, half_outcome(v) AS o ORDER BY id;
SELECT * FROM half_outcome((SELECT v FROM half_open WHERE id = 1), 'another context');
-- Without the right: what shows without a key is an error, all else NULL.
SET ROLE envelope_reader;
SELECT id, o.* FROM (TABLE half_open UNION ALL TABLE half_bad) AS t, half_outcome(v) AS o ORDER BY id;
SELECT * FROM half_outcome((SELECT v FROM half_open WHERE id = 1), 'another context');
-- The right to seal is none to open; the right to manage is one.
RESET ROLE;
SELECT envelope.grant_key('half_open', 'envelope_reader', 'encrypt');
SET ROLE envelope_reader;
SELECT id, o.* FROM half_open, half_outcome(v) AS o ORDER BY id;
RESET ROLE;
SELECT envelope.grant_key('half_open', 'envelope_reader', 'manage');
SET ROLE envelope_reader;
SELECT id, o.* FROM half_open, half_outcome(v) AS o ORDER BY id;
RESET ROLE;
-- Arguments, and what is no table.
\set VERBOSITY sqlstate
SELECT envelope_decrypt_or_null(NULL, '\x00');
SELECT envelope_decrypt_or_null('half_open', NULL, NULL);
CREATE VIEW half_view AS TABLE half_open;
SELECT envelope_decrypt_or_null('half_view', v) FROM half_view;
SELECT envelope_decrypt_text_or_null('half_view', v) FROM half_view;
\set VERBOSITY default
DROP VIEW half_view;
DROP TABLE half_open, half_other, half_bad;
DROP FUNCTION half_outcome;
DROP ROLE envelope_reader;
