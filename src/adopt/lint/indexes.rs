//! Search indexes against their columns, their keys and those who may read them.

use super::Finding;
use super::columns::Columns;
use crate::adopt::index::partition_key;
use crate::catalog;
use crate::error::Result;

/// All of them; none in the catalog of a release that had no search indexes.
pub fn findings(columns: &Columns) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if catalog::oid_of(c"column_index").is_ok() {
        let key = partition_key("i.table_id");
        for sql in QUERIES {
            let sql = sql.replace("{partition_key}", &key);
            findings.extend(columns.ask(&format!("{INDEX} {sql}"))?);
        }
    }
    Ok(findings)
}

const QUERIES: [&str; 12] = [
    GONE,
    OTHERS_SET_IT,
    KEYS,
    NOT_LENT,
    NOT_BUILT,
    NOT_UNIQUE,
    NO_INDEX,
    ROTATING,
    TO_RETIRE,
    LABELS,
    READERS,
    UNEVEN,
];

/// The indexes that are looked at, and the keyring of each. Those of all tables that are `behind`: of a row it is not known
/// that its terms are under the active index key. Of terms the building tells, table by table, of tokens the index itself.
const INDEX: &str = r"
WITH ix AS (
  SELECT i.*, v.tab, v.relowner, i.relation::oid AS table_id, k.keyring_id,
         format('%L, %L', v.tab, i.index_column) AS named,
         a.attnum, a.atttypid, a.attnotnull, a.atthasdef, a.attgenerated
  FROM envelope.column_index i JOIN visible v ON v.oid = i.relation::oid
  LEFT JOIN envelope.keyring_table k ON k.seals AND k.relation::oid = COALESCE(i.keys_of::oid, i.relation::oid)
  LEFT JOIN pg_attribute a ON a.attrelid = v.oid AND a.attname = i.index_column AND a.attnum > 0
), behind AS (
  SELECT i.id, k.keyring_id
  FROM envelope.column_index i
  JOIN envelope.keyring_table k ON k.seals AND k.relation::oid = COALESCE(i.keys_of::oid, i.relation::oid)
  JOIN pg_class c ON c.oid = i.relation::oid
  JOIN envelope.data_key d ON d.keyring_id = k.keyring_id AND d.purpose = 'index' AND d.state = 'active'
  WHERE NOT i.built OR CASE
    WHEN i.is_unique OR i.term_length IS NULL THEN i.key_id IS DISTINCT FROM d.key_id
    ELSE EXISTS (
      SELECT FROM (SELECT c.oid WHERE c.relkind <> 'p'
                   UNION ALL SELECT p.relid FROM pg_partition_tree(c.oid) p WHERE p.isleaf AND c.relkind = 'p') AS m (oid)
      WHERE NOT EXISTS (SELECT FROM envelope.reencryption r
                        WHERE r.relation::oid = m.oid AND r.column_name = i.index_column AND r.work = 'index'
                          AND r.key_id = d.key_id AND r.finished_at IS NOT NULL)) END
)";

/// Nothing keeps the terms of what is gone.
const GONE: &str = r"
SELECT i.table_id, i.column_name::text, 'error', CASE WHEN i.attnum IS NULL THEN '42703' ELSE '42704' END,
       format(CASE WHEN i.attnum IS NULL THEN 'column %I, which holds the terms of column %I, does not exist'
                   ELSE 'column %I holds the terms of column %I, which has no policy: nothing keeps them' END,
              i.index_column, i.column_name),
       format('SELECT envelope.drop_index(%s)', i.named)
FROM ix i
WHERE i.attnum IS NULL OR NOT EXISTS (
  SELECT FROM policy p WHERE p.relation = i.table_id AND p.column_name = i.column_name AND p.form IS NOT NULL)";

/// What only the trigger is to set.
const OTHERS_SET_IT: &str = r"
SELECT i.table_id, i.column_name::text, 'error', w.sqlstate,
       format('column %I, which holds the terms of column %I, %s: the trigger refuses writes', i.index_column, i.column_name, w.what),
       w.remedy
FROM ix i
CROSS JOIN LATERAL (
  SELECT '42804', 'is of another type than they are', format('SELECT envelope.drop_index(%s)', i.named)
  WHERE i.atttypid <> CASE WHEN i.term_length IS NULL THEN 'int8[]'::regtype ELSE 'bytea'::regtype END
  UNION ALL SELECT '428C9', 'is generated', format('ALTER TABLE %s ALTER %I DROP EXPRESSION', i.tab, i.index_column)
  WHERE i.attgenerated <> ''
  UNION ALL SELECT '42P17', 'has a default', format('ALTER TABLE %s ALTER %I DROP DEFAULT', i.tab, i.index_column)
  WHERE i.atthasdef AND i.attgenerated = ''
  UNION ALL SELECT '23502', 'is NOT NULL, as the terms of NULL are not',
                   format('ALTER TABLE %s ALTER %I DROP NOT NULL', i.tab, i.index_column)
  WHERE i.attnotnull
) AS w (sqlstate, what, remedy)";

/// Keys that are not there any more, and an index that may have two terms of one value.
const KEYS: &str = r"
SELECT i.table_id, i.column_name::text, 'error', w.sqlstate,
       format('the search index in column %I %s', i.index_column, w.what), format('SELECT envelope.drop_index(%s)', i.named)
FROM ix i
CROSS JOIN LATERAL (
  SELECT '42704', 'uses the index keys of a table that is gone' WHERE i.keys_of::oid = 0
  UNION ALL
  SELECT '55000', 'has terms under an index key that was destroyed'
  WHERE EXISTS (SELECT FROM envelope.data_key k WHERE k.key_id = i.key_id AND k.state = 'destroyed')
  UNION ALL
  SELECT '42704', 'has terms under an index key that is not in this database'
  WHERE i.key_id IS NOT NULL AND NOT EXISTS (SELECT FROM envelope.data_key k WHERE k.key_id = i.key_id)
  UNION ALL
  SELECT '42809', 'is made by the index keys of a partition, which has those of its topmost table: questions do not find its rows'
  WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = COALESCE(i.keys_of::oid, i.table_id) AND c.relispartition)
  UNION ALL
  SELECT '42809', 'is of a partition alone: questions to its topmost table do not find its rows'
  WHERE i.keys_of IS NOT NULL AND EXISTS (SELECT FROM pg_class c WHERE c.oid = i.table_id AND c.relispartition)
  UNION ALL
  SELECT '55000', 'is to be unique, and is not pinned to one index key: one value may have several terms'
  WHERE i.is_unique AND i.key_id IS NULL
) AS w (sqlstate, what)";

/// A right that was taken back from the owner of a table whose terms are made by another's keys.
const NOT_LENT: &str = r"
SELECT i.table_id, i.column_name::text, 'error', '42501',
       format('role %I owns the table, and may not search with the index keys of table %s: writes of column %I are refused',
              pg_get_userbyid(i.relowner), k.oid::regclass, i.column_name),
       format('SELECT envelope.grant_key(%L, %L, %L)', k.oid::regclass::text, pg_get_userbyid(i.relowner), 'search')
         || format(' -- or SELECT envelope.drop_index(%s)', i.named)
FROM ix i JOIN pg_class k ON k.oid = i.keys_of::oid
WHERE NOT pg_has_role(i.relowner, k.relowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM envelope.key_grant g
                  WHERE g.keyring_id = i.keyring_id AND g.verb IN ('search', 'manage')
                    AND g.grantee::oid <> 0 AND pg_has_role(i.relowner, g.grantee::oid, 'USAGE'))";

/// Rows from before the index.
const NOT_BUILT: &str = r"
SELECT i.table_id, i.column_name::text, 'warning', '55000',
       format('the search index in column %I is not built: rows from before it are not found by their terms', i.index_column),
       format('CALL envelope.build_index(%L, %L, %L)', i.tab, i.column_name, i.index_column)
FROM ix i WHERE NOT i.built";

/// A unique index of ours that PostgreSQL does not keep. In a partitioned table it has the partition key, too; where that
/// has expressions PostgreSQL keeps none.
const NOT_UNIQUE: &str = r"
SELECT i.table_id, i.column_name::text, 'warning', '55000',
       format('the search index in column %I is to be unique, and no valid UNIQUE index keeps duplicates out', i.index_column),
       CASE WHEN 0 = ANY (p.key) THEN format('SELECT envelope.drop_index(%s)', i.named)
            ELSE format('CREATE UNIQUE INDEX %sON %s (%s)', CASE WHEN t.relkind = 'p' THEN '' ELSE 'CONCURRENTLY ' END, i.tab,
              concat_ws(', ', quote_ident(i.index_column),
                (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = i.table_id AND a.attnum = ANY (p.key) AND a.attnum <> i.attnum))) END
FROM ix i JOIN pg_class t ON t.oid = i.table_id CROSS JOIN LATERAL (SELECT {partition_key}) AS p (key)
WHERE i.is_unique AND i.attnum IS NOT NULL AND NOT EXISTS (
  SELECT FROM pg_index x CROSS JOIN LATERAL (SELECT (x.indkey::int2[])[0:x.indnkeyatts - 1]) AS k (columns)
  WHERE x.indrelid = i.table_id AND x.indisvalid AND x.indisunique AND x.indpred IS NULL
    AND i.attnum = ANY (k.columns) AND array_remove(k.columns, i.attnum) <@ p.key)";

/// Terms that are found by reading the whole table.
const NO_INDEX: &str = r"
SELECT i.table_id, i.column_name::text, 'notice', '55000',
       format('no valid index of PostgreSQL stands on column %I, which holds the terms of column %I: searches read the whole table',
              i.index_column, i.column_name),
       format('CREATE INDEX %sON %s %s(%I)', CASE WHEN t.relkind = 'p' THEN '' ELSE 'CONCURRENTLY ' END, i.tab,
              CASE WHEN i.term_length IS NULL THEN 'USING gin ' ELSE '' END, i.index_column)
FROM ix i JOIN pg_class t ON t.oid = i.table_id
WHERE NOT i.is_unique AND i.attnum IS NOT NULL AND NOT EXISTS (
  SELECT FROM pg_index x WHERE x.indrelid = i.table_id AND x.indisvalid AND i.attnum = ANY (x.indkey))";

/// Terms of a key that was rotated.
const ROTATING: &str = r"
SELECT i.table_id, i.column_name::text, 'notice', '55000',
       format(CASE WHEN i.is_unique THEN 'the unique search index in column %I is pinned to an index key that was rotated'
                   ELSE 'some rows may have terms of an index key that was rotated in column %I' END, i.index_column),
       CASE WHEN i.is_unique THEN format(
              'SELECT envelope.add_index(%L, %L, %L, index_column => %L, form => %L, options => %L, label => %L%s%s)',
              i.tab, i.column_name, 'exact', left(i.index_column::text, 59) || '_new', split_part(i.rule, '/', 1),
              jsonb_build_object('unique', true, 'term_length', i.term_length), i.label,
              CASE WHEN EXISTS (SELECT FROM envelope.column_index o WHERE o.label = i.label
                                AND (o.relation::oid <> i.table_id OR o.column_name <> i.column_name))
                   THEN ', share_label => true' ELSE '' END,
              ', keys_of => ' || quote_literal(i.keys_of::text))
            || ' -- then what it gives, and SELECT envelope.swap_index(...)'
            ELSE format('CALL envelope.build_index(%L, %L, %L)', i.tab, i.column_name, i.index_column) END
FROM ix i
WHERE i.built AND CASE WHEN i.is_unique
  THEN EXISTS (SELECT FROM envelope.data_key k WHERE k.key_id = i.key_id AND k.state IN ('decrypt-only', 'retired'))
   AND NOT EXISTS (SELECT FROM ix o JOIN envelope.data_key k ON k.key_id = o.key_id AND k.state = 'active'
                   WHERE o.table_id = i.table_id AND o.column_name = i.column_name AND o.rule = i.rule AND o.is_unique)
  ELSE EXISTS (SELECT FROM envelope.data_key k WHERE k.keyring_id = i.keyring_id AND k.purpose = 'index'
                 AND k.state = 'decrypt-only' AND NOT k.pending)
   AND EXISTS (SELECT FROM behind b WHERE b.id = i.id) END";

/// A key that was rotated, where all that was under it is built anew.
const TO_RETIRE: &str = r"
SELECT DISTINCT ON (k.key_id) i.table_id, i.column_name::text, 'notice', '55000',
       format('index key %s is not retired, and every index is built under the one after it: queries ask for terms of both', k.key_id),
       format('SELECT envelope.retire_key(%L)', k.key_id)
FROM ix i
JOIN envelope.data_key k ON k.keyring_id = i.keyring_id AND k.purpose = 'index' AND k.state = 'decrypt-only' AND NOT k.pending
WHERE NOT EXISTS (SELECT FROM behind b WHERE b.keyring_id = i.keyring_id)
ORDER BY k.key_id, i.table_id, i.index_column";

/// As an import or a restore may leave it.
const LABELS: &str = r"
SELECT i.table_id, i.column_name::text, 'warning', '42710',
       format('label %L of the search index in column %I is that of another column with the same index keys, whose terms '
              || 'are made in another way', i.label, i.index_column),
       'Drop one of the two, and add it with a label of its own: envelope.drop_index, envelope.add_index.'
FROM ix i
WHERE EXISTS (
  SELECT FROM envelope.column_index o
  JOIN envelope.keyring_table k ON k.seals AND k.relation::oid = COALESCE(o.keys_of::oid, o.relation::oid)
  WHERE k.keyring_id = i.keyring_id AND o.label = i.label
    AND (o.relation::oid <> i.table_id OR o.column_name <> i.column_name)
    AND (o.rule <> i.rule OR o.term_length IS DISTINCT FROM i.term_length))";

/// Whoever writes values and reads their terms finds out what any value of a list is.
const READERS: &str = r"
SELECT i.table_id, i.column_name::text, 'warning', '42501',
       format('%s may write to the table and read the terms in column %I, and so can find out which of a list of values a row has',
              CASE WHEN r.grantee = 0 THEN 'everybody' ELSE format('role %I', pg_get_userbyid(r.grantee)) END, i.index_column),
       format(CASE WHEN r.of_table THEN 'REVOKE SELECT ON %1$s FROM %3$s; GRANT SELECT (%4$s) ON %1$s TO %3$s'
                   ELSE 'REVOKE SELECT (%2$I) ON %1$s FROM %3$s' END,
              i.tab, i.index_column, CASE WHEN r.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.grantee)) END,
              (SELECT string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum) FROM pg_attribute c
               WHERE c.attrelid = i.table_id AND c.attnum > 0 AND NOT c.attisdropped AND c.attnum <> i.attnum
                 AND NOT EXISTS (SELECT FROM envelope.column_index o
                                 WHERE o.relation::oid = i.table_id AND o.index_column = c.attname)))
FROM ix i
CROSS JOIN LATERAL (
  SELECT x.grantee, bool_or(x.is_table AND x.privilege_type = 'SELECT') AS of_table
  FROM (
    SELECT g.grantee, g.privilege_type, true AS is_table
    FROM pg_class t CROSS JOIN LATERAL aclexplode(t.relacl) AS g WHERE t.oid = i.table_id
    UNION ALL
    SELECT g.grantee, g.privilege_type, false
    FROM pg_attribute c CROSS JOIN LATERAL aclexplode(c.attacl) AS g
    WHERE c.attrelid = i.table_id AND c.attnum > 0 AND NOT c.attisdropped
      AND CASE WHEN g.privilege_type = 'SELECT' THEN c.attnum = i.attnum ELSE true END
  ) AS x
  WHERE x.grantee <> i.relowner AND x.privilege_type IN ('SELECT', 'INSERT', 'UPDATE')
  GROUP BY x.grantee
  HAVING bool_or(x.privilege_type = 'SELECT') AND bool_or(x.privilege_type <> 'SELECT')
) AS r
LEFT JOIN pg_roles o ON o.oid = r.grantee
WHERE i.attnum IS NOT NULL AND NOT COALESCE(o.rolsuper, false)
  AND (r.grantee = 0 OR NOT pg_has_role(r.grantee, i.relowner, 'USAGE'))
  AND NOT EXISTS (SELECT FROM envelope.key_grant k
                  WHERE k.keyring_id = i.keyring_id AND k.verb IN ('search', 'decrypt', 'manage')
                    AND r.grantee <> 0 AND k.grantee::oid <> 0 AND pg_has_role(r.grantee, k.grantee::oid, 'USAGE'))";

/// By PostgreSQL's own statistics of the terms.
const UNEVEN: &str = r"
SELECT i.table_id, i.column_name::text, 'notice', '55000',
       format('a class of the search index in column %I has outgrown the others: it is more than four times as large as '
              || 'they are on average', i.index_column),
       format('SELECT envelope.split_classes(%s)', i.named)
FROM ix i
JOIN pg_class c ON c.oid = i.table_id JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = i.index_column
WHERE i.boundaries IS NOT NULL AND s.n_distinct > 0 AND s.most_common_freqs[1] > 4 / s.n_distinct";
