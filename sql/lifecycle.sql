-- The life of a key: rotation, its KEKs, the oldest version that is taken.

CREATE FUNCTION envelope.rotate_key(
    relation regclass, reason text DEFAULT NULL, activate boolean DEFAULT true)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_make_next_key_wrapper';
COMMENT ON FUNCTION envelope.rotate_key(regclass, text, boolean) IS
  'Makes the next version of a table''s data key, which seals from now on, or if activate is false once envelope.activate_key says so; the one before still opens; gives the key id';

CREATE FUNCTION envelope.activate_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_activate_key_wrapper';
COMMENT ON FUNCTION envelope.activate_key(uuid, text) IS
  'Has a pending data key seal from now on, or an index key make index terms; the one before still opens. Without a reason, that of the rotation is kept';

CREATE FUNCTION envelope.rotate_due(max_keys integer DEFAULT 100)
  RETURNS TABLE (relation text, key_id uuid, new_key_id uuid, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rotate_due_wrapper';
COMMENT ON FUNCTION envelope.rotate_due(integer) IS
  'For a job: rotates data keys that are beyond their tables'' limits (rotate_after and the like), at most max_keys of those that you may manage; a row for each';

CREATE FUNCTION envelope.unfollow_keyring(relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unfollow_keyring_wrapper';
COMMENT ON FUNCTION envelope.unfollow_keyring(regclass) IS
  'Says that neither replication nor imports bring a table''s data keys any more: they are made and rotated here from now on';

CREATE FUNCTION envelope.rewrap(
    kek_from text, kek_to text, relation regclass DEFAULT NULL, dry_run boolean DEFAULT false)
  RETURNS TABLE (table_name text, key_id uuid, old_kek text, new_kek text,
                 done boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rewrap_wrapper';
COMMENT ON FUNCTION envelope.rewrap(text, text, regclass, boolean) IS
  'Moves wrapped data keys from one KEK to another (or wraps them anew, if both are the same), of one table or of all that you may manage; a row for each';

CREATE FUNCTION envelope.add_kek(relation regclass, kek text, kms_context jsonb DEFAULT NULL)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_add_kek_wrapper';
COMMENT ON FUNCTION envelope.add_kek(regclass, text, jsonb) IS
  'Wraps a table''s data keys by a further KEK, which is tried after those that are there; gives the number of keys that were not under it';

CREATE FUNCTION envelope.drop_kek(relation regclass, kek text)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_drop_kek_wrapper';
COMMENT ON FUNCTION envelope.drop_kek(regclass, text) IS
  'Takes a KEK away from a table''s data keys, once another KEK has given each of them back; gives the number of keys';

CREATE FUNCTION envelope.set_minimum_version(relation regclass, version integer)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_set_minimum_version_wrapper';
COMMENT ON FUNCTION envelope.set_minimum_version(regclass, integer) IS
  'Refuses values under older versions of a table''s data key; 1 takes all';
