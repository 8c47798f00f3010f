//! When a KEK was made and last used, as KMS itself has recorded it.
//!
//! Source: AWS KMS API Reference, GetKeyLastUsage.

use aws_sdk_kms::config::Builder;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::operation::get_key_last_usage::GetKeyLastUsageOutput;
use aws_sdk_kms::primitives::{DateTime, DateTimeFormat};

use super::AwsProvider;
use super::fault::Operation;

impl AwsProvider {
    /// `None` when KMS does not tell: its right to use the KEK may not include it, and what stands in for KMS in
    /// tests may not know of it. Asked once, since nothing depends on it.
    pub(super) fn last_usage(&self) -> Option<String> {
        // It takes no alias.
        if !self.key.is_key_arn() {
            return None;
        }
        let id = self.key.id().to_owned();
        let answer = self.call(Operation::GetKeyLastUsage, |client, _| async move {
            let once = Builder::new().retry_config(RetryConfig::disabled());
            let sent =
                client.get_key_last_usage().key_id(id).customize().config_override(once).send();
            Ok(sent.await.ok().and_then(|answer| told(&answer)))
        });
        answer.ok().flatten()
    }
}

/// Nothing of an answer that has no times.
fn told(answer: &GetKeyLastUsageOutput) -> Option<String> {
    let text = |time: Option<&DateTime>| time?.fmt(DateTimeFormat::DateTime).ok();
    let last = answer.key_last_usage();
    let used = match last.and_then(|last| text(last.timestamp())) {
        Some(at) => {
            let by =
                last.and_then(|last| last.operation()).map(|by| format!(" by {}", by.as_str()));
            let id = last.and_then(|last| last.kms_request_id());
            let id = id.map(|id| format!(", request {id}"));
            format!("last used {at}{}{}", by.unwrap_or_default(), id.unwrap_or_default())
        }
        None => format!("not used since {}", text(answer.tracking_start_date())?),
    };
    let made = text(answer.key_creation_date()).map(|at| format!("made {at}, "));
    Some(format!("as KMS has recorded: {}{used}", made.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use aws_sdk_kms::types::{KeyLastUsageData, KeyLastUsageTrackingOperation};

    use super::*;

    #[test]
    fn what_it_tells() {
        let (made, since, used) =
            (DateTime::from_secs(0), DateTime::from_secs(86_400), DateTime::from_secs(172_800));
        let answer = || GetKeyLastUsageOutput::builder().key_creation_date(made);
        let unused = answer()
            .tracking_start_date(since)
            .key_last_usage(KeyLastUsageData::builder().build())
            .build();
        assert_eq!(
            told(&unused).as_deref(),
            Some(
                "as KMS has recorded: made 1970-01-01T00:00:00Z, not used since 1970-01-02T00:00:00Z"
            )
        );
        let data = KeyLastUsageData::builder()
            .timestamp(used)
            .operation(KeyLastUsageTrackingOperation::Decrypt)
            .kms_request_id("1-2")
            .build();
        let used = answer().tracking_start_date(since).key_last_usage(data).build();
        assert_eq!(
            told(&used).as_deref(),
            Some(
                "as KMS has recorded: made 1970-01-01T00:00:00Z, last used 1970-01-03T00:00:00Z by Decrypt, \
                 request 1-2"
            )
        );
        assert_eq!(told(&answer().build()), None);
    }
}
