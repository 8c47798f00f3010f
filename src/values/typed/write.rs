//! From a value to its form.

use envelope::forms::padding::{Padding, fill, without_spaces};
use envelope::forms::{Sink, array, bytes, date, interval, network, number, time, uuid};
use pgrx::pg_sys::Datum;

use super::{FormBuf, ValueType};
use crate::error::{Error, Result};
use crate::pg::array::TakenApart;
use crate::pg::kinds::Scalar;
use crate::pg::value::{Plain, Value};
use crate::pg::varlena::MAX_LEN;
use crate::pg::{encoding, scalars, types};

impl ValueType {
    /// Writes the form of `datum` into `out`, which is empty, filled to a multiple of `block` (0 or 1: not filled). The
    /// same bytes in every session, whatever is set.
    ///
    /// # Safety
    /// `datum` is a non-null value of this type.
    #[inline]
    pub unsafe fn form_of(&self, datum: Datum, block: u32, out: &mut FormBuf) -> Result<()> {
        match self.elements {
            // SAFETY: by contract.
            None => self.write_scalar(unsafe { Value::of(datum, self.scalar) }, out)?,
            Some(of) => {
                // SAFETY: by contract.
                let array = unsafe { TakenApart::of(datum, of.kind, of.storage) };
                self.write_array(&array, out)?;
            }
        }
        let padding = self.padding();
        if block > 1 && padding == Padding::None {
            return Err(Error::BadArgument("values of type bytea take no block".into()));
        }
        fill(padding, out.as_slice().len(), block as usize, out);
        if out.is_too_long() { Err(Error::TooLong(MAX_LEN + 1)) } else { Ok(()) }
    }

    #[inline(never)]
    fn write_array(&self, array: &TakenApart<'_>, out: &mut FormBuf) -> Result<()> {
        if !array.counts_from_1() {
            return Err(self.has_no_form("its array does not count from 1"));
        }
        let mut sizes = [0; array::MOST_DIMENSIONS];
        let count = array.sizes().len().min(sizes.len());
        sizes.iter_mut().zip(array.sizes()).for_each(|(to, size)| *to = size);
        let sizes = &sizes[..count];
        for (at, element) in array.elements().enumerate() {
            array::write_before(sizes, at, out);
            let Some(element) = element else {
                array::write_null(out);
                continue;
            };
            // SAFETY: an element of the array.
            let element = unsafe { Value::of(element, self.scalar) };
            array::write_element(out, |out| match element.plain() {
                Some(Plain::Bytes(value)) => {
                    bytes::write(&value, out);
                    Ok(())
                }
                _ => self.write_scalar(element, out),
            })?;
        }
        array::write_after(sizes, out);
        Ok(())
    }

    #[inline]
    fn write_scalar(&self, value: Value, out: &mut impl Sink) -> Result<()> {
        let Some(plain) = value.plain() else {
            return Err(self.has_no_form("its bytes are damaged"));
        };
        match plain {
            Plain::Bool(value) => number::write_bool(value, out),
            Plain::Integer(value) => number::write_integer(value, out),
            Plain::Float4(value) => scalars::float4_text(value, |text| out.push(text)),
            Plain::Float8(value) => scalars::float8_text(value, |text| out.push(text)),
            Plain::Date(days) => date::write(days, out),
            Plain::Time(us) => time::write(us, out),
            Plain::TimeTz(us, east) => time::write_zoned(us, east, out),
            Plain::Moment { moment, is_utc } => time::write_moment(moment, is_utc, out),
            Plain::Interval(value) => interval::write(value, out),
            Plain::Uuid(value) => uuid::write(&value, out),
            Plain::Address(address, bits) => network::write(address, bits, out),
            Plain::Bytes(value) => out.push(&value),
            Plain::Text(value) => write_text(&value, out)?,
            Plain::Blanks(value) => write_text(without_spaces(&value), out)?,
            Plain::Written => value.written(|text| {
                if matches!(self.scalar, Scalar::Enum(_)) && text.ends_with(b" ") {
                    return Err(self.has_no_form("its label ends in a space"));
                }
                write_text(text, out)
            })?,
        }
        Ok(())
    }

    #[cold]
    fn has_no_form(&self, why: &'static str) -> Error {
        Error::ValueHasNoForm { kind: types::display_name(self.named, self.named_modifier), why }
    }
}

/// In UTF-8.
fn write_text(text: &[u8], out: &mut impl Sink) -> Result<()> {
    let utf8 = encoding::to_utf8(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
    out.push(&utf8);
    Ok(())
}
