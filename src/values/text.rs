//! Text that comes into a column of type `envelope.sealed`, and the text that its values are shown as.
//!
//! A plaintext is kept as it was given, and as UTF-8: what will be sealed is the same in every database.

use envelope::text::{self, Form, Meaning};

use crate::error::{Error, Result};
use crate::pg::cstring::{self, CStringBuf};
use crate::pg::encoding::{self, NotText};
use crate::pg::varlena::{MAX_LEN, VarlenaBuf};

/// The value that `text`, in the server's encoding, stands for.
pub fn from_text(text: &[u8]) -> Result<VarlenaBuf> {
    match text::meaning(text) {
        Meaning::Text => {
            let utf8 = encoding::to_utf8(text)
                .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
            if utf8.len() > MAX_LEN {
                return Err(Error::TooLong(utf8.len()));
            }
            Ok(VarlenaBuf::copy_of(&utf8))
        }
        Meaning::Bytes(digits) => {
            let mut value = VarlenaBuf::of_len(digits.len());
            digits.decode_into(value.as_mut_slice());
            Ok(value)
        }
        Meaning::Malformed => Err(Error::MalformedSealed),
    }
}

/// `value` as text in the server's encoding, of which [`from_text`] makes the same value.
pub fn to_text(value: &[u8]) -> Result<CStringBuf> {
    let prefix = match text::form(value) {
        Form::Text => match encoding::from_utf8(value) {
            Ok(text) if text.len() <= cstring::MAX_LEN => return Ok(CStringBuf::copy_of(&text)),
            Ok(text) => return Err(Error::TooLong(text.len())),
            Err(NotText::Invalid | NotText::Untranslatable) => text::RAW_PREFIX,
        },
        Form::Hex(prefix) => prefix,
    };
    let len = prefix.len() + 2 * value.len();
    if len > cstring::MAX_LEN {
        return Err(Error::TooLong(value.len()));
    }
    let mut written = CStringBuf::of_len(len);
    let (head, digits) = written.as_mut_slice().split_at_mut(prefix.len());
    head.copy_from_slice(prefix);
    text::encode_into(value, digits);
    Ok(written)
}
