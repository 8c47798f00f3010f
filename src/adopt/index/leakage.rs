//! What an index would give away, measured on the values that are there.

use envelope::search::{Kind, Rule, Subject};

use super::classes;
use super::counts::{Counts, ENOUGH};
use super::options::Options;
use crate::catalog::rows::PolicyRow;
use crate::error::{IndexError, Result};

/// A measure, what it is of this column, and what it means.
pub struct Measure {
    pub measure: &'static str,
    pub value: Option<String>,
    pub remark: String,
}

/// Bytes of a stored term beside the hash: length word and the two of the key id.
const OF_A_TERM: u64 = 3;
/// Bytes of an array of numbers beside them, and of each.
const OF_AN_ARRAY: u64 = 24;
const OF_A_TOKEN: u64 = 8;

/// All that can be said of an index by that rule.
pub fn measures(
    policy: &PolicyRow,
    rule: &Rule,
    options: &Options,
    term_length: Option<u8>,
    mut counts: Counts,
) -> Result<Vec<Measure>> {
    let mut said = vec![values_read(&counts)];
    let total = counts.values.total();
    if total < ENOUGH {
        let why = if total == 0 {
            "there is no value that can be read"
        } else {
            "there are too few values that can be read"
        };
        let remark = format!("cannot be known: {why}. Ask again when there are more");
        said.push(Measure { measure: "leakage", value: None, remark });
        return Ok(said);
    }
    said.push(bytes_a_row(&counts, term_length));
    said.push(measure(
        "distinct values",
        counts.values.distinct().to_string(),
        "in the normal form of the index; the fewer, the easier they are told by how often each is there",
    ));
    let largest_value = percent(counts.values.largest(), total);
    said.push(measure("largest value", largest_value, "rows that have the most frequent value"));
    match rule.kind() {
        Kind::Buckets => of_buckets(policy, rule, options, &mut counts, &mut said)?,
        _ => of_terms(rule, &counts, &mut said),
    }
    Ok(said)
}

fn values_read(counts: &Counts) -> Measure {
    let seen = counts.seen;
    let mut remark = if seen.is_all() {
        "all of the table".to_owned()
    } else {
        format!("a sample: {:.1} % of the table's pages, at most 100,000 values", seen.percent)
    };
    if seen.others > 0 {
        remark.push_str(&format!(
            "; {} that are not sealed or do not open were left out",
            seen.others
        ));
    }
    if counts.refused > 0 {
        remark
            .push_str(&format!("; {} cannot be indexed so, and would be refused", counts.refused));
    }
    measure("values read", seen.values.to_string(), &remark)
}

fn bytes_a_row(counts: &Counts, term_length: Option<u8>) -> Measure {
    let rows = counts.values.total().max(1);
    let bytes = match term_length {
        Some(length) => OF_A_TERM + u64::from(length),
        // The marker beside the tokens.
        None => OF_AN_ARRAY + OF_A_TOKEN * (1 + counts.tokens.0.div_ceil(rows)),
    };
    measure("bytes a row", bytes.to_string(), "in the table; PostgreSQL's index comes on top")
}

/// Of kinds whose terms or tokens stand for themselves.
fn of_terms(rule: &Rule, counts: &Counts, said: &mut Vec<Measure>) {
    let (rows, tokens) = (counts.values.total(), rule.is_tokens());
    let (terms, what) = (&counts.terms, if tokens { "token" } else { "term" });
    said.push(Measure {
        measure: if tokens { "distinct tokens" } else { "distinct terms" },
        value: Some(terms.distinct().to_string()),
        remark: format!("whoever reads the disk sees which rows share a {what}"),
    });
    if tokens {
        let (all, most) = counts.tokens;
        said.push(measure(
            "tokens a value",
            format!("{:.1}", all as f64 / rows.max(1) as f64),
            &format!("{most} at most; how many a row has is seen, and says how long its value is"),
        ));
    }
    said.push(Measure {
        measure: "largest class",
        value: Some(percent(terms.largest(), rows)),
        remark: format!("rows that share the most frequent {what}"),
    });
    if !tokens {
        said.push(measure(
            "unique",
            percent(terms.unique(), rows),
            "rows whose term no other row has that was read: nothing is learnt of them by how often it is there",
        ));
        said.push(measure(
            "guessed by frequency",
            share(terms.guessed()),
            "rows whose class is guessed right by who knows how often each is there (one half of the rows against the other)",
        ));
    }
    said.push(false_positives(rule));
    if let Some(remark) = order(rule) {
        said.push(Measure { measure: "order", value: None, remark });
    }
}

fn of_buckets(
    policy: &PolicyRow,
    rule: &Rule,
    options: &Options,
    counts: &mut Counts,
    said: &mut Vec<Measure>,
) -> Result<()> {
    let Subject::Ordered(of) = rule.subject() else { return Ok(()) };
    let classes = match classes::boundaries(policy, of, options, counts) {
        Ok(set) => set.count() as u64,
        Err(crate::error::Error::Index(error)) if matches!(*error, IndexError::TooFew { .. }) => {
            said.push(Measure { measure: "classes", value: None, remark: error.to_string() });
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    said.push(measure(
        "classes",
        classes.to_string(),
        "whoever reads the disk sees which rows share a class; the order of the classes as well where values go with \
         the order in which rows were inserted, or with a column in clear",
    ));
    let a_class = 1.0 / classes.max(1) as f64;
    said.push(measure(
        "rows a class",
        share(a_class),
        "about the same in each, when the index is built",
    ));
    for (asked, measure_of) in
        [(0.001, "fetched for 0.1 %"), (0.01, "fetched for 1 %"), (0.1, "fetched for 10 %")]
    {
        said.push(measure(
            measure_of,
            format!("{:.2}", 1.0 + a_class / asked),
            "rows fetched and opened for each row found, by a range of so much of the table",
        ));
    }
    Ok(())
}

fn false_positives(rule: &Rule) -> Measure {
    let (value, remark) = match rule.kind() {
        Kind::Exact => ("0 %", "what is found is what was asked for, in the normal form"),
        Kind::Prefix(_) | Kind::Suffix(_) => (
            "some",
            "none where as many characters are asked for as the index has; where more are, all rows that share those are \
             fetched and opened",
        ),
        Kind::Tree(_) => ("0 %", "a range is covered by intervals that hold nothing else"),
        Kind::Words => ("0 %", "of one word; of several, rows have them in any order"),
        Kind::Parts(_) => (
            "few",
            "rows that have all pieces of what was asked for, elsewhere: practically none from four letters on",
        ),
        Kind::Days | Kind::Steps(_) | Kind::Buckets => {
            ("some", "rows of the first and the last step of a range that are outside it")
        }
    };
    measure("false positives", value.to_owned(), remark)
}

fn order(rule: &Rule) -> Option<String> {
    Some(match rule.kind() {
        Kind::Days | Kind::Steps(_) => {
            "which rows share a step; the order of the steps as well where values go with the order in which rows were \
             inserted, or with a column in clear"
                .into()
        }
        Kind::Tree(_) => {
            "who is near whom: with a public distribution that is skewed nearly the value; with some known rows where the \
             others lie"
                .into()
        }
        _ => return None,
    })
}

fn percent(part: u64, whole: u64) -> String {
    share(part as f64 / whole.max(1) as f64)
}

fn share(part: f64) -> String {
    format!("{:.2} %", part * 100.0)
}

fn measure(measure: &'static str, value: String, remark: &str) -> Measure {
    Measure { measure, value: Some(value), remark: remark.into() }
}
