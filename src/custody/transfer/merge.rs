//! How the keys of a keyring that is here go on with those of the same keyring elsewhere. States go one way only,
//! from active over decrypt-only to retired, so that an older export takes nothing back. Nothing is destroyed, no key
//! is lost, and a keyring that seals goes on sealing.
//!
//! A key is known by its id. Its version is a number that a node gives: two that have rotated apart give one number
//! to two keys, and then each keeps its own, the other's under a number that is free. That number is no node's but
//! the one's that gave it: it makes room for the version that comes to bear it.

use envelope::header::KeyId;

use crate::catalog::rows::{DataKeyHistory, DataKeyRow, State};

/// Why a key's state changed, where what is imported says nothing of it.
const REASON: &str = "envelope.import_keyring";

/// What is done where both sides have made a version, each its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolve {
    /// It is an error.
    Refuse,
    /// What seals here goes on, and what was made there comes in to open, under numbers that are free.
    KeepBoth,
}

/// Both sides have made a version, each its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    pub version: i32,
    pub here: KeyId,
    pub there: KeyId,
}

/// What becomes of a keyring's keys of one purpose.
#[derive(Default)]
pub struct Merged {
    /// Keys that are not here, as they come in.
    pub new: Vec<DataKeyHistory>,
    /// The numbers to which keys that are here go, first of all.
    pub renumbered: Vec<(KeyId, i32)>,
    /// Changes of those that are here; the one that becomes active is to come last, when another has made room.
    pub moves: Vec<Move>,
    /// Keys that go on here although they were destroyed there.
    pub destroyed_there: Vec<KeyId>,
    /// The newer key that seals there, when it was put out of use here.
    pub not_activated: Option<KeyId>,
    /// The key that seals there and that has come here by [`Resolve::KeepBoth`], now or before.
    pub apart: Option<KeyId>,
    /// The version that seals from then on.
    pub active: Option<i32>,
}

/// The next state of a key that is here.
#[derive(Clone)]
pub struct Move {
    pub key_id: KeyId,
    pub from: State,
    pub to: State,
    /// PostgreSQL's microseconds.
    pub changed_at: i64,
    pub reason: Option<String>,
}

/// Merges `there` into `here`, keys of one keyring and one purpose; `now` is in PostgreSQL's microseconds.
pub fn merge(
    here: &[DataKeyRow],
    there: &[&DataKeyHistory],
    resolve: Resolve,
    now: i64,
) -> Result<Merged, Fork> {
    let known = |key_id: KeyId| here.iter().find(|row| row.key_id == key_id);
    let elsewhere = |key_id: KeyId| there.iter().find(|key| key.row.key_id == key_id);
    let fork = fork(here, there);
    if let Some(fork) = fork
        && resolve == Resolve::Refuse
    {
        return Err(fork);
    }
    let is_forked = fork.is_some();
    let active = here.iter().find(|row| row.state == State::Active);
    let theirs = there.iter().find(|key| key.row.state == State::Active);
    let is_newer = |key: &&&DataKeyHistory| active.is_none_or(|row| key.row.version > row.version);

    let mut merged = Merged { active: active.map(|row| row.version), ..Merged::default() };
    let successor = theirs.filter(is_newer).filter(|key| match known(key.row.key_id) {
        None => !is_forked,
        // It was imported and did not take over, or waits. Where nothing seals, that is for who manages the keys; and
        // its number must say the same on both sides.
        Some(row) => {
            matches!(row.state, State::DecryptOnly | State::Pending)
                && row.version == key.row.version
                && active.is_some()
        }
    });
    let comes_apart = |key: &&&DataKeyHistory| match known(key.row.key_id) {
        None => is_forked,
        Some(row) => row.version != key.row.version && row.state == State::DecryptOnly,
    };
    if let Some(key) = successor {
        merged.active = Some(key.row.version);
    } else if let Some(key) = theirs.filter(comes_apart) {
        merged.apart = Some(key.row.key_id);
    } else if let Some(key) = theirs.filter(is_newer)
        && active.is_some()
    {
        merged.not_activated = Some(key.row.key_id);
    }
    let successor = successor.map(|key| key.row.key_id);

    let versions = here.iter().copied().chain(there.iter().map(|key| key.row));
    let mut last = versions.map(|row| row.version).max().unwrap_or(0);
    let mut free = || {
        last = last.saturating_add(1);
        last
    };
    let missing = |version| {
        let bears = |key: &&&DataKeyHistory| key.row.version == version;
        !is_forked && there.iter().filter(bears).any(|key| known(key.row.key_id).is_none())
    };
    let moving = here.iter().filter(|row| missing(row.version));
    merged.renumbered = moving.map(|row| (row.key_id, free())).collect();
    for key in there.iter().filter(|key| known(key.row.key_id).is_none()) {
        let mut key = DataKeyHistory::clone(key);
        let stays = match key.row.state {
            State::Active => successor == Some(key.row.key_id),
            State::Pending => !is_forked && Some(key.row.version) > merged.active,
            State::DecryptOnly | State::Retired | State::Destroyed => true,
        };
        if !stays {
            key.row.state = State::DecryptOnly;
            (key.state_changed_at, key.reason) = (now, Some(REASON.into()));
        }
        if is_forked {
            // Never its number there: by that it is known later on.
            key.row.version = free();
        }
        merged.new.push(key);
    }
    for row in here {
        let key = elsewhere(row.key_id);
        let state_there = key.map(|key| key.row.state);
        if state_there == Some(State::Destroyed) && row.state != State::Destroyed {
            merged.destroyed_there.push(row.key_id);
        }
        let Some(to) = next(row, state_there, successor, merged.active) else { continue };
        let (changed_at, reason) = match key {
            Some(key) if key.row.state == to => (key.state_changed_at, key.reason.clone()),
            _ => (now, Some(REASON.into())),
        };
        merged.moves.push(Move { key_id: row.key_id, from: row.state, to, changed_at, reason });
    }
    Ok(merged)
}

/// The first version that is one key here and another there, unless it is a number that [`Resolve::KeepBoth`] has given
/// to a key of there.
fn fork(here: &[DataKeyRow], there: &[&DataKeyHistory]) -> Option<Fork> {
    let is_here = |key: &DataKeyRow| here.iter().any(|row| row.key_id == key.key_id);
    let missing = there.iter().map(|key| key.row).filter(|key| !is_here(key));
    // Above the one that seals no key has been active here, and no minimum version refuses one.
    let active = here.iter().find(|row| row.state == State::Active);
    let makes_room = |own: &&DataKeyRow| {
        let is_lent =
            |key: &&&DataKeyHistory| key.row.key_id == own.key_id && key.row.version != own.version;
        own.state != State::Pending
            && active.is_some_and(|active| own.version > active.version)
            && there.iter().any(|key| is_lent(&key))
    };
    let forks = missing.filter_map(|key| {
        let own = here.iter().find(|row| row.version == key.version)?;
        if makes_room(&own) {
            return None;
        }
        Some(Fork { version: key.version, here: own.key_id, there: key.key_id })
    });
    forks.min_by_key(|fork| fork.version)
}

/// The state that a key goes to, if it does; `active` is the version that seals from then on.
fn next(
    row: &DataKeyRow,
    there: Option<State>,
    successor: Option<KeyId>,
    active: Option<i32>,
) -> Option<State> {
    match row.state {
        State::Active if successor.is_none() => None,
        State::Active if there == Some(State::Retired) => Some(State::Retired),
        State::Active => Some(State::DecryptOnly),
        State::Pending | State::DecryptOnly if successor == Some(row.key_id) => Some(State::Active),
        State::Pending | State::DecryptOnly if there == Some(State::Retired) => {
            Some(State::Retired)
        }
        // It has had its turn there, or was passed by.
        State::Pending => {
            let is_over = matches!(there, Some(State::DecryptOnly | State::Destroyed));
            (is_over || active > Some(row.version)).then_some(State::DecryptOnly)
        }
        State::DecryptOnly | State::Retired | State::Destroyed => None,
    }
}

/// The minimum version that refuses, of what is `here`, nothing but what `there` refuses, too: `minimum` there,
/// unless keys bear other numbers.
pub fn minimum(here: &[DataKeyRow], there: &[&DataKeyHistory], minimum: i32) -> i32 {
    let is_taken = |row: &&DataKeyRow| {
        let key = there.iter().find(|key| key.row.key_id == row.key_id);
        row.state != State::Destroyed && key.is_some_and(|key| key.row.version >= minimum)
    };
    here.iter().filter(is_taken).map(|row| row.version).fold(minimum, i32::min)
}

#[cfg(test)]
mod tests;
