//! What a view shows: the table's columns in their order, opened values in the place of sealed ones, and after them
//! what new values are written to.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::Mask;
use crate::catalog::rows::{Form, PolicyRow};
use crate::catalog::{self, views};
use crate::error::{Error, PolicyError, Result, ViewError};
use crate::keyring::table;
use crate::pg::relation::display_name;
use crate::pg::{attribute, column, encoding, quote, relation};

/// A column of the view.
pub struct Column {
    pub name: CString,
    pub shows: Shows,
}

/// What it shows.
pub enum Shows {
    /// The table's column of that number as it is.
    Stored {
        number: i16,
        has_default: bool,
    },
    Opened(Box<Opened>),
}

/// An opened value.
pub struct Opened {
    pub sealed: i16,
    pub value: Value,
    pub mask: Mask,
    /// What must be said first, so that part of the value may be shown.
    pub policy: Option<PolicyRow>,
    pub says_mask: bool,
    /// The view's column that a new value goes into, and the one that holds the sealed value.
    pub input: CString,
    pub target: CString,
}

/// What a value is opened as.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Bytes,
    Text,
    /// A type and its modifier.
    Typed(pg_sys::Oid, i32),
}

/// The columns of a view of `relation`, which has sealed ones.
pub fn shown(relation: pg_sys::Oid, masks: &BTreeMap<String, Mask>) -> Result<Vec<Column>> {
    let known = Known::of(relation)?;
    let (mut columns, mut inputs) = (Vec::new(), Vec::new());
    for number in 1..=relation::column_count(relation) {
        // A dropped column keeps its number, and has no type.
        let (kind, _) = attribute::type_of(relation, number);
        let Some(name) = column::raw_name(relation, number).filter(|_| kind != pg_sys::InvalidOid)
        else {
            continue;
        };
        let stored = |is_plain: bool| Shows::Stored { number, has_default: is_plain };
        match known.role_of(&name, number, kind)? {
            Role::Plain => columns.push(Column { name, shows: stored(true) }),
            Role::Target => columns.push(Column { name, shows: stored(false) }),
            Role::InPlace(policy, value) => {
                let input = quote::with_suffix(&name, c"sealed");
                let target = input.clone();
                let shows = opened(policy, value, number, input.clone(), target);
                columns.push(Column { name, shows });
                inputs.push(Column { name: input, shows: stored(false) });
            }
            Role::Source(policy, value) => {
                let input = quote::with_suffix(&name, c"new");
                let target = policy.column_name.clone();
                let sealed = attribute::number(relation, &target)
                    .ok_or_else(|| no_column(relation, &target))?;
                let shows = opened(Some(policy), value, sealed, input.clone(), target);
                columns.push(Column { name, shows });
                inputs.push(Column { name: input, shows: stored(false) });
            }
        }
    }
    columns.append(&mut inputs);
    check_names(relation, &columns)?;
    check_bound(relation, &known.policies)?;
    mask(relation, &mut columns, masks)?;
    if columns.iter().all(|column| matches!(column.shows, Shows::Stored { .. })) {
        return Err(ViewError::NothingSealed { table: display_name(relation) }.into());
    }
    Ok(columns)
}

fn opened(
    policy: Option<&PolicyRow>,
    value: Value,
    sealed: i16,
    input: CString,
    target: CString,
) -> Shows {
    let shows_part = policy.is_some_and(|policy| policy.mask.is_some());
    Shows::Opened(Box::new(Opened {
        sealed,
        value,
        mask: if shows_part { Mask::Last4 } else { Mask::Null },
        policy: policy.cloned(),
        says_mask: false,
        input,
        target,
    }))
}

/// What is known of the table's sealed columns.
struct Known {
    policies: Vec<PolicyRow>,
    of_triggers: Vec<i16>,
    /// The type of sealed columns, where the extension has it.
    sealed_type: Option<pg_sys::Oid>,
}

/// What a column of the table is for.
enum Role<'a> {
    Plain,
    /// Holds sealed values that come in by another column.
    Target,
    /// Holds sealed values, and takes new ones.
    InPlace(Option<&'a PolicyRow>, Value),
    /// Takes new values.
    Source(&'a PolicyRow, Value),
}

impl Known {
    fn of(relation: pg_sys::Oid) -> Result<Known> {
        Ok(Known {
            policies: table::get(relation)?
                .policies()
                .iter()
                .map(|policy| PolicyRow::clone(policy))
                .collect(),
            of_triggers: views::columns_of_triggers(relation)?,
            sealed_type: relation::type_in_schema(catalog::schema()?, c"sealed"),
        })
    }

    fn role_of(&self, name: &CStr, number: i16, kind: pg_sys::Oid) -> Result<Role<'_>> {
        let is_sealed_type =
            self.sealed_type.is_some() && column::base_type(kind) == self.sealed_type;
        for policy in &self.policies {
            let is_source = policy.source.as_deref() == Some(name);
            let is_target = policy.column_name.as_c_str() == name;
            if is_source {
                return Ok(Role::Source(policy, value_of(policy, is_sealed_type)));
            }
            if is_target && policy.form == Form::Source {
                return Ok(Role::Target);
            }
            if is_target {
                return Ok(Role::InPlace(Some(policy), value_of(policy, is_sealed_type)));
            }
        }
        Ok(if is_sealed_type {
            Role::InPlace(None, Value::Text)
        } else if self.of_triggers.contains(&number) {
            Role::InPlace(None, Value::Bytes)
        } else {
            Role::Plain
        })
    }
}

/// As what the values of a policy are opened.
fn value_of(policy: &PolicyRow, is_sealed_type: bool) -> Value {
    // A block fills the form up, which only the typed functions take off again.
    let has_block = policy.block.is_some_and(|block| block > 1);
    match policy.value_type {
        pg_sys::InvalidOid if policy.form == Form::Sealed || is_sealed_type => Value::Text,
        pg_sys::InvalidOid => Value::Bytes,
        pg_sys::TEXTOID if !has_block => Value::Text,
        pg_sys::BYTEAOID => Value::Bytes,
        kind => Value::Typed(kind, policy.value_typmod),
    }
}

fn check_names(relation: pg_sys::Oid, columns: &[Column]) -> Result<()> {
    let mut names = HashSet::new();
    match columns.iter().find(|column| !names.insert(&column.name)) {
        None => Ok(()),
        Some(column) => Err(ViewError::TwoColumns {
            column: encoding::to_string(column.name.to_bytes()),
            table: display_name(relation),
        }
        .into()),
    }
}

/// One expression opens the values of one row context.
fn check_bound(relation: pg_sys::Oid, policies: &[PolicyRow]) -> Result<()> {
    match policies.iter().find(|policy| policy.former.is_some()) {
        None => Ok(()),
        Some(policy) => Err(PolicyError::BeingBound {
            column: encoding::to_string(policy.column_name.to_bytes()),
            table: display_name(relation),
        }
        .into()),
    }
}

/// Sets the masks that are asked for.
fn mask(
    relation: pg_sys::Oid,
    columns: &mut [Column],
    masks: &BTreeMap<String, Mask>,
) -> Result<()> {
    for (name, mask) in masks {
        let is_named = |column: &&mut Column| encoding::to_string(column.name.to_bytes()) == *name;
        let named = columns.iter_mut().find(is_named);
        let Some(Column { shows: Shows::Opened(opened), .. }) = named else {
            let names = "mask names a column that the view does not open".into();
            return Err(Error::BadArgument(names));
        };
        opened.mask = *mask;
    }
    for column in columns {
        let Shows::Opened(opened) = &mut column.shows else { continue };
        if opened.mask != Mask::Last4 {
            continue;
        }
        let (column, table) = (encoding::to_string(column.name.to_bytes()), display_name(relation));
        if !is_text(opened.value) {
            return Err(ViewError::NoText { column, table }.into());
        }
        let Some(policy) = &opened.policy else {
            return Err(ViewError::NoMask { column, table }.into());
        };
        opened.says_mask = policy.mask.is_none();
    }
    Ok(())
}

fn is_text(value: Value) -> bool {
    let texts = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID];
    match value {
        Value::Bytes => false,
        Value::Text => true,
        Value::Typed(kind, _) => column::base_type(kind).is_some_and(|base| texts.contains(&base)),
    }
}

fn no_column(relation: pg_sys::Oid, name: &CStr) -> Error {
    let column = encoding::to_string(name.to_bytes());
    Error::NoSuchColumn { column, table: display_name(relation) }
}
