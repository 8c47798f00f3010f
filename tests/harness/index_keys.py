"""Index keys: a table's first one, made past the functions that make it with an index."""

import json

KEYS = ("SELECT key_id, version, state FROM envelope.keys WHERE relation = %s AND purpose = 'index' "
        "ORDER BY version")


def index_keys(db, table="public.people"):
    """The index keys of a table: (key id, version, state), oldest first."""
    return db.sql(KEYS, (table,))


def states(db, table="public.people"):
    """Their states, by version."""
    return [state for _, _, state in index_keys(db, table)]


def give(db, table="people"):
    """Gives a table that has a key an index key; its key id. It is another table's data key, which has not been used:
    a key of any purpose is 32 random bytes, and its wrap is the same."""
    with db.connect() as c:
        c.execute("CREATE TABLE donor (v bytea)")
        key_id, = c.execute("SELECT envelope.create_key('donor')").fetchone()
        wraps = c.execute("SELECT kek, kms_context, wrapped FROM envelope.wrapped_key WHERE key_id = %s",
                          (key_id,)).fetchall()
        c.execute("DROP TABLE donor")
        with c.transaction():
            c.execute("DELETE FROM envelope.wrapped_key WHERE key_id = %s", (key_id,))
            c.execute("DELETE FROM envelope.data_key WHERE key_id = %s", (key_id,))
            c.execute("DELETE FROM envelope.keyring r WHERE NOT EXISTS (SELECT FROM envelope.data_key k "
                      "WHERE k.keyring_id = r.keyring_id)")
            c.execute("DELETE FROM envelope.keyring_table t WHERE NOT EXISTS (SELECT FROM envelope.keyring r "
                      "WHERE r.keyring_id = t.keyring_id)")
            put(c, table, key_id, 1, "active")
            for kek, context, wrapped in wraps:
                c.execute("INSERT INTO envelope.wrapped_key (key_id, kek, kms_context, wrapped) "
                          "VALUES (%s, %s, %s::jsonb, %s)", (key_id, kek, json.dumps(context), wrapped))
    return key_id


def put(c, table, key_id, version, state):
    """A row of an index key, without a wrap."""
    c.execute("INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state) "
              "SELECT %s, keyring_id, 'index', %s, %s FROM envelope.keyring_table "
              "WHERE seals AND relation = %s::text::regclass::oid", (key_id, version, state, table))
