//! The CHECKs that refuse plaintext, and defaults, which are plaintext.

/// The queries that find errors.
pub const ERRORS: &[&str] = &[STORED_DEFAULTS];
/// Those that find none, or errors that `envelope.check()` finds by itself.
pub const OTHERS: &[&str] = &[MISSING, DOUBTFUL, DEFAULTS, UNENFORCED];

/// Columns without one. It is added NOT VALID, which keeps nobody waiting; the next finding has it validated.
const MISSING: &str = r"
SELECT c.relation, c.name::text, 'warning', '23514',
       format(CASE WHEN c.triggered OR c.policy
                   THEN 'no CHECK refuses plaintext in column %s when the trigger does not fire'
                   ELSE 'column %s is registered, and neither a trigger seals it nor a CHECK refuses plaintext' END, c.col),
       format('ALTER TABLE %s ADD CONSTRAINT %I CHECK (envelope.is_sealed(%s)) NOT VALID', c.tab,
              left(c.name, 50) || '_is_sealed', c.col)
FROM col c
WHERE NOT c.guarded AND NOT c.below
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.relation AND k.conname = left(c.name, 50) || '_is_sealed')";

/// Their constraints.
macro_rules! guards {
    ($of:literal, $name:literal) => {
        concat!(
            "SELECT c.relation, c.",
            $name,
            "::text AS name, c.col, c.tab, k.conname, k.convalidated, e.is_enforced, ",
            "pg_get_constraintdef(k.oid) AS definition FROM col c ",
            "JOIN pg_constraint k ON k.conrelid = c.relation AND k.contype = 'c' AND c.",
            $of,
            " = ANY (k.conkey) CROSS JOIN LATERAL (SELECT COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true)) ",
            "AS e (is_enforced) WHERE k.conislocal AND k.coninhcount = 0 AND EXISTS (SELECT FROM pg_depend d ",
            "JOIN member m ON d.refobjid = m.oid AND m.proname IN ('is_sealed', 'must_be_empty') ",
            "WHERE d.classid = 'pg_constraint'::regclass AND d.objid = k.oid AND d.refclassid = 'pg_proc'::regclass)"
        )
    };
}

/// Those that hold for new values alone.
const DOUBTFUL: &str = concat!(
    r"SELECT g.relation, g.name, 'warning', '23514',
             format('CHECK constraint %I is NOT VALID, and says nothing of values from before it', g.conname),
             format('ALTER TABLE %s VALIDATE CONSTRAINT %I', g.tab, g.conname)
      FROM (",
    guards!("attnum", "name"),
    " UNION ",
    guards!("source", "source_name"),
    ") AS g WHERE g.is_enforced AND NOT g.convalidated"
);

/// Those that hold for nothing.
const UNENFORCED: &str = concat!(
    r"SELECT g.relation, g.name, 'error', '55000',
             format('CHECK constraint %I is NOT ENFORCED, and lets plaintext in', g.conname),
             format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s NOT VALID', g.tab, g.conname, g.conname,
                    regexp_replace(g.definition, '( NOT VALID| NOT ENFORCED)+$', ''))
      FROM (",
    guards!("attnum", "name"),
    " UNION ",
    guards!("source", "source_name"),
    ") AS g WHERE NOT g.is_enforced"
);

/// A default is plaintext in the catalog, and in every dump.
const DEFAULTS: &str = r"
SELECT c.relation, c.name::text, 'warning', '42P17',
       format('column %s has a DEFAULT, which stands in the catalog and in dumps', c.col),
       format('ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT', c.tab, c.col)
FROM col c JOIN pg_attrdef d ON d.adrelid = c.relation AND d.adnum = c.attnum
JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum AND a.attgenerated = ''
WHERE pg_get_expr(d.adbin, d.adrelid) !~ '^NULL\M' AND (c.policy OR c.triggered OR c.heir)";

/// ADD COLUMN … DEFAULT gives rows that are there a value that no trigger has seen. It stands in the catalog until the
/// table is rewritten.
const STORED_DEFAULTS: &str = r"
SELECT c.relation, c.name::text, 'error', '23514',
       format('rows from before column %s was added hold its DEFAULT in clear', c.col),
       format('VACUUM FULL %s', c.tab)
FROM col c JOIN pg_attribute a ON a.attrelid = c.relation AND a.attnum = c.attnum
WHERE a.atthasmissing
  AND CASE WHEN a.atthasmissing
           THEN substr(((a.attmissingval::text)::bytea[])[1], 1, 2) IS DISTINCT FROM '\xf7e1'::bytea END";
