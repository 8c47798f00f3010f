//! Whether an opened value is what was asked for, by the index's own normal form and its own meaning of the question.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ffi::CStr;

use envelope::search::{
    self, Extent, FormType, Outside, Refused, Room, Rule, Scratch, Subject, Value,
};
use zeroize::Zeroizing;

use super::question::{have_same_answers, in_column, the_one};
use super::terms::key_owner;
use super::{Beyond, Given, Op, Searched};
use crate::catalog::rows::Verb;
use crate::error::{Error, PolicyError, Result, SearchError};
use crate::keyring::table::{ColumnIndex, Table};
use crate::pg::compare::compare;
use crate::pg::{encoding, kept};
use crate::values::FormBuf;

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
}

/// A question, ready to be put to many values.
pub struct Recheck {
    op: Op,
    searched: Searched,
    rule: Rule,
    asked: Asked,
}

/// What values are compared with.
enum Asked {
    /// The normal form, the words with a zero byte before each, the index form, or the canonical form.
    Bytes(Zeroizing<Vec<u8>>),
    /// Of a type with an order.
    Value(kept::Value),
    /// Of such a type, a number that it cannot hold.
    Beyond(Beyond),
}

impl Recheck {
    /// The question by the index in `index_column`; without one, by the only index of terms (or of tokens:
    /// `has_tokens`) that is about such questions.
    pub fn new(
        table: &Table,
        column: &CStr,
        index_column: Option<&CStr>,
        has_tokens: bool,
        op: Op,
        given: &Given,
    ) -> Result<Recheck> {
        let index = match index_column {
            Some(index_column) => in_column(table, column, index_column)?,
            None => {
                let fits =
                    |index: &ColumnIndex| index.rule.is_tokens() == has_tokens && op.is_for(index);
                the_one(table, column, "index_name", fits, have_same_answers)?
            }
        };
        let named = || (encoding::to_string(column.to_bytes()), table.name());
        let refused = |why| {
            let index_column = encoding::to_string(index.index_column.to_bytes());
            Error::from(SearchError::Refused { index_column, table: table.name(), why })
        };
        // A comparison tells as much as terms do: it needs the same right, whether they are asked for or not.
        key_owner(table, index)?.require_right(Verb::Search)?;
        if !op.is_for(index) {
            return Err(refused(Refused::NoAnswer));
        }
        let policy = table.policy(column).ok_or_else(|| {
            let (column, table) = named();
            Error::from(PolicyError::None { column, table })
        })?;
        let searched = Searched::of(policy)?;
        let mut form = FormBuf::new();
        let asked = match (index.rule.subject(), searched.value_type()) {
            (Subject::Ordered(_), Some(kind)) => {
                match searched.place_of(given, false, (table, column), &mut form)? {
                    Some(beyond) => Asked::Beyond(beyond),
                    // SAFETY: a value of that type, just read.
                    None => Asked::Value(unsafe {
                        kept::Value::copy_of(kind.read(form.as_slice())?, searched.base())
                    }),
                }
            }
            _ => {
                searched.form_of(given, false, (table, column), &mut form)?;
                let asked = asked(&index.rule, op, searched.form_type(), form.as_slice());
                Asked::Bytes(asked.map_err(refused)?)
            }
        };
        Ok(Recheck { op, searched, rule: index.rule, asked })
    }

    /// Whether the value matches whose canonical form, filled or not, this is.
    pub fn matches(&self, form: &[u8]) -> Result<bool> {
        let kind = self.searched.value_type();
        let form = kind.map_or(form, |kind| kind.unfilled(form));
        let of = self.searched.form_type();
        let matches = match (&self.asked, kind) {
            (Asked::Value(asked), Some(kind)) => {
                let value = kind.read(form)?;
                // SAFETY: two values of the type, which is none of text.
                let order = unsafe { compare(self.searched.base(), value, asked.datum()) };
                Ok(order.is_some_and(|order| self.is_in(order)))
            }
            (Asked::Value(_), None) => Err(Refused::NoForm),
            (Asked::Beyond(beyond), _) => self.from(*beyond, form).map(|order| self.is_in(order)),
            (Asked::Bytes(asked), _) if self.op == Op::Words => {
                let has = stored_words(&self.rule, of, form);
                has.map(|words| {
                    each_word(asked).all(|word| each_word(&words).any(|has| has == word))
                })
            }
            (Asked::Bytes(asked), _) => with_form(&self.rule, of, Extent::Whole, form, |form| {
                compares(self.op, form, asked)
            }),
        };
        match matches {
            // The row has no terms either.
            Err(Refused::Empty | Refused::NotEmail) => Ok(false),
            Err(_) => Err(kind.map_or(Error::NotText, |kind| kind.is_other())),
            Ok(matches) => Ok(matches),
        }
    }

    /// How the value stands to a number that its type cannot hold: infinity is greater than all numbers.
    fn from(&self, beyond: Beyond, form: &[u8]) -> std::result::Result<Ordering, Refused> {
        let mut room = Room::new();
        let value = search::value::of_form(self.searched.form_type(), form, &self.rule, &mut room)?;
        Ok(match (value, beyond) {
            (Value::Outside(Outside::Before), _) => Ordering::Less,
            (Value::Outside(_), _) => Ordering::Greater,
            (_, Beyond::Above) => Ordering::Less,
            (_, Beyond::Below) => Ordering::Greater,
        })
    }

    fn is_in(&self, order: Ordering) -> bool {
        match self.op {
            Op::Less => order.is_lt(),
            Op::LessOrEqual => order.is_le(),
            Op::Greater => order.is_gt(),
            Op::GreaterOrEqual => order.is_ge(),
            _ => order.is_eq(),
        }
    }
}

/// What values are compared with; refused what the index has no terms for, whether it is used or not.
fn asked(
    rule: &Rule,
    op: Op,
    of: FormType,
    form: &[u8],
) -> std::result::Result<Zeroizing<Vec<u8>>, Refused> {
    let (Subject::Form(_), Some(question)) = (rule.subject(), op.of_one()) else {
        return Ok(Zeroizing::new(form.to_vec()));
    };
    let (mut room, mut words) = (Room::new(), Zeroizing::new(Vec::new()));
    let value = search::value::of_form(of, form, rule, &mut room)?;
    let mut put = |payload: &[u8]| put_word(&mut words, payload);
    with_scratch(|scratch| search::query(rule, question, value, None, scratch, &mut put))?;
    if op == Op::Words {
        return if words.is_empty() { Err(Refused::TooShort { least: 1 }) } else { Ok(words) };
    }
    let extent = if op == Op::Equal { Extent::Whole } else { Extent::Piece };
    with_form(rule, of, extent, form, |form| Zeroizing::new(form.to_vec()))
}

/// Calls `f` with the normal form of a text, or the index form of another value.
fn with_form<T>(
    rule: &Rule,
    of: FormType,
    extent: Extent,
    form: &[u8],
    f: impl FnOnce(&[u8]) -> T,
) -> std::result::Result<T, Refused> {
    let mut room = Room::new();
    match search::value::of_form(of, form, rule, &mut room)? {
        Value::Text(text) => {
            let Subject::Form(normal) = rule.subject() else { return Err(Refused::NoForm) };
            with_scratch(|scratch| search::normal_form(normal, extent, text, scratch, f))
        }
        Value::Bytes(bytes) => Ok(f(bytes)),
        Value::Ordinal(_) | Value::Outside(_) => Err(Refused::NoForm),
    }
}

fn stored_words(
    rule: &Rule,
    of: FormType,
    form: &[u8],
) -> std::result::Result<Zeroizing<Vec<u8>>, Refused> {
    let (mut room, mut words) = (Room::new(), Zeroizing::new(Vec::new()));
    let value = search::value::of_form(of, form, rule, &mut room)?;
    let mut put = |payload: &[u8]| put_word(&mut words, payload);
    with_scratch(|scratch| search::payloads(rule, value, None, scratch, &mut put))?;
    Ok(words)
}

fn put_word(words: &mut Vec<u8>, word: &[u8]) {
    words.push(0);
    words.extend_from_slice(word);
}

/// No word holds a zero byte.
fn each_word(words: &[u8]) -> impl Iterator<Item = &[u8]> {
    words.split(|byte| *byte == 0).skip(1)
}

fn compares(op: Op, value: &[u8], asked: &[u8]) -> bool {
    match op {
        Op::Prefix => value.starts_with(asked),
        Op::Suffix => value.ends_with(asked),
        Op::Contains => {
            let texts = (std::str::from_utf8(value), std::str::from_utf8(asked));
            matches!(texts, (Ok(value), Ok(asked)) if value.contains(asked))
        }
        _ => value == asked,
    }
}

/// Memory for a value that is taken apart, which is kept.
pub(super) fn with_scratch<T>(f: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(f)
}
