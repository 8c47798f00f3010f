"""Physical copies: a standby, its promotion, recovery to a point in time, a template database. The KEK is in KMS, and
the proxy in front of it counts."""

import shutil

import pytest
from harness import moto as kms
from harness import process, sealed
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from sqlstate import fails

DATABASE = "app"
SEAL = "SELECT envelope_encrypt('people', %s)"
OPEN = "SELECT envelope_decrypt_text('people', %s)"


@pytest.fixture(scope="module")
def primary(moto, kms_proxy):
    """With an archive of its WAL, and a database of sealed values."""
    conf = {
        "shared_preload_libraries": "pgrx-example",
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": kms_proxy.url,
        "archive_mode": "on",
        # A refused copy is tried again a minute later: it may meet a file that is there.
        "archive_command": "cp %p ../archive/%f",
    }
    with Cluster(conf=conf, env=kms.CREDENTIALS) as c:
        archive = c.base / "archive"
        archive.mkdir()
        shutil.chown(archive, c.data.owner(), c.data.group())
        c.sql(f"CREATE DATABASE {DATABASE}")
        c.sql("CREATE ROLE reader")
        c.sql('CREATE EXTENSION "pgrx-example"', dbname=DATABASE)
        sealed.make(on(c), "reader")
        on(c)("CREATE TABLE unkeyed (v bytea)")
        yield c


def on(cluster, dbname=DATABASE):
    return lambda query, params=None: cluster.sql(query, params, dbname)


@pytest.fixture(scope="module")
def standby(primary):
    with BaseBackup(primary, {"archive_mode": "off"}, standby=True) as c:
        yield c.caught_up()


@pytest.fixture
def own_standby(primary):
    """One that a test may promote."""
    with BaseBackup(primary, {"archive_mode": "off"}, standby=True) as c:
        yield c.caught_up()


def test_it_opens(standby):
    assert sealed.opened(on(standby)) == sealed.PLAINTEXTS


def test_it_seals_with_the_key_that_is_there(primary, standby, proxy):
    with standby.connect(DATABASE) as c:
        values = [c.execute(SEAL, (f"v{i}",)).fetchone()[0] for i in range(3)]
    assert len(set(values)) == 3
    for cluster in (primary, standby):
        assert [on(cluster)(OPEN, (value,)) for value in values] == [[(f"v{i}",)] for i in range(3)]
    assert proxy.counts["GenerateDataKey"] == 0


@pytest.mark.parametrize("query", ["SELECT envelope_encrypt('unkeyed', 'x')",
                                   "SELECT envelope_encrypt_text('unkeyed', 'x')"])
def test_it_makes_no_key_and_asks_no_kms(standby, proxy, query):
    with fails("42704"):
        on(standby)(query)
    assert not proxy.counts


def test_create_key_asks_no_kms_there(standby, proxy):
    with fails("42704"):
        on(standby)("SELECT envelope.create_key('unkeyed')")
    assert not proxy.counts


def test_a_warm_session_sees_new_keys_and_new_states(primary, standby):
    run = on(primary)
    with standby.connect(DATABASE) as session:
        assert session.execute(sealed.opening("people")).fetchall()
        run("CREATE TABLE later (v bytea)")
        with primary.connect(DATABASE) as c:
            first = c.execute("INSERT INTO later VALUES (envelope_encrypt('later', 'x')) RETURNING v").fetchone()[0]
        standby.caught_up()
        opening = "SELECT envelope_decrypt_text('later', %s)"
        assert session.execute(opening, (first,)).fetchone() == ("x",)
        sealed.second_version(run, "later")
        second = run("SELECT envelope_encrypt('later', 'y')")[0][0]
        standby.caught_up()
        assert session.execute(opening, (second,)).fetchone() == ("y",)
        assert session.execute("SELECT envelope_encrypt('later', 'z')").fetchone()[0][:18] == second[:18]
        run("UPDATE envelope.data_key SET state = 'retired' WHERE key_id = (SELECT key_id FROM envelope.inspect(%s))",
            (first,))
        standby.caught_up()
        with fails("55000"):
            session.execute(opening, (first,))
        assert session.execute(opening, (second,)).fetchone() == ("y",)
        run("DROP TABLE later")
        standby.caught_up()


def test_a_key_that_replay_has_not_brought_yet(primary, own_standby):
    run = on(primary)
    own_standby.sql("SELECT pg_wal_replay_pause()")
    process.wait_until(lambda: own_standby.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)], "pause")
    run("CREATE TABLE unseen (v bytea)")
    run("SELECT envelope.create_key('unseen')")
    value = run("SELECT envelope_encrypt('unseen', 'x')")[0][0]
    with fails("42704") as caught:
        on(own_standby)(OPEN, (value,))
    assert "eplay" in caught.value.diag.message_hint
    with fails("42704") as caught:
        on(own_standby)("SELECT envelope_encrypt('unkeyed', 'x')")
    assert "eplay" in caught.value.diag.message_hint
    with fails("42704") as caught:
        run(OPEN, (value[:2] + bytes(4) + value[6:],))
    assert "eplay" not in caught.value.diag.message_hint
    own_standby.sql("SELECT pg_wal_replay_resume()")
    run("DROP TABLE unseen")
    own_standby.caught_up()


def test_promoted_it_goes_on(primary, own_standby):
    with own_standby.connect(DATABASE) as session:
        session.execute("SET envelope.cache_ttl = '10min'")
        before = session.execute(SEAL, ("before",)).fetchone()[0]
        own_standby.promote()
        # The session that was there all the time, and a new one.
        for run in (lambda *a: session.execute(*a).fetchall(), on(own_standby)):
            assert run(OPEN, (before,)) == [("before",)]
            assert sealed.opened(run) == sealed.PLAINTEXTS
        session.execute("INSERT INTO unkeyed VALUES (envelope_encrypt('unkeyed', 'x'))")
        assert session.execute("SELECT envelope_decrypt_text('unkeyed', v) FROM unkeyed").fetchall() == [("x",)]
    sealed.insert(on(own_standby), "people", 50, b"new")
    sealed.second_version(on(own_standby), "records")
    sealed.insert(on(own_standby), "records", 50, "new")
    assert on(own_standby)(sealed.opening("records"))[-1] == ("new",)
    # The old primary knows nothing of those keys, and opens what it has.
    new = on(own_standby)("SELECT v FROM records WHERE id = 50")[0][0]
    with fails("42704"):
        on(primary)("SELECT envelope_decrypt_text('records', %s)", (new,))
    assert sealed.opened(on(primary)) == sealed.PLAINTEXTS


def test_two_primaries_never_share_a_nonce(primary, own_standby):
    """Both seal under one key: sessions from before the promotion, after it, and parallel workers of both."""
    many = "SELECT substr(envelope_encrypt('people', 'x'), 1, 42) FROM generate_series(1, 5000)"
    seen = []
    with primary.connect(DATABASE) as old, own_standby.connect(DATABASE) as new:
        sessions = [old, new]
        for session in sessions:
            seen += session.execute(many).fetchall()
        own_standby.promote()
        for session in sessions:
            seen += session.execute(many).fetchall()
    for cluster in (primary, own_standby):
        seen += on(cluster)(many)
        with cluster.connect(DATABASE) as c:
            # The setting was renamed in PostgreSQL 16.
            force = "force_parallel_mode" if c.info.server_version < 160000 else "debug_parallel_query"
            for name, value in ((force, "on"), ("parallel_setup_cost", 0), ("parallel_tuple_cost", 0),
                                ("min_parallel_table_scan_size", 0)):
                c.execute(f"SET {name} = {value}")
            parallel = "SELECT substr(envelope_encrypt('people', 'x'), 1, 42) FROM pg_attribute"
            assert "Gather" in str(c.execute(f"EXPLAIN {parallel}").fetchall())
            seen += c.execute(parallel).fetchall()
    nonces = [header[18:42] for (header,) in seen]
    assert len({header[:18] for (header,) in seen}) == 1
    assert len(set(nonces)) == len(nonces) > 30000


@pytest.fixture
def backup(primary):
    """Base backups of the primary, each to be recovered to a point in time."""
    made = []

    def take():
        made.append(BaseBackup(primary, {"archive_mode": "off", "restore_command": f"cp {primary.base}/archive/%f %p",
                                         "recovery_target_action": "promote"}))
        return made[-1]

    yield take
    for c in made:
        c.destroy()


def test_recovery_to_before_and_after_a_second_key(primary, backup):
    run = on(primary)
    run("CREATE TABLE timed (id int, v bytea)")
    run("INSERT INTO timed VALUES (1, envelope_encrypt('timed', 'first'))")
    one, two = backup(), backup()
    run("SELECT pg_create_restore_point('one_version')")
    sealed.second_version(run, "timed")
    run("INSERT INTO timed VALUES (2, envelope_encrypt('timed', 'second'))")
    run("SELECT pg_create_restore_point('two_versions')")
    run("CREATE TABLE never_there ()")
    archived(primary)
    opening = "SELECT envelope_decrypt_text('timed', v) FROM timed ORDER BY id"
    versions = "SELECT version, state FROM envelope.keys WHERE relation = 'public.timed' ORDER BY version"
    for c, name, opens, states in (
            (one, "one_version", [("first",)], [(1, "active")]),
            (two, "two_versions", [("first",), ("second",)], [(1, "decrypt-only"), (2, "active")])):
        c.set(recovery_target_name=name)
        c.start()
        process.wait_until(lambda: not c.sql("SELECT pg_is_in_recovery()")[0][0], "end of recovery")
        there = on(c)
        assert there("SELECT to_regclass('never_there')") == [(None,)]
        assert there(opening) == opens
        assert there(versions) == states
        there("INSERT INTO timed VALUES (3, envelope_encrypt('timed', 'third'))")
        assert there(opening) == [*opens, ("third",)]
    # What was sealed after the point, under a key of after the point.
    lost = run("SELECT v FROM timed WHERE id = 2")[0][0]
    with fails("42704"):
        on(one)("SELECT envelope_decrypt_text('timed', %s)", (lost,))


def archived(primary):
    """Waits until all WAL so far is in the archive."""
    segment = primary.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    # The copy itself is there before it is whole.
    done = primary.data / "pg_wal" / "archive_status" / f"{segment}.done"
    process.wait_until(done.exists, "archiving")


def test_a_template_copies_the_keys(primary):
    primary.sql(f"CREATE DATABASE copy TEMPLATE {DATABASE}")
    run, copied = on(primary), on(primary, "copy")
    try:
        assert sealed.catalog(copied) == sealed.catalog(run)
        assert all(oid == named for _, oid, named in sealed.bindings(copied))
        assert sealed.opened(copied) == sealed.PLAINTEXTS
        for source, target in ((run, copied), (copied, run)):
            value = source("SELECT envelope_encrypt('people', 'either')")[0][0]
            assert target(OPEN, (value,)) == [("either",)]
        # From here each goes its way.
        sealed.second_version(copied, "texts")
        value = copied("SELECT envelope_encrypt('texts', 'x')")[0][0]
        with fails("42704"):
            run("SELECT envelope_decrypt('texts', %s)", (value,))
        # The keyring's encryption context stays what it was, so that a key policy for it still fits.
        assert copied("SELECT w.kms_context->>'database' FROM envelope.wrapped_key w JOIN envelope.inspect(%s) i "
                      "USING (key_id)", (value,)) == [(DATABASE,)]
    finally:
        primary.sql("DROP DATABASE copy")
