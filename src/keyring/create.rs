//! How a data key comes into being.
//!
//! The KMS is asked first, with no lock held. Then a lock that no user can take decides between
//! backends that did so at once: the first writes the catalog, the others find its key there, wipe
//! theirs and use it. The lock is held to the end of the first one's transaction, since only then
//! is it known whether its key exists.

use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{DataKeyRow, Purpose, State, Verb, WrappedKey};
use crate::catalog::{self, rows, write};
use crate::error::{Error, Result};
use crate::keyring::table::{self, Table, plain_name};
use crate::keyring::{cache, ends, failures, kek, orphans, stale, unwrap};
use crate::kms::Generated;
use crate::pg::{guc, lock, xact};
use crate::settings;

/// Makes the first key of a table while a value is being sealed for it. Returns when the table has
/// a key, whoever made it.
pub fn on_first_use(table: &Table) -> Result<()> {
    let refused = |because| Err(Error::NoKey { table: table.name(), because });
    if let Some(why) = xact::forbids_writing() {
        return refused(why);
    }
    if !table.allows(Verb::Manage) {
        return refused("by a role that may not manage its keys");
    }
    if !settings::auto_create_key() {
        return refused("while envelope.auto_create_key is off");
    }
    match Keyring::of(table.root())? {
        None => create(table, None, None).map(|_| ()),
        Some(keyring) if keyring.has_active_key => {
            stale::look_again();
            Ok(())
        }
        Some(_) => refused("by itself beside its inactive ones"),
    }
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
        return Err(Error::NoKey { table: table.name(), because });
    }
    match table.sealing_key()? {
        None => create(&table, kek, context)?.ok_or_else(|| Error::KeyExists(table.name())),
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
    let own = match Keyring::of(root)? {
        Some(keyring) => rows::keyring(keyring.id)?,
        None => {
            orphans::warn_of(&plain_name(root)?)?;
            None
        }
    };
    let own_kek = own.as_ref().and_then(|own| own.default_kek.as_deref());
    let used = match kek.or(own_kek) {
        Some(uri) => kek::named(uri)?,
        None => kek::default()?,
    };
    let context = match context.or(own.and_then(|own| own.kms_context)) {
        Some(context) => context,
        None => default_context(root)?,
    };
    let NewKey { key_id, data_key, wrap, request_id } = generate(&used, context, table)?;

    // Nothing is locked up to here. From here on the table stays, and no other backend makes its key.
    lock::keep_relation(root);
    table::require_can_have_keys(root)?;
    let class = catalog::oid_of(c"keyring")?;
    lock::lock_object(class, root);
    let keyring = Keyring::of(root)?;
    if keyring.as_ref().is_some_and(|keyring| keyring.has_active_key) {
        lock::unlock_object(class, root);
        stale::look_again();
        return Ok(None);
    }
    let row = write(root, keyring, key_id, kek, &wrap)?;
    ends::key_made();
    cache::insert(row, &data_key, Some(xact::current_sub()))?;
    audit::log(Action::Create, |event| {
        event.table = Some(table.name());
        event.keyring_id = audit::keyring(row.keyring_id);
        event.key_id = audit::key(key_id);
        event.kek = Some(wrap.kek);
        event.kms_request_id = request_id;
    });
    stale::look_again();
    Ok(Some(key_id))
}

/// A data key that is in no catalog yet.
struct NewKey {
    key_id: KeyId,
    data_key: Box<DataKey>,
    wrap: WrappedKey,
    request_id: Option<String>,
}

/// A new data key, with a wrap that is allowed and gives it back. Trying the wrap costs a KMS
/// request a key; a wrap that does not open would cost every value sealed under the key.
fn generate(used: &kek::Named, context: EncryptionContext, table: &Table) -> Result<NewKey> {
    let failed =
        |error| kek::kms_error(error, format!("make a data key for table {}", table.name()));
    let uri = used.uri();
    if let Some(error) = failures::standing(&uri, None) {
        return Err(failed(error));
    }
    let made = used.provider().generate(&context).map_err(|error| {
        if failures::is_out_of_reach(error.kind) {
            failures::remember(&uri, None, &error);
        }
        failed(error)
    })?;
    failures::forget(&uri, None);
    let Generated { data_key, wrap, request_id } = made;
    used.note_resolved(&wrap.kek);
    let wrap = WrappedKey { kek: wrap.kek.to_string(), kms_context: context, wrapped: wrap.bytes };
    if !kek::is_allowed(&wrap.kek)? {
        return Err(Error::KekNotAllowed(wrap.kek));
    }
    let key_id = envelope::derive::key_id(&data_key);
    unwrap::ask(key_id, &wrap, &table.name()).map_err(failed)?;
    Ok(NewKey { key_id, data_key, wrap, request_id })
}

/// Writes the key to the catalog, and the keyring when there is none.
fn write(
    root: pg_sys::Oid,
    keyring: Option<Keyring>,
    key_id: KeyId,
    kek: Option<&str>,
    wrap: &WrappedKey,
) -> Result<DataKeyRow> {
    let (keyring_id, version) = match keyring {
        Some(keyring) => (keyring.id, keyring.last_version + 1),
        None => {
            let keyring_id = write::random_uuid()?;
            let context = Some(&wrap.kms_context);
            write::insert_keyring(keyring_id, &plain_name(root)?, kek, context, "{}")?;
            write::links::insert(keyring_id, root, true)?;
            (keyring_id, 1)
        }
    };
    let (purpose, state) = (Purpose::Seal, State::Active);
    let row = DataKeyRow { key_id, keyring_id, purpose, version, state };
    write::insert_data_key(&row)?;
    write::insert_wrap(key_id, wrap)?;
    Ok(row)
}

/// The keyring that a table seals with, as the catalog has it now.
struct Keyring {
    id: Uuid,
    last_version: i32,
    has_active_key: bool,
}

impl Keyring {
    fn of(root: pg_sys::Oid) -> Result<Option<Keyring>> {
        let Some(id) = rows::sealing_keyring(root)? else { return Ok(None) };
        let mut keyring = Keyring { id, last_version: 0, has_active_key: false };
        for key in rows::data_keys(id)? {
            if key.purpose == Purpose::Seal {
                keyring.last_version = keyring.last_version.max(key.version);
                keyring.has_active_key |= key.state == State::Active;
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
