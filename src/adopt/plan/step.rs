//! A step of a plan.

use std::borrow::Cow;

/// One row of `envelope.plan`.
#[derive(Debug)]
pub struct Step {
    /// What to run; none where people have something to do.
    pub sql: Option<String>,
    /// The lock that it takes on the table, and for how long.
    pub lock: Cow<'static, str>,
    pub remark: String,
}

pub const NO_LOCK: &str = "none";
pub const LOOK: &str = "ACCESS SHARE, a moment";
pub const EXCLUSIVE: &str = "ACCESS EXCLUSIVE, a moment";
pub const SWAP: &str =
    "ACCESS EXCLUSIVE, a moment; before that the table is read once, and reads and writes go on";
pub const NO_WRITES: &str = "SHARE ROW EXCLUSIVE, a moment";
pub const NO_CHANGE: &str = "SHARE UPDATE EXCLUSIVE, a moment";
pub const ONE_READ: &str =
    "SHARE UPDATE EXCLUSIVE, while the table is read once; reads and writes go on";
pub const BATCHES: &str = "ROW EXCLUSIVE, a batch at a time; reads and writes go on";

impl Step {
    pub fn run(sql: impl Into<String>, lock: impl Into<Cow<'static, str>>, remark: &str) -> Step {
        Step { sql: Some(sql.into()), lock: lock.into(), remark: remark.into() }
    }

    /// For people.
    pub fn wait(remark: impl Into<String>) -> Step {
        Step { sql: None, lock: NO_LOCK.into(), remark: remark.into() }
    }
}
