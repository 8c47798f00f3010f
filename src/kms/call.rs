//! One operation of a KMS: counted, and bounded in time.

use std::sync::atomic::{AtomicU64, Ordering};

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

/// Does `work`, which is one operation of a KMS, and counts it: as a failure too, when it gives an
/// error or unwinds out of its wait.
#[allow(dead_code, reason = "for a provider, which a build may leave out")]
pub(super) fn counted<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let mut counted = Counted { succeeded: false };
    let answer = work();
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

#[cfg(feature = "_network")]
mod network {
    use std::future::Future;

    use super::super::{KmsError, runtime};
    use super::counted;

    /// Runs `work` on the thread for KMS clients and waits, as a backend waits for any socket, until
    /// it is done. One counted operation. `broken` makes the error for a thread that does not run.
    pub(in crate::kms) fn call<T: Send + 'static>(
        work: impl Future<Output = Result<T, KmsError>> + Send + 'static,
        broken: impl FnOnce(String) -> KmsError,
    ) -> Result<T, KmsError> {
        counted(|| runtime::block_on(work).unwrap_or_else(|error| Err(broken(error.to_string()))))
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

#[cfg(feature = "_network")]
pub(super) use network::call;
#[cfg(any(feature = "kms-aws", feature = "kms-vault"))]
pub(super) use network::within;

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    // One test: the counters are the process's.
    #[test]
    fn what_unwinds_has_failed() {
        let at = || (requests(), failures());
        let before = at();
        assert_eq!(counted(|| Ok::<_, ()>(1)), Ok(1));
        assert!(at() >= (before.0 + 1, before.1));
        let before = at();
        assert_eq!(counted(|| Err::<(), _>(2)), Err(2));
        assert!(at().1 > before.1);
        let before = at();
        assert!(
            catch_unwind(|| counted(|| -> Result<(), ()> {
                std::panic::resume_unwind(Box::new(()))
            }))
            .is_err()
        );
        assert!(at().1 > before.1);
    }
}
