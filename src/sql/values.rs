//! `envelope_encrypt`, `envelope_decrypt` and their `_text` pair.

use envelope::forms::padding::without_mark;
use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::{Arguments, row_function};
use crate::pg::encoding::{self, Converted, NotText};
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::values;

row_function!(envelope_encrypt_wrapper, |fcinfo| with_value(fcinfo, values::seal));
row_function!(envelope_decrypt_wrapper, |fcinfo| with_value(fcinfo, values::open));
row_function!(envelope_encrypt_text_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, plaintext| {
        values::seal(relation, context, &utf8(plaintext)?)
    })
});
row_function!(envelope_decrypt_text_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, sealed| {
        in_server_encoding(values::open(relation, context, sealed)?)
    })
});

/// The arguments are `relation`, a value, `context`. NULL value, NULL result; NULL relation or
/// context, an error even then.
#[inline(always)]
pub(super) fn with_value<R: Into<Option<VarlenaBuf>>>(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(pg_sys::Oid, &[u8], &[u8]) -> Result<R>,
) -> Result<Option<pg_sys::Datum>> {
    begin(fcinfo);
    // SAFETY: the call's own information.
    let arguments = unsafe { Arguments::of(fcinfo) };
    with_context(arguments, 2, |relation, context| {
        // SAFETY: declared bytea or text.
        let Some(value) = (unsafe { arguments.varlena(1) }) else { return Ok(None) };
        Ok(work(relation, context, &value)?.into().map(VarlenaBuf::into_datum))
    })
}

/// Calls `work` with the first argument, `relation`, and the one at `at`, `context`, neither of which may be NULL.
#[inline(always)]
pub(super) fn with_context<T>(
    arguments: Arguments<'_>,
    at: usize,
    work: impl FnOnce(pg_sys::Oid, &[u8]) -> Result<T>,
) -> Result<T> {
    let relation = required(arguments.oid(0), "relation")?;
    // SAFETY: declared text.
    let context = required(unsafe { arguments.varlena(at) }, "context")?;
    if context.len() > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    // Asked here, too: most contexts are ASCII, and what a conversion gives is handed on in memory.
    let converted;
    let context = if context.is_ascii() {
        &*context
    } else {
        converted = utf8(&context)?;
        &*converted
    };
    work(relation, context)
}

/// Text that is sealed, or that a value is bound to.
pub(super) fn utf8(text: &[u8]) -> Result<Converted<'_>> {
    encoding::to_utf8(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })
}

/// An opened value as text. What is no text here stays sealed.
pub(super) fn in_server_encoding(opened: VarlenaBuf) -> Result<VarlenaBuf> {
    let bytes = opened.as_slice();
    let text = match encoding::from_utf8(bytes) {
        // Filled to a block, perhaps: that ends in what stands in no UTF-8.
        Err(NotText::Invalid) => encoding::from_utf8(without_mark(bytes).unwrap_or(bytes)),
        text => text,
    };
    let text = match text {
        Ok(Converted::Same(text)) if text.len() == bytes.len() => None,
        Ok(text) if text.len() > MAX_LEN => return Err(Error::TooLong(text.len())),
        Ok(text) => Some(VarlenaBuf::copy_of(&text)),
        Err(NotText::Invalid) => return Err(Error::NotText),
        Err(NotText::Untranslatable) => return Err(Error::Untranslatable("opened value")),
    };
    Ok(text.unwrap_or(opened))
}
