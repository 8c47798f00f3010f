//! What an event trigger is told of the command that fires it.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::datum::owned_cstring;
use crate::pg::kinds;

/// The statement of an event trigger's call, of those that matter here.
pub enum Statement {
    /// `ALTER TYPE … RENAME VALUE` of that enum.
    RenameEnumValue(pg_sys::Oid),
    /// `CREATE TRIGGER` of that name on that table.
    CreateTrigger { relation: pg_sys::Oid, name: CString },
    /// `ALTER TABLE … ALTER COLUMN … TYPE … USING`, once or more.
    MakeAnew { relation: pg_sys::Oid, columns: Vec<MadeAnew> },
    /// `ALTER TABLE … ATTACH PARTITION`.
    Attach { relation: pg_sys::Oid, partition: pg_sys::Oid },
}

/// A column whose values an expression makes anew.
pub struct MadeAnew {
    pub column: CString,
    /// The types, without modifiers, that the expression casts the column itself to, one after the other; `None` when
    /// it does anything else.
    pub casts: Option<Vec<pg_sys::Oid>>,
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
                let name = CStr::from_ptr(create.trigname).to_owned();
                let relation = table(create.relation)?;
                Some(Statement::CreateTrigger { relation, name })
            }
            pg_sys::NodeTag::T_AlterTableStmt => {
                let alter = &*event.parsetree.cast::<pg_sys::AlterTableStmt>();
                if let Some(partition) = attached(alter.cmds) {
                    let (relation, partition) = (table(alter.relation)?, table(partition)?);
                    return Some(Statement::Attach { relation, partition });
                }
                let columns = made_anew(alter.cmds);
                if columns.is_empty() {
                    return None;
                }
                Some(Statement::MakeAnew { relation: table(alter.relation)?, columns })
            }
            _ => None,
        }
    }
}

/// # Safety
/// `named` is the parser's.
unsafe fn table(named: *mut pg_sys::RangeVar) -> Option<pg_sys::Oid> {
    // SAFETY: by contract.
    let relation = unsafe {
        pg_sys::RangeVarGetRelidExtended(
            named,
            pg_sys::NoLock as pg_sys::LOCKMODE,
            pg_sys::RVROption::RVR_MISSING_OK,
            None,
            std::ptr::null_mut(),
        )
    };
    (relation != pg_sys::InvalidOid).then_some(relation)
}

/// The partition that is attached.
///
/// # Safety
/// `commands` are those of an ALTER TABLE, as the parser gives them.
unsafe fn attached(commands: *mut pg_sys::List) -> Option<*mut pg_sys::RangeVar> {
    // SAFETY: by contract; that command has a definition, and is the only one.
    unsafe {
        let first = commands.as_ref().filter(|list| list.length > 0)?;
        let command = &*pg_sys::list_nth(first, 0).cast::<pg_sys::AlterTableCmd>();
        let attaches = command.subtype == pg_sys::AlterTableType::AT_AttachPartition;
        let definition = command.def.cast::<pg_sys::PartitionCmd>().as_ref();
        definition.filter(|_| attaches).map(|definition| definition.name)
    }
}

/// # Safety
/// `commands` are those of an ALTER TABLE, as the parser gives them.
unsafe fn made_anew(commands: *mut pg_sys::List) -> Vec<MadeAnew> {
    let mut columns = Vec::new();
    // SAFETY: by contract; a command that changes a type has a definition, whose expression is null without USING.
    unsafe {
        for at in 0..commands.as_ref().map_or(0, |list| list.length) {
            let command = &*pg_sys::list_nth(commands, at).cast::<pg_sys::AlterTableCmd>();
            if command.subtype != pg_sys::AlterTableType::AT_AlterColumnType {
                continue;
            }
            let Some(definition) = command.def.cast::<pg_sys::ColumnDef>().as_ref() else {
                continue;
            };
            if !definition.raw_default.is_null() {
                let column = CStr::from_ptr(command.name).to_owned();
                let casts = casts_of(&column, definition.raw_default);
                columns.push(MadeAnew { column, casts });
            }
        }
    }
    columns
}

/// # Safety
/// `expression` is the parser's.
unsafe fn casts_of(column: &CStr, mut expression: *mut pg_sys::Node) -> Option<Vec<pg_sys::Oid>> {
    let mut casts = Vec::new();
    loop {
        // SAFETY: by contract; the tags of the nodes say what they are. A type that is missing is PostgreSQL's error.
        unsafe {
            match expression.as_ref()?.type_ {
                pg_sys::NodeTag::T_TypeCast => {
                    let cast = &*expression.cast::<pg_sys::TypeCast>();
                    let (mut kind, mut modifier) = (pg_sys::InvalidOid, -1);
                    let nowhere = std::ptr::null_mut();
                    pg_sys::typenameTypeIdAndMod(nowhere, cast.typeName, &mut kind, &mut modifier);
                    let (base, modifier) = kinds::base(kind, modifier);
                    if modifier != -1 {
                        return None;
                    }
                    casts.insert(0, base);
                    expression = cast.arg;
                }
                pg_sys::NodeTag::T_ColumnRef => {
                    let named = &*expression.cast::<pg_sys::ColumnRef>();
                    let name = owned_cstring(pg_sys::NameListToString(named.fields))?;
                    return (name.as_c_str() == column).then_some(casts);
                }
                _ => return None,
            }
        }
    }
}
