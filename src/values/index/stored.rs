//! What an index stores of a value. The trigger, the building of an index and queries make terms by this alone.

use envelope::search::{self, Drawn, FormType, Refused, Room, Scratch, TERM_PREFIX_LEN, TOKEN_LEN};

use crate::catalog::rows::IndexRow;
use crate::keyring::table::ColumnIndex;
use crate::memory::Hashes;

/// What hashes the payloads of `index`, for `kek::with_hasher`.
pub fn hashes(index: &ColumnIndex) -> Hashes<'_> {
    let row: &IndexRow = index;
    Hashes { label: &row.label, rule: &row.rule, n: hash_len(index) }
}

/// Bytes of its terms, if it has terms.
pub fn term_len(index: &ColumnIndex) -> usize {
    TERM_PREFIX_LEN + usize::from(hash_len(index))
}

fn hash_len(index: &ColumnIndex) -> u8 {
    index.term_length.unwrap_or(TOKEN_LEN)
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
