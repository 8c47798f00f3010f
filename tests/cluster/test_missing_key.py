"""A sealed value whose key is not here: it stays as it is until the key is brought, and the HINT says so first."""

import pytest
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
