//! Whether every data key can be had from here (after a restore, a move, a change of rights), whether
//! tables can be sealed with, and whether the catalog hangs together.
//!
//! First the catalog, as it is at one moment; then the KMS, with nothing held. What looks broken is
//! looked at again before it is said, since much may have happened meanwhile.

mod breaks;
mod checks;
mod kms;
mod loading;
mod nodes;
mod protection;
mod survey;

use std::ffi::CString;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::error::{Error, Result};
use crate::nodes::Others;
use crate::pg::acl;
use crate::settings;

/// One thing that was looked at, and how it went.
#[derive(Default)]
pub struct Finding {
    /// The table that uses the keyring, or that did as last seen; the catalog's own, if that is
    /// broken.
    pub table: Option<String>,
    pub keyring_id: Option<Uuid>,
    pub key_id: Option<KeyId>,
    pub kek: Option<String>,
    /// The table or the role that a row of the catalog names and that is gone: its OID, by which the same
    /// row is known again.
    gone: Option<pg_sys::Oid>,
    pub outcome: Outcome,
}

/// How it went.
#[derive(Default)]
pub enum Outcome {
    #[default]
    Well,
    /// Well, and there is something to say.
    Note(String),
    Broken(Error),
    /// Wrong, in the words of who has found it.
    Told {
        sqlstate: String,
        message: String,
    },
}

/// A finding for every wrapped key, unwrapped past the cache and compared, and for every break; for
/// the keyrings that the current role may manage, and all for superusers. One
/// failure does not keep the next from being looked at. With `others` also how other nodes differ from this one: the
/// servers of those names or, without names, the nodes of Citus.
pub fn check_all(others: Option<Option<&[CString]>>) -> Result<Vec<Finding>> {
    settings::check_unplanted()?;
    let others = others.map(Others::new).transpose()?;
    let mut kms = kms::Kms::default();
    let mut findings = Vec::new();
    for item in survey::confirmed()? {
        match item {
            survey::Item::Found(finding) => findings.push(finding),
            survey::Item::Wrap(wrap) => findings.extend(kms.try_wrap(*wrap)?),
        }
    }
    findings.extend(kms.records());
    findings.extend(kms.try_default());
    findings.extend(loading::findings());
    findings.extend(checks::findings());
    findings.extend(protection::findings());
    if let Some(others) = others {
        findings.extend(nodes::findings(others)?);
    }
    for finding in &findings {
        if let Outcome::Broken(error) = &finding.outcome {
            audit::refused(error);
        }
    }
    audit::log(Action::Check, |event| event.count = Some(findings.len() as u64));
    Ok(findings)
}

impl Finding {
    /// Whether `other` says the same of the same.
    fn says_as(&self, other: &Finding) -> bool {
        let of = |finding: &Finding| {
            let message = match &finding.outcome {
                Outcome::Well => None,
                Outcome::Note(note) => Some(note.clone()),
                Outcome::Broken(error) => Some(error.to_string()),
                Outcome::Told { message, .. } => Some(message.clone()),
            };
            let kek = finding.kek.clone();
            (finding.keyring_id, finding.key_id, kek, finding.gone, message)
        };
        of(self) == of(other)
    }

    fn is_broken(&self) -> bool {
        matches!(self.outcome, Outcome::Broken(_))
    }
}

impl From<Result<()>> for Outcome {
    fn from(outcome: Result<()>) -> Outcome {
        match outcome {
            Ok(()) => Outcome::Well,
            Err(error) => Outcome::Broken(error),
        }
    }
}

/// A finding for each that the current role owns, for all of them for superusers; for the error, if they could not
/// be had.
fn of_own<T>(
    found: Result<Vec<T>>,
    owner: impl Fn(&T) -> pg_sys::Oid,
    finding: impl Fn(T) -> Finding,
) -> Vec<Finding> {
    let role = acl::current_role();
    match found {
        Ok(all) => {
            let own = all.into_iter().filter(|one| acl::has_rights_of(role, owner(one)));
            own.map(finding).collect()
        }
        Err(error) => vec![Finding { outcome: Outcome::Broken(error), ..Finding::default() }],
    }
}
