//! What KMS has answered to the attempts of a request so far. When time runs out in a pause between
//! two of them, that answer is the error: a KMS that throttles is not one that is silent.

use std::error::Error;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_kms::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_kms::operation::RequestId;

use super::{KmsError, Request};

/// The last attempt's error; none while there was no answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Said(Arc<Mutex<Option<KmsError>>>);

impl Said {
    fn set(&self, error: KmsError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// The last answer, as the error of a request that was given no more time.
    pub(super) fn when_time_is_up(&self, limit: Duration) -> Option<KmsError> {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let message = format!("{} (no other answer within {} ms)", said.message, limit.as_millis());
        Some(KmsError { message, ..said })
    }
}

/// Listens to the attempts of an operation whose errors are `E`.
#[derive(Debug)]
pub(in crate::kms::aws) struct Listener<E> {
    request: Request,
    errors: PhantomData<fn() -> E>,
}

impl Request {
    /// To be given to the client along with the operation.
    pub(in crate::kms::aws) fn listener<E>(&self) -> Listener<E> {
        Listener { request: self.clone(), errors: PhantomData }
    }
}

impl<E> Intercept for Listener<E>
where
    E: ProvideErrorMetadata + RequestId + Error + Debug + Send + Sync + 'static,
{
    fn name(&self) -> &'static str {
        "what KMS said"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let failed = context.output_or_error().and_then(Result::err);
        let refused = failed.and_then(|error| error.as_operation_error()?.downcast_ref::<E>());
        if let (Some(error), Some(response)) = (refused, context.response()) {
            let status = response.status().as_u16();
            if status >= 400 {
                let id = error.request_id();
                self.request.said.set(self.request.by_code(
                    error.code(),
                    status,
                    error.message(),
                    id,
                ));
            }
        }
        Ok(())
    }
}
