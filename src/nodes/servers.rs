//! Nodes that are named with CREATE SERVER: a connection of our own to each, on the thread that runs the clients of
//! KMSs. It lasts as long as the call that asks.

use std::error::Error as _;
use std::ffi::CStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_postgres::{CancelToken, Client, Config};

use crate::error::{Error, Result};
use crate::kms;
use crate::nodes::options::{self, Unfit};
use crate::nodes::tls::Tls;
use crate::nodes::{Answer, Fault};
use crate::pg::{encoding, user_mapping};
use crate::settings;

/// A server, and the session there once there is one.
pub struct Server {
    config: Config,
    tls: Tls,
    session: Option<Arc<Client>>,
}

impl Server {
    /// The server `name` for the current role. Nothing is connected yet.
    ///
    /// # Errors
    /// What the server's options or those of the user mapping lack.
    pub fn new(name: &CStr) -> Result<Server> {
        let foreign = user_mapping::server(name);
        let server = || encoding::text(name);
        let wish =
            options::read(&foreign.server, &foreign.mapping).map_err(|unfit| match unfit {
                Unfit::Unknown(option) => Error::ServerOption { server: server(), option },
                Unfit::Value(why) => Error::ServerValue { server: server(), why },
            })?;
        let tls = Tls::new(&wish).map_err(|why| Error::ServerValue { server: server(), why })?;
        Ok(Server { config: wish.config, tls, session: None })
    }
}

/// As [`super::Nodes::ask`].
pub fn ask(
    servers: &mut [Server],
    sql: &'static str,
    arguments: Vec<Option<String>>,
) -> Result<Vec<Option<Answer>>> {
    let limit = settings::node_timeout();
    let mut asked = JoinSet::new();
    let mut works = Vec::new();
    for (at, (server, argument)) in servers.iter_mut().zip(arguments).enumerate() {
        let Some(argument) = argument else { continue };
        // Kept for the next question by an answer alone.
        let session = server.session.take();
        let (config, tls) = (server.config.clone(), server.tls.clone());
        works.push(async move { (at, one(session, config, tls, sql, argument, limit).await) });
    }
    let answered = kms::block_on_node(async move {
        for work in works {
            asked.spawn(work);
        }
        let mut answered = Vec::new();
        while let Some(done) = asked.join_next().await {
            answered.extend(done);
        }
        answered
    });
    let answered = answered.map_err(|error| Error::System(error.to_string()))?;
    let mut answers: Vec<Option<Answer>> = servers.iter().map(|_| None).collect();
    for (at, (session, answer)) in answered {
        servers[at].session = session;
        answers[at] = Some(answer);
    }
    Ok(answers)
}

async fn one(
    session: Option<Arc<Client>>,
    config: Config,
    tls: Tls,
    sql: &'static str,
    argument: String,
    limit: Duration,
) -> (Option<Arc<Client>>, Answer) {
    let work = async {
        let session = match session {
            Some(session) => session,
            None => connect(&config, &tls).await?,
        };
        let mut running = Running { token: Some(session.cancel_token()), tls: tls.clone() };
        let rows = session.query_typed(sql, &[(&argument, Type::TEXT)]).await;
        running.token = None;
        Ok((session, rows))
    };
    match tokio::time::timeout(limit, work).await {
        Err(_) => (None, Err(Fault::new(BROKEN, "did not answer within envelope.node_timeout"))),
        Ok(Err(error)) => (None, Err(fault(&error, NO_CONNECTION))),
        Ok(Ok((session, Err(error)))) => {
            let fault = fault(&error, BROKEN);
            ((!session.is_closed()).then_some(session), Err(fault))
        }
        Ok(Ok((session, Ok(rows)))) => {
            let text = rows.first().map_or(Ok(None), |row| row.try_get(0));
            (Some(session), text.map_err(|error| fault(&error, BROKEN)))
        }
    }
}

async fn connect(
    config: &Config,
    tls: &Tls,
) -> std::result::Result<Arc<Client>, tokio_postgres::Error> {
    let (client, connection) = config.connect(tls.clone()).await?;
    // Ends with the client.
    tokio::spawn(connection);
    client.batch_execute("SET search_path = pg_catalog, pg_temp").await?;
    Ok(Arc::new(client))
}

const NO_CONNECTION: &str = "08001";
const BROKEN: &str = "08006";

fn fault(error: &tokio_postgres::Error, otherwise: &str) -> Fault {
    if let Some(error) = error.as_db_error() {
        return Fault::new(error.code().code(), error.message());
    }
    let because = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Fault::new(otherwise, format!("{error}{because}"))
}

/// A statement that runs over there. Dropped before it has ended: it is cancelled there, as well as that can be done.
struct Running {
    token: Option<CancelToken>,
    tls: Tls,
}

const LONGEST_CANCEL: Duration = Duration::from_secs(5);

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(token), Ok(thread)) = (self.token.take(), Handle::try_current()) {
            let tls = self.tls.clone();
            thread.spawn(async move {
                tokio::time::timeout(LONGEST_CANCEL, token.cancel_query(tls)).await
            });
        }
    }
}
