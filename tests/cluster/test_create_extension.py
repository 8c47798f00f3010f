"""CREATE EXTENSION and DROP EXTENSION as users do them."""

from sqlstate import fails

DROP = 'SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE'


def test_in_another_schema(cluster):
    cluster.sql("CREATE DATABASE in_schema")
    with cluster.connect("in_schema") as c:
        c.execute("CREATE SCHEMA crypto")
        c.execute('CREATE EXTENSION "pgrx-example" SCHEMA crypto')
        c.execute("CREATE TABLE t (id int, v bytea)")
        c.execute("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW "
                  "EXECUTE FUNCTION crypto.envelope_seal('v')")
        c.execute("INSERT INTO t VALUES (1, 'through the trigger')")
        c.execute("INSERT INTO t VALUES (2, crypto.envelope_encrypt_text('t', 'by the function'))")
    with cluster.connect("in_schema") as c:
        rows = c.execute("SELECT crypto.envelope_decrypt_text('t', v) FROM t ORDER BY id").fetchall()
    assert rows == [("through the trigger",), ("by the function",)]


def test_drop_and_create_again(db):
    db.people(rows=["123"])
    with fails("2BP01"):
        db.sql('DROP EXTENSION "pgrx-example"')
    with db.connect() as other:
        other.execute("SELECT envelope_decrypt('people', ssn) FROM people")
        db.sql(DROP)
        db.sql('CREATE EXTENSION "pgrx-example"')
        # The keys are gone from the catalog, so from the other backend's cache too.
        with fails("42704"):
            other.execute("SELECT envelope_decrypt('people', ssn) FROM people")


def test_columns_survive_drop_cascade(db):
    db.people(rows=["123"])
    db.sql(DROP)
    assert db.value("SELECT octet_length(ssn) FROM people") == 58 + 3
