//! A sealed value brought to the active key: what re-encryption does to each.

use std::ffi::CStr;

use envelope::header::{OVERHEAD, Sealed};
use pgrx::pg_sys;

use super::{does_not_open, just_sealed, not_parsed, open, with_sealing_key};
use crate::error::{Error, Result, RowResult};
use crate::keyring::table::{self, Table};
use crate::memory::{Limits, Unwrapped};
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};
use crate::{kek, life, settings};

/// What a value is bound to, and what it may have been bound to before.
#[derive(Clone, Copy)]
pub struct Contexts<'a> {
    pub now: &'a [u8],
    pub former: Option<&'a [u8]>,
}

impl Contexts<'_> {
    /// Opens `value` under either.
    pub fn open(self, relation: pg_sys::Oid, value: &[u8]) -> Result<VarlenaBuf> {
        match (open(relation, self.now, value), self.former) {
            (Err(Error::DoesNotOpen(table)), Some(former)) => match open(relation, former, value) {
                Err(Error::DoesNotOpen(_)) => Err(Error::DoesNotOpen(table)),
                outcome => outcome,
            },
            (outcome, _) => outcome,
        }
    }
}

/// [`reseal_under`] one context.
pub fn reseal(relation: pg_sys::Oid, context: &[u8], value: &[u8]) -> Result<Option<VarlenaBuf>> {
    reseal_under(relation, Contexts { now: context, former: None }, value)
}

/// `value`, sealed under any key that `relation` may open with, sealed anew under its active key;
/// `None` when it is under that key already, or under the one that is to follow it. What comes out was opened again and compared: the old
/// value is about to be overwritten. It is bound to what it is to be bound to now.
pub fn reseal_under(
    relation: pg_sys::Oid,
    contexts: Contexts<'_>,
    value: &[u8],
) -> Result<Option<VarlenaBuf>> {
    settings::check_unplanted()?;
    let sealed = Sealed::parse(value).map_err(|_| not_parsed(relation, value))?;
    let table = table::get(relation)?;
    table.require_seal_right()?;
    if kek::sealing_key(&table)? == Some(&sealed.key_id()) {
        table.require_any_open_right()?;
        return Ok(None);
    }
    if table.is_ahead(sealed.key_id())? {
        table.require_opens(sealed.key_id())?;
        return Ok(None);
    }
    let plaintext = contexts.open(relation, value)?;
    let bytes = plaintext.as_slice().len();
    // Not counted: where a table has more values than a key's turn, each re-encryption would end the
    // turn of the key that it brings them to, and begin anew for ever.
    let resealed = with_sealing_key(
        &table,
        bytes,
        |_, _| {},
        |key, limits| seal_and_compare(relation, key, limits, contexts.now, plaintext.as_slice()),
    );
    plaintext.wipe_and_free();
    resealed.map(Some)
}

/// As [`seal`](super::seal), of a value in `column` that is about to be overwritten: what comes out was opened again and
/// compared, and [noted](just_sealed). `is_typed`: the plaintext is a form of the column's type.
pub fn seal_compared(
    table: &Table,
    column: &CStr,
    context: &[u8],
    plaintext: &[u8],
    is_typed: bool,
) -> Result<VarlenaBuf> {
    if plaintext.len() > MAX_LEN - OVERHEAD {
        return Err(Error::TooLong(plaintext.len()));
    }
    settings::check_unplanted()?;
    let relation = table.relation();
    let frame = with_sealing_key(table, plaintext.len(), life::after_seal, |key, limits| {
        seal_and_compare(relation, key, limits, context, plaintext)
    })?;
    if is_typed {
        just_sealed::note(table, column, context, frame.as_slice());
    }
    Ok(frame)
}

fn seal_and_compare(
    relation: pg_sys::Oid,
    key: &Unwrapped,
    limits: &Limits,
    context: &[u8],
    plaintext: &[u8],
) -> RowResult<VarlenaBuf> {
    let mut frame = VarlenaBuf::of_len(plaintext.len() + OVERHEAD);
    key.seal(limits, context, plaintext, frame.as_mut_slice())?;
    let sealed = Sealed::parse(frame.as_slice()).map_err(|_| does_not_open(relation))?;
    let mut again = VarlenaBuf::of_len(plaintext.len());
    let opens = key.open(&sealed, context, again.as_mut_slice()).map(|opened| opened.is_ok());
    let is_same = again.as_slice() == plaintext;
    again.wipe_and_free();
    if opens? && is_same { Ok(frame) } else { Err(does_not_open(relation).into()) }
}
