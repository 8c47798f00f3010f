//! Thin safe wrappers over `pg_sys`. Knows nothing of keys, catalogs or the KMS.

pub mod acl;
pub mod array;
pub mod call;
pub mod clock;
pub mod column;
pub mod datum;
pub mod discard;
pub mod enabled;
pub mod encoding;
pub mod guc;
mod heap;
pub mod hook;
pub mod json;
pub mod lock;
pub mod owner;
pub mod relation;
pub mod report;
pub mod spi;
pub mod state;
pub mod subxact;
mod syscache;
pub mod table_scan;
pub mod trigger;
pub mod varlena;
pub mod wait;
pub mod wire;
pub mod xact;
