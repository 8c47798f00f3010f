//! Sets of tokens against each other. None of this may raise an error, nor tell of the rows in any other way: the
//! functions that call it are leakproof.

use crate::pg::array::Numbers;

/// Whether one of the `asked` is among the `stored`.
pub fn has_any(stored: &Numbers<'_>, asked: &Numbers<'_>) -> bool {
    let is_stored = among(stored);
    asked.present().any(is_stored)
}

/// Whether each of the `asked` is among the `stored`, and there is one. NULL is among nothing.
pub fn has_all(stored: &Numbers<'_>, asked: &Numbers<'_>) -> bool {
    let is_stored = among(stored);
    asked.len() > 0 && !asked.has_null() && asked.present().all(is_stored)
}

/// Stored sets are in order; what somebody else has put there may not be.
fn among<'a>(stored: &'a Numbers<'_>) -> impl Fn(i64) -> bool + use<'a> {
    let in_order = stored.plain().filter(|all| all.is_sorted());
    move |token| match in_order {
        Some(all) => all.binary_search(&token).is_ok(),
        None => stored.present().any(|other| other == token),
    }
}
