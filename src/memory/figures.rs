//! What is counted for the whole server.

use std::time::Duration;

use envelope::header::KeyId;

/// A key came by a lease.
pub fn note_lease_hit(_key_id: KeyId) {}

/// Another process's answer was waited for.
pub fn note_lease_wait(_key_id: KeyId, _waited: Duration) {}
