//! Does a key bind the encryption context? A transit key that was made without derived=true takes a
//! context and ignores it, without a word.

use std::cell::RefCell;
use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envelope::wrap::EncryptionContext;

use super::super::{Kind, KmsError};
use super::body;
use super::classify::SORT_HINT;
use super::client;
use super::describe::NOT_DERIVED;
use super::key_at::KeyAt;
use super::operation::Operation;

/// More keys than a backend makes wraps with.
const MAX_KEYS: usize = 64;

thread_local! {
    // On the clients' thread alone.
    static PROVEN: RefCell<HashSet<KeyAt>> = RefCell::default();
}

impl KeyAt {
    /// That the key is to be tried again, whatever is known of it.
    pub(super) fn doubt(&self) {
        PROVEN.with_borrow_mut(|proven| proven.remove(self));
    }

    /// As [`Self::binds`], with a wrap of its own, where the key has not been tried yet.
    ///
    /// # Errors
    /// As [`Self::binds`].
    pub(super) async fn require_binding(
        &self,
        context: &EncryptionContext,
    ) -> Result<(), KmsError> {
        if self.is_proven() {
            return Ok(());
        }
        let request = self.request(Operation::DataKey);
        let (data, id) = self.ask(&request, body::data_key(&body::context(context))).await?;
        self.binds(data.wrap().ok_or_else(|| request.nonsense("no wrap", id.as_deref()))?, context)
            .await
    }

    fn is_proven(&self) -> bool {
        PROVEN.with_borrow(|proven| proven.contains(self))
    }

    /// Has the server open `wrap`, which was made with `context`, with another one: it must not. Once
    /// for each key in a process, since no key changes in this.
    ///
    /// # Errors
    /// [`Kind::KeyState`] when it opens; why it could not be tried.
    pub(super) async fn binds(
        &self,
        wrap: &str,
        context: &EncryptionContext,
    ) -> Result<(), KmsError> {
        if self.is_proven() {
            return Ok(());
        }
        let request = self.request(Operation::Decrypt);
        let body = body::of_wrap(wrap, &another(context));
        let received = client::ask(&self.access, &request, Some(body)).await?;
        let said = body::errors(&received.body);
        match received.status {
            200 => return Err(request.fault(Kind::KeyState, NOT_DERIVED).with_hint(SORT_HINT)),
            400 if said
                .as_ref()
                .is_some_and(|said| said.contains("message authentication failed")) => {}
            // A policy that pins the context down to the last byte, for this token.
            403 => self.is_said_to_bind().await?,
            status => return Err(request.refused(status, said.as_deref())),
        }
        PROVEN.with_borrow_mut(|proven| {
            if proven.len() >= MAX_KEYS {
                proven.clear();
            }
            proven.insert(self.clone());
        });
        Ok(())
    }

    /// Whether the key's description says so.
    async fn is_said_to_bind(&self) -> Result<(), KmsError> {
        self.described().await.map(|_| ()).map_err(|error| match error.kind {
            Kind::Denied => error.with_more_hint(
                "The policy refuses another encryption context before the key is asked, so that reading the key is \
                 the one way to see that it binds the context.",
            ),
            _ => error,
        })
    }
}

/// A context that is none of ours. It begins as the other one does, so that a policy that lets in a
/// database by the beginning of its contexts lets this in as well.
fn another(context: &EncryptionContext) -> String {
    STANDARD.encode(context.canonical_json() + " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_context_begins_as_the_right_one() {
        for pairs in [&[][..], &[("a", "b")], &[("a", "bc")], &[("a", "bcd")]] {
            let context: EncryptionContext = pairs.iter().copied().collect();
            let (right, wrong) = (body::context(&context), another(&context));
            assert_ne!(right, wrong);
            // All but the last characters, which pad.
            let begins = right.trim_end_matches('=');
            let same = begins.len() - usize::from(begins.len() != right.len());
            assert!(wrong.starts_with(&begins[..same]), "{right} {wrong}");
        }
    }
}
