//! How the states of keys that are here go on with those of the same keys elsewhere: one way only, from
//! active over decrypt-only to retired, so that an older export takes nothing back. Nothing is
//! destroyed, and a keyring that seals goes on sealing.

use envelope::header::KeyId;

use crate::catalog::rows::{DataKeyHistory, DataKeyRow, State};

/// Why a key's state changed, where what is imported says nothing of it.
const REASON: &str = "envelope.import_keyring";

/// What becomes of a keyring's keys of one purpose.
#[derive(Default)]
pub struct Merged {
    /// Keys that are not here, as they come in.
    pub new: Vec<DataKeyHistory>,
    /// Changes of those that are here; the one that becomes active comes last.
    pub moves: Vec<Move>,
    /// Keys that go on here although they were destroyed there.
    pub destroyed_there: Vec<KeyId>,
    /// The newer key that seals there, when it was put out of use here.
    pub not_activated: Option<KeyId>,
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

/// Merges `there` into `here`, keys of one keyring and one purpose. Each of `there` that is here is the
/// same key; `now` is in PostgreSQL's microseconds.
pub fn merge(here: &[DataKeyRow], there: &[&DataKeyHistory], now: i64) -> Merged {
    let known = |key_id: KeyId| here.iter().find(|row| row.key_id == key_id);
    let elsewhere = |key_id: KeyId| there.iter().find(|key| key.row.key_id == key_id);
    let active = here.iter().find(|row| row.state == State::Active);
    let theirs = there.iter().find(|key| key.row.state == State::Active);
    let is_newer = |key: &&&DataKeyHistory| active.is_none_or(|row| key.row.version > row.version);

    let mut merged = Merged { active: active.map(|row| row.version), ..Merged::default() };
    let successor = theirs.filter(is_newer).filter(|key| match known(key.row.key_id) {
        None => true,
        // It was imported and did not take over. Where nothing seals, that is for who manages the keys.
        Some(row) => row.state == State::DecryptOnly && active.is_some(),
    });
    if let Some(key) = successor {
        merged.active = Some(key.row.version);
    } else if let Some(key) = theirs.filter(is_newer)
        && active.is_some()
    {
        merged.not_activated = Some(key.row.key_id);
    }
    let successor = successor.map(|key| key.row.key_id);

    for key in there.iter().filter(|key| known(key.row.key_id).is_none()) {
        let mut key = DataKeyHistory::clone(key);
        if key.row.state == State::Active && successor != Some(key.row.key_id) {
            key.row.state = State::DecryptOnly;
            (key.state_changed_at, key.reason) = (now, Some(REASON.into()));
        }
        merged.new.push(key);
    }
    for row in here {
        let key = elsewhere(row.key_id);
        let state_there = key.map(|key| key.row.state);
        if state_there == Some(State::Destroyed) && row.state != State::Destroyed {
            merged.destroyed_there.push(row.key_id);
        }
        let Some(to) = next(row, state_there, successor) else { continue };
        let (changed_at, reason) = match key {
            Some(key) if key.row.state == to => (key.state_changed_at, key.reason.clone()),
            _ => (now, Some(REASON.into())),
        };
        merged.moves.push(Move { key_id: row.key_id, from: row.state, to, changed_at, reason });
    }
    merged.moves.sort_by_key(|change| change.to == State::Active);
    merged
}

/// The state that a key goes to, if it does.
fn next(row: &DataKeyRow, there: Option<State>, successor: Option<KeyId>) -> Option<State> {
    match row.state {
        State::Active if successor.is_none() => None,
        State::Active if there == Some(State::Retired) => Some(State::Retired),
        State::Active => Some(State::DecryptOnly),
        State::DecryptOnly if successor == Some(row.key_id) => Some(State::Active),
        State::DecryptOnly if there == Some(State::Retired) => Some(State::Retired),
        State::DecryptOnly | State::Retired | State::Destroyed => None,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::catalog::rows::Purpose;

    const NOW: i64 = 99;

    fn key(version: u8, state: State) -> DataKeyHistory {
        let row = DataKeyRow {
            key_id: KeyId([version; 16]),
            keyring_id: Uuid::nil(),
            purpose: Purpose::Seal,
            version: version.into(),
            state,
        };
        DataKeyHistory { row, created_at: 1, state_changed_at: 2, reason: Some("there".into()) }
    }

    /// Versions from 1 on, in these states: what becomes of those that are here, and of new ones.
    fn after(here: &[State], there: &[State]) -> (Vec<State>, Option<i32>) {
        let keys = |states: &[State]| -> Vec<_> {
            (1..).zip(states).map(|(version, state)| key(version, *state)).collect()
        };
        let here: Vec<_> = keys(here).into_iter().map(|key| key.row).collect();
        let there = keys(there);
        let merged = merge(&here, &there.iter().collect::<Vec<_>>(), NOW);
        let mut states: Vec<_> = here.iter().map(|row| row.state).collect();
        for change in &merged.moves {
            let at = usize::from(change.key_id.0[0]) - 1;
            assert_eq!(states[at], change.from);
            states[at] = change.to;
            // At no moment are there two that seal.
            assert!(states.iter().filter(|state| **state == State::Active).count() < 2);
        }
        states.extend(merged.new.iter().map(|key| key.row.state));
        (states, merged.active)
    }

    #[test]
    fn every_pair_of_states_goes_one_way() {
        use State::{Active, DecryptOnly, Destroyed, Retired};
        // Here, there, with a newer version that seals there: what becomes of the first.
        for (here, there, becomes) in [
            (Active, DecryptOnly, DecryptOnly),
            (Active, Retired, Retired),
            (Active, Destroyed, DecryptOnly),
            (DecryptOnly, DecryptOnly, DecryptOnly),
            (DecryptOnly, Retired, Retired),
            (DecryptOnly, Destroyed, DecryptOnly),
            (Retired, DecryptOnly, Retired),
            (Retired, Retired, Retired),
            (Retired, Destroyed, Retired),
            (Destroyed, DecryptOnly, Destroyed),
            (Destroyed, Retired, Destroyed),
            (Destroyed, Destroyed, Destroyed),
        ] {
            let expected = (vec![becomes, Active], Some(2));
            assert_eq!(after(&[here], &[there, Active]), expected, "{here:?} {there:?}");
        }
    }

    #[test]
    fn what_seals_goes_on_until_a_newer_one_does() {
        use State::{Active, DecryptOnly, Destroyed, Retired};
        for there in [Active, DecryptOnly, Retired, Destroyed] {
            assert_eq!(after(&[Active], &[there]), (vec![Active], Some(1)), "{there:?}");
        }
        assert_eq!(after(&[DecryptOnly, Active], &[Active]), (vec![DecryptOnly, Active], Some(2)));
        // A newer one that did not take over, and one that must not.
        let rotated = [DecryptOnly, Active];
        assert_eq!(after(&[Active, DecryptOnly], &rotated), (vec![DecryptOnly, Active], Some(2)));
        for out in [Retired, Destroyed] {
            assert_eq!(after(&[Active, out], &rotated), (vec![Active, out], Some(1)), "{out:?}");
        }
        // Where nothing seals only a key that is new does.
        assert_eq!(after(&[DecryptOnly], &[Active]), (vec![DecryptOnly], None));
        assert_eq!(after(&[Destroyed], &rotated), (vec![Destroyed, Active], Some(2)));
        assert_eq!(after(&[], &rotated), (vec![DecryptOnly, Active], Some(2)));
    }

    #[test]
    fn when_and_why_travel_with_the_state() {
        use State::{Active, DecryptOnly, Destroyed, Retired};
        let change = |here: State, there: State| {
            let (old, new) = (key(1, there), key(2, Active));
            let merged = merge(&[key(1, here).row], &[&old, &new], NOW);
            merged.moves.first().map(|change| (change.changed_at, change.reason.clone()))
        };
        let elsewhere = Some((2, Some("there".into())));
        assert_eq!(change(Active, DecryptOnly), elsewhere);
        assert_eq!(change(DecryptOnly, Retired), elsewhere);
        // Nothing there says when and why.
        assert_eq!(change(Active, Destroyed), Some((NOW, Some(REASON.into()))));
    }
}
