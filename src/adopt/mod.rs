//! What a database is to keep, and whether it does: policies, and `envelope.check()`.

mod check;
pub mod policy;

pub use check::{Outcome, check_all};
