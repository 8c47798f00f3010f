#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::*;

fn poll(fd: BorrowedFd<'_>) {
    let mut wanted = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd, and it lives for the call.
    unsafe { libc::poll(&raw mut wanted, 1, -1) };
}

fn run<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> Result<T, RuntimeError> {
    block_on_waiting(future, poll)
}

async fn thread_status() -> String {
    std::fs::read_to_string("/proc/thread-self/status").unwrap()
}

fn mask(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    u64::from_str_radix(line.trim(), 16).unwrap()
}

/// All but SIGKILL and SIGSTOP, which nobody can block, and the two that the C library keeps.
fn all_signals() -> u64 {
    !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32)
}

#[test]
fn the_thread_and_those_it_starts_take_no_signal() {
    let own = mask(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    let status = run(thread_status()).unwrap();
    assert!(status.starts_with("Name:\tenvelope-kms\n"), "{status}");
    assert_eq!(mask(&status) & all_signals(), all_signals());
    let status = run(async {
        let read = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        tokio::task::spawn_blocking(read).await.unwrap()
    });
    assert_eq!(mask(&status.unwrap()) & all_signals(), all_signals());
    let after = mask(&std::fs::read_to_string("/proc/thread-self/status").unwrap());
    assert_eq!(after, own, "the caller's mask changed");
}

#[test]
fn one_thread_serves_all_calls_and_ends_with_shutdown() {
    let id = || run(async { std::thread::current().id() }).unwrap();
    let first = id();
    assert_eq!(id(), first);
    shutdown();
    shutdown();
    assert_ne!(id(), first);
}

#[test]
fn a_forked_process_starts_a_thread_of_its_own() {
    let id = || run(async { std::thread::current().id() }).unwrap();
    let parents = id();
    // As a child finds it: what another process has started.
    RUNTIME.with_borrow_mut(|slot| slot.get_mut().unwrap().pid = 0);
    assert_ne!(id(), parents);
}

#[test]
fn a_panic_is_an_error_and_the_thread_goes_on() {
    let first = run(async { std::thread::current().id() }).unwrap();
    let error = run(async { panic!("this panic is part of the test") }).err().unwrap();
    assert!(matches!(error, RuntimeError::Died(_)));
    assert_eq!(run(async { std::thread::current().id() }).unwrap(), first);
}

/// Tells when it is dropped.
struct Watched(Arc<AtomicBool>);

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn an_unwind_drops_the_future_and_the_next_call_gets_its_own_answer() {
    let dropped = Arc::new(AtomicBool::new(false));
    for round in 0..200_u64 {
        dropped.store(false, Ordering::SeqCst);
        let watched = Watched(dropped.clone());
        let begun = Instant::now();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let future = async move {
                // Every other answer races with the unwind, and may be there before the wait.
                let length = if round % 2 == 0 { 600_000 } else { 0 };
                tokio::time::sleep(Duration::from_millis(length)).await;
                drop(watched);
                u64::MAX
            };
            block_on_waiting(future, |_| std::panic::resume_unwind(Box::new("cancelled")))
        }));
        if let Ok(answer) = unwound {
            assert!(round % 2 == 1, "round {round} waited for nothing");
            assert_eq!(answer.unwrap(), u64::MAX);
        }
        assert_eq!(run(async move { round }).unwrap(), round);
        assert!(begun.elapsed() < Duration::from_secs(60));
        while !dropped.load(Ordering::SeqCst) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the future lives on");
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_wait_that_returns_early_waits_again() {
    let answer = block_on_waiting(
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            7
        },
        |_| std::thread::yield_now(),
    );
    assert_eq!(answer.unwrap(), 7);
}
