//! The connection of one call: what the call asks one after the other, its login first, goes over one.
//!
//! It closes with the call. Kept open, its buffers would hold the data key until the next answer.

use std::sync::{Arc, Mutex, PoisonError};

use super::super::KekUri;
use super::http::{Connection, Lost, Received, Sent, Server};

/// The connection of a call, while nothing is on its way over it. It shows one identity: what TLS was
/// set up with when [`Server`] was made.
#[derive(Default)]
pub(super) struct Line(Mutex<Option<(Arc<Server>, Connection)>>);

impl Line {
    /// Sends a request and gives its answer, on the connection that there is to `server`, or a new one.
    ///
    /// # Errors
    /// [`Lost`].
    pub(super) async fn exchange(
        &self,
        server: &Arc<Server>,
        sent: Sent<'_>,
        kek: &KekUri,
    ) -> Result<Received, Lost> {
        if let Some(mut kept) = self.take(server)
            && kept.stands().await
        {
            match self.over(server, kept, sent.clone()).await {
                // The server may have closed it while the request was on its way. Nothing that is asked
                // does harm when it is done twice.
                Err(Lost::Unanswered(error)) if !error.is_parse() => {}
                answer => return answer,
            }
        }
        self.over(server, Connection::new(server, kek).await?, sent).await
    }

    /// Closes the connection: the next request is to go over a new one, which may lead elsewhere.
    pub(super) fn close(&self) {
        drop(self.swap(None));
    }

    async fn over(
        &self,
        server: &Arc<Server>,
        mut connection: Connection,
        sent: Sent<'_>,
    ) -> Result<Received, Lost> {
        let received = connection.exchange(server, sent).await?;
        self.swap(Some((server.clone(), connection)));
        Ok(received)
    }

    /// The connection that was made to this very server, if there is one. Another is closed.
    fn take(&self, server: &Arc<Server>) -> Option<Connection> {
        let (of, connection) = self.swap(None)?;
        Arc::ptr_eq(&of, server).then_some(connection)
    }

    fn swap(&self, kept: Option<(Arc<Server>, Connection)>) -> Option<(Arc<Server>, Connection)> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), kept)
    }
}

#[cfg(test)]
mod tests;
