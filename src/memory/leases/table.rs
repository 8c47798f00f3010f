//! The table of leases, as it stands in shared memory. It knows neither PostgreSQL nor clocks nor keys: who calls holds
//! the lock, says what time it is, and hands in what is sealed.
//!
//! A slot is free, or a key's, or a refusal's. A key's slot is **asked** while a process asks the KMS for the key, and
//! **ready** while there is a lease; it may be both, when the lease is refreshed. Numbers that stand there are never
//! trusted to be in bounds: memory that somebody else has damaged gives no answer, and no panic under a lock.

use envelope::lease::{NAME_LEN, SEALED_LEN};

/// What names a slot.
pub type Name = [u8; NAME_LEN];

/// Slots that are looked at for one that may be given up.
const LOOKED_AT: usize = 1024;

/// Milliseconds after the first refusal, and at most, as in a backend's own memory of refusals.
const FIRST_DELAY: u64 = 100;
const LONGEST_DELAY: u64 = 5_000;

/// What stands before the slots. All zeros: an empty table.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct Head {
    /// Raised whenever all leases of a database or of the server are taken away.
    generation: u64,
    /// The number of the next one who asks, less one.
    tickets: u64,
    /// The first free slot of those that were used before, from 1; 0: none.
    free: u32,
    /// Slots that were ever used.
    touched: u32,
    /// Where the search for a slot to give up goes on.
    hand: u32,
    /// What happened so far.
    pub counts: Counts,
    generations: Generations,
}

/// Groups of keys that have a generation each.
const GROUPS: usize = 1024;

/// A number for each group of keys, raised whenever leases of one of them are taken away. The memory is as large as it
/// is however many keys there are, and one who takes his own key away again and again keeps answers of hardly any other
/// key from being shared.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Generations([u64; GROUPS]);

impl Default for Generations {
    fn default() -> Generations {
        Generations([0; GROUPS])
    }
}

impl Generations {
    fn of(&self, key_id: &[u8; 16]) -> u64 {
        self.0.get(Self::group(key_id)).copied().unwrap_or_default()
    }

    fn raise(&mut self, key_id: &[u8; 16]) {
        if let Some(generation) = self.0.get_mut(Self::group(key_id)) {
            *generation = generation.wrapping_add(1);
        }
    }

    fn group(key_id: &[u8; 16]) -> usize {
        // Bytes of a digest.
        let [.., high, low] = *key_id;
        usize::from(u16::from_be_bytes([high, low])) % GROUPS
    }
}

/// What happened in the table.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Keys that were looked for.
    pub lookups: u64,
    /// Keys that were found.
    pub hits: u64,
    /// Times that a process waited for another one's answer.
    pub waits: u64,
    /// Times that one that waited went on in the place of the one it had waited for.
    pub takeovers: u64,
    /// Slots that were given up for others.
    pub evictions: u64,
    /// Times that there was none to give up.
    pub full: u64,
}

/// What the slots are now.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Use {
    pub slots: u64,
    pub used: u64,
    pub ready: u64,
    pub asked: u64,
    pub refused: u64,
}

const FREE: u32 = 0;
const KEY: u32 = 1;
const REFUSAL: u32 = 2;

/// A slot. All zeros: free.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot {
    name: Name,
    key_id: [u8; 16],
    kek: Name,
    sealed: [u8; SEALED_LEN],
    /// When the KMS gave the key, and until when it counts; or until when a refusal stands.
    since: u64,
    until: u64,
    used_at: u64,
    /// Who asks now, and until when that counts.
    ticket: u64,
    asked_until: u64,
    delay: u64,
    patience: u64,
    noted_at: u64,
    database: u32,
    /// The next of the same bucket, or the next free one; from 1.
    next: u32,
    kind: u32,
    class: u32,
    asker: i32,
}

impl Slot {
    /// For memory that is about to be used.
    pub const EMPTY: Slot = Slot {
        name: [0; NAME_LEN],
        key_id: [0; 16],
        kek: [0; NAME_LEN],
        sealed: [0; SEALED_LEN],
        since: 0,
        until: 0,
        used_at: 0,
        ticket: 0,
        asked_until: 0,
        delay: 0,
        patience: 0,
        noted_at: 0,
        database: 0,
        next: 0,
        kind: FREE,
        class: 0,
        asker: 0,
    };

    fn is_ready(&self, now: u64) -> bool {
        self.kind == KEY && now < self.until
    }

    fn is_asked(&self, now: u64) -> bool {
        self.asker != 0 && now < self.asked_until
    }
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub sealed: [u8; SEALED_LEN],
    pub kek: Name,
    pub since: u64,
    pub until: u64,
    /// Somebody asks the KMS for the next one.
    pub is_refreshed: bool,
}

impl Lease {
    /// From when on the next one is asked for: the last fifth of its time.
    pub fn due(&self) -> u64 {
        self.until.saturating_sub(self.until.saturating_sub(self.since) / 5)
    }
}

/// What is found of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A lease.
    Ready(Lease),
    /// Another process asks the KMS.
    Asked,
    /// Nothing.
    Nothing,
}

/// Who asks the KMS for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub name: Name,
    number: u64,
}

/// Whether a process may ask the KMS for all.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may, and is to say how that ended.
    Yes(Ticket),
    /// Something was there first: look again.
    No,
    /// The table is full. It asks for itself.
    Full,
}

/// Whose slot is taken.
#[derive(Clone, Copy)]
pub struct Subject {
    pub name: Name,
    pub database: u32,
    pub key_id: [u8; 16],
}

/// What a KMS has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// By the caller's own numbers.
    pub class: u32,
    /// Only one who would wait no longer than so many milliseconds need not ask himself.
    pub patience: u64,
    /// When it was noted.
    pub noted_at: u64,
}

/// The table, for as long as the lock is held.
pub struct Table<'a> {
    pub head: &'a mut Head,
    /// The first slot of each, from 1. As many as there are slots.
    pub buckets: &'a mut [u32],
    pub slots: &'a mut [Slot],
}

impl Table<'_> {
    /// A number that is another whenever leases of a key, or all, were taken away: both parts of it only grow.
    pub fn generation(&self, key_id: &[u8; 16]) -> u64 {
        self.head.generation.wrapping_add(self.head.generations.of(key_id))
    }

    /// What there is of a key, for one who would keep a key for `ttl` milliseconds from when the KMS gave it.
    pub fn find(&mut self, name: &Name, now: u64, ttl: u64) -> Found {
        let Some(slot) = self.slot(name).filter(|slot| slot.kind == KEY) else {
            return Found::Nothing;
        };
        let is_asked = slot.is_asked(now);
        if slot.is_ready(now) && now < slot.since.saturating_add(ttl) {
            slot.used_at = now;
            let Slot { sealed, kek, since, until, .. } = *slot;
            return Found::Ready(Lease { sealed, kek, since, until, is_refreshed: is_asked });
        }
        if is_asked { Found::Asked } else { Found::Nothing }
    }

    /// Lets the process `asker` ask for a key, which counts until `asked_until`, unless another one asks already or a
    /// lease is there that is not due at `now`. It is one that has waited for another if `has_waited`.
    pub fn take(
        &mut self,
        subject: &Subject,
        asker: i32,
        now: u64,
        (ttl, asked_until): (u64, u64),
        has_waited: bool,
    ) -> Taken {
        if self.slot(&subject.name).is_none() && !self.put(subject, KEY, now) {
            self.head.counts.full += 1;
            return Taken::Full;
        }
        let number = self.head.tickets.saturating_add(1);
        let Some(slot) = self.slot(&subject.name).filter(|slot| slot.kind == KEY) else {
            return Taken::Full;
        };
        let due = slot.until.saturating_sub(slot.until.saturating_sub(slot.since) / 5);
        let is_good = slot.is_ready(now) && now < due && now < slot.since.saturating_add(ttl);
        if is_good || slot.is_asked(now) {
            return Taken::No;
        }
        slot.asker = asker;
        slot.ticket = number;
        slot.asked_until = asked_until;
        slot.used_at = now;
        self.head.tickets = number;
        if has_waited {
            self.head.counts.takeovers += 1;
        }
        Taken::Yes(Ticket { name: subject.name, number })
    }

    /// The KMS has given the key: `lease` stands from now on, if nothing of it was taken away since its generation was
    /// `as_of` and nobody has gone on in the asker's place. Whether it stands.
    pub fn ready(&mut self, ticket: &Ticket, as_of: u64, now: u64, lease: &Lease) -> bool {
        let Some(key_id) = self.asked_by(ticket).map(|slot| slot.key_id) else { return false };
        let is_of_now = self.generation(&key_id) == as_of;
        let Some(slot) = self.asked_by(ticket) else { return false };
        slot.asker = 0;
        if is_of_now {
            slot.sealed = lease.sealed;
            slot.kek = lease.kek;
            slot.since = lease.since;
            slot.until = lease.until;
            slot.used_at = now;
        }
        self.free_if_over(&ticket.name, now);
        is_of_now
    }

    /// Whoever asked has no answer to share. Nothing happens when another one asks by now.
    pub fn let_go(&mut self, ticket: &Ticket, now: u64) {
        if let Some(slot) = self.asked_by(ticket) {
            slot.asker = 0;
            self.free_if_over(&ticket.name, now);
        }
    }

    /// Takes a key's lease away; whether there was one. Whoever asks for it now answers himself alone. Who asks later
    /// asks a KMS that has said so already: the generation stays.
    pub fn remove(&mut self, name: &Name, now: u64) -> bool {
        let Some(slot) = self.slot(name).filter(|slot| slot.kind == KEY) else { return false };
        let was_ready = slot.is_ready(now);
        self.free(name);
        was_ready
    }

    /// Takes the leases of a key of a database away, whoever they are for; of all keys where `key_id` is `None`, of all
    /// databases where `database` is, and then what was refused as well.
    pub fn remove_all(&mut self, database: Option<u32>, key_id: Option<&[u8; 16]>) {
        match key_id {
            Some(key_id) => self.head.generations.raise(key_id),
            None => self.head.generation = self.head.generation.wrapping_add(1),
        }
        for at in 0..self.touched() {
            let Some(slot) = self.slots.get(at) else { break };
            // Where all is taken away the KMS is asked anew in every way.
            let is_meant = (slot.kind == KEY || database.is_none() && slot.kind == REFUSAL)
                && database.is_none_or(|database| database == slot.database)
                && key_id.is_none_or(|key_id| *key_id == slot.key_id);
            if is_meant {
                let name = slot.name;
                self.free(&name);
            }
        }
    }

    /// As [`Self::remove_all`], of one key, where there is something to take away. Whether there was.
    pub fn sweep(&mut self, database: u32, key_id: &[u8; 16]) -> bool {
        let is_there =
            self.slots.iter().take(self.touched()).any(|slot| {
                slot.kind == KEY && slot.database == database && slot.key_id == *key_id
            });
        if is_there {
            self.remove_all(Some(database), Some(key_id));
        }
        is_there
    }

    /// The KMS has refused what `subject` names. Each refusal in a row stands twice as long as the one before.
    pub fn refuse(&mut self, subject: &Subject, class: u32, patience: u64, now: u64) {
        if self.slot(&subject.name).is_none() && !self.put(subject, REFUSAL, now) {
            self.head.counts.full += 1;
            return;
        }
        let Some(slot) = self.slot(&subject.name).filter(|slot| slot.kind == REFUSAL) else {
            return;
        };
        slot.delay = match slot.delay {
            0 => FIRST_DELAY,
            delay => (delay * 2).min(LONGEST_DELAY),
        };
        slot.until = now.saturating_add(slot.delay);
        slot.used_at = now;
        slot.noted_at = now;
        slot.class = class;
        slot.patience = patience;
    }

    /// The refusal that still stands.
    pub fn refusal(&mut self, name: &Name, now: u64) -> Option<Refusal> {
        let slot = self.slot(name).filter(|slot| slot.kind == REFUSAL && now < slot.until)?;
        let Slot { class, patience, noted_at, .. } = *slot;
        Some(Refusal { class, patience, noted_at })
    }

    /// The KMS has answered.
    pub fn forgive(&mut self, name: &Name) {
        if self.slot(name).is_some_and(|slot| slot.kind == REFUSAL) {
            self.free(name);
        }
    }

    /// What the slots are now.
    pub fn count(&self, now: u64) -> Use {
        let mut counted = Use { slots: self.slots.len() as u64, ..Use::default() };
        for slot in self.slots.iter().take(self.touched()).filter(|slot| slot.kind != FREE) {
            counted.used += 1;
            counted.ready += u64::from(slot.is_ready(now));
            counted.asked += u64::from(slot.is_asked(now));
            counted.refused += u64::from(slot.kind == REFUSAL && now < slot.until);
        }
        counted
    }

    /// How many slots there is something to see of: all others were never used.
    fn touched(&self) -> usize {
        (self.head.touched as usize).min(self.slots.len())
    }

    fn asked_by(&mut self, ticket: &Ticket) -> Option<&mut Slot> {
        self.slot(&ticket.name).filter(|slot| slot.asker != 0 && slot.ticket == ticket.number)
    }

    fn bucket(&self, name: &Name) -> usize {
        // A digest: its bytes are as good as any.
        let hash = name.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        (hash % self.buckets.len().max(1) as u64) as usize
    }

    fn slot(&mut self, name: &Name) -> Option<&mut Slot> {
        let at = self.position(name)?;
        self.slots.get_mut(at)
    }

    fn position(&self, name: &Name) -> Option<usize> {
        let mut next = *self.buckets.get(self.bucket(name))?;
        // A chain is no longer than the table.
        for _ in 0..self.slots.len() {
            let at = (next as usize).checked_sub(1)?;
            let slot = self.slots.get(at)?;
            if slot.kind != FREE && slot.name == *name {
                return Some(at);
            }
            next = slot.next;
        }
        None
    }

    /// Gives `subject` a slot; whether there was one for it.
    fn put(&mut self, subject: &Subject, kind: u32, now: u64) -> bool {
        let Some(at) = self.vacant(now) else { return false };
        let bucket = self.bucket(&subject.name);
        let (Some(first), Some(slot)) = (self.buckets.get_mut(bucket), self.slots.get_mut(at))
        else {
            return false;
        };
        let Subject { name, database, key_id } = *subject;
        *slot = Slot { name, database, key_id, kind, next: *first, used_at: now, ..Slot::EMPTY };
        *first = at as u32 + 1;
        true
    }

    /// A slot that is nobody's: a free one, or that of the least recently used lease or refusal whose time is over.
    fn vacant(&mut self, now: u64) -> Option<usize> {
        if let Some(at) = (self.head.free as usize).checked_sub(1) {
            let slot = self.slots.get(at)?;
            self.head.free = slot.next;
            return Some(at);
        }
        if (self.head.touched as usize) < self.slots.len() {
            self.head.touched += 1;
            return Some(self.head.touched as usize - 1);
        }
        let count = self.slots.len();
        let mut oldest: Option<(u64, Name)> = None;
        for step in 0..LOOKED_AT.min(count) {
            let slot = self.slots.get((self.head.hand as usize + step) % count)?;
            let is_over = !slot.is_asked(now) && now >= slot.until;
            if is_over && oldest.is_none_or(|(used_at, _)| slot.used_at < used_at) {
                oldest = Some((slot.used_at, slot.name));
            }
        }
        self.head.hand = ((self.head.hand as usize + LOOKED_AT.min(count)) % count.max(1)) as u32;
        let (_, name) = oldest?;
        self.free(&name);
        self.head.counts.evictions += 1;
        let at = (self.head.free as usize).checked_sub(1)?;
        self.head.free = self.slots.get(at)?.next;
        Some(at)
    }

    fn free_if_over(&mut self, name: &Name, now: u64) {
        if self.slot(name).is_some_and(|slot| slot.asker == 0 && now >= slot.until) {
            self.free(name);
        }
    }

    /// Makes a slot nobody's, and wipes what stood there.
    fn free(&mut self, name: &Name) {
        let Some(at) = self.position(name) else { return };
        let Some(next) = self.slots.get(at).map(|slot| slot.next) else { return };
        let number = at as u32 + 1;
        let bucket = self.bucket(name);
        let Some(first) = self.buckets.get_mut(bucket) else { return };
        if *first == number {
            *first = next;
        } else {
            let mut before = *first;
            for _ in 0..self.slots.len() {
                let Some(at) = (before as usize).checked_sub(1) else { return };
                let Some(slot) = self.slots.get_mut(at) else { return };
                if slot.next == number {
                    slot.next = next;
                    break;
                }
                before = slot.next;
            }
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot { next: self.head.free, ..Slot::EMPTY };
            self.head.free = number;
        }
    }
}

#[cfg(test)]
mod tests;
