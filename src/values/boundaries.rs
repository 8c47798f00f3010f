//! Boundary sets of search indexes, sealed and opened: they hold values of the column.

use envelope::header::{self, KeyId, OVERHEAD, Sealed};
use envelope::search::boundaries::context;
use envelope::search::{Boundaries, Rule, Subject};
use envelope::session::Session;
use envelope::value::{Opening, SealKey};
use zeroize::Zeroizing;

use crate::catalog::rows::{IndexRow, Verb};
use crate::catalog::write;
use crate::error::{Error, IndexError, Result, RowResult};
use crate::kek::{self, By};
use crate::keyring::table::Table;
use crate::memory::fresh_nonce;
use crate::pg::encoding;
use crate::pg::relation::display_name;

/// The boundary set of an index of kind buckets. `owner` is the table whose index keys it uses, and `by` what the
/// current role does. It costs a parse of all bounds: what needs it for every row keeps it.
pub fn open(owner: &Table, index: &IndexRow, by: impl Into<By>) -> Result<Boundaries> {
    let unreadable = || {
        Error::from(IndexError::NoBoundaries {
            index_column: encoding::to_string(index.index_column.to_bytes()),
            table: display_name(index.relation),
        })
    };
    let Some(Subject::Ordered(of)) = Rule::parse(&index.rule).map(|rule| rule.subject()) else {
        return Err(unreadable());
    };
    let stored = index.boundaries.as_deref().ok_or_else(unreadable)?;
    let sealed = Sealed::parse(stored).map_err(|_| unreadable())?;
    let context = context(&index.label, &index.rule);
    let key_id = sealed.key_id();
    kek::with_boundaries_key(owner, &key_id, by, stored.len(), |key| {
        let key = SealKey::of_boundaries(key_id, key);
        let mut text = Zeroizing::new(vec![0; sealed.ciphertext.len()]);
        key.open(&mut Opening::none(), &sealed, context.as_bytes(), &mut text)
            .map_err(|_| Box::new(unreadable()))?;
        Boundaries::parse(&text, of).ok_or_else(|| Box::new(unreadable()))
    })
}

/// Seals the set of an index anew where it is not under the index key `key_id` of `owner`, or, once all rows have the
/// classes of their values (`is_built`), where it still names former ones.
pub fn renew(owner: &Table, index: &IndexRow, key_id: KeyId, is_built: bool) -> Result<()> {
    let mut set = open(owner, index, Verb::Manage)?;
    let is_under_it = index.boundaries.as_deref().and_then(header::peek_key_id) == Some(key_id);
    let settles = is_built && set.is_settling();
    if is_under_it && !settles {
        return Ok(());
    }
    if settles {
        set.settle();
    }
    write::indexes::set_boundaries(index.id, &seal(owner, key_id, index, &set)?)
}

/// The boundary set, sealed under the index key `key_id` of `owner`.
pub fn seal(
    owner: &Table,
    key_id: KeyId,
    index: &IndexRow,
    boundaries: &Boundaries,
) -> Result<Vec<u8>> {
    let context = context(&index.label, &index.rule);
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024));
    boundaries.write(&mut *text);
    let nonce = fresh_nonce()?;
    let seal = |key: &[u8; 32]| -> RowResult<Vec<u8>> {
        let key = SealKey::of_boundaries(key_id, key);
        let mut session = Session::none();
        session.begin(&key, &nonce, 1);
        let mut frame = vec![0; text.len() + OVERHEAD];
        key.seal(&mut session, context.as_bytes(), &text, &mut frame)
            .map_err(|error| Box::new(Error::Corrupt(error.to_string())))?;
        Ok(frame)
    };
    kek::with_boundaries_key(owner, &key_id, Verb::Manage, text.len(), seal)
}
