//! What PostgreSQL says of a relation's columns, whatever they hold.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::column::base_type;
use crate::pg::datum::owned_cstring;

/// The number of the column that bears `name`; `None` when there is none, or it is PostgreSQL's own.
pub fn number(relation: pg_sys::Oid, name: &CStr) -> Option<i16> {
    // SAFETY: `name` is NUL-terminated; the answer is 0 for what is not there, or dropped.
    Some(unsafe { pg_sys::get_attnum(relation, name.as_ptr()) }).filter(|number| *number > 0)
}

/// The type of a column, and its modifier, -1 for none; type 0 of what is gone.
pub fn type_of(relation: pg_sys::Oid, number: i16) -> (pg_sys::Oid, i32) {
    read(relation, number, |attribute| (attribute.atttypid, attribute.atttypmod))
        .unwrap_or((pg_sys::InvalidOid, -1))
}

/// Whether PostgreSQL computes it.
pub fn is_generated(relation: pg_sys::Oid, number: i16) -> bool {
    read(relation, number, |attribute| attribute.attgenerated != 0).unwrap_or(false)
}

/// Whether PostgreSQL makes its value: generated, or of an identity.
pub fn is_made(relation: pg_sys::Oid, number: i16) -> bool {
    let is_made = |attribute: &pg_sys::FormData_pg_attribute| {
        attribute.attgenerated != 0 || attribute.attidentity != 0
    };
    read(relation, number, is_made).unwrap_or(false)
}

/// Whether it is declared NOT NULL, and no row that is there says otherwise.
pub fn is_not_null(relation: pg_sys::Oid, number: i16) -> bool {
    read(relation, number, |attribute| attribute.attnotnull).unwrap_or(false)
        && is_proved(relation, number)
}

#[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
fn is_proved(_relation: pg_sys::Oid, _number: i16) -> bool {
    true
}

/// A NOT NULL can hold for new rows only there, as NOT VALID.
#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17")))]
fn is_proved(relation: pg_sys::Oid, number: i16) -> bool {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open while it is looked at; it has as many columns as its descriptor says, the first of
    // which is number 1.
    unsafe {
        let opened = pg_sys::relation_open(relation, lock);
        let columns = (*opened).rd_att;
        let columns = (*columns).compact_attrs.as_slice((*columns).natts as usize);
        let is_proved = usize::try_from(number - 1)
            .ok()
            .and_then(|at| columns.get(at))
            .is_some_and(|column| column.attnullability as u8 == pg_sys::ATTNULLABLE_VALID);
        pg_sys::relation_close(opened, lock);
        is_proved
    }
}

/// Whether a value is put there where a statement names none.
pub fn has_default(relation: pg_sys::Oid, number: i16) -> bool {
    read(relation, number, |attribute| attribute.atthasdef).unwrap_or(false)
}

/// Whether values may be bound to columns of that type: its text is the same under all settings.
pub fn may_be_bound(kind: pg_sys::Oid) -> bool {
    let types = [
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::VARCHAROID,
        pg_sys::BYTEAOID,
    ];
    base_type(kind).is_some_and(|base| types.contains(&base))
}

fn read<T>(
    relation: pg_sys::Oid,
    number: i16,
    read: impl FnOnce(&pg_sys::FormData_pg_attribute) -> T,
) -> Option<T> {
    // SAFETY: columns by relation and number; the tuple is released after its fields were read. Those that are
    // dropped are not found.
    unsafe {
        let tuple = pg_sys::SearchSysCacheAttNum(relation, number);
        if tuple.is_null() {
            return None;
        }
        let value = read(&*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>());
        pg_sys::ReleaseSysCache(tuple);
        Some(value)
    }
}

/// The name, the type and its modifier of a column as a command that still runs has left it, which the system cache does not show
/// yet; `None` when it is gone.
pub fn as_changed(relation: pg_sys::Oid, number: i16) -> Option<(CString, pg_sys::Oid, i32)> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let key = |column: u32, procedure: u32, value: pg_sys::Datum| {
        let mut key = pg_sys::ScanKeyData::default();
        // SAFETY: fills the key in, with the comparison of the column's type.
        unsafe {
            pg_sys::ScanKeyInit(
                &mut key,
                column as pg_sys::AttrNumber,
                pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
                pg_sys::Oid::from(procedure),
                value,
            );
        }
        key
    };
    let mut keys = [
        key(pg_sys::Anum_pg_attribute_attrelid, pg_sys::F_OIDEQ, pg_sys::Datum::from(relation)),
        key(pg_sys::Anum_pg_attribute_attnum, pg_sys::F_INT2EQ, pg_sys::Datum::from(number)),
    ];
    // SAFETY: the catalog stays open for the scan, whose snapshot sees what this command has written; on an error
    // raised in between, the resource owner closes both. The name is copied while the tuple is there.
    unsafe {
        let catalog = pg_sys::table_open(pg_sys::AttributeRelationId, lock);
        let scan = pg_sys::systable_beginscan(
            catalog,
            pg_sys::Oid::from(pg_sys::AttributeRelidNumIndexId),
            true,
            std::ptr::addr_of_mut!(pg_sys::SnapshotSelfData),
            keys.len() as std::ffi::c_int,
            keys.as_mut_ptr(),
        );
        let tuple = pg_sys::systable_getnext(scan);
        let found = (!tuple.is_null()).then(|| {
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
            (CStr::from_ptr(row.attname.data.as_ptr()).to_owned(), row.atttypid, row.atttypmod)
        });
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
        found
    }
}

/// The name of a column, in the server's encoding; `None` when there is none.
pub fn name(relation: pg_sys::Oid, number: i16) -> Option<CString> {
    // SAFETY: with `missing_ok` the answer is null for what is not there.
    owned_cstring(unsafe { pg_sys::get_attname(relation, number, true) })
}
