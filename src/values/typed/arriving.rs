//! What arrives for a column of a type: bytes that are its form already, or text that its input function reads.

use std::cell::RefCell;

use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum};

use super::{FormBuf, ValueType};
use crate::error::{Error, PolicyError, Result};
use crate::pg::column::base_type;
use crate::pg::domain::Checks;
use crate::pg::kinds::{self, Scalar};
use crate::pg::{encoding, input, types};

/// Types that are remembered: more than a table has sealed columns, mostly.
const KNOWN: usize = 16;

thread_local! {
    /// By OID and modifier. What is known of a type does not change while it is there.
    static TYPES: RefCell<[Option<(pg_sys::Oid, i32, ValueType)>; KNOWN]> =
        const { RefCell::new([None; KNOWN]) };
}

impl ValueType {
    /// As [`ValueType::of`], looked up once in a session; 42704 for a type that is gone.
    pub fn known(kind: pg_sys::Oid, modifier: i32) -> Result<ValueType> {
        let place = kind.to_u32() as usize % KNOWN;
        let is_it = |(of, with, _): &(pg_sys::Oid, i32, _)| *of == kind && *with == modifier;
        let found = TYPES.with_borrow(|types| types.get(place).copied().flatten().filter(is_it));
        // PostgreSQL's own types stay.
        let stays = |found: &ValueType| !(found.is_made_by_users() && base_type(kind).is_none());
        if let Some((.., found)) = found.filter(|(.., found)| stays(found)) {
            return Ok(found);
        }
        base_type(kind).ok_or(PolicyError::NoType)?;
        let found = ValueType::of(kind, modifier)?;
        TYPES.with_borrow_mut(|types| types[place] = Some((kind, modifier, found)));
        Ok(found)
    }

    /// Whether bytes are their own form, as far as they are UTF-8: text that nothing cuts and no block fills.
    pub fn is_any_text(&self, block: u32) -> bool {
        let is_text = matches!(self.scalar, Scalar::Text | Scalar::Varchar) && self.modifier < 0;
        is_text && block <= 1 && self.domain.is_none() && self.elements.is_none()
    }

    /// Whether bytes are their own form, whatever they are.
    pub fn is_any_bytes(&self) -> bool {
        self.scalar == Scalar::Bytea && self.domain.is_none() && self.elements.is_none()
    }

    /// Writes the form of what `bytes` mean into `out`, which is empty: they are a form, filled or not, or the text of
    /// a value in UTF-8. Class 22, without the value, if they are neither.
    pub fn form_of_arriving(&self, bytes: &[u8], block: u32, out: &mut FormBuf) -> Result<()> {
        let value = match self.read(bytes) {
            Err(Error::NotOfType(_)) => self.parse(bytes)?,
            value => value?,
        };
        // SAFETY: a value of this type.
        unsafe { self.form_of(value, block, out) }
    }

    /// As [`Self::form_of_arriving`], of the text of a value alone: what its type cannot hold is class 22 for every type.
    pub fn form_of_text(&self, text: &[u8], out: &mut FormBuf) -> Result<()> {
        let value = self.parse(text)?;
        // SAFETY: a value of this type.
        unsafe { self.form_of(value, 1, out) }
    }

    fn parse(&self, text: &[u8]) -> Result<Datum> {
        let Ok(text) = encoding::from_utf8(text) else { return Err(self.is_other()) };
        let (kind, _) = kinds::base(self.named, -1);
        let value = input::parsed(kind, self.modifier, &text)
            .map_err(|code| is_no_value(code, self.named, self.named_modifier))?;
        if let Some(domain) = self.domain {
            Checks::once().check(domain, Some(value));
        }
        Ok(value)
    }
}

/// Text, in the server's encoding, as a value of any type, as PostgreSQL's own cast reads it in this session. The cast's
/// error would show the text; class 22 without it.
pub fn read_as(kind: pg_sys::Oid, text: &[u8]) -> Result<Datum> {
    let (base, modifier) = kinds::base(kind, -1);
    let value =
        input::parsed_as_set(base, modifier, text).map_err(|code| is_no_value(code, kind, -1))?;
    if base != kind {
        Checks::once().check(kind, Some(value));
    }
    Ok(value)
}

#[cold]
fn is_no_value(code: PgSqlErrorCode, kind: pg_sys::Oid, modifier: i32) -> Error {
    let has_dates = [pg_sys::DATEOID, pg_sys::TIMESTAMPOID, pg_sys::TIMESTAMPTZOID]
        .contains(&kinds::base(kind, -1).0);
    Error::NoValue { code, kind: types::display_name(kind, modifier), has_dates }
}
