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

-- A dropped table's OID will be another table's some day. At the drop its keyrings let go of it and
-- keep its name for people; the keys stay, since backups and copies may need them.

CREATE FUNCTION envelope.forget_dropped_tables()
  RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS $$
  BEGIN
    UPDATE envelope.keyring AS k
       SET table_name = d.schema_name OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) d.object_name
      FROM pg_catalog.pg_event_trigger_dropped_objects() AS d
      JOIN envelope.keyring_table AS t ON t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) d.objid
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND t.seals AND k.keyring_id OPERATOR(pg_catalog.=) t.keyring_id;
    UPDATE envelope.keyring_table AS t SET relation = '-'
      FROM pg_catalog.pg_event_trigger_dropped_objects() AS d
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) d.objid;
    UPDATE envelope.sealed_column AS c SET relation = '-'
      FROM pg_catalog.pg_event_trigger_dropped_objects() AS d
     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
       AND d.objsubid OPERATOR(pg_catalog.=) 0
       AND c.relation::pg_catalog.oid OPERATOR(pg_catalog.=) d.objid;
  END $$;
REVOKE ALL ON FUNCTION envelope.forget_dropped_tables() FROM PUBLIC;
COMMENT ON FUNCTION envelope.forget_dropped_tables() IS
  'Event trigger: keyrings of dropped tables keep the name and let go of the OID';
CREATE EVENT TRIGGER envelope_forget_dropped_tables ON sql_drop
  EXECUTE FUNCTION envelope.forget_dropped_tables();
COMMENT ON EVENT TRIGGER envelope_forget_dropped_tables IS
  'Keyrings of dropped tables keep the name and let go of the OID';
