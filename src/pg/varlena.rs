//! `bytea` and `text` in and out of PostgreSQL without a copy beyond the one that sealing needs.

use std::ops::Deref;
use std::ptr::NonNull;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum};
use pgrx::pg_sys;
use zeroize::Zeroize;

/// Largest number of bytes in one value: PostgreSQL's allocation limit (1 GB − 1) less the
/// length word.
pub const MAX_LEN: usize = 0x3fff_ffff - pg_sys::VARHDRSZ;

/// The bytes of a `bytea` or `text` argument, detoasted where they were not plain.
///
/// A packed (short-header) value is borrowed where it stands; only a compressed or out-of-line
/// value is copied, by PostgreSQL, and freed again when this is dropped.
pub struct Varlena<'a> {
    bytes: &'a [u8],
    detoasted: Option<NonNull<pg_sys::varlena>>,
}

impl<'a> Varlena<'a> {
    /// # Safety
    /// `datum` is a non-null varlena that outlives `'a`.
    #[inline(always)]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Varlena<'a> {
        let raw = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a varlena.
        unsafe {
            if is_plain(raw) {
                Varlena { bytes: bytes_of(raw), detoasted: None }
            } else {
                Varlena::detoasted(raw)
            }
        }
    }

    /// # Safety
    /// `raw` is a varlena that is compressed or out of line.
    #[inline(never)]
    unsafe fn detoasted(raw: *mut pg_sys::varlena) -> Varlena<'a> {
        // SAFETY: detoasting gives a palloc'd copy in the current memory context, which outlives
        // the call.
        unsafe {
            let plain = pg_sys::pg_detoast_datum_packed(raw);
            let detoasted = if plain == raw { None } else { NonNull::new(plain) };
            Varlena { bytes: bytes_of(plain), detoasted }
        }
    }
}

/// Whether a varlena stands in its row as it is, so that to read it cannot fail.
///
/// # Safety
/// `datum` is a non-null varlena.
pub unsafe fn is_at_hand(datum: pg_sys::Datum) -> bool {
    // SAFETY: by contract.
    unsafe { is_plain(datum.cast_mut_ptr()) }
}

/// Neither compressed nor out of line.
///
/// # Safety
/// `raw` points to a varlena.
#[inline(always)]
unsafe fn is_plain(raw: *const pg_sys::varlena) -> bool {
    // SAFETY: by contract.
    unsafe { pgrx::varatt_is_4b_u(raw) || is_short_inline(raw) }
}

/// # Safety
/// `plain` is a varlena in line that outlives `'a`.
#[inline(always)]
unsafe fn bytes_of<'a>(plain: *const pg_sys::varlena) -> &'a [u8] {
    // SAFETY: by contract.
    unsafe {
        let len = pgrx::varsize_any_exhdr(plain);
        std::slice::from_raw_parts(pgrx::vardata_any(plain).cast::<u8>(), len)
    }
}

/// # Safety
/// `raw` points to a varlena.
unsafe fn is_short_inline(raw: *const pg_sys::varlena) -> bool {
    // SAFETY: by contract.
    unsafe { pgrx::varatt_is_1b(raw) && !pgrx::varatt_is_1b_e(raw) }
}

impl Deref for Varlena<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes
    }
}

impl Drop for Varlena<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(copy) = self.detoasted {
            free(copy);
        }
    }
}

#[inline(never)]
fn free(copy: NonNull<pg_sys::varlena>) {
    if !std::thread::panicking() {
        // SAFETY: palloc'd by the detoasting of a `Varlena`, and borrowed by nobody else.
        unsafe { pg_sys::pfree(copy.as_ptr().cast()) }
    }
}

impl FromDatum for Varlena<'_> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: pgrx passes the datum of a bytea or text argument.
        if is_null { None } else { Some(unsafe { Varlena::from_datum(datum) }) }
    }
}

// SAFETY: a non-null argument of a function declared with bytea or text is a varlena that
// outlives the call.
unsafe impl<'fcx> ArgAbi<'fcx> for Varlena<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(varlena) => varlena,
            None => Varlena { bytes: &[], detoasted: None },
        }
    }
}

pgrx::impl_sql_translatable!(Varlena<'_>, "bytea");

unsafe extern "C" {
    // utils/palloc.h, without the guard of pgrx's binding.
    fn MemoryContextAllocExtended(
        context: pg_sys::MemoryContext,
        size: pg_sys::Size,
        flags: std::ffi::c_int,
    ) -> *mut std::ffi::c_void;
}

/// As PostgreSQL's, without a guard against its errors unless there is one to be raised: that
/// costs a row more than the allocation.
///
/// # Safety
/// `size` is at most PostgreSQL's limit.
pub unsafe fn palloc(size: usize) -> *mut std::ffi::c_void {
    let flags = pg_sys::MCXT_ALLOC_NO_OOM as std::ffi::c_int;
    // SAFETY: with that flag it raises nothing for an allowed size, and answers null when there is
    // no memory. Asked again, PostgreSQL raises its own error.
    unsafe {
        let memory = MemoryContextAllocExtended(pg_sys::CurrentMemoryContext, size, flags);
        if memory.is_null() { pg_sys::palloc(size) } else { memory }
    }
}

/// The first bytes of a bytea datum, at most `count`, fetching no more of it than needed.
///
/// # Safety
/// `datum` is a non-null bytea that outlives the result.
pub unsafe fn first_bytes<'a>(datum: pg_sys::Datum, count: usize) -> Varlena<'a> {
    let raw = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: by contract; a value in line is borrowed as it stands, of any other PostgreSQL gives
    // a palloc'd copy of the slice.
    unsafe {
        if is_plain(raw) {
            let mut value = Varlena::from_datum(datum);
            value.bytes = value.bytes.get(..count).unwrap_or(value.bytes);
            return value;
        }
        let slice = pg_sys::pg_detoast_datum_slice(raw, 0, count as pg_sys::int32);
        Varlena { bytes: bytes_of(slice), detoasted: NonNull::new(slice) }
    }
}

/// How many bytes a bytea datum holds: it is neither fetched nor decompressed for that.
///
/// # Safety
/// `datum` is a non-null bytea.
pub unsafe fn stored_len(datum: pg_sys::Datum) -> usize {
    let raw = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: by contract; the size that is counted has a length word.
    unsafe {
        if is_plain(raw) {
            pgrx::varsize_any_exhdr(raw)
        } else {
            pg_sys::toast_raw_datum_size(datum).saturating_sub(pg_sys::VARHDRSZ)
        }
    }
}

/// A palloc'd varlena under construction, handed to PostgreSQL when it is done. One word, so that
/// it is passed on in a register.
pub struct VarlenaBuf(NonNull<pg_sys::varlena>);

impl VarlenaBuf {
    /// `len` bytes, at most [`MAX_LEN`], which the caller writes: what stands there before is
    /// whatever was in that memory.
    pub fn of_len(len: usize) -> VarlenaBuf {
        // SAFETY: palloc answers with memory of that size, which is allowed, or raises. What it holds was written by
        // PostgreSQL or the kernel, so that to the compiler it is bytes, though unknown ones.
        unsafe {
            let varlena = palloc(len + pg_sys::VARHDRSZ).cast::<pg_sys::varlena>();
            pgrx::set_varsize_4b(varlena, (len + pg_sys::VARHDRSZ) as i32);
            VarlenaBuf(NonNull::new_unchecked(varlena))
        }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> VarlenaBuf {
        let mut copy = VarlenaBuf::of_len(bytes.len());
        copy.as_mut_slice().copy_from_slice(bytes);
        copy
    }

    /// The bytes after the length word.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `of_len` made the bytes that the length word counts; `self` is their only owner.
        unsafe {
            let varlena = self.0.as_ptr();
            let len = pgrx::varsize_4b(varlena) - pg_sys::VARHDRSZ;
            std::slice::from_raw_parts_mut(varlena.cast::<u8>().add(pg_sys::VARHDRSZ), len)
        }
    }

    /// As [`Self::as_mut_slice`], to be read.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: as above.
        unsafe {
            let varlena = self.0.as_ptr();
            let len = pgrx::varsize_4b(varlena) - pg_sys::VARHDRSZ;
            std::slice::from_raw_parts(varlena.cast::<u8>().add(pg_sys::VARHDRSZ), len)
        }
    }

    /// Zeroes the bytes and gives the memory back at once.
    pub fn wipe_and_free(mut self) {
        self.as_mut_slice().zeroize();
        // SAFETY: palloc'd by `of_len`, and given to nobody.
        unsafe { pg_sys::pfree(self.0.as_ptr().cast()) }
    }

    /// Gives the memory to PostgreSQL; its memory context frees it.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0.as_ptr())
    }
}

// SAFETY: the datum is a palloc'd varlena, as bytea and text results are.
unsafe impl BoxRet for VarlenaBuf {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: a non-null varlena in the function's memory context.
        unsafe { fcinfo.return_raw_datum(self.into_datum()) }
    }
}

pgrx::impl_sql_translatable!(VarlenaBuf, "bytea");
