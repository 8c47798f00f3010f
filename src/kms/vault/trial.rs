//! Does a key bind the encryption context? A transit key that was made without derived=true takes a
//! context and ignores it, without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envelope::wrap::EncryptionContext;

use super::super::{Kind, KmsError};
use super::body;
use super::classify::SORT_HINT;
use super::client;
use super::describe::NOT_DERIVED;
use super::key_at::Call;
use super::operation::Operation;

/// Whether a key was seen to be fit for a KEK since it was named. No longer: from one statement to the
/// next somebody may delete it and make another one under its name.
#[derive(Clone, Default)]
pub(super) struct Trial(Arc<AtomicBool>);

impl Trial {
    /// As [`Self::of_wrap`], with a wrap of its own.
    ///
    /// # Errors
    /// As [`Self::of_wrap`].
    pub(super) async fn of_key(
        &self,
        call: &Call,
        context: &EncryptionContext,
    ) -> Result<(), KmsError> {
        if self.is_passed() {
            return Ok(());
        }
        let request = call.key.request(Operation::DataKey);
        let (data, id) = call.ask(&request, body::data_key(&body::context(context))).await?;
        let wrap = data.wrap().ok_or_else(|| request.nonsense("no wrap", id.as_deref()))?;
        self.of_wrap(call, wrap, context).await
    }

    /// Has the server open `wrap`, which it has just made with `context`, with another one: it must not.
    /// And looks at the key, where the token may.
    ///
    /// # Errors
    /// [`Kind::KeyState`] when it opens, or the key is of the wrong sort; why it could not be tried.
    pub(super) async fn of_wrap(
        &self,
        call: &Call,
        wrap: &str,
        context: &EncryptionContext,
    ) -> Result<(), KmsError> {
        if self.is_passed() {
            return Ok(());
        }
        let request = call.key.request(Operation::Decrypt);
        let body = body::of_wrap(wrap, &another(context));
        let received = client::ask_next(&call.line, &call.key.access, &request, Some(body)).await?;
        let said = body::errors(&received.body);
        let is_closed_by = match received.status {
            200 => return Err(request.fault(Kind::KeyState, NOT_DERIVED).with_hint(SORT_HINT)),
            400 if said
                .as_ref()
                .is_some_and(|said| said.contains("message authentication failed")) =>
            {
                ClosedBy::Key
            }
            // One that pins the context down to the last byte, for this token.
            403 => ClosedBy::Policy,
            status => return Err(request.refused(status, said.as_deref())),
        };
        match (call.described_next().await, is_closed_by) {
            (Err(error), ClosedBy::Policy) if error.kind == Kind::Denied => {
                return Err(error.with_more_hint(
                    "The policy refuses another encryption context before the key is asked, so that reading the \
                     key is the one way to see that it binds the context.",
                ));
            }
            // Reading a key takes a right that using it does not.
            (Err(error), ClosedBy::Key) if error.kind == Kind::Denied => {}
            (described, _) => drop(described?),
        }
        self.0.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn is_passed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has kept a wrap closed.
enum ClosedBy {
    Key,
    Policy,
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
