"""CALL envelope.reencrypt beside everything else that goes on: crashes, writers, locks, a standby, another of its kind."""

import contextlib
import random
import threading
import time

import psycopg
import pytest
from harness import process, sealed
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from harness.work import Work
from sqlstate import fails

ROWS = 2000


# Of a statement whose server was killed.
CUT = (None, "57P01", "57P02", "57P03")


class Call(Work):
    """A statement in a session of its own, in the background."""

    def __init__(self, db, statement):
        connection = db.connect()
        self.pid = connection.info.backend_pid
        super().__init__(self._execute, connection, statement)

    @staticmethod
    def _execute(connection, statement):
        with connection as c:
            c.execute(statement)


def fill(db, rows=ROWS):
    """A table whose values are all under the first of two versions."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea, n int DEFAULT 0)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql(f"INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(1, {rows}) g")
    sealed.second_version(db.sql, "people")


def census(db, table="people", column="ssn"):
    return {version: rows for version, rows in
            db.sql("SELECT version, rows FROM envelope.census(%s, %s)", (table, column))}


def progress(db):
    """Rows done and skipped, and whether it has ended."""
    found = db.sql("SELECT rows_done, rows_skipped, finished_at IS NOT NULL FROM envelope.progress")
    return found[0] if found else (0, 0, False)


def wrong(db):
    return db.value("SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) <> 'v' || id")


def call(options=""):
    return f"CALL envelope.reencrypt('people', 'ssn', 20{options})"


# -- cut off --------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_db(own_cluster, database):
    return database(own_cluster(conf={"max_prepared_transactions": 5}).start())


@contextlib.contextmanager
def in_the_middle(db):
    """A re-encryption that has done some rows, and cannot end before the block does: another session holds a row."""
    with contextlib.closing(db.connect()) as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM people WHERE id = %s FOR UPDATE", (ROWS,))
        running = Call(db, call(", pause => '20ms', row_lock_timeout => '1 min'"))
        process.wait_until(lambda: progress(db)[0] >= 300, "some rows")
        yield running


def test_killed_in_the_middle(own_db):
    """Every batch and its checkpoint are there, or neither is."""
    fill(own_db)
    with in_the_middle(own_db) as running:
        own_db.cluster.kill9()
        assert running.error().sqlstate in CUT
    own_db.cluster.start()
    done, _, ended = progress(own_db)
    assert not ended and 300 <= done < ROWS
    assert census(own_db) == {1: ROWS - done, 2: done}
    assert wrong(own_db) == 0
    own_db.sql(call())
    assert census(own_db) == {2: ROWS} and wrong(own_db) == 0
    # It went on where it was: no row was counted twice.
    done, _, ended = progress(own_db)
    assert (done, ended) == (ROWS, True)


@pytest.mark.parametrize("how", ["pg_cancel_backend", "pg_terminate_backend"])
def test_cancelled_in_the_middle(db, how):
    fill(db)
    with in_the_middle(db) as running:
        db.sql(f"SELECT {how}(%s)", (running.pid,))
        with fails("57014" if how == "pg_cancel_backend" else "57P01"):
            running.result()
    done, _, ended = progress(db)
    assert census(db) == {1: ROWS - done, 2: done} and not ended
    db.sql(call())
    done, _, ended = progress(db)
    assert (done, ended) == (ROWS, True) and wrong(db) == 0


def test_it_begins_anew_for_the_next_version(db):
    fill(db)
    with in_the_middle(db) as running:
        with db.connect() as c, c.transaction():
            sealed.second_version(c.execute, "people")
    running.result()
    assert census(db) == {3: ROWS} and wrong(db) == 0
    # The batch that the rotation came into counted for the version before.
    done, _, ended = progress(db)
    assert 0 <= ROWS - done < 200 and ended


def test_refused_in_a_transaction(db):
    fill(db)
    with db.connect() as c, c.transaction(), fails("2D000") as caught:
        c.execute(call())
    assert "BEGIN" in caught.value.diag.message_hint
    assert census(db) == {1: ROWS}


# -- beside others --------------------------------------------------------------------------------------------------


def test_two_at_once_share_the_work(db):
    fill(db)
    with in_the_middle(db) as one:
        other = Call(db, call(", row_lock_timeout => '1 min'"))
        # One that came to it when all was done would begin anew.
        process.wait_until(lambda: db.sleeps(other.pid), "it waits for the row that is held")
    for running in (one, other):
        running.result()
    assert census(db) == {2: ROWS} and wrong(db) == 0
    done, _, ended = progress(db)
    assert (done, ended) == (ROWS, True)


def test_writers_go_on(db):
    """Each writes rows of its own, and fails never; what it wrote last is there in the end."""
    fill(db)
    written, stop = [{} for _ in range(3)], threading.Event()

    def write(own, first):
        with db.connect() as c:
            for i in range(10**9):
                if stop.is_set():
                    return
                row = first + (i * 7) % (ROWS // 3)
                value = f"w{first}-{i}"
                if i % 3:
                    c.execute("UPDATE people SET ssn = %s WHERE id = %s", (value.encode(), row))
                    own[row] = value
                else:
                    c.execute("UPDATE people SET n = n + 1 WHERE id = %s", (row,))

    writers = [Work(write, own, 1 + i * (ROWS // 3)) for i, own in enumerate(written)]
    process.wait_until(lambda: all(written), "each writes")
    Call(db, call(", pause => '1ms'")).result()
    process.wait_until(lambda: sum(map(len, written)) > 100, "they go on")
    stop.set()
    for writer in writers:
        writer.result()
    expected = {i: f"v{i}" for i in range(1, ROWS + 1)}
    for own in written:
        expected.update(own)
    assert dict(db.sql("SELECT id, envelope_decrypt_text('people', ssn) FROM people")) == expected
    assert census(db) == {2: ROWS}
    assert progress(db)[2]


def test_rows_that_move_behind_it_are_met_again(db):
    """Without a trigger an UPDATE of another column carries the old value to whatever page has room."""
    fill(db)
    db.sql("DROP TRIGGER seal ON people")
    # Room on the first pages.
    db.sql("CREATE TABLE filler AS SELECT * FROM people WHERE id <= 200")
    db.sql("DELETE FROM people WHERE id <= 200")
    db.sql("VACUUM people")
    running = Call(db, call(", pause => '5ms'"))
    process.wait_until(lambda: progress(db)[0] >= 500, "some rows")
    with db.connect() as c:
        for row in range(ROWS, ROWS - 100, -1):
            c.execute("UPDATE people SET n = n + 1 WHERE id = %s", (row,))
    running.result()
    assert census(db) == {2: ROWS - 200} and wrong(db) == 0


def test_a_row_held_is_passed_by_and_its_new_value_wins(db):
    fill(db)
    with db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("UPDATE people SET ssn = 'theirs' WHERE id = 1000")
        running = Call(db, call(", row_lock_timeout => '1 min'"))
        process.wait_until(lambda: progress(db)[0] == ROWS - 1, "all other rows")
        assert census(db) == {1: 1, 2: ROWS - 1}
        holder.execute("COMMIT")
    running.result()
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 1000") == "theirs"
    done, skipped, ended = progress(db)
    assert (done, ended) == (ROWS - 1, True) and skipped >= 1
    assert census(db) == {2: ROWS}


def test_a_row_held_for_long_is_told(own_db):
    """By a prepared transaction, which no session ends by itself."""
    fill(own_db, 200)
    with own_db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM people WHERE id IN (7, 8) FOR UPDATE")
        holder.execute("PREPARE TRANSACTION 'held'")
    with fails("55P03"):
        own_db.sql(call(", row_lock_timeout => '0.3s'"))
    assert census(own_db) == {1: 2, 2: 198} and not progress(own_db)[2]
    own_db.sql("ROLLBACK PREPARED 'held'")
    own_db.sql(call())
    assert census(own_db) == {2: 200} and progress(own_db)[0] == 200


def test_foreign_keys_do_not_hold_it_up(db):
    """A row that others refer to is locked by their inserts, against its key's change alone."""
    fill(db, 100)
    db.sql("CREATE TABLE orders (person int REFERENCES people)")
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO orders VALUES (50)")
        db.sql(call(", row_lock_timeout => '0'"))
        c.execute("COMMIT")
    assert census(db) == {2: 100}


def test_lock_timeout_ends_it(db):
    fill(db, 100)
    with db.connect() as other, db.connect() as c:
        other.execute("BEGIN")
        other.execute("LOCK TABLE people IN ACCESS EXCLUSIVE MODE")
        c.execute("SET lock_timeout = '200ms'")
        with fails("55P03"):
            c.execute(call())
        other.execute("ROLLBACK")
        c.execute(call())
    assert census(db) == {2: 100}


def test_a_stricter_isolation_by_default(db):
    """Its transactions are READ COMMITTED whatever the database's default is: they meet rows that change."""
    fill(db, 500)
    db.sql(f"ALTER DATABASE {db.name} SET default_transaction_isolation = serializable")
    with db.connect() as c:
        c.execute("SET default_transaction_isolation = 'read committed'")
        running, updates, stop = Call(db, call(", pause => '50ms'")), 0, time.monotonic() + 20
        while running.is_alive() and time.monotonic() < stop:
            c.execute("UPDATE people SET n = n + 1 WHERE id = %s", (updates % 500 + 1,))
            updates += 1
    running.result()
    assert updates > 1
    assert census(db) == {2: 500} and wrong(db) == 0


def test_kms_is_asked_once_a_key(aws, proxy):
    fill(aws, 300)
    aws.sql(call())
    proxy.reset_counts()
    sealed.second_version(aws.sql, "people")
    made = dict(proxy.counts)
    proxy.reset_counts()
    aws.sql(call())
    assert dict(proxy.counts) == {"Decrypt": 2}, made
    assert census(aws) == {3: 300}


def test_long_values(db):
    """Out of line, compressed or not."""
    db.people()
    db.sql("INSERT INTO people SELECT g, decode(repeat(md5(g::text), 4000), 'hex') FROM generate_series(1, 50) g")
    db.sql("ALTER TABLE people ALTER ssn SET STORAGE EXTERNAL")
    db.sql("INSERT INTO people SELECT 100 + id, decode(repeat('00', 100000), 'hex') FROM people")
    before = db.sql("SELECT id, envelope_decrypt('people', ssn) FROM people ORDER BY id")
    sealed.second_version(db.sql, "people")
    db.sql(call())
    assert census(db) == {2: 100}
    assert db.sql("SELECT id, envelope_decrypt('people', ssn) FROM people ORDER BY id") == before


def test_a_column_that_becomes_another_while_it_is_waited_for(db):
    """What was looked up before the wait is no number of a bytea column after it."""
    fill(db, 100)
    db.sql(call())
    window = "SELECT * FROM envelope.reencrypt_window('reencrypt', 'people', 'ssn', 100, false, NULL, false)"
    with db.connect() as first, db.connect() as second:
        first.execute("BEGIN")
        first.execute(window)
        waiting = Work(second.execute, window)
        process.wait_until(lambda: db.waits_for_lock(second.info.backend_pid), "it waits")
        alter = Work(lambda: (first.execute("DROP TRIGGER seal ON people"), first.execute(
            "ALTER TABLE people ALTER ssn TYPE bigint USING 4702111234474983745"), first.execute("COMMIT")))
        # Either gets its turn, or they wait for each other.
        outcomes = [work for work in (waiting, alter) if not failed(work)]
        assert outcomes
        second.execute("SELECT 1")


def failed(work):
    try:
        work.result()
    except psycopg.Error as e:
        assert e.sqlstate in ("40P01", "42804"), e.sqlstate
        return True
    return False


# -- partitions -----------------------------------------------------------------------------------------------------


@pytest.fixture
def parts(db):
    """Of 100 values each, all under the first of two versions."""
    db.sql("CREATE TABLE people (id int, ssn bytea) PARTITION BY RANGE (id)")
    for i in range(4):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES FROM ({i * 100 + 1}) TO ({i * 100 + 101})")
    db.sql("INSERT INTO people SELECT g, envelope_encrypt_text('people', 'v' || g) FROM generate_series(1, 400) g")
    sealed.second_version(db.sql, "people")
    return db


def beside_the_second(db, *statements):
    """Runs them when a re-encryption has done the first partition and is held up in the second; its outcome."""
    with db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM p1 WHERE id = 150 FOR UPDATE")
        running = Call(db, call(", row_lock_timeout => '1 min'"))
        done = "SELECT count(*) FROM envelope.progress WHERE relation = 'public.p1' AND rows_done = 99"
        process.wait_until(lambda: db.value(done), "all of the second but one")
        for statement in statements:
            db.sql(statement)
        holder.execute("COMMIT")
    running.result()


def test_a_row_that_moves_to_a_partition_that_is_done(parts):
    """With its sealed bytes, as rows do."""
    beside_the_second(parts, "UPDATE people SET id = 1 WHERE id = 400")
    assert census(parts) == {2: 400}
    assert parts.sql("SELECT envelope_decrypt_text('people', ssn) FROM p0 WHERE id = 1 ORDER BY 1") == [("v1",), ("v400",)]


def test_a_row_that_moves_to_another_partition_under_its_hands(parts):
    """PostgreSQL tells an UPDATE that meets it 40001, which is no reason to end."""
    slow = "$$left(pg_sleep(0.01)::text, 0)$$"
    running = Call(parts, f"CALL envelope.reencrypt('people', 'ssn', context => {slow}, verify => false)")
    process.wait_until(lambda: parts.sleeps(running.pid), "a batch that has begun")
    parts.sql("UPDATE people SET id = 170 WHERE id = 70")
    running.result()
    assert census(parts) == {2: 400}
    assert parts.sql("SELECT envelope_decrypt_text('people', ssn) FROM p1 WHERE id = 170 ORDER BY 1") == [("v170",), ("v70",)]


@pytest.mark.parametrize("leaves", ["DROP TABLE p2", "ALTER TABLE people DETACH PARTITION p2",
                                    "ALTER TABLE people DETACH PARTITION p2 CONCURRENTLY"])
def test_a_partition_that_leaves_holds_up_no_other(parts, leaves):
    beside_the_second(parts, leaves)
    assert census(parts) == {2: 300}
    if "DETACH" in leaves:
        # Its values are no longer the table's, and still open with its keys.
        assert census(parts, "p2") == {1: 100}


def test_a_partition_that_comes_is_brought_along(parts):
    parts.sql("CREATE TABLE p4 AS SELECT 400 + id AS id, ssn FROM p0")
    beside_the_second(parts, "ALTER TABLE people ATTACH PARTITION p4 FOR VALUES FROM (401) TO (501)")
    assert census(parts) == {2: 500}


# -- with a standby -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    primary = Cluster()
    # One place for both, as a KMS would be.
    primary.set(envelope__file_kek_directory=primary.base / "kek")
    with primary:
        with BaseBackup(primary, standby=True) as standby:
            yield primary, standby


def test_on_a_primary_with_a_standby(pair, database):
    primary, standby = pair
    db = database(primary)
    fill(db)
    standby.caught_up()
    with fails("25006"):
        standby.sql(call(), dbname=db.name)
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        running = Call(db, call(", max_lag => 200000"))
        process.wait_until(lambda: db.value("SELECT envelope.replication_lag()") > 200_000, "lag")
        process.wait_until(lambda: db.sleeps(running.pid), "it waits")
        # And holds nothing while it does.
        waited_at = progress(db)[0]
        assert 0 < waited_at < ROWS
        locks = "SELECT count(*) FROM pg_locks WHERE relation = 'people'::regclass AND pid = %s"
        assert db.value(locks, (running.pid,)) == 0
        time.sleep(0.5)
        assert progress(db)[0] == waited_at
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    running.result()
    standby.caught_up()
    assert standby.sql("SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'v' || id",
                       dbname=db.name) == [(ROWS,)]
    assert standby.sql("SELECT version, rows FROM envelope.census('people', 'ssn')", dbname=db.name) == [(2, ROWS)]


def test_an_owner_sees_the_lag_and_is_throttled(pair, database):
    """pg_stat_replication hides it from ordinary roles."""
    primary, standby = pair
    db = database(primary)
    fill(db, 200)
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    standby.caught_up()
    standby.sql("SELECT pg_wal_replay_pause()")
    try:
        db.sql("UPDATE people SET n = n + 1")
        assert db.value("SELECT envelope.replication_lag()", user=db.low) > 0
    finally:
        standby.sql("SELECT pg_wal_replay_resume()")
    db.sql(call(", max_lag => 1000"), user=db.low)
    assert census(db) == {2: 200}


def test_no_value_is_lost_whatever_goes_on(own_db):
    """Writers keep a mirror of what they wrote, in the same transaction; keys rotate by hand and by themselves; then
    the server is killed."""
    fill(own_db)
    own_db.sql("""SELECT envelope.set_limits('people', '{"rotate_after_seals": 700}')""")
    own_db.sql("CREATE TABLE mirror AS SELECT id, 'v' || id AS opened FROM people")
    own_db.sql("ALTER TABLE mirror ADD PRIMARY KEY (id)")
    differing = ("SELECT count(*) FROM people FULL JOIN mirror USING (id) "
                 "WHERE envelope_decrypt_text('people', ssn) IS DISTINCT FROM opened")
    turns = [0, 0, 0]

    def write(seed):
        pick = random.Random(seed)
        with own_db.connect() as c:
            while True:
                row, value = pick.randrange(1, ROWS + 1), f"w{pick.random()}" * pick.choice([1, 1, 400])
                with c.transaction():
                    choice = pick.randrange(4)
                    c.execute("SELECT FROM mirror WHERE id = %s FOR UPDATE", (row,))
                    if choice == 0:
                        c.execute("DELETE FROM people WHERE id = %s", (row,))
                        c.execute("DELETE FROM mirror WHERE id = %s", (row,))
                    elif choice == 1:
                        c.execute("UPDATE people SET n = n + 1 WHERE id = %s", (row,))
                    else:
                        c.execute("INSERT INTO people VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn",
                                  (row, value.encode()))
                        c.execute("INSERT INTO mirror VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET opened = excluded.opened",
                                  (row, value))
                turns[seed] += 1

    def reencrypt(_):
        with own_db.connect() as c:
            while True:
                c.execute(call(", row_lock_timeout => '1 min'"))
                c.execute("SELECT envelope.rotate_key('people')")
                turns[2] += 1

    for _ in range(2):
        turns[:] = [0, 0, 0]
        works = [Work(write, 0), Work(write, 1), Work(reencrypt, 2)]
        process.wait_until(lambda: min(turns[:2]) >= 300 and turns[2] >= 2 or not all(w.is_alive() for w in works),
                           "some turns of each", 300)
        own_db.cluster.kill9()
        for work in works:
            assert work.error().sqlstate in CUT
        own_db.cluster.start()
        assert own_db.value(differing) == 0
    own_db.sql(call())
    assert len(census(own_db)) == 1 and own_db.value(differing) == 0
