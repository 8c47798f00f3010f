//! What stands in the column that holds sealed values: sealed already, or plaintext.

use envelope::header::{HEADER_LEN, KeyId, is_sealed, peek_key_id};
use envelope::text::key_id_in_text;
use pgrx::pg_sys;

use super::argument::{Argument, Target};
use super::bound::{self, Context};
use super::rule::Rule;
use super::{indexed, plain};
use crate::error::{Error, Place, PolicyError, Result};
use crate::keyring::table::{self, Policy, Table, Whose};
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::trigger::{Row, TriggerCall, is_same_stored_value};
use crate::pg::varlena::{Varlena, VarlenaBuf, first_bytes};
use crate::values::just_sealed;
use crate::{settings, values};

/// Seals what stands there in clear, keeps what is sealed for this row, and binds what was sealed for the row that
/// UPDATE replaces to what the row is now.
pub fn seal(call: &TriggerCall<'_>, row: &mut Row<'_>, argument: &mut Argument<'_>) -> Result<()> {
    let target = argument.target;
    if row.is_null(target.column) {
        return indexed::none(call, row, argument);
    }
    if call.is_insert() {
        row.take_apart();
    }
    let Some(new) = row.value(target.column) else { return Ok(()) };
    let table = &table::get(call.relation_oid())?;
    let rule = argument.rule(call, table)?;
    let is_moved = is_moved(call, row, rule)?;
    if !is_moved && is_kept_from_before(call, table, target.column, new)? {
        return indexed::stays(call, row, table, argument);
    }
    let context = context(call, row, rule)?;
    // SAFETY: a non-null value of the row, in the layout of bytea, which outlives this call.
    let value = unsafe { Varlena::from_datum(new) };
    if let Some(key_id) = peek_key_id(&value) {
        let at = |error: Error| error.at(place(call, target, Some(key_id)));
        if is_sealed_here(table, target, key_id, &value).map_err(at)? {
            // Terms would be made of what it opens to.
            let is_indexed = rule.is_some_and(|rule| !rule.index_columns.is_empty());
            if !is_indexed && just_sealed::is(table, target.name, context.bytes()?, &value) {
                return Ok(());
            }
            match find(call, row, rule, &context, is_moved, &value).map_err(at)? {
                Found::Before(opened) => {
                    let bound = values::seal_for(table, context.bytes()?, opened.as_slice());
                    let set = bound.and_then(|bound| {
                        row.replace(target.column, bound);
                        indexed::set(call, row, table, target, rule, opened.as_slice())
                    });
                    opened.wipe_and_free();
                    set?;
                }
                Found::Here(opened) => {
                    let form = opened.as_slice();
                    let set = plain::require_form(call, policy(rule), target, form)
                        .map_err(at)
                        .and_then(|()| indexed::set(call, row, table, target, rule, form));
                    opened.wipe_and_free();
                    set?;
                }
            }
            return Ok(());
        }
    }
    if let Some(key_id) = key_id_in_text(&value) {
        require_nobodys(call, target, key_id)?;
    }
    let plaintext = plain::arriving(policy(rule), value).map_err(|error| match error {
        Error::NoValue { .. } | Error::NotOfType(_) => error.at(place(call, target, None)),
        error => error,
    })?;
    row.replace(target.column, values::seal_for(table, context.bytes()?, &plaintext)?);
    indexed::set(call, row, table, target, rule, &plaintext)
}

/// Whether UPDATE leaves the column as it is stored, and what it is bound to, too.
pub fn stays(call: &TriggerCall<'_>, row: &Row<'_>, argument: &mut Argument<'_>) -> Result<bool> {
    let column = argument.target.column;
    let Some(new) = row.value(column) else { return Ok(true) };
    let table = &table::get(call.relation_oid())?;
    let rule = argument.rule(call, table)?;
    Ok(!is_moved(call, row, rule)? && is_kept_from_before(call, table, column, new)?)
}

/// The value of the column, which [`seal`] has left as one of this row; opened.
pub fn open(
    call: &TriggerCall<'_>,
    row: &Row<'_>,
    argument: &mut Argument<'_>,
) -> Result<VarlenaBuf> {
    let relation = call.relation_oid();
    let table = &table::get(relation)?;
    let rule = argument.rule(call, table)?;
    let sealed = row.value(argument.target.column).ok_or(Error::NotSealed)?;
    // SAFETY: a non-null value of the row, in the layout of bytea, which outlives this call.
    let sealed = unsafe { Varlena::from_datum(sealed) };
    let context = context(call, row, rule)?;
    if let Some(opened) = values::opened(relation, context.bytes()?, &sealed)? {
        return Ok(opened);
    }
    if let Some(former) = rule.and_then(|rule| rule.former)
        && let Some(context) = bound::now_if_any(call, row, former)?
        && let Some(opened) = values::opened(relation, context.bytes()?, &sealed)?
    {
        return Ok(opened);
    }
    Err(values::does_not_open(relation))
}

/// An error when a value that came in beside the column is one that was sealed already.
pub fn require_plaintext(call: &TriggerCall<'_>, target: Target<'_>, value: &[u8]) -> Result<()> {
    match peek_key_id(value).or_else(|| key_id_in_text(value)) {
        Some(key_id) => require_nobodys(call, target, key_id),
        None => Ok(()),
    }
}

/// The policy of a rule.
pub fn policy<'t>(rule: Option<Rule<'t>>) -> Option<&'t Policy> {
    rule.map(|rule| rule.policy)
}

fn is_moved(call: &TriggerCall<'_>, row: &Row<'_>, rule: Option<Rule<'_>>) -> Result<bool> {
    rule.map_or(Ok(false), |rule| bound::is_moved(call, row, rule))
}

/// The context of a value in the row as it is about to be stored.
pub fn context(call: &TriggerCall<'_>, row: &Row<'_>, rule: Option<Rule<'_>>) -> Result<Context> {
    rule.map_or_else(|| Ok(Context::none()), |rule| bound::now(call, row, rule.now))
}

/// Whether UPDATE leaves the column as it is stored, under one of the table's own keys. Then
/// nothing is opened or fetched from TOAST: an UPDATE of other columns needs no key, no KMS and
/// no right to seal. Plaintext from before the trigger does not pass.
fn is_kept_from_before(
    call: &TriggerCall<'_>,
    table: &Table,
    column: i16,
    new: pg_sys::Datum,
) -> Result<bool> {
    if !call.old_value(column).is_some_and(|old| is_same_stored_value(old, new)) {
        return Ok(false);
    }
    // SAFETY: a non-null value of the row, in the layout of bytea, which outlives this call.
    let header = unsafe { first_bytes(new, HEADER_LEN) };
    match peek_key_id(&header) {
        Some(key_id) => Ok(table.whose(key_id)? == Whose::Ours),
        None => Ok(false),
    }
}

/// The four-way decision, of a value whose first bytes name `key_id`; false: it is plaintext all the same.
///
/// (a) it names a key of this table's keyrings: it must open, and is kept, else it is refused ([`find`]);
/// (b) it names a key of another keyring: refused;
/// (c) it has the shape of a sealed value, under a key unknown here: refused, since nobody could
///     tell it from a value whose key was lost;
/// (d) anything else is plaintext, and is sealed.
fn is_sealed_here(table: &Table, target: Target<'_>, key_id: KeyId, value: &[u8]) -> Result<bool> {
    match table.whose(key_id)? {
        Whose::Ours => {
            settings::check_unplanted()?;
            table.require_seal_right()?;
            Ok(true)
        }
        Whose::Others => Err(Error::OtherTable(table.name())),
        Whose::Nobodys if is_sealed(value) => Err(Error::LooksSealed {
            key: key_id,
            table: table.name(),
            column: encoding::to_string(target.name.to_bytes()),
        }),
        Whose::Nobodys => Ok(false),
    }
}

/// How a sealed value was found to open.
enum Found {
    /// As one of the row as it is about to be stored.
    Here(VarlenaBuf),
    /// As one from before UPDATE has changed what it is bound to.
    Before(VarlenaBuf),
}

/// Under which context `value` opens: that of its policy, the former one while its column is being bound, those of
/// the row that UPDATE replaces if it is `moved`. It is an error when none opens it.
fn find(
    call: &TriggerCall<'_>,
    row: &Row<'_>,
    rule: Option<Rule<'_>>,
    context: &Context,
    moved: bool,
    value: &[u8],
) -> Result<Found> {
    let relation = call.relation_oid();
    if let Some(opened) = values::opened(relation, context.bytes()?, value)? {
        return Ok(Found::Here(opened));
    }
    let Some(rule) = rule else { return Err(values::does_not_open(relation)) };
    let mut others = [None, None, None];
    if let Some(former) = rule.former {
        others[0] = bound::now_if_any(call, row, former)?;
    }
    if moved {
        others[1] = bound::before(call, rule.now)?;
        if let Some(former) = rule.former {
            others[2] = bound::before(call, former)?;
        }
    }
    for context in others.iter().flatten() {
        match values::opened(relation, context.bytes()?, value)? {
            Some(opened) if moved => return Ok(Found::Before(opened)),
            Some(opened) => return Ok(Found::Here(opened)),
            None => {}
        }
    }
    if rule.now.binding.columns.is_empty() {
        return Err(values::does_not_open(relation));
    }
    Err(PolicyError::OtherRow { table: display_name(relation) }.into())
}

/// An error when `key_id`, which was found in a plaintext, is that of a data key: the plaintext is a sealed value
/// written as text, by a program that has read it in one form and writes it in another. Sealed once more it would
/// open to that text.
#[cold]
fn require_nobodys(call: &TriggerCall<'_>, target: Target<'_>, key_id: KeyId) -> Result<()> {
    let relation = call.relation_oid();
    match table::whose(relation, key_id)? {
        Whose::Nobodys => Ok(()),
        Whose::Ours | Whose::Others => {
            let column = encoding::to_string(target.name.to_bytes());
            let error = Error::SealedAsText { table: display_name(relation), column };
            Err(error.at(place(call, target, Some(key_id))))
        }
    }
}

/// Where the value stands that a row is to have.
#[cold]
pub fn place(call: &TriggerCall<'_>, target: Target<'_>, key: Option<KeyId>) -> Place {
    Place {
        table: display_name(call.relation_oid()),
        column: encoding::to_string(target.name.to_bytes()),
        row: call.old_row(),
        key,
    }
}
