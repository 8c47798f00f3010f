//! The JSON of requests and answers. What holds a key or a token is wiped when dropped.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// Text that is wiped when dropped, and not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn of(text: Zeroizing<String>) -> Secret {
        Secret(text)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Secret(Zeroizing::new(text)))
    }
}

/// The body of a request, ready to send.
pub(super) type Body = Zeroizing<Vec<u8>>;

#[derive(Default, Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext: Option<&'a str>,
    context: &'a str,
}

/// For a new data key. The length is left out, since 32 bytes are what a server gives by itself, so
/// that a policy need not name it.
pub(super) fn data_key(context: &str) -> Body {
    json(&Asked { context, ..Asked::default() })
}

/// To encrypt a data key.
pub(super) fn encrypt(data_key: &DataKey, context: &str) -> Body {
    let plaintext = Zeroizing::new(STANDARD.encode(data_key.as_bytes()));
    json(&Asked { plaintext: Some(plaintext.as_str()), context, ..Asked::default() })
}

/// To decrypt a wrap, or to move it to the key's newest version.
pub(super) fn of_wrap(wrap: &str, context: &str) -> Body {
    json(&Asked { ciphertext: Some(wrap), context, ..Asked::default() })
}

/// The encryption context as transit takes it: base64 of its one text form.
pub(super) fn context(context: &EncryptionContext) -> String {
    STANDARD.encode(context.canonical_json())
}

pub(super) fn json(asked: &impl Serialize) -> Body {
    // Strings alone: nothing of it can fail to be JSON.
    Zeroizing::new(serde_json::to_vec(asked).unwrap_or_default())
}

/// An answer that is a success, as far as it is read, with `D` as its data.
#[derive(Deserialize)]
pub(super) struct Answer<D> {
    pub(super) request_id: Option<String>,
    warnings: Option<Vec<String>>,
    pub(super) data: Option<D>,
    auth: Option<Auth>,
}

/// What an operation gives.
#[derive(Deserialize)]
pub(super) struct Data {
    plaintext: Option<Secret>,
    ciphertext: Option<String>,
}

#[derive(Deserialize)]
struct Auth {
    client_token: Option<Secret>,
}

impl<D: DeserializeOwned> Answer<D> {
    /// Reads a body; `None` when it is not one of the API's.
    pub(super) fn parse(body: &[u8]) -> Option<Answer<D>> {
        serde_json::from_slice(body).ok()
    }

    /// What the server wants to be noticed.
    pub(super) fn warning(&self) -> Option<&str> {
        self.warnings.iter().flatten().next().map(String::as_str)
    }

    /// The token of a login.
    pub(super) fn into_token(self) -> Option<Secret> {
        self.auth?.client_token.filter(|token| !token.as_str().is_empty())
    }
}

/// Why there is no data key in an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoDataKey {
    /// Not the API's form.
    Missing,
    /// Of so many bytes.
    Length(usize),
}

impl Data {
    /// The data key.
    pub(super) fn data_key(&self) -> Result<Box<DataKey>, NoDataKey> {
        let text = self.plaintext.as_ref().ok_or(NoDataKey::Missing)?;
        let bytes = STANDARD.decode(text.as_str()).map_err(|_| NoDataKey::Missing)?;
        let bytes = Zeroizing::new(bytes);
        DataKey::try_from_slice(&bytes).map_err(|_| NoDataKey::Length(bytes.len()))
    }

    /// The wrap.
    pub(super) fn wrap(&self) -> Option<&str> {
        self.ciphertext.as_deref().filter(|text| is_wrap(text.as_bytes()))
    }
}

/// Many times a wrap of 32 bytes under an AEAD, and less than what PostgreSQL would move out of line.
const LONGEST_WRAP: usize = 1024;

/// Whether it can have come from a transit engine: `vault:v`, the key's version, and base64.
pub(super) fn is_wrap(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let parts = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
    parts.is_some_and(|(version, rest)| {
        text.len() <= LONGEST_WRAP
            && (1..=10).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_digit())
            && !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    })
}

/// What a refusal says, as one line; `None` when it is not in the API's form.
pub(super) fn errors(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Refused {
        errors: Vec<String>,
    }
    let refused: Refused = serde_json::from_slice(body).ok()?;
    let texts = refused.errors.iter().map(|text| {
        // How the server lists what may be several.
        let text = text.trim().trim_start_matches("1 error occurred:").trim();
        text.trim_start_matches("* ")
    });
    Some(super::request::printable(&texts.collect::<Vec<_>>().join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_what_they_need_and_no_more() {
        assert_eq!(&data_key("e30=")[..], br#"{"context":"e30="}"#);
        let wrap = of_wrap("vault:v1:AA==", "e30=");
        assert_eq!(&wrap[..], br#"{"ciphertext":"vault:v1:AA==","context":"e30="}"#);
        let key = DataKey::try_from_slice(&[0xFF; 32]).map(|key| encrypt(&key, "e30="));
        let text = format!(r#"{{"plaintext":"{}8=","context":"e30="}}"#, "/".repeat(42));
        assert_eq!(key.as_deref().map(Vec::as_slice), Ok(text.as_bytes()));
    }

    #[test]
    fn the_context_is_base64_of_canonical_json() {
        let pairs: EncryptionContext = [("database", "a"), ("b", "\u{e9}")].into_iter().collect();
        assert_eq!(context(&pairs), "eyJiIjoiw6kiLCJkYXRhYmFzZSI6ImEifQ==");
        assert_eq!(context(&EncryptionContext::default()), "e30=");
    }

    #[test]
    fn answers_are_read() {
        let body = br#"{"request_id":"r-1","lease_id":"","data":{"ciphertext":"vault:v3:QUJD","key_version":3,
            "plaintext":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},"warnings":null,"auth":null}"#;
        let answer = Answer::<Data>::parse(body);
        let data = answer.as_ref().and_then(|answer| answer.data.as_ref());
        assert_eq!(answer.as_ref().and_then(|a| a.request_id.as_deref()), Some("r-1"));
        assert_eq!(answer.as_ref().and_then(Answer::warning), None);
        assert_eq!(data.and_then(Data::wrap), Some("vault:v3:QUJD"));
        let key = data.and_then(|data| data.data_key().ok());
        assert_eq!(key.map(|key| key.as_bytes()[31]), Some(31));
    }

    #[test]
    fn a_warning_is_seen() {
        let body =
            br#"{"data":{},"warnings":["Endpoint ignored these unrecognized parameters: [x]"]}"#;
        let answer = Answer::<Data>::parse(body);
        assert!(answer.is_some_and(|a| a.warning().is_some_and(|w| w.contains("[x]"))));
        let none = Answer::<Data>::parse(br#"{"data":{},"warnings":[]}"#);
        assert!(none.is_some_and(|a| a.warning().is_none()));
    }

    #[test]
    fn a_data_key_is_32_bytes() {
        for (plaintext, expected) in [
            (r#""plaintext":"AAAA""#, NoDataKey::Length(3)),
            (r#""plaintext":"""#, NoDataKey::Length(0)),
            (r#""plaintext":"$$$$""#, NoDataKey::Missing),
            (r#""x":1"#, NoDataKey::Missing),
        ] {
            let answer = Answer::<Data>::parse(format!(r#"{{"data":{{{plaintext}}}}}"#).as_bytes());
            let refused = answer.and_then(|a| a.data.map(|data| data.data_key().err()));
            assert_eq!(refused, Some(Some(expected)), "{plaintext}");
        }
    }

    #[test]
    fn only_what_transit_makes_is_a_wrap() {
        for good in ["vault:v1:AA==", "vault:v1234567890:a+/="] {
            assert!(is_wrap(good.as_bytes()), "{good}");
        }
        let long = format!("vault:v1:{}", "A".repeat(1100));
        for bad in [
            "",
            "AA==",
            "vault:AA==",
            "vault:v:AA==",
            "vault:v1:",
            "vault:vx:AA==",
            "vault:v1:A A",
            "vault:v1:A\"",
            "vault:v12345678901:AA",
            "Vault:v1:AA==",
            "vault:v1:\u{e9}",
            &long,
        ] {
            assert!(!is_wrap(bad.as_bytes()), "{bad}");
        }
        assert!(!is_wrap(b"vault:v1:\xFF"));
    }

    #[test]
    fn refusals_are_one_line() {
        for (body, expected) in [
            (r#"{"errors":["permission denied"]}"#, Some("permission denied")),
            (
                r#"{"errors":["1 error occurred:\n\t* permission denied\n\n"]}"#,
                Some("permission denied"),
            ),
            (r#"{"errors":["a","b\u0007"]}"#, Some("a; b ")),
            (r#"{"errors":[]}"#, Some("")),
            (r#"{"errors":null}"#, None),
            (r#"{"error":"x"}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(errors(body.as_bytes()).as_deref(), expected, "{body}");
        }
        let many = format!(r#"{{"errors":["x"{}]}}"#, r#","x""#.repeat(10_000));
        assert!(errors(many.as_bytes()).is_some_and(|said| said.len() <= 400));
    }

    #[test]
    fn a_login_gives_a_token_or_none() {
        let of = |body: &str| {
            let token = Answer::<Data>::parse(body.as_bytes()).and_then(Answer::into_token);
            token.map(|token| token.as_str().to_owned())
        };
        assert_eq!(of(r#"{"auth":{"client_token":"b.x"}}"#).as_deref(), Some("b.x"));
        for none in [r#"{"auth":{"client_token":""}}"#, r#"{"auth":null}"#, r#"{"auth":{}}"#, "[]"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
