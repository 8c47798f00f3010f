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

-- Only a value's own type tells how it is written: of an untyped literal and of an untyped parameter that is text, which
-- is then read as the column's type.

CREATE FUNCTION envelope_search(relation regclass, column_name name, value anycompatible, kind text DEFAULT NULL)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_wrapper';
COMMENT ON FUNCTION envelope_search(regclass, name, anycompatible, text) IS
  'The terms that a row has one of whose sealed value is this one, or begins or ends like it: WHERE ssn_ix = ANY (envelope_search(...))';

CREATE FUNCTION envelope_search_range(
    relation regclass, column_name name, low anycompatible, high anycompatible, kind text DEFAULT NULL)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_range_wrapper';
COMMENT ON FUNCTION envelope_search_range(regclass, name, anycompatible, anycompatible, text) IS
  'The terms that a row has one of whose sealed value is from low to high (NULL: no end): WHERE born_ix = ANY (envelope_search_range(...)), and the opened value compared';

CREATE FUNCTION envelope_search_tokens(relation regclass, column_name name, value anycompatible, kind text DEFAULT NULL)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_tokens_wrapper';
COMMENT ON FUNCTION envelope_search_tokens(regclass, name, anycompatible, text) IS
  'The tokens that a row has all of whose sealed text has these words or this part: WHERE name_ix @> envelope_search_tokens(...), and the opened value compared';

CREATE FUNCTION envelope_search_range_tokens(
    relation regclass, column_name name, low anycompatible, high anycompatible, kind text DEFAULT NULL)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_range_tokens_wrapper';
COMMENT ON FUNCTION envelope_search_range_tokens(regclass, name, anycompatible, anycompatible, text) IS
  'The tokens that a row has one of whose sealed value is from low to high (NULL: no end): WHERE pay_ix && envelope_search_range_tokens(...)';

-- What the planner puts in the place of envelope_matches.

CREATE FUNCTION envelope.terms_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_terms_asked_wrapper';
COMMENT ON FUNCTION envelope.terms_asked(regclass, name, name, text, anycompatible) IS
  'For envelope_matches: the terms that a row has one of that may match';

-- One term: of an array of such calls the planner knows how many elements it has. There is one for each index key at that
-- time, and one more for a key that comes after that. Strict, so that the planner expects nothing of the latter.
CREATE FUNCTION envelope.term_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible, version bigint)
  RETURNS bytea LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_term_asked_wrapper';
COMMENT ON FUNCTION envelope.term_asked(regclass, name, name, text, anycompatible, bigint) IS
  'For envelope_matches: the term under the index key of that version that a row may have that matches';

CREATE FUNCTION envelope.key_since(relation regclass, column_name name, index_column name, versions bigint[])
  RETURNS bigint LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_key_since_wrapper';
COMMENT ON FUNCTION envelope.key_since(regclass, name, name, bigint[]) IS
  'For envelope_matches: the version of an index key that has come since the statement was planned, when there were those of these versions; NULL if none has';

CREATE FUNCTION envelope.tokens_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_tokens_asked_wrapper';
COMMENT ON FUNCTION envelope.tokens_asked(regclass, name, name, text, anycompatible) IS
  'For envelope_matches: the tokens that a row has all of that may match; of an order, one of';

CREATE FUNCTION envelope.recheck_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_recheck_support_wrapper';
COMMENT ON FUNCTION envelope.recheck_support(internal) IS
  'For the planner: envelope.recheck is true of nearly all rows that it is asked of';

CREATE FUNCTION envelope.recheck(
    relation regclass, column_name name, sealed anyelement, index_column name, op text, value anycompatible, context text)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.recheck_support
  AS 'MODULE_PATHNAME', 'envelope_recheck_wrapper';
COMMENT ON FUNCTION envelope.recheck(regclass, name, anyelement, name, text, anycompatible, text) IS
  'For envelope_matches: whether the opened value matches, by what the index in that column keeps of it';

CREATE FUNCTION envelope.matches_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_matches_support_wrapper';
COMMENT ON FUNCTION envelope.matches_support(internal) IS
  'For the planner: envelope_matches is a condition of the index column, and a recheck of the rows found';

CREATE FUNCTION envelope_matches(
    relation regclass, column_name name, sealed bytea, index_column anyelement, op text, value anycompatible,
    context text DEFAULT '', index_name name DEFAULT NULL)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.matches_support
  AS 'MODULE_PATHNAME', 'envelope_matches_wrapper';
COMMENT ON FUNCTION envelope_matches(regclass, name, bytea, anyelement, text, anycompatible, text, name) IS
  'Whether the sealed value is =, <, <=, >, >= the value, or has it as prefix, suffix, part (contains) or words; finds such rows by the index on index_column';

CREATE FUNCTION envelope_matches(
    relation regclass, column_name name, sealed envelope.sealed, index_column anyelement, op text, value anycompatible,
    context text DEFAULT '', index_name name DEFAULT NULL)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.matches_support
  AS 'MODULE_PATHNAME', 'envelope_matches_wrapper';
COMMENT ON FUNCTION envelope_matches(regclass, name, envelope.sealed, anyelement, text, anycompatible, text, name) IS
  'Whether the sealed value is =, <, <=, >, >= the value, or has it as prefix, suffix, part (contains) or words; finds such rows by the index on index_column';
