//! Part of a value, for roles that may not open it.

use std::ffi::CStr;

use envelope::header::Sealed;
use pgrx::pg_sys;

use crate::error::{Error, PolicyError, Result, ViewError};
use crate::keyring::table::{self, Policy, Table};
use crate::pg::varlena::VarlenaBuf;
use crate::pg::{acl, attribute, encoding, relation};
use crate::settings;
use crate::values::context::NO_CONTEXT;

/// Characters that are shown.
const SHOWN: usize = 4;
/// Of values with fewer characters none is: half of the value, or all of it, would be.
const FEWEST: usize = 8;
/// Stands for the rest, however long it is.
const HIDDEN: &[u8] = b"****";
/// Ends the form of a text that was filled up to a block. No byte of UTF-8.
const FILLER: u8 = 0xFF;

/// The last four characters of a sealed text, in UTF-8. Opened by the right of the table's owner for whoever may read
/// the sealed column, if the column's policy says so: whoever may manage the table's keys has given that right, and not
/// whoever wrote a view.
pub fn masked(
    relation: pg_sys::Oid,
    column: &CStr,
    context: &[u8],
    value: &[u8],
) -> Result<VarlenaBuf> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    let policy = mask_of(&table, column)?;
    if !is_of_column(policy, context) {
        return Err(super::does_not_open(relation));
    }
    let sealed = Sealed::parse(value).map_err(|_| super::not_parsed(relation, value))?;
    let owner = relation::owner(relation).ok_or_else(|| super::does_not_open(relation))?;
    let opened = super::open_parsed(table::get_as(relation, owner)?, context, &sealed)?;
    let shown = last_characters(opened.as_slice());
    opened.wipe_and_free();
    shown.ok_or(Error::NotText)
}

/// Whether values of the column have such a context, in whatever row: the right to see their ends is none to see those
/// of values that are bound to another column.
fn is_of_column(policy: &Policy, context: &[u8]) -> bool {
    std::iter::once(&policy.binding).chain(&policy.former).any(|binding| {
        match binding.columns.is_empty() {
            true => context == NO_CONTEXT,
            false => context.starts_with(&binding.head),
        }
    })
}

/// The policy that allows it.
fn mask_of<'a>(table: &'a Table, column: &CStr) -> Result<&'a Policy> {
    let named = || (encoding::to_string(column.to_bytes()), table.name());
    let Some(policy) = table.policy(column) else {
        let (column, table) = named();
        return Err(PolicyError::None { column, table }.into());
    };
    if policy.mask.as_deref() != Some("last4") {
        let (column, table) = named();
        return Err(ViewError::NoMask { column, table }.into());
    }
    // Of the table that has the policy: who reads a partition by way of its root has no right on the partition.
    let number = attribute::number(policy.relation, column).unwrap_or(0);
    if acl::may_read_column(acl::current_role(), policy.relation, number) {
        return Ok(policy);
    }
    Err(Error::NotReadable(relation::display_name(policy.relation)))
}

/// `None` when it is no text.
fn last_characters(form: &[u8]) -> Option<VarlenaBuf> {
    let end = form.iter().position(|byte| *byte == FILLER).unwrap_or(form.len());
    let text = std::str::from_utf8(&form[..end]).ok()?;
    let shown = match text.char_indices().rev().nth(SHOWN - 1) {
        Some((at, _)) if text.chars().nth(FEWEST - 1).is_some() => &text[at..],
        _ => "",
    };
    let mut masked = VarlenaBuf::of_len(HIDDEN.len() + shown.len());
    let (hidden, rest) = masked.as_mut_slice().split_at_mut(HIDDEN.len());
    hidden.copy_from_slice(HIDDEN);
    rest.copy_from_slice(shown.as_bytes());
    Some(masked)
}
