//! Ordinals: numbers in the order of a type's values, from its canonical forms.

use super::refused::Refused;
use super::rule::Ordered;
use super::value::Outside;
use crate::forms::time::{DAY, Moment};
use crate::forms::{Ends, date, number, time};

/// A place in the order of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    At(u64),
    Outside(Outside),
}

/// What is added to numbers that have a sign, so that the least is zero.
const HALF: u64 = 1 << 63;

/// The most digits of a `numeric` whose number is less than 2^63.
const MOST_DIGITS: usize = 18;

/// The ordinal of a number, which is in the type's own unit.
pub fn of_number(number: i64) -> u64 {
    number.cast_unsigned() ^ HALF
}

/// The number of an ordinal.
pub fn to_number(ordinal: u64) -> i64 {
    (ordinal ^ HALF).cast_signed()
}

/// The ordinal of a float that is a number: −0 is 0.
pub fn of_float(float: f64) -> u64 {
    let bits = (float + 0.0).to_bits();
    if bits & HALF == 0 { of_number(bits.cast_signed()) } else { !bits }
}

/// Where the value stands whose canonical form this is.
pub(super) fn of_form(of: Ordered, is_float_4: bool, form: &[u8]) -> Result<Place, Refused> {
    let place = match of {
        Ordered::Int => number::read_integer(form).map(|number| Place::At(of_number(number))),
        Ordered::Float if is_float_4 => {
            number::read_float4(form).map(|float| place_of_float(float.into()))
        }
        Ordered::Float => number::read_float8(form).map(place_of_float),
        Ordered::Numeric(scale) => place_of_numeric(form, scale),
        Ordered::Date => date::read(form).map(|days| place(days, of_number)),
        Ordered::Time => time::read(form).map(|us| Place::At(of_number(us))),
        Ordered::Timestamp | Ordered::Timestamptz => {
            let is_utc = of == Ordered::Timestamptz;
            time::read_moment(form, is_utc).map(|moment| place(moment, of_moment))
        }
    };
    place.ok_or(Refused::NoForm)
}

fn place<T>(value: Ends<T>, ordinal: impl FnOnce(T) -> u64) -> Place {
    match value {
        Ends::Before => Place::Outside(Outside::Before),
        Ends::At(value) => Place::At(ordinal(value)),
        Ends::After => Place::Outside(Outside::After),
    }
}

/// Microseconds from 1970. PostgreSQL counts from 2000 and so has 30 years more than fit: they are all the last number.
fn of_moment(moment: Moment) -> u64 {
    let us = moment.days.checked_mul(DAY).and_then(|us| us.checked_add(moment.us));
    let beyond = if moment.days.is_negative() { i64::MIN } else { i64::MAX };
    of_number(us.unwrap_or(beyond))
}

fn place_of_float(float: f64) -> Place {
    match float {
        f64::INFINITY => Place::Outside(Outside::After),
        f64::NEG_INFINITY => Place::Outside(Outside::Before),
        float if float.is_nan() => Place::Outside(Outside::NaN),
        float => Place::At(of_float(float)),
    }
}

/// The number × 10^scale, if that is whole and has 18 digits at most.
fn place_of_numeric(form: &[u8], scale: i16) -> Option<Place> {
    match form {
        b"NaN" => return Some(Place::Outside(Outside::NaN)),
        b"Infinity" => return Some(Place::Outside(Outside::After)),
        b"-Infinity" => return Some(Place::Outside(Outside::Before)),
        _ if !number::is_numeric(form) => return None,
        _ => {}
    }
    let decimals = form.iter().rev().position(|byte| *byte == b'.').unwrap_or(0);
    let mut shift = i64::from(scale) - i64::try_from(decimals).ok()?;
    let (mut number, mut digits, mut zeros) = (0u64, 0, 0);
    for digit in form.iter().filter(|byte| byte.is_ascii_digit()) {
        // Zeros count once another digit follows.
        if *digit == b'0' {
            zeros += usize::from(number != 0);
            continue;
        }
        digits += zeros + 1;
        if digits > MOST_DIGITS {
            return None;
        }
        let zeros = 10u64.checked_pow(u32::try_from(std::mem::take(&mut zeros)).ok()?)?;
        number =
            number.checked_mul(zeros)?.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if number == 0 {
        return Some(Place::At(HALF));
    }
    shift += i64::try_from(zeros).ok()?;
    let shift = usize::try_from(shift).ok().filter(|shift| digits + shift <= MOST_DIGITS)?;
    let number = number.checked_mul(10u64.checked_pow(u32::try_from(shift).ok()?)?)?;
    let number = i64::try_from(number).ok()?;
    Some(Place::At(of_number(if form.starts_with(b"-") { -number } else { number })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(of: Ordered, form: &str) -> Option<i64> {
        match of_form(of, false, form.as_bytes()) {
            Ok(Place::At(ordinal)) => Some(to_number(ordinal)),
            _ => None,
        }
    }

    #[test]
    fn what_stands_outside_of_numerics() {
        let outside = |form: &str| match of_form(Ordered::Numeric(2), false, form.as_bytes()) {
            Ok(Place::Outside(outside)) => Some(outside),
            _ => None,
        };
        assert_eq!(outside("-Infinity"), Some(Outside::Before));
        assert_eq!(outside("Infinity"), Some(Outside::After));
        assert_eq!(outside("NaN"), Some(Outside::NaN));
        assert_eq!(outside("infinity"), None);
    }

    #[test]
    fn numerics() {
        let numeric = |scale, form| at(Ordered::Numeric(scale), form);
        assert_eq!(numeric(2, "1.5"), Some(150));
        assert_eq!(numeric(2, "-1.50"), Some(-150));
        assert_eq!(numeric(2, "0.00"), Some(0));
        assert_eq!(numeric(2, "0"), Some(0));
        assert_eq!(numeric(2, "1.500"), Some(150));
        assert_eq!(numeric(2, "1.505"), None);
        assert_eq!(numeric(0, "1001"), Some(1001));
        assert_eq!(numeric(-2, "12300"), Some(123));
        assert_eq!(numeric(-2, "1230"), None);
        assert_eq!(numeric(20, "0.00000000000000000123"), Some(123));
        assert_eq!(numeric(0, "999999999999999999"), Some(999_999_999_999_999_999));
        assert_eq!(numeric(0, "1000000000000000000"), None);
        assert_eq!(numeric(2, "10000000000000000.00"), None);
        assert_eq!(numeric(2, "9999999999999999.99"), Some(999_999_999_999_999_999));
        assert_eq!(numeric(-1000, "0"), Some(0));
        assert_eq!(numeric(2, "1e2"), None);
    }

    #[test]
    fn floats_keep_their_order() {
        let all = [-f64::MAX, -1.5, -1.0, -f64::MIN_POSITIVE, -5e-324, 0.0, 5e-324, 1.0, f64::MAX];
        assert!(all.windows(2).all(|pair| of_float(pair[0]) < of_float(pair[1])));
        assert_eq!(of_float(-0.0), of_float(0.0));
        assert_eq!(of_float(0.0), HALF);
    }

    /// The last moment that PostgreSQL has, and the first.
    #[test]
    fn moments_beyond_the_last_number_are_the_last() {
        let timestamp = |form| at(Ordered::Timestamp, form);
        assert_eq!(timestamp("294247-01-10T04:00:54.775807"), Some(i64::MAX));
        assert_eq!(timestamp("294247-01-10T04:00:54.775808"), Some(i64::MAX));
        assert_eq!(timestamp("294276-12-31T23:59:59.999999"), Some(i64::MAX));
        assert_eq!(timestamp("294247-01-10T04:00:54.775806"), Some(i64::MAX - 1));
        assert_eq!(timestamp("4714-11-24T00:00:00 BC"), Some(-210_866_803_200_000_000));
        // PostgreSQL has none as early.
        assert_eq!(timestamp("300000-01-01T00:00:00 BC"), Some(i64::MIN));
    }
}
