//! Nonces: 24 bytes from the operating system each, drawn in batches so that a row costs no
//! system call.
//!
//! A byte is used once: the position moves before the nonce is handed out and never back,
//! whatever happens after (error, savepoint, rollback). Nothing is stored, so nothing can be
//! repeated by a crash, a restore or a promoted standby. A forked child finds its page zeroed,
//! and with it the number of bytes left: it draws its own.

use std::cell::RefCell;

use crate::error::{Error, Result};
use crate::keyring::arena::Locked;

/// XAES-256-GCM's nonce length in bytes.
pub type Nonce = [u8; 24];

/// 170 nonces: a system call every 170 rows adds about 2 ns to each.
const BATCH: usize = 170 * size_of::<Nonce>();

struct Pool {
    left: usize,
    bytes: [u8; BATCH],
}

thread_local! {
    static POOL: RefCell<Option<Locked<Pool>>> = const { RefCell::new(None) };
}

/// A nonce that nobody has ever used.
pub fn fresh() -> Result<Nonce> {
    POOL.with_borrow_mut(|pool| {
        let pool = match pool {
            Some(pool) => pool,
            None => pool.insert(Locked::new(Pool { left: 0, bytes: [0; BATCH] })?),
        };
        if pool.left == 0 {
            getrandom::fill(&mut pool.bytes).map_err(|error| Error::System(error.to_string()))?;
            pool.left = BATCH;
        }
        pool.left -= size_of::<Nonce>();
        let mut nonce = Nonce::default();
        nonce.copy_from_slice(&pool.bytes[pool.left..][..size_of::<Nonce>()]);
        Ok(nonce)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn none_is_used_twice() {
        let nonces: std::collections::HashSet<_> = (0..10_000).map(|_| fresh().unwrap()).collect();
        assert_eq!(nonces.len(), 10_000);
    }

    #[test]
    fn a_forked_child_draws_its_own() {
        fresh().unwrap();
        let mut pipe = [0; 2];
        // SAFETY: the child only draws, writes to the pipe and leaves without running anything.
        let theirs = unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            if libc::fork() == 0 {
                let nonce = fresh().unwrap_or_default();
                libc::write(pipe[1], nonce.as_ptr().cast(), nonce.len());
                libc::_exit(0);
            }
            let mut theirs = Nonce::default();
            assert_eq!(libc::read(pipe[0], theirs.as_mut_ptr().cast(), theirs.len()), 24);
            theirs
        };
        assert_ne!(theirs, fresh().unwrap());
        assert_ne!(theirs, Nonce::default());
    }
}
