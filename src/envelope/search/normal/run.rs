//! A run of code points on its way to a normal form (UAX #15), in memory of the caller's.

use unicode_normalization::char::{
    canonical_combining_class, compose, decompose_canonical, decompose_compatible,
};

use super::super::scratch::Wiped;
use super::super::unicode;
use super::push_char;

/// Code points, each in a word: its combining class, then its place, then itself. So words in ascending order are in
/// canonical order.
pub(super) struct Run<'a> {
    now: &'a mut Wiped<u64>,
    before: &'a mut Wiped<u64>,
}

const PLACE: u32 = 24;
const CLASS: u32 = 56;

fn char_of(word: u64) -> char {
    char::from_u32(word as u32 & ((1 << PLACE) - 1)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn class_of(word: u64) -> u8 {
    (word >> CLASS) as u8
}

impl<'a> Run<'a> {
    pub(super) fn new(now: &'a mut Wiped<u64>, before: &'a mut Wiped<u64>) -> Run<'a> {
        Run { now, before }
    }

    /// Appends a code point.
    pub(super) fn push(&mut self, c: char) {
        self.now.push_one(u64::from(c));
    }

    /// Appends the run to `out`, and begins an empty one.
    pub(super) fn end(&mut self, out: &mut Wiped<u8>) {
        self.now.as_slice().iter().for_each(|word| push_char(out, char_of(*word)));
        self.now.wipe();
    }

    pub(super) fn drop_ignorable(&mut self) {
        self.each(|c, now| {
            if !unicode::is_ignorable(c) {
                now.push_one(u64::from(c));
            }
        });
    }

    pub(super) fn fold(&mut self) {
        self.each(|c, now| unicode::fold(c, |to| now.push_one(u64::from(to))));
    }

    /// NFD.
    pub(super) fn decompose_canonical(&mut self) {
        self.each(|c, now| match c {
            '\0'..='\x7f' => now.push_one(u64::from(c)),
            _ => decompose_canonical(c, |to| now.push_one(u64::from(to))),
        });
        self.order();
    }

    /// NFKD.
    pub(super) fn decompose_compatible(&mut self) {
        self.each(|c, now| match c {
            '\0'..='\x7f' => now.push_one(u64::from(c)),
            _ => decompose_compatible(c, |to| now.push_one(u64::from(to))),
        });
        self.order();
    }

    /// Has `f` write what becomes of each code point.
    fn each(&mut self, mut f: impl FnMut(char, &mut Wiped<u64>)) {
        std::mem::swap(self.now, self.before);
        self.before.as_slice().iter().for_each(|word| f(char_of(*word), self.now));
        self.before.wipe();
    }

    /// The canonical ordering: marks between two starters by class, those of one class as they came.
    fn order(&mut self) {
        for (place, word) in self.now.as_mut_slice().iter_mut().enumerate() {
            let c = char_of(*word);
            let class = if c < '\u{300}' { 0 } else { canonical_combining_class(c) };
            *word =
                u64::from(class) << CLASS | (place as u64 & 0xffff_ffff) << PLACE | u64::from(c);
        }
        let is_mark = |word: &u64| class_of(*word) != 0;
        for marks in self.now.as_mut_slice().chunk_by_mut(|a, b| is_mark(a) == is_mark(b)) {
            if is_mark(&marks[0]) {
                marks.sort_unstable();
            }
        }
    }

    /// The canonical composition of what was decomposed: each mark with the starter before it, unless another stands
    /// between that blocks it.
    pub(super) fn compose(&mut self) {
        let words = self.now.as_mut_slice();
        let (mut kept, mut starter) = (0, None);
        // The class of the code point kept last behind the starter; none when the starter is the last itself.
        let mut last = None;
        for at in 0..words.len() {
            let (c, class) = (char_of(words[at]), class_of(words[at]));
            let with =
                starter.filter(|_| last < Some(class)).map(|place: usize| (place, words[place]));
            let whole = with.and_then(|(place, word)| Some((place, compose(char_of(word), c)?)));
            if let Some((place, whole)) = whole {
                words[place] = u64::from(whole);
                continue;
            }
            if class == 0 {
                (starter, last) = (Some(kept), None);
            } else {
                last = Some(class);
            }
            words[kept] = words[at];
            kept += 1;
        }
        self.now.truncate(kept);
    }
}
