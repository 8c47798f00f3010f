//! How often, how much and how long: what this process has done with keys and asked of KMSs, and what all processes of
//! the server have.
//!
//! A process counts in its own memory. At the end of each transaction, however that ends, and at its own end it adds to
//! the shared memory what has come since ([`add_up`]); so no row pays for that, and nothing is counted twice. Without
//! preload there is no shared memory, and only the process's own memory of KMSs is of use.

mod key;
mod kms;
mod latency;
mod shared;
mod table;

pub use key::{Held, Key, fell_over, kms_request, lease_hit, lease_waited, missed};
pub use kms::{Operation, Outcome, kms_operation};
pub use latency::BOUNDS_MS;
pub use shared::{
    AREAS, FIRST_LOCK, KeyRow, KmsRow, LOCKS, Seen, add_up, backends_unlocked, keys, leave, of_kms,
    reset, seen, since,
};
