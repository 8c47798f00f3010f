-- Row triggers that tell every backend of a change. ALWAYS, so that they also fire when logical
-- replication applies it; TRUNCATE is told by a trigger of its own.

CREATE FUNCTION envelope.invalidate()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_invalidate_wrapper';
REVOKE ALL ON FUNCTION envelope.invalidate() FROM PUBLIC;
COMMENT ON FUNCTION envelope.invalidate() IS 'Trigger: tells every session that the catalog has changed';

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.keyring
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.keyring
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.keyring ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.keyring ENABLE ALWAYS TRIGGER invalidate_truncate;

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.keyring_table
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.keyring_table
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.keyring_table ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.keyring_table ENABLE ALWAYS TRIGGER invalidate_truncate;

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.data_key
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.data_key
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER invalidate_truncate;

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.wrapped_key
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.wrapped_key
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.wrapped_key ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.wrapped_key ENABLE ALWAYS TRIGGER invalidate_truncate;

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.key_grant
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.key_grant
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.key_grant ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.key_grant ENABLE ALWAYS TRIGGER invalidate_truncate;

CREATE TRIGGER invalidate AFTER INSERT OR UPDATE OR DELETE ON envelope.sealed_column
  FOR EACH ROW EXECUTE FUNCTION envelope.invalidate();
CREATE TRIGGER invalidate_truncate AFTER TRUNCATE ON envelope.sealed_column
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate();
ALTER TABLE envelope.sealed_column ENABLE ALWAYS TRIGGER invalidate;
ALTER TABLE envelope.sealed_column ENABLE ALWAYS TRIGGER invalidate_truncate;
