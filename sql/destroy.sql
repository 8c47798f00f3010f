-- The end of data keys.

CREATE FUNCTION envelope.retire_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_retire_key_wrapper';
COMMENT ON FUNCTION envelope.retire_key(uuid, text) IS
  'From now on an old data key opens no values; envelope.unretire_key takes that back';

CREATE FUNCTION envelope.unretire_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unretire_key_wrapper';
COMMENT ON FUNCTION envelope.unretire_key(uuid, text) IS 'Lets a retired data key open values again';

CREATE FUNCTION envelope.destroy_key(key_id uuid, reason text, shred boolean DEFAULT false)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_destroy_key_wrapper';
COMMENT ON FUNCTION envelope.destroy_key(uuid, text, boolean) IS
  'Deletes the wraps of an old data key for good; refuses while it finds a value under it, unless shred is true';

CREATE FUNCTION envelope.shred(relation regclass, reason text)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_shred_wrapper';
COMMENT ON FUNCTION envelope.shred(regclass, text) IS
  'Destroys all data keys of a table, the active one too: its sealed values are lost; gives the number of keys';

CREATE FUNCTION envelope.forget_keyring(keyring_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_forget_keyring_wrapper';
COMMENT ON FUNCTION envelope.forget_keyring(uuid, text) IS
  'Destroys all data keys of a keyring that no table uses any more, the active one too, and shows it no more; refuses while it finds a value under one of them';
