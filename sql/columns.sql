-- Where sealed values stand, and under which keys.

CREATE FUNCTION envelope.key_id_of(value bytea)
  RETURNS uuid LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_of_wrapper';
COMMENT ON FUNCTION envelope.key_id_of(bytea) IS
  'The key id in the header of a sealed value, NULL if it has none; reads no more of the value than that';

CREATE FUNCTION envelope.register_column(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_register_column_wrapper';
COMMENT ON FUNCTION envelope.register_column(regclass, name) IS
  'Notes that a column holds sealed values, so that destroy_key reads all of it; false if it was noted already';

CREATE FUNCTION envelope.unregister_column(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unregister_column_wrapper';
COMMENT ON FUNCTION envelope.unregister_column(regclass, name) IS
  'Takes register_column back; false if the column was not noted';

-- Triggers are looked up, not copied into the register: nothing is written behind anyone's back, and
-- nothing goes stale. Their arguments are NUL-terminated and stand one after the other; in `target=source` the
-- sealed values stand in the target.
CREATE VIEW envelope.sealed_columns WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, s.column_name,
         pg_catalog.bool_or(s.tgname IS NULL) AS registered,
         pg_catalog.array_remove(pg_catalog.array_agg(DISTINCT s.tgname), NULL) AS triggers
  FROM (SELECT r.relation::pg_catalog.oid AS oid, r.column_name, NULL::pg_catalog.name AS tgname
        FROM envelope.sealed_column r
        UNION ALL
        SELECT t.tgrelid, a.attname, t.tgname
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
         AND p.prosrc OPERATOR(pg_catalog.=) ANY (ARRAY['envelope_seal_wrapper', 'envelope_mirror_wrapper'])
        JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
         AND l.lanname OPERATOR(pg_catalog.=) 'c'
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.tgrelid
         AND a.attnum OPERATOR(pg_catalog.>) 0
         AND pg_catalog.strpos(a.attname::pg_catalog.text, '=') OPERATOR(pg_catalog.=) 0
        CROSS JOIN pg_catalog.unnest(ARRAY['00', '3d']) AS e (after)
        WHERE t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
          AND pg_catalog.position(
                pg_catalog.decode('00', 'hex') OPERATOR(pg_catalog.||) t.tgargs,
                pg_catalog.decode('00', 'hex') OPERATOR(pg_catalog.||)
                  pg_catalog.convert_to(a.attname::pg_catalog.text, pg_catalog.getdatabaseencoding())
                  OPERATOR(pg_catalog.||) pg_catalog.decode(e.after, 'hex')) OPERATOR(pg_catalog.>) 0
       ) AS s
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.oid
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
  GROUP BY c.oid, s.column_name;
COMMENT ON VIEW envelope.sealed_columns IS
  'Columns of your tables (all, for members of pg_monitor) that are known to hold sealed values: registered, or named by a sealing trigger';
GRANT SELECT ON envelope.sealed_columns TO PUBLIC;

CREATE FUNCTION envelope.keep_stored(relation regclass, column_name name)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_keep_stored_wrapper';
COMMENT ON FUNCTION envelope.keep_stored(regclass, name) IS
  'For envelope.census: an error when a column is not stored as bytea or envelope.sealed, so that no cast or view of its owner runs; it stays so to the end of the transaction';

-- row_security is off so that a policy that would hide rows is an error, not a wrong count.
CREATE FUNCTION envelope.census(relation regclass, column_name name, sample real DEFAULT NULL)
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
                   COALESCE(pg_catalog.sum(pg_catalog.octet_length(t.%1$I::pg_catalog.bytea)), 0)::numeric AS bytes
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
COMMENT ON FUNCTION envelope.census(regclass, name, real) IS
  'Counts the values of a column by the key that they are sealed under, and those that are not sealed; with a sample (percent of pages), estimates';
