//! Policies follow what becomes of their columns: renames, drops, other types. So does what `envelope.progress` shows.
//!
//! PostgreSQL tells of each column when it has been changed, and the policies are changed with it, so that a rollback
//! undoes both. An event trigger has the library loaded before such commands.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::checks::is_same_type;
use crate::adopt::index;
use crate::audit::Action;
use crate::catalog::rows::{self, PolicyRow};
use crate::catalog::{self, shards, write};
use crate::error::{Error, Need, PolicyError, Result};
use crate::pg::column::{base_type, is_sealable};
use crate::pg::encoding::text;
use crate::pg::event::{self, MadeAnew, Statement};
use crate::pg::hook::{self, ColumnChange};
use crate::pg::relation::display_name;
use crate::pg::{attribute, kinds, relation, report, types};

/// What a change is looked up in. With one of them missing the extension is not installed, or is half gone.
const LOOKED_UP: [&CStr; 2] = [c"sealed_column", c"sealed_column_relation"];

/// From now on every change is acted upon. To be called once, when the library is loaded.
pub fn watch() {
    hook::on_column_change(|relation, number, change| {
        if let Err(error) = follow(relation, number, change) {
            report::raise(error.into());
        }
    });
}

fn follow(relation: pg_sys::Oid, number: i16, change: ColumnChange) -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    let Some(name) = attribute::name(relation, number) else { return Ok(()) };
    match change {
        ColumnChange::Dropped => dropped(relation, &name),
        ColumnChange::Altered => altered(relation, number, &name),
    }
}

fn is_installed() -> bool {
    LOOKED_UP.iter().all(|name| catalog::oid_of(name).is_ok())
}

/// The policy of a column ends with it. What its values come from, or are bound to, is not dropped before.
fn dropped(relation: pg_sys::Oid, name: &CStr) -> Result<()> {
    index::dropped(relation, name)?;
    for policy in rows::policies(relation)? {
        if policy.column_name.as_c_str() == name {
            write::columns::forget(policy.id)?;
            super::tell(Action::DropColumn, relation, name)?;
        } else if let Some(why) = need(&policy, name) {
            return Err(PolicyError::Needed {
                why,
                column: text(name),
                needed_by: text(&policy.column_name),
                table: display_name(relation),
            }
            .into());
        }
    }
    if may_have_jobs(relation)? {
        write::reencryption::forget_column(relation, &text(name))?;
    }
    Ok(())
}

/// Whether something may have been done with all values of a column of the table: it has a keyring.
fn may_have_jobs(relation: pg_sys::Oid) -> Result<bool> {
    let root = shards::root(relation)?;
    Ok(catalog::oid_of(c"reencryption").is_ok() && rows::sealing_keyring(root)?.is_some())
}

/// A rename, or another type. Partitions and heirs come before the table whose policy it is: the triggers of each are
/// its own.
fn altered(relation: pg_sys::Oid, number: i16, name: &CStr) -> Result<()> {
    let before = attribute::type_of(relation, number);
    let Some((new_name, kind, modifier)) = attribute::as_changed(relation, number) else {
        return Ok(());
    };
    let (is_renamed, is_retyped) = (new_name.as_c_str() != name, (kind, modifier) != before);
    if is_renamed || is_retyped {
        index::altered(relation, name, &new_name, is_retyped)?;
    }
    if is_renamed && may_have_jobs(relation)? {
        write::reencryption::rename_column(relation, &text(name), &text(&new_name))?;
    }
    let policies = rows::nearest_policies(relation)?;
    if !is_renamed && !is_retyped || policies.is_empty() {
        return Ok(());
    }
    if is_renamed {
        let is_argument = |policy: &PolicyRow| {
            policy.column_name.as_c_str() == name || policy.source.as_deref() == Some(name)
        };
        if new_name.to_bytes().contains(&b'=') && policies.iter().any(is_argument) {
            return Err(Error::BadArgument(
                "a sealed column, or one that its plaintext comes from, cannot have \"=\" in its name".into(),
            ));
        }
        catalog::rename_in_sealing_triggers(relation, name, &new_name);
    }
    for mut policy in rows::policies(relation)? {
        if is_retyped {
            retype(&mut policy, name, before.0, (kind, modifier))?;
        }
        if is_renamed {
            rename(&mut policy, name, &new_name);
        }
        if needs(&policy, &new_name) || policy.column_name == new_name {
            write::columns::update_policy(&policy)?;
        }
    }
    Ok(())
}

fn rename(policy: &mut PolicyRow, from: &CStr, to: &CStr) {
    if policy.column_name.as_c_str() == from {
        policy.column_name = to.to_owned();
    }
    if policy.source.as_deref() == Some(from) {
        policy.source = Some(to.to_owned());
    }
    let (from, to) = (text(from), text(to));
    let former = policy.former.iter_mut().flat_map(|former| &mut former.bound_columns);
    for bound in policy.bound_columns.iter_mut().chain(former).filter(|bound| **bound == from) {
        bound.clone_from(&to);
    }
}

/// What values are bound to keeps its text, else it is 0A000. A source may become of another type: until the policy
/// says the same, the trigger refuses what comes in there.
fn retype(
    policy: &mut PolicyRow,
    name: &CStr,
    from: pg_sys::Oid,
    (to, modifier): (pg_sys::Oid, i32),
) -> Result<()> {
    let (base, new_base) = (base_type(from), base_type(to));
    let is_source = policy.source.as_deref() == Some(name);
    if is_source && base == new_base {
        let before = policy.clone();
        (policy.value_type, policy.value_typmod) = (to, modifier);
        // A number of another scale has other terms.
        if !is_same_type(&before, policy) {
            index::require_none(policy.relation, &policy.column_name)?;
        }
    }
    if is_source || !needs(policy, name) || keeps_text(base, new_base) {
        return Ok(());
    }
    Err(PolicyError::Retyped {
        column: text(name),
        needed_by: text(&policy.column_name),
        table: display_name(policy.relation),
        is: types::display_name(from, -1),
    }
    .into())
}

/// Whether values have the same text as ones of the other type.
fn keeps_text(from: Option<pg_sys::Oid>, to: Option<pg_sys::Oid>) -> bool {
    let (Some(from), Some(to)) = (from, to) else { return false };
    let is_text = |kind| [pg_sys::TEXTOID, pg_sys::VARCHAROID].contains(&kind);
    let integers = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
    let width = |kind| integers.iter().position(|integer| *integer == kind);
    let widens = width(from).zip(width(to)).is_some_and(|(from, to)| from <= to);
    from == to || is_text(from) && is_text(to) || widens
}

/// Whether values of the policy come from that column, or are or may be bound to it.
fn needs(policy: &PolicyRow, name: &CStr) -> bool {
    need(policy, name).is_some()
}

fn need(policy: &PolicyRow, name: &CStr) -> Option<Need> {
    let text = text(name);
    if policy.source.as_deref() == Some(name) {
        return Some(Need::Source);
    }
    if policy.bound_columns.contains(&text) {
        let others = policy.bound_columns.iter().filter(|bound| **bound != text).cloned();
        return Some(Need::Bound { others: others.collect() });
    }
    let former = policy.former.as_ref()?;
    former.bound_columns.contains(&text).then_some(Need::BoundBefore)
}

/// Before a command, told by an event trigger: 0A000 for another name of an enum's value, under which sealed values
/// stand, and for other values of a column that they are bound to.
///
/// # Safety
/// `fcinfo` is the event trigger's own.
pub unsafe fn before_command(fcinfo: pg_sys::FunctionCallInfo) -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    // SAFETY: by contract.
    match unsafe { event::statement(fcinfo) } {
        Some(Statement::RenameEnumValue(kind)) => require_names_unsealed(kind),
        Some(Statement::MakeAnew { relation, columns }) => {
            for member in relation::family(relation, pg_sys::NoLock as pg_sys::LOCKMODE) {
                columns.iter().try_for_each(|column| {
                    require_same_text(member, column)?;
                    require_same_values(member, column)
                })?;
            }
            Ok(())
        }
        Some(Statement::Attach { relation, partition }) => index::attached(relation, partition),
        _ => Ok(()),
    }
}

/// No trigger fires when ALTER TABLE writes the rows anew, and nothing binds their values to what they are then.
fn require_same_text(relation: pg_sys::Oid, made: &MadeAnew) -> Result<()> {
    let name = text(&made.column);
    let Some(number) = attribute::number(relation, &made.column) else { return Ok(()) };
    let kind = attribute::type_of(relation, number).0;
    if let (Some(base), Some(casts)) = (base_type(kind), &made.casts)
        && casts.iter().all(|cast| is_exact(base, *cast))
    {
        return Ok(());
    }
    for policy in rows::policies(relation)? {
        let former = policy.former.iter().flat_map(|former| &former.bound_columns);
        if policy.bound_columns.iter().chain(former).any(|bound| *bound == name) {
            return Err(PolicyError::Retyped {
                column: name,
                needed_by: text(&policy.column_name),
                table: display_name(relation),
                is: types::display_name(kind, -1),
            }
            .into());
        }
    }
    Ok(())
}

/// 55000 while the column has search indexes: no trigger makes the terms of what an expression gives.
fn require_same_values(relation: pg_sys::Oid, made: &MadeAnew) -> Result<()> {
    match &made.casts {
        Some(casts) if casts.iter().all(|cast| is_sealable(*cast)) => Ok(()),
        _ => index::require_none(relation, &made.column),
    }
}

/// Whether a value of type `from` comes back from `to` as it was, or is an error.
fn is_exact(from: pg_sys::Oid, to: pg_sys::Oid) -> bool {
    let texts = [pg_sys::TEXTOID, pg_sys::VARCHAROID];
    let integers = [pg_sys::INT2OID, pg_sys::INT4OID, pg_sys::INT8OID];
    from == to
        || texts.contains(&to) && from != pg_sys::BYTEAOID
        || integers.contains(&from) && integers.contains(&to)
}

fn require_names_unsealed(kind: pg_sys::Oid) -> Result<()> {
    for policy in rows::all_policies()? {
        let is_there = policy.relation != pg_sys::InvalidOid;
        if is_there && policy.value_type != pg_sys::InvalidOid && is_of(policy.value_type, kind) {
            return Err(PolicyError::EnumSealed {
                kind: types::display_name(kind, -1),
                column: text(&policy.column_name),
                table: display_name(policy.relation),
            }
            .into());
        }
    }
    Ok(())
}

/// Whether values of type `of` hold values of `kind`: it is that type, a domain over it, or an array of either.
fn is_of(of: pg_sys::Oid, kind: pg_sys::Oid) -> bool {
    let base = base_type(of);
    let element = base.and_then(kinds::element);
    base == Some(kind) || element.and_then(base_type) == Some(kind)
}

/// After a command: 39P01 for a sealing trigger that names a column with a policy, and would not seal it as that says.
///
/// # Safety
/// As for [`before_command`].
pub unsafe fn after_command(fcinfo: pg_sys::FunctionCallInfo) -> Result<()> {
    // SAFETY: by contract.
    let Some(Statement::CreateTrigger { relation, name }) = (unsafe { event::statement(fcinfo) })
    else {
        return Ok(());
    };
    if !is_installed() {
        return Ok(());
    }
    let policies = rows::nearest_policies(relation)?;
    if policies.is_empty() {
        return Ok(());
    }
    for trigger in catalog::sealing_triggers(relation).iter().filter(|it| it.name == name) {
        for argument in &trigger.arguments {
            let (target, source) = parts(argument);
            let Some(policy) =
                policies.iter().find(|policy| policy.column_name.to_bytes() == target)
            else {
                continue;
            };
            let why = if !trigger.fires_for_all {
                "it must fire BEFORE INSERT OR UPDATE, FOR EACH ROW, for all columns and without WHEN"
            } else if policy.source.as_deref().map(CStr::to_bytes) != source {
                "its argument must name the source column of the policy, or none if it has none"
            } else {
                continue;
            };
            return Err(PolicyError::WouldNotSeal {
                column: text(&policy.column_name),
                table: display_name(relation),
                argument: argument_of(policy),
                trigger: text(&name),
                why,
            }
            .into());
        }
    }
    Ok(())
}

/// An argument of a sealing trigger: the column, and the one where its plaintext comes in.
pub fn parts(argument: &CString) -> (&[u8], Option<&[u8]>) {
    let argument = argument.to_bytes();
    match argument.iter().position(|byte| *byte == b'=') {
        Some(at) => (&argument[..at], argument.get(at + 1..)),
        None => (argument, None),
    }
}

fn argument_of(policy: &PolicyRow) -> String {
    match &policy.source {
        Some(source) => format!("{}={}", text(&policy.column_name), text(source)),
        None => text(&policy.column_name),
    }
}
