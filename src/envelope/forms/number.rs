//! Truth values, integers, and the grammar of `numeric` and floats, whose digits PostgreSQL writes.

use super::Sink;
use super::line::{self, Line};

/// `true`, `false`.
pub fn write_bool(value: bool, out: &mut impl Sink) {
    out.push(if value { b"true" } else { b"false" });
}

/// Reads what [`write_bool`] writes.
#[must_use]
pub fn read_bool(form: &[u8]) -> Option<bool> {
    match form {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// `-?(0|[1-9][0-9]*)`.
pub fn write_integer(value: i64, out: &mut impl Sink) {
    let mut line = Line::new();
    if value < 0 {
        line.byte(b'-');
    }
    line.number(value.unsigned_abs(), 1);
    out.push(line.as_slice());
}

/// Reads what [`write_integer`] writes. Whether a narrower type has it is the caller's to ask.
#[must_use]
pub fn read_integer(form: &[u8]) -> Option<i64> {
    let (is_negative, digits) = signed(form);
    if !is_whole(digits) {
        return None;
    }
    let size = line::number(digits)?;
    match is_negative {
        false => size.try_into().ok(),
        true if size == 0 => None,
        true => 0i64.checked_sub_unsigned(size),
    }
}

/// Whether this is what PostgreSQL writes of a `numeric`: `NaN`, `[-]Infinity`, or digits and as many decimals as its
/// scale has. Zero has no sign.
#[must_use]
pub fn is_numeric(form: &[u8]) -> bool {
    let (is_negative, digits) = signed(form);
    match digits {
        b"NaN" => !is_negative,
        b"Infinity" => true,
        _ => {
            let (whole, decimals) = split(digits, b'.');
            is_whole(whole)
                && decimals.is_none_or(is_digits)
                && !(is_negative && digits.iter().all(|digit| matches!(digit, b'0' | b'.')))
        }
    }
}

/// The number of a `float8`'s form. Of several texts of one number it takes several: which of them is the form, the
/// writer tells.
#[must_use]
pub fn read_float8(form: &[u8]) -> Option<f64> {
    float_text(form)?.parse().ok()
}

/// As [`read_float8`], of a `float4`: rounded once.
#[must_use]
pub fn read_float4(form: &[u8]) -> Option<f32> {
    float_text(form)?.parse().ok()
}

/// `NaN`, `[-]Infinity`, `-?digits(.digits)?(e[+-]digits)?`. Rust's own parser takes more than these.
fn float_text(form: &[u8]) -> Option<&str> {
    let (_, digits) = signed(form);
    let (mantissa, exponent) = split(digits, b'e');
    let (whole, decimals) = split(mantissa, b'.');
    let is_number = is_whole(whole)
        && decimals.is_none_or(is_digits)
        && exponent.is_none_or(|exponent| match exponent {
            [b'+' | b'-', digits @ ..] => (2..=3).contains(&digits.len()) && is_digits(digits),
            _ => false,
        });
    let is_known = is_number || digits == b"Infinity" || form == b"NaN";
    if is_known { std::str::from_utf8(form).ok() } else { None }
}

fn signed(form: &[u8]) -> (bool, &[u8]) {
    match form {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    }
}

fn split(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(found) => (&text[..found], Some(&text[found + 1..])),
        None => (text, None),
    }
}

fn is_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// `0`, or digits of which the first is none.
fn is_whole(text: &[u8]) -> bool {
    is_digits(text) && (text.len() == 1 || text[0] != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_values() {
        for (value, form) in [(true, &b"true"[..]), (false, b"false")] {
            let mut out = Vec::new();
            write_bool(value, &mut out);
            assert_eq!(out, form);
            assert_eq!(read_bool(form), Some(value));
        }
        for other in ["", "t", "True", "true ", "1"] {
            assert_eq!(read_bool(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn integers_come_back() {
        for value in [0, 7, -7, 10, i64::MAX, i64::MIN, i64::from(i32::MIN)] {
            let mut form = Vec::new();
            write_integer(value, &mut form);
            assert_eq!(form, value.to_string().as_bytes());
            assert_eq!(read_integer(&form), Some(value));
        }
    }

    #[test]
    fn no_other_text_of_an_integer() {
        let others =
            ["", "-", "+1", "01", "-0", "00", " 1", "1 ", "1.0", "1e1", "9223372036854775808"];
        for other in others.map(str::as_bytes).iter().chain(&[&b"-9223372036854775809"[..]]) {
            assert_eq!(read_integer(other), None, "{other:?}");
        }
    }

    #[test]
    fn numerics() {
        for form in ["0", "0.00", "-0.01", "12.50", "NaN", "Infinity", "-Infinity", "1000"] {
            assert!(is_numeric(form.as_bytes()), "{form}");
        }
        for other in ["", "-", ".5", "5.", "01", "-0", "-0.00", "1e5", "-NaN", "+1", "1.2.3", " 1"]
        {
            assert!(!is_numeric(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn floats() {
        for other in
            ["", "-", "+1", "inf", "nan", "-NaN", "1e5", "1e+5", ".5", "5.", "01", "1e+0005"]
        {
            assert_eq!(read_float8(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read_float8(b"-0").map(f64::to_bits), Some((-0.0f64).to_bits()));
        assert_eq!(read_float8(b"-Infinity"), Some(f64::NEG_INFINITY));
        assert!(read_float4(b"NaN").is_some_and(f32::is_nan));
    }
}
