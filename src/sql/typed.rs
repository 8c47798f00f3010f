//! `envelope_encrypt_as` and `envelope_decrypt_as`: values with types; and the casts of such values to `envelope.sealed`.

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::{self, Arguments, row_function};
use crate::pg::domain::Checks;
use crate::pg::encoding;
use crate::pg::varlena::VarlenaBuf;
use crate::sql::begin;
use crate::sql::values::with_context;
use crate::values::{self, FormBuf, ValueType};

row_function!(envelope_encrypt_as_wrapper, encrypt_as);
row_function!(envelope_sealed_from_wrapper, to_sealed);
row_function!(envelope_read_as_wrapper, read_as);
row_function!(envelope_decrypt_as_wrapper, decrypt_as::<false>);
row_function!(envelope_decrypt_as_or_null_wrapper, decrypt_as::<true>);

/// The arguments are `relation`, `value` of any type, `context`.
fn encrypt_as(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<pg_sys::Datum>> {
    begin(fcinfo);
    // SAFETY: the call's own information.
    let arguments = unsafe { Arguments::of(fcinfo) };
    with_context(arguments, 2, |relation, context| {
        let kind = resolved(fcinfo, 1)?.kind;
        let Some(value) = arguments.datum(1) else { return Ok(None) };
        let mut form = FormBuf::new();
        // SAFETY: the argument is of the type that it was resolved to.
        unsafe { kind.form_of(value, kind.default_block(), &mut form) }?;
        Ok(Some(values::seal(relation, context, form.as_slice())?.into_datum()))
    })
}

/// The arguments are `relation`, `sealed`, `type_of` of any type, whose value is not looked at, and `context`.
#[inline(always)]
fn decrypt_as<const OR_NULL: bool>(
    fcinfo: pg_sys::FunctionCallInfo,
) -> Result<Option<pg_sys::Datum>> {
    begin(fcinfo);
    // SAFETY: the call's own information.
    let arguments = unsafe { Arguments::of(fcinfo) };
    with_context(arguments, 3, |relation, context| {
        let Resolved { kind, checks } = resolved(fcinfo, 2)?;
        let of_value = |error| values::of_value(relation, context, error);
        // SAFETY: declared as bytea, or as what is stored like it.
        let Some(sealed) = (unsafe { arguments.varlena(1) }) else { return Ok(None) };
        let mut read = |form: &[u8]| kind.read_checked(form, checks);
        if !OR_NULL {
            return values::open_for(relation, context, &sealed, read).map(Some).map_err(of_value);
        }
        let opened = values::open_if_allowed(relation, context, &sealed).map_err(of_value)?;
        let Some(form) = opened else { return Ok(None) };
        let value = read(form.as_slice());
        form.wipe_and_free();
        value.map(Some).map_err(of_value)
    })
}

/// The form of the one argument, filled, as it goes into a column of type envelope.sealed for the trigger to seal.
fn to_sealed(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information.
    let Some(value) = (unsafe { Arguments::of(fcinfo) }).datum(0) else { return Ok(None) };
    let kind = resolved(fcinfo, 0)?.kind;
    let mut form = FormBuf::new();
    // SAFETY: the argument is of the type that it was resolved to.
    unsafe { kind.form_of(value, kind.default_block(), &mut form) }?;
    Ok(Some(VarlenaBuf::copy_of(form.as_slice()).into_datum()))
}

/// The arguments are `value`, a text, or a bytea that holds text in UTF-8, and `type_of` of any type, whose value is not
/// looked at.
fn read_as(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the first argument is declared text or bytea.
    let (value, is, kind) = unsafe {
        let value = Arguments::of(fcinfo).varlena(0);
        (value, call::type_of_argument(fcinfo, 0), call::type_of_argument(fcinfo, 1))
    };
    let Some(value) = value else { return Ok(None) };
    if is != pg_sys::BYTEAOID {
        return values::read_as(kind, &value).map(Some);
    }
    let text = encoding::from_utf8(&value)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
    values::read_as(kind, &text).map(Some)
}

/// The type of an argument, and what is prepared of its domains.
struct Resolved {
    kind: ValueType,
    checks: Checks,
}

/// Looked up with the first row of a call, and kept for the others.
#[inline(always)]
fn resolved<'a>(fcinfo: pg_sys::FunctionCallInfo, argument: i32) -> Result<&'a mut Resolved> {
    // SAFETY: the call's own information. What is kept is of this type, needs no drop, and is used by one row at a time.
    unsafe {
        call::kept(fcinfo, |context| {
            let kind = ValueType::of(call::type_of_argument(fcinfo, argument), -1)?;
            Ok(Resolved { kind, checks: Checks::kept_in(context) })
        })
    }
}
