//! One value: sealed, opened, verified, sealed anew, and what the trigger does with each of a row.
//!
//! [`seal`], [`open`] and [`verify`] are the hot path. They look at the cache; what is missing
//! there is read from the catalog ([`table`]), unwrapped by a KEK ([`kek::into_cache`]) or made
//! ([`life::create_on_first_use`]), and the look-up starts again.

pub mod boundaries;
pub mod context;
pub mod index;
mod just_sealed;
mod masked;
mod reseal;
mod text;
mod trigger;
mod typed;

use std::cell::RefCell;

use envelope::context::row_context;
use envelope::header::{KeyId, OVERHEAD, Sealed, peek_key_id};
use pgrx::pg_sys;
use zeroize::Zeroize;

use crate::error::{Error, Place, Result, RowResult};
use crate::keyring::table::{self, Policy, Table};
use crate::memory::cache;
use crate::memory::{Limits, Unwrapped};
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};
use crate::pg::{encoding, relation};
use crate::{audit, kek, life, settings};

pub use context::LONGEST_CONTEXT;
pub use masked::masked;
pub use reseal::{Contexts, reseal, reseal_under, seal_compared};
pub use text::{from_text, to_text};
pub use trigger::{Plain, Sources, arriving, of_type, seal_row};
pub use typed::{FormBuf, ValueType, read_as};

/// How often a look-up starts again: made, read again, unwrapped, and once more since the catalog
/// may change meanwhile.
const ATTEMPTS: usize = 5;

/// Plaintexts up to here are opened on the stack: those of all types but text, JSON, bytea and arrays.
const SHORT: usize = 64;

/// Seals `plaintext` under the active key of `relation`; makes that key if there is none and the
/// current role may.
#[inline(always)]
pub fn seal(relation: pg_sys::Oid, context: &[u8], plaintext: &[u8]) -> Result<VarlenaBuf> {
    seal_for(&table::get(relation)?, context, plaintext)
}

/// As [`seal`], of a table that was got for this row.
#[inline(always)]
fn seal_for(table: &Table, context: &[u8], plaintext: &[u8]) -> Result<VarlenaBuf> {
    if plaintext.len() > MAX_LEN - OVERHEAD {
        return Err(Error::TooLong(plaintext.len()));
    }
    settings::check_unplanted()?;
    with_sealing_key(table, plaintext.len(), life::after_seal, |key, limits| {
        let mut frame = VarlenaBuf::of_len(plaintext.len() + OVERHEAD);
        key.seal(limits, context, plaintext, frame.as_mut_slice())?;
        Ok(frame)
    })
}

/// Calls `use_key` with the active key of `table`, for a value of `bytes` bytes; makes that key
/// if there is none and the current role may. `after` is told once the value is sealed.
#[inline(always)]
fn with_sealing_key<T>(
    table: &Table,
    bytes: usize,
    after: fn(&Table, usize),
    use_key: impl Fn(&Unwrapped, &Limits) -> RowResult<T>,
) -> Result<T> {
    let mut again = None;
    for _ in 0..ATTEMPTS {
        let table = again.as_ref().unwrap_or(table);
        table.require_seal_right()?;
        match kek::sealing_key(table)? {
            Some(key_id) => {
                match cache::with_key(key_id, table.sealing_place(), bytes, &use_key)? {
                    Some(done) => {
                        after(table, bytes);
                        return Ok(done);
                    }
                    None => kek::into_cache(*key_id, table)?,
                }
            }
            None => life::create_on_first_use(table)?,
        }
        again = Some(table::get(table.relation())?);
    }
    let table = again.as_ref().unwrap_or(table);
    Err(kek::sealing_key(table)?
        .map_or_else(|| table.no_key_made("in time"), |key| Error::NotKept(*key)))
}

/// Opens `value`, sealed under any key that `relation` may open with.
#[inline(always)]
pub fn open(relation: pg_sys::Oid, context: &[u8], value: &[u8]) -> Result<VarlenaBuf> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_any_open_right()?;
    let sealed = Sealed::parse(value).map_err(|_| not_parsed(relation, value))?;
    open_parsed(table, context, &sealed)
}

/// As [`open`]; `None` when the current role lacks the right. Whatever shows without a key is an error for every
/// role: a value that is not sealed, that was cut, of another table, of an unknown key.
#[inline(always)]
pub fn open_if_allowed(
    relation: pg_sys::Oid,
    context: &[u8],
    value: &[u8],
) -> Result<Option<VarlenaBuf>> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    let sealed = Sealed::parse(value).map_err(|_| not_parsed(relation, value))?;
    // Asked before, not caught after: what goes wrong with a value is never taken for a missing right.
    if !table.may_open(sealed.key_id())? {
        return Ok(None);
    }
    open_parsed(table, context, &sealed).map(Some)
}

/// As [`open`], for `read` to make something of what was opened, which is gone then. Of short values nothing is
/// allocated.
#[inline(always)]
pub fn open_for<T>(
    relation: pg_sys::Oid,
    context: &[u8],
    value: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T>,
) -> Result<T> {
    let Some(len) = value.len().checked_sub(OVERHEAD).filter(|len| *len <= SHORT) else {
        let opened = open(relation, context, value)?;
        let made = read(opened.as_slice());
        opened.wipe_and_free();
        return made;
    };
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_any_open_right()?;
    let sealed = Sealed::parse(value).map_err(|_| not_parsed(relation, value))?;
    let room = RefCell::new(Opened([0; SHORT]));
    with_opening_key(table, Table::require_opens, &sealed, |key| {
        open_by(key, relation, context, &sealed, &mut room.borrow_mut().0[..len])
    })?;
    // Not while the key is held: what is read may ask for others.
    read(&room.borrow().0[..len])
}

/// An opened short value: wiped where it stands, also where what reads it panics, as it does on an error of PostgreSQL's.
struct Opened([u8; SHORT]);

impl Drop for Opened {
    /// As a slice: an array is zeroed byte by byte.
    #[inline(always)]
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

#[inline(always)]
fn open_parsed(table: Table, context: &[u8], sealed: &Sealed<'_>) -> Result<VarlenaBuf> {
    let relation = table.relation();
    with_opening_key(table, Table::require_opens, sealed, |key| {
        let mut opened = VarlenaBuf::of_len(sealed.ciphertext.len());
        open_by(key, relation, context, sealed, opened.as_mut_slice())?;
        Ok(opened)
    })
}

#[inline(always)]
fn open_by(
    key: &Unwrapped,
    relation: pg_sys::Oid,
    context: &[u8],
    sealed: &Sealed<'_>,
    opened: &mut [u8],
) -> RowResult<()> {
    match key.open(sealed, context, opened)? {
        Ok(()) => {
            audit::opened(relation, sealed.key_id());
            Ok(())
        }
        Err(_) => Err(does_not_open(relation).into()),
    }
}

/// `value`, opened for the trigger, which gives nothing of it out and whose user needs the right to seal; `None` when
/// it does not open with that context.
fn opened(relation: pg_sys::Oid, context: &[u8], value: &[u8]) -> Result<Option<VarlenaBuf>> {
    let sealed = Sealed::parse(value).map_err(|_| does_not_open(relation))?;
    with_opening_key(table::get(relation)?, Table::require_verifies, &sealed, |key| {
        let mut opened = VarlenaBuf::of_len(sealed.ciphertext.len());
        let opens = key.open(&sealed, context, opened.as_mut_slice()).map(|opens| opens.is_ok());
        if matches!(opens, Ok(true)) {
            return Ok(Some(opened));
        }
        opened.wipe_and_free();
        opens?;
        Ok(None)
    })
}

/// The error, of a value of `relation` that is opened with that context: where it says nothing of that itself. The column
/// is known where a policy binds its values to their rows.
#[cold]
pub fn of_value(relation: pg_sys::Oid, context: &[u8], error: Error) -> Error {
    if !matches!(error, Error::NotOfType(_) | Error::NotText | Error::NotSealed) {
        return error;
    }
    let binds = |policy: &&Policy| {
        let none: [&str; 0] = [];
        !policy.bound_columns.is_empty()
            && context.starts_with(row_context(&policy.tag, none).as_bytes())
    };
    let table = table::get(relation).ok();
    let policy = table.as_ref().and_then(|table| table.policies().iter().find(binds));
    error.at(Place {
        table: relation::display_name(relation),
        column: policy.map(|policy| encoding::text(&policy.column_name)).unwrap_or_default(),
        row: None,
        key: None,
    })
}

/// 42501 unless the current role may open values of `relation`.
pub fn require_open_right(relation: pg_sys::Oid) -> Result<()> {
    settings::check_unplanted()?;
    table::get(relation)?.require_any_open_right()
}

/// Calls `use_key` with the key of `sealed`, once `require` finds nothing against it.
#[inline(always)]
fn with_opening_key<T>(
    mut table: Table,
    require: impl Fn(&Table, KeyId) -> Result<()>,
    sealed: &Sealed<'_>,
    use_key: impl Fn(&Unwrapped) -> RowResult<T>,
) -> Result<T> {
    let key_id = sealed.key_id();
    for _ in 0..ATTEMPTS {
        require(&table, key_id)?;
        let (place, bytes) = (table.opening_place(), sealed.ciphertext.len());
        match cache::with_key(&key_id, place, bytes, |key, _| use_key(key))? {
            Some(done) => return Ok(done),
            None => kek::into_cache(key_id, &table)?,
        }
        table = table::get_as(table.relation(), table.role())?;
    }
    Err(Error::NotKept(key_id))
}

/// Of bytes that are no sealed value: one that was cut still names its key.
#[cold]
fn not_parsed(relation: pg_sys::Oid, value: &[u8]) -> Error {
    match peek_key_id(value) {
        Some(_) => does_not_open(relation),
        None => Error::NotSealed,
    }
}

fn does_not_open(relation: pg_sys::Oid) -> Error {
    Error::DoesNotOpen(relation::display_name(relation))
}
