"""Many sessions make keys at once: one key a table, no error to anyone, no lock held over a KMS request."""

import threading
import time

import psycopg
import pytest
from harness import process
from harness.work import Work, at_once
from sqlstate import fails

SESSIONS = 50


def check_keys(db, tables=1):
    assert db.sql("SELECT state, count(*) FROM envelope.data_key GROUP BY 1") == [("active", tables)]
    for table in ("keyring", "keyring_table", "wrapped_key"):
        assert db.value(f"SELECT count(*) FROM envelope.{table}") == tables
    assert db.value("SELECT bool_and(ok) FROM envelope.check()")


def check_rows(db, ids, table="people"):
    rows = db.sql(f"SELECT id, envelope_decrypt_text('{table}', ssn) FROM {table} ORDER BY id")
    assert rows == [(i, f"v{i}") for i in sorted(ids)]


# -- one new table --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_fifty_open_transactions(db, isolation):
    """Each stays open for a moment after its insert, and every third of them rolls back."""
    db.people()

    def insert(i):
        with db.connect() as c:
            c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            c.execute("SELECT count(*) FROM envelope.data_key")
            c.execute("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
            time.sleep(0.02)
            c.execute("ROLLBACK" if i % 3 == 0 else "COMMIT")

    at_once(insert, SESSIONS)
    check_keys(db)
    check_rows(db, [i for i in range(SESSIONS) if i % 3])


def test_fifty_in_autocommit_over_a_kms(aws, proxy):
    aws.people()
    # They share two cores.
    aws.sql(f"ALTER DATABASE {aws.name} SET envelope.kms_timeout = '60s'")

    def insert(i):
        aws.sql("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))

    at_once(insert, SESSIONS)
    check_keys(aws)
    check_rows(aws, range(SESSIONS))
    # A session asks for a key of its own, tries its wrap and, when it was not the first, unwraps the first one's.
    assert proxy.counts["GenerateDataKey"] <= SESSIONS
    assert proxy.counts["Decrypt"] <= 2 * SESSIONS + 1


def test_savepoints_that_roll_back(db):
    """The first insert is undone, its session goes on and inserts again, while others wait to know."""
    db.people()

    def insert(i):
        with db.connect() as c:
            c.execute("BEGIN")
            c.execute("SAVEPOINT s")
            c.execute("INSERT INTO people VALUES (%s, 'undone')", (i,))
            c.execute("ROLLBACK TO s")
            c.execute("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
            c.execute("COMMIT")

    at_once(insert, 20)
    check_keys(db)
    check_rows(db, range(20))


def test_create_key_and_first_inserts(db):
    """create_key tells the others' success by 42710; nobody else notices."""
    db.people()

    def work(i):
        try:
            if i % 4:
                db.sql("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
            else:
                db.sql("SELECT envelope.create_key('people')")
        except psycopg.errors.DuplicateObject:
            assert i % 4 == 0

    at_once(work, 24)
    check_keys(db)
    check_rows(db, [i for i in range(24) if i % 4])


def test_partitions_at_once(db):
    """They seal with the root's key, whichever of them is named."""
    db.sql("CREATE TABLE people (id int, ssn bytea) PARTITION BY LIST (id)")
    for i in range(10):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES IN ({i})")

    def insert(i):
        db.sql(f"INSERT INTO p{i} VALUES (%s, envelope_encrypt_text('p{i}', %s))", (i, f"v{i}"))

    at_once(insert, 10)
    check_keys(db)
    check_rows(db, range(10))


# -- several tables -------------------------------------------------------------------------------------------------


def test_serializable_first_keys_of_different_tables(db):
    """Each opens what it sealed, and both commit after both have written."""
    for table in ("a", "b"):
        db.people(table)
    together = threading.Barrier(2)

    def insert(i):
        mine, theirs = ("a", "b") if i == 0 else ("b", "a")
        with db.connect() as c:
            for step in range(5):
                c.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
                c.execute(f"SELECT count(*) FROM {mine}")
                together.wait(60)
                c.execute(f"INSERT INTO {mine} VALUES (%s, %s)", (step, f"v{step}".encode()))
                if step:
                    c.execute("SELECT envelope_encrypt(%s, 'x')", (theirs,))
                opened = c.execute(f"SELECT envelope_decrypt_text('{mine}', ssn) FROM {mine} WHERE id = {step}")
                assert opened.fetchone() == (f"v{step}",)
                together.wait(60)
                c.execute("COMMIT")
                together.wait(60)

    at_once(insert, 2)
    check_keys(db, 2)
    for table in ("a", "b"):
        check_rows(db, range(5), table)


def test_opposite_orders_end_as_a_deadlock_does(db):
    """Two first keys in opposite orders wait for each other, like two unique values: one is told 40P01, the other
    goes on, and nothing is half made."""
    for table in ("a", "b"):
        db.people(table)
    together = threading.Barrier(2)

    def insert(i):
        with db.connect() as c:
            c.execute("SET deadlock_timeout = '100ms'")
            c.execute("BEGIN")
            for table in ("ab", "ba")[i]:
                c.execute(f"INSERT INTO {table} VALUES (%s, %s)", (i, f"v{i}".encode()))
                if table == "ab"[i]:
                    together.wait(60)
            c.execute("COMMIT")

    workers = [Work(insert, i) for i in range(2)]
    done = []
    for i, w in enumerate(workers):
        try:
            w.result()
            done.append(i)
        except psycopg.errors.DeadlockDetected:
            pass
    assert len(done) == 1
    check_keys(db, 2)
    for table in ("a", "b"):
        check_rows(db, done, table)


# -- waiting for the first one --------------------------------------------------------------------------------------


@pytest.fixture
def waiting(db):
    """Two sessions and the work of the second: it waits for the first, which has made the key."""
    db.people()
    with db.connect() as first, db.connect() as second:
        first.execute("BEGIN")
        first.execute("INSERT INTO people VALUES (1, 'v1')")
        work = Work(second.execute, "INSERT INTO people VALUES (2, 'v2')")
        pid = second.info.backend_pid
        process.wait_until(lambda: db.waits_for_lock(pid), "the session waits for the first one")
        yield first, second, work


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_the_second_waits_for_the_first(db, waiting, end):
    first, _, work = waiting
    first.execute(end)
    work.result()
    check_keys(db)
    check_rows(db, [1, 2] if end == "COMMIT" else [2])


def test_the_wait_can_be_cancelled(db, waiting):
    first, second, work = waiting
    db.sql("SELECT pg_cancel_backend(%s)", (second.info.backend_pid,))
    with fails("57014"):
        work.result()
    assert second.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)
    first.execute("COMMIT")
    second.execute("INSERT INTO people VALUES (2, 'v2')")
    check_keys(db)
    check_rows(db, [1, 2])


# -- a slow KMS -----------------------------------------------------------------------------------------------------


@pytest.fixture
def others(aws):
    """A database with a busy table and one that has nothing to do with any of it."""
    aws.people("busy")
    aws.sql("INSERT INTO busy VALUES (1, 'v1')")
    aws.sql("CREATE TABLE unrelated (v int)")
    aws.people()
    return aws


@pytest.mark.parametrize("how", ["trigger", "function", "create_key"])
def test_no_lock_that_others_need(others, proxy, how):
    query = {"trigger": "INSERT INTO people VALUES (1, 'v1')",
             "function": "INSERT INTO people VALUES (1, envelope_encrypt('people', 'v1'))",
             "create_key": "SELECT envelope.create_key('people')"}[how]
    with others.patient() as c, others.connect() as other:
        other.execute("SELECT envelope_decrypt('busy', ssn) FROM busy")
        held = proxy.hold("GenerateDataKey")
        work = Work(c.execute, query)
        held()
        locks = other.execute("""
            SELECT locktype, relation::regclass::text, mode FROM pg_locks l LEFT JOIN pg_class r ON r.oid = l.relation
            WHERE pid = %s AND (locktype NOT IN ('relation', 'virtualxid')
              OR relnamespace = 'envelope'::regnamespace AND mode <> 'AccessShareLock')""",
                              (c.info.backend_pid,)).fetchall()
        assert locks == []
        other.execute("SET lock_timeout = '60s'")
        for command in ("INSERT INTO busy VALUES (2, 'v2')", "SELECT envelope_decrypt('busy', ssn) FROM busy",
                        "VACUUM people", "VACUUM envelope.keyring, envelope.data_key, envelope.wrapped_key",
                        "ANALYZE", "ALTER TABLE unrelated ADD COLUMN w int", "ALTER TABLE busy ADD COLUMN w int",
                        "CREATE TABLE fresh (v bytea)", "DROP TABLE fresh"):
            other.execute(command)
        assert work.is_alive()
        proxy.clear()
        work.result()
    check_keys(others, 2)


def test_a_faster_session_makes_the_key_meanwhile(others, proxy):
    held = proxy.hold("GenerateDataKey")
    with others.patient() as slow:
        work = Work(slow.execute, "INSERT INTO people VALUES (1, 'v1')")
        held()
        others.sql("INSERT INTO people VALUES (2, 'v2')")
        key = others.value("SELECT key_id FROM envelope.keys WHERE relation LIKE '%%people'")
        assert work.is_alive()
        proxy.clear()
        work.result()
        # It has sealed with the other's key, and keeps none of its own.
        assert slow.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (1,)
    assert others.sql("SELECT DISTINCT (envelope.inspect(ssn)).key_id FROM people") == [(key,)]
    check_keys(others, 2)
    check_rows(others, [1, 2])


@pytest.mark.alone
def test_a_slow_unwrap_stops_nobody(others, proxy):
    with others.patient() as c, others.connect() as other:
        other.execute("SELECT envelope_decrypt('busy', ssn) FROM busy")
        # Used up, it asks the KMS, whatever is leased.
        c.execute("SET envelope.cache_max_uses = 1")
        c.execute("SELECT envelope_decrypt('busy', ssn) FROM busy")
        proxy.reset_counts()
        held = proxy.hold("Decrypt")
        work = Work(c.execute, "SELECT envelope_decrypt('busy', ssn) FROM busy")
        held()
        other.execute("SET lock_timeout = '60s'")
        locks = other.execute("SELECT count(*) FROM pg_locks WHERE pid = %s AND locktype = 'object'",
                              (c.info.backend_pid,)).fetchone()
        assert locks == (0,)
        other.execute("INSERT INTO busy VALUES (2, 'v2')")
        other.execute("VACUUM busy")
        other.execute("UPDATE envelope.data_key SET reason = 'seen'")
        assert work.is_alive()
        proxy.clear()
        work.result()


def test_a_table_dropped_meanwhile(others, proxy):
    """The key comes too late: an error, and nothing is left behind."""
    held = proxy.hold("GenerateDataKey")
    with others.patient() as c:
        others.sql("CREATE TABLE gone (v bytea)")
        work = Work(c.execute, "SELECT envelope.create_key('gone')")
        held()
        others.sql("DROP TABLE gone")
        proxy.clear()
        with fails("42P01"):
            work.result()
    check_keys(others, 1)
