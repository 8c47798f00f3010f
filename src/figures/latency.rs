//! How long requests took.

use std::time::Duration;

use crate::pg::shared::plain;

/// Upper bounds in milliseconds; beyond the last there is one bucket more.
pub const BOUNDS_MS: [u32; 16] = {
    let mut bounds = [1; 16];
    let mut at = 1;
    while at < bounds.len() {
        bounds[at] = bounds[at - 1] * 2;
        at += 1;
    }
    bounds
};

plain! {
    /// Requests by how long they took.
    pub struct Latency {
        /// How many.
        pub count: u64,
        /// All of them together.
        pub microseconds: u64,
        /// How many each, up to its bound; what took longer stands in the last.
        pub buckets: [u64; BOUNDS_MS.len() + 1],
    }
}

impl Latency {
    /// None.
    pub const NONE: Latency =
        Latency { count: 0, microseconds: 0, buckets: [0; BOUNDS_MS.len() + 1] };

    /// One that took that long.
    pub fn note(&mut self, took: Duration) {
        self.count += 1;
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.microseconds = self.microseconds.saturating_add(microseconds);
        let at = BOUNDS_MS.partition_point(|bound| u64::from(*bound) * 1000 < microseconds);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
    }

    /// These, too.
    pub fn add(&mut self, more: &Latency) {
        self.count = self.count.saturating_add(more.count);
        self.microseconds = self.microseconds.saturating_add(more.microseconds);
        for (bucket, more) in self.buckets.iter_mut().zip(more.buckets) {
            *bucket = bucket.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_last_of_its_bucket() {
        assert_eq!((BOUNDS_MS[0], BOUNDS_MS[1], BOUNDS_MS[15]), (1, 2, 32_768));
        for (microseconds, bucket) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (20_000, 5),
            (32_768_000, 15),
            (32_768_001, 16),
            (u64::MAX, 16),
        ] {
            let mut latency = Latency::NONE;
            latency.note(Duration::from_micros(microseconds));
            assert_eq!(latency.buckets.iter().position(|count| *count == 1), Some(bucket));
            assert_eq!((latency.count, latency.microseconds), (1, microseconds));
        }
    }

    #[test]
    fn sums_are_of_each_bucket() {
        let (mut one, mut other) = (Latency::NONE, Latency::NONE);
        one.note(Duration::from_millis(1));
        other.note(Duration::from_millis(1));
        other.note(Duration::from_millis(100));
        one.add(&other);
        assert_eq!((one.count, one.microseconds), (3, 102_000));
        assert_eq!((one.buckets[0], one.buckets[7]), (2, 1));
    }
}
