"""What the catalog says of keyrings and the tables that use them."""

LINKS = "SELECT relation::text, seals, former_owner::text FROM envelope.keyring_table WHERE keyring_id = %s"


def opened(db, table, by=None):
    """The values of a table's column `ssn`, opened as `by`'s."""
    rows = db.sql(f"SELECT envelope_decrypt_text(%s::text::regclass, ssn) FROM {table} ORDER BY id", (by or table,))
    return [row[0] for row in rows]


def keyring(db, table):
    """The keyring that a table seals with."""
    return db.value("SELECT keyring_id FROM envelope.keyring_table WHERE relation = %s::text::regclass::oid AND seals",
                    (table,))


def keys_in(db, table):
    """How many data keys a table's values are under."""
    return db.value(f"SELECT count(DISTINCT key_id) FROM {table}, envelope.inspect(ssn)")


def notices(connection):
    """What the server tells the connection from here on: (severity, message, hint)."""
    got = []
    connection.add_notice_handler(lambda d: got.append((d.severity_nonlocalized, d.message_primary, d.message_hint)))
    return got
