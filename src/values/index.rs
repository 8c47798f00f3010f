//! Index terms and tokens: made of values, and compared.

mod tokens;

pub use tokens::{has_all, has_any};
