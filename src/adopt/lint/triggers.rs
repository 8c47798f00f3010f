//! Sealing triggers: whether there is one, whether it fires for every INSERT and UPDATE, and whether it can seal what
//! it names.

/// The queries, all of which find errors.
pub const ERRORS: &[&str] = &[MISSING, PARTIAL, ARGUMENTS];

/// Columns that nothing seals. What a CHECK guards takes no plaintext, and a copy of sealed rows needs no more.
const MISSING: &str = r"
SELECT c.relation, c.name::text,
       CASE WHEN c.policy OR NOT c.guarded THEN 'error' ELSE 'warning' END, '42704',
       format(CASE WHEN c.policy THEN 'column %s has a policy, and no sealing trigger: what is written is stored in clear'
                   WHEN c.heir AND EXISTS (SELECT FROM shard s WHERE s.relation = c.relation)
                   THEN 'this is a shard of a table of which a trigger seals column %s, and it has no such trigger: what is '
                     || 'written to it is stored in clear'
                   WHEN c.heir THEN 'column %s is inherited from one that a trigger seals, and this table has no such '
                     || 'trigger: what is written to it is stored in clear'
                   ELSE 'the table uses the keyring of another, whose column %s a trigger seals, and has no such trigger: '
                     || 'what is written to it is stored in clear' END, c.col),
       format('CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s(%s)',
              CASE WHEN EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.relation AND t.tgname = 'seal')
                   THEN left('seal_' || c.name, 60) ELSE 'seal' END,
              c.tab, f.function, x.arguments)
FROM col c
CROSS JOIN (SELECT format('%I.%I', n.nspname, m.proname) AS function
            FROM member m JOIN pg_namespace n ON n.oid = m.pronamespace WHERE m.prosrc = 'envelope_seal_wrapper') AS f
CROSS JOIN LATERAL (
  SELECT string_agg(quote_literal(o.name || COALESCE('=' || o.source_name, '')), ', ' ORDER BY o.attnum) AS arguments
  FROM col o WHERE o.relation = c.relation AND NOT o.triggered AND (o.policy OR o.heir OR o.copy)
    AND (o.policy OR o.heir OR NOT o.guarded)) AS x
WHERE NOT c.triggered AND (c.policy OR c.heir OR c.copy AND NOT c.guarded)";

/// Triggers of columns that not every INSERT and UPDATE goes through. A trigger on UPDATE OF the column alone is
/// enough where the value depends on no other one.
const PARTIAL: &str = r"
SELECT d.relation, d.name::text, d.severity, d.sqlstate, d.message, d.remedy
FROM (
  SELECT c.relation, c.name, c.below, t.tgparentid,
         bool_or(x.fires AND x.on_insert) OVER each_column AS inserts,
         bool_or(x.fires AND x.on_update AND (t.tgattr = '' OR x.is_enough)) OVER each_column AS updates,
         w.*, t.tgenabled, p.tgenabled AS parents, x.is_level
  FROM col c JOIN named n ON n.tgrelid = c.relation AND n.target = c.name JOIN trig t ON t.oid = n.oid
  JOIN call k ON k.oid = t.oid
  LEFT JOIN pg_trigger p ON p.oid = t.tgparentid
  CROSS JOIN LATERAL (
    SELECT t.tgenabled IN ('O', 'A') AND t.tgtype & 3 = 3 AND NOT t.conditional AS fires,
           t.tgtype & 4 <> 0 AS on_insert, t.tgtype & 16 <> 0 AS on_update,
           c.source = 0 AND NOT c.bound AND c.attnum = ANY (t.tgattr) AS is_enough,
           t.tgtype & 3 <> 3 OR t.tgtype & 64 <> 0 AS is_level
  ) AS x
  CROSS JOIN LATERAL (
    SELECT format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s(%s)',
                  t.tgname, c.tab, t.function, k.arguments) AS anew
  ) AS r
  CROSS JOIN LATERAL (
    SELECT 'error' AS severity,
           CASE WHEN x.is_level OR t.tgenabled IN ('O', 'A') THEN '39P01' ELSE '55000' END AS sqlstate,
           format('trigger %I, which seals column %s, ', t.tgname, c.col)
           || CASE WHEN t.tgtype & 1 = 0 THEN 'fires FOR EACH STATEMENT: it refuses every write'
                   WHEN x.is_level THEN 'does not fire BEFORE: it refuses every write'
                   WHEN t.tgenabled = 'D' THEN 'is disabled: what is written is stored in clear'
                   WHEN t.tgenabled = 'R' THEN 'fires in the replica role only: what is written is stored in clear'
                   WHEN t.conditional THEN 'has a WHEN condition: what does not meet it is stored in clear'
                   WHEN NOT x.on_insert THEN 'does not fire on INSERT: what is inserted is stored in clear'
                   WHEN NOT x.on_update THEN 'does not fire on UPDATE: what an UPDATE writes is stored in clear'
                   ELSE 'fires on UPDATE OF some columns only: what other UPDATEs change is not sealed' END AS message,
           CASE WHEN t.tgenabled IN ('D', 'R') AND NOT x.is_level
                THEN format('ALTER TABLE %s ENABLE TRIGGER %I', c.tab, t.tgname) ELSE r.anew END AS remedy
  ) AS w
  WINDOW each_column AS (PARTITION BY c.relation, c.attnum)
) AS d
WHERE CASE WHEN d.is_level THEN d.tgenabled <> 'D' ELSE NOT (d.inserts AND d.updates) END
  AND NOT (d.below AND d.tgparentid <> 0
           AND (d.is_level OR d.tgenabled IN ('O', 'A') OR d.tgenabled = d.parents))
UNION ALL
SELECT c.relation, c.name::text, 'warning', '39P01',
       format('trigger %I, which seals column %s, fires on UPDATE OF some columns only: what another trigger writes to '
              || 'it in other UPDATEs is not sealed', t.tgname, c.col),
       format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s(%s)',
              t.tgname, c.tab, t.function, k.arguments)
FROM col c JOIN named n ON n.tgrelid = c.relation AND n.target = c.name JOIN trig t ON t.oid = n.oid
JOIN call k ON k.oid = t.oid
WHERE t.tgenabled IN ('O', 'A') AND t.tgtype & 3 = 3 AND t.tgtype & 16 <> 0 AND NOT t.conditional
  AND c.source = 0 AND NOT c.bound AND c.attnum = ANY (t.tgattr) AND NOT (c.below AND t.tgparentid <> 0)
  AND NOT EXISTS (SELECT FROM named m JOIN trig o ON o.oid = m.oid
                  WHERE m.tgrelid = c.relation AND m.target = c.name AND o.tgenabled IN ('O', 'A') AND o.tgtype & 19 = 19
                    AND NOT o.conditional AND o.tgattr = '')";

/// Arguments that the trigger function refuses: every write fails until they are mended. Where one column alone has
/// sealed values' type and no trigger, it is taken for the one that was renamed.
const ARGUMENTS: &str = r"
SELECT b.tgrelid, b.target, 'error', b.sqlstate, b.message,
       CASE WHEN b.arguments IS NOT NULL
            THEN format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s(%s)',
                        b.tgname, b.tab, b.function, b.arguments)
            WHEN b.sqlstate = '42703'
            THEN 'Create the trigger anew, with the name that the column has now.'
            ELSE format('DROP TRIGGER %I ON %s', b.tgname, b.tab) END
FROM (
  SELECT t.tgrelid, t.tgname, t.function, v.tab, n.target, w.sqlstate,
         format('trigger %I %s: it refuses every write', t.tgname,
                format(w.what, quote_ident(n.target), quote_ident(n.source))) AS message,
         (SELECT string_agg(quote_literal(g.argument), ', ' ORDER BY g.at)
          FROM (SELECT a.argument, a.at FROM named a
                JOIN pg_attribute k ON k.attrelid = t.tgrelid AND k.attname = a.target AND k.attnum > 0 AND k.attgenerated = ''
                 AND k.atttypid IN (SELECT oid FROM sealable)
                WHERE a.oid = t.oid AND (a.source IS NULL OR EXISTS (
                  SELECT FROM pg_attribute s WHERE s.attrelid = t.tgrelid AND s.attname = a.source AND s.attnum > 0))
                UNION ALL
                SELECT min(k.attname::text), 2000000 FROM pg_attribute k
                WHERE w.sqlstate = '42703' AND k.attrelid = t.tgrelid AND k.attnum > 0 AND NOT k.attisdropped
                  AND k.attgenerated = '' AND k.atttypid IN (SELECT oid FROM sealable)
                  AND NOT EXISTS (SELECT FROM named o WHERE o.tgrelid = t.tgrelid AND o.target = k.attname)
                HAVING count(*) = 1) AS g) AS arguments
  FROM trig t JOIN visible v ON v.oid = t.tgrelid
  LEFT JOIN named n ON n.oid = t.oid
  LEFT JOIN pg_attribute a ON a.attrelid = t.tgrelid AND a.attname = n.target AND a.attnum > 0
  LEFT JOIN pg_attribute s ON s.attrelid = t.tgrelid AND s.attname = n.source AND s.attnum > 0
  CROSS JOIN LATERAL (
    SELECT CASE WHEN n.oid IS NULL THEN '39P01' WHEN a.attnum IS NULL THEN '42703'
                WHEN a.attgenerated <> '' THEN '428C9'
                WHEN a.atttypid NOT IN (SELECT oid FROM sealable) THEN '42804'
                WHEN n.source IS NOT NULL AND s.attnum IS NULL THEN '42703' END AS sqlstate,
           CASE WHEN n.oid IS NULL THEN 'names no column' WHEN a.attnum IS NULL THEN 'names column %s, which does not exist'
                WHEN a.attgenerated <> '' THEN 'names column %s, which is generated'
                WHEN a.atttypid NOT IN (SELECT oid FROM sealable) THEN 'names column %s, whose type holds no sealed values'
                ELSE 'names column %2$s, which does not exist, as the source of %1$s' END AS what
  ) AS w
  WHERE w.sqlstate IS NOT NULL AND t.tgenabled <> 'D'
    AND (t.tgparentid = 0 OR NOT EXISTS (
      SELECT FROM pg_trigger p JOIN visible o ON o.oid = p.tgrelid WHERE p.oid = t.tgparentid))
) AS b";
