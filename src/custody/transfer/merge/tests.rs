#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::catalog::rows::Purpose;

const NOW: i64 = 99;

fn key(id: u8, version: i32, state: State) -> DataKeyHistory {
    let row = DataKeyRow {
        key_id: KeyId([id; 16]),
        keyring_id: Uuid::nil(),
        purpose: Purpose::Seal,
        version,
        state,
    };
    DataKeyHistory { row, created_at: 1, state_changed_at: 2, reason: Some("there".into()) }
}

/// A node's keys, as its exports have them.
#[derive(Clone, Default)]
struct Node(Vec<DataKeyHistory>);

impl Node {
    fn rows(&self) -> Vec<DataKeyRow> {
        self.0.iter().map(|key| key.row).collect()
    }

    /// Id, version and state of each, in the order of versions.
    fn keys(&self) -> Vec<(u8, i32, State)> {
        let mut keys: Vec<_> =
            self.0.iter().map(|it| (it.row.key_id.0[0], it.row.version, it.row.state)).collect();
        keys.sort_by_key(|(_, version, _)| *version);
        keys
    }

    fn seals(&self) -> Option<u8> {
        self.keys().into_iter().find(|it| it.2 == State::Active).map(|it| it.0)
    }

    /// Imports what `there` exports.
    fn import(&mut self, there: &Node, resolve: Resolve) -> Result<Merged, Fork> {
        let merged = merge(&self.rows(), &there.0.iter().collect::<Vec<_>>(), resolve, NOW)?;
        let (last, first): (Vec<_>, Vec<_>) =
            merged.moves.iter().cloned().partition(|change| change.to == State::Active);
        for (key_id, version) in &merged.renumbered {
            let key = self.0.iter_mut().find(|key| key.row.key_id == *key_id).unwrap();
            key.row.version = *version;
            self.check();
        }
        self.carry(&first);
        self.0.extend(merged.new.iter().cloned());
        self.carry(&last);
        self.check();
        assert_eq!(
            self.rows().iter().find(|row| row.seals()).map(|row| row.version),
            merged.active
        );
        Ok(merged)
    }

    fn carry(&mut self, moves: &[Move]) {
        for change in moves {
            let key = self.0.iter_mut().find(|key| key.row.key_id == change.key_id).unwrap();
            assert_eq!(key.row.state, change.from);
            assert_ne!(change.from, change.to);
            key.row.state = change.to;
            // At no moment are there two that seal.
            assert!(self.0.iter().filter(|key| key.row.seals()).count() < 2);
        }
    }

    /// What the catalog's indexes ask for.
    fn check(&self) {
        let count = |state| self.0.iter().filter(|key| key.row.state == state).count();
        assert!(count(State::Active) < 2 && count(State::Pending) < 2);
        for (at, key) in self.0.iter().enumerate() {
            let others = &self.0[at + 1..];
            assert!(others.iter().all(|it| it.row.version != key.row.version));
            assert!(others.iter().all(|it| it.row.key_id != key.row.key_id));
        }
    }

    fn change(&mut self, from: State, to: State) {
        if let Some(key) = self.0.iter_mut().find(|key| key.row.state == from) {
            key.row.state = to;
        }
    }

    /// The next version, a key of that id.
    fn rotate(&mut self, id: u8, pending: bool) {
        if self.0.iter().any(|key| key.row.state == State::Pending) {
            return self.activate();
        }
        let last = self.0.iter().map(|key| key.row.version).max().unwrap_or(0);
        let is_first = self.seals().is_none();
        if !pending && !is_first {
            self.change(State::Active, State::DecryptOnly);
        }
        let state = if pending && !is_first { State::Pending } else { State::Active };
        self.0.push(key(id, last + 1, state));
    }

    fn activate(&mut self) {
        if self.0.iter().any(|key| key.row.state == State::Pending) {
            self.change(State::Active, State::DecryptOnly);
            self.change(State::Pending, State::Active);
        }
    }
}

/// What happens to a key where it is made.
#[derive(Clone, Copy, Debug)]
enum Event {
    Rotate,
    MakePending,
    Activate,
    Retire,
    Unretire,
    Destroy,
}

fn event(destroys: bool) -> impl Strategy<Value = Event> {
    use Event::*;
    let kinds = [Rotate, MakePending, Activate, Retire, Unretire, Destroy];
    prop::sample::select(kinds[..if destroys { 6 } else { 5 }].to_vec())
}

/// A node's exports, the first after one key was made, and then after each of the events. Its keys have ids from
/// `first` on.
fn exports(of: &Node, events: &[Event], first: u8) -> Vec<Node> {
    let mut node = of.clone();
    let mut id = first;
    let mut exports = vec![];
    if node.0.is_empty() {
        node.rotate(id, false);
    }
    exports.push(node.clone());
    for event in events {
        id += 1;
        match event {
            Event::Rotate => node.rotate(id, false),
            Event::MakePending => node.rotate(id, true),
            Event::Activate => node.activate(),
            Event::Retire => node.change(State::DecryptOnly, State::Retired),
            Event::Unretire => node.change(State::Retired, State::DecryptOnly),
            Event::Destroy => node.change(State::Retired, State::Destroyed),
        }
        node.check();
        exports.push(node.clone());
    }
    exports
}

/// Further down is further: an import takes nothing back.
fn rank(state: State) -> usize {
    match state {
        State::Pending => 0,
        State::Active => 1,
        State::DecryptOnly => 2,
        State::Retired => 3,
        State::Destroyed => 4,
    }
}

/// What must hold of any import of `there`.
fn import_checked(node: &mut Node, there: &Node, resolve: Resolve) -> Result<(), Fork> {
    let before = node.clone();
    node.import(there, resolve)?;
    let active = before.keys().into_iter().find(|it| it.2 == State::Active).map(|it| it.1);
    // No key is lost, of here or there, and none of here gets another number that had it where it was made.
    for (id, version, was) in before.keys() {
        let now = node.keys().into_iter().find(|it| it.0 == id).unwrap();
        if now.1 != version {
            assert!(there.keys().into_iter().any(|it| it.0 == id && it.1 != version));
            assert!(active < Some(version) && version < now.1);
        }
        assert_eq!(was == State::Destroyed, now.2 == State::Destroyed);
        let takes_over = now.2 == State::Active;
        assert!(rank(now.2) >= rank(was) || (takes_over && was == State::DecryptOnly));
    }
    for (id, ..) in there.keys() {
        assert!(node.keys().iter().any(|it| it.0 == id));
    }
    assert!(before.seals().is_none() || node.seals().is_some());
    // Once more changes nothing.
    let once = node.keys();
    node.import(there, Resolve::Refuse)?;
    assert_eq!(node.keys(), once);
    node.import(there, Resolve::KeepBoth)?;
    assert_eq!(node.keys(), once);
    // Nor does what it was.
    node.import(&before, Resolve::Refuse)?;
    assert_eq!(node.keys(), once);
    Ok(())
}

proptest! {
    #[test]
    fn any_exports_in_any_order(
        events in prop::collection::vec(event(true), 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..8),
    ) {
        let exports = exports(&Node::default(), &events, 1);
        let mut node = Node::default();
        for index in order {
            import_checked(&mut node, &exports[index.index(exports.len())], Resolve::Refuse).unwrap();
        }
        // The newest of all brings what seals along.
        import_checked(&mut node, &exports[exports.len() - 1], Resolve::Refuse).unwrap();
        prop_assert_eq!(node.seals(), exports[exports.len() - 1].seals());
    }

    #[test]
    fn the_order_of_imports_does_not_count(
        events in prop::collection::vec(event(false), 0..12),
        first in any::<prop::sample::Index>(),
        one in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let exports = exports(&Node::default(), &events, 1);
        let at = |index: prop::sample::Index| &exports[index.index(exports.len())];
        let mut nodes = [at(first).clone(), at(first).clone(), Node::default(), Node::default()];
        for (node, order) in nodes.iter_mut().zip([[one, other], [other, one], [one, other], [other, one]]) {
            for index in order {
                node.import(at(index), Resolve::Refuse).unwrap();
            }
        }
        let states = nodes.map(|node| node.keys());
        prop_assert_eq!(&states[0], &states[1]);
        prop_assert_eq!(&states[2], &states[3]);
    }

    #[test]
    fn two_that_rotated_apart_can_be_brought_together(
        common in prop::collection::vec(event(true), 0..6),
        here in prop::collection::vec(event(true), 0..6),
        there in prop::collection::vec(event(true), 0..6),
        meets: bool,
    ) {
        let start = exports(&Node::default(), &common, 1).pop().unwrap();
        let mut a = exports(&start, &here, 50).pop().unwrap();
        let mut b = exports(&start, &there, 100).pop().unwrap();
        let sealed = (a.seals(), b.seals());
        match b.clone().import(&a, Resolve::Refuse) {
            Err(fork) => {
                prop_assert!(fork.here != fork.there);
                // It goes on sealing with its own, and opens what the other has sealed.
                import_checked(&mut b, &a, Resolve::KeepBoth).unwrap();
                prop_assert_eq!((a.seals(), b.seals()), sealed);
                if meets {
                    import_checked(&mut a, &b.clone(), Resolve::KeepBoth).unwrap();
                    prop_assert_eq!((a.seals(), b.seals()), sealed);
                }
            }
            Ok(_) => import_checked(&mut b, &a, Resolve::Refuse).unwrap(),
        }
        // It follows the other as soon as that has come as far, if it makes no versions of its own any more.
        b.activate();
        for id in 150..170 {
            a.activate();
            a.rotate(id, false);
            let comes_first = a.0.iter().map(|key| key.row.version).max()
                > b.0.iter().find(|key| key.row.seals()).map(|key| key.row.version);
            let resolve = if comes_first { Resolve::Refuse } else { Resolve::KeepBoth };
            import_checked(&mut b, &a, resolve).unwrap();
            prop_assert_eq!(b.seals() == a.seals(), comes_first);
        }
        prop_assert_eq!(b.seals(), a.seals());
    }
}

/// Versions from 1 on, in these states: what becomes of those that are here, and of new ones.
fn after(here: &[State], there: &[State]) -> (Vec<State>, Option<i32>) {
    let node = |states: &[State]| {
        let keys = (1..).zip(states).map(|(version, state)| key(version, version.into(), *state));
        Node(keys.collect())
    };
    let mut here = node(here);
    let active = here.import(&node(there), Resolve::Refuse).unwrap().active;
    (here.keys().into_iter().map(|it| it.2).collect(), active)
}

#[test]
fn a_pending_key_waits_until_it_has_its_turn() {
    use State::{Active, DecryptOnly, Destroyed, Pending, Retired};
    for (here, there, expected) in [
        // It comes as it is, and stays so with what is older.
        (vec![Active], vec![Active, Pending], vec![Active, Pending]),
        (vec![Active, Pending], vec![Active], vec![Active, Pending]),
        (vec![Active, Pending], vec![Active, Pending], vec![Active, Pending]),
        // It was made active on one side.
        (vec![Active, Pending], vec![DecryptOnly, Active], vec![DecryptOnly, Active]),
        (vec![DecryptOnly, Active], vec![Active, Pending], vec![DecryptOnly, Active]),
        (vec![Active], vec![DecryptOnly, Active], vec![DecryptOnly, Active]),
        // And followed, retired, destroyed.
        (
            vec![Active, Pending],
            vec![DecryptOnly, DecryptOnly, Active],
            vec![DecryptOnly, DecryptOnly, Active],
        ),
        (
            vec![Active, Pending],
            vec![Retired, Retired, Active, Pending],
            vec![Retired, Retired, Active, Pending],
        ),
        (
            vec![Active, Pending],
            vec![DecryptOnly, Destroyed, Active],
            vec![DecryptOnly, DecryptOnly, Active],
        ),
        (
            vec![DecryptOnly, DecryptOnly, Active],
            vec![Active, Pending],
            vec![DecryptOnly, DecryptOnly, Active],
        ),
        // One that comes too late only opens.
        (vec![Active], vec![Active, Pending], vec![Active, Pending]),
        (vec![], vec![Active, Pending], vec![Active, Pending]),
    ] {
        assert_eq!(after(&here, &there).0, expected, "{here:?} {there:?}");
    }
    let mut late = Node(vec![key(1, 1, DecryptOnly), key(3, 3, Active)]);
    late.import(&Node(vec![key(1, 1, Active), key(2, 2, Pending)]), Resolve::Refuse).unwrap();
    assert_eq!(late.keys()[1], (2, 2, DecryptOnly));
    // One that is not there was passed by; and of one that was destroyed there nobody waits for its turn.
    let waits = Node(vec![key(1, 1, Active), key(2, 2, Pending)]);
    for (there, expected) in [
        (vec![key(1, 1, DecryptOnly), key(3, 3, Active)], (2, 2, DecryptOnly)),
        (vec![key(1, 1, Destroyed), key(2, 2, Destroyed)], (2, 2, DecryptOnly)),
    ] {
        let mut node = waits.clone();
        node.import(&Node(there), Resolve::Refuse).unwrap();
        assert_eq!(node.keys()[1], expected);
    }
}

#[test]
fn of_a_fork_both_are_kept_and_what_seals_here_goes_on() {
    use State::{Active, DecryptOnly, Destroyed, Pending, Retired};
    let here = Node(vec![key(1, 1, DecryptOnly), key(20, 2, Active)]);
    for (there, expected) in [
        (vec![(1, 1, DecryptOnly), (2, 2, Active)], vec![(2, 3, DecryptOnly)]),
        (
            vec![(1, 1, Retired), (2, 2, DecryptOnly), (3, 3, Active), (4, 4, Pending)],
            vec![(2, 5, DecryptOnly), (3, 6, DecryptOnly), (4, 7, DecryptOnly)],
        ),
        (
            vec![(1, 1, DecryptOnly), (2, 2, Retired), (3, 3, Destroyed), (4, 9, Active)],
            vec![(2, 10, Retired), (3, 11, Destroyed), (4, 12, DecryptOnly)],
        ),
    ] {
        let there =
            Node(there.into_iter().map(|(id, version, state)| key(id, version, state)).collect());
        let fork = Fork { version: 2, here: KeyId([20; 16]), there: KeyId([2; 16]) };
        let mut node = here.clone();
        assert_eq!(node.import(&there, Resolve::Refuse).err(), Some(fork));
        assert_eq!(node.keys(), here.keys());
        let apart = node.import(&there, Resolve::KeepBoth).unwrap().apart;
        assert_eq!(apart.map(|key| key.0[0]), there.seals());
        assert_eq!(node.seals(), Some(20));
        assert_eq!(node.keys()[2..], expected);
        // Told again, as long as it is so.
        assert_eq!(node.import(&there, Resolve::Refuse).unwrap().apart, apart);
    }
}

#[test]
fn a_minimum_version_refuses_no_more_than_there() {
    use State::{Active, DecryptOnly, Destroyed};
    let there = [key(1, 1, DecryptOnly), key(2, 2, DecryptOnly), key(3, 3, Active)];
    let there: Vec<_> = there.iter().collect();
    let rows = |keys: &[(u8, i32, State)]| -> Vec<_> {
        keys.iter().map(|(id, version, state)| key(*id, *version, *state).row).collect()
    };
    let same = rows(&[(1, 1, DecryptOnly), (2, 2, DecryptOnly), (3, 3, Active)]);
    let other = rows(&[(1, 1, DecryptOnly), (3, 2, Active), (2, 4, DecryptOnly)]);
    let lost = rows(&[(1, 1, DecryptOnly), (3, 2, Destroyed), (2, 4, DecryptOnly)]);
    let none = rows(&[(9, 1, Active)]);
    for (here, minimum, expected) in [
        (&same, 1, 1),
        (&same, 2, 2),
        (&same, 3, 3),
        (&other, 1, 1),
        (&other, 2, 2),
        // Version 2 here is version 3 there, and taken.
        (&other, 3, 2),
        (&lost, 3, 3),
        (&none, 3, 3),
    ] {
        assert_eq!(super::minimum(here, &there, minimum), expected);
    }
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
        let (old, new) = (key(1, 1, there), key(2, 2, Active));
        let row = key(1, 1, here).row;
        let merged = merge(&[row], &[&old, &new], Resolve::Refuse, NOW).unwrap();
        merged.moves.first().map(|change| (change.changed_at, change.reason.clone()))
    };
    let elsewhere = Some((2, Some("there".into())));
    assert_eq!(change(Active, DecryptOnly), elsewhere);
    assert_eq!(change(DecryptOnly, Retired), elsewhere);
    // Nothing there says when and why.
    assert_eq!(change(Active, Destroyed), Some((NOW, Some(REASON.into()))));
}
