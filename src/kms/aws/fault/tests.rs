#![allow(clippy::unwrap_used)]

use aws_sdk_kms::error::{BoxError, ConnectorError, ErrorMetadata};
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};

use super::super::super::uri::AwsKey;
use super::super::MAX_WRAPPED_LEN;
use super::*;

const ARN: &str = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
const OTHER: &str = "arn:aws:kms:eu-west-1:123456789012:key/00000000-12ab-34cd-56ef-1234567890ab";

fn request() -> Request {
    Request::new(Operation::Decrypt, format!("aws-kms://{ARN}").parse().unwrap())
}

fn key() -> AwsKey {
    AwsKey::parse(ARN).unwrap()
}

fn response(status: u16) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), "".into());
    response.headers_mut().insert("x-amzn-requestid", "id-1");
    response
}

#[test]
fn a_service_error_keeps_kind_text_and_request_id() {
    let said = "not\nauthorized to perform: kms:Decrypt";
    let meta = ErrorMetadata::builder().code("AccessDeniedException").message(said).build();
    let error = SdkError::service_error(DecryptError::generic(meta), response(400));
    let error = request().refused(&error);
    assert_eq!(error.kind, Kind::Denied);
    assert_eq!(*error.kek, *format!("aws-kms://{ARN}"));
    assert_eq!(error.request_id.as_deref(), Some("id-1"));
    assert!(error.message.contains("AccessDeniedException: not authorized"), "{error}");
    assert!(error.hint.unwrap().contains("kms:Decrypt"));
}

#[test]
fn an_answer_that_cannot_be_read_is_not_quoted() {
    let source = BoxError::from("a secret in the body");
    let error = SdkError::<DecryptError, _>::response_error(source, response(200));
    let error = request().refused(&error);
    assert_eq!((error.kind, error.request_id.as_deref()), (Kind::Unavailable, Some("id-1")));
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn no_connection_is_unavailable_and_says_why() {
    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let failure = ConnectorError::io(refused.into());
    let error = request().refused(&SdkError::<DecryptError, _>::dispatch_failure(failure));
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.message.contains("connection refused"), "{error}");
}

#[test]
fn a_data_key_is_32_bytes() {
    let give = |length: usize| request().data_key(Some(Blob::new(vec![1; length])), Some("id-1"));
    assert_eq!(give(32).unwrap().as_bytes(), &[1; 32]);
    for length in [0, 16, 31, 33, 64] {
        let error = give(length).err().unwrap();
        assert_eq!((error.kind, error.request_id.as_deref()), (Kind::InvalidWrap, Some("id-1")));
    }
    assert_eq!(request().data_key(None, None).err().unwrap().kind, Kind::Unavailable);
}

#[test]
fn a_wrap_is_under_the_key_that_was_asked_for() {
    let wrap = |named: Option<&str>, bytes: Vec<u8>| {
        let wrap = request().wrap(&key(), named, Some(Blob::new(bytes)), None);
        wrap.map(|wrap| wrap.kek).map_err(|error| error.kind)
    };
    assert_eq!(wrap(Some(ARN), vec![1]), Ok(KekUri::Aws(key())));
    assert_eq!(wrap(Some(OTHER), vec![1]), Err(Kind::InvalidWrap));
    assert_eq!(wrap(Some("alias/x"), vec![1]), Err(Kind::Unavailable));
    assert_eq!(wrap(None, vec![1]), Err(Kind::Unavailable));
    assert_eq!(wrap(Some(ARN), vec![]), Err(Kind::Unavailable));
    assert_eq!(wrap(Some(ARN), vec![1; MAX_WRAPPED_LEN + 1]), Err(Kind::Unavailable));
}

#[test]
fn missing_credentials_are_told_from_a_missing_network() {
    let kind = |causes: &str| request().unsent(causes).kind;
    assert_eq!(kind("other: the credential provider was not enabled"), Kind::Credentials);
    assert_eq!(kind("dispatch failure: io error: refused"), Kind::Unavailable);
    let metadata = request().unsent("an error occurred while loading credentials: io error");
    assert_eq!(metadata.kind, Kind::Unavailable);
    assert!(metadata.hint.unwrap().contains("credentials"));
}

#[test]
fn only_an_enabled_symmetric_key_for_encryption_is_usable() {
    let about = |state, usage, spec| {
        let about = KeyMetadata::builder().key_id("k").arn(ARN).key_state(state).key_usage(usage);
        let about = about.key_spec(spec).build().unwrap();
        request().usable(&key(), Some(&about), None).map_err(|error| error.kind)
    };
    use {KeySpec::*, KeyState::*, KeyUsageType::*};
    assert_eq!(about(Enabled, EncryptDecrypt, SymmetricDefault), Ok(key()));
    assert_eq!(about(Disabled, EncryptDecrypt, SymmetricDefault), Err(Kind::KeyState));
    assert_eq!(about(PendingDeletion, EncryptDecrypt, SymmetricDefault), Err(Kind::KeyState));
    assert_eq!(about(Enabled, EncryptDecrypt, Rsa2048), Err(Kind::KeyState));
    assert_eq!(about(Enabled, GenerateVerifyMac, Hmac256), Err(Kind::KeyState));
    assert_eq!(request().usable(&key(), None, None).err().unwrap().kind, Kind::Unavailable);
}
