//! KEKs in a server that speaks KMIP, 1.4 or later.
//!
//! The server encrypts and decrypts data keys with AES-256-GCM and never gives the KEK out: Get is not
//! among what it is asked (`message::Operation`). The encryption context is the associated data.
//! Before 1.4 there is no place for these in the protocol: a server drops them, and the tag, and calls
//! it a success. So the version is agreed on first, each new wrap is tried, and a success counts only
//! when it is of that version.
//!
//! Each operation has a connection of its own, which is closed with the answer: what rustls held of a
//! data key is given back with it, and wiped (`pg::heap`).

mod attributes;
mod connect;
mod fault;
mod message;
mod numbers;
mod payload;
mod reason;
mod session;
#[cfg(test)]
mod stand_in;
mod ttlv;
mod work;

use std::any::Any;
use std::cell::Cell;

use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use envelope::wrap::kms_wrap::{self, KmsWrap};
use zeroize::Zeroizing;

use self::attributes::CanBeFetched;
use self::connect::Server;
use self::fault::Asked;
use self::work::{Kek, Task};
use super::call::call;
use super::retry;
use super::uri::KmipKey;
use super::{Config, Generated, KekUri, Kind, KmsError, Limits, Provider, Unwrapped, Wrap};
use crate::figures::Operation;

const CAN_BE_FETCHED: &str = "the KMIP server gives the key itself to whoever may Get it: its attribute Extractable is not false";

/// One key of a KMIP server.
pub(super) struct KmipProvider {
    key: String,
    kek: KekUri,
    server: Server,
    limits: Limits,
    /// Whether the key was seen to be fit. No longer than it is named for: another may take its name.
    is_seen: Cell<bool>,
}

impl KmipProvider {
    pub(super) fn new(key: &KmipKey, config: &Config) -> Result<Self, KmsError> {
        let kek = KekUri::Kmip(key.clone());
        let server = Server::new(key.authority(), &config.kmip, &kek)?;
        let (key, limits) = (key.id().to_owned(), config.limits);
        Ok(Self { key, kek, server, limits, is_seen: Cell::new(false) })
    }

    /// Does `task` on the client's thread, on a connection of its own, again where that can help, and
    /// within the limits.
    fn call<T: Task>(&self, counted_as: Operation, task: T) -> Result<T::Done, KmsError> {
        let asked = Asked { kek: self.kek.clone(), operation: T::OPERATION };
        let (key, server, limits) = (self.key.clone(), self.server.clone(), self.limits);
        let broken = asked.clone();
        let work = async move {
            let attempt = async || {
                let tls = server.tls(&asked.kek)?;
                let session = server.connect(&tls, &asked).await?;
                let mut kek = Kek { session, asked: &asked, tls: Some(&tls), key: &key };
                task.on(&mut kek).await
            };
            let done = retry::attempts(limits, attempt, || asked.timed_out(limits.timeout)).await;
            if done.is_err() {
                server.forget();
            }
            done
        };
        call(|| self.kek.clone(), counted_as, work, |why| broken.fault(Kind::Unavailable, why))
    }
}

impl Provider for KmipProvider {
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError> {
        let data_key = DataKey::from_fn(|key| {
            getrandom::fill(key).map_err(|error| {
                let message = format!("no random bytes to be had: {error}");
                KmsError::new(Kind::Unavailable, &self.kek, message)
            })
        })?;
        let (wrap, request_id) = self.wrap_by_server(Operation::Generate, &data_key, context)?;
        Ok(Generated { data_key, wrap, request_id })
    }

    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError> {
        Ok(self.wrap_by_server(Operation::Wrap, data_key, context)?.0)
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError> {
        KmsWrap::parse(wrapped).map_err(|error| {
            KmsError::new(Kind::InvalidWrap, &self.kek, error.to_string())
                .with_hint("The wrap was changed, or was made by a KEK of another sort.")
        })?;
        let wrapped = wrapped.to_vec();
        let associated = kms_wrap::associated_data(&context.canonical_json());
        let unwrapped = self.call(Operation::Unwrap, work::Unwrap { wrapped, associated });
        unwrapped.map_err(|error| error.of_context(context))
    }

    fn check(&self) -> Result<KekUri, KmsError> {
        self.examine().map(|_| self.kek.clone())
    }

    fn examine(&self) -> Result<Vec<String>, KmsError> {
        let attributes = match self.call(Operation::Describe, work::Look) {
            // Looking takes a right of its own, which using the key does not.
            Err(error) if error.kind == Kind::Denied => return Ok(Vec::new()),
            looked => looked?,
        };
        let asked = Asked { kek: self.kek.clone(), operation: work::Look::OPERATION };
        let warning = attributes.verdict().map_err(|why| asked.unfit_key(&why))?;
        Ok(warning.into_iter().map(|CanBeFetched| CAN_BE_FETCHED.to_owned()).collect())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl KmipProvider {
    fn wrap_by_server(
        &self,
        counted_as: Operation,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<(Wrap, Option<String>), KmsError> {
        let task = work::Wrap {
            data_key: Box::new(Zeroizing::new(*data_key.as_bytes())),
            associated: kms_wrap::associated_data(&context.canonical_json()),
            is_seen: self.is_seen.get(),
        };
        let done = self.call(counted_as, task).map_err(|error| error.of_context(context))?;
        self.is_seen.set(true);
        Ok((Wrap { kek: self.kek.clone(), bytes: done.stored }, done.request_id))
    }
}
