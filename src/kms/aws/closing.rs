//! A connection to KMS is closed with its answer. Kept open, its buffers would hold the last answer,
//! the data key in it, until the next one: minutes, or for ever. Closed, they are given back, and so
//! wiped. It costs a handshake a request, of which a backend makes one in `envelope.cache_ttl` for
//! each key; in return idle sessions hold no connection.

use aws_sdk_kms::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_kms::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kms::error::BoxError;

/// Has the client ask for it with every request, after it was signed.
#[derive(Debug)]
pub(super) struct Closing;

impl Intercept for Closing {
    fn name(&self) -> &'static str {
        "closing"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("connection", "close");
        Ok(())
    }
}
