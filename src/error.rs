//! Every error a user can see: one kind, one SQLSTATE, one hint. No message holds a value or a
//! key.

mod index;
pub mod kms;
mod passed;
mod place;
mod policy;
mod remedy;
mod search;
mod unseen;
mod view;

use std::sync::OnceLock;

use envelope::header::KeyId;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgSqlErrorCode, function_name};
use uuid::Uuid;

use crate::pg::damage::Damage;
use crate::pg::encoding::{self, shown};
use crate::pg::subxact::Undone;
use crate::pg::{copy_line, xact};

pub use self::index::IndexError;
use self::kms::KmsError;
pub use self::passed::Passed;
pub use self::place::Place;
pub use self::policy::{Need, PolicyError};
pub use self::remedy::Remedy;
pub use self::search::SearchError;
pub use self::unseen::{NoProof, Unseen};
pub use self::view::ViewError;

/// `Ok` or an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A result that is handed on in registers, for what every row returns.
pub type RowResult<T> = std::result::Result<T, Box<Error>>;

/// Who hears of every error that goes to a client.
static HEARS: OnceLock<fn(&Error)> = OnceLock::new();

/// From now on `hear` is told of every error that goes to a client. To be called once.
pub fn on_raise(hear: fn(&Error)) {
    // Were it called again, the first would go on to hear.
    let _ = HEARS.set(hear);
}

impl From<Box<Error>> for Error {
    #[cold]
    fn from(error: Box<Error>) -> Error {
        *error
    }
}

/// What went wrong. Tables are named `schema.table`, quoted as SQL would.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The role lacks the right: inside a SECURITY DEFINER function, its owner.
    #[error("permission denied to {action} table {table}")]
    NoRight { role: String, action: &'static str, verb: &'static str, table: String },

    /// As [`Error::NoRight`], where only the key was named: of the table the log alone is told.
    #[error("permission denied to manage data key {key}")]
    NoRightOnKey { role: String, key: KeyId, table: String },

    /// A right on keys is somebody's, never everybody's.
    #[error("rights on data keys cannot be granted to PUBLIC")]
    PublicGrantee,

    /// No role has that name.
    #[error("role \"{0}\" does not exist")]
    NoRole(String),

    /// A grant that DROP ROLE, or a restore without the role, has left behind.
    #[error("the right to {0} was granted to a role that is gone")]
    GoneGrantee(&'static str),

    /// A function that only superusers may call that way.
    #[error("permission denied to {what}")]
    SuperuserOnly { what: &'static str, hint: &'static str },

    /// Other nodes are asked for where none is known.
    #[error("there are no other nodes: Citus is not here, and no servers are named")]
    NoNodes,

    /// Keyrings are brought to other nodes from where they are made.
    #[error("this node is not the coordinator of Citus")]
    NotCoordinator,

    /// What other nodes keep must not be rolled back here.
    #[error("cannot bring keyrings to other nodes in a transaction that has written")]
    SyncAfterWriting,

    /// A server that is named leads here.
    #[error("this is the node that the keyrings come from")]
    SyncsItself,

    /// The client for other nodes was left out.
    #[error("this library was built without cargo feature nodes, and connects to no servers")]
    NoConnections,

    /// An option of a server, or of the user mapping, that is none of a connection's or that the client lacks.
    #[error("option \"{option}\" of server \"{server}\" is not supported")]
    ServerOption { server: String, option: String },

    /// As [`Error::ServerOption`], of a value.
    #[error("cannot connect to server \"{server}\": {why}")]
    ServerValue { server: String, why: String },

    /// What only the server's shared memory can do.
    #[error("cannot {0} where the library is not preloaded")]
    NeedsPreload(&'static str),

    /// Keyrings are not given to whoever made a table of the name.
    #[error(
        "table {table} belongs to role {here} on this node, and to {there} where its keys are made: name it in relations if \
         it is meant"
    )]
    OwnedByAnother { table: String, here: String, there: String },

    /// An orphaned keyring asked for by a role that had nothing to do with the dropped table.
    #[error("permission denied to {action} keyring {keyring}")]
    NotFormerOwner { action: &'static str, keyring: Uuid },

    /// The client's connection options tried to set one of our settings.
    #[error("permission denied to set parameter \"{0}\" by connection options")]
    PlantedSetting(String),

    /// The table has no data key, and this call may not make one.
    #[error("table {table} has no data key, and none can be made {because}")]
    NoKey { table: String, because: &'static str },

    /// The table has no data key, and it is for another node to make it.
    #[error("table {table} has no data key, and none is made {because}")]
    NoKeyHere { table: String, because: &'static str },

    /// No data key of this database has that id.
    #[error("data key {0} is not in this database")]
    UnknownKey(KeyId),

    /// `create_key` on a table that has one.
    #[error("table {0} already has an active data key")]
    KeyExists(String),

    /// No keyring has that id.
    #[error("keyring {0} is not in this database")]
    UnknownKeyring(Uuid),

    /// `adopt_keyring` on a keyring that is not orphaned.
    #[error("keyring {keyring} is not orphaned: table {table} seals with it")]
    KeyringInUse { keyring: Uuid, table: String },

    /// A key is to be made where replication brings them.
    #[error(
        "the data keys of table {0} arrive by replication, and can be changed only where they come \
         from"
    )]
    Followed(String),

    /// As [`Error::Followed`], where imports bring them.
    #[error("the data keys of table {0} are made and rotated where they are imported from")]
    FollowedByImport(String),

    /// A keyring is imported by who is no superuser, for no table of their own.
    #[error("permission denied to import a keyring")]
    NotImporter,

    /// As [`Error::NotImporter`], where another's keyring would be changed, or used.
    #[error("permission denied to import keyring {0}, which is here already")]
    ForeignKeyring(Uuid),

    /// As [`Error::NotImporter`], where a wrap does not say that it is this database's.
    #[error(
        "permission denied to import data key {0}, which was not made for a database of this name"
    )]
    OtherDatabase(KeyId),

    /// An update would have made a data key's row another key's.
    #[error(
        "data key {key} cannot be overwritten by data key {other}: a row of envelope.data_key keeps \
         its key id, keyring, purpose and version"
    )]
    KeyReplaced { key: KeyId, other: KeyId },

    /// The state of a destroyed key was to change.
    #[error("data key {0} was destroyed, and cannot be used again")]
    KeyRevived(KeyId),

    /// A keyring that is imported contradicts what is here.
    #[error("{0}")]
    KeyringConflict(String),

    /// A keyring that is imported was rotated there and here.
    #[error(
        "keyring {keyring} was rotated on both sides: its version {version} is data key {here} here, and \
         data key {there} in the import"
    )]
    KeyringFork { keyring: Uuid, version: i32, here: KeyId, there: KeyId },

    /// DROP EXTENSION, with the tables whose keyrings there are.
    #[error("cannot drop extension \"pgrx-example\" because it holds keyrings")]
    KeyringsWouldBeLost(Vec<String>),

    /// A data key that nothing can unwrap.
    #[error("data key {key} of table {table} has no wrapped key")]
    NoWrap { key: KeyId, table: String },

    /// The data key may not do that in its state.
    #[error("data key {key} of table {table} is {state}")]
    KeyState { key: KeyId, table: String, state: &'static str },

    /// A key that seals values where terms are made, or an index key where values are sealed or opened.
    #[error("data key {0} is for another purpose")]
    OtherPurpose(KeyId),

    /// The table's keyring has no index key, or none of that id that makes terms.
    #[error("{}", match key {
        Some(key) => format!("table {table} has no index key {key} in use"),
        None => format!("table {table} has no index key"),
    })]
    NoIndexKey { table: String, key: Option<KeyId> },

    /// The active key cannot be put out of use; a new one must be made first.
    #[error("data key {key} of table {table} is active, and cannot be {done}")]
    KeyActive { key: KeyId, table: String, done: &'static str, is_orphaned: bool, is_index: bool },

    /// The version that is to seal next cannot be put out of use.
    #[error("data key {key} of table {table} is pending, and cannot be {done}")]
    KeyPending { key: KeyId, table: String, done: &'static str },

    /// No further version is made while one waits.
    #[error("table {table} has a pending data key already: {key}")]
    KeyWaits { key: KeyId, table: String },

    /// The data key was destroyed: nothing opens what it has sealed.
    #[error("data key {key} of table {table} was destroyed")]
    KeyDestroyed { key: KeyId, table: String, at: String, reason: Option<String> },

    /// Values are sealed under a data key that was to be destroyed.
    #[error(
        "data key {key} of table {table} still seals values in column \"{}\" of {}",
        place.column, place.table
    )]
    KeyInUse { key: KeyId, table: String, place: Box<Place>, remedy: Remedy },

    /// A column whose values cannot be read from here, by what its table is.
    #[error("column \"{column}\" of {unseen} {table} cannot be searched for values under the key")]
    CannotLook { column: String, unseen: Unseen, table: String },

    /// Of a table that is no heap more rows, or fewer, are met than a SELECT counts; `None`: none is run, since
    /// the owner of the table's schema could put another relation in its place.
    #[error(
        "searched {seen} rows of table {table} for values under the key, but a SELECT {}",
        counted.map_or("cannot be run safely".into(), |rows| format!("counts {rows}"))
    )]
    RowsUnseen { table: String, seen: u64, counted: Option<u64> },

    /// Values that were to be gone through stand on other nodes; `call`, in SQL, is what does it on a placement of a shard,
    /// which stands there as `%L`.
    #[error(
        "values of distributed table {table} stand on other nodes, and cannot be gone through from here"
    )]
    Distributed { table: String, call: String },

    /// A strict re-encryption that has left values alone.
    #[error("values in column \"{column}\" of table {table} were left alone")]
    PassedBy { table: String, column: String, passed: Box<Passed> },

    /// What went wrong with one of many values.
    #[error("{error}")]
    At { place: Box<Place>, error: Box<Error> },

    /// A keyring that other tables use, too.
    #[error("the keyring of table {table} is used by table {other}, too")]
    KeyringShared { table: String, other: String },

    /// A table that holds values of a keyring that is to be taken away from it.
    #[error("values of table {table} are stored in column \"{}\" of {}", place.column, place.table)]
    ValuesLent { table: String, place: Box<Place> },

    /// Nothing was lent, by these two.
    #[error("the keyring of table {table} is not shared with table {other}")]
    NotShared { table: String, other: String },

    /// A partition where the whole table is meant.
    #[error("table {table} is a partition of {root}, whose keyring it uses")]
    IsPartition { table: String, root: String },

    /// A function that PostgreSQL may take for one of the extension's.
    #[error(
        "function {function} of role {owner} could be called in the place of the extension's own"
    )]
    Shadowed { function: String, owner: String, schema: String },

    /// What commits by itself was called where it cannot.
    #[error("{0} commits by itself, and cannot run in a transaction block")]
    InTransactionBlock(&'static str),

    /// What must see all that others have committed was called where it does not.
    #[error("{0} must be called in a READ COMMITTED transaction")]
    NotReadCommitted(&'static str),
    /// The value's key is a version that the keyring no longer takes.
    #[error(
        "value of table {table} is under version {version} of its key, and the minimum version is \
         {minimum}"
    )]
    BelowMinimum { table: String, version: i32, minimum: i32 },

    /// The active key is older than it may be.
    #[error("data key {key} of table {table} has been sealing for {days} days")]
    PastCryptoperiod { key: KeyId, table: String, days: u64 },

    /// The data key would be lost with this KEK.
    #[error("KEK {kek} holds the last wrap of data key {key} of table {table}")]
    LastWrap { key: KeyId, table: String, kek: String },

    /// A KEK that wraps none of the table's keys.
    #[error("no data key of table {table} is wrapped by KEK {kek}")]
    NotUnderKek { table: String, kek: String },

    /// Another session changed the keys, or a column, between the KMS's answer and the lock.
    #[error("the data keys or a column of table {0} were changed by another session meanwhile")]
    ChangedMeanwhile(String),

    /// Another session is changing the keys now, and there was to be no wait for it.
    #[error("the data keys of table {0} are being changed by another session")]
    Busy(String),

    /// Another session has locked a table, and there was to be no wait for it.
    #[error("table {0} is locked by another session")]
    TableLocked(String),

    /// Not tried, since the KMS was found out of reach just before.
    #[error("not tried, since the KMS was out of reach for an earlier key")]
    NotTried,

    /// The catalog cannot be written here.
    #[error("data keys cannot be changed {0}")]
    CannotWrite(&'static str),

    /// PostgreSQL refused a write that was undone alone, or could not read a value.
    #[error("{1}")]
    Raised(PgSqlErrorCode, String),

    /// Text that the input function of a type does not take, with its SQLSTATE; whether it is of dates.
    #[error("what arrived is no value of type {kind}")]
    NoValue { code: PgSqlErrorCode, kind: String, has_dates: bool },

    /// Not a sealed value, or changed, cut, of another context.
    #[error("value does not open under a data key of table {0}")]
    DoesNotOpen(String),

    /// A value that looks like no sealed value at all.
    #[error("value is not a sealed value")]
    NotSealed,

    /// Plaintext where sealed values are to be, as a row that tells of it.
    #[error("value is not sealed")]
    InClear,

    /// A sealed value, and a source column that is to say the same.
    #[error("value in column \"{column}\" of table {table} is not what its source says")]
    OtherThanSource { column: String, table: String },

    /// A sealed value of another table.
    #[error("value was sealed for another table than {0}")]
    OtherTable(String),

    /// The trigger met a value that looks sealed, under a key that nobody here knows.
    #[error(
        "value for column \"{column}\" of table {table} looks sealed, but its data key {key} is not in \
         this database"
    )]
    LooksSealed { key: KeyId, table: String, column: String },

    /// Text that begins as a sealed value is written, and is not the text of one.
    #[error("text that begins like a sealed value is not one")]
    MalformedSealed,

    /// The trigger met a plaintext that is a sealed value, written as text.
    #[error("value for column \"{column}\" of table {table} is a sealed value in another form")]
    SealedAsText { table: String, column: String },

    /// The plaintext was sealed as bytes: it is no UTF-8, which text is sealed as, or holds a zero byte.
    #[error("opened value is not UTF-8 text")]
    NotText,

    /// Text in characters that this database cannot show.
    #[error("{0} has characters that the database's encoding lacks")]
    Untranslatable(&'static str),

    /// Text to be sealed or bound that is not UTF-8, as can be in a SQL_ASCII database.
    #[error("text to be sealed or used as a context is not UTF-8, and cannot be converted to it")]
    NotUtf8 { untranslatable: bool },

    /// A type whose values are not sealed as such.
    #[error("values of type {0} have no canonical form")]
    TypeHasNoForm(String),

    /// A value that its form would not tell from others.
    #[error("this value of type {kind} has no canonical form: {why}")]
    ValueHasNoForm { kind: String, why: &'static str },

    /// What was opened is the form of another type, or none at all.
    #[error("opened value is not the canonical form of a value of type {0}")]
    NotOfType(String),

    /// A context that is no identity of a row but a document.
    #[error("context is longer than 64 KiB")]
    ContextTooLong,

    /// A data key was unwrapped and could not be used within its limits.
    #[error("data key {0} did not stay in memory long enough to be used")]
    NotKept(KeyId),

    /// Plaintext and overhead, or an opened text in the server's encoding, exceed what one value
    /// may hold.
    #[error("value of {0} bytes is too long")]
    TooLong(usize),

    /// A relation that cannot have a key, with the tables that it shows the values of.
    #[error("{what} {table} cannot have a data key")]
    NotATable { what: &'static str, table: String, shows: Vec<String> },

    /// A relation that is gone.
    #[error("relation {0} does not exist")]
    NoRelation(String),

    /// A table that the current role may not read.
    #[error("permission denied to read table {0}")]
    NotReadable(String),

    /// An argument that must not be NULL.
    #[error("{0} must not be NULL")]
    NullArgument(&'static str),

    /// An argument or setting that cannot be.
    #[error("{0}")]
    BadArgument(String),

    /// JSON that is no exported keyring.
    #[error("keyring cannot be imported: {0}")]
    BadDocument(String),

    /// A KEK that `envelope.allowed_keks` does not let in.
    #[error("KEK {0} is not allowed: envelope.allowed_keks does not name it")]
    KekNotAllowed(String),

    /// A KEK of the key that seals, which `setting` does not let in.
    #[error(
        "values of table {table} cannot be sealed: {setting} does not allow KEK {kek}, which wraps \
         its data key"
    )]
    SealingKekNotAllowed { kek: String, table: String, setting: &'static str },

    /// An expression that is evaluated while a restore loads rows, which may be before their keys.
    #[error(
        "{what} needs data keys while a restore loads rows, and the keys may be loaded later: {remedy}"
    )]
    NeedsKeyToLoad { what: String, remedy: &'static str },

    /// An index, a statistics object or a materialized view over what opens values; what more it does.
    #[error(
        "{what} stores opened values in clear, with what ANALYZE samples of them{beside}: drop it"
    )]
    StoresClear { what: String, beside: &'static str },

    /// A CHECK that plaintext passes.
    #[error(
        "CHECK constraint {name} of table {table} is NOT ENFORCED, and lets plaintext in: make it anew \
         without that"
    )]
    NotEnforced { name: String, table: String },

    /// A default under which no key can be made.
    #[error(
        "new data keys cannot be made: envelope.allowed_keks does not allow KEK {0} of \
         envelope.default_kek"
    )]
    DefaultKekNotAllowed(String),

    /// `envelope.default_kek` is needed and unset.
    #[error("no KEK given, and envelope.default_kek is not set")]
    NoDefaultKek,

    /// The trigger was created in a way that cannot seal.
    #[error("trigger function {function}() {misuse}")]
    TriggerMisuse { function: &'static str, misuse: &'static str },

    /// The trigger's argument names no column of the table.
    #[error("column \"{column}\" of table {table}, named by trigger \"{trigger}\", does not exist")]
    NoColumn { column: String, table: String, trigger: String },

    /// The trigger's argument names a column whose values PostgreSQL computes later.
    #[error("column \"{column}\" of table {table}, named by trigger \"{trigger}\", is generated")]
    GeneratedColumn { column: String, table: String, trigger: String },

    /// The trigger's argument names a column of another type.
    #[error(
        "column \"{column}\" of table {table}, named by trigger \"{trigger}\", is not of a type that holds sealed values"
    )]
    NotSealable { column: String, table: String, trigger: String },

    /// A column that is asked for and not there.
    #[error("column \"{column}\" of table {table} does not exist")]
    NoSuchColumn { column: String, table: String },

    /// A column of a type that holds no sealed values.
    #[error("column \"{column}\" of table {table} is not of a type that holds sealed values")]
    ColumnNotSealable { column: String, table: String },

    /// What depends on columns that are to be protected, and is not carried over.
    #[error("cannot protect these columns of table {table} as they are: {columns}")]
    InTheWay {
        table: String,
        columns: String,
        obstacles: Vec<String>,
        /// Statements that take them away.
        remedies: Vec<String>,
        /// Whether some of them are objects of their own.
        is_used: bool,
    },

    /// Of a policy, or a value that it forbids.
    #[error(transparent)]
    Policy(Box<PolicyError>),

    /// About a search index.
    #[error(transparent)]
    Index(Box<IndexError>),

    /// Of a question to a search index.
    #[error(transparent)]
    Search(Box<SearchError>),

    /// Of a view that shows opened values.
    #[error(transparent)]
    View(Box<ViewError>),

    /// The KMS or the key file said no. `failed` says what could not be done, for which table; empty: anything at all.
    #[error("{}", said_by_kms(failed, error))]
    Kms {
        failed: String,
        error: Box<KmsError>,
        /// As whom it was asked, where that was not the server itself and may be what was refused.
        asked_as: Option<Box<str>>,
    },

    /// The KMS handed back another key than the catalog's, or the catalog cannot be read.
    #[error("{0}")]
    Corrupt(String),

    /// The extension's own tables are missing.
    #[error("extension \"pgrx-example\" is not installed in this database")]
    NotInstalled,

    /// The catalog is that of an older release.
    #[error("the catalog of extension \"pgrx-example\" in this database is older than its library")]
    Outdated,

    /// The operating system gave no random bytes, no memory, ...
    #[error("operating system: {0}")]
    System(String),
}

impl Error {
    /// The SQLSTATE of this kind.
    pub fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Error::NoRight { .. }
            | Error::NoRightOnKey { .. }
            | Error::NotReadable(_)
            | Error::SuperuserOnly { .. }
            | Error::NotFormerOwner { .. }
            | Error::OwnedByAnother { .. }
            | Error::NotImporter
            | Error::ForeignKeyring(_)
            | Error::OtherDatabase(_)
            | Error::PlantedSetting(_)
            | Error::KekNotAllowed(_)
            | Error::SealingKekNotAllowed { .. }
            | Error::DefaultKekNotAllowed(_) => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::NoKey { .. }
            | Error::NoKeyHere { .. }
            | Error::NoIndexKey { .. }
            | Error::UnknownKey(_)
            | Error::UnknownKeyring(_)
            | Error::LooksSealed { .. }
            | Error::NotUnderKek { .. }
            | Error::NotShared { .. }
            | Error::NoRole(_)
            | Error::GoneGrantee(_) => ERRCODE_UNDEFINED_OBJECT,
            Error::PublicGrantee => ERRCODE_INVALID_GRANT_OPERATION,
            Error::KeyExists(_)
            | Error::KeyringConflict(_)
            | Error::KeyringFork { .. }
            | Error::KeyReplaced { .. } => ERRCODE_DUPLICATE_OBJECT,
            Error::KeyState { .. }
            | Error::KeyActive { .. }
            | Error::KeyPending { .. }
            | Error::KeyWaits { .. }
            | Error::KeyDestroyed { .. }
            | Error::KeyRevived(_)
            | Error::KeyringInUse { .. }
            | Error::Followed(_)
            | Error::FollowedByImport(_)
            | Error::BelowMinimum { .. }
            | Error::PastCryptoperiod { .. }
            | Error::LastWrap { .. }
            | Error::NeedsKeyToLoad { .. }
            | Error::StoresClear { .. }
            | Error::NotEnforced { .. }
            | Error::NeedsPreload(_)
            | Error::NoNodes
            | Error::NotCoordinator
            | Error::SyncsItself
            | Error::NotInstalled
            | Error::Outdated => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::KeyInUse { .. }
            | Error::CannotLook { .. }
            | Error::RowsUnseen { .. }
            | Error::ValuesLent { .. }
            | Error::KeyringShared { .. } => ERRCODE_OBJECT_IN_USE,
            Error::NotReadCommitted(_) => ERRCODE_INVALID_TRANSACTION_STATE,
            Error::SyncAfterWriting => ERRCODE_ACTIVE_SQL_TRANSACTION,
            Error::Shadowed { .. } => ERRCODE_DUPLICATE_FUNCTION,
            Error::InTransactionBlock(_) => ERRCODE_INVALID_TRANSACTION_TERMINATION,
            Error::KeyringsWouldBeLost(_) => ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Error::ChangedMeanwhile(_) => ERRCODE_T_R_SERIALIZATION_FAILURE,
            Error::Busy(_) | Error::TableLocked(_) => ERRCODE_LOCK_NOT_AVAILABLE,
            Error::NotTried => ERRCODE_IO_ERROR,
            Error::CannotWrite(_) => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Error::Raised(code, _) | Error::NoValue { code, .. } => *code,
            Error::At { error, .. } => error.sqlstate(),
            Error::Distributed { .. } | Error::TypeHasNoForm(_) | Error::ValueHasNoForm { .. } => {
                ERRCODE_FEATURE_NOT_SUPPORTED
            }
            Error::NotOfType(_) => ERRCODE_INVALID_TEXT_REPRESENTATION,
            Error::DoesNotOpen(_)
            | Error::NotSealed
            | Error::OtherPurpose(_)
            | Error::OtherThanSource { .. }
            | Error::PassedBy { .. } => ERRCODE_DATA_EXCEPTION,
            Error::InClear => ERRCODE_CHECK_VIOLATION,
            Error::OtherTable(_)
            | Error::BadArgument(_)
            | Error::BadDocument(_)
            | Error::NullArgument(_)
            | Error::ServerValue { .. }
            | Error::NoDefaultKek => ERRCODE_INVALID_PARAMETER_VALUE,
            Error::NotText | Error::NotUtf8 { untranslatable: false } => {
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE
            }
            Error::Untranslatable(_) | Error::NotUtf8 { untranslatable: true } => {
                ERRCODE_UNTRANSLATABLE_CHARACTER
            }
            Error::MalformedSealed | Error::SealedAsText { .. } => {
                ERRCODE_INVALID_TEXT_REPRESENTATION
            }
            Error::TooLong(_) | Error::ContextTooLong => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Error::NotATable { .. } | Error::IsPartition { .. } => ERRCODE_WRONG_OBJECT_TYPE,
            Error::NoRelation(_) => ERRCODE_UNDEFINED_TABLE,
            Error::TriggerMisuse { .. } => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            Error::NoColumn { .. } | Error::NoSuchColumn { .. } => ERRCODE_UNDEFINED_COLUMN,
            Error::GeneratedColumn { .. } => ERRCODE_GENERATED_ALWAYS,
            Error::NotSealable { .. } | Error::ColumnNotSealable { .. } => {
                ERRCODE_DATATYPE_MISMATCH
            }
            Error::InTheWay { is_used: true, .. } => ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Error::InTheWay { .. } | Error::NoConnections => ERRCODE_FEATURE_NOT_SUPPORTED,
            Error::ServerOption { .. } => ERRCODE_FDW_INVALID_OPTION_NAME,
            Error::Policy(error) => error.sqlstate(),
            Error::Index(error) => error.sqlstate(),
            Error::Search(error) => error.sqlstate(),
            Error::View(error) => error.sqlstate(),
            Error::Kms { error, .. } => error.kind.sqlstate(),
            Error::Corrupt(_) | Error::NoWrap { .. } => ERRCODE_DATA_CORRUPTED,
            Error::System(_) | Error::NotKept(_) => ERRCODE_SYSTEM_ERROR,
        }
    }

    /// The same, of the value at `place`. What the KMS said is about no value.
    pub fn at(self, place: Place) -> Error {
        match self {
            Error::Kms { .. } | Error::At { .. } => self,
            error => Error::At { place: Box::new(place), error: Box::new(error) },
        }
    }

    /// [`Self::sqlstate`] as its five characters.
    pub fn sqlstate_text(&self) -> String {
        let packed = self.sqlstate() as u32;
        // PostgreSQL packs six bits a character, counted from '0' (utils/elog.h).
        (0..5).map(|i| char::from((packed >> (6 * i) & 0x3f) as u8 + b'0')).collect()
    }

    /// Whether somebody lacked a right: a role here, or this server at the KMS.
    pub fn is_refusal(&self) -> bool {
        use PgSqlErrorCode::*;
        let code = self.sqlstate();
        code == ERRCODE_INSUFFICIENT_PRIVILEGE
            || code == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
    }

    /// What it is about: table, KEK, KMS request id, as far as it names them.
    pub fn subject(&self) -> (Option<String>, Option<String>, Option<String>) {
        match self {
            Error::NoRight { table, .. } | Error::NoRightOnKey { table, .. } => {
                (Some(table.clone()), None, None)
            }
            Error::KekNotAllowed(kek) | Error::DefaultKekNotAllowed(kek) => {
                (None, Some(kek.clone()), None)
            }
            Error::SealingKekNotAllowed { kek, table, .. } => {
                (Some(table.clone()), Some(kek.clone()), None)
            }
            Error::Kms { error, .. } => {
                (None, Some(error.kek.to_string()), error.request_id.clone())
            }
            Error::At { error, .. } => error.subject(),
            _ => (None, None, None),
        }
    }

    /// What happened besides, for the DETAIL line.
    fn detail(&self) -> Option<String> {
        match self {
            Error::Kms { error, asked_as, .. } => error.detail(asked_as.as_deref()),
            Error::NoRight { role, verb, .. } => Some(lacks(role, verb)),
            Error::NoRightOnKey { role, .. } => Some(lacks(role, "manage")),
            Error::KeyDestroyed { at, reason, .. } => Some(match reason {
                Some(reason) => format!("At {at}: {reason}"),
                None => format!("At {at}."),
            }),
            Error::KeyringsWouldBeLost(tables) => Some(lost(tables)),
            Error::InTheWay { obstacles, .. } => Some(obstacles.join("\n")),
            Error::KeyInUse { place, .. } | Error::ValuesLent { place, .. } => {
                Some(place.to_string())
            }
            Error::PassedBy { passed, .. } => Some(passed.to_string()),
            Error::Index(error) => error.detail(),
            Error::At { place, error } => Some(match error.detail() {
                Some(detail) => format!("{detail} {place}"),
                None => place.to_string(),
            }),
            _ => None,
        }
    }

    /// What to do, for the HINT line.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::NeedsPreload(_) => {
                "Add pgrx-example to shared_preload_libraries, and restart the server."
            }
            Error::NoNodes => {
                "Name them by the names that they have from CREATE SERVER: servers => ARRAY['north', 'south']."
            }
            Error::NoConnections => {
                "Install a build that has it: make install FEATURES=\"nodes ...\"."
            }
            Error::ServerOption { .. } => {
                "Take it away: ALTER SERVER ... OPTIONS (DROP ...), or ALTER USER MAPPING. Docs, functions.md, lists \
                 those that are."
            }
            Error::NoRight { role, verb, table, .. } => {
                return Some(format!(
                    "Whoever may manage the table's keys can give the right: SELECT \
                     envelope.grant_key({}, {}, '{verb}'). Rights on the table do not count.",
                    literal(table),
                    literal(role)
                ));
            }
            Error::NoRightOnKey { .. } => {
                "The owner of its table, superusers, and roles that were granted manage can: SELECT \
                 envelope.grant_key(relation, role, 'manage'). Rights on the table do not count."
            }
            Error::PublicGrantee => "Grant them to a role, and make other roles members of it.",
            Error::NotFormerOwner { .. } => {
                "Superusers can, and members of the role that owned the keyring's table when \
                 it was dropped."
            }
            Error::KeyringInUse { .. } => {
                "To let another table open values with it: envelope.share_keyring."
            }
            Error::Followed(_) => {
                "Do it there: the change then arrives here. If replication has ended (drop the \
                 subscription first): SELECT envelope.unfollow_keyring(relation)."
            }
            Error::FollowedByImport(_) => {
                "Do it there, and import again. To make and rotate them here instead: SELECT \
                 envelope.unfollow_keyring(relation)."
            }
            Error::NotImporter => {
                "Superusers can, and the owner of a table for that table: name it, as the argument relation."
            }
            Error::ForeignKeyring(_) => {
                "Superusers can, and whoever may manage the keys of the table that seals with it."
            }
            Error::OtherDatabase(_) => {
                "The key's encryption context does not have this database's name as \"database\". Superusers can \
                 import it."
            }
            Error::KeyReplaced { .. } => {
                "Two nodes have each made a key of this version, and values may be under both keys. To let \
                 replication go on, give the key that is here another version: delete its row, and insert \
                 it again as decrypt-only."
            }
            Error::Shadowed { function, schema, .. } => {
                return Some(format!(
                    "A superuser can take it away: DROP ROUTINE {function}. See that roles of no trust create nothing there: \
                     REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, and from those who were granted it."
                ));
            }
            Error::InTransactionBlock(_) => {
                "Call it as a statement of its own, outside BEGIN and COMMIT."
            }
            Error::KeyringsWouldBeLost(_) => {
                "What they sealed does not open without them. Save them with envelope.export_keyring(table); \
                 the keyring of a dropped table first needs a table: envelope.adopt_keyring. Then a superuser can \
                 SET envelope.allow_drop = on."
            }
            Error::NoWrap { .. } => {
                "Restore its rows of envelope.wrapped_key, from a backup or an exported keyring."
            }
            Error::PlantedSetting(_) => {
                "Only superusers and the server's configuration may set envelope.*. Remove it from \
                 PGOPTIONS or the connection string."
            }
            Error::NoKey { table, .. } if xact::is_in_recovery() => {
                return Some(format!(
                    "Its owner can make one on the primary: SELECT envelope.create_key({}). If there is \
                     one already, wait until replay has brought it here.",
                    literal(table)
                ));
            }
            Error::NoKey { table, .. } => {
                return Some(format!(
                    "Its owner can make one: SELECT envelope.create_key({}), in an ordinary \
                     transaction.",
                    literal(table)
                ));
            }
            Error::NoKeyHere { table, .. } => {
                return Some(format!(
                    "Make it on the coordinator: SELECT envelope.create_key({}). Then bring it to all nodes, by \
                     replication of the keys or by envelope.export_keyring and envelope.import_keyring.",
                    literal(table)
                ));
            }
            Error::UnknownKey(_) if xact::is_in_recovery() => {
                "Replay may be behind: try again when the standby has caught up. Otherwise the value \
                 comes from another database, or its key was not restored with it."
            }
            Error::UnknownKey(_) => {
                "Bring the key here first: restore the rows of schema envelope, or use \
                 envelope.export_keyring where the value was sealed and envelope.import_keyring here. \
                 On a standby or a subscriber, the key may be on its way."
            }
            Error::OtherPurpose(_) => {
                "A key that seals values makes no index terms, and an index key seals and opens no values. \
                 envelope.keys shows the purpose of each."
            }
            Error::NoIndexKey { .. } => {
                "envelope.add_index makes it with the first index of a column; envelope.keys shows which there are."
            }
            Error::KeyState { state: "retired", .. } => {
                "To let it open values again: envelope.unretire_key."
            }
            Error::KeyActive { is_orphaned: true, .. } => {
                "No table seals with its keyring any more. To lose on purpose what it sealed, in copies and \
                 backups too: envelope.destroy_key(..., shred => true)."
            }
            Error::KeyActive { is_index: true, .. } => {
                "First make the next version: envelope.rotate_index_key. To destroy all keys of the table, the \
                 active ones too: envelope.shred."
            }
            Error::KeyActive { .. } => {
                "First make the next version: envelope.rotate_key. To destroy all keys of the table, the \
                 active one too: envelope.shred."
            }
            Error::KeyPending { .. } => {
                "It is to seal next, and values may be under it elsewhere. First envelope.activate_key, then the \
                 version after it: envelope.rotate_key, or envelope.rotate_index_key."
            }
            Error::KeyWaits { .. } => {
                "Once it is on all nodes: SELECT envelope.activate_key(key_id)."
            }
            Error::KeyDestroyed { .. } => {
                "Its values are gone, unless a backup or a replica still has the wrapped key."
            }
            Error::KeyInUse { table, place, remedy, .. } => {
                return Some(remedy.hint(table, place));
            }
            Error::CannotLook { table, column, unseen } => return Some(unseen.hint(table, column)),
            Error::ValuesLent { .. } => {
                "First bring them to that table's own key: CALL envelope.reencrypt. Or let them no longer \
                 open there: envelope.unshare_keyring(..., force => true)."
            }
            Error::RowsUnseen { .. } => {
                "Only a query sees all of its rows. Count the values with envelope.census. If there are \
                 none: envelope.destroy_key(..., shred => true), or \
                 envelope.unshare_keyring(..., force => true)."
            }
            Error::Distributed { table, call } => {
                return Some(format!(
                    "Have it done on each shard, from the coordinator: {}. All nodes need the keys for that.",
                    on_placements(table, call)
                ));
            }
            Error::PassedBy { table, column, passed } => return Some(passed.hint(table, column)),
            Error::At { error, .. } => return error.hint(),
            Error::NoValue { has_dates: true, .. } => {
                "Write dates as YYYY-MM-DD, whatever DateStyle says."
            }
            Error::KeyringShared { .. } => {
                "That table's values would be lost as well. First bring them to a key of that table's own: \
                 CALL envelope.reencrypt. Then: envelope.unshare_keyring."
            }
            Error::IsPartition { .. } => {
                "Name the topmost table. All its partitions share its keys."
            }
            Error::BelowMinimum { .. } => {
                "The value was restored or replayed, or never sealed anew. To let such values open again: \
                 envelope.set_minimum_version."
            }
            Error::PastCryptoperiod { .. } => {
                "Rotate it: SELECT envelope.rotate_key(relation). To have that done in time: the limit \
                 rotate_after of envelope.set_limits."
            }
            Error::LastWrap { .. } => {
                "First wrap the table's keys by another KEK: envelope.add_kek."
            }
            Error::NotUnderKek { .. } => "envelope.keys shows which KEKs wrap a table's keys.",
            Error::ChangedMeanwhile(_) => "Nothing was done. Do it again.",
            Error::NotTried => "What was done stays done. Call it again when the KMS is back.",
            Error::DoesNotOpen(_) => {
                "It was changed or cut, or it was sealed with another context (the trigger uses the empty \
                 one; if a policy binds the column to others, the one that envelope.row_context gives). Keep the value: with its own context it may still open."
            }
            Error::NotSealed => {
                "envelope_decrypt opens what envelope_encrypt or the trigger has sealed. To tell such values \
                 from others: envelope.is_sealed."
            }
            Error::OtherTable(_) => {
                "envelope.inspect(value) names that table. Open the value with it, or let this table \
                 open with its keyring: envelope.share_keyring. If that table was dropped: \
                 envelope.adopt_keyring."
            }
            Error::LooksSealed { .. } => {
                "Bring the key here first: restore the rows of schema envelope, or use \
                 envelope.export_keyring where the value was sealed and envelope.import_keyring here. On a \
                 subscriber, wait until the key has arrived. Only if you know that these bytes are plaintext, \
                 and no sealed value: envelope_encrypt seals any bytes."
            }
            Error::OtherThanSource { .. } => {
                "A program wrote one of them past the trigger that keeps both the same. Find out which one is right, \
                 and set the other."
            }
            Error::SealedAsText { .. } => {
                "Write it as it was read, as bytes or as \\x and lower-case hexadecimal digits: sealed once more it \
                 would open to this text. Only if that is what you want: envelope_encrypt_text seals any text."
            }
            Error::MalformedSealed => {
                "It was cut or changed, or it is written in another form than the one in which it was read: \\x \
                 and lower-case hexadecimal digits. Bytes can be cast: ...::bytea. Only if you know that it is \
                 plaintext: envelope_encrypt_text seals any text."
            }
            Error::NotText => {
                return Some(format!(
                    "It was sealed as bytes. Open it with envelope_decrypt. If it is text that was \
                     written into a bytea column, it is in the encoding of the database where that was \
                     done: convert_from(envelope_decrypt(...), '{}'), or the name of that encoding.",
                    encoding::likely_of_bytes()
                ));
            }
            Error::TypeHasNoForm(_) => {
                "Cast it to a type that has one, such as text or jsonb. docs/format.md lists them."
            }
            Error::NotOfType(_) => {
                "It was sealed as another type, or as bytes. Name the type that was sealed in \
                 envelope_decrypt_as, or open it with envelope_decrypt: that gives its bytes."
            }
            Error::Untranslatable("opened value") => {
                "Open it with envelope_decrypt: that gives its bytes, in UTF-8."
            }
            Error::NotATable { shows, .. } if shows.is_empty() => {
                "Only permanent tables have data keys, partitioned ones too. Name the table that the values \
                 come from."
            }
            Error::NotATable { shows, .. } => {
                return Some(format!(
                    "Only permanent tables have data keys. Name the table that the values come from: {}.",
                    some_of(shows)
                ));
            }
            Error::SuperuserOnly { hint, .. } => hint,
            Error::BadDocument(_) => {
                "Give what envelope.export_keyring gave, whole and unchanged, of a release that is not later than this one."
            }
            Error::KekNotAllowed(_) | Error::DefaultKekNotAllowed(_) => {
                "A superuser can add it to envelope.allowed_keks. A list that is set replaces the default, so \
                 it must name all KEKs that are in use."
            }
            Error::SealingKekNotAllowed { .. } => {
                "A superuser can add it to envelope.allowed_keks, which must name all KEKs that are in use. \
                 Or move the table's keys to another KEK: SELECT * FROM envelope.rewrap(kek_from, kek_to, \
                 relation)."
            }
            Error::NoDefaultKek => {
                "Data keys of this database are wrapped by a KMS already, so no key file is made. Set \
                 envelope.default_kek, or name a KEK in envelope.create_key."
            }
            Error::TriggerMisuse { function: "envelope_mirror", .. } => {
                "Write: CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION \
                 envelope_mirror('sealed_column=source_column', ...)."
            }
            Error::TriggerMisuse { .. } => {
                "Write: CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION \
                 envelope_seal('column', 'sealed_column=source_column', ...)."
            }
            Error::NoColumn { .. } => {
                "Look for a typo: case counts. If the column was renamed, drop the trigger and create it with the new name."
            }
            Error::KeyringFork { .. } => {
                "Choose the side that makes the keys from now on. On the other one, to go on sealing as here and open what \
                 was sealed there: envelope.import_keyring(..., follow => true, resolve => 'keep-both')."
            }
            Error::GeneratedColumn { .. } => {
                "PostgreSQL computes it after the trigger, and would store it in clear. Use an ordinary \
                 column, and compute it in a trigger whose name sorts before this one's."
            }
            Error::NotSealable { .. } | Error::ColumnNotSealable { .. } => {
                "Sealed columns are of type envelope.sealed or bytea, or of a domain over one of them. To make this column \
                 one: envelope.protect, or the steps that envelope.plan prints."
            }
            Error::InTheWay { remedies, .. } if remedies.is_empty() => return None,
            Error::InTheWay { remedies, .. } => {
                return Some(format!(
                    "What each still needs, over the opened value, make anew afterwards. First: {}.",
                    remedies.join("; ")
                ));
            }
            Error::Policy(error) => return error.hint(),
            Error::Index(error) => return error.hint(),
            Error::Search(error) => return error.hint(),
            Error::View(error) => return error.hint(),
            Error::Kms { error, .. } => return error.hint.as_ref().map(ToString::to_string),
            Error::NotInstalled => "Install it: CREATE EXTENSION \"pgrx-example\".",
            Error::Outdated => {
                "Update it: ALTER EXTENSION \"pgrx-example\" UPDATE. Until then values open, and are sealed \
                 under the keys that are there."
            }
            _ => return None,
        };
        Some(hint.to_string())
    }
}

/// The error itself names the KEK.
fn said_by_kms(failed: &str, error: &KmsError) -> String {
    match failed {
        "" => format!("could not use {error}"),
        failed => format!("could not {failed}: {error}"),
    }
}

fn lacks(role: &str, verb: &str) -> String {
    format!("Role \"{role}\" lacks the right {verb}.")
}

/// How many keyrings of which tables, five of them by name.
fn lost(tables: &[String]) -> String {
    let count = tables.len();
    let keyrings = if count == 1 { "1 keyring".into() } else { format!("{count} keyrings") };
    format!("{keyrings} would be lost, of: {}.", some_of(tables))
}

/// Five of the tables, by name.
fn some_of(tables: &[String]) -> String {
    let named = tables.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
    if tables.len() > 5 { format!("{named}, …") } else { named }
}

/// The statement that makes `call` for every placement of a distributed table, replicas too, which stands there as `%L`.
fn on_placements(table: &str, call: &str) -> String {
    format!("SELECT * FROM run_command_on_placements({}, {})", literal(table), literal(call))
}

/// As a name that SQL reads.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As a string that SQL reads.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl From<PolicyError> for Error {
    #[cold]
    fn from(error: PolicyError) -> Error {
        Error::Policy(Box::new(error))
    }
}

impl From<IndexError> for Error {
    #[cold]
    fn from(error: IndexError) -> Error {
        Error::Index(Box::new(error))
    }
}

impl From<SearchError> for Error {
    #[cold]
    fn from(error: SearchError) -> Error {
        Error::Search(Box::new(error))
    }
}

impl From<ViewError> for Error {
    #[cold]
    fn from(error: ViewError) -> Error {
        Error::View(Box::new(error))
    }
}

impl From<Undone<Error>> for Error {
    fn from(undone: Undone<Error>) -> Error {
        match undone {
            Undone::Failed(error) => error,
            Undone::Raised(code, message) => Error::Raised(code, message),
        }
    }
}

impl From<Damage> for Error {
    fn from(Damage { code, message }: Damage) -> Error {
        Error::Raised(code, message)
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        copy_line::leave_out_copy_line();
        if let Some(hear) = HEARS.get() {
            hear(&error);
        }
        let message = shown(error.to_string());
        let mut report = ErrorReport::new(error.sqlstate(), message, function_name!());
        if let Some(detail) = error.detail() {
            report = report.set_detail(shown(detail));
        }
        if let Some(hint) = error.hint() {
            report = report.set_hint(shown(hint));
        }
        report
    }
}
