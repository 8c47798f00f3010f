//! The terms and tokens to ask an index for.

use std::cell::RefCell;

use envelope::header::KeyId;
use envelope::search::{
    self, Boundaries, End, FormType, Hasher, Kind, Refused, Room, Scratch, Subject,
};

use super::question::{self, Op};
use super::stored::{hashes, term_len};
use super::{Beyond, Given, Searched};
use crate::audit;
use crate::catalog::rows::Verb;
use crate::error::{Error, Result, SearchError};
use crate::kek;
use crate::keyring::table::{ColumnIndex, IndexKey, Table};
use crate::pg::encoding;
use crate::pg::varlena::VarlenaBuf;
use crate::values::{self, FormBuf};

/// A question to an index.
pub enum Asked<'a> {
    /// Of one value.
    Value(Op, &'a Given),
    /// From one value to another, both among them; `None`: to the end.
    Range(Option<&'a Given>, Option<&'a Given>),
}

/// What is asked for, once it is known.
enum Payloads<'a> {
    Value(search::Op, FormType, &'a [u8]),
    Range(End, End),
}

/// The terms of every index key that makes terms, side by side, and how long each is: a row has that of one.
pub fn terms(table: &Table, index: &ColumnIndex, asked: &Asked<'_>) -> Result<(Vec<u8>, usize)> {
    let mut terms = Vec::new();
    let len = search::TERM_PREFIX_LEN + usize::from(index.term_length.unwrap_or(search::TOKEN_LEN));
    let owner = key_owner(table, index)?;
    // Asked before a value is looked at.
    owner.require_right(Verb::Search)?;
    with_payloads(table, index, asked, |payloads| {
        for key in owner.index_keys() {
            let before = terms.len();
            terms.extend(under(
                &owner,
                index,
                &key.key_id,
                payloads,
                |hasher, payload, out: &mut Vec<u8>| {
                    hasher.term(payload, out);
                },
            )?);
            audit::searched(table.relation(), key.key_id, (terms.len() - before) / len);
        }
        if owner.index_keys().is_empty() { Err(no_key(&owner)) } else { Ok(()) }
    })?;
    Ok((terms, len))
}

/// Most index keys at once for which a question is planned by [`term`].
const MOST_PLANNED: usize = 8;

/// The term under the index key of that version, of a question that has at most one for each key; `None` if there is no
/// such key.
pub fn term(
    table: &Table,
    index: &ColumnIndex,
    asked: &Asked<'_>,
    version: i64,
) -> Result<Option<VarlenaBuf>> {
    let owner = key_owner(table, index)?;
    owner.require_right(Verb::Search)?;
    if owner.index_keys().is_empty() {
        return Err(no_key(&owner));
    }
    let is_it = |key: &&IndexKey| i64::from(key.version) == version;
    let Some(key) = owner.index_keys().iter().find(is_it) else { return Ok(None) };
    let term = RefCell::new(VarlenaBuf::of_len(term_len(index)));
    let mut has_one = false;
    with_payloads(table, index, asked, |payloads| {
        let one = |hasher: &Hasher, payload: &[u8], count: &mut usize| {
            hasher.write_term(payload, term.borrow_mut().as_mut_slice());
            *count += 1;
        };
        let count = under(&owner, index, &key.key_id, payloads, one)?;
        if count > 1 {
            return Err(no_answer(table, index));
        }
        has_one = count == 1;
        audit::searched(table.relation(), key.key_id, count);
        Ok(())
    })?;
    Ok(has_one.then(|| term.into_inner()))
}

/// The versions of the index keys by which a statement is planned: it asks for one [`term`] of each, and for that of the
/// [`key_since`]. `None` where a question has several terms for a key, and where there is no key: that is an error, which
/// the other function gives.
pub fn planned_versions(table: &Table, index: &ColumnIndex) -> Option<Vec<i64>> {
    let is_one = matches!(index.rule.kind(), Kind::Exact | Kind::Prefix(_) | Kind::Suffix(_));
    let owner = key_owner(table, index).ok().filter(|_| is_one)?;
    let versions: Vec<_> = owner.index_keys().iter().map(|key| key.version.into()).collect();
    (1..=MOST_PLANNED).contains(&versions.len()).then_some(versions)
}

/// The version of an index key that is there beside those of these versions: between a statement's planning and its
/// snapshot it may come, and make rows that the statement sees. `None` if there is none, 40001 if there are several.
pub fn key_since(table: &Table, index: &ColumnIndex, versions: &[i64]) -> Result<Option<i64>> {
    let owner = key_owner(table, index)?;
    owner.require_right(Verb::Search)?;
    let all = owner.index_keys().iter().map(|key| i64::from(key.version));
    let mut since = all.filter(|version| !versions.contains(version));
    let first = since.next();
    if since.next().is_some() { Err(Error::ChangedMeanwhile(owner.name())) } else { Ok(first) }
}

/// The tokens under the index key that the index is asked by, in order, each once. A row has all of them, or, of a range,
/// one; a range without values gives one that no row has.
pub fn tokens(table: &Table, index: &ColumnIndex, asked: &Asked<'_>) -> Result<Vec<i64>> {
    let owner = key_owner(table, index)?;
    owner.require_right(Verb::Search)?;
    let active = || owner.index_keys().iter().find(|key| key.is_active).map(|key| key.key_id);
    let key_id = index.key_id.or_else(active).ok_or_else(|| no_key(&owner))?;
    let mut tokens = Vec::new();
    with_payloads(table, index, asked, |payloads| {
        tokens = under(&owner, index, &key_id, payloads, |hasher, payload, out: &mut Vec<i64>| {
            out.push(hasher.token(payload));
        })?;
        if tokens.is_empty() {
            if let Payloads::Value(..) = payloads {
                return Err(refused(index, table, Refused::TooShort { least: 1 }));
            }
            let no_token = |hasher: &Hasher| Ok(hasher.no_token());
            let asked = hashes(index);
            tokens.push(kek::with_hasher(&owner, &key_id, Verb::Search, 0, asked, no_token)?);
        }
        Ok(())
    })?;
    search::in_order(&mut tokens);
    audit::searched(table.relation(), key_id, tokens.len());
    Ok(tokens)
}

/// The table whose index keys make the terms of an index of `table`.
pub fn key_owner(table: &Table, index: &ColumnIndex) -> Result<Table> {
    index.key_owner(table)
}

fn no_key(owner: &Table) -> Error {
    Error::NoIndexKey { table: owner.name(), key: None }
}

/// Calls `use_payloads` with what the question is about.
fn with_payloads(
    table: &Table,
    index: &ColumnIndex,
    asked: &Asked<'_>,
    use_payloads: impl FnOnce(&Payloads<'_>) -> Result<()>,
) -> Result<()> {
    question::require_built(index, table)?;
    let column = index.column_name.as_c_str();
    let policy = table.policy(column).ok_or_else(|| no_policy(table, index))?;
    let searched = Searched::of(policy)?;
    // A whole value is another one than what it is rounded to.
    let is_rounded = matches!(index.rule.subject(), Subject::Ordered(_));
    let place_of = |given: &Given, form: &mut FormBuf| {
        searched.place_of(given, is_rounded, (table, column), form)
    };
    let end = |given: &Option<&Given>| -> Result<End> {
        let Some(given) = given else { return Ok(End::Open) };
        let (mut form, mut room) = (FormBuf::new(), Room::new());
        match place_of(given, &mut form)? {
            Some(Beyond::Below) => return Ok(End::Below),
            Some(Beyond::Above) => return Ok(End::Above),
            None => {}
        }
        let value =
            search::value::of_form(searched.form_type(), form.as_slice(), &index.rule, &mut room);
        let end = value.map(End::of).map_err(|why| refused(index, table, why))?;
        end.ok_or_else(|| refused(index, table, Refused::NoAnswer))
    };
    match asked {
        Asked::Value(op, given) => match op.of_one() {
            Some(op) => {
                let mut form = FormBuf::new();
                if is_rounded && place_of(given, &mut form)?.is_some() {
                    // Nothing is equal to it.
                    return use_payloads(&Payloads::Range(End::Above, End::Below));
                }
                if !is_rounded {
                    searched.form_of(given, false, (table, column), &mut form)?;
                }
                use_payloads(&Payloads::Value(op, searched.form_type(), form.as_slice()))
            }
            None => {
                let end = end(&Some(given))?;
                use_payloads(&match op {
                    Op::Less | Op::LessOrEqual => Payloads::Range(End::Open, end),
                    _ => Payloads::Range(end, End::Open),
                })
            }
        },
        Asked::Range(low, high) => use_payloads(&Payloads::Range(end(low)?, end(high)?)),
    }
}

fn no_policy(table: &Table, index: &ColumnIndex) -> Error {
    let column = encoding::to_string(index.column_name.to_bytes());
    crate::error::PolicyError::None { column, table: table.name() }.into()
}

/// What `hash` makes of each payload under one index key.
fn under<T: Default>(
    owner: &Table,
    index: &ColumnIndex,
    key_id: &KeyId,
    payloads: &Payloads<'_>,
    hash: impl Fn(&Hasher, &[u8], &mut T),
) -> Result<T> {
    let boundaries = boundaries(owner, index)?;
    let scratch = RefCell::new(Scratch::new());
    let made = kek::with_hasher(owner, key_id, Verb::Search, 0, hashes(index), |hasher| {
        let mut out = T::default();
        let asked = each(index, payloads, boundaries, &mut scratch.borrow_mut(), &mut |payload| {
            hash(hasher, payload, &mut out);
        });
        Ok(asked.map(|()| out))
    })?;
    made.map_err(|why| refused(index, owner, why))
}

fn each(
    index: &ColumnIndex,
    payloads: &Payloads<'_>,
    boundaries: Option<&Boundaries>,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&[u8]),
) -> std::result::Result<(), Refused> {
    let rule = &index.rule;
    match payloads {
        Payloads::Range(low, high) => search::range(rule, *low, *high, boundaries, each),
        Payloads::Value(op, of, form) => {
            let mut room = Room::new();
            let value = search::value::of_form(*of, form, rule, &mut room)?;
            search::query(rule, *op, value, boundaries, scratch, each)
        }
    }
}

/// The boundary set of an index of kind buckets: parsed once, and kept while what is known of the table is.
fn boundaries<'a>(owner: &Table, index: &'a ColumnIndex) -> Result<Option<&'a Boundaries>> {
    let open = || values::boundaries::open(owner, index, Verb::Search);
    let has_boundaries = index.rule.kind() == Kind::Buckets;
    has_boundaries.then(|| index.boundaries(open)).transpose()
}

/// The error of a question that the index does not answer.
pub fn no_answer(table: &Table, index: &ColumnIndex) -> Error {
    refused(index, table, Refused::NoAnswer)
}

fn refused(index: &ColumnIndex, table: &Table, why: Refused) -> Error {
    let index_column = encoding::to_string(index.index_column.to_bytes());
    SearchError::Refused { index_column, table: table.name(), why }.into()
}
