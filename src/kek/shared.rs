//! What of a key is shared with the other backends of the server: the lease, who asks, what was refused.

use std::time::{Duration, Instant};

use envelope::lease;

use super::failures::is_out_of_reach;
use super::provider;
use super::unwrap::Answer;
use crate::catalog::rows::{self, DataKeyRow, WrappedKey};
use crate::error::Result;
use crate::figures;
use crate::kms::{Kind, KmsError};
use crate::memory::cache;
use crate::memory::leases::{self, Asking, Bounds, Found, Name, Taken};
use crate::settings;

/// A key that may be shared, seen by whoever asks now.
pub struct Shared {
    row: DataKeyRow,
    key: leases::Key,
    /// All that the KMS decides by but the wrap itself: as whom it is asked, and where.
    way: Name,
    /// [`leases::as_of`] before the catalog was read.
    as_of: u64,
    /// Milliseconds for which the key may be kept.
    ttl: u64,
    timeout: Duration,
}

impl Shared {
    /// `None` for a key that is nobody else's business: one that the open transaction makes or changes, one that does not
    /// open, one that was used so much here that the KMS is to be asked.
    pub fn new(row: DataKeyRow, as_of: u64) -> Result<Option<Shared>> {
        let key_id = row.key_id;
        if !row.state.opens()
            || cache::is_made_here(key_id)
            || cache::is_used_up(key_id)
            || rows::is_data_key_of_own_writing(key_id)?
        {
            return Ok(None);
        }
        let way = provider::way();
        let (key, ttl) = (leases::Key::new(&row, &way), cache::limits(&row)?.ttl_ms);
        Ok(Some(Shared { row, key, way, as_of, ttl, timeout: settings::kms_timeout() }))
    }

    /// What there is. A lease by a KEK that wraps the key no more, since a transaction that took it away was committed by
    /// another session than its own, ends here.
    pub fn find(&self) -> Result<Found> {
        let found = self.key.find(self.ttl)?;
        if let Found::Ready(lease) = &found
            && !self.is_wrapped_as(lease)?
        {
            self.key.end();
            return Ok(Found::Nothing);
        }
        Ok(found)
    }

    fn is_wrapped_as(&self, lease: &leases::Lease) -> Result<bool> {
        let wraps = rows::each_wrapped_key(self.row.key_id)?;
        Ok(wraps.iter().any(|(kek, _)| lease.is_by(kek)))
    }

    /// Notes that the key was looked for.
    pub fn note_lookup(&self, is_hit: bool) {
        self.key.note_lookup(is_hit);
    }

    /// Keeps what a lease gives; where the next one is due and is not asked for here, for `pause` milliseconds.
    pub fn keep(&self, lease: &leases::Lease, pause: u64) -> Result<()> {
        figures::lease_hit(self.row.key_id);
        cache::insert_leased(self.row, lease.data_key(), lease.bounds(pause), false)
    }

    /// Waits for the one who asks, since `since` for all of them; whether he was done in time, which is that of so many
    /// wraps one after the other: he may be at the next one, while the KEK of the first does not answer.
    pub fn wait(&self, since: Instant, wraps: usize) -> bool {
        let begun = Instant::now();
        let limit = self.patience(wraps);
        let left = limit.saturating_sub(begun.saturating_duration_since(since));
        let is_over = self.key.wait(self.ttl, left);
        figures::lease_waited(self.row.key_id, begun.elapsed());
        is_over
    }

    /// Lets this backend ask for all, by so many wraps one after the other.
    pub fn take(&self, wraps: usize, has_waited: bool) -> Taken {
        let more = Duration::from_secs(1).saturating_mul(times(wraps));
        self.key.take(self.ttl, self.patience(wraps).saturating_add(more), has_waited)
    }

    /// How long it may take to ask for so many wraps one after the other.
    fn patience(&self, wraps: usize) -> Duration {
        self.timeout.saturating_mul(times(wraps))
    }

    /// `kek` gave the key, for which this backend asked: it is the others', too.
    pub fn ready(&self, asking: Asking, answer: &Answer) -> Result<Option<Bounds>> {
        let terms = (self.as_of, self.ttl);
        asking.ready(&self.key, &answer.data_key, &answer.kek, terms)
    }

    /// The KMS refuses the key: it is nobody's any more.
    pub fn revoke(&self) {
        self.key.revoke();
    }

    /// What the KMS answered another backend a moment ago, if that stands for this one, too.
    pub fn standing(&self, wrap: &WrappedKey) -> Option<KmsError> {
        let names = [self.kek(wrap), self.wrap(wrap)];
        let class = names.iter().find_map(|name| leases::refusal(name, self.timeout))?;
        let (_, kind, message) = CLASSES.into_iter().find(|(number, ..)| *number == class)?;
        let message = format!("{message}, as another session was told a moment ago");
        Some(KmsError::new(kind, &wrap.kek, message))
    }

    /// Tells others what the KMS answered after `elapsed`, if it was the KMS that did.
    pub fn remember(&self, wrap: &WrappedKey, error: &KmsError, elapsed: Duration) {
        let class = CLASSES.into_iter().find(|(_, kind, _)| *kind == error.kind);
        let Some((class, ..)) = class else { return };
        let is_away = is_out_of_reach(error.kind);
        let name = if is_away { self.kek(wrap) } else { self.wrap(wrap) };
        // One that has no answer in its time knows nothing of what a longer wait would have brought.
        let is_over_time = error.kind == Kind::Unavailable && elapsed >= self.timeout * 9 / 10;
        leases::refuse(name, self.row.key_id, class, is_over_time.then_some(self.timeout));
    }

    /// The KMS has answered.
    pub fn forgive(&self, wrap: &WrappedKey) {
        leases::forgive(&self.kek(wrap));
        leases::forgive(&self.wrap(wrap));
    }

    /// The one who asks was waited for, and is not done.
    pub fn not_in_time(&self, wraps: &[WrappedKey]) -> KmsError {
        let kek = wraps.first().map(|wrap| wrap.kek.as_str()).unwrap_or_default();
        let message = format!(
            "another session asks for the same key, and had no answer within {} ms",
            self.patience(wraps.len()).as_millis()
        );
        KmsError::new(Kind::Unavailable, kek, message)
    }

    /// Names a KEK, which is out of reach for all keys.
    fn kek(&self, wrap: &WrappedKey) -> Name {
        lease::name(&("kek", self.database(), self.way, &wrap.kek))
    }

    /// Names one wrap, which is refused by itself.
    fn wrap(&self, wrap: &WrappedKey) -> Name {
        let context = wrap.kms_context.canonical_json();
        lease::name(&("wrap", self.database(), self.way, &wrap.kek, &wrap.wrapped, &*context))
    }

    fn database(&self) -> u32 {
        self.key.database()
    }
}

fn times(wraps: usize) -> u32 {
    u32::try_from(wraps.max(1)).unwrap_or(u32::MAX)
}

/// What others are told of: a number, which kind of answer it is, and in words. What is wrong with a wrap or a URI is
/// mended in the catalog.
const CLASSES: [(u32, Kind, &str); 5] = [
    (1, Kind::Denied, "the use of the KEK is denied"),
    (2, Kind::Credentials, "the server's credentials do not count"),
    (3, Kind::KeyState, "the KEK cannot be used"),
    (4, Kind::Throttled, "too many requests"),
    (5, Kind::Unavailable, "out of reach"),
];

/// Whether the KMS was asked and says no, for everybody who asks so.
pub fn is_denial(error: &KmsError) -> bool {
    matches!(error.kind, Kind::Denied | Kind::KeyState)
}
