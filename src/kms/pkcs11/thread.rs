//! The thread that calls a module, and the wait for it.
//!
//! A call of a PKCS#11 module cannot be interrupted: it returns when the token answers. On the backend's own thread it
//! would make it deaf to cancel, `statement_timeout` and terminate. So each module has one thread, made on first use,
//! never before a fork, with every signal blocked, also in threads that the module starts. A call that does not come
//! back is left behind, and no second thread is started: a module's state is the process's, and it would hang as well.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::super::reply::{self, Died};
use super::super::signals::SignalsBlocked;

/// The name that it bears in `ps -T` (15 bytes at most).
const NAME: &str = "envelope-pkcs11";

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No thread, no memory or no file descriptor left.
    #[error("could not start the thread for the PKCS#11 module: {0}")]
    Start(#[from] io::Error),
    /// The call, or one before it that was given up, has taken longer than it may.
    #[error("the PKCS#11 module did not answer within {} ms", .0.as_millis())]
    Hangs(Duration),
    /// Our own code panicked.
    #[error(transparent)]
    Died(#[from] Died),
}

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread that owns an `S`, which is made there and stays there.
pub(super) struct Thread<S> {
    pid: u32,
    jobs: Sender<(u64, Job<S>)>,
    running: Arc<Running>,
    thread: JoinHandle<()>,
}

/// The job that runs now, by its number, and since when.
#[derive(Default)]
struct Running {
    job: Mutex<Option<(u64, Instant)>>,
    numbers: AtomicU64,
}

impl Running {
    fn set(&self, job: Option<(u64, Instant)>) {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner) = job;
    }

    fn get(&self) -> Option<(u64, Instant)> {
        *self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: 'static> Thread<S> {
    /// Starts it; `make` runs there.
    pub(super) fn start(make: impl FnOnce() -> S + Send + 'static) -> Result<Self, CallError> {
        let (jobs, queue) = mpsc::channel();
        let running = Arc::new(Running::default());
        let _blocked = SignalsBlocked::new()?;
        let thread = Builder::new().name(NAME.into()).spawn({
            let running = running.clone();
            move || work(make(), &queue, &running)
        })?;
        Ok(Self { pid: std::process::id(), jobs, running, thread })
    }

    /// Whether calls of this process can go there.
    pub(super) fn is_usable(&self) -> bool {
        self.pid == std::process::id() && !self.thread.is_finished()
    }

    /// Does `job` there and waits until it is done, at most for `limit`. `wait` waits until the descriptor is readable,
    /// or for so long; it may unwind. A job that was given up before its turn is not begun.
    ///
    /// # Errors
    /// [`CallError`]; at once while a call that was left behind has already taken longer than `limit`.
    pub(super) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        wait: impl Fn(BorrowedFd<'_>, Duration),
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let asked = Instant::now();
        let number = self.running.numbers.fetch_add(1, Ordering::Relaxed);
        // Who stands before us has the same time, from when it began.
        let left = || {
            let begun = self.running.get().filter(|(running, _)| *running != number);
            let until = begun.map_or(asked, |(_, begun)| begun) + limit;
            Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
        };
        left().ok_or(CallError::Hangs(limit))?;
        let (reply, answer) = reply::pair()?;
        let given_up = GivenUp::default();
        let job: Job<S> = Box::new({
            let given_up = given_up.0.clone();
            move |state| {
                if !given_up.load(Ordering::Relaxed) {
                    reply.send(job(state));
                }
            }
        });
        self.jobs.send((number, job)).map_err(|_| Died)?;
        answer.wait_while(|fd| {
            wait(fd, left().ok_or(CallError::Hangs(limit))?);
            Ok(())
        })
    }
}

/// What the thread does until nobody can send any more.
fn work<S>(mut state: S, queue: &Receiver<(u64, Job<S>)>, running: &Running) {
    while let Ok((number, job)) = queue.recv() {
        running.set(Some((number, Instant::now())));
        // The panic is in the log; whoever waits sees the channel closed.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut state)));
        running.set(None);
    }
    // The process ends: no last call of the module, which may not survive it.
    std::mem::forget(state);
}

/// Says so to the job when the wait ends, however it ends.
#[derive(Default)]
struct GivenUp(Arc<AtomicBool>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
