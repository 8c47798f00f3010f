//! Citus' nodes, asked by its own function as the current role: that connects, and can be cancelled. Citus is
//! recognised as in [`crate::catalog::shards`].

use crate::catalog::citus;
use crate::error::{Error, Result};
use crate::nodes::literal::literal;
use crate::nodes::{Answer, Fault};
use crate::pg::spi;

/// Another node that Citus has.
pub struct Worker {
    host: String,
    port: i64,
    is_active: bool,
}

impl Worker {
    /// `host:port`
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// The other nodes, if Citus is here.
pub fn workers() -> Result<Option<Vec<Worker>>> {
    if !citus::has_nodes() {
        return Ok(None);
    }
    let sql = "SELECT pg_catalog.convert_to(
                        pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(nodename, nodeport, isactive)
                                             ORDER BY nodename, nodeport)::pg_catalog.text, 'UTF8')
               FROM pg_catalog.pg_dist_node there
               WHERE noderole::pg_catalog.text OPERATOR(pg_catalog.=) 'primary'
                 AND nodecluster::pg_catalog.text OPERATOR(pg_catalog.=)
                     coalesce(pg_catalog.current_setting('citus.cluster_name', true), 'default')
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_dist_local_group here
                                 WHERE here.groupid OPERATOR(pg_catalog.=) there.groupid)";
    let found = spi::bytes(sql, &[]).map_err(unread)?;
    let found: Vec<(String, i64, bool)> =
        found.map_or_else(|| Ok(Vec::new()), |json| read(&json))?;
    let worker = |(host, port, is_active)| Worker { host, port, is_active };
    Ok(Some(found.into_iter().map(worker).collect()))
}

/// As [`super::Nodes::ask`].
pub fn ask(
    workers: &[Worker],
    sql: &str,
    arguments: &[Option<String>],
) -> Result<Vec<Option<Answer>>> {
    let question = |argument: &String| sql.replace("$1", &literal(argument));
    let asked: Vec<_> = workers
        .iter()
        .zip(arguments)
        .filter(|(worker, _)| worker.is_active)
        .filter_map(|(worker, argument)| {
            Some((&worker.host, worker.port, argument.as_ref().map(question)?))
        })
        .collect();
    if asked.is_empty() {
        let answers = workers.iter().zip(arguments);
        return Ok(answers
            .map(|(worker, argument)| argument.as_ref().map(|_| off(worker)))
            .collect());
    }
    let asked = serde_json::to_vec(&asked).map_err(unread)?;
    let sql = "WITH asked AS (
                 SELECT pg_catalog.array_agg(one OPERATOR(pg_catalog.->>) 0 ORDER BY number) AS hosts,
                        pg_catalog.array_agg((one OPERATOR(pg_catalog.->>) 1)::pg_catalog.int4 ORDER BY number) AS ports,
                        pg_catalog.array_agg(one OPERATOR(pg_catalog.->>) 2 ORDER BY number) AS questions
                 FROM pg_catalog.jsonb_array_elements(pg_catalog.convert_from($1, 'UTF8')::pg_catalog.jsonb)
                      WITH ORDINALITY AS each(one, number))
               SELECT pg_catalog.convert_to(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(
                        answered.node_name, answered.node_port, answered.success, answered.result))::pg_catalog.text,
                        'UTF8')
               FROM asked, LATERAL pg_catalog.master_run_on_worker(hosts, ports, questions, true) answered";
    let answered = spi::bytes(sql, &[asked.into()]).map_err(unread)?.unwrap_or_default();
    let mut answered: Vec<(String, i64, bool, Option<String>)> = read(&answered)?;
    let mut take = |worker: &Worker| {
        let is_its = |one: &(String, i64, bool, Option<String>)| {
            one.0 == worker.host && one.1 == worker.port
        };
        let (.., succeeded, text) = answered.swap_remove(answered.iter().position(is_its)?);
        Some(if succeeded { Ok(text) } else { Err(fault(&text.unwrap_or_default())) })
    };
    let nothing = || Err(Fault::new(NO_CONNECTION, "Citus gave no answer of this node"));
    let answers = workers.iter().zip(arguments);
    Ok(answers
        .map(|(worker, argument)| {
            argument.as_ref().map(|_| match worker.is_active {
                true => take(worker).unwrap_or_else(nothing),
                false => off(worker),
            })
        })
        .collect())
}

/// Citus does not use it now. It comes back as it was: what the others are told meanwhile it does not know.
fn off(worker: &Worker) -> Answer {
    Err(Fault::new(NO_CONNECTION, format!("Citus does not use node {} now", worker.name())))
}

const NO_CONNECTION: &str = "08001";

/// Citus passes on the text of an error, and no SQLSTATE.
fn fault(text: &str) -> Fault {
    let first = text.lines().next().unwrap_or_default();
    let message = first.split_once(':').filter(|(head, _)| matches!(*head, "ERROR" | "FATAL"));
    let message = message.map_or(first, |(_, message)| message.trim());
    let is_away = first.starts_with("failed to connect");
    Fault::new(if is_away { NO_CONNECTION } else { "HV000" }, message)
}

fn unread(error: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("the catalog of Citus could not be read: {error}"))
}

fn read<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(unread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_citus_says_of_a_fault() {
        let says = |text| {
            let fault = fault(text);
            (fault.sqlstate, fault.message)
        };
        assert_eq!(
            says("ERROR:  schema \"envelope\" does not exist\nLINE 1: SELECT"),
            ("HV000".into(), "schema \"envelope\" does not exist".into())
        );
        assert_eq!(
            says("failed to connect to a:1"),
            ("08001".into(), "failed to connect to a:1".into())
        );
        assert_eq!(says(""), ("HV000".into(), String::new()));
    }
}
