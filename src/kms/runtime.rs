//! The thread that runs the clients of KMSs on the network, and the wait for them.
//!
//! A backend that polled the client itself (`block_on` in a query) would be deaf to cancel,
//! `statement_timeout` and terminate until the KMS answers, and PostgreSQL's signal handlers
//! would run on whatever threads the client starts. So: one thread, made on first use, never
//! before a fork, with every signal blocked, also in the threads that it starts for DNS. The
//! backend's own thread hands a future over and waits for a pipe, as it waits for any socket.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread::{Builder, JoinHandle};

use once_cell::unsync::OnceCell;
use tokio::runtime::{self, Handle};
use tokio::sync::oneshot;

use super::reply::{self, Died};
use super::signals::SignalsBlocked;
use crate::pg::exit;

/// The name that the thread and those for DNS bear in `ps -T` (15 bytes at most).
const NAME: &str = "envelope-kms";

/// Lookups of host names at once; one that hangs outlives the request that asked for it.
const MAX_DNS_THREADS: usize = 4;

/// Why a future gave no answer. None of these comes from the KMS.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No thread, no memory or no file descriptor left.
    #[error("could not start the thread for the KMS client: {0}")]
    Start(#[from] io::Error),
    /// The future panicked.
    #[error(transparent)]
    Died(#[from] Died),
}

/// Runs `future` on the thread and waits until it is done.
///
/// The wait may unwind with a PostgreSQL error. The future is then dropped on its thread, at its
/// next await, and an answer that came too late is dropped ([`reply`]).
///
/// # Errors
/// [`RuntimeError`]; the next call starts afresh.
#[cfg(any(feature = "kms-aws", feature = "kms-vault", feature = "kms-kmip"))]
pub fn block_on<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, RuntimeError> {
    exit::watch();
    block_on_waiting(future, crate::pg::wait::until_readable)
}

/// As `block_on`, for what comes from another node and not from a KMS.
///
/// # Errors
/// As `block_on`.
#[cfg(feature = "nodes")]
pub fn block_on_node<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, RuntimeError> {
    exit::watch();
    block_on_waiting(future, crate::pg::wait::until_node_answers)
}

fn block_on_waiting<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
    wait_until_readable: impl Fn(BorrowedFd<'_>),
) -> Result<T, RuntimeError> {
    let handle = handle()?;
    let (reply, answer) = reply::pair()?;
    let _abort = AbortOnDrop(handle.spawn(async move { reply.send(future.await) }));
    Ok(answer.wait_by(wait_until_readable)?)
}

/// Ends the thread, if there is one, without waiting for it.
pub fn shutdown() {
    // At the exit of a process the slot may be gone already, and the thread with it.
    let _ = RUNTIME.try_with(|slot| slot.try_borrow_mut().map(|mut slot| slot.take()));
}

thread_local! {
    // A backend has one thread of its own. The cell stays empty when starting fails, so that the
    // next call tries again.
    static RUNTIME: RefCell<OnceCell<Runtime>> = const { RefCell::new(OnceCell::new()) };
}

struct Runtime {
    pid: u32,
    handle: Handle,
    thread: JoinHandle<()>,
    /// Dropped: the thread ends.
    _stop: oneshot::Sender<()>,
}

/// The running thread's handle; starts it if it is not there.
fn handle() -> Result<Handle, RuntimeError> {
    RUNTIME.with_borrow_mut(|slot| {
        let usable =
            |runtime: &Runtime| runtime.pid == std::process::id() && !runtime.thread.is_finished();
        if slot.get().is_some_and(|runtime| !usable(runtime)) {
            // After a fork the thread stayed with the parent, perhaps with a lock taken: dropping
            // what is shared with it could wait for ever.
            std::mem::forget(slot.take());
        }
        Ok(slot.get_or_try_init(Runtime::start)?.handle.clone())
    })
}

impl Runtime {
    fn start() -> Result<Self, RuntimeError> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name(NAME)
            .max_blocking_threads(MAX_DNS_THREADS)
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        // A process may end while the thread is at work. AWS-LC's destructors take its source of random numbers away,
        // and it aborts where the thread draws from that.
        exit::skip_destructors();
        let _blocked = SignalsBlocked::new()?;
        let thread = Builder::new().name(NAME.into()).spawn(move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Self { pid: std::process::id(), handle, thread, _stop: stop })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
