//! How a data key comes into being.
//!
//! The KMS is asked first, with no lock held. Then a lock that no user can take decides between
//! backends that did so at once: the first writes the catalog, the others find its key there, wipe
//! theirs and use it. The lock is held to the end of the first one's transaction, since only then
//! is it known whether its key exists.

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::Action;
use crate::catalog::rows::{self, DataKeyRow, Purpose, State, Verb};
use crate::catalog::write::states;
use crate::catalog::{self, citus, write};
use crate::custody::{followed, orphans};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table::{self, Table, plain_name};
use crate::life::new_key::{self, NewKey, Under};
use crate::life::sealed_before;
use crate::memory::cache;
use crate::pg::{guc, lock, relation, xact};
use crate::{kek, settings};

/// Makes the first key of a table while a value is being sealed for it. Returns when the table has
/// a key, whoever made it.
pub fn on_first_use(table: &Table) -> Result<()> {
    let refused = |because| Err(table.no_key_made(because));
    if let Some(why) = xact::forbids_writing() {
        return refused(why);
    }
    if !table.allows(Verb::Manage) {
        return refused("by a role that may not manage its keys");
    }
    if !settings::auto_create_key() {
        return refused("while envelope.auto_create_key is off");
    }
    let keyring = Keyring::of(table.root())?;
    if keyring.as_ref().is_none_or(|keyring| !keyring.has_active_key) {
        require_its_node(table)?;
        followed::require_own(table)?;
    }
    match keyring {
        None => create(table, None, None).map(|_| ()),
        Some(keyring) if keyring.has_active_key => {
            keyring::look_again();
            Ok(())
        }
        Some(_) => refused("automatically while it has inactive ones"),
    }
}

/// 42704 where a first key would be one of this node's alone. Several nodes, or several sessions of one, may seal for
/// one statement of a client's: each would make a key, or wait for another's transaction, which waits for its own.
fn require_its_node(table: &Table) -> Result<()> {
    if citus::works_for_another_node() {
        return Err(table.no_key_here("while this node works for another"));
    }
    if citus::is_away_from_coordinator(table.root())? {
        return Err(table.no_key_here("by the way on another node than the coordinator"));
    }
    require_no_shard(table)
}

/// 42704 on a shard: the key is its table's, and all nodes need the same.
fn require_no_shard(table: &Table) -> Result<()> {
    if table.is_shard() { Err(table.no_key_here("on a shard of it")) } else { Ok(()) }
}

/// Makes the active key of `relation`, under `kek` and with `context` as KMS encryption context;
/// without them the keyring's own are taken, then the settings'. 42710 when there is one.
pub fn create_key(
    relation: pg_sys::Oid,
    kek: Option<&str>,
    context: Option<EncryptionContext>,
) -> Result<KeyId> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_manage_right()?;
    if let Some(because) = xact::forbids_writing() {
        return Err(table.no_key_made(because));
    }
    match kek::sealing_key(&table)? {
        None => {
            require_no_shard(&table)?;
            followed::require_own(&table)?;
            create(&table, kek, context)?.ok_or_else(|| Error::KeyExists(table.name()))
        }
        Some(_) => Err(Error::KeyExists(table.name())),
    }
}

/// `None` when another backend made the key meanwhile.
fn create(
    table: &Table,
    kek: Option<&str>,
    context: Option<EncryptionContext>,
) -> Result<Option<KeyId>> {
    let root = table.root();
    table::require_can_have_keys(root)?;
    let under = under(root, kek, context)?;
    let new = new_key::make(&under, &table.name())?;

    // Nothing is locked up to here. From here on the table stays, and no other backend makes its key.
    lock::keep_relation(root);
    table::require_can_have_keys(root)?;
    let class = catalog::oid_of(c"keyring")?;
    lock::lock_object(class, root);
    let keyring = Keyring::of(root)?;
    if keyring.as_ref().is_some_and(|keyring| keyring.has_active_key) {
        lock::unlock_object(class, root);
        keyring::look_again();
        return Ok(None);
    }
    let (keyring_id, version) = match keyring {
        Some(keyring) => (keyring.id, version_after(keyring.last_version)?),
        None => {
            let keyring_id = write::random_uuid()?;
            let keyring = rows::Keyring {
                table_name: plain_name(root)?,
                default_kek: kek.map(str::to_string),
                kms_context: under.first().map(|first| first.context.clone()),
                limits: "{}".into(),
                minimum_version: 1,
            };
            write::insert_keyring(keyring_id, &keyring)?;
            write::links::insert(keyring_id, root, true)?;
            (keyring_id, 1)
        }
    };
    // One that was to follow a key that is gone by now does not come after this one.
    if let Some(passed) = rows::pending_key(keyring_id, Purpose::Seal)? {
        states::end_wait(passed.key_id, State::DecryptOnly, Some("envelope.create_key"))?;
    }
    put_in(keyring_id, Purpose::Seal, version, State::Active, &new)?;
    if version == 1 {
        sealed_before::warn_of(root);
    }
    new.tell(Action::Create, Purpose::Seal, State::Active, &table.name(), keyring_id, None)?;
    Ok(Some(new.key_id))
}

/// Which KEKs shall wrap the key, and with which context: those that were named, else those of the
/// newest key that is there, else the keyring's own, else the settings'.
fn under(
    root: pg_sys::Oid,
    kek: Option<&str>,
    context: Option<EncryptionContext>,
) -> Result<Vec<Under>> {
    let keyring = Keyring::of(root)?;
    if kek.is_none()
        && context.is_none()
        && let Some(newest) = keyring.as_ref().and_then(|keyring| keyring.newest)
    {
        let under = new_key::as_for(newest, &relation::display_name(root))?;
        if !under.is_empty() {
            return Ok(under);
        }
    }
    let own = match keyring {
        Some(keyring) => rows::keyring(keyring.id)?,
        None => {
            orphans::warn_of(&plain_name(root)?)?;
            None
        }
    };
    let own_kek = own.as_ref().and_then(|own| own.default_kek.as_deref());
    let kek = match kek.or(own_kek) {
        Some(uri) => kek::named(uri)?,
        None => kek::default()?,
    };
    let context = match context.or(own.and_then(|own| own.kms_context)) {
        Some(context) => context,
        None => default_context(root)?,
    };
    Ok(vec![Under { kek, context }])
}

/// The version of the key that follows.
pub fn version_after(last: i32) -> Result<i32> {
    last.checked_add(1).ok_or_else(|| Error::Corrupt("the keyring has no version left".into()))
}

/// Writes the key to the catalog as the keyring's active one for `purpose`, or the pending one, and keeps it
/// for this backend. The keyring's lock is held, and no other key of it is that.
pub fn put_in(
    keyring_id: Uuid,
    purpose: Purpose,
    version: i32,
    state: State,
    new: &NewKey,
) -> Result<()> {
    let key_id = new.key_id;
    let row = DataKeyRow { key_id, keyring_id, purpose, version, state };
    write::insert_data_key(&row)?;
    for wrap in &new.wraps {
        write::wraps::insert(key_id, wrap)?;
    }
    keyring::key_made();
    cache::insert(row, &new.data_key, Some(xact::current_sub()))?;
    keyring::look_again();
    Ok(())
}

/// The keyring that a table seals with, as the catalog has it now.
struct Keyring {
    id: Uuid,
    last_version: i32,
    /// The newest key that has not been destroyed.
    newest: Option<KeyId>,
    has_active_key: bool,
}

impl Keyring {
    fn of(root: pg_sys::Oid) -> Result<Option<Keyring>> {
        let Some(id) = rows::sealing_keyring(root)? else { return Ok(None) };
        let mut keyring = Keyring { id, last_version: 0, newest: None, has_active_key: false };
        // In the order of their versions.
        for key in rows::data_keys(id)? {
            if key.purpose == Purpose::Seal {
                keyring.last_version = keyring.last_version.max(key.version);
                keyring.has_active_key |= key.state == State::Active;
                if key.state != State::Destroyed {
                    keyring.newest = Some(key.key_id);
                }
            }
        }
        Ok(Some(keyring))
    }
}

/// `{"database": …, "table": "schema.table"}` as the names are now: for key policies and for the
/// KMS's log. It is stored with the wrap, so that a later rename changes nothing.
fn default_context(root: pg_sys::Oid) -> Result<EncryptionContext> {
    Ok([("database", guc::current_database()), ("table", plain_name(root)?)].into_iter().collect())
}
