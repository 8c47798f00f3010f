//! Telling of a KEK that binds the encryption context less than the one before it: a data key is as strong
//! as the weakest of its wraps.

use crate::kms::{Binding, KekUri};
use crate::pg::report;

const WHAT_IT_MEANS: &str = "Whoever may use the weaker KEK can unwrap the data keys with any context, and no log of a KMS shows which.";

/// What becomes of the stronger KEK.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stronger {
    /// It wraps the key as well.
    Stays,
    /// The weaker one takes its place.
    Goes,
}

/// A WARNING, one for a statement, where the second KEK of a pair binds less than the first.
pub fn warn_if_weaker<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, becomes: Stronger) {
    let weaker = pairs.into_iter().find(|(old, new)| binding(old) > binding(new));
    let Some((stronger, weaker)) = weaker else { return };
    let falls_over =
        " The server uses it in the other's place only while envelope.fallover_to_weaker is on.";
    report::warning(
        format!(
            "KEK {weaker} binds the encryption context by its cipher alone, and KEK {stronger} by its KMS's \
             policy and log as well"
        ),
        &format!("{WHAT_IT_MEANS}{}", if becomes == Stronger::Stays { falls_over } else { "" }),
    );
}

/// Of a KEK's name in the catalog; `None`, the least, for one that is none.
pub(super) fn binding(kek: &str) -> Option<Binding> {
    kek.parse::<KekUri>().ok().map(|kek| kek.binding())
}
