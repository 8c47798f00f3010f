//! Random bytes of the operating system, without a system call where the kernel offers that.
//!
//! From Linux 6.11 on the kernel puts a function into every process that makes random bytes there: `getrandom` of the
//! vDSO. From glibc 2.41 on whoever asks the C library gets them from it. For older C libraries this module calls it.
//!
//! The function works with a page of the caller's, its state: a key that the kernel has drawn, and less than a hundred
//! bytes made with it that wait to be used. It gives none of them twice (lib/vdso/getrandom.c of the kernel):
//! - Whatever it gives it zeroes in the state, and the key that made it is replaced.
//! - In a forked child the state is zeros, and so it is when the kernel wants the page back: `MAP_DROPPABLE`. Zeros are
//!   a state that asks the kernel for a key. No such page is swapped or in a core dump.
//! - A machine that was cloned: the function reads, before and after, a number in memory that the kernel shares. The
//!   kernel changes it whenever it has new entropy, as when it learns that it is a clone. Then the state is drawn anew.
//!   Until the kernel has learned of it, its system call repeats itself as well.
//!
//! Anything that is not as it should be leads to the system call.

use std::cell::OnceCell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::ptr::{self, NonNull};

/// The function: where the bytes go, how many, flags, the state and its size. How many were written, or less than 0.
type Function = unsafe extern "C" fn(*mut c_void, usize, c_uint, *mut c_void, usize) -> isize;

/// Its name. Other processors have one too; there the system call is asked.
const NAME: Option<&CStr> = if cfg!(target_arch = "x86_64") {
    Some(c"__vdso_getrandom")
} else if cfg!(target_arch = "aarch64") {
    Some(c"__kernel_getrandom")
} else {
    None
};

/// What it says of its state: `vgetrandom_opaque_params` of linux/random.h.
#[repr(C)]
#[derive(Default)]
struct Wanted {
    size: u32,
    protection: u32,
    flags: u32,
    reserved: [u32; 13],
}

/// The function with a state. No two threads share one.
struct Source {
    function: Function,
    state: NonNull<c_void>,
    size: usize,
    page: usize,
}

thread_local! {
    /// `None` inside: the system call is asked. A forked child goes on with its own copy of the page, which is zeros.
    static SOURCE: OnceCell<Option<Source>> = const { OnceCell::new() };
}

/// Fills `bytes` with random ones that nobody has used.
pub fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    let without_call =
        SOURCE.try_with(|source| fill_from(source.get_or_init(Source::find).as_ref(), bytes));
    match without_call {
        Ok(true) => Ok(()),
        _ => getrandom::fill(bytes),
    }
}

/// Whether `source` has filled all of `bytes`.
fn fill_from(source: Option<&Source>, bytes: &mut [u8]) -> bool {
    let Some(source) = source else { return false };
    // SAFETY: as many bytes are writable, and the state is one that the function asked for, this thread's alone.
    let written = unsafe {
        let buffer = bytes.as_mut_ptr().cast();
        (source.function)(buffer, bytes.len(), 0, source.state.as_ptr(), source.size)
    };
    usize::try_from(written) == Ok(bytes.len())
}

impl Source {
    /// The kernel's, unless the C library calls it already.
    fn find() -> Option<Source> {
        if c_library().is_some_and(|version| version >= (2, 41)) {
            return None;
        }
        Source::of(function()?)
    }

    /// `function` with a state, if it is known what keeps that from being used twice.
    fn of(function: Function) -> Option<Source> {
        let mut wanted = Wanted::default();
        // SAFETY: asked like this, the function writes what it wants to where the state would be, and returns 0.
        let answer = unsafe {
            function(ptr::null_mut(), 0, 0, ptr::from_mut(&mut wanted).cast(), usize::MAX)
        };
        let flags = c_int::try_from(wanted.flags).ok()?;
        let size = usize::try_from(wanted.size).ok()?;
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        if answer != 0 || flags & libc::MAP_DROPPABLE == 0 || size == 0 || size > page {
            return None;
        }
        let protection = c_int::try_from(wanted.protection).ok()?;
        // SAFETY: a mapping of our own, wherever the kernel puts it.
        let state = unsafe { libc::mmap(ptr::null_mut(), page, protection, flags, -1, 0) };
        if state == libc::MAP_FAILED {
            return None;
        }
        Some(Source { function, state: NonNull::new(state)?, size, page })
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and nobody else's.
        unsafe { libc::munmap(self.state.as_ptr(), self.page) };
    }
}

/// The function as the kernel has put it into this process, if it has.
fn function() -> Option<Function> {
    // SAFETY: the names are NUL-terminated. The vDSO is never unloaded; a function of this name takes what `Function` says.
    unsafe {
        let vdso = libc::dlopen(c"linux-vdso.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if vdso.is_null() {
            return None;
        }
        let found = libc::dlsym(vdso, NAME?.as_ptr());
        (!found.is_null()).then(|| std::mem::transmute::<*mut c_void, Function>(found))
    }
}

/// The version of glibc; `None` when the C library is another.
#[cfg(target_env = "gnu")]
fn c_library() -> Option<(u32, u32)> {
    // SAFETY: NUL-terminated, and constant.
    parsed(unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) }.to_str().ok()?)
}

#[cfg(not(target_env = "gnu"))]
fn c_library() -> Option<(u32, u32)> {
    None
}

#[cfg(target_env = "gnu")]
fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    /// The kernel's function with a state, whatever the C library does; `None` on a kernel that has none.
    fn source() -> Option<Source> {
        function().and_then(Source::of)
    }

    fn drawn(source: Option<&Source>) -> [u8; 24] {
        let mut bytes = [0; 24];
        if !fill_from(source, &mut bytes) {
            getrandom::fill(&mut bytes).unwrap();
        }
        bytes
    }

    #[test]
    fn no_draw_comes_twice() {
        let source = source();
        let mut seen: HashSet<[u8; 24]> = (0..10_000).map(|_| drawn(source.as_ref())).collect();
        seen.extend((0..10_000).map(|_| {
            let mut bytes = [0; 24];
            fill(&mut bytes).unwrap();
            bytes
        }));
        assert_eq!(seen.len(), 20_000);
        // No half of one either, as a nonce's is what a key is derived for.
        let halves: HashSet<&[u8]> = seen.iter().flat_map(|bytes| bytes.chunks(12)).collect();
        assert_eq!(halves.len(), 40_000);
    }

    /// Also of more bytes than a state has in store, and of none.
    #[test]
    fn every_byte_is_filled() {
        for len in [0, 1, 24, 95, 96, 97, 1000, 4096] {
            let mut whole = vec![0; len];
            for _ in 0..20 {
                let mut bytes = vec![0; len];
                fill(&mut bytes).unwrap();
                whole.iter_mut().zip(bytes).for_each(|(all, byte)| *all |= byte);
            }
            assert!(whole.iter().all(|byte| *byte != 0), "{len} bytes");
        }
    }

    /// On a kernel that has the function, it is found, and gives what was asked for.
    #[test]
    fn it_is_used_where_it_is() {
        let Some(source) = source() else { return assert!(function().is_none()) };
        let mut bytes = [0; 24];
        assert!(fill_from(Some(&source), &mut bytes));
        assert_ne!(bytes, [0; 24]);
    }

    /// Parent and child each draw right after the fork, out of what the state had in store before it.
    #[test]
    fn a_forked_child_draws_something_else() {
        let Some(source) = source() else { return assert!(function().is_none()) };
        drawn(Some(&source));
        let mut pipe = [0; 2];
        // SAFETY: the child only calls the function, writes to the pipe and leaves; the ends are closed once.
        let from_child = unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let child = libc::fork();
            if child == 0 {
                let mut bytes = [0u8; 72];
                let is_filled = fill_from(Some(&source), &mut bytes);
                libc::write(pipe[1], bytes.as_ptr().cast(), bytes.len());
                libc::_exit(i32::from(!is_filled));
            }
            let (mut bytes, mut status) = ([0u8; 72], -1);
            assert_eq!(libc::read(pipe[0], bytes.as_mut_ptr().cast(), bytes.len()), 72);
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            let _ = pipe.map(|end| libc::close(end));
            assert_eq!(status, 0);
            bytes
        };
        let mut here = [0; 72];
        assert!(fill_from(Some(&source), &mut here));
        for at in 0..=(72 - 8) {
            assert!(here.windows(8).all(|part| part != &from_child[at..at + 8]));
        }
    }

    /// What the kernel zeroes in a child, or takes back, it may take at any time.
    #[test]
    fn a_state_that_the_kernel_has_taken_back_is_drawn_anew() {
        let Some(source) = source() else { return assert!(function().is_none()) };
        drawn(Some(&source));
        // SAFETY: the page is the source's own, and zeros are a state.
        unsafe { source.state.cast::<u8>().write_bytes(0, source.size) };
        let anew: HashSet<_> = (0..100).map(|_| drawn(Some(&source))).collect();
        assert_eq!(anew.len(), 100);
        assert!(!anew.contains(&[0; 24]));
    }

    /// Swapped, dumped or handed on to a child its bytes would be in two places.
    #[test]
    fn its_state_is_in_a_page_that_no_child_inherits() {
        let Some(source) = source() else { return assert!(function().is_none()) };
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        // Neighbours of the same kind are one mapping.
        let mut at = 0..0;
        let flags = smaps.lines().find_map(|line| {
            let number = |text| usize::from_str_radix(text, 16).ok();
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((Some(start), Some(end))) = range.map(|(a, b)| (number(a), number(b))) {
                at = start..end;
            }
            line.strip_prefix("VmFlags:").filter(|_| at.contains(&source.state.as_ptr().addr()))
        });
        let flags = flags.unwrap();
        for flag in ["wf", "dd", "dp"] {
            assert!(flags.split_whitespace().any(|has| has == flag), "{flag} of {flags}");
        }
    }

    fn a_source(function: Function) -> Option<Source> {
        let page = 4096;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a mapping of our own.
        let state = unsafe { libc::mmap(ptr::null_mut(), page, libc::PROT_READ, flags, -1, 0) };
        Some(Source { function, state: NonNull::new(state)?, size: 144, page })
    }

    /// What it has not filled is filled by the system call, all of it.
    #[test]
    fn what_does_not_fill_all_is_not_taken() {
        unsafe extern "C" fn fails(
            _: *mut c_void,
            _: usize,
            _: c_uint,
            _: *mut c_void,
            _: usize,
        ) -> isize {
            -isize::try_from(libc::EFAULT).unwrap()
        }
        unsafe extern "C" fn stops(
            _: *mut c_void,
            len: usize,
            _: c_uint,
            _: *mut c_void,
            _: usize,
        ) -> isize {
            isize::try_from(len).unwrap() - 1
        }
        for function in [fails as Function, stops] {
            let source = a_source(function);
            assert!(source.is_some());
            assert!(!fill_from(source.as_ref(), &mut [0; 24]));
        }
        assert!(!fill_from(None, &mut [0; 24]));
    }

    /// Of a page that a child would inherit, of a state that no page holds, and of a function that says nothing.
    #[test]
    fn a_state_that_is_not_known_is_not_used() {
        unsafe fn says(at: *mut c_void, size: u32, flags: c_int, answer: isize) -> isize {
            let wanted = Wanted { size, protection: 3, flags: flags as u32, reserved: [0; 13] };
            // SAFETY: called by `of`, with room for it there.
            unsafe { at.cast::<Wanted>().write(wanted) };
            answer
        }
        const KNOWN: c_int = libc::MAP_DROPPABLE | libc::MAP_ANONYMOUS;
        unsafe extern "C" fn shared(
            _: *mut c_void,
            _: usize,
            _: c_uint,
            at: *mut c_void,
            _: usize,
        ) -> isize {
            // SAFETY: as above.
            unsafe { says(at, 144, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, 0) }
        }
        unsafe extern "C" fn large(
            _: *mut c_void,
            _: usize,
            _: c_uint,
            at: *mut c_void,
            _: usize,
        ) -> isize {
            // SAFETY: as above.
            unsafe { says(at, 1 << 30, KNOWN, 0) }
        }
        unsafe extern "C" fn none(
            _: *mut c_void,
            _: usize,
            _: c_uint,
            at: *mut c_void,
            _: usize,
        ) -> isize {
            // SAFETY: as above.
            unsafe { says(at, 0, KNOWN, 0) }
        }
        unsafe extern "C" fn refuses(
            _: *mut c_void,
            _: usize,
            _: c_uint,
            at: *mut c_void,
            _: usize,
        ) -> isize {
            // SAFETY: as above.
            unsafe { says(at, 144, KNOWN, -1) }
        }
        for function in [shared as Function, large, none, refuses] {
            assert!(Source::of(function).is_none());
        }
    }

    #[cfg(target_env = "gnu")]
    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(parsed("2.36"), Some((2, 36)));
        assert_eq!(parsed("2.41.9000"), Some((2, 41)));
        assert!(parsed("2.9").unwrap() < (2, 41) && parsed("2.100").unwrap() > (2, 41));
        assert_eq!(parsed("musl"), None);
        assert!(c_library().is_some());
    }
}
