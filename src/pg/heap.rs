//! The heap of all Rust code in this library, the AWS client's with it: what is given back is wiped
//! first. The client copies a KMS's answer, with the data key in it, through buffers that nobody
//! outside reaches; here they pass all the same.

use std::alloc::{GlobalAlloc, Layout, System};

struct WipingHeap;

#[global_allocator]
static HEAP: WipingHeap = WipingHeap;

// SAFETY: the system's allocator does the work; what it gets back is only overwritten before. Memory
// that grows goes the way of the trait's own `realloc`: a new block, a copy, and the old one here.
unsafe impl GlobalAlloc for WipingHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: by the caller's contract the block has that many bytes, and nobody reads them any
        // more. A plain write before the block is given back could be left out by the compiler.
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}
