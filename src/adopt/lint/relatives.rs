//! Who may write or read a table, and has not the right to its keys; what else shows or sends its rows.

/// The queries, of which none finds errors.
pub const OTHERS: &[&str] = &[RIGHTS, VIEWS, PUBLICATIONS];

/// A right on the table without the right on its keys. Who may search reads other columns of the rows found, and what is
/// sealed need not open for that.
const RIGHTS: &str = r"
SELECT g.relation, g.name::text, 'notice', '42501',
       format(CASE g.verb WHEN 'encrypt' THEN '%s may write column %s, and has not the right encrypt on the table''s keys'
                          ELSE '%s may read column %s, and has not the right decrypt on the table''s keys' END,
              COALESCE('role ' || quote_ident(r.rolname), 'PUBLIC'), g.col),
       CASE WHEN r.rolname IS NULL THEN format('Grant the right to roles: SELECT envelope.grant_key(%L, role, %L)', g.tab, g.verb)
            ELSE format('SELECT envelope.grant_key(%L, %L, %L)', g.tab, quote_ident(r.rolname), g.verb) END
FROM (
  SELECT DISTINCT c.relation, c.name, c.attnum, c.col, c.tab, c.relowner, k.keyring_id, x.grantee,
         CASE x.privilege_type WHEN 'SELECT' THEN 'decrypt' ELSE 'encrypt' END AS verb
  FROM col c
  JOIN envelope.keyring_table k ON k.relation::oid = COALESCE(pg_partition_root(c.relation), c.relation) AND k.seals
  JOIN pg_class t ON t.oid = c.relation
  JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
  LEFT JOIN pg_attribute s ON s.attrelid = c.relation AND s.attnum = c.source AND c.source <> 0
  CROSS JOIN LATERAL (
    SELECT * FROM aclexplode(t.relacl)
    UNION ALL SELECT * FROM aclexplode(a.attacl)
    UNION ALL SELECT * FROM aclexplode(s.attacl) e WHERE e.privilege_type <> 'SELECT'
  ) AS x
  WHERE x.privilege_type IN ('INSERT', 'UPDATE', 'SELECT') AND NOT c.below AND (c.policy OR c.triggered OR c.heir)
) AS g
LEFT JOIN pg_roles r ON r.oid = g.grantee
WHERE NOT COALESCE(r.rolsuper, false)
  AND (g.grantee = 0 OR NOT pg_has_role(g.grantee, g.relowner, 'USAGE'))
  AND NOT EXISTS (SELECT FROM envelope.key_grant k
                  WHERE k.keyring_id = g.keyring_id AND (k.verb = g.verb OR g.verb = 'decrypt' AND k.verb IN ('search', 'manage'))
                    AND g.grantee <> 0 AND k.grantee::oid <> 0 AND pg_has_role(g.grantee, k.grantee::oid, 'USAGE'))";

/// Views that open values, by who reads them: not by their owner.
const VIEWS: &str = r"
SELECT DISTINCT c.relation, c.name::text, 'notice', '42501',
       format('%s may read view %I.%I, which opens column %s, and has not the right decrypt on the table''s keys',
              COALESCE('role ' || quote_ident(r.rolname), 'PUBLIC'), n.nspname, w.relname, c.col),
       CASE WHEN r.rolname IS NULL
            THEN format('Grant the right to roles: SELECT envelope.grant_key(%L, role, %L)', c.tab, 'decrypt')
            ELSE format('SELECT envelope.grant_key(%L, %L, %L)', c.tab, quote_ident(r.rolname), 'decrypt') END
FROM col c
JOIN envelope.keyring_table k ON k.relation::oid = COALESCE(pg_partition_root(c.relation), c.relation) AND k.seals
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.relation AND d.refobjsubid = c.attnum
 AND d.classid = 'pg_rewrite'::regclass
JOIN pg_rewrite q ON q.oid = d.objid AND q.ev_type = '1'
JOIN pg_class w ON w.oid = q.ev_class AND w.relkind = 'v' JOIN pg_namespace n ON n.oid = w.relnamespace
JOIN pg_depend o ON o.classid = 'pg_rewrite'::regclass AND o.objid = q.oid AND o.refclassid = 'pg_proc'::regclass
JOIN member m ON m.oid = o.refobjid AND m.proname ~ '^envelope_decrypt' AND m.proname !~ '_or_null$'
CROSS JOIN LATERAL aclexplode(w.relacl) AS x
LEFT JOIN pg_roles r ON r.oid = x.grantee
WHERE x.privilege_type = 'SELECT' AND NOT COALESCE(r.rolsuper, false)
  AND (x.grantee = 0 OR NOT pg_has_role(x.grantee, c.relowner, 'USAGE'))
  AND NOT EXISTS (SELECT FROM envelope.key_grant g
                  WHERE g.keyring_id = k.keyring_id AND g.verb IN ('decrypt', 'manage') AND x.grantee <> 0
                    AND g.grantee::oid <> 0 AND pg_has_role(x.grantee, g.grantee::oid, 'USAGE'))";

/// Column lists that leave the sealed column out, or send its source. PostgreSQL has them from 15 on.
const PUBLICATIONS: &str = r"
SELECT c.relation, c.name::text, 'notice', '42P17',
       format('publication %I has a column list for this table that %s', p.pubname,
              CASE WHEN NOT l.has_column THEN format('lacks column %s', c.col)
                   ELSE format('sends column %s, in which plaintext comes in', c.source_col) END),
       format('Set the column list anew: ALTER PUBLICATION %I SET TABLE …', p.pubname)
FROM col c JOIN pg_publication_rel r ON r.prrelid = c.relation JOIN pg_publication p ON p.oid = r.prpubid
CROSS JOIN LATERAL (
  SELECT translate(to_jsonb(r) ->> 'prattrs', '[],', '   ') AS list
) AS t
CROSS JOIN LATERAL (
  SELECT ' ' || t.list || ' ' LIKE '% ' || c.attnum || ' %' AS has_column,
         c.source <> 0 AND ' ' || t.list || ' ' LIKE '% ' || c.source || ' %' AS has_source
) AS l
WHERE t.list IS NOT NULL AND (NOT l.has_column OR l.has_source) AND (c.policy OR c.triggered)";
