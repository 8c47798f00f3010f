//! How far a key has come in its turn of sealing: its age, and what was sealed under it.
//!
//! No counter stands in the way of sealing. Of about [`SAMPLES`] equal parts of the limit each leaves
//! one row in the catalog, written by the session that comes to it: a session starts at a random
//! point of a part, so that the rows' sum is right on average however short sessions are. With a
//! limit below that number every value is counted. What is sealed where nothing can be written, in
//! read-only transactions and on standbys, is not.

use std::cell::Cell;
use std::fmt;

use envelope::header::KeyId;
use uuid::Uuid;

use crate::catalog::write::key_use;
use crate::catalog::{self, rows};
use crate::error::{Error, Result};
use crate::memory::Turn;
use crate::pg::{clock, lock, subxact, xact};

/// Rows of a key's turn: the sum is right to a few hundredths of the limit.
const SAMPLES: u64 = 256;

/// Why a key's turn is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Due {
    /// Older than so many seconds.
    Age(u64),
    /// So many values were sealed.
    Seals(u64),
    /// So many bytes were sealed.
    Bytes(u64),
}

/// A key in its turn.
pub struct Wear {
    pub keyring_id: Uuid,
    key_id: KeyId,
    turn: Turn,
    /// When it ends, on [`clock::monotonic_ms`]'s scale.
    ends_at: u64,
    /// Parts of a sample that this session has done; at 1 one is due.
    done: Cell<f64>,
}

impl Wear {
    /// The key `key_id` in its turn; `None` when nothing ends that.
    pub fn of(keyring_id: Uuid, key_id: KeyId, turn: Turn) -> Result<Option<Wear>> {
        if turn == Turn::default() {
            return Ok(None);
        }
        let left_ms = ms_left(key_id, turn)?.unwrap_or(u64::MAX);
        let random = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
        Ok(Some(Wear {
            keyring_id,
            key_id,
            turn,
            ends_at: clock::monotonic_ms().saturating_add(left_ms),
            done: Cell::new(f64::from(random) / (f64::from(u32::MAX) + 1.0)),
        }))
    }

    /// Notes that a value of `bytes` bytes was sealed; why the turn is over, if it is.
    pub fn note(&self, bytes: usize) -> Result<Option<Due>> {
        if clock::monotonic_ms() >= self.ends_at {
            return Ok(self.turn.seconds.map(Due::Age));
        }
        let Some(values) = self.values_a_sample(bytes as u64) else { return Ok(None) };
        let done = self.done.get() + 1.0 / values as f64;
        if done < 1.0 {
            self.done.set(done);
            return Ok(None);
        }
        if xact::forbids_writing().is_some() {
            self.done.set(done - 1.0);
            return Ok(None);
        }
        // While others keep writers out, the samples that are due wait, and not the seals.
        self.done.set(done);
        if !lock::try_write_relation(catalog::oid_of(c"key_use")?) {
            return Ok(None);
        }
        self.done.set(done - 1.0);
        let seals = i64::try_from(values).unwrap_or(i64::MAX);
        let bytes = seals.saturating_mul(i64::try_from(bytes).unwrap_or(i64::MAX));
        subxact::attempt(|| key_use::insert(self.key_id, seals, bytes))?;
        sealed_enough(self.key_id, self.turn)
    }

    /// For how many values of `bytes` bytes one sample stands; `None` when nothing is counted.
    fn values_a_sample(&self, bytes: u64) -> Option<u64> {
        let by_seals = self.turn.seals.map(|limit| limit / SAMPLES);
        let by_bytes = self.turn.bytes.map(|limit| limit / SAMPLES / bytes.max(1));
        by_seals.into_iter().chain(by_bytes).min().map(|values| values.max(1))
    }
}

/// Why the turn of `key_id` is over, if it is, by the catalog as it is now.
pub fn due(key_id: KeyId, turn: Turn) -> Result<Option<Due>> {
    match (turn.seconds, ms_left(key_id, turn)?) {
        (Some(seconds), Some(0)) => Ok(Some(Due::Age(seconds))),
        _ => sealed_enough(key_id, turn),
    }
}

/// Days since `key_id` was made, when those are more than `seconds`.
pub fn days_beyond(key_id: KeyId, seconds: u64) -> Result<Option<u64>> {
    let turn = Turn { seconds: Some(seconds), ..Turn::default() };
    if ms_left(key_id, turn)? != Some(0) {
        return Ok(None);
    }
    let age = rows::made_at(key_id)?.map_or(0, |made| clock::wall_us().saturating_sub(made));
    Ok(Some(age.unsigned_abs() / 1_000_000 / (24 * 3600)))
}

/// Milliseconds until the turn ends by age; `None` when it does not.
fn ms_left(key_id: KeyId, turn: Turn) -> Result<Option<u64>> {
    let Some(seconds) = turn.seconds else { return Ok(None) };
    let Some(made) = rows::made_at(key_id)? else { return Ok(None) };
    let us = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    let left = made.saturating_add(us).saturating_sub(clock::wall_us());
    Ok(Some(u64::try_from(left).map_or(0, |us| us.div_ceil(1000))))
}

fn sealed_enough(key_id: KeyId, turn: Turn) -> Result<Option<Due>> {
    if turn.seals.is_none() && turn.bytes.is_none() {
        return Ok(None);
    }
    let (seals, bytes) = rows::key_use(key_id)?;
    let by_seals = turn.seals.filter(|limit| seals >= *limit).map(Due::Seals);
    let by_bytes = turn.bytes.filter(|limit| bytes >= *limit).map(Due::Bytes);
    Ok(by_seals.or(by_bytes))
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Due::Age(seconds) => write!(f, "older than {seconds} s"),
            Due::Seals(values) => write!(f, "sealed {values} values"),
            Due::Bytes(bytes) => write!(f, "sealed {bytes} bytes"),
        }
    }
}
