//! What an administrator sets about reaching a KMS: plain text, read by the provider that it is for.

#![allow(dead_code, reason = "for providers, which a build may leave out")]

use std::path::PathBuf;
use std::time::Duration;

use super::Identity;

/// All of it. A change makes a new client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Config {
    /// For each operation.
    pub limits: Limits,
    /// As whom the KMS is asked; unset: as the server itself.
    pub identity: Option<Identity>,
    pub aws: AwsSettings,
    pub vault: VaultSettings,
    pub pkcs11: Pkcs11Settings,
    pub kmip: KmipSettings,
}

/// What one operation may cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The most that it may take, with its retries and with finding credentials.
    pub timeout: Duration,
    /// How often a request is sent at most, the first time included.
    pub max_attempts: u32,
}

/// `envelope.aws_*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AwsSettings {
    /// The region of a KEK that is no ARN; unset or empty: the AWS default chain's.
    pub region: Option<String>,
    /// Another endpoint than AWS's own: one URL, or `region=url` pairs divided by commas.
    pub endpoint_url: Option<String>,
}

/// `envelope.vault_*`, without the role, which is of the identity. Each is one value for all servers
/// or `host:port=value` pairs ([`super::by_server`]).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct VaultSettings {
    /// How to log in: token, approle, jwt, kubernetes, cert.
    pub auth: Option<String>,
    /// Where that method is mounted; unset: under its own name.
    pub auth_mount: Option<String>,
    pub namespace: Option<String>,
    pub token_file: Option<String>,
    pub role_id: Option<String>,
    pub secret_id_file: Option<String>,
    pub jwt_file: Option<String>,
    pub client_cert_file: Option<String>,
    pub client_key_file: Option<String>,
    /// Unset: the CAs that the system trusts.
    pub ca_file: Option<String>,
}

/// `envelope.pkcs11_*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pkcs11Settings {
    /// The absolute path of the module.
    pub module: Option<String>,
    pub pin_file: Option<String>,
    /// Whether the token draws the IV and hands it back.
    pub token_chooses_iv: bool,
    /// Where is remembered which PIN files the token refused: a directory that the server may write to, the same for
    /// all its backends.
    pub remembered_in: PathBuf,
}

/// `envelope.kmip_*`. Each is one value for all servers or `host:port=value` pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KmipSettings {
    /// Unset: the CAs that the system trusts.
    pub ca_file: Option<String>,
    pub client_cert_file: Option<String>,
    pub client_key_file: Option<String>,
}
