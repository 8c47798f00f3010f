//! What a view of a table is made from, of PostgreSQL's own catalog.

use std::ffi::CString;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{Result as SpiResult, Spi, SpiHeapTupleData};

use crate::catalog::schema;
use crate::error::{Error, Result};
use crate::pg::encoding;
use crate::pg::owner::ActingAsOwner;

/// The schema in which the functions stand that queries use. 42723 where somebody else has put one of the same name
/// beside them: PostgreSQL takes the one whose arguments are closer, with the rights of whoever runs the statement.
pub fn functions_schema() -> Result<CString> {
    require_none_beside()?;
    let sql = "SELECT convert_to(n.nspname::text, getdatabaseencoding())
               FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
               WHERE e.extname = 'pgrx-example'";
    rows(sql, &[], |row| text(row, 1))?.pop().ok_or(Error::NotInstalled)
}

/// A superuser may do all anyway, and whoever owns the extension can change its functions.
fn require_none_beside() -> Result<()> {
    let sql = "SELECT convert_to(p.oid::regprocedure::text, getdatabaseencoding()),
                      convert_to(quote_ident(r.rolname), getdatabaseencoding()),
                      convert_to(e.extnamespace::regnamespace::text, getdatabaseencoding())
               FROM pg_extension e
               JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                AND d.classid = 'pg_proc'::regclass
               JOIN pg_proc m ON m.oid = d.objid AND m.pronamespace = e.extnamespace
               JOIN pg_proc p ON p.proname = m.proname AND p.pronamespace = m.pronamespace
               JOIN pg_roles r ON r.oid = p.proowner AND NOT r.rolsuper
               WHERE e.extname = 'pgrx-example' AND p.proowner <> e.extowner
                 AND NOT EXISTS (SELECT FROM pg_depend x
                                 WHERE x.classid = 'pg_proc'::regclass AND x.objid = p.oid AND x.deptype = 'e'
                                   AND x.refclassid = 'pg_extension'::regclass AND x.refobjid = e.oid)
               LIMIT 1";
    let found = rows(sql, &[], |row| Ok(text(row, 1)?.zip(text(row, 2)?).zip(text(row, 3)?)))?;
    let named = |name: &CString| encoding::to_string(name.to_bytes());
    found.first().map_or(Ok(()), |((function, owner), schema)| {
        let (function, owner, schema) = (named(function), named(owner), named(schema));
        Err(Error::Shadowed { function, owner, schema })
    })
}

/// The columns of `relation` that a sealing trigger on it names, or one on a partitioned table above it.
pub fn columns_of_triggers(relation: pg_sys::Oid) -> Result<Vec<i16>> {
    let sql = "SELECT a.attnum FROM pg_attribute a
               JOIN envelope.sealed_columns s ON s.column_name = a.attname AND s.triggers <> '{}'
               WHERE a.attrelid = $1 AND a.attnum > 0
                 AND s.relation IN (SELECT $1::regclass::envelope.table_ref::text UNION
                                    SELECT relid::envelope.table_ref::text FROM pg_partition_ancestors($1::regclass))";
    rows(sql, &[relation.into()], |row| row.get(1))
}

/// The defaults of the columns of `relation`, as SQL in which names have their schema; those that PostgreSQL makes
/// itself are left out.
pub fn defaults(relation: pg_sys::Oid) -> Result<Vec<(i16, CString)>> {
    let sql = "SELECT a.attnum, convert_to(pg_get_expr(d.adbin, d.adrelid), getdatabaseencoding())
               FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
               WHERE a.attrelid = $1 AND a.attgenerated = '' AND a.attidentity = ''
               ORDER BY a.attnum";
    rows(sql, &[relation.into()], |row| Ok(row.get::<i16>(1)?.zip(text(row, 2)?)))
}

/// Who may do what with all columns of `relation`, beside its owner: a role (0 for PUBLIC) and its rights as GRANT
/// takes them.
pub fn grants(relation: pg_sys::Oid) -> Result<Vec<(pg_sys::Oid, CString)>> {
    let sql = "SELECT a.grantee::int8,
                      convert_to(string_agg(DISTINCT a.privilege_type, ', '), getdatabaseencoding())
               FROM pg_class c, aclexplode(c.relacl) a
               WHERE c.oid = $1 AND a.grantee <> c.relowner
                 AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
               GROUP BY a.grantee ORDER BY a.grantee";
    rows(sql, &[relation.into()], |row| {
        let role = row.get::<i64>(1)?.and_then(|role| u32::try_from(role).ok());
        Ok(role.map(pg_sys::Oid::from).zip(text(row, 2)?))
    })
}

fn text(row: &SpiHeapTupleData<'_>, column: usize) -> SpiResult<Option<CString>> {
    Ok(row.get::<Vec<u8>>(column)?.and_then(|bytes| CString::new(bytes).ok()))
}

/// What `read` takes from the rows of a query, whose names are PostgreSQL's own unless they have a schema.
fn rows<T>(
    sql: &str,
    args: &[DatumWithOid<'_>],
    read: impl Fn(&SpiHeapTupleData<'_>) -> SpiResult<Option<T>>,
) -> Result<Vec<T>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect(|client| {
        let rows = client.select(sql, None, args)?;
        rows.filter_map(|row| read(&row).transpose()).collect::<std::result::Result<_, _>>()
    })
    .map_err(|error| Error::Corrupt(format!("PostgreSQL's catalog could not be read: {error}")))
}
