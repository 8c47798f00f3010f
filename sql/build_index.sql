-- The terms of rows that are there, online.

-- In schema envelope, where nobody can put one of the same name. terms: what stands in the index column.
CREATE FUNCTION envelope.is_unindexed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name,
    terms anyelement)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_is_unindexed_wrapper';
COMMENT ON FUNCTION envelope.is_unindexed(oid, bytea, text, text, name, tid, name, anyelement) IS
  'For envelope.build_index: whether the terms of a value are to be made, because there are none, or none of now';

CREATE FUNCTION envelope.is_unindexable(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_unindexable_wrapper';
COMMENT ON FUNCTION envelope.is_unindexable(oid, bytea, text, text, name, tid, name) IS
  'For envelope.build_index: whether a value does not open, or is none that the index can take';

CREATE FUNCTION envelope.indexed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name,
    terms anyelement)
  RETURNS anyelement LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_indexed_wrapper';
COMMENT ON FUNCTION envelope.indexed(oid, bytea, text, text, name, tid, name, anyelement) IS
  'For envelope.build_index, where no trigger fires: the terms of a value; for whoever may manage the table''s keys';

CREATE FUNCTION envelope.index_goal(relation regclass, column_name name, index_column name, quiet boolean)
  RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_goal_wrapper';
COMMENT ON FUNCTION envelope.index_goal(regclass, name, name, boolean) IS
  'For envelope.build_index: what the rows are brought to, the index key and the classes';

CREATE FUNCTION envelope.index_built(relation regclass, index_column name, goal text)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_built_wrapper';
COMMENT ON FUNCTION envelope.index_built(regclass, name, text) IS
  'For envelope.build_index: notes that all rows have their terms, as envelope.index_left has just seen it; false when one is left, or they need others by now';

CREATE FUNCTION envelope.index_left_on_nodes(relation regclass, index_column name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_left_on_nodes_wrapper';
COMMENT ON FUNCTION envelope.index_left_on_nodes(regclass, name) IS
  'For envelope.build_index: whether the table is distributed; an error when a row of it is left without its terms';

-- The sealing trigger makes the terms, where it is given no bytes, or no elements. Where none fires they are made here.
CREATE PROCEDURE envelope.build_index(
    relation regclass, column_name name, index_column name, batch_size integer DEFAULT 1000,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    it pg_catalog.record;
    goal pg_catalog.text;
    target pg_catalog.text;
    terms pg_catalog.text;
    cell pg_catalog.text;
    complete boolean;
    is_elsewhere boolean;
    built boolean := false;
  BEGIN
    PERFORM envelope.sweep_begins('index');
    COMMIT;  -- in a function an error, before anything is done
    IF index_column IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameter max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO it FROM envelope.sweep_expressions(relation, column_name, NULL, on_damage);
    target := pg_catalog.replace(pg_catalog.format('%I', index_column), '%', '%%');
    cell := pg_catalog.format('%s, ctid, %s', it.cell, pg_catalog.replace(pg_catalog.format('%L', index_column), '%', '%%'));
    WHILE NOT built LOOP
      goal := envelope.index_goal(relation, column_name, index_column, quiet);
      SELECT CASE WHEN a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype THEN '''''::pg_catalog.bytea'
                  ELSE '''{}''::pg_catalog.int8[]' END INTO terms
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) relation AND a.attname OPERATOR(pg_catalog.=) index_column AND NOT a.attisdropped;
      -- Of a distributed table the shards are built by their nodes. Here it is seen that they are, of one replica of each:
      -- once before others' writes are waited for, since from then on the nodes that were asked are known to know of the index.
      is_elsewhere := envelope.index_left_on_nodes(relation, index_column);
      COMMIT;
      -- Who had begun to write before the index was added, or its key rotated, writes none of these terms.
      CALL envelope.wait_for_writers(relation, row_lock_timeout, pg_catalog.format(
        'the index in column "%s" of table %s cannot be built yet', index_column, relation));
      IF is_elsewhere THEN
        PERFORM envelope.index_left_on_nodes(relation, index_column);
      ELSE
        CALL envelope.sweep(
          'index', relation, index_column, it.value, pg_catalog.format('envelope.is_unindexed(%s, %s)', cell, target),
          pg_catalog.format('%s = %s', target,
                            CASE WHEN quiet THEN pg_catalog.format('envelope.indexed(%s, %s)', cell, terms) ELSE terms END),
          CASE WHEN it.is_damaged IS NOT NULL THEN pg_catalog.format('envelope.is_unindexable(%s)', cell) END,
          NULL, true, NULL, NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, false, complete);
      END IF;
      built := envelope.index_built(relation, index_column, goal);
      COMMIT;
    END LOOP;
  END $$;
COMMENT ON PROCEDURE envelope.build_index(
    regclass, name, name, integer, interval, bigint, interval, boolean, text) IS
  'Gives every row the terms that a search index has of its value, in batches with a commit each; goes on where it was cut off';
