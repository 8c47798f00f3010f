//! CHECKs by `envelope.is_sealed` that plaintext passes, or has passed.

use super::{Finding, Outcome, of_own};
use crate::catalog::checks::{self, Unchecked};
use crate::error::Error;

/// A finding for each, of those tables and domains that the current role owns, of all for superusers.
pub fn findings() -> Vec<Finding> {
    of_own(checks::unchecked(), |check| check.owner, finding)
}

fn finding(check: Unchecked) -> Finding {
    let Unchecked { name, of, is_domain, is_enforced, .. } = check;
    let outcome = if !is_enforced {
        Outcome::Broken(Error::NotEnforced { name, table: of.clone() })
    } else {
        let kind = if is_domain { "DOMAIN" } else { "TABLE" };
        Outcome::Note(format!(
            "CHECK constraint {name} is NOT VALID, and says nothing of values from before it: ALTER {kind} {of} \
             VALIDATE CONSTRAINT {name}"
        ))
    };
    Finding { table: (!is_domain).then_some(of), outcome, ..Finding::default() }
}
