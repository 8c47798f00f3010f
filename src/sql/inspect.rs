//! `envelope.is_sealed`: the shape of a value, for CHECK constraints. It reads no catalog, since
//! such a CHECK would break a restore.

use pgrx::pg_extern;

use crate::pg::varlena::Varlena;

#[pg_extern(sql = false)]
fn envelope_is_sealed(value: Varlena<'_>) -> bool {
    envelope::header::is_sealed(&value)
}
