//! What the planner asks about a call of a function: support functions' requests, and the nodes that answer them.
//!
//! A condition may be one of an index only if its value does not change while the index is read: PostgreSQL does not
//! look again, and a backend that reads a column of the scanned row there crashes. [`Request::IndexCondition`] sees to it.

mod answer;
mod request;
mod simplify;

pub use answer::Node;
pub use request::Request;
pub(crate) use request::support_function;
pub use simplify::{Argument, Condition, Simplify};

/// An operator of `bigint[]`, by PostgreSQL's own number of it.
#[derive(Clone, Copy)]
pub enum SetOperator {
    /// `&&`
    Overlap,
    /// `@>`
    Contains,
}
