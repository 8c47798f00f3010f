-- What nodes that are to have the same keys say of themselves.

CREATE FUNCTION envelope.node_state(relations text[] DEFAULT '{}', named_only boolean DEFAULT false)
  RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_node_state_wrapper';
COMMENT ON FUNCTION envelope.node_state(text[], boolean) IS
  'What this node says of itself to others that are to have the same keys, without a secret: versions, settings, and the keyrings that you may manage (all, for members of pg_monitor) with their keys, limits and rights';
