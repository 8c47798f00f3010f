//! `envelope_encrypt`, `envelope_decrypt` and their `_text` pair.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::keyring;
use crate::pg::call::Arguments;
use crate::pg::encoding::{self, Converted};
use crate::pg::varlena::VarlenaBuf;
use crate::sql::{LONGEST_CONTEXT, begin, required};

type Answer = std::result::Result<Option<VarlenaBuf>, ErrorReport>;

#[pg_extern(sql = false)]
fn envelope_encrypt(fcinfo: pg_sys::FunctionCallInfo) -> Answer {
    Ok(with_value(fcinfo, keyring::seal)?)
}

#[pg_extern(sql = false)]
fn envelope_decrypt(fcinfo: pg_sys::FunctionCallInfo) -> Answer {
    Ok(with_value(fcinfo, keyring::open)?)
}

#[pg_extern(sql = false)]
fn envelope_encrypt_text(fcinfo: pg_sys::FunctionCallInfo) -> Answer {
    Ok(with_value(fcinfo, |relation, context, plaintext| {
        keyring::seal(relation, context, &utf8(plaintext)?)
    })?)
}

#[pg_extern(sql = false)]
fn envelope_decrypt_text(fcinfo: pg_sys::FunctionCallInfo) -> Answer {
    Ok(with_value(fcinfo, |relation, context, sealed| {
        in_server_encoding(keyring::open(relation, context, sealed)?)
    })?)
}

/// The arguments are `relation`, a value, `context`. NULL value, NULL result; NULL relation or
/// context, an error even then.
#[inline]
pub(super) fn with_value(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(pg_sys::Oid, &[u8], &[u8]) -> Result<VarlenaBuf>,
) -> Result<Option<VarlenaBuf>> {
    begin(fcinfo);
    // SAFETY: the call's own information; the four are declared (regclass, bytea or text, text).
    let (relation, value, context) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments.oid(0), arguments.varlena(1), arguments.varlena(2))
    };
    let relation = required(relation, "relation")?;
    let context = required(context, "context")?;
    if context.len() > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    value.map(|value| work(relation, &utf8(&context)?, &value)).transpose()
}

fn utf8(text: &[u8]) -> Result<Converted<'_>> {
    encoding::to_utf8(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })
}

/// An opened value as text. What is no text here stays sealed.
fn in_server_encoding(mut opened: VarlenaBuf) -> Result<VarlenaBuf> {
    let text = match encoding::from_utf8(opened.as_mut_slice()) {
        Ok(Converted::Same(_)) => None,
        Ok(converted) => Some(VarlenaBuf::copy_of(&converted)),
        Err(why) => return Err(Error::NotText { untranslatable: why.is_untranslatable() }),
    };
    Ok(text.unwrap_or(opened))
}
