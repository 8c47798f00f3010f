//! What COPY adds to every message that is raised while it runs: the line it is at, with its content. Of that
//! the number may be told, and no more.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;

use pgrx::pg_sys;
use zeroize::Zeroize;

use crate::pg::state::Number;

/// COPY adds the line it is at to every message raised meanwhile, as CONTEXT: the plaintext of a
/// row that is about to be sealed would stand in the server's log. From here on the line's number
/// stands there alone; other context (functions, statements) stays.
pub fn leave_out_copy_line() {
    let mut left_out = WithoutCopyLine::begin();
    left_out.entries = [None; NESTED];
}

/// While it lives, messages of PostgreSQL's own (cancel, timeout) do not carry COPY's line either.
pub struct WithoutCopyLine {
    /// What names the line of each COPY, to be put back.
    entries: [Option<NonNull<pg_sys::ErrorContextCallback>>; NESTED],
}

/// A COPY whose trigger runs a COPY, and so on: as deep as lines are put back.
const NESTED: usize = 4;

impl WithoutCopyLine {
    /// Takes COPY's line out of what messages carry, and leaves its number.
    pub fn begin() -> WithoutCopyLine {
        let copy = CopyFromErrorCallback as *const ();
        let mut left_out = WithoutCopyLine { entries: [None; NESTED] };
        let mut free = left_out.entries.iter_mut();
        // SAFETY: the list's entries are on the stacks of PostgreSQL functions that have not
        // returned. What an entry's function is called with stays its own.
        unsafe {
            let mut link = pg_sys::error_context_stack;
            while let Some(mut found) = NonNull::new(link) {
                let entry = found.as_mut();
                if entry.callback.is_some_and(|call| std::ptr::eq(call as *const (), copy)) {
                    entry.callback = Some(name_copy_line);
                    if let Some(slot) = free.next() {
                        *slot = Some(found);
                    }
                }
                link = entry.previous;
            }
        }
        left_out
    }
}

impl Drop for WithoutCopyLine {
    /// Puts the line back, so that COPY's other errors show it; not while an error unwinds: it is told
    /// with its context later.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for entry in self.entries.iter_mut().flatten() {
            // SAFETY: nothing that was on the list at `begin` has returned since.
            unsafe { entry.as_mut().callback = Some(CopyFromErrorCallback) };
        }
    }
}

/// Adds to the message that is being made which line of which table a COPY is at. In place of
/// COPY's own function, and called with its state. That is nothing to read from here: its layout is
/// another one in each major. So COPY's own function is asked, apart from the message, and what it
/// says is cut after the number. The line's content comes after that, in the untranslated text.
unsafe extern "C-unwind" fn name_copy_line(copy: *mut c_void) {
    // SAFETY: PostgreSQL's own sequence of calls while it makes a message, with the argument that COPY
    // put on the list. No frame is jumped over that owns anything, should memory run out.
    unsafe {
        let mut alone = pg_sys::ErrorContextCallback {
            previous: std::ptr::null_mut(),
            callback: Some(CopyFromErrorCallback),
            arg: copy,
        };
        let all = pg_sys::error_context_stack;
        pg_sys::error_context_stack = &mut alone;
        let told = untranslated(|| GetErrorContextStack());
        pg_sys::error_context_stack = all;
        if told.is_null() {
            return;
        }
        let bytes = std::slice::from_raw_parts_mut(told.cast::<u8>(), libc::strlen(told));
        if keep_line_number(bytes) {
            errcontext_msg(c"%s".as_ptr(), told);
        }
    }
}

/// Runs `tell`, whose messages PostgreSQL does not translate meanwhile; null where that cannot be had.
///
/// Should `tell` raise, the jump goes past here. A guard as around other calls would not do: it throws away
/// PostgreSQL's messages, and one is being made. The locale is put back when the transaction or savepoint is
/// rolled back.
///
/// # Safety
/// `tell` gives a string or null.
unsafe fn untranslated(tell: impl FnOnce() -> *mut c_char) -> *mut c_char {
    put_locale_back();
    // SAFETY: a locale of its own, which this thread uses until it is freed.
    unsafe {
        let base = libc::duplocale(libc::uselocale(std::ptr::null_mut()));
        if base.is_null() {
            return std::ptr::null_mut();
        }
        let plain = libc::newlocale(libc::LC_MESSAGES_MASK, c"C".as_ptr(), base);
        if plain.is_null() {
            libc::freelocale(base);
            return std::ptr::null_mut();
        }
        BEFORE.set(libc::uselocale(plain) as u64);
        PLAIN.set(plain as u64);
        let told = tell();
        put_locale_back();
        told
    }
}

/// The locale that this thread uses in place of [`BEFORE`]; 0 for none.
static PLAIN: Number = Number::new(0);

/// The locale that this thread used before [`PLAIN`].
static BEFORE: Number = Number::new(0);

/// Has this thread use the locale again that it had before [`untranslated`].
pub fn put_locale_back() {
    if PLAIN.get() == 0 {
        return;
    }
    // SAFETY: both are this thread's, which uses the one until here and the other from here on.
    unsafe {
        libc::uselocale(BEFORE.get() as libc::locale_t);
        libc::freelocale(PLAIN.get() as libc::locale_t);
    }
    PLAIN.set(0);
}

/// Overwrites what COPY told with zeros, from the end of the line's number on: what stands in that line. Whether
/// there is a number; all is overwritten where there is none.
fn keep_line_number(told: &mut [u8]) -> bool {
    let end = end_of_line_number(told);
    told[end.unwrap_or(0)..].zeroize();
    end.is_some()
}

/// Where the number ends in `COPY <table>, line <number>`, with whatever comes after.
fn end_of_line_number(told: &[u8]) -> Option<usize> {
    const LINE: &[u8] = b", line ";
    if !told.starts_with(b"COPY ") {
        return None;
    }
    (0..told.len()).filter(|at| told[*at..].starts_with(LINE)).find_map(|at| {
        let number = at + LINE.len();
        let digits = told[number..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let end = number + digits;
        (digits > 0 && matches!(told.get(end), None | Some(b':' | b','))).then_some(end)
    })
}

unsafe extern "C-unwind" {
    // commands/copy.h, which pgrx does not bind.
    fn CopyFromErrorCallback(copy: *mut c_void);
    // utils/elog.h, without the guard of pgrx's bindings: they are called while PostgreSQL makes a message.
    fn GetErrorContextStack() -> *mut c_char;
    fn errcontext_msg(format: *const c_char, ...) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::{PLAIN, end_of_line_number, keep_line_number, put_locale_back, untranslated};

    fn cut(told: &str) -> Option<&str> {
        end_of_line_number(told.as_bytes()).map(|end| &told[..end])
    }

    #[test]
    fn nothing_of_the_line_is_left_after_the_number() {
        let mut told = *b"COPY people, line 12: secret";
        assert!(keep_line_number(&mut told));
        assert_eq!(&told, b"COPY people, line 12\0\0\0\0\0\0\0\0");
        let mut told = *b"COPY people: secret";
        assert!(!keep_line_number(&mut told));
        assert_eq!(told, [0; 19]);
    }

    #[test]
    fn a_jump_over_the_end_leaves_the_locale_to_be_put_back() {
        // SAFETY: asks for this thread's own.
        let locale = || unsafe { libc::uselocale(std::ptr::null_mut()) };
        let before = locale();
        // SAFETY: gives null.
        let jump = || unsafe { untranslated(|| std::panic::resume_unwind(Box::new(()))) };
        assert!(std::panic::catch_unwind(jump).is_err());
        assert!(PLAIN.get() != 0 && locale() != before);
        put_locale_back();
        assert!(PLAIN.get() == 0 && locale() == before);
        // SAFETY: gives null.
        assert!(unsafe { untranslated(std::ptr::null_mut) }.is_null());
        assert!(PLAIN.get() == 0 && locale() == before);
    }

    #[test]
    fn what_copy_tells_is_cut_after_the_number() {
        for told in [
            "COPY people, line 12",
            "COPY people, line 12: \"1\tsecret, line 3: x\"",
            "COPY people, line 12, column ssn: \"secret\"",
            "COPY people, line 12, column ssn: null input",
        ] {
            assert_eq!(cut(told), Some("COPY people, line 12"));
        }
        assert_eq!(cut("COPY a, line b, line 7: \"1\""), Some("COPY a, line b, line 7"));
        assert_eq!(cut("COPY people"), None);
        assert_eq!(cut("COPY people, Zeile 1: \"secret\""), None);
        assert_eq!(cut("something else, line 1"), None);
    }
}
