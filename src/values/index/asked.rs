//! A value that is asked for: to the form in which values of the column are sealed.

use std::ffi::CStr;

use envelope::search::FormType;
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys::{self, Datum, Oid};

use crate::error::{Error, Place, Result, SearchError};
use crate::keyring::table::{Policy, Table};
use crate::pg::kinds::{self, Scalar};
use crate::pg::varlena::Varlena;
use crate::pg::{encoding, types};
use crate::values::{FormBuf, ValueType};

/// What the values of a column are.
#[derive(Clone, Copy)]
pub struct Searched {
    /// Without domains; the widest of the integers. `None`: bytes.
    kind: Option<ValueType>,
    base: Oid,
    /// What a value must fit in to be one of the column's.
    modifier: i32,
    /// As the policy has it, for messages.
    named: (Oid, i32),
}

/// A value that is not NULL, as SQL gives it.
#[derive(Clone, Copy)]
pub struct Given {
    datum: Datum,
    kind: Oid,
}

/// Where a number stands that the column's type cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beyond {
    /// Less than all of the type.
    Below,
    /// Greater than all of the type.
    Above,
}

impl Given {
    /// # Safety
    /// `datum` is a value of type `kind` that is not NULL, and outlives this.
    pub unsafe fn of(datum: Datum, kind: Oid) -> Given {
        Given { datum, kind: kinds::base(kind, -1).0 }
    }

    fn text<'a>(&self) -> Option<Varlena<'a>> {
        let is_text = matches!(self.kind, pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::BPCHAROID);
        // SAFETY: a value of such a type.
        is_text.then(|| unsafe { Varlena::from_datum(self.datum) })
    }
}

impl Searched {
    /// By the policy of the column.
    pub fn of(policy: &Policy) -> Result<Searched> {
        let named = (policy.value_type, policy.value_typmod);
        if named.0 == pg_sys::InvalidOid {
            return Ok(Searched { kind: None, base: pg_sys::BYTEAOID, modifier: -1, named });
        }
        // 42704 for a type that is gone, which the look-up of a base type would raise as an internal error.
        ValueType::known(named.0, named.1).map_err(|_| policy.type_is_gone())?;
        let (base, modifier) = kinds::base(named.0, named.1);
        let base = match base {
            pg_sys::INT2OID | pg_sys::INT4OID => pg_sys::INT8OID,
            base => base,
        };
        Ok(Searched { kind: Some(ValueType::known(base, -1)?), base, modifier, named })
    }

    /// As search indexes know it.
    pub fn form_type(&self) -> FormType {
        self.kind.map_or(FormType::Bytea, |kind| kind.form_type())
    }

    /// The type without domains and modifiers; `None`: bytes.
    pub fn value_type(&self) -> Option<&ValueType> {
        self.kind.as_ref()
    }

    /// Its OID.
    pub fn base(&self) -> Oid {
        self.base
    }

    /// Writes the form of what was `given` into `out`, which is empty: of a value of the column's type or of a narrower
    /// one; of text, as the type's input function reads it, the same in every session. `is_rounded`: to what the column
    /// can hold, as an assignment does it: the ends of a range stay where they are among the column's values, and other
    /// values become equal to one.
    pub fn form_of(
        &self,
        given: &Given,
        is_rounded: bool,
        of: (&Table, &CStr),
        out: &mut FormBuf,
    ) -> Result<()> {
        let not_utf8 =
            |why: encoding::NotText| Error::NotUtf8 { untranslatable: why.is_untranslatable() };
        let Some(kind) = &self.kind else {
            match given.text() {
                Some(text) => put(&encoding::to_utf8(&text).map_err(not_utf8)?, out),
                None if given.kind == pg_sys::BYTEAOID => {
                    // SAFETY: a value of that type.
                    let bytes = unsafe { Varlena::from_datum(given.datum) };
                    put(&bytes, out);
                }
                None => return Err(self.is_other(given, of)),
            }
            return Ok(());
        };
        if let (Some(text), FormType::Text) = (given.text(), kind.form_type()) {
            // As PostgreSQL's own casts to text and to char(n) have it.
            let has_blanks = [self.base, given.kind].contains(&pg_sys::BPCHAROID);
            let text = if has_blanks { without_blanks(&text) } else { &*text };
            put(&encoding::to_utf8(text).map_err(not_utf8)?, out);
            return Ok(());
        }
        if given.kind == self.base && !is_rounded {
            // SAFETY: a value of that type.
            return unsafe { kind.form_of(given.datum, 1, out) };
        }
        let mut form = FormBuf::new();
        match given.text() {
            Some(text) => put(&encoding::to_utf8(&text).map_err(not_utf8)?, &mut form),
            None if !is_narrower(given.kind, self.base) => return Err(self.is_other(given, of)),
            None => {
                let kind = ValueType::known(given.kind, -1)?;
                // SAFETY: a value of that type.
                unsafe { kind.form_of(given.datum, 1, &mut form) }?;
            }
        }
        let to = if is_rounded { ValueType::known(self.base, self.modifier)? } else { *kind };
        let done = match self.base {
            // Whose form is a text of the value, and which is rounded past what it can hold.
            pg_sys::NUMERICOID => to.form_of_text(form.as_slice(), out),
            _ => to.form_of_arriving(form.as_slice(), 1, out),
        };
        done.map_err(|error| match error {
            Error::NoValue { .. } => error.at(Place {
                table: of.0.name(),
                column: encoding::to_string(of.1.to_bytes()),
                row: None,
                key: None,
            }),
            error => error,
        })
    }

    /// As [`Self::form_of`], of a value that others are compared with by their order. What the type cannot hold is before
    /// or behind all that it can, as PostgreSQL has it, and no error.
    pub fn place_of(
        &self,
        given: &Given,
        is_rounded: bool,
        of: (&Table, &CStr),
        out: &mut FormBuf,
    ) -> Result<Option<Beyond>> {
        match self.form_of(given, is_rounded, of, out) {
            Ok(()) => Ok(None),
            Err(error) => beyond(given, &error)?.map(Some).ok_or(error),
        }
    }

    #[cold]
    fn is_other(&self, given: &Given, (table, column): (&Table, &CStr)) -> Error {
        let needs = match self.kind {
            Some(_) => types::display_name(self.named.0, self.named.1),
            None => "bytea".into(),
        };
        SearchError::OtherType {
            column: encoding::to_string(column.to_bytes()),
            table: table.name(),
            needs,
            is: types::display_name(given.kind, -1),
        }
        .into()
    }
}

/// Where the value stands that the error is about, if it is one of the order's.
#[cold]
fn beyond(given: &Given, error: &Error) -> Result<Option<Beyond>> {
    let code = error.sqlstate();
    let mut form = FormBuf::new();
    match given.text() {
        // The same error as of a day that there is not.
        Some(_) if code == PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW => return Ok(None),
        Some(text) => put(&text, &mut form),
        // SAFETY: a value of that type.
        None => unsafe { ValueType::known(given.kind, -1)?.form_of(given.datum, 1, &mut form) }?,
    }
    let text = std::str::from_utf8(form.as_slice()).unwrap_or_default().trim();
    let is_below = match code {
        PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW => Some(text.ends_with(" BC")),
        PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE => {
            // Between zero and the least float there are numbers, too.
            let number = text.parse::<f64>().ok().filter(|number| number.abs() >= 1.0);
            number.map(|number| number < 0.0)
        }
        _ => None,
    };
    Ok(is_below.map(|is_below| if is_below { Beyond::Below } else { Beyond::Above }))
}

fn put(bytes: &[u8], out: &mut FormBuf) {
    use envelope::forms::Sink;
    out.push(bytes);
}

fn without_blanks(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    &text[..end]
}

/// Whether every value of type `given` is one of type `of`, written in the same way.
fn is_narrower(given: Oid, of: Oid) -> bool {
    let (Some(given), Some(of)) = (Scalar::of(given), Scalar::of(of)) else { return false };
    let size = |kind| match kind {
        Scalar::Int2 | Scalar::Int4 | Scalar::Int8 => Some(1),
        Scalar::Numeric => Some(2),
        Scalar::Float4 | Scalar::Float8 => Some(3),
        _ => None,
    };
    let is_number = size(given).zip(size(of)).is_some_and(|(given, of)| given <= of);
    let others =
        matches!((given, of), (Scalar::Cidr, Scalar::Inet) | (Scalar::Date, Scalar::Timestamp));
    given == of || is_number || others
}
