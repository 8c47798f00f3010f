-- Functions of the triggers on the catalog's tables.

CREATE FUNCTION envelope.invalidate()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_invalidate_wrapper';
REVOKE ALL ON FUNCTION envelope.invalidate() FROM PUBLIC;
COMMENT ON FUNCTION envelope.invalidate() IS
  'Trigger: tells every session that the catalog has changed, and lets only its owner and superusers change it';

CREATE FUNCTION envelope.keep_out()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_out_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_out() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_out() IS
  'Trigger: lets only its owner and superusers change a table of the catalog';

CREATE FUNCTION envelope.stay_local()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_stay_local_wrapper';
REVOKE ALL ON FUNCTION envelope.stay_local() FROM PUBLIC;
COMMENT ON FUNCTION envelope.stay_local() IS 'Trigger: leaves out what replication brings';

CREATE FUNCTION envelope.follow()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_follow_wrapper';
REVOKE ALL ON FUNCTION envelope.follow() FROM PUBLIC;
COMMENT ON FUNCTION envelope.follow() IS
  'Trigger: notes of a data key that replication brings that its keyring comes from elsewhere';

CREATE FUNCTION envelope.keep_identity()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_identity_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_identity() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_identity() IS
  'Trigger: refuses that the row of a data key becomes that of another';

CREATE FUNCTION envelope.keep_destroyed()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_destroyed_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_destroyed() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_destroyed() IS
  'Trigger: refuses that a destroyed data key is used again';

CREATE FUNCTION envelope.keep_history()
  RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    RAISE EXCEPTION 'the history of keys is not changed: rows are only added to envelope.key_event'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It is what shows an auditor what was done to keys.';
  END $$;
REVOKE ALL ON FUNCTION envelope.keep_history() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_history() IS 'Trigger: refuses to change or delete what the history of keys has';

-- The triggers, each on some of the tables. All are ALWAYS, so that they also fire when logical replication
-- applies a change.
DO $$
DECLARE
  tables pg_catalog.text[];
  trigger pg_catalog.text;
  definition pg_catalog.text;
  catalog_table pg_catalog.text;
  cached pg_catalog.text[] :=
    '{keyring, keyring_table, data_key, wrapped_key, key_grant, sealed_column, column_index}';
  others pg_catalog.text[] := '{key_use, reencryption, followed_keyring, key_event}';
  of_this_node pg_catalog.text[] := '{reencryption, followed_keyring}';
BEGIN
  FOR tables, trigger, definition IN VALUES
    -- They tell every backend of a change. TRUNCATE is told by a trigger of its own.
    (cached, 'invalidate', 'AFTER INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.invalidate()'),
    (cached, 'invalidate_truncate', 'AFTER TRUNCATE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate()'),
    -- Nobody's cache depends on the others, but what stands there is not for others to write either: when a
    -- key's turn is over, which pages re-encryption has still to read, whose keys come from elsewhere.
    (others, 'keep_out', 'AFTER INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.keep_out()'),
    -- A row trigger comes after its row, and after what the statement calls itself, which sees that row: who
    -- may not write is turned away before there is one.
    (cached OPERATOR(pg_catalog.||) others, 'keep_out_before', 'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out()'),
    -- What arrives by replication is told by the session's replication origin. How far a re-encryption has
    -- come is said in pages of a table's own file, and whose keys come from elsewhere differs from node to
    -- node. FOR ALL TABLES publishes both with the rest; each node keeps its own.
    (of_this_node, 'stay_local', 'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.stay_local()'),
    ('{data_key}', 'follow', 'AFTER INSERT ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.follow()'),
    -- Whoever writes: replication of others than PostgreSQL's overwrites a row that has the same version.
    ('{data_key}', 'keep_identity', 'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.key_id OPERATOR(pg_catalog.<>) NEW.key_id
             OR OLD.keyring_id OPERATOR(pg_catalog.<>) NEW.keyring_id
             OR OLD.purpose OPERATOR(pg_catalog.<>) NEW.purpose
             OR OLD.version OPERATOR(pg_catalog.<>) NEW.version)
       EXECUTE FUNCTION envelope.keep_identity()'),
    -- Nor does a node on which a key was not destroyed bring it back.
    ('{data_key}', 'keep_destroyed', 'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.state OPERATOR(pg_catalog.=) ''destroyed'' AND NEW.state OPERATOR(pg_catalog.<>) ''destroyed'')
       EXECUTE FUNCTION envelope.keep_destroyed()'),
    ('{key_event}', 'keep_history', 'BEFORE UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.keep_history()'),
    ('{key_event}', 'keep_history_truncate', 'BEFORE TRUNCATE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_history()')
  LOOP
    FOREACH catalog_table IN ARRAY tables LOOP
      EXECUTE pg_catalog.format('CREATE TRIGGER %I ' OPERATOR(pg_catalog.||) definition, trigger, catalog_table);
      EXECUTE pg_catalog.format('ALTER TABLE envelope.%I ENABLE ALWAYS TRIGGER %I', catalog_table, trigger);
    END LOOP;
  END LOOP;
END $$;

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
