-- Search: from a value to the terms and tokens that stand in index columns, and what compares them.

-- As && and @> of bigint[], which are not leakproof: under row security and security barriers conditions that may show
-- values of rows are no index conditions.

CREATE FUNCTION envelope.any_token_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_any_token_support_wrapper';
COMMENT ON FUNCTION envelope.any_token_support(internal) IS
  'For the planner: envelope.any_token is the condition && of a GIN index';

CREATE FUNCTION envelope.any_token(stored bigint[], asked bigint[])
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
  SUPPORT envelope.any_token_support
  AS 'MODULE_PATHNAME', 'envelope_any_token_wrapper';
COMMENT ON FUNCTION envelope.any_token(bigint[], bigint[]) IS
  'Whether a row has one of the tokens, as && by a GIN index, and by the index under row security, too: for ranges';

CREATE FUNCTION envelope.all_tokens_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_all_tokens_support_wrapper';
COMMENT ON FUNCTION envelope.all_tokens_support(internal) IS
  'For the planner: envelope.all_tokens is the condition @> of a GIN index';

CREATE FUNCTION envelope.all_tokens(stored bigint[], asked bigint[])
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
  SUPPORT envelope.all_tokens_support
  AS 'MODULE_PATHNAME', 'envelope_all_tokens_wrapper';
COMMENT ON FUNCTION envelope.all_tokens(bigint[], bigint[]) IS
  'Whether a row has all of the tokens, as @> by a GIN index, and by the index under row security, too: for words and parts of words; false where none is asked for';
