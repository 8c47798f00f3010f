//! What `tests/vectors/search-2.json` has, which the reference in Python made: tests/interop/search.py.

use envelope::index_key::IndexKeys;
use envelope::search::{
    Boundaries, End, Extent, FormType, Kind, NormalForm, Op, Ordered, Refused, Room, Rule, Scratch,
    Subject, Value, boundaries, normal_form, payloads, query, range, value,
};
use envelope::{DataKey, Opening, SealKey, Sealed, Session};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const VECTORS: &str = include_str!("../../../tests/vectors/search-2.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    unicode: String,
    index_dek: String,
    label: String,
    code_points: CodePoints,
    typed: Vec<Typed>,
    ordinals: Vec<Ordinal>,
    queries: Vec<Query>,
    ranges: Vec<Range>,
    boundary_sets: Vec<Set>,
}

#[derive(Deserialize)]
struct CodePoints {
    nfc: String,
    casefold: String,
    digits: String,
    alnum: String,
    marks: String,
    folded: String,
    hangul: String,
    kinds: String,
}

#[derive(Deserialize)]
struct Typed {
    rule: String,
    #[serde(rename = "type")]
    kind: String,
    form: String,
    payloads: Vec<String>,
    stored: Option<Vec<i64>>,
    n: Option<u8>,
    term: Option<String>,
}

#[derive(Deserialize)]
struct Ordinal {
    #[serde(rename = "type")]
    kind: String,
    scale: Option<i16>,
    form: String,
    ordinal: serde_json::Value,
}

#[derive(Deserialize)]
struct Query {
    rule: String,
    op: String,
    text: String,
    payloads: Option<Vec<String>>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Range {
    rule: String,
    #[serde(rename = "type")]
    kind: String,
    low: Option<String>,
    high: Option<String>,
    payloads: Option<Vec<String>>,
    count: Option<usize>,
    last: Option<String>,
    refused: Option<String>,
}

#[derive(Deserialize)]
struct Set {
    label: String,
    rule: String,
    #[serde(rename = "type")]
    kind: String,
    text: String,
    nonce: String,
    context: String,
    sealed: String,
    values: Vec<Classes>,
    ranges: Vec<Between>,
}

#[derive(Deserialize)]
struct Classes {
    ordinal: u64,
    classes: Vec<u32>,
}

#[derive(Deserialize)]
struct Between {
    low: u64,
    high: u64,
    payloads: Vec<String>,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!((&*vectors.format, &*vectors.unicode), ("envelope/1 search", "15.1.0"));
    vectors
}

fn rule(text: &str) -> Rule {
    let rule = Rule::parse(text).unwrap();
    assert_eq!(rule.to_string(), text);
    rule
}

fn type_of(kind: &str) -> FormType {
    match kind {
        "int2" | "int4" | "int8" => FormType::Int,
        "float4" => FormType::Float4,
        "float8" => FormType::Float8,
        "numeric" => FormType::Numeric,
        "date" => FormType::Date,
        "time" => FormType::Time,
        "timetz" => FormType::TimeTz,
        "timestamp" => FormType::Timestamp,
        "timestamptz" => FormType::TimestampTz,
        "interval" => FormType::Interval,
        "uuid" => FormType::Uuid,
        "inet" | "cidr" => FormType::Network,
        "enum" => FormType::Enum,
        _ => panic!("{kind}"),
    }
}

fn hexes(payloads: &[Vec<u8>]) -> Vec<String> {
    payloads.iter().map(hex::encode).collect()
}

#[test]
fn typed() {
    let vectors = vectors();
    let key = crate::terms::key(&vectors.index_dek);
    for vector in vectors.typed {
        let rule = rule(&vector.rule);
        let mut room = Room::new();
        let form = vector.form.as_bytes();
        let value = value::of_form(type_of(&vector.kind), form, &rule, &mut room).unwrap();
        let mut found = Vec::new();
        let each = &mut |payload: &[u8]| found.push(payload.to_vec());
        payloads(&rule, value, None, &mut Scratch::new(), each).unwrap();
        assert_eq!(hexes(&found), vector.payloads, "{} {}", vector.rule, vector.form);
        match (vector.stored, vector.n, vector.term) {
            (Some(stored), None, None) => {
                assert_eq!(key.stored(&vectors.label, &vector.rule, &found), stored);
                assert!(rule.is_tokens());
            }
            (None, Some(n), Some(term)) => {
                assert_eq!(rule.default_term_len(), n);
                assert_eq!(key.term(&vectors.label, &vector.rule, n, &found[0]), term);
            }
            _ => panic!("{}", vector.rule),
        }
    }
}

#[test]
fn ordinals() {
    for vector in vectors().ordinals {
        let of = match type_of(&vector.kind).ordered().unwrap() {
            Ordered::Numeric(_) => Ordered::Numeric(vector.scale.unwrap()),
            of => of,
        };
        let rule = Rule::new(Kind::Buckets, Subject::Ordered(of)).unwrap();
        let mut room = Room::new();
        let form = vector.form.as_bytes();
        let found = match value::of_form(type_of(&vector.kind), form, &rule, &mut room) {
            Ok(Value::Ordinal(ordinal)) => ordinal.into(),
            Ok(Value::Outside(outside)) => outside.name().into(),
            Err(Refused::NoForm) => serde_json::Value::Null,
            _ => panic!("{}", vector.form),
        };
        assert_eq!(found, vector.ordinal, "{} {}", vector.kind, vector.form);
    }
}

#[test]
fn queries() {
    for vector in vectors().queries {
        let op = match vector.op.as_str() {
            "=" => Op::Equal,
            "prefix" => Op::Prefix,
            "suffix" => Op::Suffix,
            "contains" => Op::Contains,
            _ => Op::Words,
        };
        let mut found = Vec::new();
        let each = &mut |payload: &[u8]| found.push(payload.to_vec());
        let value = Value::Text(&vector.text);
        let refused = query(&rule(&vector.rule), op, value, None, &mut Scratch::new(), each).err();
        let refused = refused.map(|refused| match refused {
            Refused::Empty => "empty",
            Refused::NotEmail => "no address",
            Refused::TooShort { .. } => "too short",
            Refused::NoAnswer => "no answer",
            other => panic!("{other:?}"),
        });
        assert_eq!(refused, vector.refused.as_deref(), "{} {:?}", vector.rule, vector.text);
        assert_eq!(hexes(&found), vector.payloads.unwrap_or_default());
    }
}

#[test]
fn ranges() {
    for vector in vectors().ranges {
        let rule = rule(&vector.rule);
        let end = |form: Option<String>| match form {
            None => End::Open,
            Some(form) => {
                let mut room = Room::new();
                let form = form.as_bytes();
                let value = value::of_form(type_of(&vector.kind), form, &rule, &mut room).unwrap();
                End::of(value).unwrap()
            }
        };
        let mut found = Vec::new();
        let (low, high) = (end(vector.low), end(vector.high));
        let refused = range(&rule, low, high, None, &mut |payload| found.push(payload.to_vec()));
        assert_eq!(refused.is_err(), vector.refused.is_some(), "{low:?} {high:?}");
        let mut found = hexes(&found);
        match vector.count {
            Some(count) => assert_eq!((found.len(), found.last()), (count, vector.last.as_ref())),
            None => {
                let mut expected = vector.payloads.unwrap_or_default();
                // In any order.
                found.sort();
                expected.sort();
                assert_eq!(found, expected, "{} {low:?} {high:?}", vector.rule);
            }
        }
    }
}

#[test]
fn boundary_sets() {
    let vectors = vectors();
    let dek = DataKey::try_from_slice(&hex::decode(&vectors.index_dek).unwrap()).unwrap();
    let keys = IndexKeys::from_index_key(&dek);
    let key = SealKey::of_boundaries(keys.key_id(), keys.boundaries());
    for vector in vectors.boundary_sets {
        let rule = rule(&vector.rule);
        let Subject::Ordered(of) = rule.subject() else { panic!("{}", vector.rule) };
        assert!(type_of(&vector.kind).takes(&rule));
        let set = Boundaries::parse(vector.text.as_bytes(), of).unwrap();
        let mut text = Vec::new();
        set.write(&mut text);
        assert_eq!(String::from_utf8(text.clone()).unwrap(), vector.text);

        let context = boundaries::context(&vector.label, &vector.rule);
        assert_eq!(context, vector.context);
        let nonce: [u8; 24] = hex::decode(&vector.nonce).unwrap().try_into().unwrap();
        let mut session = Session::none();
        session.begin(&key, &nonce, 1);
        let mut sealed = vec![0; text.len() + 58];
        key.seal(&mut session, context.as_bytes(), &text, &mut sealed).unwrap();
        assert_eq!(hex::encode(&sealed), vector.sealed);
        let mut opened = vec![0; text.len()];
        let sealed = Sealed::parse(&sealed).unwrap();
        key.open(&mut Opening::none(), &sealed, context.as_bytes(), &mut opened).unwrap();
        assert_eq!(opened, text);

        for Classes { ordinal, classes } in vector.values {
            let has = set.intervals().nth(set.interval_of(ordinal)).unwrap();
            assert_eq!(has, classes, "{ordinal}");
            assert!((0..9).all(|bits| classes.contains(&set.draw(ordinal, bits))));
        }
        for Between { low, high, payloads } in vector.ranges {
            let mut found = Vec::new();
            let (low, high) = (End::At(low), End::At(high));
            range(&rule, low, high, Some(&set), &mut |payload| found.push(payload.to_vec()))
                .unwrap();
            assert_eq!(hexes(&found), payloads, "{low:?} {high:?}");
        }
    }
}

/// Of what 15.1.0 assigns, and some more. The crate's tables are of a later version.
#[test]
fn code_points() {
    let expected = vectors().code_points;
    let mut scratch = Scratch::new();
    let mut digest = |of: &mut dyn FnMut(char, &mut Scratch, &mut Sha256)| {
        let mut digest = Sha256::new();
        let all = ('\0'..='\u{32fff}').chain('\u{e0000}'..='\u{e0fff}');
        all.for_each(|c| of(c, &mut scratch, &mut digest));
        hex::encode(digest.finalize())
    };
    for (form, expected) in [
        (NormalForm::Nfc, &expected.nfc),
        (NormalForm::Casefold, &expected.casefold),
        (NormalForm::Digits, &expected.digits),
        (NormalForm::Alnum, &expected.alnum),
    ] {
        let found = digest(&mut |c, scratch, digest| {
            let text = c.to_string();
            match normal_form(form, Extent::Whole, &text, scratch, |form| digest.update(form)) {
                Ok(()) => digest.update([0xff]),
                Err(_) => digest.update([0xfe]),
            }
        });
        assert_eq!(&found, expected, "{form:?}");
    }
    let mut of = |form, text: &dyn Fn(char) -> String| {
        digest(&mut |c, scratch, digest| {
            let done = normal_form(form, Extent::Whole, &text(c), scratch, |form| {
                digest.update(form);
            });
            done.unwrap();
            digest.update([0xff]);
        })
    };
    assert_eq!(of(NormalForm::Nfc, &|c| format!("a\u{323}{c}\u{301}\u{327}")), expected.marks);
    assert_eq!(of(NormalForm::Nfc, &|c| format!("\u{1100}{c}\u{11a8}")), expected.hangul);
    let folded = of(NormalForm::Casefold, &|c| format!("A\u{323}{c}\u{301}\u{327}B{c}\u{345}"));
    assert_eq!(folded, expected.folded);
    // The properties, as far as words and pieces show them.
    let (words, parts) = (rule("words exact/1"), rule("parts(2) exact/1"));
    let found = digest(&mut |c, scratch, digest| {
        let mut shown = |rule: &Rule, text: String| {
            let mut found = Vec::new();
            let each = &mut |payload: &[u8]| found.push(payload.to_vec());
            payloads(rule, Value::Text(&text), None, scratch, each).unwrap();
            found
        };
        // START a c b END: a control leaves three pairs of four.
        let pairs = shown(&parts, format!("a{c}b"));
        let is_white = pairs.contains(&b"a ".to_vec());
        let is_control = pairs.len() == 3 || (is_white && c.is_control());
        let is_word = !shown(&words, c.to_string()).is_empty();
        digest.update([is_white.into(), is_control.into(), is_word.into()]);
    });
    assert_eq!(found, expected.kinds);
}
