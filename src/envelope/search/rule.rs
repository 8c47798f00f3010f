//! Rules: what a column's terms are made of, as the frozen text says that stands under the hash.
//!
//! `casefold/1` for exact, `<kind>(<parameters>) <form or type>/1` for all else. The `/1` covers kind, form and type
//! together: whatever would make other terms of a value is `/2`.

mod subject;

use std::fmt::{self, Display};

pub use subject::{NormalForm, Ordered, Subject};

/// How a value is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole.
    Exact,
    /// By so many characters at its start.
    Prefix(u32),
    /// By so many characters at its end.
    Suffix(u32),
    /// By its words.
    Words,
    /// By pieces of so many characters.
    Parts(u32),
    /// By its day.
    Days,
    /// By steps of so many days of a date, seconds of a time, units of a number.
    Steps(u64),
    /// By its class of a boundary set.
    Buckets,
    /// By intervals, each half as long as the next.
    Tree(Tree),
}

/// The intervals of a tree: those of 2^height values, for some heights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// Every so manieth height has nodes.
    pub sparsity: u8,
    /// So many heights at the top have none.
    pub trim: u8,
    /// The domain has 2^bits values.
    pub bits: u8,
    /// The ordinal of the domain's first value.
    pub low: u64,
}

/// A kind over what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    kind: Kind,
    subject: Subject,
}

/// There is no such rule: the kind does not go with the form or type, or a parameter is beyond its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kind does not take this form, type or parameter")]
pub struct WrongRule;

/// The version of all rules here.
const VERSION: &str = "/1";

impl Rule {
    /// The most characters that `prefix` and `suffix` take.
    pub const MOST_CHARACTERS: u32 = 255;
    /// The shortest and the longest piece of `parts`.
    pub const PARTS: std::ops::RangeInclusive<u32> = 2..=8;
    /// The widest gap between heights of a tree, which bounds the tokens of a range.
    pub const MOST_SPARSITY: u8 = 8;
    /// The most heights that a tree may lack at the top.
    pub const MOST_TRIM: u8 = 12;

    /// The rule of a kind over a form or type.
    ///
    /// # Errors
    /// [`WrongRule`] if there is none.
    pub fn new(kind: Kind, subject: Subject) -> Result<Rule, WrongRule> {
        use Ordered::{Date, Float, Timestamp, Timestamptz};
        let is_right = match (kind, subject) {
            (Kind::Exact | Kind::Words, Subject::Form(_)) => true,
            (Kind::Prefix(k) | Kind::Suffix(k), Subject::Form(_)) => {
                (1..=Rule::MOST_CHARACTERS).contains(&k)
            }
            (Kind::Parts(k), Subject::Form(_)) => Rule::PARTS.contains(&k),
            (Kind::Days, Subject::Ordered(of)) => matches!(of, Date | Timestamp | Timestamptz),
            (Kind::Steps(_), Subject::Ordered(Float)) => false,
            (Kind::Steps(width), Subject::Ordered(of)) => of.step(width).is_some(),
            (Kind::Buckets, Subject::Ordered(_)) => true,
            (Kind::Tree(tree), Subject::Ordered(_)) => tree.is_right(),
            _ => false,
        };
        let has_scale = match subject {
            Subject::Ordered(Ordered::Numeric(scale)) => (-1000..=1000).contains(&scale),
            _ => true,
        };
        if is_right && has_scale { Ok(Rule { kind, subject }) } else { Err(WrongRule) }
    }

    /// How values are found.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What of them counts.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// Whether a value has tokens (`int8[]`) rather than one term (`bytea`).
    pub fn is_tokens(&self) -> bool {
        matches!(self.kind, Kind::Words | Kind::Parts(_) | Kind::Tree(_))
    }

    /// How long the hash of a term is unless it is said: 16 bytes, 8 of kinds that give several values one term.
    pub fn default_term_len(&self) -> u8 {
        match self.kind {
            Kind::Days | Kind::Steps(_) | Kind::Buckets => 8,
            _ if self.is_tokens() => super::hasher::TOKEN_LEN,
            _ => 16,
        }
    }

    /// Of how much of an ordinal one term is, under `days` and `steps`.
    pub(super) fn step(&self) -> Option<i64> {
        match (self.kind, self.subject) {
            (Kind::Days, Subject::Ordered(Ordered::Date)) => Some(1),
            (Kind::Days, Subject::Ordered(_)) => Some(crate::forms::time::DAY),
            (Kind::Steps(width), Subject::Ordered(of)) => of.step(width),
            _ => None,
        }
    }

    /// Reads what [`Display`] writes, and nothing else.
    pub fn parse(text: &str) -> Option<Rule> {
        let of = text.strip_suffix(VERSION)?;
        let rule = match of.split_once(' ') {
            None => Rule::new(Kind::Exact, Subject::Form(NormalForm::parse(of)?)),
            Some((kind, of)) => {
                let form = NormalForm::parse(of).map(Subject::Form);
                let subject = form.or_else(|| Ordered::parse(of).map(Subject::Ordered))?;
                Rule::new(Kind::parse(kind).filter(|kind| *kind != Kind::Exact)?, subject)
            }
        };
        rule.ok()
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != Kind::Exact {
            write!(f, "{} ", self.kind)?;
        }
        match self.subject {
            Subject::Form(form) => f.write_str(form.name())?,
            Subject::Ordered(of) => of.fmt(f)?,
        }
        f.write_str(VERSION)
    }
}

impl Kind {
    /// Its name, without parameters.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Exact => "exact",
            Kind::Prefix(_) => "prefix",
            Kind::Suffix(_) => "suffix",
            Kind::Words => "words",
            Kind::Parts(_) => "parts",
            Kind::Days => "days",
            Kind::Steps(_) => "steps",
            Kind::Buckets => "buckets",
            Kind::Tree(_) => "tree",
        }
    }

    /// Reads what [`Display`] writes: `exact`, `prefix(4)`, `tree(2,6,16,0)`.
    pub fn parse(text: &str) -> Option<Kind> {
        let (name, parameters) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => (name, rest.strip_suffix(')').filter(|all| !all.is_empty())?),
        };
        let mut numbers = [0u64; 4];
        let mut count = 0;
        for number in parameters.split(',').filter(|_| !parameters.is_empty()) {
            *numbers.get_mut(count)? = decimal(number)?;
            count += 1;
        }
        let small = |number: u64| u32::try_from(number).ok();
        let tiny = |number: u64| u8::try_from(number).ok();
        Some(match (name, count) {
            ("exact", 0) => Kind::Exact,
            ("prefix", 1) => Kind::Prefix(small(numbers[0])?),
            ("suffix", 1) => Kind::Suffix(small(numbers[0])?),
            ("words", 0) => Kind::Words,
            ("parts", 1) => Kind::Parts(small(numbers[0])?),
            ("days", 0) => Kind::Days,
            ("steps", 1) => Kind::Steps(numbers[0]),
            ("buckets", 0) => Kind::Buckets,
            ("tree", 4) => Kind::Tree(Tree {
                sparsity: tiny(numbers[0])?,
                trim: tiny(numbers[1])?,
                bits: tiny(numbers[2])?,
                low: numbers[3],
            }),
            _ => return None,
        })
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Kind::Prefix(k) | Kind::Suffix(k) | Kind::Parts(k) => write!(f, "({k})"),
            Kind::Steps(width) => write!(f, "({width})"),
            Kind::Tree(Tree { sparsity, trim, bits, low }) => {
                write!(f, "({sparsity},{trim},{bits},{low})")
            }
            Kind::Exact | Kind::Words | Kind::Days | Kind::Buckets => Ok(()),
        }
    }
}

impl Tree {
    fn is_right(&self) -> bool {
        let last = if self.bits == 64 { u64::MAX } else { (1 << self.bits.min(63)) - 1 };
        (1..=64).contains(&self.bits)
            && (1..=Rule::MOST_SPARSITY).contains(&self.sparsity)
            && self.trim <= Rule::MOST_TRIM
            && self.trim < self.bits
            && self.low.checked_add(last).is_some()
    }
}

/// The number that `text` is the one decimal of.
fn decimal(text: &str) -> Option<u64> {
    let is_one = text == "0" || !text.starts_with('0');
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_one && is_digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[&str] = &[
        "exact/1",
        "nfc/1",
        "casefold/1",
        "digits/1",
        "alnum/1",
        "email/1",
        "prefix(4) digits/1",
        "suffix(255) alnum/1",
        "words casefold/1",
        "parts(3) casefold/1",
        "days date/1",
        "days timestamptz/1",
        "steps(7) date/1",
        "steps(3600) time/1",
        "steps(10) int/1",
        "steps(1000) numeric(2)/1",
        "buckets float/1",
        "buckets numeric(-2)/1",
        "tree(2,6,16,9223372036854761208) date/1",
        "tree(1,0,64,0) float/1",
    ];

    #[test]
    fn come_back() {
        for text in RULES {
            let rule = Rule::parse(text);
            assert_eq!(rule.map(|rule| rule.to_string()).as_deref(), Some(*text));
        }
    }

    /// The text of a rule leaves `exact` out; that of a kind does not.
    #[test]
    fn kinds_come_back() {
        for text in ["exact", "prefix(4)", "words", "tree(2,6,16,0)"] {
            let kind = Kind::parse(text);
            assert_eq!(kind.map(|kind| kind.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Kind::parse("exact"), Some(Kind::Exact));
    }

    #[test]
    fn no_other_text_of_a_rule() {
        let others = [
            "",
            "/1",
            "exact",
            "exact/2",
            "exact/01",
            "exact exact/1",
            "Exact/1",
            "exact /1",
            " exact/1",
            "prefix(4)  digits/1",
            "prefix(04) digits/1",
            "prefix(+4) digits/1",
            "prefix( 4) digits/1",
            "prefix digits/1",
            "prefix() digits/1",
            "prefix(4,4) digits/1",
            "prefix(4,) digits/1",
            "words() casefold/1",
            "tree(2,6,16) date/1",
            "numeric(2)/1",
            "buckets numeric/1",
            "buckets numeric(02)/1",
            "buckets numeric(-0)/1",
            "buckets integer/1",
        ];
        for other in others {
            assert_eq!(Rule::parse(other), None, "{other}");
        }
    }

    #[test]
    fn limits() {
        let wrong = [
            "prefix(0) digits/1",
            "suffix(256) digits/1",
            "parts(1) casefold/1",
            "parts(9) casefold/1",
            "parts(4294967299) casefold/1",
            "prefix(4) date/1",
            "words date/1",
            "days time/1",
            "days int/1",
            "days casefold/1",
            "steps(0) date/1",
            "steps(9223372036854775808) int/1",
            "steps(9223372036855) timestamp/1",
            "steps(1) float/1",
            "steps(1) numeric(19)/1",
            "steps(1) numeric(-1)/1",
            "buckets exact/1",
            "buckets numeric(1001)/1",
            "tree(0,6,16,0) date/1",
            "tree(9,6,16,0) date/1",
            "tree(2,13,16,0) date/1",
            "tree(2,6,6,0) date/1",
            "tree(2,6,0,0) date/1",
            "tree(2,6,65,0) date/1",
            "tree(2,6,64,1) date/1",
            "tree(2,6,16,18446744073709486081) date/1",
            "tree(2,6,16,18446744073709551616) date/1",
        ];
        for rule in wrong {
            assert_eq!(Rule::parse(rule), None, "{rule}");
        }
        for right in ["tree(2,6,16,18446744073709486080) date/1", "steps(9223372036854) time/1"] {
            assert!(Rule::parse(right).is_some(), "{right}");
        }
    }
}
