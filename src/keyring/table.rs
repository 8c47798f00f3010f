//! What this backend knows of a table: its keyrings, its active key, what the current role may do.
//! Read from the catalog when it is first asked for, and again when anything may have changed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, Purpose};
use crate::error::{Error, Result};
use crate::keyring::limits::OwnLimits;
use crate::keyring::wear::Wear;
use crate::keyring::{cache, kek};
use crate::pg::acl;
use crate::pg::relation::{self, Kind};

thread_local! {
    static TABLES: RefCell<HashMap<pg_sys::Oid, Table>> = RefCell::new(HashMap::new());
}

/// A table as its keyrings see it. Cheap to clone.
#[derive(Clone)]
pub struct Table(Rc<Known>);

struct Known {
    relation: pg_sys::Oid,
    /// The table whose keyring seals: the partition root, or the relation itself.
    root: pg_sys::Oid,
    /// The role that the rights below are for.
    role: pg_sys::Oid,
    owns_root: bool,
    links: Vec<Link>,
    sealing: Option<Sealing>,
}

/// A keyring that the table opens with.
struct Link {
    keyring_id: Uuid,
    may_open: bool,
    /// Values under older versions of its key are refused.
    minimum_version: i32,
}

struct Sealing {
    key_id: KeyId,
    /// The KEKs that its wraps are under.
    keks: Vec<String>,
    /// They were found to be allowed since this was read.
    allowed: Cell<bool>,
    wear: Option<Wear>,
}

/// The table `relation`, for the current role.
pub fn get(relation: pg_sys::Oid) -> Result<Table> {
    let role = acl::current_role();
    let known = TABLES.with_borrow(|tables| tables.get(&relation).cloned());
    if let Some(table) = known
        && table.0.role == role
    {
        return Ok(table);
    }
    let table = Table(Rc::new(read(relation, role)?));
    TABLES.with_borrow_mut(|tables| tables.insert(relation, table.clone()));
    Ok(table)
}

/// The table that seals with a keyring, if there is one.
pub fn sealing_with(keyring_id: Uuid) -> Result<Option<pg_sys::Oid>> {
    let mut tables = rows::tables_of(keyring_id)?.into_iter();
    let lives = |relation| relation::kind(relation) != Kind::Missing;
    Ok(tables.find(|(relation, seals)| *seals && lives(*relation)).map(|(relation, _)| relation))
}

/// Forgets everything read so far.
pub fn forget_all() {
    TABLES.with_borrow_mut(HashMap::clear);
}

fn read(relation: pg_sys::Oid, role: pg_sys::Oid) -> Result<Known> {
    if relation::kind(relation) == Kind::Missing {
        return Err(Error::NoRelation(relation::display_name(relation)));
    }
    let root = relation::partition_root(relation);
    let mut links = Vec::new();
    let mut sealing = None;
    for table in if root == relation { vec![root] } else { vec![root, relation] } {
        let may_open = acl::owns_relation(role, table);
        for row in rows::keyring_tables(table)? {
            let (keyring_id, keyring) = (row.keyring_id, rows::keyring(row.keyring_id)?);
            if row.seals && table == root {
                sealing = active_key(keyring_id, keyring.as_ref())?;
            }
            let minimum_version = keyring.map_or(1, |keyring| keyring.minimum_version);
            links.push(Link { keyring_id, may_open, minimum_version });
        }
    }
    Ok(Known { relation, root, role, owns_root: acl::owns_relation(role, root), links, sealing })
}

fn active_key(keyring_id: Uuid, keyring: Option<&rows::Keyring>) -> Result<Option<Sealing>> {
    let active = rows::data_keys(keyring_id)?.into_iter().find(DataKeyRow::seals);
    let Some(DataKeyRow { key_id, .. }) = active else { return Ok(None) };
    let keks = rows::wrapped_keys(key_id)?.into_iter().map(|wrap| wrap.kek).collect();
    let wear = match keyring {
        Some(keyring) => Wear::of(keyring_id, key_id, OwnLimits::stored(&keyring.limits).turn())?,
        None => None,
    };
    Ok(Some(Sealing { key_id, keks, allowed: Cell::new(false), wear }))
}

impl Sealing {
    /// An error when one of the wraps is under a KEK that is not allowed: whoever holds that KEK
    /// could read what is sealed. Also when no wrap is left: nobody could.
    fn require_allowed(&self) -> Result<()> {
        if self.allowed.get() {
            return Ok(());
        }
        if self.keks.is_empty() {
            return Err(Error::Corrupt(format!("data key {} has no wrapped key", self.key_id)));
        }
        for kek in &self.keks {
            if !kek::is_allowed(kek)? {
                return Err(Error::KekNotAllowed(kek.clone()));
            }
        }
        self.allowed.set(true);
        Ok(())
    }
}

impl Table {
    /// The relation that was asked for.
    pub fn relation(&self) -> pg_sys::Oid {
        self.0.relation
    }

    /// The table whose keyring seals its values: the partition root, or the relation itself.
    pub fn root(&self) -> pg_sys::Oid {
        self.0.root
    }

    /// 42501 unless the current role may seal.
    pub fn require_seal_right(&self) -> Result<()> {
        if self.0.owns_root { Ok(()) } else { Err(self.no_right("seal values of")) }
    }

    /// 42501 unless the current role may make and change keys.
    pub fn require_manage_right(&self) -> Result<()> {
        if self.0.owns_root { Ok(()) } else { Err(self.no_right("manage data keys of")) }
    }

    /// 42501 unless the current role may open with at least one of the table's keyrings; the
    /// owner of a table without keys learns of the value instead.
    pub fn require_any_open_right(&self) -> Result<()> {
        if self.0.owns_root || self.0.links.iter().any(|link| link.may_open) {
            Ok(())
        } else {
            Err(self.no_right("open values of"))
        }
    }

    /// The key that seals, `None` when it has yet to be made. An error when one of its wraps is
    /// under a KEK that is not allowed.
    pub fn sealing_key(&self) -> Result<Option<KeyId>> {
        let Some(sealing) = &self.0.sealing else { return Ok(None) };
        sealing.require_allowed()?;
        Ok(Some(sealing.key_id))
    }

    /// How far the key that seals has come in its turn; `None` when nothing ends that.
    pub fn wear(&self) -> Option<&Wear> {
        self.0.sealing.as_ref()?.wear.as_ref()
    }

    /// Whether `key_id` may open values of this table, by the key's state and the role's right.
    pub fn require_opens(&self, key_id: KeyId) -> Result<()> {
        let key = cache::row(key_id)?.ok_or(Error::UnknownKey(key_id))?;
        if !self.has(key.keyring_id) {
            return Err(Error::OtherTable(self.name()));
        }
        if !self.open_keyrings().any(|keyring_id| keyring_id == key.keyring_id) {
            return Err(self.no_right("open values of"));
        }
        if !key.state.opens() || key.purpose != Purpose::Seal {
            let state = key.state.name();
            return Err(Error::KeyState { key: key_id, table: self.name(), state });
        }
        self.require_version(&key)
    }

    fn require_version(&self, key: &DataKeyRow) -> Result<()> {
        let of_keyring = |link: &&Link| link.keyring_id == key.keyring_id;
        let minimum = self.0.links.iter().find(of_keyring).map_or(1, |link| link.minimum_version);
        if key.version >= minimum {
            return Ok(());
        }
        Err(Error::BelowMinimum { table: self.name(), version: key.version, minimum })
    }

    /// The keyrings that the current role may open with.
    pub fn open_keyrings(&self) -> impl Iterator<Item = Uuid> {
        self.0.links.iter().filter(|link| link.may_open).map(|link| link.keyring_id)
    }

    /// For messages.
    pub fn name(&self) -> String {
        relation::display_name(self.0.relation)
    }

    fn no_right(&self, action: &'static str) -> Error {
        Error::NoRight { action, table: self.name() }
    }

    fn has(&self, keyring_id: Uuid) -> bool {
        self.0.links.iter().any(|link| link.keyring_id == keyring_id)
    }
}

/// Whose key a sealed value names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// One that this table opens with.
    Ours,
    /// Another keyring's.
    Others,
    /// No key of this database.
    Nobodys,
}

/// Whose key `key_id` is, as seen from `relation`.
pub fn whose(relation: pg_sys::Oid, key_id: KeyId) -> Result<Whose> {
    Ok(match cache::row(key_id)? {
        None => Whose::Nobodys,
        Some(key) if get(relation)?.has(key.keyring_id) => Whose::Ours,
        Some(_) => Whose::Others,
    })
}
