//! From a wrapped key to a key: which KEK may wrap, what unwraps, which KEK stands in for one that is out
//! of reach, and what the KMS refused a moment ago.

mod alias;
mod allowed;
mod check;
mod failures;
mod fallover;
mod health;
mod index;
mod named;
mod provider;
mod sealing;
mod shared;
mod unwrap;
mod weaker;

pub use alias::resolve_now;
pub use allowed::{is_allowed, not_for_sealing, require_default, require_sealing};
pub use check::check_kek;
pub use failures::{is_kms_away, is_out_of_reach};
pub use fallover::{count as fallovers, first_in_reach};
pub use health::{Health, health};
pub use index::{By, with_boundaries_key, with_hasher};
pub use named::{Named, as_stored, default, named};
pub use provider::kms_error;
pub use sealing::sealing_key;
pub use unwrap::{ask, into_cache, record, wrap_again};
pub use weaker::{Stronger, warn_if_weaker};
