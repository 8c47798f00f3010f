//! What is stored for a value.

use std::cell::RefCell;

use envelope::header::KeyId;
use envelope::search::{self, Drawn, Hasher};
use pgrx::pg_sys::Datum;

use super::{Indexed, drawn, writing_key};
use crate::error::Result;
use crate::kek;
use crate::pg::array;
use crate::pg::varlena::VarlenaBuf;
use crate::values::index::recheck::with_scratch;
use crate::values::index::stored::{hashes, payloads_of, term_len};

thread_local! {
    /// Tokens while they are collected: memory that is kept from row to row.
    static TOKENS: RefCell<Vec<i64>> = const { RefCell::new(Vec::new()) };
}

impl Indexed<'_> {
    /// What the index column gets; `None`: it is NULL, for a value shorter than its prefix. 22023 for a value that
    /// cannot be indexed.
    pub fn datum(&self) -> Result<Option<Datum>> {
        if self.index.rule.is_tokens() {
            return self.with_tokens(|_| true, |tokens| Some(array::of_numbers(tokens)));
        }
        let key_id = writing_key(&self.owner, self.index)?;
        let term = RefCell::new(VarlenaBuf::of_len(term_len(self.index)));
        let write = |hasher: &Hasher, payload: &[u8]| {
            hasher.write_term(payload, term.borrow_mut().as_mut_slice());
        };
        let has_one = self.with_term(key_id, write)?;
        Ok(has_one.then(|| term.into_inner().into_datum()))
    }

    /// Calls `write` with the payload of its term under that key; whether it has one.
    fn with_term(&self, key_id: KeyId, write: impl Fn(&Hasher, &[u8])) -> Result<bool> {
        let drawn = match self.boundaries()? {
            Some(boundaries) => Some(Drawn { boundaries, bits: drawn::bits()? }),
            None => None,
        };
        let (asked, bytes) = (hashes(self.index), self.form.len());
        let made = kek::with_hasher(&self.owner, &key_id, self.by, bytes, asked, |hasher| {
            let mut has_one = false;
            let mut each = |payload: &[u8]| {
                write(hasher, payload);
                has_one = true;
            };
            let done = with_scratch(|scratch| {
                payloads_of(self.index, self.of, self.form, drawn, scratch, &mut each)
            });
            Ok(done.map(|()| has_one))
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
