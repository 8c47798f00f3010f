//! Dates: `YYYY-MM-DD`, the year in four digits or more, ` BC` after those before year 1. There is no year 0.

use super::line::{self, Line};
use super::{Ends, Sink};

/// What follows a date before year 1.
const BC: &[u8] = b" BC";

/// Days in 400 years, after which the calendar begins anew.
const DAYS_OF_ERA: i64 = 146_097;

/// Days from 0000-03-01 (1 BC) to 1970-01-01. Years that begin in March have the leap day at their end.
const TO_1970: i64 = 719_468;

/// `2026-11-30` of 20,787 days.
pub fn write(days: Ends<i64>, out: &mut impl Sink) {
    days.write(out, |days, out| {
        let mut line = Line::new();
        let is_bc = write_day(days, &mut line);
        write_era(is_bc, &mut line);
        out.push(line.as_slice());
    });
}

/// Reads what [`write`] writes, of years up to 9,999,999.
#[must_use]
pub fn read(form: &[u8]) -> Option<Ends<i64>> {
    Ends::read(form, |form| {
        let (day, is_bc) = split_era(form);
        read_day(day, is_bc)
    })
}

/// The day without its era; whether that is BC.
pub(super) fn write_day(days: i64, line: &mut Line) -> bool {
    let (year, month, day) = calendar(days);
    let is_bc = year < 1;
    let shown = if is_bc { 1 - year } else { year };
    line.number(shown.unsigned_abs(), 4);
    line.byte(b'-');
    line.two(month);
    line.byte(b'-');
    line.two(day);
    is_bc
}

pub(super) fn write_era(is_bc: bool, line: &mut Line) {
    if is_bc {
        line.push(BC);
    }
}

pub(super) fn split_era(form: &[u8]) -> (&[u8], bool) {
    match form.strip_suffix(BC) {
        Some(day) => (day, true),
        None => (form, false),
    }
}

/// Reads what [`write_day`] writes.
pub(super) fn read_day(form: &[u8], is_bc: bool) -> Option<i64> {
    let (year, rest) = form.split_at_checked(form.len().checked_sub(6)?)?;
    let (b'-', b'-') = (rest[0], rest[3]) else { return None };
    let (month, day) = (line::two(&rest[1..3])?, line::two(&rest[4..])?);
    if !(4..=7).contains(&year.len()) || (year.len() > 4 && year[0] == b'0') {
        return None;
    }
    let shown = i64::try_from(line::number(year)?).ok()?;
    if shown == 0 {
        return None;
    }
    let year = if is_bc { 1 - shown } else { shown };
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    Some(days_to(year, month, day))
}

/// Year (0 is 1 BC), month and day of days from 1970-01-01, in the proleptic Gregorian calendar.
fn calendar(days: i64) -> (i64, u64, u64) {
    let from_march = days.saturating_add(TO_1970);
    let era = from_march.div_euclid(DAYS_OF_ERA);
    let of_era = from_march.rem_euclid(DAYS_OF_ERA);
    // Of the days before, one in four years is a leap day, but in whole centuries, but in the whole era.
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March on have 153 days, and so has the next five.
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month < 3);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

/// What [`calendar`] takes apart.
fn days_to(year: i64, month: u64, day: u64) -> i64 {
    let (month, day) = (month as i64, day as i64);
    let (year, from_march) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    era * DAYS_OF_ERA + 365 * of_era + of_era / 4 - of_era / 100 + of_year - TO_1970
}

fn days_in(year: i64, month: u64) -> u64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(days: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write(Ends::At(days), &mut out);
        out
    }

    #[test]
    fn every_day_of_eight_centuries_and_the_ends_come_back() {
        let day = |year, month, day| days_to(year, month, day);
        let spans = [
            (-800_000, 400_000),
            (day(-4713, 11, 1), day(-4712, 3, 5)),
            (day(5_874_897, 1, 1), day(5_874_898, 1, 1)),
        ];
        for (from, to) in spans {
            let mut last = (i64::MIN, 0, 0);
            for days in from..to {
                let now = calendar(days);
                assert!(now > last && now.2 <= days_in(now.0, now.1), "{days}");
                assert_eq!(days_to(now.0, now.1, now.2), days);
                assert_eq!(read(&form(days)), Some(Ends::At(days)));
                last = now;
            }
        }
    }

    #[test]
    fn no_other_text_of_a_day() {
        let others = [
            "",
            "2026-11-3",
            "26-11-30",
            "02026-11-30",
            "2026-11-31",
            "2026-02-29",
            "1900-02-29",
            "2026-00-10",
            "2026-13-10",
            "2026-10-00",
            "0000-01-01",
            "2026-11-30 AD",
            "2026-11-30 bc",
            "2026/11/30",
            "+2026-11-30",
            "-2026-11-30",
            "12345678-01-01",
            "2026-11-30 ",
            "Infinity",
            "+infinity",
            "0005-02-29",
            "2026-1 -30",
        ];
        for other in others {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read(b"0005-02-29 BC"), Some(Ends::At(days_to(-4, 2, 29))));
        assert_eq!(read(b"-infinity"), Some(Ends::Before));
    }
}
