//! Search indexes: what of a column's values may be found without opening them, said once. Whoever may manage the table's
//! keys says it.
//!
//! The trigger keeps them, queries ask them. What is in the catalog must be so that neither needs a look of its own: a
//! [`wish`] becomes a rule that goes with the [`subject`], a [`label`] and a [`column`] of its own.

mod column;
mod follow;
mod label;
mod options;
mod statements;
mod subject;
mod swap;
mod wish;

use std::ffi::CStr;

use envelope::search::Rule;
use pgrx::pg_sys;

use self::column::IndexColumn;
use self::options::Options;
use self::wish::Named;
use crate::audit::{self, Action};
use crate::catalog::rows::{self, IndexRow, PolicyRow};
use crate::catalog::write::random_uuid;
use crate::catalog::{self, write};
use crate::error::{Error, IndexError, PolicyError, Result};
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::pg::relation::display_name;
use crate::pg::{attribute, encoding, lock};

pub use follow::{altered, dropped, require_none};
pub use swap::swap;

/// What is asked for; all names in the server's encoding.
pub struct Wanted<'a> {
    pub relation: pg_sys::Oid,
    pub column: &'a CStr,
    /// `exact`, `prefix(4)`, ...
    pub kind: String,
    pub index_column: Option<&'a CStr>,
    pub form: Option<String>,
    /// JSON text.
    pub options: String,
    pub label: Option<String>,
    pub share_label: bool,
    pub keys_of: Option<pg_sys::Oid>,
    pub force: bool,
}

/// Adds an index to a column: from then on the trigger keeps it. The statements that are to be run next.
pub fn add(wanted: &Wanted<'_>) -> Result<Vec<String>> {
    // What asks the KMS comes first: no lock is held over that.
    let Checked { policy: _, rule: _, .. } = checked(wanted)?;
    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    lock::keep_relation(wanted.relation);
    keyring::look_again();
    // Another session may have taken the label or the column meanwhile.
    let Checked { index, rule, column, .. } = checked(wanted)?;
    if !wanted.force {
        column.require_empty(wanted.relation)?;
    }
    column.make(wanted.relation)?;
    write::indexes::insert(&index)?;
    tell(Action::AddIndex, &index);
    statements::after(&index, &rule)
}

/// An index that may be added.
struct Checked {
    policy: PolicyRow,
    index: IndexRow,
    rule: Rule,
    column: IndexColumn,
}

fn checked(wanted: &Wanted<'_>) -> Result<Checked> {
    let relation = wanted.relation;
    to_change(relation)?;
    let policy = policy_of(relation, wanted.column)?;
    let options = Options::parse(&wanted.options)?;
    let named = Named::parse(&wanted.kind)?;
    let values = subject::of(&policy)?;
    let kind = match named.kind() {
        Some(kind) => kind,
        None => return Err(Error::BadArgument("kind tree is not there yet".into())),
    };
    let rule = wish::rule(&policy, values, named, kind, wanted.form.as_deref())?;
    let term_length = wish::term_length(&rule, &options)?;
    let label = match &wanted.label {
        Some(label) => label.clone(),
        None => label::default(&policy)?,
    };
    label::check(&label)?;
    let keys = label::keys_of(relation, wanted.keys_of)?;
    let column = IndexColumn::find(&policy, wanted.index_column, named.name, rule.is_tokens())?;
    let index = IndexRow {
        id: random_uuid()?,
        relation,
        column_name: wanted.column.to_owned(),
        index_column: column.name.clone(),
        rule: rule.to_string(),
        label,
        term_length,
        keys,
        key_id: None,
        is_unique: options.unique,
        boundaries: None,
        built: false,
    };
    label::require_own(&index, &rule, wanted.share_label)?;
    require_new(&index)?;
    Ok(Checked { policy, index, rule, column })
}

/// Ends the index in that column, which stays; false when there is none.
pub fn drop_index(relation: pg_sys::Oid, index_column: &CStr) -> Result<bool> {
    to_change(relation)?;
    let index = rows::indexes(relation)?
        .into_iter()
        .find(|index| index.index_column.as_c_str() == index_column);
    let Some(index) = index else { return Ok(false) };
    write::indexes::delete(index.id)?;
    tell(Action::DropIndex, &index);
    Ok(true)
}

/// As [`table::to_change`], for a table that has indexes of its own: no partition.
fn to_change(relation: pg_sys::Oid) -> Result<Table> {
    let table = table::to_change(relation)?;
    table::require_can_have_keys(relation)?;
    if table.root() != relation {
        let (table, root) = (display_name(relation), display_name(table.root()));
        return Err(Error::IsPartition { table, root });
    }
    Ok(table)
}

fn policy_of(relation: pg_sys::Oid, column: &CStr) -> Result<PolicyRow> {
    number(relation, column)?;
    rows::policy(relation, column)?.ok_or_else(|| {
        let (column, table) = (encoding::to_string(column.to_bytes()), display_name(relation));
        PolicyError::None { column, table }.into()
    })
}

/// The number of a column that is there.
fn number(relation: pg_sys::Oid, name: &CStr) -> Result<i16> {
    attribute::number(relation, name).ok_or_else(|| Error::NoSuchColumn {
        column: encoding::to_string(name.to_bytes()),
        table: display_name(relation),
    })
}

/// 42710 when the column has the index already, or the index column another use. A unique index has a second column
/// while its index key is being rotated.
fn require_new(index: &IndexRow) -> Result<()> {
    let text = |name: &CStr| encoding::to_string(name.to_bytes());
    let table = display_name(index.relation);
    for other in rows::indexes(index.relation)? {
        let index_column = text(&other.index_column);
        if other.index_column == index.index_column {
            let column = text(&other.column_name);
            return Err(IndexError::Taken { index_column, table, column }.into());
        }
        let is_same = other.column_name == index.column_name
            && other.rule == index.rule
            && other.label == index.label
            && other.keys == index.keys;
        let takes_its_place = other.is_unique && index.is_unique && other.key_id != index.key_id;
        if is_same && !takes_its_place {
            let column = text(&index.column_name);
            return Err(IndexError::Twice { column, table, index_column }.into());
        }
    }
    Ok(())
}

fn tell(action: Action, index: &IndexRow) {
    audit::log(action, |event| {
        event.table = Some(display_name(index.relation));
        event.detail = Some(format!(
            "{} of {}: {}",
            encoding::to_string(index.index_column.to_bytes()),
            encoding::to_string(index.column_name.to_bytes()),
            index.rule
        ));
    });
}
