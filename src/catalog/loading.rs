//! What needs a data key while rows are loaded or indexes built, and what keeps in clear what it opens, by
//! what PostgreSQL's own catalog knows to depend on the extension's functions.

use pgrx::pg_sys;
use pgrx::spi::{self, SpiHeapTupleData};

use super::tables::{about_members, text_of};
use crate::error::Result;

/// An object with an expression that opens or seals values.
pub struct Needing {
    pub kind: Kind,
    /// Its own name; none for a partition key or a materialized view.
    pub name: String,
    /// `schema.name` of the table, domain or materialized view that it is of, quoted as SQL would.
    pub of: String,
    /// Who owns that.
    pub owner: pg_sys::Oid,
    /// Whether it stores what it opens.
    pub in_clear: bool,
    /// The table or materialized view; 0 for a domain.
    pub relation: pg_sys::Oid,
    /// The statement that mends it; empty where none can.
    pub remedy: String,
}

/// What sort of object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A CHECK constraint of a table that holds for all its rows.
    Check,
    /// As [`Kind::Check`], of a domain.
    DomainCheck,
    /// A stored generated column.
    Generated,
    /// A partition key that is an expression.
    PartitionKey,
    /// An index over an expression, or with a condition.
    Index,
    /// An object of CREATE STATISTICS over an expression.
    Statistics,
    /// A materialized view that holds rows.
    MaterializedView,
}

/// All of them but those of temporary tables, and of foreign tables, whose rows no dump has (but which have
/// statistics here). What is NOT VALID is left out, too: a dump makes it after the rows.
///
/// An index with a condition and an expression is said to store what it opens, whichever of the two does; a
/// materialized view, if its query opens anything, itself or in the views that it reads.
///
/// Seen are expressions that call the extension's functions, but those that only look at a value's shape
/// (they are IMMUTABLE); functions with a body of standard SQL, operators and casts that do so; and
/// functions whose body as text names them.
pub fn needing_keys() -> Result<Vec<Needing>> {
    Ok(about_members(SQL, read)?.into_iter().flatten().collect())
}

fn read(row: SpiHeapTupleData<'_>) -> spi::Result<Option<Needing>> {
    let text = |column| text_of(&row, column);
    let kind = match text(1)?.as_str() {
        "check" => Kind::Check,
        "domain" => Kind::DomainCheck,
        "generated" => Kind::Generated,
        "partition" => Kind::PartitionKey,
        "index" => Kind::Index,
        "statistics" => Kind::Statistics,
        "materialized" => Kind::MaterializedView,
        _ => return Ok(None),
    };
    let owner = row.get(4)?.unwrap_or(pg_sys::InvalidOid);
    let in_clear = row.get(5)?.unwrap_or(false);
    let relation = row.get(6)?.unwrap_or(pg_sys::InvalidOid);
    let (name, of, remedy) = (text(2)?, text(3)?, text(7)?);
    Ok(Some(Needing { kind, name, of, owner, in_clear, relation, remedy }))
}

const SQL: &str = r"
WITH RECURSIVE own AS (
  SELECT p.oid, p.proname, p.provolatile, p.prorettype
  FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
  WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
    AND d.refclassid = 'pg_extension'::regclass
    AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = convert_from($1, 'UTF8'))
), view_of (rule, view, class, kind) AS (
  SELECT r.oid, c.oid, 'pg_class'::regclass::oid, c.relkind
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relkind IN ('v', 'm')
), needing (classid, objid, opens) AS (
  SELECT 'pg_proc'::regclass::oid, oid, proname ~ '^envelope_decrypt' FROM own
  WHERE provolatile <> 'i' AND prorettype <> 'trigger'::regtype
  UNION
  SELECT 'pg_proc'::regclass::oid, p.oid, p.prosrc ~* '\menvelope_decrypt'
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c') AND p.prosqlbody IS NULL
    AND CASE WHEN octet_length(p.prosrc) <= 1000000
             THEN p.prosrc ~* '\menvelope_(en|de)crypt|\menvelope\W+(reseal|resealed|is_sound|is_damaged|fault_of)\M' END
    AND p.oid NOT IN (SELECT oid FROM own)
  UNION
  SELECT COALESCE(v.class, d.classid), COALESCE(v.view, d.objid), n.opens
  FROM needing n JOIN pg_depend d ON d.refclassid = n.classid AND d.refobjid = n.objid
  LEFT JOIN view_of v ON d.classid = 'pg_rewrite'::regclass AND v.rule = d.objid AND n.opens
  WHERE v.view IS NOT NULL
     OR d.classid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_cast'::regclass)
    AND NOT (n.classid = 'pg_class'::regclass AND n.objid IN (SELECT view FROM view_of WHERE kind = 'm'))
), user_of AS (
  SELECT d.classid, d.objid, d.objsubid, bool_or(n.opens) AS opens
  FROM needing n JOIN pg_depend d ON d.refclassid = n.classid AND d.refobjid = n.objid
  WHERE n.classid <> 'pg_class'::regclass OR d.classid = 'pg_rewrite'::regclass
  GROUP BY d.classid, d.objid, d.objsubid
), found (kind, name, relation, domain, in_clear, object) AS (
  SELECT CASE WHEN c.conrelid <> 0 THEN 'check' ELSE 'domain' END, quote_ident(c.conname), c.conrelid,
         c.contypid, false, c.oid
  FROM user_of u JOIN pg_constraint c ON c.oid = u.objid
  WHERE u.classid = 'pg_constraint'::regclass
    AND c.contype = 'c' AND c.convalidated AND c.conislocal
  UNION
  SELECT 'generated', quote_ident(a.attname), a.attrelid, 0, u.opens, 0
  FROM user_of u
  JOIN pg_attrdef f ON u.classid = 'pg_attrdef'::regclass AND f.oid = u.objid
    OR u.classid = 'pg_class'::regclass AND f.adrelid = u.objid AND f.adnum = u.objsubid
  JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
  WHERE a.attgenerated = 's' AND a.attislocal
  UNION
  SELECT 'partition', '', c.oid, 0, false, 0
  FROM user_of u JOIN pg_class c ON c.oid = u.objid
  WHERE u.classid = 'pg_class'::regclass AND u.objsubid = 0 AND c.relkind = 'p'
  UNION
  SELECT 'index', quote_ident(c.relname), i.indrelid, 0, u.opens AND i.indexprs IS NOT NULL, c.oid
  FROM user_of u JOIN pg_class c ON c.oid = u.objid JOIN pg_index i ON i.indexrelid = c.oid
  WHERE u.classid = 'pg_class'::regclass AND NOT c.relispartition
  UNION
  SELECT 'statistics', quote_ident(s.nspname) || '.' || quote_ident(e.stxname), e.stxrelid, 0, true, e.oid
  FROM user_of u JOIN pg_statistic_ext e ON e.oid = u.objid JOIN pg_namespace s ON s.oid = e.stxnamespace
  WHERE u.classid = 'pg_statistic_ext'::regclass AND u.opens
  UNION
  SELECT 'materialized', '', c.oid, 0, true, c.oid
  FROM user_of u JOIN view_of v ON v.rule = u.objid JOIN pg_class c ON c.oid = v.view
  WHERE u.classid = 'pg_rewrite'::regclass AND u.opens AND v.kind = 'm' AND c.relispopulated
)
SELECT convert_to(f.kind, getdatabaseencoding()), convert_to(f.name, getdatabaseencoding()),
       convert_to(quote_ident(s.nspname) || '.' || quote_ident(COALESCE(c.relname, t.typname)),
                  getdatabaseencoding()),
       COALESCE(c.relowner, t.typowner), f.in_clear, f.relation,
       convert_to(CASE
         WHEN f.kind IN ('check', 'domain') THEN format(
           CASE f.kind WHEN 'check' THEN 'ALTER TABLE %1$s DROP CONSTRAINT %2$s, ADD CONSTRAINT %2$s %3$s NOT VALID'
                       ELSE 'ALTER DOMAIN %1$s DROP CONSTRAINT %2$s' END,
           quote_ident(s.nspname) || '.' || quote_ident(COALESCE(c.relname, t.typname)), f.name,
           pg_get_constraintdef(f.object))
         WHEN f.kind = 'index' THEN format('DROP INDEX %s.%s', quote_ident(s.nspname), f.name)
         WHEN f.kind = 'statistics' THEN format('DROP STATISTICS %s', f.name)
         WHEN f.kind = 'materialized' THEN format('DROP MATERIALIZED VIEW %s.%s', quote_ident(s.nspname), quote_ident(c.relname))
         END, getdatabaseencoding())
FROM found f
LEFT JOIN pg_class c ON c.oid = f.relation
LEFT JOIN pg_type t ON f.relation = 0 AND t.oid = f.domain
JOIN pg_namespace s ON s.oid = COALESCE(c.relnamespace, t.typnamespace)
WHERE c.relpersistence IS DISTINCT FROM 't' AND (c.relkind IS DISTINCT FROM 'f' OR f.kind = 'statistics')
ORDER BY 3, 1, 2";
