"""Seal in one connection, open in another."""

import psycopg
import pytest
from sqlstate import fails

VALUES = [b"", b"x", "Grüße, 世界".encode(), bytes(range(256)), b"\xf7\xe1" + b"\0" * 60, b"a" * 100_000]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{len(v)}B")
def test_function(db, value):
    db.sql("CREATE TABLE t (id int)")
    sealed = db.value("SELECT envelope_encrypt('t', %s)", (value,))
    assert len(sealed) == len(value) + 58 and sealed[:2] == b"\xf7\xe1"
    assert db.value("SELECT envelope_decrypt('t', %s)", (sealed,)) == value
    with fails("22000"):
        db.sql("SELECT envelope_decrypt('t', %s, 'another context')", (sealed,))


def test_trigger(db):
    db.people(rows=["123-45-6789", "Grüße"])
    opened = db.sql("SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id")
    assert opened == [("123-45-6789",), ("Grüße",)]


def test_trigger_keeps_what_is_sealed(db):
    db.people(rows=["123"])
    before = db.value("SELECT ssn FROM people")
    db.sql("UPDATE people SET id = id + 1")
    db.sql("INSERT INTO people SELECT * FROM people ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn")
    assert db.value("SELECT ssn FROM people") == before


def test_null_stays_null(db):
    db.people()
    db.sql("INSERT INTO people VALUES (1, NULL)")
    assert db.value("SELECT ssn FROM people") is None
    assert db.value("SELECT envelope_encrypt('people', NULL)") is None


def test_every_changed_bit_fails(db):
    db.people(rows=["secret"])
    sealed = db.value("SELECT ssn FROM people")
    with db.connect() as c:
        for bit in range(len(sealed) * 8):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(psycopg.Error) as caught:
                c.execute("SELECT envelope_decrypt('people', %s)", (bytes(changed),))
            # Within the key id it may name a key that is not there, or no possible key.
            expected = {"42704", "22000"} if 2 <= bit // 8 < 18 else {"22000"}
            assert caught.value.sqlstate in expected, f"bit {bit}: {caught.value}"


def test_another_table_is_refused(db):
    db.people("a", rows=["secret"])
    db.people("b", rows=["secret"])
    with fails("22023"):
        db.sql("SELECT envelope_decrypt('b', ssn) FROM a")


def test_right_is_needed(db):
    db.people(rows=["secret"])
    db.sql(f"GRANT SELECT, INSERT ON people TO {db.low}")
    with fails("42501"):
        db.sql("SELECT envelope_decrypt('people', ssn) FROM people", user=db.low)
    for table in ("data_key", "wrapped_key", "keyring"):
        with fails("42501"):
            db.sql(f"SELECT * FROM envelope.{table}", user=db.low)


def test_rolled_back_key_is_gone(db):
    db.people()
    with db.connect(autocommit=False) as c:
        c.execute("INSERT INTO people VALUES (1, 'lost')")
        c.rollback()
        c.execute("INSERT INTO people VALUES (2, 'kept')")
        c.commit()
        c.execute("SAVEPOINT s")
        c.execute("CREATE TABLE other (v bytea)")
        c.execute("SELECT envelope_encrypt('other', 'x')")
        c.execute("ROLLBACK TO s")
        c.execute("CREATE TABLE other (v bytea)")
        c.execute("INSERT INTO other VALUES (envelope_encrypt('other', 'kept'))")
        c.commit()
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "kept"
    assert db.value("SELECT envelope_decrypt_text('other', v) FROM other") == "kept"
