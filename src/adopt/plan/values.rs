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
    let plain = match (is.category, wish.value.category) {
        (Category::Sealed, Category::Bytes) => format!("{column}::bytea"),
        (Category::Sealed | Category::Bytes, Category::Text | Category::Other) => {
            let bytes = if is.category == Category::Sealed { "::bytea" } else { "" };
            let text = format!("pg_catalog.convert_from({column}{bytes}, 'UTF8')");
            if wish.value.name == "text" { text } else { format!("{text}::{}", wish.value.name) }
        }
        (_, Category::Text) if is.name != "text" => format!("{column}::text"),
        _ => column.clone(),
    };
    let seal = match wish.value.category {
        // To the block of the policy, which the functions below do not know.
        _ if wish.is_filled() => format!(
            "envelope.sealed_from_source({}::regclass, NULL, {}, NULL, {}, NULL, {plain}::{})",
            facts.literal(),
            context.as_deref().unwrap_or("''"),
            literal(&wish.target.plain),
            wish.value.name
        ),
        Category::Bytes | Category::Sealed => {
            call(facts, "envelope_encrypt", &[plain], context.as_deref())
        }
        Category::Text => call(facts, "envelope_encrypt_text", &[plain], context.as_deref()),
        Category::Other => call(facts, "envelope_encrypt_as", &[plain], context.as_deref()),
    };
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
