-- The type of a sealed column: the bytes of bytea, and text that stands for itself. It has equality by hash, and no
-- other comparison: two sealed values of one plaintext differ, and what would be silently wrong is refused.

CREATE TYPE envelope.sealed;

CREATE FUNCTION envelope.sealed_in(cstring) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_in_wrapper';
CREATE FUNCTION envelope.sealed_out(envelope.sealed) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_out_wrapper';
CREATE FUNCTION envelope.sealed_recv(internal) RETURNS envelope.sealed
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bytearecv';
CREATE FUNCTION envelope.sealed_send(envelope.sealed) RETURNS bytea
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';

-- Preferred, so that a literal or a parameter of no type goes to the functions that have one form for bytea and one
-- for this type. Not in the category of strings: there every literal would go to it.
CREATE TYPE envelope.sealed (
  INPUT = envelope.sealed_in, OUTPUT = envelope.sealed_out,
  RECEIVE = envelope.sealed_recv, SEND = envelope.sealed_send,
  LIKE = pg_catalog.bytea, CATEGORY = 'U', PREFERRED = true
);
COMMENT ON TYPE envelope.sealed IS
  'A sealed value: written as \x and hex; text that is none is plaintext, kept as it is, for the trigger to seal. Cannot be compared or sorted';
COMMENT ON FUNCTION envelope.sealed_in(cstring) IS 'Text, or the hex of a sealed value, to bytes';
COMMENT ON FUNCTION envelope.sealed_out(envelope.sealed) IS 'A sealed value as hex; plaintext as it is';
COMMENT ON FUNCTION envelope.sealed_recv(internal) IS 'Bytes as they are, binary protocol';
COMMENT ON FUNCTION envelope.sealed_send(envelope.sealed) IS 'Bytes as they are, binary protocol';

-- What comes in is taken where a column is assigned to; what goes out is asked for. To bytea and back is nothing to do,
-- so that a column changes its type without a rewrite.
CREATE FUNCTION envelope.sealed_from_text(text) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_text_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_text(text) IS 'Cast: as the input of envelope.sealed';
CREATE FUNCTION envelope.sealed_from_char(character) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_char_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_char(character) IS
  'Cast: as the input of envelope.sealed, without the blanks that fill up a char(n)';

CREATE CAST (text AS envelope.sealed) WITH FUNCTION envelope.sealed_from_text(text) AS ASSIGNMENT;
CREATE CAST (varchar AS envelope.sealed) WITH FUNCTION envelope.sealed_from_text(text) AS ASSIGNMENT;
CREATE CAST (character AS envelope.sealed) WITH FUNCTION envelope.sealed_from_char(character) AS ASSIGNMENT;
CREATE CAST (bytea AS envelope.sealed) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (envelope.sealed AS bytea) WITHOUT FUNCTION;
COMMENT ON CAST (text AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (varchar AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (character AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (bytea AS envelope.sealed) IS 'In assignments; the same bytes';
COMMENT ON CAST (envelope.sealed AS bytea) IS 'Explicit only; the same bytes';

-- Same bytes: for DISTINCT, UNION, GROUP BY, rows compared as a whole, and logical replication that finds rows by
-- all of their columns. Not called `=`, which is what people write who mean the plaintext.
CREATE FUNCTION envelope.sealed_same(envelope.sealed, envelope.sealed) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteaeq';
COMMENT ON FUNCTION envelope.sealed_same(envelope.sealed, envelope.sealed) IS 'Whether two values are the same bytes';
CREATE FUNCTION envelope.sealed_hash(envelope.sealed) RETURNS integer
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
COMMENT ON FUNCTION envelope.sealed_hash(envelope.sealed) IS 'Hash of the bytes';
CREATE FUNCTION envelope.sealed_hash_extended(envelope.sealed, bigint) RETURNS bigint
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION envelope.sealed_hash_extended(envelope.sealed, bigint) IS 'Hash of the bytes, with a seed';

CREATE OPERATOR envelope.*= (
  LEFTARG = envelope.sealed, RIGHTARG = envelope.sealed, FUNCTION = envelope.sealed_same,
  COMMUTATOR = OPERATOR(envelope.*=), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR envelope.*= (envelope.sealed, envelope.sealed) IS
  'Whether two values are the same bytes; two sealed values of one plaintext are not';
CREATE OPERATOR CLASS envelope.sealed_ops DEFAULT FOR TYPE envelope.sealed USING hash AS
  OPERATOR 1 envelope.*=,
  FUNCTION 1 envelope.sealed_hash(envelope.sealed),
  FUNCTION 2 envelope.sealed_hash_extended(envelope.sealed, bigint);
COMMENT ON OPERATOR CLASS envelope.sealed_ops USING hash IS 'Same bytes';
COMMENT ON OPERATOR FAMILY envelope.sealed_ops USING hash IS 'Same bytes';

-- What there is for bytea, for the type.

CREATE FUNCTION envelope_decrypt(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_wrapper';
COMMENT ON FUNCTION envelope_decrypt(regclass, envelope.sealed, text) IS
  'Opens a value that was sealed for a table; an error if it was changed or the context differs';

CREATE FUNCTION envelope_decrypt_text(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text(regclass, envelope.sealed, text) IS
  'As envelope_decrypt, for values that were sealed as text';

CREATE FUNCTION envelope.is_sealed(value envelope.sealed)
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_is_sealed_wrapper';
COMMENT ON FUNCTION envelope.is_sealed(envelope.sealed) IS
  'Whether a value has the shape of a sealed value, for CHECK constraints; opens nothing';

CREATE FUNCTION envelope.inspect(
    sealed envelope.sealed, OUT format text, OUT key_id uuid, OUT version integer, OUT relation text,
    OUT state text, OUT plaintext_length integer)
  RETURNS record LANGUAGE sql STABLE STRICT PARALLEL SAFE
  BEGIN ATOMIC
    SELECT i.* FROM envelope.inspect($1::bytea) AS i;
  END;
COMMENT ON FUNCTION envelope.inspect(envelope.sealed) IS
  'What a sealed value says of itself, without opening it: format, key, length; all NULL if it is not sealed';

CREATE FUNCTION envelope.key_id_of(value envelope.sealed)
  RETURNS uuid LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_of_wrapper';
COMMENT ON FUNCTION envelope.key_id_of(envelope.sealed) IS
  'The key id in the header of a sealed value, NULL if it has none; reads no more of the value than that';

CREATE FUNCTION envelope.reseal(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS envelope.sealed LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_reseal_wrapper';
COMMENT ON FUNCTION envelope.reseal(regclass, envelope.sealed, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';
