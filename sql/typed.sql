-- Values with types: sealed as a canonical form that no setting changes, and opened as the type again.

CREATE FUNCTION envelope_encrypt_as(relation regclass, value anyelement, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_encrypt_as_wrapper';
COMMENT ON FUNCTION envelope_encrypt_as(regclass, anyelement, text) IS
  'Seals a value of any common type in a form that depends on no setting, padded so that lengths tell little';

CREATE FUNCTION envelope_decrypt_as(
    relation regclass, sealed bytea, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as(regclass, bytea, anyelement, text) IS
  'Opens what envelope_encrypt_as sealed, as a value of the type of type_of (NULL::date), whose own value does not count';
