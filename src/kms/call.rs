//! One operation of a KMS: counted, and bounded in time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{KekUri, KmsError};
use crate::figures::{self, Operation};

/// Operations of this process, and those that failed.
static REQUESTS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// KMS operations that this process has sent; retries inside one are not counted. Reading a key
/// file is none.
pub fn requests() -> u64 {
    REQUESTS.load(Ordering::Relaxed)
}

/// Those of [`requests`] that gave an error or were cancelled.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Does `work`, which is one operation on `kek`, and counts it: as a failure too, when it gives an
/// error or unwinds out of its wait.
#[allow(dead_code, reason = "for a provider, which a build may leave out")]
pub(super) fn counted<T>(
    kek: impl FnOnce() -> KekUri,
    operation: Operation,
    work: impl FnOnce() -> Result<T, KmsError>,
) -> Result<T, KmsError> {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut counted = Counted { succeeded: false };
    let answer = figures::kms_operation(|| kek().to_string(), operation, work);
    counted.succeeded = answer.is_ok();
    answer
}

struct Counted {
    succeeded: bool,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.succeeded {
            FAILURES.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(any(feature = "kms-aws", feature = "kms-vault", feature = "kms-kmip"))]
mod network {
    use std::future::Future;

    use super::super::{KekUri, KmsError, runtime};
    use super::{Operation, counted};

    /// Runs `work` on the thread for KMS clients and waits, as a backend waits for any socket, until
    /// it is done. One counted operation on `kek`. `broken` makes the error for a thread that does not run.
    pub(in crate::kms) fn call<T: Send + 'static>(
        kek: impl FnOnce() -> KekUri,
        operation: Operation,
        work: impl Future<Output = Result<T, KmsError>> + Send + 'static,
        broken: impl FnOnce(String) -> KmsError,
    ) -> Result<T, KmsError> {
        counted(kek, operation, || {
            runtime::block_on(work).unwrap_or_else(|error| Err(broken(error.to_string())))
        })
    }

    /// `work`, dropped where it stands when `limit` is over; `timed_out` makes the error for that.
    #[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
    pub(in crate::kms) async fn within<T>(
        limit: std::time::Duration,
        work: impl Future<Output = Result<T, KmsError>>,
        timed_out: impl FnOnce() -> KmsError,
    ) -> Result<T, KmsError> {
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(timed_out()))
    }
}

#[cfg(any(feature = "kms-aws", feature = "kms-vault", feature = "kms-kmip"))]
pub(super) use network::call;
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
pub(super) use network::within;

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::super::Kind;
    use super::*;

    // One test: the counters are the process's.
    #[test]
    fn what_unwinds_has_failed() {
        let at = || (requests(), failures());
        let kek = || "aws-kms://alias/a".parse().unwrap_or_else(|_| KekUri::File("/k".into()));
        let count = |work: fn() -> Result<i32, KmsError>| counted(kek, Operation::Wrap, work);
        let before = at();
        assert_eq!(count(|| Ok(1)), Ok(1));
        assert!(at() >= (before.0 + 1, before.1));
        let before = at();
        assert!(count(|| Err(KmsError::new(Kind::Denied, "k", "m"))).is_err());
        assert!(at().1 > before.1);
        let before = at();
        assert!(catch_unwind(|| count(|| std::panic::resume_unwind(Box::new(())))).is_err());
        assert!(at().1 > before.1);
    }
}
