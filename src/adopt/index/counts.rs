//! How the values of a column, and the terms that they would have, are spread.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use envelope::search::{
    self, FormType, Kind, Refused, Room, Rule, Sample, Scratch, Subject, Value,
};

use super::sample::{self, Seen};
use crate::catalog::rows::PolicyRow;
use crate::error::Result;
use crate::values::ValueType;

/// From so many values on something is said of them.
pub const ENOUGH: u64 = 20;

/// What was counted.
pub struct Counts {
    pub seen: Seen,
    /// Values that the rule gives no term.
    pub refused: u64,
    /// By their normal forms, or their places in the order.
    pub values: Spread,
    /// By what is stored of them.
    pub terms: Spread,
    /// Tokens that a value has, together and at most.
    pub tokens: (u64, u64),
    /// Of ordered values, what boundaries are made from.
    pub sample: Option<Sample>,
}

/// How often each of some things was met, in every other row and in the rest. Of what was met only a hash is kept.
#[derive(Default)]
pub struct Spread {
    met: HashMap<u64, [u32; 2]>,
    hash: RandomState,
}

impl Spread {
    fn meet(&mut self, bytes: &[u8], half: usize) {
        self.met.entry(self.hash.hash_one(bytes)).or_default()[half] += 1;
    }

    /// How many there are.
    pub fn distinct(&self) -> u64 {
        self.met.len() as u64
    }

    fn each(&self) -> impl Iterator<Item = u64> {
        self.met.values().map(|[a, b]| u64::from(*a) + u64::from(*b))
    }

    /// How often all were met.
    pub fn total(&self) -> u64 {
        self.each().sum()
    }

    /// How often the most frequent one was.
    pub fn largest(&self) -> u64 {
        self.each().max().unwrap_or(0)
    }

    /// How many were met once.
    pub fn unique(&self) -> u64 {
        self.each().filter(|count| *count == 1).count() as u64
    }

    /// How many were met more than once.
    pub fn repeated(&self) -> u64 {
        self.each().filter(|count| *count > 1).count() as u64
    }

    /// What share of the one half of the rows is guessed right by who knows how often each value is in the other half,
    /// and takes the most frequent of the one for the most frequent of the other, and so on.
    pub fn guessed(&self) -> f64 {
        let mut known: Vec<(&u64, u32)> = self.met.iter().map(|(it, n)| (it, n[0])).collect();
        let mut seen: Vec<(&u64, u32)> = self.met.iter().map(|(it, n)| (it, n[1])).collect();
        known.retain(|(_, count)| *count > 0);
        seen.retain(|(_, count)| *count > 0);
        // Of those that are as frequent the hash decides, which is chance.
        known.sort_unstable_by_key(|(it, count)| (std::cmp::Reverse(*count), **it));
        seen.sort_unstable_by_key(|(it, count)| (std::cmp::Reverse(*count), it.reverse_bits()));
        let all: u64 = seen.iter().map(|(_, count)| u64::from(*count)).sum();
        let pairs = known.iter().zip(&seen).filter(|(a, b)| a.0 == b.0);
        let right: u64 = pairs.map(|(_, (_, count))| u64::from(*count)).sum();
        if all == 0 { 0.0 } else { right as f64 / all as f64 }
    }
}

/// Counts the values of the policy's column, and what `rule` makes of them.
pub fn count(policy: &PolicyRow, rule: &Rule) -> Result<Counts> {
    let value_type = match policy.value_type {
        pgrx::pg_sys::InvalidOid => None,
        kind => Some(ValueType::known(kind, policy.value_typmod)?),
    };
    let of = value_type.as_ref().map_or(FormType::Bytea, ValueType::form_type);
    let ordered = match rule.subject() {
        Subject::Ordered(ordered) => Some(ordered),
        Subject::Form(_) => None,
    };
    let mut counts = Counts {
        seen: Seen::default(),
        refused: 0,
        values: Spread::default(),
        terms: Spread::default(),
        tokens: (0, 0),
        sample: ordered.map(Sample::new),
    };
    let (mut scratch, mut row) = (Scratch::new(), 0usize);
    let whole = Rule::new(Kind::Exact, rule.subject()).unwrap_or(*rule);
    counts.seen = sample::each_form(policy, value_type.as_ref(), |form| {
        row += 1;
        let half = row % 2;
        let (values, terms) = (&mut counts.values, &mut counts.terms);
        let mut of_value: Vec<u64> = Vec::new();
        let mut take = || -> std::result::Result<(), Refused> {
            let mut room = Room::new();
            let value = search::value::of_form(of, form, rule, &mut room)?;
            match value {
                Value::Ordinal(ordinal) => values.meet(&ordinal.to_be_bytes(), half),
                Value::Outside(outside) => values.meet(outside.name().as_bytes(), half),
                of_text => search::payloads(&whole, of_text, None, &mut scratch, &mut |payload| {
                    values.meet(payload, half);
                })?,
            }
            if let Some(sample) = &mut counts.sample {
                sample.push(of, form)?;
            }
            // Classes are made from what is counted here.
            if rule.kind() == Kind::Buckets {
                return Ok(());
            }
            search::payloads(rule, value, None, &mut scratch, &mut |payload| {
                of_value.push(terms.hash.hash_one(payload));
            })
        };
        if take().is_err() {
            counts.refused += 1;
            return;
        }
        of_value.sort_unstable();
        of_value.dedup();
        counts.tokens.0 += of_value.len() as u64;
        counts.tokens.1 = counts.tokens.1.max(of_value.len() as u64);
        for hash in of_value {
            terms.met.entry(hash).or_default()[half] += 1;
        }
    })?;
    Ok(counts)
}
