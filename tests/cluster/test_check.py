"""envelope.check() when KEKs are away, refuse, or answer wrongly."""

import base64
import contextlib
import json
import os
import shutil
import threading
import time

import pytest
from harness import faults, process
from harness import moto as kms
from harness.audit import Audit
from harness.work import Work

BROKEN = "SELECT * FROM envelope.check() WHERE NOT ok"


def key_file(db, name):
    """Another key file of the cluster, as fit as the one that was made by itself; its URI."""
    default = db.cluster.base / "data.kek" / "default.kek"
    path = default.with_name(name)
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    shutil.chown(path, default.owner(), default.group())
    return f"file://{path}"


@contextlib.contextmanager
def going_on(db, *lives):
    """Runs each of these again and again, in a session of its own, while the block runs; gives a function that says whether
    each has begun anew since."""
    over, times = threading.Event(), [0] * len(lives)

    def live(number):
        with db.connect() as c:
            while not over.is_set():
                lives[number](c, times[number])
                times[number] += 1

    works = [Work(live, number) for number in range(len(lives))]
    try:
        # One that has failed says so at the end.
        yield lambda: min(times) > 1 or not all(work.is_alive() for work in works)
    finally:
        over.set()
    for work in works:
        work.result()


def makes_keys(c, n):
    c.execute(f"CREATE TABLE made_{n} (v bytea)")
    c.execute(f"SELECT envelope.create_key('made_{n}')")


def makes_and_drops(c, n):
    c.execute("CREATE TABLE short (v bytea)")
    c.execute("SELECT envelope.create_key('short')")
    c.execute("DROP TABLE short")


def lends_and_drops(c, n):
    c.execute("CREATE TABLE lent (v bytea)")
    c.execute("SELECT envelope.share_keyring('moved', 'lent')")
    c.execute("DROP TABLE lent")


def rotates_and_destroys(c, n):
    active = "SELECT key_id FROM envelope.keys WHERE relation = 'public.rotated' AND state = 'active'"
    before, = c.execute(active).fetchone()
    c.execute("SELECT envelope.rotate_key('rotated')")
    c.execute("SELECT envelope.destroy_key(%s, 'over')", (before,))


def grants_and_drops(db):
    def life(c, n):
        c.execute(f"CREATE ROLE short_{db.name}")
        c.execute(f"SELECT envelope.grant_key('rotated', 'short_{db.name}', 'decrypt')")
        c.execute(f"SELECT envelope.revoke_key('rotated', 'short_{db.name}', 'decrypt')")
        c.execute(f"DROP ROLE short_{db.name}")

    return life


def moves(one, other):
    def life(c, n):
        c.execute("SELECT count(*) FROM envelope.rewrap(%s, %s, 'moved')", ((one, other), (other, one))[n % 2])

    return life


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_no_false_alarm_beside_changes(own_cluster, database, isolation):
    """A table made, rotated, dropped, granted, moved to another KEK: every moment of it is whole."""
    db = database(own_cluster().start())
    db.sql("CREATE TABLE rotated (v bytea); CREATE TABLE moved (v bytea)")
    db.sql("SELECT envelope.create_key('rotated'), envelope.create_key('moved')")
    one = db.value("SELECT keks[1] FROM envelope.keys WHERE relation = 'public.moved'")
    other = key_file(db, "other.kek")
    lives = (makes_keys, makes_and_drops, lends_and_drops, rotates_and_destroys, grants_and_drops(db),
             moves(one, other))
    found, until = [], time.monotonic() + 4
    with going_on(db, *lives) as begun_anew, db.connect() as c:
        while time.monotonic() < until or not begun_anew():
            c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            for _ in range(5):
                found += c.execute(BROKEN).fetchall()
            c.execute("COMMIT")
    assert found == []


@pytest.mark.parametrize("table", ["keyring", "keyring_table", "data_key", "wrapped_key", "key_grant", "sealed_column",
                                   "key_use", "reencryption", "followed_keyring", "column_index", "key_event"])
def test_a_table_that_is_not_the_schemas_owners_is_told_of(db, table):
    """The extension writes as the owner of the schema. The remedy stands in the row."""
    db.sql(f"ALTER TABLE envelope.{table} OWNER TO {db.low}")
    (relation, sqlstate, message), = db.sql("SELECT relation, sqlstate, message FROM envelope.check() WHERE NOT ok")
    assert (relation, sqlstate) == (f"envelope.{table}", "XX001")
    db.sql(message.split(": ", 1)[1])
    assert db.sql(BROKEN) == []


def test_what_the_transaction_itself_did_is_seen(db):
    db.people(rows=["x"])
    with db.connect() as c:
        c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert c.execute(BROKEN).fetchall() == []
        db.people("later", rows=["x"])
        # Others' changes are seen whatever the isolation level, as sealing and opening see them.
        seen = "SELECT relation FROM envelope.check() WHERE key_id IS NOT NULL ORDER BY 1"
        assert c.execute(seen).fetchall() == [("public.later",), ("public.people",)]
        c.execute("CREATE TABLE own (v bytea); SELECT envelope.create_key('own')")
        assert ("public.own",) in c.execute(seen).fetchall()
        # What a DELETE of this isolation level sees, that is: not the other's.
        c.execute("SAVEPOINT s; DELETE FROM envelope.wrapped_key")
        assert c.execute("SELECT relation, sqlstate FROM envelope.check() WHERE NOT ok ORDER BY 1").fetchall() == [
            ("public.own", "XX001"), ("public.people", "XX001")]
        c.execute("ROLLBACK TO s")
        assert c.execute(BROKEN).fetchall() == []


def test_an_error_in_between_leaves_no_snapshot_behind(db):
    """One that is caught: what the transaction does afterwards sees what others have committed since."""
    db.people(rows=["x"])
    with db.connect() as c, db.connect() as other:
        other.execute("BEGIN; LOCK TABLE envelope.wrapped_key IN ACCESS EXCLUSIVE MODE")
        c.execute("BEGIN; SET LOCAL lock_timeout = '100ms'")
        c.execute("DO $$ BEGIN PERFORM envelope.check(); RAISE 'not reached'; EXCEPTION WHEN lock_not_available THEN END $$")
        other.execute("COMMIT")
        db.people("later", rows=["x"])
        assert c.execute("SELECT envelope_decrypt_text('later', ssn) FROM later").fetchall() == [("x",)]
        assert c.execute("SELECT count(*) FROM envelope.check() WHERE ok").fetchone() == (2,)
        c.execute("COMMIT")


@pytest.mark.parametrize("change, told", [
    ("SELECT 1", [("one", False)]),
    ("SELECT envelope.destroy_key('{key}', 'over')", []),
    ("SELECT count(*) FROM envelope.rewrap('{one}', '{other}')", [("other", True)]),
    ("SELECT envelope.add_kek('people', '{other}'); SELECT envelope.drop_kek('people', '{one}')", [("other", True)]),
    ("DELETE FROM envelope.data_key WHERE key_id = '{key}'; DELETE FROM envelope.wrapped_key WHERE key_id = '{key}'", []),
])
def test_what_changes_while_the_kms_is_asked(aws, proxy, moto, change, told):
    """The KMS no longer unwraps what is no longer in the catalog: that is no break."""
    aws.sql("CREATE TABLE before (v bytea); SELECT envelope.create_key('before')")
    aws.people()
    aws.sql("SELECT envelope.create_key('people')")
    keks = {"one": aws.cluster.conf["envelope.default_kek"], "other": kms.kek(moto.create_key())}
    key, wrapped = aws.sql("SELECT k.key_id, wrapped FROM envelope.keys k JOIN envelope.wrapped_key USING (key_id) "
                           "WHERE relation = 'public.people'")[0]
    aws.sql("SELECT envelope.rotate_key('people')")
    held, go_on = threading.Event(), threading.Event()

    def hold(x):
        held.set()
        go_on.wait(60)
        faults.none(x)

    def deny_that_wrap(x):
        is_that = base64.b64decode(x.request["CiphertextBlob"]) == wrapped
        (faults.deny if is_that else faults.none)(x)

    with aws.patient() as c, aws.connect() as changing:
        changing.execute(f"SET envelope.allowed_keks = '{keks['one']}, {keks['other']}'")
        proxy.fault("Decrypt", hold, times=1)
        checking = Work(lambda: c.execute("SELECT kek, ok FROM envelope.check() WHERE key_id = %s", (key,)).fetchall())
        process.wait_until(held.is_set, "check() asks about the table before")
        for statement in change.format(key=key, **keks).split(";"):
            changing.execute(statement)
        proxy.fault("Decrypt", deny_that_wrap)
        go_on.set()
        assert checking.result() == [(keks[kek], ok) for kek, ok in told]


def test_check_after_the_key_file_moved(own_cluster, database):
    """One KEK gone, another there: each wrap gets its row, whatever this session has in memory."""
    c = own_cluster().start()
    db = database(c)
    db.people("a", rows=["x"])
    other = c.base / "data.kek" / "other.kek"
    other.write_bytes((c.base / "data.kek" / "default.kek").read_bytes()[::-1])
    stat = (c.base / "data.kek" / "default.kek").stat()
    other.chmod(0o600)
    os.chown(other, stat.st_uid, stat.st_gid)
    db.sql("CREATE TABLE b (v bytea); CREATE TABLE c (v bytea)")
    db.sql(f"SELECT envelope.create_key('b', 'file://{other}')")
    db.sql("SELECT envelope.create_key('c')")
    checked = "SELECT relation, ok, sqlstate FROM envelope.check() ORDER BY 1"
    with db.connect() as session:
        session.execute("SELECT envelope.warm('a')")
        assert session.execute(checked).fetchall() == [(f"public.{t}", True, None) for t in "abc"]
        other.rename(other.with_suffix(".away"))
        assert session.execute(checked).fetchall() == [
            ("public.a", True, None), ("public.b", False, "55000"), ("public.c", True, None)]
        default = c.base / "data.kek" / "default.kek"
        default.rename(default.with_suffix(".away"))
        assert [row[1] for row in session.execute(checked)] == [False] * 3
        # The cached key goes on; only check() looks past it.
        session.execute("SELECT envelope_decrypt('a', ssn) FROM a")
        other.with_suffix(".away").rename(other)


def test_check_asks_a_kek_out_of_reach_once(aws, proxy):
    """And goes on: with a timeout for each key of a large database nobody would see the end."""
    for n in range(3):
        aws.people(f"t{n}", rows=["x"])
    proxy.reset_counts()
    assert aws.value("SELECT count(*) FROM envelope.check() WHERE ok") == 3
    assert proxy.counts["Decrypt"] == 3
    proxy.reset_counts()
    proxy.fault("Decrypt", faults.hang)
    rows = aws.sql("SELECT ok, sqlstate FROM envelope.check()")
    assert rows == [(False, "58030")] * 3 and proxy.counts["Decrypt"] == 1
    proxy.clear()
    proxy.fault("Decrypt", faults.deny, times=1)
    assert sorted(aws.sql("SELECT ok, sqlstate FROM envelope.check()"), key=str) == [
        (False, "28000"), (True, None), (True, None)]
    proxy.fault("Decrypt", faults.another_plaintext, times=1)
    assert aws.value("SELECT array_agg(sqlstate) FROM envelope.check() WHERE NOT ok") == ["XX001"]


def test_what_aws_kms_has_recorded_of_a_kek(aws, proxy):
    """Told once a KEK, and only where KMS tells: nothing depends on it."""
    kek = aws.cluster.conf["envelope.default_kek"]
    told = {"KeyId": "k", "KeyCreationDate": 1700000000, "TrackingStartDate": 1700000000, "KeyLastUsage": {
        "Timestamp": 1750000000, "Operation": "Decrypt", "KmsRequestId": "the-number-of-the-request"}}
    for name in ("one", "other"):
        aws.people(name, rows=["x"])
    proxy.reset_counts()
    proxy.fault("GetKeyLastUsage", lambda x: x.answer(200, faults.AMZ_JSON, json.dumps(told).encode()))
    records = "SELECT kek, ok, sqlstate, message FROM envelope.check() WHERE key_id IS NULL"
    (found, ok, sqlstate, message), = aws.sql(records)
    assert (found, ok, sqlstate) == (kek, True, None) and proxy.counts["GetKeyLastUsage"] == 1
    assert all(part in message for part in ("2023-11-14T22:13:20Z", "2025-06-15T15:06:40Z", "Decrypt", "the-number-of-the-request"))
    audit = Audit(aws.cluster)
    for fault in (faults.deny, faults.internal, faults.garbage, faults.reset):
        proxy.reset_counts()
        proxy.fault("GetKeyLastUsage", fault)
        assert aws.sql(records) == [] and aws.value("SELECT bool_and(ok) FROM envelope.check()")
        assert proxy.counts["GetKeyLastUsage"] == 2
    assert audit.lines("refuse") == []
    # A KEK that does not work is not asked about.
    proxy.reset_counts()
    proxy.fault("Decrypt", faults.deny)
    assert aws.value("SELECT count(*) FROM envelope.check() WHERE NOT ok") == 2
    assert proxy.counts["GetKeyLastUsage"] == 0
