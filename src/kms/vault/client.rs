//! Clients, and keeping them: a client holds the trust in a server and the token that it gave.
//!
//! Tokens are not renewed: a server refuses one that has expired, and then it is logged in once more
//! and asked once more. What it still refuses is denied. Files are read at each login, so that what
//! an agent or an orchestrator writes anew is what counts.
//!
//! Where each request logs in by itself, there is no token, and the files are read for each.

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
use super::login::Asked;
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
    /// `None`: it is to let us in with each request.
    token: Option<Secret>,
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
    let answer = asker.ask(&kept, body.clone()).await;
    let is_out = match &answer {
        Ok(received) => kept.token.is_some() && matches!(received.status, 401 | 403),
        // A certificate may have been written anew. A token's login is not in this answer.
        Err(error) => kept.token.is_none() && error.kind == Kind::Credentials,
    };
    if !is_out {
        return answer;
    }
    forget(access);
    let anew = asker.log_in().await?;
    // An agent that has written no other token: the same answer would come.
    let is_same = anew.token.is_some() && anew.token == kept.token;
    if is_same { answer } else { asker.ask(&anew, body).await }
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
        let headers = match &client.token {
            Some(token) => vec![header("x-vault-token", token.as_str())],
            None => {
                let headers = self.asked()?.headers(&self.login_path());
                headers.iter().map(|(name, value)| header(name, value.as_str())).collect()
            }
        };
        let is_login = |received: &Received| client.token.is_none() && received.is_about_login;
        let refused = |received: &Received| match is_login(received) {
            true => self.not_let_in(received),
            false => {
                let said = body::errors(&received.body);
                self.request.refused(received.status, said.as_deref())
            }
        };
        let path = &self.request.path;
        let received = self.send(&client.server, path, body, headers, refused).await?;
        if is_login(&received) { Err(self.not_let_in(&received)) } else { Ok(received) }
    }

    /// Reads what the login needs, and logs in, where that is a request of its own; keeps the client.
    async fn log_in(&self) -> Result<Arc<Client>, KmsError> {
        let server = Arc::new(self.server()?);
        if let Login::Token { token_file } = &self.access.login {
            let token = self.secret("vault_token_file", token_file, Holds::Secret)?;
            return Ok(self.keep(Client { server, token: Some(token) }));
        }
        if self.access.is_inline {
            return Ok(self.keep(Client { server, token: None }));
        }
        let asked = Bytes::from_owner(self.asked()?.body());
        let refused = |received: &Received| self.not_let_in(received);
        let received =
            self.send(&server, &self.login_path(), Some(asked), Vec::new(), refused).await?;
        if received.status != 200 {
            return Err(refused(&received));
        }
        // Its warnings are about the token's life, which is not counted on.
        let token = Answer::<Data>::parse(&received.body).and_then(Answer::into_token);
        let token = token.ok_or_else(|| self.request.nonsense("a login without a token", None))?;
        Ok(self.keep(Client { server, token: Some(token) }))
    }

    /// What the login asks with. Reads the files that hold it.
    fn asked(&self) -> Result<Asked, KmsError> {
        Ok(match &self.access.login {
            // It is had by no login.
            Login::Token { .. } => Asked::default(),
            Login::AppRole { role_id, secret_id_file } => {
                let secret = self.secret("vault_secret_id_file", secret_id_file, Holds::Secret)?;
                Asked::by_secret_id(role_id, secret)
            }
            Login::Jwt { role, jwt_file, .. } => {
                let jwt = self.secret("vault_jwt_file", jwt_file, Holds::Token)?;
                Asked::by_jwt(role.as_deref(), jwt)
            }
            Login::Cert { role } => Asked::by_certificate(role.as_deref()),
        })
    }

    fn login_path(&self) -> String {
        format!("auth/{}/login", self.access.auth_mount)
    }

    /// The error for a login that was refused.
    fn not_let_in(&self, received: &Received) -> KmsError {
        let said = body::errors(&received.body);
        self.request.not_let_in(received.status, said.as_deref(), self.access.login.method())
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
        headers: Vec<Option<Header>>,
        refused: impl Fn(&Received) -> KmsError,
    ) -> Result<Received, KmsError> {
        let namespace = self.access.namespace.as_deref();
        let namespace = namespace.map(|name| header("x-vault-namespace", name));
        let headers: Vec<_> = headers.into_iter().chain(namespace).flatten().collect();
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
                let error = refused(&received);
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

type Header = (HeaderName, HeaderValue);

/// A header whose value nothing shows. What comes from a file or a setting has no other characters than
/// it may have.
fn header(name: &str, value: &str) -> Option<Header> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}
