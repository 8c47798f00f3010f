-- Whether columns are protected as they should be.

CREATE FUNCTION envelope.lint(relation regclass DEFAULT NULL)
  RETURNS TABLE (relation text, column_name name, severity text, sqlstate text, message text, remedy text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_lint_wrapper';
COMMENT ON FUNCTION envelope.lint(regclass) IS
  'What is wrong with the protection of the columns of a table, or of all tables of yours (all, for members of pg_monitor): a row for each finding, with the statement that mends it';
