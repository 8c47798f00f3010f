-- Going through a table in batches, with a commit each: what CALL envelope.reencrypt, CALL envelope.seal_column and CALL
-- envelope.build_index are built of. What they do with a row is said in SQL over that row:
--   is_left     it is to be changed
--   changes     how, as in UPDATE ... SET
--   is_damaged  its value does not open, so that it is passed by; NULL: such values are errors
--   is_sound    raises an error where the value as it is stored does not open; NULL: nobody looks
--   by_rows     whether the headers of values do not say if anything is left, so that rows must be asked
--   source      a column whose values are to be there, sealed, too; is_emptied: and not to be in it any more
--   value       what may be there already, and is then for is_sound to look at
-- In them $1 are the keys that values are brought from, $2 is the one that they are brought to, and %1$s stands for the
-- table's OID, so that any other percent sign is doubled. What changes a value opens what it has made, and compares:
-- the old one is about to be overwritten. (tableoid is 0 where PostgreSQL evaluates an UPDATE anew, for a
-- row that another transaction has changed meanwhile.)

-- In schema envelope, where nobody can put one of the same name. They say in which row an error was.
CREATE FUNCTION envelope.key_id_at(relation oid, value bytea, column_name name, row_at tid)
  RETURNS uuid LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_at_wrapper';
COMMENT ON FUNCTION envelope.key_id_at(oid, bytea, name, tid) IS
  'For envelope.reencrypt: envelope.key_id_of the value in that row';

CREATE FUNCTION envelope.key_id_if_read(value bytea)
  RETURNS uuid LANGUAGE c STABLE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_if_read_wrapper';
COMMENT ON FUNCTION envelope.key_id_if_read(bytea) IS
  'For envelope.reencrypt: envelope.key_id_of the value, NULL where PostgreSQL cannot read it';

CREATE FUNCTION envelope.is_damaged(relation oid, value bytea, context text, former_context text)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_damaged_wrapper';
COMMENT ON FUNCTION envelope.is_damaged(oid, bytea, text, text) IS
  'For functions that read a whole table: whether a value is under a key of its table, or unreadable, and does not open';

CREATE FUNCTION envelope.is_sound(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_sound_wrapper';
COMMENT ON FUNCTION envelope.is_sound(oid, bytea, text, text, name, tid) IS
  'For functions that read a whole table: an error where envelope.is_damaged is true';

CREATE FUNCTION envelope.reencrypt_window(
    work text, relation regclass, column_name name, batch_size integer, begins boolean, within regclass,
    by_rows boolean, is_seen boolean DEFAULT false, source name DEFAULT NULL, is_emptied boolean DEFAULT NULL)
  RETURNS TABLE (pass integer, from_block bigint, to_block bigint, is_idle boolean, active_key uuid, old_keys uuid[])
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_window_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_window(
    text, regclass, name, integer, boolean, regclass, boolean, boolean, name, boolean) IS
  'For envelope.sweep: the pages that come next; without pages when all rows are to be looked at; none when all is done';

CREATE FUNCTION envelope.reencrypt_note(
    work text, relation regclass, column_name name, batch_size integer, from_block bigint, to_block bigint,
    met bigint, moved bigint, damaged bigint)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_note_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_note(text, regclass, name, integer, bigint, bigint, bigint, bigint, bigint) IS
  'For envelope.sweep: notes that pages are done, with what was found, changed and passed by there';

CREATE FUNCTION envelope.sweep_begins(work text)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_begins_wrapper';
COMMENT ON FUNCTION envelope.sweep_begins(text) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: an error in a transaction block, where they cannot commit';

CREATE FUNCTION envelope.sweep_settle(work text, relation regclass, column_name name, is_left boolean)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_settle_wrapper';
COMMENT ON FUNCTION envelope.sweep_settle(text, regclass, name, boolean) IS
  'For envelope.sweep: after a look at all rows, ends it or begins the next pass; whether it has ended';

CREATE FUNCTION envelope.sweep_family(relation regclass)
  RETURNS TABLE (parts oid[], active_key uuid, old_keys uuid[])
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_family_wrapper';
COMMENT ON FUNCTION envelope.sweep_family(regclass) IS
  'For envelope.sweep: a table''s partitions that hold rows here, kept as they are to the end of the transaction, and their keys';

CREATE FUNCTION envelope.reencrypt_ended(work text, relation regclass, column_name name, strict boolean)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_ended_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_ended(text, regclass, name, boolean) IS
  'For envelope.sweep: tells how many values were left alone, by a WARNING or, if strict, by an error; whether none was';

CREATE FUNCTION envelope.sweep_expressions(
    relation regclass, column_name name, context text, on_damage text,
    OUT target text, OUT value text, OUT read text, OUT cell text, OUT is_damaged text, OUT is_sound text, OUT former text,
    OUT is_whole boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
  #variable_conflict use_column
  DECLARE
    now text;
    opened text;
    named text;
  BEGIN
    IF sweep_expressions.relation IS NULL OR sweep_expressions.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (on_damage OPERATOR(pg_catalog.=) ANY (ARRAY['error', 'skip'])) IS NOT TRUE THEN
      RAISE EXCEPTION 'on_damage must be "error" or "skip"' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT NOT c.relispartition INTO is_whole
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) sweep_expressions.relation;
    IF is_whole IS NULL THEN
      RAISE EXCEPTION 'relation with OID % does not exist', sweep_expressions.relation::oid
        USING ERRCODE = 'undefined_table';
    END IF;
    IF sweep_expressions.context IS NULL THEN
      SELECT c.context, c.former_context INTO now, former
        FROM envelope.sweep_contexts(sweep_expressions.relation, sweep_expressions.column_name) c;
    ELSE
      now := pg_catalog.format('(%s)', sweep_expressions.context);
    END IF;
    target := pg_catalog.replace(pg_catalog.format('%I', sweep_expressions.column_name), '%', '%%');
    value := target OPERATOR(pg_catalog.||) '::pg_catalog.bytea';
    named := pg_catalog.replace(pg_catalog.format(', %L', sweep_expressions.column_name), '%', '%%');
    read := '%1$s, ' OPERATOR(pg_catalog.||) value OPERATOR(pg_catalog.||) named;
    opened := '%1$s, ' OPERATOR(pg_catalog.||) value OPERATOR(pg_catalog.||) pg_catalog.replace(
      pg_catalog.format(', %s, %s', now, COALESCE(former, 'NULL')), '%', '%%');
    cell := opened OPERATOR(pg_catalog.||) named;
    is_sound := pg_catalog.format('envelope.is_sound(%s, ctid)', cell);
    IF on_damage OPERATOR(pg_catalog.=) 'skip' THEN
      is_damaged := pg_catalog.format('envelope.is_damaged(%s)', opened);
    END IF;
  END $$;
COMMENT ON FUNCTION envelope.sweep_expressions(regclass, name, text, text) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: what envelope.sweep is told of a column''s values, in SQL';

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

-- Its plan is kept for the next batch. PL/pgSQL's EXECUTE would make it anew each time.
CREATE FUNCTION envelope.sweep_run(statement text, old_keys uuid[], active_key uuid, first tid, last tid)
  RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_run_wrapper';
COMMENT ON FUNCTION envelope.sweep_run(text, uuid[], uuid, tid, tid) IS
  'For envelope.sweep: runs the statement of a batch with the caller''s rights, with the other arguments as its parameters; how many rows it has changed';

CREATE FUNCTION envelope.sweep_is_met(value bytea)
  RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_is_met_wrapper';
COMMENT ON FUNCTION envelope.sweep_is_met(bytea) IS
  'For envelope.sweep: false; counts a value that envelope.sweep_run has met and leaves as it is';

CREATE FUNCTION envelope.sweep_left_alone()
  RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_left_alone_wrapper';
COMMENT ON FUNCTION envelope.sweep_left_alone() IS
  'For envelope.sweep: how many values the last envelope.sweep_run has met and left as they are';

-- Rows that another transaction holds are passed by. To lock each row first costs a fifth of the time,
-- so that the update is tried without: when it meets a row that is held it gives up at once, having held
-- nobody up, and takes the long way. So it does when it meets a damaged value that is to be passed by. A row
-- that moves to another partition meanwhile is a serialization failure to both: what cannot be had now is met
-- again.
CREATE FUNCTION envelope.sweep_statements(
    relation regclass, value text, is_left text, changes text, is_damaged text, is_sound text,
    OUT change text, OUT change_free text, OUT number text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  AS $$
  DECLARE
    pages pg_catalog.text := 'ctid OPERATOR(pg_catalog.>=) $3 AND ctid OPERATOR(pg_catalog.<) $4';
    -- Of this table.
    left_ pg_catalog.text := pg_catalog.format(is_left, relation::pg_catalog.oid);
    damaged_ pg_catalog.text := pg_catalog.format(is_damaged, relation::pg_catalog.oid);
    sound_ pg_catalog.text := pg_catalog.format(is_sound, relation::pg_catalog.oid);
    update pg_catalog.text := pg_catalog.format(
      'UPDATE ONLY %s SET %s WHERE ', relation, pg_catalog.format(changes, relation::pg_catalog.oid));
  BEGIN
    -- What is met and not changed is counted where it is to be opened: if there is any, another pass opens it.
    change := pg_catalog.format(
      CASE WHEN sound_ IS NULL THEN '%1$s %2$s AND (%3$s)'
           ELSE '%1$s %2$s AND CASE WHEN %3$s THEN true ELSE envelope.sweep_is_met(%4$s) END' END,
      update, pages, left_, pg_catalog.format(value, relation::pg_catalog.oid));
    change_free := pg_catalog.format(
      '%1$s ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT ctid FROM ONLY %2$s WHERE %3$s AND %4$s FOR NO KEY UPDATE SKIP LOCKED))',
      update, relation, pages,
      CASE WHEN damaged_ IS NULL THEN pg_catalog.format('(%s)', left_)
           ELSE pg_catalog.format('CASE WHEN %s THEN NOT (%s) ELSE false END', left_, damaged_) END);
    -- To verify is to have every value that is done opened by the query that counts the others.
    number := pg_catalog.format(
      'SELECT pg_catalog.count(*) FILTER (WHERE s.code OPERATOR(pg_catalog.=) 1),
              pg_catalog.count(*) FILTER (WHERE s.code OPERATOR(pg_catalog.=) 2)
       FROM (SELECT CASE WHEN %1$s THEN %2$s %3$s END AS code FROM ONLY %4$s WHERE %5$s OFFSET 0) AS s',
      left_, COALESCE('CASE WHEN ' OPERATOR(pg_catalog.||) damaged_ OPERATOR(pg_catalog.||) ' THEN 2 ELSE 1 END', '1'),
      CASE WHEN sound_ IS NULL THEN ''
           WHEN damaged_ IS NULL THEN 'WHEN ' OPERATOR(pg_catalog.||) sound_ OPERATOR(pg_catalog.||) ' THEN 0'
           ELSE 'WHEN ' OPERATOR(pg_catalog.||) damaged_ OPERATOR(pg_catalog.||) ' THEN 2' END,
      relation, pages);
  END $$;
COMMENT ON FUNCTION envelope.sweep_statements(regclass, text, text, text, text, text) IS
  'For envelope.sweep: what is run for each batch of a table: the change, the change of rows that nobody holds, and the query that numbers what is left and what is damaged';

-- is_seen: nothing that was met there is still to be opened.
CREATE FUNCTION envelope.reencrypt_rows(
    change text, change_free text, number text, skips boolean,
    pass integer, from_block bigint, to_block bigint, old_keys uuid[], active_key uuid, quiet boolean,
    OUT met bigint, OUT moved bigint, OUT damaged bigint, OUT is_seen boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET row_security = off
  AS $$
  DECLARE
    low pg_catalog.tid := pg_catalog.format('(%s,0)', from_block);
    high pg_catalog.tid := pg_catalog.format('(%s,0)', to_block);
    role pg_catalog.text;
    timeout pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    long_way boolean := false;
  BEGIN
    met := 0;
    moved := 0;
    damaged := 0;
    is_seen := true;
    -- After the first pass there is mostly nothing left.
    IF pass OPERATOR(pg_catalog.>) 1 THEN
      EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
      IF met OPERATOR(pg_catalog.=) 0 THEN
        RETURN;
      END IF;
      met := 0;
    END IF;
    IF quiet THEN
      role := pg_catalog.current_setting('session_replication_role');
      PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);
    END IF;
    BEGIN
      PERFORM pg_catalog.set_config('lock_timeout', '1ms', true);
      moved := envelope.sweep_run(change, old_keys, active_key, low, high);
      is_seen := pass OPERATOR(pg_catalog.>) 1 OR envelope.sweep_left_alone() OPERATOR(pg_catalog.=) 0;
      PERFORM pg_catalog.set_config('lock_timeout', timeout, true);
    EXCEPTION
      WHEN lock_not_available OR serialization_failure THEN
        long_way := true;
      WHEN data_exception OR object_not_in_prerequisite_state OR data_corrupted OR internal_error THEN
        IF NOT skips THEN
          RAISE;
        END IF;
        long_way := true;
    END;
    IF long_way THEN
      BEGIN
        EXECUTE change_free USING old_keys, active_key, low, high;
        GET DIAGNOSTICS moved = ROW_COUNT;
      EXCEPTION WHEN serialization_failure THEN
        moved := 0;
      END;
    END IF;
    IF quiet THEN
      PERFORM pg_catalog.set_config('session_replication_role', role, true);
    END IF;
    IF long_way OR moved OPERATOR(pg_catalog.=) 0 THEN
      EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
      is_seen := true;
    ELSIF NOT is_seen AND NOT skips THEN
      -- Mostly new versions of rows of this pass, which PostgreSQL has put on these pages.
      BEGIN
        EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
        is_seen := true;
      EXCEPTION WHEN data_exception OR object_not_in_prerequisite_state OR data_corrupted OR internal_error THEN
        -- It stops the next pass, and not the change of all others.
        met := 0;
        damaged := 0;
      END;
    END IF;
    met := met OPERATOR(pg_catalog.+) moved;
  END $$;
COMMENT ON FUNCTION envelope.reencrypt_rows(
    text, text, text, boolean, integer, bigint, bigint, uuid[], uuid, boolean) IS
  'For envelope.sweep: changes the rows on some pages that are to be changed, and looks at the others';

CREATE FUNCTION envelope.sweep_left(
    relations oid[], is_left text, is_damaged text, old_keys uuid[], active_key uuid)
  RETURNS SETOF oid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET row_security = off
  AS $$
  BEGIN
    IF relations OPERATOR(pg_catalog.=) '{}' THEN
      RETURN;
    END IF;
    -- In one statement, and so at one moment: a row may move from one that was looked at to one that was not yet.
    RETURN QUERY EXECUTE (
      SELECT pg_catalog.string_agg(pg_catalog.format(
               'SELECT %1$s::pg_catalog.oid WHERE EXISTS (SELECT FROM ONLY %2$s WHERE CASE WHEN %3$s THEN %4$s ELSE false END)',
               r.relation, r.relation::pg_catalog.regclass, pg_catalog.format(is_left, r.relation),
               COALESCE('NOT ' OPERATOR(pg_catalog.||) pg_catalog.format(is_damaged, r.relation), 'true')), ' UNION ALL ')
      FROM pg_catalog.unnest(relations) AS r (relation))
      USING old_keys, active_key;
  END $$;
COMMENT ON FUNCTION envelope.sweep_left(oid[], text, text, uuid[], uuid) IS
  'For envelope.sweep: those of some tables in which a row is left to be changed, all looked at as they are at one moment';

-- Whose rows were looked at, and in which transaction, is known there: no caller can say so of its own accord.
CREATE FUNCTION envelope.index_left(relations oid[], index_column name, skips boolean)
  RETURNS SETOF oid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_left_wrapper';
COMMENT ON FUNCTION envelope.index_left(oid[], name, boolean) IS
  'For envelope.sweep: those of some tables in which a row is left without its terms, all looked at as they are at one moment';

CREATE FUNCTION envelope.writers_ended(relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_writers_ended_wrapper';
COMMENT ON FUNCTION envelope.writers_ended(regclass) IS
  'For envelope.wait_for_writers: notes that nobody else writes to the table, which is locked';

CREATE FUNCTION envelope.lock_shard(relation regclass)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_lock_shard_wrapper';
COMMENT ON FUNCTION envelope.lock_shard(regclass) IS
  'For envelope.wait_for_writers: keeps others from writing to a shard of one''s own; false when it is none';

CREATE PROCEDURE envelope.wait_for_writers(relation regclass, row_lock_timeout interval, message text)
  LANGUAGE plpgsql
  AS $$
  DECLARE
    since pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    is_alone boolean := false;
  BEGIN
    WHILE NOT is_alone LOOP
      BEGIN
        PERFORM pg_catalog.set_config('lock_timeout', '100ms', true);
        -- Citus lets nobody lock a shard by a statement.
        IF NOT envelope.lock_shard(relation) THEN
          EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
        END IF;
        PERFORM envelope.writers_ended(relation);
        is_alone := true;
      EXCEPTION WHEN lock_not_available THEN
        IF since OPERATOR(pg_catalog.+) row_lock_timeout OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN
          RAISE EXCEPTION '%', message
            USING ERRCODE = 'lock_not_available', DETAIL = 'Other transactions are writing to the table.',
                  HINT = 'CALL it again when they have ended.';
        END IF;
      END;
      COMMIT;
      IF NOT is_alone THEN
        PERFORM pg_catalog.pg_sleep(0.1);
      END IF;
    END LOOP;
  END $$;
COMMENT ON PROCEDURE envelope.wait_for_writers(regclass, interval, text) IS
  'For envelope.seal_column and envelope.build_index: waits until all have ended that had begun to write to the table';

CREATE PROCEDURE envelope.sweep(
    work text, relation regclass, column_name name, value text, is_left text, changes text, is_damaged text,
    is_sound text, by_rows boolean, source name, is_emptied boolean, batch_size integer, pause interval, max_lag bigint, row_lock_timeout interval, quiet boolean,
    strict boolean, INOUT complete boolean)
  LANGUAGE plpgsql
  AS $$
  DECLARE
    parts pg_catalog.oid[];
    begun pg_catalog.oid[] := '{}';
    part pg_catalog.regclass;
    step pg_catalog.record;
    begins boolean;
    done pg_catalog.record;
    idle boolean;
    looked boolean := false;
    idle_since pg_catalog.timestamptz;
    named pg_catalog.text;
    statements pg_catalog.record;
    -- Whether this pass has left nothing to be opened, up to what page.
    is_seen boolean;
    seen_to bigint;
  BEGIN
    SELECT pg_catalog.array_agg(c.oid ORDER BY c.oid) INTO parts FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) sweep.relation AND c.relkind OPERATOR(pg_catalog.<>) 'p'
       OR c.relkind OPERATOR(pg_catalog.=) 'r' AND c.oid OPERATOR(pg_catalog.=) ANY (
            SELECT t.relid FROM pg_catalog.pg_partition_tree(sweep.relation) t);
    -- Partitions come and go meanwhile, and rows move between them: until none has anything left.
    WHILE parts OPERATOR(pg_catalog.<>) '{}' LOOP
      FOREACH part IN ARRAY parts LOOP
        begins := part::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (begun);
        begun := pg_catalog.array_append(begun, part::pg_catalog.oid);
        named := NULL;
        is_seen := false;
        LOOP
          COMMIT;
          SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
          SELECT * INTO step
            FROM envelope.reencrypt_window(work, part, column_name, batch_size, begins, relation, by_rows, is_seen, source, is_emptied);
          EXIT WHEN step.pass IS NULL;
          begins := false;
          idle := step.is_idle;
          IF step.to_block IS NULL THEN
            -- A pass has found nothing. As the last row may have moved to pages that it had read already, what
            -- ends it is a look at all of them at one moment.
            EXIT WHEN envelope.sweep_settle(work, part, column_name, CASE
              WHEN work OPERATOR(pg_catalog.=) 'index' THEN EXISTS (
                SELECT FROM envelope.index_left(ARRAY[part::pg_catalog.oid], column_name, is_damaged IS NOT NULL))
              ELSE EXISTS (
                SELECT FROM envelope.sweep_left(ARRAY[part::pg_catalog.oid], is_left, is_damaged, step.old_keys, step.active_key))
              END);
            idle := true;
            looked := true;
          END IF;
          IF idle THEN
            idle_since := COALESCE(idle_since, pg_catalog.clock_timestamp());
            IF idle_since OPERATOR(pg_catalog.+) row_lock_timeout OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN
              RAISE EXCEPTION 'some values in column "%" of table % could not be %', column_name, part,
                  CASE WHEN work OPERATOR(pg_catalog.=) 'reencrypt' THEN 'brought to the active key'
                       WHEN work OPERATOR(pg_catalog.=) 'seal' THEN 'sealed' ELSE 'indexed' END
                USING ERRCODE = 'lock_not_available',
                      DETAIL = 'Other transactions hold their rows, or a trigger keeps them as they are.',
                      HINT = 'What was done stays done: CALL it again when they have ended.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.1);
          ELSIF step.from_block OPERATOR(pg_catalog.=) 0 AND NOT looked THEN
            idle_since := NULL;
          END IF;
          CONTINUE WHEN step.to_block IS NULL;
          looked := false;
          -- From here on it keeps its name to the end of the transaction.
          IF (named OPERATOR(pg_catalog.=) part::pg_catalog.text) IS NOT TRUE THEN
            named := part::pg_catalog.text;
            SELECT * INTO statements
              FROM envelope.sweep_statements(part, value, is_left, changes, is_damaged, is_sound);
          END IF;
          SELECT * INTO done
            FROM envelope.reencrypt_rows(statements.change, statements.change_free, statements.number,
                                     is_damaged IS NOT NULL, step.pass, step.from_block, step.to_block,
                                     step.old_keys, step.active_key, quiet);
          -- How many values were passed by, only a pass knows that asks of each.
          is_seen := done.is_seen AND is_damaged IS NULL
                     AND (step.from_block OPERATOR(pg_catalog.=) 0 OR is_seen AND step.from_block OPERATOR(pg_catalog.=) seen_to);
          seen_to := step.to_block;
          PERFORM envelope.reencrypt_note(work, part, column_name, batch_size, step.from_block, step.to_block,
                                      done.met, done.moved, done.damaged);
          COMMIT;
          IF done.moved OPERATOR(pg_catalog.>) 0 THEN
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
      IF work OPERATOR(pg_catalog.=) 'index' THEN
        parts := ARRAY(SELECT envelope.index_left(f.parts, column_name, is_damaged IS NOT NULL)
                       FROM envelope.sweep_family(relation) f);
      ELSE
        parts := ARRAY(SELECT envelope.sweep_left(f.parts, is_left, is_damaged, f.old_keys, f.active_key)
                       FROM envelope.sweep_family(relation) f);
      END IF;
    END LOOP;
    complete := envelope.reencrypt_ended(work, relation, column_name, strict);
  END $$;
COMMENT ON PROCEDURE envelope.sweep(
    text, regclass, name, text, text, text, text, text, boolean, name, boolean, integer, interval, bigint, interval, boolean, boolean,
    boolean) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: changes what is to be changed in all of a table, in batches with a commit each';

CREATE VIEW envelope.progress WITH (security_barrier) AS
  SELECT p.relation, p.column_name, p.key_id, p.pass, p.rows_done, p.rows_left, p.rows_skipped, p.rows_per_second,
         CASE WHEN p.finished_at IS NULL AND p.rows_per_second OPERATOR(pg_catalog.>) 0
              THEN p.updated_at OPERATOR(pg_catalog.+) pg_catalog.make_interval(
                     secs => (p.rows_left OPERATOR(pg_catalog./) p.rows_per_second)::pg_catalog.float8)
         END AS eta,
         p.started_at, p.updated_at, p.finished_at,
         p.rows_plaintext, p.rows_of_others, p.rows_unknown, p.rows_destroyed, p.rows_damaged, p.work
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
               r.rows_plaintext, r.rows_of_others, r.rows_unknown, r.rows_destroyed, r.rows_damaged, r.work
        FROM envelope.reencryption r
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.relation::pg_catalog.oid
        WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS p;
COMMENT ON VIEW envelope.progress IS
  'How far re-encryption, sealing and the building of search indexes of your tables have come (all, for members of pg_monitor): rows done, rows left (an estimate), rows a second; when it will have ended; values left alone, once it has';
GRANT SELECT ON envelope.progress TO PUBLIC;
