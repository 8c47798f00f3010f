-- Index keys: the data keys under which index terms are made.

CREATE FUNCTION envelope.rotate_index_key(
    relation regclass, reason text DEFAULT NULL, activate boolean DEFAULT true)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rotate_index_key_wrapper';
COMMENT ON FUNCTION envelope.rotate_index_key(regclass, text, boolean) IS
  'Makes the next version of a table''s index key, under which index terms are written from now on, or if activate is false once envelope.activate_key says so; searches ask for those of the one before as well; gives the key id';
