//! Any bytes: no reader of a canonical form panics, and what one reads, its writer writes the same.
//!
//! `cargo +nightly fuzz run forms -- -max_total_time=60`

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/envelope/tests/again/mod.rs"]
mod again;

fuzz_target!(|form: &[u8]| again::check(form));
