//! Index terms and tokens: made of values that are stored and of questions, and compared.

mod asked;
mod held;
pub mod pairs;
mod question;
mod recheck;
mod stored;
mod terms;
mod tokens;

pub use asked::{Beyond, Given, Searched};
pub use held::{
    Indexed, Standing, Stored, is_asked, is_request, is_under_key, type_of, writing_key,
};
pub use question::{
    Op, Way, catalog_table, catalog_tables_of_keys, have_same_terms, in_column, is_named, the_one,
    way,
};
pub use recheck::Recheck;
pub use terms::{Asked, key_since, no_answer, planned_versions, term, terms, tokens};
pub use tokens::{has_all, has_any};
