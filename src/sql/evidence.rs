//! What of the evidence for an auditor SQL cannot see: the library itself.

use pgrx::iter::TableIterator;
use pgrx::{name, pg_extern};

use crate::{kms, settings};

#[pg_extern(sql = false)]
fn envelope_library() -> TableIterator<
    'static,
    (name!(version, &'static str), name!(kms, Vec<&'static str>), name!(cryptoperiod, Option<i64>)),
> {
    let cryptoperiod = settings::cryptoperiod().and_then(|seconds| i64::try_from(seconds).ok());
    TableIterator::once((env!("CARGO_PKG_VERSION"), kms::built_in(), cryptoperiod))
}
