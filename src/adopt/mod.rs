//! What a database is to keep, and whether it does: policies, search indexes, views, `envelope.check()`, `envelope.lint()`.

mod check;
pub mod index;
mod lint;
pub mod plan;
pub mod policy;
pub mod views;
pub mod write_through;

pub use check::{Finding, Outcome, check_all};
pub use lint::lint;
