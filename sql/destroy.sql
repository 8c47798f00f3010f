-- The end of data keys.

CREATE FUNCTION envelope.retire_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_retire_key_wrapper';
COMMENT ON FUNCTION envelope.retire_key(uuid, text) IS
  'Refuses to open values under a data key that is no longer active; envelope.unretire_key undoes it';

CREATE FUNCTION envelope.unretire_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unretire_key_wrapper';
COMMENT ON FUNCTION envelope.unretire_key(uuid, text) IS 'Lets a retired data key open values again';

CREATE FUNCTION envelope.destroy_key(key_id uuid, reason text, shred boolean DEFAULT false)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_destroy_key_wrapper';
COMMENT ON FUNCTION envelope.destroy_key(uuid, text, boolean) IS
  'Deletes the wraps of a data key that is no longer active, for good; refuses while it finds a value under it, unless it is to shred them';

CREATE FUNCTION envelope.shred(relation regclass, reason text)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_shred_wrapper';
COMMENT ON FUNCTION envelope.shred(regclass, text) IS
  'Destroys all data keys of a table, the active one too: its sealed values are lost; how many keys';
