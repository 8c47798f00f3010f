//! Relations by OID and by name.

use std::collections::{HashSet, VecDeque};
use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use crate::pg::datum::{owned_cstring, owned_name};
use crate::pg::encoding;
use crate::pg::syscache;

unsafe extern "C-unwind" {
    // catalog/partition.h, which pgrx does not bind.
    fn get_partition_ancestors(relid: pg_sys::Oid) -> *mut pg_sys::List;
    // catalog/pg_inherits.h, neither.
    fn find_inheritance_children(parent: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> *mut pg_sys::List;
}

/// The topmost partitioned table that `relation` is a partition of; itself if it is none.
pub fn partition_root(relation: pg_sys::Oid) -> pg_sys::Oid {
    partition_ancestors(relation).pop().unwrap_or(relation)
}

/// The partitioned tables that `relation` is a partition of, the nearest first.
pub fn partition_ancestors(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: the system cache answers false for a relation that is gone; the list of OIDs is
    // read and freed here.
    unsafe {
        if !pg_sys::get_rel_relispartition(relation) {
            return Vec::new();
        }
        owned_oids(pg_guard_ffi_boundary(|| get_partition_ancestors(relation)))
    }
}

/// `relation`, its partitions and its heirs as they are now, all but itself locked with `mode`; parents
/// before their children. What is gone is left out, `relation` too.
pub fn family(relation: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Vec<pg_sys::Oid> {
    let (mut family, mut known) = (Vec::new(), HashSet::from([relation]));
    let mut next = VecDeque::from([relation]);
    while let Some(member) = next.pop_front() {
        // PostgreSQL raises when it is asked for the children of a relation that is gone. Nothing is
        // learned of a drop between this look and its own.
        if kind(member) != Kind::Missing {
            family.push(member);
            // An heir of several is met several times.
            next.extend(children(member, mode).into_iter().filter(|child| known.insert(*child)));
        }
    }
    family
}

/// The partitions and heirs of `parent`, which is there: the nearest only, locked with `mode`.
fn children(parent: pg_sys::Oid, mode: pg_sys::LOCKMODE) -> Vec<pg_sys::Oid> {
    // SAFETY: the parent was looked up just before; the list of OIDs is read and freed here.
    unsafe { owned_oids(pg_guard_ffi_boundary(|| find_inheritance_children(parent, mode))) }
}

/// Copies and frees a palloc'd list of OIDs; null is the empty list.
///
/// # Safety
/// `list` is null, or a list of OIDs that is nobody else's.
unsafe fn owned_oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: by contract.
    unsafe {
        let oids = (0..(*list).length).map(|i| pg_sys::list_nth_oid(list, i)).collect();
        pg_sys::list_free(list);
        oids
    }
}

/// `relation` and, as far as it is partitioned, the partitions below it, as they are now; none is locked.
/// Heirs by INHERITS are tables of their own.
pub fn partitions(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let mut members = family(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
    members
        .retain(|member| *member == relation || partition_ancestors(*member).contains(&relation));
    members
}

/// Name and schema as they are now, without quotes: `(schema, name)`; `None` when it is gone.
pub fn qualified_name(relation: pg_sys::Oid) -> Option<(String, String)> {
    // SAFETY: both look-ups give null for what is not there.
    unsafe {
        let name = owned_name(pg_sys::get_rel_name(relation))?;
        let schema = owned_name(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)))?;
        Some((schema, name))
    }
}

/// Its name as it is now, in the server's encoding; `None` when it is gone.
pub fn raw_name(relation: pg_sys::Oid) -> Option<CString> {
    // SAFETY: the look-up gives null for what is not there, else a palloc'd name.
    unsafe { owned_cstring(pg_sys::get_rel_name(relation)) }
}

/// The index `name` in the schema `schema`, if there is one and it is on `table`.
pub fn index_on(table: pg_sys::Oid, schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    let index = in_schema(schema, name)?;
    // SAFETY: gives 0 for what is no index.
    let is_on = unsafe { pg_sys::IndexGetRelation(index, true) };
    (is_on == table).then_some(index)
}

/// `schema.name` in the server's encoding, quoted where SQL needs it and always with its schema;
/// `None` when it is gone.
pub fn quoted_cstring(relation: pg_sys::Oid) -> Option<CString> {
    // SAFETY: both look-ups give null for what is not there; the results are palloc'd.
    unsafe {
        let name = owned_cstring(pg_sys::get_rel_name(relation))?;
        let schema =
            owned_cstring(pg_sys::get_namespace_name(pg_sys::get_rel_namespace(relation)))?;
        owned_cstring(pg_sys::quote_qualified_identifier(schema.as_ptr(), name.as_ptr()))
    }
}

/// For messages: the quoted name, or the OID of a relation that is gone.
pub fn display_name(relation: pg_sys::Oid) -> String {
    match quoted_cstring(relation) {
        Some(name) => encoding::to_string(name.to_bytes()),
        None => format!("with OID {}", relation.to_u32()),
    }
}

/// The relation that bears `name` (as SQL would quote it), if one does.
pub fn named(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: the parser raises on what is no qualified name; with MISSING_OK a missing schema or
    // relation gives 0; no lock is taken.
    let relation = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            pg_sys::makeRangeVarFromNameList(name_list(name)),
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (relation != pg_sys::InvalidOid).then_some(relation)
}

/// `name` (as SQL would quote it) cut at its dots. Raises on what is no name.
///
/// # Safety
/// The list lives in the current memory context.
pub unsafe fn name_list(name: &CStr) -> *mut pg_sys::List {
    // SAFETY: `name` is NUL-terminated.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return pg_sys::stringToQualifiedNameList(name.as_ptr());
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return pg_sys::stringToQualifiedNameList(name.as_ptr(), std::ptr::null_mut());
    }
}

/// The owner of `relation`; `None` when it is gone.
pub fn owner(relation: pg_sys::Oid) -> Option<pg_sys::Oid> {
    class(relation, |class| class.relowner)
}

/// The owner of `relation`, and its schema; `None` when it is gone.
pub fn owner_and_schema(relation: pg_sys::Oid) -> Option<(pg_sys::Oid, pg_sys::Oid)> {
    class(relation, |class| (class.relowner, class.relnamespace))
}

/// What `read` takes from the relation's row of pg_class, all of one moment; `None` when it is gone.
/// (`get_rel_persistence` and the like raise then.)
fn class<T>(
    relation: pg_sys::Oid,
    read: impl FnOnce(&pg_sys::FormData_pg_class) -> T,
) -> Option<T> {
    let cache = pg_sys::SysCacheIdentifier::RELOID;
    // SAFETY: relations by OID.
    unsafe { syscache::field(cache, pg_sys::Datum::from(relation), read) }
}

/// The relation `name` in the schema `schema`, if there is one: a system-cache look-up.
pub fn in_schema(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: `name` is NUL-terminated; a missing relation gives 0.
    let relation = unsafe { pg_sys::get_relname_relid(name.as_ptr(), schema) };
    (relation != pg_sys::InvalidOid).then_some(relation)
}

/// The type `name` in the schema `schema`, if there is one: a system-cache look-up.
pub fn type_in_schema(schema: pg_sys::Oid, name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: `name` is NUL-terminated; a missing type gives 0.
    let found = unsafe {
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as std::ffi::c_int,
            pg_sys::Anum_pg_type_oid as pg_sys::AttrNumber,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(schema),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// The schema that bears `name`, if one does.
pub fn schema_named(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: `name` is NUL-terminated; with `missing_ok` a missing schema gives 0.
    let schema = unsafe { pg_sys::get_namespace_oid(name.as_ptr(), true) };
    (schema != pg_sys::InvalidOid).then_some(schema)
}

/// The relation `name` in the schema `schema`, without quotes and in UTF-8, if there is one.
pub fn plainly_named(schema: &str, name: &str) -> Option<pg_sys::Oid> {
    let here = |text: &str| CString::new(&*encoding::from_utf8(text.as_bytes()).ok()?).ok();
    in_schema(schema_named(&here(schema)?)?, &here(name)?)
}

/// Pages of a table's main file; `None` when it is gone, or stores no rows of its own.
pub fn pages(relation: pg_sys::Oid) -> Option<u32> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open and locked while it is looked at.
    unsafe {
        let opened = pg_sys::try_relation_open(relation, lock);
        if opened.is_null() {
            return None;
        }
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let stores = !(*opened).rd_tableam.is_null();
        let pages = stores.then(|| pg_sys::RelationGetNumberOfBlocksInFork(opened, main));
        pg_sys::relation_close(opened, lock);
        pages
    }
}

/// Whether policies of its own hide rows of `relation` from some roles.
pub fn has_row_security(relation: pg_sys::Oid) -> bool {
    class(relation, |class| class.relrowsecurity).unwrap_or(false)
}

/// Whether rows of `relation` may stand in other tables, its partitions or heirs.
pub fn may_have_heirs(relation: pg_sys::Oid) -> bool {
    class(relation, |class| {
        class.relhassubclass || class.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE
    })
    .unwrap_or(false)
}

/// Whether `relation` is a partitioned table.
pub fn is_partitioned(relation: pg_sys::Oid) -> bool {
    class(relation, |class| class.relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE)
        .unwrap_or(false)
}

/// How many columns `relation` has had, dropped ones and all.
pub fn column_count(relation: pg_sys::Oid) -> i16 {
    class(relation, |class| class.relnatts).unwrap_or(0)
}

/// Whether `relation` is a foreign table.
pub fn is_foreign(relation: pg_sys::Oid) -> bool {
    class(relation, |class| class.relkind as u8 == pg_sys::RELKIND_FOREIGN_TABLE).unwrap_or(false)
}

/// Whether `relation` is a temporary table of another session, whose rows that session alone can read.
pub fn is_other_sessions(relation: pg_sys::Oid) -> bool {
    let schema = class(relation, |class| {
        (class.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP).then_some(class.relnamespace)
    });
    // SAFETY: answers no for a schema that is gone.
    schema.flatten().is_some_and(|schema| unsafe { pg_sys::isOtherTempNamespace(schema) })
}

/// What kind of relation it is, as far as keys are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A permanent or unlogged table, partitioned or not: it may have a key.
    Table,
    /// A temporary table.
    Temporary,
    /// A view, index, sequence, foreign table, …
    Other,
    /// Gone.
    Missing,
}

/// Whether `relation` stores rows, itself or in partitions: no view, whose columns are computed when
/// they are read.
pub fn stores_rows(relation: pg_sys::Oid) -> bool {
    let stores = class(relation, |class| {
        matches!(
            class.relkind as u8,
            pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE | pg_sys::RELKIND_MATVIEW
        )
    });
    stores.unwrap_or(false)
}

/// What PostgreSQL calls the likes of `relation`, for messages.
pub fn described(relation: pg_sys::Oid) -> &'static str {
    // SAFETY: look-ups in the system cache; 0 for a relation that is gone.
    match unsafe { pg_sys::get_rel_relkind(relation) } as u8 {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => match kind(relation) {
            Kind::Temporary => "temporary table",
            _ => "table",
        },
        pg_sys::RELKIND_VIEW => "view",
        pg_sys::RELKIND_MATVIEW => "materialized view",
        pg_sys::RELKIND_FOREIGN_TABLE => "foreign table",
        pg_sys::RELKIND_INDEX | pg_sys::RELKIND_PARTITIONED_INDEX => "index",
        pg_sys::RELKIND_SEQUENCE => "sequence",
        pg_sys::RELKIND_COMPOSITE_TYPE => "composite type",
        _ => "relation",
    }
}

/// The kind of `relation`.
pub fn kind(relation: pg_sys::Oid) -> Kind {
    let kind = class(relation, |class| match class.relkind as u8 {
        pg_sys::RELKIND_RELATION | pg_sys::RELKIND_PARTITIONED_TABLE => {
            let is_temporary = class.relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP;
            if is_temporary { Kind::Temporary } else { Kind::Table }
        }
        _ => Kind::Other,
    });
    kind.unwrap_or(Kind::Missing)
}

/// A name, which need not be one of anything, as SQL quotes it; both in UTF-8.
pub fn quoted(name: &str) -> String {
    let Ok(name) = CString::new(name) else { return String::new() };
    // SAFETY: looks at ASCII alone, whatever the encoding; gives its argument back or a palloc'd string, and the
    // argument outlives the copy.
    let quoted = unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) };
    quoted.to_string_lossy().into_owned()
}
