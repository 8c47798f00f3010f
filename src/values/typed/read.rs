//! From a form back to its value.

use envelope::forms::padding::{Padding, without_mark, without_spaces};
use envelope::forms::{array, bytes, date, interval, network, number, time, uuid};
use pgrx::pg_sys::Datum;

use super::{FormBuf, ValueType};
use crate::error::{Error, Result};
use crate::pg::array::Elements;
use crate::pg::datum::UuidBuf;
use crate::pg::domain::Checks;
use crate::pg::encoding::{self, NotText};
use crate::pg::kinds::Scalar;
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};
use crate::pg::{scalars, through, types};

impl ValueType {
    /// Whether `bytes` are the form of a value of this type, filled or not. Constraints of domains are not asked.
    pub fn is_form(&self, bytes: &[u8]) -> bool {
        self.read_base(bytes, &mut None).is_ok()
    }

    /// The value whose form `bytes` are, filled or not. 22P02 if they are none; 22021 and 22P05 for text, as when it is
    /// opened as text; PostgreSQL's own errors where the value breaks the type's modifier or a domain's constraints.
    pub fn read(&self, bytes: &[u8]) -> Result<Datum> {
        self.read_checked(bytes, &mut Checks::once())
    }

    /// As [`Self::read`], with what was prepared for the domains.
    #[inline]
    pub fn read_checked(&self, bytes: &[u8], checks: &mut Checks) -> Result<Datum> {
        let value = self.read_base(bytes, &mut Some(checks))?;
        if let Some(domain) = self.domain {
            checks.check(domain, Some(value));
        }
        Ok(value)
    }

    /// A form without what fills it to a block.
    #[inline]
    pub fn unfilled<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.padding() {
            Padding::Spaces => without_spaces(bytes),
            Padding::Marked => without_mark(bytes).unwrap_or(bytes),
            Padding::None => bytes,
        }
    }

    #[inline]
    fn read_base(&self, bytes: &[u8], checks: &mut Option<&mut Checks>) -> Result<Datum> {
        let form = self.unfilled(bytes);
        match self.elements {
            None => self.read_scalar(form),
            Some(_) => self.read_array(form, checks),
        }
    }

    #[inline(never)]
    fn read_array(&self, form: &[u8], checks: &mut Option<&mut Checks>) -> Result<Datum> {
        let (Some(elements), Some(shape)) = (self.elements, array::shape(form)) else {
            return Err(self.is_other());
        };
        let sizes = shape.dimensions();
        let count = if sizes.is_empty() { Some(0) } else { product(sizes) };
        let Some(count) = count.filter(|count| *count <= Elements::MOST) else {
            return Err(Error::TooLong(form.len()));
        };
        let (mut values, mut scratch) = (Elements::of_len(count), FormBuf::new());
        for (at, element) in array::elements(form).enumerate() {
            let value = element
                .map(|element| match element.plain() {
                    Some(form) => self.read_element(form),
                    None => {
                        scratch.clear();
                        element.unescape(&mut scratch);
                        self.read_element(scratch.as_slice())
                    }
                })
                .transpose()?;
            if let (Some(domain), Some(checks)) = (elements.domain, checks.as_deref_mut()) {
                checks.check(domain, value);
            }
            if let Some(value) = value {
                values.set(at, value);
            }
        }
        // SAFETY: elements of that type.
        Ok(unsafe { values.into_array(sizes, elements.kind, elements.storage) })
    }

    fn read_element(&self, form: &[u8]) -> Result<Datum> {
        match self.scalar {
            Scalar::Bytea => {
                let len = bytes::len_of(form).ok_or_else(|| self.is_other())?;
                let mut value = VarlenaBuf::of_len(len);
                let is_form = bytes::read_into(form, value.as_mut_slice());
                if is_form { Ok(value.into_datum()) } else { Err(self.is_other()) }
            }
            _ => self.read_scalar(form),
        }
    }

    #[inline]
    fn read_scalar(&self, form: &[u8]) -> Result<Datum> {
        let value = match self.scalar {
            Scalar::Bool => number::read_bool(form).map(Datum::from),
            Scalar::Int2 => integer::<i16>(form).map(Datum::from),
            Scalar::Int4 => integer::<i32>(form).map(Datum::from),
            Scalar::Int8 => number::read_integer(form).map(Datum::from),
            Scalar::Float4 => float4(form).map(|number| Datum::from(number.to_bits() as i32)),
            Scalar::Float8 => float8(form).map(|number| Datum::from(number.to_bits())),
            Scalar::Date => date::read(form).and_then(scalars::date_datum),
            Scalar::Time => time::read(form).map(Datum::from),
            Scalar::TimeTz => time::read_zoned(form).and_then(scalars::timetz_datum),
            Scalar::Timestamp => time::read_moment(form, false).and_then(scalars::timestamp_datum),
            Scalar::TimestampTz => time::read_moment(form, true).and_then(scalars::timestamp_datum),
            Scalar::Interval => interval::read(form).and_then(scalars::interval_datum),
            Scalar::Uuid => uuid::read(form).map(|uuid| UuidBuf::copy_of(&uuid).into_datum()),
            Scalar::Inet => {
                network::read(form).map(|(address, bits)| scalars::address_datum(address, bits))
            }
            Scalar::Cidr => network::read(form)
                .filter(|(address, bits)| address.is_network(*bits))
                .map(|(address, bits)| scalars::address_datum(address, bits)),
            Scalar::Bytea => Some(VarlenaBuf::copy_of(form).into_datum()),
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar => {
                Some(VarlenaBuf::copy_of(&text(form)?).into_datum())
            }
            _ => self.read_through(form)?,
        };
        let value = value.ok_or_else(|| self.is_other())?;
        if self.modifier < 0 {
            return Ok(value);
        }
        // SAFETY: a value of that type, just made.
        Ok(unsafe { through::to_modifier(self.scalar, value, self.modifier) })
    }

    /// Types whose input functions alone know them.
    fn read_through(&self, form: &[u8]) -> Result<Option<Datum>> {
        let is_known = match self.scalar {
            Scalar::Numeric => number::is_numeric(form),
            Scalar::Enum(_) => std::str::from_utf8(form).is_ok(),
            _ => true,
        };
        if !is_known {
            return Ok(None);
        }
        let text = match (text(form), self.scalar) {
            (Err(Error::Untranslatable(_)), Scalar::Enum(_)) => return Ok(None),
            (text, _) => text?,
        };
        Ok(through::parsed(self.scalar, &text))
    }

    /// The error of a form that is none of this type.
    #[cold]
    pub fn is_other(&self) -> Error {
        Error::NotOfType(types::display_name(self.named, self.named_modifier))
    }
}

fn product(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |all, size| all.checked_mul(*size))
}

fn integer<T: TryFrom<i64>>(form: &[u8]) -> Option<T> {
    number::read_integer(form)?.try_into().ok()
}

/// Of several texts of one number, PostgreSQL's.
fn float8(form: &[u8]) -> Option<f64> {
    let number = number::read_float8(form)?;
    let mut is_same = false;
    scalars::float8_text(number, |text| is_same = text == form);
    is_same.then_some(number)
}

/// As [`float8`].
fn float4(form: &[u8]) -> Option<f32> {
    let number = number::read_float4(form)?;
    let mut is_same = false;
    scalars::float4_text(number, |text| is_same = text == form);
    is_same.then_some(number)
}

/// In the server's encoding.
fn text(form: &[u8]) -> Result<encoding::Converted<'_>> {
    match encoding::from_utf8(form) {
        Ok(text) if text.len() > MAX_LEN => Err(Error::TooLong(text.len())),
        Ok(text) => Ok(text),
        Err(NotText::Invalid) => Err(Error::NotText),
        Err(NotText::Untranslatable) => Err(Error::Untranslatable("opened value")),
    }
}
