//! Plaintext that PostgreSQL has kept elsewhere than in rows.

/// The queries.
pub const CLASSES: &[&str] = &[STATISTICS];

/// What ANALYZE has sampled while values were in clear.
const STATISTICS: &str = r"
SELECT c.relation, p.name::text, 'warning', '55000',
       format('statistics of column %s hold values in clear', p.col),
       format('ANALYZE %s (%s)', c.tab, p.col)
FROM col c
CROSS JOIN LATERAL (VALUES (c.name, c.col, true), (c.source_name, c.source_col, false)) AS p (name, col, is_sealed)
JOIN pg_class r ON r.oid = c.relation JOIN pg_namespace n ON n.oid = r.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = r.relname AND s.attname = p.name
CROSS JOIN LATERAL (VALUES (s.most_common_vals::text), (s.histogram_bounds::text)) AS v (list)
WHERE v.list IS NOT NULL AND NOT (p.name = c.source_name AND c.mirrored)
  AND CASE WHEN NOT p.is_sealed THEN true
           ELSE EXISTS (SELECT FROM unnest(v.list::bytea[]) AS e (value) WHERE substr(e.value, 1, 2) <> '\xf7e1') END
GROUP BY c.relation, p.name, p.col, c.tab";
