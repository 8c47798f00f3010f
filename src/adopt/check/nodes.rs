//! Whether other nodes have the same keys.

use super::{Finding, Outcome};
use crate::error::Result;
use crate::nodes::{Difference, Others};

/// A finding for each node that was asked, and for each difference.
pub fn findings(others: Others) -> Result<Vec<Finding>> {
    Ok(others.differences()?.into_iter().map(finding).collect())
}

fn finding((difference, message): (Difference, String)) -> Finding {
    let outcome = match difference.sqlstate() {
        Some(sqlstate) => Outcome::Told { sqlstate, message },
        None => Outcome::Note(message),
    };
    Finding {
        table: difference.relation,
        keyring_id: difference.keyring_id.map(|id| id.uuid()),
        key_id: difference.key_id.map(|id| id.key()),
        kek: difference.kek,
        gone: None,
        outcome,
    }
}
