//! Boundary sets: where the classes of `buckets` begin.
//!
//! The bounds cut the order of a type into intervals, each from a bound to before the next, the first without a start and
//! the last without an end. An interval has one class. One that is mostly a single frequent value has several: a value
//! gets one of them by chance, and a query asks for all.
//!
//! Bounds never move and a class's number is never used again. An interval that grew is split: its parts get new classes,
//! and until all of its values have theirs, queries ask for its former classes as well.

mod depth;
mod json;

pub use depth::Sample;

use zeroize::Zeroizing;

use super::rule::Ordered;
use crate::context::push_netstring;

/// What the context of a sealed set begins with.
const CONTEXT: &str = "envelope/1 boundaries,";

/// The classes of an index, in the order of their values. Wiped on drop.
pub struct Boundaries {
    set: u32,
    of: Ordered,
    /// Ascending.
    bounds: Vec<Bound>,
    /// One more than bounds.
    intervals: Vec<Interval>,
}

/// The first value of an interval.
struct Bound {
    ordinal: Zeroizing<u64>,
    /// Its canonical form; that of a float is one of double precision.
    form: Zeroizing<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    /// One at least. Values get one of these.
    classes: Vec<u32>,
    /// Values may have these, from before it was split.
    former: Vec<u32>,
}

/// The context of the sealed set of an index, whose key is [`crate::SealKey::of_boundaries`].
pub fn context(label: &str, rule: &str) -> String {
    let mut context = String::from(CONTEXT);
    push_netstring(&mut context, label);
    push_netstring(&mut context, rule);
    context
}

impl Boundaries {
    /// The number of the set: another set of the same index takes another.
    pub fn set(&self) -> u32 {
        self.set
    }

    /// How many classes values get.
    pub fn count(&self) -> usize {
        self.intervals.iter().map(|interval| interval.classes.len()).sum()
    }

    /// The intervals with their classes, the former ones not among them: what is counted to find those that grew.
    pub fn intervals(&self) -> impl Iterator<Item = &[u32]> {
        self.intervals.iter().map(|interval| interval.classes.as_slice())
    }

    /// The interval of a value: its place in [`Boundaries::intervals`].
    pub fn interval_of(&self, ordinal: u64) -> usize {
        self.bounds.partition_point(|bound| *bound.ordinal <= ordinal)
    }

    /// A class for a value, chosen by random `bits` if it may have several.
    pub fn draw(&self, ordinal: u64, bits: u32) -> u32 {
        let classes = &self.intervals[self.interval_of(ordinal)].classes;
        classes[bits as usize % classes.len()]
    }

    /// The classes of values from `low` to `high`, each once.
    pub fn between(&self, low: u64, high: u64, mut each: impl FnMut(u32)) {
        if low > high {
            return;
        }
        let asked = &self.intervals[self.interval_of(low)..=self.interval_of(high)];
        for (at, interval) in asked.iter().enumerate() {
            interval.classes.iter().for_each(|class| each(*class));
            // The parts of one that was split stand side by side, with the same former classes.
            let before = at.checked_sub(1).map(|before| &asked[before].former);
            let is_new = |class: &&u32| !before.is_some_and(|before| before.contains(class));
            interval.former.iter().filter(is_new).for_each(|class| each(*class));
        }
    }

    /// Whether values may still have classes from before a split.
    pub fn is_settling(&self) -> bool {
        self.intervals.iter().any(|interval| !interval.former.is_empty())
    }

    /// All values have the classes of their intervals: nobody asks for former ones any more.
    pub fn settle(&mut self) {
        self.intervals.iter_mut().for_each(|interval| interval.former.clear());
    }

    /// Splits the interval at that place into about so many `classes` of the values of `sample` that are in it: new
    /// ones. Whether it was; it is not if there is no such interval, or if one class would be all.
    pub fn split(&mut self, at: usize, sample: &mut Sample, classes: u32) -> bool {
        let Some(interval) = self.intervals.get(at) else { return false };
        let low = at.checked_sub(1).and_then(|before| self.bounds.get(before));
        let low = low.map(|bound| *bound.ordinal);
        let below = self.bounds.get(at).map(|bound| *bound.ordinal);
        let is_in = |ordinal| {
            low.is_none_or(|low| low <= ordinal) && below.is_none_or(|below| ordinal < below)
        };
        let (bounds, counts) = sample.cut(is_in, classes);
        if counts.iter().sum::<u32>() < 2 {
            return false;
        }
        let Some(first) = self.unused() else { return false };
        let mut former = interval.classes.clone();
        former.extend(&interval.former);
        let Some(parts) = numbered(first, &counts, &former) else { return false };
        self.intervals.splice(at..=at, parts);
        self.bounds.splice(at..at, bounds);
        true
    }

    /// The first number that no class had.
    fn unused(&self) -> Option<u32> {
        let numbers = self.intervals.iter().flat_map(|all| all.classes.iter().chain(&all.former));
        numbers.max().map_or(Some(0), |last| last.checked_add(1))
    }
}

/// Intervals of so many classes, numbered from `first` on.
fn numbered(mut first: u32, counts: &[u32], former: &[u32]) -> Option<Vec<Interval>> {
    let mut intervals = Vec::with_capacity(counts.len());
    for count in counts {
        let after = first.checked_add(*count)?;
        intervals.push(Interval { classes: (first..after).collect(), former: former.to_vec() });
        first = after;
    }
    Some(intervals)
}
