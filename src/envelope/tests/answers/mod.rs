//! The questions of `tests/vectors/conformance-1.json`, answered by this crate: the readers of `interop` answer the same.
//! Bytes are hex, 64-bit numbers are text, lists of payloads are sorted.

#![allow(dead_code)]

mod forms;
mod search;
mod values;

use serde_json::{Value as Json, json};

/// What is given, or the name of what went wrong.
type Answer = Result<Json, &'static str>;

/// Of a question that only the readers answer.
const NOT_HERE: &str = "not here";

/// The arguments of a question.
struct Given<'a>(&'a Json);

impl<'a> Given<'a> {
    fn of(&self, name: &str) -> &'a Json {
        &self.0[name]
    }

    fn text(&self, name: &str) -> &'a str {
        self.of(name).as_str().unwrap_or_else(|| panic!("{name} in {}", self.0))
    }

    fn text_or_none(&self, name: &str) -> Option<&'a str> {
        self.of(name).as_str()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        hex::decode(self.text(name)).unwrap()
    }
}

/// Of one question: `{"gives": …}`, or `{"fails": name}`. `None` if it is not about what this crate does.
pub fn answer(question: &Json) -> Option<Json> {
    let given = &Given(&question["with"]);
    let name = question["do"].as_str().unwrap();
    let answer = values::answer(name, given)
        .or_else(|| forms::answer(name, given))
        .or_else(|| search::answer(name, given))?;
    Some(match answer {
        Err(NOT_HERE) => return None,
        Ok(gives) => json!({ "gives": gives }),
        Err(name) => json!({ "fails": name }),
    })
}
