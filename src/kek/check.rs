//! Trying a KEK the way data keys will use it.

use envelope::derive::key_id;
use envelope::wrap::EncryptionContext;

use super::named;
use super::provider::unusable;
use crate::audit::{self, Action};
use crate::error::{Error, Result};
use crate::kms::{KekUri, Kind, KmsError};
use crate::pg::{guc, report};
use crate::settings;

/// What is tried, in this order.
const STEPS: [&str; 6] = ["uri", "allowed", "settings", "generate", "unwrap", "compare"];

const WARNING_HINT: &str = "Make another key, without that, and move to it: envelope.rewrap.";

/// Each step that was tried and how it went; a failure is the last. Of a KEK that works it is told
/// what binds the encryption context.
pub fn check_kek(uri: &str) -> Vec<(&'static str, Result<Option<String>>)> {
    let mut passed = 0;
    let outcome = attempt(uri, &mut passed);
    let mut steps: Vec<_> =
        STEPS.iter().take(passed).map(|step| (*step, Ok(told(step, uri)))).collect();
    if let (Err(error), Some(step)) = (outcome, STEPS.get(passed)) {
        audit::refused(&error);
        steps.push((step, Err(error)));
    }
    steps
}

fn told(step: &str, uri: &str) -> Option<String> {
    let kek = uri.parse::<KekUri>().ok().filter(|_| step == "compare")?;
    Some(format!("encryption context bound by: {}", kek.binding().shown()))
}

/// Of a data key that is for nobody. The database stands in it as in the context of a table's key, for key policies that
/// ask.
pub(super) fn trial_context() -> EncryptionContext {
    let pairs = [("database", guc::current_database()), ("envelope", "check_kek".into())];
    pairs.into_iter().collect()
}

/// Whether a setting is missing or wrong, rather than that the KMS says no.
fn is_of_settings(error: &KmsError) -> bool {
    error.kind == Kind::BadUri && error.request_id.is_none()
}

fn attempt(uri: &str, passed: &mut usize) -> Result<()> {
    settings::check_unplanted()?;
    let uri = named::parsed(uri)?;
    *passed += 1;
    named::require_allowed(&uri)?;
    *passed += 1;
    let named = named::reached(uri)?;
    let context = trial_context();
    let warnings = named.provider().examine();
    let generated = warnings.and_then(|warnings| {
        for warning in warnings {
            report::warning(format!("KEK \"{}\": {warning}", named.uri()), WARNING_HINT);
        }
        named.provider().generate(&context)
    });
    // Some settings are read when the KMS is about to be asked.
    if !generated.as_ref().is_err_and(is_of_settings) {
        *passed += 1;
    }
    let generated = generated.map_err(unusable)?;
    *passed += 1;
    let unwrapped = named.provider().unwrap(&generated.wrap.bytes, &context).map_err(unusable)?;
    *passed += 1;
    audit::log(Action::Check, |event| {
        event.kek = Some(named.uri());
        event.kms_request_id = unwrapped.request_id.clone();
    });
    if key_id(&unwrapped.data_key) != key_id(&generated.data_key) {
        return Err(Error::Corrupt("the KMS gave another data key back than it made".into()));
    }
    *passed += 1;
    Ok(())
}
