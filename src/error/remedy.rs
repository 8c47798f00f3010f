//! How values come to another key, by where they stand.

use envelope::header::KeyId;
use uuid::Uuid;

use super::{Place, identifier, literal};

/// What brings the values of a table to another key.
#[derive(Debug, Clone, Copy)]
pub enum Remedy {
    /// It uses their keyring, and has a key of its own to bring them to.
    Reencrypt,
    /// It opens with their keyring, and seals with none.
    MakeKey,
    /// It does not use the keyring of their `key`; whether it has no key of its own.
    Share { key: KeyId, makes_key: bool },
    /// Nor does any table seal with it.
    Adopt(Uuid),
    /// It is a materialized view.
    Refresh,
    /// It is a foreign table, whose rows an UPDATE reaches. They are under this key.
    Update(KeyId),
}

impl Remedy {
    /// For the HINT line; `table` sealed the values.
    pub(super) fn hint(self, table: &str, place: &Place) -> String {
        let (from, at, column) = (literal(table), literal(&place.table), literal(&place.column));
        let reencrypt = format!("CALL envelope.reencrypt({at}, {column})");
        let update = |key: KeyId| {
            let column = identifier(&place.column);
            format!(
                "UPDATE {} SET {column} = envelope.reseal({from}, {column}) WHERE envelope.key_id_of({column}) = '{key}'",
                place.table
            )
        };
        let how = match self {
            Remedy::Update(key) => format!("Bring them to the active key: {}.", update(key)),
            Remedy::Reencrypt => format!("Bring them to the active key: {reencrypt}."),
            Remedy::MakeKey => format!(
                "Bring them to a key of that table's own: SELECT envelope.create_key({at}); {reencrypt}."
            ),
            Remedy::Share { key, makes_key } => {
                let make =
                    if makes_key { format!(", envelope.create_key({at})") } else { String::new() };
                format!(
                    "Table {0} does not use their keyring. Bring them to the active key: {1}. Or bring them to a key of \
                     table {0}, so that they open by its name alone: SELECT envelope.share_keyring({from}, \
                     {at}){make}; {reencrypt}.",
                    place.table,
                    update(key)
                )
            }
            Remedy::Adopt(keyring) => format!(
                "The table that sealed them is gone. Give its keyring to this one: SELECT \
                 envelope.adopt_keyring('{keyring}', {at}); {reencrypt}."
            ),
            Remedy::Refresh => {
                format!(
                    "They are in a materialized view: REFRESH MATERIALIZED VIEW {}.",
                    place.table
                )
            }
        };
        format!("{how} To lose them on purpose: envelope.destroy_key(..., shred => true).")
    }
}
