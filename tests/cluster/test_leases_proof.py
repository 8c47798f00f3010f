"""One asks the KMS for a key, the others wait for its answer: what becomes of them when the one that asks is cancelled,
terminated or killed, wherever it is, and when it has less patience than they have. Requests are counted where they arrive."""

import os
import signal
import socket

import pytest
from harness import faults, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from harness.leased import OPEN, Crowd, asked, conf, cut, forget, hold, waits
from harness.proxy import FaultProxy
from harness.tcp_proxy import TcpProxy
from harness.tls import Certificate
from harness.work import Work, at_once
from sqlstate import fails

ROLE = "arn:aws:iam::123456789012:role/app"


class Way:
    """From the cluster to KMS: `tcp` sees connections, `proxy` what is asked within TLS."""

    def __init__(self, tcp, proxy):
        self.tcp, self.proxy = tcp, proxy

    def clear(self):
        self.proxy.clear()
        self.tcp.clear()
        self.proxy.reset_counts()
        self.tcp.reset_counts()

    def in_sts(self):
        """Before the request: the credentials for it are asked for."""
        return hold(self.proxy, operation="AssumeRole")

    def in_tls(self):
        """Connected, and the handshake is not answered."""
        # A connection that was used before would be used again.
        self.tcp.clear()
        self.tcp.reset_counts()
        self.tcp.hang()

        def is_asking():
            process.wait_until(lambda: self.tcp.connections, "a connection")
            self.tcp.pass_on()

        return is_asking

    def in_request(self):
        """Asked, and there is no answer yet."""
        return hold(self.proxy)

    def in_answer(self):
        """Half of the answer is there."""
        arrived = self.proxy.counts["Decrypt"]
        self.proxy.fault("Decrypt", faults.hang_in_body, times=1)
        return lambda: process.wait_until(lambda: self.proxy.counts["Decrypt"] > arrived, "a request")


@pytest.fixture(scope="module")
def open_way(moto):
    with Certificate() as certificate, FaultProxy(moto.url, certificate) as proxy, \
            TcpProxy("127.0.0.1", proxy.port) as tcp:
        way = Way(tcp, proxy)
        way.certificate = certificate
        yield way


@pytest.fixture(scope="module")
def leased(moto, open_way):
    url = f"https://{open_way.tcp.address}"
    env = {**kms.CREDENTIALS, "AWS_ENDPOINT_URL_STS": url, "SSL_CERT_FILE": str(open_way.certificate.path)}
    settings = conf(moto, url, max_prepared_transactions=5, restart_after_crash="on")
    with Cluster(conf=settings, env=env) as c:
        yield c


@pytest.fixture
def way(open_way):
    open_way.clear()
    yield open_way
    open_way.clear()


@pytest.fixture
def db(leased, way):
    """A value x that the session that sealed it has left, and no lease."""
    made = Database(leased)
    made.people(rows=["x"])
    made.sql(f"ALTER DATABASE {made.name} SET envelope.aws_role_arn = '{ROLE}'")
    forget(made)
    way.clear()
    yield made
    way.clear()
    made.drop()


STEPS = ["in_sts", "in_tls", "in_request", "in_answer"]


def test_one_asks_and_all_are_answered(db, way):
    is_asking = way.in_request()
    with Crowd(db, 8) as crowd:
        crowd.start(is_asking)
        assert way.proxy.counts["Decrypt"] == 1
        way.proxy.clear()
        assert crowd.opened([crowd.asking, *crowd.waiting])
    assert way.proxy.counts["Decrypt"] == 1
    assert asked(db, way.proxy) == 0


def test_forty_new_sessions_ask_once(db, way):
    assert at_once(lambda _: db.value(OPEN), 40) == ["x"] * 40
    assert way.proxy.counts["Decrypt"] == 1


def test_sessions_that_need_different_keys_do_not_wait_for_each_other(db, way):
    db.people("others", rows=["o"])
    forget(db)
    is_asking = way.in_request()
    with Crowd(db, 2) as crowd:
        crowd.start(is_asking)
        assert db.value("SELECT envelope_decrypt_text('others', ssn) FROM others") == "o"
        way.proxy.clear()
        assert crowd.opened()


# -- the asker ends -------------------------------------------------------------------------------------------------


def interrupt(db, session, how):
    db.sql(f"SELECT pg_{how}_backend(%s)", (session.info.backend_pid,))


def go_away(session):
    """Its client closes the connection without a word."""
    with socket.socket(fileno=os.dup(session.fileno())) as s:
        s.shutdown(socket.SHUT_RDWR)


def ends_by_itself(how, step):
    """Long enough for all to come to wait. A handshake that hangs is given up by KMS's client, though, after 3.1 s."""
    return f"SET {'envelope.' if how == 'kms_timeout' else ''}{how} = '{3 if step == 'in_tls' else 5}s'"


ENDS = {
    "cancel": "57014",
    "terminate": "57P01",
    "statement_timeout": "57014",
    "kms_timeout": "58030",
    "client gone": None,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ENDS)
def test_the_asker_ends_and_another_takes_over(db, way, step, how):
    is_asking = getattr(way, step)()
    with Crowd(db) as crowd:
        if how in ("statement_timeout", "kms_timeout"):
            crowd.asker.execute(ends_by_itself(how, step))
        if how == "client gone":
            crowd.asker.execute("SET client_connection_check_interval = '200ms'")
        crowd.start(is_asking)
        if how in ("cancel", "terminate"):
            interrupt(db, crowd.asker, how)
        if how == "client gone":
            go_away(crowd.asker)
        assert crowd.asking.error().sqlstate == ENDS[how]
        # What hangs still hangs: it is another's request that is answered.
        assert crowd.opened()
        if step in ("in_request", "in_answer"):
            assert way.proxy.counts["Decrypt"] == 2
        else:
            assert way.proxy.counts["Decrypt"] == 1
        if how in ("cancel", "statement_timeout", "kms_timeout"):
            crowd.asker.execute("RESET statement_timeout; RESET envelope.kms_timeout")
            assert crowd.asker.execute(OPEN).fetchall() == [("x",)]
    asked_for = way.proxy.counts["Decrypt"]
    assert asked(db, way.proxy) == 0
    assert way.proxy.counts["Decrypt"] == asked_for


@pytest.mark.parametrize("step", STEPS)
def test_a_killed_asker_leaves_nobody_waiting(leased, db, way, step):
    is_asking = getattr(way, step)()
    with Crowd(db) as crowd:
        crowd.start(is_asking)
        leased.kill9_backend(crowd.asker.info.backend_pid)
        for work in (crowd.asking, *crowd.waiting):
            cut(work)
    way.clear()
    # Memory is new, with nobody in it who asks.
    assert asked(db, way.proxy) == 1
    assert asked(db, way.proxy) == 0


def test_a_killed_waiter_takes_the_asker_along(leased, db, way):
    is_asking = way.in_request()
    with Crowd(db) as crowd:
        crowd.start(is_asking)
        leased.kill9_backend(crowd.others[0].info.backend_pid)
        for work in (crowd.asking, *crowd.waiting):
            cut(work)
    way.clear()
    assert at_once(lambda _: db.value(OPEN), 8) == ["x"] * 8
    assert way.proxy.counts["Decrypt"] == 1


def test_an_asker_that_stands_still(db, way):
    """Stopped by the kernel, it can let go of nothing: those who wait have their own patience, and then another asks."""
    is_asking = way.in_request()
    with Crowd(db) as crowd:
        for session in crowd.sessions:
            session.execute("SET envelope.kms_timeout = '5s'")
        crowd.start(is_asking)
        pid = crowd.asker.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            for work in crowd.waiting:
                assert work.error().sqlstate == "58030"
            process.wait_until(lambda: opens(crowd.others[0], "58030"), "another asks")
            assert way.proxy.counts["Decrypt"] == 2
        finally:
            os.kill(pid, signal.SIGCONT)
        way.proxy.clear()
        # Its own time was over long ago; an answer that was there all the same is good.
        if error := crowd.asking.outcome():
            assert error.sqlstate == "58030"
        assert asked(db, way.proxy) == 0


@pytest.mark.parametrize("how", ["cancel", "terminate"])
def test_a_parallel_worker_that_asks(db, way, how):
    """It ends with its leader's query, whoever of them asks, and another session goes on."""
    db.sql("INSERT INTO people SELECT g, 'x' FROM generate_series(2, 3000) g")
    forget(db)
    way.proxy.reset_counts()
    is_asking = way.in_request()
    with db.connect() as c, db.connect() as other:
        # The setting was renamed in PostgreSQL 16.
        force = "force_parallel_mode" if c.info.server_version < 160000 else "debug_parallel_query"
        for name, value in ((force, "on"), ("parallel_setup_cost", 0), ("parallel_tuple_cost", 0),
                            ("min_parallel_table_scan_size", 0), ("max_parallel_workers_per_gather", 4),
                            ("parallel_leader_participation", "off")):
            c.execute(f"SET {name} = {value}")
        asking = Work(c.execute, "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'x'")
        is_asking()
        waiting = Work(other.execute, OPEN + " WHERE id = 1")
        process.wait_until(lambda: waits(db, other), "it waits")
        assert way.proxy.counts["Decrypt"] == 1
        interrupt(db, c, how)
        assert asking.error().sqlstate == {"cancel": "57014", "terminate": "57P01"}[how]
        assert waiting.result().fetchall() == [("x",)]
        assert way.proxy.counts["Decrypt"] == 2


CATCHES = """DO $$ BEGIN PERFORM envelope_decrypt('people', ssn) FROM people;
                   EXCEPTION WHEN query_canceled OR OTHERS THEN END $$"""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["cancel", "statement_timeout", "kms_timeout"])
def test_an_end_that_a_block_catches(db, way, step, how):
    """The asker's transaction goes on as if nothing had been, and asks no more."""
    is_asking = getattr(way, step)()
    with Crowd(db, statement=CATCHES) as crowd:
        if how != "cancel":
            crowd.asker.execute(ends_by_itself(how, step))
        crowd.asker.execute("BEGIN")
        crowd.start(is_asking)
        if how == "cancel":
            interrupt(db, crowd.asker, "cancel")
        crowd.asking.result()
        assert crowd.opened()
        assert crowd.asker.execute("SELECT 1").fetchone() == (1,)


def test_a_savepoint_is_rolled_back(db, way):
    is_asking = way.in_request()
    with Crowd(db) as crowd:
        crowd.asker.execute("BEGIN; SAVEPOINT s")
        crowd.start(is_asking)
        interrupt(db, crowd.asker, "cancel")
        assert crowd.asking.error().sqlstate == "57014"
        assert crowd.opened()
        crowd.asker.execute("ROLLBACK TO s")
        assert crowd.asker.execute(OPEN).fetchall() == [("x",)]
        crowd.asker.execute("COMMIT")


def test_askers_end_one_after_the_other(db, way):
    """Each who takes over is cancelled in turn, until the last."""
    way.proxy.fault("Decrypt", faults.hang)
    sessions = [db.connect() for _ in range(5)]
    works = [Work(session.execute, OPEN) for session in sessions]
    pids = {session.info.backend_pid: work for session, work in zip(sessions, works)}
    for session in sessions:
        process.wait_until(lambda: waits(db, session), "it waits")
    for requests in range(1, 6):
        process.wait_until(lambda: way.proxy.counts["Decrypt"] == requests, "the next one asks")
        # Who waits has no connection to KMS.
        asking = [pid for pid in pids if connections_to(pid, way.tcp.port)]
        assert len(asking) == 1
        db.sql("SELECT pg_cancel_backend(%s)", (asking[0],))
        assert pids.pop(asking[0]).error().sqlstate == "57014"
    way.clear()
    assert [session.execute(OPEN).fetchall() for session in sessions] == [[("x",)]] * 5
    assert way.proxy.counts["Decrypt"] == 1
    for session in sessions:
        session.close()


def connections_to(pid, port):
    """How many established connections a process has to a port of this machine."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(int(row[2].rpartition(":")[2], 16) == port and row[3] == "01" and f"socket:[{row[9]}]" in inodes for row in rows)


# -- those who wait -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how, sqlstate", [("cancel", "57014"), ("terminate", "57P01"), ("statement_timeout", "57014"),
                                           ("kms_timeout", "58030"), ("client gone", None)])
def test_one_who_waits_ends_alone(db, way, how, sqlstate):
    is_asking = way.in_request()
    with Crowd(db) as crowd:
        leaves, works = crowd.others[0], crowd.waiting
        if how.endswith("timeout"):
            leaves.execute(ends_by_itself(how, "in_request"))
        if how == "client gone":
            leaves.execute("SET client_connection_check_interval = '200ms'")
        crowd.start(is_asking)
        if how in ("cancel", "terminate"):
            interrupt(db, leaves, how)
        if how == "client gone":
            go_away(leaves)
        works = crowd.waiting
        assert works[0].error().sqlstate == sqlstate
        assert all(work.is_alive() for work in [crowd.asking, *works[1:]])
        assert way.proxy.counts["Decrypt"] == 1
        way.proxy.clear()
        assert crowd.opened([crowd.asking, *works[1:]])
        if how in ("cancel", "kms_timeout", "statement_timeout"):
            leaves.execute("RESET statement_timeout")
            assert leaves.execute(OPEN).fetchall() == [("x",)]
    assert way.proxy.counts["Decrypt"] == 1


def test_who_waits_may_hold_what_the_asker_would_want(db, way):
    """Of the catalog's tables; from the request to its answer the asker has no lock on them and wants none."""
    is_asking = way.in_request()
    with Crowd(db, 2) as crowd, db.connect() as holder:
        crowd.asker.execute("BEGIN")
        crowd.start(is_asking)
        holder.execute("BEGIN; SET LOCAL lock_timeout = '60s'; LOCK TABLE envelope.wrapped_key, envelope.data_key, envelope.keyring, "
                       "envelope.keyring_table IN ACCESS EXCLUSIVE MODE")
        held_up = Work(holder.execute, OPEN)
        process.wait_until(lambda: waits(db, holder), "it waits")
        way.proxy.clear()
        assert held_up.result().fetchall() == [("x",)]
        assert way.proxy.counts["Decrypt"] == 1
        holder.execute("COMMIT")
        assert crowd.opened([crowd.asking, *crowd.waiting])


def test_who_waits_is_seen_to(db, way):
    """From PostgreSQL 17 on by names that tell who asks from who waits."""
    is_asking = way.in_request()
    with Crowd(db, 2) as crowd:
        crowd.start(is_asking)
        # The request may be there before the asker waits for its answer.
        process.wait_until(lambda: waits(db, crowd.asker), "it waits")
        events = [db.value("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", (session.info.backend_pid,))
                  for session in crowd.sessions]
        if crowd.asker.info.server_version >= 170000:
            assert len(set(events)) == 2 and "Extension" not in events
        else:
            assert events == ["Extension"] * 2
        way.proxy.clear()
        assert crowd.opened()


# -- what the KMS answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer, sqlstate", [("deny", "28000"), ("disabled", "55000"), ("missing", "55000"),
                                              ("throttle", "53400"), ("unavailable", "58030")])
def test_a_refusal_is_everybodys(db, way, answer, sqlstate):
    is_asking = hold(way.proxy, getattr(faults, answer))
    with Crowd(db, 6) as crowd:
        crowd.start(is_asking)
        way.proxy.fault("Decrypt", getattr(faults, answer))
        way.proxy.released.set()
        for work in (crowd.asking, *crowd.waiting):
            error = work.error()
            assert error.sqlstate == sqlstate
            assert "x" not in (error.diag.message_detail or "").split()
        # One who wakes late may find the refusal over already, and asks again.
        assert way.proxy.counts["Decrypt"] <= 2
        way.proxy.clear()
        process.wait_until(lambda: opens(crowd.others[0], sqlstate), "service resumes")
    assert asked(db, way.proxy) == 0


def opens(session, sqlstate):
    try:
        return session.execute(OPEN).fetchall() == [("x",)]
    except Exception as e:
        assert e.sqlstate == sqlstate
        return False


@pytest.mark.parametrize("answer, sqlstate", [("deny", "28000"), ("unavailable", "58030"), ("throttle", "53400")])
def test_a_sick_kms_is_asked_once_a_cluster(db, way, answer, sqlstate):
    """With a pause that grows, whoever asks: these are new sessions, of which none remembers anything."""
    way.proxy.fault("*", faults.none)
    way.proxy.fault("Decrypt", getattr(faults, answer))
    for _ in range(30):
        with fails(sqlstate):
            db.sql(OPEN)
    # 0.1 s, 0.2 s, 0.4 s … between them: seven in 6 s, and one each 5 s from then on.
    assert 1 <= way.proxy.counts["Decrypt"] <= 12
    way.proxy.clear()
    process.wait_until(lambda: is_open(db, sqlstate), "service resumes")
    assert asked(db, way.proxy) == 0


def is_open(db, sqlstate):
    try:
        return db.value(OPEN) == "x"
    except Exception as e:
        assert e.sqlstate == sqlstate
        return False


@pytest.mark.parametrize("answer", ["reset", "truncated", "garbage", "another_plaintext", "short_plaintext"])
def test_an_answer_that_is_none_is_no_lease(db, way, answer):
    way.proxy.fault("Decrypt", getattr(faults, answer), times=1)
    with fails("58030" if answer in ("reset", "truncated", "garbage") else "XX001"):
        db.sql(OPEN)
    way.proxy.clear()
    process.wait_until(lambda: is_open(db, "58030"), "service resumes")
