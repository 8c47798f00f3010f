//! The thread that calls a module, and the wait for it.
//!
//! A call of a PKCS#11 module cannot be interrupted: it returns when the token answers. On the backend's own thread it
//! would make it deaf to cancel, `statement_timeout` and terminate. So each module has one thread, made on first use,
//! never before a fork, with every signal blocked, also in threads that the module starts. A call that does not come
//! back is left behind, and no second thread is started: a module's state is the process's, and it would hang as well.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::super::reply::{self, Died};
use super::super::signals::SignalsBlocked;

/// The name that it bears in `ps -T` (15 bytes at most).
const NAME: &str = "envelope-pkcs11";

/// What a call waits for one before it that was left behind long ago: it may be about to come back.
const GRACE: Duration = Duration::from_millis(100);

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

/// A thread that owns an `S`, which is made there and stays there. Dropped: it ends, once it is idle.
pub(super) struct Thread<S> {
    pid: u32,
    desk: Arc<Desk<S>>,
    thread: JoinHandle<()>,
}

/// What the thread and its callers share.
struct Desk<S> {
    papers: Mutex<Papers<S>>,
    changed: Condvar,
}

/// Calls, by their numbers. A backend makes one at a time, so there is one at most besides the one that runs.
struct Papers<S> {
    calls: u64,
    next: Option<(u64, Job<S>)>,
    /// And since when.
    running: Option<(u64, Instant)>,
    is_over: bool,
}

impl<S> Desk<S> {
    fn papers(&self) -> MutexGuard<'_, Papers<S>> {
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, once there is one; `None` at the end.
    fn take(&self) -> Option<Job<S>> {
        let mut papers = self.papers();
        loop {
            if papers.is_over {
                return None;
            }
            if let Some((number, job)) = papers.next.take() {
                papers.running = Some((number, Instant::now()));
                return Some(job);
            }
            papers = self.changed.wait(papers).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a job there. It is taken back when what this gives is dropped before its turn.
    fn put(&self, job: Job<S>) -> Placed<'_, S> {
        let mut papers = self.papers();
        papers.calls += 1;
        let number = papers.calls;
        papers.next = Some((number, job));
        self.changed.notify_all();
        Placed { desk: self, number }
    }

    /// Work until nobody can ask any more.
    fn serve(&self, mut state: S) {
        while let Some(job) = self.take() {
            // The panic is in the log; whoever waits sees the channel closed.
            let _ = catch_unwind(AssertUnwindSafe(|| job(&mut state)));
            self.papers().running = None;
            self.changed.notify_all();
        }
        // The process ends: no last call of the module, which may not survive it.
        std::mem::forget(state);
    }
}

impl<S: 'static> Thread<S> {
    /// Starts it; `make` runs there.
    pub(super) fn start(make: impl FnOnce() -> S + Send + 'static) -> Result<Self, CallError> {
        let papers = Papers { calls: 0, next: None, running: None, is_over: false };
        let desk = Arc::new(Desk { papers: Mutex::new(papers), changed: Condvar::new() });
        let _blocked = SignalsBlocked::new()?;
        let thread = Builder::new().name(NAME.into()).spawn({
            let desk = desk.clone();
            move || desk.serve(make())
        })?;
        Ok(Self { pid: std::process::id(), desk, thread })
    }

    /// Whether calls of this process can go there.
    pub(super) fn is_usable(&self) -> bool {
        self.pid == std::process::id() && !self.thread.is_finished()
    }

    /// Waits until no call runs there, at most for `limit`: whoever ends the process in the midst of one may leave the
    /// token in the midst of something.
    pub(super) fn settle(&self, limit: Duration) {
        let (desk, runs) = (&self.desk, |papers: &mut Papers<S>| papers.running.is_some());
        drop(desk.changed.wait_timeout_while(desk.papers(), limit, runs));
    }

    /// Does `job` there and waits until it is done, at most for `limit`. `wait` waits until the descriptor is readable,
    /// or for so long; it may unwind. A job that was given up before its turn is not begun.
    ///
    /// # Errors
    /// [`CallError`]; almost at once while a call that was left behind has already taken longer than `limit`.
    pub(super) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        wait: impl Fn(BorrowedFd<'_>, Duration),
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, CallError> {
        let asked = Instant::now();
        let (reply, answer) = reply::pair()?;
        let placed = self.desk.put(Box::new(move |state| reply.send(job(state))));
        answer.wait_while(|fd| {
            let until = match placed.before() {
                // Who stands before us has the same time, from when it began.
                Some(begun) => (begun + limit).max(asked + GRACE),
                None => asked + limit,
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CallError::Hangs(limit));
            }
            wait(fd, left);
            Ok(())
        })
    }
}

impl<S> Drop for Thread<S> {
    fn drop(&mut self) {
        self.desk.papers().is_over = true;
        self.desk.changed.notify_all();
    }
}

/// A job of ours.
struct Placed<'a, S> {
    desk: &'a Desk<S>,
    number: u64,
}

impl<S> Placed<'_, S> {
    /// Since when another runs, if one does.
    fn before(&self) -> Option<Instant> {
        let running = self.desk.papers().running?;
        (running.0 != self.number).then_some(running.1)
    }
}

impl<S> Drop for Placed<'_, S> {
    fn drop(&mut self) {
        let mut papers = self.desk.papers();
        let given_up = papers.next.take_if(|(number, _)| *number == self.number);
        drop(papers);
        // What it holds, a data key perhaps, is wiped now.
        drop(given_up);
    }
}

#[cfg(test)]
mod tests;
