//! Dates, times, intervals, addresses, floats: PostgreSQL's datums to numbers and back, without the types' input and
//! output functions. Those read settings, and cost more than the cipher.

use std::ffi::{c_char, c_int};

use envelope::forms::Ends;
use envelope::forms::interval::Interval;
use envelope::forms::network::Address;
use envelope::forms::time::{DAY, Moment};
use pgrx::pg_sys;
use pgrx::pg_sys::Datum;

use crate::pg::varlena::{Varlena, VarlenaBuf, palloc};

unsafe extern "C" {
    // common/shortest_dec.h, which pgrx does not bind; raises nothing. Gives the number of bytes that it wrote.
    fn double_to_shortest_decimal_buf(number: f64, out: *mut c_char) -> c_int;
    fn float_to_shortest_decimal_buf(number: f32, out: *mut c_char) -> c_int;
}

/// Bytes that the two need, with their NUL: 25 and 16.
const FLOAT_ROOM: usize = 32;

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL counts.
const TO_2000: i64 = 10_957;

/// The days that PostgreSQL has (datatype/timestamp.h), counted its way: from 4714-11-24 BC to 5874897-12-31.
const DATES: std::ops::Range<i64> = -2_451_545..2_145_031_949;

/// Its timestamps, counted its way: from 4714-11-24 BC to the end of 294276.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Seconds from UTC that a zone is less than.
const ZONE_LIMIT: i32 = 16 * 3600;

/// What PostgreSQL writes of a number with extra_float_digits = 1, whatever the setting is.
pub fn float8_text(number: f64, write: impl FnOnce(&[u8])) {
    // SAFETY: there is room for what it writes.
    shortest(write, |out| unsafe { double_to_shortest_decimal_buf(number, out) });
}

/// As [`float8_text`].
pub fn float4_text(number: f32, write: impl FnOnce(&[u8])) {
    // SAFETY: there is room for what it writes.
    shortest(write, |out| unsafe { float_to_shortest_decimal_buf(number, out) });
}

fn shortest(write: impl FnOnce(&[u8]), fill: impl FnOnce(*mut c_char) -> c_int) {
    let mut text = [0u8; FLOAT_ROOM];
    let len = fill(text.as_mut_ptr().cast()).unsigned_abs() as usize;
    write(&text[..len.min(FLOAT_ROOM)]);
}

/// A date as days from 1970-01-01.
pub fn date(datum: Datum) -> Ends<i64> {
    match datum.value() as i32 {
        i32::MIN => Ends::Before,
        i32::MAX => Ends::After,
        days => Ends::At(i64::from(days) + TO_2000),
    }
}

/// A date of days from 1970-01-01; `None` where PostgreSQL has none.
pub fn date_datum(days: Ends<i64>) -> Option<Datum> {
    let days = match days {
        Ends::Before => i32::MIN,
        Ends::After => i32::MAX,
        Ends::At(days) => {
            let days = days.checked_sub(TO_2000).filter(|days| DATES.contains(days))?;
            i32::try_from(days).ok()?
        }
    };
    Some(Datum::from(days))
}

/// A timestamp with or without time zone.
pub fn timestamp(datum: Datum) -> Ends<Moment> {
    match datum.value() as i64 {
        i64::MIN => Ends::Before,
        i64::MAX => Ends::After,
        us => Ends::At(Moment { days: us.div_euclid(DAY) + TO_2000, us: us.rem_euclid(DAY) }),
    }
}

/// What [`timestamp`] takes; `None` where PostgreSQL has none.
pub fn timestamp_datum(moment: Ends<Moment>) -> Option<Datum> {
    let us = match moment {
        Ends::Before => i64::MIN,
        Ends::After => i64::MAX,
        Ends::At(moment) => {
            let days = moment.days.checked_sub(TO_2000)?;
            let us = i128::from(days) * i128::from(DAY) + i128::from(moment.us);
            i64::try_from(us).ok().filter(|us| TIMESTAMPS.contains(us))?
        }
    };
    Some(Datum::from(us))
}

/// Microseconds, and seconds east of UTC.
///
/// # Safety
/// `datum` is a non-null timetz.
pub unsafe fn timetz(datum: Datum) -> (i64, i32) {
    // SAFETY: by contract. PostgreSQL counts seconds west.
    let value = unsafe { datum.cast_mut_ptr::<pg_sys::TimeTzADT>().read_unaligned() };
    (value.time, -value.zone)
}

/// What [`timetz`] takes; `None` where PostgreSQL has none.
pub fn timetz_datum((time, east): (i64, i32)) -> Option<Datum> {
    (east.abs() < ZONE_LIMIT).then(|| boxed(pg_sys::TimeTzADT { time, zone: -east }))
}

/// An interval; from PostgreSQL 17 on two of them are without end.
///
/// # Safety
/// `datum` is a non-null interval.
pub unsafe fn interval(datum: Datum) -> Ends<Interval> {
    // SAFETY: by contract.
    let value = unsafe { datum.cast_mut_ptr::<pg_sys::Interval>().read_unaligned() };
    match (value.month, value.day, value.time) {
        (i32::MIN, i32::MIN, i64::MIN) if HAS_INFINITE_INTERVALS => Ends::Before,
        (i32::MAX, i32::MAX, i64::MAX) if HAS_INFINITE_INTERVALS => Ends::After,
        (months, days, us) => Ends::At(Interval { months, days, us }),
    }
}

/// What [`interval`] takes; `None` where PostgreSQL has none.
pub fn interval_datum(interval: Ends<Interval>) -> Option<Datum> {
    let is_end = |month, day, time| {
        [(i32::MIN, i32::MIN, i64::MIN), (i32::MAX, i32::MAX, i64::MAX)]
            .contains(&(month, day, time))
    };
    let (month, day, time) = match interval {
        Ends::Before if HAS_INFINITE_INTERVALS => (i32::MIN, i32::MIN, i64::MIN),
        Ends::After if HAS_INFINITE_INTERVALS => (i32::MAX, i32::MAX, i64::MAX),
        Ends::At(Interval { months, days, us })
            if !(HAS_INFINITE_INTERVALS && is_end(months, days, us)) =>
        {
            (months, days, us)
        }
        _ => return None,
    };
    Some(boxed(pg_sys::Interval { time, day, month }))
}

const HAS_INFINITE_INTERVALS: bool =
    !cfg!(any(feature = "pg14", feature = "pg15", feature = "pg16"));

/// A palloc'd value of a type that is passed by reference.
fn boxed<T>(value: T) -> Datum {
    // SAFETY: palloc answers with aligned memory of that size, or raises.
    unsafe {
        let memory = palloc(size_of::<T>()).cast::<T>();
        memory.write(value);
        Datum::from(memory)
    }
}

/// `AF_INET` and the number after it, on every system (utils/inet.h).
const FAMILIES: [u8; 2] = [2, 3];

/// The address of an inet or cidr, and its bits; `None` of what is neither.
///
/// # Safety
/// `datum` is a non-null inet or cidr.
pub unsafe fn address(datum: Datum) -> Option<(Address, u8)> {
    // SAFETY: by contract, a varlena.
    let value = unsafe { Varlena::from_datum(datum) };
    let [family, bits, address @ ..] = &*value else { return None };
    let address = if *family == FAMILIES[0] {
        Address::V4(address.get(..4)?.try_into().ok()?)
    } else {
        Address::V6(address.get(..16)?.try_into().ok()?)
    };
    Some((address, *bits))
}

/// An inet or cidr.
pub fn address_datum(address: Address, bits: u8) -> Datum {
    let (family, bytes): (u8, &[u8]) = match &address {
        Address::V4(bytes) => (FAMILIES[0], bytes),
        Address::V6(bytes) => (FAMILIES[1], bytes),
    };
    let mut value = VarlenaBuf::of_len(2 + bytes.len());
    let (head, rest) = value.as_mut_slice().split_at_mut(2);
    head.copy_from_slice(&[family, bits]);
    rest.copy_from_slice(bytes);
    value.into_datum()
}
