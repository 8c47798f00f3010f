//! `envelope_context`: the row context, for those who seal and open by hand.

use pgrx::pg_extern;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{Error, Result};
use crate::pg::array::TextArray;
use crate::pg::encoding::{self, NotText};
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sql::arguments::{LONGEST_CONTEXT, required};

#[pg_extern(sql = false)]
fn envelope_context(
    tag: Option<Varlena<'_>>,
    parts: Option<TextArray>,
) -> std::result::Result<VarlenaBuf, ErrorReport> {
    Ok(row_context(tag, parts)?)
}

fn row_context(tag: Option<Varlena<'_>>, parts: Option<TextArray>) -> Result<VarlenaBuf> {
    let tag = required(tag, "tag")?;
    let not_utf8 = |why: NotText| Error::NotUtf8 { untranslatable: why.is_untranslatable() };
    let parts = match required(parts, "parts")? {
        TextArray::Elements(parts) if tag.len() <= LONGEST_CONTEXT => parts,
        TextArray::NotUtf8(why) => return Err(not_utf8(why)),
        _ => return Err(Error::ContextTooLong),
    };
    let parts: Vec<_> =
        parts.into_iter().map(|part| required(part, "parts")).collect::<Result<_>>()?;
    let tag = encoding::to_exact_string(&tag).map_err(not_utf8)?;
    let context = envelope::context::row_context(&tag, parts);
    if context.len() > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let text = encoding::from_utf8(context.as_bytes())
        .map_err(|_| Error::Untranslatable("the context"))?;
    Ok(VarlenaBuf::copy_of(&text))
}
