WITH place AS (
  SELECT c.oid, c.oid::regclass::text AS name, c.relname, c.relkind, c.relpersistence, c.relispartition,
         c.relowner, c.relacl, c.reltype, c.relnamespace
  FROM pg_class c WHERE c.oid = $1),
tree AS (
  SELECT oid FROM place
  UNION SELECT relid::oid FROM pg_partition_tree($1)),
-- Whatever PostgreSQL knows to depend on a column, of the table or of one of its partitions.
uses AS (
  SELECT DISTINCT a.attname AS column_name, u.kind, u.name, u.remove,
         CASE WHEN u.kind IN ('index', 'unique index') THEN pg_get_indexdef(d.objid)
              WHEN u.kind = 'extended statistics' THEN pg_get_statisticsobjdef(d.objid)
              WHEN u.kind = 'UNIQUE constraint' THEN pg_get_constraintdef(d.objid) END AS make,
         -- It keeps the column unique, as far as PostgreSQL can in such a table, and does nothing else.
         u.kind IN ('unique index', 'UNIQUE constraint') AND EXISTS (
           SELECT FROM pg_index x CROSS JOIN LATERAL (SELECT (x.indkey::int2[])[0:x.indnkeyatts - 1]) AS k (columns)
           WHERE x.indrelid = $1 AND x.indisvalid AND x.indimmediate AND NOT x.indisreplident
             AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indnatts = x.indnkeyatts
             AND pg_get_indexdef(x.indexrelid) NOT LIKE '% NULLS NOT DISTINCT%'
             AND x.indexrelid = COALESCE((SELECT c.conindid FROM pg_constraint c
                                          WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid), d.objid)
             AND a.attnum = ANY (k.columns) AND array_remove(k.columns, a.attnum) <@ {partition_key}) AS is_only_unique
  FROM pg_depend d
  JOIN tree ON tree.oid = d.refobjid AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  CROSS JOIN LATERAL (
    SELECT CASE c.contype WHEN 'c' THEN 'CHECK constraint' WHEN 'p' THEN 'PRIMARY KEY' WHEN 'u' THEN 'UNIQUE constraint'
                WHEN 'x' THEN 'exclusion constraint' WHEN 'f' THEN 'FOREIGN KEY' ELSE 'constraint' END,
           format('%I of table %s', c.conname, c.conrelid::regclass),
           CASE WHEN x.indisreplident THEN format('ALTER TABLE %s REPLICA IDENTITY FULL; ', c.conrelid::regclass) ELSE '' END
             || format('ALTER TABLE %s DROP CONSTRAINT %I', c.conrelid::regclass, c.conname)
    FROM pg_constraint c LEFT JOIN pg_index x ON x.indexrelid = c.conindid AND c.contype IN ('p', 'u', 'x')
    WHERE d.classid = 'pg_constraint'::regclass AND c.oid = d.objid AND c.contype <> 'n' AND c.conparentid = 0
      AND c.coninhcount = 0
      AND NOT (c.contype = 'c' AND pg_get_expr(c.conbin, c.conrelid) ~ '^\(*envelope\.(is_sealed|must_be_empty)\(')
    UNION ALL
    SELECT CASE WHEN x.indisunique THEN 'unique index' ELSE 'index' END, i.oid::regclass::text,
           CASE WHEN x.indisreplident THEN format('ALTER TABLE %s REPLICA IDENTITY FULL; ', x.indrelid::regclass) ELSE '' END
             || format('DROP INDEX %s', i.oid::regclass)
    FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid
    WHERE d.classid = 'pg_class'::regclass AND i.oid = d.objid AND NOT i.relispartition
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid AND c.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 'sequence', s.oid::regclass::text, format('ALTER SEQUENCE %s OWNED BY NONE', s.oid::regclass)
    FROM pg_class s WHERE d.classid = 'pg_class'::regclass AND s.oid = d.objid AND s.relkind = 'S' AND d.deptype = 'a'
    UNION ALL
    SELECT 'generated column', format('%s.%I', g.attrelid::regclass, g.attname),
           format('ALTER TABLE %s DROP COLUMN %I', g.attrelid::regclass, g.attname)
    FROM pg_attribute g LEFT JOIN pg_attrdef f ON f.adrelid = g.attrelid AND f.adnum = g.attnum
    WHERE (d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
           OR d.classid = 'pg_class'::regclass AND g.attrelid = d.objid AND g.attnum = d.objsubid)
      AND g.attrelid = d.refobjid AND g.attnum <> d.refobjsubid AND g.attgenerated <> '' AND g.attinhcount = 0
    UNION ALL
    SELECT CASE v.relkind WHEN 'v' THEN 'view' ELSE 'materialized view' END, v.oid::regclass::text,
           format(CASE v.relkind WHEN 'v' THEN 'DROP VIEW %s' ELSE 'DROP MATERIALIZED VIEW %s' END, v.oid::regclass)
    FROM pg_rewrite w JOIN pg_class v ON v.oid = w.ev_class
    WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND v.relkind IN ('v', 'm') AND w.ev_type = '1'
    UNION ALL
    SELECT 'rule', format('%I on %s', w.rulename, w.ev_class::regclass),
           format('DROP RULE %I ON %s', w.rulename, w.ev_class::regclass)
    FROM pg_rewrite w WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid AND w.ev_type <> '1'
    UNION ALL
    SELECT 'extended statistics', format('%I.%I', n.nspname, s.stxname), format('DROP STATISTICS %I.%I', n.nspname, s.stxname)
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
    WHERE d.classid = 'pg_statistic_ext'::regclass AND s.oid = d.objid
    UNION ALL
    SELECT 'row security policy', format('%I on table %s', p.polname, p.polrelid::regclass),
           format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass)
    FROM pg_policy p WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid
    UNION ALL
    SELECT 'publication', format('%I', b.pubname), format('ALTER PUBLICATION %I DROP TABLE %s', b.pubname, p.prrelid::regclass)
    FROM pg_publication_rel p JOIN pg_publication b ON b.oid = p.prpubid
    WHERE d.classid = 'pg_publication_rel'::regclass AND p.oid = d.objid
    UNION ALL
    SELECT 'trigger', format('%I on table %s', t.tgname, t.tgrelid::regclass),
           format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass)
    FROM pg_trigger t
    WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND NOT t.tgisinternal AND t.tgparentid = 0
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, format('DROP ROUTINE %s', p.oid::regprocedure)
    FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
    UNION ALL
    SELECT 'object', pg_describe_object(d.classid, d.objid, d.objsubid), ''
    WHERE d.classid NOT IN ('pg_constraint'::regclass, 'pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_rewrite'::regclass,
      'pg_statistic_ext'::regclass, 'pg_policy'::regclass, 'pg_publication_rel'::regclass, 'pg_trigger'::regclass,
      'pg_proc'::regclass)
  ) AS u(kind, name, remove)
  UNION ALL
  -- Which depends on its table: PostgreSQL turns that round.
  SELECT DISTINCT a.attname, 'partition key', format('of table %s', d.refobjid::regclass), '', NULL, false
  FROM pg_depend d JOIN tree ON tree.oid = d.refobjid AND tree.oid = d.objid
  JOIN pg_attribute a ON a.attrelid = d.objid AND a.attnum = d.objsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid = 0
    AND d.objsubid > 0 AND d.deptype = 'i'),
-- To whom the table or one of its columns was granted, but its owner.
grants AS (
  SELECT x.grantee, x.privilege_type, x.is_grantable, NULL::name AS column_name
  FROM place p, aclexplode(COALESCE(p.relacl, acldefault('r', p.relowner))) x WHERE x.grantee <> p.relowner
  UNION ALL
  SELECT x.grantee, x.privilege_type, x.is_grantable, a.attname
  FROM place p JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped,
       aclexplode(a.attacl) x WHERE x.grantee <> p.relowner)
SELECT convert_to(json_build_object(
  'schema', (SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
             WHERE e.extname = 'pgrx-example'),
  'name', p.name,
  'plain_name', p.relname,
  'in_schema', (SELECT quote_ident(n.nspname) FROM pg_namespace n WHERE n.oid = p.relnamespace),
  'is_partitioned', p.relkind = 'p',
  'parents', COALESCE((SELECT json_agg(i.inhparent::regclass::text) FROM pg_inherits i WHERE i.inhrelid = p.oid), '[]'),
  'heirs', COALESCE((SELECT json_agg(i.inhrelid::regclass::text) FROM pg_inherits i
                     WHERE i.inhparent = p.oid AND p.relkind <> 'p'), '[]'),
  'rows', (SELECT GREATEST(sum(GREATEST(c.reltuples, 0)), 0)::int8 FROM tree JOIN pg_class c USING (oid) WHERE c.relkind = 'r'),
  'bytes', (SELECT COALESCE(sum(pg_table_size(c.oid)), 0)::int8 FROM tree JOIN pg_class c USING (oid) WHERE c.relkind = 'r'),
  'has_key', EXISTS (SELECT FROM envelope.keys k WHERE k.purpose = 'seal' AND k.state = 'active' AND NOT k.orphaned AND k.relation =
                       COALESCE(pg_partition_root(p.oid)::text, p.name)),
  'published', COALESCE((SELECT json_agg(quote_ident(t.pubname) ORDER BY t.pubname)
     FROM (SELECT pubname FROM pg_publication WHERE puballtables
           UNION SELECT b.pubname FROM pg_publication b, pg_get_publication_tables(b.pubname::text) g
                 WHERE g.relid IN (SELECT oid FROM tree)) t), '[]'),
  'row_type_in', COALESCE((SELECT json_agg(format('%s.%I', a.attrelid::regclass, a.attname))
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'c')
     JOIN pg_type t ON t.oid = a.atttypid
     WHERE NOT a.attisdropped AND p.reltype <> 0 AND p.reltype IN (t.oid, t.typelem)), '[]'),
  'columns', COALESCE((SELECT json_agg(json_build_object(
      'name', a.attname, 'quoted', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
      'category', CASE WHEN b.base = 'bytea'::regtype THEN 'bytes'
                       WHEN b.base::text = 'envelope.sealed' THEN 'sealed'
                       WHEN b.base IN ('text'::regtype, 'varchar'::regtype) THEN 'text'
                       ELSE 'other' END,
      'not_null', a.attnotnull, 'domain_not_null', b.not_null, 'identity', a.attidentity <> '',
      'generated', a.attgenerated <> '', 'default', pg_get_expr(f.adbin, f.adrelid),
      'storage', CASE WHEN a.attstorage <> t.typstorage AND t.typstorage <> 'p' THEN
                   CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
      'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
      'statistics', CASE WHEN a.attstattarget >= 0 THEN a.attstattarget END,
      'collation', CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
      'inherited', a.attinhcount > 0, 'comment', col_description(a.attrelid, a.attnum),
      'grants', COALESCE((SELECT json_agg(json_build_object(
            'to', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
            'privilege', g.privilege_type, 'grantable', g.is_grantable) ORDER BY r.rolname, g.privilege_type)
          FROM grants g LEFT JOIN pg_roles r ON r.oid = g.grantee WHERE g.column_name = a.attname), '[]')
    ) ORDER BY a.attnum)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
    CROSS JOIN LATERAL (
      WITH RECURSIVE chain AS (
        SELECT t.oid, t.typtype, t.typbasetype, t.typnotnull
        UNION ALL SELECT n.oid, n.typtype, n.typbasetype, n.typnotnull
        FROM chain JOIN pg_type n ON chain.typtype = 'd' AND n.oid = chain.typbasetype)
      SELECT (SELECT oid::regtype FROM chain WHERE typtype <> 'd') AS base, bool_or(typnotnull) AS not_null FROM chain) b
    WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
  'triggers', COALESCE((SELECT json_agg(json_build_object(
      'name', t.tgname, 'quoted', quote_ident(t.tgname), 'enabled', t.tgenabled,
      'is_row', t.tgtype::int & 1 > 0, 'is_before', t.tgtype::int & 66 = 2,
      'on_insert', t.tgtype::int & 4 > 0, 'on_update', t.tgtype::int & 16 > 0,
      'is_narrow', t.tgqual IS NOT NULL OR t.tgattr::text <> '',
      'kind', CASE WHEN l.lanname = 'c' AND f.prosrc = 'envelope_seal_wrapper' THEN 'seal'
                   WHEN l.lanname = 'c' AND f.prosrc = 'envelope_mirror_wrapper' THEN 'mirror' ELSE 'other' END,
      'argument_bytes', encode(t.tgargs, 'hex')) ORDER BY t.tgname COLLATE "C")
    FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_language l ON l.oid = f.prolang
    WHERE t.tgrelid = p.oid AND NOT t.tgisinternal), '[]'),
  'checks', COALESCE((SELECT json_agg(json_build_object(
      'name', c.conname, 'quoted', quote_ident(c.conname), 'valid', c.convalidated,
      'is_enforced', COALESCE((to_jsonb(c) ->> 'conenforced')::boolean, true),
      'expression', pg_get_expr(c.conbin, c.conrelid)) ORDER BY c.conname)
    FROM pg_constraint c WHERE c.conrelid = p.oid AND c.contype = 'c'), '[]'),
  'constraints', COALESCE((SELECT json_agg(c.conname) FROM pg_constraint c WHERE c.conrelid = p.oid), '[]'),
  'uses', COALESCE((SELECT json_agg(json_build_object('column', u.column_name, 'kind', u.kind, 'name', u.name,
      'remove', u.remove, 'make', u.make, 'is_only_unique', u.is_only_unique) ORDER BY u.column_name, u.kind, u.name) FROM uses u), '[]'),
  'roles', COALESCE((SELECT json_agg(json_build_object(
      'name', x.name, 'writes', x.writes AND NOT x.may_encrypt,
      'reads_all', x.reads_all AND NOT x.may_decrypt,
      'reads', CASE WHEN x.may_decrypt THEN '{}' ELSE COALESCE(x.reads, '{}') END) ORDER BY x.name)
    FROM (SELECT r.rolname AS name,
                 bool_or(g.privilege_type IN ('INSERT', 'UPDATE')) AS writes,
                 bool_or(g.privilege_type = 'SELECT' AND g.column_name IS NULL) AS reads_all,
                 array_agg(g.column_name::text) FILTER (WHERE g.privilege_type = 'SELECT' AND g.column_name IS NOT NULL) AS reads,
                 CASE WHEN r.oid IS NOT NULL THEN envelope.has_key_privilege(r.oid, $1, 'encrypt') ELSE false END AS may_encrypt,
                 CASE WHEN r.oid IS NOT NULL THEN envelope.has_key_privilege(r.oid, $1, 'decrypt') ELSE false END AS may_decrypt
          FROM grants g LEFT JOIN pg_roles r ON r.oid = g.grantee
          WHERE g.grantee = 0 OR r.oid IS NOT NULL GROUP BY r.oid, r.rolname) x), '[]'),
  'policies', COALESCE((SELECT json_agg(json_build_object(
      'column', y.column_name, 'form', y.form, 'value_type', y.value_type,
      'category', CASE WHEN b.base IS NULL OR b.base = 'bytea'::regtype THEN 'bytes'
                       WHEN b.base::text = 'envelope.sealed' THEN 'sealed'
                       WHEN b.base IN ('text'::regtype, 'varchar'::regtype) THEN 'text'
                       ELSE 'other' END,
      'source', y.source, 'tag', y.tag, 'bound', y.bound_columns, 'block', y.block, 'mask', y.mask) ORDER BY y.column_name)
    FROM envelope.policies y LEFT JOIN pg_type t ON t.oid = y.value_type::regtype
    LEFT JOIN LATERAL (
      WITH RECURSIVE chain AS (
        SELECT t.oid, t.typtype, t.typbasetype
        UNION ALL SELECT n.oid, n.typtype, n.typbasetype
        FROM chain JOIN pg_type n ON chain.typtype = 'd' AND n.oid = chain.typbasetype)
      SELECT oid::regtype AS base FROM chain WHERE typtype <> 'd') b ON true
    WHERE y.relation = p.name), '[]')
)::text, 'UTF8')
FROM place p
