//! The sealing triggers of a table, as PostgreSQL's catalog has them.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::extension;
use crate::pg::varlena::{Varlena, VarlenaBuf};

/// A trigger that calls one of the sealing functions.
pub struct SealingTrigger {
    pub name: CString,
    /// In the server's encoding.
    pub arguments: Vec<CString>,
    /// BEFORE INSERT OR UPDATE ... FOR EACH ROW, whichever columns are set, without a condition.
    pub fires_for_all: bool,
    /// It is not switched off.
    pub fires: bool,
    /// It is `envelope_seal`, which empties sources, and not switched off.
    pub empties: bool,
}

/// `tgtype` of BEFORE INSERT OR UPDATE FOR EACH ROW (catalog/pg_trigger.h): row, before, insert, update.
const FOR_ALL: i16 = 1 | 1 << 1 | 1 << 2 | 1 << 4;

/// The functions of `extension` that seal, by name.
const FUNCTIONS: [&CStr; 2] = [c"envelope_seal", c"envelope_mirror"];

/// Those of `relation`, which is there.
pub fn triggers(extension: &CStr, relation: pg_sys::Oid) -> Vec<SealingTrigger> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open while its triggers are read; there are as many as it counts, each with a
    // NUL-terminated name and as many NUL-terminated arguments as it counts. It is null when there are none.
    unsafe {
        let opened = pg_sys::table_open(relation, lock);
        let mut found = Vec::new();
        if let Some(triggers) = (*opened).trigdesc.as_ref() {
            for at in 0..triggers.numtriggers as usize {
                let trigger = &*triggers.triggers.add(at);
                if !seals(extension, trigger.tgfoid) {
                    continue;
                }
                let fires = matches!(trigger.tgenabled as u8, b'O' | b'A');
                let argument = |at| CStr::from_ptr(*trigger.tgargs.add(at)).to_owned();
                found.push(SealingTrigger {
                    name: CStr::from_ptr(trigger.tgname).to_owned(),
                    arguments: (0..trigger.tgnargs as usize).map(argument).collect(),
                    fires_for_all: trigger.tgtype & FOR_ALL == FOR_ALL
                        && trigger.tgnattr == 0
                        && trigger.tgqual.is_null(),
                    fires,
                    empties: is_called(trigger.tgfoid, FUNCTIONS[0]) && fires,
                });
            }
        }
        pg_sys::table_close(opened, lock);
        found
    }
}

fn seals(extension: &CStr, function: pg_sys::Oid) -> bool {
    FUNCTIONS.iter().any(|name| is_called(function, name))
        && extension::owns_function(extension, function)
}

fn is_called(function: pg_sys::Oid, called: &CStr) -> bool {
    // SAFETY: null for a function that is gone; the name is read before it is freed.
    unsafe {
        let name = pg_sys::get_func_name(function);
        let is_called = !name.is_null() && CStr::from_ptr(name) == called;
        if !name.is_null() {
            pg_sys::pfree(name.cast());
        }
        is_called
    }
}

/// Has every sealing trigger of `relation` name the column `to` where it named `from`. Whether they fire, and all else,
/// stays as it is, which CREATE OR REPLACE TRIGGER would not leave. `renamed` makes an argument anew.
pub fn rename_in_arguments(
    extension: &CStr,
    relation: pg_sys::Oid,
    renamed: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let lock = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
    let mut key = pg_sys::ScanKeyData::default();
    // SAFETY: the catalog stays open for the scan; on an error raised in between, the resource owner closes it. A
    // tuple is read until the next one is asked for, and written by PostgreSQL's own function with its columns
    // unchanged but for the arguments: NUL-terminated, one after the other, as many as before.
    unsafe {
        pg_sys::ScanKeyInit(
            &mut key,
            pg_sys::Anum_pg_trigger_tgrelid as pg_sys::AttrNumber,
            pg_sys::BTEqualStrategyNumber as pg_sys::StrategyNumber,
            pg_sys::Oid::from(pg_sys::F_OIDEQ),
            pg_sys::Datum::from(relation),
        );
        let catalog = pg_sys::table_open(pg_sys::TriggerRelationId, lock);
        let index = pg_sys::Oid::from(pg_sys::TriggerRelidNameIndexId);
        let scan =
            pg_sys::systable_beginscan(catalog, index, true, std::ptr::null_mut(), 1, &mut key);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_trigger>();
            if !seals(extension, row.tgfoid) {
                continue;
            }
            let descriptor = (*catalog).rd_att;
            let column = pg_sys::Anum_pg_trigger_tgargs as usize;
            let mut is_null = true;
            let arguments =
                pg_sys::heap_getattr(tuple, column as std::ffi::c_int, descriptor, &mut is_null);
            if is_null {
                continue;
            }
            let Some(arguments) = rewritten(&Varlena::from_datum(arguments), &renamed) else {
                continue;
            };
            let columns = (*descriptor).natts.unsigned_abs() as usize;
            let mut values = vec![pg_sys::Datum::null(); columns];
            let (mut nulls, mut replaces) = (vec![false; columns], vec![false; columns]);
            values[column - 1] = VarlenaBuf::copy_of(&arguments).into_datum();
            replaces[column - 1] = true;
            let changed = pg_sys::heap_modify_tuple(
                tuple,
                descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
                replaces.as_mut_ptr(),
            );
            pg_sys::CatalogTupleUpdate(catalog, &mut (*changed).t_self, changed);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(catalog, lock);
        pg_sys::CacheInvalidateRelcacheByRelid(relation);
    }
}

/// `None` when none is renamed.
fn rewritten(arguments: &[u8], renamed: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let (mut out, mut is_changed) = (Vec::new(), false);
    for argument in arguments.strip_suffix(b"\0")?.split(|byte| *byte == 0) {
        match renamed(argument) {
            Some(renamed) => {
                out.extend_from_slice(&renamed);
                is_changed = true;
            }
            None => out.extend_from_slice(argument),
        }
        out.push(0);
    }
    is_changed.then_some(out)
}
