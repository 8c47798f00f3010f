//! What transit tells of a key (`GET <mount>/keys/<name>`), and what stands against it as a KEK.

use serde::Deserialize;

use super::classify::SORT_HINT;

/// As far as it is read. A server that does not know a property leaves it out.
#[derive(Deserialize)]
pub(super) struct Described {
    #[serde(rename = "type")]
    sort: String,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    soft_deleted: bool,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
}

/// Ciphers whose wraps only the server can make, with keys of 256 bits.
const GOOD_SORTS: [&str; 3] = ["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

impl Described {
    /// What is to be warned of in a key that can serve.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub(super) fn judged(&self) -> Result<Vec<&'static str>, (String, &'static str)> {
        if self.soft_deleted {
            let hint = "Bring it back: POST <mount>/keys/<name>/soft-delete-restore.";
            return Err(("the key is soft-deleted".into(), hint));
        }
        if !GOOD_SORTS.contains(&self.sort.as_str()) {
            let sort = super::request::printable(&self.sort);
            let why = if self.sort.starts_with("rsa") {
                "so that anyone with its public half could make wraps"
            } else {
                "which is no cipher for wraps"
            };
            return Err((format!("the key is of type {sort}, {why}"), SORT_HINT));
        }
        if !self.derived {
            return Err((NOT_DERIVED.into(), SORT_HINT));
        }
        let mut warnings = Vec::new();
        if self.exportable {
            warnings
                .push("the key is exportable: whoever may read <mount>/export has the KEK itself");
        }
        if self.allow_plaintext_backup {
            warnings
                .push("the key allows plaintext backups: whoever may make one has the KEK itself");
        }
        Ok(warnings)
    }
}

/// What a key without derived=true does to the encryption context.
pub(super) const NOT_DERIVED: &str =
    "the key does not bind the encryption context: a wrap of it opens under another one";

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(json: &str) -> Option<Result<Vec<&'static str>, (String, &'static str)>> {
        serde_json::from_str::<Described>(json).ok().map(|key| key.judged())
    }

    #[test]
    fn a_derived_aead_key_can_serve() {
        for sort in GOOD_SORTS {
            let json = format!(
                r#"{{"type":"{sort}","derived":true,"exportable":false,"allow_plaintext_backup":false,
                    "soft_deleted":false,"latest_version":2,"keys":{{"1":1,"2":2}}}}"#
            );
            assert_eq!(judged(&json), Some(Ok(Vec::new())), "{sort}");
            // Vault knows no soft deletion.
            let json = format!(r#"{{"type":"{sort}","derived":true}}"#);
            assert_eq!(judged(&json), Some(Ok(Vec::new())), "{sort}");
        }
    }

    #[test]
    fn others_cannot() {
        for (json, said) in [
            (r#"{"type":"aes256-gcm96","derived":false}"#, "does not bind"),
            (r#"{"type":"aes256-gcm96"}"#, "does not bind"),
            (r#"{"type":"aes256-gcm96","derived":true,"soft_deleted":true}"#, "soft-deleted"),
            (r#"{"type":"aes128-gcm96","derived":true}"#, "aes128-gcm96"),
            (r#"{"type":"rsa-4096"}"#, "public half"),
            (r#"{"type":"ed25519","derived":true}"#, "ed25519"),
            (r#"{"type":"hmac"}"#, "hmac"),
        ] {
            let refused = judged(json).and_then(Result::err);
            assert!(
                refused.as_ref().is_some_and(|(why, _)| why.contains(said)),
                "{json} {refused:?}"
            );
        }
        assert_eq!(judged("{}"), None);
    }

    #[test]
    fn what_hands_the_kek_out_is_warned_of() {
        let warned = |more: &str| {
            let json = format!(r#"{{"type":"aes256-gcm96","derived":true,{more}}}"#);
            judged(&json).and_then(Result::ok).map_or(0, |warnings| warnings.len())
        };
        assert_eq!(warned(r#""exportable":true"#), 1);
        assert_eq!(warned(r#""allow_plaintext_backup":true"#), 1);
        assert_eq!(warned(r#""exportable":true,"allow_plaintext_backup":true"#), 2);
    }
}
