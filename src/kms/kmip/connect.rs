//! The way to a server: where it is, how both show who they are, and which version it is known to speak.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::super::retry::Failed;
use super::super::tls::{self, Files, Tls};
use super::super::uri::{Authority, KmipKey};
use super::super::{KekUri, Kind, KmipSettings, KmsError, by_server};
use super::fault::Asked;
use super::message::Version;
use super::session::Session;

/// More servers than a backend talks to; one that changes its settings for ever must not grow for
/// ever.
const MOST_KNOWN: usize = 64;

const NO_CERTIFICATE: &str = "It may want a certificate of its clients: set envelope.kmip_client_cert_file and envelope.kmip_client_key_file.";

/// A server, with the files that the settings name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Server {
    authority: Authority,
    ca: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
}

thread_local! {
    // On the client's thread alone.
    static KNOWN: RefCell<HashMap<Server, Version>> = RefCell::default();
}

impl Server {
    pub(super) fn new(
        authority: &Authority,
        settings: &KmipSettings,
        kek: &KekUri,
    ) -> Result<Self, KmsError> {
        let of = |setting: &Option<String>, name: &str| {
            by_server::value(setting.as_deref(), authority, KmipKey::PORT)
                .map(|value| value.map(str::to_owned))
                .map_err(|why| KmsError::new(Kind::BadUri, kek, format!("envelope.{name}: {why}")))
        };
        Ok(Self {
            authority: authority.with_port(KmipKey::PORT),
            ca: of(&settings.ca_file, "kmip_ca_file")?,
            client_cert: of(&settings.client_cert_file, "kmip_client_cert_file")?,
            client_key: of(&settings.client_key_file, "kmip_client_key_file")?,
        })
    }

    /// What TLS is made with. The files are read anew each time: whoever renews one tells nobody.
    pub(super) fn tls(&self, kek: &KekUri) -> Result<Tls, Failed> {
        let files = Files {
            settings: "envelope.kmip",
            ca: self.ca.as_deref(),
            client_cert: self.client_cert.as_deref(),
            client_key: self.client_key.as_deref(),
        };
        Tls::new(&files, kek).map_err(Failed::ForGood)
    }

    /// A connection on which a version is agreed.
    pub(super) async fn connect(
        &self,
        tls: &Tls,
        asked: &Asked,
    ) -> Result<Session<TlsStream<TcpStream>>, Failed> {
        let tcp = tls::tcp(&self.authority, KmipKey::PORT, &asked.kek).await?;
        let stream = tls.handshake(tcp, &self.authority, &asked.kek).await;
        let stream = stream.map_err(|failed| self.without_certificate(failed))?;
        if let Some(version) = KNOWN.with_borrow(|known| known.get(self).copied()) {
            return Ok(Session::resume(stream, version));
        }
        let session = Session::begin(stream).await;
        let session =
            session.map_err(|lost| self.without_certificate(asked.lost(lost, Some(tls))))?;
        KNOWN.with_borrow_mut(|known| {
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(self.clone(), session.version());
        });
        Ok(session)
    }

    /// Has the next connection ask again which versions the server speaks: it may have been replaced.
    pub(super) fn forget(&self) {
        KNOWN.with_borrow_mut(|known| known.remove(self));
    }

    /// Servers say little about a certificate that they miss.
    fn without_certificate(&self, failed: Failed) -> Failed {
        match failed {
            Failed::ForGood(error) if self.client_cert.is_none() => {
                Failed::ForGood(error.with_more_hint(NO_CERTIFICATE))
            }
            failed => failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(uri: &str, setting: &str) -> Result<Server, KmsError> {
        let kek: KekUri = uri.parse()?;
        let KekUri::Kmip(key) = &kek else {
            return Err(KmsError::new(Kind::BadUri, uri, "not a KMIP server's"));
        };
        let settings = KmipSettings { ca_file: Some(setting.into()), ..KmipSettings::default() };
        Server::new(key.authority(), &settings, &kek)
    }

    #[test]
    fn each_server_has_its_own_files() -> Result<(), KmsError> {
        let pairs = "a:5696=/a.pem,b:1=/b.pem";
        assert_eq!(server("kmip://a/1", pairs)?.ca.as_deref(), Some("/a.pem"));
        assert_eq!(server("kmip://b:1/1", pairs)?.ca.as_deref(), Some("/b.pem"));
        assert_eq!(server("kmip://c/1", pairs)?.ca, None);
        assert_eq!(server("kmip://c/1", "/all.pem")?.ca.as_deref(), Some("/all.pem"));
        assert_eq!(server("kmip://a/1", pairs)?, server("kmip://a:5696/2", pairs)?);
        let refused = server("kmip://a/1", "a:5696=/a.pem,/b.pem").err();
        assert_eq!(refused.map(|error| error.kind), Some(Kind::BadUri));
        Ok(())
    }
}
