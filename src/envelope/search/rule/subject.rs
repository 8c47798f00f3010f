//! What of a value counts: a normal form of text, or a place in an order.

use std::fmt::{self, Display};

use super::decimal;

/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// What of a value counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Its normal form; of types other than text the index form, under [`NormalForm::Exact`].
    Form(NormalForm),
    /// Its place in the order of the type.
    Ordered(Ordered),
}

/// Normal forms of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormalForm {
    /// As it is.
    Exact,
    /// Unicode's NFC.
    Nfc,
    /// Without case and compatibility differences.
    Casefold,
    /// Its decimal digits.
    Digits,
    /// Its letters, marks and numbers, without case.
    Alnum,
    /// An e-mail address.
    Email,
}

/// Types whose values have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// smallint, integer, bigint.
    Int,
    /// real, double precision.
    Float,
    /// numeric of that scale, with a precision of 18 at most.
    Numeric(i16),
    /// date.
    Date,
    /// time without zone.
    Time,
    /// timestamp without zone.
    Timestamp,
    /// timestamp with zone.
    Timestamptz,
}

impl NormalForm {
    /// All of them.
    pub const ALL: [NormalForm; 6] = [
        NormalForm::Exact,
        NormalForm::Nfc,
        NormalForm::Casefold,
        NormalForm::Digits,
        NormalForm::Alnum,
        NormalForm::Email,
    ];

    /// As it stands in rules.
    pub fn name(&self) -> &'static str {
        match self {
            NormalForm::Exact => "exact",
            NormalForm::Nfc => "nfc",
            NormalForm::Casefold => "casefold",
            NormalForm::Digits => "digits",
            NormalForm::Alnum => "alnum",
            NormalForm::Email => "email",
        }
    }

    /// The form of that name.
    pub fn parse(name: &str) -> Option<NormalForm> {
        NormalForm::ALL.into_iter().find(|form| form.name() == name)
    }
}

impl Ordered {
    /// Reads what [`Display`] writes.
    pub fn parse(text: &str) -> Option<Ordered> {
        let scale = text.strip_prefix("numeric(").and_then(|rest| rest.strip_suffix(')'));
        if let Some(scale) = scale {
            let (sign, digits) = match scale.strip_prefix('-') {
                Some(digits) => (-1, digits),
                None => (1, scale),
            };
            let size = i16::try_from(decimal(digits)?).ok()?;
            return (sign == 1 || size != 0).then_some(Ordered::Numeric(sign * size));
        }
        Some(match text {
            "int" => Ordered::Int,
            "float" => Ordered::Float,
            "date" => Ordered::Date,
            "time" => Ordered::Time,
            "timestamp" => Ordered::Timestamp,
            "timestamptz" => Ordered::Timestamptz,
            _ => return None,
        })
    }

    /// How much of an ordinal a step of that width is: days of a date, seconds of a time, units of a number.
    pub(super) fn step(self, width: u64) -> Option<i64> {
        let unit = match self {
            Ordered::Int | Ordered::Date => 1,
            Ordered::Time | Ordered::Timestamp | Ordered::Timestamptz => SECOND,
            Ordered::Numeric(scale) => 10i64.checked_pow(u32::try_from(scale).ok()?)?,
            Ordered::Float => return None,
        };
        i64::try_from(width).ok()?.checked_mul(unit).filter(|step| *step > 0)
    }
}

impl Display for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ordered::Int => f.write_str("int"),
            Ordered::Float => f.write_str("float"),
            Ordered::Numeric(scale) => write!(f, "numeric({scale})"),
            Ordered::Date => f.write_str("date"),
            Ordered::Time => f.write_str("time"),
            Ordered::Timestamp => f.write_str("timestamp"),
            Ordered::Timestamptz => f.write_str("timestamptz"),
        }
    }
}
