//! The keyring of a table: which data key seals, which open, who may use them; unwrapped keys are
//! kept in this backend's memory only.
//!
//! [`seal`], [`open`] and [`verify`] are the hot path. They look at the cache; what is missing
//! there is read from the catalog ([`table`]), unwrapped by a KEK ([`unwrap`]) or made
//! ([`create`]), and the look-up starts again.

mod arena;
mod auto_rotate;
mod cache;
mod check;
mod check_all;
mod columns;
mod create;
mod destroy;
mod drops;
mod ends;
mod failures;
mod fallover;
mod followed;
mod grant;
mod hash;
mod identity;
mod in_use;
mod kek;
mod keks;
mod limits;
mod links;
mod look;
mod minimum;
mod new_key;
mod nonce;
mod orphans;
mod prefetch;
mod reencrypt;
mod reseal;
mod retire;
mod rewrap;
mod rights;
mod rotate;
mod stale;
mod table;
mod transfer;
mod unwrap;
mod unwrapped;
mod warm;
mod wear;

use envelope::header::{KeyId, OVERHEAD, Sealed, peek_key_id};
use pgrx::pg_sys;

use crate::audit;
use crate::error::{Error, Result, RowResult};
use crate::pg::relation;
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};
use crate::settings;

pub use arena::is_memory_locked;
pub use auto_rotate::{Rotated, rotate_due};
pub use check::check_kek;
pub use check_all::{Outcome, check_all};
pub use columns::{keep_stored, register_column, unregister_column};
pub use create::create_key;
pub use destroy::{destroy_key, shred};
pub use drops::watch as watch_drops;
pub use fallover::count as fallovers;
pub use followed::unfollow;
pub use grant::{Who, grant, has_privilege, revoke};
pub use identity::changed as identity_changed;
pub use keks::{add_kek, drop_kek};
pub use limits::Limits;
pub use links::{adopt, share, unshare};
pub use minimum::set_minimum_version;
pub use reencrypt::{Window, next_window, partitions_left, tell_passed, window_done};
pub use reseal::reseal;
pub use retire::{retire_key, unretire_key};
pub use rewrap::{Moved, rewrap};
pub use rotate::rotate_key;
use stale::mark_stale;
pub use stale::{begin_statement, settings_changed};
use table::Table;
pub use table::{Whose, whose};
pub use transfer::{export, import};
use unwrapped::Unwrapped;
pub use warm::{set_limits, warm};

/// How often a look-up starts again: made, read again, unwrapped, and once more since the catalog
/// may change meanwhile.
const ATTEMPTS: usize = 5;

/// Unwrapped keys in this backend.
pub fn cached_keys() -> usize {
    unwrapped::count()
}

/// Wipes every unwrapped key of this backend, and forgets what the KMS refused; how many keys
/// there were.
pub fn flush() -> usize {
    failures::forget_all();
    cache::flush()
}

/// Seals `plaintext` under the active key of `relation`; makes that key if there is none and the
/// current role may.
#[inline(always)]
pub fn seal(relation: pg_sys::Oid, context: &[u8], plaintext: &[u8]) -> Result<VarlenaBuf> {
    if plaintext.len() > MAX_LEN - OVERHEAD {
        return Err(Error::TooLong(plaintext.len()));
    }
    settings::check_unplanted()?;
    with_sealing_key(relation, plaintext.len(), auto_rotate::after_seal, |key, limits| {
        let mut frame = VarlenaBuf::of_len(plaintext.len() + OVERHEAD);
        key.seal(limits, context, plaintext, frame.as_mut_slice())?;
        Ok(frame)
    })
}

/// Calls `use_key` with the active key of `relation`, for a value of `bytes` bytes; makes that key
/// if there is none and the current role may. `after` is told once the value is sealed.
#[inline(always)]
fn with_sealing_key<T>(
    relation: pg_sys::Oid,
    bytes: usize,
    after: fn(&Table, usize),
    use_key: impl Fn(&Unwrapped, &Limits) -> RowResult<T>,
) -> Result<T> {
    for _ in 0..ATTEMPTS {
        let table = table::get(relation)?;
        table.require_seal_right()?;
        let Some(key_id) = table.sealing_key()? else {
            create::on_first_use(&table)?;
            continue;
        };
        match cache::with_key(key_id, table.sealing_place(), bytes, &use_key)? {
            Some(done) => {
                after(&table, bytes);
                return Ok(done);
            }
            None => unwrap::into_cache(*key_id, &table)?,
        }
    }
    let table = table::get(relation)?;
    Err(table
        .sealing_key()?
        .map_or_else(|| table.no_key_made("in time"), |key| Error::NotKept(*key)))
}

/// Opens `value`, sealed under any key that `relation` may open with.
#[inline(always)]
pub fn open(relation: pg_sys::Oid, context: &[u8], value: &[u8]) -> Result<VarlenaBuf> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_any_open_right()?;
    let sealed = Sealed::parse(value).map_err(|_| not_parsed(relation, value))?;
    with_opening_key(table, Table::require_opens, &sealed, |key| {
        let mut opened = VarlenaBuf::of_len(sealed.ciphertext.len());
        match key.open(&sealed, context, opened.as_mut_slice())? {
            Ok(()) => {
                audit::opened(relation, sealed.key_id());
                Ok(opened)
            }
            Err(_) => Err(does_not_open(relation).into()),
        }
    })
}

/// Whether `value` opens under a key of `relation`, without giving it out. For the trigger, whose
/// user needs the right to seal.
pub fn verify(relation: pg_sys::Oid, context: &[u8], value: &[u8]) -> Result<()> {
    let sealed = Sealed::parse(value).map_err(|_| does_not_open(relation))?;
    with_opening_key(table::get(relation)?, Table::require_verifies, &sealed, |key| {
        let mut opened = VarlenaBuf::of_len(sealed.ciphertext.len());
        let verified = key.open(&sealed, context, opened.as_mut_slice());
        opened.wipe_and_free();
        verified?.map_err(|_| does_not_open(relation).into())
    })
}

/// 42501 unless the current role may seal values of `relation`.
pub fn require_seal_right(relation: pg_sys::Oid) -> Result<()> {
    settings::check_unplanted()?;
    table::get(relation)?.require_seal_right()
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
            None => unwrap::into_cache(key_id, &table)?,
        }
        table = table::get(table.relation())?;
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
