//! Times of day, with and without a zone, and timestamps.
//!
//! `HH:MM:SS`, then as many decimals as needed, six at most, the last no zero. `24:00:00` is a value of its own.

use super::date;
use super::line::{self, Line};
use super::{Ends, Sink};

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// A moment: days from 1970-01-01, and microseconds from 0 to less than [`DAY`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Days from 1970-01-01.
    pub days: i64,
    /// Microseconds of that day.
    pub us: i64,
}

/// `05:08:34.5` of microseconds from 0 to [`DAY`].
pub fn write(us: i64, out: &mut impl Sink) {
    let mut line = Line::new();
    write_time(us, &mut line);
    out.push(line.as_slice());
}

/// Reads what [`write`] writes.
#[must_use]
pub fn read(form: &[u8]) -> Option<i64> {
    let (clock, fraction) = form.split_at_checked(8)?;
    let (b':', b':') = (clock[2], clock[5]) else { return None };
    let (hours, minutes) = (line::two(&clock[..2])?, line::two(&clock[3..5])?);
    let seconds = line::two(&clock[6..])?;
    let millionths = match fraction {
        [] => 0,
        [b'.', digits @ ..] => line::millionths(digits)?,
        _ => return None,
    };
    let us = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + millionths;
    let us = i64::try_from(us).ok()?;
    (minutes < 60 && seconds < 60 && us <= DAY).then_some(us)
}

/// `05:08:34+02:00` of microseconds from 0 to [`DAY`] and seconds east of UTC, less than a day of them.
pub fn write_zoned(us: i64, east: i32, out: &mut impl Sink) {
    let mut line = Line::new();
    write_time(us, &mut line);
    line.byte(if east < 0 { b'-' } else { b'+' });
    let seconds = u64::from(east.unsigned_abs());
    line.two(seconds / 3600);
    line.byte(b':');
    line.two(seconds / 60 % 60);
    if !seconds.is_multiple_of(60) {
        line.byte(b':');
        line.two(seconds % 60);
    }
    out.push(line.as_slice());
}

/// Reads what [`write_zoned`] writes: microseconds, seconds east.
#[must_use]
pub fn read_zoned(form: &[u8]) -> Option<(i64, i32)> {
    let at = form.iter().position(|byte| matches!(byte, b'+' | b'-'))?;
    let (clock, zone) = form.split_at(at);
    let (hours, minutes, seconds) = match zone {
        [_, h, i, b':', m, n] => (line::two(&[*h, *i])?, line::two(&[*m, *n])?, 0),
        [_, h, i, b':', m, n, b':', s, t] => {
            let seconds = line::two(&[*s, *t])?;
            (line::two(&[*h, *i])?, line::two(&[*m, *n])?, if seconds == 0 { 60 } else { seconds })
        }
        _ => return None,
    };
    let east = i32::try_from((hours * 60 + minutes) * 60 + seconds).ok()?;
    let is_west = zone[0] == b'-';
    if hours > 23 || minutes > 59 || seconds > 59 || (is_west && east == 0) {
        return None;
    }
    Some((read(clock)?, if is_west { -east } else { east }))
}

/// `2026-11-30T05:08:34`, with `Z` after the time if `is_utc`, then the era.
pub fn write_moment(moment: Ends<Moment>, is_utc: bool, out: &mut impl Sink) {
    moment.write(out, |moment, out| {
        let mut line = Line::new();
        let is_bc = date::write_day(moment.days, &mut line);
        line.byte(b'T');
        write_time(moment.us, &mut line);
        if is_utc {
            line.byte(b'Z');
        }
        date::write_era(is_bc, &mut line);
        out.push(line.as_slice());
    });
}

/// Reads what [`write_moment`] writes.
#[must_use]
pub fn read_moment(form: &[u8], is_utc: bool) -> Option<Ends<Moment>> {
    Ends::read(form, |form| {
        let (moment, is_bc) = date::split_era(form);
        let moment = if is_utc { moment.strip_suffix(b"Z")? } else { moment };
        let at = moment.iter().position(|byte| *byte == b'T')?;
        let us = read(&moment[at + 1..])?;
        let days = date::read_day(&moment[..at], is_bc)?;
        (us < DAY).then_some(Moment { days, us })
    })
}

fn write_time(us: i64, line: &mut Line) {
    let us = us.unsigned_abs();
    let seconds = us / 1_000_000;
    line.two(seconds / 3600);
    line.byte(b':');
    line.two(seconds / 60 % 60);
    line.byte(b':');
    line.two(seconds % 60);
    line.fraction(us % 1_000_000);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn times_come_back() {
        let forms = [
            (0, "00:00:00"),
            (1, "00:00:00.000001"),
            (500_000, "00:00:00.5"),
            (DAY - 1, "23:59:59.999999"),
            (DAY, "24:00:00"),
            (18_514_120_000, "05:08:34.12"),
        ];
        for (us, form) in forms {
            assert_eq!(text(|out| write(us, out)), form);
            assert_eq!(read(form.as_bytes()), Some(us), "{form}");
        }
    }

    #[test]
    fn no_other_text_of_a_time() {
        let others = [
            "",
            "5:08:34",
            "05:08",
            "05:08:60",
            "05:60:00",
            "24:00:01",
            "24:00:00.5",
            "25:00:00",
            "05:08:34.",
            "05:08:34.50",
            "05:08:34.0",
            "05:08:34.1234567",
            "05:08:34,5",
            "05.08.34",
            "05:08:34 ",
            "05:08:34Z",
        ];
        for other in others {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn zones_come_back() {
        let forms = [
            (0, "01:00:00+00:00"),
            (7200, "01:00:00+02:00"),
            (-12_600, "01:00:00-03:30"),
            (57_599, "01:00:00+15:59:59"),
            (86_399, "01:00:00+23:59:59"),
            (-1, "01:00:00-00:00:01"),
        ];
        for (east, form) in forms {
            assert_eq!(text(|out| write_zoned(3_600_000_000, east, out)), form);
            assert_eq!(read_zoned(form.as_bytes()), Some((3_600_000_000, east)), "{form}");
        }
        let others = [
            "01:00:00",
            "01:00:00-00:00",
            "01:00:00+2",
            "01:00:00+02",
            "01:00:00+02:00:00",
            "01:00:00+02:60",
            "01:00:00+24:00",
            "01:00:00Z",
            "01:00:00+02:00+02:00",
            "+02:00",
            "01:00:00.+02:00",
        ];
        for other in others {
            assert_eq!(read_zoned(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn no_other_text_of_a_moment() {
        let is_utc = true;
        assert!(read_moment(b"2026-11-30T05:08:34Z", is_utc).is_some());
        assert!(read_moment(b"2026-11-30T05:08:34", !is_utc).is_some());
        let others = [
            "2026-11-30T05:08:34",
            "2026-11-30 05:08:34Z",
            "2026-11-30T05:08:34+00",
            "2026-11-30T24:00:00Z",
            "2026-11-30T05:08:34z",
            "2026-11-30Z",
            "T05:08:34Z",
            "2026-11-30 BCT05:08:34Z",
            "infinityZ",
            "BC",
        ];
        for other in others {
            assert_eq!(read_moment(other.as_bytes(), is_utc), None, "{other}");
        }
        assert_eq!(read_moment(b"2026-11-30T05:08:34Z", !is_utc), None);
    }
}
