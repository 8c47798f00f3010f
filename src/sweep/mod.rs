//! Going through a table in batches: where each begins, what was done, what is left.

pub mod batch;
pub mod distributed;
mod family;
pub mod faults;
pub mod indexing;
mod left;
pub mod looking;
pub mod sealing;
pub mod source;
mod told;
mod windows;

pub use crate::catalog::write::reencryption::Work;
pub use family::family;
pub use left::Source;
pub use told::tell_passed;
pub use windows::{Call, Done, Window, next_window, require_no_block, settle, window_done};
