//! What of a column is left to be done, and what is left alone: by the headers of all its values, as they are at one
//! moment.

use std::ffi::CStr;
use std::ops::ControlFlow;

use envelope::header::{KeyId, peek_key_id};

use crate::catalog::rows::{self, Purpose, State};
use crate::catalog::write::reencryption::Work;
use crate::census::look;
use crate::error::{Error, Passed, Result};
use crate::keyring::table::Table;
use crate::memory::IdMap;
use crate::pg::table_scan::Moment;
use crate::pg::{attribute, encoding};

/// What the headers of a column's values say.
#[derive(Default)]
pub struct Left {
    /// Whether there is one that is to be changed: under another key, or in clear.
    pub is_to_do: bool,
    pub passed: Passed,
}

/// Looks at all values in `column` of `table`. A value that is to be changed ends it, unless all are to be counted:
/// then values that PostgreSQL cannot read do not stop it either. What a `source` says is to be sealed where nothing stands
/// beside it, or where the source is to be emptied.
pub fn look(
    now: &Moment,
    work: Work,
    table: &Table,
    column: i16,
    source: Option<Source<'_>>,
    keys: &Keys,
    counts: bool,
) -> Result<Left> {
    let (mut left, mut failed) = (Left::default(), None);
    let mut known = IdMap::default();
    let beside = source.map(|source| number_of(table, source.name)).transpose()?;
    let is_emptied = source.is_some_and(|source| source.is_emptied);
    // The row of a source, which is met first, until what stands beside it is met.
    let mut waits = None;
    look::at_all_beside(now, table.relation(), &[column], beside, counts, |seen| {
        let waited = waits.take();
        let is_source = Some(seen.column) == beside;
        if waited.is_some_and(|row| is_source || row != seen.row) || is_source && is_emptied {
            left.is_to_do = true;
            return ControlFlow::Break(());
        }
        if is_source {
            waits = Some(seen.row);
            return ControlFlow::Continue(());
        }
        let kind = match peek_key_id(seen.head) {
            Some(key_id) if key_id == keys.active => return ControlFlow::Continue(()),
            Some(key_id) if keys.old.contains(&key_id) => {
                left.is_to_do |= work == Work::Reencrypt;
                return if left.is_to_do && !counts {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                };
            }
            Some(key_id) => match known.get(&key_id) {
                Some(kind) => Ok(*kind),
                None => Kind::of(key_id, table).inspect(|kind| {
                    // Of unknown ones there may be as many as somebody has made up.
                    if !matches!(kind, Kind::Unknown) {
                        known.insert(key_id, *kind);
                    }
                }),
            },
            // One of which not even this could be read is told of elsewhere.
            None if seen.is_unreadable => return ControlFlow::Continue(()),
            None => Ok(Kind::Plaintext),
        };
        match kind {
            Ok(Kind::Plaintext) if work == Work::Seal && !counts => {
                left.is_to_do = true;
                return ControlFlow::Break(());
            }
            Ok(kind) => kind.count_in(&mut left.passed),
            Err(error) => {
                failed = Some(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    left.is_to_do |= waits.is_some();
    failed.map_or(Ok(left), Err)
}

fn number_of(table: &Table, name: &CStr) -> Result<i16> {
    attribute::number(table.relation(), name).ok_or_else(|| Error::NoSuchColumn {
        column: encoding::to_string(name.to_bytes()),
        table: table.name(),
    })
}

/// A column that plaintext comes in.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// In the server's encoding.
    pub name: &'a CStr,
    /// It is emptied once its value is sealed.
    pub is_emptied: bool,
}

/// Counts a value that is left alone, by the key that it names.
pub fn count(key_id: Option<KeyId>, table: &Table, passed: &mut Passed) -> Result<()> {
    let kind = key_id.map_or(Ok(Kind::Plaintext), |key_id| Kind::of(key_id, table))?;
    kind.count_in(passed);
    Ok(())
}

/// The data keys that values of a table may be under.
pub struct Keys {
    pub active: KeyId,
    /// The others that were active before; destroyed ones left out.
    pub old: Vec<KeyId>,
}

impl Keys {
    /// Those of `table`, which seals under `active`.
    pub fn of(table: &Table, active: KeyId) -> Result<Keys> {
        let mut old = Vec::new();
        // Those too that the role may not open with: a value under one of their keys is an error, and not
        // passed by.
        for keyring_id in table.keyrings() {
            let keys = rows::data_keys(keyring_id)?.into_iter();
            old.extend(
                keys.filter(|key| {
                    key.purpose == Purpose::Seal
                        && !matches!(key.state, State::Destroyed | State::Pending)
                        && key.key_id != active
                })
                .map(|key| key.key_id),
            );
        }
        Ok(Keys { active, old })
    }
}

/// What is left alone.
#[derive(Clone, Copy)]
enum Kind {
    Plaintext,
    OfOthers,
    Unknown,
    Destroyed,
    /// Under a key of the table that came after the active one, and may be active elsewhere.
    Ahead,
}

impl Kind {
    /// Of values under `key_id`, which is none that `table` is brought to or from.
    fn of(key_id: KeyId, table: &Table) -> Result<Kind> {
        Ok(match rows::data_key(key_id)? {
            None => Kind::Unknown,
            Some(row) if !table.keyrings().any(|id| id == row.keyring_id) => Kind::OfOthers,
            Some(row) if row.state == State::Pending => Kind::Ahead,
            Some(_) => Kind::Destroyed,
        })
    }

    fn count_in(self, passed: &mut Passed) {
        *match self {
            Kind::Plaintext => &mut passed.plaintext,
            Kind::OfOthers => &mut passed.of_others,
            Kind::Unknown => &mut passed.unknown,
            Kind::Destroyed => &mut passed.destroyed,
            Kind::Ahead => return,
        } += 1;
    }
}
