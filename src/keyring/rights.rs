//! What a role may do with a keyring: the owner of its table everything, others what was granted to
//! them or to a role whose rights they have.

use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, Verb};
use crate::error::{Error, Result};
use crate::pg::acl;

/// A set of verbs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rights(u8);

impl Rights {
    /// Those of a table's owner.
    pub const ALL: Rights = Rights(0b1111);

    /// With one more. Who may manage keys may open and search: whoever adds a KEK of their own can take the
    /// data keys out, open everything and make any term with them, so not to say so would only hide it.
    fn with(self, verb: Verb) -> Rights {
        let implied = match verb {
            Verb::Manage => bit(Verb::Decrypt) | bit(Verb::Search),
            Verb::Encrypt | Verb::Decrypt | Verb::Search => 0,
        };
        Rights(self.0 | bit(verb) | implied)
    }

    /// Whether the verb is among them.
    pub fn allow(self, verb: Verb) -> bool {
        self.0 & bit(verb) != 0
    }
}

fn bit(verb: Verb) -> u8 {
    match verb {
        Verb::Encrypt => 1,
        Verb::Decrypt => 2,
        Verb::Search => 4,
        Verb::Manage => 8,
    }
}

/// What `role` was granted on a keyring, directly or by membership. A role that is gone lends
/// nobody anything.
pub fn granted(role: pg_sys::Oid, keyring_id: Uuid) -> Result<Rights> {
    let grants = rows::grants(keyring_id)?;
    let is_mine = |grantee| acl::role_exists(grantee) && acl::has_rights_of(role, grantee);
    let mine = grants.into_iter().filter(|(grantee, _)| is_mine(*grantee));
    Ok(mine.fold(Rights::default(), |rights, (_, verb)| rights.with(verb)))
}

/// The verbs in a list such as `encrypt, decrypt`; in any case, as PostgreSQL takes privileges.
pub fn verbs(list: &str) -> Result<Vec<Verb>> {
    let verb = |name: &str| {
        Verb::named(&name.trim().to_ascii_lowercase()).ok_or_else(|| {
            // What was asked for is not repeated: it may be anything.
            Error::BadArgument(
                "a right on keys is encrypt, decrypt, search or manage; several have commas between them"
                    .into(),
            )
        })
    };
    list.split(',').map(verb).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_allows_itself_and_manage_decrypt_and_search() {
        for given in Verb::ALL {
            for asked in Verb::ALL {
                let implied =
                    given == Verb::Manage && matches!(asked, Verb::Decrypt | Verb::Search);
                let allowed = Rights::default().with(given).allow(asked);
                assert_eq!(allowed, given == asked || implied, "{} {}", given.name(), asked.name());
            }
            assert!(Rights::ALL.allow(given));
        }
    }

    #[test]
    fn lists_of_verbs() {
        let names = |list| verbs(list).map(|verbs| verbs.into_iter().map(Verb::name).collect());
        let both: Vec<&str> = names(" Encrypt ,DECRYPT").unwrap_or_default();
        assert_eq!(both, ["encrypt", "decrypt"]);
        for bad in ["", ",", "decrypt,", "all", "decrypt with grant option"] {
            assert!(verbs(bad).is_err(), "{bad}");
        }
    }
}
