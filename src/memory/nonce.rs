//! Where nonces begin: 24 bytes from the operating system for each run of values that are sealed
//! one after the other ([`envelope::session`] has the argument). Nothing is drawn in advance, so
//! that a machine cloned with its memory repeats no more than the runs that are open.

use envelope::header::NONCE_LEN;

use crate::error::{Error, Result};

/// 24 bytes that nobody has ever used.
pub fn fresh() -> Result<[u8; NONCE_LEN]> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).map_err(|error| Error::System(error.to_string()))?;
    Ok(nonce)
}
