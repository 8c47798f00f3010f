"""A sealed value whose key is not here: it stays as it is until the key is brought, and the HINT says so first."""

import pytest
from harness.keyrings import notices
from sqlstate import fails


@pytest.fixture
def without_keys(db, database, cluster):
    """A table as `pg_restore -t` brings it: rows and trigger, no keys. Gives it, and where the keys are."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, name text, ssn bytea)")
    db.sql("INSERT INTO people VALUES (1, 'n', envelope_encrypt_text('people', '123-45-6789'))")
    to = database(cluster)
    to.sql("CREATE TABLE people (id int PRIMARY KEY, name text, ssn bytea)")
    to.sql("INSERT INTO people VALUES (1, 'n', %s)", (db.value("SELECT ssn FROM people"),))
    to.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    return to, db


@pytest.mark.parametrize("statement", ["UPDATE people SET name = 'm'", "UPDATE people SET ssn = ssn",
                                       "INSERT INTO people SELECT id + 1, name, ssn FROM people"])
def test_the_trigger_asks_for_the_key_first(without_keys, statement):
    to, source = without_keys
    stored = to.sql("SELECT ssn FROM people")
    with fails("42704") as caught:
        to.sql(statement)
    hint = caught.value.diag.message_hint
    # To seal the only copy of a value whose key is elsewhere would bury it.
    assert 0 <= hint.find("envelope.import_keyring") < hint.find("envelope_encrypt")
    assert to.sql("SELECT ssn FROM people") == stored
    to.sql("SELECT envelope.import_keyring(%s::jsonb, 'people')",
           (source.value("SELECT envelope.export_keyring('people')::text"),))
    to.sql(statement)
    assert set(to.sql("SELECT envelope_decrypt_text('people', ssn) FROM people")) == {("123-45-6789",)}


def test_opening_asks_for_the_key_alone(without_keys):
    to, _ = without_keys
    with fails("42704") as caught:
        to.sql("SELECT envelope_decrypt('people', ssn) FROM people")
    hint = caught.value.diag.message_hint
    assert "envelope.import_keyring" in hint and "envelope_encrypt" not in hint


def test_another_tables_value_asks_for_its_keyring(db):
    db.people("people", rows=["x"])
    db.people("copy")
    with fails("22023") as caught:
        db.sql("INSERT INTO copy TABLE people")
    hint = caught.value.diag.message_hint
    assert "envelope.share_keyring" in hint and "envelope.adopt_keyring" in hint and "envelope_encrypt" not in hint


@pytest.mark.parametrize("make", ["INSERT INTO people VALUES (2, 'n', 'new')", "SELECT envelope.create_key('people')"])
def test_a_first_key_for_a_table_that_holds_sealed_values_is_told(without_keys, make):
    """After a restore the application writes before anybody has looked: what it writes is under another key."""
    to, source = without_keys
    key_id = source.value("SELECT envelope.key_id_of(ssn)::text FROM people")
    with to.connect() as c:
        got = notices(c)
        c.execute(make)
        told = [(message, hint) for severity, message, hint in got if severity == "WARNING" and "people" in message]
        assert len(told) == 1 and '"ssn"' in told[0][0]
        assert key_id in told[0][1] and "envelope.import_keyring" in told[0][1]
        # Once.
        got.clear()
        c.execute("INSERT INTO people VALUES (3, 'n', 'newer')")
        assert got == []


def test_a_first_key_for_a_partition_or_a_type_is_told(without_keys):
    """The type of sealed values counts as bytea does, and partitions as their table."""
    to, _ = without_keys
    to.sql("CREATE TABLE parts (id int, ssn envelope.sealed) PARTITION BY LIST (id)")
    to.sql("CREATE TABLE parts_1 PARTITION OF parts DEFAULT")
    to.sql("INSERT INTO parts SELECT id, ssn FROM people")
    with to.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.create_key('parts')")
        assert any("parts" in message for severity, message, _ in got if severity == "WARNING")


@pytest.mark.parametrize("kind, value", [("bigint", "9223372036854775807"), ("uuid", "f7e1f7e1-f7e1-87e1-a7e1-f7e1f7e1f7e1"),
                                         ("timestamp[]", "{}"), ("text", "x")])
def test_a_first_key_made_while_the_table_is_written_anew(db, kind, value):
    """Its rows are not yet those of the columns that it has."""
    db.sql(f"CREATE TABLE t (id int, v {kind})")
    db.sql("INSERT INTO t SELECT g, %s FROM generate_series(1, 300) g", (value,))
    db.sql("ALTER TABLE t ALTER v TYPE bytea USING envelope_encrypt_text('t', v::text)")
    assert db.sql("SELECT DISTINCT envelope_decrypt_text('t', v) FROM t") == [(value,)]


def test_a_first_key_is_told_of_nothing_else(db):
    """Neither for an empty table, nor for plaintext, nor for values whose key is here."""
    db.sql("CREATE TABLE empty (ssn bytea); CREATE TABLE plain (ssn bytea)")
    db.sql("INSERT INTO plain VALUES ('x'), ('\\xf7e1'), (NULL)")
    db.sql("CREATE TABLE other (v bytea)")
    db.sql("SELECT envelope.create_key('other')")
    db.sql("CREATE TABLE copy AS SELECT envelope_encrypt('other', 'x') AS v")
    with db.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.create_key('empty'), envelope.create_key('plain'), envelope.create_key('copy')")
        assert got == []


def test_the_look_for_sealed_values_reads_nothing_that_others_may_not_write(db):
    """A serializable transaction that makes the first key is not in the way of those that insert."""
    db.people()
    with db.connect() as c:
        c.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
        c.execute("INSERT INTO people VALUES (1, '123-45-6789')")
        held = c.execute("SELECT count(*) FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'people'::regclass").fetchone()
        assert held == (0,)
