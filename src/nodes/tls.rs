//! TLS to another node by rustls, as strict as its `sslmode` is.

use std::convert::Infallible;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use crate::nodes::options::{Checked, Wish};

/// What connections to one node are made with.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Many times a key or a private CA's certificates.
const LONGEST: u64 = 1024 * 1024;

impl Tls {
    /// # Errors
    /// What is wrong with the files, in words.
    pub fn new(wish: &Wish) -> Result<Tls, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(wish, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match (&wish.cert, &wish.key) {
            (Some(cert), Some(key)) => {
                let certificates = certificates(cert, "sslcert")?;
                let unfit = |_| {
                    format!("file \"{key}\" of option sslkey has no key for the one of sslcert")
                };
                let pem = read(key, "sslkey", true)?;
                let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
                    format!("file \"{key}\" of option sslkey has no private key in PEM")
                })?;
                config.with_client_auth_cert(certificates, key).map_err(unfit)?
            }
            _ => config.with_no_client_auth(),
        };
        Ok(Tls(Arc::new(config)))
    }
}

fn verifier(
    wish: &Wish,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let roots = match &wish.roots {
        _ if wish.checked == Checked::Nothing => None,
        None => None,
        Some(path) => Some(roots(path)?),
    };
    if let (Checked::Name, Some(roots)) = (wish.checked, &roots) {
        let strict =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
        return Ok(strict.build().map_err(|error| error.to_string())?);
    }
    Ok(Arc::new(WithoutName { roots, provider: provider.clone() }))
}

/// Does not look at the name that a certificate is for; without CAs at none of it.
#[derive(Debug)]
struct WithoutName {
    roots: Option<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for WithoutName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                algorithms,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn roots(path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if path == "system" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        for certificate in certificates(path, "sslrootcert")? {
            let bad = |error| {
                format!("file \"{path}\" of option sslrootcert has a bad certificate: {error}")
            };
            roots.add(certificate).map_err(bad)?;
        }
    }
    if roots.is_empty() {
        return Err("option sslrootcert: the system has no CA that it trusts".into());
    }
    Ok(roots)
}

fn certificates(path: &str, option: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path, option, false)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let read = read.ok().filter(|all| !all.is_empty());
    read.ok_or_else(|| format!("file \"{path}\" of option {option} has no certificates in PEM"))
}

/// The file at `path`; a secret is for the server's user alone, as libpq has it. What is looked at is the open file,
/// never its name, so that nothing changes in between.
fn read(path: &str, option: &str, is_secret: bool) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let unread =
        |error: io::Error| format!("could not read file \"{path}\" of option {option}: {error}");
    // O_NONBLOCK: opening a pipe would wait for its other end.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = opened.map_err(unread)?;
    let found = file.metadata().map_err(unread)?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(format!("\"{path}\" of option {option} is no file of at most 1 MiB"));
    }
    let open_to = if found.uid() == 0 { 0o037 } else { 0o077 };
    if is_secret && found.mode() & open_to != 0 {
        return Err(format!(
            "file \"{path}\" of option {option} is open to others than the server's user"
        ));
    }
    // One that grows meanwhile is cut, and does not outgrow the buffer, which would leave copies.
    let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(found.len() as usize + 1));
    file.take(found.len()).read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

type Stream<S> = tokio_rustls::client::TlsStream<S>;

/// To one host.
pub struct ToHost {
    connector: TlsConnector,
    /// None for what no certificate can be of, such as a socket in the file system.
    name: Option<ServerName<'static>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type TlsConnect = ToHost;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<ToHost, Self::Error> {
        let name = ServerName::try_from(host).ok().map(|name| name.to_owned());
        Ok(ToHost { connector: self.0.clone().into(), name })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for ToHost {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let no_name =
                || io::Error::other("the host's name is none that a certificate can have");
            let name = self.name.ok_or_else(no_name)?;
            self.connector.connect(name, stream).await.map(Encrypted)
        })
    }
}

/// A stream of TLS. Passwords are not bound to it.
pub struct Encrypted<S>(Stream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
