//! What is stored for a value.

use std::cell::RefCell;
use std::ops::Deref;

use envelope::forms::Sink;
use envelope::header::KeyId;
use envelope::search::{self, Drawn, TERM_PREFIX_LEN};
use pgrx::pg_sys::Datum;

use super::{Indexed, drawn, writing_key};
use crate::error::Result;
use crate::kek;
use crate::pg::array;
use crate::pg::varlena::VarlenaBuf;
use crate::values::index::recheck::with_scratch;
use crate::values::index::stored::{hashes, payloads_of};

/// The longest term.
const MOST: usize = TERM_PREFIX_LEN + 32;

thread_local! {
    /// Tokens while they are collected: memory that is kept from row to row.
    static TOKENS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

/// A term.
#[derive(Clone, Copy)]
pub struct Term {
    bytes: [u8; MOST],
    len: usize,
}

impl Term {
    /// Empty.
    pub fn new() -> Term {
        Term { bytes: [0; MOST], len: 0 }
    }
}

impl Deref for Term {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Sink for Term {
    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

impl Indexed<'_> {
    /// What the index column gets; `None`: it is NULL, for a value shorter than its prefix. 22023 for a value that
    /// cannot be indexed.
    pub fn datum(&self) -> Result<Option<Datum>> {
        if self.index.rule.is_tokens() {
            return self.with_tokens(|_| true, |tokens| Some(array::of_numbers(tokens)));
        }
        let term = self.term(writing_key(&self.owner, self.index)?)?;
        Ok(term.map(|term| VarlenaBuf::copy_of(&term).into_datum()))
    }

    /// Its term under that key.
    pub(super) fn term(&self, key_id: KeyId) -> Result<Option<Term>> {
        let drawn = match self.boundaries()? {
            Some(boundaries) => Some(Drawn { boundaries, bits: drawn::bits()? }),
            None => None,
        };
        let (asked, bytes) = (hashes(self.index), self.form.len());
        let made = kek::with_hasher(&self.owner, &key_id, self.by, bytes, asked, |hasher| {
            let mut made = None;
            let mut each = |payload: &[u8]| {
                let mut term = Term::new();
                hasher.term(payload, &mut term);
                made = Some(term);
            };
            let done = with_scratch(|scratch| {
                payloads_of(self.index, self.of, self.form, drawn, scratch, &mut each)
            });
            Ok(done.map(|()| made))
        })?;
        made.map_err(|why| self.unindexable(why))
    }

    /// Calls `f` with its tokens under the index keys that are `meant`, and their markers, as they are stored.
    pub(super) fn with_tokens<T>(
        &self,
        meant: impl Fn(KeyId) -> bool,
        f: impl FnOnce(&[i64]) -> T,
    ) -> Result<T> {
        // Taken, so that whatever happens within does not meet it.
        let mut tokens = TOKENS.take();
        tokens.clear();
        let keys = self.owner.index_keys().iter().map(|key| key.key_id);
        for key_id in keys.filter(|key_id| meant(*key_id)) {
            self.put_tokens(key_id, &mut tokens)?;
        }
        search::in_order(&mut tokens);
        let made = f(&tokens);
        TOKENS.set(tokens);
        Ok(made)
    }

    fn put_tokens(&self, key_id: KeyId, tokens: &mut Vec<i64>) -> Result<()> {
        let tokens = RefCell::new(tokens);
        let (asked, bytes) = (hashes(self.index), self.form.len());
        let made = kek::with_hasher(&self.owner, &key_id, self.by, bytes, asked, |hasher| {
            let mut tokens = tokens.borrow_mut();
            tokens.push(hasher.marker());
            let mut each = |payload: &[u8]| tokens.push(hasher.token(payload));
            Ok(with_scratch(|scratch| {
                payloads_of(self.index, self.of, self.form, None, scratch, &mut each)
            }))
        })?;
        made.map_err(|why| self.unindexable(why))
    }
}
