//! Payloads of text, from its normal form in the scratch memory.

use super::super::normal::push_char;
use super::super::refused::Refused;
use super::super::rule::Kind;
use super::super::scratch::{Scratch, Wiped};
use super::super::unicode;
use super::query::Op;

/// What stands before and after a value that is cut into pieces: its own controls are taken out.
const START: char = '\u{2}';
const END: char = '\u{3}';

/// Of a value that is stored.
pub(super) fn stored(kind: Kind, scratch: &mut Scratch, each: &mut dyn FnMut(&[u8])) {
    let Scratch { text, pieces, .. } = scratch;
    let form = as_str(text);
    match kind {
        Kind::Exact => each(form.as_bytes()),
        Kind::Prefix(k) => first(form, k).into_iter().for_each(each),
        Kind::Suffix(k) => last(form, k).into_iter().for_each(each),
        Kind::Words => words(form, each),
        Kind::Parts(k) => {
            spaced(form, true, true, pieces);
            parts(as_str(pieces), k, each);
        }
        Kind::Days | Kind::Steps(_) | Kind::Buckets | Kind::Tree(_) => {}
    }
}

/// Of a query, which every value has that the query finds.
pub(super) fn asked(
    kind: Kind,
    op: Op,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Refused> {
    let Scratch { text, pieces, .. } = scratch;
    let form = as_str(text);
    match (kind, op) {
        (Kind::Exact, Op::Equal) => each(form.as_bytes()),
        (Kind::Prefix(k), Op::Equal | Op::Prefix) => {
            each(first(form, k).ok_or(Refused::TooShort { least: k })?);
        }
        (Kind::Suffix(k), Op::Equal | Op::Suffix) => {
            each(last(form, k).ok_or(Refused::TooShort { least: k })?);
        }
        (Kind::Words, Op::Words) => words(form, each),
        // A value without words is in no index, and so is not found by its equal.
        (Kind::Words, Op::Equal) if !form.chars().any(unicode::is_of_words) => {
            return Err(Refused::TooShort { least: 1 });
        }
        (Kind::Words, Op::Equal) => words(form, each),
        (Kind::Parts(k), Op::Equal | Op::Prefix | Op::Suffix | Op::Contains) => {
            let starts = matches!(op, Op::Equal | Op::Prefix);
            let ends = matches!(op, Op::Equal | Op::Suffix);
            spaced(form, starts, ends, pieces);
            let anchors = u32::from(starts) + u32::from(ends);
            let asked = as_str(pieces);
            if asked.chars().nth(k as usize - 1).is_none() || asked.len() <= anchors as usize {
                return Err(Refused::TooShort { least: k.saturating_sub(anchors).max(1) });
            }
            parts(asked, k, each);
        }
        _ => return Err(Refused::NoAnswer),
    }
    Ok(())
}

fn as_str(utf_8: &Wiped<u8>) -> &str {
    // What is in it came from text.
    std::str::from_utf8(utf_8.as_slice()).unwrap_or_default()
}

/// The first `k` code points, if there are as many.
fn first(text: &str, k: u32) -> Option<&[u8]> {
    let (at, last) = text.char_indices().nth((k as usize).checked_sub(1)?)?;
    text.as_bytes().get(..at + last.len_utf8())
}

/// The last `k`.
fn last(text: &str, k: u32) -> Option<&[u8]> {
    let (at, _) = text.char_indices().rev().nth((k as usize).checked_sub(1)?)?;
    text.as_bytes().get(at..)
}

/// The longest runs of letters, marks and numbers.
fn words(text: &str, each: &mut dyn FnMut(&[u8])) {
    text.split(|c| !unicode::is_of_words(c))
        .filter(|word| !word.is_empty())
        .for_each(|word| each(word.as_bytes()));
}

/// Every `k` code points that follow each other.
fn parts(text: &str, k: u32, each: &mut dyn FnMut(&[u8])) {
    let starts = text.char_indices().map(|(at, _)| at);
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8()).skip(k as usize - 1);
    starts.zip(ends).filter_map(|(from, to)| text.as_bytes().get(from..to)).for_each(each);
}

/// `text` with one U+0020 for white space, none at the ends, and no controls; with what marks its start and its end.
fn spaced(text: &str, starts: bool, ends: bool, out: &mut Wiped<u8>) {
    if starts {
        push_char(out, START);
    }
    let (mut is_begun, mut is_spaced) = (false, false);
    for c in text.chars() {
        if unicode::is_white(c) {
            is_spaced = is_begun;
        } else if !unicode::is_control(c) {
            if std::mem::take(&mut is_spaced) {
                push_char(out, ' ');
            }
            is_begun = true;
            push_char(out, c);
        }
    }
    if ends {
        push_char(out, END);
    }
}
