//! The trigger's arguments: which columns it seals, and where their plaintext comes in.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::{Sources, misused};
use crate::error::{Error, Result};
use crate::pg::column::is_sealable;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::trigger::TriggerCall;

/// A name's bytes with the zero at its end.
const NAME: usize = pg_sys::NAMEDATALEN as usize;

/// One argument, as it stands on the table now.
pub struct Argument<'a> {
    text: &'a CStr,
    /// The name before the `=`, if there is one.
    before: [u8; NAME],
    column: i16,
    /// Where plaintext comes in; `None`: in the column itself.
    pub source: Option<Source<'a>>,
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
    /// An error when its columns are not there, or cannot be what it says.
    pub fn read(call: &TriggerCall<'_>, text: &'a CStr, sources: Sources) -> Result<Argument<'a>> {
        let bytes = text.to_bytes();
        let Some(at) = bytes.iter().position(|byte| *byte == b'=') else {
            if sources == Sources::Kept {
                return Err(misused(
                    sources,
                    "takes arguments of the form sealed_column=source_column",
                ));
            }
            let column = sealable_column(call, text)?;
            return Ok(Argument { text, before: [0; NAME], column, source: None });
        };
        let mut before = [0; NAME];
        if let Some(name) = bytes.get(..at).filter(|name| name.len() < NAME) {
            before[..at].copy_from_slice(name);
        }
        let column = sealable_column(call, name_in(&before))?;
        let source = text_after(text, at + 1);
        let source = source_column(call, source)?;
        if source.column == column {
            return Err(misused(sources, "cannot have a column as its own source"));
        }
        Ok(Argument { text, before, column, source: Some(source) })
    }

    /// The column that holds sealed values.
    pub fn target(&self) -> Target<'_> {
        let name = if self.source.is_some() { name_in(&self.before) } else { self.text };
        Target { name, column: self.column }
    }
}

fn name_in(bytes: &[u8; NAME]) -> &CStr {
    CStr::from_bytes_until_nul(bytes).unwrap_or_default()
}

fn text_after(text: &CStr, at: usize) -> &CStr {
    let rest = text.to_bytes_with_nul().get(at..).unwrap_or_default();
    CStr::from_bytes_with_nul(rest).unwrap_or_default()
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
