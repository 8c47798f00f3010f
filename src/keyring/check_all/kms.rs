//! What the KMS says of each wrap.

use std::collections::HashMap;

use super::survey::Wrap;
use super::{Finding, Outcome};
use crate::catalog;
use crate::catalog::rows::{self, State, WrappedKey};
use crate::error::Result;
use crate::keyring::{failures, kek, unwrap};
use crate::kms::KmsError;

/// How often a wrap is followed that is moved again and again. In so short a time nobody moves more.
const ATTEMPTS: usize = 3;

/// A KEK that is out of reach is asked once: with its timeout for each of a thousand keys nobody
/// would see the end.
#[derive(Default)]
pub struct Kms {
    away: HashMap<String, KmsError>,
}

/// What has become of a wrap since the survey.
enum Now {
    AsItWas,
    Moved(WrappedKey),
    Gone,
}

impl Kms {
    /// Whether the wrap gives its key back. `None` when it does not and is no longer there.
    pub fn try_wrap(&mut self, mut found: Wrap) -> Result<Option<Finding>> {
        for _ in 0..ATTEMPTS {
            let outcome = self.unwrap(&found);
            if outcome.is_ok() {
                return Ok(Some(found.finding(Outcome::Well)));
            }
            match found.now()? {
                Now::AsItWas => return Ok(Some(found.finding(outcome.into()))),
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
            None => unwrap::ask(*key_id, wrap, table).map(|_| ()),
        };
        unwrapped.map_err(|error| {
            if failures::is_out_of_reach(error.kind) {
                self.away.insert(wrap.kek.clone(), error.clone());
            }
            kek::kms_error(error, format!("unwrap data key {key_id} of table {table}"))
        })
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
            if key.is_none_or(|key| key.state == State::Destroyed) {
                return Ok(Now::Gone);
            }
            let wraps = rows::each_wrapped_key(self.key_id)?;
            let mut wraps: Vec<WrappedKey> =
                wraps.into_iter().filter_map(|(_, wrap)| wrap.ok()).collect();
            if wraps.contains(&self.wrap) {
                return Ok(Now::AsItWas);
            }
            // The same KEK's new wrap, or one by a KEK that has no row of its own.
            wraps.retain(|wrap| wrap.kek == self.wrap.kek || !self.keks.contains(&wrap.kek));
            wraps.sort_by_key(|wrap| wrap.kek != self.wrap.kek);
            Ok(wraps.into_iter().next().map_or(Now::Gone, Now::Moved))
        })
    }
}
