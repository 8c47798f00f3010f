//! Clients, and keeping them: a client holds the trust in a server and the token that it gave.
//!
//! Tokens are not renewed: a server refuses one that has expired, and then it is logged in once more
//! and asked once more. What it still refuses is denied. Files are read at each login, so that what
//! an agent or an orchestrator writes anew is what counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Instant;

use super::super::retry::{self, Failed};
use super::super::secret_file::{self, Holds};
use super::super::tls::{Files, Tls};
use super::super::{Kind, KmsError, Limits};
use super::access::{Access, Login};
use super::body::{self, Answer, Body, Data, Secret};
use super::http::{Received, Sent, Server};
use super::line::Line;
use super::login;
use super::request::Request;

/// More clients than a backend needs at once; a backend that changes its settings for ever must not
/// grow for ever.
const MAX_CLIENTS: usize = 16;

thread_local! {
    // On the clients' thread alone: what is in it lives and dies with its runtime.
    static CLIENTS: RefCell<HashMap<Access, Arc<Client>>> = RefCell::default();
}

/// A server that has let us in.
struct Client {
    server: Arc<Server>,
    token: Secret,
}

/// Asks the server, logging in where that is needed. What comes back may be a refusal.
///
/// To be called on the clients' thread.
pub(super) async fn ask(
    line: &Line,
    access: &Access,
    request: &Request,
    body: Option<Body>,
) -> Result<Received, KmsError> {
    let body = body.map(Bytes::from_owner);
    let asker = Asker::new(line, access, request);
    let Some(kept) = kept(access) else {
        let client = asker.log_in().await?;
        return asker.ask(&client, body).await;
    };
    let received = asker.ask(&kept, body.clone()).await?;
    if !matches!(received.status, 401 | 403) {
        return Ok(received);
    }
    forget(access);
    let anew = asker.log_in().await?;
    // An agent that has written no other token: the same answer would come.
    if anew.token == kept.token { Ok(received) } else { asker.ask(&anew, body).await }
}

/// As [`ask`], right after the server has done something else for the same token: what it refuses now it
/// would refuse a new one as well.
pub(super) async fn ask_next(
    line: &Line,
    access: &Access,
    request: &Request,
    body: Option<Body>,
) -> Result<Received, KmsError> {
    match kept(access) {
        Some(kept) => {
            Asker::new(line, access, request).ask(&kept, body.map(Bytes::from_owner)).await
        }
        None => ask(line, access, request, body).await,
    }
}

fn kept(access: &Access) -> Option<Arc<Client>> {
    CLIENTS.with_borrow(|clients| clients.get(access).cloned())
}

/// Throws the client away, so that the next request reads files and logs in anew.
fn forget(access: &Access) {
    CLIENTS.with_borrow_mut(|clients| clients.remove(access));
}

/// One request with what it may take: the login before it, and the attempts at both.
struct Asker<'a> {
    line: &'a Line,
    access: &'a Access,
    request: &'a Request,
    until: Instant,
}

impl<'a> Asker<'a> {
    fn new(line: &'a Line, access: &'a Access, request: &'a Request) -> Self {
        Self { line, access, request, until: Instant::now() + access.limits.timeout }
    }

    async fn ask(&self, client: &Client, body: Option<Bytes>) -> Result<Received, KmsError> {
        let token = (HeaderName::from_static("x-vault-token"), client.token.as_str());
        let path = &self.request.path;
        self.send(&client.server, path, body, Some(token), |status, said| {
            self.request.refused(status, said)
        })
        .await
    }

    /// Reads what the login needs, and logs in; keeps the client.
    async fn log_in(&self) -> Result<Arc<Client>, KmsError> {
        let server = Arc::new(self.server()?);
        let asked = match &self.access.login {
            Login::Token { token_file } => {
                let token = self.secret("vault_token_file", token_file, Holds::Secret)?;
                return Ok(self.keep(Client { server, token }));
            }
            Login::AppRole { role_id, secret_id_file } => {
                let secret = self.secret("vault_secret_id_file", secret_id_file, Holds::Secret)?;
                login::by_secret_id(role_id, &secret)
            }
            Login::Jwt { role, jwt_file, .. } => {
                let jwt = self.secret("vault_jwt_file", jwt_file, Holds::Token)?;
                login::by_jwt(role.as_deref(), &jwt)
            }
            Login::Cert { role } => login::by_certificate(role.as_deref()),
        };
        let path = format!("auth/{}/login", self.access.auth_mount);
        let method = self.access.login.method();
        let refused = |status, said: Option<&str>| self.request.not_let_in(status, said, method);
        let received =
            self.send(&server, &path, Some(Bytes::from_owner(asked)), None, refused).await?;
        if received.status != 200 {
            return Err(refused(received.status, body::errors(&received.body).as_deref()));
        }
        // Its warnings are about the token's life, which is not counted on.
        let token = Answer::<Data>::parse(&received.body).and_then(Answer::into_token);
        let token = token.ok_or_else(|| self.request.nonsense("a login without a token", None))?;
        Ok(self.keep(Client { server, token }))
    }

    fn server(&self) -> Result<Server, KmsError> {
        let files = Files {
            settings: "envelope.vault",
            ca: self.access.ca_file.as_deref(),
            client_cert: self.access.client_cert_file.as_deref(),
            client_key: self.access.client_key_file.as_deref(),
        };
        let tls = match self.access.is_plain {
            true => None,
            false => Some(Tls::new(&files, &self.request.kek)?),
        };
        Ok(Server { authority: self.access.authority.clone(), tls })
    }

    /// What a file holds.
    fn secret(&self, setting: &str, path: &str, holds: Holds) -> Result<Secret, KmsError> {
        let setting = format!("envelope.{setting}");
        secret_file::read_line(path, &setting, holds, &self.request.kek).map(Secret::of)
    }

    fn keep(&self, client: Client) -> Arc<Client> {
        let client = Arc::new(client);
        CLIENTS.with_borrow_mut(|clients| {
            if clients.len() >= MAX_CLIENTS {
                clients.clear();
            }
            clients.insert(self.access.clone(), client.clone());
        });
        client
    }

    /// Sends a request, again and again where that may help. What comes back may be a refusal that
    /// another attempt would not change; others are errors, which `refused` makes.
    async fn send(
        &self,
        server: &Arc<Server>,
        path: &str,
        body: Option<Bytes>,
        token: Option<(HeaderName, &str)>,
        refused: impl Fn(u16, Option<&str>) -> KmsError,
    ) -> Result<Received, KmsError> {
        let namespace = self.access.namespace.as_deref();
        let namespace = namespace.map(|name| (HeaderName::from_static("x-vault-namespace"), name));
        let headers: Vec<_> = [token, namespace]
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name, sensitive(value)?)))
            .collect();
        let attempt = || {
            let sent = Sent { path, body: body.clone(), headers: headers.clone() };
            async {
                let received = self.line.exchange(server, sent, &self.request.kek).await;
                let received = received.map_err(|lost| {
                    let failed = self.request.lost(lost, server.tls.as_ref());
                    if matches!(failed, Failed::ForGood(_)) {
                        // Certificates change: the next request reads the files.
                        forget(self.access);
                    }
                    failed
                })?;
                if !retry::may_change(received.status) {
                    return Ok(received);
                }
                // Behind one address there may be a server that would say something else.
                self.line.close();
                let error = refused(received.status, body::errors(&received.body).as_deref());
                let after = retry::retry_after(received.retry_after.as_deref());
                Err(match error.kind {
                    Kind::Throttled | Kind::Unavailable => Failed::ForNow(error, after),
                    _ => Failed::ForGood(error),
                })
            }
        };
        let whole = self.access.limits;
        let left =
            Limits { timeout: self.until.saturating_duration_since(Instant::now()), ..whole };
        retry::attempts(left, attempt, || self.request.timed_out(whole.timeout)).await
    }
}

/// A header's value that nothing shows. What comes from a file or a setting has no other characters
/// than it may have.
fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
