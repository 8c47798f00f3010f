//! Text in the binary protocol.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::varlena::{Varlena, VarlenaBuf};

/// The rest of a receive function's message as text in the server's encoding. It may be long, and
/// stays in PostgreSQL's memory.
///
/// # Safety
/// `fcinfo` is a receive function's call: its first argument is a StringInfo. The text lives as long
/// as the current memory context.
pub unsafe fn received_text<'a>(fcinfo: pg_sys::FunctionCallInfo) -> &'a CStr {
    // SAFETY: by contract; the text is palloc'd and NUL-terminated.
    unsafe {
        let argument = (*fcinfo).args.as_ptr();
        let message = (*argument).value.cast_mut_ptr::<pg_sys::StringInfoData>();
        let rest = (*message).len - (*message).cursor;
        let mut length = 0;
        let text = pg_sys::pq_getmsgtext(message, rest, &mut length);
        CStr::from_ptr(text)
    }
}

/// A send function's result: `text` in the client's encoding.
pub fn text_to_send(text: &CStr) -> VarlenaBuf {
    let mut buffer = pg_sys::StringInfoData::default();
    // SAFETY: begins, fills and ends a message in memory of the current context.
    unsafe {
        pg_sys::pq_begintypsend(&mut buffer);
        pg_sys::pq_sendtext(&mut buffer, text.as_ptr(), text.count_bytes() as std::ffi::c_int);
        let message = pg_sys::pq_endtypsend(&mut buffer);
        VarlenaBuf::copy_of(&Varlena::from_datum(pg_sys::Datum::from(message)))
    }
}
