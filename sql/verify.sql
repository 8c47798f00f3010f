-- Which values of a column do not open.

CREATE FUNCTION envelope.fault_of(relation oid, value bytea, context text, former_context text)
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_fault_of_wrapper';
COMMENT ON FUNCTION envelope.fault_of(oid, bytea, text, text) IS
  'For envelope.verify: key id, SQLSTATE and message of a value that opens under neither context; NULL if it opens';

CREATE FUNCTION envelope.sweep_contexts(relation regclass, column_name name)
  RETURNS TABLE (context text, former_context text)
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_contexts_wrapper';
COMMENT ON FUNCTION envelope.sweep_contexts(regclass, name) IS
  'For functions that read a whole table: SQL expressions over its row, of the context of a column''s values and of the one that they had before';

CREATE FUNCTION envelope.row_fault(
    relation oid, value bytea, context text, former_context text, index_columns text[], VARIADIC terms "any")
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_row_fault_wrapper';
COMMENT ON FUNCTION envelope.row_fault(oid, bytea, text, text, text[], "any") IS
  'For envelope.verify: as envelope.fault_of, and what is wrong with the first index column that does not hold the terms of the value';

CREATE FUNCTION envelope.index_columns(relation regclass, column_name name)
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_columns_wrapper';
COMMENT ON FUNCTION envelope.index_columns(regclass, name) IS
  'For envelope.verify: the columns that hold terms of a column''s values';

-- A row's key is shown as its output functions give it: a cast could be anybody's function. row_security is off so
-- that a policy that would hide rows is an error.
CREATE FUNCTION envelope.verify(relation regclass, column_name name)
  RETURNS TABLE (tid tid, row_key text, key_id uuid, sqlstate text, message text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp SET row_security = off
  AS $$
  #variable_conflict use_column
  DECLARE
    partitioned boolean;
    keys name[];
    shown text;
    contexts record;
    indexed text[];
  BEGIN
    IF verify.relation IS NULL OR verify.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM envelope.keep_stored(verify.relation, verify.column_name);
    -- Also where there is nothing to open.
    PERFORM envelope.fault_of(verify.relation, NULL, '', NULL);
    SELECT c.relkind OPERATOR(pg_catalog.=) 'p' INTO partitioned
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) verify.relation;
    SELECT pg_catalog.array_agg(a.attname ORDER BY k.number) INTO keys
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, number)
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
       AND a.attnum OPERATOR(pg_catalog.=) k.attnum
      WHERE i.indrelid OPERATOR(pg_catalog.=) verify.relation AND i.indisprimary
        AND k.number OPERATOR(pg_catalog.<=) i.indnkeyatts;
    -- What is to be sealed is no part of a report.
    IF keys IS NULL OR verify.column_name OPERATOR(pg_catalog.=) ANY (keys) THEN
      keys := '{}';
    END IF;
    shown := CASE pg_catalog.cardinality(keys) WHEN 0 THEN 'NULL'
             WHEN 1 THEN 'pg_catalog.format(''%s'', s.key_1)'
             ELSE (SELECT 'pg_catalog.jsonb_build_object(' OPERATOR(pg_catalog.||) pg_catalog.string_agg(
                     pg_catalog.format('%L, pg_catalog.format(''%%s'', s.key_%s)', k.name, k.number), ', '
                     ORDER BY k.number) OPERATOR(pg_catalog.||) ')'
                   FROM pg_catalog.unnest(keys) WITH ORDINALITY AS k (name, number)) END;
    indexed := envelope.index_columns(verify.relation, verify.column_name);
    SELECT * INTO contexts FROM envelope.sweep_contexts(verify.relation, verify.column_name);
    RETURN QUERY EXECUTE pg_catalog.format(
      $query$
      SELECT s.row_at, %1$s::pg_catalog.text, s.fault[1]::pg_catalog.uuid, s.fault[2],
             s.fault[3] OPERATOR(pg_catalog.||) %2$s
      FROM (SELECT t.ctid AS row_at, t.tableoid AS part %3$s,
                   envelope.%9$s(t.tableoid, t.%4$I::pg_catalog.bytea, %5$s, %6$s %10$s) AS fault
            FROM %7$s %8$s AS t OFFSET 0) AS s
      WHERE s.fault IS NOT NULL
      $query$,
      shown,
      CASE WHEN partitioned THEN $part$pg_catalog.format(' (partition %s)', s.part::pg_catalog.regclass)$part$
           ELSE $none$''$none$ END,
      (SELECT pg_catalog.string_agg(pg_catalog.format(', t.%I AS key_%s', k.name, k.number), '' ORDER BY k.number)
       FROM pg_catalog.unnest(keys) WITH ORDINALITY AS k (name, number)),
      verify.column_name, contexts.context, COALESCE(contexts.former_context, 'NULL'),
      CASE WHEN partitioned THEN '' ELSE 'ONLY' END, verify.relation,
      CASE pg_catalog.cardinality(indexed) WHEN 0 THEN 'fault_of' ELSE 'row_fault' END,
      (SELECT pg_catalog.format(', %L::pg_catalog.text[]', indexed) OPERATOR(pg_catalog.||)
              pg_catalog.string_agg(pg_catalog.format(', t.%I', k.name), '' ORDER BY k.number)
       FROM pg_catalog.unnest(indexed) WITH ORDINALITY AS k (name, number)));
  END $$;
COMMENT ON FUNCTION envelope.verify(regclass, name) IS
  'Opens every value of a column and gives a row for each that does not open, or whose index columns hold other terms, without stopping: where it stands, its row''s primary key, its key id, why';
