//! What all processes of the server have done: two tables in shared memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use envelope::header::KeyId;

use crate::figures::key::{self, Counts, Key};
use crate::figures::kms::{self, Of, Operation, Outcome};
use crate::figures::latency::Latency;
use crate::figures::table::{self, Name, Place, Table};
use crate::pg::shared::{Area, Board, plain};
use crate::pg::state::Flag;
use crate::pg::{clock, guc};
use crate::settings;

/// The number of the first lock of the figures.
pub const FIRST_LOCK: usize = 1;

/// How many locks they have.
pub const LOCKS: usize = 2;

/// Places for keys where no keys are shared, and at most.
const KEYS: usize = 1024;
const MOST_KEYS: usize = 16_384;
/// Places for what a KEK was asked and answered in a database.
const KMS: usize = 1024;

/// How much of a KEK's name is kept.
const KEK: usize = 256;

/// What is to be asked for where the library is preloaded.
pub const AREAS: [Area; 2] = [
    Area {
        name: c"envelope figures of keys",
        bytes: || Board::<KeysHead, Place<OfKey>>::bytes(places_for_keys()),
        new: |_| (),
        attach: |at| {
            OF_KEYS.attach(at, places_for_keys(), FIRST_LOCK);
            begin();
        },
    },
    Area {
        name: c"envelope figures of KMSs",
        bytes: || Board::<KmsHead, Place<OfKms>>::bytes(KMS),
        new: |_| (),
        attach: |at| OF_KMS.attach(at, KMS, FIRST_LOCK + 1),
    },
];

/// As many as keys may be leased.
fn places_for_keys() -> usize {
    match settings::shared_keys() {
        0 => KEYS,
        keys => keys.min(MOST_KEYS),
    }
}

plain! {
    /// Of keys as a whole.
    pub struct KeysHead {
        pub table: table::Head,
        /// What the keys had that lost their places.
        pub lost: Counts,
        /// How many these were.
        pub evicted: u64,
        /// Processes that hold keys in memory that is not locked.
        pub unlocked: u64,
        /// Since when it is counted, in PostgreSQL's microseconds.
        pub since: i64,
    }
}

plain! {
    /// A key.
    pub struct OfKey {
        pub key_id: [u8; 16],
        pub database: u32,
        /// Processes that hold it unwrapped.
        pub holding: u32,
        pub counts: Counts,
        /// PostgreSQL's microseconds; 0: not.
        pub last_unwrap: i64,
    }
}

plain! {
    /// Of KMSs as a whole.
    pub struct KmsHead {
        pub table: table::Head,
        pub lost: Latency,
        pub evicted: u64,
    }
}

plain! {
    /// What a KEK was asked in a database, and answered.
    pub struct OfKms {
        pub database: u32,
        pub operation: u32,
        pub outcome: u32,
        /// Bytes of the name below.
        pub kek_len: u32,
        pub kek: [u8; KEK],
        pub latency: Latency,
        pub last_at: i64,
    }
}

static OF_KEYS: Board<KeysHead, Place<OfKey>> = Board::new();
static OF_KMS: Board<KmsHead, Place<OfKms>> = Board::new();

/// Something was counted since it was last added up.
static IS_NEW: Flag = Flag::new(false);
/// This process is counted among those whose memory is not locked.
static IS_UNLOCKED: Flag = Flag::new(false);

/// A row of what was done with keys.
pub struct KeyRow {
    /// `None`: what those had that lost their places.
    pub key: Option<(u32, KeyId)>,
    pub counts: Counts,
    pub holding: u32,
    pub last_unwrap: Option<i64>,
    pub evicted: u64,
    pub since: i64,
}

/// A row of what KMSs were asked.
pub struct KmsRow {
    /// `None`: as in [`KeyRow`].
    pub of: Option<OfKek>,
    pub latency: Latency,
    pub evicted: u64,
    pub since: i64,
}

/// What one KEK was asked and answered in one database.
pub struct OfKek {
    pub database: u32,
    /// As much of its name as is kept.
    pub kek: String,
    pub operation: Operation,
    pub outcome: Outcome,
    /// PostgreSQL's microseconds.
    pub last_at: i64,
}

/// When a KEK last answered so.
#[derive(Clone, Copy)]
pub struct Seen {
    pub operation: Operation,
    pub outcome: Outcome,
    /// PostgreSQL's microseconds.
    pub at: i64,
}

/// There is something to add up.
pub(super) fn something_is_new() {
    IS_NEW.set(true);
}

/// Adds what was counted since the last time to what all processes have. Raises nothing. `is_unlocked`: this process
/// holds keys in memory that is not locked. To be called when a transaction is over.
#[inline]
pub fn add_up(is_unlocked: impl FnOnce() -> bool) {
    if IS_NEW.take() {
        add(is_unlocked());
    }
}

/// The process ends: adds up for the last time, and no longer counts as one that holds keys.
pub fn leave() {
    kms::leave();
    key::leave();
    add(false);
}

#[inline(never)]
fn add(is_unlocked: bool) {
    let database = guc::current_database_oid();
    key::each_pending(|pending| {
        if pending.is_empty() && IS_UNLOCKED.get() == is_unlocked {
            return;
        }
        OF_KEYS.change(|head, places| {
            for key in pending {
                add_key(head, places, database, key);
            }
            match (IS_UNLOCKED.get(), is_unlocked) {
                (false, true) => head.unlocked += 1,
                (true, false) => head.unlocked = head.unlocked.saturating_sub(1),
                _ => {}
            }
            IS_UNLOCKED.set(is_unlocked);
        });
    });
    if OF_KMS.is_there() {
        kms::add_to(|of| {
            let name = name_of_kek(database, of);
            OF_KMS.change(|head, places| add_kms(head, places, database, &name, of));
        });
    }
}

fn add_key(head: &mut KeysHead, places: &mut [Place<OfKey>], database: u32, key: &Rc<Key>) {
    let key_id = key.key_id().0;
    let name = name_of_key(database, key_id);
    let (counts, last_unwrap) = key.take();
    let (lost, evicted) = (&mut head.lost, &mut head.evicted);
    let mut table = Table::of(&mut head.table, places);
    let place = if counts.is_none() && !key.is_held() {
        table.known(&name)
    } else {
        let new = || OfKey { key_id, database, holding: 0, counts: Counts::NONE, last_unwrap: 0 };
        table.place(&name, new, |old| {
            lost.add(&old.counts);
            *evicted += 1;
        })
    };
    // Without a place, nobody is told that the key was held.
    let told = key.told.replace(0);
    let Some(place) = place else { return };
    let born = place.born;
    let of_key = &mut place.value;
    of_key.counts.add(&counts);
    of_key.last_unwrap = of_key.last_unwrap.max(last_unwrap);
    match (told == born, key.is_held()) {
        (false, true) => of_key.holding += 1,
        (true, false) => of_key.holding = of_key.holding.saturating_sub(1),
        _ => {}
    }
    if key.is_held() {
        key.told.set(born);
    }
}

fn add_kms(head: &mut KmsHead, places: &mut [Place<OfKms>], database: u32, name: &Name, of: &Of) {
    let (lost, evicted) = (&mut head.lost, &mut head.evicted);
    let new = || {
        let (mut kek, shown) = ([0; KEK], cut(&of.kek));
        if let Some(start) = kek.get_mut(..shown.len()) {
            start.copy_from_slice(shown.as_bytes());
        }
        OfKms {
            database,
            operation: of.operation as u32,
            outcome: of.outcome as u32,
            kek_len: shown.len() as u32,
            kek,
            latency: Latency::NONE,
            last_at: 0,
        }
    };
    let mut table = Table::of(&mut head.table, places);
    let place = table.place(name, new, |old| {
        lost.add(&old.latency);
        *evicted += 1;
    });
    if let Some(place) = place {
        place.value.latency.add(&of.latency);
        place.value.last_at = place.value.last_at.max(of.last_at);
    }
}

/// What was done with keys; `None` without preload.
pub fn keys() -> Option<Vec<KeyRow>> {
    // Nothing is allocated while the lock is held.
    let mut rows = Vec::with_capacity(OF_KEYS.places() + 1);
    OF_KEYS.read(|head, places| {
        let since = head.since;
        rows.extend(table::in_use(places).map(|of_key| KeyRow {
            key: Some((of_key.database, KeyId(of_key.key_id))),
            counts: of_key.counts,
            holding: of_key.holding,
            last_unwrap: Some(of_key.last_unwrap).filter(|at| *at != 0),
            evicted: 0,
            since,
        }));
        if head.evicted > 0 {
            let (counts, evicted) = (head.lost, head.evicted);
            rows.push(KeyRow { key: None, counts, holding: 0, last_unwrap: None, evicted, since });
        }
    })?;
    Some(rows)
}

/// What KMSs were asked; `None` without preload.
pub fn of_kms() -> Option<Vec<KmsRow>> {
    let since = since()?;
    let mut places = Vec::with_capacity(OF_KMS.places());
    let mut lost = (Latency::NONE, 0);
    OF_KMS.read(|head, all| {
        places.extend(table::in_use(all).filter(|of| of.latency.count > 0).copied());
        lost = (head.lost, head.evicted);
    })?;
    let rows = places.iter().filter_map(|of| {
        let (kek, operation, outcome) = of.read()?;
        let of_kek = OfKek { database: of.database, kek, operation, outcome, last_at: of.last_at };
        Some(KmsRow { of: Some(of_kek), latency: of.latency, evicted: 0, since })
    });
    let lost = (lost.1 > 0).then_some(KmsRow { of: None, latency: lost.0, evicted: lost.1, since });
    Some(rows.chain(lost).collect())
}

/// When `kek` last gave which answer, to any process that asked it in this database; without preload, to this one.
pub fn seen(kek: &str) -> Vec<Seen> {
    let (database, shown) = (guc::current_database_oid(), cut(kek));
    let mut found = Vec::with_capacity(Operation::ALL.len() * Outcome::ALL.len());
    let read = OF_KMS.read(|_, places| {
        let of_kek = table::in_use(places).filter(|of| {
            of.database == database && of.kek.get(..of.kek_len as usize) == Some(shown.as_bytes())
        });
        found.extend(of_kek.filter_map(OfKms::seen));
    });
    match read {
        Some(()) => found,
        None => kms::own(kek),
    }
}

/// Since when is counted; `None` without preload.
pub fn since() -> Option<i64> {
    OF_KEYS.read(|head, _| head.since)
}

/// How many processes hold keys in memory that is not locked; `None` without preload.
pub fn backends_unlocked() -> Option<u64> {
    OF_KEYS.read(|head, _| head.unlocked)
}

/// All begins anew, but for who holds what and what KEKs have answered last. False without preload.
pub fn reset() -> bool {
    let keys = OF_KEYS.change(|head, places| {
        (head.lost, head.evicted, head.since) = (Counts::NONE, 0, clock::now_us());
        Table::of(&mut head.table, places).retain(|of_key| {
            of_key.counts = Counts::NONE;
            of_key.last_unwrap = 0;
            of_key.holding > 0
        });
    });
    OF_KMS.change(|head, places| {
        (head.lost, head.evicted) = (Latency::NONE, 0);
        Table::of(&mut head.table, places).retain(|of_kms| {
            of_kms.latency = Latency::NONE;
            true
        });
    });
    keys.is_some()
}

/// The memory is there, and all zeros or as a process left it.
fn begin() {
    OF_KEYS.change(|head, _| {
        if head.since == 0 {
            head.since = clock::now_us();
        }
    });
}

impl OfKms {
    fn seen(&self) -> Option<Seen> {
        let (operation, outcome) = self.what()?;
        Some(Seen { operation, outcome, at: self.last_at })
    }

    fn what(&self) -> Option<(Operation, Outcome)> {
        Some((Operation::numbered(self.operation)?, Outcome::numbered(self.outcome)?))
    }

    fn read(&self) -> Option<(String, Operation, Outcome)> {
        let (operation, outcome) = self.what()?;
        let kek = self.kek.get(..self.kek_len as usize)?;
        Some((String::from_utf8_lossy(kek).into_owned(), operation, outcome))
    }
}

fn name_of_key(database: u32, key_id: [u8; 16]) -> Name {
    let id = u128::from_be_bytes(key_id);
    // Never zero: a database's OID is not.
    [u64::from(database), (id >> 64) as u64, id as u64]
}

/// Of the whole KEK, however long; everything else stands in it as it is. The hash is the same in all processes.
fn name_of_kek(database: u32, of: &Of) -> Name {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &of.kek).hash(&mut hasher);
        hasher.finish()
    };
    let (operation, outcome) = (of.operation as u64, of.outcome as u64);
    [u64::from(database) | operation << 32 | outcome << 40, hash(0), hash(1)]
}

/// As much of a KEK's name as is kept.
fn cut(kek: &str) -> &str {
    let end = (0..=kek.len().min(KEK)).rev().find(|end| kek.is_char_boundary(*end));
    kek.get(..end.unwrap_or(0)).unwrap_or_default()
}
