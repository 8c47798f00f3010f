//! Text that comes in as a value of a type, read the same in every session.

use std::ffi::c_int;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};

use crate::pg::buffer::Buffer;
use crate::pg::report::raise_again;
use crate::pg::through::is_about_data;
use crate::pg::varlena::MAX_LEN;

/// What the input function of `kind`, which is no domain, makes of `text`, in the server's encoding, with ISO dates in
/// the order of year, month and day, PostgreSQL's intervals, and UTC. The SQLSTATE with which it refuses the text: its
/// own message would show that.
pub fn parsed(
    kind: pg_sys::Oid,
    modifier: i32,
    text: &[u8],
) -> Result<pg_sys::Datum, PgSqlErrorCode> {
    let _settings = Settings::fixed();
    parsed_as_set(kind, modifier, text)
}

/// As [`parsed`], by the session's settings, as PostgreSQL's own cast reads it.
pub fn parsed_as_set(
    kind: pg_sys::Oid,
    modifier: i32,
    text: &[u8],
) -> Result<pg_sys::Datum, PgSqlErrorCode> {
    let refused = PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION;
    let mut terminated = Buffer::of_most(MAX_LEN);
    terminated.push(text);
    terminated.push(b"\0");
    let Some(terminated) = terminated.bytes().filter(|_| !text.contains(&0)) else {
        return Err(refused);
    };
    // SAFETY: the type's own input function, with a NUL-terminated text that is not written to; it holds nothing that
    // an error would leave behind.
    let parse = || unsafe {
        let (mut function, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        pg_sys::getTypeInputInfo(kind, &mut function, &mut parameter);
        let text = terminated.as_ptr().cast_mut().cast();
        Ok(pg_sys::OidInputFunctionCall(function, text, parameter, modifier))
    };
    PgTryBuilder::new(std::panic::AssertUnwindSafe(parse))
        .catch_others(|caught| match caught {
            CaughtError::PostgresError(ref error) if is_about_data(&caught) => {
                Err(error.sql_error_code())
            }
            caught => raise_again(caught),
        })
        .execute()
}

/// The session's settings that input functions read, while others count.
struct Settings {
    date_style: c_int,
    date_order: c_int,
    interval_style: c_int,
    time_zone: *mut pg_sys::pg_tz,
}

impl Settings {
    fn fixed() -> Settings {
        // SAFETY: variables of this backend. UTC is in every set of time zones: PostgreSQL makes it by itself.
        unsafe {
            let before = Settings {
                date_style: pg_sys::DateStyle,
                date_order: pg_sys::DateOrder,
                interval_style: pg_sys::IntervalStyle,
                time_zone: pg_sys::session_timezone,
            };
            let utc = pg_sys::pg_tzset(c"UTC".as_ptr());
            pg_sys::DateStyle = pg_sys::USE_ISO_DATES as c_int;
            pg_sys::DateOrder = pg_sys::DATEORDER_YMD as c_int;
            pg_sys::IntervalStyle = pg_sys::INTSTYLE_POSTGRES as c_int;
            if !utc.is_null() {
                pg_sys::session_timezone = utc;
            }
            before
        }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::DateStyle = self.date_style;
            pg_sys::DateOrder = self.date_order;
            pg_sys::IntervalStyle = self.interval_style;
            pg_sys::session_timezone = self.time_zone;
        }
    }
}
