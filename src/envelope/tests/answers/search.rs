//! Normal forms, payloads, terms, boundary sets.

use envelope::index_key::IndexKeys;
use envelope::search::{
    Boundaries, End, Extent, FormType, Hasher, Kind, NormalForm, Op, Ordered, Refused, Room, Rule,
    Scratch, Subject, TOKEN_LEN, Value, boundaries, in_order, normal_form, payloads, query, range,
    value,
};
use envelope::{SealKey, Sealed};
use serde_json::json;

use super::forms::{is_form, unfilled};
use super::{Answer, Given, values};

pub fn answer(name: &str, given: &Given) -> Option<Answer> {
    match name {
        "normal_form" => Some(normal(given)),
        "ordinal" => ordinal(given),
        "payloads" => of_value(given),
        "asked" => Some(asked(given)),
        "asked_between" => asked_between(given),
        "term" => Some(term(given)),
        "marker" => Some(
            index_keys(given)
                .map(|keys| json!(envelope::search::marker(keys.key_id()).to_string())),
        ),
        "tokens" => Some(tokens(given, false)),
        "stored" => Some(tokens(given, true)),
        "open_boundaries" => Some(open_boundaries(given)),
        _ => None,
    }
}

fn name_of(refused: Refused) -> &'static str {
    match refused {
        Refused::Empty => "empty",
        Refused::NotEmail => "no_address",
        Refused::TooShort { .. } => "too_short",
        Refused::NoForm => "no_form",
        Refused::NoAnswer => "no_answer",
        Refused::TooWide { .. } => "too_wide",
        Refused::NoBoundaries => "no_boundaries",
    }
}

fn rule(given: &Given) -> Result<Rule, &'static str> {
    Rule::parse(given.text("rule")).ok_or("unknown_rule")
}

/// Text of PostgreSQL has no zero.
fn text<'a>(given: &Given<'a>) -> Result<&'a str, &'static str> {
    Some(given.text("text")).filter(|text| !text.contains('\0')).ok_or("not_text")
}

fn normal(given: &Given) -> Answer {
    let form = NormalForm::parse(given.text("form")).ok_or("unknown_rule")?;
    let is_piece = given.of("is_piece").as_bool().unwrap_or(false);
    let extent = if is_piece { Extent::Piece } else { Extent::Whole };
    let scratch = &mut Scratch::new();
    normal_form(form, extent, text(given)?, scratch, |form| {
        json!(String::from_utf8(form.to_vec()).unwrap())
    })
    .map_err(name_of)
}

/// `None` of names that are not the short ones.
fn type_of(kind: &str) -> Option<FormType> {
    Some(match kind {
        "bool" => FormType::Bool,
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
        "text" | "varchar" | "bpchar" => FormType::Text,
        "bytea" => FormType::Bytea,
        "json" | "jsonb" => FormType::Unordered,
        _ if kind.ends_with("[]") => FormType::Unordered,
        _ => return None,
    })
}

/// Forms come to search once they are known to be some; those of floats it reads itself.
fn check(kind: &str, of: FormType, form: &[u8]) -> Result<(), &'static str> {
    match of {
        FormType::Text => match std::str::from_utf8(form) {
            Ok(text) if !text.contains('\0') => Ok(()),
            _ => Err("not_text"),
        },
        FormType::Bytea | FormType::Float4 | FormType::Float8 => Ok(()),
        _ if std::str::from_utf8(form).is_err() => Err("no_form"),
        _ => is_form(kind, form).then_some(()).ok_or("no_form"),
    }
}

fn ordinal(given: &Given) -> Option<Answer> {
    let (kind, form) = (given.text("type"), given.text("form").as_bytes());
    let of = type_of(kind)?;
    let ordered = match of.ordered() {
        Some(Ordered::Numeric(_)) => {
            Ordered::Numeric(given.of("scale").as_i64().unwrap().try_into().unwrap())
        }
        Some(ordered) => ordered,
        None => return Some(Err("no_form")),
    };
    let rule = Rule::new(Kind::Buckets, Subject::Ordered(ordered)).unwrap();
    let room = &mut Room::new();
    Some(check(kind, of, form).and_then(|()| match value::of_form(of, form, &rule, room) {
        Ok(Value::Ordinal(ordinal)) => Ok(json!(ordinal.to_string())),
        Ok(Value::Outside(outside)) => Ok(json!(outside.name())),
        Ok(_) => panic!("{kind}"),
        Err(refused) => Err(name_of(refused)),
    }))
}

fn hexes(mut payloads: Vec<Vec<u8>>) -> serde_json::Value {
    payloads.sort();
    payloads.dedup();
    json!(payloads.iter().map(hex::encode).collect::<Vec<_>>())
}

fn set(given: &Given, rule: &Rule) -> Result<Option<Boundaries>, &'static str> {
    let Some(text) = given.text_or_none("set") else { return Ok(None) };
    let (Kind::Buckets, Subject::Ordered(of)) = (rule.kind(), rule.subject()) else {
        return Err("no_answer");
    };
    let set = Boundaries::parse(text.as_bytes(), of).ok_or("not_a_boundary_set")?;
    // Ranges of types are PostgreSQL's. It reads floats in any notation.
    let fields: serde_json::Value = serde_json::from_str(text).unwrap();
    let kind = form_of(of);
    let bounds = fields["bounds"].as_array().unwrap();
    let has = |bound: &serde_json::Value| is_form(kind, bound.as_str().unwrap().as_bytes());
    let are_forms = of == Ordered::Float || bounds.iter().all(has);
    are_forms.then_some(Some(set)).ok_or("not_a_boundary_set")
}

fn form_of(of: Ordered) -> &'static str {
    match of {
        Ordered::Int => "int8",
        Ordered::Float => "float8",
        Ordered::Numeric(_) => "numeric",
        Ordered::Date => "date",
        Ordered::Time => "time",
        Ordered::Timestamp => "timestamp",
        Ordered::Timestamptz => "timestamptz",
    }
}

fn of_value(given: &Given) -> Option<Answer> {
    let kind = given.text("type");
    let of = type_of(kind)?;
    let plaintext = given.bytes("plaintext");
    Some((|| {
        let rule = rule(given)?;
        let set = set(given, &rule)?;
        let form = unfilled(kind, &plaintext);
        if !of.takes(&rule) {
            return Err("no_form");
        }
        check(kind, of, form)?;
        let room = &mut Room::new();
        let value = value::of_form(of, form, &rule, room).map_err(name_of)?;
        if let (Kind::Buckets, Value::Ordinal(ordinal)) = (rule.kind(), value) {
            let set = set.ok_or("no_boundaries")?;
            let classes = set.intervals().nth(set.interval_of(ordinal)).unwrap();
            let payload = |class: &u32| [set.set().to_be_bytes(), class.to_be_bytes()].concat();
            return Ok(hexes(classes.iter().map(payload).collect()));
        }
        let mut found = Vec::new();
        let each = &mut |payload: &[u8]| found.push(payload.to_vec());
        payloads(&rule, value, None, &mut Scratch::new(), each).map_err(name_of)?;
        // A prefix or suffix of a text that is shorter.
        let is_null = found.is_empty() && matches!(rule.kind(), Kind::Prefix(_) | Kind::Suffix(_));
        Ok(if is_null { serde_json::Value::Null } else { hexes(found) })
    })())
}

fn op(name: &str) -> Option<Op> {
    Some(match name {
        "=" => Op::Equal,
        "prefix" => Op::Prefix,
        "suffix" => Op::Suffix,
        "contains" => Op::Contains,
        "words" => Op::Words,
        _ => return None,
    })
}

fn asked(given: &Given) -> Answer {
    let rule = rule(given)?;
    let Subject::Form(form) = rule.subject() else { return Err("no_answer") };
    let value = Value::Text(text(given)?);
    let Some(op) = op(given.text("op")) else {
        // That there is no normal form is said first.
        let is_none =
            normal_form(form, Extent::Piece, given.text("text"), &mut Scratch::new(), |_| ());
        return Err(is_none.map_or_else(name_of, |()| "no_answer"));
    };
    let mut found = Vec::new();
    let each = &mut |payload: &[u8]| found.push(payload.to_vec());
    query(&rule, op, value, None, &mut Scratch::new(), each).map_err(name_of)?;
    Ok(hexes(found))
}

fn asked_between(given: &Given) -> Option<Answer> {
    let kind = given.text("type");
    let of = type_of(kind)?;
    Some((|| {
        let rule = rule(given)?;
        let set = set(given, &rule)?;
        if matches!(rule.subject(), Subject::Form(_)) || of == FormType::Unordered {
            return Err("no_answer");
        }
        let end = |name: &str| {
            let Some(form) = given.text_or_none(name) else { return Ok(End::Open) };
            if !of.takes(&rule) {
                return Err("no_form");
            }
            let form = unfilled(kind, form.as_bytes());
            check(kind, of, form)?;
            let room = &mut Room::new();
            let value = value::of_form(of, form, &rule, room).map_err(name_of)?;
            Ok(End::of(value).unwrap())
        };
        let (low, high) = (end("low")?, end("high")?);
        let mut found = Vec::new();
        let each = &mut |payload: &[u8]| found.push(payload.to_vec());
        range(&rule, low, high, set.as_ref(), each).map_err(name_of)?;
        Ok(hexes(found))
    })())
}

fn index_keys(given: &Given) -> Result<IndexKeys, &'static str> {
    Ok(IndexKeys::from_index_key(&*values::data_key(given, "data_key")?))
}

fn hasher(given: &Given, n: u8) -> Result<Hasher, &'static str> {
    let keys = index_keys(given)?;
    let (label, rule) = (given.text("label"), given.text("rule"));
    Hasher::new(keys.terms(), keys.key_id(), label, rule, n).map_err(|_| "bad_term")
}

fn term(given: &Given) -> Answer {
    let n = match given.of("n").as_u64() {
        Some(n) => n.try_into().map_err(|_| "bad_term")?,
        None => rule(given)?.default_term_len(),
    };
    let hasher = hasher(given, n)?;
    rule(given)?;
    let mut term = Vec::new();
    hasher.term(&given.bytes("payload"), &mut term);
    Ok(json!(hex::encode(term)))
}

fn tokens(given: &Given, are_stored: bool) -> Answer {
    let hasher = hasher(given, TOKEN_LEN)?;
    rule(given)?;
    let payloads = given.of("payloads").as_array().unwrap();
    let token = |payload: &serde_json::Value| {
        hasher.token(&hex::decode(payload.as_str().unwrap()).unwrap())
    };
    let mut found: Vec<i64> = payloads.iter().map(token).collect();
    if are_stored {
        found.push(hasher.marker());
    } else if found.is_empty() {
        found.push(hasher.no_token());
    }
    in_order(&mut found);
    Ok(json!(found.iter().map(i64::to_string).collect::<Vec<_>>()))
}

fn open_boundaries(given: &Given) -> Answer {
    let bytes = given.bytes("sealed");
    let sealed = Sealed::parse(&bytes).map_err(|_| "not_sealed")?;
    let keys = index_keys(given)?;
    let key = SealKey::of_boundaries(keys.key_id(), keys.boundaries());
    let context = boundaries::context(given.text("label"), given.text("rule"));
    let text = values::open(&key, &sealed, &context)?;
    String::from_utf8(text).map(|text| json!(text)).map_err(|_| "not_a_boundary_set")
}
