-- What shows opened values beside the rest of a row.

CREATE FUNCTION envelope_decrypt_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_or_null(regclass, bytea, text) IS
  'As envelope_decrypt; NULL for roles that may not decrypt. Whatever else is wrong is an error';

CREATE FUNCTION envelope_decrypt_text_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text_or_null(regclass, bytea, text) IS
  'As envelope_decrypt_or_null, for values that were sealed as text';
