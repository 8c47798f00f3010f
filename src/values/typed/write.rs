//! From a value to its form.

use envelope::forms::padding::fill;
use envelope::forms::{Sink, array, bytes, date, interval, network, number, time, uuid};
use pgrx::pg_sys::{self, Datum};

use super::scalar::Scalar;
use super::{FormBuf, ValueType};
use crate::error::{Error, Result};
use crate::pg::array::TakenApart;
use crate::pg::varlena::Varlena;
use crate::pg::{datum, encoding, kinds, scalars, through};

impl ValueType {
    /// Writes the form of `datum` into `out`, which is empty, filled to a multiple of `block` (0 or 1: not filled). The
    /// same bytes in every session, whatever is set.
    ///
    /// # Safety
    /// `datum` is a non-null value of this type.
    #[inline]
    pub unsafe fn form_of(&self, datum: Datum, block: u32, out: &mut FormBuf) -> Result<()> {
        let padding = self.padding();
        if block > 1 && padding == envelope::forms::padding::Padding::None {
            return Err(Error::BadArgument("a column of type bytea takes no block".into()));
        }
        // SAFETY: by contract.
        match self.elements {
            None => unsafe { self.write_scalar(datum, out) }?,
            Some(_) => unsafe { self.write_array(datum, out) }?,
        }
        fill(padding, out.as_slice().len(), block as usize, out);
        if out.is_too_long() { Err(Error::TooLong(out.as_slice().len())) } else { Ok(()) }
    }

    /// # Safety
    /// `datum` is a non-null array of this type.
    #[inline(never)]
    unsafe fn write_array(&self, datum: Datum, out: &mut FormBuf) -> Result<()> {
        let Some(elements) = self.elements else { return Ok(()) };
        // SAFETY: by contract.
        let array = unsafe { TakenApart::of(datum, elements.kind, elements.storage) };
        if !array.counts_from_1() {
            return Err(self.has_no_form("its array does not count from 1"));
        }
        let mut sizes = [0; array::MOST_DIMENSIONS];
        let count = array.sizes().len().min(sizes.len());
        sizes.iter_mut().zip(array.sizes()).for_each(|(to, size)| *to = size);
        let sizes = &sizes[..count];
        for (at, element) in array.elements().enumerate() {
            array::write_before(sizes, at, out);
            match element {
                None => array::write_null(out),
                // SAFETY: an element of the array.
                Some(datum) => array::write_element(out, |out| unsafe {
                    match self.scalar {
                        Scalar::Bytea => bytes::write(&Varlena::from_datum(datum), out),
                        _ => self.write_scalar(datum, out)?,
                    }
                    Ok::<_, Error>(())
                })?,
            }
        }
        array::write_after(sizes, out);
        Ok(())
    }

    /// # Safety
    /// `datum` is a non-null value of the type, or an element of the array that it is.
    #[inline]
    unsafe fn write_scalar(&self, datum: Datum, out: &mut impl Sink) -> Result<()> {
        // SAFETY: by contract, for all below.
        unsafe {
            match self.scalar {
                Scalar::Bool => number::write_bool(datum.value() & 0xff != 0, out),
                Scalar::Int2 => number::write_integer((datum.value() as i16).into(), out),
                Scalar::Int4 => number::write_integer((datum.value() as i32).into(), out),
                Scalar::Int8 => number::write_integer(datum.value() as i64, out),
                Scalar::Float4 => {
                    let number = f32::from_bits(datum.value() as u32);
                    scalars::float4_text(number, |text| out.push(text));
                }
                Scalar::Float8 => {
                    let number = f64::from_bits(datum.value() as u64);
                    scalars::float8_text(number, |text| out.push(text));
                }
                Scalar::Numeric => {
                    through::written(pg_sys::numeric_out, datum, |text| out.push(text))
                }
                Scalar::Date => date::write(scalars::date(datum), out),
                Scalar::Time => time::write(datum.value() as i64, out),
                Scalar::TimeTz => {
                    let (us, east) = scalars::timetz(datum);
                    time::write_zoned(us, east, out);
                }
                Scalar::Timestamp => time::write_moment(scalars::timestamp(datum), false, out),
                Scalar::TimestampTz => time::write_moment(scalars::timestamp(datum), true, out),
                Scalar::Interval => interval::write(scalars::interval(datum), out),
                Scalar::Uuid => uuid::write(&datum::uuid_bytes(datum), out),
                Scalar::Inet | Scalar::Cidr => match scalars::address(datum) {
                    Some((address, bits)) => network::write(address, bits, out),
                    None => return Err(self.has_no_form("its bytes are damaged")),
                },
                Scalar::Text | Scalar::Varchar | Scalar::Json => {
                    write_text(&Varlena::from_datum(datum), out)?;
                }
                Scalar::Bpchar => write_text(without_blanks(&Varlena::from_datum(datum)), out)?,
                Scalar::Jsonb => {
                    through::written(pg_sys::jsonb_out, datum, |text| write_text(text, out))?;
                }
                Scalar::Bytea => out.push(&Varlena::from_datum(datum)),
                Scalar::Enum(_) => through::written(pg_sys::enum_out, datum, |label| {
                    if label.ends_with(b" ") {
                        return Err(self.has_no_form("its label ends in a space"));
                    }
                    write_text(label, out)
                })?,
            }
        }
        Ok(())
    }

    #[cold]
    fn has_no_form(&self, why: &'static str) -> Error {
        Error::ValueHasNoForm { kind: kinds::name(self.named, self.named_modifier), why }
    }
}

/// In UTF-8.
fn write_text(text: &[u8], out: &mut impl Sink) -> Result<()> {
    let utf8 = encoding::to_utf8(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
    out.push(&utf8);
    Ok(())
}

/// What counts of a char(n).
fn without_blanks(text: &[u8]) -> &[u8] {
    envelope::forms::padding::without_spaces(text)
}
