//! Expressions that seal and open the values of a column.

use super::facts::{Category, Facts};
use super::text::{Name, literal};
use super::wish::{ValueType, Wish};

/// The row context of a column with these bound columns, by their quoted names and categories; none is the empty one.
pub fn context(facts: &Facts, tag: &str, bound: &[(String, Category)]) -> Option<String> {
    if bound.is_empty() {
        return None;
    }
    let parts: Vec<_> = bound
        .iter()
        .map(|(name, category)| match category {
            Category::Bytes => format!("pg_catalog.encode({name}, 'hex')"),
            _ => format!("{name}::text"),
        })
        .collect();
    Some(format!("{}.envelope_context({}, {})", facts.schema, literal(tag), parts.join(", ")))
}

/// The plaintext in the wish's column, sealed. The column is what [`Wish::became`] says, and its policy is there.
pub fn sealed(facts: &Facts, wish: &Wish<'_>) -> String {
    let bound: Vec<_> =
        wish.bind.iter().map(|column| (column.quoted.clone(), column.category)).collect();
    let context = context(facts, &wish.known_tag(facts), &bound);
    let (column, is) = (&wish.column.quoted, wish.became());
    let plain = match is.category {
        Category::Sealed => cast(&format!("{column}::bytea"), &bytes(), &wish.value),
        _ => cast(column, &is, &wish.value),
    };
    // To the block of the policy, and none that is sealed already and written as text.
    let seal = format!(
        "envelope.sealed_from_source({}::regclass, NULL, {}, NULL, {}, NULL, {plain})",
        facts.literal(),
        context.as_deref().unwrap_or("''"),
        literal(&wish.target.plain),
    );
    if !matches!(is.category, Category::Sealed | Category::Bytes) {
        return seal;
    }
    // What is sealed already is opened and sealed anew, so that what does not open is found. Before there was a
    // policy, it was sealed with no context.
    let former = facts.policy(&wish.column.name).and(context.as_deref());
    let open = call(facts, "envelope_decrypt", std::slice::from_ref(column), former);
    let again = call(facts, "envelope_encrypt", &[open], context.as_deref());
    format!("CASE WHEN envelope.is_sealed({column}) THEN {again} ELSE {seal} END")
}

/// Bytes as they come.
pub fn bytes() -> ValueType {
    ValueType { name: "bytea".into(), category: Category::Bytes }
}

/// An expression of type `is` as one of type `to`; bytes hold text in UTF-8. Where PostgreSQL's own cast would show what
/// it refuses, ours does not.
pub fn cast(expression: &str, is: &ValueType, to: &ValueType) -> String {
    let name = &to.name;
    let is_bytes = |category| matches!(category, Category::Bytes | Category::Sealed);
    let read = |text: &str| format!("envelope.read_as({text}, NULL::{name})::{name}");
    match is.category {
        _ if is.name == *name => expression.to_owned(),
        Category::Bytes if !is_bytes(to.category) => read(expression),
        _ if is.is_string() && !to.is_string() => read(&format!("({expression})::text")),
        _ => format!("({expression})::{name}"),
    }
}

/// The sealed value in `column`, opened as a value of `value`.
pub fn opened(facts: &Facts, column: &Name, value: &ValueType, context: Option<&str>) -> String {
    let column = column.quoted.clone();
    match value.category {
        Category::Bytes | Category::Sealed => call(facts, "envelope_decrypt", &[column], context),
        Category::Text => {
            let text = call(facts, "envelope_decrypt_text", &[column], context);
            if value.name == "text" { text } else { format!("{text}::{}", value.name) }
        }
        Category::Other => {
            let null = format!("NULL::{}", value.name);
            call(facts, "envelope_decrypt_as", &[column, null], context)
        }
    }
}

fn call(facts: &Facts, function: &str, arguments: &[String], context: Option<&str>) -> String {
    let arguments = arguments.join(", ");
    let context = context.map(|context| format!(", {context}")).unwrap_or_default();
    format!("{}.{function}({}, {arguments}{context})", facts.schema, facts.literal())
}
