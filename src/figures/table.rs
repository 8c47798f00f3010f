//! A table of a fixed number of places, found by name. When it is full, the place that was used longest ago is given to
//! a new name.
//!
//! All of it stands in the places themselves, so that it can stand in shared memory. A place is named by its number from
//! 1; 0 is none.

use crate::pg::shared::{Plain, plain};

/// What names a place; not all zeros.
pub type Name = [u64; 3];

plain! {
    /// The table as a whole.
    pub struct Head {
        /// Places that were given out. What is given up goes to the list below.
        pub given: u32,
        /// The first of the places that were given up.
        pub free: u32,
        /// The places used last, and longest ago.
        pub newest: u32,
        /// See `newest`.
        pub oldest: u32,
        /// How often a name was given a place: each time its own number.
        pub born: u64,
    }
}

plain! {
    /// A place, and what stands there.
    pub struct Place<V> {
        /// Whose place it is.
        pub name: Name,
        /// Which of [`Head::born`] it was.
        pub born: u64,
        /// The first of the names that belong to the list of this number.
        pub first: u32,
        /// The next in that list, or of those that were given up.
        pub next: u32,
        /// The places used before and after.
        pub older: u32,
        /// See `older`.
        pub newer: u32,
        /// What stands there.
        pub value: V,
    }
}

/// Works on a table.
pub struct Table<'a, V> {
    head: &'a mut Head,
    places: &'a mut [Place<V>],
}

impl<'a, V: Plain> Table<'a, V> {
    pub fn of(head: &'a mut Head, places: &'a mut [Place<V>]) -> Self {
        Table { head, places }
    }

    /// The place of `name`, used now; as `new` where it had none. `lost` is told what stood in a place that had to be
    /// taken for it. `None` in a table without places.
    pub fn place(
        &mut self,
        name: &Name,
        new: impl FnOnce() -> V,
        lost: impl FnOnce(&V),
    ) -> Option<&mut Place<V>> {
        let at = match self.find(name) {
            Some(at) => {
                self.leave_order(at);
                at
            }
            None => {
                let at = self.free_place(lost)?;
                let list = self.list_of(name);
                let next = self.at(list).map_or(0, |list| list.first);
                self.head.born += 1;
                let born = self.head.born;
                let place = self.at(at)?;
                (place.name, place.born, place.next, place.value) = (*name, born, next, new());
                self.at(list)?.first = at;
                at
            }
        };
        self.become_newest(at);
        self.at(at)
    }

    /// The place of `name`, if it has one. It does not count as used.
    pub fn known(&mut self, name: &Name) -> Option<&mut Place<V>> {
        let at = self.find(name)?;
        self.at(at)
    }

    /// All that stands there, the newest first. What `keep` does not want gives up its place.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        let mut next = self.head.newest;
        while let Some(place) = self.at(next) {
            let (at, older) = (next, place.older);
            if !keep(&mut place.value) {
                self.give_up(at);
            }
            next = older;
        }
    }

    fn free_place(&mut self, lost: impl FnOnce(&V)) -> Option<u32> {
        if self.head.free == 0 && (self.head.given as usize) < self.places.len() {
            self.head.given += 1;
            return Some(self.head.given);
        }
        if self.head.free == 0 {
            let oldest = self.head.oldest;
            lost(&self.at(oldest)?.value);
            self.give_up(oldest);
        }
        let free = self.head.free;
        self.head.free = self.at(free)?.next;
        Some(free)
    }

    fn give_up(&mut self, at: u32) {
        self.leave_order(at);
        let Some((name, next)) = self.at(at).map(|place| (place.name, place.next)) else { return };
        let list = self.list_of(&name);
        let mut before = 0;
        let mut look = self.at(list).map_or(0, |list| list.first);
        while look != at && look != 0 {
            before = look;
            look = self.at(look).map_or(0, |place| place.next);
        }
        match before {
            0 => {
                if let Some(list) = self.at(list) {
                    list.first = next;
                }
            }
            before => {
                if let Some(before) = self.at(before) {
                    before.next = next;
                }
            }
        }
        let free = self.head.free;
        if let Some(place) = self.at(at) {
            (place.name, place.born, place.next) = ([0; 3], 0, free);
            self.head.free = at;
        }
    }

    fn find(&mut self, name: &Name) -> Option<u32> {
        let list = self.list_of(name);
        let mut at = self.at(list)?.first;
        while let Some(place) = self.at(at) {
            if place.name == *name {
                return Some(at);
            }
            at = place.next;
        }
        None
    }

    fn become_newest(&mut self, at: u32) {
        let newest = self.head.newest;
        if let Some(place) = self.at(at) {
            (place.older, place.newer) = (newest, 0);
        }
        match self.at(newest) {
            Some(before) => before.newer = at,
            None => self.head.oldest = at,
        }
        self.head.newest = at;
    }

    fn leave_order(&mut self, at: u32) {
        let Some((older, newer)) = self.at(at).map(|place| (place.older, place.newer)) else {
            return;
        };
        match self.at(older) {
            Some(place) => place.newer = newer,
            None => self.head.oldest = newer,
        }
        match self.at(newer) {
            Some(place) => place.older = older,
            None => self.head.newest = older,
        }
    }

    /// The number of the list that `name` belongs to. Names are as good as random.
    fn list_of(&self, name: &Name) -> u32 {
        let mixed = name.iter().fold(0u64, |mixed, word| {
            (mixed.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        // At most as many as a number of 32 bits counts.
        ((mixed >> 32) % (self.places.len().max(1) as u64)) as u32 + 1
    }

    fn at(&mut self, number: u32) -> Option<&mut Place<V>> {
        self.places.get_mut((number as usize).checked_sub(1)?)
    }
}

/// What stands in places that are in use.
pub fn in_use<V: Plain>(places: &[Place<V>]) -> impl Iterator<Item = &V> {
    places.iter().filter(|place| place.born != 0).map(|place| &place.value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const EMPTY: Place<u64> =
        Place { name: [0; 3], born: 0, first: 0, next: 0, older: 0, newer: 0, value: 0 };
    const HEAD: Head = Head { given: 0, free: 0, newest: 0, oldest: 0, born: 0 };

    proptest! {
        /// As a list would do it, the last used in front.
        #[test]
        fn it_keeps_the_names_used_last(
            size in 1usize..12,
            steps in prop::collection::vec((0u64..24, 0u8..10), 0..300),
        ) {
            let (mut head, mut places) = (HEAD, vec![EMPTY; size]);
            let mut expected: VecDeque<(u64, u64)> = VecDeque::new();
            let (mut lost, mut expected_lost) = (0, 0);
            for (name, what) in steps {
                let mut table = Table::of(&mut head, &mut places);
                match what {
                    0 => {
                        table.retain(|value| *value != name);
                        expected.retain(|(_, value)| *value != name);
                    }
                    1 => {
                        let found = table.known(&[name, 0, 1]).map(|place| place.value);
                        let there = expected.iter().find(|(known, _)| *known == name);
                        prop_assert_eq!(found, there.map(|(_, value)| *value));
                    }
                    _ => {
                        let place = table.place(&[name, 0, 1], || 0, |value| lost += value).unwrap();
                        place.value += 1;
                        let known = expected.iter().position(|(known, _)| *known == name);
                        let value = known.and_then(|at| expected.remove(at)).map_or(0, |(_, value)| value);
                        if expected.len() == size {
                            expected_lost += expected.pop_back().unwrap().1;
                        }
                        expected.push_front((name, value + 1));
                    }
                }
                let mut found: Vec<u64> = in_use(&places).copied().collect();
                let mut there: Vec<u64> = expected.iter().map(|(_, value)| *value).collect();
                let mut in_order = Vec::new();
                Table::of(&mut head, &mut places).retain(|value| { in_order.push(*value); true });
                prop_assert_eq!(&in_order, &there);
                found.sort_unstable();
                there.sort_unstable();
                prop_assert_eq!(found, there);
                prop_assert_eq!(lost, expected_lost);
            }
        }
    }

    #[test]
    fn a_name_that_comes_back_is_born_again() {
        let (mut head, mut places) = (HEAD, vec![EMPTY; 1]);
        let mut table = Table::of(&mut head, &mut places);
        let mut born = |name| table.place(&[name, 0, 0], || 0, |_| ()).unwrap().born;
        assert_eq!([born(1), born(1), born(2), born(1)], [1, 1, 2, 3]);
        assert!(
            Table::of(&mut head, &mut [] as &mut [Place<u64>])
                .place(&[1, 0, 0], || 0, |_| ())
                .is_none()
        );
    }
}
