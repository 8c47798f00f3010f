//! A table's keyrings, its active key and a role's rights, as they are read from the catalog.

use std::cell::Cell;
use std::cmp::Reverse;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::index::ColumnIndex;
use super::policy::Policy;
use super::{gone, no_table};
use crate::catalog::rows::{self, DataKeyRow, KeyringTable, Purpose, State, Verb};
use crate::catalog::{self, shards};
use crate::error::Result;
use crate::keyring::rights::{self, Rights};
use crate::keyring::wear::Wear;
use crate::memory::OwnLimits;
use crate::memory::cache::Place;
use crate::memory::prefetch;
use crate::pg::acl;
use crate::pg::relation::{self, Kind};
use crate::pg::state::Number;

/// How many were read.
static READ: Number = Number::new(0);

/// A table as one role sees it.
pub struct Known {
    /// No other has it.
    pub number: u64,
    pub relation: pg_sys::Oid,
    pub role: pg_sys::Oid,
    /// The table whose keyring seals: the partition root, of a shard its table's, or the relation itself.
    pub root: pg_sys::Oid,
    /// It holds rows of a table that is distributed, or is a partition of one that does.
    pub is_shard: bool,
    /// What the role may do with the keyring that seals; an owner, also while there is none.
    pub rights: Rights,
    pub links: Vec<Link>,
    pub sealing: Option<Sealing>,
    /// Newest first.
    pub index_keys: Vec<IndexKey>,
    /// Those of the relation or, if it is a partition without any, of the nearest table above it that has some.
    pub policies: Vec<Policy>,
    /// As the policies, those of one column side by side.
    pub indexes: Vec<ColumnIndex>,
    /// The key that [`super::Table::require_opens`] last found good, which the next value mostly names.
    pub opens: Cell<Option<KeyId>>,
    /// As that, of [`super::Table::whose`].
    pub ours: Cell<Option<KeyId>>,
    /// As that, of [`super::Table::require_verifies`].
    pub verifies: Cell<Option<KeyId>>,
    /// As that, of [`super::Table::is_in_use`].
    pub in_use: Cell<Option<KeyId>>,
    pub sealing_place: Place,
    pub opening_place: Place,
}

/// A keyring that the table opens with.
pub struct Link {
    pub keyring_id: Uuid,
    /// The root's own, or that of a partition from before it was attached.
    pub seals: bool,
    pub may_open: bool,
    pub may_manage: bool,
    /// Values under older versions of its key are refused.
    pub minimum_version: i32,
}

/// The key that seals.
pub struct Sealing {
    pub key_id: KeyId,
    pub holders: Holders,
    /// How far it has come in its turn; behind a pointer, since most keys have none.
    pub wear: Option<Box<Wear>>,
}

/// A key that makes index terms.
pub struct IndexKey {
    pub key_id: KeyId,
    pub version: i32,
    /// Terms are written under it. Under the others of a keyring rows have terms from before it was rotated.
    pub is_active: bool,
    pub holders: Holders,
    /// Where it was found last.
    pub place: Place,
}

/// The KEKs that hold a key under which something is written.
pub struct Holders {
    keks: Vec<String>,
    allowed: Cell<bool>,
}

/// Reads the table `relation` for `role`.
pub fn read(relation: pg_sys::Oid, role: pg_sys::Oid) -> Result<Known> {
    if let Some(gone) = gone(relation) {
        return Err(gone);
    }
    let Standing { root, is_shard, tables } = Standing::of(relation)?;
    let owners =
        |table| if acl::owns_relation(role, table) { Rights::ALL } else { Rights::default() };
    let policies = rows::nearest_policies(relation)?;
    let mut indexes = rows::nearest_indexes(relation)?;
    indexes.sort_by(|one, other| {
        (&one.column_name, &one.index_column).cmp(&(&other.column_name, &other.index_column))
    });
    READ.count();
    let mut known = Known {
        number: READ.get(),
        relation,
        role,
        root,
        is_shard,
        rights: owners(root),
        links: Vec::new(),
        sealing: None,
        index_keys: Vec::new(),
        policies: policies.into_iter().map(Policy::of).collect::<Result<_>>()?,
        indexes: indexes.into_iter().map(ColumnIndex::of).collect::<Result<_>>()?,
        opens: Cell::new(None),
        ours: Cell::new(None),
        verifies: Cell::new(None),
        in_use: Cell::new(None),
        sealing_place: Place::default(),
        opening_place: Place::default(),
    };
    for table in tables {
        for KeyringTable { keyring_id, seals, .. } in rows::keyring_tables(table)? {
            let keyring = rows::keyring(keyring_id)?;
            let rights = match owners(table) {
                Rights::ALL => Rights::ALL,
                _ => rights::granted(role, keyring_id)?,
            };
            if seals && table == root {
                known.rights = rights;
                (known.sealing, known.index_keys) = keys_in_use(keyring_id, keyring.as_ref())?;
            }
            let (may_open, may_manage) = (rights.allow(Verb::Decrypt), rights.allow(Verb::Manage));
            let minimum_version = keyring.map_or(1, |keyring| keyring.minimum_version);
            known.links.push(Link { keyring_id, seals, may_open, may_manage, minimum_version });
        }
    }
    // Not where it has links all the same, as a restore beside a view of that name leaves them: those are to be seen.
    if known.links.is_empty() && relation::kind(root) != Kind::Table {
        return Err(no_table(relation));
    }
    Ok(known)
}

/// Whether `relation` seals with a keyring of its own: it is no partition, nor a shard whose table has keys.
pub fn seals_by_itself(relation: pg_sys::Oid) -> Result<bool> {
    Ok(Standing::of(relation)?.root == relation)
}

/// Where a relation stands among tables that have keyrings.
struct Standing {
    root: pg_sys::Oid,
    is_shard: bool,
    /// Those whose keyrings it opens with.
    tables: Vec<pg_sys::Oid>,
}

impl Standing {
    fn of(relation: pg_sys::Oid) -> Result<Standing> {
        let own = relation::partition_root(relation);
        let mut root = shards::root(relation)?;
        let is_shard = root != own;
        let mut tables = vec![root, relation];
        if is_shard {
            tables.extend(shards::table_of(relation)?);
            tables.push(own);
            // Keys from before the table was distributed, or before it had any. It seals with them until the table
            // has some of its own, and opens with both.
            let seals = |table| -> Result<bool> { Ok(rows::sealing_keyring(table)?.is_some()) };
            if !seals(root)? && seals(own)? {
                root = own;
            }
        }
        let mut seen = Vec::new();
        tables.retain(|table| {
            !seen.contains(table) && {
                seen.push(*table);
                true
            }
        });
        Ok(Standing { root, is_shard, tables })
    }
}

/// The key that seals, and those that make index terms.
fn keys_in_use(
    keyring_id: Uuid,
    keyring: Option<&rows::Keyring>,
) -> Result<(Option<Sealing>, Vec<IndexKey>)> {
    // Together, or a key may be rotated and destroyed between the two, and be found without a wrap.
    let keys = catalog::at_one_moment(|| {
        let keys = rows::data_keys(keyring_id)?.into_iter();
        let in_use = keys.filter(|key| key.seals() || key.indexes());
        in_use.map(|key| Ok((key, Holders::of(key.key_id)?))).collect::<Result<Vec<_>>>()
    });
    let (mut sealing, mut index_keys) = (None, Vec::new());
    for (DataKeyRow { key_id, version, state, purpose, .. }, holders) in keys? {
        match purpose {
            Purpose::Seal => sealing = Some((key_id, holders)),
            Purpose::Index => index_keys.push(IndexKey {
                key_id,
                version,
                is_active: state == State::Active,
                holders,
                place: Place::default(),
            }),
        }
    }
    index_keys.sort_by_key(|key| Reverse(key.version));
    let Some((key_id, holders)) = sealing else { return Ok((None, index_keys)) };
    let turn = keyring.map(|keyring| OwnLimits::stored(&keyring.limits).turn()).unwrap_or_default();
    let wear = Wear::of(keyring_id, key_id, turn)?.map(Box::new);
    Ok((Some(Sealing { key_id, holders, wear }), index_keys))
}

impl Known {
    /// See [`prefetch`]: the keys that sealed and opened last, too.
    pub fn prefetch(&self) {
        prefetch(self);
        self.sealing_place.prefetch();
        self.opening_place.prefetch();
    }
}

impl Holders {
    fn of(key_id: KeyId) -> Result<Holders> {
        let wraps = rows::each_wrapped_key(key_id)?;
        let keks = wraps.into_iter().map(|(kek, _)| kek).collect();
        Ok(Holders { keks, allowed: Cell::new(false) })
    }

    /// The KEKs that its wraps are under.
    pub fn keks(&self) -> &[String] {
        &self.keks
    }

    /// All of them were found to be allowed since this was read.
    pub fn is_allowed(&self) -> bool {
        self.allowed.get()
    }

    /// They are.
    pub fn note_allowed(&self) {
        self.allowed.set(true);
    }
}
