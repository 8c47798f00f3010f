//! Attempts of a client that has no retries of its own: how many, how far apart, and within what
//! time.
//!
//! What is tried again are answers that may be another in a moment (429, 5xx) and connections that
//! failed before there was one. None of a provider's operations does harm when it is done twice.

#![allow(dead_code, reason = "for providers, which a build may leave out")]

use std::time::Duration;

use super::KmsError;

/// Milliseconds of the longest pause after the first attempt, and of any.
const FIRST: u64 = 100;
const LONGEST: u64 = 2_000;

/// Why an attempt gave nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// The next one would fail as well.
    ForGood(KmsError),
    /// The next one may not. The KMS may have said how long it wants to be left alone.
    ForNow(KmsError, Option<Duration>),
}

/// Whether an HTTP answer is worth another attempt.
pub(super) fn may_change(status: u16) -> bool {
    status == 429 || status >= 500
}

/// What a `Retry-After` header asks for. Source: RFC 9110, section 10.2.3; a date is not read, as
/// it takes two clocks that agree.
pub(super) fn retry_after(header: Option<&str>) -> Option<Duration> {
    header?.trim().parse().ok().map(Duration::from_secs)
}

/// The longest pause after attempt `number`, counted from 1.
fn longest_pause(number: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << number.saturating_sub(1).min(20));
    Duration::from_millis(doubled.min(LONGEST))
}

/// Part `random` of 2^32 of `longest`: any pause is as likely, so that those who failed together do
/// not come back together.
fn jittered(longest: Duration, random: u32) -> Duration {
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(feature = "_network")]
#[allow(unused_imports, reason = "for providers, which a build may leave out")]
pub(super) use self::network::attempts;

#[cfg(feature = "_network")]
mod network {
    use std::future::Future;

    use tokio::time::{Instant, sleep, timeout_at};

    use super::super::Limits;
    use super::*;

    /// What `attempt` gives, tried as often and as long as `limits` let. `timed_out` makes the error
    /// for when no attempt has ended in time; else the error is the last attempt's.
    pub(in crate::kms) async fn attempts<T, F>(
        limits: Limits,
        mut attempt: impl FnMut() -> F,
        timed_out: impl FnOnce() -> KmsError,
    ) -> Result<T, KmsError>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let end = Instant::now() + limits.timeout;
        let mut last: Option<KmsError> = None;
        for number in 1.. {
            let Ok(outcome) = timeout_at(end, attempt()).await else {
                return Err(last.map_or_else(timed_out, |last| out_of_time(last, limits)));
            };
            let (error, wanted) = match outcome {
                Ok(value) => return Ok(value),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::ForNow(error, wanted)) => (error, wanted),
            };
            if number >= limits.max_attempts {
                return Err(error);
            }
            let random = || jittered(longest_pause(number), getrandom::u32().unwrap_or(u32::MAX));
            let pause = wanted.unwrap_or_else(random);
            // A server may ask for more than a clock has room for.
            if pause >= end.saturating_duration_since(Instant::now()) {
                // Nothing is to be gained by sitting it out.
                return Err(out_of_time(error, limits));
            }
            sleep(pause).await;
            last = Some(error);
        }
        Err(timed_out())
    }

    /// What the KMS said last: one that throttles is not one that is silent.
    fn out_of_time(last: KmsError, limits: Limits) -> KmsError {
        let limit = limits.timeout.as_millis();
        let message = format!("{} (no other answer within {limit} ms)", last.message);
        KmsError { message, ..last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let longest: Vec<_> = (1..=7).map(|n| longest_pause(n).as_millis()).collect();
        assert_eq!(longest, [100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(longest_pause(u32::MAX).as_millis(), 2000);
        let all = Duration::from_millis(400);
        assert_eq!(jittered(all, 0), Duration::ZERO);
        assert_eq!(jittered(all, u32::MAX), all);
        assert!((199..=201).contains(&jittered(all, u32::MAX / 2).as_millis()));
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        for status in [429, 500, 502, 503, 504, 599] {
            assert!(may_change(status), "{status}");
        }
        for status in [200, 204, 301, 400, 401, 403, 404, 405, 412, 422] {
            assert!(!may_change(status), "{status}");
        }
    }

    #[test]
    fn seconds_are_read_and_dates_are_not() {
        for (header, seconds) in [
            ("2", Some(2)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2026 07:28:00 GMT", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(Some(header)), seconds.map(Duration::from_secs), "{header:?}");
        }
        assert_eq!(retry_after(None), None);
    }

    #[cfg(feature = "_network")]
    mod attempts {
        use std::cell::Cell;
        use std::time::Instant;

        use super::super::super::{Kind, Limits};
        use super::*;

        fn limits(milliseconds: u64, max_attempts: u32) -> Limits {
            Limits { timeout: Duration::from_millis(milliseconds), max_attempts }
        }

        fn error(message: &str) -> KmsError {
            KmsError::new(Kind::Throttled, "k", message)
        }

        fn run<T, F: Future<Output = Result<T, Failed>>>(
            limits: Limits,
            attempt: impl FnMut() -> F,
        ) -> Result<T, String> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let tried = super::super::attempts(limits, attempt, || error("silent"));
            runtime.block_on(tried).map_err(|error| error.message)
        }

        fn again(wanted: Option<Duration>) -> Result<u32, Failed> {
            Err(Failed::ForNow(error("not now"), wanted))
        }

        #[test]
        fn no_more_than_allowed() {
            let now = Some(Duration::ZERO);
            for most in [1, 3, 7] {
                let tried = Cell::new(0);
                let answer = run(limits(60_000, most), || {
                    tried.set(tried.get() + 1);
                    async { again(now) }
                });
                assert_eq!((answer, tried.get()), (Err("not now".into()), most));
            }
        }

        #[test]
        fn the_first_that_succeeds_or_fails_for_good_ends_it() {
            let now = Some(Duration::ZERO);
            for is_good in [true, false] {
                let tried = Cell::new(0);
                let answer = run(limits(60_000, 9), || {
                    tried.set(tried.get() + 1);
                    let number = tried.get();
                    async move {
                        match number {
                            1 | 2 => again(now),
                            _ if is_good => Ok(number),
                            _ => Err(Failed::ForGood(error("never"))),
                        }
                    }
                });
                assert_eq!(answer, if is_good { Ok(3) } else { Err("never".into()) });
                assert_eq!(tried.get(), 3);
            }
        }

        #[test]
        fn the_time_is_for_all_of_them() {
            let begun = Instant::now();
            // Silent from the second on.
            let tried = Cell::new(0);
            let answer = run(limits(300, 9), || {
                tried.set(tried.get() + 1);
                let number = tried.get();
                async move {
                    if number > 1 {
                        std::future::pending::<()>().await;
                    }
                    again(Some(Duration::ZERO))
                }
            });
            assert_eq!(answer, Err("not now (no other answer within 300 ms)".into()));
            let silent = run(limits(100, 9), std::future::pending::<Result<(), Failed>>);
            assert_eq!(silent, Err("silent".into()));
            // Nobody waits for a time that does not come any more.
            let long = Some(Duration::from_secs(3_600));
            let answer = run(limits(600_000, 9), || async { again(long) });
            assert_eq!(answer, Err("not now (no other answer within 600000 ms)".into()));
            // Whatever a server says.
            let longest = retry_after(Some(&u64::MAX.to_string()));
            assert!(longest.is_some());
            let answer = run(limits(600_000, 9), || async move { again(longest) });
            assert_eq!(answer, Err("not now (no other answer within 600000 ms)".into()));
            assert!(begun.elapsed() < Duration::from_secs(60));
        }
    }
}
