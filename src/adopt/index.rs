//! Search indexes: what of a column's values may be found without opening them, said once. Whoever may manage the table's
//! keys says it.
//!
//! The trigger keeps them, queries ask them. What is in the catalog must be so that neither needs a look of its own: a
//! [`wish`] becomes a rule that goes with the [`subject`], a [`label`] and a [`column`] of its own.

mod attached;
mod classes;
mod column;
mod counts;
mod follow;
mod gives_away;
mod label;
mod leakage;
mod options;
mod sample;
mod split;
mod statements;
mod subject;
mod swap;
mod unique;
mod wish;

use std::ffi::CStr;

use envelope::header::KeyId;
use envelope::search::{Kind, Rule, Subject};
use pgrx::pg_sys;

use self::column::IndexColumn;
use self::options::Options;
use self::subject::Values;
use self::unique::Beside;
use self::wish::Named;
use crate::audit::Action;
use crate::catalog::rows::{self, DataKeyRow, IndexRow, KeysOf, PolicyRow, Purpose, State, Verb};
use crate::catalog::write::{events, random_uuid};
use crate::catalog::{self, citus, shards, write};
use crate::error::{Error, IndexError, PolicyError, Result};
use crate::kek;
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::keyring::users;
use crate::life;
use crate::memory::cache;
use crate::pg::encoding::text;
use crate::pg::relation::{self, display_name};
use crate::pg::{attribute, encoding, lock, report};
use crate::values::boundaries;

pub use attached::attached;
pub use column::{has_valid_index, invalid_index, usual_names};
pub use follow::{altered, dropped, require_none, require_none_of};
pub use leakage::Measure;
pub use split::split;
pub use statements::{OwnIndex, build_statement, readers};
pub use swap::swap;
pub use unique::{Beside as UniqueBeside, partition_key};

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
    let seen = checked(wanted)?;
    if seen.rule.kind() == Kind::Buckets && seen.options.bounds.is_none() {
        require_coordinator(wanted.relation)?;
    }
    let mut counts = counts::count(&seen.policy, &seen.rule)?;
    gives_away::check(&seen.policy, &seen.rule, &counts, wanted.force)?;
    let owner = seen.index.keys_table()?;
    let key_id = life::index_key::ensure(owner)?;
    let mut sealed = None;
    if let (Kind::Buckets, Subject::Ordered(of)) = (seen.rule.kind(), seen.rule.subject()) {
        let set = classes::boundaries(&seen.policy, of, &seen.options, &mut counts)?;
        sealed = Some(boundaries::seal(&table::get(owner)?, key_id, &seen.index, &set)?);
    }
    let beside = Beside::of(wanted.relation)?;
    if seen.index.is_unique {
        beside.check(wanted.relation, &text(wanted.column))?;
    }
    // Where more than the terms is unique, nothing was counted that would not be.
    let is_counted = seen.index.is_unique && beside.is_none();
    let repeated = if is_counted { counts.terms.repeated() } else { 0 };
    drop(counts);

    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    lock::keep_relation(wanted.relation);
    keyring::look_again();
    // Another session may have taken the label or the column meanwhile, or have changed the policy.
    let wish = checked(wanted)?;
    // What was counted, and sealed under the label and the rule, is of the index as it was seen.
    if !wish.index.is_made_as(&seen.index) {
        return Err(Error::ChangedMeanwhile(display_name(wanted.relation)));
    }
    if !wanted.force {
        wish.column.require_empty(wanted.relation)?;
    }
    wish.column.make(wanted.relation, &wish.rule)?;
    let index = IndexRow {
        // A unique index is pinned: two versions of one value would both go in. Of tokens one version is asked.
        key_id: (wish.index.is_unique || wish.rule.is_tokens()).then_some(key_id),
        boundaries: sealed,
        ..wish.index
    };
    require_new(&index)?;
    write::indexes::insert(&index)?;
    tell(Action::AddIndex, &index)?;
    if repeated > 0 {
        warn_of_duplicates(&index, repeated);
    }
    statements::after(&index, &wish.rule, &beside)
}

/// 0A000 on other nodes of a distributed table than the coordinator. Each would find classes of its own, and what asks by
/// those of one node would miss rows of the others.
fn require_coordinator(relation: pg_sys::Oid) -> Result<()> {
    match citus::is_away_from_coordinator(relation)? {
        true => Err(IndexError::ClassesElsewhere { table: display_name(relation) }.into()),
        false => Ok(()),
    }
}

/// An index that may be added.
struct Checked {
    policy: PolicyRow,
    index: IndexRow,
    rule: Rule,
    options: Options,
    column: IndexColumn,
}

fn checked(wanted: &Wanted<'_>) -> Result<Checked> {
    let relation = wanted.relation;
    to_change(relation)?;
    let policy = policy_of(relation, wanted.column)?;
    let options = Options::parse(&wanted.options)?;
    let form = wanted.form.as_deref().or(options.form.as_deref());
    let (named, rule) = rule_of(&policy, &wanted.kind, form, &options)?;
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
        writer: pg_sys::InvalidTransactionId,
    };
    label::require_own(&index, &rule, wanted.share_label)?;
    Ok(Checked { policy, index, rule, options, column })
}

/// The rule of an index of that kind, which must go with the column's values.
fn rule_of(
    policy: &PolicyRow,
    kind: &str,
    form: Option<&str>,
    options: &Options,
) -> Result<(Named, Rule)> {
    let named = Named::parse(kind)?;
    let values = subject::of(policy)?;
    let kind = match (named.kind(), values) {
        (Some(kind), _) => kind,
        (None, Values::Ordered(of)) => classes::tree(policy, of, options)?,
        (None, _) => return Err(wish::wrong_kind(policy, values, named)),
    };
    Ok((named, wish::rule(policy, values, named, kind, form)?))
}

/// What an index of that kind would give away of the values that are there. By the right to manage the table's keys.
pub fn leakage(
    relation: pg_sys::Oid,
    column: &CStr,
    kind: &str,
    options: &str,
) -> Result<Vec<Measure>> {
    let table = table::get(relation)?;
    table.require_manage_right()?;
    table::require_can_have_keys(relation)?;
    let policy = policy_of(table.root(), column)?;
    let options = Options::parse(options)?;
    let (_, rule) = rule_of(&policy, kind, options.form.as_deref(), &options)?;
    let term_length = wish::term_length(&rule, &options)?;
    let counts = counts::count(&policy, &rule)?;
    leakage::measures(&policy, &rule, &options, term_length, counts)
}

/// Ends the index in that column, which stays; false when there is none. Whoever may manage the keys that make its terms
/// may do that, too: they may be another table's.
pub fn drop_index(relation: pg_sys::Oid, index_column: &CStr) -> Result<bool> {
    let index = rows::indexes(relation)?
        .into_iter()
        .find(|index| index.index_column.as_c_str() == index_column);
    match index.as_ref().map(|index| index.keys) {
        Some(KeysOf::Table(keys)) if !table::get(relation)?.allows(Verb::Manage) => {
            table::to_change(keys)?;
        }
        // A table that has become a shard keeps those of its own.
        Some(_) => {
            table::to_change(relation)?;
        }
        None => {
            to_change(relation)?;
        }
    }
    let Some(index) = index else { return Ok(false) };
    write::indexes::delete(index.id)?;
    tell(Action::DropIndex, &index)?;
    if attribute::number(relation, index_column).is_some() {
        let (table, column) = (
            display_name(relation),
            relation::quoted(&encoding::to_string(index_column.to_bytes())),
        );
        report::notice(format!(
            "column {column} keeps the terms of before, and new rows get none. To drop it, with PostgreSQL's index on it: \
             ALTER TABLE {table} DROP COLUMN {column}"
        ));
    }
    Ok(true)
}

/// Makes the next version of the index key of `relation`; its key id. Once it `activates`, boundary sets under the one
/// before are sealed under it, or that one could never be retired.
pub fn rotate_key(relation: pg_sys::Oid, reason: Option<&str>, activates: bool) -> Result<KeyId> {
    if !activates {
        return life::index_key::rotate(relation, reason, false);
    }
    let sets = boundary_sets(relation)?;
    let key_id = life::index_key::rotate(relation, reason, true)?;
    renew(relation, &sets, key_id)?;
    Ok(key_id)
}

/// Has a pending key be the active one, as [`life::activate_key`] does; boundary sets as where an index key is rotated.
pub fn activate_key(key_id: KeyId, reason: Option<&str>) -> Result<()> {
    let row = rows::data_key(key_id)?;
    let is_index = |row: &DataKeyRow| row.purpose == Purpose::Index && row.state == State::Pending;
    let sealing = match row.filter(is_index) {
        Some(row) => users::sealing_table(&rows::tables_of(row.keyring_id)?)
            .filter(|sealing| table::get(*sealing).is_ok_and(|it| it.manages(row.keyring_id))),
        None => None,
    };
    let Some(relation) = sealing else { return life::activate_key(key_id, reason) };
    let sets = boundary_sets(relation)?;
    if !sets.is_empty() && !cache::is_usable(key_id)? {
        kek::into_cache(key_id, &table::get(relation)?)?;
    }
    life::activate_key(key_id, reason)?;
    renew(relation, &sets, key_id)
}

/// The indexes with boundary sets under the index keys of `relation`. What these are sealed under is in memory, then, when
/// there are locks.
fn boundary_sets(relation: pg_sys::Oid) -> Result<Vec<IndexRow>> {
    let root = shards::root(relation)?;
    let mut sets = rows::indexes_with_keys_of(root)?;
    sets.extend(rows::indexes(root)?.into_iter().filter(|index| index.keys == KeysOf::Own));
    sets.retain(|index| index.boundaries.is_some());
    let table = table::to_change(relation)?;
    for index in &sets {
        boundaries::open(&table, index, Verb::Manage)?;
    }
    Ok(sets)
}

fn renew(relation: pg_sys::Oid, sets: &[IndexRow], key_id: KeyId) -> Result<()> {
    let table = table::get(relation)?;
    sets.iter().try_for_each(|index| boundaries::renew(&table, index, key_id, false))
}

/// As [`table::to_change`], for a table that has indexes and index keys of its own: no partition, no shard.
fn to_change(relation: pg_sys::Oid) -> Result<Table> {
    let table = table::to_change(relation)?;
    table::require_can_have_keys(relation)?;
    table.require_topmost()?;
    Ok(table)
}

fn policy_of(relation: pg_sys::Oid, column: &CStr) -> Result<PolicyRow> {
    number(relation, column)?;
    rows::policy(relation, column)?.ok_or_else(|| {
        let (column, table) = (text(column), display_name(relation));
        PolicyError::None { column, table }.into()
    })
}

/// The index in that column; 42703 when there is no such column.
fn index_of(relation: pg_sys::Oid, index_column: &CStr) -> Result<IndexRow> {
    number(relation, index_column)?;
    let indexes = rows::indexes(relation)?;
    let found = indexes.into_iter().find(|index| index.index_column.as_c_str() == index_column);
    found.ok_or_else(|| {
        let index_column = text(index_column);
        IndexError::None { index_column, table: display_name(relation), column: None }.into()
    })
}

/// The number of a column that is there.
fn number(relation: pg_sys::Oid, name: &CStr) -> Result<i16> {
    attribute::number(relation, name)
        .ok_or_else(|| Error::NoSuchColumn { column: text(name), table: display_name(relation) })
}

/// 42710 when the column has the index already, or the index column another use. A unique index has a second column
/// while its index key is being rotated.
fn require_new(index: &IndexRow) -> Result<()> {
    let table = display_name(index.relation);
    for other in rows::indexes(index.relation)? {
        let index_column = text(&other.index_column);
        if other.index_column == index.index_column {
            let column = text(&other.column_name);
            return Err(IndexError::Taken { index_column, table, column }.into());
        }
        let takes_its_place = other.is_unique && index.is_unique && other.key_id != index.key_id;
        if other.is_made_as(index) && !takes_its_place {
            let column = text(&index.column_name);
            return Err(IndexError::Twice { column, table, index_column }.into());
        }
    }
    Ok(())
}

/// Of a unique index, where `repeated` values are in several rows each.
fn warn_of_duplicates(index: &IndexRow, repeated: u64) {
    let (table, name) =
        (display_name(index.relation), relation::quoted(&text(&index.index_column)));
    report::warning(
        format!(
            "column \"{}\" of table {table} has values that more than one row has (counted: {repeated}): CREATE UNIQUE INDEX will fail",
            text(&index.column_name)
        ),
        &encoding::shown(format!(
            "Once the index is built, this finds them: SELECT {name}, count(*), array_agg(ctid) FROM {table} \
             WHERE {name} IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
        )),
    );
}

fn tell(action: Action, index: &IndexRow) -> Result<()> {
    events::tell(action, |event| {
        event.table = Some(display_name(index.relation));
        event.detail = Some(format!(
            "{} of {}: {}",
            text(&index.index_column),
            text(&index.column_name),
            index.rule
        ));
    })
}
