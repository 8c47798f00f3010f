-- What shows opened values beside the rest of a row.

CREATE FUNCTION envelope_decrypt_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_or_null(regclass, bytea, text) IS
  'As envelope_decrypt; NULL for roles that may not decrypt. Whatever else is wrong is an error';

CREATE FUNCTION envelope_decrypt_or_null(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_or_null(regclass, envelope.sealed, text) IS
  'As envelope_decrypt; NULL for roles that may not decrypt. Whatever else is wrong is an error';

CREATE FUNCTION envelope_decrypt_text_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text_or_null(regclass, bytea, text) IS
  'As envelope_decrypt_or_null, for values that were sealed as text';

CREATE FUNCTION envelope_decrypt_text_or_null(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text_or_null(regclass, envelope.sealed, text) IS
  'As envelope_decrypt_or_null, for values that were sealed as text';

CREATE FUNCTION envelope_decrypt_as_or_null(
    relation regclass, sealed bytea, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as_or_null(regclass, bytea, anyelement, text) IS
  'As envelope_decrypt_or_null, for values that were sealed with their type';

CREATE FUNCTION envelope_decrypt_as_or_null(
    relation regclass, sealed envelope.sealed, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as_or_null(regclass, envelope.sealed, anyelement, text) IS
  'As envelope_decrypt_or_null, for values that were sealed with their type';

CREATE FUNCTION envelope.masked(relation regclass, column_name name, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_masked_wrapper';
COMMENT ON FUNCTION envelope.masked(regclass, name, bytea, text) IS
  'The last four characters of a sealed text, if the column''s policy has that mask; for roles that may read the column and not decrypt';

CREATE FUNCTION envelope.masked(
    relation regclass, column_name name, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_masked_wrapper';
COMMENT ON FUNCTION envelope.masked(regclass, name, envelope.sealed, text) IS
  'The last four characters of a sealed text, if the column''s policy has that mask; for roles that may read the column and not decrypt';

CREATE FUNCTION envelope.open_view(
    relation regclass, view_name text, write text DEFAULT 'table', mask jsonb DEFAULT '{}',
    execute boolean DEFAULT false)
  RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 3
  AS 'MODULE_PATHNAME', 'envelope_open_view_wrapper';
COMMENT ON FUNCTION envelope.open_view(regclass, text, text, jsonb, boolean) IS
  'Prints the statements that make a view with the opened values of a table, and runs them if execute is true';

-- For every type, arrays and enums too, which no cast is for.
CREATE FUNCTION envelope.form_of(value anyelement)
  RETURNS envelope.sealed LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.form_of(anyelement) IS
  'For envelope.write_through: the canonical form of a value, filled, for the trigger to seal';

CREATE FUNCTION envelope.write_through()
  RETURNS trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'envelope_write_through_wrapper';
COMMENT ON FUNCTION envelope.write_through() IS
  'Trigger INSTEAD OF INSERT OR UPDATE OR DELETE of a view that envelope.open_view makes: writes to the view''s table';
