//! As whom the KMS is asked: the server itself, or what `envelope.aws_role_arn` and
//! `envelope.vault_role` name for a database role. The KMS decides by identity, so whatever it answered one is kept for
//! that one alone: unwrapped keys, refusals, what an alias stands for.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;

use crate::kms;
use crate::pg::acl;
use crate::pg::state::Flag;
use crate::settings;

/// One of the identities of this backend; cheap to compare.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(usize);

impl Identity {
    /// The server's own.
    pub const SERVER: Identity = Identity(0);

    /// Some other, for tests.
    #[cfg(test)]
    pub const ANOTHER: Identity = Identity(1);
}

/// Who asks may be another than before. PostgreSQL says so for the first time when the
/// setting is defined.
static CHANGED: Flag = Flag::new(false);
/// Nobody but the server asks.
static SERVER_ONLY: Flag = Flag::new(true);

thread_local! {
    /// What the current setting makes of database roles.
    static BY_ROLE: RefCell<HashMap<pg_sys::Oid, Identity>> = RefCell::default();
    /// All that ever asked here beside the server; its place, from 1, is its identity.
    static OTHERS: RefCell<Vec<kms::Identity>> = const { RefCell::new(Vec::new()) };
}

/// The setting or a role's name changed; safe to call from any callback.
pub fn changed() {
    CHANGED.set(true);
}

/// As whom the KMS would be asked now, for the current role.
#[inline]
pub fn current() -> Identity {
    if SERVER_ONLY.get() && !CHANGED.get() { Identity::SERVER } else { look_up() }
}

#[inline(never)]
fn look_up() -> Identity {
    if CHANGED.take() {
        BY_ROLE.with_borrow_mut(HashMap::clear);
        SERVER_ONLY.set(settings::kms::is_server_alone());
    }
    if SERVER_ONLY.get() {
        return Identity::SERVER;
    }
    let role = acl::current_role();
    if let Some(known) = BY_ROLE.with_borrow(|known| known.get(&role).copied()) {
        return known;
    }
    let identity = of(role).map_or(Identity::SERVER, identity_of);
    BY_ROLE.with_borrow_mut(|known| known.insert(role, identity));
    identity
}

/// All that there have been.
pub fn all() -> impl Iterator<Item = Identity> {
    (0..=OTHERS.with_borrow(Vec::len)).map(Identity)
}

/// As whom the KMS is to be asked for a database role, if not as the server itself.
pub fn of(role: pg_sys::Oid) -> Option<kms::Identity> {
    let (aws_role_arn, vault_role) = settings::kms::roles();
    kms::Identity::new(aws_role_arn, vault_role, || acl::display_role(role))
}

fn identity_of(identity: kms::Identity) -> Identity {
    OTHERS.with_borrow_mut(|others| {
        let place = others.iter().position(|known| *known == identity).unwrap_or_else(|| {
            others.push(identity);
            others.len() - 1
        });
        Identity(place + 1)
    })
}
