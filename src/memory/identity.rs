//! As whom the KMS is asked: the server itself, or an IAM role that `envelope.aws_role_arn` has it
//! assume for a database role. The KMS decides by identity, so whatever it answered one is kept for
//! that one alone: unwrapped keys, refusals, what an alias stands for.

use std::cell::RefCell;
use std::collections::HashMap;

use pgrx::pg_sys;

use crate::kms::AssumedRole;
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

/// The role to assume may be another than before. PostgreSQL says so for the first time when the
/// setting is defined.
static CHANGED: Flag = Flag::new(false);
/// No role is to be assumed.
static SERVER_ONLY: Flag = Flag::new(true);

thread_local! {
    /// What the current setting makes of database roles.
    static BY_ROLE: RefCell<HashMap<pg_sys::Oid, Identity>> = RefCell::default();
    /// Every role ever assumed here; its place, from 1, is its identity.
    static ASSUMED: RefCell<Vec<AssumedRole>> = const { RefCell::new(Vec::new()) };
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
        SERVER_ONLY.set(settings::aws_role_arn().is_none());
    }
    if SERVER_ONLY.get() {
        return Identity::SERVER;
    }
    let role = acl::current_role();
    if let Some(known) = BY_ROLE.with_borrow(|known| known.get(&role).copied()) {
        return known;
    }
    let identity = assumed_by(role).map_or(Identity::SERVER, identity_of);
    BY_ROLE.with_borrow_mut(|known| known.insert(role, identity));
    identity
}

/// All that there have been.
pub fn all() -> impl Iterator<Item = Identity> {
    (0..=ASSUMED.with_borrow(Vec::len)).map(Identity)
}

/// The IAM role to be assumed for a database role, if `envelope.aws_role_arn` names one.
pub fn assumed_by(role: pg_sys::Oid) -> Option<AssumedRole> {
    let arn = settings::aws_role_arn()?;
    Some(AssumedRole::new(&arn, &acl::display_role(role)))
}

fn identity_of(role: AssumedRole) -> Identity {
    ASSUMED.with_borrow_mut(|assumed| {
        let place = assumed.iter().position(|known| *known == role).unwrap_or_else(|| {
            assumed.push(role);
            assumed.len() - 1
        });
        Identity(place + 1)
    })
}
