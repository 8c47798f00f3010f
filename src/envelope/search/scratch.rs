//! Memory for values in clear: kept from value to value, wiped after each.

use zeroize::Zeroize;

use crate::forms::Sink;

/// As many as the first block holds at least.
const LEAST: usize = 64;

/// A buffer that wipes what it leaves behind, also when it moves to a larger block.
pub struct Wiped<T: Zeroize + Copy>(Vec<T>);

impl<T: Zeroize + Copy> Wiped<T> {
    /// An empty one, which has no memory yet.
    pub const fn new() -> Wiped<T> {
        Wiped(Vec::new())
    }

    pub(super) fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.0
    }

    pub(super) fn push_one(&mut self, one: T) {
        self.reserve(1);
        self.0.push(one);
    }

    pub(super) fn extend(&mut self, more: &[T]) {
        self.reserve(more.len());
        self.0.extend_from_slice(more);
    }

    /// Wipes and forgets what is beyond `len`.
    pub(super) fn truncate(&mut self, len: usize) {
        if let Some(rest) = self.0.get_mut(len..) {
            rest.iter_mut().for_each(Zeroize::zeroize);
            self.0.truncate(len);
        }
    }

    /// Wipes what is in it, and keeps the memory.
    pub fn wipe(&mut self) {
        self.truncate(0);
    }

    fn reserve(&mut self, more: usize) {
        let needed = self.0.len().saturating_add(more);
        if self.0.capacity() >= needed {
            return;
        }
        let doubled = self.0.capacity().saturating_mul(2);
        let mut larger = Vec::with_capacity(needed.max(doubled).max(LEAST));
        larger.extend_from_slice(&self.0);
        self.wipe();
        self.0 = larger;
    }
}

impl<T: Zeroize + Copy> Default for Wiped<T> {
    fn default() -> Wiped<T> {
        Wiped::new()
    }
}

impl<T: Zeroize + Copy> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl Sink for Wiped<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend(bytes);
    }
}

/// What a value is normalised in and cut up in. Kept by the caller, so that a row allocates nothing once there was one
/// as long. Empty between values.
#[derive(Default)]
pub struct Scratch {
    /// The normal form.
    pub(super) text: Wiped<u8>,
    /// What is cut into pieces.
    pub(super) pieces: Wiped<u8>,
    /// A run of code points on its way to the normal form.
    pub(super) run: Wiped<u64>,
    /// The same before the step that is on.
    pub(super) before: Wiped<u64>,
}

impl Scratch {
    /// One that has no memory yet.
    pub const fn new() -> Scratch {
        Scratch {
            text: Wiped::new(),
            pieces: Wiped::new(),
            run: Wiped::new(),
            before: Wiped::new(),
        }
    }

    /// Wipes what is in it, and keeps the memory.
    pub fn wipe(&mut self) {
        self.text.wipe();
        self.pieces.wipe();
        self.run.wipe();
        self.before.wipe();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn grows_and_shrinks() {
        let mut wiped = Wiped::new();
        for round in 0..3 {
            (0..1000u64).for_each(|number| wiped.push_one(number));
            assert_eq!(wiped.as_slice().len(), 1000);
            assert!(wiped.as_slice().iter().copied().eq(0..1000));
            wiped.truncate(10 * round);
            assert_eq!(wiped.as_slice().len(), 10 * round);
            wiped.truncate(2000);
            wiped.wipe();
            assert!(wiped.as_slice().is_empty());
        }
    }

    /// What makes room itself leaves no copy in the block before; a `Vec` would begin with a smaller one.
    #[test]
    fn makes_room_itself() {
        let mut wiped = Wiped::new();
        (0..LEAST as u64).for_each(|number| wiped.push_one(number));
        assert_eq!(wiped.0.capacity(), LEAST);
        wiped.push_one(64);
        assert_eq!(wiped.0.capacity(), 2 * LEAST);
    }

    #[test]
    fn takes_what_a_form_is_written_of() {
        let mut wiped = Wiped::new();
        crate::forms::number::write_integer(-12, &mut wiped);
        crate::forms::number::write_bool(true, &mut wiped);
        assert_eq!(wiped.as_slice(), b"-12true");
    }

    /// What counts how often it was wiped.
    #[derive(Clone, Copy)]
    struct Counted(u8);

    thread_local! {
        static WIPED: Cell<usize> = const { Cell::new(0) };
    }

    impl Zeroize for Counted {
        fn zeroize(&mut self) {
            self.0 = 0;
            WIPED.set(WIPED.get() + 1);
        }
    }

    #[test]
    fn nothing_is_let_go_that_was_not_wiped() {
        let mut buffer = Wiped::new();
        let mut held = 0;
        for _ in 0..10 {
            buffer.extend(&[Counted(1); 50]);
            buffer.push_one(Counted(1));
            held += 51;
            assert_eq!(buffer.as_slice().len(), held);
            assert!(buffer.as_slice().iter().all(|one| one.0 == 1));
        }
        let moved = WIPED.get();
        // Its blocks are of 64, 128, 256 and 512.
        assert_eq!(moved, 51 + 102 + 255);
        buffer.truncate(400);
        assert_eq!(WIPED.get() - moved, 110);
        drop(buffer);
        assert_eq!(WIPED.get() - moved, 510);
    }

    /// It is hashed where it stands.
    #[test]
    fn the_exact_form_of_a_text_is_not_copied() {
        use crate::search::{Rule, Value, payloads};
        let Some(rule) = Rule::parse("exact/1") else { unreachable!() };
        let (mut scratch, mut places) = (Scratch::new(), Vec::new());
        let text = "e\u{301}";
        let each = &mut |payload: &[u8]| places.push(payload.as_ptr());
        assert_eq!(payloads(&rule, Value::Text(text), None, &mut scratch, each), Ok(()));
        assert_eq!(places, [text.as_ptr()]);
    }

    /// A row allocates nothing once there was one as long, and leaves nothing behind.
    #[test]
    fn values_of_one_length_need_no_more_memory() {
        use crate::search::{Rule, Value, payloads};
        let mut scratch = Scratch::new();
        let sizes = |scratch: &Scratch| {
            let Scratch { text, pieces, run, before } = scratch;
            let mut sizes =
                [text.0.capacity(), pieces.0.capacity(), run.0.capacity(), before.0.capacity()];
            // Some change places.
            sizes.sort_unstable();
            sizes
        };
        let text = "\u{1e9e}e\u{301}\u{323} Anna-Maria M\u{fc}ller 12".repeat(20);
        for rule in
            ["exact/1", "nfc/1", "alnum/1", "digits/1", "words casefold/1", "parts(3) casefold/1"]
        {
            let Some(rule) = Rule::parse(rule) else { unreachable!() };
            let mut sized = Vec::new();
            for _ in 0..8 {
                let done = payloads(&rule, Value::Text(&text), None, &mut scratch, &mut |_| {});
                assert_eq!(done, Ok(()));
                sized.push(sizes(&scratch));
                let Scratch { text, pieces, run, before } = &scratch;
                assert!(text.0.is_empty() && pieces.0.is_empty());
                assert!(run.0.is_empty() && before.0.is_empty());
            }
            assert!(sized[4..].iter().all(|sizes| *sizes == sized[4]), "{rule}: {sized:?}");
        }
    }
}
