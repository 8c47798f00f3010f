//! Intervals, as ISO 8601 has durations: `P[nY][nM][nD][T[nH][nM][n.fS]]`. Months, days and microseconds stay apart,
//! each with its own sign; parts that are zero are left out, and none at all is `PT0S`.

use super::line::{self, Line};
use super::{Ends, Sink, same_again};

/// What an interval is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Twelve are written as a year.
    pub months: i32,
    /// As many as there are: 30 are no month.
    pub days: i32,
    /// 24 hours are no day.
    pub us: i64,
}

/// Writes an interval.
pub fn write(interval: Ends<Interval>, out: &mut impl Sink) {
    interval.write(out, |interval, out| {
        let mut line = Line::new();
        write_parts(&interval, &mut line);
        out.push(line.as_slice());
    });
}

/// Reads what [`write`] writes.
#[must_use]
pub fn read(form: &[u8]) -> Option<Ends<Interval>> {
    Ends::read(form, |form| same_again(form, read_parts(form)?, write_parts))
}

fn write_parts(interval: &Interval, line: &mut Line) {
    let Interval { months, days, us } = *interval;
    line.byte(b'P');
    part(i64::from(months / 12), b'Y', line);
    part(i64::from(months % 12), b'M', line);
    part(days.into(), b'D', line);
    if us == 0 {
        if (months, days) == (0, 0) {
            line.push(b"T0S");
        }
        return;
    }
    line.byte(b'T');
    let seconds = us / 1_000_000;
    part(seconds / 3600, b'H', line);
    part(seconds / 60 % 60, b'M', line);
    let last = us % 60_000_000;
    if last != 0 {
        sign(last, line);
        line.number(last.unsigned_abs() / 1_000_000, 1);
        line.fraction(last.unsigned_abs() % 1_000_000);
        line.byte(b'S');
    }
}

fn part(value: i64, unit: u8, line: &mut Line) {
    if value != 0 {
        sign(value, line);
        line.number(value.unsigned_abs(), 1);
        line.byte(unit);
    }
}

fn sign(value: i64, line: &mut Line) {
    if value.is_negative() {
        line.byte(b'-');
    }
}

/// The sums of the parts, of this text and of others that mean the same.
fn read_parts(form: &[u8]) -> Option<Interval> {
    let mut rest = form.strip_prefix(b"P")?;
    let (mut months, mut days, mut us) = (0i64, 0i64, 0i64);
    let mut is_time = false;
    while !rest.is_empty() {
        if let [b'T', after @ ..] = rest {
            (is_time, rest) = (true, after);
            continue;
        }
        let end = rest.iter().position(u8::is_ascii_alphabetic)?;
        let (digits, unit) = (&rest[..end], rest[end]);
        rest = &rest[end + 1..];
        let (sum, unit) = match (is_time, unit) {
            (false, b'Y') => (&mut months, 12),
            (false, b'M') => (&mut months, 1),
            (false, b'D') => (&mut days, 1),
            (true, b'H') => (&mut us, 3_600_000_000),
            (true, b'M') => (&mut us, 60_000_000),
            (true, b'S') => (&mut us, 1_000_000),
            _ => return None,
        };
        *sum = sum.checked_add(scaled(digits, unit)?)?;
    }
    Some(Interval { months: months.try_into().ok()?, days: days.try_into().ok()?, us })
}

/// `digits`, with a sign and decimals, times `unit`.
fn scaled(digits: &[u8], unit: i64) -> Option<i64> {
    let (sign, digits) = match digits {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    let (whole, millionths) = match digits.iter().position(|byte| *byte == b'.') {
        Some(at) => (&digits[..at], line::millionths(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let whole = i64::try_from(line::number(whole)?).ok()?;
    let millionths = i64::try_from(millionths).ok()?;
    (sign * whole).checked_mul(unit)?.checked_add(sign * millionths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(months: i32, days: i32, us: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write(Ends::At(Interval { months, days, us }), &mut out);
        out
    }

    #[test]
    fn the_ends_come_back() {
        for months in [0, 1, -1, 11, -13, i32::MAX, i32::MIN] {
            for days in [0, 1, -1, i32::MAX, i32::MIN] {
                for us in [0, 1, -1, 59_999_999, -60_000_000, 3_600_000_000, i64::MAX, i64::MIN] {
                    let form = form(months, days, us);
                    assert!(form.len() <= 60);
                    assert_eq!(
                        read(&form),
                        Some(Ends::At(Interval { months, days, us })),
                        "{form:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn no_other_text_of_an_interval() {
        let others = [
            "",
            "P",
            "PT",
            "P0D",
            "PT0H",
            "P1DT",
            "P12M",
            "PT60S",
            "PT90M",
            "P1M1Y",
            "P1D1M",
            "PT1S1M",
            "P1W",
            "P1.5D",
            "PT1.50S",
            "PT1.5M",
            "P+1D",
            "P-0D",
            "P01D",
            "P1Y-2M",
            "PT1H-1M",
            "1D",
            "p1d",
            "P1d",
            "PT1S ",
            "P-P1D",
            "P99999999999Y",
            "PT9999999999999999H",
            "PT.5S",
            "P1DT1D",
            "PTT1S",
        ];
        for other in others {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
