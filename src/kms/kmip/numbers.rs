//! Tags and numbers of KMIP that are used here.
//!
//! Source: KMIP Specification 1.4, section 9.1.3 (the same numbers in 2.0 and 2.1, section 11).

use super::ttlv::Tag;

pub(super) const ATTRIBUTE: Tag = Tag(0x42_0008);
pub(super) const ATTRIBUTE_NAME: Tag = Tag(0x42_000A);
pub(super) const ATTRIBUTE_VALUE: Tag = Tag(0x42_000B);
pub(super) const BATCH_COUNT: Tag = Tag(0x42_000D);
pub(super) const BATCH_ITEM: Tag = Tag(0x42_000F);
pub(super) const BLOCK_CIPHER_MODE: Tag = Tag(0x42_0011);
pub(super) const CRYPTOGRAPHIC_ALGORITHM: Tag = Tag(0x42_0028);
pub(super) const CRYPTOGRAPHIC_LENGTH: Tag = Tag(0x42_002A);
pub(super) const CRYPTOGRAPHIC_PARAMETERS: Tag = Tag(0x42_002B);
pub(super) const CRYPTOGRAPHIC_USAGE_MASK: Tag = Tag(0x42_002C);
pub(super) const IV_COUNTER_NONCE: Tag = Tag(0x42_003D);
pub(super) const MAXIMUM_RESPONSE_SIZE: Tag = Tag(0x42_0050);
pub(super) const OBJECT_TYPE: Tag = Tag(0x42_0057);
pub(super) const OPERATION: Tag = Tag(0x42_005C);
pub(super) const PROTOCOL_VERSION: Tag = Tag(0x42_0069);
pub(super) const PROTOCOL_VERSION_MAJOR: Tag = Tag(0x42_006A);
pub(super) const PROTOCOL_VERSION_MINOR: Tag = Tag(0x42_006B);
pub(super) const REQUEST_HEADER: Tag = Tag(0x42_0077);
pub(super) const REQUEST_MESSAGE: Tag = Tag(0x42_0078);
pub(super) const REQUEST_PAYLOAD: Tag = Tag(0x42_0079);
pub(super) const RESPONSE_HEADER: Tag = Tag(0x42_007A);
pub(super) const RESPONSE_MESSAGE: Tag = Tag(0x42_007B);
pub(super) const RESPONSE_PAYLOAD: Tag = Tag(0x42_007C);
pub(super) const RESULT_MESSAGE: Tag = Tag(0x42_007D);
pub(super) const RESULT_REASON: Tag = Tag(0x42_007E);
pub(super) const RESULT_STATUS: Tag = Tag(0x42_007F);
pub(super) const STATE: Tag = Tag(0x42_008D);
pub(super) const UNIQUE_IDENTIFIER: Tag = Tag(0x42_0094);
pub(super) const DATA: Tag = Tag(0x42_00C2);
pub(super) const TAG_LENGTH: Tag = Tag(0x42_00CE);
pub(super) const AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA: Tag = Tag(0x42_00FE);
pub(super) const AUTHENTICATED_ENCRYPTION_TAG: Tag = Tag(0x42_00FF);
pub(super) const SERVER_CORRELATION_VALUE: Tag = Tag(0x42_0106);
pub(super) const SENSITIVE: Tag = Tag(0x42_0120);
pub(super) const EXTRACTABLE: Tag = Tag(0x42_0122);
pub(super) const ATTRIBUTES: Tag = Tag(0x42_0125);

/// Cryptographic Algorithm.
pub(super) const AES: u32 = 3;
/// Block Cipher Mode.
pub(super) const GCM: u32 = 9;
/// Object Type.
pub(super) const SYMMETRIC_KEY: u32 = 2;
/// State.
pub(super) const ACTIVE: u32 = 2;
/// Bits of Cryptographic Usage Mask.
pub(super) const MAY_ENCRYPT: i32 = 0x04;
pub(super) const MAY_DECRYPT: i32 = 0x08;
pub(super) const MAY_EXPORT: i32 = 0x40;
