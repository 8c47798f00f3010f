//! Calls from SQL that every row makes: their arguments, their answers, and what a call carries
//! beside them.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use crate::pg::array::RawTexts;
use crate::pg::damage::{self, Damage};
use crate::pg::report;
use crate::pg::subxact::Undone;
use crate::pg::tid::Tid;
use crate::pg::varlena::{Varlena, first_bytes, is_at_hand, stored_len};

/// Makes a function from a call's information to `Result<Option<Datum>, impl Into<ErrorReport>>`
/// callable from SQL under a symbol of that name. `#[pg_extern]` does the same at the price of a
/// memory context switched to and back and a result of 200 bytes copied, which a row need not pay.
macro_rules! row_function {
    ($symbol:ident, $work:expr) => {
        #[unsafe(no_mangle)]
        unsafe extern "C-unwind" fn $symbol(
            fcinfo: pgrx::pg_sys::FunctionCallInfo,
        ) -> pgrx::pg_sys::Datum {
            let work = || {
                let result = ($work)(fcinfo);
                // SAFETY: PostgreSQL passes the call's own information.
                unsafe { $crate::pg::call::answer(fcinfo, result) }
            };
            // SAFETY: errors, PostgreSQL's and ours, stop at this guard, which raises them when all
            // below it is dropped.
            unsafe { pgrx::pg_sys::panic::pgrx_extern_c_guard(work) }
        }

        $crate::pg::call::finfo!($symbol);
    };
}
pub(crate) use row_function;

/// Tells PostgreSQL that the function of that symbol is called as all are.
macro_rules! finfo {
    ($symbol:ident) => {
        const _: () = {
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($symbol)))]
            extern "C" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                &pgrx::pg_sys::Pg_finfo_record { api_version: 1 }
            }
        };
    };
}
pub(crate) use finfo;

/// Hands `result` to PostgreSQL: a datum, NULL, or an error raised.
///
/// # Safety
/// `fcinfo` is the call's own.
#[inline]
pub unsafe fn answer<E: Into<ErrorReport>>(
    fcinfo: pg_sys::FunctionCallInfo,
    result: Result<Option<pg_sys::Datum>, E>,
) -> pg_sys::Datum {
    match result {
        Ok(Some(datum)) => datum,
        Ok(None) => {
            // SAFETY: by contract.
            unsafe { (*fcinfo).isnull = true };
            pg_sys::Datum::null()
        }
        Err(error) => report::raise(error.into()),
    }
}

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
    pub fn datum(self, at: usize) -> Option<pg_sys::Datum> {
        self.0.get(at).filter(|argument| !argument.isnull).map(|argument| argument.value)
    }

    /// Whether the argument at `at` is NULL.
    pub fn is_null(self, at: usize) -> bool {
        self.datum(at).is_none()
    }

    /// The argument at `at` as an OID; `None` for NULL.
    pub fn oid(self, at: usize) -> Option<pg_sys::Oid> {
        self.datum(at).map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    /// The argument at `at` as a bigint; `None` for NULL.
    pub fn bigint(self, at: usize) -> Option<i64> {
        self.datum(at).map(|datum| datum.value() as i64)
    }

    /// The argument at `at` as a name, in the server's encoding; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with name there.
    pub unsafe fn name(self, at: usize) -> Option<&'a CStr> {
        // SAFETY: by contract; a name is NUL-terminated, and an argument outlives the call.
        self.datum(at).map(|datum| unsafe { CStr::from_ptr(datum.cast_mut_ptr()) })
    }

    /// The argument at `at` as a C string, in the server's encoding; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with cstring there.
    pub unsafe fn cstring(self, at: usize) -> Option<&'a CStr> {
        // SAFETY: by contract; an argument outlives the call.
        self.datum(at).map(|datum| unsafe { CStr::from_ptr(datum.cast_mut_ptr()) })
    }

    /// The argument at `at` as a row's place; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with tid there.
    pub unsafe fn tid(self, at: usize) -> Option<Tid> {
        // SAFETY: by contract.
        self.datum(at).map(|datum| unsafe { Tid::from_datum(datum) })
    }

    /// The argument at `at` as bytes; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with bytea, text or a type in the same layout there.
    pub unsafe fn varlena(self, at: usize) -> Option<Varlena<'a>> {
        // SAFETY: by contract; a non-null argument outlives the call.
        self.datum(at).map(|datum| unsafe { Varlena::from_datum(datum) })
    }

    /// The argument at `at` as an array of text; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with text[] there.
    pub unsafe fn texts(self, at: usize) -> Option<RawTexts<'a>> {
        // SAFETY: by contract; a non-null argument outlives the call.
        self.datum(at).map(|datum| unsafe { RawTexts::of(datum) })
    }

    /// As [`Self::varlena`], for a statement that goes on where PostgreSQL cannot read the value.
    ///
    /// # Safety
    /// That of [`Self::varlena`].
    pub unsafe fn survived_varlena(
        self,
        at: usize,
    ) -> Option<std::result::Result<Varlena<'a>, Undone<Damage>>> {
        // SAFETY: as above.
        self.datum(at).map(|datum| unsafe {
            if is_at_hand(datum) {
                Ok(Varlena::from_datum(datum))
            } else {
                damage::survived(|| Varlena::from_datum(datum))
            }
        })
    }

    /// The first bytes of the argument at `at`, at most `count`, and no more of it fetched; `None`
    /// for NULL.
    ///
    /// # Safety
    /// The function is declared with bytea, or a type in the same layout, there.
    pub unsafe fn first_bytes(self, at: usize, count: usize) -> Option<Varlena<'a>> {
        // SAFETY: as above.
        self.datum(at).map(|datum| unsafe { first_bytes(datum, count) })
    }

    /// As [`Self::first_bytes`], for a statement that goes on where PostgreSQL cannot read the value.
    ///
    /// # Safety
    /// That of [`Self::first_bytes`].
    pub unsafe fn survived_first_bytes(
        self,
        at: usize,
        count: usize,
    ) -> Option<std::result::Result<Varlena<'a>, Undone<Damage>>> {
        // SAFETY: as above.
        self.datum(at).map(|datum| unsafe {
            if is_at_hand(datum) {
                Ok(first_bytes(datum, count))
            } else {
                damage::survived(|| first_bytes(datum, count))
            }
        })
    }

    /// How many bytes the argument at `at` has, none of them fetched; `None` for NULL.
    ///
    /// # Safety
    /// The function is declared with bytea, or a type in the same layout, there.
    pub unsafe fn len(self, at: usize) -> Option<usize> {
        // SAFETY: as above.
        self.datum(at).map(|datum| unsafe { stored_len(datum) })
    }
}

/// What [`is_first`] notes.
const NOTE: *mut std::ffi::c_void = std::ptr::dangling_mut::<u8>().cast();

/// Whether this is the first call from this place in this execution of its statement; notes that
/// it was made. PostgreSQL clears the note when the statement's execution begins; that of an
/// expression that PL/pgSQL evaluates by itself, with the transaction only.
///
/// # Safety
/// `fcinfo` is the call's own.
pub unsafe fn is_first(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: by contract; nothing reads through the note, it is only compared.
    unsafe {
        let Some(info) = (*fcinfo).flinfo.as_mut() else { return true };
        let first = info.fn_extra.is_null();
        if first {
            info.fn_extra = NOTE;
        }
        first
    }
}

/// What a call keeps from row to row, made by the first of them with the memory context that it lives in. It stands in
/// the note's place.
///
/// # Safety
/// `fcinfo` is the call's own, with its `flinfo`; a function always keeps the same `T`, which needs no drop; the result
/// is let go before the next call from the same place.
#[inline(always)]
pub unsafe fn kept<'a, T, E>(
    fcinfo: pg_sys::FunctionCallInfo,
    make: impl FnOnce(pg_sys::MemoryContext) -> Result<T, E>,
) -> Result<&'a mut T, E> {
    // SAFETY: by contract, what is neither null nor the note was put there by this.
    unsafe {
        let info = (*fcinfo).flinfo;
        if (*info).fn_extra.is_null() || (*info).fn_extra == NOTE {
            let made = make((*info).fn_mcxt)?;
            let memory = pg_sys::MemoryContextAlloc((*info).fn_mcxt, size_of::<T>()).cast::<T>();
            memory.write(made);
            (*info).fn_extra = memory.cast();
        }
        Ok(&mut *(*info).fn_extra.cast::<T>())
    }
}

unsafe extern "C" {
    // fmgr.h. It raises nothing of expressions that the planner has made; pgrx's binding guards against errors, which
    // takes ten times as long.
    fn get_fn_expr_argtype(info: *mut pg_sys::FmgrInfo, at: std::ffi::c_int) -> pg_sys::Oid;
}

/// The type that the argument at `at` has in this call; 0 if it cannot be told.
///
/// # Safety
/// `fcinfo` is the call's own.
pub unsafe fn type_of_argument(fcinfo: pg_sys::FunctionCallInfo, at: i32) -> pg_sys::Oid {
    // SAFETY: by contract.
    unsafe { get_fn_expr_argtype((*fcinfo).flinfo, at) }
}

/// Whether there was a call from this place before, in this execution of its statement; to be asked before [`is_first`].
///
/// # Safety
/// `fcinfo` is the call's own, with its `flinfo`.
pub unsafe fn is_again(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: by contract.
    unsafe { !(*(*fcinfo).flinfo).fn_extra.is_null() }
}
