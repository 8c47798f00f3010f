//! Plain data in shared memory behind a lock: a head, and places that are all alike.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use super::lock::{Lock, lock};

/// What may stand in shared memory: it holds no pointer and nothing that is to be dropped, and all zeros are a value of
/// it. [`plain`](crate::pg::shared::plain) makes it.
///
/// # Safety
/// That is so.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: numbers.
unsafe impl Plain for u8 {}
// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl Plain for u64 {}
// SAFETY: numbers.
unsafe impl Plain for i64 {}
// SAFETY: what its elements are.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Declares a structure whose fields all are [`Plain`], which it then is as well.
macro_rules! plain {
    ($(#[$doc:meta])* pub struct $name:ident $(<$of:ident>)? {
        $($(#[$field_doc:meta])* pub $field:ident: $kind:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct $name $(<$of>)? { $($(#[$field_doc])* pub $field: $kind,)* }
        // SAFETY: each field is.
        unsafe impl $(<$of: $crate::pg::shared::Plain>)? $crate::pg::shared::Plain for $name $(<$of>)?
        where $($kind: $crate::pg::shared::Plain,)* {}
    };
}
pub(crate) use plain;

/// A head and places in shared memory. A process may not use one while it uses one.
pub struct Board<H, P> {
    at: AtomicPtr<u8>,
    places: AtomicUsize,
    lock: AtomicUsize,
    of: PhantomData<Cell<(H, P)>>,
}

// SAFETY: all that is shared stands behind the lock.
unsafe impl<H: Plain, P: Plain> Sync for Board<H, P> {}

impl<H: Plain, P: Plain> Board<H, P> {
    /// One that is nowhere yet.
    pub const fn new() -> Self {
        Board {
            at: AtomicPtr::new(std::ptr::null_mut()),
            places: AtomicUsize::new(0),
            lock: AtomicUsize::new(0),
            of: PhantomData,
        }
    }

    /// How much memory it takes.
    pub const fn bytes(places: usize) -> usize {
        Self::head().saturating_add(places.saturating_mul(size_of::<P>()))
    }

    const fn head() -> usize {
        size_of::<H>().next_multiple_of(128)
    }

    /// It stands at `at`, where [`Self::bytes`] of `places` were asked for, behind the lock of that number. To be called
    /// by an area's `attach`, and by nobody else.
    pub fn attach(&self, at: NonNull<u8>, places: usize, lock: usize) {
        self.places.store(places, Relaxed);
        self.lock.store(lock, Relaxed);
        self.at.store(at.as_ptr(), Relaxed);
    }

    /// Whether there is one: not without preload.
    pub fn is_there(&self) -> bool {
        self.lock().is_some()
    }

    /// How many places it has.
    pub fn places(&self) -> usize {
        self.places.load(Relaxed)
    }

    /// What `read` makes of it, together with others who read; `None` where there is none.
    pub fn read<T>(&self, read: impl FnOnce(&H, &[P]) -> T) -> Option<T> {
        let _held = self.lock()?.shared();
        // SAFETY: memory of that size, aligned to a cache line, all zeros or written as what it is; nobody writes while
        // the lock is held.
        let (head, places) = unsafe {
            let at = self.at.load(Relaxed);
            let places = at.add(Self::head()).cast::<P>();
            (&*at.cast::<H>(), std::slice::from_raw_parts(places, self.places()))
        };
        Some(read(head, places))
    }

    /// As [`Self::read`], alone, to change it. `change` neither waits nor raises.
    pub fn change<T>(&self, change: impl FnOnce(&mut H, &mut [P]) -> T) -> Option<T> {
        let _held = self.lock()?.exclusive();
        // SAFETY: as above; nobody else reads or writes while the lock is held.
        let (head, places) = unsafe {
            let at = self.at.load(Relaxed);
            let places = at.add(Self::head()).cast::<P>();
            (&mut *at.cast::<H>(), std::slice::from_raw_parts_mut(places, self.places()))
        };
        Some(change(head, places))
    }

    fn lock(&self) -> Option<Lock> {
        if self.at.load(Relaxed).is_null() { None } else { lock(self.lock.load(Relaxed)) }
    }
}
