//! Tests of the crate from outside, in one program: each of its own would have to be linked.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod again;
mod answers;
mod conformance;
mod contexts;
mod forms;
mod found;
mod kms_wraps;
mod search;
mod search_2;
mod search_properties;
mod tamper;
mod terms;
mod text;
mod vectors;
mod xaes_c2sp;
