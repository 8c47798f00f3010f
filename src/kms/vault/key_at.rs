//! One key at one server, asked as one identity; and what one call asks it.

use super::super::uri::VaultKey;
use super::super::{Kind, KmsError};
use super::access::Access;
use super::body::{Body, Data};
use super::client;
use super::describe::Described;
use super::http::Received;
use super::line::Line;
use super::operation::Operation;
use super::request::Request;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct KeyAt {
    pub(super) access: Access,
    pub(super) key: VaultKey,
}

impl KeyAt {
    pub(super) fn request(&self, operation: Operation) -> Request {
        Request::new(operation, &self.key, self.access.is_inline)
    }
}

/// One call, which may ask several things of the key, over one connection.
pub(super) struct Call {
    pub(super) key: KeyAt,
    pub(super) line: Line,
}

impl Call {
    pub(super) fn new(key: KeyAt) -> Self {
        Self { key, line: Line::default() }
    }

    /// Has `operation` done; what it gives, and the request's id.
    ///
    /// # Errors
    /// The server's refusal, or that its answer cannot be trusted.
    pub(super) async fn ask(
        &self,
        request: &Request,
        body: Body,
    ) -> Result<(Data, Option<String>), KmsError> {
        let received = client::ask(&self.line, &self.key.access, request, Some(body)).await?;
        request.read(received.status, &received.body)
    }

    /// What is to be warned of in the key, which can serve.
    ///
    /// # Errors
    /// Why it cannot; [`Kind::Denied`] where the token may not read it.
    pub(super) async fn described(&self) -> Result<Vec<&'static str>, KmsError> {
        let request = self.key.request(Operation::ReadKey);
        judged(&request, client::ask(&self.line, &self.key.access, &request, None).await?)
    }

    /// As [`Self::described`], of a key that the server has just used for the same token.
    pub(super) async fn described_next(&self) -> Result<Vec<&'static str>, KmsError> {
        let request = self.key.request(Operation::ReadKey);
        judged(&request, client::ask_next(&self.line, &self.key.access, &request, None).await?)
    }
}

fn judged(request: &Request, received: Received) -> Result<Vec<&'static str>, KmsError> {
    let (described, id) = request.read::<Described>(received.status, &received.body)?;
    described
        .judged()
        .map_err(|(why, hint)| request.answered(Kind::KeyState, why, id.as_deref()).with_hint(hint))
}
