//! What the values of a column are bound to in the row at hand, and in the row that an UPDATE replaces.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::rule::{Bound, BoundColumn, Rule};
use crate::error::{PolicyError, Result};
use crate::pg::bound::BoundValue;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::trigger::{Row, TriggerCall};
use crate::values::context::{NO_CONTEXT, RowContext};

/// A context; empty when nothing is bound.
pub struct Context(Option<RowContext>);

impl Context {
    /// Of values that no policy binds.
    pub fn none() -> Context {
        Context(None)
    }

    pub fn bytes(&self) -> Result<&[u8]> {
        self.0.as_ref().map_or(Ok(NO_CONTEXT), RowContext::bytes)
    }
}

/// The context of a value in the row as it is about to be stored. 22004 when a bound column is NULL.
pub fn now(call: &TriggerCall<'_>, row: &Row<'_>, bound: Bound<'_>) -> Result<Context> {
    context(call, bound, |column| row.value(column))?.map_err(|name| {
        let (column, table) = named(call, name);
        PolicyError::BoundNull { column, table }.into()
    })
}

/// As [`now`]; `None` when a bound column is NULL: nothing can have been bound to it.
pub fn now_if_any(
    call: &TriggerCall<'_>,
    row: &Row<'_>,
    bound: Bound<'_>,
) -> Result<Option<Context>> {
    Ok(context(call, bound, |column| row.value(column))?.ok())
}

/// As [`now_if_any`], of the row that UPDATE replaces.
pub fn before(call: &TriggerCall<'_>, bound: Bound<'_>) -> Result<Option<Context>> {
    Ok(context(call, bound, |column| call.old_value(column))?.ok())
}

/// Whether UPDATE changes a column that values of the policy are bound to, or may still be.
pub fn is_moved(call: &TriggerCall<'_>, row: &Row<'_>, rule: Rule<'_>) -> Result<bool> {
    if !call.is_update() {
        return Ok(false);
    }
    let former = rule.former.into_iter().flat_map(Bound::columns);
    for (name, BoundColumn { number, kind }) in rule.now.columns().chain(former) {
        let is_same = match (call.old_value(number), row.value(number)) {
            (None, None) => true,
            (Some(old), Some(new)) => {
                value(call, name, kind, old)?.is_same(&value(call, name, kind, new)?)
            }
            _ => false,
        };
        if !is_same {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The name of a column that is NULL instead of a context, where one is.
fn context<'a>(
    call: &TriggerCall<'_>,
    bound: Bound<'a>,
    read: impl Fn(i16) -> Option<pg_sys::Datum>,
) -> Result<std::result::Result<Context, &'a CStr>> {
    if bound.binding.columns.is_empty() {
        return Ok(Ok(Context(None)));
    }
    let mut context = RowContext::after(&bound.binding.head);
    for (name, BoundColumn { number, kind }) in bound.columns() {
        let Some(datum) = read(number) else { return Ok(Err(name)) };
        context.push_value(&value(call, name, kind, datum)?)?;
    }
    Ok(Ok(Context(Some(context))))
}

fn value<'a>(
    call: &TriggerCall<'_>,
    name: &CStr,
    kind: pg_sys::Oid,
    datum: pg_sys::Datum,
) -> Result<BoundValue<'a>> {
    // SAFETY: a non-null value of a column of that type, in a row that outlives the trigger's call.
    unsafe { BoundValue::of(kind, datum) }.ok_or_else(|| {
        let (column, table) = named(call, name);
        let is = crate::pg::types::display_name(kind, -1);
        PolicyError::BoundType { column, table, is }.into()
    })
}

#[cold]
fn named(call: &TriggerCall<'_>, name: &CStr) -> (String, String) {
    (encoding::to_string(name.to_bytes()), display_name(call.relation_oid()))
}
