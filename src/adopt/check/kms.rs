//! What the KMS says of each wrap, and whether the settings still let the KEKs of keys that seal.

use std::collections::{BTreeSet, HashMap};

use super::survey::Wrap;
use super::{Finding, Outcome};
use crate::catalog::rows::{self, State, WrappedKey};
use crate::catalog::{self};
use crate::error::Result;
use crate::kek;
use crate::keyring::{table, users};
use crate::kms::KmsError;
use crate::pg::acl;

/// How often a wrap is followed that is moved again and again. In so short a time nobody moves more.
const ATTEMPTS: usize = 3;

/// A KEK that is out of reach is asked once: with its timeout for each of a thousand keys nobody
/// would see the end. So is what an alias stands for.
#[derive(Default)]
pub struct Kms {
    away: HashMap<String, KmsError>,
    opened: BTreeSet<String>,
    aliases: HashMap<String, std::result::Result<String, KmsError>>,
}

/// What has become of a wrap since the survey.
enum Now {
    AsItWas { seals: bool },
    Moved(WrappedKey),
    Gone,
}

impl Kms {
    /// Whether the wrap gives its key back and, where that key seals, may go on to. `None` when it
    /// does not and is no longer there.
    pub fn try_wrap(&mut self, mut found: Wrap) -> Result<Option<Finding>> {
        for _ in 0..ATTEMPTS {
            let unwrapped = self.unwrap(&found);
            let is_unwrapped = unwrapped.is_ok();
            if is_unwrapped {
                self.opened.insert(found.wrap.kek.clone());
            }
            let outcome = unwrapped.and_then(|()| self.require_sealing(&found));
            if outcome.is_ok() {
                return Ok(Some(found.finding(Outcome::Well)));
            }
            match found.now()? {
                Now::AsItWas { seals } => {
                    // Only that it may not seal was against it, and it no longer does.
                    let outcome = if is_unwrapped && !seals { Ok(()) } else { outcome };
                    return Ok(Some(found.finding(outcome.into())));
                }
                Now::Moved(wrap) => found.wrap = wrap,
                Now::Gone => return Ok(None),
            }
        }
        Ok(None)
    }

    fn unwrap(&mut self, found: &Wrap) -> Result<()> {
        let Wrap { key_id, wrap, table, .. } = found;
        let unwrapped = match self.away.get(&wrap.kek) {
            Some(error) => Err(error.clone()),
            None => kek::ask(*key_id, wrap, table).map(|_| ()),
        };
        unwrapped.map_err(|error| {
            if kek::is_out_of_reach(error.kind) {
                self.away.insert(wrap.kek.clone(), error.clone());
            }
            kek::kms_error(error, format!("unwrap data key {key_id} of table {table}"))
        })
    }

    /// As sealing does, but aliases are asked about now.
    fn require_sealing(&mut self, found: &Wrap) -> Result<()> {
        if !found.seals {
            return Ok(());
        }
        kek::require_sealing(&found.wrap.kek, || found.table.clone(), |alias| self.resolve(alias))
    }

    fn resolve(&mut self, alias: &str) -> std::result::Result<String, KmsError> {
        let ask = || kek::resolve_now(alias);
        self.aliases.entry(alias.to_owned()).or_insert_with(ask).clone()
    }

    /// What the KMS has recorded of each KEK that gave a key back, where it tells.
    pub fn records(&self) -> Vec<Finding> {
        let told = |kek: &String| {
            let outcome = Outcome::Note(kek::record(kek)?);
            Some(Finding { kek: Some(kek.clone()), outcome, ..Finding::default() })
        };
        self.opened.iter().filter_map(told).collect()
    }

    /// What is wrong with `envelope.default_kek`, under which the next table's key is made; for superusers,
    /// whose setting it is.
    pub fn try_default(&mut self) -> Option<Finding> {
        if !acl::is_superuser() {
            return None;
        }
        let (uri, outcome) = kek::require_default(|alias| self.resolve(alias))?;
        let outcome = Outcome::Broken(outcome.err()?);
        Some(Finding { kek: Some(uri), outcome, ..Finding::default() })
    }
}

impl Wrap {
    fn finding(self, outcome: Outcome) -> Finding {
        Finding {
            table: Some(self.table),
            keyring_id: Some(self.keyring_id),
            key_id: Some(self.key_id),
            kek: Some(self.wrap.kek),
            gone: None,
            outcome,
        }
    }

    /// Looks at the catalog again.
    fn now(&self) -> Result<Now> {
        catalog::at_one_moment(|| {
            let key = rows::data_key(self.key_id)?;
            let Some(key) = key.filter(|key| key.state != State::Destroyed) else {
                return Ok(Now::Gone);
            };
            let wraps = rows::each_wrapped_key(self.key_id)?;
            let mut wraps: Vec<WrappedKey> =
                wraps.into_iter().filter_map(|(_, wrap)| wrap.ok()).collect();
            if wraps.contains(&self.wrap) {
                return Ok(Now::AsItWas { seals: key.state == State::Active && self.is_used()? });
            }
            // The same KEK's new wrap, or one by a KEK that has no row of its own.
            wraps.retain(|wrap| wrap.kek == self.wrap.kek || !self.keks.contains(&wrap.kek));
            wraps.sort_by_key(|wrap| wrap.kek != self.wrap.kek);
            Ok(wraps.into_iter().next().map_or(Now::Gone, Now::Moved))
        })
    }

    /// Whether a table seals with the keyring.
    fn is_used(&self) -> Result<bool> {
        let sealing = users::sealing_table(&rows::tables_of(self.keyring_id)?);
        sealing.map_or(Ok(false), table::seals_by_itself)
    }
}
