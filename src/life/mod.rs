//! What happens to a data key: created, rotated, wrapped by other KEKs, retired, destroyed, made ready ahead of time.

mod activate;
mod auto_rotate;
mod create;
mod destroy;
mod forget;
pub mod index_key;
mod keks;
mod minimum;
mod new_key;
mod retire;
mod rewrap;
mod rotate;
mod sealed_before;
mod warm;

pub use activate::activate_key;
pub use auto_rotate::{Rotated, after_seal, rotate_due};
pub use create::{create_key, on_first_use as create_on_first_use};
pub use destroy::{destroy_key, shred};
pub use forget::forget_keyring;
pub use keks::{add_kek, drop_kek};
pub use minimum::set_minimum_version;
pub use retire::{retire_key, unretire_key};
pub use rewrap::{Moved, rewrap};
pub use rotate::rotate_key;
pub use warm::{set_limits, warm};
