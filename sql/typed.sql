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

CREATE FUNCTION envelope_decrypt_as(
    relation regclass, sealed envelope.sealed, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as(regclass, envelope.sealed, anyelement, text) IS
  'Opens what envelope_encrypt_as sealed, as a value of the type of type_of (NULL::date), whose own value does not count';

-- PostgreSQL's own cast shows the text that it refuses.

CREATE FUNCTION envelope.read_as(value text, type_of anyelement)
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_read_as_wrapper';
COMMENT ON FUNCTION envelope.read_as(text, anyelement) IS
  'Text as a value of the type of type_of (NULL::date), as a cast reads it, with an error that does not show it';

CREATE FUNCTION envelope.read_as(value bytea, type_of anyelement)
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_read_as_wrapper';
COMMENT ON FUNCTION envelope.read_as(bytea, anyelement) IS
  'Text in UTF-8 as a value of the type of type_of (NULL::date), as a cast reads it, with an error that does not show it';

-- What is assigned to a column of type envelope.sealed arrives there as its form, filled to the type's block, for the
-- trigger to seal.

CREATE FUNCTION envelope.sealed_from(boolean) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(boolean) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(smallint) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(smallint) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(integer) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(integer) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(bigint) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(bigint) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(numeric) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(numeric) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(real) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(real) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(double precision) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(double precision) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(date) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(date) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(time) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(time) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(timetz) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timetz) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(timestamp) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timestamp) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(timestamptz) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timestamptz) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(interval) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(interval) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(uuid) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(uuid) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(inet) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(inet) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(cidr) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(cidr) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(json) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(json) IS 'Cast: the canonical form, filled, for the trigger to seal';
CREATE FUNCTION envelope.sealed_from(jsonb) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(jsonb) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE CAST (boolean AS envelope.sealed) WITH FUNCTION envelope.sealed_from(boolean) AS ASSIGNMENT;
CREATE CAST (smallint AS envelope.sealed) WITH FUNCTION envelope.sealed_from(smallint) AS ASSIGNMENT;
CREATE CAST (integer AS envelope.sealed) WITH FUNCTION envelope.sealed_from(integer) AS ASSIGNMENT;
CREATE CAST (bigint AS envelope.sealed) WITH FUNCTION envelope.sealed_from(bigint) AS ASSIGNMENT;
CREATE CAST (numeric AS envelope.sealed) WITH FUNCTION envelope.sealed_from(numeric) AS ASSIGNMENT;
CREATE CAST (real AS envelope.sealed) WITH FUNCTION envelope.sealed_from(real) AS ASSIGNMENT;
CREATE CAST (double precision AS envelope.sealed) WITH FUNCTION envelope.sealed_from(double precision) AS ASSIGNMENT;
CREATE CAST (date AS envelope.sealed) WITH FUNCTION envelope.sealed_from(date) AS ASSIGNMENT;
CREATE CAST (time AS envelope.sealed) WITH FUNCTION envelope.sealed_from(time) AS ASSIGNMENT;
CREATE CAST (timetz AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timetz) AS ASSIGNMENT;
CREATE CAST (timestamp AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timestamp) AS ASSIGNMENT;
CREATE CAST (timestamptz AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timestamptz) AS ASSIGNMENT;
CREATE CAST (interval AS envelope.sealed) WITH FUNCTION envelope.sealed_from(interval) AS ASSIGNMENT;
CREATE CAST (uuid AS envelope.sealed) WITH FUNCTION envelope.sealed_from(uuid) AS ASSIGNMENT;
CREATE CAST (inet AS envelope.sealed) WITH FUNCTION envelope.sealed_from(inet) AS ASSIGNMENT;
CREATE CAST (cidr AS envelope.sealed) WITH FUNCTION envelope.sealed_from(cidr) AS ASSIGNMENT;
CREATE CAST (json AS envelope.sealed) WITH FUNCTION envelope.sealed_from(json) AS ASSIGNMENT;
CREATE CAST (jsonb AS envelope.sealed) WITH FUNCTION envelope.sealed_from(jsonb) AS ASSIGNMENT;

COMMENT ON CAST (boolean AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (smallint AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (integer AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (bigint AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (numeric AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (real AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (double precision AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (date AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (time AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timetz AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timestamp AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timestamptz AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (interval AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (uuid AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (inet AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (cidr AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (json AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (jsonb AS envelope.sealed) IS 'In assignments; the canonical form, filled';
