//! The `envelope/1` byte format: what stands at rest, and nothing else.
//!
//! Pure: no PostgreSQL, no catalog, no KMS, no random numbers (nonces and keys come in as arguments), no unsafe code of its own (the cipher's
//! is in the crate `gcm`).
//! A sealed value is `F7 E1` ‖ key id (16) ‖ nonce (24) ‖ ciphertext ‖ tag (16); the cipher is XAES-256-GCM (C2SP);
//! every key comes out of [`mod@derive`] by HKDF-Expand (RFC 5869). These bytes stay readable for ever, so whatever
//! changes them is a new suite with new labels.
//!
//! | module | what it knows |
//! |---|---|
//! | [`secret`] | a data key in memory |
//! | [`mod@derive`] | every key derivation there is |
//! | [`header`] | the layout of a sealed value, key ids |
//! | [`xaes`] | the cipher |
//! | [`session`] | nonces of values sealed one after the other |
//! | [`value`] | seal and open a value |
//! | [`context`] | the context that binds a value to its row |
//! | [`wrap`] | a data key under a KEK: one that lives in a file, or one that never leaves its token or server |
//! | [`search`] | terms and tokens by which sealed values are found |
//! | [`text`] | a value of a sealed column as text |
//! | [`forms`] | the texts that typed values are sealed as |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod associated;
pub mod context;
pub mod derive;
pub mod forms;
pub mod header;
pub mod index_key;
mod key_id;
pub mod lease;
pub mod search;
pub mod secret;
pub mod session;
pub mod text;
pub mod value;
pub mod wrap;
pub mod xaes;

pub use header::{KeyId, NotSealed, Sealed};
pub use index_key::IndexKeys;
pub use secret::{DataKey, WrongLength};
pub use session::Session;
pub use value::{Opening, SealError, SealKey};
pub use wrap::{EncryptionContext, FileKek, UnwrapError};
pub use xaes::DoesNotOpen;
