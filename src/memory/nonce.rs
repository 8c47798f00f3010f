//! Where nonces begin: 24 bytes from the operating system for each run of values that are sealed
//! one after the other ([`envelope::session`] has the argument). What the kernel may have made ahead of that for this
//! process is its own to keep from being used twice, in a forked child as in a cloned machine ([`crate::pg::random`]):
//! so a machine cloned with its memory repeats no more than the runs that are open.

use envelope::header::NONCE_LEN;

use crate::error::{Error, Result};
use crate::pg::random;

/// 24 bytes that nobody has ever used.
pub fn fresh() -> Result<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    random::fill(&mut nonce).map_err(|error| Error::System(error.to_string()))?;
    Ok(nonce)
}
