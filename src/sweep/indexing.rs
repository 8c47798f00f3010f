//! What the building of an index does with a row, and when all have their terms.

use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};

use envelope::header::{KeyId, peek_key_id};
use envelope::search::Kind;
use pgrx::pg_sys::{self, Datum};

use crate::catalog::rows::IndexRow;
use crate::catalog::{self, write};
use crate::error::{Error, IndexError, Result};
use crate::kek::By;
use crate::keyring::table::{self, ColumnIndex, Table};
use crate::keyring::{self};
use crate::pg::relation::{self, display_name};
use crate::pg::sealing::SealingTrigger;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::pg::{attribute, encoding, lock, report, types};
use crate::sweep::family::family;
use crate::sweep::faults::{self, Fault, Stored};
use crate::sweep::sealing::Cell;
use crate::sweep::{left, looking};
use crate::values::boundaries;
use crate::values::index::{self, Indexed, Standing, Stored as Terms, pairs};

/// The index in that column of `table`; 42704 when there is none, 42703 when there is no such column.
pub fn index_in<'t>(table: &'t Table, name: &CStr) -> Result<&'t ColumnIndex> {
    let found = table.all_indexes().iter().find(|it| it.index_column.as_c_str() == name);
    found.ok_or_else(|| {
        let index_column = encoding::to_string(name.to_bytes());
        match attribute::number(table.relation(), name) {
            None => Error::NoSuchColumn { column: index_column, table: table.name() },
            Some(_) => IndexError::None { index_column, table: table.name(), column: None }.into(),
        }
    })
}

/// The index key under which its terms are written; of tokens, the active one.
pub fn key(table: &Table, index_column: &CStr) -> Result<KeyId> {
    let index = index_in(table, index_column)?;
    index::writing_key(&owner_of(table, index)?, index)
}

fn owner_of(table: &Table, index: &ColumnIndex) -> Result<Table> {
    index.key_owner(table)
}

/// What an index is brought to: another text whenever rows need other terms.
pub fn goal(
    relation: pg_sys::Oid,
    column: &CStr,
    index_column: &CStr,
    quiet: bool,
) -> Result<String> {
    let table = table::to_change(relation)?;
    let index = index_in(&table, index_column)?;
    if index.column_name.as_c_str() != column {
        let [index_column, column] =
            [index_column, column].map(|name| encoding::to_string(name.to_bytes()));
        let column = Some(column);
        return Err(IndexError::None { index_column, table: table.name(), column }.into());
    }
    owner_of(&table, index)?.require_manage_right()?;
    if !quiet && !has_trigger(relation, column, |_| true) {
        return Err(no_trigger(relation, column));
    }
    if index.is_unique && index.key_id.is_some_and(|key_id| !is_active(&table, index, key_id)) {
        report::notice_at_length(
            format!(
                "the unique index in column \"{}\" stays under the index key that it was made with",
                encoding::to_string(index_column.to_bytes())
            ),
            "That key was rotated: one value must not have two terms.",
            "Add a second column by envelope.add_index, and let it take the place of this one: envelope.swap_index.",
        );
    }
    pairs::begin(index.id)?;
    let goal = goal_of(&table, index)?;
    looking::begin(relation, &goal);
    Ok(goal)
}

fn is_active(table: &Table, index: &ColumnIndex, key_id: KeyId) -> bool {
    owner_of(table, index).is_ok_and(|owner| {
        owner.index_keys().iter().any(|key| key.is_active && key.key_id == key_id)
    })
}

pub(super) fn goal_of(table: &Table, index: &ColumnIndex) -> Result<String> {
    let mut boundaries = DefaultHasher::new();
    index.boundaries.hash(&mut boundaries);
    let key_id = index::writing_key(&owner_of(table, index)?, index)?;
    Ok(format!("{key_id} {} {:x}", index.id, boundaries.finish()))
}

fn no_trigger(relation: pg_sys::Oid, column: &CStr) -> Error {
    let (column, table) = (encoding::to_string(column.to_bytes()), display_name(relation));
    IndexError::NoTrigger { column, table }.into()
}

fn has_trigger(
    relation: pg_sys::Oid,
    column: &CStr,
    is_meant: impl Fn(&SealingTrigger) -> bool,
) -> bool {
    catalog::sealing_triggers(relation).iter().filter(|trigger| is_meant(trigger)).any(|trigger| {
        trigger.arguments.iter().any(|argument| {
            argument.to_bytes().split(|byte| *byte == b'=').next() == Some(column.to_bytes())
        })
    })
}

/// All rows were brought to `goal`: notes it, unless one is left or rows need other terms by now; whether it is so. Of a
/// partition there is nothing to note. An error where rows of a foreign partition are left. Without a trigger that makes
/// the terms of what is written from now on, it is not noted either.
pub fn built(relation: pg_sys::Oid, index_column: &CStr, goal: &str) -> Result<bool> {
    pairs::end();
    table::to_change(relation)?;
    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    keyring::look_again();
    let table = table::get(relation)?;
    let index = index_in(&table, index_column)?;
    let with_rows = match relation::pages(relation) {
        Some(_) => vec![relation],
        None => family(relation)?.parts,
    };
    let is_done = looking::nothing_left(relation, &with_rows, goal)?;
    if !is_done || goal_of(&table, index)? != goal {
        return Ok(false);
    }
    if let Some(part) = looking::left_elsewhere(relation, index_column)? {
        return Err(IndexError::LeftElsewhere {
            index_column: encoding::to_string(index_column.to_bytes()),
            partition: display_name(part),
            none: if index.rule.is_tokens() { "{}" } else { "" },
        }
        .into());
    }
    if !has_trigger(relation, &index.column_name, |trigger| trigger.fires) {
        let no_trigger = no_trigger(relation, &index.column_name);
        let hint = no_trigger.hint().unwrap_or_default();
        report::warning_at_length(
            no_trigger.to_string(),
            "All rows have their terms, and the index is not used: rows that are written get none."
                .into(),
            format!("{hint} Then CALL envelope.build_index again."),
        );
        return Ok(true);
    }
    if index.relation != relation {
        return Ok(true);
    }
    let (row, owner): (&IndexRow, _) = (index, owner_of(&table, index)?);
    let key_id = index::writing_key(&owner, index)?;
    if row.boundaries.is_some() {
        boundaries::renew(&owner, row, key_id, true)?;
    }
    if index.rule.is_tokens() && row.key_id != Some(key_id) {
        write::indexes::set_key(row.id, Some(key_id))?;
    }
    if !row.built {
        write::indexes::set_built(row.id, true)?;
    }
    Ok(true)
}

/// What a call gives as what stands in an index column. Anybody may call, with a value of any type.
#[derive(Clone, Copy)]
pub struct GivenTerms {
    pub datum: Datum,
    pub kind: pg_sys::Oid,
}

impl GivenTerms {
    /// 42804 when it is of another type than the column.
    fn read<'a>(&self, index: &ColumnIndex) -> Result<Terms<'a>> {
        require_kind(index, self.kind)?;
        // SAFETY: a non-null value of the index column's type, which outlives this call.
        Ok(unsafe { Terms::of(&index.rule, self.datum) })
    }
}

fn require_kind(index: &ColumnIndex, kind: pg_sys::Oid) -> Result<()> {
    let (needs, needed) = match index.rule.is_tokens() {
        true => (pg_sys::INT8ARRAYOID, "bigint[]"),
        false => (pg_sys::BYTEAOID, "bytea"),
    };
    if kind == needs {
        return Ok(());
    }
    Err(IndexError::WrongColumn {
        index_column: encoding::to_string(index.index_column.to_bytes()),
        table: display_name(index.relation),
        is: types::display_name(kind, -1),
        needs: needed,
    }
    .into())
}

/// A row of an index column: the cell of its value, and the index.
pub struct IndexCell<'a> {
    pub cell: Cell<'a>,
    pub index_column: &'a CStr,
}

impl IndexCell<'_> {
    /// Whether the terms beside `value` are to be made: those that are there are none of its, or not of now. Not where the
    /// value is in clear, or under a key that is none of the table's or is destroyed: those have none.
    pub fn is_left(&self, value: Option<Stored<'_>>, terms: Option<GivenTerms>) -> Result<bool> {
        let table = table::get(self.cell.relation)?;
        let index = index_in(&table, self.index_column)?;
        let Some(value) = value else { return Ok(terms.is_some()) };
        let Ok(value) = value else { return Ok(terms.is_none()) };
        let Some(key_id) = peek_key_id(&value) else {
            looking::meet(|met| left::count(None, &table, met))?;
            return Ok(false);
        };
        if !table.is_in_use(key_id)? {
            looking::meet(|met| left::count(Some(key_id), &table, met))?;
            return Ok(false);
        }
        if let Some(terms) = terms {
            let stored = terms.read(index)?;
            let is_of_now = index::is_under_key(&table, index, &stored)?;
            if index.built || !is_of_now {
                return Ok(!is_of_now);
            }
            // What stands there may be of another index, which had the column before, or of a row that came with a
            // partition: the value says it.
            if pairs::knows(index.id, &value, &stored) {
                return Ok(false);
            }
            return self.is_other(&table, index, value, &stored);
        }
        match index.rule.kind() {
            // Shorter values have none.
            Kind::Prefix(_) | Kind::Suffix(_) => match self.made(&table, index, Ok(value))? {
                Some(made) => Ok(made.is_some()),
                None => Ok(true),
            },
            _ => Ok(true),
        }
    }

    /// Whether those are other terms than those of `value`, or it does not open.
    fn is_other(
        &self,
        table: &Table,
        index: &ColumnIndex,
        value: Varlena<'_>,
        stored: &Terms<'_>,
    ) -> Result<bool> {
        let Ok(opened) = self.open_bytes(&value)? else { return Ok(true) };
        let policy = table.policy(self.cell.column);
        let kind = policy.map(index::type_of).transpose()?.flatten();
        let standing = Indexed::of(table, index, By::Reader, kind.as_ref(), opened.as_slice())
            .and_then(|indexed| indexed.standing(stored));
        opened.wipe_and_free();
        match standing {
            Err(error) if is_unindexable(&error) => Ok(true),
            standing => {
                let is_current = standing? == Standing::Current;
                if is_current {
                    pairs::note(index.id, &value, stored);
                }
                Ok(!is_current)
            }
        }
    }

    /// Whether the value has no terms that could be made: it does not open, or the index cannot take it.
    pub fn is_damaged(&self, value: Option<Stored<'_>>) -> Result<bool> {
        let Some(value) = value else { return Ok(false) };
        let table = table::get(self.cell.relation)?;
        let index = index_in(&table, self.index_column)?;
        Ok(self.made(&table, index, value)?.is_none())
    }

    /// The terms of `value`, which are of type `kind`.
    pub fn terms(&self, value: Stored<'_>, kind: pg_sys::Oid) -> Result<Option<Datum>> {
        let table = table::to_change(self.cell.relation)?;
        let index = index_in(&table, self.index_column)?;
        require_kind(index, kind)?;
        let opened = match &value {
            Ok(value) => self.open_bytes(value)?,
            Err(_) => return self.open(value)?.map_or_else(|fault| Err(fault.error), |_| Ok(None)),
        };
        let opened = opened.map_err(|fault| fault.error)?;
        let made = self.made_of(&table, index, &opened);
        opened.wipe_and_free();
        if let (Ok(value), Ok(Some(made))) = (&value, &made) {
            // SAFETY: made for the index's column, in memory that is PostgreSQL's.
            pairs::note(index.id, value, &unsafe { Terms::of(&index.rule, *made) });
        }
        made
    }

    /// As [`Self::terms`]; `None` for a value that has none that could be made.
    fn made(
        &self,
        table: &Table,
        index: &ColumnIndex,
        value: Stored<'_>,
    ) -> Result<Option<Option<Datum>>> {
        let Ok(opened) = self.open(value)? else { return Ok(None) };
        let made = self.made_of(table, index, &opened);
        opened.wipe_and_free();
        match made {
            Err(error) if is_unindexable(&error) => Ok(None),
            made => made.map(Some),
        }
    }

    fn made_of(
        &self,
        table: &Table,
        index: &ColumnIndex,
        opened: &VarlenaBuf,
    ) -> Result<Option<Datum>> {
        let policy = table.policy(self.cell.column);
        let kind = policy.map(index::type_of).transpose()?.flatten();
        Indexed::of(table, index, By::Writer, kind.as_ref(), opened.as_slice())?.datum()
    }

    fn open(&self, value: Stored<'_>) -> Result<std::result::Result<VarlenaBuf, Fault>> {
        self.with_contexts(|contexts| faults::open(self.cell.relation, contexts, value))
    }

    /// As that, of bytes that were read.
    fn open_bytes(&self, value: &[u8]) -> Result<std::result::Result<VarlenaBuf, Fault>> {
        self.with_contexts(|contexts| faults::open_bytes(self.cell.relation, contexts, value))
    }

    fn with_contexts<T>(&self, f: impl FnOnce(&[&[u8]]) -> T) -> T {
        let contexts = self.cell.contexts;
        match contexts.former {
            None => f(&[contexts.now]),
            Some(former) => f(&[contexts.now, former]),
        }
    }
}

/// What is wrong with a row: `value` does not open under any of `contexts`, or one of the index columns does not hold its
/// terms. The value is opened once.
pub fn fault<'a>(
    relation: pg_sys::Oid,
    contexts: &[&[u8]],
    value: Option<Stored<'_>>,
    columns: impl Iterator<Item = (&'a CStr, Option<GivenTerms>)>,
) -> Result<Option<Fault>> {
    let (table, mut key_id) = (table::get(relation)?, None);
    let opened = match value {
        None => None,
        Some(value) => {
            key_id = value.as_ref().ok().and_then(|value| peek_key_id(value));
            match faults::open(relation, contexts, value)? {
                Ok(opened) => Some(opened),
                Err(fault) => return Ok(Some(fault)),
            }
        }
    };
    let mut found = Ok(None);
    for (index_column, terms) in columns {
        let form = opened.as_ref().map(VarlenaBuf::as_slice);
        found =
            index_in(&table, index_column).and_then(|index| fault_in(&table, index, form, terms));
        if !matches!(found, Ok(None)) {
            break;
        }
    }
    if let Some(opened) = opened {
        opened.wipe_and_free();
    }
    let to_fault = |what: &'static str, index_column: &CStr| Fault {
        key_id,
        error: IndexError::OtherTerms {
            index_column: encoding::to_string(index_column.to_bytes()),
            table: display_name(relation),
            what,
        }
        .into(),
        is_damage: false,
    };
    Ok(found?.map(|(index_column, what)| to_fault(what, &index_column)))
}

/// What is wrong with the terms of one index beside the value whose form that is.
fn fault_in(
    table: &Table,
    index: &ColumnIndex,
    form: Option<&[u8]>,
    terms: Option<GivenTerms>,
) -> Result<Option<(CString, &'static str)>> {
    let fault = |what| Ok(Some((index.index_column.clone(), what)));
    let Some(form) = form else {
        return if terms.is_some() {
            fault("holds terms, and the row has no value")
        } else {
            Ok(None)
        };
    };
    let kind = table.policy(&index.column_name).map(index::type_of).transpose()?.flatten();
    let indexed = Indexed::of(table, index, By::Reader, kind.as_ref(), form)?;
    let Some(terms) = terms else {
        return match indexed.datum() {
            // A value that the index cannot take is found by no question either.
            Ok(None) => Ok(None),
            Err(error) if is_unindexable(&error) => Ok(None),
            Ok(Some(_)) if !index.built => Ok(None),
            Ok(Some(_)) => fault("does not hold the terms of the row's value"),
            Err(error) => Err(error),
        };
    };
    let stored = terms.read(index)?;
    let standing = match indexed.standing(&stored) {
        Err(error) if is_unindexable(&error) => Standing::Wrong,
        standing => standing?,
    };
    match standing {
        Standing::Wrong => fault("holds other terms than those of the row's value"),
        _ if index.built && !index::is_asked(table, index, &stored)? => {
            fault("lacks the tokens that queries ask for")
        }
        _ => Ok(None),
    }
}

/// Whether it is the index that cannot take the value.
fn is_unindexable(error: &Error) -> bool {
    matches!(error, Error::Index(why) if matches!(**why, IndexError::Unindexable { .. }))
}
