//! What `envelope.add_index` is asked for beside a kind: the keys of its options.

use serde_json::Value;

use crate::error::{Error, Result};

/// The most classes of buckets.
const MOST_CLASSES: u64 = 65_536;

/// The options.
#[derive(Default)]
pub struct Options {
    pub unique: bool,
    /// Of buckets: how many.
    pub classes: Option<usize>,
    /// Of buckets: the first values of all classes but the lowest, as text.
    pub bounds: Option<Vec<String>>,
    /// Of a tree.
    pub sparsity: Option<u8>,
    pub trim: Option<u8>,
    /// Of a tree: the first and the last value of its domain, as text.
    pub low: Option<String>,
    pub high: Option<String>,
    pub term_length: Option<u8>,
    pub form: Option<String>,
}

impl Options {
    /// From JSON text.
    pub fn parse(json: &str) -> Result<Options> {
        let Ok(Value::Object(entries)) = serde_json::from_str(json) else {
            return Err(bad("options", "a JSON object"));
        };
        let mut options = Options::default();
        for (key, value) in entries {
            match key.as_str() {
                "unique" => {
                    options.unique =
                        value.as_bool().ok_or_else(|| bad("option unique", "true or false"))?;
                }
                "classes" => {
                    let number = value.as_u64().filter(|n| (2..=MOST_CLASSES).contains(n));
                    let number = number.and_then(|number| usize::try_from(number).ok());
                    let needs = "a number from 2 to 65536";
                    options.classes = Some(number.ok_or_else(|| bad("option classes", needs))?);
                }
                "bounds" => options.bounds = Some(bounds(&value)?),
                "sparsity" => options.sparsity = Some(small("option sparsity", &value)?),
                "trim" => options.trim = Some(small("option trim", &value)?),
                "low" => options.low = Some(scalar("option low", &value)?),
                "high" => options.high = Some(scalar("option high", &value)?),
                "term_length" => {
                    let length = small("option term_length", &value)?;
                    if !(8..=32).contains(&length) {
                        return Err(bad("option term_length", "a number from 8 to 32"));
                    }
                    options.term_length = Some(length);
                }
                "form" => options.form = Some(scalar("option form", &value)?),
                _ => {
                    return Err(bad(
                        "options",
                        "an object with some of the keys form, unique, classes, bounds, sparsity, trim, low, high, term_length",
                    ));
                }
            }
        }
        Ok(options)
    }
}

fn bounds(value: &Value) -> Result<Vec<String>> {
    let needs = || bad("option bounds", "an array of values, of 1 to 65535");
    let Value::Array(elements) = value else { return Err(needs()) };
    if elements.is_empty() || elements.len() as u64 >= MOST_CLASSES {
        return Err(needs());
    }
    elements.iter().map(|element| scalar("each of option bounds", element)).collect()
}

fn small(what: &str, value: &Value) -> Result<u8> {
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| bad(what, "a small number"))
}

/// A value as its type's input function reads it.
fn scalar(what: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(bad(what, "a string or a number")),
    }
}

fn bad(what: &str, needs: &str) -> Error {
    Error::BadArgument(format!("{what} must be {needs}"))
}
