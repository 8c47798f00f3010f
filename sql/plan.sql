-- From a column of plaintext to a sealed one, and back.

CREATE FUNCTION envelope.plan(relation regclass, columns name[], options jsonb DEFAULT '{}')
  RETURNS TABLE (step integer, sql text, lock text, remark text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_plan_wrapper';
COMMENT ON FUNCTION envelope.plan(regclass, name[], jsonb) IS
  'The statements, in their order, that protect columns of a table, each with the lock that it takes; changes nothing';

CREATE FUNCTION envelope.protect(
    relation regclass, column_name name, value_type regtype DEFAULT NULL, form text DEFAULT 'sealed',
    source name DEFAULT NULL, tag text DEFAULT NULL, bind name[] DEFAULT '{}', block integer DEFAULT NULL,
    mask text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_protect_wrapper';
COMMENT ON FUNCTION envelope.protect(regclass, name, regtype, text, name, text, name[], integer, text) IS
  'Protects a column of a table that may be locked: seals what is there in one rewrite, and what arrives from then on';

CREATE FUNCTION envelope.unprotect(relation regclass, column_name name, to_type regtype DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unprotect_wrapper';
COMMENT ON FUNCTION envelope.unprotect(regclass, name, regtype) IS
  'Makes a protected column one of plaintext again, from wherever its adoption has come to; needs decrypt';
