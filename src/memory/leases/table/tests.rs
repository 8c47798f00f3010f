#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const TTL: u64 = 1_000;
const ASK_FOR: u64 = 50;

/// The memory of a table, and a clock.
struct Memory {
    head: Head,
    buckets: Vec<u32>,
    slots: Vec<Slot>,
    now: u64,
}

impl Memory {
    fn of(slots: usize) -> Memory {
        let (head, now) = (Head::default(), 1_000_000);
        Memory { head, buckets: vec![0; slots], slots: vec![Slot::EMPTY; slots], now }
    }

    fn table(&mut self) -> Table<'_> {
        Table { head: &mut self.head, buckets: &mut self.buckets, slots: &mut self.slots }
    }

    fn find(&mut self, name: u8) -> Found {
        let now = self.now;
        self.table().find(&named(name), now, TTL)
    }

    fn take(&mut self, name: u8) -> Taken {
        let now = self.now;
        self.table().take(&subject(name), 7, now, (TTL, now + ASK_FOR), false)
    }

    fn asked(&mut self, name: u8) -> Ticket {
        match self.take(name) {
            Taken::Yes(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    fn ready(&mut self, ticket: &Ticket, as_of: u64, mark: u8) -> bool {
        let (now, lease) = (self.now, self.lease(mark));
        self.table().ready(ticket, as_of, now, &lease)
    }

    fn as_of(&mut self, name: u8) -> u64 {
        self.table().generation(&subject(name).key_id)
    }

    fn lease(&self, mark: u8) -> Lease {
        let (sealed, kek) = ([mark; SEALED_LEN], [mark; NAME_LEN]);
        Lease { sealed, kek, since: self.now, until: self.now + TTL, is_refreshed: false }
    }

    /// A lease of `name`, just made.
    fn leased(&mut self, name: u8, mark: u8) {
        let (ticket, as_of) = (self.asked(name), self.as_of(name));
        assert!(self.ready(&ticket, as_of, mark));
    }

    /// Every slot stands in one chain or is free, and says so.
    fn check(&mut self) {
        let mut seen = vec![0; self.slots.len()];
        let mut walk = |mut next: u32, slots: &[Slot], is_free: bool| {
            while next != 0 {
                let at = next as usize - 1;
                seen[at] += 1;
                assert!(seen[at] == 1 && (slots[at].kind == FREE) == is_free);
                next = slots[at].next;
            }
        };
        for first in &self.buckets {
            walk(*first, &self.slots, false);
        }
        walk(self.head.free, &self.slots, true);
        let touched = self.head.touched as usize;
        assert!(seen.iter().take(touched).all(|times| *times == 1));
        assert!(seen.iter().skip(touched).all(|times| *times == 0));
        for slot in self.slots.iter().filter(|slot| slot.kind == FREE) {
            assert!(slot.sealed == [0; SEALED_LEN], "wiped");
        }
    }
}

fn named(name: u8) -> Name {
    [name; NAME_LEN]
}

/// Two databases, and keys of which each has several names.
fn subject(name: u8) -> Subject {
    Subject { name: named(name), database: u32::from(name % 2), key_id: [name / 2; 16] }
}

#[test]
fn one_asks_and_all_find() {
    let mut memory = Memory::of(4);
    assert_eq!(memory.find(1), Found::Nothing);
    let ticket = memory.asked(1);
    assert_eq!((memory.find(1), memory.take(1)), (Found::Asked, Taken::No));
    assert_eq!(memory.find(2), Found::Nothing);
    assert!(memory.ready(&ticket, 0, 9));
    let lease = memory.lease(9);
    assert_eq!(memory.find(1), Found::Ready(lease));
    assert_eq!(memory.take(1), Taken::No);
    memory.now += TTL - 1;
    // Use has moved nothing.
    assert_eq!(memory.find(1), Found::Ready(lease));
    memory.now += 1;
    assert_eq!(memory.find(1), Found::Nothing);
}

#[test]
fn who_keeps_keys_for_less_finds_less() {
    let mut memory = Memory::of(1);
    memory.leased(1, 9);
    memory.now += 10;
    let now = memory.now;
    assert_eq!(memory.table().find(&named(1), now, 10), Found::Nothing);
    assert!(matches!(memory.table().find(&named(1), now, 11), Found::Ready(_)));
    // And may ask for the next one, which is everybody's.
    let taken = memory.table().take(&subject(1), 7, now, (10, now + ASK_FOR), false);
    let Taken::Yes(ticket) = taken else { panic!("{taken:?}") };
    assert_eq!(memory.table().find(&named(1), now, 10), Found::Asked);
    assert!(memory.ready(&ticket, 0, 8));
    assert_eq!(memory.find(1), Found::Ready(memory.lease(8)));
}

#[test]
fn in_its_last_fifth_one_asks_and_the_others_go_on() {
    let mut memory = Memory::of(1);
    memory.leased(1, 9);
    let lease = memory.lease(9);
    memory.now += TTL * 4 / 5 - 1;
    assert_eq!(memory.take(1), Taken::No);
    memory.now += 1;
    let ticket = memory.asked(1);
    assert_eq!(memory.find(1), Found::Ready(Lease { is_refreshed: true, ..lease }));
    assert_eq!(memory.take(1), Taken::No);
    let now = memory.now;
    memory.table().let_go(&ticket, now);
    assert_eq!(memory.find(1), Found::Ready(lease));
    let ticket = memory.asked(1);
    assert!(memory.ready(&ticket, 0, 8));
    assert_eq!(memory.find(1), Found::Ready(memory.lease(8)));
}

#[test]
fn who_lets_go_or_is_silent_is_followed_and_not_heard() {
    let mut memory = Memory::of(2);
    let first = memory.asked(1);
    let now = memory.now;
    memory.table().let_go(&first, now);
    assert_eq!(memory.find(1), Found::Nothing);
    let second = memory.asked(1);
    // Twice, or too late.
    memory.table().let_go(&first, now);
    assert!(!memory.ready(&first, 0, 1));
    assert_eq!(memory.find(1), Found::Asked);
    memory.now += ASK_FOR;
    assert_eq!(memory.find(1), Found::Nothing);
    let third = memory.asked(1);
    assert!(!memory.ready(&second, 0, 2));
    assert!(memory.ready(&third, 0, 3));
    assert_eq!(memory.find(1), Found::Ready(memory.lease(3)));
}

#[test]
fn what_is_taken_away_does_not_come_back_by_an_answer_on_its_way() {
    let mut memory = Memory::of(4);
    // By its key, also where that was looked at before and is asked for after.
    let as_of = memory.as_of(3);
    let ticket = memory.asked(3);
    memory.table().remove_all(Some(1), Some(&[1; 16]));
    assert_eq!(memory.find(3), Found::Nothing);
    assert!(!memory.ready(&ticket, as_of, 1));
    let ticket = memory.asked(3);
    assert!(!memory.ready(&ticket, as_of, 1));
    assert_eq!(memory.find(3), Found::Nothing);
    // With all keys: of a database, of the server.
    for database in [Some(1), Some(0), None] {
        let (as_of, other) = (memory.as_of(3), memory.as_of(4));
        memory.table().remove_all(database, None);
        for (name, as_of) in [(3, as_of), (4, other)] {
            let ticket = memory.asked(name);
            assert!(!memory.ready(&ticket, as_of, 1));
            assert_eq!(memory.find(name), Found::Nothing);
        }
    }
    // By its name it is not asked for any more.
    let (ticket, as_of) = (memory.asked(3), memory.as_of(3));
    let now = memory.now;
    assert!(!memory.table().remove(&named(3), now));
    assert_eq!(memory.find(3), Found::Nothing);
    assert!(!memory.ready(&ticket, as_of, 1));
    memory.leased(3, 1);
    assert!(memory.table().remove(&named(3), now));
    assert!(!memory.table().sweep(1, &[1; 16]));
}

/// The owner of one table may take his key out of use, and back, without end.
#[test]
fn what_is_taken_away_of_one_key_takes_no_answer_of_another_away() {
    let mut memory = Memory::of(4);
    memory.leased(2, 9);
    let as_of = memory.as_of(4);
    let ticket = memory.asked(4);
    for _ in 0..3 {
        memory.table().remove_all(Some(0), Some(&[1; 16]));
    }
    assert_eq!((memory.find(2), memory.find(4)), (Found::Nothing, Found::Asked));
    assert!(memory.ready(&ticket, as_of, 1));
    assert_eq!(memory.find(4), Found::Ready(memory.lease(1)));
}

/// Rather too much is asked anew than that something comes back.
#[test]
fn keys_of_one_group_share_their_generation() {
    let mut memory = Memory::of(4);
    let (mut one, mut other) = ([7; 16], [9; 16]);
    one[14..].copy_from_slice(&[0, 1]);
    other[14..].copy_from_slice(&[4, 1]);
    let as_of = memory.table().generation(&one);
    memory.table().remove_all(None, Some(&other));
    assert_ne!(memory.table().generation(&one), as_of);
}

#[test]
fn leases_are_taken_away_by_key_and_database() {
    let mut memory = Memory::of(8);
    let fill = |memory: &mut Memory| {
        memory.table().remove_all(None, None);
        (0..8).for_each(|name| memory.leased(name, name));
    };
    let left = |memory: &mut Memory| -> Vec<u8> {
        (0..8).filter(|name| memory.find(*name) != Found::Nothing).collect()
    };
    fill(&mut memory);
    memory.table().remove_all(Some(1), Some(&[2; 16]));
    assert_eq!(left(&mut memory), [0, 1, 2, 3, 4, 6, 7]);
    memory.table().remove_all(None, Some(&[0; 16]));
    assert_eq!(left(&mut memory), [2, 3, 4, 6, 7]);
    assert!(memory.table().sweep(0, &[1; 16]));
    assert_eq!(left(&mut memory), [3, 4, 6, 7]);
    memory.table().remove_all(Some(0), None);
    assert_eq!(left(&mut memory), [3, 7]);
    memory.table().remove_all(None, None);
    assert!(left(&mut memory).is_empty());
}

#[test]
fn a_full_table_gives_up_what_is_over_and_was_used_longest_ago() {
    let mut memory = Memory::of(3);
    (0..3).for_each(|name| memory.leased(name, name));
    assert_eq!(memory.take(3), Taken::Full);
    assert_eq!(memory.head.counts.full, 1);
    for name in [1, 0, 2] {
        memory.now += 1;
        memory.find(name);
    }
    memory.now += TTL;
    memory.leased(3, 3);
    assert_eq!(memory.head.counts.evictions, 1);
    let names: Vec<u8> = memory.slots.iter().map(|slot| slot.name[0]).collect();
    assert_eq!(names, [0, 3, 2]);
    // Nobody who asks is put out.
    memory.asked(4);
    memory.asked(5);
    assert_eq!(memory.take(6), Taken::Full);
}

#[test]
fn refusals_stand_longer_each_time() {
    let mut memory = Memory::of(2);
    let mut stood = Vec::new();
    for _ in 0..8 {
        let now = memory.now;
        memory.table().refuse(&subject(1), 3, 500, now);
        let mut stands = 0;
        while let Some(refusal) = memory.table().refusal(&named(1), now + stands) {
            assert_eq!((refusal.class, refusal.patience, refusal.noted_at), (3, 500, now));
            stands += 100;
        }
        stood.push(stands);
        memory.now += stands;
    }
    assert_eq!(stood, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    memory.table().forgive(&named(1));
    let now = memory.now;
    assert_eq!(memory.table().refusal(&named(1), now), None);
    memory.table().refuse(&subject(1), 3, 500, now);
    assert_eq!(memory.table().refusal(&named(1), now + 100), None);
    memory.table().refuse(&subject(1), 3, 500, now);
    memory.table().remove_all(Some(1), None);
    assert!(memory.table().refusal(&named(1), now).is_some());
    memory.table().remove_all(None, None);
    assert_eq!(memory.table().refusal(&named(1), now), None);
    memory.table().refuse(&subject(1), 3, 500, now);
    // A refusal is no lease, and a key's slot holds none.
    assert_eq!(memory.find(1), Found::Nothing);
    memory.asked(2);
    memory.table().refuse(&subject(2), 3, 500, now);
    assert_eq!(memory.table().refusal(&named(2), now), None);
}

/// One whose own key is refused may ask for it without end.
#[test]
fn what_is_refused_of_one_key_takes_no_answer_of_another_away() {
    let mut memory = Memory::of(4);
    let now = memory.now;
    let as_of = (memory.as_of(1), memory.as_of(2));
    let (one, other) = (memory.asked(1), memory.asked(2));
    memory.table().remove(&named(1), now);
    assert!(memory.ready(&other, as_of.1, 9));
    assert!(!memory.ready(&one, as_of.0, 9));
    assert_eq!(memory.find(1), Found::Nothing);
}

#[test]
fn damaged_memory_gives_no_answer_and_ends() {
    let mut memory = Memory::of(4);
    (0..4).for_each(|name| memory.leased(name, name));
    for number in [1, 2, 5, u32::MAX] {
        memory.buckets.fill(number);
        memory.slots.iter_mut().for_each(|slot| slot.next = number);
        memory.head.free = number;
        memory.head.touched = number;
        memory.head.hand = number;
        memory.now += TTL;
        for name in 0..8 {
            memory.find(name);
            memory.take(name);
            let now = memory.now;
            memory.table().remove(&named(name), now);
            memory.table().refuse(&subject(name), 1, 1, now);
            memory.table().remove_all(None, None);
            memory.table().count(now);
        }
    }
}

/// What may happen to a table.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Find(u8, u64),
    Take(u8),
    Ready(usize, bool),
    LetGo(usize),
    Remove(u8),
    RemoveAll(Option<u32>, Option<u8>),
    Refuse(u8),
    Forgive(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0u8..8;
    let step = prop_oneof![
        (0u64..TTL / 2).prop_map(Step::Pass),
        (name.clone(), 1..2 * TTL).prop_map(|(name, ttl)| Step::Find(name, ttl)),
        name.clone().prop_map(Step::Take),
        (0usize..6, any::<bool>()).prop_map(|(which, is_late)| Step::Ready(which, is_late)),
        (0usize..6).prop_map(Step::LetGo),
        name.clone().prop_map(Step::Remove),
        (prop::option::of(0u32..2), prop::option::of(0u8..4))
            .prop_map(|(database, key)| Step::RemoveAll(database, key)),
        (8u8..12).prop_map(Step::Refuse),
        (8u8..12).prop_map(Step::Forgive),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    /// Held against what a table without slots, buckets and lists would say.
    #[test]
    fn a_table_does_as_it_should(slots in 1usize..6, steps in steps()) {
        let mut memory = Memory::of(slots);
        // Leases by name; who asks, and until when; what was handed out, with the generation of then.
        let mut leases: HashMap<u8, Lease> = HashMap::new();
        let mut askers: HashMap<u8, (Ticket, u64)> = HashMap::new();
        let mut tickets: Vec<(u8, Ticket, u64)> = Vec::new();
        // How often each key was taken away, and all.
        let (mut taken, mut all_taken) = ([0; 4], 0);
        let mut mark = 0;
        for step in steps {
            let now = memory.now;
            match step {
                Step::Pass(by) => memory.now += by,
                Step::Find(name, ttl) => {
                    let lease = leases.get(&name)
                        .filter(|lease| now < lease.until && now < lease.since + ttl);
                    let is_asked = askers.get(&name).is_some_and(|(_, until)| now < *until);
                    let expected = match lease {
                        Some(lease) => Found::Ready(Lease { is_refreshed: is_asked, ..*lease }),
                        None if is_asked => Found::Asked,
                        None => Found::Nothing,
                    };
                    prop_assert_eq!(memory.table().find(&named(name), now, ttl), expected);
                }
                Step::Take(name) => {
                    let is_asked = askers.get(&name).is_some_and(|(_, until)| now < *until);
                    let is_good = leases.get(&name).is_some_and(|lease| now < lease.due());
                    match memory.take(name) {
                        Taken::Yes(ticket) => {
                            prop_assert!(!is_asked && !is_good);
                            prop_assert!(tickets.iter().all(|(_, other, _)| *other != ticket));
                            askers.insert(name, (ticket, now + ASK_FOR));
                            let as_of = memory.as_of(name);
                            prop_assert_eq!(as_of, taken[usize::from(name / 2)] + all_taken);
                            tickets.push((name, ticket, as_of));
                        }
                        Taken::No => prop_assert!(is_asked || is_good),
                        Taken::Full => {
                            // Whatever stands there is somebody's.
                            let mut used = memory.slots.iter();
                            prop_assert!(used.all(|slot| slot.is_asked(now) || now < slot.until));
                        }
                    }
                }
                Step::Ready(which, is_late) => {
                    let Some((name, ticket, as_of)) = tickets.get(which).copied() else { continue };
                    mark += 1;
                    let as_of = if is_late { as_of.wrapping_sub(1) } else { as_of };
                    let stands = memory.ready(&ticket, as_of, mark);
                    let is_asker = askers.get(&name).is_some_and(|(asker, _)| *asker == ticket);
                    let is_of_now = as_of == taken[usize::from(name / 2)] + all_taken;
                    prop_assert!(is_asker && is_of_now || !stands);
                    // Whose time is over may have been put out.
                    let is_in_time = askers.get(&name).is_some_and(|(_, until)| now < *until);
                    prop_assert!(stands || !(is_asker && is_in_time && is_of_now));
                    if stands {
                        leases.insert(name, memory.lease(mark));
                    }
                    if is_asker {
                        askers.remove(&name);
                    }
                }
                Step::LetGo(which) => {
                    let Some((name, ticket, _)) = tickets.get(which).copied() else { continue };
                    memory.table().let_go(&ticket, now);
                    if askers.get(&name).is_some_and(|(asker, _)| *asker == ticket) {
                        askers.remove(&name);
                    }
                }
                Step::Remove(name) => {
                    memory.table().remove(&named(name), now);
                    leases.remove(&name);
                    askers.remove(&name);
                }
                Step::RemoveAll(database, key) => {
                    let key_id = key.map(|key| [key; 16]);
                    memory.table().remove_all(database, key_id.as_ref());
                    match key {
                        Some(key) => taken[usize::from(key)] += 1,
                        None => all_taken += 1,
                    }
                    let stays = |name: &u8| {
                        let subject = subject(*name);
                        database.is_some_and(|it| it != subject.database)
                            || key_id.is_some_and(|it| it != subject.key_id)
                    };
                    leases.retain(|name, _| stays(name));
                    askers.retain(|name, _| stays(name));
                }
                Step::Refuse(name) => memory.table().refuse(&subject(name), 1, 1, now),
                Step::Forgive(name) => memory.table().forgive(&named(name)),
            }
            memory.check();
        }
        // Once all is over, the whole table is there for others.
        memory.now += 100 * TTL;
        for name in 100..100 + slots as u8 {
            memory.asked(name);
        }
        memory.check();
    }
}
