//! Policies: what a column is, said once. Whoever may manage the table's keys says it.
//!
//! All other parts read it: the trigger, views, back-fill, re-encryption. What is in the catalog must be so
//! that they need no look of their own: [`checks`].

mod checks;
mod follow;
mod left;

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::adopt::index;
use crate::audit::Action;
use crate::catalog::rows::{self, Form, Former, PolicyRow};
use crate::catalog::write::events;
use crate::catalog::{self, write};
use crate::error::{Error, PolicyError, Result};
use crate::keyring;
use crate::keyring::table;
use crate::pg::relation::{self, display_name};
use crate::pg::{attribute, encoding, lock, report};

pub use follow::{after_command, before_command, parts, watch};

/// What is asked for; all names in the server's encoding.
pub struct Wanted<'a> {
    pub relation: pg_sys::Oid,
    pub column: &'a CStr,
    pub form: Form,
    /// A type, as SQL writes it.
    pub value_type: Option<CString>,
    pub source: Option<&'a CStr>,
    /// In UTF-8; `None`: the one it has, or its name of now.
    pub tag: Option<String>,
    pub bound: Vec<CString>,
    pub block: Option<i32>,
    pub mask: Option<String>,
}

/// Makes or changes the policy of a column. Values under the row context that it has had so far are taken
/// until [`write::columns::binding_done`].
pub fn set(wanted: &Wanted<'_>) -> Result<()> {
    let relation = wanted.relation;
    let table = table::to_change(relation)?;
    lock::keep_relation(relation);
    table::require_can_have_keys(relation)?;
    table.require_topmost()?;
    // One after the other, or two would take one tag.
    lock::lock_object(catalog::oid_of(c"sealed_column")?, pg_sys::InvalidOid);
    keyring::look_again();
    let before = rows::policy(relation, wanted.column)?;
    let ended = match before {
        Some(_) => None,
        None => ended(relation, wanted.column)?,
    };
    let mut policy = checks::checked(wanted, before.as_ref(), ended.as_ref())?;
    if before.as_ref().is_some_and(|before| !checks::is_same_type(before, &policy)) {
        index::require_none(relation, wanted.column)?;
    }
    checks::require_own_tag(&policy, wanted.tag.is_some() || before.is_some())?;
    policy.former = former(&policy, before, ended)?;
    write::columns::set_policy(&policy)?;
    tell(Action::SetPolicy, relation, wanted.column)
}

/// Ends the policy of a column, which stays registered; false when it has none. 55000 while some of its values may
/// have a row context of before, which nothing would remember.
pub fn drop(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    let table = table::to_change(relation)?;
    let policy = rows::policy(relation, column)?;
    if policy.is_none() && table.is_shard() {
        table.require_topmost()?;
    }
    if let Some(policy) = policy.filter(|_| attribute::number(relation, column).is_some()) {
        if policy.former.is_some() {
            let (column, table) = (encoding::to_string(column.to_bytes()), display_name(relation));
            return Err(PolicyError::BeingBound { column, table }.into());
        }
        tell_of_bound(&policy);
    }
    index::require_none(relation, column)?;
    let was_there = write::columns::drop_policy(relation, &encoding::to_string(column.to_bytes()))?;
    tell(Action::DropPolicy, relation, column)?;
    Ok(was_there)
}

/// A trigger that goes on to seal the column binds nothing without the policy.
fn tell_of_bound(policy: &PolicyRow) {
    let triggers = catalog::sealing_triggers(policy.relation);
    let mut arguments = triggers.iter().flat_map(|trigger| &trigger.arguments);
    let is_sealed = arguments.any(|argument| parts(argument).0 == policy.column_name.to_bytes());
    if policy.bound_columns.is_empty() || !is_sealed {
        return;
    }
    let column = encoding::to_string(policy.column_name.to_bytes());
    report::notice_at_length(
        format!(
            "values in column \"{column}\" of table {} stay bound to other columns, and nothing binds them anew when \
             those change",
            display_name(policy.relation)
        ),
        "Values whose bound columns are changed from now on open only with the row context of before.",
        "To bring the policy back: envelope.set_policy with the same bind; its tag is remembered. To have plaintext \
         again: first that, then envelope.unprotect.",
    );
}

/// Values of the former row context of a column are refused from now on; false when it has none. 55000 while there is
/// one, which would open no more.
pub fn binding_done(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    table::to_change(relation)?;
    match left::under_former_context(relation, column)? {
        Some(0) | None => {}
        Some(count) => {
            let (column, table) = (encoding::to_string(column.to_bytes()), display_name(relation));
            return Err(PolicyError::StillFormer { count, column, table }.into());
        }
    }
    write::columns::binding_done(relation, &encoding::to_string(column.to_bytes()))
}

/// The row context of a policy that has ended, while the columns are there that it bound values to.
fn ended(relation: pg_sys::Oid, column: &CStr) -> Result<Option<Former>> {
    let is_there = |bound: &String| {
        let name = encoding::from_utf8(bound.as_bytes()).ok().and_then(|n| CString::new(&*n).ok());
        name.is_some_and(|name| attribute::number(relation, &name).is_some())
    };
    Ok(rows::ended_context(relation, column)?
        .filter(|ended| ended.bound_columns.iter().all(is_there)))
}

/// The row context that values of the column may still have, beside that of `policy`.
fn former(
    policy: &PolicyRow,
    before: Option<PolicyRow>,
    ended: Option<Former>,
) -> Result<Option<Former>> {
    let now = context_of(policy);
    let (context, former) = match before {
        Some(before) => (context_of(&before), before.former),
        None if ended.as_ref().is_some_and(|ended| !is_same(ended, &now)) => {
            (ended.unwrap_or_else(|| now.clone()), None)
        }
        None => (Former { tag: policy.tag.clone(), bound_columns: Vec::new() }, None),
    };
    if is_same(&context, &now) {
        return Ok(former);
    }
    match former {
        None if !checks::may_have_values(policy.relation, &policy.column_name)? => Ok(None),
        None => Ok(Some(context)),
        // Back to what it was.
        Some(former) if is_same(&former, &now) => Ok(Some(context)),
        Some(_) => Err(PolicyError::BeingBound {
            column: encoding::to_string(policy.column_name.to_bytes()),
            table: display_name(policy.relation),
        }
        .into()),
    }
}

fn context_of(policy: &PolicyRow) -> Former {
    Former { tag: policy.tag.clone(), bound_columns: policy.bound_columns.clone() }
}

/// Whether both give a row one context: without bound columns it is empty, whatever the tag.
fn is_same(one: &Former, other: &Former) -> bool {
    one.bound_columns == other.bound_columns
        && (one.bound_columns.is_empty() || one.tag == other.tag)
}

fn tell(action: Action, relation: pg_sys::Oid, column: &CStr) -> Result<()> {
    events::tell(action, |event| {
        event.table = Some(display_name(relation));
        event.detail = Some(encoding::to_string(column.to_bytes()));
    })
}

/// `<table>.<column>`: the tag of a policy that is given none.
fn default_tag(relation: pg_sys::Oid, column: &CStr) -> Result<String> {
    let (_, table) = relation::qualified_name(relation)
        .ok_or_else(|| Error::NoRelation(display_name(relation)))?;
    Ok(format!("{table}.{}", encoding::to_string(column.to_bytes())))
}

/// The number of a column that is there.
fn number(relation: pg_sys::Oid, name: &CStr) -> Result<i16> {
    attribute::number(relation, name).ok_or_else(|| Error::NoSuchColumn {
        column: encoding::to_string(name.to_bytes()),
        table: display_name(relation),
    })
}
