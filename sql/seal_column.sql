-- Sealing what a column holds in clear, online.

-- In schema envelope, where nobody can put one of the same name. They say in which row an error was.
CREATE FUNCTION envelope.is_unsealed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_is_unsealed_wrapper';
COMMENT ON FUNCTION envelope.is_unsealed(oid, bytea, text, text, name, tid) IS
  'For envelope.seal_column: whether a value is plaintext, or bound to what it was to be bound to before';

CREATE FUNCTION envelope.sealed_in_place(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_in_place_wrapper';
COMMENT ON FUNCTION envelope.sealed_in_place(oid, bytea, text, text, name, tid) IS
  'For envelope.seal_column: a value of which envelope.is_unsealed is true, sealed; any other as it is';

CREATE FUNCTION envelope.sealed_from_source(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, source anyelement)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_from_source_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_source(oid, bytea, text, text, name, tid, anyelement) IS
  'For envelope.seal_column: what the source of a column says, sealed as the policy of the column has it';

CREATE FUNCTION envelope.is_as_source(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, source anyelement)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_as_source_wrapper';
COMMENT ON FUNCTION envelope.is_as_source(oid, bytea, text, text, name, tid, anyelement) IS
  'For envelope.seal_column: whether a value opens and says what its source says; an error where not, if row_at is given';

CREATE FUNCTION envelope.seal_source(relation regclass, column_name name, given text)
  RETURNS TABLE (expression text, emptied text, source_column text)
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_seal_source_wrapper';
COMMENT ON FUNCTION envelope.seal_source(regclass, name, text) IS
  'For envelope.seal_column: where the plaintext of a column comes from, in SQL over its row, and the column that is emptied once it is sealed';

CREATE PROCEDURE envelope.seal_column(
    relation regclass, column_name name, source text DEFAULT NULL, batch_size integer DEFAULT 1000,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, verify boolean DEFAULT true, on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    it pg_catalog.record;
    plain pg_catalog.record;
    is_left pg_catalog.text;
    changed pg_catalog.text;
    is_damaged pg_catalog.text;
    is_sound pg_catalog.text;
    complete boolean;
  BEGIN
    PERFORM envelope.sweep_begins('seal');
    COMMIT;  -- in a function an error, before anything is done
    IF verify IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameters source and max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF quiet AND EXISTS (
        SELECT FROM envelope.indexes i
        WHERE i.built AND i.column_name OPERATOR(pg_catalog.=) seal_column.column_name
          AND i.relation OPERATOR(pg_catalog.=)
              COALESCE(pg_catalog.pg_partition_root(seal_column.relation), seal_column.relation)::envelope.table_ref::pg_catalog.text) THEN
      RAISE EXCEPTION 'column "%" of table % has search indexes, and no trigger would make the terms of what is sealed',
        column_name, relation
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CALL it without quiet.';
    END IF;
    SELECT * INTO it FROM envelope.sweep_expressions(relation, column_name, NULL, on_damage);
    IF quiet AND envelope.index_columns(relation, column_name) OPERATOR(pg_catalog.<>) '{}' THEN
      RAISE EXCEPTION 'column "%" of table % has search indexes, whose terms no trigger would make', column_name, relation
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'CALL it without quiet => true: the sealing trigger makes them.';
    END IF;
    IF it.former IS NOT NULL AND NOT envelope.has_key_privilege(relation, 'manage') THEN
      RAISE EXCEPTION 'permission denied to end the binding of column "%" of table %', column_name, relation
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Whoever may manage the table''s keys can call this: SELECT envelope.grant_key(relation, role, ''manage'').';
    END IF;
    -- Who had begun to write when the former context was the only one binds values to that.
    IF it.former IS NOT NULL THEN
      CALL envelope.wait_for_writers(relation, row_lock_timeout, pg_catalog.format(
        'the values in column "%s" of table %s cannot be bound yet', column_name, relation));
    END IF;
    is_left := pg_catalog.format('envelope.is_unsealed(%s, ctid)', it.cell);
    changed := pg_catalog.format('envelope.sealed_in_place(%s, ctid)', it.cell);
    is_damaged := it.is_damaged;
    is_sound := it.is_sound;
    SELECT pg_catalog.replace(s.expression, '%', '%%') AS expression, pg_catalog.replace(s.emptied, '%', '%%') AS emptied,
           s.source_column
      INTO plain FROM envelope.seal_source(relation, column_name, source) s;
    IF plain.expression IS NOT NULL THEN
      -- Of a value that says anything else than its source one of both would be lost.
      is_sound := pg_catalog.format('envelope.is_as_source(%s, ctid, %s)', it.cell, plain.expression);
      IF is_damaged IS NOT NULL THEN
        is_damaged := pg_catalog.format('NOT envelope.is_as_source(%s, NULL, %s)', it.cell, plain.expression);
      END IF;
      changed := pg_catalog.format(
        'CASE WHEN %s IS NULL THEN envelope.sealed_from_source(%s, ctid, %s) WHEN %s THEN %s END',
        it.target, it.cell, plain.expression, CASE WHEN plain.emptied IS NULL THEN 'true' ELSE is_sound END, changed);
      is_left := pg_catalog.format('(%s %s IS NOT NULL OR %s)',
        CASE WHEN plain.emptied IS NULL THEN it.target OPERATOR(pg_catalog.||) ' IS NULL AND' ELSE '' END,
        plain.expression, is_left);
    END IF;
    CALL envelope.sweep(
      'seal', relation, column_name, it.value, is_left,
      pg_catalog.format('%s = %s', it.target, changed)
        OPERATOR(pg_catalog.||) COALESCE(', ' OPERATOR(pg_catalog.||) plain.emptied OPERATOR(pg_catalog.||) ' = NULL', ''),
      is_damaged, CASE WHEN verify OR it.former IS NOT NULL THEN is_sound END,
      is_damaged IS NOT NULL OR it.former IS NOT NULL OR plain.expression IS NOT NULL AND plain.source_column IS NULL,
      plain.source_column::pg_catalog.name, plain.emptied IS NOT NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, false, complete);
    -- Of what was left alone something may open under the former context some day.
    IF it.former IS NOT NULL AND complete AND it.is_whole THEN
      PERFORM envelope.binding_done(relation, column_name);
    END IF;
  END $$;
COMMENT ON PROCEDURE envelope.seal_column(
    regclass, name, text, integer, interval, bigint, interval, boolean, boolean, text) IS
  'Seals what a column holds in clear, or what its source says, in batches with a commit each; goes on where it was cut off';
