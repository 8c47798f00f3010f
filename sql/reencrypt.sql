-- Bringing values to the active key, online.

CREATE FUNCTION envelope.reseal(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_reseal_wrapper';
COMMENT ON FUNCTION envelope.reseal(regclass, bytea, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';

-- In schema envelope, where nobody can put one of the same name. They say in which row an error was.
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

CREATE FUNCTION envelope.reencrypt_note(
    relation regclass, column_name name, batch_size integer, from_block bigint, to_block bigint, found bigint,
    moved bigint)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_reencrypt_note_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_note(regclass, name, integer, bigint, bigint, bigint, bigint) IS
  'For envelope.reencrypt: notes that pages are done, with what was found and changed there';

CREATE FUNCTION envelope.reencrypt_ended(relation regclass, column_name name, strict boolean)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_reencrypt_ended_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_ended(regclass, name, boolean) IS
  'For envelope.reencrypt: tells how many values were left alone, by a WARNING or, if strict, by an error';

CREATE FUNCTION envelope.replication_lag()
  RETURNS bigint LANGUAGE sql VOLATILE PARALLEL RESTRICTED SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp
  AS $$
  SELECT COALESCE(pg_catalog.max(pg_catalog.pg_wal_lsn_diff(
           pg_catalog.pg_current_wal_lsn(), r.replay_lsn)), 0)::bigint
  FROM pg_catalog.pg_stat_replication r
  $$;
COMMENT ON FUNCTION envelope.replication_lag() IS
  'Bytes of WAL that the slowest connected standby or subscriber has yet to replay';

-- What follows runs with the rights of who calls it. The context is an SQL expression over the row,
-- the caller's own SQL as in CREATE INDEX: it may do what the caller may. It is read with the caller's
-- search_path, so that these functions pin none and qualify all that is theirs.

-- Rows that another transaction holds are passed by. To lock each row first costs a fifth of the time,
-- so that the update is tried without: when it meets a row that is held it gives up at once, having held
-- nobody up, and takes the long way. A row that moves to another partition meanwhile is a
-- serialization failure to both: what cannot be had now is met again.
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

CREATE VIEW envelope.progress WITH (security_barrier) AS
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
COMMENT ON VIEW envelope.progress IS
  'How far re-encryption of your tables has come (all, for members of pg_monitor): rows done, rows left (an estimate), rows a second; when it will have ended; values left alone, once it has';
GRANT SELECT ON envelope.progress TO PUBLIC;
