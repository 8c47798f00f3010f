//! KEKs in AWS KMS.
//!
//! Every answer is checked before it counts: the key that KMS says it used must be the one that
//! was asked for, a data key must be 32 bytes.
//!
//! The client copies requests and answers, with the data key in them, while it sends, decrypts and
//! parses them. All of these copies are on this library's heap, which wipes what is given back
//! (`pg::heap`), and they are given back with the answer, since the connection closes ([`closing`]).

mod answer;
mod assumed;
mod client;
mod closing;
mod endpoint;
mod fault;
mod short;
mod usage;

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;

use aws_sdk_kms::Client;
use aws_sdk_kms::operation::RequestId;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::operation::describe_key::DescribeKeyError;
use aws_sdk_kms::operation::encrypt::EncryptError;
use aws_sdk_kms::operation::generate_data_key::GenerateDataKeyError;
use aws_sdk_kms::operation::re_encrypt::ReEncryptError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use zeroize::Zeroizing;

use self::client::ClientConfig;
use self::fault::{Operation, Request};
use super::call::{call, within};
use super::uri::AwsKey;
use super::{
    Config, Generated, KekUri, Kind, KmsError, Provider, Unwrapped, Wrap, unwrap_and_wrap,
};

/// The most that KMS takes as ciphertext, and more than it ever answers with for 32 bytes.
/// Source: AWS KMS API Reference, Decrypt, CiphertextBlob.
const MAX_WRAPPED_LEN: usize = 6144;

/// One key of AWS KMS, in the region that it lives in.
pub(super) struct AwsProvider {
    key: AwsKey,
    client: ClientConfig,
}

impl AwsProvider {
    pub(super) fn new(key: &AwsKey, config: &Config) -> Result<Self, KmsError> {
        Ok(Self { key: key.clone(), client: ClientConfig::new(key, config)? })
    }

    /// Runs one operation on the client's thread, within the timeout, and counts it.
    fn call<T, F>(
        &self,
        operation: Operation,
        run: impl FnOnce(Client, Request) -> F + Send + 'static,
    ) -> Result<T, KmsError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, KmsError>> + Send + 'static,
    {
        let request = Request::new(operation, KekUri::Aws(self.key.clone()));
        let config = self.client.clone();
        let in_time = {
            let request = request.clone();
            async move {
                let limit = config.timeout;
                let work =
                    async { run(client::client(&config, &request).await?, request.clone()).await };
                let answer = within(limit, work, || request.timed_out(limit)).await;
                if answer.as_ref().is_err_and(|error| error.kind == Kind::Credentials) {
                    client::forget(&config);
                }
                answer
            }
        };
        let kek = || KekUri::Aws(self.key.clone());
        call(kek, operation.counted_as(), in_time, |why| request.fault(Kind::Unavailable, why))
    }

    /// ReEncrypt: the data key moves to the other KEK and never leaves KMS.
    fn re_encrypt(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
        to: &Self,
        to_context: &EncryptionContext,
    ) -> Result<Wrap, KmsError> {
        let (from, to) = (self.key.clone(), to.key.clone());
        let target = to.clone();
        let (sent_context, sent_to_context) = (pairs(context), pairs(to_context));
        let wrapped = self.sendable(wrapped)?;
        let answer = self.call(Operation::ReEncrypt, |client, request| async move {
            let sent = client
                .re_encrypt()
                .ciphertext_blob(wrapped)
                .source_key_id(from.id())
                .set_source_encryption_context(sent_context)
                .destination_key_id(to.id())
                .set_destination_encryption_context(sent_to_context)
                .customize()
                .interceptor(request.listener::<ReEncryptError>())
                .send();
            let answer = sent.await.map_err(|error| request.refused(&error))?;
            let id = answer.request_id().map(str::to_owned);
            request.answered_under(&from, answer.source_key_id.as_deref(), id.as_deref())?;
            request.wrap(&to, answer.key_id.as_deref(), answer.ciphertext_blob, id.as_deref())
        });
        answer.map_err(|error| {
            let names = |key: &AwsKey| error.message.contains(key.id());
            let is_targets = names(&target) && !names(&self.key);
            let kek = if is_targets { KekUri::Aws(target).to_string().into() } else { error.kek };
            KmsError { kek, ..error }.of_contexts(context, to_context)
        })
    }

    /// A wrap that KMS can have made, ready to send.
    fn sendable(&self, wrapped: &[u8]) -> Result<Blob, KmsError> {
        if wrapped.is_empty() || wrapped.len() > MAX_WRAPPED_LEN {
            let message = format!("a wrap of {} bytes does not come from AWS KMS", wrapped.len());
            return Err(KmsError::new(Kind::InvalidWrap, KekUri::Aws(self.key.clone()), message)
                .with_hint("The wrap was changed. Restore its row of envelope.wrapped_key."));
        }
        Ok(Blob::new(wrapped))
    }
}

impl Provider for AwsProvider {
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError> {
        let (key, sent_context) = (self.key.clone(), pairs(context));
        let answer = self.call(Operation::GenerateDataKey, |client, request| async move {
            let sent = client
                .generate_data_key()
                .key_id(key.id())
                .key_spec(DataKeySpec::Aes256)
                .set_encryption_context(sent_context)
                .customize()
                .interceptor(request.listener::<GenerateDataKeyError>())
                .send();
            let answer = sent.await.map_err(|error| request.refused(&error))?;
            let id = answer.request_id().map(str::to_owned);
            let data_key = request.data_key(answer.plaintext, id.as_deref())?;
            let named = answer.key_id.as_deref();
            let wrap = request.wrap(&key, named, answer.ciphertext_blob, id.as_deref())?;
            Ok(Generated { data_key, wrap, request_id: id })
        });
        answer.map_err(|error| error.of_context(context))
    }

    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError> {
        let (key, sent_context) = (self.key.clone(), pairs(context));
        let plaintext = Zeroizing::new(data_key.as_bytes().to_vec());
        let answer = self.call(Operation::Encrypt, |client, request| async move {
            let sent = client
                .encrypt()
                .key_id(key.id())
                .plaintext(Blob::new(plaintext.as_slice()))
                .set_encryption_context(sent_context)
                .customize()
                .interceptor(request.listener::<EncryptError>())
                .send();
            let answer = sent.await.map_err(|error| request.refused(&error))?;
            let id = answer.request_id().map(str::to_owned);
            request.wrap(&key, answer.key_id.as_deref(), answer.ciphertext_blob, id.as_deref())
        });
        answer.map_err(|error| error.of_context(context))
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError> {
        let (key, sent_context) = (self.key.clone(), pairs(context));
        let wrapped = self.sendable(wrapped)?;
        let answer = self.call(Operation::Decrypt, |client, request| async move {
            let sent = client
                .decrypt()
                .ciphertext_blob(wrapped)
                .key_id(key.id())
                .set_encryption_context(sent_context)
                .customize()
                .interceptor(request.listener::<DecryptError>())
                .send();
            let answer = sent.await.map_err(|error| request.refused(&error))?;
            let id = answer.request_id().map(str::to_owned);
            let data_key = request.data_key(answer.plaintext, id.as_deref())?;
            request.answered_under(&key, answer.key_id.as_deref(), id.as_deref())?;
            Ok(Unwrapped { data_key, request_id: id })
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
            // One client reaches both: the same region and endpoint.
            Some(to) if to.client == self.client => {
                self.re_encrypt(wrapped, context, to, to_context)
            }
            _ => unwrap_and_wrap(self, wrapped, context, to, to_context),
        }
    }

    fn check(&self) -> Result<KekUri, KmsError> {
        let key = self.key.clone();
        self.call(Operation::DescribeKey, |client, request| async move {
            let sent = client
                .describe_key()
                .key_id(key.id())
                .customize()
                .interceptor(request.listener::<DescribeKeyError>())
                .send();
            let answer = sent.await.map_err(|error| request.refused(&error))?;
            let id = answer.request_id().map(str::to_owned);
            request.usable(&key, answer.key_metadata(), id.as_deref()).map(KekUri::Aws)
        })
    }

    fn record(&self) -> Option<String> {
        self.last_usage()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The context as the client takes it; none at all when it is empty.
fn pairs(context: &EncryptionContext) -> Option<HashMap<String, String>> {
    let pairs: HashMap<_, _> = context.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    (!pairs.is_empty()).then_some(pairs)
}
