"""Leases: what the backends of a preloaded server hand each other, so that the KMS is asked once for all. Requests are
counted where they arrive."""

import concurrent.futures
import contextlib
import os
import signal
import threading
import time

import psycopg
import pytest
from harness import faults, memory, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from interop import open as reader
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
FLUSH = "SELECT envelope.flush_cache()"
EVERYWHERE = "SELECT envelope.flush_cache(everywhere => true)"


def conf(moto, proxy, **more):
    return {
        "shared_preload_libraries": "pgrx-example",
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": proxy.url,
        "envelope.kms_timeout": "4s",
        "envelope.kms_max_attempts": "1",
        **more,
    }


def environment(proxy):
    return {**kms.CREDENTIALS, "AWS_ENDPOINT_URL_STS": proxy.url}


@pytest.fixture(scope="module")
def leasing(moto, kms_proxy):
    with Cluster(conf=conf(moto, kms_proxy), env=environment(kms_proxy)) as c:
        yield c


@pytest.fixture
def db(leasing, proxy):
    """One value in the table `people`, and nobody has its key."""
    made = Database(leasing)
    made.people(rows=["a"])
    made.sql(EVERYWHERE)
    proxy.reset_counts()
    yield made
    proxy.clear()
    made.drop()


@pytest.fixture
def own(own_cluster, moto, proxy):
    """As `db`, in a cluster of the test's own: own(setting=…)."""

    def make(**settings):
        more = {name.replace("__", "."): value for name, value in settings.items()}
        c = own_cluster(conf=conf(moto, proxy, **more), env=environment(proxy)).start()
        made = Database(c)
        made.people(rows=["a"])
        made.sql(EVERYWHERE)
        proxy.reset_counts()
        return made

    return make


@contextlib.contextmanager
def at_once(db, count):
    """So many new sessions, and a pool to have them all do something at the same time."""
    with contextlib.ExitStack() as ends:
        sessions = [ends.enter_context(db.connect()) for _ in range(count)]
        pool = ends.enter_context(concurrent.futures.ThreadPoolExecutor(count))

        def all_do(statement):
            def one(session):
                try:
                    return session.execute(statement).fetchone()
                except psycopg.Error as error:
                    return error.sqlstate

            return list(pool.map(one, sessions))

        yield all_do


@contextlib.contextmanager
def asking(db, statement=OPEN):
    """A session of which a statement goes on in a thread: the session, and how to get its outcome."""
    with db.connect() as session, concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield session, pool.submit(lambda: session.execute(statement).fetchone())


def waits_for_lease(db, pid):
    event = db.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (pid,))
    return event in ("EnvelopeLease", "Extension")


def opens(db):
    """What a new session opens."""
    return db.value(OPEN)


def test_a_hundred_backends_ask_once(db, proxy):
    proxy.fault("Decrypt", faults.delay(0.2))
    with at_once(db, 100) as all_do:
        assert all_do(OPEN) == [("a",)] * 100
    assert proxy.counts["Decrypt"] == 1


def test_a_later_session_finds_the_lease(db, proxy):
    assert [opens(db) for _ in range(3)] == ["a"] * 3
    assert proxy.counts["Decrypt"] == 1


def test_a_session_that_wipes_its_own_keys_finds_it_again(db, proxy):
    with db.connect() as c:
        for _ in range(3):
            assert c.execute(OPEN).fetchone() == ("a",)
            c.execute("DISCARD ALL")
    assert proxy.counts["Decrypt"] == 1


def test_without_leases_each_backend_asks(own, proxy):
    db = own(envelope__shared_keys=0)
    assert [opens(db) for _ in range(3)] == ["a"] * 3
    assert proxy.counts["Decrypt"] == 3
    # And all of them can still be told to wipe their keys.
    with db.connect() as c:
        c.execute(OPEN)
        db.sql(EVERYWHERE)
        c.execute(OPEN)
    assert proxy.counts["Decrypt"] == 5


def test_the_time_of_a_lease_is_fixed_when_the_kms_gives_the_key(db, proxy):
    """Use does not move it, and a session that finds it late does not have it longer."""
    db.sql(f"ALTER DATABASE {db.name} SET envelope.cache_ttl = '3s'")
    begun = time.monotonic()
    with db.connect() as c:
        while time.monotonic() < begun + 4:
            c.execute(OPEN)
            # Whichever session asks for the next one.
            opens(db)
            time.sleep(0.05)
    # The next one is asked for in the last fifth of a time that is a sixteenth shorter at most.
    assert 2 <= proxy.counts["Decrypt"] <= 1 + (time.monotonic() - begun) / (3 * 0.8 * 15 / 16)


def test_who_keeps_keys_for_a_shorter_time_asks_earlier(db, proxy):
    opens(db)
    time.sleep(1.1)
    with db.connect() as c:
        c.execute("SET envelope.cache_ttl = '1s'")
        c.execute(OPEN)
    assert proxy.counts["Decrypt"] == 2
    opens(db)
    assert proxy.counts["Decrypt"] == 2


def test_a_denial_takes_copies_that_are_far_from_their_end(db, proxy):
    """Of sessions that would not have asked for minutes."""
    with db.connect() as copy:
        assert copy.execute(OPEN).fetchone() == ("a",)
        proxy.fault("Decrypt", faults.deny)
        with db.connect() as other:
            # Its own limit is over, so that it asks.
            other.execute("SET envelope.cache_ttl = '1s'")
            time.sleep(1.1)
            with fails("28000"):
                other.execute(OPEN)
        with fails("28000"):
            copy.execute(OPEN)


class TestTheAskerIsGone:
    """Whoever asks for others lets them go on, however it ends."""

    @pytest.fixture
    def held(self, db, proxy):
        """A session that asks, whose request is held, and one that waits for it."""
        is_held = proxy.hold("Decrypt")
        with asking(db) as (asker, asked):
            is_held()
            with asking(db) as (waiter, waited):
                process.wait_until(lambda: waits_for_lease(db, waiter.info.backend_pid), "it waits")
                yield asker, asked, waiter, waited

    @pytest.mark.parametrize("ended_by", ["pg_cancel_backend", "pg_terminate_backend"])
    def test_by_a_signal(self, db, proxy, held, ended_by):
        asker, asked, _, waited = held
        db.sql(f"SELECT {ended_by}(%s)", (asker.info.backend_pid,))
        with pytest.raises(psycopg.Error):
            asked.result()
        assert waited.result() == ("a",)
        assert proxy.counts["Decrypt"] == 2

    def test_in_a_savepoint(self, db, proxy):
        is_held = proxy.hold("Decrypt")
        caught = ("DO $$ BEGIN SET LOCAL statement_timeout = 0; BEGIN PERFORM envelope_decrypt_text('people', ssn) FROM people; "
                  "EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(60); END; END $$")
        with db.connect() as asker, concurrent.futures.ThreadPoolExecutor(1) as pool:
            pid = asker.info.backend_pid
            outcome = pool.submit(lambda: asker.execute(caught))
            is_held()
            with asking(db) as (_, waited):
                db.sql("SELECT pg_cancel_backend(%s)", (pid,))
                # The transaction goes on.
                process.wait_until(lambda: db.sleeps(pid), "it sleeps")
                assert waited.result() == ("a",)
            db.sql("SELECT pg_cancel_backend(%s)", (pid,))
            with fails("57014"):
                outcome.result()
        assert proxy.counts["Decrypt"] == 2

    def test_the_one_who_waits_can_be_cancelled(self, db, proxy, held):
        _, asked, waiter, waited = held
        waiter.cancel()
        with fails("57014"):
            waited.result()
        proxy.clear()
        assert asked.result() == ("a",)

    def test_one_who_waits_has_a_limit(self, db, proxy):
        db.patient().close()
        is_held = proxy.hold("Decrypt")
        with db.patient() as asker, concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(lambda: asker.execute(OPEN).fetchone())
            is_held()
            with db.connect() as waiter:
                waiter.execute("SET envelope.kms_timeout = '300ms'")
                with fails("58030"):
                    waiter.execute(OPEN)
            proxy.clear()
            assert asked.result() == ("a",)

    def test_one_who_waits_less_long_is_not_believed(self, db, proxy):
        """That the KMS did not answer it in its own short time is no news for others."""
        proxy.fault("Decrypt", faults.delay(1))
        with db.connect() as hasty:
            hasty.execute("SET envelope.kms_timeout = '300ms'")
            with fails("58030"):
                hasty.execute(OPEN)
        assert opens(db) == "a"

    def test_by_kill(self, own, proxy):
        db = own()
        cluster = db.cluster
        is_held = proxy.hold("Decrypt")
        with contextlib.suppress(psycopg.Error), asking(db) as (asker, asked):
            is_held()
            with contextlib.suppress(psycopg.Error), asking(db) as (waiter, waited):
                process.wait_until(lambda: waits_for_lease(db, waiter.info.backend_pid), "it waits")
                os.kill(asker.info.backend_pid, signal.SIGKILL)
                for ended in (asked, waited):
                    with pytest.raises(psycopg.Error):
                        ended.result()

        def is_up():
            with contextlib.suppress(psycopg.Error):
                return cluster.sql("SELECT 1") == [(1,)]

        process.wait_until(is_up, "the server is up again")
        proxy.reset_counts()
        assert [opens(db) for _ in range(2)] == ["a"] * 2
        assert proxy.counts["Decrypt"] == 1


class TestRefusals:
    @pytest.mark.parametrize("fault, code", [(faults.deny, "28000"), (faults.error("DisabledException"), "55000"),
                                             (faults.error("KMSInternalException", 500), "58030")])
    def test_a_sick_kms_is_asked_once(self, db, proxy, fault, code):
        def slow(x):
            time.sleep(0.2)
            fault(x)

        proxy.fault("Decrypt", slow)
        with at_once(db, 30) as all_do:
            assert all_do(OPEN) == [code] * 30
            # Again and again, with pauses that grow.
            for _ in range(10):
                assert all_do(OPEN) == [code] * 30
        assert proxy.counts["Decrypt"] < 12
        proxy.clear()
        process.wait_until(lambda: opens_again(db), "the pause is over")

    def test_who_flushes_does_not_believe_them(self, db, proxy):
        proxy.fault("Decrypt", faults.deny, times=6)
        with db.connect() as c:
            for _ in range(6):
                with contextlib.suppress(psycopg.Error):
                    c.execute(FLUSH)
                    c.execute(OPEN)
            c.execute(FLUSH)
            assert c.execute(OPEN).fetchone() == ("a",)

    def test_a_wrap_of_an_open_transaction_is_nobody_elses_news(self, db, proxy):
        """Nor is what the KMS says of it."""
        proxy.fault("Decrypt", faults.deny, times=1)
        with db.connect() as c:
            c.execute("BEGIN")
            c.execute("SELECT envelope.create_key('people') FROM people WHERE false")
            c.execute("UPDATE envelope.wrapped_key SET created_at = now()")
            with fails("28000"):
                c.execute(OPEN)
            assert opens(db) == "a"


def opens_again(db):
    with contextlib.suppress(psycopg.Error):
        return opens(db) == "a"


class TestNeverLeased:
    NEW = "CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'x'))"
    OPEN_NEW = "SELECT envelope_decrypt_text('t', v) FROM t"

    def test_a_key_of_an_open_transaction(self, db, proxy):
        with db.connect() as c:
            c.execute(f"BEGIN; {self.NEW}")
            for n in (1, 2):
                c.execute(FLUSH)
                proxy.reset_counts()
                assert c.execute(self.OPEN_NEW).fetchone() == ("x",)
                assert proxy.counts["Decrypt"] == 1
            c.execute("COMMIT")
            # From here on it is.
            c.execute(FLUSH)
            c.execute(self.OPEN_NEW)
            proxy.reset_counts()
            assert db.value(self.OPEN_NEW) == "x"
            assert proxy.counts["Decrypt"] == 0

    def test_a_key_of_a_prepared_transaction(self, own, proxy):
        db = own(max_prepared_transactions=2)
        with db.connect() as c:
            c.execute(f"BEGIN; {self.NEW}; SELECT envelope.flush_cache(); {self.OPEN_NEW}; PREPARE TRANSACTION 'p'")
        proxy.reset_counts()
        db.sql("COMMIT PREPARED 'p'")
        assert [db.value(self.OPEN_NEW) for _ in range(2)] == ["x"] * 2
        assert proxy.counts["Decrypt"] == 1

    def test_a_key_that_comes_back_in_an_open_transaction(self, db, proxy):
        db.sql("SELECT envelope.rotate_key('people')")
        key, = db.sql("SELECT key_id FROM envelope.keys WHERE state = 'decrypt-only'")[0]
        db.sql("SELECT envelope.retire_key(%s)", (key,))
        with db.connect() as c:
            c.execute("BEGIN; SELECT envelope.unretire_key('%s')" % key)
            for _ in range(2):
                c.execute(FLUSH)
                proxy.reset_counts()
                assert c.execute(OPEN).fetchone() == ("a",)
                assert proxy.counts["Decrypt"] == 1
            c.execute("ROLLBACK")
        with fails("55000"):
            opens(db)


class TestTakenAway:
    @pytest.fixture
    def old_key(self, db, proxy):
        """The value's key, which seals no more; two sessions have it."""
        db.sql("SELECT envelope.rotate_key('people')")
        assert opens(db) == "a"
        proxy.reset_counts()
        return db.value("SELECT key_id FROM envelope.keys WHERE state = 'decrypt-only'")

    def test_by_retire(self, db, proxy, old_key):
        with db.connect() as c:
            c.execute(OPEN)
            db.sql("SELECT envelope.retire_key(%s)", (old_key,))
            for ends in (c.execute, db.sql):
                with fails("55000"):
                    ends(OPEN)
            db.sql("SELECT envelope.unretire_key(%s)", (old_key,))
            assert c.execute(OPEN).fetchone() == ("a",)
        assert proxy.counts["Decrypt"] == 1

    def test_by_retire_where_nobody_has_the_key(self, db, proxy, old_key):
        """No session finds out that a copy is not to be used any more."""
        db.sql("SELECT envelope.retire_key(%s)", (old_key,))
        db.sql("SELECT envelope.unretire_key(%s)", (old_key,))
        assert opens(db) == "a"
        assert proxy.counts["Decrypt"] == 1

    def test_by_who_reads_that_it_is_retired(self, own, proxy):
        """What another session has committed, or replication has brought, is no event of any session that goes on."""
        db = own(max_prepared_transactions=2)
        db.sql("SELECT envelope.rotate_key('people')")
        key = db.value("SELECT key_id FROM envelope.keys WHERE state = 'decrypt-only'")
        with db.connect() as c:
            c.execute(OPEN)
            proxy.reset_counts()
            db.sql("BEGIN; SELECT envelope.retire_key('%s'); PREPARE TRANSACTION 'p'" % key)
            assert c.execute(OPEN).fetchone() == ("a",)
            db.sql("COMMIT PREPARED 'p'")
            with fails("55000"):
                c.execute(OPEN)
            db.sql("SELECT envelope.unretire_key(%s)", (key,))
            assert proxy.counts["Decrypt"] == 0
            assert c.execute(OPEN).fetchone() == ("a",)
        assert proxy.counts["Decrypt"] == 1

    def test_a_rollback_takes_nothing_away(self, db, proxy, old_key):
        with db.connect() as c:
            c.execute("BEGIN; SELECT envelope.retire_key('%s'); ROLLBACK" % old_key)
        assert opens(db) == "a"
        assert proxy.counts["Decrypt"] == 0

    def test_by_drop_kek(self, db, proxy, moto):
        opens(db)
        kek = kms.kek(moto.create_key())
        db.sql("SET envelope.allowed_keks = '*'; SELECT envelope.add_kek('people', '%s')" % kek)
        db.sql("SELECT envelope.drop_kek('people', (SELECT min(kek) FROM envelope.wrapped_key WHERE position = 1))")
        proxy.reset_counts()
        assert opens(db) == "a"
        assert proxy.counts["Decrypt"] == 1

    def test_by_drop_kek_in_a_prepared_transaction(self, own, proxy, moto):
        """Another session commits it. Whoever needs the key from then on sees that the lease is by a KEK that is gone."""
        db = own(max_prepared_transactions=2, envelope__allowed_keks="*")
        db.sql("SELECT envelope.add_kek('people', %s)", (kms.kek(moto.create_key()),))
        opens(db)
        first = db.value("SELECT kek FROM envelope.wrapped_key WHERE position = 1")
        with db.connect() as c:
            c.execute("BEGIN; SELECT envelope.drop_kek('people', '%s'); PREPARE TRANSACTION 'p'" % first)
        proxy.reset_counts()
        assert opens(db) == "a" and proxy.counts["Decrypt"] == 0
        db.sql("COMMIT PREPARED 'p'")
        assert [opens(db) for _ in range(2)] == ["a", "a"]
        assert proxy.counts["Decrypt"] == 1

    def test_everywhere(self, db, proxy):
        with db.connect() as c:
            c.execute(OPEN)
            assert opens(db) == "a"
            db.sql(EVERYWHERE)
            assert c.execute("SELECT keys_cached FROM envelope.stats, (SELECT envelope.warm('people')) w").fetchone() == (1,)
            assert proxy.counts["Decrypt"] == 2
            assert opens(db) == "a"
            assert proxy.counts["Decrypt"] == 2

    def test_everywhere_while_it_is_asked_for(self, db, proxy):
        """What is on its way then is the asker's alone."""
        is_held = proxy.hold("Decrypt")
        with asking(db) as (_, asked):
            is_held()
            db.sql(EVERYWHERE)
            proxy.clear()
            assert asked.result() == ("a",)
        assert opens(db) == "a"
        assert proxy.counts["Decrypt"] == 2

    def test_everywhere_is_for_superusers_in_a_preloaded_server(self, db, own_cluster, database):
        with fails("42501"):
            db.sql(EVERYWHERE, user=db.low)
        with fails("55000"):
            database(own_cluster(conf={"shared_preload_libraries": ""}).start()).sql(EVERYWHERE)


@pytest.mark.parametrize("limit", ["cache_max_uses = 2", "cache_max_bytes = '1kB'"])
def test_limits_of_use_make_the_kms_be_asked(db, proxy, limit):
    """A lease does not stand in for it, nor does wiping the key count from the beginning."""
    db.sql("UPDATE people SET ssn = repeat('x', 600)::bytea")
    db.sql(EVERYWHERE)
    proxy.reset_counts()
    with db.connect() as c:
        c.execute(f"SET envelope.{limit}")
        for _ in range(2):
            c.execute("SELECT length(envelope_decrypt('people', ssn)) FROM people")
            c.execute(FLUSH)
        assert proxy.counts["Decrypt"] == 1
        c.execute("SELECT length(envelope_decrypt('people', ssn)) FROM people")
        assert proxy.counts["Decrypt"] == 2


def test_two_identities_never_meet(db, proxy):
    arn = "arn:aws:iam::123456789012:role/"
    with db.connect() as one, db.connect() as other, db.connect() as same:
        for session, role in ((one, "a"), (other, "b"), (same, "a")):
            session.execute(f"SET envelope.aws_role_arn = '{arn}{role}'")
        one.execute(OPEN)
        assert proxy.counts["Decrypt"] == 1
        same.execute(OPEN)
        assert proxy.counts["Decrypt"] == 1
        other.execute(OPEN)
        assert proxy.counts["Decrypt"] == 2
        assert opens(db) == "a"
        assert proxy.counts["Decrypt"] == 3


def test_rights_count_before_leases(db):
    opens(db)
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    with fails("42501"):
        db.sql(OPEN, user=db.low)


def test_a_full_table(own, proxy):
    """The keys that found no place are asked for by each backend; a lease whose time is over makes room."""
    db = own(envelope__shared_keys=1)
    db.people("more", rows=["b"])
    more = OPEN.replace("people", "more")
    db.sql(EVERYWHERE)
    proxy.reset_counts()
    # What follows takes less than that.
    with db.connect() as c:
        c.execute("SET envelope.cache_ttl = '5s'")
        c.execute(OPEN)
    assert [db.value(more) for _ in range(2)] == ["b"] * 2
    assert proxy.counts["Decrypt"] == 3
    time.sleep(5.1)
    assert [db.value(more) for _ in range(2)] == ["b"] * 2
    assert proxy.counts["Decrypt"] == 4


def test_parallel_workers_use_leases(db, proxy):
    db.sql("INSERT INTO people SELECT n, 'a' FROM generate_series(2, 2000) n")
    db.sql("ALTER TABLE people SET (parallel_workers = 4)")
    db.sql("ANALYZE people")
    db.sql(EVERYWHERE)
    proxy.reset_counts()
    with db.connect() as c:
        c.execute("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; "
                  "SET parallel_leader_participation = off; SET max_parallel_workers_per_gather = 4")
        query = "SELECT count(envelope_decrypt('people', ssn)) FROM people"
        assert "Gather" in str(c.execute(f"EXPLAIN {query}").fetchall())
        assert c.execute(query).fetchone() == (2000,)
    assert proxy.counts["Decrypt"] == 1


class TestMemory:
    """What somebody finds who reads memory."""

    @pytest.fixture
    def secrets(self, db):
        """The data key, and what is derived from it."""
        (wrapped, context), = db.sql("SELECT wrapped, kms_context FROM envelope.wrapped_key")
        client = self.moto.client()
        dek = client.decrypt(CiphertextBlob=bytes(wrapped), EncryptionContext=context)["Plaintext"]
        return {"data key": dek, "half": dek[:16], "seal key": reader.expand(dek, "envelope/1 seal", 32)}

    @pytest.fixture(autouse=True)
    def _moto(self, moto):
        self.moto = moto

    def test_no_key_in_shared_memory(self, db, secrets):
        with db.connect() as one, db.connect() as other:
            for session in (one, other):
                assert session.execute(OPEN).fetchone() == ("a",)
            shared = memory.content(one.info.backend_pid, lambda m: m.perms[3] == "s" and m.perms[0] == "r" and
                                    ("dev/zero" in m.path or "SYSV" in m.path or "dev/shm" in m.path))
            assert b"envelope leases" in shared
            assert [name for name, secret in secrets.items() if secret in shared] == []
            assert [m for m in memory.holding(other.info.backend_pid, secrets["seal key"]) if "lo" not in m.flags] == []

    def test_the_lease_key_is_in_a_page_of_its_own(self, db):
        """Read-only, in no core dump, locked in the postmaster. A process that has used us has it no more."""
        def pages(pid):
            return [m for m in memory.mappings(pid) if m.perms == "r--s" and m.end - m.start == 4096 and
                    {"dd"} <= m.flags]

        page, = pages(db.cluster.postmaster.pid)
        assert "lo" in page.flags
        with db.connect() as c:
            assert len(pages(c.info.backend_pid)) == 1
            c.execute(OPEN)
            assert pages(c.info.backend_pid) == []
        assert [m for m in pages(db.cluster.postmaster.pid)] != []


def test_the_lease_key_is_drawn_where_there_are_leases(own):
    def pages(pid):
        return [m for m in memory.mappings(pid) if m.perms == "r--s" and "dd" in m.flags]

    assert pages(own(envelope__shared_keys=0).cluster.postmaster.pid) == []
