#![allow(clippy::unwrap_used, clippy::panic)]

use std::os::fd::AsRawFd;
use std::panic;
use std::sync::mpsc::{self, Sender};

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn poll(fd: BorrowedFd<'_>, limit: Duration) {
    let mut wanted = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let limit = i32::try_from(limit.as_millis()).unwrap() + 1;
    // SAFETY: one pollfd, and it lives for the call.
    unsafe { libc::poll(&raw mut wanted, 1, limit) };
}

/// A thread that counts its jobs.
fn counting() -> Thread<u64> {
    Thread::start(|| 0).unwrap()
}

fn count(thread: &Thread<u64>) -> Result<u64, CallError> {
    thread.call(LONG, poll, |jobs| {
        *jobs += 1;
        *jobs
    })
}

/// A call that hangs until the sender is dropped, and is left behind once it runs: after `limit`, or by an unwind.
fn hang(thread: &Thread<u64>, limit: Duration, cancelled: bool) -> Sender<()> {
    loop {
        let (release, released) = mpsc::channel::<()>();
        let job = move |jobs: &mut u64| {
            *jobs += 100;
            let _ = released.recv();
        };
        let runs = || thread.desk.papers().running.is_some();
        let wait = |fd: BorrowedFd<'_>, left: Duration| {
            if cancelled {
                while !runs() {
                    std::thread::yield_now();
                }
                panic::resume_unwind(Box::new("cancelled"))
            }
            poll(fd, left)
        };
        let ended = panic::catch_unwind(AssertUnwindSafe(|| thread.call(limit, wait, job)));
        assert_eq!(ended.is_err(), cancelled);
        // On a slow machine its time is over before its turn: then it was taken back.
        if runs() {
            return release;
        }
    }
}

#[test]
fn the_thread_takes_no_signal() {
    let read = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let mask = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let own = mask(&read());
    let status = counting().call(LONG, poll, move |_| read()).unwrap();
    assert!(status.starts_with("Name:\tenvelope-pkcs11\n"), "{status}");
    // All but SIGKILL and SIGSTOP, which nobody can block, and the two that the C library keeps.
    let all = !(1 << 8 | 1 << 18 | 1 << 31 | 1 << 32);
    assert_eq!(mask(&status) & all, all);
    assert_eq!(mask(&std::fs::read_to_string("/proc/thread-self/status").unwrap()), own);
}

#[test]
fn one_thread_keeps_its_state_through_panics() {
    let thread = counting();
    assert_eq!(count(&thread).unwrap(), 1);
    let died = thread.call(LONG, poll, |_| panic!("this panic is part of the test"));
    assert!(matches!(died, Err::<(), _>(CallError::Died(_))));
    assert_eq!(count(&thread).unwrap(), 2);
    assert!(thread.is_usable());
}

#[test]
fn what_hangs_is_left_behind_and_fails_all_until_it_answers() {
    let thread = counting();
    let limit = Duration::from_millis(50);
    let release = hang(&thread, limit, false);
    for _ in 0..3 {
        let refused = thread.call(limit, poll, |jobs| *jobs += 1);
        assert!(matches!(refused, Err(CallError::Hangs(_))));
        // What was refused waits for nothing any more.
        assert!(thread.desk.papers().next.is_none());
    }
    drop(release);
    // None of those that were refused has run.
    assert_eq!(count(&thread).unwrap(), 101);
}

#[test]
fn a_call_after_a_cancelled_one_waits_its_turn() {
    let thread = counting();
    let release = hang(&thread, LONG, true);
    let limit = Duration::from_millis(50);
    // It has the time of the one before it, which began a moment ago, and is not begun after it was given up.
    let refused = thread.call(limit, poll, |jobs| *jobs += 1);
    assert!(matches!(refused, Err(CallError::Hangs(_))));
    let waits_for_release = |fd: BorrowedFd<'_>, left: Duration| {
        assert!(left > Duration::from_secs(30), "{left:?}");
        let _ = release.send(());
        poll(fd, left);
    };
    assert_eq!(thread.call(LONG, waits_for_release, |jobs| *jobs).unwrap(), 100);
}

#[test]
fn a_late_answer_is_never_the_next_ones() {
    let thread = Thread::start(|| ()).unwrap();
    for round in 0..500_u64 {
        let unwound = panic::catch_unwind(AssertUnwindSafe(|| {
            thread.call(LONG, |_, _| panic::resume_unwind(Box::new("cancelled")), |()| u64::MAX)
        }));
        // It may have answered before the first look.
        assert!(
            unwound.is_err() || unwound.is_ok_and(|answer| answer.is_ok_and(|a| a == u64::MAX))
        );
        assert_eq!(thread.call(LONG, poll, move |()| round).unwrap(), round);
    }
}

#[test]
fn a_call_that_is_about_to_come_back_is_waited_for() {
    let thread = counting();
    let limit = Duration::from_millis(20);
    let release = hang(&thread, limit, false);
    std::thread::sleep(limit);
    let comes_back = |fd: BorrowedFd<'_>, left: Duration| {
        assert!(left <= GRACE, "{left:?}");
        let _ = release.send(());
        poll(fd, left);
    };
    // Unless the machine was too slow for it.
    match thread.call(limit, comes_back, |jobs| *jobs) {
        Ok(jobs) => assert_eq!(jobs, 100),
        Err(error) => assert!(matches!(error, CallError::Hangs(_))),
    }
    assert_eq!(count(&thread).unwrap(), 101);
}

#[test]
fn the_end_waits_for_a_call_that_runs_but_not_for_ever() {
    let thread = counting();
    thread.settle(LONG);
    let release = hang(&thread, LONG, true);
    thread.settle(Duration::from_millis(20));
    assert!(thread.desk.papers().running.is_some());
    drop(release);
    thread.settle(LONG);
    assert!(thread.desk.papers().running.is_none());
}

#[test]
fn another_processs_thread_is_of_no_use() {
    let mut thread = counting();
    thread.pid = 0;
    assert!(!thread.is_usable());
}
