//! What is asked of the server's shared memory.

use crate::figures;
use crate::memory::leases;
use crate::pg::shared::{self, Area};

static AREAS: [Area; 3] = {
    let [of_keys, of_kms] = figures::AREAS;
    [leases::AREA, of_keys, of_kms]
};

/// Number 0 is the lock of the leases, the next ones are those of the figures.
fn locks() -> usize {
    figures::FIRST_LOCK + figures::LOCKS
}

const _: () = assert!(leases::LOCK < figures::FIRST_LOCK);

/// Asks for it. To be called by `_PG_init`, once the settings are defined.
pub fn at_load() {
    shared::at_load(&AREAS, locks);
}
