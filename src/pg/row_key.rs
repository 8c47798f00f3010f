//! By which columns a table's rows are told apart: its primary key, or another key that says as much.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::attribute;
use crate::pg::datum::owned_cstring;

/// A column of the key, and the operator by which its index compares.
pub struct KeyColumn {
    pub number: i16,
    kind: pg_sys::Oid,
    equals: pg_sys::Oid,
}

impl KeyColumn {
    /// `left = right`, the operator named so that nothing else is found in its place.
    pub fn is_equal(&self, left: &CStr, right: &CStr) -> CString {
        let mut text = pg_sys::StringInfoData::default();
        // SAFETY: both are NUL-terminated and of the column's type; the buffer is palloc'd, and its text
        // NUL-terminated.
        unsafe {
            pg_sys::initStringInfo(&mut text);
            pg_sys::generate_operator_clause(
                &mut text,
                left.as_ptr(),
                self.kind,
                self.equals,
                right.as_ptr(),
                self.kind,
            );
            owned_cstring(text.data).unwrap_or_default()
        }
    }
}

/// The columns of the primary key of `relation`; without one, of a unique key of columns that are NOT NULL. `None` when
/// it has neither.
pub fn of(relation: pg_sys::Oid) -> Option<Vec<KeyColumn>> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open and locked while it is looked at, and so is each of its indexes; the list holds
    // their OIDs.
    unsafe {
        let opened = pg_sys::table_open(relation, lock);
        let indexes = pg_sys::RelationGetIndexList(opened);
        let count = indexes.as_ref().map_or(0, |list| list.length);
        let mut found: Option<(bool, Vec<KeyColumn>)> = None;
        for at in 0..count {
            let index = pg_sys::index_open(pg_sys::list_nth_oid(indexes, at), lock);
            let primary = (*(*index).rd_index).indisprimary;
            if let Some(columns) = key_of(relation, index)
                && (found.is_none() || primary)
            {
                found = Some((primary, columns));
            }
            pg_sys::index_close(index, lock);
        }
        pg_sys::table_close(opened, lock);
        found.map(|(_, columns)| columns)
    }
}

/// # Safety
/// The index is open, and one of the table's.
unsafe fn key_of(table: pg_sys::Oid, index: pg_sys::Relation) -> Option<Vec<KeyColumn>> {
    // SAFETY: by contract. An index has as many columns, families and input types as it counts key columns.
    unsafe {
        let form = &*(*index).rd_index;
        let is_key = form.indisunique && form.indimmediate && form.indisvalid && form.indislive;
        let is_whole = pg_sys::RelationGetIndexPredicate(index).is_null()
            && pg_sys::RelationGetIndexExpressions(index).is_null();
        if !is_key || !is_whole {
            return None;
        }
        let columns = form.indkey.values.as_slice(form.indnkeyatts as usize);
        columns
            .iter()
            .enumerate()
            .map(|(at, &number)| {
                let kind = *(*index).rd_opcintype.add(at);
                let equals = pg_sys::get_opfamily_member(
                    *(*index).rd_opfamily.add(at),
                    kind,
                    kind,
                    pg_sys::BTEqualStrategyNumber as i16,
                );
                let is_plain =
                    equals != pg_sys::InvalidOid && attribute::is_not_null(table, number);
                let (kind, _) = attribute::type_of(table, number);
                is_plain.then_some(KeyColumn { number, kind, equals })
            })
            .collect()
    }
}
