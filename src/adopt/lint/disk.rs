//! Plaintext that PostgreSQL has kept elsewhere than in rows.

use super::Finding;
use super::columns::Columns;
use crate::error::Result;

/// What ANALYZE has sampled while values were in clear; nothing where the owner of the schema may not read that.
pub fn statistics(columns: &Columns) -> Result<Vec<Finding>> {
    let may_read = columns.query(MAY_READ, |row| row.get::<bool>(1))?;
    if may_read.into_iter().any(|may| may != Some(true)) {
        return Ok(Vec::new());
    }
    columns.ask(STATISTICS)
}

const MAY_READ: &str = "SELECT has_table_privilege('pg_statistic', 'SELECT')";

const STATISTICS: &str = r"
SELECT c.relation, p.name::text, 'warning', '55000',
       format('statistics of column %s hold values in clear', p.col),
       format('ANALYZE %s (%s)', c.tab, p.col)
FROM pg_statistic s
JOIN (SELECT relation, attnum, name, col, tab, true AS is_sealed FROM col
      UNION ALL SELECT relation, source, source_name, source_col, tab, false FROM col WHERE source <> 0 AND NOT mirrored)
  AS p ON p.relation = s.starelid AND p.attnum = s.staattnum
JOIN (SELECT DISTINCT relation, tab FROM col) AS c ON c.relation = s.starelid
CROSS JOIN LATERAL (VALUES (s.stavalues1::text), (s.stavalues2::text), (s.stavalues3::text), (s.stavalues4::text),
                           (s.stavalues5::text)) AS v (list)
WHERE v.list IS NOT NULL
  AND CASE WHEN NOT p.is_sealed THEN true
           ELSE EXISTS (SELECT FROM unnest(v.list::bytea[]) AS e (value) WHERE substr(e.value, 1, 2) <> '\xf7e1') END
GROUP BY c.relation, p.name, p.col, c.tab";
