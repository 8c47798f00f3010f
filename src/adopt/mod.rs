//! What keeps a database as it should be: `envelope.check()`.

mod check;

pub use check::{Outcome, check_all};
