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
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Varlena<'a> {
        let raw = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller passes a varlena; detoasting gives the same pointer or a palloc'd
        // copy in the current memory context, which outlives the call.
        unsafe {
            let plain = if pgrx::varatt_is_4b_u(raw) || is_short_inline(raw) {
                raw
            } else {
                pg_sys::pg_detoast_datum_packed(raw)
            };
            let bytes = std::slice::from_raw_parts(
                pgrx::vardata_any(plain).cast::<u8>(),
                pgrx::varsize_any_exhdr(plain),
            );
            let detoasted = if plain == raw { None } else { NonNull::new(plain) };
            Varlena { bytes, detoasted }
        }
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
    fn drop(&mut self) {
        if let Some(copy) = self.detoasted
            && !std::thread::panicking()
        {
            // SAFETY: palloc'd by the detoasting in `from_datum`, and borrowed by nobody else.
            unsafe { pg_sys::pfree(copy.as_ptr().cast()) }
        }
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

/// The first bytes of a bytea datum, at most `count`, fetching no more of it than needed.
///
/// # Safety
/// `datum` is a non-null bytea that outlives the result.
pub unsafe fn first_bytes<'a>(datum: pg_sys::Datum, count: usize) -> Varlena<'a> {
    let raw = datum.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: by contract; a value in line is borrowed as it stands, of any other PostgreSQL gives
    // a palloc'd copy of the slice.
    unsafe {
        if pgrx::varatt_is_4b_u(raw) || is_short_inline(raw) {
            let mut value = Varlena::from_datum(datum);
            value.bytes = value.bytes.get(..count).unwrap_or(value.bytes);
            return value;
        }
        let slice = pg_sys::pg_detoast_datum_slice(raw, 0, count as pg_sys::int32);
        let bytes = std::slice::from_raw_parts(
            pgrx::vardata_any(slice).cast::<u8>(),
            pgrx::varsize_any_exhdr(slice),
        );
        Varlena { bytes, detoasted: NonNull::new(slice) }
    }
}

/// A `bytea` argument of which no more than the first `COUNT` bytes are fetched.
pub struct FirstBytes<'a, const COUNT: usize>(Varlena<'a>);

impl<const COUNT: usize> Deref for FirstBytes<'_, COUNT> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<const COUNT: usize> FromDatum for FirstBytes<'_, COUNT> {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: pgrx passes the datum of a bytea argument.
        if is_null { None } else { Some(FirstBytes(unsafe { first_bytes(datum, COUNT) })) }
    }
}

// SAFETY: as for `Varlena`.
unsafe impl<'fcx, const COUNT: usize> ArgAbi<'fcx> for FirstBytes<'fcx, COUNT> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(bytes) => bytes,
            None => FirstBytes(Varlena { bytes: &[], detoasted: None }),
        }
    }
}

pgrx::impl_sql_translatable!(FirstBytes<'_, { envelope::header::HEADER_LEN }>, "bytea");

/// A palloc'd varlena under construction, handed to PostgreSQL when it is done.
pub struct VarlenaBuf {
    varlena: NonNull<pg_sys::varlena>,
    len: usize,
}

impl VarlenaBuf {
    /// `before` zero bytes, then a copy of `body`, then `after` zero bytes; the caller has
    /// checked that the sum is at most [`MAX_LEN`].
    pub fn framed(before: usize, body: &[u8], after: usize) -> VarlenaBuf {
        let len = before + body.len() + after;
        // SAFETY: palloc answers with memory of that size or raises; every byte is written
        // before a slice of it is made.
        unsafe {
            let varlena = pg_sys::palloc(len + pg_sys::VARHDRSZ).cast::<pg_sys::varlena>();
            pgrx::set_varsize_4b(varlena, (len + pg_sys::VARHDRSZ) as i32);
            let data = varlena.cast::<u8>().add(pg_sys::VARHDRSZ);
            data.write_bytes(0, before);
            data.add(before).copy_from_nonoverlapping(body.as_ptr(), body.len());
            data.add(before + body.len()).write_bytes(0, after);
            VarlenaBuf { varlena: NonNull::new_unchecked(varlena), len }
        }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> VarlenaBuf {
        VarlenaBuf::framed(0, bytes, 0)
    }

    /// The bytes after the length word.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `framed` made and initialised `len` bytes there; `self` is their only owner.
        unsafe {
            let data = self.varlena.as_ptr().cast::<u8>().add(pg_sys::VARHDRSZ);
            std::slice::from_raw_parts_mut(data, self.len)
        }
    }

    /// Zeroes the bytes and gives the memory back at once.
    pub fn wipe_and_free(mut self) {
        self.as_mut_slice().zeroize();
        // SAFETY: palloc'd by `framed`, and given to nobody.
        unsafe { pg_sys::pfree(self.varlena.as_ptr().cast()) }
    }

    /// Gives the memory to PostgreSQL; its memory context frees it.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.varlena.as_ptr())
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
