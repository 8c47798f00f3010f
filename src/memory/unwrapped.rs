//! An unwrapped key in use: how long and how much, and what is kept with it so that a row costs
//! little: the derived keys of the values sealed and opened last.
//!
//! Everything derived from a key stands in the arena as the key does, and is wiped with it. From a key that seals
//! only what seals and opens is derived, from an index key only what makes terms.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use envelope::header::{KeyId, Sealed};
use envelope::index_key::IndexKeys;
use envelope::search::Hasher;
use envelope::secret::{DataKey, wipe_stack};
use envelope::session::Session;
use envelope::value::{Opening, SealError, SealKey};
use envelope::xaes::DoesNotOpen;

use crate::catalog::rows::Purpose;
use crate::error::{Error, Result};
use crate::figures;
use crate::memory::arena::Locked;
use crate::memory::hashers::{Hashers, Hashes};
use crate::memory::leases::Bounds;
use crate::memory::limits::Limits;
use crate::memory::nonce;
use crate::memory::prefetch::prefetch;
use crate::pg::{clock, stack, xact};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// An unwrapped key of this backend.
pub struct Unwrapped {
    key: Key,
    /// When it was unwrapped, on [`clock::monotonic_ms`]'s scale.
    since: u64,
    /// Taken off the time to live, differing from key to key, so that keys fetched together do
    /// not expire together; in 1/1024 of it, at most a sixteenth.
    jitter: u64,
    /// Goes on to be used until then, past its time, while the KMS is out of reach.
    stale_until: u64,
    /// When the lease that it came from ends, and when the next one is to be looked for; else never.
    leased_until: u64,
    look_at: u64,
    uses: Cell<u64>,
    bytes: Cell<u64>,
    figures: figures::Held,
}

/// What was derived from the key, by what it is for.
enum Key {
    Seals(Seals),
    Indexes(Indexes),
}

/// What makes terms.
pub struct Indexes {
    keys: Locked<IndexKeys>,
    hashers: Hashers,
    figures: Rc<figures::Key>,
}

/// What seals and opens.
struct Seals {
    key: Locked<SealKey>,
    sealing: RefCell<Option<Locked<Sealing>>>,
    opening: RefCell<Option<Locked<Opening>>>,
}

/// The run of nonces that values are being sealed under. It ends with the top-level transaction,
/// and when the table's choice of how long a run is has changed. Zeroed by a fork it is no
/// transaction's.
struct Sealing {
    session: Session,
    transaction: u64,
    values: u32,
}

/// Unwrapped keys in this backend.
pub fn count() -> usize {
    COUNT.get()
}

impl Unwrapped {
    /// Derives from `data_key` what it is for, as of now.
    pub fn new(purpose: Purpose, data_key: &DataKey) -> Result<Unwrapped> {
        let random = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
        let figures = figures::Held::of(envelope::derive::key_id(data_key));
        let key = ready(purpose, data_key, &figures);
        wipe_stack();
        let unwrapped = Unwrapped {
            key: key?,
            figures,
            since: clock::monotonic_ms(),
            jitter: u64::from(random % 65),
            stale_until: 0,
            leased_until: u64::MAX,
            look_at: u64::MAX,
            uses: Cell::new(0),
            bytes: Cell::new(0),
        };
        COUNT.set(COUNT.get() + 1);
        Ok(unwrapped)
    }

    /// As it came from a lease: it ends with that, by the limits of whoever has it even before. `wear`: what it was used
    /// for here already, since the KMS gave it.
    pub fn leased(mut self, bounds: Bounds, (uses, bytes): (u64, u64)) -> Unwrapped {
        self.since = bounds.since;
        self.jitter = 0;
        self.leased_until = bounds.until;
        self.look_at = bounds.look_at;
        self.uses.set(uses);
        self.bytes.set(bytes);
        self
    }

    /// Whether it came from a lease.
    pub fn is_leased(&self) -> bool {
        self.leased_until != u64::MAX
    }

    /// Values that it was used for, and their bytes.
    pub fn wear(&self) -> (u64, u64) {
        (self.uses.get(), self.bytes.get())
    }

    /// The id that the key itself gives: another one when a fork has zeroed its page.
    pub fn key_id(&self) -> KeyId {
        match &self.key {
            Key::Seals(seals) => seals.key.key_id(),
            Key::Indexes(indexes) => indexes.keys.key_id(),
        }
    }

    /// See [`prefetch`]: what was derived from the key, too.
    pub fn prefetch(&self) {
        let seals = match &self.key {
            Key::Seals(seals) => seals,
            Key::Indexes(indexes) => return prefetch::<IndexKeys>(&indexes.keys),
        };
        prefetch::<SealKey>(&seals.key);
        if let Some(sealing) = &*seals.sealing.borrow() {
            prefetch::<Sealing>(sealing);
        }
        if let Some(opening) = &*seals.opening.borrow() {
            prefetch::<Opening>(opening);
        }
    }

    /// What makes terms; an error when the key seals values.
    pub fn index_keys(&self) -> Result<&Indexes> {
        match &self.key {
            Key::Indexes(indexes) => Ok(indexes),
            Key::Seals(_) => Err(Error::OtherPurpose(self.key_id())),
        }
    }

    /// What seals and opens; an error when the key makes terms.
    #[inline]
    fn seals(&self) -> Result<&Seals> {
        match &self.key {
            Key::Seals(seals) => Ok(seals),
            Key::Indexes(_) => Err(Error::OtherPurpose(self.key_id())),
        }
    }

    /// Seals `plaintext` to `frame`, which is 58 bytes longer.
    #[inline(always)]
    pub fn seal(
        &self,
        limits: &Limits,
        context: &[u8],
        plaintext: &[u8],
        frame: &mut [u8],
    ) -> Result<()> {
        stack::note_use();
        let seals = self.seals()?;
        let mut sealing = seals.sealing.borrow_mut();
        let sealing =
            kept(&mut sealing, || Sealing { session: Session::none(), transaction: 0, values: 0 })?;
        let goes_on =
            sealing.transaction == xact::number() && sealing.values == limits.session_values;
        if goes_on {
            match seals.key.seal(&mut sealing.session, context, plaintext, frame) {
                Ok(()) => {
                    self.figures.sealed(plaintext.len());
                    return Ok(());
                }
                Err(SealError::SessionOver) => {}
                Err(_) => return Err(Error::TooLong(plaintext.len())),
            }
        }
        seals.begin(sealing, limits)?;
        seals
            .key
            .seal(&mut sealing.session, context, plaintext, frame)
            .map_err(|_| Error::TooLong(plaintext.len()))?;
        self.figures.sealed(plaintext.len());
        Ok(())
    }

    /// Opens `sealed` to `plaintext`, which is as long as its ciphertext.
    #[inline(always)]
    pub fn open(
        &self,
        sealed: &Sealed<'_>,
        context: &[u8],
        plaintext: &mut [u8],
    ) -> Result<std::result::Result<(), DoesNotOpen>> {
        stack::note_use();
        let seals = self.seals()?;
        let mut opening = seals.opening.borrow_mut();
        let opening = kept(&mut opening, Opening::none)?;
        let opened = seals.key.open(opening, sealed, context, plaintext);
        if opened.is_ok() {
            self.figures.opened(plaintext.len());
        }
        Ok(opened)
    }

    /// One more value of `bytes` bytes.
    pub fn note_use(&self, bytes: usize) {
        self.uses.set(self.uses.get() + 1);
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
    }

    /// Within `limits` at the time `now`.
    pub fn is_within(&self, limits: &Limits, now: u64) -> bool {
        now < self.expires(limits).min(self.look_at).max(self.stale_until)
            && !self.is_used_up(limits)
    }

    /// Not even a KMS that is out of reach lets it be used again.
    pub fn is_over(&self, limits: &Limits, now: u64) -> bool {
        now >= self.expires(limits).saturating_add(limits.stale_ms) || self.is_used_up(limits)
    }

    /// Lets it be used past its time until `until`, as far as `limits` allow.
    pub fn serve_stale(&mut self, limits: &Limits, until: u64) {
        self.stale_until = until.min(self.expires(limits).saturating_add(limits.stale_ms));
    }

    fn expires(&self, limits: &Limits) -> u64 {
        let ttl = limits.ttl_ms - limits.ttl_ms / 1024 * self.jitter;
        self.since.saturating_add(ttl).min(self.leased_until)
    }

    fn is_used_up(&self, limits: &Limits) -> bool {
        is_used_up(self.wear(), limits)
    }
}

/// Whether a key that was used so much, for values and their bytes, is to be asked for anew.
#[inline(always)]
pub fn is_used_up((uses, bytes): (u64, u64), limits: &Limits) -> bool {
    limits.uses.is_some_and(|limit| uses >= limit)
        || limits.bytes.is_some_and(|limit| bytes >= limit)
}

impl Indexes {
    /// Calls `use_hasher` with what makes the terms that are asked for.
    #[inline]
    pub fn with_hasher<T>(
        &self,
        asked: Hashes<'_>,
        use_hasher: impl FnOnce(&Hasher) -> T,
    ) -> Result<T> {
        stack::note_use();
        self.figures.hashed();
        self.hashers.with(&self.keys, asked, use_hasher)
    }

    /// The keys themselves.
    pub fn keys(&self) -> &IndexKeys {
        &self.keys
    }
}

impl Seals {
    #[inline(never)]
    fn begin(&self, sealing: &mut Sealing, limits: &Limits) -> Result<()> {
        sealing.session.begin(&self.key, &nonce::fresh()?, limits.session_values);
        sealing.transaction = xact::number();
        sealing.values = limits.session_values;
        Ok(())
    }
}

impl Drop for Unwrapped {
    fn drop(&mut self) {
        // At thread exit the count may be gone before the keys.
        let _ = COUNT.try_with(|count| count.set(count.get() - 1));
    }
}

/// The key in its place. It comes there by way of the stack: the caller wipes what is left below it.
#[inline(never)]
fn ready(purpose: Purpose, data_key: &DataKey, figures: &figures::Held) -> Result<Key> {
    Ok(match purpose {
        Purpose::Seal => Key::Seals(Seals {
            key: Locked::new(SealKey::from_data_key(data_key))?,
            sealing: RefCell::new(None),
            opening: RefCell::new(None),
        }),
        Purpose::Index => Key::Indexes(Indexes {
            keys: Locked::new(IndexKeys::from_index_key(data_key))?,
            hashers: Hashers::default(),
            figures: figures.share(),
        }),
    })
}

/// What stands in `slot`, put there on first use.
fn kept<T>(slot: &mut Option<Locked<T>>, new: impl FnOnce() -> T) -> Result<&mut T> {
    if slot.is_none() {
        *slot = Some(Locked::new(new())?);
    }
    match slot {
        Some(kept) => Ok(kept),
        None => Err(Error::System("no memory".into())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::memory::arena;

    const LIMITS: Limits =
        Limits { ttl_ms: 1000, uses: None, bytes: None, stale_ms: 0, session_values: 65_536 };

    fn unwrapped() -> Unwrapped {
        of_purpose(Purpose::Seal)
    }

    fn of_purpose(purpose: Purpose) -> Unwrapped {
        Unwrapped::new(purpose, &DataKey::try_from_slice(&[7; 32]).unwrap()).unwrap()
    }

    fn seal(key: &Unwrapped, limits: &Limits) -> [u8; 59] {
        let mut frame = [0; 59];
        key.seal(limits, b"", b"x", &mut frame).unwrap();
        frame
    }

    #[test]
    fn a_sealed_value_opens() {
        let key = unwrapped();
        let frame = seal(&key, &LIMITS);
        let mut plaintext = [0];
        let sealed = Sealed::parse(&frame).unwrap();
        assert_eq!(key.open(&sealed, b"", &mut plaintext).unwrap(), Ok(()));
        assert_eq!(plaintext, *b"x");
        assert!(key.open(&sealed, b"other", &mut plaintext).unwrap().is_err());
    }

    /// The key, and the keys derived for sealing and for opening.
    #[test]
    fn no_key_outlives_its_entry() {
        let key = unwrapped();
        let frame = seal(&key, &LIMITS);
        key.open(&Sealed::parse(&frame).unwrap(), b"", &mut [0]).unwrap().unwrap();
        assert!(!arena::is_zero());
        assert_eq!(count(), 1);
        drop(key);
        assert!(arena::is_zero());
        assert_eq!(count(), 0);
    }

    #[test]
    fn a_key_is_for_one_thing_alone() {
        let (seals, indexes) = (of_purpose(Purpose::Seal), of_purpose(Purpose::Index));
        assert_eq!(seals.key_id().0, indexes.key_id().0);
        let frame = seal(&seals, &LIMITS);
        let sealed = Sealed::parse(&frame).unwrap();
        let is_refused = |error: Error| matches!(error, Error::OtherPurpose(_));
        assert!(indexes.seal(&LIMITS, b"", b"x", &mut [0; 59]).is_err_and(is_refused));
        assert!(indexes.open(&sealed, b"", &mut [0]).is_err_and(is_refused));
        assert!(seals.index_keys().is_err_and(is_refused));
        assert!(indexes.index_keys().is_ok());
    }

    #[test]
    fn no_index_key_outlives_its_entry() {
        let key = of_purpose(Purpose::Index);
        assert!(!arena::is_zero());
        drop(key);
        assert!(arena::is_zero());
    }

    #[test]
    fn a_changed_choice_begins_another_run() {
        let key = unwrapped();
        let once = Limits { session_values: 1, ..LIMITS };
        let prefixes = [LIMITS, LIMITS, once, once, LIMITS, LIMITS]
            .map(|limits| seal(&key, &limits)[18..30].to_vec());
        assert_eq!(prefixes[0], prefixes[1]);
        assert_eq!(prefixes[4], prefixes[5]);
        let different: std::collections::HashSet<_> = prefixes.into_iter().collect();
        assert_eq!(different.len(), 4);
    }

    /// Neither the key nor the run of nonces nor what was derived is in the child.
    #[test]
    fn a_forked_child_has_nothing_to_go_on_with() {
        let key = unwrapped();
        let frame = seal(&key, &LIMITS);
        key.open(&Sealed::parse(&frame).unwrap(), b"", &mut [0]).unwrap().unwrap();
        // SAFETY: the child reads its memory and leaves without running anything else.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(i32::from(!(arena::is_zero() && is_dead(&key))));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(status, 0);
        assert!(!is_dead(&key));
    }

    /// Even for someone who does not look at the id first.
    fn is_dead(key: &Unwrapped) -> bool {
        let seals = key.seals().unwrap();
        let mut sealing = seals.sealing.borrow_mut();
        let Some(sealing) = sealing.as_mut() else { return true };
        let sealed = seals.key.seal(&mut sealing.session, b"", b"x", &mut [0; 59]);
        sealed == Err(SealError::SessionOver)
            && sealing.transaction != xact::number()
            && key.key_id() != envelope::derive::key_id(&DataKey::try_from_slice(&[7; 32]).unwrap())
    }
}
