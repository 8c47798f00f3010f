//! Going through a table in batches: where each begins, what was done, what is left.

pub mod faults;
mod reencrypt;

pub use reencrypt::{Window, next_window, partitions_left, tell_passed, window_done};
