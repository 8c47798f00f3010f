//! What is asked of the server's shared memory.

use crate::memory::leases;
use crate::pg::shared::{self, Area};

static AREAS: [Area; 1] = [leases::AREA];

/// Locks of the server's that are ours: number 0 is of the leases.
fn locks() -> usize {
    leases::LOCK + 1
}

/// Asks for it. To be called by `_PG_init`, once the settings are defined.
pub fn at_load() {
    shared::at_load(&AREAS, locks);
}
