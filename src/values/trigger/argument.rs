//! The trigger's arguments: which columns it seals, and where their plaintext comes in. They are read with the first row
//! of a statement, and kept for the others.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::rule::{Rule, Said};
use super::{Sources, misused};
use crate::error::{Error, Result};
use crate::keyring::table::Table;
use crate::pg::column::is_sealable;
use crate::pg::encoding;
use crate::pg::memory::Memory;
use crate::pg::relation::display_name;
use crate::pg::trigger::TriggerCall;

/// One argument, as it stands on the table now.
#[derive(Clone, Copy)]
pub struct Argument<'a> {
    pub target: Target<'a>,
    /// Where plaintext comes in; `None`: in the column itself.
    pub source: Option<Source<'a>>,
    said: Said<'a>,
    memory: Memory<'a>,
}

/// The column that holds sealed values.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub name: &'a CStr,
    pub column: i16,
}

/// The column where plaintext comes in.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub name: &'a CStr,
    pub column: i16,
    pub kind: pg_sys::Oid,
}

impl<'a> Argument<'a> {
    /// An error when its columns are not there, or cannot be what it says. What is made of it stands in `memory`.
    pub fn read(
        call: &TriggerCall<'_>,
        memory: Memory<'a>,
        text: &'a CStr,
        sources: Sources,
    ) -> Result<Argument<'a>> {
        let bytes = text.to_bytes();
        let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
            if sources == Sources::Kept {
                return Err(misused(
                    sources,
                    "takes arguments of the form sealed_column=source_column",
                ));
            }
            let target = Target { name: text, column: sealable_column(call, text)? };
            return Ok(Argument { target, source: None, said: Said::NOTHING, memory });
        };
        let name = memory.text(&bytes[..at]);
        let target = Target { name, column: sealable_column(call, name)? };
        let source = source_column(call, memory.text(&bytes[at + 1..]))?;
        if source.column == target.column {
            return Err(misused(sources, "cannot have a column as its own source"));
        }
        Ok(Argument { target, source: Some(source), said: Said::NOTHING, memory })
    }

    /// What the target's policy says in this row of `table`, the trigger's; `None` when it has none.
    #[inline(always)]
    pub fn rule<'t>(&mut self, call: &TriggerCall<'_>, table: &'t Table) -> Result<Option<Rule<'t>>>
    where
        'a: 't,
    {
        if !self.said.is_by(table) {
            self.said = Said::read(call, self.memory, table, self.target.name)?;
        }
        Ok(self.said.rule(table))
    }
}

fn sealable_column(call: &TriggerCall<'_>, name: &CStr) -> Result<i16> {
    match call.column(name) {
        Some((column, kind)) if is_sealable(kind) => stored(call, name, column),
        Some(_) => {
            let (column, table, trigger) = named(call, name);
            Err(Error::NotSealable { column, table, trigger })
        }
        None => Err(missing(call, name)),
    }
}

fn source_column<'a>(call: &TriggerCall<'_>, name: &'a CStr) -> Result<Source<'a>> {
    let Some((column, kind)) = call.column(name) else { return Err(missing(call, name)) };
    Ok(Source { name, column: stored(call, name, column)?, kind })
}

fn stored(call: &TriggerCall<'_>, name: &CStr, column: i16) -> Result<i16> {
    if !call.is_generated(column) {
        return Ok(column);
    }
    let (column, table, trigger) = named(call, name);
    Err(Error::GeneratedColumn { column, table, trigger })
}

#[cold]
fn missing(call: &TriggerCall<'_>, name: &CStr) -> Error {
    let (column, table, trigger) = named(call, name);
    Error::NoColumn { column, table, trigger }
}

#[cold]
fn named(call: &TriggerCall<'_>, name: &CStr) -> (String, String, String) {
    (encoding::to_string(name.to_bytes()), display_name(call.relation_oid()), call.name())
}
