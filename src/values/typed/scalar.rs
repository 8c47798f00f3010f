//! Types that are no arrays: which have a form, and how it is filled.

use envelope::forms::padding::Padding;
use pgrx::pg_sys;

use crate::pg::kinds;

/// A type with a canonical form. Domains are their base type here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Inet,
    Cidr,
    Text,
    Varchar,
    Bpchar,
    Json,
    Jsonb,
    Bytea,
    /// The enum of that OID.
    Enum(pg_sys::Oid),
}

/// The longest block of enums: a label has 63 bytes at most in most encodings.
const ENUM_BLOCK: u32 = 64;

impl Scalar {
    /// The type of that OID, which is no domain; `None` if it has no form.
    pub fn of(kind: pg_sys::Oid) -> Option<Scalar> {
        Some(match kind {
            pg_sys::BOOLOID => Scalar::Bool,
            pg_sys::INT2OID => Scalar::Int2,
            pg_sys::INT4OID => Scalar::Int4,
            pg_sys::INT8OID => Scalar::Int8,
            pg_sys::FLOAT4OID => Scalar::Float4,
            pg_sys::FLOAT8OID => Scalar::Float8,
            pg_sys::NUMERICOID => Scalar::Numeric,
            pg_sys::DATEOID => Scalar::Date,
            pg_sys::TIMEOID => Scalar::Time,
            pg_sys::TIMETZOID => Scalar::TimeTz,
            pg_sys::TIMESTAMPOID => Scalar::Timestamp,
            pg_sys::TIMESTAMPTZOID => Scalar::TimestampTz,
            pg_sys::INTERVALOID => Scalar::Interval,
            pg_sys::UUIDOID => Scalar::Uuid,
            pg_sys::INETOID => Scalar::Inet,
            pg_sys::CIDROID => Scalar::Cidr,
            pg_sys::TEXTOID => Scalar::Text,
            pg_sys::VARCHAROID => Scalar::Varchar,
            pg_sys::BPCHAROID => Scalar::Bpchar,
            pg_sys::JSONOID => Scalar::Json,
            pg_sys::JSONBOID => Scalar::Jsonb,
            pg_sys::BYTEAOID => Scalar::Bytea,
            kind if kinds::is_enum(kind) => Scalar::Enum(kind),
            _ => return None,
        })
    }

    /// The block that all its forms fit in, if there is one; else 1. Of numeric, by its modifier.
    pub fn block(self, modifier: i32) -> u32 {
        match self {
            Scalar::Bool => 5,
            Scalar::Int2 => 6,
            Scalar::Int4 => 11,
            Scalar::Int8 => 20,
            Scalar::Float4 => 16,
            Scalar::Float8 => 24,
            Scalar::Numeric => numeric_block(modifier),
            Scalar::Date => 13,
            Scalar::Time => 15,
            Scalar::TimeTz => 24,
            Scalar::Timestamp => 29,
            Scalar::TimestampTz => 30,
            Scalar::Interval => 60,
            Scalar::Uuid => 36,
            Scalar::Inet | Scalar::Cidr => 44,
            Scalar::Enum(_) => ENUM_BLOCK,
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar => 1,
            Scalar::Json | Scalar::Jsonb | Scalar::Bytea => 1,
        }
    }

    /// How its forms are filled.
    pub fn padding(self) -> Padding {
        match self {
            Scalar::Text | Scalar::Varchar | Scalar::Bpchar | Scalar::Json | Scalar::Jsonb => {
                Padding::Marked
            }
            Scalar::Bytea => Padding::None,
            _ => Padding::Spaces,
        }
    }
}

/// Sign, point and a zero before it, beside the digits that the modifier allows; a negative scale adds zeros.
fn numeric_block(modifier: i32) -> u32 {
    let Some(packed) = modifier.checked_sub(pg_sys::VARHDRSZ as i32).filter(|packed| *packed >= 0)
    else {
        return 32;
    };
    let precision = packed >> 16 & 0xffff;
    // Eleven bits, the first of them the sign (utils/adt/numeric.c).
    let scale = ((packed & 0x7ff) ^ 0x400) - 0x400;
    let block = if scale < 0 { precision - scale + 1 } else { precision.max(scale) + 3 };
    block.unsigned_abs()
}
