//! Index terms and tokens: made of values that are stored and of questions, and compared.

mod asked;
mod question;
mod recheck;
mod stored;
mod terms;
mod tokens;

pub use asked::{Given, Searched};
pub use question::{Op, Way, catalog_table, have_same_terms, in_column, is_named, the_one, way};
pub use recheck::Recheck;
#[allow(unused_imports, reason = "for what stores terms")]
pub use stored::{hasher, payloads_of};
pub use terms::{Asked, terms, tokens};
pub use tokens::{has_all, has_any};
