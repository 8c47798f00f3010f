"""Rotation as other sessions, a slow KMS, crashes and a standby see it."""

import threading

import psycopg
import pytest
from harness import faults, process
from harness import moto as kms
from harness.base_backup import BaseBackup
from harness.work import Work, at_once
from sqlstate import fails

SEAL = "SELECT envelope_encrypt('people', 'x')"
OPEN_ALL = "SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id"
VERSIONS = "SELECT version, state FROM envelope.keys WHERE relation = 'public.people' ORDER BY version"
AGED = "UPDATE envelope.data_key SET created_at = now() - interval '1 hour' WHERE state = 'active'"
# PL/pgSQL evaluates such an assignment without beginning a statement; bytes 3 to 18 are the key id.
SEAL_UNTIL_ANOTHER_KEY = """DO $$ DECLARE first bytea := envelope_encrypt('people', 'x'); sealed bytea; BEGIN LOOP
sealed := envelope_encrypt('people', 'x'); EXIT WHEN substr(sealed, 3, 16) <> substr(first, 3, 16);
PERFORM pg_sleep(0.01); END LOOP; END $$"""
LIMIT = "SELECT envelope.set_limits('people', '{\"rotate_after\": 60}')"


def version_of(c, sealed):
    return c.execute("SELECT version FROM envelope.inspect(%s)", (sealed,)).fetchone()[0]


def sealed_version(c):
    return version_of(c, c.execute(SEAL).fetchone()[0])


def one_active(db):
    states = [state for _, state in db.sql(VERSIONS)]
    return states == ["decrypt-only"] * (len(states) - 1) + ["active"]


def test_a_loop_that_is_running_seals_under_the_next_key(db):
    """Else it would go on under a key that is destroyed meanwhile."""
    db.people(rows=["x"])
    with db.connect() as c:
        c.execute("SET statement_timeout = '60s'")
        loop = Work(c.execute, SEAL_UNTIL_ANOTHER_KEY)
        process.wait_until(lambda: db.sleeps(c.info.backend_pid), "the loop")
        db.sql("SELECT envelope.rotate_key('people')")
        loop.result()


# -- sessions ---------------------------------------------------------------------------------------------------


def test_other_sessions_seal_under_it_from_their_next_statement_on(db):
    db.people(rows=["x"])
    with db.connect() as c:
        assert sealed_version(c) == 1
        db.sql("SELECT envelope.rotate_key('people')")
        assert sealed_version(c) == 2
        c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        c.execute("SELECT count(*) FROM people")
        db.sql("SELECT envelope.rotate_key('people')")
        sealed = c.execute(SEAL).fetchone()[0]
        c.execute("COMMIT")
        assert version_of(c, sealed) == 3
        assert c.execute(OPEN_ALL).fetchall() == [("x",)]


def test_before_the_commit_nobody_else_has_it_and_nobody_waits(db):
    db.people(rows=["x"])
    with db.connect() as c, db.connect() as other:
        c.execute("BEGIN")
        c.execute("SELECT envelope.rotate_key('people')")
        c.execute("INSERT INTO people VALUES (2, 'y')")
        other.execute("SET lock_timeout = '1ms'")
        assert sealed_version(other) == 1
        other.execute("INSERT INTO people VALUES (3, 'z')")
        assert other.execute(OPEN_ALL).fetchall() == [("x",), ("z",)]
        c.execute("COMMIT")
        assert other.execute(OPEN_ALL).fetchall() == [("x",), ("y",), ("z",)]
        assert sealed_version(other) == 2


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_of_two_at_once_the_second_waits_and_makes_its_own(db, end):
    db.people(rows=["x"])
    with db.connect() as first, db.connect() as second:
        first.execute("BEGIN")
        one = first.execute("SELECT envelope.rotate_key('people')").fetchone()[0]
        rotated = Work(lambda: second.execute("SELECT envelope.rotate_key('people')").fetchone()[0])
        process.wait_until(lambda: db.waits_for_lock(second.info.backend_pid), "it waits for a lock")
        first.execute(end)
        two = rotated.result()
        assert one != two
        assert db.value("SELECT key_id FROM envelope.keys WHERE state = 'active'") == two
    assert len(db.sql(VERSIONS)) == (3 if end == "COMMIT" else 2) and one_active(db)


def test_many_rotate_while_many_seal(db):
    db.people()
    db.sql("INSERT INTO people VALUES (0, 'v0')")
    together = threading.Barrier(12)

    def run(i):
        with db.connect() as c:
            together.wait(60)
            for n in range(10):
                if i < 4:
                    c.execute("SELECT envelope.rotate_key('people')")
                else:
                    row = i * 100 + n
                    c.execute("INSERT INTO people VALUES (%s, %s)", (row, f"v{row}".encode()))

    at_once(run, 12)
    rows = db.sql("SELECT id, envelope_decrypt_text('people', ssn) FROM people")
    assert len(rows) == 81 and all(text == f"v{i}" for i, text in rows)
    assert [version for version, _ in db.sql(VERSIONS)] == list(range(1, 42)) and one_active(db)


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_older_than_the_key_does_not_hide_it(db, level):
    db.people(rows=["x"])
    with db.connect() as c:
        c.execute(f"BEGIN ISOLATION LEVEL {level}")
        c.execute("SELECT count(*) FROM people")
        db.sql("SELECT envelope.rotate_key('people')")
        c.execute("SELECT envelope.rotate_key('people')")
        assert sealed_version(c) == 3
        c.execute("COMMIT")
    assert db.sql(VERSIONS) == [(1, "decrypt-only"), (2, "decrypt-only"), (3, "active")]
    assert db.sql("SELECT envelope_decrypt_text('people', ssn) FROM people") == [("x",)]


def test_prepared(own_cluster, database):
    cluster = own_cluster(conf={"max_prepared_transactions": 10, "fsync": "on"}).start()
    db = database(cluster)
    db.people(rows=["x"])
    with db.connect() as c:
        for name in ("kept", "lost"):
            c.execute("BEGIN")
            c.execute("SELECT envelope.rotate_key('people')")
            c.execute("INSERT INTO people SELECT 1 + count(*), %s FROM people", (name.encode(),))
            c.execute(f"PREPARE TRANSACTION '{name}'")
            # Its fate is open: this session, too, seals under the key that is there.
            assert sealed_version(c) == (1 if name == "kept" else 2)
            cluster.kill9()
            cluster.start()
            c = db.connect()
            c.execute(f"{'COMMIT' if name == 'kept' else 'ROLLBACK'} PREPARED '{name}'")
            assert sealed_version(c) == 2
    assert db.sql(OPEN_ALL) == [("x",), ("kept",)]
    assert db.sql(VERSIONS) == [(1, "decrypt-only"), (2, "active")]


# -- the KMS ----------------------------------------------------------------------------------------------------


def test_requests(aws, proxy):
    aws.people(rows=["x"])
    proxy.reset_counts()
    aws.sql("SELECT envelope.rotate_key('people')")
    assert proxy.counts == {"GenerateDataKey": 1, "Decrypt": 1}


def test_nothing_is_locked_while_the_kms_is_asked(aws, proxy):
    aws.people(rows=["x"])
    held = proxy.hold("GenerateDataKey")
    with aws.patient() as c, aws.connect() as other:
        rotated = Work(c.execute, "SELECT envelope.rotate_key('people')")
        held()
        locks = other.execute(
            "SELECT locktype, relation::regclass::text, mode FROM pg_locks WHERE pid = %s AND locktype <> 'virtualxid'"
            " AND mode <> 'AccessShareLock' OR relation = 'people'::regclass",
            (c.info.backend_pid,)).fetchall()
        assert locks == []
        proxy.clear()
        rotated.result()


@pytest.mark.parametrize("fault, sqlstate", [("deny", "28000"), ("disabled", "55000"), ("unavailable", "58030"),
                                             ("another_plaintext", "XX001")])
def test_when_the_kms_fails_all_stays_as_it_was(aws, proxy, fault, sqlstate):
    aws.people(rows=["x"])
    before = aws.sql("SELECT * FROM envelope.data_key"), aws.sql("SELECT * FROM envelope.wrapped_key")
    proxy.fault("GenerateDataKey", getattr(faults, fault))
    with fails(sqlstate):
        aws.sql("SELECT envelope.rotate_key('people')")
    assert (aws.sql("SELECT * FROM envelope.data_key"), aws.sql("SELECT * FROM envelope.wrapped_key")) == before
    proxy.clear()
    assert aws.sql(OPEN_ALL) == [("x",)]


@pytest.mark.parametrize("operation", ["GenerateDataKey", "Decrypt"])
def test_killed_while_the_kms_is_asked(moto, proxy, own_cluster, database, operation):
    cluster = own_cluster(conf=aws_conf(moto, proxy, fsync="on"), env=kms.CREDENTIALS).start()
    db = database(cluster)
    db.people(rows=["x"])
    proxy.reset_counts()
    proxy.fault(operation, faults.hang)
    with db.patient() as c:
        rotated = Work(c.execute, "SELECT envelope.rotate_key('people')")
        process.wait_until(lambda: proxy.counts[operation], "it asks")
        cluster.kill9_backend(c.info.backend_pid)
        with pytest.raises(psycopg.Error):
            rotated.result()
    proxy.clear()
    assert db.sql(VERSIONS) == [(1, "active")]
    assert db.sql(OPEN_ALL) == [("x",)]


def aws_conf(moto, proxy, **more):
    return {"envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_region": kms.REGION,
            "envelope.aws_endpoint_url": proxy.url, "envelope.kms_timeout": "4s", **more}


@pytest.mark.parametrize("committed", [False, True])
def test_killed_around_the_commit(own_cluster, database, committed):
    cluster = own_cluster(conf={"fsync": "on"}).start()
    db = database(cluster)
    db.people(rows=["x"])
    c = db.connect()
    c.execute("BEGIN")
    c.execute("SELECT envelope.rotate_key('people')")
    c.execute("INSERT INTO people VALUES (2, 'y')")
    if committed:
        c.execute("COMMIT")
    cluster.kill9()
    cluster.start()
    assert db.sql(OPEN_ALL) == [("x",), ("y",)][:1 + committed]
    assert db.sql(VERSIONS) == ([(1, "decrypt-only"), (2, "active")] if committed else [(1, "active")])
    assert db.sql("SELECT * FROM envelope.check() WHERE NOT ok") == []


def test_a_standby_follows(moto, proxy, own_cluster, database):
    cluster = own_cluster(conf=aws_conf(moto, proxy), env=kms.CREDENTIALS).start()
    db = database(cluster)
    db.people(rows=["x"])
    with BaseBackup(cluster, standby=True) as standby:
        standby.caught_up()
        with standby.connect(db.name) as session:
            assert sealed_version(session) == 1
            db.sql("SELECT envelope.rotate_key('people')")
            db.sql("INSERT INTO people VALUES (2, 'y')")
            standby.caught_up()
            assert session.execute(OPEN_ALL).fetchall() == [("x",), ("y",)]
            assert sealed_version(session) == 2
            proxy.reset_counts()
            with fails("25006"):
                session.execute("SELECT envelope.rotate_key('people')")
            # Nor by itself, where nothing can be written.
            db.sql(LIMIT)
            db.sql(AGED)
            standby.caught_up()
            assert [sealed_version(session) for _ in range(2)] == [2, 2]
            assert not proxy.counts


# -- by itself --------------------------------------------------------------------------------------------------


class Noticed(list):
    """The WARNINGs of a connection."""

    def __init__(self, connection):
        super().__init__()
        connection.add_notice_handler(lambda diag: self.append(diag.message_primary))


@pytest.mark.parametrize("fault", ["deny", "unavailable", "another_plaintext"])
def test_sealing_goes_on_when_rotation_fails(aws, proxy, fault):
    aws.people(rows=["x"])
    aws.sql(LIMIT)
    aws.sql(AGED)
    with aws.connect() as c:
        noticed = Noticed(c)
        c.execute("SELECT envelope.warm('people')")
        proxy.reset_counts()
        proxy.fault("*", getattr(faults, fault))
        for i in range(2, 30):
            c.execute("INSERT INTO people VALUES (%s, 'y')", (i,))
        assert len(noticed) == 1 and "could not rotate" in noticed[0]
        # Nor is the KMS asked for each of them: one attempt, with its own retries.
        assert proxy.counts["GenerateDataKey"] <= 3
        proxy.clear()
        assert aws.sql(VERSIONS) == [(1, "active")]
    # Another session tries anew.
    with aws.connect() as c:
        noticed = Noticed(c)
        c.execute("INSERT INTO people VALUES (30, 'y')")
        assert noticed == [] and aws.sql(VERSIONS) == [(1, "decrypt-only"), (2, "active")]


def test_it_waits_for_no_lock(db):
    db.people(rows=["x"])
    db.sql(LIMIT)
    db.sql(AGED)
    for lock in ("SELECT envelope.rotate_key('people')",
                 "SELECT FROM envelope.keyring FOR UPDATE",
                 "LOCK TABLE people IN ACCESS EXCLUSIVE MODE"):
        with db.connect() as holder, db.connect() as c:
            noticed = Noticed(c)
            holder.execute("BEGIN")
            holder.execute(lock)
            c.execute("SET statement_timeout = '60s'")
            assert [sealed_version(c) for _ in range(3)] == [1, 1, 1], lock
            assert noticed == []
            holder.execute("ROLLBACK")
    with db.connect() as c:
        assert [sealed_version(c) for _ in range(2)] == [1, 2]


def test_what_a_write_meets_is_undone_alone(db):
    """Something of somebody's own making stands in the way: the row that is sealed goes in all the same."""
    db.people(rows=["x"])
    db.sql(LIMIT)
    db.sql(AGED)
    db.sql("""CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '23514'; END $$""")
    db.sql("CREATE TRIGGER no BEFORE INSERT ON envelope.wrapped_key FOR EACH ROW EXECUTE FUNCTION no()")
    with db.connect() as c:
        noticed = Noticed(c)
        c.execute("BEGIN")
        c.execute("INSERT INTO people VALUES (2, 'y')")
        c.execute("INSERT INTO people VALUES (3, 'z')")
        c.execute("COMMIT")
        assert len(noticed) == 1 and "not today" in noticed[0]
        assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (1,)
    rows = db.sql("SELECT new_key_id, sqlstate FROM envelope.rotate_due()")
    assert rows == [(None, "23514")]
    assert db.sql(VERSIONS) == [(1, "active")] and db.sql(OPEN_ALL) == [("x",), ("y",), ("z",)]


def test_cancelled_within_it_the_statement_ends(aws, proxy):
    aws.people(rows=["x"])
    aws.sql(LIMIT)
    aws.sql(AGED)
    proxy.fault("GenerateDataKey", faults.hang)
    with aws.connect() as c:
        c.execute("SELECT envelope.warm('people')")
        c.execute("SET statement_timeout = '3s'")
        with fails("57014"):
            c.execute("INSERT INTO people VALUES (2, 'y')")
        asked = proxy.counts["GenerateDataKey"]
        # The next one is not held up by it again.
        c.execute("SET statement_timeout = 0")
        c.execute("INSERT INTO people VALUES (3, 'z')")
        assert proxy.counts["GenerateDataKey"] == asked
    proxy.clear()
    assert aws.sql(OPEN_ALL) == [("x",), ("z",)]


def test_rolled_back_with_what_was_sealed(db):
    db.people(rows=["x"])
    db.sql(LIMIT)
    db.sql(AGED)
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO people VALUES (2, 'y'), (3, 'z')")
        assert sealed_version(c) == 2
        c.execute("ROLLBACK")
        c.execute("INSERT INTO people VALUES (4, 'four')")
        assert sealed_version(c) == 2
    assert db.sql(OPEN_ALL) == [("x",), ("four",)] and one_active(db) and len(db.sql(VERSIONS)) == 2


def test_values_are_counted_across_sessions_however_short(db):
    """Of 20,000 values about every 78th leaves a row, whichever session seals it."""
    limit = 20_000
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    db.sql("SELECT envelope.set_limits('people', %s)", (f'{{"rotate_after_seals": {limit}}}',))
    for _ in range(80):
        with db.connect() as c:
            c.execute("SELECT count(envelope_encrypt('people', 'x')) FROM generate_series(1, 50)")
    # 4,000 were sealed, by no session as many as a sample stands for. The standard deviation is 335.
    assert 2_000 < db.value("SELECT sum(seals) FROM envelope.key_use") < 6_000
    assert db.value("SELECT count(*) FROM envelope.key_use") < 80
    with db.connect() as c:
        c.execute("SELECT count(envelope_encrypt('people', 'x')) FROM generate_series(1, %s)", (limit,))
    assert db.sql(VERSIONS) == [(1, "decrypt-only"), (2, "active")]
    assert db.value("SELECT reason FROM envelope.keys WHERE version = 1") == f"sealed {limit} values"


def test_a_job_does_so_many_at_a_time(db):
    for i in range(5):
        db.people(f"t{i}", ["x"])
        db.sql(f"SELECT envelope.set_limits('t{i}', '{{\"rotate_after\": 60}}')")
    # What fails does not count, or it would keep the others from their turn for ever.
    db.sql("UPDATE envelope.wrapped_key SET kek = kek || '.gone' WHERE key_id IN "
           "(SELECT key_id FROM envelope.keys WHERE relation IN ('public.t0', 'public.t1'))")
    db.sql(AGED)
    done = []
    for _ in range(2):
        rows = db.sql("SELECT relation, new_key_id IS NOT NULL FROM envelope.rotate_due(max_keys => 2)")
        done.append(sorted(table for table, rotated in rows if rotated))
    assert sorted(done[0] + done[1]) == ["public.t2", "public.t3", "public.t4"] and len(done[0]) == 2
    for bad in (0, -1, None):
        with fails("22023"):
            db.sql("SELECT envelope.rotate_due(%s)", (bad,))


def test_a_job_leaves_the_rest_when_the_kms_goes_away(aws, proxy):
    for i in range(4):
        aws.people(f"t{i}", ["x"])
        aws.sql(f"SELECT envelope.set_limits('t{i}', '{{\"rotate_after\": 60}}')")
    aws.sql(AGED)
    proxy.reset_counts()
    proxy.fault("GenerateDataKey", lambda x: faults.unavailable(x) if proxy.counts["GenerateDataKey"] > 2
                else faults.none(x))
    rows = aws.sql("SELECT relation, new_key_id IS NOT NULL, sqlstate, message FROM envelope.rotate_due()")
    assert [done for _, done, _, _ in rows] == [True, True, False, False]
    assert [sqlstate for _, _, sqlstate, _ in rows] == [None, None, "58030", "58030"]
    assert proxy.counts["GenerateDataKey"] <= 5
    proxy.clear()
    again = aws.sql("SELECT relation, new_key_id IS NOT NULL FROM envelope.rotate_due()")
    assert again == [(table, True) for table, *_ in rows[2:]]
    assert aws.sql("SELECT DISTINCT max(version) FROM envelope.keys GROUP BY relation") == [(2,)]


@pytest.mark.parametrize("table", ["key_use", "wrapped_key"])
def test_it_waits_for_no_lock_on_the_catalog(db, table):
    """As VACUUM FULL, CREATE INDEX and the like take it; a key that is in memory seals all the same."""
    db.people(rows=["x"])
    db.sql("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 3}')")
    with db.connect() as holder, db.connect() as c:
        noticed = Noticed(c)
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE envelope.{table} IN SHARE MODE")
        c.execute("SET statement_timeout = '60s'")
        assert [sealed_version(c) for _ in range(5)] == [1] * 5
        assert noticed == []
        holder.execute("ROLLBACK")
    assert db.value("SELECT count(*) FROM envelope.key_use") == (0 if table == "key_use" else 5)
    db.sql("UPDATE envelope.key_use SET seals = 3")
    with db.connect() as c:
        assert [sealed_version(c) for _ in range(4)][-1] == 2


def test_a_sample_that_cannot_be_written_fails_no_seal(db):
    db.people(rows=["x"])
    db.sql("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 3}')")
    db.sql("""CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '23514'; END $$""")
    db.sql("CREATE TRIGGER no BEFORE INSERT ON envelope.key_use FOR EACH ROW EXECUTE FUNCTION no()")
    with db.connect() as c:
        noticed = Noticed(c)
        for i in range(2, 7):
            c.execute("INSERT INTO people VALUES (%s, 'y')", (i,))
        assert len(noticed) == 1 and "not today" in noticed[0]
    assert len(db.sql(OPEN_ALL)) == 6 and db.sql(VERSIONS) == [(1, "active")]
