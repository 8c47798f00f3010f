//! What `tests/vectors/search-1.json`, which an independent implementation wrote, has of search.

use crate::terms::{Key, key};
use envelope::forms::interval::Interval as Parts;
use envelope::forms::{Ends, date, interval};
use envelope::search::{
    Drawn, Extent, FormType, Kind, NormalForm, Ordered, Refused, Room, Rule, Scratch, Subject,
    Tree, Value, in_order, normal_form, ordinal, payloads, value,
};
use serde::Deserialize;

const VECTORS: &str = include_str!("../../../tests/vectors/search-1.json");

/// The rest of the file is about canonical forms.
#[derive(Deserialize)]
struct Vectors {
    unicode: String,
    index_dek: String,
    index_key: String,
    key_id: String,
    marker: i64,
    next_index_dek: String,
    next_marker: i64,
    normal_forms: Vec<Normal>,
    terms: Vec<Term>,
    token_sets: Vec<TokenSet>,
    ordinals: Vec<Ordinal>,
    tree: Vec<TreeValue>,
    tree_outside: Vec<OutsideValue>,
    rotation: Vec<Rotation>,
    covers: Vec<Cover>,
    ordered_terms: Vec<OrderedTerm>,
    float8: Vec<Float>,
    interval: Vec<Interval>,
    numeric_index: Vec<Numeric>,
    encryption_contexts: Vec<Context>,
}

#[derive(Deserialize)]
struct Context {
    context: std::collections::BTreeMap<String, String>,
    form: String,
}

#[derive(Deserialize)]
struct Normal {
    value: String,
    exact: String,
    nfc: String,
    casefold: String,
    digits: Option<String>,
    alnum: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
struct Term {
    label: String,
    value: String,
    n: u8,
    rule: String,
    payload: String,
    term: String,
}

#[derive(Deserialize)]
struct TokenSet {
    label: String,
    value: String,
    rule: String,
    pieces: Vec<String>,
    tokens: Vec<i64>,
    stored: Vec<i64>,
}

#[derive(Deserialize)]
struct Ordinal {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    ordinal: u64,
}

#[derive(Deserialize)]
struct TreeValue {
    label: String,
    days: i64,
    rule: String,
    heights: Vec<u8>,
    nodes: Vec<(u8, u64)>,
    payloads: Vec<String>,
    stored: Vec<i64>,
}

#[derive(Deserialize)]
struct OutsideValue {
    label: String,
    rule: String,
    value: String,
    payload: String,
    stored: Vec<i64>,
}

#[derive(Deserialize)]
struct Rotation {
    value: String,
    rule: String,
    tokens_now: Vec<i64>,
    tokens_next: Vec<i64>,
    term_now: String,
    term_next: String,
}

#[derive(Deserialize)]
struct Cover {
    a: u64,
    b: u64,
    bits: u8,
    sparsity: u8,
    trim: u8,
    nodes: Vec<(u8, u64)>,
}

#[derive(Deserialize)]
struct OrderedTerm {
    label: String,
    days: Option<i64>,
    set: Option<u32>,
    class: Option<u32>,
    rule: String,
    payload: String,
    term: String,
}

#[derive(Deserialize)]
struct Float {
    form: String,
    index: String,
}

#[derive(Deserialize)]
struct Interval {
    months: i32,
    days: i32,
    us: i64,
    form: String,
    index: String,
}

#[derive(Deserialize)]
struct Numeric {
    form: String,
    index: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.unicode, "15.1.0");
    vectors
}

/// The payloads of text, as they come.
fn of_text(rule: &Rule, text: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    payloads(rule, Value::Text(text), None, &mut Scratch::new(), &mut |payload| {
        all.push(payload.to_vec());
    })
    .unwrap();
    all
}

fn of_ordinal(rule: &Rule, ordinal: u64, drawn: Option<Drawn<'_>>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    payloads(rule, Value::Ordinal(ordinal), drawn, &mut Scratch::new(), &mut |payload| {
        all.push(payload.to_vec());
    })
    .unwrap();
    all
}

fn rule(text: &str) -> Rule {
    let rule = Rule::parse(text).unwrap();
    assert_eq!(rule.to_string(), text);
    rule
}

#[test]
fn keys() {
    let vectors = vectors();
    let Key { index_key, id } = key(&vectors.index_dek);
    assert_eq!(hex::encode(index_key), vectors.index_key);
    assert_eq!(hex::encode(id.0), vectors.key_id);
    let next = key(&vectors.next_index_dek);
    assert_eq!(envelope::search::marker(id), vectors.marker);
    assert_eq!(envelope::search::marker(next.id), vectors.next_marker);
}

#[test]
fn normal_forms() {
    let mut scratch = Scratch::new();
    let mut form = |form, text: &str| {
        let normal = normal_form(form, Extent::Whole, text, &mut scratch, <[u8]>::to_vec);
        normal.map(|normal| String::from_utf8(normal).unwrap())
    };
    for vector in vectors().normal_forms {
        let value = &vector.value;
        for (which, expected) in [
            (NormalForm::Exact, Some(vector.exact)),
            (NormalForm::Nfc, Some(vector.nfc)),
            (NormalForm::Casefold, Some(vector.casefold)),
            (NormalForm::Digits, vector.digits),
            (NormalForm::Alnum, vector.alnum),
            (NormalForm::Email, vector.email),
        ] {
            let refused = match which {
                NormalForm::Email => Refused::NotEmail,
                _ => Refused::Empty,
            };
            assert_eq!(form(which, value), expected.ok_or(refused), "{which:?} {value:?}");
        }
    }
}

#[test]
fn terms_of_text() {
    let vectors = vectors();
    let key = key(&vectors.index_dek);
    for Term { label, value, n, rule: text, payload, term } in vectors.terms {
        let rule = rule(&text);
        let payloads = of_text(&rule, &value);
        assert_eq!(payloads.iter().map(hex::encode).collect::<Vec<_>>(), [payload], "{text}");
        assert_eq!(key.term(&label, &text, n, &payloads[0]), term);
    }
}

#[test]
fn token_sets() {
    let vectors = vectors();
    let key = key(&vectors.index_dek);
    for vector in vectors.token_sets {
        let mut pieces = of_text(&rule(&vector.rule), &vector.value);
        let tokens = key.tokens(&vector.label, &vector.rule, &pieces);
        assert_eq!(tokens, vector.tokens, "{} {:?}", vector.rule, vector.value);
        let mut stored = tokens;
        stored.push(vectors.marker);
        in_order(&mut stored);
        assert_eq!(stored, vector.stored);
        pieces.sort();
        pieces.dedup();
        assert!(pieces.iter().eq(vector.pieces.iter().map(String::as_bytes)), "{:?}", vector.value);
    }
}

#[test]
fn ordinals() {
    for Ordinal { kind, value, ordinal } in vectors().ordinals {
        let number = || value.parse::<i64>().unwrap();
        let found = match kind.as_str() {
            "integer" | "bigint" => {
                let rule = Rule::new(Kind::Buckets, Subject::Ordered(Ordered::Int)).unwrap();
                of_form(FormType::Int, &value, &rule)
            }
            "date" | "timestamptz" => ordinal::of_number(number()),
            "float8" => ordinal::of_float(value.parse().unwrap()),
            "numeric(10,2)" => {
                let rule = Rule::new(Kind::Buckets, Subject::Ordered(Ordered::Numeric(2))).unwrap();
                of_form(FormType::Numeric, value.trim_matches('\''), &rule)
            }
            _ => panic!("{kind}"),
        };
        assert_eq!(found, ordinal, "{kind} {value}");
    }
}

fn of_form(kind: FormType, form: &str, rule: &Rule) -> u64 {
    match value::of_form(kind, form.as_bytes(), rule, &mut Room::new()) {
        Ok(Value::Ordinal(ordinal)) => ordinal,
        _ => panic!("{form}"),
    }
}

/// By its canonical form, as a date arrives.
fn of_date(days: i64, rule: &Rule) -> u64 {
    let mut form = Vec::new();
    date::write(Ends::At(days), &mut form);
    of_form(FormType::Date, std::str::from_utf8(&form).unwrap(), rule)
}

#[test]
fn tree_values() {
    let vectors = vectors();
    let key = key(&vectors.index_dek);
    for vector in vectors.tree {
        let rule = rule(&vector.rule);
        let Kind::Tree(tree) = rule.kind() else { panic!("{}", vector.rule) };
        assert!(tree.heights().eq(vector.heights));
        let ordinal = of_date(vector.days, &rule);
        let nodes: Vec<_> = tree.nodes(ordinal).map(|node| (node.height, node.at)).collect();
        assert_eq!(nodes, vector.nodes);
        let payloads = of_ordinal(&rule, ordinal, None);
        assert_eq!(payloads.iter().map(hex::encode).collect::<Vec<_>>(), vector.payloads);
        let stored = key.stored(&vector.label, &vector.rule, &payloads);
        assert_eq!(stored, vector.stored);
    }
}

#[test]
fn tree_outside() {
    use envelope::search::Outside;
    let vectors = vectors();
    let key = key(&vectors.index_dek);
    for vector in vectors.tree_outside {
        let rule = rule(&vector.rule);
        let Kind::Tree(Tree { low, .. }) = rule.kind() else { panic!("{}", vector.rule) };
        let value = match vector.value.as_str() {
            "below" => Value::Ordinal(low - 1),
            "above" => Value::Ordinal(low + 65_536),
            "-infinity" => Value::Outside(Outside::Before),
            "infinity" => Value::Outside(Outside::After),
            _ => Value::Outside(Outside::NaN),
        };
        let mut all = Vec::new();
        let each = &mut |payload: &[u8]| all.push(payload.to_vec());
        payloads(&rule, value, None, &mut Scratch::new(), each).unwrap();
        assert_eq!(all.iter().map(hex::encode).collect::<Vec<_>>(), [vector.payload]);
        assert_eq!(key.stored(&vector.label, &vector.rule, &all), vector.stored);
    }
}

#[test]
fn rotation() {
    let vectors = vectors();
    let (now, next) = (key(&vectors.index_dek), key(&vectors.next_index_dek));
    for vector in vectors.rotation {
        let pieces = of_text(&rule(&vector.rule), &vector.value);
        assert_eq!(now.tokens("people.name", &vector.rule, &pieces), vector.tokens_now);
        assert_eq!(next.tokens("people.name", &vector.rule, &pieces), vector.tokens_next);
        let whole = &of_text(&rule("casefold/1"), &vector.value)[0];
        assert_eq!(now.term("people.name", "casefold/1", 16, whole), vector.term_now);
        assert_eq!(next.term("people.name", "casefold/1", 16, whole), vector.term_next);
    }
}

#[test]
fn covers() {
    for Cover { a, b, bits, sparsity, trim, nodes } in vectors().covers {
        let tree = Tree { sparsity, trim, bits, low: 0 };
        let mut found = Vec::new();
        tree.cover(a, b, |node| found.push((node.height, node.at)));
        assert_eq!(found, nodes, "{a} to {b}");
    }
}

#[test]
fn ordered_terms() {
    let vectors = vectors();
    let key = key(&vectors.index_dek);
    for vector in vectors.ordered_terms {
        let rule = rule(&vector.rule);
        let payloads = match (vector.days, vector.set, vector.class) {
            (Some(days), None, None) => of_ordinal(&rule, of_date(days, &rule), None),
            (None, Some(set), Some(class)) => {
                let json = format!("{{\"set\":{set},\"bounds\":[],\"classes\":[[{class}]]}}");
                let boundaries =
                    envelope::search::Boundaries::parse(json.as_bytes(), Ordered::Date).unwrap();
                of_ordinal(&rule, 0, Some(Drawn { boundaries: &boundaries, bits: 7 }))
            }
            _ => panic!("{}", vector.rule),
        };
        assert_eq!(payloads.iter().map(hex::encode).collect::<Vec<_>>(), [vector.payload]);
        let n = rule.default_term_len();
        assert_eq!(key.term(&vector.label, &vector.rule, n, &payloads[0]), vector.term);
    }
}

fn index_form(kind: FormType, form: &str) -> String {
    let rule = rule("exact/1");
    let mut room = Room::new();
    match value::of_form(kind, form.as_bytes(), &rule, &mut room) {
        Ok(Value::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        _ => panic!("{form}"),
    }
}

#[test]
fn index_forms() {
    let vectors = vectors();
    for Numeric { form, index } in vectors.numeric_index {
        assert_eq!(index_form(FormType::Numeric, &form), index, "{form}");
    }
    for Float { form, index } in vectors.float8 {
        assert_eq!(index_form(FormType::Float8, &form), index, "{form}");
    }
    for Interval { months, days, us, form, index } in vectors.interval {
        let parts = Parts { months, days, us };
        assert_eq!(interval::read(form.as_bytes()), Some(Ends::At(parts)));
        assert_eq!(index_form(FormType::Interval, &form), index, "{form}");
    }
}

#[test]
fn encryption_contexts_as_text() {
    let contexts = vectors().encryption_contexts;
    assert_eq!(contexts.len(), 4);
    for Context { context, form } in contexts {
        let context = envelope::wrap::EncryptionContext::from(context);
        assert_eq!(context.canonical_json(), form);
    }
}
