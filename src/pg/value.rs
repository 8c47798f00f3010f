//! One value whose type is known, taken apart.

use envelope::forms::Ends;
use envelope::forms::interval::Interval;
use envelope::forms::network::Address;
use envelope::forms::time::Moment;
use pgrx::pg_sys::{self, Datum};

use crate::pg::kinds::Scalar;
use crate::pg::varlena::Varlena;
use crate::pg::{datum, scalars, through};

/// A value that is not NULL.
#[derive(Clone, Copy)]
pub struct Value {
    datum: Datum,
    kind: Scalar,
}

/// What a value is made of.
pub enum Plain<'a> {
    Bool(bool),
    Integer(i64),
    Float4(f32),
    Float8(f64),
    Date(Ends<i64>),
    /// Microseconds of a day.
    Time(i64),
    /// The same, and seconds east of UTC.
    TimeTz(i64, i32),
    Moment {
        moment: Ends<Moment>,
        is_utc: bool,
    },
    Interval(Ends<Interval>),
    Uuid([u8; 16]),
    Address(Address, u8),
    Bytes(Varlena<'a>),
    /// In the server's encoding.
    Text(Varlena<'a>),
    /// As [`Plain::Text`], with blanks at the end that do not count.
    Blanks(Varlena<'a>),
    /// What [`Value::written`] gives.
    Written,
}

impl Value {
    /// # Safety
    /// `datum` is a non-null value of `kind`, and outlives this.
    #[inline]
    pub unsafe fn of(datum: Datum, kind: Scalar) -> Value {
        Value { datum, kind }
    }

    /// Taken apart; `None` if its bytes are damaged.
    #[inline]
    pub fn plain<'a>(self) -> Option<Plain<'a>> {
        let word = self.datum.value();
        // SAFETY: the datum is of that type, by what `of` asks for.
        unsafe {
            Some(match self.kind {
                Scalar::Bool => Plain::Bool(word & 0xff != 0),
                Scalar::Int2 => Plain::Integer((word as i16).into()),
                Scalar::Int4 => Plain::Integer((word as i32).into()),
                Scalar::Int8 => Plain::Integer(word as i64),
                Scalar::Float4 => Plain::Float4(f32::from_bits(word as u32)),
                Scalar::Float8 => Plain::Float8(f64::from_bits(word as u64)),
                Scalar::Date => Plain::Date(scalars::date(self.datum)),
                Scalar::Time => Plain::Time(word as i64),
                Scalar::TimeTz => {
                    let (us, east) = scalars::timetz(self.datum);
                    Plain::TimeTz(us, east)
                }
                Scalar::Timestamp => {
                    Plain::Moment { moment: scalars::timestamp(self.datum), is_utc: false }
                }
                Scalar::TimestampTz => {
                    Plain::Moment { moment: scalars::timestamp(self.datum), is_utc: true }
                }
                Scalar::Interval => Plain::Interval(scalars::interval(self.datum)),
                Scalar::Uuid => Plain::Uuid(datum::uuid_bytes(self.datum)),
                Scalar::Inet | Scalar::Cidr => {
                    let (address, bits) = scalars::address(self.datum)?;
                    Plain::Address(address, bits)
                }
                Scalar::Bytea => Plain::Bytes(Varlena::from_datum(self.datum)),
                Scalar::Text | Scalar::Varchar | Scalar::Json => {
                    Plain::Text(Varlena::from_datum(self.datum))
                }
                Scalar::Bpchar => Plain::Blanks(Varlena::from_datum(self.datum)),
                Scalar::Numeric | Scalar::Jsonb | Scalar::Enum(_) => Plain::Written,
            })
        }
    }

    /// Hands what its output function writes to `write`, in the server's encoding; nothing of types for which that
    /// depends on a setting.
    pub fn written<T>(self, write: impl FnOnce(&[u8]) -> T) -> T {
        let output = match self.kind {
            Scalar::Numeric => pg_sys::numeric_out,
            Scalar::Jsonb => pg_sys::jsonb_out,
            Scalar::Enum(_) => pg_sys::enum_out,
            _ => return write(b""),
        };
        // SAFETY: the output function of its type.
        unsafe { through::written(output, self.datum, write) }
    }
}
