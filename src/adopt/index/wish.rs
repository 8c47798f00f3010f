//! From a kind, a form and options to the rule of an index.

use envelope::search::{Kind, NormalForm, Ordered, Rule, Subject};

use super::options::Options;
use super::subject::Values;
use crate::catalog::rows::PolicyRow;
use crate::error::{Error, IndexError, Result};
use crate::pg::relation::display_name;
use crate::pg::{encoding, types};

/// A kind as SQL names it, its parameters if there are any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub name: &'static str,
    number: Option<u64>,
}

const KINDS: [&str; 9] =
    ["exact", "prefix", "suffix", "words", "parts", "days", "steps", "buckets", "tree"];
/// The length of n-grams that finds pieces of four letters with few false positives.
const USUAL_PARTS: u64 = 3;

impl Named {
    /// From `prefix(4)`, `exact`, ...
    pub fn parse(text: &str) -> Result<Named> {
        let (name, number) = match text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            None => (text, None),
            Some((name, number)) => {
                let number = number.parse().map_err(|_| no_kind())?;
                (name, Some(number))
            }
        };
        let name = KINDS.into_iter().find(|kind| *kind == name).ok_or_else(no_kind)?;
        let takes_number = ["prefix", "suffix", "parts", "steps"].contains(&name);
        if number.is_some() && !takes_number {
            return Err(no_kind());
        }
        if number.is_none() && takes_number && name != "parts" {
            let message = format!("kind '{name}' needs a number: {name}(7)");
            return Err(Error::BadArgument(message));
        }
        Ok(Named { name, number })
    }

    /// What it is of values like these; of a tree that is said by its options alone.
    pub fn kind(self) -> Option<Kind> {
        let number = self.number.unwrap_or(USUAL_PARTS);
        // What is too large for any is refused as what is too large for a rule.
        let length = u32::try_from(number).unwrap_or(u32::MAX);
        Some(match self.name {
            "exact" => Kind::Exact,
            "prefix" => Kind::Prefix(length),
            "suffix" => Kind::Suffix(length),
            "words" => Kind::Words,
            "parts" => Kind::Parts(length),
            "days" => Kind::Days,
            "steps" => Kind::Steps(number),
            "buckets" => Kind::Buckets,
            _ => return None,
        })
    }
}

fn no_kind() -> Error {
    IndexError::NoKind.into()
}

fn bad_form(message: &'static str) -> Error {
    IndexError::BadForm(message).into()
}

/// The rule of an index of that kind over the values of a column, in that normal form.
pub fn rule(
    policy: &PolicyRow,
    values: Values,
    named: Named,
    kind: Kind,
    form: Option<&str>,
) -> Result<Rule> {
    let form = match form {
        None => None,
        Some(name) => Some(NormalForm::parse(name).ok_or_else(|| {
            let message = "form must be exact, nfc, casefold, digits, alnum or email";
            bad_form(message)
        })?),
    };
    let subject = match (kind, values) {
        (Kind::Exact, Values::Text) => Subject::Form(form.unwrap_or(NormalForm::Exact)),
        (Kind::Exact, _) if form.is_none_or(|form| form == NormalForm::Exact) => values.whole(),
        (Kind::Prefix(_) | Kind::Suffix(_), Values::Text) => {
            Subject::Form(form.unwrap_or(NormalForm::Exact))
        }
        // Who looks for a word means it whatever its case.
        (Kind::Words | Kind::Parts(_), Values::Text) => {
            Subject::Form(form.unwrap_or(NormalForm::Casefold))
        }
        (Kind::Days | Kind::Steps(_) | Kind::Buckets | Kind::Tree(_), Values::Ordered(ordered))
            if form.is_none() =>
        {
            Subject::Ordered(ordered)
        }
        (_, values) if form.is_some() && values != Values::Text => {
            return Err(bad_form("only text has forms"));
        }
        _ => return Err(wrong_kind(policy, values, named)),
    };
    Rule::new(kind, subject).map_err(|_| match subject {
        Subject::Ordered(of) if kind == Kind::Days || of == Ordered::Float => {
            wrong_kind(policy, values, named)
        }
        _ if matches!(kind, Kind::Tree(_)) => Error::BadArgument(
            "kind tree does not take such options sparsity and trim: 1 to 8, and 0 to 12 that leave a level".into(),
        ),
        _ if named.number.is_some() => {
            Error::BadArgument(format!("kind '{}' does not take that number", named.name))
        }
        _ => wrong_kind(policy, values, named),
    })
}

/// Values that take other kinds.
pub fn wrong_kind(policy: &PolicyRow, values: Values, named: Named) -> Error {
    let is = match policy.value_type {
        pgrx::pg_sys::InvalidOid => "bytea".into(),
        kind => types::display_name(kind, policy.value_typmod),
    };
    IndexError::WrongKind {
        kind: named.name,
        column: encoding::to_string(policy.column_name.to_bytes()),
        table: display_name(policy.relation),
        is,
        takes: values.takes(),
    }
    .into()
}

/// The length of its terms; `None` for tokens. An error where the options do not go with the rule.
pub fn term_length(rule: &Rule, options: &Options) -> Result<Option<u8>> {
    let bad = |message: &str| Err(Error::BadArgument(message.into()));
    if rule.is_tokens() && options.term_length.is_some() {
        return bad("option term_length is of kinds with one term a value");
    }
    if options.unique && rule.kind() != Kind::Exact {
        return bad("option unique is of kind exact");
    }
    let is_tree = matches!(rule.kind(), Kind::Tree(_));
    let of_tree = options.sparsity.is_some() || options.trim.is_some();
    if !is_tree && (of_tree || options.low.is_some() || options.high.is_some()) {
        return bad("options sparsity, trim, low and high are of kind tree");
    }
    if rule.kind() != Kind::Buckets && (options.classes.is_some() || options.bounds.is_some()) {
        return bad("options classes and bounds are of kind buckets");
    }
    let length = options.term_length.unwrap_or(rule.default_term_len());
    // Of two values with one term the second would be refused.
    if options.unique && length < 16 {
        return bad("a unique index needs terms of 16 bytes or more");
    }
    Ok((!rule.is_tokens()).then_some(length))
}
