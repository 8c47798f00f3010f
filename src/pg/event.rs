//! What an event trigger is told of the command that fires it.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// The statement of an event trigger's call, of those that matter here.
pub enum Statement {
    /// `ALTER TYPE … RENAME VALUE` of that enum.
    RenameEnumValue(pg_sys::Oid),
    /// `CREATE TRIGGER` of that name on that table.
    CreateTrigger { relation: pg_sys::Oid, name: CString },
}

/// `None`: the function was not called by an event trigger, or its statement is another one, or about something that
/// is not there.
///
/// # Safety
/// `fcinfo` is the call's own.
pub unsafe fn statement(fcinfo: pg_sys::FunctionCallInfo) -> Option<Statement> {
    // SAFETY: by contract; the tags of the nodes say what they are.
    unsafe {
        let context = (*fcinfo).context.as_ref()?;
        if context.type_ != pg_sys::NodeTag::T_EventTriggerData {
            return None;
        }
        let event = &*(*fcinfo).context.cast::<pg_sys::EventTriggerData>();
        let statement = event.parsetree.as_ref()?;
        match statement.type_ {
            pg_sys::NodeTag::T_AlterEnumStmt => {
                let alter = &*event.parsetree.cast::<pg_sys::AlterEnumStmt>();
                if alter.oldVal.is_null() {
                    return None;
                }
                let name = pg_sys::makeTypeNameFromNameList(alter.typeName);
                let kind = pg_sys::LookupTypeNameOid(std::ptr::null_mut(), name, true);
                (kind != pg_sys::InvalidOid).then_some(Statement::RenameEnumValue(kind))
            }
            pg_sys::NodeTag::T_CreateTrigStmt => {
                let create = &*event.parsetree.cast::<pg_sys::CreateTrigStmt>();
                let relation = pg_sys::RangeVarGetRelidExtended(
                    create.relation,
                    pg_sys::NoLock as pg_sys::LOCKMODE,
                    pg_sys::RVROption::RVR_MISSING_OK,
                    None,
                    std::ptr::null_mut(),
                );
                let name = CStr::from_ptr(create.trigname).to_owned();
                let is_there = relation != pg_sys::InvalidOid;
                is_there.then_some(Statement::CreateTrigger { relation, name })
            }
            _ => None,
        }
    }
}
