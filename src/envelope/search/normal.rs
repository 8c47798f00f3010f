//! Normal forms of text, version 1: equal texts become the same bytes, by Unicode 15.1.0 for ever.
//!
//! Text is cut into the longest runs of code points that 15.1.0 knows, and each other code point, alone. Runs are
//! normalised; the others stand as they are, and nothing is composed or ordered across them. So any table of Unicode from
//! 15.1.0 on gives the same bytes.

mod run;

use super::refused::Refused;
use super::rule::NormalForm;
use super::scratch::{Scratch, Wiped};
use super::unicode;
use run::Run;

/// What is normalised: decides what an e-mail address must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A value.
    Whole,
    /// A piece of one, which a query looks for.
    Piece,
}

/// Calls `f` with the normal form of `text`: what a recheck compares.
///
/// # Errors
/// [`Refused`] if it has none.
pub fn normal_form<R>(
    form: NormalForm,
    extent: Extent,
    text: &str,
    scratch: &mut Scratch,
    f: impl FnOnce(&[u8]) -> R,
) -> Result<R, Refused> {
    scratch.wipe();
    let result = normalise(form, extent, text, scratch);
    let result = result.map(|()| f(scratch.text.as_slice()));
    scratch.wipe();
    result
}

/// The normal form of `text`, in `scratch.text`, which was empty.
pub(super) fn normalise(
    form: NormalForm,
    extent: Extent,
    text: &str,
    scratch: &mut Scratch,
) -> Result<(), Refused> {
    match (form, extent) {
        (NormalForm::Exact, _) => scratch.text.extend(text.as_bytes()),
        (NormalForm::Nfc, _) => nfc(text, scratch),
        (NormalForm::Casefold, _) | (NormalForm::Email, Extent::Piece) => casefold(text, scratch),
        (NormalForm::Digits, _) => {
            text.chars()
                .filter_map(unicode::decimal)
                .for_each(|digit| scratch.text.push_one(digit));
        }
        (NormalForm::Alnum, _) => alnum(text, scratch),
        (NormalForm::Email, Extent::Whole) => return email(text, scratch),
    }
    let must_have = matches!(form, NormalForm::Digits | NormalForm::Alnum);
    if must_have && scratch.text.as_slice().is_empty() { Err(Refused::Empty) } else { Ok(()) }
}

fn nfc(text: &str, scratch: &mut Scratch) {
    by_runs(
        text,
        scratch,
        |ascii| ascii,
        |run| {
            run.decompose_canonical();
            run.compose();
        },
    );
}

fn casefold(text: &str, scratch: &mut Scratch) {
    by_runs(
        text,
        scratch,
        |ascii| ascii.to_ascii_lowercase(),
        |run| {
            run.drop_ignorable();
            run.decompose_canonical();
            run.fold();
            run.decompose_compatible();
            run.compose();
            run.drop_ignorable();
            run.fold();
            run.decompose_compatible();
            run.compose();
        },
    );
}

/// Letters, marks and numbers of the case folding, digits as ASCII.
fn alnum(text: &str, scratch: &mut Scratch) {
    casefold(text, scratch);
    let Scratch { text, pieces, .. } = scratch;
    for c in chars(text.as_slice()).filter(|c| unicode::is_of_words(*c)) {
        match unicode::decimal(c) {
            Some(digit) => pieces.push_one(digit),
            None => push_char(pieces, c),
        }
    }
    std::mem::swap(text, pieces);
    pieces.wipe();
}

/// White space off both ends; case folding; one dot off the end of the domain. Something must stand on both sides of the
/// last @, and neither white space nor controls anywhere.
fn email(text: &str, scratch: &mut Scratch) -> Result<(), Refused> {
    casefold(text.trim_matches(unicode::is_white), scratch);
    let text = &mut scratch.text;
    if text.as_slice().ends_with(b".") {
        text.truncate(text.as_slice().len() - 1);
    }
    let folded = text.as_slice();
    let at = folded.iter().rposition(|byte| *byte == b'@').ok_or(Refused::NotEmail)?;
    let is_blank = |c| unicode::is_white(c) || unicode::is_control(c);
    let is_address = at > 0 && at + 1 < folded.len() && !chars(folded).any(is_blank);
    if is_address { Ok(()) } else { Err(Refused::NotEmail) }
}

/// Has each run pass through `steps`, and copies what stands between.
///
/// A run is cut before each ASCII character: these compose with what follows them, but with nothing before, and no mark
/// moves past them. One that an ASCII character follows is its own run, for which `of_ascii` is enough.
fn by_runs(
    text: &str,
    scratch: &mut Scratch,
    of_ascii: impl Fn(u8) -> u8,
    steps: impl Fn(&mut Run<'_>),
) {
    let Scratch { text: out, run, before, .. } = scratch;
    let mut run = Run::new(run, before);
    let mut rest = text;
    loop {
        // What ASCII follows stands as it is; the last may have marks behind it.
        let len = rest.bytes().take_while(u8::is_ascii).count();
        let (ascii, after) = rest.split_at(len);
        let alone = if after.is_empty() { len } else { len.saturating_sub(1) };
        let (alone, last) = ascii.split_at(alone);
        let from = out.as_slice().len();
        out.extend(alone.as_bytes());
        out.as_mut_slice()[from..].iter_mut().for_each(|byte| *byte = of_ascii(*byte));
        if after.is_empty() {
            return;
        }
        let len = after.find(|c: char| c.is_ascii()).unwrap_or(after.len());
        let (others, after) = after.split_at(len);
        for c in last.chars().chain(others.chars()) {
            if unicode::is_known(c) {
                run.push(c);
            } else {
                steps(&mut run);
                run.end(out);
                push_char(out, c);
            }
        }
        steps(&mut run);
        run.end(out);
        rest = after;
    }
}

pub(super) fn push_char(out: &mut Wiped<u8>, c: char) {
    out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The code points of UTF-8.
pub(super) fn chars(utf_8: &[u8]) -> impl Iterator<Item = char> {
    utf_8.utf8_chunks().flat_map(|chunk| chunk.valid().chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nfc(text: &str) -> String {
        let whole = |form: &[u8]| String::from_utf8_lossy(form).into_owned();
        let mut scratch = Scratch::new();
        normal_form(NormalForm::Nfc, Extent::Whole, text, &mut scratch, whole).unwrap_or_default()
    }

    #[test]
    fn marks_stand_by_class_and_those_of_one_class_as_they_came() {
        assert_eq!(nfc("a\u{300}\u{323}"), "\u{1ea1}\u{300}");
        assert_eq!(nfc("a\u{323}\u{300}"), "\u{1ea1}\u{300}");
        assert_eq!(nfc("x\u{301}\u{300}\u{323}"), "x\u{323}\u{301}\u{300}");
        assert_eq!(nfc("x\u{300}\u{301}"), "x\u{300}\u{301}");
        // Starters stay where they are.
        assert_eq!(nfc("\u{e9}z\u{e1}a"), "\u{e9}z\u{e1}a");
    }

    #[test]
    fn a_mark_of_the_same_class_blocks() {
        assert_eq!(nfc("a\u{305}\u{301}"), "a\u{305}\u{301}");
        assert_eq!(nfc("a\u{323}\u{301}"), "\u{1ea1}\u{301}");
        assert_eq!(nfc("a\u{301}\u{301}"), "\u{e1}\u{301}");
    }
}
