-- Row triggers that tell every backend of a change. ALWAYS, so that they also fire when logical
-- replication applies it; TRUNCATE is told by a trigger of its own.

CREATE FUNCTION envelope.invalidate()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_invalidate_wrapper';
REVOKE ALL ON FUNCTION envelope.invalidate() FROM PUBLIC;
COMMENT ON FUNCTION envelope.invalidate() IS
  'Trigger: tells every session that the catalog has changed, and lets only its owner and superusers change it';

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

-- Nobody's cache depends on the other three, but what stands there is not for others to write either:
-- when a key's turn is over, which pages re-encryption has still to read, whose keys come from elsewhere.

CREATE FUNCTION envelope.keep_out()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_out_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_out() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_out() IS
  'Trigger: lets only its owner and superusers change a table of the catalog';

CREATE TRIGGER keep_out AFTER INSERT OR UPDATE OR DELETE ON envelope.key_use
  FOR EACH ROW EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.key_use ENABLE ALWAYS TRIGGER keep_out;

CREATE TRIGGER keep_out AFTER INSERT OR UPDATE OR DELETE ON envelope.reencryption
  FOR EACH ROW EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.reencryption ENABLE ALWAYS TRIGGER keep_out;

CREATE TRIGGER keep_out AFTER INSERT OR UPDATE OR DELETE ON envelope.followed_keyring
  FOR EACH ROW EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.followed_keyring ENABLE ALWAYS TRIGGER keep_out;

-- A row trigger comes after its row, and after what the statement calls itself, which sees that row: who
-- may not write is turned away before there is one.

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.keyring
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.keyring ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.keyring_table
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.keyring_table ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.data_key
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.wrapped_key
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.wrapped_key ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.key_grant
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.key_grant ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.sealed_column
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.sealed_column ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.key_use
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.key_use ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.reencryption
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.reencryption ENABLE ALWAYS TRIGGER keep_out_before;

CREATE TRIGGER keep_out_before BEFORE INSERT OR UPDATE OR DELETE ON envelope.followed_keyring
  FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out();
ALTER TABLE envelope.followed_keyring ENABLE ALWAYS TRIGGER keep_out_before;

-- What arrives by replication is told by the session's replication origin. How far a re-encryption has come
-- is said in pages of a table's own file, and whose keys come from elsewhere differs from node to node. FOR
-- ALL TABLES publishes both with the rest; each node keeps its own.

CREATE FUNCTION envelope.stay_local()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_stay_local_wrapper';
REVOKE ALL ON FUNCTION envelope.stay_local() FROM PUBLIC;
COMMENT ON FUNCTION envelope.stay_local() IS 'Trigger: leaves out what replication brings';
CREATE TRIGGER stay_local BEFORE INSERT OR UPDATE OR DELETE ON envelope.reencryption
  FOR EACH ROW EXECUTE FUNCTION envelope.stay_local();
ALTER TABLE envelope.reencryption ENABLE ALWAYS TRIGGER stay_local;
CREATE TRIGGER stay_local BEFORE INSERT OR UPDATE OR DELETE ON envelope.followed_keyring
  FOR EACH ROW EXECUTE FUNCTION envelope.stay_local();
ALTER TABLE envelope.followed_keyring ENABLE ALWAYS TRIGGER stay_local;

CREATE FUNCTION envelope.follow()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_follow_wrapper';
REVOKE ALL ON FUNCTION envelope.follow() FROM PUBLIC;
COMMENT ON FUNCTION envelope.follow() IS
  'Trigger: notes of a data key that replication brings that its keyring comes from elsewhere';
CREATE TRIGGER follow AFTER INSERT ON envelope.data_key
  FOR EACH ROW EXECUTE FUNCTION envelope.follow();
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER follow;

-- Whoever writes: replication of others than PostgreSQL's overwrites a row that has the same version.
CREATE FUNCTION envelope.keep_identity()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_identity_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_identity() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_identity() IS
  'Trigger: refuses that the row of a data key becomes that of another';
CREATE TRIGGER keep_identity BEFORE UPDATE ON envelope.data_key
  FOR EACH ROW
  WHEN (OLD.key_id OPERATOR(pg_catalog.<>) NEW.key_id
        OR OLD.keyring_id OPERATOR(pg_catalog.<>) NEW.keyring_id
        OR OLD.purpose OPERATOR(pg_catalog.<>) NEW.purpose
        OR OLD.version OPERATOR(pg_catalog.<>) NEW.version)
  EXECUTE FUNCTION envelope.keep_identity();
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER keep_identity;

-- Nor does a node on which a key was not destroyed bring it back.
CREATE FUNCTION envelope.keep_destroyed()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_destroyed_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_destroyed() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_destroyed() IS
  'Trigger: refuses that a destroyed data key is used again';
CREATE TRIGGER keep_destroyed BEFORE UPDATE ON envelope.data_key
  FOR EACH ROW
  WHEN (OLD.state OPERATOR(pg_catalog.=) 'destroyed' AND NEW.state OPERATOR(pg_catalog.<>) 'destroyed')
  EXECUTE FUNCTION envelope.keep_destroyed();
ALTER TABLE envelope.data_key ENABLE ALWAYS TRIGGER keep_destroyed;

-- A dropped table leaves its keyring, and the extension is not dropped while there are any: the
-- library sees to both, in every session that has it. This has it loaded before any command that
-- drops tables, by itself or by CASCADE (of a type, or of what a partition key or a column needs).
-- ALWAYS, since a session in the replica role drops tables, too.

CREATE FUNCTION envelope.watch_drops()
  RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_watch_drops_wrapper';
REVOKE ALL ON FUNCTION envelope.watch_drops() FROM PUBLIC;
COMMENT ON FUNCTION envelope.watch_drops() IS
  'Event trigger: has the library loaded before commands that may drop tables';
CREATE EVENT TRIGGER envelope_watch_drops ON ddl_command_start
  WHEN TAG IN (
    'DROP ACCESS METHOD', 'DROP AGGREGATE', 'DROP COLLATION', 'DROP DOMAIN', 'DROP EXTENSION',
    'DROP FOREIGN DATA WRAPPER', 'DROP FOREIGN TABLE', 'DROP FUNCTION', 'DROP LANGUAGE',
    'DROP MATERIALIZED VIEW', 'DROP OPERATOR', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY',
    'DROP OWNED', 'DROP PROCEDURE', 'DROP ROUTINE', 'DROP SCHEMA', 'DROP SEQUENCE', 'DROP SERVER',
    'DROP TABLE', 'DROP TEXT SEARCH CONFIGURATION', 'DROP TEXT SEARCH DICTIONARY',
    'DROP TEXT SEARCH PARSER', 'DROP TEXT SEARCH TEMPLATE', 'DROP TRANSFORM', 'DROP TYPE',
    'DROP VIEW', 'ALTER EXTENSION', 'ALTER FOREIGN TABLE', 'ALTER OPERATOR FAMILY', 'ALTER TABLE',
    'ALTER TYPE')
  EXECUTE FUNCTION envelope.watch_drops();
ALTER EVENT TRIGGER envelope_watch_drops ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER envelope_watch_drops IS
  'Keeps the keyrings of dropped tables, and the extension that holds them';
