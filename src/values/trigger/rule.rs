//! What a policy says of a column, with the numbers that the columns it names have in the row at hand.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::keyring::table::{Binding, ColumnIndex, Policy, Table};
use crate::pg::encoding;
use crate::pg::memory::Memory;
use crate::pg::relation::display_name;
use crate::pg::trigger::TriggerCall;
use crate::values::trigger::indexed;

/// What is kept of it from row to row: that of one reading of the catalog.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    /// The [`Table::number`] of that; 0: none.
    by: u64,
    /// Where the policy stands among the table's.
    policy: Option<usize>,
    now: &'a [BoundColumn],
    former: &'a [BoundColumn],
    /// Where the column's indexes begin among the table's.
    first_index: usize,
    index_columns: &'a [IndexColumn],
}

/// A column that holds terms.
#[derive(Clone, Copy)]
pub struct IndexColumn {
    pub number: i16,
    pub kind: pg_sys::Oid,
}

/// A column that values are bound to.
#[derive(Clone, Copy)]
pub struct BoundColumn {
    pub number: i16,
    pub kind: pg_sys::Oid,
}

/// What the policy says.
#[derive(Clone, Copy)]
pub struct Rule<'t> {
    pub policy: &'t Policy,
    /// What values are bound to.
    pub now: Bound<'t>,
    /// What some of them may still be bound to.
    pub former: Option<Bound<'t>>,
    first_index: usize,
    /// The columns of its indexes.
    pub index_columns: &'t [IndexColumn],
}

/// The columns of a binding.
#[derive(Clone, Copy)]
pub struct Bound<'t> {
    pub binding: &'t Binding,
    columns: &'t [BoundColumn],
}

impl<'a> Said<'a> {
    /// Of nothing that was read.
    pub const NOTHING: Said<'static> =
        Said { by: 0, policy: None, now: &[], former: &[], first_index: 0, index_columns: &[] };

    /// Whether it is what `table` says.
    #[inline(always)]
    pub fn is_by(&self, table: &Table) -> bool {
        self.by == table.number()
    }

    /// What `table`, the trigger's, says of its column `name`.
    #[inline(never)]
    pub fn read(
        call: &TriggerCall<'_>,
        memory: Memory<'a>,
        table: &Table,
        name: &CStr,
    ) -> Result<Said<'a>> {
        let at = table.policy_at(name);
        let mut said = Said { by: table.number(), policy: at, ..Said::NOTHING };
        if let Some(policy) = at.and_then(|at| table.policies().get(at)) {
            said.now = columns(call, memory, &policy.binding)?;
            if let Some(former) = &policy.former {
                said.former = columns(call, memory, former)?;
            }
            let (first, indexes) = table.indexes_at(name);
            if !indexes.is_empty() {
                let columns = indexes.iter().map(|index| indexed::column(call, index));
                (said.first_index, said.index_columns) = (first, memory.filled(columns)?);
            }
        }
        Ok(said)
    }

    /// Of the table that it [is by](Self::is_by).
    #[inline(always)]
    pub fn rule<'t>(&self, table: &'t Table) -> Option<Rule<'t>>
    where
        'a: 't,
    {
        let policy = table.policies().get(self.policy?)?;
        let former = policy.former.as_ref();
        Some(Rule {
            policy,
            now: Bound { binding: &policy.binding, columns: self.now },
            former: former.map(|binding| Bound { binding, columns: self.former }),
            first_index: self.first_index,
            index_columns: self.index_columns,
        })
    }
}

impl<'t> Rule<'t> {
    /// The indexes of the column, each with its own.
    pub fn indexes<'i>(
        self,
        table: &'i Table,
    ) -> impl Iterator<Item = (&'i ColumnIndex, &'t IndexColumn)> + use<'i, 't> {
        table.all_indexes().iter().skip(self.first_index).zip(self.index_columns)
    }
}

impl<'t> Bound<'t> {
    /// Each column, and its name.
    pub fn columns(self) -> impl Iterator<Item = (&'t CStr, BoundColumn)> {
        let names = self.binding.columns.iter().map(|name| name.as_c_str());
        names.zip(self.columns.iter().copied())
    }
}

fn columns<'a>(
    call: &TriggerCall<'_>,
    memory: Memory<'a>,
    binding: &Binding,
) -> Result<&'a [BoundColumn]> {
    if binding.columns.is_empty() {
        return Ok(&[]);
    }
    let columns = binding.columns.iter().map(|name| column(call, name));
    memory.filled(columns).map(|columns| &*columns)
}

fn column(call: &TriggerCall<'_>, name: &CStr) -> Result<BoundColumn> {
    let found = call.column(name).map(|(number, kind)| BoundColumn { number, kind });
    found.ok_or_else(|| Error::NoSuchColumn {
        column: encoding::to_string(name.to_bytes()),
        table: display_name(call.relation_oid()),
    })
}
