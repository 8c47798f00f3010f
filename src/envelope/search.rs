//! Search: from a value to the terms and tokens that are stored beside its sealed form, and from a question to those
//! that it asks for.
//!
//! A [`Rule`] says what counts of a value; [`value::of_form`] reads that from the canonical form, [`payloads`] makes the
//! bytes of it that a [`Hasher`] hashes. [`query`] and [`range`] do the same for questions. Nothing is allocated for a
//! value once [`Scratch`] has held one as long; it is wiped after each.
//!
//! | module | what it knows |
//! |---|---|
//! | [`mod@rule`] | rules, their text, their limits |
//! | `hasher` | terms, tokens, markers |
//! | [`value`] | values by their canonical forms, index forms |
//! | [`ordinal`] | numbers in the order of a type |
//! | `normal`, `unicode` | normal forms of text, by Unicode 15.1.0 |
//! | `payload` | payloads of values, questions and ranges |
//! | `tree` | nodes and covers |
//! | [`boundaries`] | classes of `buckets` |
//! | `refused` | why a value has none |

pub mod boundaries;
mod hasher;
mod normal;
pub mod ordinal;
mod payload;
mod refused;
pub mod rule;
mod scratch;
mod tree;
mod unicode;
pub mod value;

pub use boundaries::{Boundaries, Sample};
pub use hasher::{Hasher, TERM_PREFIX_LEN, TOKEN_LEN, WrongTermLength, in_order, marker};
pub use normal::{Extent, normal_form};
pub use payload::{Drawn, End, MOST_STEPS, Op, payloads, query, range};
pub use refused::Refused;
pub use rule::{Kind, NormalForm, Ordered, Rule, Subject, Tree, WrongRule};
pub use scratch::{Scratch, Wiped};
pub use tree::Node;
pub use value::{FormType, Outside, Room, Value};
