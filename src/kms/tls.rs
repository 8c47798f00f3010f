//! TLS to a KMS: whom this server trusts, how it shows who it is, and what it means when that does
//! not do.

#![allow(dead_code, reason = "for providers, which a build may leave out")]

use std::error::Error;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::retry::Failed;
use super::secret_file::{self, Holds};
use super::uri::Authority;
use super::{KekUri, Kind, KmsError};

/// The files that a provider's settings name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    /// What the settings' names begin with: `envelope.vault` for `envelope.vault_ca_file`.
    pub(super) settings: &'static str,
    /// CAs in PEM; unset: the system's.
    pub(super) ca: Option<&'a str>,
    /// This server's certificate and those between it and a CA, in PEM, and its key.
    pub(super) client_cert: Option<&'a str>,
    pub(super) client_key: Option<&'a str>,
}

/// What connections to one server are made with. To be kept: to make it reads files.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    settings: &'static str,
}

impl Tls {
    /// # Errors
    /// What is wrong with the files, as [`secret_file::read`] tells it, or [`Kind::BadUri`].
    pub(super) fn new(files: &Files<'_>, kek: &KekUri) -> Result<Tls, KmsError> {
        let settings = files.settings;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unfit = |why: String| KmsError::new(Kind::BadUri, kek, why);
        let roots = Arc::new(match files.ca {
            Some(path) => roots_of(path, &format!("{settings}_ca_file"), kek)?,
            None => system_roots(settings, kek)?,
        });
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
        let verifier =
            verifier.build().map_err(|error| unfit(format!("no CA to trust: {error}")))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unfit(format!("TLS cannot be set up: {error}")))?
            .with_webpki_verifier(verifier);
        let config = match (files.client_cert, files.client_key) {
            (None, None) => config.with_no_client_auth(),
            (Some(cert), Some(key)) => {
                let cert = certificates(cert, &format!("{settings}_client_cert_file"), kek)?;
                let key = key_of(key, &format!("{settings}_client_key_file"), kek)?;
                config.with_client_auth_cert(cert, key).map_err(|_| {
                    unfit(format!(
                        "the key of {settings}_client_key_file is not that of the certificate in \
                         {settings}_client_cert_file, or of a sort that TLS has no use for"
                    ))
                })?
            }
            _ => {
                return Err(unfit(format!(
                    "of {settings}_client_cert_file and {settings}_client_key_file only one is set"
                ))
                .with_hint("Set both, or neither."));
            }
        };
        Ok(Tls { config: Arc::new(config), settings })
    }

    /// TLS over `tcp` to `server`.
    ///
    /// # Errors
    /// A refused certificate is one for good; a connection that breaks is one for now.
    pub(super) async fn handshake(
        &self,
        tcp: TcpStream,
        server: &Authority,
        kek: &KekUri,
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let name = ServerName::try_from(server.host());
        let name = name.map_err(|_| {
            let message = format!("{} is no name that a certificate can have", server.host());
            Failed::ForGood(KmsError::new(Kind::BadUri, kek, message))
        })?;
        TlsConnector::from(self.config.clone()).connect(name, tcp).await.map_err(|error| {
            self.fault(&error, kek).map_or_else(
                || {
                    let message = format!("the connection broke while TLS was agreed on: {error}");
                    Failed::ForNow(unavailable(message, kek), None)
                },
                Failed::ForGood,
            )
        })
    }

    /// What TLS has against the other side, or the other side against this one, if that is what is
    /// behind `error`. With TLS 1.3 a server refuses a client's certificate only when it is read from.
    pub(super) fn fault(&self, error: &(dyn Error + 'static), kek: &KekUri) -> Option<KmsError> {
        let (kind, message, hint) = said(tls_error(error)?, self.settings);
        Some(KmsError::new(kind, kek, message).with_hint(hint))
    }
}

/// A connection to `server`, whose usual port is `usual`.
///
/// # Errors
/// One for now: nothing has been sent.
pub(super) async fn tcp(server: &Authority, usual: u16, kek: &KekUri) -> Result<TcpStream, Failed> {
    let port = server.port(usual);
    let stream = TcpStream::connect((server.host(), port)).await.map_err(|error| {
        let message = format!("could not connect to {}: {error}", server.with_port(usual));
        Failed::ForNow(unavailable(message, kek), None)
    })?;
    // Requests are small, and written at once. Where it cannot be set, they only take longer.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn unavailable(message: String, kek: &KekUri) -> KmsError {
    KmsError::new(Kind::Unavailable, kek, message).with_hint(
        "Does the KMS run, and can this server reach it? See envelope.kms_timeout and \
         envelope.kms_max_attempts.",
    )
}

/// The TLS error in `error`, however deep it lies.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an io::Error is that of what is in it.
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// What a TLS error means, and what to do.
fn said(error: &rustls::Error, settings: &str) -> (Kind, String, String) {
    use rustls::Error::*;
    let unavailable = |message: &str, hint: String| (Kind::Unavailable, message.to_owned(), hint);
    match error {
        InvalidCertificate(error) => {
            let (message, hint) = of_certificate(error, settings);
            (Kind::Unavailable, message, hint)
        }
        AlertReceived(alert) if is_about_certificate(*alert) => {
            let message = format!("the KMS does not accept this server's certificate ({alert:?})");
            let hint = format!(
                "It must be of a CA that the KMS trusts, be for clients, and not have expired: see \
                 {settings}_client_cert_file."
            );
            (Kind::Credentials, message, hint)
        }
        AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | PeerIncompatible(_) => unavailable(
            "the KMS and this server have no version or cipher of TLS in common",
            "Let it offer TLS 1.3, or TLS 1.2 with an AES-GCM or ChaCha20 cipher. With an RSA certificate some \
             servers offer none of these in TLS 1.2: give it an ECDSA one."
                .into(),
        ),
        InvalidMessage(_) => unavailable(
            "what answers there does not speak TLS",
            "Is it the KMS's port for TLS that the KEK's name has?".into(),
        ),
        error => unavailable(&format!("TLS failed: {error}"), "Does the KMS's log say more?".into()),
    }
}

fn of_certificate(error: &CertificateError, settings: &str) -> (String, String) {
    use CertificateError::*;
    let (message, hint) = match error {
        Expired | ExpiredContext { .. } => (
            "the certificate of the KMS has expired".into(),
            "Renew it there. If it has not, the clock of this machine is wrong.".into(),
        ),
        NotValidYet | NotValidYetContext { .. } => (
            "the certificate of the KMS is not valid yet".into(),
            "Is the clock of this machine right?".into(),
        ),
        UnknownIssuer => (
            "the certificate of the KMS is not of a CA that is trusted".into(),
            format!("Set {settings}_ca_file to a file with that CA's certificate."),
        ),
        NotValidForName | NotValidForNameContext { .. } => (
            "the certificate of the KMS is for another name than the KEK's URI has".into(),
            "Name the host as its certificate does, or have one made with this name as a subject alternative name."
                .into(),
        ),
        Revoked => ("the certificate of the KMS was revoked".into(), "Renew it there.".into()),
        error => (
            format!("the certificate of the KMS cannot be accepted: {error}"),
            "Have another one made.".into(),
        ),
    };
    (message, hint)
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    use AlertDescription::*;
    matches!(
        alert,
        NoCertificate
            | BadCertificate
            | UnsupportedCertificate
            | CertificateRevoked
            | CertificateExpired
            | CertificateUnknown
            | UnknownCA
            | AccessDenied
            | CertificateRequired
    )
}

fn roots_of(path: &str, setting: &str, kek: &KekUri) -> Result<RootCertStore, KmsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, setting, kek)? {
        roots.add(certificate).map_err(|error| {
            let message = format!("file \"{path}\" of {setting} has a bad certificate: {error}");
            KmsError::new(Kind::BadUri, kek, message)
        })?;
    }
    Ok(roots)
}

fn system_roots(settings: &str, kek: &KekUri) -> Result<RootCertStore, KmsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        let message = format!("the system has no CA that it trusts{why}");
        return Err(KmsError::new(Kind::Unavailable, kek, message).with_hint(format!(
            "Install the package ca-certificates, or set {settings}_ca_file."
        )));
    }
    Ok(roots)
}

fn certificates(
    path: &str,
    setting: &str,
    kek: &KekUri,
) -> Result<Vec<CertificateDer<'static>>, KmsError> {
    let pem = secret_file::read(path, setting, Holds::Certificates, kek)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    read.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
        let message = format!("file \"{path}\" of {setting} has no certificates in PEM");
        KmsError::new(Kind::BadUri, kek, message)
            .with_hint("It must begin with -----BEGIN CERTIFICATE-----.")
    })
}

fn key_of(path: &str, setting: &str, kek: &KekUri) -> Result<PrivateKeyDer<'static>, KmsError> {
    let pem = secret_file::read(path, setting, Holds::Secret, kek)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let message = format!("file \"{path}\" of {setting} has no private key in PEM");
        KmsError::new(Kind::BadUri, kek, message)
            .with_hint("It must be one without a passphrase: -----BEGIN PRIVATE KEY-----.")
    })
}

#[cfg(test)]
mod tests {
    use rustls::{Error, InvalidMessage, PeerIncompatible};

    use super::*;

    #[test]
    fn each_fault_has_its_kind_and_says_what_to_do() {
        let certificate = Error::InvalidCertificate;
        let alert = Error::AlertReceived;
        let (unavailable, credentials) = (Kind::Unavailable, Kind::Credentials);
        for (error, kind, message, hint) in [
            (certificate(CertificateError::Expired), unavailable, "expired", "Renew"),
            (certificate(CertificateError::NotValidYet), unavailable, "not valid yet", "clock"),
            (certificate(CertificateError::UnknownIssuer), unavailable, "trusted", "x_ca_file"),
            (
                certificate(CertificateError::NotValidForName),
                unavailable,
                "another name",
                "alternative",
            ),
            (certificate(CertificateError::BadSignature), unavailable, "accepted", "another"),
            (alert(AlertDescription::UnknownCA), credentials, "UnknownCA", "x_client_cert_file"),
            (
                alert(AlertDescription::CertificateRequired),
                credentials,
                "Required",
                "x_client_cert_file",
            ),
            (
                alert(AlertDescription::CertificateExpired),
                credentials,
                "Expired",
                "x_client_cert_file",
            ),
            (alert(AlertDescription::HandshakeFailure), unavailable, "in common", "ECDSA"),
            (alert(AlertDescription::InternalError), unavailable, "TLS failed", "log"),
            (
                Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
                unavailable,
                "in common",
                "1.3",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                unavailable,
                "does not speak TLS",
                "port",
            ),
        ] {
            let said = said(&error, "x");
            assert!(
                said.0 == kind && said.1.contains(message) && said.2.contains(hint),
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_tls_error_is_found_however_deep() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] std::io::Error);
        let inner = || std::io::Error::other(Error::HandshakeNotComplete);
        assert_eq!(tls_error(&inner()), Some(&Error::HandshakeNotComplete));
        assert_eq!(tls_error(&Outer(inner())), Some(&Error::HandshakeNotComplete));
        assert_eq!(tls_error(&std::io::Error::other("reset")), None);
    }

    #[test]
    fn files_that_do_not_fit_are_told_by_their_setting() -> Result<(), KmsError> {
        let kek: KekUri = "kmip://h/1".parse()?;
        let none = Files { settings: "envelope.x", ca: None, client_cert: None, client_key: None };
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for (files, setting) in [
            (Files { ca: Some("/nowhere/ca.pem"), ..none }, "envelope.x_ca_file"),
            (Files { ca: Some(here), ..none }, "envelope.x_ca_file"),
            (Files { ca: Some("ca.pem"), ..none }, "envelope.x_ca_file"),
        ] {
            let error = Tls::new(&files, &kek).err();
            assert!(
                error
                    .as_ref()
                    .is_some_and(|e| e.kind == Kind::BadUri && e.message.contains(setting)),
                "{error:?}"
            );
        }
        Ok(())
    }
}
