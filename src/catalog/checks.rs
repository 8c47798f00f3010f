//! CHECKs by `envelope.is_sealed` that do not hold for all rows.

use pgrx::pg_sys;
use pgrx::spi::{self, SpiHeapTupleData};

use super::tables::{about_members, text_of};
use crate::error::Result;

/// A CHECK that is NOT ENFORCED or NOT VALID.
pub struct Unchecked {
    /// Its own name, quoted as SQL would.
    pub name: String,
    /// `schema.name` of the table or domain that it is of, quoted as SQL would.
    pub of: String,
    pub is_domain: bool,
    /// Who owns that.
    pub owner: pg_sys::Oid,
    /// Whether it holds for what is written from now on.
    pub is_enforced: bool,
}

/// All of them that call the function directly. What a partition or an heir has from its parent is the
/// parent's.
pub fn unchecked() -> Result<Vec<Unchecked>> {
    about_members(SQL, read)
}

fn read(row: SpiHeapTupleData<'_>) -> spi::Result<Unchecked> {
    let text = |column| text_of(&row, column);
    Ok(Unchecked {
        name: text(1)?,
        of: text(2)?,
        is_domain: row.get(3)?.unwrap_or(false),
        owner: row.get(4)?.unwrap_or(pg_sys::InvalidOid),
        is_enforced: row.get(5)?.unwrap_or(true),
    })
}

/// A constraint is enforced unless its row says otherwise. PostgreSQL has the column `conenforced` from 18 on,
/// which a statement for all majors cannot name.
const SQL: &str = r"
SELECT convert_to(quote_ident(k.conname), getdatabaseencoding()),
       convert_to(quote_ident(s.nspname) || '.' || quote_ident(COALESCE(c.relname, t.typname)),
                  getdatabaseencoding()),
       k.contypid <> 0, COALESCE(c.relowner, t.typowner), e.is_enforced
FROM pg_depend m
JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid AND p.proname = 'is_sealed'
JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
CROSS JOIN LATERAL (SELECT COALESCE((to_jsonb(k) ->> 'conenforced')::boolean, true)) AS e (is_enforced)
LEFT JOIN pg_class c ON c.oid = k.conrelid
LEFT JOIN pg_type t ON k.conrelid = 0 AND t.oid = k.contypid
JOIN pg_namespace s ON s.oid = COALESCE(c.relnamespace, t.typnamespace)
WHERE m.deptype = 'e' AND m.refclassid = 'pg_extension'::regclass
  AND m.refobjid = (SELECT oid FROM pg_extension WHERE extname = convert_from($1, 'UTF8'))
  AND k.contype = 'c' AND k.conislocal AND NOT (k.convalidated AND e.is_enforced)
ORDER BY 2, 1";
