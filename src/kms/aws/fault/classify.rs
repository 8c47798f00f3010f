//! Error codes of AWS, sorted. Source: AWS KMS API Reference, the errors of each operation, and
//! "Common Errors"; the names of throttling errors are those that the AWS SDKs retry on.

use super::Kind;
use crate::figures;

/// What is asked of KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kms::aws) enum Operation {
    GenerateDataKey,
    Decrypt,
    Encrypt,
    ReEncrypt,
    DescribeKey,
    GetKeyLastUsage,
}

impl Operation {
    /// As what it is counted.
    pub(in crate::kms::aws) fn counted_as(self) -> figures::Operation {
        match self {
            Self::GenerateDataKey => figures::Operation::Generate,
            Self::Encrypt => figures::Operation::Wrap,
            Self::Decrypt => figures::Operation::Unwrap,
            Self::ReEncrypt => figures::Operation::Rewrap,
            Self::DescribeKey | Self::GetKeyLastUsage => figures::Operation::Describe,
        }
    }

    /// Its name in the API, in CloudTrail and, after `kms:`, in IAM.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "GenerateDataKey",
            Self::Decrypt => "Decrypt",
            Self::Encrypt => "Encrypt",
            Self::ReEncrypt => "ReEncrypt",
            Self::DescribeKey => "DescribeKey",
            Self::GetKeyLastUsage => "GetKeyLastUsage",
        }
    }

    /// What IAM must allow for it.
    fn iam_actions(self) -> &'static str {
        match self {
            Self::GenerateDataKey => "kms:GenerateDataKey on this key",
            Self::Decrypt => "kms:Decrypt on this key",
            Self::Encrypt => "kms:Encrypt on this key",
            Self::ReEncrypt => "kms:ReEncryptFrom on this key and kms:ReEncryptTo on the new one",
            Self::DescribeKey => "kms:DescribeKey on this key",
            Self::GetKeyLastUsage => "kms:GetKeyLastUsage on this key",
        }
    }
}

/// The kind of an error that KMS answered with.
pub(super) fn kind(code: Option<&str>, status: u16) -> Kind {
    let code = code.unwrap_or_default();
    match code.strip_suffix("Exception").unwrap_or(code) {
        "AccessDenied"
        | "NotAuthorized"
        | "UnauthorizedOperation"
        | "OptInRequired"
        | "SubscriptionRequired"
        | "InvalidGrantToken" => Kind::Denied,
        "UnrecognizedClient"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "RequestExpired"
        | "IncompleteSignature"
        | "InvalidSignature"
        | "SignatureDoesNotMatch"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenError"
        | "InvalidToken" => Kind::Credentials,
        "Disabled"
        | "KMSInvalidState"
        | "NotFound"
        | "InvalidKeyUsage"
        | "UnsupportedOperation" => Kind::KeyState,
        "InvalidCiphertext" | "IncorrectKey" => Kind::InvalidWrap,
        "InvalidArn" | "Validation" | "ValidationError" => Kind::BadUri,
        "Throttling"
        | "Throttled"
        | "RequestThrottled"
        | "RequestThrottledError"
        | "RequestLimitExceeded"
        | "LimitExceeded"
        | "TooManyRequests"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "ProvisionedThroughputExceeded"
        | "PriorRequestNotComplete" => Kind::Throttled,
        _ if status == 429 => Kind::Throttled,
        // A gateway in between, or a code that is new: a refusal all the same, which no other KEK and no
        // cache may bridge.
        _ if status == 401 || status == 403 => Kind::Denied,
        // KMSInternal, DependencyTimeout, KeyUnavailable, key store trouble, and all that is new.
        _ => Kind::Unavailable,
    }
}

/// The kind of an error that no answer stands behind, and what to do: by the texts of its causes,
/// since the types of credential errors are in a crate of the SDK that it does not re-export.
pub(super) fn unsent(causes: &str) -> (Kind, &'static str) {
    const REFUSED: [&str; 11] = [
        "credential provider was not enabled",
        "credentials provider was not properly configured",
        "insufficient permissions",
        "AccessDenied",
        "ExpiredToken",
        "InvalidIdentityToken",
        "IDPRejectedClaim",
        "InvalidClientTokenId",
        "UnrecognizedClient",
        "SignatureDoesNotMatch",
        "RegionDisabled",
    ];
    if REFUSED.iter().any(|text| causes.contains(text)) {
        (Kind::Credentials, CREDENTIALS_HINT)
    } else if causes.contains("loading credentials") || causes.contains("provider timed out") {
        let hint = "Can the server reach the source of its AWS credentials: STS, the container's \
            or the instance's metadata service?";
        (Kind::Unavailable, hint)
    } else {
        (Kind::Unavailable, UNAVAILABLE_HINT)
    }
}

const CREDENTIALS_HINT: &str = "Give the server's process AWS credentials that are valid: \
    environment, profile, web identity, container or instance role. Check its clock as well. If \
    envelope.aws_role_arn is set, that role must let them assume it.";

const UNAVAILABLE_HINT: &str = "Can the server reach the KMS endpoint? See \
    envelope.aws_endpoint_url, envelope.kms_timeout and envelope.kms_max_attempts.";

/// What to do about an error that KMS answered with.
pub(super) fn hint(kind: Kind, operation: Operation) -> String {
    let hint = match kind {
        Kind::Denied => {
            return format!(
                "Allow {} to the server's AWS identity (or to the role of envelope.aws_role_arn), in \
                 the key's policy or in IAM, with this encryption context.",
                operation.iam_actions()
            );
        }
        Kind::Credentials => CREDENTIALS_HINT,
        Kind::KeyState => {
            "The key must exist in this account and region, be enabled, and be a symmetric \
             ENCRYPT_DECRYPT key. A deletion that is pending can be cancelled in KMS."
        }
        Kind::Throttled => {
            "The quota of requests is the whole AWS account's. A longer envelope.cache_ttl asks \
             less often."
        }
        Kind::InvalidWrap => {
            "The wrap was changed, belongs to another key, or was made with another encryption \
             context."
        }
        Kind::BadUri => "Check the KEK's URI and the encryption context.",
        Kind::Unavailable | Kind::NotBuiltIn => UNAVAILABLE_HINT,
    };
    hint.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line of the table: a refusal that is taken for an outage lets another KEK or a stale key
    /// bridge it.
    #[test]
    fn every_code_has_its_kind() {
        for (expected, codes) in [
            (
                Kind::Denied,
                "AccessDenied NotAuthorized UnauthorizedOperation OptInRequired \
                 SubscriptionRequired InvalidGrantToken",
            ),
            (
                Kind::Credentials,
                "UnrecognizedClient InvalidClientTokenId ExpiredToken RequestExpired \
                 IncompleteSignature InvalidSignature SignatureDoesNotMatch \
                 MissingAuthenticationToken MissingAuthenticationTokenError InvalidToken",
            ),
            (
                Kind::KeyState,
                "Disabled KMSInvalidState NotFound InvalidKeyUsage UnsupportedOperation",
            ),
            (Kind::InvalidWrap, "InvalidCiphertext IncorrectKey"),
            (Kind::BadUri, "InvalidArn Validation ValidationError"),
            (
                Kind::Throttled,
                "Throttling Throttled RequestThrottled RequestThrottledError \
                 RequestLimitExceeded LimitExceeded TooManyRequests SlowDown \
                 BandwidthLimitExceeded ProvisionedThroughputExceeded PriorRequestNotComplete",
            ),
            (
                Kind::Unavailable,
                "KMSInternal DependencyTimeout KeyUnavailable CloudHsmClusterNotActive \
                 XksProxyUriUnreachable SomethingNew",
            ),
        ] {
            for code in codes.split_whitespace() {
                assert_eq!(kind(Some(code), 400), expected, "{code}");
                let exception = format!("{code}Exception");
                assert_eq!(kind(Some(&exception), 400), expected, "{exception}");
            }
        }
    }

    #[test]
    fn without_a_code_the_status_decides() {
        for (status, expected) in [
            (401, Kind::Denied),
            (403, Kind::Denied),
            (429, Kind::Throttled),
            (400, Kind::Unavailable),
            (404, Kind::Unavailable),
            (500, Kind::Unavailable),
            (503, Kind::Unavailable),
        ] {
            for code in [None, Some("")] {
                assert_eq!(kind(code, status), expected, "{status}");
            }
        }
        // With one that is known it does not, else it does.
        assert_eq!(kind(Some("DisabledException"), 403), Kind::KeyState);
        assert_eq!(kind(Some("SomethingNewException"), 429), Kind::Throttled);
        assert_eq!(kind(Some("SomethingNewException"), 403), Kind::Denied);
    }

    #[test]
    fn refused_credentials_are_told_from_unreachable_ones() {
        for refused in [
            "the credential provider was not enabled",
            "the credentials provider was not properly configured: x",
            "service error: insufficient permissions",
            "unhandled error (AccessDenied): x",
            "unhandled error (ExpiredToken): x",
            "unhandled error (ExpiredTokenException): x",
            "unhandled error (InvalidIdentityToken): x",
            "unhandled error (InvalidClientTokenId): x",
            "unhandled error (IDPRejectedClaim): x",
            "unhandled error (UnrecognizedClientException): x",
            "unhandled error (SignatureDoesNotMatch): x",
            "unhandled error (RegionDisabledException): x",
        ] {
            for causes in [
                refused.to_owned(),
                format!("an error occurred while loading credentials: {refused}"),
            ] {
                assert_eq!(unsent(&causes), (Kind::Credentials, CREDENTIALS_HINT), "{causes}");
            }
        }
        for away in ["an error occurred while loading credentials: io error", "provider timed out"]
        {
            let (kind, hint) = unsent(away);
            assert_eq!(kind, Kind::Unavailable, "{away}");
            assert!(hint.contains("credentials"), "{hint}");
        }
        assert_eq!(unsent("io error: refused"), (Kind::Unavailable, UNAVAILABLE_HINT));
    }

    #[test]
    fn a_denied_operation_names_what_to_allow() {
        for (operation, actions) in [
            (Operation::GenerateDataKey, "kms:GenerateDataKey"),
            (Operation::Decrypt, "kms:Decrypt"),
            (Operation::Encrypt, "kms:Encrypt"),
            (Operation::ReEncrypt, "kms:ReEncryptFrom kms:ReEncryptTo"),
            (Operation::DescribeKey, "kms:DescribeKey"),
            (Operation::GetKeyLastUsage, "kms:GetKeyLastUsage"),
        ] {
            let hint = hint(Kind::Denied, operation);
            for action in actions.split_whitespace() {
                assert!(hint.contains(&format!("{action} on")), "{hint}");
            }
            assert!(actions.contains(operation.name()), "{}", operation.name());
        }
    }
}
