//! What makes terms under an index key, kept from row to row: half of what a term costs is to begin.

use std::cell::RefCell;

use envelope::index_key::IndexKeys;
use envelope::search::Hasher;
use envelope::secret::wipe_stack;

use crate::error::{Error, Result};
use crate::memory::arena::Locked;

/// So many are kept of a key: more indexes under one key begin anew from row to row.
const MOST: usize = 8;

/// What a hasher is of, beside the key.
#[derive(Clone, Copy)]
pub struct Hashes<'a> {
    pub label: &'a str,
    pub rule: &'a str,
    /// Bytes of a hash.
    pub n: u8,
}

/// The hashers of one index key. They stand in the arena as the key does, and are wiped with it.
#[derive(Default)]
pub struct Hashers(RefCell<Vec<Kept>>);

struct Kept {
    label: Box<str>,
    rule: Box<str>,
    n: u8,
    hasher: Locked<Hasher>,
}

impl Hashers {
    /// Calls `f` with the one that is asked for, of `keys`. `f` asks for no other.
    pub fn with<T>(
        &self,
        keys: &IndexKeys,
        asked: Hashes<'_>,
        f: impl FnOnce(&Hasher) -> T,
    ) -> Result<T> {
        if let Some(kept) = self.0.borrow().iter().find(|kept| kept.is(asked)) {
            return Ok(f(&kept.hasher));
        }
        let kept = Kept::new(keys, asked)?;
        let mut all = self.0.borrow_mut();
        if all.len() == MOST {
            all.remove(0);
        }
        all.push(kept);
        drop(all);
        self.with(keys, asked, f)
    }
}

impl Kept {
    #[cold]
    fn new(keys: &IndexKeys, asked: Hashes<'_>) -> Result<Kept> {
        let hasher = ready(keys, asked);
        wipe_stack();
        let Hashes { label, rule, n } = asked;
        Ok(Kept { label: label.into(), rule: rule.into(), n, hasher: hasher? })
    }

    #[inline]
    fn is(&self, asked: Hashes<'_>) -> bool {
        self.n == asked.n && *self.label == *asked.label && *self.rule == *asked.rule
    }
}

/// The hasher in its place. It comes there by way of the stack: the caller wipes what is left below it.
#[inline(never)]
fn ready(keys: &IndexKeys, Hashes { label, rule, n }: Hashes<'_>) -> Result<Locked<Hasher>> {
    let hasher = Hasher::new(keys.terms(), keys.key_id(), label, rule, n)
        .map_err(|wrong| Error::Corrupt(format!("envelope.column_index.term_length: {wrong}")))?;
    Locked::new(hasher)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use envelope::forms::Sink;
    use envelope::secret::DataKey;

    use super::*;
    use crate::memory::arena;

    fn keys() -> IndexKeys {
        IndexKeys::from_index_key(&DataKey::try_from_slice(&[7; 32]).unwrap())
    }

    fn term(hashers: &Hashers, keys: &IndexKeys, (label, rule, n): (&str, &str, u8)) -> Vec<u8> {
        let mut term = Vec::new();
        hashers
            .with(keys, Hashes { label, rule, n }, |hasher| hasher.term(b"x", &mut term))
            .unwrap();
        term
    }

    /// Each index has the terms that a hasher of its own makes, whichever were asked for before.
    #[test]
    fn each_index_has_its_own() {
        let (hashers, keys) = (Hashers::default(), keys());
        let all: Vec<_> = (8..=32)
            .flat_map(|n| [("a", "exact/1", n), ("b", "exact/1", n), ("a", "nfc/1", n)])
            .collect();
        for _ in 0..2 {
            for asked in &all {
                let mut alone = Vec::new();
                let hasher = Hasher::new(keys.terms(), keys.key_id(), asked.0, asked.1, asked.2);
                hasher.unwrap().term(b"x", &mut alone);
                assert_eq!(term(&hashers, &keys, *asked), alone);
                assert_eq!(term(&hashers, &keys, *asked), alone);
            }
        }
        assert_eq!(hashers.0.borrow().len(), MOST);
        let wrong = Hashes { label: "a", rule: "exact/1", n: 33 };
        assert!(hashers.with(&keys, wrong, |_| ()).is_err());
    }

    /// Compares what is made, and needs no memory for that.
    struct IsSame<'a> {
        of: &'a [u8],
        at: usize,
        so_far: bool,
    }

    impl Sink for IsSame<'_> {
        fn push(&mut self, bytes: &[u8]) {
            self.so_far &= self.of.get(self.at..self.at + bytes.len()) == Some(bytes);
            self.at += bytes.len();
        }
    }

    /// Neither the keys nor what they derive is in the child. A term that is made all the same is not the key's.
    #[test]
    fn a_forked_child_has_nothing_to_make_terms_with() {
        let (hashers, keys) = (Hashers::default(), Locked::new(keys()).unwrap());
        let asked = ("a", "exact/1", 16);
        let made = term(&hashers, &keys, asked);
        // SAFETY: the child reads its memory and leaves without running anything else.
        let status = unsafe {
            let child = libc::fork();
            if child == 0 {
                // Even for someone who does not look at the key's id first.
                let mut is_made = IsSame { of: &made, at: 0, so_far: true };
                if let Some(kept) = (*hashers.0.as_ptr()).first() {
                    kept.hasher.term(b"x", &mut is_made);
                }
                libc::_exit(i32::from(!arena::is_zero() || is_made.so_far));
            }
            let mut status = -1;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            status
        };
        assert_eq!(status, 0);
        assert_eq!(term(&hashers, &keys, asked), made);
    }

    #[test]
    fn none_outlives_its_key() {
        let (hashers, keys) = (Hashers::default(), keys());
        assert!(arena::is_zero());
        term(&hashers, &keys, ("a", "exact/1", 8));
        assert!(!arena::is_zero());
        drop(hashers);
        assert!(arena::is_zero());
    }
}
