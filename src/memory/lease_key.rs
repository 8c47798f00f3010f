//! The server's lease key: 32 bytes that nobody stores, in a page of their own.
//!
//! It is drawn in the postmaster whenever the shared memory is new: what is sealed under it lives as long. Every process
//! has the page from its start, and gives it up once it has made the key of its database from it, which stands in the
//! arena as all secrets do. The page itself cannot stand there: what is wiped on fork would be empty in every child.
//!
//! The page is memory that the kernel hides from `/proc/PID/mem` and from itself (`memfd_secret`), where it has that.
//! Else it is anonymous and shared, so that children read the very frame that the postmaster has locked: they inherit
//! no lock, and locking it themselves would count it for each.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use envelope::lease;
use envelope::secret::{KEY_LEN, wipe_stack};

use crate::error::{Error, Result};
use crate::memory::arena::Locked;
use crate::pg::state::Flag;
use crate::pg::{guc, report};

/// The page, while this process has it.
static PAGE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// The page could not be locked. Set in the postmaster, for all.
static IS_UNLOCKED: Flag = Flag::new(false);

thread_local! {
    /// The key of this process's database, once it was asked for.
    static OWN: RefCell<Option<Locked<[u8; KEY_LEN]>>> = const { RefCell::new(None) };
}

/// Draws a new one, in the postmaster. Without it, which the server's log says, there are no leases.
pub fn draw() {
    give_up();
    IS_UNLOCKED.set(false);
    match Page::new() {
        Ok(page) => PAGE.store(page.start.as_ptr(), Relaxed),
        Err(error) => report::to_log(format!("no lease key, so that no keys are leased: {error}")),
    }
}

/// Whether there is a lease key in memory that may be swapped out.
pub fn is_unlocked() -> bool {
    IS_UNLOCKED.get()
}

/// Calls `work` with the key of this process's database; `None` when there is none.
pub fn with<T>(work: impl FnOnce(&[u8; KEY_LEN]) -> T) -> Result<Option<T>> {
    OWN.with_borrow_mut(|own| {
        if own.is_none() {
            *own = derive()?;
        }
        let made = own.as_ref().map(|key| work(key));
        wipe_stack();
        Ok(made)
    })
}

/// Makes the key of this process's database, and gives up the page.
fn derive() -> Result<Option<Locked<[u8; KEY_LEN]>>> {
    let Some(page) = NonNull::new(PAGE.load(Relaxed)) else { return Ok(None) };
    let mut own = Locked::new([0; KEY_LEN])?;
    // SAFETY: the page is mapped, holds the key, and is written by nobody any more.
    let lease_key = unsafe { page.cast::<[u8; KEY_LEN]>().as_ref() };
    lease::database_key(lease_key, guc::current_database_oid(), &mut own);
    wipe_stack();
    give_up();
    Ok(Some(own))
}

/// This process has the page no more.
fn give_up() {
    let page = PAGE.swap(std::ptr::null_mut(), Relaxed);
    if !page.is_null() {
        // SAFETY: the whole mapping, to which nothing of this process points any more.
        unsafe { libc::munmap(page.cast(), page_size()) };
    }
}

fn page_size() -> usize {
    // SAFETY: asks the C library for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// A page with a key in it, which can only be read.
struct Page {
    start: NonNull<u8>,
}

impl Page {
    fn new() -> Result<Page> {
        let system = |_| Error::System(std::io::Error::last_os_error().to_string());
        let start = hidden().or_else(|()| anonymous()).map_err(system)?;
        // SAFETY: a page of this process that nobody else knows of.
        let key = unsafe { start.cast::<[u8; KEY_LEN]>().as_mut() };
        let drawn = getrandom::fill(key).map_err(|error| Error::System(error.to_string()));
        // SAFETY: as above.
        let sealed = unsafe { libc::mprotect(start.as_ptr().cast(), page_size(), libc::PROT_READ) };
        if drawn.is_err() || sealed != 0 {
            // SAFETY: as above.
            unsafe { libc::munmap(start.as_ptr().cast(), page_size()) };
            drawn?;
            return Err(system(()));
        }
        Ok(Page { start })
    }
}

/// A page that only the processes see that have it mapped, locked and in no dump.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn hidden() -> std::result::Result<NonNull<u8>, ()> {
    Err(())
}

/// A page that only the processes see that have it mapped, locked and in no dump.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
fn hidden() -> std::result::Result<NonNull<u8>, ()> {
    // SAFETY: makes a descriptor that is closed below; the mapping goes on without it.
    unsafe {
        let descriptor = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        let descriptor = libc::c_int::try_from(descriptor).map_err(|_| ())?;
        if descriptor < 0 {
            return Err(());
        }
        let bytes = libc::off_t::try_from(page_size()).map_err(|_| ())?;
        let page = match libc::ftruncate(descriptor, bytes) {
            0 => map(libc::MAP_SHARED, descriptor),
            _ => Err(()),
        };
        libc::close(descriptor);
        page
    }
}

/// A page of anonymous shared memory, in no dump, locked where that is allowed.
fn anonymous() -> std::result::Result<NonNull<u8>, ()> {
    let page = map(libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1)?;
    // SAFETY: the whole of a fresh mapping. Where locking is refused it goes on, as the arena does.
    unsafe {
        if libc::madvise(page.as_ptr().cast(), page_size(), libc::MADV_DONTDUMP) != 0 {
            libc::munmap(page.as_ptr().cast(), page_size());
            return Err(());
        }
        IS_UNLOCKED.set(libc::mlock(page.as_ptr().cast(), page_size()) != 0);
    }
    Ok(page)
}

fn map(flags: libc::c_int, descriptor: libc::c_int) -> std::result::Result<NonNull<u8>, ()> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping.
    let page =
        unsafe { libc::mmap(std::ptr::null_mut(), page_size(), rights, flags, descriptor, 0) };
    if page == libc::MAP_FAILED { Err(()) } else { NonNull::new(page.cast()).ok_or(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A child reads the same, and neither can write there.
    #[test]
    fn children_have_the_page_and_nobody_writes_there() {
        for page in [hidden(), anonymous()].into_iter().flatten() {
            // SAFETY: the test's own page.
            unsafe { page.as_ptr().write(7) };
            // SAFETY: the child reads and leaves without running anything else.
            let status = unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::_exit(page.as_ptr().read().into());
                }
                let mut status = -1;
                assert_eq!(libc::waitpid(child, &mut status, 0), child);
                libc::WEXITSTATUS(status)
            };
            assert_eq!(status, 7);
        }
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let page = Page::new().unwrap();
        let start = format!("{:x}-", page.start.as_ptr().addr());
        let now = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(!maps.contains(&start) || now != maps);
        let line = now.lines().find(|line| line.starts_with(&start)).unwrap();
        assert!(line.contains("r--s"), "{line}");
    }
}
