-- Brings the catalog of 0.1.0 to that of 0.2.0.
--
-- What changes in sql/*.sql changes here, too: both ways must lead to the same catalog, object by object, which
-- tests/cluster/test_upgrade_script.py compares. How to write it so that users lose nothing:
-- docs/upgrading-the-extension.md.

-- Tables. Columns come at the end, since src/catalog/ reads them by position.

CREATE INDEX keyring_table_name ON envelope.keyring (table_name COLLATE "C");

ALTER TABLE envelope.reencryption
  ADD COLUMN rows_plaintext  bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_of_others  bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_unknown    bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_destroyed  bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN envelope.reencryption.rows_plaintext IS 'Values in clear, left alone; known once it has ended';
COMMENT ON COLUMN envelope.reencryption.rows_of_others IS 'Values of keyrings that the table does not open with, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_unknown IS 'Values under keys that are not in this database, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_destroyed IS 'Values under destroyed keys, left alone';

CREATE TABLE envelope.followed_keyring (
  keyring_id  uuid PRIMARY KEY,
  origin      text NOT NULL,
  since       timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE envelope.followed_keyring IS
  'Keyrings whose data keys arrive by replication: they are made and rotated where they come from';
COMMENT ON COLUMN envelope.followed_keyring.origin IS 'The replication origin that brought one last';

-- Their triggers, as sql/finalize.sql says. The tables of 0.1.0 have those of envelope.invalidate().

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

DO $$
DECLARE
  tables pg_catalog.text[];
  trigger pg_catalog.text;
  definition pg_catalog.text;
  catalog_table pg_catalog.text;
BEGIN
  FOR tables, trigger, definition IN VALUES
    ('{key_use, reencryption, followed_keyring}'::pg_catalog.text[], 'keep_out',
     'AFTER INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.keep_out()'),
    ('{keyring, keyring_table, data_key, wrapped_key, key_grant, sealed_column,
       key_use, reencryption, followed_keyring}', 'keep_out_before',
     'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out()'),
    ('{reencryption, followed_keyring}', 'stay_local',
     'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.stay_local()'),
    ('{data_key}', 'follow',
     'AFTER INSERT ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.follow()'),
    ('{data_key}', 'keep_identity',
     'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.key_id OPERATOR(pg_catalog.<>) NEW.key_id
             OR OLD.keyring_id OPERATOR(pg_catalog.<>) NEW.keyring_id
             OR OLD.purpose OPERATOR(pg_catalog.<>) NEW.purpose
             OR OLD.version OPERATOR(pg_catalog.<>) NEW.version)
       EXECUTE FUNCTION envelope.keep_identity()'),
    ('{data_key}', 'keep_destroyed',
     'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.state OPERATOR(pg_catalog.=) ''destroyed'' AND NEW.state OPERATOR(pg_catalog.<>) ''destroyed'')
       EXECUTE FUNCTION envelope.keep_destroyed()')
  LOOP
    FOREACH catalog_table IN ARRAY tables LOOP
      EXECUTE pg_catalog.format('CREATE TRIGGER %I ' OPERATOR(pg_catalog.||) definition, trigger, catalog_table);
      EXECUTE pg_catalog.format('ALTER TABLE envelope.%I ENABLE ALWAYS TRIGGER %I', catalog_table, trigger);
    END LOOP;
  END LOOP;
END $$;

-- An event trigger's commands cannot be altered.
DROP EVENT TRIGGER envelope_watch_drops;
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

-- Keyrings and keys.

CREATE FUNCTION envelope.unshare_keyring(
    from_relation regclass, to_relation regclass, force boolean DEFAULT false)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unshare_keyring_wrapper';
COMMENT ON FUNCTION envelope.unshare_keyring(regclass, regclass, boolean) IS
  'Takes share_keyring back; refuses while the other table holds a value of the keyring, unless force is true';

CREATE FUNCTION envelope.unfollow_keyring(relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unfollow_keyring_wrapper';
COMMENT ON FUNCTION envelope.unfollow_keyring(regclass) IS
  'Says that replication no longer brings a table''s data keys: they are made and rotated here from now on';

-- A view gains columns at the end. What users have built on it stays, and so do their grants.
CREATE OR REPLACE VIEW envelope.keys WITH (security_barrier) AS
  SELECT r.keyring_id,
         CASE WHEN t.relation::pg_catalog.text OPERATOR(pg_catalog.<>) '-'
              THEN t.relation::pg_catalog.text ELSE r.table_name END AS relation,
         k.key_id, k.purpose, k.version, k.state,
         ARRAY(SELECT w.kek FROM envelope.wrapped_key w
               WHERE w.key_id OPERATOR(pg_catalog.=) k.key_id
               ORDER BY w.position, w.kek) AS keks,
         k.created_at, k.state_changed_at, k.reason,
         COALESCE(t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid, true)
           AS orphaned,
         k.purpose OPERATOR(pg_catalog.<>) 'seal'
           OR k.version OPERATOR(pg_catalog.>=) r.minimum_version AS is_taken,
         ARRAY(SELECT w.kms_context FROM envelope.wrapped_key w
               WHERE w.key_id OPERATOR(pg_catalog.=) k.key_id
               ORDER BY w.position, w.kek) AS kms_contexts
  FROM envelope.keyring r
  JOIN envelope.data_key k ON k.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
  LEFT JOIN envelope.keyring_table t
    ON t.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND t.seals
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     OR EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
                  AND pg_catalog.pg_has_role(c.relowner, 'USAGE'))
     OR pg_catalog.pg_has_role(t.former_owner::pg_catalog.oid, 'USAGE')
     OR EXISTS (SELECT FROM envelope.key_grant g
                WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE'));

CREATE OR REPLACE VIEW envelope.key_privileges WITH (security_barrier) AS
  SELECT CASE WHEN t.relation::pg_catalog.text OPERATOR(pg_catalog.<>) '-'
              THEN t.relation::pg_catalog.text ELSE r.table_name END AS relation,
         p.grantee::pg_catalog.text AS grantee, p.verb, p.origin, r.keyring_id
  FROM envelope.keyring r
  LEFT JOIN envelope.keyring_table t
    ON t.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND t.seals
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
  CROSS JOIN LATERAL (
    SELECT c.relowner::pg_catalog.regrole::envelope.role_ref AS grantee, v.verb, 'owner' AS origin
    FROM pg_catalog.unnest(ARRAY['encrypt', 'decrypt', 'search', 'manage']) AS v (verb)
    WHERE c.oid IS NOT NULL
    UNION ALL
    SELECT g.grantee, g.verb, 'grant' FROM envelope.key_grant g
    WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
    UNION ALL
    SELECT g.grantee, 'decrypt', 'manage' FROM envelope.key_grant g
    WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
      AND g.verb OPERATOR(pg_catalog.=) 'manage'
    UNION ALL
    SELECT DISTINCT s.relowner::pg_catalog.regrole::envelope.role_ref, 'decrypt', 'share'
    FROM envelope.keyring_table o
    JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid
    WHERE o.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND NOT o.seals) AS p
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
     OR pg_catalog.pg_has_role(p.grantee::pg_catalog.oid, 'USAGE')
     OR EXISTS (SELECT FROM envelope.key_grant m
                WHERE m.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND m.verb OPERATOR(pg_catalog.=) 'manage'
                  AND pg_catalog.pg_has_role(m.grantee::pg_catalog.oid, 'USAGE'));

CREATE OR REPLACE FUNCTION envelope.inspect(
    sealed bytea, OUT format text, OUT key_id uuid, OUT version integer, OUT relation text,
    OUT state text, OUT plaintext_length integer)
  RETURNS record LANGUAGE sql STABLE STRICT PARALLEL SAFE
  BEGIN ATOMIC
    SELECT CASE WHEN s.sealed THEN 'envelope/1' END, s.key_id, k.version, k.relation, k.state,
           CASE WHEN s.sealed THEN pg_catalog.octet_length($1) OPERATOR(pg_catalog.-) 58 END
    FROM (SELECT envelope.is_sealed($1) AS sealed,
                 CASE WHEN envelope.is_sealed($1)
                      THEN pg_catalog.encode(pg_catalog.substr($1, 3, 16), 'hex')::uuid
                 END AS key_id OFFSET 0) AS s
    LEFT JOIN envelope.keys k ON k.key_id OPERATOR(pg_catalog.=) s.key_id;
  END;

-- Where sealed values stand.

CREATE FUNCTION envelope.keep_stored(relation regclass, column_name name)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_keep_stored_wrapper';
COMMENT ON FUNCTION envelope.keep_stored(regclass, name) IS
  'For envelope.census: an error when a column is not stored bytea, so that no cast or view of its owner runs; it stays so to the end of the transaction';

CREATE OR REPLACE FUNCTION envelope.census(relation regclass, column_name name, sample real DEFAULT NULL)
  RETURNS TABLE (key_id uuid, version integer, state text, rows bigint, bytes bigint)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp SET row_security = off
  AS $$
  DECLARE
    partitioned boolean;
    place record;
  BEGIN
    IF census.relation IS NULL OR census.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF census.sample OPERATOR(pg_catalog.<=) 0 OR census.sample OPERATOR(pg_catalog.>) 100 THEN
      RAISE EXCEPTION 'sample is a percentage: more than 0, at most 100'
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM envelope.keep_stored(census.relation, census.column_name);
    SELECT c.relkind OPERATOR(pg_catalog.=) 'p' INTO partitioned
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) census.relation;
    RETURN QUERY EXECUTE pg_catalog.format(
      $query$
      SELECT s.key_id, k.version,
             CASE WHEN k.state IS NOT NULL THEN k.state
                  WHEN s.is_null THEN 'null'
                  WHEN s.key_id IS NULL THEN 'not sealed'
                  ELSE 'unknown' END,
             pg_catalog.round(s.rows OPERATOR(pg_catalog.*) $1)::bigint,
             pg_catalog.round(s.bytes OPERATOR(pg_catalog.*) $1)::bigint
      FROM (SELECT envelope.key_id_of(t.%1$I) AS key_id, t.%1$I IS NULL AS is_null,
                   pg_catalog.count(*)::numeric AS rows,
                   COALESCE(pg_catalog.sum(pg_catalog.octet_length(t.%1$I)), 0)::numeric AS bytes
            FROM %2$s %3$s AS t %4$s GROUP BY 1, 2) AS s
      LEFT JOIN envelope.keys k ON k.key_id OPERATOR(pg_catalog.=) s.key_id
      ORDER BY k.version DESC NULLS LAST, s.key_id, s.is_null
      $query$,
      census.column_name, CASE WHEN partitioned THEN '' ELSE 'ONLY' END, census.relation,
      'TABLESAMPLE pg_catalog.system(' OPERATOR(pg_catalog.||) census.sample OPERATOR(pg_catalog.||) ')')
      USING 100.0::numeric OPERATOR(pg_catalog./) COALESCE(census.sample, 100)::numeric;
  EXCEPTION WHEN data_corrupted OR internal_error THEN
    -- A value that PostgreSQL cannot read. Which one it does not say.
    FOR place IN EXECUTE pg_catalog.format(
        'SELECT t.tableoid::pg_catalog.regclass AS part, t.ctid AS row_at FROM %s %s AS t',
        CASE WHEN partitioned THEN '' ELSE 'ONLY' END, census.relation) LOOP
      BEGIN
        EXECUTE pg_catalog.format(
          'SELECT envelope.key_id_of(t.%I) FROM ONLY %s AS t WHERE t.ctid OPERATOR(pg_catalog.=) $1',
          census.column_name, place.part) USING place.row_at;
      EXCEPTION WHEN data_corrupted OR internal_error THEN
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM, DETAIL = pg_catalog.format(
          'Table %s, column "%s", row with ctid %s.', place.part, census.column_name, place.row_at);
      END;
    END LOOP;
    RAISE;
  END $$;

-- Re-encryption.

CREATE FUNCTION envelope.opened(
    relation regclass, sealed bytea, context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_opened_wrapper';
COMMENT ON FUNCTION envelope.opened(regclass, bytea, text, name, tid) IS
  'For envelope.reencrypt: envelope_decrypt of the value in that row';

CREATE FUNCTION envelope.resealed(
    relation regclass, sealed bytea, context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_resealed_wrapper';
COMMENT ON FUNCTION envelope.resealed(regclass, bytea, text, name, tid) IS
  'For envelope.reencrypt: envelope.reseal of the value in that row';

CREATE FUNCTION envelope.key_id_at(relation oid, value bytea, column_name name, row_at tid)
  RETURNS uuid LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_at_wrapper';
COMMENT ON FUNCTION envelope.key_id_at(oid, bytea, name, tid) IS
  'For envelope.reencrypt: envelope.key_id_of the value in that row';

CREATE FUNCTION envelope.reencrypt_window(
    relation regclass, column_name name, batch_size integer, begins boolean, within regclass DEFAULT NULL)
  RETURNS TABLE (pass integer, from_block bigint, to_block bigint, is_idle boolean, active_key uuid, old_keys uuid[])
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_reencrypt_next_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_window(regclass, name, integer, boolean, regclass) IS
  'For envelope.reencrypt: the pages that come next, none when all is done';

CREATE FUNCTION envelope.reencrypt_left(relation regclass, column_name name)
  RETURNS SETOF oid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_reencrypt_left_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_left(regclass, name) IS
  'For envelope.reencrypt: the partitions of a table where values are left under another key than the active one';

CREATE FUNCTION envelope.reencrypt_ended(relation regclass, column_name name, strict boolean)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_reencrypt_ended_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_ended(regclass, name, boolean) IS
  'For envelope.reencrypt: tells how many values were left alone, by a WARNING or, if strict, by an error';

CREATE FUNCTION envelope.reencrypt_rows(
    relation regclass, column_name name, context text, pass integer, from_block bigint, to_block bigint,
    old_keys uuid[], active_key uuid, quiet boolean, verify boolean, OUT met bigint, OUT moved bigint)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET row_security = off
  AS $$
  DECLARE
    pages pg_catalog.text := pg_catalog.format(
      'ctid OPERATOR(pg_catalog.>=) %L::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) %L::pg_catalog.tid',
      pg_catalog.format('(%s,0)', from_block), pg_catalog.format('(%s,0)', to_block));
    key pg_catalog.text := pg_catalog.format(
      'envelope.key_id_at(%s, %I, %L, ctid)', relation::pg_catalog.oid, column_name, column_name);
    is_old pg_catalog.text := key OPERATOR(pg_catalog.||) ' OPERATOR(pg_catalog.=) ANY ($1)';
    old pg_catalog.text := pages OPERATOR(pg_catalog.||) ' AND ' OPERATOR(pg_catalog.||) is_old;
    update pg_catalog.text := pg_catalog.format(
      'UPDATE ONLY %1$s SET %2$I = envelope.resealed(%3$s, %2$I, %4$s, %2$L, ctid) WHERE ',
      relation, column_name, relation::pg_catalog.oid, COALESCE(context, ''''''));
    -- To verify is to have every value under the active key opened by the query that counts the others.
    number pg_catalog.text := CASE WHEN verify THEN pg_catalog.format(
        'SELECT pg_catalog.count(*) FILTER (WHERE %1$s), pg_catalog.count(
           CASE WHEN %7$s OPERATOR(pg_catalog.=) $2
                THEN envelope.opened(%3$s, %2$I, %4$s, %2$L, ctid) END)
         FROM ONLY %5$s WHERE %6$s',
        is_old, column_name, relation::pg_catalog.oid, COALESCE(context, ''''''), relation, pages, key)
      ELSE pg_catalog.format('SELECT pg_catalog.count(*), 0 FROM ONLY %s WHERE %s', relation, old) END;
    role pg_catalog.text := pg_catalog.current_setting('session_replication_role');
    timeout pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    held boolean := false;
    opened bigint;
  BEGIN
    met := 0;
    moved := 0;
    -- After the first pass there is mostly nothing left.
    IF pass OPERATOR(pg_catalog.>) 1 THEN
      EXECUTE number INTO met, opened USING old_keys, active_key;
      IF met OPERATOR(pg_catalog.=) 0 THEN
        RETURN;
      END IF;
      met := 0;
    END IF;
    IF quiet THEN
      PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);
    END IF;
    BEGIN
      PERFORM pg_catalog.set_config('lock_timeout', '1ms', true);
      EXECUTE update OPERATOR(pg_catalog.||) old USING old_keys;
      GET DIAGNOSTICS moved = ROW_COUNT;
      PERFORM pg_catalog.set_config('lock_timeout', timeout, true);
    EXCEPTION WHEN lock_not_available OR serialization_failure THEN
      BEGIN
        EXECUTE pg_catalog.format('%s ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
            SELECT ctid FROM ONLY %s WHERE %s FOR NO KEY UPDATE SKIP LOCKED))', update, relation, old)
          USING old_keys;
        GET DIAGNOSTICS moved = ROW_COUNT;
      EXCEPTION WHEN serialization_failure THEN
        moved := 0;
      END;
      held := true;
    END;
    IF quiet THEN
      PERFORM pg_catalog.set_config('session_replication_role', role, true);
    END IF;
    IF held OR moved OPERATOR(pg_catalog.=) 0 THEN
      EXECUTE number INTO met, opened USING old_keys, active_key;
    END IF;
    met := met OPERATOR(pg_catalog.+) moved;
  END $$;
COMMENT ON FUNCTION envelope.reencrypt_rows(
    regclass, name, text, integer, bigint, bigint, uuid[], uuid, boolean, boolean) IS
  'For envelope.reencrypt: brings the values on some pages to the active key, and opens those that are under it';

CREATE PROCEDURE envelope.reencrypt(
    relation regclass, column_name name, batch_size integer DEFAULT 1000, context text DEFAULT NULL,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, verify boolean DEFAULT true, strict boolean DEFAULT false)
  LANGUAGE plpgsql
  AS $$
  DECLARE
    parts pg_catalog.oid[];
    begun pg_catalog.oid[] := '{}';
    part pg_catalog.regclass;
    step pg_catalog.record;
    begins boolean;
    met bigint;
    moved bigint;
    idle_since pg_catalog.timestamptz;
  BEGIN
    COMMIT;  -- in a transaction block an error, before anything is done
    IF relation IS NULL THEN
      RAISE EXCEPTION 'relation must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF strict IS NULL OR verify IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameters context and max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) reencrypt.relation) THEN
      RAISE EXCEPTION 'relation with OID % does not exist', relation::pg_catalog.oid USING ERRCODE = 'undefined_table';
    END IF;
    SELECT pg_catalog.array_agg(c.oid ORDER BY c.oid) INTO parts FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) reencrypt.relation AND c.relkind OPERATOR(pg_catalog.<>) 'p'
       OR c.relkind OPERATOR(pg_catalog.=) 'r' AND c.oid OPERATOR(pg_catalog.=) ANY (
            SELECT t.relid FROM pg_catalog.pg_partition_tree(reencrypt.relation) t);
    -- Partitions come and go meanwhile, and rows move between them: until none has anything left.
    WHILE parts OPERATOR(pg_catalog.<>) '{}' LOOP
      FOREACH part IN ARRAY parts LOOP
        begins := part::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (begun);
        begun := pg_catalog.array_append(begun, part::pg_catalog.oid);
        LOOP
          COMMIT;
          SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
          SELECT * INTO step FROM envelope.reencrypt_window(part, column_name, batch_size, begins, relation);
          EXIT WHEN step.to_block IS NULL;
          begins := false;
          IF step.is_idle THEN
            idle_since := COALESCE(idle_since, pg_catalog.clock_timestamp());
            IF idle_since OPERATOR(pg_catalog.+) row_lock_timeout OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN
              RAISE EXCEPTION 'some values in column "%" of table % could not be brought to the active key', column_name, part
                USING ERRCODE = 'lock_not_available',
                      DETAIL = 'Other transactions hold their rows, or a trigger keeps them as they are.',
                      HINT = 'What was done stays done: CALL envelope.reencrypt again when they have ended.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.1);
          ELSIF step.from_block OPERATOR(pg_catalog.=) 0 THEN
            idle_since := NULL;
          END IF;
          SELECT r.met, r.moved INTO met, moved
            FROM envelope.reencrypt_rows(part, column_name, context, step.pass, step.from_block, step.to_block,
                                         step.old_keys, step.active_key, quiet, verify) r;
          PERFORM envelope.reencrypt_note(part, column_name, batch_size, step.from_block, step.to_block, met, moved);
          COMMIT;
          IF moved OPERATOR(pg_catalog.>) 0 THEN
            PERFORM pg_catalog.pg_sleep(EXTRACT(EPOCH FROM pause));
            IF max_lag IS NOT NULL THEN
              WHILE envelope.replication_lag() OPERATOR(pg_catalog.>) max_lag LOOP
                COMMIT;
                PERFORM pg_catalog.pg_sleep(0.1);
              END LOOP;
            END IF;
          END IF;
        END LOOP;
      END LOOP;
      EXIT WHEN relation::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (parts);
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      parts := ARRAY(SELECT envelope.reencrypt_left(relation, column_name));
    END LOOP;
    PERFORM envelope.reencrypt_ended(relation, column_name, strict);
  END $$;
COMMENT ON PROCEDURE envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean, boolean) IS
  'Brings every value of a column to the table''s active key, in batches with a commit each; goes on where it was cut off; tells what it left alone, by a WARNING or, if strict, by an error';

-- What has gained a parameter was made anew, beside the old one. What users did to that one goes over: its owner, its
-- settings (ALTER ... SET) and its rights.
-- PostgreSQL takes what a script grants for the extension's own, which no dump has: these are taken out of that list.
DO $$
DECLARE
  old pg_catalog.regprocedure;
  new pg_catalog.regprocedure;
  before pg_catalog.record;
  given pg_catalog.record;
BEGIN
  FOR old, new IN VALUES
    ('envelope.reencrypt_window(regclass, name, integer, boolean)'::pg_catalog.regprocedure,
     'envelope.reencrypt_window(regclass, name, integer, boolean, regclass)'::pg_catalog.regprocedure),
    ('envelope.reencrypt_rows(regclass, name, text, integer, bigint, bigint, uuid[], boolean)',
     'envelope.reencrypt_rows(regclass, name, text, integer, bigint, bigint, uuid[], uuid, boolean, boolean)'),
    ('envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean)',
     'envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean, boolean)')
  LOOP
    SELECT pg_catalog.quote_ident(r.rolname) AS owner, p.proconfig, p.proacl INTO before
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
      WHERE p.oid OPERATOR(pg_catalog.=) old;
    EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO %s', new, before.owner);
    -- As they stand there: SET would have lists taken apart and quoted. Those of the new one that the old one did not
    -- have stay.
    UPDATE pg_catalog.pg_proc p
      SET proconfig = before.proconfig OPERATOR(pg_catalog.||) ARRAY(
        SELECT n.setting FROM pg_catalog.unnest(p.proconfig) n (setting)
        WHERE pg_catalog.split_part(n.setting, '=', 1) OPERATOR(pg_catalog.<>) ALL (ARRAY(
          SELECT pg_catalog.split_part(o.setting, '=', 1) FROM pg_catalog.unnest(before.proconfig) o (setting))))
      WHERE p.oid OPERATOR(pg_catalog.=) new AND before.proconfig IS NOT NULL;
    CONTINUE WHEN before.proacl IS NULL;
    EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, %s', new, before.owner);
    -- PUBLIC is 0. A role that is gone has no name, and gets nothing.
    FOR given IN
      SELECT a.is_grantable,
             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                  ELSE pg_catalog.quote_ident(r.rolname) END AS grantee
      FROM pg_catalog.aclexplode(before.proacl) a
      LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
      WHERE a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR r.rolname IS NOT NULL
    LOOP
      EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO %s', new, given.grantee)
        OPERATOR(pg_catalog.||) CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
    END LOOP;
    DELETE FROM pg_catalog.pg_init_privs i
      WHERE i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND i.objoid OPERATOR(pg_catalog.=) new;
    -- The roles that the list names, from PostgreSQL 17 on.
    DELETE FROM pg_catalog.pg_shdepend d
      WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.objid OPERATOR(pg_catalog.=) new AND d.deptype OPERATOR(pg_catalog.=) 'i'
        AND d.dbid OPERATOR(pg_catalog.=) (
          SELECT b.oid FROM pg_catalog.pg_database b
          WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
  END LOOP;
END $$;

DROP PROCEDURE envelope.reencrypt(
  regclass, name, integer, text, interval, bigint, interval, boolean, boolean);
DROP FUNCTION envelope.reencrypt_rows(regclass, name, text, integer, bigint, bigint, uuid[], boolean);
DROP FUNCTION envelope.reencrypt_verify(regclass, name, text, bigint, bigint, uuid);
DROP FUNCTION envelope.reencrypt_window(regclass, name, integer, boolean);

CREATE OR REPLACE VIEW envelope.progress WITH (security_barrier) AS
  SELECT p.relation, p.column_name, p.key_id, p.pass, p.rows_done, p.rows_left, p.rows_skipped, p.rows_per_second,
         CASE WHEN p.finished_at IS NULL AND p.rows_per_second OPERATOR(pg_catalog.>) 0
              THEN p.updated_at OPERATOR(pg_catalog.+) pg_catalog.make_interval(
                     secs => (p.rows_left OPERATOR(pg_catalog./) p.rows_per_second)::pg_catalog.float8)
         END AS eta,
         p.started_at, p.updated_at, p.finished_at,
         p.rows_plaintext, p.rows_of_others, p.rows_unknown, p.rows_destroyed
  FROM (SELECT r.relation::pg_catalog.text AS relation, r.column_name, r.key_id, r.pass, r.rows_done, r.rows_skipped,
               CASE WHEN r.finished_at IS NOT NULL THEN 0
                    WHEN r.pass OPERATOR(pg_catalog.>) 1 THEN GREATEST(r.left_before OPERATOR(pg_catalog.-) r.moved, 0)
                    WHEN r.next_block OPERATOR(pg_catalog.>) 0 THEN
                      r.found OPERATOR(pg_catalog.-) r.moved OPERATOR(pg_catalog.+)
                      r.found OPERATOR(pg_catalog.*) (r.blocks OPERATOR(pg_catalog.-) r.next_block)
                        OPERATOR(pg_catalog./) r.next_block
               END AS rows_left,
               CASE WHEN r.updated_at OPERATOR(pg_catalog.>) r.resumed_at THEN
                 pg_catalog.round((r.rows_done OPERATOR(pg_catalog.-) r.rows_at_resume) OPERATOR(pg_catalog./)
                   EXTRACT(EPOCH FROM r.updated_at OPERATOR(pg_catalog.-) r.resumed_at))
               END AS rows_per_second,
               r.started_at, r.updated_at, r.finished_at,
               r.rows_plaintext, r.rows_of_others, r.rows_unknown, r.rows_destroyed
        FROM envelope.reencryption r
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.relation::pg_catalog.oid
        WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS p;

-- What is said of objects that were there.

COMMENT ON COLUMN envelope.keyring.table_name IS 'Its table, as last seen: for people, and for the WARNING to whoever makes a table of that name';
COMMENT ON COLUMN envelope.keyring_table.former_owner IS
  'Who owned the table when it was dropped: that role may give the keyring to another table';
COMMENT ON COLUMN envelope.wrapped_key.verified_at IS
  'When it was last unwrapped and compared: when it was written, or took the place of another';
COMMENT ON FUNCTION envelope_encrypt(regclass, bytea, text) IS
  'Seals bytes under the active data key of a table; a context that is bound in must be given again to open';
COMMENT ON FUNCTION envelope_decrypt(regclass, bytea, text) IS
  'Opens a value that was sealed for a table; an error if it was changed or the context differs';
COMMENT ON FUNCTION envelope_decrypt_text(regclass, bytea, text) IS
  'As envelope_decrypt, for values that were sealed as text';
COMMENT ON FUNCTION envelope_context(text, text[]) IS
  'Makes the context that binds a value to its column (tag) and row (parts)';
COMMENT ON FUNCTION envelope_seal() IS
  'Trigger BEFORE INSERT OR UPDATE ... FOR EACH ROW: seals the bytes that arrive in the bytea columns named as arguments';
COMMENT ON FUNCTION envelope.create_key(regclass, text, jsonb) IS
  'Makes the data key of a table, under a KEK and a KMS encryption context; gives its key id';
COMMENT ON FUNCTION envelope.is_sealed(bytea) IS
  'Whether a value has the shape of a sealed value, for CHECK constraints; opens nothing';
COMMENT ON FUNCTION envelope.flush_cache() IS
  'Wipes this session''s unwrapped data keys from memory; gives their number';
COMMENT ON FUNCTION envelope.warm(regclass) IS
  'Unwraps a table''s data keys now, so that a later transaction need not wait for the KMS; gives the number that it unwrapped';
COMMENT ON FUNCTION envelope.set_limits(regclass, jsonb) IS
  'Sets a table''s own limits: of its cached keys, tighter than the settings; session_max_values, 1 to draw every nonce anew; and of its key''s turn: rotate_after, rotate_after_seals, rotate_after_bytes, cryptoperiod';
COMMENT ON FUNCTION envelope.grant_key(regclass, name, text) IS
  'Lets a role encrypt, decrypt, search or manage (which includes decrypt) with the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(regclass, text) IS
  'Whether the current role has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(name, regclass, text) IS
  'Whether a role, by name, has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(oid, regclass, text) IS
  'Whether a role, by OID, has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.adopt_keyring(uuid, regclass) IS
  'Gives a table the keyring of a dropped table: to seal with if it has none, else to open with';
COMMENT ON FUNCTION envelope.share_keyring(regclass, regclass) IS
  'Lets a table also open with the keyring that another table seals with';
COMMENT ON FUNCTION envelope.export_keyring(regclass) IS
  'Gives the keyrings of a table as JSON, their data keys wrapped, for envelope.import_keyring elsewhere';
COMMENT ON FUNCTION envelope.import_keyring(jsonb, regclass) IS
  'Brings exported keyrings here, with what has happened to them since they were last imported, and gives them to a table; gives the id of the one that seals';
COMMENT ON FUNCTION envelope.check_kek(text) IS
  'Tries a KEK: generates a data key, unwraps it, compares; a row for each step, the failed one last';
COMMENT ON FUNCTION envelope.check() IS
  'Unwraps every data key that you may manage (all, for superusers), past the cache, and checks that active keys may seal; a row for each wrapped key, for each break, and for what a restore would lose';
COMMENT ON VIEW envelope.stats IS
  'This session: unwrapped keys in memory, whether that memory is locked, KMS operations and failures, keys that another KEK than their first one unwrapped';
COMMENT ON VIEW envelope.keys IS
  'What is known of the data keys of tables that you own, owned or have a right on (all, for members of pg_monitor); keks and kms_contexts go together, in the order in which KEKs are tried';
COMMENT ON VIEW envelope.key_privileges IS
  'Who may do what with the keys of a table, and why: as its owner, by a grant, since manage includes decrypt, or as owner of a table that the keyring is shared with; your own rights, and all rights on tables whose keys you may manage';
COMMENT ON FUNCTION envelope.inspect(bytea) IS
  'What a sealed value says of itself, without opening it: format, key, length; all NULL if it is not sealed';
COMMENT ON FUNCTION envelope.key_id_of(bytea) IS
  'The key id in the header of a sealed value, NULL if it has none; reads no more of the value than that';
COMMENT ON FUNCTION envelope.register_column(regclass, name) IS
  'Notes that a column holds sealed values, so that destroy_key reads all of it; false if it was noted already';
COMMENT ON FUNCTION envelope.unregister_column(regclass, name) IS
  'Takes register_column back; false if the column was not noted';
COMMENT ON VIEW envelope.sealed_columns IS
  'Columns of your tables (all, for members of pg_monitor) that are known to hold sealed values: registered, or named by a sealing trigger';
COMMENT ON FUNCTION envelope.census(regclass, name, real) IS
  'Counts the values of a column by the key that they are sealed under, and those that are not sealed; with a sample (percent of pages), estimates';
COMMENT ON FUNCTION envelope.retire_key(uuid, text) IS
  'From now on an old data key opens no values; envelope.unretire_key takes that back';
COMMENT ON FUNCTION envelope.destroy_key(uuid, text, boolean) IS
  'Deletes the wraps of an old data key for good; refuses while it finds a value under it, unless shred is true';
COMMENT ON FUNCTION envelope.shred(regclass, text) IS
  'Destroys all data keys of a table, the active one too: its sealed values are lost; gives the number of keys';
COMMENT ON FUNCTION envelope.rotate_key(regclass, text) IS
  'Makes the next version of a table''s data key, which seals from now on; the one before still opens; gives the key id';
COMMENT ON FUNCTION envelope.rotate_due(integer) IS
  'For a job: rotates data keys that are beyond their tables'' limits (rotate_after and the like), at most max_keys of those that you may manage; a row for each';
COMMENT ON FUNCTION envelope.rewrap(text, text, regclass, boolean) IS
  'Moves wrapped data keys from one KEK to another (or wraps them anew, if both are the same), of one table or of all that you may manage; a row for each';
COMMENT ON FUNCTION envelope.add_kek(regclass, text, jsonb) IS
  'Wraps a table''s data keys by a further KEK, which is tried after those that are there; gives the number of keys that were not under it';
COMMENT ON FUNCTION envelope.drop_kek(regclass, text) IS
  'Takes a KEK away from a table''s data keys, once another KEK has given each of them back; gives the number of keys';
COMMENT ON FUNCTION envelope.set_minimum_version(regclass, integer) IS
  'Refuses values under older versions of a table''s data key; 1 takes all';
COMMENT ON FUNCTION envelope.reseal(regclass, bytea, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';
COMMENT ON VIEW envelope.progress IS
  'How far re-encryption of your tables has come (all, for members of pg_monitor): rows done, rows left (an estimate), rows a second; when it will have ended; values left alone, once it has';

-- Whoever runs the update owns what it has made. The extension writes as the owner of schema envelope: all that is new
-- becomes that role's. An event trigger's owner must be a superuser.
DO $$
DECLARE
  owner pg_catalog.record;
  routine pg_catalog.regprocedure;
BEGIN
  SELECT r.rolname AS name, r.rolsuper AS is_superuser INTO owner
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    WHERE n.nspname OPERATOR(pg_catalog.=) 'envelope';
  EXECUTE pg_catalog.format('ALTER TABLE envelope.followed_keyring OWNER TO %I', owner.name);
  FOREACH routine IN ARRAY ARRAY[
    'envelope.keep_out()', 'envelope.stay_local()', 'envelope.follow()', 'envelope.keep_identity()',
    'envelope.keep_destroyed()', 'envelope.unshare_keyring(regclass, regclass, boolean)',
    'envelope.unfollow_keyring(regclass)', 'envelope.keep_stored(regclass, name)',
    'envelope.opened(regclass, bytea, text, name, tid)', 'envelope.resealed(regclass, bytea, text, name, tid)',
    'envelope.key_id_at(oid, bytea, name, tid)', 'envelope.reencrypt_left(regclass, name)',
    'envelope.reencrypt_ended(regclass, name, boolean)']::pg_catalog.regprocedure[]
  LOOP
    EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO %I', routine, owner.name);
    -- PostgreSQL has noted by role which rights the extension gives, and notes it anew.
    IF EXISTS (SELECT FROM pg_catalog.pg_init_privs i
               WHERE i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
                 AND i.objoid OPERATOR(pg_catalog.=) routine) THEN
      EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', routine);
    END IF;
  END LOOP;
  IF owner.is_superuser THEN
    EXECUTE pg_catalog.format('ALTER EVENT TRIGGER envelope_watch_drops OWNER TO %I', owner.name);
  END IF;
END $$;
