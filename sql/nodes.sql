-- Other nodes of this database.

CREATE FUNCTION envelope.sync_keyrings(
    servers name[] DEFAULT NULL, dry_run boolean DEFAULT false, relations regclass[] DEFAULT NULL,
    grants boolean DEFAULT true, activate boolean DEFAULT false)
  RETURNS TABLE (node text, relation text, step text, ok boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sync_keyrings_wrapper';
COMMENT ON FUNCTION envelope.sync_keyrings(name[], boolean, regclass[], boolean, boolean) IS
  'Brings the keyrings of tables to the other nodes: those of Citus, or servers by their names; a row for each step, with what it did or why it failed';

-- What sync_keyrings calls over there, as whom it connects: it checks what import_keyring checks.
CREATE FUNCTION envelope.take_keyrings(batch text)
  RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_take_keyrings_wrapper';
COMMENT ON FUNCTION envelope.take_keyrings(text) IS
  'For envelope.sync_keyrings, which calls it on the other nodes: takes the keyrings of many tables; gives the steps of each as JSON';
