//! One answer from another thread, and a backend's wait for it.
//!
//! Each call has a pipe and a channel of its own, so an answer that comes too late can never be
//! taken for the next one's: it is dropped, and so wiped, unread.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// The thread that was to answer ended, or dropped the question.
#[derive(Debug, thiserror::Error)]
#[error("the client failed internally; the server's log has the cause")]
pub struct Died;

/// The thread's end. Dropped by a panic or an abort as well, it always wakes the waiting side, and
/// only when the channel is closed or holds the value.
pub(super) struct Reply<T> {
    sender: Option<SyncSender<T>>,
    signal: PipeWriter,
}

/// The backend's end.
pub(super) struct Answer<T> {
    receiver: Receiver<T>,
    done: PipeReader,
}

/// Both ends of a call.
///
/// # Errors
/// No file descriptor is left.
pub(super) fn pair<T>() -> io::Result<(Reply<T>, Answer<T>)> {
    let (done, signal) = io::pipe()?;
    let (sender, receiver) = sync_channel(1);
    Ok((Reply { sender: Some(sender), signal }, Answer { receiver, done }))
}

impl<T> Reply<T> {
    pub(super) fn send(mut self, value: T) {
        if let Some(sender) = self.sender.take() {
            // The receiver is gone when the wait was cancelled; the value comes back and is wiped.
            let _ = sender.try_send(value);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        drop(self.sender.take());
        // Fails when nobody waits any more. One byte always fits into an empty pipe.
        let _ = self.signal.write(&[1]);
    }
}

impl<T> Answer<T> {
    /// Waits as a backend waits for any socket, and so may unwind with a PostgreSQL error.
    ///
    /// # Errors
    /// [`Died`].
    #[cfg(any(feature = "_network", test))]
    pub(super) fn wait_by(self, until_readable: impl Fn(BorrowedFd<'_>)) -> Result<T, Died> {
        self.wait_while(|fd| {
            until_readable(fd);
            Ok(())
        })
    }

    /// As [`Self::wait_by`], until `keep_waiting` gives an error: for a thread that cannot be told to stop.
    ///
    /// # Errors
    /// [`Died`], and that of `keep_waiting`.
    pub(super) fn wait_while<E: From<Died>>(
        self,
        keep_waiting: impl Fn(BorrowedFd<'_>) -> Result<(), E>,
    ) -> Result<T, E> {
        loop {
            match self.receiver.try_recv() {
                Ok(value) => return Ok(value),
                Err(TryRecvError::Disconnected) => return Err(Died.into()),
                Err(TryRecvError::Empty) => keep_waiting(self.done.as_fd())?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Watched(Arc<AtomicUsize>);

    impl Drop for Watched {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_dropped() -> io::Result<()> {
        let dropped = Arc::new(AtomicUsize::new(0));
        for is_late in [true, false] {
            let before = dropped.load(Ordering::SeqCst);
            let (reply, answer) = pair()?;
            let watched = Watched(dropped.clone());
            if is_late {
                drop(answer);
                reply.send(watched);
            } else {
                reply.send(watched);
                drop(answer);
            }
            assert_eq!(dropped.load(Ordering::SeqCst), before + 1);
        }
        Ok(())
    }

    #[test]
    fn a_dropped_question_ends_the_wait() -> io::Result<()> {
        let (reply, answer) = pair::<()>()?;
        drop(reply);
        assert!(answer.wait_by(|_| {}).is_err());
        Ok(())
    }
}
