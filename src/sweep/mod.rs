//! Going through a table in batches: where each begins, what was done, what is left.

mod reencrypt;

pub use reencrypt::{Window, next_window, partitions_left, tell_passed, window_done};
