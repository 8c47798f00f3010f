//! Thin safe wrappers over `pg_sys`. Knows nothing of keys, catalogs or the KMS.

pub mod acl;
pub mod array;
pub mod call;
pub mod clock;
pub mod datum;
pub mod encoding;
pub mod guc;
pub mod json;
pub mod lock;
pub mod owner;
pub mod relation;
pub mod report;
pub mod subxact;
pub mod trigger;
pub mod varlena;
pub mod wait;
pub mod wire;
pub mod xact;
