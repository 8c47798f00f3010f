//! Why a server refused, and what that means here.
//!
//! Source: KMIP Specification 1.4, section 9.1.3.2.29, and 2.1, section 11.47 (Result Reason). Servers differ much in
//! which of them they give: the common ones are told apart by what is asked next (`session`).

use super::super::Kind;
use super::message::Operation;

const NO_SUCH_KEY: &str = "Is it the key's unique identifier, as the server gives it, and not its name? Destroyed \
    and archived keys do not come back by themselves.";
const NOT_LET_IN: &str = "Does the server know the certificate in envelope.kmip_client_cert_file, and is its user enabled?";
const NOT_ALLOWED: &str = "Let the user of the client certificate Encrypt and Decrypt with this key; and is the key \
    active?";
const UNFIT_KEY: &str = "Name an active AES-256 key whose usage mask has Encrypt and Decrypt (SELECT envelope.check_kek(…) looks).";
const UNFIT_SERVER: &str = "The server must encrypt and decrypt by itself, with AES-GCM, associated data and a tag of \
    16 bytes (KMIP 1.4 or later).";
const USED_UP: &str =
    "Raise the key's Usage Limits, or move to another KEK (envelope.add_kek, envelope.rewrap).";
const BUSY: &str =
    "Wait, or raise the server's limits; a longer envelope.cache_ttl asks it less often.";
const BROKEN: &str = "Look into the KMIP server's log.";
const NO_WRAP: &str =
    "The wrap was changed, or belongs to another key or another encryption context.";

/// The kind and the hint for a refusal of `operation`. What a server gives when it gives no reason, or
/// only that of a general failure, may be the wrap's fault in Decrypt, and is the server's else.
pub(super) fn meaning(reason: Option<u32>, operation: Operation) -> (Kind, &'static str) {
    let is_decrypt = operation == Operation::Decrypt;
    match reason {
        // Item and object not found, object destroyed, archived.
        Some(0x01 | 0x37 | 0x36 | 0x0D) => (Kind::KeyState, NO_SUCH_KEY),
        // Authentication not successful, attestation required, failed, bad password, invalid ticket.
        Some(0x03 | 0x14 | 0x15 | 0x19 | 0x25) => (Kind::Credentials, NOT_LET_IN),
        // Permission denied, not authorised, constraint violation.
        Some(0x0C | 0x39 | 0x4B) => (Kind::Denied, NOT_ALLOWED),
        // Wrong key lifecycle state, incompatible usage mask, illegal and invalid object type, key
        // value not present, illegal operation.
        Some(0x43 | 0x29 | 0x28 | 0x30 | 0x13 | 0x0B) => (Kind::KeyState, UNFIT_KEY),
        // Cryptographic failure.
        Some(0x0A) if is_decrypt => (Kind::InvalidWrap, NO_WRAP),
        // Operation and feature not supported, invalid field, missing data, bad and unsupported
        // cryptographic parameters, missing IV, unsupported version, unknown enumeration and tag.
        Some(0x05 | 0x08 | 0x07 | 0x06 | 0x0A | 0x24 | 0x3E | 0x34 | 0x3F | 0x3B | 0x3D) => {
            (Kind::KeyState, UNFIT_SERVER)
        }
        // Usage limit exceeded.
        Some(0x1A) => (Kind::KeyState, USED_UP),
        // Server limit exceeded.
        Some(0x3A) => (Kind::Throttled, BUSY),
        // Invalid message, response too large, cancelled, internal error, protection storage
        // unavailable: general, private, public.
        Some(0x04 | 0x02 | 0x09 | 0x2A | 0x44 | 0x48 | 0x49) => (Kind::Unavailable, BROKEN),
        // General failure, and all else.
        _ if is_decrypt => (Kind::InvalidWrap, NO_WRAP),
        _ => (Kind::Unavailable, BROKEN),
    }
}

/// Whether the reason leaves open if the wrap or the server is at fault.
pub(super) fn is_open(reason: Option<u32>) -> bool {
    reason.is_none_or(|reason| name(reason).is_none() || reason == 0x100)
}

/// Whether asking again can help.
pub(super) fn is_passing(reason: Option<u32>) -> bool {
    matches!(reason, Some(0x3A | 0x2A | 0x44 | 0x48 | 0x49))
}

/// Its name in the specification, where it has one.
pub(super) fn name(reason: u32) -> Option<&'static str> {
    Some(match reason {
        0x01 => "Item Not Found",
        0x02 => "Response Too Large",
        0x03 => "Authentication Not Successful",
        0x04 => "Invalid Message",
        0x05 => "Operation Not Supported",
        0x06 => "Missing Data",
        0x07 => "Invalid Field",
        0x08 => "Feature Not Supported",
        0x09 => "Operation Canceled By Requester",
        0x0A => "Cryptographic Failure",
        0x0B => "Illegal Operation",
        0x0C => "Permission Denied",
        0x0D => "Object Archived",
        0x13 => "Key Value Not Present",
        0x14 => "Attestation Required",
        0x15 => "Attestation Failed",
        0x19 => "Invalid Ticket",
        0x1A => "Usage Limit Exceeded",
        0x24 => "Bad Cryptographic Parameters",
        0x25 => "Bad Password",
        0x28 => "Illegal Object Type",
        0x29 => "Incompatible Cryptographic Usage Mask",
        0x2A => "Internal Server Error",
        0x30 => "Invalid Object Type",
        0x34 => "Missing Initialization Vector",
        0x36 => "Object Destroyed",
        0x37 => "Object Not Found",
        0x39 => "Not Authorised",
        0x3A => "Server Limit Exceeded",
        0x3B => "Unknown Enumeration",
        0x3D => "Unknown Tag",
        0x3E => "Unsupported Cryptographic Parameters",
        0x3F => "Unsupported Protocol Version",
        0x43 => "Wrong Key Lifecycle State",
        0x44 => "Protection Storage Unavailable",
        0x48 => "Private Protection Storage Unavailable",
        0x49 => "Public Protection Storage Unavailable",
        0x4B => "Constraint Violation",
        0x100 => "General Failure",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each reason, what it is in Decrypt, and what in Encrypt where that differs.
    const MEANINGS: [(u32, Kind, Option<Kind>); 39] = [
        (0x01, Kind::KeyState, None),
        (0x02, Kind::Unavailable, None),
        (0x03, Kind::Credentials, None),
        (0x04, Kind::Unavailable, None),
        (0x05, Kind::KeyState, None),
        (0x06, Kind::KeyState, None),
        (0x07, Kind::KeyState, None),
        (0x08, Kind::KeyState, None),
        (0x09, Kind::Unavailable, None),
        (0x0A, Kind::InvalidWrap, Some(Kind::KeyState)),
        (0x0B, Kind::KeyState, None),
        (0x0C, Kind::Denied, None),
        (0x0D, Kind::KeyState, None),
        (0x13, Kind::KeyState, None),
        (0x14, Kind::Credentials, None),
        (0x15, Kind::Credentials, None),
        (0x19, Kind::Credentials, None),
        (0x1A, Kind::KeyState, None),
        (0x24, Kind::KeyState, None),
        (0x25, Kind::Credentials, None),
        (0x28, Kind::KeyState, None),
        (0x29, Kind::KeyState, None),
        (0x2A, Kind::Unavailable, None),
        (0x30, Kind::KeyState, None),
        (0x34, Kind::KeyState, None),
        (0x36, Kind::KeyState, None),
        (0x37, Kind::KeyState, None),
        (0x39, Kind::Denied, None),
        (0x3A, Kind::Throttled, None),
        (0x3B, Kind::KeyState, None),
        (0x3D, Kind::KeyState, None),
        (0x3E, Kind::KeyState, None),
        (0x3F, Kind::KeyState, None),
        (0x43, Kind::KeyState, None),
        (0x44, Kind::Unavailable, None),
        (0x48, Kind::Unavailable, None),
        (0x49, Kind::Unavailable, None),
        (0x4B, Kind::Denied, None),
        (0x100, Kind::InvalidWrap, Some(Kind::Unavailable)),
    ];

    #[test]
    fn each_reason_has_its_kind_and_hint() {
        for (reason, in_decrypt, in_encrypt) in MEANINGS {
            let (kind, hint) = meaning(Some(reason), Operation::Decrypt);
            assert_eq!(kind, in_decrypt, "{reason:#x}");
            assert!(!hint.is_empty());
            let (kind, _) = meaning(Some(reason), Operation::Encrypt);
            assert_eq!(kind, in_encrypt.unwrap_or(in_decrypt), "{reason:#x}");
            assert!(name(reason).is_some(), "{reason:#x}");
        }
        // Those that have a name are all in the table.
        let named = (0..0x200).filter(|reason| name(*reason).is_some()).count();
        assert_eq!(named, MEANINGS.len());
    }

    #[test]
    fn what_is_unknown_is_the_wraps_or_the_servers() {
        for reason in [None, Some(0x4E), Some(0x8000_0001), Some(0x100)] {
            assert_eq!(meaning(reason, Operation::Decrypt).0, Kind::InvalidWrap);
            assert_eq!(meaning(reason, Operation::Encrypt).0, Kind::Unavailable);
            assert!(is_open(reason) && !is_passing(reason));
        }
        assert!(!is_open(Some(0x0A)) && !is_open(Some(0x0C)));
        assert!(is_passing(Some(0x3A)) && !is_passing(Some(0x0C)));
    }
}
