//! Whether every data key can be had from here (after a restore, a move, a change of rights), and
//! whether the catalog hangs together.

mod breaks;

use std::collections::HashMap;

use envelope::header::KeyId;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, KeyringTable, State, Verb, WrappedKey};
use crate::catalog::whole::{self, NamedKeyring};
use crate::error::{Error, Result};
use crate::keyring::limits::OwnLimits;
use crate::keyring::{failures, kek, orphans, rights, table, unwrap, wear};
use crate::kms::KmsError;
use crate::pg::{acl, relation};
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
    pub outcome: Outcome,
}

/// How it went.
#[derive(Default)]
pub enum Outcome {
    #[default]
    Well,
    /// Well, and there is something to say.
    Note(&'static str),
    Broken(Error),
}

/// A finding for every wrapped key, unwrapped past the cache and compared, and for every break; for
/// the keyrings that the current role may manage, and all for superusers. One
/// failure does not keep the next from being looked at.
pub fn check_all() -> Result<Vec<Finding>> {
    settings::check_unplanted()?;
    let mut findings = Vec::new();
    let mut kms = Kms::default();
    let mut keyrings = whole::keyrings()?;
    keyrings.sort_by(|one, other| one.table_name.cmp(&other.table_name));
    for keyring in &keyrings {
        let links = rows::tables_of(keyring.id)?;
        if acl::is_superuser() || links.iter().any(is_managed) || is_granted(keyring.id)? {
            findings.extend(check_keyring(keyring, &links, &mut kms));
        }
    }
    let known = keyrings.iter().map(|keyring| keyring.id).collect();
    findings.extend(breaks::of_links(&known)?);
    if acl::is_superuser() {
        findings.extend(breaks::strays(&known)?);
        findings.extend(breaks::of_triggers()?);
    }
    for finding in &findings {
        if let Outcome::Broken(error) = &finding.outcome {
            audit::refused(error);
        }
    }
    audit::log(Action::Check, |event| event.count = Some(findings.len() as u64));
    Ok(findings)
}

/// Whether the current role was given the right to manage the keyring, also while no table uses it.
fn is_granted(keyring_id: Uuid) -> Result<bool> {
    Ok(rights::granted(acl::current_role(), keyring_id)?.allow(Verb::Manage))
}

/// Whether the link is to a table by which the current role may manage the keyring.
fn is_managed(link: &KeyringTable) -> bool {
    orphans::living_table(link)
        .and_then(|table| table::get(table).ok())
        .is_some_and(|table| table.manages(link.keyring_id))
}

fn check_keyring(keyring: &NamedKeyring, links: &[KeyringTable], kms: &mut Kms) -> Vec<Finding> {
    let sealing = orphans::sealing_table(links);
    let user = sealing.or_else(|| links.iter().find_map(orphans::living_table));
    let name = user.map_or_else(|| keyring.table_name.clone(), relation::display_name);
    let finding = |key_id, kek, outcome| Finding {
        table: Some(name.clone()),
        keyring_id: Some(keyring.id),
        key_id,
        kek,
        outcome,
    };
    let mut findings = Vec::new();
    if user.is_none() {
        let orphaned = "no table uses this keyring: envelope.adopt_keyring gives it to one";
        findings.push(finding(None, None, Outcome::Note(orphaned)));
    }
    if let Err(error) = read_keyring(keyring.id) {
        findings.push(finding(None, None, Outcome::Broken(error)));
    }
    if user.is_some() {
        let gone = gone_grantees(keyring.id).unwrap_or_else(|error| vec![error]);
        findings.extend(gone.into_iter().map(|error| finding(None, None, Outcome::Broken(error))));
    }
    let keys = rows::data_keys(keyring.id).unwrap_or_else(|error| {
        findings.push(finding(None, None, Outcome::Broken(error)));
        Vec::new()
    });
    let active = keys.iter().filter(|key| key.seals()).count();
    let is_shredded = !keys.is_empty() && keys.iter().all(|key| key.state == State::Destroyed);
    if active > 1 || (active == 0 && sealing.is_some() && !is_shredded) {
        let many = if active == 0 { "no active key" } else { "several active keys" };
        let broken = Error::Corrupt(format!("the keyring has {many}"));
        findings.push(finding(None, None, Outcome::Broken(broken)));
    }
    if sealing.is_some() {
        findings.extend(
            past_cryptoperiod(keyring.id, &keys, &name)
                .map(|(key_id, overdue)| finding(Some(key_id), None, overdue.into())),
        );
    }
    for key in &keys {
        for (kek, outcome) in check_key(key, &name, kms) {
            findings.push(finding(Some(key.key_id), kek, outcome.into()));
        }
    }
    findings
}

/// Grants that DROP ROLE has left, or a restore where the role is missing. While no table uses the
/// keyring nobody could use or change them either.
fn gone_grantees(keyring_id: Uuid) -> Result<Vec<Error>> {
    let grants = rows::grants(keyring_id)?;
    let gone = grants.into_iter().filter(|(grantee, _)| !acl::role_exists(*grantee));
    Ok(gone.map(|(_, verb)| Error::GoneGrantee(verb.name())).collect())
}

/// What of the keyring's own row is not otherwise read here.
fn read_keyring(id: Uuid) -> Result<()> {
    let Some(keyring) = rows::keyring(id)? else { return Ok(()) };
    OwnLimits::parse(&keyring.limits).map(|_| ()).map_err(|_| {
        Error::Corrupt("the keyring's limits cannot be read: the settings alone count".into())
    })
}

/// The active key, when it has been sealing for too long. What cannot be read for that is told of
/// where keyrings and keys are.
fn past_cryptoperiod(
    keyring_id: Uuid,
    keys: &[DataKeyRow],
    table: &str,
) -> Option<(KeyId, Result<()>)> {
    let key = keys.iter().find(|key| key.seals())?.key_id;
    let days = || -> Result<Option<u64>> {
        let limits = rows::keyring(keyring_id)?.map(|keyring| OwnLimits::stored(&keyring.limits));
        match limits.unwrap_or_default().cryptoperiod() {
            Some(seconds) => wear::days_beyond(key, seconds),
            None => Ok(None),
        }
    };
    let days = days().ok()??;
    Some((key, Err(Error::PastCryptoperiod { key, table: table.to_string(), days })))
}

/// How each wrap of the key goes, by its KEK.
fn check_key(key: &DataKeyRow, table: &str, kms: &mut Kms) -> Vec<(Option<String>, Result<()>)> {
    let wraps = match rows::each_wrapped_key(key.key_id) {
        Ok(wraps) => wraps,
        Err(error) => return vec![(None, Err(error))],
    };
    let is_destroyed = key.state == State::Destroyed;
    if wraps.is_empty() && !is_destroyed {
        let lost = Error::NoWrap { key: key.key_id, table: table.to_string() };
        return vec![(None, Err(lost))];
    }
    let check = |(kek, wrap): (String, Result<WrappedKey>)| {
        let outcome = match wrap {
            _ if is_destroyed => Err(Error::Corrupt("a destroyed data key has a wrap left".into())),
            Ok(wrap) => kms.try_unwrap(key.key_id, &wrap, table),
            Err(error) => Err(error),
        };
        (Some(kek), outcome)
    };
    wraps.into_iter().map(check).collect()
}

/// A KEK that is out of reach is asked once: with its timeout for each of a thousand keys nobody
/// would see the end.
#[derive(Default)]
struct Kms {
    away: HashMap<String, KmsError>,
}

impl Kms {
    fn try_unwrap(&mut self, key_id: KeyId, wrap: &WrappedKey, table: &str) -> Result<()> {
        let unwrapped = match self.away.get(&wrap.kek) {
            Some(error) => Err(error.clone()),
            None => unwrap::ask(key_id, wrap, table).map(|_| ()),
        };
        unwrapped.map_err(|error| {
            if failures::is_out_of_reach(error.kind) {
                self.away.insert(wrap.kek.clone(), error.clone());
            }
            kek::kms_error(error, format!("unwrap data key {key_id} of table {table}"))
        })
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
