//! What an index stores of a value. The trigger, the building of an index and queries make terms by this alone.

use envelope::header::KeyId;
use envelope::search::{self, Drawn, FormType, Hasher, Refused, Room, Scratch, TOKEN_LEN};

use crate::error::{Error, Result};
use crate::keyring::table::ColumnIndex;

/// What hashes the payloads of `index` under its index key `key_id`; `key` is what `kek::with_index_key` gives. To be
/// made once for all payloads of a value: for each it costs one hash more.
pub fn hasher(index: &ColumnIndex, key: &[u8; 32], key_id: KeyId) -> Result<Hasher> {
    let length = index.term_length.unwrap_or(TOKEN_LEN);
    let rule = &(**index).rule;
    Hasher::new(key, key_id, &index.label, rule, length)
        .map_err(|wrong| Error::Corrupt(format!("envelope.column_index.term_length: {wrong}")))
}

/// Calls `each` with the payloads that the index stores of a value: for a term one, or none when the column stays NULL
/// (a value shorter than its prefix); for tokens any number, some perhaps several times. `form` is the value's canonical
/// form without what fills it ([`crate::values::ValueType::unfilled`]), `of` its type; a column without a type has
/// [`FormType::Bytea`]. `drawn` is for buckets.
///
/// A value that cannot be indexed is [`Refused`], which says why and never shows it.
pub fn payloads_of(
    index: &ColumnIndex,
    of: FormType,
    form: &[u8],
    drawn: Option<Drawn<'_>>,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&[u8]),
) -> std::result::Result<(), Refused> {
    let mut room = Room::new();
    let value = search::value::of_form(of, form, &index.rule, &mut room)?;
    search::payloads(&index.rule, value, drawn, scratch, each)
}
