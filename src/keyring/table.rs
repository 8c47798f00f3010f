//! What this backend knows of a table: its keyrings, its active key, what the current role may do.
//! Read from the catalog when it is first asked for, and again when anything may have changed.

mod index;
mod known;
mod policy;

use std::cell::RefCell;
use std::ffi::CStr;
use std::rc::Rc;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, Purpose, State, Verb};
use crate::catalog::{shards, tables};
use crate::error::{Error, Result};
use crate::keyring::destroyed::destroyed;
use crate::keyring::table::known::{Known, Link};
use crate::keyring::wear::Wear;
use crate::memory::IdMap;
use crate::memory::cache::{self, Place};
use crate::memory::identity::{self, Identity};
use crate::pg::acl;
use crate::pg::relation::{self, Kind};
use crate::pg::xact;
use crate::settings;

pub use index::{ColumnIndex, require_lent};
pub use known::{Holders, IndexKey, Sealing, seals_by_itself};
pub use policy::{Binding, Policy};

thread_local! {
    /// By who asks, too: a query may ask as its caller and, in SECURITY DEFINER functions, as
    /// others, row by row.
    static TABLES: RefCell<Tables> = RefCell::default();
}

#[derive(Default)]
struct Tables {
    known: IdMap<Asked, Table>,
    /// The one asked for last, which the next row mostly asks for.
    last: Option<(Asked, Table)>,
}

/// A table, the role that asks, and as whom it would ask the KMS: what an alias among the allowed
/// KEKs stands for may depend on it.
type Asked = (pg_sys::Oid, pg_sys::Oid, Identity);

/// A table as its keyrings see it. Cheap to clone.
#[derive(Clone)]
pub struct Table(Rc<Known>);

/// The table `relation`, for the current role.
#[inline(always)]
pub fn get(relation: pg_sys::Oid) -> Result<Table> {
    get_as(relation, acl::current_role())
}

/// The table `relation`, for `role`.
#[inline(always)]
pub fn get_as(relation: pg_sys::Oid, role: pg_sys::Oid) -> Result<Table> {
    let asked = (relation, role, identity::current());
    let last = TABLES.with_borrow(|tables| match &tables.last {
        Some((of, table)) if *of == asked => Some(table.clone()),
        _ => None,
    });
    last.map_or_else(|| get_another(asked), Ok)
}

#[inline(never)]
fn get_another(asked: Asked) -> Result<Table> {
    let known = TABLES.with_borrow(|tables| tables.known.get(&asked).cloned());
    let table = match known {
        Some(table) => {
            table.0.prefetch();
            table
        }
        None => {
            let table = as_seen_by(asked.0, asked.1)?;
            TABLES.with_borrow_mut(|tables| tables.known.insert(asked, table.clone()));
            table
        }
    };
    TABLES.with_borrow_mut(|tables| tables.last = Some((asked, table.clone())));
    Ok(table)
}

/// The table `relation`, for any role: read from the catalog, and not kept.
pub fn as_seen_by(relation: pg_sys::Oid, role: pg_sys::Oid) -> Result<Table> {
    Ok(Table(Rc::new(known::read(relation, role)?)))
}

/// As [`get`], for a change of the table's keys: 42501 unless the current role may manage them, 25006
/// where nothing can be written.
pub fn to_change(relation: pg_sys::Oid) -> Result<Table> {
    settings::check_unplanted()?;
    let table = get(relation)?;
    gone(relation).map_or(Ok(()), Err)?;
    table.require_manage_right()?;
    require_writable()?;
    Ok(table)
}

/// 25006 where nothing can be written.
pub fn require_writable() -> Result<()> {
    xact::forbids_writing().map_or(Ok(()), |because| Err(Error::CannotWrite(because)))
}

/// Forgets everything read so far.
pub fn forget_all() {
    TABLES.take();
}

impl Table {
    /// The relation that was asked for.
    pub fn relation(&self) -> pg_sys::Oid {
        self.0.relation
    }

    /// The role as which it is seen.
    pub fn role(&self) -> pg_sys::Oid {
        self.0.role
    }

    /// The table whose keyring seals its values: the partition root, of a shard its table's, or the relation itself.
    pub fn root(&self) -> pg_sys::Oid {
        self.0.root
    }

    /// Whether it holds rows of a distributed table on this node.
    pub fn is_shard(&self) -> bool {
        self.0.is_shard
    }

    /// 42809 for a partition or a shard: what holds for all of a table is said of the topmost one.
    pub fn require_topmost(&self) -> Result<()> {
        if self.root() == self.relation() && !self.is_shard() {
            return Ok(());
        }
        let root = relation::display_name(shards::root(self.relation())?);
        Err(Error::IsPartition { table: self.name(), root })
    }

    /// Another one whenever it was read anew.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// What its columns are; of a partition, by the nearest table above it that says so.
    pub fn policies(&self) -> &[Policy] {
        &self.0.policies
    }

    /// What the column of that name, in the server's encoding, is.
    pub fn policy(&self, column: &CStr) -> Option<&Policy> {
        self.policies().get(self.policy_at(column)?)
    }

    /// Where that stands among [`Self::policies`].
    pub fn policy_at(&self, column: &CStr) -> Option<usize> {
        self.policies().iter().position(|policy| policy.column_name.as_c_str() == column)
    }

    /// Whose key `key_id` is.
    #[inline]
    pub fn whose(&self, key_id: KeyId) -> Result<Whose> {
        if self.0.ours.get() == Some(key_id) {
            return Ok(Whose::Ours);
        }
        self.look_whose(key_id)
    }

    #[inline(never)]
    fn look_whose(&self, key_id: KeyId) -> Result<Whose> {
        Ok(match cache::row(key_id)? {
            None => Whose::Nobodys,
            Some(key) if self.has(key.keyring_id) => {
                self.0.ours.set(Some(key_id));
                Whose::Ours
            }
            Some(_) => Whose::Others,
        })
    }

    /// Whether values under `key_id` are values of this table that may be opened some day.
    #[inline]
    pub fn is_in_use(&self, key_id: KeyId) -> Result<bool> {
        if self.0.in_use.get() == Some(key_id) {
            return Ok(true);
        }
        let row = cache::row(key_id)?.filter(|key| {
            self.has(key.keyring_id)
                && key.purpose == Purpose::Seal
                && key.state != State::Destroyed
        });
        if row.is_some() {
            self.0.in_use.set(Some(key_id));
        }
        Ok(row.is_some())
    }

    /// Whether `key_id` is one of this table's that is to seal next, and may do so elsewhere.
    pub fn is_ahead(&self, key_id: KeyId) -> Result<bool> {
        let row = cache::row(key_id)?;
        Ok(row.is_some_and(|key| key.state == State::Pending && self.has(key.keyring_id)))
    }

    /// The search indexes of the column of that name, in the server's encoding; of a partition, by the nearest table
    /// above it that has some.
    pub fn indexes(&self, column: &CStr) -> &[ColumnIndex] {
        self.indexes_at(column).1
    }

    /// As [`Self::indexes`], and where they begin among [`Self::all_indexes`].
    pub fn indexes_at(&self, column: &CStr) -> (usize, &[ColumnIndex]) {
        let all = self.all_indexes();
        let is_of = |index: &ColumnIndex| index.column_name.as_c_str() == column;
        let from = all.iter().position(is_of).unwrap_or(all.len());
        let of_it = all[from..].iter().take_while(|index| is_of(index)).count();
        (from, &all[from..from + of_it])
    }

    /// The search indexes of all its columns, those of one column side by side.
    pub fn all_indexes(&self) -> &[ColumnIndex] {
        &self.0.indexes
    }

    /// Whether the role may do that. To open, one of the table's keyrings is enough; the owner of
    /// a table without keys may too, and learns of the value instead.
    pub fn allows(&self, verb: Verb) -> bool {
        let opens = || verb == Verb::Decrypt && self.0.links.iter().any(|link| link.may_open);
        self.0.rights.allow(verb) || opens()
    }

    /// 42501 unless the current role may seal.
    pub fn require_seal_right(&self) -> Result<()> {
        self.require(Verb::Encrypt)
    }

    /// 42501 unless the current role may make and change keys.
    pub fn require_manage_right(&self) -> Result<()> {
        self.require(Verb::Manage)
    }

    /// 42501 unless the current role may open with at least one of the table's keyrings.
    pub fn require_any_open_right(&self) -> Result<()> {
        self.require(Verb::Decrypt)
    }

    fn require(&self, verb: Verb) -> Result<()> {
        if self.allows(verb) { Ok(()) } else { Err(self.no_right(verb)) }
    }

    /// The key that seals, by the catalog; whether its KEKs are allowed is not looked at.
    pub fn active_key(&self) -> Option<KeyId> {
        self.0.sealing.as_ref().map(|sealing| sealing.key_id)
    }

    /// The key that seals and the KEKs that hold it; `None` when it has yet to be made.
    #[inline]
    pub fn sealing(&self) -> Option<&Sealing> {
        self.0.sealing.as_ref()
    }

    /// Where the key that seals was found last.
    pub fn sealing_place(&self) -> &Place {
        &self.0.sealing_place
    }

    /// Where the key that opened the value before was found.
    pub fn opening_place(&self) -> &Place {
        &self.0.opening_place
    }

    /// How far the key that seals has come in its turn; `None` when nothing ends that.
    pub fn wear(&self) -> Option<&Wear> {
        self.0.sealing.as_ref()?.wear.as_deref()
    }

    /// The index keys that make terms of its values, newest first: those that are active or decrypt-only, of the
    /// keyring that it seals with. Terms are written under the active one, and asked for under all.
    pub fn index_keys(&self) -> &[IndexKey] {
        &self.0.index_keys
    }

    /// 42501 unless the role may do that.
    pub fn require_right(&self, verb: Verb) -> Result<()> {
        self.require(verb)
    }

    /// Whether `key_id` may open values of this table, by the key's state and version, and
    /// by the role's right.
    #[inline]
    pub fn require_opens(&self, key_id: KeyId) -> Result<()> {
        if self.0.opens.get() == Some(key_id) { Ok(()) } else { self.look_if_opens(key_id) }
    }

    #[inline(never)]
    fn look_if_opens(&self, key_id: KeyId) -> Result<()> {
        let key = self.own_key(key_id)?;
        if !self.open_keyrings().any(|keyring_id| keyring_id == key.keyring_id) {
            return Err(self.no_right(Verb::Decrypt));
        }
        self.require_taken(&key)?;
        self.0.opens.set(Some(key_id));
        Ok(())
    }

    /// Whether the current role has the right to open values under `key_id`, one of this table's keys.
    pub fn may_open(&self, key_id: KeyId) -> Result<bool> {
        if self.0.opens.get() == Some(key_id) {
            return Ok(true);
        }
        let keyring_id = self.own_key(key_id)?.keyring_id;
        Ok(self.open_keyrings().any(|open| open == keyring_id))
    }

    /// An error when the key's state or its version forbids to use its values.
    fn require_taken(&self, key: &DataKeyRow) -> Result<()> {
        if key.purpose != Purpose::Seal {
            return Err(Error::OtherPurpose(key.key_id));
        }
        if key.state == State::Destroyed {
            return Err(destroyed(key.key_id, self.name())?);
        }
        if !key.state.opens() {
            let state = key.state.name();
            return Err(Error::KeyState { key: key.key_id, table: self.name(), state });
        }
        self.require_version(key)
    }

    fn require_version(&self, key: &DataKeyRow) -> Result<()> {
        let of_keyring = |link: &&Link| link.keyring_id == key.keyring_id;
        let minimum = self.0.links.iter().find(of_keyring).map_or(1, |link| link.minimum_version);
        if key.version >= minimum {
            return Ok(());
        }
        Err(Error::BelowMinimum { table: self.name(), version: key.version, minimum })
    }

    /// Whether values under `key_id` are good values of this table, by the key's state and version; whoever
    /// may seal may know, and gets nothing to read.
    #[inline]
    pub fn require_verifies(&self, key_id: KeyId) -> Result<()> {
        if self.0.verifies.get() == Some(key_id) {
            return Ok(());
        }
        self.require_taken(&self.own_key(key_id)?)?;
        self.0.verifies.set(Some(key_id));
        Ok(())
    }

    fn own_key(&self, key_id: KeyId) -> Result<DataKeyRow> {
        let Some(key) = cache::row(key_id)? else { return Err(Error::UnknownKey(key_id)) };
        if self.has(key.keyring_id) { Ok(key) } else { Err(self.other_table()) }
    }

    /// The keyrings that the current role may open with.
    pub fn open_keyrings(&self) -> impl Iterator<Item = Uuid> {
        self.0.links.iter().filter(|link| link.may_open).map(|link| link.keyring_id)
    }

    /// All keyrings that its values may be under, whatever the current role may.
    pub fn keyrings(&self) -> impl Iterator<Item = Uuid> {
        self.0.links.iter().map(|link| link.keyring_id)
    }

    /// Whether the role may manage that one of the table's keyrings. A partition's own, from before it
    /// was attached, is another matter than its root's.
    pub fn manages(&self, keyring_id: Uuid) -> bool {
        self.0.links.iter().any(|link| link.keyring_id == keyring_id && link.may_manage)
    }

    /// The keyrings that the table seals with or, a partition, has sealed with, and whose keys the
    /// current role may manage. 42501 when it may manage none.
    pub fn managed_keyrings(&self) -> Result<Vec<Uuid>> {
        let managed = self.0.links.iter().filter(|link| link.seals && link.may_manage);
        let managed: Vec<Uuid> = managed.map(|link| link.keyring_id).collect();
        if managed.is_empty() {
            self.require_manage_right()?;
        }
        Ok(managed)
    }

    /// The keyring that its values are sealed with; 42704 while there is none.
    pub fn sealing_keyring(&self) -> Result<Uuid> {
        rows::sealing_keyring(self.root())?.ok_or_else(|| self.no_key())
    }

    /// It has no key, and what was called makes none.
    pub fn no_key(&self) -> Error {
        self.no_key_made("by this call")
    }

    /// It has no key, and none is made `because` that is for another node to do.
    #[cold]
    pub fn no_key_here(&self, because: &'static str) -> Error {
        let table = relation::display_name(self.root());
        gone(self.relation()).unwrap_or(Error::NoKeyHere { table, because })
    }

    /// It has no key, and none can be made `because`.
    #[cold]
    pub fn no_key_made(&self, because: &'static str) -> Error {
        gone(self.relation()).unwrap_or_else(|| Error::NoKey { table: self.name(), because })
    }

    #[cold]
    fn other_table(&self) -> Error {
        gone(self.relation()).unwrap_or_else(|| Error::OtherTable(self.name()))
    }

    /// For messages.
    pub fn name(&self) -> String {
        relation::display_name(self.0.relation)
    }

    fn no_right(&self, verb: Verb) -> Error {
        let action = match verb {
            Verb::Encrypt => "seal values of",
            Verb::Decrypt => "open values of",
            Verb::Search => "search values of",
            Verb::Manage => "manage data keys of",
        };
        let role = acl::display_role(self.role());
        Error::NoRight { role, action, verb: verb.name(), table: self.name() }
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
    match cache::row(key_id)? {
        None => Ok(Whose::Nobodys),
        Some(_) => get(relation)?.whose(key_id),
    }
}

/// `schema.table` without quotes: for people and key policies, never looked up.
pub fn plain_name(relation: pg_sys::Oid) -> Result<String> {
    let (schema, name) = relation::qualified_name(relation)
        .ok_or_else(|| Error::NoRelation(relation::display_name(relation)))?;
    Ok(format!("{schema}.{name}"))
}

/// An error unless `relation` can have keys.
pub fn require_can_have_keys(relation: pg_sys::Oid) -> Result<()> {
    if relation::kind(relation) == Kind::Table { Ok(()) } else { Err(no_table(relation)) }
}

/// The error of a relation that cannot have keys: gone, or of another kind. Whoever named a view is told which
/// tables it shows.
#[cold]
pub fn no_table(relation: pg_sys::Oid) -> Error {
    if let Some(gone) = gone(relation) {
        return gone;
    }
    let shown = tables::shown_by(relation).unwrap_or_default();
    Error::NotATable {
        what: relation::described(relation),
        table: relation::display_name(relation),
        shows: shown.into_iter().map(relation::display_name).collect(),
    }
}

/// The error of a relation that was dropped, if it was. Before any other error about its keys: a backend that knew
/// it without keys is not told that it went.
#[cold]
pub fn gone(relation: pg_sys::Oid) -> Option<Error> {
    (relation::kind(relation) == Kind::Missing)
        .then(|| Error::NoRelation(relation::display_name(relation)))
}
