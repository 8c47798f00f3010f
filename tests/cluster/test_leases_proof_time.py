"""When a lease ends: at a time that is fixed as the key is unwrapped, for every session at once, whatever the KMS says meanwhile.
Each test waits for its phase of a lease's time; sessions that were too late for it begin again."""

import contextlib
import time

import psycopg
import pytest
from harness import faults, leased, process
from harness.leased import OPEN, asked, forget, hold
from harness.work import Work, at_once
from sqlstate import fails

TTL = 8.0
# A key expires a little before its time, so that all do not at once: by a sixteenth at most.
SOONEST = TTL * 15 / 16


@pytest.fixture(scope="module")
def shared(moto, kms_proxy):
    with leased.cluster(moto, kms_proxy, envelope__cache_ttl=f"{TTL:.0f}s") as c:
        yield c


@pytest.fixture
def db(shared, proxy):
    with leased.one_value(shared, proxy) as made:
        yield made


class Lease:
    """A lease that is made now; its end lies between `soonest` and `latest`."""

    def __init__(self, db, proxy, session=None):
        # Where the attempt before was too late, its fault may still stand.
        proxy.clear()
        forget(db)
        process.wait_until(lambda: opens(db), "service resumes")
        forget(db)
        before = time.monotonic()
        opened = session.execute(OPEN).fetchall() if session else db.sql(OPEN)
        assert opened == [("x",)]
        self.soonest, self.latest = before + SOONEST, time.monotonic() + TTL
        proxy.reset_counts()

    def sleep_until(self, part):
        """A part of its time that has passed for certain."""
        time.sleep(max(0, self.latest - (1 - part) * TTL - time.monotonic()))

    def stands(self):
        return time.monotonic() < self.soonest

    def is_over(self):
        time.sleep(max(0, self.latest + 0.05 - time.monotonic()))


def in_time(attempt, times=4):
    """Runs `attempt` until it gives True: False says that it was too late to tell."""
    assert any(attempt() for _ in range(times)), "the machine is too slow for this test"


def test_use_does_not_move_the_end(db, proxy):
    """Neither a session's that has the key all along nor new ones', and all ask together again once."""
    with db.connect() as c:
        lease, asked_early = Lease(db, proxy, c), 0
        while time.monotonic() < lease.latest - TTL * 0.3:
            assert c.execute(OPEN).fetchall() == [("x",)]
            assert db.value(OPEN) == "x"
            so_far = proxy.counts["Decrypt"]
            # Not yet in the last fifth, in which one would ask.
            if time.monotonic() < lease.soonest - TTL * 0.2:
                asked_early = so_far
            time.sleep(0.1)
        lease.is_over()
        proxy.fault("Decrypt", faults.deny)
        with fails("28000"):
            c.execute(OPEN)
        with fails("28000"):
            db.sql(OPEN)
    assert asked_early == 0


def test_a_revocation_takes_hold_on_every_backend_within_the_time_to_live(db, proxy):
    """Though they had the key at different times, the last of them just before."""
    def attempt():
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(db.connect()) for _ in range(5)]
            lease = Lease(db, proxy)
            for part, session in zip((0.1, 0.2, 0.35, 0.5, 0.7), sessions):
                lease.sleep_until(part)
                assert session.execute(OPEN).fetchall() == [("x",)]
            # Not yet in the last fifth, in which one would ask.
            if time.monotonic() > lease.soonest - TTL * 0.2:
                return False
            assert not proxy.counts
            proxy.fault("Decrypt", faults.deny)
            lease.is_over()
            for session in sessions:
                with fails("28000"):
                    session.execute(OPEN)
            with fails("28000"):
                db.sql(OPEN)
        return True

    in_time(attempt)


def test_a_shorter_time_of_the_askers(db, proxy):
    with db.connect() as c:
        c.execute("SET envelope.cache_ttl = '1s'")
        c.execute(OPEN)
    proxy.reset_counts()
    time.sleep(1.1)
    assert asked(db, proxy) == 1


def test_a_shorter_time_of_the_users(db, proxy):
    """Counted from when the key was unwrapped, not from when the session had it."""
    assert asked(db, proxy) == 1
    with db.connect() as c:
        c.execute("SET envelope.cache_ttl = '2s'")
        time.sleep(2.1)
        proxy.reset_counts()
        assert c.execute(OPEN).fetchall() == [("x",)]
        assert proxy.counts == {"Decrypt": 1}
        assert c.execute(OPEN).fetchall() == [("x",)]
        assert proxy.counts == {"Decrypt": 1}
        # Lowered, it holds for what a session has already.
        c.execute("SET envelope.cache_ttl = '1s'")
        time.sleep(1.1)
        assert c.execute(OPEN).fetchall() == [("x",)]
        assert proxy.counts == {"Decrypt": 2}


def test_a_tables_own_shorter_time(db, proxy):
    db.sql("""SELECT envelope.set_limits('people', '{"cache_ttl": 1}')""")
    with db.connect() as c:
        c.execute(OPEN)
        proxy.reset_counts()
        time.sleep(1.1)
        assert c.execute(OPEN).fetchall() == [("x",)]
        assert proxy.counts == {"Decrypt": 1}
    time.sleep(1.1)
    assert asked(db, proxy) == 1


# -- the last fifth -------------------------------------------------------------------------------------------------


def test_one_asks_ahead_and_the_others_go_on(db, proxy):
    def attempt():
        with db.connect() as warm, db.connect() as asker:
            lease = Lease(db, proxy, warm)
            lease.sleep_until(0.83)
            is_asking = hold(proxy)
            asking = Work(asker.execute, OPEN)
            process.wait_until(lambda: proxy.counts["Decrypt"] or not asking.is_alive(), "it asks")
            if not lease.stands():
                return False
            is_asking()
            others = at_once(lambda _: db.value(OPEN), 4)
            assert warm.execute(OPEN).fetchall() == [("x",)]
            if not lease.stands():
                return False
            assert others == ["x"] * 4
            assert proxy.counts == {"Decrypt": 1}
            proxy.clear()
            assert asking.result().fetchall() == [("x",)]
            # Past the first lease's end, nobody has to ask.
            lease.is_over()
            assert warm.execute(OPEN).fetchall() == [("x",)]
            assert at_once(lambda _: db.value(OPEN), 4) == ["x"] * 4
            assert proxy.counts == {"Decrypt": 1}
        return True

    in_time(attempt)


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_one_who_asks_ahead_ends(db, proxy, how):
    """Then another does, and meanwhile the lease stands."""
    def attempt():
        with db.connect() as asker:
            lease = Lease(db, proxy)
            lease.sleep_until(0.83)
            is_asking = hold(proxy)
            asking = Work(asker.execute, OPEN)
            process.wait_until(lambda: proxy.counts["Decrypt"] or not asking.is_alive(), "it asks")
            if not lease.stands():
                return False
            is_asking()
            db.sql(f"SELECT pg_{how}_backend(%s)", (asker.info.backend_pid,))
            assert asking.error().sqlstate == {"cancel": "57014", "terminate": "57P01"}[how]
            if not lease.stands():
                return False
            assert db.value(OPEN) == "x"
            # Of these one asks.
            assert at_once(lambda _: db.value(OPEN), 3) == ["x"] * 3
            assert proxy.counts == {"Decrypt": 2}
            lease.is_over()
            assert asked(db, proxy) == 0
        return True

    in_time(attempt)


@pytest.mark.parametrize("answer", ["unavailable", "throttle", "reset"])
def test_an_outage_in_the_last_fifth(db, proxy, answer):
    """The lease serves until its end, and not longer."""
    def attempt():
        with db.connect() as warm:
            lease = Lease(db, proxy, warm)
            lease.sleep_until(0.82)
            proxy.fault("Decrypt", getattr(faults, answer))
            for _ in range(5):
                try:
                    assert warm.execute(OPEN).fetchall() == [("x",)]
                    assert db.value(OPEN) == "x"
                except psycopg.Error:
                    if lease.stands():
                        raise
                    return False
            if not lease.stands():
                return False
            lease.is_over()
            for run in (lambda: warm.execute(OPEN), lambda: db.sql(OPEN)):
                with fails("53400" if answer == "throttle" else "58030"):
                    run()
            proxy.clear()
            process.wait_until(lambda: opens(db), "service resumes")
        return True

    in_time(attempt)


def opens(db):
    with contextlib.suppress(psycopg.Error):
        return db.value(OPEN) == "x"


def test_an_outage_that_ends_in_the_last_fifth(db, proxy):
    """It is asked again, with a pause that grows, and then nobody has noticed."""
    def attempt():
        lease = Lease(db, proxy)
        lease.sleep_until(0.81)
        proxy.fault("Decrypt", faults.unavailable, times=1)
        assert db.value(OPEN) == "x"
        time.sleep(0.3)
        assert db.value(OPEN) == "x"
        if not lease.stands():
            return False
        assert proxy.counts == {"Decrypt": 2}
        lease.is_over()
        assert asked(db, proxy) == 0
        return True

    in_time(attempt)


@pytest.mark.parametrize("answer, sqlstate", [("deny", "28000"), ("disabled", "55000")])
def test_a_denial_in_the_last_fifth_takes_the_lease_and_all_copies(db, proxy, answer, sqlstate):
    def attempt():
        with db.connect() as warm, db.connect() as second, db.connect() as asker:
            lease = Lease(db, proxy, warm)
            assert second.execute(OPEN).fetchall() == [("x",)]
            lease.sleep_until(0.83)
            proxy.fault("Decrypt", getattr(faults, answer))
            refused = Work(asker.execute, OPEN).error()
            if not lease.stands():
                return False
            assert refused.sqlstate == sqlstate
            for session in (warm, second):
                with fails(sqlstate):
                    session.execute(OPEN)
            with fails(sqlstate):
                db.sql(OPEN)
            return lease.stands()

    in_time(attempt)


def test_stale_keys_serve_while_kms_is_out_of_reach(shared, db, proxy):
    """As without leases, a session's own copy."""
    with db.connect() as c:
        c.execute("SET envelope.cache_ttl = '1s'; SET envelope.cache_max_stale = '60s'")
        c.execute(OPEN)
        proxy.fault("Decrypt", faults.unavailable)
        time.sleep(1.2)
        assert c.execute(OPEN).fetchall() == [("x",)]
        proxy.fault("Decrypt", faults.deny)

        def refused():
            try:
                c.execute(OPEN)
            except psycopg.Error as e:
                assert e.sqlstate == "28000"
                return True

        process.wait_until(refused, "a refusal is never stale")
        proxy.fault("Decrypt", faults.unavailable)
        time.sleep(0.2)
        with fails("58030"):
            c.execute(OPEN)


# -- how many -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backends", [10, 100])
def test_requests_do_not_grow_with_backends(shared, db, proxy, backends):
    """The formula of docs/scale-out.md: as many as whole lives of a key fit in, one more to begin with, for each key."""
    keys = ("people", "other")
    db.people("other", rows=["x"])
    forget(db)
    uses = [f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table}" for table in keys]
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(db.connect()) for _ in range(backends)]
        proxy.reset_counts()
        started = time.monotonic()

        def use(i):
            while time.monotonic() < started + 2.3 * TTL:
                for query in uses:
                    assert sessions[i].execute(query).fetchall() == [("x",)]
                time.sleep(0.4)

        at_once(use, backends)
        took = time.monotonic() - started
    least = 1 + int((took - 1) / TTL)
    most = 1 + int(took / (TTL * 0.8 * 15 / 16))
    assert least * len(keys) <= proxy.counts["Decrypt"] <= most * len(keys)
