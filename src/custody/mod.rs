//! Whose a keyring is and who may use it: rights, tables that share it or take it over, drops, and the way from
//! one database to another.

mod drops;
pub mod followed;
mod grant;
pub mod links;
pub mod orphans;
mod transfer;

pub use drops::watch as watch_drops;
pub use followed::unfollow;
pub use grant::{Who, grant, has_privilege, revoke};
pub use links::{adopt, share, unshare};
pub use transfer::{
    Batch, How, Resolve, Step, export, import, longest_batch, longest_import, take,
};
