//! What must be so of search, whatever bytes it is given: nothing panics, a text of the catalog that is read is the only one
//! of what it says, and what a question asks for stands in every value that it is true of. Used by the tests and by the
//! fuzzer.

use std::collections::BTreeSet;

use envelope::search::{
    Boundaries, End, Extent, FormType, Kind, NormalForm, Op, Ordered, Refused, Room, Rule, Scratch,
    Subject, Value, normal_form, payloads, query, range, value,
};

const ORDERED: [Ordered; 8] = [
    Ordered::Int,
    Ordered::Float,
    Ordered::Numeric(2),
    Ordered::Numeric(-3),
    Ordered::Date,
    Ordered::Time,
    Ordered::Timestamp,
    Ordered::Timestamptz,
];

const KINDS: [Kind; 7] = [
    Kind::Exact,
    Kind::Words,
    Kind::Prefix(1),
    Kind::Prefix(3),
    Kind::Suffix(2),
    Kind::Parts(2),
    Kind::Parts(3),
];

const OPS: [Op; 5] = [Op::Equal, Op::Prefix, Op::Suffix, Op::Contains, Op::Words];

const TYPES: [FormType; 9] = [
    FormType::Int,
    FormType::Float8,
    FormType::Numeric,
    FormType::Date,
    FormType::Time,
    FormType::Timestamp,
    FormType::TimestampTz,
    FormType::Interval,
    FormType::Text,
];

/// Asks all readers. The first two characters say which piece of the rest a question is about.
pub fn check(bytes: &[u8]) {
    catalog(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for kind in ["buckets", "steps(7)", "days", "tree(2,1,16,9223372036854775808)"] {
        for of in ["int", "float", "numeric(2)", "date", "time", "timestamp", "timestamptz"] {
            Rule::parse(&format!("{kind} {of}/1")).iter().for_each(|rule| forms(rule, bytes));
        }
    }
    let Some((whole, piece)) = piece(text) else { return };
    for form in NormalForm::ALL {
        idempotent(form, whole);
        for kind in KINDS {
            let Ok(rule) = Rule::new(kind, Subject::Form(form)) else { continue };
            for op in OPS {
                found(&rule, form, op, whole, piece);
                found(&rule, form, op, whole, whole);
            }
        }
    }
}

/// Asks the readers of what stands in the catalog.
pub fn catalog(bytes: &[u8]) {
    for of in ORDERED {
        boundary_set(bytes, of);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(rule) = Rule::parse(text) {
        assert_eq!(rule.to_string(), text);
    }
}

/// All but the first two characters, and a part of that.
fn piece(text: &str) -> Option<(&str, &str)> {
    let mut chars = text.chars();
    let (first, len) = (chars.next()? as usize, chars.next()? as usize);
    let whole = chars.as_str();
    let ends: Vec<usize> = whole.char_indices().map(|(at, _)| at).chain([whole.len()]).collect();
    let start = first % ends.len();
    let end = start + len % (ends.len() - start);
    Some((whole, whole.get(*ends.get(start)?..*ends.get(end)?)?))
}

fn normal(form: NormalForm, extent: Extent, text: &str) -> Result<String, Refused> {
    normal_form(form, extent, text, &mut Scratch::new(), |normal| {
        String::from_utf8(normal.to_vec()).expect("a normal form of text is text")
    })
}

/// Whatever a value is, it is its own normal form's. Of the others this is not promised: what stands between two
/// characters goes, and they may be one afterwards.
fn idempotent(form: NormalForm, text: &str) {
    if matches!(form, NormalForm::Alnum | NormalForm::Email) {
        return;
    }
    if let Ok(once) = normal(form, Extent::Whole, text) {
        assert_eq!(normal(form, Extent::Whole, &once).ok(), Some(once));
    }
}

fn stored(rule: &Rule, value: Value<'_>) -> Result<BTreeSet<Vec<u8>>, Refused> {
    let mut all = BTreeSet::new();
    payloads(rule, value, None, &mut Scratch::new(), &mut |payload| {
        all.insert(payload.to_vec());
    })
    .map(|()| all)
}

fn asked(rule: &Rule, op: Op, text: &str) -> Result<BTreeSet<Vec<u8>>, Refused> {
    let mut all = BTreeSet::new();
    query(rule, op, Value::Text(text), None, &mut Scratch::new(), &mut |payload| {
        all.insert(payload.to_vec());
    })
    .map(|()| all)
}

/// A value of which a question is true has all that the question asks for.
fn found(rule: &Rule, form: NormalForm, op: Op, text: &str, question: &str) {
    let (Ok(stored), Ok(asked)) = (stored(rule, Value::Text(text)), asked(rule, op, question))
    else {
        return;
    };
    let extent = if op == Op::Equal { Extent::Whole } else { Extent::Piece };
    let (Ok(value), Ok(part)) = (normal(form, Extent::Whole, text), normal(form, extent, question))
    else {
        return;
    };
    let is_true = match op {
        Op::Equal => value == part,
        Op::Prefix => value.starts_with(&part),
        Op::Suffix => value.ends_with(&part),
        Op::Contains => value.contains(&part),
        // Words are compared as what is asked for: there is nothing else to ask.
        Op::Words => return,
    };
    // Shorter than what the column has of a value.
    let has_none = stored.is_empty() && !rule.is_tokens();
    assert!(!is_true || has_none || asked.is_subset(&stored), "{rule} {op:?}");
}

/// A set that is read is written the same, and every value has a class that is asked for.
fn boundary_set(bytes: &[u8], of: Ordered) {
    let Some(set) = Boundaries::parse(bytes, of) else { return };
    let mut again = Vec::new();
    set.write(&mut again);
    assert_eq!(again, bytes);
    let middle = 1 << 63;
    for ordinal in [0, 1, middle - 1, middle, middle + 1, u64::MAX] {
        for bits in [0, 1, u32::MAX] {
            let class = set.draw(ordinal, bits);
            let mut asked = BTreeSet::new();
            set.between(ordinal, ordinal, |one| {
                asked.insert(one);
            });
            assert!(asked.contains(&class));
        }
    }
}

/// A canonical form of a type, or what is none: a value is among what is asked for from it to itself.
fn forms(rule: &Rule, form: &[u8]) {
    for of in TYPES.into_iter().filter(|of| of.takes(rule)) {
        let mut room = Room::new();
        let Ok(value) = value::of_form(of, form, rule, &mut room) else { continue };
        let Ok(stored) = stored(rule, value) else { continue };
        let Some(end) = End::of(value) else { continue };
        let mut asked = BTreeSet::new();
        let made = range(rule, end, end, None, &mut |payload| {
            asked.insert(payload.to_vec());
        });
        assert!(made.is_err() || asked.intersection(&stored).next().is_some(), "{rule}");
    }
}
