//! `envelope_context`: the row context, for those who seal and open by hand.

use pgrx::pg_extern;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{Error, Result};
use crate::pg::array::TextArray;
use crate::pg::encoding;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sql::{LONGEST_CONTEXT, required};

#[pg_extern(sql = false)]
fn envelope_context(
    tag: Option<Varlena<'_>>,
    parts: Option<TextArray>,
) -> std::result::Result<VarlenaBuf, ErrorReport> {
    Ok(row_context(tag, parts)?)
}

fn row_context(tag: Option<Varlena<'_>>, parts: Option<TextArray>) -> Result<VarlenaBuf> {
    let tag = required(tag, "tag")?;
    let parts = match required(parts, "parts")? {
        TextArray::Elements(parts) if tag.len() <= LONGEST_CONTEXT => parts,
        _ => return Err(Error::ContextTooLong),
    };
    let parts: Vec<_> =
        parts.into_iter().map(|part| required(part, "parts")).collect::<Result<_>>()?;
    let context = envelope::context::row_context(&encoding::to_string(&tag), parts);
    if context.len() > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let text = encoding::from_utf8(context.as_bytes())
        .map_err(|_| Error::Untranslatable("the context"))?;
    Ok(VarlenaBuf::copy_of(&text))
}
