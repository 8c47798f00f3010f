//! What this backend knows: tables and who may use their keys, the key that seals, how far it is worn, and
//! when to look again.

mod destroyed;
mod ends;
pub mod rights;
mod stale;
pub mod table;
pub mod users;
pub mod wear;

pub use destroyed::{destroyed, without_wraps};
pub use ends::{end_leases, key_made};
pub use stale::{
    begin_statement, catch_up, flush_everywhere, flush_own, look_again, mark_stale, resets,
    settings_changed,
};
