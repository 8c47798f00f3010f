//! What a function call carries beside its arguments.

use pgrx::pg_sys;

use crate::pg::varlena::{Varlena, first_bytes};

/// The arguments of a call, read where PostgreSQL put them: what a row of a query has to pay for
/// them matters beside the cipher.
#[derive(Clone, Copy)]
pub struct Arguments<'a>(&'a [pg_sys::NullableDatum]);

impl<'a> Arguments<'a> {
    /// # Safety
    /// `fcinfo` is the call's own, and outlives `'a`.
    pub unsafe fn of(fcinfo: pg_sys::FunctionCallInfo) -> Arguments<'a> {
        // SAFETY: by contract; as many arguments as are counted stand there.
        Arguments(unsafe { (*fcinfo).args.as_slice((*fcinfo).nargs.unsigned_abs().into()) })
    }

    /// The argument at `at`; `None` for NULL.
    fn datum(self, at: usize) -> Option<pg_sys::Datum> {
        self.0.get(at).filter(|argument| !argument.isnull).map(|argument| argument.value)
    }

    /// The argument at `at` as an OID; `None` for NULL.
    pub fn oid(self, at: usize) -> Option<pg_sys::Oid> {
        self.datum(at).map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    /// The argument at `at` as bytes; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with bytea or text there.
    pub unsafe fn varlena(self, at: usize) -> Option<Varlena<'a>> {
        // SAFETY: by contract; a non-null argument outlives the call.
        self.datum(at).map(|datum| unsafe { Varlena::from_datum(datum) })
    }

    /// The first bytes of the argument at `at`, at most `count`, and no more of it fetched; `None`
    /// for NULL.
    ///
    /// # Safety
    /// The function is declared with bytea there.
    pub unsafe fn first_bytes(self, at: usize, count: usize) -> Option<Varlena<'a>> {
        // SAFETY: as above.
        self.datum(at).map(|datum| unsafe { first_bytes(datum, count) })
    }
}

/// Whether this is the first call from this place in this execution of its statement; notes that
/// it was made. PostgreSQL clears the note when the statement's execution begins.
///
/// # Safety
/// `fcinfo` is the call's own.
pub unsafe fn is_first(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: by contract; nothing reads through the note, it is only compared with null.
    unsafe {
        let Some(info) = (*fcinfo).flinfo.as_mut() else { return true };
        let first = info.fn_extra.is_null();
        info.fn_extra = std::ptr::dangling_mut::<u8>().cast();
        first
    }
}
