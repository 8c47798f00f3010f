"""envelope.forget_keyring: the end of keyrings that no table uses any more."""

import json

import pytest
from harness import process, sealed
from harness.audit import Audit
from harness.work import Work
from sqlstate import fails


def orphan(db, name="gone", copy=None, versions=1):
    """A keyring whose table was dropped: its id, and its keys' ids."""
    db.people(name, ["x"])
    for _ in range(versions - 1):
        sealed.second_version(db.sql, name)
    if copy:
        db.sql(f"CREATE TABLE {copy} AS TABLE {name}")
    keyring = db.value("SELECT keyring_id::text FROM envelope.keys WHERE relation = %s", (f"public.{name}",))
    exported = db.value("SELECT envelope.export_keyring(%s)::text", (name,))
    db.sql(f"DROP TABLE {name}")
    return keyring, exported


def tombstones(db, keyring):
    return db.sql("SELECT version, state, reason FROM envelope.data_key WHERE keyring_id = %s ORDER BY version", (keyring,))


def traces(db, keyring):
    """Rows of the catalog about it, beside those of its keys."""
    return {table: db.value(f"SELECT count(*) FROM envelope.{table} WHERE keyring_id = %s", (keyring,))
            for table in ("keyring", "keyring_table", "key_grant")}


def broken(db):
    return db.sql("SELECT relation, keyring_id, key_id, message FROM envelope.check() WHERE NOT ok")


def test_all_keys_are_destroyed_the_active_one_too(db):
    keyring, _ = orphan(db, versions=3)
    db.sql("SELECT envelope.forget_keyring(%s, 'a ticket')", (keyring,))
    assert tombstones(db, keyring) == [(i, "destroyed", "a ticket") for i in (1, 2, 3)]
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 0
    assert set(traces(db, keyring).values()) == {0}
    assert db.sql("SELECT * FROM envelope.keys") == db.sql("SELECT * FROM envelope.key_privileges") == []
    assert broken(db) == []
    # It cannot be had back.
    db.people("heir")
    with fails("42704"):
        db.sql("SELECT envelope.adopt_keyring(%s, 'heir')", (keyring,))
    with fails("42704"):
        db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    # What was destroyed before keeps its reason, and a table of that name begins anew, without a word.
    with db.connect() as c:
        notices = []
        c.add_notice_handler(lambda n: notices.append(n.message_primary))
        c.execute("CREATE TABLE gone (v bytea)")
        c.execute("SELECT envelope.create_key('gone')")
    assert notices == []
    db.sql("DROP TABLE gone, heir")
    for again, in db.sql("SELECT keyring_id FROM envelope.keys WHERE orphaned"):
        db.sql("SELECT envelope.forget_keyring(%s)", (again,))
    # Nothing is held that DROP EXTENSION would lose.
    db.sql('DROP EXTENSION "pgrx-example"')


def test_the_reason_of_a_former_end_stays(db):
    keyring, _ = orphan(db, versions=2)
    first = db.value("SELECT key_id FROM envelope.keys WHERE version = 1")
    db.sql("SELECT envelope.destroy_key(%s, 'before')", (first,))
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    assert tombstones(db, keyring) == [(1, "destroyed", "before"), (2, "destroyed", "envelope.forget_keyring")]


def test_not_while_a_value_is_found(db):
    """As destroy_key: in a registered column anywhere, and in the sample of every other table."""
    keyring, _ = orphan(db, copy="copied")
    with fails("55006") as caught:
        db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    assert "copied" in caught.value.diag.message_primary
    assert tombstones(db, keyring) == [(1, "active", None)]
    assert db.value("SELECT count(*) FROM envelope.keys") == 1
    db.sql("DELETE FROM copied")
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    assert tombstones(db, keyring)[0][1] == "destroyed"


def test_each_of_its_keys_is_looked_for(db):
    """Not the active one alone."""
    db.people("gone", ["x"])
    db.sql("CREATE TABLE copied AS TABLE gone")
    sealed.second_version(db.sql, "gone")
    db.sql("DROP TABLE gone")
    with fails("55006"):
        db.sql("SELECT envelope.forget_keyring(keyring_id) FROM envelope.keys WHERE version = 2")


def test_not_while_a_table_uses_it(db):
    db.people("alive", ["x"])
    keyring = db.value("SELECT keyring_id FROM envelope.keys")
    with fails("55000"):
        db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    # Nor while another opens with it.
    db.sql("CREATE TABLE reader (v bytea)")
    db.sql("SELECT envelope.share_keyring('alive', 'reader')")
    db.sql("DROP TABLE alive")
    with fails("55006"):
        db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    db.sql("DROP TABLE reader")
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))


def test_for_the_former_owner_and_superusers(db):
    db.people("gone", ["x"])
    db.sql(f"ALTER TABLE gone OWNER TO {db.low}")
    db.sql(f"SELECT envelope.grant_key('gone', '{db.low}', 'manage')")
    db.sql("DROP TABLE gone")
    keyring = db.value("SELECT keyring_id FROM envelope.keys")
    other = f"other_{db.name}"
    db.sql(f"CREATE ROLE {other} LOGIN")
    with fails("42501"):
        db.sql("SELECT envelope.forget_keyring(%s)", (keyring,), user=other)
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,), user=db.low)
    assert set(traces(db, keyring).values()) == {0}
    # One of no table at all is a superuser's.
    keyring, exported = orphan(db, "another")
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))


@pytest.mark.parametrize("argument", ["NULL", "gen_random_uuid()"])
def test_none_of_that_id(db, argument):
    with fails("22023" if argument == "NULL" else "42704"):
        db.sql(f"SELECT envelope.forget_keyring({argument})")


def test_an_empty_reason(db):
    keyring, _ = orphan(db)
    with fails("22023"):
        db.sql("SELECT envelope.forget_keyring(%s, ' ')", (keyring,))


def test_an_older_export_brings_nothing_back(db):
    keyring, exported = orphan(db)
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    db.people("heir")
    for target in ("'heir'", "NULL"):
        with fails("42710"):
            db.sql(f"SELECT envelope.import_keyring(%s, {target})", (exported,))
    assert tombstones(db, keyring)[0][1] == "destroyed"
    assert set(traces(db, keyring).values()) == {0}


def test_a_newer_export_brings_what_is_new(db, database):
    """The keyring lives on elsewhere, where it was rotated since."""
    elsewhere = database(db.cluster)
    keyring, exported = orphan(db)
    elsewhere.sql("CREATE TABLE heir (v bytea)")
    elsewhere.sql("SELECT envelope.import_keyring(%s, 'heir')", (exported,))
    sealed.second_version(elsewhere.sql, "heir")
    newer = elsewhere.value("SELECT envelope.export_keyring('heir')::text")
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    db.sql("CREATE TABLE heir (v bytea)")
    db.sql("SELECT envelope.import_keyring(%s, 'heir')", (newer,))
    assert db.sql("SELECT version, state, cardinality(keks) FROM envelope.keys ORDER BY 1") == [
        (1, "destroyed", 0), (2, "active", 1)]


def test_rolled_back(db):
    keyring, _ = orphan(db)
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("SELECT envelope.forget_keyring(%s)", (keyring,))
        c.execute("ROLLBACK")
    db.sql("CREATE TABLE heir (v bytea)")
    db.sql("SELECT envelope.adopt_keyring(%s, 'heir')", (keyring,))
    assert db.value("SELECT state FROM envelope.keys") == "active"


def test_an_adoption_at_the_same_time(db):
    """Either waits for the other, and sees what it did."""
    keyring, _ = orphan(db)
    db.sql("CREATE TABLE heir (v bytea)")
    with db.connect() as first, db.connect() as second:
        first.execute("BEGIN")
        first.execute("SELECT envelope.adopt_keyring(%s, 'heir')", (keyring,))
        waiting = Work(second.execute, f"SELECT envelope.forget_keyring('{keyring}')")
        process.wait_until(lambda: db.waits_for_lock(second.info.backend_pid), "it waits")
        first.execute("COMMIT")
        assert waiting.error().sqlstate == "55000"
    assert db.value("SELECT state FROM envelope.keys") == "active"


def test_a_snapshot_of_an_earlier_time(db):
    keyring, _ = orphan(db)
    with db.connect() as c, fails("25000"):
        c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        c.execute("SELECT envelope.forget_keyring(%s)", (keyring,))


def test_what_the_log_is_told(db):
    keyring, _ = orphan(db, versions=2)
    db.cluster.sql("ALTER ROLE ALL SET envelope.audit = 'ddl'")
    try:
        audit = Audit(db.cluster)
        db.sql("SELECT envelope.forget_keyring(%s, 'a ticket')", (keyring,))
        lines = audit.lines()
    finally:
        db.cluster.sql("ALTER ROLE ALL RESET envelope.audit")
    assert [line["event"] for line in lines] == ["destroy", "destroy", "forget"]
    assert (lines[2]["keyring_id"], lines[2]["table"], lines[2]["count"], lines[2]["detail"]) == (
        keyring, "public.gone", 2, "a ticket")


def test_tombstones_travel(db, database):
    """In a dump, so that the export does not bring the key back there either."""
    keyring, exported = orphan(db)
    db.sql("SELECT envelope.forget_keyring(%s)", (keyring,))
    restored = database(db.cluster)
    restored.sql('DROP EXTENSION "pgrx-example"')
    dump = db.cluster.base / f"{db.name}.sql"
    dump.write_text(db.cluster.client("pg_dump", dbname=db.name))
    db.cluster.client("psql", "-v", "ON_ERROR_STOP=1", "-qf", dump, dbname=restored.name)
    assert tombstones(restored, keyring) == tombstones(db, keyring)
    assert broken(restored) == []
    with fails("42710"):
        restored.sql("SELECT envelope.import_keyring(%s)", (exported,))


def test_all_that_tests_have_left(db):
    """As the docs have it: every keyring of this role's dropped tables, none of a table that is there."""
    for i in range(5):
        orphan(db, f"made_{i}")
    db.people("alive", ["x"])
    db.sql("SELECT envelope.forget_keyring(keyring_id) FROM "
           "(SELECT DISTINCT keyring_id FROM envelope.keys WHERE orphaned) AS o")
    assert db.sql("SELECT relation FROM envelope.keys") == [("public.alive",)]
    assert json.loads(db.value("SELECT envelope.export_keyring('alive')::text"))
