-- The life of a key: rotation.

CREATE FUNCTION envelope.rotate_key(relation regclass, reason text DEFAULT NULL)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rotate_key_wrapper';
COMMENT ON FUNCTION envelope.rotate_key(regclass, text) IS
  'Makes the next version of a table''s data key, which seals from here on; the one before opens on; its key id';

CREATE FUNCTION envelope.rotate_due(max_keys integer DEFAULT 100)
  RETURNS TABLE (relation text, key_id uuid, new_key_id uuid, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rotate_due_wrapper';
COMMENT ON FUNCTION envelope.rotate_due(integer) IS
  'For a job: rotates so many of the data keys that are beyond their tables'' limits (rotate_after and the like), as far as one may; a row for each';
