//! How a column of plaintext becomes a sealed one, and back: `envelope.plan`, `protect` and `unprotect`.
//!
//! [`read`] gives the [`facts`] that there are, [`wish`] is what is to be, [`obstacles`] what stands between. [`online`], [`in_place`]
//! and [`back`] write the statements, which [`run`] prints or runs as the current role: as anybody could by hand.

mod back;
mod carried;
mod facts;
mod in_place;
mod indexes;
mod obstacles;
mod online;
mod options;
mod read;
mod run;
mod step;
#[cfg(test)]
mod tests;
pub(super) mod text;
mod triggers;
mod values;
mod wish;

pub use options::OfColumn;
pub use run::{Asked, plan, protect, unprotect};
