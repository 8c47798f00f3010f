//! Any bytes: rules and boundary sets are read in one way alone, and what a question asks for stands in every text that it is
//! true of.
//!
//! `cargo +nightly fuzz run search -- -max_total_time=60`

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/envelope/tests/found/mod.rs"]
mod found;

fuzz_target!(|bytes: &[u8]| found::check(bytes));
