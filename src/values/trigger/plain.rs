//! Values of source columns, as the bytes that are sealed, and back.

use std::ops::Deref;

use pgrx::pg_sys;

use super::argument::Source;
use crate::error::{Error, PolicyError, Result};
use crate::pg::column::base_type;
use crate::pg::encoding::{self, Converted, NotText};
use crate::pg::relation::display_name;
use crate::pg::trigger::TriggerCall;
use crate::pg::types;
use crate::pg::varlena::{Varlena, VarlenaBuf};

/// What is sealed for a value.
pub enum Plain<'a> {
    Bytes(Varlena<'a>),
    Text(Converted<'a>),
}

impl Deref for Plain<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Plain::Bytes(bytes) => bytes,
            Plain::Text(text) => text,
        }
    }
}

/// What is sealed for `datum`, a value of the source that outlives `'a`.
pub fn of<'a>(
    call: &TriggerCall<'_>,
    source: Source<'_>,
    datum: pg_sys::Datum,
) -> Result<Plain<'a>> {
    let is_text = kind(call, source)?;
    // SAFETY: a non-null text or bytea of the row, which outlives this call.
    let bytes = unsafe { Varlena::from_datum(datum) };
    if !is_text || bytes.is_ascii() {
        return Ok(Plain::Bytes(bytes));
    }
    let not_utf8 = |why: NotText| Error::NotUtf8 { untranslatable: why.is_untranslatable() };
    match encoding::to_utf8(&bytes).map_err(not_utf8)? {
        Converted::Same(_) => Ok(Plain::Bytes(bytes)),
        Converted::Palloced(text) => Ok(Plain::Text(Converted::Palloced(text))),
    }
}

/// The value of the source that `opened` was sealed for.
pub fn back(call: &TriggerCall<'_>, source: Source<'_>, opened: &[u8]) -> Result<pg_sys::Datum> {
    if !kind(call, source)? {
        return Ok(VarlenaBuf::copy_of(opened).into_datum());
    }
    match encoding::from_utf8(opened) {
        Ok(text) => Ok(VarlenaBuf::copy_of(&text).into_datum()),
        Err(NotText::Invalid) => Err(Error::NotText),
        Err(NotText::Untranslatable) => Err(Error::Untranslatable("opened value")),
    }
}

/// Whether the source is of a type of text, else of bytes; an error when it is of neither.
fn kind(call: &TriggerCall<'_>, source: Source<'_>) -> Result<bool> {
    match base_type(source.kind) {
        Some(pg_sys::TEXTOID | pg_sys::VARCHAROID) => Ok(true),
        Some(pg_sys::BYTEAOID) => Ok(false),
        _ => Err(PolicyError::SourceType {
            column: encoding::to_string(source.name.to_bytes()),
            table: display_name(call.relation_oid()),
            is: types::display_name(source.kind, -1),
        }
        .into()),
    }
}
