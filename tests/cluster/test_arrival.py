"""Keys that replication brings which is none of CREATE SUBSCRIPTION's (pglogical and others): sessions with a replication
origin, in the replica role, as apply workers and copies are. test_logical.py has PostgreSQL's own."""

import contextlib
import itertools
import json

import pytest
from harness import process
from harness.audit import Audit
from harness.keyrings import keyring, opened
from sqlstate import fails

KEYS = ("keyring", "keyring_table", "data_key", "wrapped_key")
# A replication slot of the cluster's stands behind each origin that is at work.
_origins = itertools.count(1)
SEAL = "SELECT version FROM envelope.inspect(envelope_encrypt('people', 'x'))"
FIRST_USE = "INSERT INTO people VALUES (9, 'x')"


@contextlib.contextmanager
def worker(db):
    """A session that applies what arrives."""
    origin = f"node_{next(_origins)}"
    db.sql("SELECT pg_replication_origin_create(%s)", (origin,))
    try:
        with db.connect() as c:
            pid = c.info.backend_pid
            c.execute("SET session_replication_role = replica; SET statement_timeout = '60s'")
            c.execute("SELECT pg_replication_origin_session_setup(%s)", (origin,))
            yield c
    finally:
        # Its process may take a moment to end.
        process.wait_until(lambda: not db.value("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,)), "its end")
        db.sql("SELECT pg_replication_origin_drop(%s)", (origin,))


def copied(source, session, *tables):
    """The rows of the source's tables, as a copy brings them."""
    for table in tables:
        with source.connect() as c, c.cursor().copy(f"COPY {table} TO STDOUT") as rows:
            data = b"".join(rows)
        with session.cursor().copy(f"COPY {table} FROM STDIN") as into:
            into.write(data)


def exported(db):
    return db.value("SELECT envelope.export_keyring('people')")


def keys(db):
    return db.sql("SELECT version, state, key_id FROM envelope.data_key ORDER BY version")


@pytest.fixture
def a(db):
    db.people(rows=["one"])
    return db


@pytest.fixture
def b(a, cluster, database):
    """Where the keys and the table of `a` have arrived."""
    there = database(cluster)
    there.people()
    with worker(there) as session:
        copied(a, session, *(f"envelope.{table}" for table in KEYS), "people")
    assert opened(there, "people") == ["one"]
    return there


# -- no key is another's --------------------------------------------------------------------------------------------


CHANGES = ["key_id = 'c8954524-1083-828f-9f2b-385dffc29ef1'", "keyring_id = gen_random_uuid()", "version = version + 1",
           "purpose = 'index'"]


@pytest.mark.parametrize("change", CHANGES, ids=[change.split()[0] for change in CHANGES])
def test_the_row_of_a_key_stays_its_own(a, change):
    """Whoever writes."""
    before = a.sql("SELECT * FROM envelope.data_key")
    with worker(a) as session:
        for run in (a.sql, session.execute):
            with fails("42710"):
                run(f"UPDATE envelope.data_key SET {change}")
        # As of no interest to those who listen.
        session.execute("UPDATE envelope.data_key SET reason = 'looked at', created_at = now()")
    a.sql("UPDATE envelope.data_key SET reason = NULL, created_at = %s", (before[0][5],))
    assert a.sql("SELECT * FROM envelope.data_key") == before


def test_what_two_have_rotated_is_not_lost(a, b):
    """As pglogical has it: the row that arrives is written over the one with the same version."""
    b.sql("SELECT envelope.unfollow_keyring('people')")
    for db in (a, b):
        db.sql("SELECT envelope.rotate_key('people')")
    b.sql("INSERT INTO people VALUES (2, 'sealed there')")
    (_, _, theirs), (_, _, ours) = keys(a)[1], keys(b)[1]
    with worker(b) as session:
        with fails("42710") as caught:
            session.execute("UPDATE envelope.data_key SET key_id = %s WHERE key_id = %s", (theirs, ours))
        assert str(theirs) in str(caught.value) and str(ours) in str(caught.value)
        # A way on that loses neither: docs/backup.md.
        b.sql("""
            BEGIN;
            CREATE TEMPORARY TABLE moved AS SELECT * FROM envelope.data_key WHERE state = 'active';
            DELETE FROM envelope.data_key WHERE key_id IN (SELECT key_id FROM moved);
            INSERT INTO envelope.data_key
              SELECT key_id, keyring_id, purpose, 1000, 'decrypt-only', created_at, now(), 'two nodes had rotated' FROM moved;
            COMMIT""")
        with a.connect() as c:
            row = c.execute("SELECT d::text FROM envelope.data_key d WHERE key_id = %s", (theirs,)).fetchone()
            wrap = c.execute("SELECT w::text FROM envelope.wrapped_key w WHERE key_id = %s", (theirs,)).fetchone()
        session.execute("INSERT INTO envelope.data_key SELECT (%s::envelope.data_key).*", row)
        session.execute("INSERT INTO envelope.wrapped_key SELECT (%s::envelope.wrapped_key).*", wrap)
    assert b.value(SEAL) == 2
    assert opened(b, "people") == ["one", "sealed there"]


# -- keys are made where they come from -----------------------------------------------------------------------------


def test_who_receives_keys_makes_none(a, b):
    before = keys(b)
    with fails("55000") as caught:
        b.sql("SELECT envelope.rotate_key('people')")
    assert "unfollow_keyring" in caught.value.diag.message_hint
    # Nor by themselves, when their turn is over; and without a word.
    b.sql("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 5}')")
    with b.connect() as c:
        said = []
        c.add_notice_handler(lambda diag: said.append(diag.message_primary))
        for i in range(20):
            c.execute("INSERT INTO people VALUES (%s, 'x')", (100 + i,))
        assert c.execute("SELECT * FROM envelope.rotate_due()").fetchall() == []
        assert said == []
    assert keys(b) == before
    # Its own table's are its own.
    b.people("own", rows=["x"])
    b.sql("SELECT envelope.rotate_key('own')")
    b.sql("SELECT envelope.set_limits('own', '{\"rotate_after_seals\": 5}')")
    for i in range(20):
        b.sql("INSERT INTO own VALUES (%s, 'x')", (100 + i,))
    assert b.value("SELECT max(version) FROM envelope.keys WHERE relation = 'public.own'") > 2
    assert keys(a) == before


def test_who_receives_keys_destroys_none(a, b):
    """What arrives would bring them back, or stop."""
    a.sql("SELECT envelope.rotate_key('people')")
    with worker(b) as session:
        copied_newest = a.sql("SELECT key_id FROM envelope.data_key WHERE version = 1")
        session.execute("UPDATE envelope.data_key SET state = 'decrypt-only' WHERE version = 1")
    (key_id,), = copied_newest
    for statement in (f"SELECT envelope.destroy_key('{key_id}', 'x', shred => true)", "SELECT envelope.shred('people', 'x')",
                      f"SELECT envelope.import_keyring('{json.dumps(exported(a))}', 'people')"):
        with fails("55000"):
            b.sql(statement)
    assert [state for _, state, _ in keys(b)] == ["decrypt-only"]


def test_a_destroyed_key_stays_so(a):
    """Whoever writes: a node on which it was not destroyed does not bring it back."""
    a.sql("SELECT envelope.shred('people', 'a test')")
    with worker(a) as session, fails("55000"):
        session.execute("UPDATE envelope.data_key SET state = 'retired'")
    with fails("55000"):
        a.sql("UPDATE envelope.data_key SET state = 'decrypt-only'")
    a.sql("UPDATE envelope.data_key SET reason = 'another'")
    assert [state for _, state, _ in keys(a)] == ["destroyed"]


def test_a_key_that_is_missing_is_made_where_the_others_come_from(a, b):
    """All that have arrived are destroyed by now."""
    a.sql("SELECT envelope.shred('people', 'all of it')")
    with worker(b) as session:
        session.execute("UPDATE envelope.data_key SET state = 'destroyed'")
        session.execute("DELETE FROM envelope.wrapped_key")
    for statement in (FIRST_USE, "SELECT envelope.create_key('people')"):
        with fails("55000"):
            b.sql(statement)
    b.sql("SELECT envelope.unfollow_keyring('people')")
    with fails("42704"):
        b.sql(FIRST_USE)
    b.sql("SELECT envelope.create_key('people')")
    b.sql(FIRST_USE)
    assert b.value(SEAL) == 2


def test_that_ends_when_somebody_says_so(a, b):
    """Who manages the keys; until the next one arrives."""
    b.sql(f"GRANT SELECT ON people TO {b.low}")
    unfollow = "SELECT envelope.unfollow_keyring('people')"
    with fails("42501"):
        b.sql(unfollow, user=b.low)
    b.sql(f"SELECT envelope.grant_key('people', '{b.low}', 'manage')")
    audit = Audit(b.cluster)
    with b.connect() as c:
        c.execute("SET envelope.audit = 'ddl'")
        c.execute(f"SET ROLE {b.low}")
        c.execute(unfollow)
        c.execute("SELECT envelope.rotate_key('people')")
    line, = audit.lines("unfollow")
    assert (line["role"], line["table"], line["keyring_id"]) == (b.low, "public.people", str(keyring(b, "people")))
    # Nothing is left to end.
    told = []
    with b.connect() as c:
        c.add_notice_handler(lambda notice: told.append(notice.severity))
        c.execute(unfollow)
    assert told == ["NOTICE"]
    with fails("42704"):
        b.sql("CREATE TABLE none (v bytea); SELECT envelope.unfollow_keyring('none')")
    with worker(b) as session:
        session.execute("INSERT INTO envelope.data_key SELECT gen_random_uuid(), keyring_id, 'index', 1, 'active' "
                        "FROM envelope.keyring")
    with fails("55000"):
        b.sql("SELECT envelope.rotate_key('people')")


def test_a_change_of_state_says_nothing_of_who_makes_keys(a):
    """Where two send each other what they change, either may retire a key."""
    with worker(a) as session:
        session.execute("UPDATE envelope.data_key SET reason = 'elsewhere'")
    a.sql("SELECT envelope.rotate_key('people')")


def test_what_is_made_in_such_a_session_is_its_own(db):
    """An ENABLE ALWAYS trigger seals what arrives; and whoever loads data under an origin."""
    db.people()
    db.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER seal")
    with worker(db) as session:
        session.execute("INSERT INTO people SELECT g, 'x' FROM generate_series(1, 100) g")
        session.execute("SELECT envelope.rotate_key('people')")
        # Its progress is noted, or it would never end.
        session.execute("CALL envelope.reencrypt('people', 'ssn')")
    assert db.sql("SELECT rows_done FROM envelope.reencryption") == [(100,)]
    db.sql("SELECT envelope.rotate_key('people')")


def test_check_tells_of_keys_that_come_from_elsewhere(b):
    told = "SELECT count(*) FROM envelope.check() WHERE ok AND key_id IS NULL AND message IS NOT NULL"
    assert b.value(told) == 1
    b.sql("SELECT envelope.unfollow_keyring('people')")
    assert b.value(told) == 0
    assert b.value("SELECT bool_and(ok) FROM envelope.check()")


def test_a_copy_of_the_database_stands_by_itself(b):
    """The mark stays where it was made."""
    dump = b.cluster.base / f"{b.name}.sql"
    b.cluster.client("pg_dump", "-f", dump, dbname=b.name)
    b.cluster.sql(f"CREATE DATABASE {b.name}_copy")
    b.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", dump, dbname=f"{b.name}_copy")
    b.cluster.sql("SELECT envelope.rotate_key('people')", dbname=f"{b.name}_copy")
    with fails("55000"):
        b.sql("SELECT envelope.rotate_key('people')")


# -- what stays local -----------------------------------------------------------------------------------------------


def test_what_is_of_one_node_alone_is_left_out(a, b):
    """How far a re-encryption has come, and whose keys come from elsewhere."""
    own = {}
    for table, change in (("reencryption", "rows_done = 99"), ("followed_keyring", "origin = 'x'")):
        for db in (a, b):
            db.sql("CALL envelope.reencrypt('people', 'ssn')")
        a.sql("INSERT INTO envelope.followed_keyring SELECT keyring_id, 'elsewhere' FROM envelope.keyring "
              "ON CONFLICT DO NOTHING")
        own[table] = b.sql(f"SELECT * FROM envelope.{table}")
        assert len(own[table]) == 1
        with worker(b) as session:
            copied(a, session, f"envelope.{table}")
            session.execute(f"UPDATE envelope.{table} SET {change}")
            session.execute(f"DELETE FROM envelope.{table}")
        assert b.sql(f"SELECT * FROM envelope.{table}") == own[table]
        # Others than those of that session are written as ever.
        b.sql(f"UPDATE envelope.{table} SET {change}")
        assert b.sql(f"SELECT * FROM envelope.{table}") != own[table]
        b.sql(f"DELETE FROM envelope.{table}")


@pytest.mark.parametrize("table, trigger", [
    ("data_key", "keep_identity"), ("data_key", "keep_destroyed"), ("data_key", "follow"), ("reencryption", "stay_local"), ("followed_keyring", "stay_local"),
    ("followed_keyring", "keep_out"), ("key_use", "keep_out_before"), ("key_event", "keep_out"),
    ("key_event", "keep_history"), ("key_event", "keep_history_truncate")])
def test_check_tells_of_triggers_that_do_not_fire_always(db, table, trigger):
    broken = "SELECT relation, sqlstate FROM envelope.check() WHERE NOT ok"
    assert db.sql(broken) == []
    db.sql(f"ALTER TABLE envelope.{table} ENABLE TRIGGER {trigger}")
    assert db.sql(broken) == [(f"envelope.{table}", "XX001")]
