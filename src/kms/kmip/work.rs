//! What is done on one connection: a data key wrapped, unwrapped, a KEK looked at.

use std::future::Future;

use envelope::secret::{DataKey, KEY_LEN};
use envelope::wrap::kms_wrap::{IV_LEN, KmsWrap};
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::super::retry::Failed;
use super::super::tls::Tls;
use super::super::{Kind, Unwrapped};
use super::attributes::Attributes;
use super::fault::{Asked, printable};
use super::message::{Answer, Operation, Refusal};
use super::payload;
use super::reason;
use super::session::{Received, Session};

/// Associated data that no wrap has.
const TRIAL: &[u8] = b"envelope/1 kms trial";

const INACTIVE: &str = "Activate the key, or name an active one. A deactivated key does not come back: what is under it \
    alone stays closed.";

/// What is to be done on a connection. It may be done twice, on two connections.
pub(super) trait Task: Send + Sync + 'static {
    type Done: Send + 'static;
    /// What it is called in an error.
    const OPERATION: Operation;

    fn on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        kek: &mut Kek<'_, S>,
    ) -> impl Future<Output = Result<Self::Done, Failed>> + Send;
}

/// Wraps a data key.
pub(super) struct Wrap {
    // On the heap, so that a move leaves no copy behind.
    pub(super) data_key: Box<Zeroizing<[u8; KEY_LEN]>>,
    pub(super) associated: Vec<u8>,
    /// Whether the key was seen to be fit since it was named. Encrypt would take others as well.
    pub(super) is_seen: bool,
}

/// A wrap that was made, and tried.
pub(super) struct Wrapped {
    pub(super) stored: Vec<u8>,
    /// The server's own name for the exchange.
    pub(super) request_id: Option<String>,
}

impl Task for Wrap {
    type Done = Wrapped;
    const OPERATION: Operation = Operation::Encrypt;

    async fn on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        kek: &mut Kek<'_, S>,
    ) -> Result<Wrapped, Failed> {
        if !self.is_seen {
            kek.require_fit().await?;
        }
        kek.wrap(&self.data_key[..], &self.associated).await
    }
}

/// Gives the data key of a wrap back.
pub(super) struct Unwrap {
    pub(super) wrapped: Vec<u8>,
    pub(super) associated: Vec<u8>,
}

impl Task for Unwrap {
    type Done = Unwrapped;
    const OPERATION: Operation = Operation::Decrypt;

    async fn on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        kek: &mut Kek<'_, S>,
    ) -> Result<Unwrapped, Failed> {
        let wrap = KmsWrap::parse(&self.wrapped).map_err(|error| {
            Failed::ForGood(kek.asked.fault(Kind::InvalidWrap, error.to_string()))
        })?;
        kek.unwrap(&wrap, &self.associated).await
    }
}

/// Looks at the key.
pub(super) struct Look;

impl Task for Look {
    type Done = Attributes;
    const OPERATION: Operation = Operation::GetAttributes;

    async fn on<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        kek: &mut Kek<'_, S>,
    ) -> Result<Attributes, Failed> {
        kek.look().await
    }
}

/// One KEK, and the connection on which the server is asked for it.
pub(super) struct Kek<'a, S> {
    pub(super) session: Session<S>,
    pub(super) asked: &'a Asked,
    pub(super) tls: Option<&'a Tls>,
    /// The key's unique identifier.
    pub(super) key: &'a str,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Kek<'_, S> {
    /// The wrap of `data_key`, which was tried: it gives the key back, and with other associated data
    /// it does not.
    pub(super) async fn wrap(
        &mut self,
        data_key: &[u8],
        associated: &[u8],
    ) -> Result<Wrapped, Failed> {
        let mut iv = [0; IV_LEN];
        getrandom::fill(&mut iv).map_err(|error| {
            let message = format!("no random bytes to be had: {error}");
            Failed::ForGood(self.asked.fault(Kind::Unavailable, message))
        })?;
        let received = self.encrypt(data_key, &iv, associated).await?;
        let answer = self.answer(&received)?;
        let payload = match answer.result {
            Ok(payload) => payload,
            Err(refusal) => {
                return Err(self.explain(refusal, answer.correlation, Operation::Encrypt).await);
            }
        };
        let stored = payload::encrypted(payload, self.key, &iv);
        let stored = stored.map_err(|unfit| self.asked.unfit(unfit))?;
        self.try_wrap(&stored, data_key, associated).await?;
        Ok(Wrapped { stored, request_id: answer.correlation.map(printable) })
    }

    /// The data key in `wrap`.
    pub(super) async fn unwrap(
        &mut self,
        wrap: &KmsWrap<'_>,
        associated: &[u8],
    ) -> Result<Unwrapped, Failed> {
        let received = self.decrypt(wrap, associated).await?;
        let answer = self.answer(&received)?;
        let payload = match answer.result {
            Ok(payload) => payload,
            Err(refusal) => {
                return Err(self.explain(refusal, answer.correlation, Operation::Decrypt).await);
            }
        };
        let bytes = payload::decrypted(payload, self.key);
        let bytes = bytes.map_err(|unfit| self.asked.unfit(unfit))?;
        let data_key = DataKey::try_from_slice(bytes).map_err(|_| {
            let message = format!("it gave {} bytes, which is no data key", bytes.len());
            Failed::ForGood(self.asked.fault(Kind::InvalidWrap, message))
        })?;
        Ok(Unwrapped { data_key, request_id: answer.correlation.map(printable) })
    }

    /// What the server says about the key.
    pub(super) async fn look(&mut self) -> Result<Attributes, Failed> {
        let received = self.attributes().await?;
        let answer = self.answer(&received)?;
        let payload =
            answer.result.map_err(|refusal| self.asked.by_reason(refusal, answer.correlation))?;
        payload::of_key(payload, self.key).map_err(|unfit| self.asked.unfit(unfit))?;
        Attributes::read(payload).map_err(|malformed| self.asked.unfit(malformed.into()))
    }

    /// Where the server lets us look.
    async fn require_fit(&mut self) -> Result<(), Failed> {
        match self.look().await {
            Ok(attributes) => {
                let verdict = attributes.verdict();
                verdict.map(drop).map_err(|why| Failed::ForGood(self.asked.unfit_key(&why)))
            }
            // That takes a right of its own, which using the key does not.
            Err(Failed::ForGood(error)) if error.kind == Kind::Denied => Ok(()),
            Err(failed) => Err(failed),
        }
    }

    /// A server may drop associated data on both ways and call it a success.
    async fn try_wrap(
        &mut self,
        stored: &[u8],
        data_key: &[u8],
        associated: &[u8],
    ) -> Result<(), Failed> {
        let wrap =
            KmsWrap::parse(stored).map_err(|error| self.asked.not_bound(&error.to_string()))?;
        let received = self.decrypt(&wrap, associated).await?;
        let answer = self.answer(&received)?;
        match answer.result.map(|payload| payload::decrypted(payload, self.key)) {
            Ok(Ok(bytes)) if bytes == data_key => {}
            Ok(_) => return Err(self.asked.not_bound("the server gives other bytes back")),
            Err(refusal) => {
                let decrypt = Asked { operation: Operation::Decrypt, ..self.asked.clone() };
                return Err(match reason::meaning(refusal.reason, Operation::Decrypt).0 {
                    Kind::InvalidWrap => {
                        self.asked.not_bound("the server does not decrypt what it has encrypted")
                    }
                    _ => decrypt.by_reason(refusal, answer.correlation),
                });
            }
        }
        let received = self.decrypt(&wrap, TRIAL).await?;
        match self.answer(&received)?.result {
            Ok(_) => Err(self.asked.not_bound("the server does not bind associated data")),
            // It has decrypted just now, so this is about the associated data.
            Err(refusal) if !reason::is_passing(refusal.reason) => Ok(()),
            Err(refusal) => Err(self.asked.by_reason(refusal, None)),
        }
    }

    /// Servers give few reasons. What else there is to be known about a refusal, the server is asked.
    async fn explain(
        &mut self,
        refusal: Refusal<'_>,
        correlation: Option<&str>,
        operation: Operation,
    ) -> Failed {
        let plain = self.asked.by_reason(refusal, correlation);
        let refused =
            |kind, hint| Failed::ForGood(self.asked.refused(refusal, correlation, kind, hint));
        match reason::meaning(refusal.reason, operation).0 {
            // Some deny the use of a key that is not active.
            Kind::Denied => match self.look().await.ok().and_then(|told| told.inactive()) {
                Some(state) => Failed::ForGood(
                    self.asked
                        .fault(Kind::KeyState, format!("the key's state is {state}"))
                        .with_hint(INACTIVE),
                ),
                None => plain,
            },
            // Some say no more than that it failed.
            Kind::InvalidWrap if reason::is_open(refusal.reason) && !self.encrypts().await => {
                let hint = "It does not encrypt either. Look into the KMIP server's log.";
                refused(Kind::Unavailable, hint)
            }
            _ => plain,
        }
    }

    /// Whether the server can use the key at all, or has a reason of its own not to do so for us.
    async fn encrypts(&mut self) -> bool {
        let received = self.encrypt(&[0; 32], &[1; IV_LEN], TRIAL).await;
        let Ok(received) = received else { return false };
        received.answer().is_ok_and(|answer| match answer.result {
            Ok(_) => true,
            Err(refusal) => !reason::is_open(refusal.reason) && !reason::is_passing(refusal.reason),
        })
    }

    async fn encrypt(&mut self, data: &[u8], iv: &[u8], aad: &[u8]) -> Result<Received, Failed> {
        let key = self.key;
        let asking = self.session.ask(Operation::Encrypt, |writer| {
            payload::encrypt(writer, key, data, iv, aad);
        });
        asking.await.map_err(|lost| self.asked.lost(lost, self.tls))
    }

    async fn decrypt(&mut self, wrap: &KmsWrap<'_>, aad: &[u8]) -> Result<Received, Failed> {
        let key = self.key;
        let asking = self.session.ask(Operation::Decrypt, |writer| {
            payload::decrypt(writer, key, wrap, aad);
        });
        asking.await.map_err(|lost| self.asked.lost(lost, self.tls))
    }

    async fn attributes(&mut self) -> Result<Received, Failed> {
        let key = self.key;
        let asking = self.session.ask(Operation::GetAttributes, |writer| {
            payload::get_attributes(writer, key);
        });
        asking.await.map_err(|lost| self.asked.lost(lost, self.tls))
    }

    fn answer<'r>(&self, received: &'r Received) -> Result<Answer<'r>, Failed> {
        received.answer().map_err(|malformed| self.asked.unfit(malformed.into()))
    }
}

#[cfg(test)]
mod tests;
