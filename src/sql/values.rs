//! `envelope_encrypt`, `envelope_decrypt` and their `_text` pair.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::keyring;
use crate::pg::encoding::{self, Converted};
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sql::{LONGEST_CONTEXT, begin, required};

type Answer = std::result::Result<Option<VarlenaBuf>, ErrorReport>;

#[pg_extern(sql = false)]
fn envelope_encrypt(
    relation: Option<pg_sys::Oid>,
    plaintext: Option<Varlena<'_>>,
    context: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    Ok(with_value(relation, plaintext, context, fcinfo, keyring::seal)?)
}

#[pg_extern(sql = false)]
fn envelope_decrypt(
    relation: Option<pg_sys::Oid>,
    sealed: Option<Varlena<'_>>,
    context: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    Ok(with_value(relation, sealed, context, fcinfo, keyring::open)?)
}

#[pg_extern(sql = false)]
fn envelope_encrypt_text(
    relation: Option<pg_sys::Oid>,
    plaintext: Option<Varlena<'_>>,
    context: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    let seal_text = |relation, context: &[u8], plaintext: &[u8]| {
        keyring::seal(relation, context, &utf8(plaintext)?)
    };
    Ok(with_value(relation, plaintext, context, fcinfo, seal_text)?)
}

#[pg_extern(sql = false)]
fn envelope_decrypt_text(
    relation: Option<pg_sys::Oid>,
    sealed: Option<Varlena<'_>>,
    context: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    let open_text = |relation, context: &[u8], sealed: &[u8]| {
        in_server_encoding(keyring::open(relation, context, sealed)?)
    };
    Ok(with_value(relation, sealed, context, fcinfo, open_text)?)
}

/// NULL value, NULL result; NULL relation or context, an error even then.
pub(super) fn with_value(
    relation: Option<pg_sys::Oid>,
    value: Option<Varlena<'_>>,
    context: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl Fn(pg_sys::Oid, &[u8], &[u8]) -> Result<VarlenaBuf>,
) -> Result<Option<VarlenaBuf>> {
    begin(fcinfo);
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
