//! `envelope.sync_keyrings`: the keyrings of this node's tables, brought to the others.
//!
//! Each node takes what it lacks in transactions of its own, many tables at once, so that nothing of this node's open
//! transaction may be in it. Nothing is kept between two calls: a second one looks again, and goes on where the first
//! was stopped.

mod tables;

use std::collections::{HashMap, HashSet};
use std::ffi::CString;

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::catalog::rows::{self, Purpose};
use crate::custody::{self, Batch, Step};
use crate::error::{Error, Result};
use crate::life;
use crate::nodes::difference::first_line;
use crate::nodes::{Fault, NO_EXTENSION, Nodes};
use crate::pg::json::in_ascii;
use crate::pg::relation::{self, display_name};
use crate::pg::subxact::attempt;
use crate::pg::{acl, server, xact};
use crate::settings;

/// What is asked for.
pub struct Wish {
    /// Names from CREATE SERVER; without any, Citus' nodes.
    pub servers: Option<Vec<CString>>,
    pub dry_run: bool,
    /// Without any, all that have a keyring and stand on other nodes.
    pub relations: Option<Vec<pg_sys::Oid>>,
    pub grants: bool,
    /// Pending keys that all nodes have become the active ones.
    pub activate: bool,
}

/// A step, on which node and for which table. Without a node: on this one. Without a table: for all.
pub struct Row {
    pub node: Option<String>,
    pub relation: Option<String>,
    pub step: Step,
}

/// Tables that travel in one question, and bytes of their documents about where it ends.
const TABLES_AT_ONCE: usize = 50;
const BYTES_AT_ONCE: usize = 1024 * 1024;

/// Brings the keyrings to all nodes; what was done and what failed.
pub fn sync(wish: &Wish) -> Result<Vec<Row>> {
    settings::check_unplanted()?;
    if xact::has_written() {
        return Err(Error::SyncAfterWriting);
    }
    let mut sync = Sync::new(wish)?;
    sync.look_for_extension()?;
    let tables = tables::to_bring(wish)?;
    if wish.activate {
        sync.note_pending(&tables)?;
    }
    sync.bring(&tables)?;
    if wish.activate {
        let activated = sync.activate(&tables);
        if !wish.dry_run {
            sync.bring(&activated)?;
        }
    }
    Ok(sync.rows)
}

struct Sync<'a> {
    wish: &'a Wish,
    nodes: Nodes,
    /// Which nodes are not asked any more, in their order.
    is_left: Vec<bool>,
    /// Tables whose keys some node lacks.
    lacking: HashSet<pg_sys::Oid>,
    /// Pending keys that were there before the keyrings were exported, and so are in what the nodes are sent.
    sent: HashMap<pg_sys::Oid, KeyId>,
    rows: Vec<Row>,
}

const TAKES: &str = "envelope.take_keyrings(pg_catalog.text)";
const TAKE: &str = "SELECT envelope.take_keyrings($1)";

impl<'a> Sync<'a> {
    fn new(wish: &'a Wish) -> Result<Sync<'a>> {
        let nodes = Nodes::new(wish.servers.as_deref())?;
        let is_left = nodes.names().iter().map(|_| false).collect();
        Ok(Sync {
            wish,
            nodes,
            is_left,
            lacking: HashSet::new(),
            sent: HashMap::new(),
            rows: Vec::new(),
        })
    }

    /// Asks the nodes that are not left; what they answer. One that fails is left, and told.
    fn ask(&mut self, sql: &'static str, argument: &str) -> Result<Vec<Option<String>>> {
        let arguments = self.is_left.iter().map(|is_left| (!is_left).then(|| argument.to_owned()));
        let answers = self.nodes.ask(sql, arguments.collect())?;
        let mut texts = Vec::new();
        for (at, answer) in answers.into_iter().enumerate() {
            texts.push(match answer {
                None => None,
                Some(Ok(text)) => Some(text.unwrap_or_default()),
                Some(Err(fault)) => {
                    self.leave(at, unreached(&fault));
                    None
                }
            });
        }
        Ok(texts)
    }

    fn leave(&mut self, at: usize, step: Step) {
        self.is_left[at] = true;
        let node = Some(self.nodes.names()[at].clone());
        self.rows.push(Row { node, relation: None, step });
    }

    fn look_for_extension(&mut self) -> Result<()> {
        for (at, answer) in self.nodes.have(TAKES, &self.is_left)?.into_iter().enumerate() {
            match answer {
                None | Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    self.leave(at, Step::failed("extension", "42704", NO_EXTENSION));
                }
                Some(Err(fault)) => self.leave(at, unreached(&fault)),
            }
        }
        Ok(())
    }

    fn note_pending(&mut self, tables: &[pg_sys::Oid]) -> Result<()> {
        for table in tables {
            if let Some(key) = pending(*table)? {
                self.sent.insert(*table, key);
            }
        }
        Ok(())
    }

    /// Brings the keyrings of `tables`, batch by batch.
    fn bring(&mut self, tables: &[pg_sys::Oid]) -> Result<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for table in tables {
            match attempt(|| custody::export(*table)) {
                Ok(document) => {
                    bytes += document.len();
                    batch.push((*table, document));
                }
                Err(undone) => {
                    self.lacking.insert(*table);
                    let relation = Some(display_name(*table));
                    self.rows.push(Row {
                        node: None,
                        relation,
                        step: Step::undone("export", undone),
                    });
                }
            }
            if batch.len() == TABLES_AT_ONCE || bytes >= BYTES_AT_ONCE {
                self.bring_batch(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.bring_batch(batch)
    }

    fn bring_batch(&mut self, tables: Vec<(pg_sys::Oid, String)>) -> Result<()> {
        if tables.is_empty() {
            return Ok(());
        }
        let (tables, documents): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
        let owner = |table: &pg_sys::Oid| relation::owner(*table).map(acl::display_role);
        let owners = tables.iter().map(|table| owner(table).unwrap_or_default());
        // Whoever names a table says that the one of that name is meant.
        let owners = self.wish.relations.is_none().then(|| owners.collect());
        let batch = Batch {
            from: server::this_database(),
            dry_run: self.wish.dry_run,
            grants: self.wish.grants,
            owners,
            documents,
        };
        let argument =
            serde_json::to_string(&batch).map_err(|error| Error::System(error.to_string()))?;
        for (at, answer) in self.ask(TAKE, &in_ascii(&argument))?.into_iter().enumerate() {
            let Some(answer) = answer else { continue };
            match serde_json::from_str::<Vec<Vec<Step>>>(&answer) {
                Ok(steps) if steps.len() == tables.len() => self.note(at, &tables, steps),
                _ => {
                    self.leave(at, Step::failed("reach", "08P01", "the answer was not understood"))
                }
            }
        }
        if self.is_left.contains(&true) {
            self.lacking.extend(tables);
        }
        Ok(())
    }

    fn note(&mut self, at: usize, tables: &[pg_sys::Oid], steps: Vec<Vec<Step>>) {
        for (table, steps) in tables.iter().zip(steps) {
            // Where no table was named, those of all nodes are those that a node has.
            let is_elsewhere = self.wish.relations.is_none()
                && self.wish.servers.is_some()
                && steps.iter().any(|step| step.step == "table");
            if is_elsewhere {
                continue;
            }
            // Of the key that is to be activated nothing may differ: it may be destroyed there.
            let sent = self.sent.get(table).map(KeyId::to_string);
            let is_about_sent =
                |step: &Step| sent.as_ref().is_some_and(|key| step.message.contains(key));
            let lacks = |step: &Step| match &*step.step {
                "rights" => false,
                "differs" => is_about_sent(step),
                _ => !step.ok,
            };
            if steps.iter().any(lacks) {
                self.lacking.insert(*table);
            }
            let node = &self.nodes.names()[at];
            let row = |step: Step| {
                let step = Step { message: first_line(&step.message), ..step };
                Row { node: Some(node.clone()), relation: Some(display_name(*table)), step }
            };
            self.rows.extend(steps.into_iter().map(row));
        }
    }

    /// Has the pending keys of `tables` take over here, where all nodes have them; of which tables.
    fn activate(&mut self, tables: &[pg_sys::Oid]) -> Vec<pg_sys::Oid> {
        let mut activated = Vec::new();
        for table in tables {
            let step = match attempt(|| pending(*table)) {
                Ok(None) => continue,
                Ok(Some(key))
                    if self.sent.get(table) != Some(&key)
                        || self.lacking.contains(table)
                        || self.is_left.contains(&true) =>
                {
                    Step::failed("activate", "55000", format!("not all nodes have data key {key}"))
                }
                Ok(Some(key)) if self.wish.dry_run => {
                    Step::done("activate", format!("would activate data key {key}"))
                }
                Ok(Some(key)) => match attempt(|| life::activate_key(key, None)) {
                    Ok(()) => {
                        activated.push(*table);
                        Step::done("activate", format!("data key {key}"))
                    }
                    Err(undone) => Step::undone("activate", undone),
                },
                Err(undone) => Step::undone("activate", undone),
            };
            self.rows.push(Row { node: None, relation: Some(display_name(*table)), step });
        }
        activated
    }
}

fn unreached(fault: &Fault) -> Step {
    Step::failed("reach", &fault.sqlstate, first_line(&fault.message))
}

/// The data key of a table that waits to be made active.
fn pending(table: pg_sys::Oid) -> Result<Option<KeyId>> {
    let Some(keyring) = rows::sealing_keyring(table)? else { return Ok(None) };
    Ok(rows::pending_key(keyring, Purpose::Seal)?.map(|row| row.key_id))
}
