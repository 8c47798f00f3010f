//! Arguments: which must be there, and how long they may be. Whatever anybody may pass goes into Rust's memory
//! only within a bound: an allocation that fails there ends the process, not the statement.

use std::ffi::CString;

use envelope::wrap::EncryptionContext;

use crate::catalog::rows::parse_context;
use crate::error::{Error, Result};
use crate::pg::array::NameArray;
use crate::pg::encoding;
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;

pub use crate::values::LONGEST_CONTEXT;

/// AWS KMS takes an encryption context of at most 8 KiB.
const LONGEST_KMS_CONTEXT: usize = 8192;

/// Bytes of a jsonb: more than any context or limits have.
pub const LONGEST_JSONB: usize = 64 * 1024;

/// Bytes of a KEK's URI: more than a path or an ARN has.
const LONGEST_URI: usize = 4096;

/// Bytes of a reason: a sentence or two, and a ticket's number.
const LONGEST_REASON: usize = 4096;

/// The value of an argument that must not be NULL.
pub fn required<T>(argument: Option<T>, name: &'static str) -> Result<T> {
    // Not `ok_or`, which makes and drops the error for every argument of every row.
    let Some(argument) = argument else { return Err(Error::NullArgument(name)) };
    Ok(argument)
}

/// Names of servers from CREATE SERVER. None at all would ask nobody, and find nothing wrong.
pub fn server_names(names: NameArray) -> Result<Vec<CString>> {
    match names {
        NameArray::TooLong => Err(Error::BadArgument("servers is too long".into())),
        NameArray::Elements(names) if names.is_empty() => {
            Err(Error::BadArgument("servers must name at least one".into()))
        }
        NameArray::Elements(names) => {
            names.into_iter().map(|name| required(name, "servers")).collect()
        }
    }
}

/// The argument `kms_context`.
pub fn given_context(json: Option<Jsonb>) -> Result<Option<EncryptionContext>> {
    match json.map(|json| json.text(LONGEST_JSONB)) {
        None => Ok(None),
        Some(Some(json)) if json.len() <= LONGEST_KMS_CONTEXT => parse_context(&json).map(Some),
        Some(_) => Err(too_long("kms_context", LONGEST_KMS_CONTEXT)),
    }
}

/// A KEK's URI.
pub fn uri_text(uri: &[u8]) -> Result<String> {
    bounded_text(uri, "a KEK's URI", LONGEST_URI)
}

/// Text for Rust's memory, which is not to hold as much as anybody likes.
pub fn bounded_text(text: &[u8], what: &str, longest: usize) -> Result<String> {
    if text.len() > longest {
        return Err(too_long(what, longest));
    }
    Ok(encoding::to_string(text))
}

/// The error of an argument that has more.
pub fn too_long(what: &str, longest: usize) -> Error {
    Error::BadArgument(format!("{what} must have at most {longest} bytes"))
}

/// A reason that may be left out.
pub fn given_reason(reason: Option<Varlena<'_>>) -> Result<Option<String>> {
    reason.map(|reason| reason_text(&reason)).transpose()
}

/// What will stand in the catalog for years must say something.
pub fn reason_text(reason: &[u8]) -> Result<String> {
    let reason = bounded_text(reason, "reason", LONGEST_REASON)?;
    if reason.trim().is_empty() {
        return Err(Error::BadArgument("reason must not be empty".into()));
    }
    Ok(reason)
}
