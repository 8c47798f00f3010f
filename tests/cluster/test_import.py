"""A keyring that is exported and imported: nothing of it is lost on the way."""

import json

from harness.keyrings import keyring

CATALOG = ("SELECT to_jsonb(k) FROM envelope.keyring k UNION ALL SELECT to_jsonb(k) FROM envelope.keyring_table k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.data_key k UNION ALL SELECT to_jsonb(k) FROM envelope.wrapped_key k "
           "ORDER BY 1")


def exported(db, table="people"):
    return db.value("SELECT envelope.export_keyring(%s::text::regclass)", (table,))


def load(db, document, table="people"):
    db.sql("SELECT envelope.import_keyring(%s, %s::text::regclass)", (json.dumps(document), table))


def key_id(db, version, table="people"):
    return db.value("SELECT key_id FROM envelope.keys WHERE keyring_id = %s AND version = %s",
                    (keyring(db, table), version))


# -- all of it, elsewhere -------------------------------------------------------------------------------------------


def full(db):
    """A keyring with something in every field: a destroyed, a retired, an opening and a sealing key, reasons, a minimum
    version, limits, a KEK and a context of its own."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    db.sql("SELECT envelope.create_key('people', kek => %s, kms_context => %s)",
           (db.value("SELECT keks[1] FROM envelope.keys"), json.dumps({"Größe": "ü", "table": "people"})))
    for reason in ("first round", "second round", None):
        db.sql("SELECT envelope.rotate_key('people', %s)", (reason,))
    db.sql("SELECT envelope.destroy_key(%s, 'no value left')", (key_id(db, 1),))
    db.sql("SELECT envelope.retire_key(%s, 'to be destroyed')", (key_id(db, 2),))
    db.sql("SELECT envelope.set_minimum_version('people', 2)")
    db.sql("SELECT envelope.set_limits('people', %s)", (json.dumps({"cache_ttl": 60, "rotate_after": 7776000}),))


def test_there_and_back(db, cluster, database):
    """Nothing of it is lost or changed on the way."""
    db.people("others", rows=["makes the key file"])
    full(db)
    document = exported(db)
    ring = document["keyrings"][0]
    # Each field differs from what it is at first, or this shows nothing.
    assert ring["minimum_version"] == 2 and ring["limits"] and ring["default_kek"] and ring["kms_context"]
    assert [key["state"] for key in ring["data_keys"]] == ["destroyed", "retired", "decrypt-only", "active"]
    assert all(key["reason"] and key["state_changed_at"] != key["created_at"] for key in ring["data_keys"][:3])
    there = database(cluster)
    there.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    load(there, document)
    assert exported(there) == document
    db.sql("SELECT envelope.flush_cache()")
    value = there.value("SELECT envelope_encrypt('people', 'x')")
    assert db.value("SELECT envelope_decrypt('people', %s)", (value,)) == b"x"
    # What is there is found to be the same.
    before = there.sql(CATALOG), db.sql(CATALOG)
    load(there, document)
    load(db, document)
    assert (there.sql(CATALOG), db.sql(CATALOG)) == before
