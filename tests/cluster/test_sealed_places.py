"""Sealed values stand in columns of type bytea, of type envelope.sealed and of domains over them, and in the target of
`target=source`: whatever looks for sealed values finds them there. What it does not find it would destroy."""

import pytest
from sqlstate import fails

TYPES = ["bytea", "envelope.sealed", "over_bytea", "over_sealed", "over_over_sealed"]


@pytest.fixture(params=TYPES)
def kind(request, db):
    db.sql("CREATE DOMAIN over_bytea AS bytea; CREATE DOMAIN over_sealed AS envelope.sealed; "
           "CREATE DOMAIN over_over_sealed AS over_sealed")
    return request.param


TRIGGER = "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION"


@pytest.fixture
def people(db, kind):
    """A table whose first value is under the first version of its key, and the others under the second."""
    db.sql(f"CREATE TABLE people (id int PRIMARY KEY, ssn {kind}, ssn_in_clear text)")
    db.sql(f"{TRIGGER} envelope_seal('ssn')")
    db.sql("INSERT INTO people VALUES (1, 'first')")
    db.sql("SELECT envelope.rotate_key('people')")
    db.sql("INSERT INTO people VALUES (2, 'second'), (3, NULL)")
    return "people"


def key(db, version):
    return db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.people' AND version = %s", (version,))


def is_kept(db):
    """Whether the first key is refused to be destroyed since a value is under it."""
    with fails("55006"):
        db.sql("SELECT envelope.destroy_key(%s, 'a test')", (key(db, 1),))
    return db.value("SELECT state FROM envelope.keys WHERE key_id = %s", (key(db, 1),)) == "decrypt-only"


def test_destroy_key_reads_the_keyrings_own_tables(db, people):
    # At the end of many pages, where a sample would hardly find it.
    db.sql("INSERT INTO people SELECT g, ssn FROM people, generate_series(10, 20000) g WHERE id = 2")
    db.sql("UPDATE people SET ssn_in_clear = 'moved to the end' WHERE id = 1")
    assert is_kept(db)
    db.sql("DELETE FROM people WHERE id = 1")
    db.sql("SELECT envelope.destroy_key(%s, 'a test')", (key(db, 1),))


def test_destroy_key_reads_a_sample_of_the_others(db, people):
    db.sql("CREATE TABLE copy AS SELECT ssn AS v FROM people WHERE id = 1; DELETE FROM people WHERE id = 1")
    assert is_kept(db)


def test_destroy_key_reads_a_registered_column_to_its_end(db, people, kind):
    db.sql(f"CREATE TABLE copy (n int, v {kind})")
    db.sql("INSERT INTO copy SELECT g, 'a long plaintext in a row, so that pages are full' FROM generate_series(1, 50000) g")
    db.sql("INSERT INTO copy SELECT 0, ssn FROM people WHERE id = 1; DELETE FROM people WHERE id = 1")
    assert db.value("SELECT envelope.register_column('copy', 'v')")
    assert is_kept(db)
    # Renamed since, all columns are read.
    db.sql("ALTER TABLE copy RENAME v TO w")
    assert is_kept(db)


def test_the_view_of_sealed_columns(db, people):
    assert db.sql("SELECT column_name, registered, triggers FROM envelope.sealed_columns") == [("ssn", False, ["seal"])]
    assert db.value("SELECT envelope.register_column('people', 'ssn')")
    assert db.sql("SELECT column_name, registered FROM envelope.sealed_columns") == [("ssn", True)]


def test_the_target_of_a_source_is_a_sealed_column(db, people):
    db.sql('ALTER TABLE people ADD "ssn=" bytea, ADD s text, ADD other bytea')
    columns = "SELECT column_name, triggers FROM envelope.sealed_columns ORDER BY 1"
    for function, arguments, found in (("seal", "'other', 'ssn=ssn_in_clear', 'other=s'", ["other", "ssn"]),
                                       ("mirror", "'ssn=ssn_in_clear'", ["ssn"])):
        db.sql(f"DROP TRIGGER seal ON people; {TRIGGER} envelope_{function}({arguments})")
        assert db.sql(columns) == [(name, ["seal"]) for name in found]


def test_unshare_keyring(db, people, kind):
    db.sql(f"CREATE TABLE lent (v {kind}); SELECT envelope.share_keyring('people', 'lent')")
    db.sql("INSERT INTO lent SELECT ssn FROM people WHERE id = 1")
    with fails("55006"):
        db.sql("SELECT envelope.unshare_keyring('people', 'lent')")
    db.sql("TRUNCATE lent; SELECT envelope.unshare_keyring('people', 'lent')")


def test_census(db, people):
    db.sql("ALTER TABLE people DISABLE TRIGGER ALL; INSERT INTO people VALUES (4, 'plain')")
    counted = db.sql("SELECT version, state, rows, bytes FROM envelope.census('people', 'ssn')")
    assert sorted(counted, key=str) == sorted(
        [(2, "active", 1, 64), (1, "decrypt-only", 1, 63), (None, "not sealed", 1, 5), (None, "null", 1, 0)], key=str)


def test_census_reads_tables_only(db, people):
    db.sql("CREATE VIEW shown AS SELECT ssn FROM people")
    with fails("42809"):
        db.sql("SELECT envelope.census('shown', 'ssn')")
    with fails("42804"):
        db.sql("SELECT envelope.census('people', 'id')")


def test_reencrypt(db, people):
    with db.connect() as c:
        c.execute("CALL envelope.reencrypt('people', 'ssn')")
    assert db.sql("SELECT version, rows FROM envelope.census('people', 'ssn') WHERE state <> 'null'") == [(2, 2)]
    assert db.sql("SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id") == [
        ("first",), ("second",), (None,)]


def test_reencrypt_opens_what_is_under_the_active_key(db, people):
    """verify => true opens each; and an error names the row."""
    db.sql("ALTER TABLE people DISABLE TRIGGER ALL")
    db.sql("UPDATE people SET ssn = set_byte(ssn::bytea, 60, get_byte(ssn::bytea, 60) # 1) WHERE id = 2")
    with db.connect() as c, fails("22000") as caught:
        c.execute("CALL envelope.reencrypt('people', 'ssn')")
    assert "(0,2)" in caught.value.diag.message_detail or "(0,4)" in caught.value.diag.message_detail


def test_check_tells_of_checks_that_hold_not_for_all(db, people):
    db.sql("ALTER TABLE people ADD CONSTRAINT is_sealed CHECK (envelope.is_sealed(ssn)) NOT VALID")
    assert db.sql("SELECT relation FROM envelope.check() WHERE message LIKE '%is_sealed%NOT VALID%'") == [
        ("public.people",)]


def test_a_view_is_told_from_its_table(db, people):
    db.sql("CREATE VIEW shown AS SELECT ssn FROM people")
    with fails("42809") as caught:
        db.sql("SELECT envelope_decrypt_text('shown', ssn) FROM shown")
    assert "public.people" in caught.value.diag.message_hint


def test_the_trigger_takes_no_other_type(db, people):
    db.sql("CREATE TRIGGER text BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn_in_clear')")
    with fails("42804"):
        db.sql("INSERT INTO people VALUES (9, 'x')")
    for column in ("ssn_in_clear", "id"):
        with fails("42804"):
            db.sql("SELECT envelope.register_column('people', %s)", (column,))
