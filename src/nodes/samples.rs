//! A node for tests.

use std::collections::BTreeMap;

use super::state::{FORMAT, GrantState, Id, KeyState, KeyringState, NodeState, TableState};
use crate::catalog::rows::{Purpose, State, Verb};
use crate::memory::OwnLimits;

pub fn id(number: u8) -> Id {
    let mut bytes = [0; 16];
    bytes[0] = number;
    Id(bytes)
}

pub fn key(number: u8, version: i32, state: State) -> KeyState {
    let keks = vec!["file:///k".into()];
    KeyState { key_id: id(number), purpose: Purpose::Seal, version, state, keks }
}

pub fn keyring(number: u8, table: &str, keys: Vec<KeyState>) -> KeyringState {
    KeyringState {
        keyring_id: id(number),
        table_name: table.into(),
        orphaned: false,
        brought: None,
        minimum_version: 1,
        limits: Some(OwnLimits::default()),
        grants: vec![GrantState { role: "app".into(), verbs: vec![Verb::Decrypt] }],
        keys,
    }
}

pub fn table(name: &str, seals: Option<u8>) -> TableState {
    TableState {
        relation: name.into(),
        exists: true,
        hidden: false,
        distributed: false,
        owner: Some("owner".into()),
        seals: seals.map(id),
        opens: Vec::new(),
        policies: BTreeMap::new(),
        indexes: BTreeMap::new(),
    }
}

/// One table, `public.cust`, whose keyring 0xa0 has one key, 0x10.
pub fn node() -> NodeState {
    NodeState {
        format: FORMAT.into(),
        library_version: env!("CARGO_PKG_VERSION").into(),
        extension_version: Some(env!("CARGO_PKG_VERSION").into()),
        server_version: 150_000,
        system_identifier: "1".into(),
        database: "shop".into(),
        on_standby: false,
        role: "postgres".into(),
        sees_all: true,
        kms: vec!["file".into(), "aws-kms".into()],
        settings: [("envelope.cache_ttl".into(), "300".into())].into(),
        tables: vec![table("public.cust", Some(0xa0))],
        keyrings: vec![keyring(0xa0, "public.cust", vec![key(0x10, 1, State::Active)])],
    }
}
