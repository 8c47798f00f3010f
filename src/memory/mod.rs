//! Where secrets live: locked pages, the unwrapped keys in them, each within its limits and for the identity
//! that the KMS gave it to, and the nonces that values are sealed under.

mod arena;
pub mod cache;
mod hash;
mod hashers;
pub mod identity;
mod lease_key;
pub mod leases;
mod limits;
mod nonce;
mod prefetch;
mod shared;
mod unwrapped;

pub use arena::{is_memory_locked, wipe_all};
pub use hash::{IdHasher, IdMap};
pub use hashers::Hashes;
pub use limits::{Limits, OwnLimits, Turn};
pub use nonce::fresh as fresh_nonce;
pub use prefetch::prefetch;
pub use shared::at_load;
pub use unwrapped::{Indexes, Unwrapped, count as cached_keys};

/// Whether there are unwrapped keys here in memory that is not locked.
pub fn holds_unlocked() -> bool {
    cached_keys() > 0 && !is_memory_locked()
}
