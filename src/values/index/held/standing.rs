//! Whether what stands in an index column is of the value beside it.

use std::cell::RefCell;
use std::collections::HashSet;

use envelope::header::KeyId;
use envelope::search::{self, Boundaries, Op, Room, TERM_PREFIX_LEN, marker};
use uuid::Uuid;

use super::{Indexed, Stored, writing_key};
use crate::catalog::rows::{self, Purpose, Verb};
use crate::error::Result;
use crate::kek::{self, By};
use crate::keyring::table::{ColumnIndex, Table};
use crate::pg::array::Numbers;
use crate::values::boundaries;
use crate::values::index::recheck::with_scratch;
use crate::values::index::stored::{hashes, payloads_of, term_len};
use crate::values::index::terms::key_owner;

/// The longest term.
const MOST: usize = TERM_PREFIX_LEN + 32;

/// How that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// As it would be written now.
    Current,
    /// As it was right under another index key, or before a class was split: a row that moves to another partition
    /// brings it along.
    Former,
    /// Not of this value.
    Wrong,
}

impl Indexed<'_> {
    /// Of what stands there. 22023 for a value that cannot be indexed.
    pub fn standing(&self, stored: &Stored<'_>) -> Result<Standing> {
        match stored {
            Stored::Term(term) => self.standing_of_term(term),
            Stored::Tokens(tokens) => self.standing_of_tokens(tokens),
        }
    }

    fn standing_of_term(&self, stored: &[u8]) -> Result<Standing> {
        let writing = writing_key(&self.owner, self.index)?;
        let is_pinned = self.index.key_id.is_some();
        let keys = self.owner.index_keys().iter().map(|key| key.key_id);
        for key_id in keys.filter(|key_id| *key_id == writing || !is_pinned) {
            if !stored.starts_with(&key_id.0[..TERM_PREFIX_LEN]) {
                continue;
            }
            return Ok(match self.compare(key_id, stored)? {
                Some(true) if key_id == writing => Standing::Current,
                Some(_) => Standing::Former,
                None => Standing::Wrong,
            });
        }
        Ok(Standing::Wrong)
    }

    /// Whether the term is one of the value's under that key; and one that it may get now.
    fn compare(&self, key_id: KeyId, stored: &[u8]) -> Result<Option<bool>> {
        let (boundaries, len) = (self.boundaries()?, term_len(self.index).min(MOST));
        let (asked, bytes) = (hashes(self.index), self.form.len());
        let done = kek::with_hasher(&self.owner, &key_id, self.by, bytes, asked, |hasher| {
            let mut found = None;
            let mut each = |payload: &[u8]| {
                let mut term = [0; MOST];
                let term = &mut term[..len];
                hasher.write_term(payload, term);
                if *term == *stored {
                    found = Some(boundaries.is_none_or(|set| is_of_now(set, payload)));
                }
            };
            let done = with_scratch(|scratch| match boundaries {
                None => payloads_of(self.index, self.of, self.form, None, scratch, &mut each),
                Some(set) => {
                    let (rule, mut room) = (&self.index.rule, Room::new());
                    let value = search::value::of_form(self.of, self.form, rule, &mut room)?;
                    search::query(rule, Op::Equal, value, Some(set), scratch, &mut each)
                }
            });
            Ok(done.map(|()| found))
        })?;
        done.map_err(|why| self.unindexable(why))
    }

    fn standing_of_tokens(&self, stored: &Numbers<'_>) -> Result<Standing> {
        let Some(stored) = stored.plain() else { return Ok(Standing::Wrong) };
        if self.with_tokens(|_| true, |tokens| tokens == stored)? {
            return Ok(Standing::Current);
        }
        // The sets of those keys that it says it has.
        let is_in_order = stored.is_sorted_by(|one, other| one < other);
        let has = |token: i64| is_in_order && stored.binary_search(&token).is_ok();
        let (is_whole, is_all) = self.with_tokens(
            |key_id| has(marker(key_id)),
            |tokens| (tokens.iter().all(|token| has(*token)), tokens.len() == stored.len()),
        )?;
        if !is_in_order || !is_whole || stored.is_empty() {
            return Ok(Standing::Wrong);
        }
        let is_known = is_all || self.former_markers()?.into_iter().any(has);
        Ok(if is_known { Standing::Former } else { Standing::Wrong })
    }

    /// The markers of index keys that open no more: what they have made nobody can compare.
    #[cold]
    fn former_markers(&self) -> Result<Vec<i64>> {
        let open = self.owner.index_keys();
        let keys = rows::data_keys(self.owner.sealing_keyring()?)?.into_iter();
        let former = keys.filter(|key| {
            key.purpose == Purpose::Index && open.iter().all(|open| open.key_id != key.key_id)
        });
        Ok(former.map(|key| marker(key.key_id)).collect())
    }
}

/// Whether the payload is that of a class that values get now, or of no class.
fn is_of_now(set: &Boundaries, payload: &[u8]) -> bool {
    match payload.get(4..8).and_then(|class| <[u8; 4]>::try_from(class).ok()) {
        Some(class) if payload.len() == 8 => {
            let class = u32::from_be_bytes(class);
            set.intervals().any(|classes| classes.contains(&class))
        }
        _ => true,
    }
}

/// Whether what stands in the column, beside whatever value, was written under the key that is written under now, and is
/// one of the classes of now: by itself, without a look at the value. For those who may manage the table's keys.
pub fn is_under_key(table: &Table, index: &ColumnIndex, stored: &Stored<'_>) -> Result<bool> {
    let owner = key_owner(table, index)?;
    let key_id = writing_key(&owner, index)?;
    match stored {
        Stored::Tokens(tokens) => {
            let marker = marker(key_id);
            Ok(tokens.plain().is_some_and(|tokens| tokens.binary_search(&marker).is_ok()))
        }
        Stored::Term(term) => {
            if term.len() != term_len(index) || !term.starts_with(&key_id.0[..TERM_PREFIX_LEN]) {
                return Ok(false);
            }
            if index.rule.kind() != search::Kind::Buckets {
                return Ok(true);
            }
            let set = index.boundaries(|| boundaries::open(&owner, index, Verb::Manage))?;
            if set.is_settling() {
                is_of_classes(table, &owner, index, set, key_id, term)
            } else {
                Ok(true)
            }
        }
    }
}

/// Whether queries find what stands there: tokens are asked for under one key.
pub fn is_asked(table: &Table, index: &ColumnIndex, stored: &Stored<'_>) -> Result<bool> {
    let Stored::Tokens(tokens) = stored else { return Ok(true) };
    let asked = match index.key_id {
        Some(key_id) => key_id,
        None => writing_key(&key_owner(table, index)?, index)?,
    };
    Ok(tokens.present().any(|token| token == marker(asked)))
}

/// The terms of the classes of now.
struct Classes {
    /// Of one reading of a table, and one of its indexes.
    of: (u64, Uuid),
    terms: HashSet<Vec<u8>>,
}

thread_local! {
    static CLASSES: RefCell<Option<Classes>> = const { RefCell::new(None) };
}

fn is_of_classes(
    table: &Table,
    owner: &Table,
    index: &ColumnIndex,
    set: &Boundaries,
    key_id: KeyId,
    term: &[u8],
) -> Result<bool> {
    let of = (table.number(), index.id);
    let is_known = CLASSES.with_borrow(|known| known.as_ref().is_some_and(|known| known.of == of));
    if !is_known {
        let (by, asked) = (By::Right(Verb::Manage), hashes(index));
        let terms = kek::with_hasher(owner, &key_id, by, 0, asked, |hasher| {
            let mut terms = HashSet::new();
            let mut each = |payload: &[u8]| {
                let mut term = Vec::new();
                hasher.term(payload, &mut term);
                terms.insert(term);
            };
            search::range(
                &index.rule,
                search::End::Open,
                search::End::Open,
                Some(set),
                &mut |payload| {
                    if is_of_now(set, payload) {
                        each(payload);
                    }
                },
            )
            .map_err(|_| crate::error::Error::Corrupt("a boundary set has no classes".into()))?;
            Ok(terms)
        })?;
        CLASSES.set(Some(Classes { of, terms }));
    }
    Ok(CLASSES.with_borrow(|known| known.as_ref().is_some_and(|known| known.terms.contains(term))))
}
