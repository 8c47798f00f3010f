//! What compares sealed values, of which no two are equal, or is built from them; and what stands on a source, which
//! is always NULL once stored.

/// The queries that find errors, and perhaps more.
pub const ERRORS: &[&str] = &[SOURCES, SHADOWS];
/// Those that find none.
pub const OTHERS: &[&str] = &[CONSTRAINTS, CHECKS, INDEXES, GENERATED, STATISTICS, IDENTITY];

/// A function of somebody else's beside one of the extension's. Statements that call the extension's call it, where its
/// arguments are closer, with the rights of whoever runs them.
const SHADOWS: &str = r"
SELECT DISTINCT c.relation, '', 'error', '42723',
       format('function %s of role %I could be called in the place of the extension''s own', p.oid::regprocedure, r.rolname),
       format('DROP ROUTINE %s', p.oid::regprocedure)
FROM col c
CROSS JOIN pg_extension e
JOIN member m ON m.pronamespace = e.extnamespace
JOIN pg_proc p ON p.proname = m.proname AND p.pronamespace = m.pronamespace AND p.proowner <> e.extowner
JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
WHERE e.extname = convert_from($1, 'UTF8') AND p.oid NOT IN (SELECT oid FROM member)
  AND (c.policy OR c.triggered OR c.heir OR c.copy)";

/// UNIQUE lets duplicates in, a foreign key finds nothing, an exclusion excludes nothing.
const CONSTRAINTS: &str = r"
SELECT c.relation, c.name::text, 'warning', '42883',
       format(CASE k.contype WHEN 'f' THEN 'foreign key %I compares sealed values of column %s, of which no two are equal'
                             ELSE 'constraint %I compares sealed values of column %s, of which no two are equal: it lets '
                               || 'duplicates in' END, k.conname, c.col),
       format('ALTER TABLE %s DROP CONSTRAINT %I', o.tab, k.conname)
FROM (SELECT conrelid AS relation, unnest(conkey) AS attnum, conrelid, conname, contype FROM pg_constraint k
      WHERE contype IN ('p', 'u', 'x', 'f') AND conparentid = 0
      UNION
      SELECT confrelid, unnest(confkey), conrelid, conname, contype FROM pg_constraint k WHERE contype = 'f' AND conparentid = 0) AS k
JOIN col c ON c.relation = k.relation AND c.attnum = k.attnum
JOIN (SELECT r.oid, format('%I.%I', n.nspname, r.relname) AS tab
      FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace) AS o ON o.oid = k.conrelid
WHERE c.policy OR c.triggered OR c.heir OR c.registered";

/// CHECKs that look at the value itself, which they see sealed. That it is there, and how long it is, they may ask.
const CHECKS: &str = r"
SELECT c.relation, c.name::text, 'warning', '42883',
       format('CHECK constraint %I sees column %s sealed', k.conname, c.col),
       format('ALTER TABLE %s DROP CONSTRAINT %I', c.tab, k.conname)
FROM col c
JOIN (SELECT conrelid, unnest(conkey) AS attnum, oid, conname FROM pg_constraint
      WHERE contype = 'c' AND conislocal AND coninhcount = 0
        AND oid NOT IN (SELECT d.objid FROM pg_depend d JOIN member m ON d.refobjid = m.oid
                        WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_proc'::regclass)
        AND conrelid = ANY ($5)
      OFFSET 0) AS k ON k.conrelid = c.relation AND k.attnum = c.attnum
CROSS JOIN LATERAL (SELECT regexp_replace(c.col, '([^[:alnum:]_])', '\\\1', 'g') AS col) AS e
WHERE (c.policy OR c.triggered OR c.heir)
  AND regexp_replace(pg_get_constraintdef(k.oid),
                     e.col || ' IS (NOT )?NULL|(octet_)?length\(' || e.col || '\)|num_(non)?nulls\([^)]*\)', '', 'g') ~ e.col";

/// Plain indexes. One over an expression of ours, or with a condition of ours, is meant so.
const INDEXES: &str = r"
SELECT c.relation, c.name::text, 'notice', '42883',
       format('index %I is over sealed values of column %s: no query finds anything by it', r.relname, c.col),
       format('DROP INDEX %I.%I', n.nspname, r.relname)
FROM col c JOIN pg_index i ON i.indrelid = c.relation AND c.attnum = ANY (i.indkey)
JOIN pg_class r ON r.oid = i.indexrelid AND NOT r.relispartition JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE (c.policy OR c.triggered OR c.heir)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))";

/// Generated columns are computed after the trigger has sealed the column, and emptied the source.
const GENERATED: &str = r"
SELECT c.relation, g.attname::text, 'warning', '42883',
       format('generated column %I is computed from column %s, which it sees %s', g.attname, p.col, p.how),
       format(CASE g.attgenerated WHEN 's' THEN 'ALTER TABLE %s ALTER COLUMN %I DROP EXPRESSION'
                                  ELSE 'ALTER TABLE %s DROP COLUMN %I' END, c.tab, g.attname)
FROM col c
CROSS JOIN LATERAL (VALUES (c.attnum, c.col, 'sealed'), (c.source, c.source_col, 'empty')) AS p (attnum, col, how)
JOIN pg_attrdef f ON f.adrelid = c.relation
JOIN pg_attribute g ON g.attrelid = c.relation AND g.attnum = f.adnum AND g.attgenerated <> '' AND g.attislocal
WHERE p.attnum <> 0 AND NOT c.below AND (c.policy OR c.triggered OR c.heir)
  AND EXISTS (SELECT FROM pg_depend d
              WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.relation AND d.refobjsubid = p.attnum
                AND (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                     OR d.classid = 'pg_class'::regclass AND d.objid = c.relation AND d.objsubid = f.adnum))
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid IN (SELECT oid FROM member)
                    AND (d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
                         OR d.classid = 'pg_class'::regclass AND d.objid = c.relation AND d.objsubid = f.adnum))";

const STATISTICS: &str = r"
SELECT c.relation, c.name::text, 'notice', '42883',
       format('statistics object %I counts sealed values of column %s, of which no two are equal', e.stxname, c.col),
       format('DROP STATISTICS %I.%I', n.nspname, e.stxname)
FROM col c JOIN pg_statistic_ext e ON e.stxrelid = c.relation AND c.attnum = ANY (e.stxkeys)
JOIN pg_namespace n ON n.oid = e.stxnamespace
WHERE c.policy OR c.triggered OR c.heir";

const IDENTITY: &str = r"
SELECT c.relation, c.name::text, 'notice', '42883',
       format('the replica identity FULL sends sealed values of column %s with every UPDATE, and finds rows by them', c.col),
       format('ALTER TABLE %s REPLICA IDENTITY DEFAULT', c.tab)
FROM col c JOIN pg_class r ON r.oid = c.relation AND r.relreplident = 'f'
WHERE (c.policy OR c.triggered OR c.heir)
  AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.relation AND i.indisprimary)";

/// What on a source refuses its NULL, fills it by itself, or looks at it.
const SOURCES: &str = r"
SELECT c.relation, c.source_name::text, 'notice', '55000',
       format('column %s, which is mirrored into column %s, keeps its plaintext for the time being', c.source_col, c.col),
       'When all writers use the sealed column, put envelope_seal in the place of envelope_mirror.'
FROM col c WHERE c.mirrored AND NOT c.below
UNION ALL
SELECT c.relation, c.source_name::text, 'error', '42P17',
       format('column %s, which is sealed into column %s, has a DEFAULT, which takes the place of a sealed value that is '
              || 'given', c.source_col, c.col),
       format(CASE a.attidentity WHEN '' THEN 'ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT'
                                 ELSE 'ALTER TABLE %s ALTER COLUMN %s DROP IDENTITY' END, c.tab, c.source_col)
FROM col c JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.source
LEFT JOIN pg_attrdef d ON d.adrelid = c.relation AND d.adnum = c.source
WHERE c.source <> 0 AND a.attgenerated = ''
  AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) !~ '^NULL\M')
UNION ALL
SELECT c.relation, c.source_name::text, 'warning', '23502',
       format('column %s, which is sealed into column %s and emptied, is NOT NULL: no row can be written', c.source_col, c.col),
       format('ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL', c.tab, c.source_col)
FROM col c JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.source
WHERE c.source <> 0 AND a.attnotnull AND NOT c.below AND NOT c.mirrored
UNION ALL
SELECT c.relation, c.source_name::text, 'warning', '42P17',
       format('constraint %I stands on column %s, which is sealed into column %s and emptied: it no longer holds for any '
              || 'value', k.conname, c.source_col, c.col),
       format('ALTER TABLE %s DROP CONSTRAINT %I', c.tab, k.conname)
FROM col c JOIN pg_constraint k ON k.conrelid = c.relation AND c.source = ANY (k.conkey) AND k.conparentid = 0
WHERE c.source <> 0 AND k.contype IN ('p', 'u', 'x', 'f', 'c') AND k.conislocal AND k.coninhcount = 0 AND NOT c.mirrored
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass
                    AND d.refobjid IN (SELECT oid FROM member))
UNION ALL
SELECT c.relation, c.source_name::text, 'warning', '23514',
       format('no CHECK refuses plaintext that stays in column %s, which is sealed into column %s', c.source_col, c.col),
       format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (envelope.must_be_empty(%s)) NOT VALID', c.tab,
              left(c.source_name, 50) || '_must_be_empty', c.source_col)
FROM col c
WHERE c.source <> 0 AND NOT c.below AND NOT c.mirrored
  AND NOT EXISTS (SELECT FROM pg_constraint k
                  JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                  JOIN member m ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = m.oid AND m.proname = 'must_be_empty'
                  WHERE k.conrelid = c.relation AND c.source = ANY (k.conkey))";
