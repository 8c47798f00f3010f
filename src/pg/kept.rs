//! What the calls from one place of a statement keep from row to row, as a value of Rust's own; and whether their
//! arguments are those of the call before.

use std::ffi::c_void;

use pgrx::pg_sys;

use crate::pg::call::{self, Arguments};
use crate::pg::kinds::{self, Storage};
use crate::pg::varlena::Varlena;

/// What the calls from this place keep; nothing at first. It is dropped when PostgreSQL frees the call's memory: at the
/// end of the statement, mostly.
///
/// # Safety
/// `fcinfo` is the call's own, with its `flinfo`; a function always keeps the same `T`, and nothing else; the result is
/// let go before the next call from the same place.
pub unsafe fn kept<'a, T: 'static>(fcinfo: pg_sys::FunctionCallInfo) -> &'a mut Option<T> {
    struct Place<T>(*mut Option<T>);
    // SAFETY: by contract. The callback's memory is that of the context whose end calls it.
    unsafe {
        let place = call::kept(fcinfo, |context| {
            let callback =
                pg_sys::MemoryContextAllocZero(context, size_of::<pg_sys::MemoryContextCallback>())
                    .cast::<pg_sys::MemoryContextCallback>();
            let place = Box::into_raw(Box::new(None::<T>));
            (*callback).func = Some(drop_kept::<T>);
            (*callback).arg = place.cast();
            pg_sys::MemoryContextRegisterResetCallback(context, callback);
            Ok::<_, std::convert::Infallible>(Place(place))
        });
        match place {
            Ok(place) => &mut *place.0,
            Err(never) => match never {},
        }
    }
}

unsafe extern "C-unwind" fn drop_kept<T>(place: *mut c_void) {
    // SAFETY: made by `kept`, which has it dropped here alone.
    drop(unsafe { Box::from_raw(place.cast::<Option<T>>()) });
}

/// An array or a bytea that was the answer, or NULL. It is let go with what is kept, and so with the answer that takes its
/// place.
pub struct Answer(Option<Vec<u64>>);

impl Answer {
    /// A copy of `answer`.
    ///
    /// # Safety
    /// It is one of these that is not toasted.
    pub unsafe fn copy_of(answer: Option<pg_sys::Datum>) -> Answer {
        // SAFETY: by contract; there is room for all of it, in words, by which arrays are aligned.
        Answer(answer.map(|answer| unsafe {
            let from = answer.cast_mut_ptr::<pg_sys::varlena>();
            let size = pgrx::varsize_any(from);
            let mut copy = vec![0; size.div_ceil(size_of::<u64>())];
            std::ptr::copy_nonoverlapping(from.cast::<u8>(), copy.as_mut_ptr().cast(), size);
            copy
        }))
    }

    /// It, which is there until it is let go; `None` for NULL.
    pub fn datum(&self) -> Option<pg_sys::Datum> {
        self.0.as_ref().map(|answer| pg_sys::Datum::from(answer.as_ptr()))
    }
}

/// A value of any type that is not NULL. It is wiped when it is let go: it may be one in clear.
pub enum Value {
    Immediate(pg_sys::Datum),
    Copied(Vec<u64>),
}

impl Value {
    /// A copy of `value`.
    ///
    /// # Safety
    /// It is a value of type `kind` that is not toasted; the type is one of a fixed length, or a varlena.
    pub unsafe fn copy_of(value: pg_sys::Datum, kind: pg_sys::Oid) -> Value {
        let storage = kinds::storage(kind);
        if storage.by_value {
            return Value::Immediate(value);
        }
        // SAFETY: by contract; there is room for all of it, in words, by which values are aligned.
        unsafe {
            let from = value.cast_mut_ptr::<u8>();
            let size = match storage.len {
                1.. => storage.len.unsigned_abs().into(),
                _ => pgrx::varsize_any(from.cast()),
            };
            let mut copy = vec![0; size.div_ceil(size_of::<u64>())];
            std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr().cast(), size);
            Value::Copied(copy)
        }
    }

    /// It, which is there until it is let go.
    pub fn datum(&self) -> pg_sys::Datum {
        match self {
            Value::Immediate(value) => *value,
            Value::Copied(copy) => pg_sys::Datum::from(copy.as_ptr()),
        }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        use zeroize::Zeroize;
        if let Value::Copied(copy) = self {
            copy.zeroize();
        }
    }
}

/// Of a type that cannot be told.
const UNKNOWN: Storage = Storage { len: 0, by_value: false, align: 0 };

/// Arguments of any types, as they were given last.
pub struct Given {
    storages: Vec<Storage>,
    bytes: Vec<u8>,
    before: Vec<u8>,
}

impl Given {
    /// Of the arguments at those places.
    ///
    /// # Safety
    /// `fcinfo` is the call's own.
    pub unsafe fn of(fcinfo: pg_sys::FunctionCallInfo, places: &[usize]) -> Given {
        let storage = |at: &usize| {
            // SAFETY: by contract.
            match unsafe { call::type_of_argument(fcinfo, *at as i32) } {
                pg_sys::InvalidOid => UNKNOWN,
                kind => kinds::storage(kind),
            }
        };
        Given {
            storages: places.iter().map(storage).collect(),
            bytes: Vec::new(),
            before: Vec::new(),
        }
    }

    /// Whether they are others than the last time, or `also` is; notes them.
    ///
    /// # Safety
    /// The arguments are those of a call from the same place, and `places` those that [`Given::of`] was given.
    pub unsafe fn are_new(
        &mut self,
        arguments: Arguments<'_>,
        places: &[usize],
        also: u64,
    ) -> bool {
        let mut is_known = true;
        std::mem::swap(&mut self.bytes, &mut self.before);
        self.bytes.clear();
        self.bytes.extend_from_slice(&also.to_ne_bytes());
        for (at, storage) in places.iter().zip(&self.storages) {
            let Some(datum) = arguments.datum(*at) else {
                self.bytes.push(0);
                continue;
            };
            self.bytes.push(1);
            // SAFETY: by contract, a value that is stored so.
            unsafe {
                match storage {
                    Storage { by_value: true, .. } => {
                        self.bytes.extend_from_slice(&datum.value().to_ne_bytes());
                    }
                    Storage { len: -1, .. } => {
                        let value = Varlena::from_datum(datum);
                        self.bytes.extend_from_slice(&value.len().to_ne_bytes());
                        self.bytes.extend_from_slice(&value);
                    }
                    Storage { len: 1.., .. } => {
                        let len = storage.len.unsigned_abs().into();
                        let value = std::slice::from_raw_parts(datum.cast_mut_ptr::<u8>(), len);
                        self.bytes.extend_from_slice(value);
                    }
                    // Nothing is known of it: it may be another each time.
                    _ => is_known = false,
                }
            }
        }
        !is_known || self.bytes != self.before
    }
}

impl Drop for Given {
    /// They may be values in clear.
    fn drop(&mut self) {
        use zeroize::Zeroize;
        self.bytes.zeroize();
        self.before.zeroize();
    }
}
