//! Reads the facts of a table from PostgreSQL's catalog and ours.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

use super::facts::Facts;
use crate::adopt::index::partition_key;
use crate::catalog::{rows, views};
use crate::error::{Error, Result};
use crate::pg::column::base_type;
use crate::pg::local_settings::{CATALOG_PATH, LocalSettings};
use crate::pg::{encoding, relation, spi};

/// The facts of `relation`, read as the current role, as they are committed now.
pub fn facts(relation: pg_sys::Oid) -> Result<Facts> {
    for policy in rows::policies(relation)? {
        if policy.value_type != pg_sys::InvalidOid && base_type(policy.value_type).is_none() {
            return Err(policy.type_is_gone());
        }
    }
    views::functions_schema()?;
    let json = {
        let _path = LocalSettings::of(&[CATALOG_PATH]);
        // SAFETY: an OID by value.
        let relation = unsafe { DatumWithOid::new(relation, pg_sys::REGCLASSOID) };
        let sql = include_str!("facts.sql").replace("{partition_key}", &partition_key("$1"));
        spi::bytes(&sql, &[relation])
    };
    let failed = |error: String| Error::Corrupt(format!("catalog read failed: {error}"));
    let json = json.map_err(failed)?;
    let json = json.ok_or_else(|| Error::NoRelation(relation::display_name(relation)))?;
    let mut facts: Facts =
        serde_json::from_slice(&json).map_err(|error| failed(error.to_string()))?;
    facts.quote = relation::quoted;
    for trigger in &mut facts.triggers {
        trigger.arguments = arguments(&trigger.argument_bytes);
    }
    for row in rows::policies(relation)?.iter().filter(|row| row.former.is_some()) {
        let column = encoding::to_string(row.column_name.to_bytes());
        let policies = facts.policies.iter_mut().filter(|policy| policy.column == column);
        policies.for_each(|policy| policy.is_rebinding = true);
    }
    Ok(facts)
}

/// Each ends with a NUL.
fn arguments(hex: &str) -> Vec<String> {
    let digit = |at: usize| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(digit).collect();
    let mut arguments: Vec<_> = bytes.split(|byte| *byte == 0).map(encoding::to_string).collect();
    arguments.pop();
    arguments
}
