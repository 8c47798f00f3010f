//! One line in the server's log for every event of a key: who, what, which table, which key, which
//! KEK, and the number of the request at the KMS, by which its own log can be joined.
//!
//! A line is [`PREFIX`] and a JSON object in ASCII, whatever the database's encoding. It goes to the
//! log alone, without the statement and its context, which may hold plaintext. It says what was
//! done, at the moment it was; the transaction may still roll back.

mod counted;

use envelope::header::KeyId;
use pgrx::pg_sys;
use serde::Serialize;
use uuid::Uuid;

use crate::error::Error;
use crate::pg::json::in_ascii;
use crate::pg::{acl, guc, report};
use crate::settings::{self, AuditLevel};

pub use counted::{end_statement, opened, searched};

/// What every line begins with.
const PREFIX: &str = "envelope audit: ";

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A version of a data key that was pending seals from here on.
    Activate,
    /// A column was given a search index.
    AddIndex,
    /// A data key was wrapped by a further KEK.
    AddKek,
    /// A table was given the keyring of a dropped one.
    Adopt,
    /// Keys or a KEK were tried, to see whether they can be used.
    Check,
    /// A data key was made.
    Create,
    /// The wraps of a data key were deleted.
    Destroy,
    /// A column with a policy was dropped.
    DropColumn,
    /// A search index was ended.
    DropIndex,
    /// A wrap of a data key was deleted, another of it being there.
    DropKek,
    /// A keyring left as JSON, its data keys wrapped.
    Export,
    /// A table's keys come by import from here on, and are made where they come from.
    Follow,
    /// The keyring of a dropped table was given up, with all its data keys.
    Forget,
    /// A right on keys was given.
    Grant,
    /// A keyring came as JSON.
    Import,
    /// Values were opened: how many in one statement.
    Open,
    /// A right was missing, here or at the KMS.
    Refuse,
    /// The policy of a column was ended.
    DropPolicy,
    /// A table that sealed, or had policies, was dropped. Its keyring stays.
    DropTable,
    /// A column was noted as holding sealed values.
    RegisterColumn,
    /// A data key no longer opens what it has sealed, for now.
    Retire,
    /// A right on keys was taken back.
    Revoke,
    /// A wrap of a data key was made anew, by the same KEK or another.
    Rewrap,
    /// The next version of a data key was made.
    Rotate,
    /// Terms were made to ask search indexes for: how many in one statement.
    Search,
    /// The limits of a table's keys were changed.
    SetLimits,
    /// It was said what a column is.
    SetPolicy,
    /// Values under older versions of a table's key are refused from here on.
    SetMinimumVersion,
    /// A table may open with the keyring of another.
    Share,
    /// A table's keys no longer come from elsewhere, and are made here.
    Unfollow,
    /// A retired data key opens again.
    Unretire,
    /// A column is no longer noted as holding sealed values.
    UnregisterColumn,
    /// A table no longer opens with the keyring of another.
    Unshare,
    /// A KMS, or a key file, unwrapped a data key.
    Unwrap,
}

impl Action {
    /// From which setting of `envelope.audit` on it is told.
    fn level(self) -> AuditLevel {
        match self {
            Action::Refuse => AuditLevel::Off,
            Action::Open | Action::Search => AuditLevel::All,
            _ => AuditLevel::Ddl,
        }
    }
}

/// A line. Fields that an event does not have are left out of it.
#[derive(Serialize)]
pub struct Event {
    event: Action,
    database: String,
    /// Whose rights counted.
    role: String,
    /// Who logged in.
    login_role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyring_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kek: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kms_request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grantee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Of the error that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// That error's message, or a change's new value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    /// By the current role, with nothing else said yet.
    pub fn new(event: Action) -> Event {
        Event {
            event,
            database: guc::current_database(),
            role: acl::display_role(acl::current_role()),
            login_role: acl::display_role(acl::login_role()),
            table: None,
            keyring_id: None,
            key_id: None,
            kek: None,
            kms_request_id: None,
            grantee: None,
            verb: None,
            count: None,
            sqlstate: None,
            detail: None,
        }
    }

    /// As a JSON object, without the fields that it does not have.
    pub fn json(&self) -> String {
        // Nothing here can fail to be JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn line(&self) -> String {
        format!("{PREFIX}{}", in_ascii(&self.json()))
    }
}

/// Tells of `action`, if `envelope.audit` asks for it: only then is `fill` called.
pub fn log(action: Action, fill: impl FnOnce(&mut Event)) {
    if settings::audit() >= action.level() {
        let mut event = Event::new(action);
        fill(&mut event);
        tell(&event);
    }
}

/// As [`log`], of what is at hand.
pub fn tell(event: &Event) {
    if settings::audit() >= event.event.level() {
        report::to_log(event.line());
    }
}

/// Tells of an error that is a refusal: for want of a right here, or one of the server's at the KMS.
/// Always, whatever `envelope.audit` says.
pub fn refused(error: &Error) {
    if error.is_refusal() {
        log(Action::Refuse, |event| {
            let (table, kek, request_id) = error.subject();
            event.table = table;
            event.kek = kek;
            event.kms_request_id = request_id;
            event.sqlstate = Some(error.sqlstate_text());
            event.detail = Some(error.to_string());
        });
    }
}

/// As it stands in a line.
pub fn key(key_id: KeyId) -> Option<String> {
    Some(key_id.to_string())
}

/// As it stands in a line.
pub fn keyring(keyring_id: Uuid) -> Option<String> {
    Some(keyring_id.to_string())
}

/// As it stands in a line.
pub fn role(role: pg_sys::Oid) -> Option<String> {
    Some(acl::display_role(role))
}
