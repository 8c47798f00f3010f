//! Is a value, or an index term, still under this key? Headers only are read, in tables, their partitions and copies.

pub mod columns;
mod foreign;
pub mod in_use;
pub mod look;
pub mod terms;
