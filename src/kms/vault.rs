//! KEKs in the transit engine of OpenBao or HashiCorp Vault.
//!
//! A key must be made with `derived=true`: each encryption context then has a key of its own (HKDF of
//! the KEK and the context), which is the one way that binds the context in every call, the move to
//! a newer version of the key included. What was made without is refused ([`trial`]).
//!
//! Requests and answers, with the data key in them, are copied while they are sent and parsed. All
//! of these copies are on this library's heap, which wipes what is given back (`pg::heap`), and they
//! are given back with the call, since its connection closes ([`line`]).

mod access;
mod body;
mod classify;
mod client;
mod describe;
mod http;
mod key_at;
mod line;
mod login;
mod operation;
mod request;
mod trial;

use std::any::Any;
use std::future::Future;

use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;

use self::access::Access;
use self::key_at::{Call, KeyAt};
use self::operation::Operation;
use self::request::Request;
use self::trial::Trial;
use super::call::{call, within};
use super::uri::VaultKey;
use super::{
    Config, Generated, KekUri, Kind, KmsError, Provider, Unwrapped, Wrap, unwrap_and_wrap,
};

/// One key of a transit engine.
pub(super) struct VaultProvider {
    key: KeyAt,
    trial: Trial,
}

impl VaultProvider {
    pub(super) fn new(key: &VaultKey, config: &Config) -> Result<Self, KmsError> {
        let access = Access::new(key, config)?;
        Ok(Self { key: KeyAt { key: key.clone(), access }, trial: Trial::default() })
    }

    /// Runs one operation on the clients' thread, within the timeout, and counts it.
    fn call<T, F>(
        &self,
        operation: Operation,
        run: impl FnOnce(Call, Request) -> F + Send + 'static,
    ) -> Result<T, KmsError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, KmsError>> + Send + 'static,
    {
        let request = self.key.request(operation);
        let (key, asked) = (self.key.clone(), request.clone());
        let in_time = async move {
            // Each request in it is bounded, too, and then knows what the server said last.
            let limit = key.access.limits.timeout;
            within(limit, run(Call::new(key), asked.clone()), || asked.timed_out(limit)).await
        };
        let kek = || KekUri::Vault(self.key.key.clone());
        call(kek, operation.counted_as(), in_time, |why| request.fault(Kind::Unavailable, why))
    }

    /// A wrap that transit can have made, as text.
    fn text(&self, wrapped: &[u8]) -> Result<String, KmsError> {
        match std::str::from_utf8(wrapped) {
            Ok(text) if body::is_wrap(wrapped) => Ok(text.to_owned()),
            _ => {
                let message =
                    format!("a wrap of {} bytes that no transit engine made", wrapped.len());
                Err(KmsError::new(Kind::InvalidWrap, KekUri::Vault(self.key.key.clone()), message)
                    .with_hint("The wrap was changed. Restore its row of envelope.wrapped_key."))
            }
        }
    }

    /// The wrap moves to the newest version of its key, and the data key never leaves the server.
    fn renew(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Wrap, KmsError> {
        let (wrap, sent, trial) = (self.text(wrapped)?, context.clone(), self.trial.clone());
        let answer = self.call(Operation::Rewrap, |call, request| async move {
            let body = body::of_wrap(&wrap, &body::context(&sent));
            let (data, id) = call.ask(&request, body).await?;
            let wrap = request.wrap(&data, id.as_deref())?;
            trial.of_wrap(&call, data.wrap().unwrap_or_default(), &sent).await?;
            Ok(wrap)
        });
        answer.map_err(|error| error.of_context(context))
    }
}

impl Provider for VaultProvider {
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError> {
        let (sent, trial) = (context.clone(), self.trial.clone());
        let answer = self.call(Operation::DataKey, |call, request| async move {
            let body = body::data_key(&body::context(&sent));
            let (data, request_id) = call.ask(&request, body).await?;
            let data_key = request.data_key(&data, request_id.as_deref())?;
            let wrap = request.wrap(&data, request_id.as_deref())?;
            trial.of_wrap(&call, data.wrap().unwrap_or_default(), &sent).await?;
            Ok(Generated { data_key, wrap, request_id })
        });
        answer.map_err(|error| error.of_context(context))
    }

    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError> {
        let body = body::encrypt(data_key, &body::context(context));
        let (sent, trial) = (context.clone(), self.trial.clone());
        let answer = self.call(Operation::Encrypt, |call, request| async move {
            // Before the data key goes there. Encrypting would also make a key that is missing, where
            // the token has the right to.
            trial.of_key(&call, &sent).await?;
            let (data, id) = call.ask(&request, body).await?;
            request.wrap(&data, id.as_deref())
        });
        answer.map_err(|error| error.of_context(context))
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError> {
        let body = body::of_wrap(&self.text(wrapped)?, &body::context(context));
        let answer = self.call(Operation::Decrypt, |call, request| async move {
            let (data, request_id) = call.ask(&request, body).await?;
            let data_key = request.data_key(&data, request_id.as_deref())?;
            Ok(Unwrapped { data_key, request_id })
        });
        answer.map_err(|error| error.of_context(context))
    }

    fn rewrap(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
        to: &dyn Provider,
        to_context: &EncryptionContext,
    ) -> Result<Wrap, KmsError> {
        match to.as_any().downcast_ref::<Self>() {
            // Transit moves no wrap to another key or context.
            Some(to) if to.key == self.key && context == to_context => to.renew(wrapped, context),
            _ => unwrap_and_wrap(self, wrapped, context, to, to_context),
        }
    }

    fn check(&self) -> Result<KekUri, KmsError> {
        self.examine().map(|_| KekUri::Vault(self.key.key.clone()))
    }

    fn examine(&self) -> Result<Vec<String>, KmsError> {
        let warnings = self.call(Operation::ReadKey, |call, _| async move {
            match call.described().await {
                // Reading a key takes a right that using it does not.
                Err(error) if error.kind == Kind::Denied => Ok(Vec::new()),
                described => described,
            }
        });
        Ok(warnings?.into_iter().map(str::to_owned).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
