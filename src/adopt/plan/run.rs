//! The steps printed, and the same done at once.

use std::ffi::CString;

use pgrx::pg_sys;

use super::facts::{Category, Column, Facts, Policy, TriggerKind};
use super::indexes::OfIndex;
use super::options::{OfColumn, Options};
use super::step::{EXCLUSIVE, Step};
use super::text::{as_one, literal};
use super::wish::{Form, ValueType as Wanted, Wish, no_column};
use super::{back, in_place, indexes, obstacles, online, read, triggers};
use crate::adopt::index;
use crate::catalog::citus;
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table;
use crate::life;
use crate::pg::local_settings::{ALL_ROWS, LocalSettings, WHOLE_FLOATS};
use crate::pg::{column, encoding, relation, report, spi, types};
use crate::values::ValueType;

/// From so many rows or bytes on a table is taken for one that cannot be locked while it is rewritten.
const MANY_ROWS: i64 = 10_000;
const MANY_BYTES: i64 = 10 << 20;

/// What `envelope.protect` is asked for.
pub struct Asked {
    pub column: String,
    pub value_type: Option<pg_sys::Oid>,
    /// Where plaintext is now, if `column` is to be the one of sealed values.
    pub source: Option<String>,
    pub of: OfColumn,
}

/// The steps that protect `columns`.
pub fn plan(relation: pg_sys::Oid, columns: &[String], options: &str) -> Result<Vec<Step>> {
    let table = table::get(relation)?;
    table.require_manage_right()?;
    table::require_can_have_keys(relation)?;
    if table.is_shard() {
        table.require_topmost()?;
    }
    require_here(relation)?;
    if columns.is_empty() {
        return Err(Error::BadArgument("columns must name a column".into()));
    }
    let options = Options::parse(options, columns)?;
    let facts = read::facts(relation)?;
    let is_big = facts.rows > MANY_ROWS || facts.bytes > MANY_BYTES;
    let is_begun = |name: &String| facts.policies.iter().any(|it| it.source.as_ref() == Some(name));
    let online = options.online.unwrap_or(is_big || columns.iter().any(is_begun));
    let (mut wishes, mut wanted): (Vec<Wish<'_>>, Vec<_>) = (Vec::new(), Vec::new());
    for name in columns {
        let mut of = options.of(name);
        wanted.push(of.indexes.take().unwrap_or_default());
        let value = of.value_type.as_deref().map(value_named).transpose()?;
        let column = facts.column(name).ok_or_else(|| no_column(&facts, name))?;
        if wishes.iter().any(|wish| wish.column.name == *name) {
            return Err(Error::BadArgument("columns names a column twice".into()));
        }
        let mut wish = wish(&facts, column, of, value, online)?;
        let indexes: &[OfIndex] = wanted.last().map_or(&[], Vec::as_slice);
        wish.stays_unique = indexes.iter().any(OfIndex::is_unique);
        wish.is_indexed = index::require_none_of(relation, &wish.target.plain).is_err();
        wish.gets_indexed = wish.is_indexed || !indexes.is_empty();
        wishes.push(wish);
    }
    let with_indexes: Vec<_> = wishes.iter().zip(wanted).collect();
    let is_done = wishes.iter().all(|wish| is_done(&facts, wish));
    let indexes = indexes::steps(relation, &facts, &with_indexes, !is_done)?;
    if is_done {
        return Ok(indexes.all());
    }
    obstacles::check(&facts, &wishes, online)?;
    if online {
        return online::steps(&facts, &wishes, indexes, &options);
    }
    let mut steps = online::keys(&facts, &wishes);
    steps.push(Step::run(
        as_one(&in_place::statements(&facts, &wishes)?),
        EXCLUSIVE.replace("a moment", &format!("while the table is rewritten ({})", size(&facts))),
        &format!(
            "one transaction and one rewrite; afterwards the table holds no plaintext, WAL and backups still do; {}. \
             For a table that is in use: options => '{{\"online\": true}}'",
            obstacles::and_defaults(&facts, &wishes, online::seen_by_others(&facts))
        ),
    ));
    steps.extend(indexes.all());
    Ok(steps)
}

/// Does them, as the current role and in its transaction.
pub fn protect(relation: pg_sys::Oid, asked: Asked) -> Result<()> {
    ready(relation)?;
    require_here(relation)?;
    let name = asked.source.clone().unwrap_or_else(|| asked.column.clone());
    let value = asked.value_type.map(|kind| value_of(kind, -1));
    let mut of = asked.of;
    if asked.source.is_some() {
        of.form = Some("source".into());
        of.target = Some(asked.column);
    }
    let look = |facts: &Facts| -> Result<Vec<String>> {
        let column = facts.column(&name).ok_or_else(|| no_column(facts, &name))?;
        let wish = wish(facts, column, of.clone(), value.clone(), false)?;
        if is_done(facts, &wish) {
            report::notice(format!(
                "column \"{name}\" of table {} is protected as asked for already",
                facts.name
            ));
            return Ok(Vec::new());
        }
        let wishes = [wish];
        obstacles::check(facts, &wishes, false)?;
        in_place::statements(facts, &wishes)
    };
    // Before anything is asked of the KMS, or locked.
    let facts = read::facts(relation)?;
    if look(&facts)?.is_empty() {
        return Ok(());
    }
    if facts.has_key {
        life::warm(relation)?;
    } else {
        life::create_key(relation, None, None)?;
    }
    let facts = locked(relation, &facts)?;
    for statement in look(&facts)? {
        run(&statement)?;
    }
    if let Some(stays) =
        facts.column(&name).and_then(|column| obstacles::default_stays(&facts, column))
    {
        report::notice(stays);
    }
    tell(&facts);
    Ok(())
}

/// The way back, as the current role and in its transaction.
pub fn unprotect(relation: pg_sys::Oid, column: &str, to: Option<pg_sys::Oid>) -> Result<()> {
    ready(relation)?;
    let facts = read::facts(relation)?;
    let named = |it: &&Policy| it.column == column || it.source.as_deref() == Some(column);
    for policy in facts.policies.iter().filter(named) {
        index::require_none_of(relation, &policy.column)?;
    }
    if facts.has_key {
        life::warm(relation)?;
    }
    let facts = locked(relation, &facts)?;
    if let Some(to) = to {
        require_nothing_lost(&facts, column, to)?;
    }
    let any = |condition: &str| {
        // Of rows that are hidden from the current role nothing is known: there may be one.
        if relation::has_row_security(relation) {
            return Ok(true);
        }
        let sql = format!(
            "SELECT pg_catalog.convert_to(EXISTS (SELECT FROM {} WHERE {condition})::text, 'UTF8')",
            facts.name
        );
        let _all = LocalSettings::of(&[ALL_ROWS]);
        let told = spi::bytes(&sql, &[]).map_err(Error::Corrupt)?;
        Ok(told.as_deref() == Some(b"true"))
    };
    let to = to.map(|kind| value_of(kind, -1));
    let _floats = LocalSettings::of(&[WHOLE_FLOATS]);
    for statement in back::statements(&facts, column, to, &any)? {
        run(&statement)?;
    }
    Ok(())
}

/// 22023 for a type of which some value of the column would be another one.
fn require_nothing_lost(facts: &Facts, column: &str, to: pg_sys::Oid) -> Result<()> {
    let Some(policy) = facts.policy_about(column) else { return Ok(()) };
    let is = match &policy.value_type {
        Some(name) => type_named(name)?,
        None => (pg_sys::BYTEAOID, -1),
    };
    if types::holds_all(to, is) {
        return Ok(());
    }
    Err(PolicyError::WouldLose {
        column: column.to_owned(),
        table: facts.name.clone(),
        is: types::display_name(is.0, is.1),
        to: types::display_name(to, -1),
    }
    .into())
}

/// 0A000 for a distributed table. What seals its values works on other nodes, which need the key and the policy first.
fn require_here(relation: pg_sys::Oid) -> Result<()> {
    if !citus::is_distributed(relation)? {
        return Ok(());
    }
    Err(PolicyError::Distributed { table: relation::display_name(relation) }.into())
}

fn ready(relation: pg_sys::Oid) -> Result<()> {
    let table = table::to_change(relation)?;
    table::require_can_have_keys(relation)?;
    if table.is_shard() { table.require_topmost() } else { Ok(()) }
}

/// Locks the table, and looks at it again.
fn locked(relation: pg_sys::Oid, facts: &Facts) -> Result<Facts> {
    run(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", facts.name))?;
    read::facts(relation)
}

fn wish<'a>(
    facts: &'a Facts,
    column: &'a Column,
    of: OfColumn,
    value: Option<Wanted>,
    online: bool,
) -> Result<Wish<'a>> {
    let wish = Wish::new(facts, column, of, value, online)?;
    // 0A000 for values that cannot be sealed as what they are.
    let kind = type_named(&wish.value.name)?;
    ValueType::known(kind.0, kind.1)?;
    // Another policy that is there is changed by who knows why, and not by the way.
    let is_other = |policy: &&Policy| {
        policy.column == wish.target.plain && !wish.is_as(facts, policy)
            || policy.source.as_deref() == Some(&column.name) && policy.column != wish.target.plain
    };
    match facts.policies.iter().find(is_other) {
        Some(policy) => {
            Err(PolicyError::Another { column: policy.column.clone(), table: facts.name.clone() }
                .into())
        }
        None => Ok(wish),
    }
}

/// Whether all is as it is wished.
fn is_done(facts: &Facts, wish: &Wish<'_>) -> bool {
    let is_valid = |function: &str, column: &str| {
        facts.check(function, column).is_some_and(|check| check.valid)
    };
    facts.policy(&wish.target.plain).is_some_and(|policy| wish.is_as(facts, policy))
        && triggers::with(facts, TriggerKind::Seal, &in_place::argument(wish)).is_some()
        && is_valid("is_sealed", &wish.target.plain)
        && (wish.form != Form::Source || is_valid("must_be_empty", &wish.column.name))
}

/// What whoever protects a column has still to look at.
fn tell(facts: &Facts) {
    let (before, after) = triggers::others(facts);
    let seen = [("plaintext, before it is sealed", before), ("sealed values, no plaintext", after)];
    for (what, names) in seen.into_iter().filter(|(_, names)| !names.is_empty()) {
        let names = names.join(", ");
        report::notice(format!("triggers of table {} that see {what}: {names}", facts.name));
    }
    let roles: Vec<_> =
        facts.roles.iter().filter_map(|role| role.name.as_ref().map(|name| (name, role))).collect();
    let grants: Vec<_> = roles
        .iter()
        .flat_map(|(name, role)| {
            let verbs =
                [(role.writes, "encrypt"), (role.reads_all || !role.reads.is_empty(), "decrypt")];
            verbs.into_iter().filter(|(needs, _)| *needs).map(move |(_, verb)| {
                format!(
                    "SELECT envelope.grant_key({}, {}, '{verb}')",
                    facts.literal(),
                    literal(name)
                )
            })
        })
        .collect();
    if !grants.is_empty() {
        report::notice_at_length(
            format!("roles that may use table {} have no right on its keys", facts.name),
            "Who may not encrypt can no longer write protected columns, and who may not decrypt cannot read them.",
            &encoding::shown(format!("For those who shall: {}.", grants.join("; "))),
        );
    }
}

fn size(facts: &Facts) -> String {
    format!("some {} rows, {} MB", facts.rows, facts.bytes >> 20)
}

/// The type that `name` means, and its modifier.
fn type_named(name: &str) -> Result<(pg_sys::Oid, i32)> {
    let here = encoding::from_utf8(name.as_bytes()).ok();
    let here = here.and_then(|name| CString::new(&*name).ok());
    let kind = here.as_deref().and_then(types::named);
    Ok(kind.ok_or(PolicyError::NoType)?)
}

fn value_named(name: &str) -> Result<Wanted> {
    let (kind, modifier) = type_named(name)?;
    Ok(value_of(kind, modifier))
}

fn value_of(kind: pg_sys::Oid, modifier: i32) -> Wanted {
    let name = types::display_name(kind, modifier);
    let category = match column::base_type(kind) {
        Some(pg_sys::TEXTOID | pg_sys::VARCHAROID) => Category::Text,
        Some(pg_sys::BYTEAOID) => Category::Bytes,
        _ if column::is_sealable(kind) => Category::Sealed,
        _ => Category::Other,
    };
    Wanted { name, category }
}

/// Runs one statement, as the current role.
fn run(statement: &str) -> Result<()> {
    spi::run(statement).map_err(|error| Error::Corrupt(format!("{error}: {statement}")))
}
