//! Policies, and the register, against the columns as they are.

/// The queries that find errors, and perhaps more.
pub const ERRORS: &[&str] = &[GONE, PARTS_GONE, NOT_SEALED, OTHER_SOURCE];
/// Those that find none.
pub const OTHERS: &[&str] = &[BINDING, CASCADES];

/// Dropped, or renamed.
const GONE: &str = r"
SELECT v.oid, s.column_name::text, CASE WHEN s.form IS NULL THEN 'warning' ELSE 'error' END, '42703',
       format(CASE WHEN s.form IS NULL THEN 'column %I is registered, and does not exist'
                   ELSE 'column %I has a policy, and does not exist: if it was renamed, set the policy of its new name, '
                     || 'with the same tag' END, s.column_name),
       format(CASE WHEN s.form IS NULL THEN 'SELECT envelope.unregister_column(%L, %L)'
                   ELSE 'SELECT envelope.drop_policy(%L, %L)' END, v.tab, s.column_name)
FROM policy s JOIN visible v ON v.oid = s.relation
LEFT JOIN pg_attribute a ON a.attrelid = v.oid AND a.attname = s.column_name AND a.attnum > 0
WHERE a.attnum IS NULL";

/// What a policy names beside its column.
const PARTS_GONE: &str = r"
SELECT v.oid, s.column_name::text, 'error', '42703',
       format(p.what, quote_ident(p.name), quote_ident(s.column_name)),
       'Set the policy anew with the names that the columns have now: envelope.set_policy.'
FROM (
  SELECT s.id, s.source AS name,
         'column %s, in which plaintext for column %s comes in by its policy, does not exist' AS what
  FROM policy s WHERE s.source IS NOT NULL
  UNION ALL
  SELECT s.id, unnest(s.bound_columns), 'column %s, to which values of column %s are bound by its policy, does not exist'
  FROM policy s
) AS p
JOIN policy s ON s.id = p.id AND s.form IS NOT NULL JOIN visible v ON v.oid = s.relation
LEFT JOIN pg_attribute a ON a.attrelid = v.oid AND a.attname = p.name AND a.attnum > 0
WHERE a.attnum IS NULL";

/// Columns that have a policy and are still what they were.
const NOT_SEALED: &str = r"
SELECT v.oid, s.column_name::text, 'error', '42804',
       format('column %I has a policy, and is of a type that holds no sealed values: it is stored in clear', s.column_name),
       format('SELECT envelope.protect(%L, %L)', v.tab, s.column_name)
FROM policy s JOIN visible v ON v.oid = s.relation
JOIN pg_attribute a ON a.attrelid = v.oid AND a.attname = s.column_name AND a.attnum > 0
WHERE s.form IS NOT NULL AND a.atttypid NOT IN (SELECT oid FROM sealable)";

/// Triggers that take plaintext from elsewhere than the policy says.
const OTHER_SOURCE: &str = r"
SELECT v.oid, s.column_name::text, 'error', '39P01',
       format(CASE WHEN s.source IS NULL THEN 'trigger %I takes plaintext for column %I from another one, and its policy does not'
                   ELSE 'trigger %I does not take plaintext for column %I from the column that its policy names' END,
              t.tgname, s.column_name),
       format('CREATE OR REPLACE TRIGGER %I BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION %s(%s)', t.tgname,
              v.tab, t.function,
              (SELECT string_agg(quote_literal(CASE WHEN m.target <> s.column_name THEN m.argument
                                                    ELSE m.target || COALESCE('=' || s.source, '') END), ', ' ORDER BY m.at)
               FROM named m WHERE m.oid = t.oid))
FROM policy s JOIN visible v ON v.oid = s.relation
JOIN named n ON n.tgrelid = v.oid AND n.target = s.column_name JOIN trig t ON t.oid = n.oid
WHERE s.form IS NOT NULL AND n.source IS DISTINCT FROM s.source AND t.tgenabled <> 'D'";

/// Policies whose row context was changed while there were values.
const BINDING: &str = r"
SELECT v.oid, s.column_name::text, 'notice', '55000',
       format('values of column %I are still being bound: those under the former row context are taken, too', s.column_name),
       format('CALL envelope.seal_column(%L, %L)', v.tab, s.column_name)
FROM policy s JOIN visible v ON v.oid = s.relation
WHERE s.form IS NOT NULL AND s.former_bound IS NOT NULL";

/// What changes a bound column has the value sealed anew.
const CASCADES: &str = r"
SELECT v.oid, s.column_name::text, 'notice', '42501',
       format('foreign key %I changes column %I, to which values of column %I are bound, by ON UPDATE: they are sealed anew '
              || 'by the rights of the table''s owner', k.conname, a.attname, s.column_name),
       format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s', v.tab, k.conname, k.conname,
              regexp_replace(pg_get_constraintdef(k.oid), ' ON UPDATE (CASCADE|SET NULL|SET DEFAULT)', ''))
FROM policy s JOIN visible v ON v.oid = s.relation
JOIN pg_attribute a ON a.attrelid = v.oid AND a.attname = ANY (s.bound_columns) AND a.attnum > 0
JOIN pg_constraint k ON k.conrelid = v.oid AND k.contype = 'f' AND k.confupdtype IN ('c', 'n', 'd')
 AND a.attnum = ANY (k.conkey) AND k.conparentid = 0
WHERE s.form IS NOT NULL";
