"""What a probe is told of each KEK in use: reachable, unwraps, makes keys, each by itself; never an error for a sick KMS,
never longer than envelope.kms_timeout."""

import contextlib
import pathlib
import time

import pytest
from harness import faults
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from harness.work import Work
from sqlstate import IN_TIME, fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
WELL = (True, True, True)
AWAY = (False, False, False)


@pytest.fixture(scope="module", params=["preloaded", "not preloaded"])
def server(request, moto, kms_proxy):
    conf = {
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.allowed_keks": "aws-kms://arn:aws:kms:*",
        "envelope.aws_endpoint_url": kms_proxy.url,
        "envelope.kms_timeout": "4s",
        "envelope.kms_max_attempts": "1",
    }
    if request.param == "preloaded":
        conf["shared_preload_libraries"] = "pgrx-example"
    with Cluster(conf=conf, env=kms.CREDENTIALS) as c:
        c.is_preloaded = request.param == "preloaded"
        yield c


@pytest.fixture
def db(server, proxy):
    made = Database(server)
    made.people(rows=["a"])
    made.monitor = f"monitor_{made.name}"
    made.sql(f"CREATE ROLE {made.monitor} LOGIN; GRANT pg_monitor TO {made.monitor}")
    yield made
    proxy.clear()
    made.drop()


def health(c, ask=True, columns="reachable, unwraps, makes_keys"):
    return c.execute(f"SELECT {columns} FROM envelope.health(ask => {ask})").fetchall()


@contextlib.contextmanager
def in_time():
    """Long before what hangs goes on."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < IN_TIME


def patient(db, seconds):
    """A monitor's session that waits so long for all KEKs together."""
    db.sql(f"ALTER ROLE {db.monitor} SET envelope.kms_timeout = '{seconds}s'")
    return db.connect(db.monitor)


def test_well(db, proxy):
    with db.connect(db.monitor) as c:
        proxy.reset_counts()
        columns = "kek, provider, in_use_by_keys, reachable, unwraps, makes_keys, last_failure, last_failure_class, source"
        kek = db.value("SELECT keks[1] FROM envelope.keys")
        assert health(c, columns=columns) == [(kek, "aws-kms", 1, *WELL, None, None, "asked")]
        assert (proxy.counts["Decrypt"], proxy.counts["GenerateDataKey"]) == (1, 1)
        assert health(c, columns="now() - last_success < '1 minute'") == [(True,)]
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 1


REFUSALS = {
    "deny": ("denied", True),
    "disabled": ("key_state", True),
    "throttle": ("throttled", True),
    "internal": ("unavailable", False),
    "reset": ("unavailable", False),
    "garbage": ("unavailable", False),
    "hang": ("unavailable", False),
    "short_plaintext": ("invalid_wrap", True),
}


@pytest.mark.parametrize("fault, told", REFUSALS.items())
def test_each_fault_is_a_row(db, proxy, fault, told):
    proxy.fault("*", getattr(faults, fault))
    with db.connect(db.monitor) as c:
        columns = "reachable, unwraps, makes_keys, last_failure_class, now() - last_failure < '1 minute'"
        with in_time():
            assert health(c, columns=columns) == [(told[1], False, False, told[0], True)]


@pytest.mark.parametrize("operation, expected", {"Decrypt": (True, False, True), "GenerateDataKey": (True, True, False)}.items())
def test_the_right_to_unwrap_and_the_right_to_make_keys_are_two(db, proxy, operation, expected):
    """A check that only encrypts would call a server healthy that opens nothing."""
    proxy.fault(operation, faults.deny)
    with db.connect(db.monitor) as c:
        assert health(c) == [expected]
    proxy.clear()


def test_refused(db, proxy):
    proxy.refuse()
    try:
        with db.connect(db.monitor) as c:
            assert health(c) == [AWAY]
    finally:
        proxy.listen()
    with db.connect(db.monitor) as c:
        assert health(c) == [WELL]


def test_several_keks_share_the_time(db, proxy, moto):
    """One that hangs leaves the others theirs."""
    second, third = sorted(kms.kek(moto.create_key()) for _ in range(2))
    db.sql(f"SELECT envelope.add_kek('people', '{second}'), envelope.add_kek('people', '{third}')")
    first = db.value("SELECT keks[1] FROM envelope.keys")
    proxy.fault("*", lambda x: (faults.hang if x.request["KeyId"] in first else faults.none)(x))
    with patient(db, 12) as c:
        found = {kek: tuple(rest) for kek, *rest in health(c, columns="kek, reachable, unwraps, makes_keys")}
    assert found == {first: AWAY, second: WELL, third: WELL}
    proxy.fault("*", faults.hang)
    with db.connect(db.monitor) as c, in_time():
        assert health(c) == [AWAY] * 3


def test_it_can_be_cancelled(db, proxy):
    held = proxy.hold("Decrypt")
    with db.connect(db.monitor) as c:
        work = Work(health, c)
        held()
        db.value(f"SELECT pg_cancel_backend({c.info.backend_pid})")
        assert work.error().sqlstate == "57014"


def test_what_sessions_saw(db, server, proxy):
    """Nobody is asked. Preloaded: what any session saw; else, this one."""
    seen_by_others = {False: (None, None, None), True: WELL}[server.is_preloaded]
    with db.connect() as c:
        proxy.reset_counts()
        assert health(c, False, "reachable, unwraps, makes_keys, source") == [(*seen_by_others, "memory")]
        assert not proxy.counts
        # From the KMS: a lease would do.
        db.sql("UPDATE envelope.wrapped_key SET kek = kek")
        c.execute("SELECT envelope.flush_cache()")
        c.execute("SELECT * FROM envelope.health(ask => true)")
        assert health(c, False) == [WELL]
        proxy.fault("Decrypt", faults.deny)
        c.execute("SELECT * FROM envelope.health(ask => true)")
        assert health(c, False, "reachable, unwraps, makes_keys, last_failure_class") == [(True, False, True, "denied")]
        proxy.fault("*", faults.internal)
        c.execute("SELECT * FROM envelope.health(ask => true)")
        assert health(c, False, "reachable, unwraps, last_failure_class") == [(False, False, "unavailable")]
        proxy.clear()
        c.execute("SELECT * FROM envelope.health(ask => true)")
        assert health(c, False) == [WELL]
        proxy.fault("Decrypt", faults.hang)
        with fails("57014"):
            c.execute("SET statement_timeout = '300ms'; SELECT * FROM envelope.health(ask => true)")
        assert health(c, False) == [WELL]


def test_a_reset_forgets_no_failure(db, server):
    if server.is_preloaded:
        db.sql("SELECT envelope.stats_reset()")
        with db.connect() as c:
            assert health(c, False, "reachable, makes_keys") == [(True, True)]


def test_a_kek_that_may_wrap_no_new_keys_is_not_asked_to(db, proxy):
    with db.connect() as c:
        c.execute("SET envelope.allowed_keks = 'aws-kms://alias/other'")
        c.execute("SET envelope.default_kek = ''")
        proxy.reset_counts()
        assert health(c) == [(True, True, False)]
        assert proxy.counts["GenerateDataKey"] == 0


def test_the_kek_of_the_next_table_is_in_use_before_it_wraps_a_key(db, moto, proxy):
    kek = kms.kek(moto.create_key())
    with db.connect() as c:
        c.execute(f"SET envelope.default_kek = '{kek}'")
        found = {kek: tuple(rest) for kek, *rest in health(c, columns="kek, in_use_by_keys, reachable, unwraps, makes_keys")}
        assert found[kek] == (0, *WELL) and len(found) == 2
        proxy.fault("Decrypt", faults.deny)
        assert health(c, columns="reachable, unwraps, makes_keys") == [(True, False, True)] * 2


def test_a_key_file(own_cluster, database):
    db = database(own_cluster(conf={"shared_preload_libraries": "pgrx-example"}).start())
    db.people(rows=["a"])
    with db.connect() as c:
        columns = "provider, reachable, unwraps, makes_keys, last_failure_class"
        assert health(c, columns=columns) == [("file", *WELL, None)]
        [(kek,)] = c.execute("SELECT keks[1] FROM envelope.keys").fetchall()
        path = kek.removeprefix("file://")
        pathlib.Path(path).rename(path + ".away")
        assert health(c, columns=columns) == [("file", True, False, False, "key_state")]


def test_a_kms_that_was_not_asked(db, server):
    """With a setting that cannot be used nothing is sent: whether the KMS is there is not known. What was wanted of it counts."""
    columns = "reachable, unwraps, makes_keys, last_failure_class"
    with db.connect() as c:
        c.execute("SET envelope.aws_endpoint_url = 'no url'")
        assert health(c, columns=columns) == [(None, False, False, "bad_uri")]
        assert health(c, False, columns) == [(None, False, False, "bad_uri")]
        with fails("22023"):
            c.execute("CREATE TABLE more (v bytea); SELECT envelope.create_key('more')")
    if server.is_preloaded:
        counted = "SELECT operation, requests FROM envelope.stats_kms WHERE outcome = 'bad_uri' AND datname = current_database() ORDER BY 1"
        assert db.sql(counted) == [("describe", 1), ("generate", 1), ("unwrap", 1)]


def test_without_credentials(own_cluster, database, moto, proxy):
    conf = {"envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_endpoint_url": proxy.url}
    db = database(own_cluster(conf=conf).start())
    with db.connect() as c:
        proxy.reset_counts()
        columns = "reachable, unwraps, makes_keys, last_failure_class"
        assert health(c, columns=columns) == [(None, None, False, "credentials")] and not proxy.counts
        assert health(c, False, columns) == [(None, None, False, "credentials")]


def test_rights(db):
    with fails("42501"):
        db.sql("SELECT * FROM envelope.health()", user=db.low)
    with fails("42501"):
        db.sql("SELECT * FROM envelope.wrapped_key", user=db.monitor)
    assert len(db.sql("SELECT * FROM envelope.health()", user=db.monitor)) == 1


def test_on_a_database_without_keys(server, proxy):
    db = Database(server)
    with db.connect() as c:
        assert health(c) == [WELL]
        c.execute("SET envelope.default_kek = ''")
        assert health(c) == []
    db.drop()


def test_a_lone_kek_has_all_the_time(db, proxy):
    """One that is slow is no one that is away."""
    proxy.fault("Decrypt", faults.delay(5))
    # Of a half of it that would be too much.
    with patient(db, 9) as c:
        assert health(c, columns="reachable, unwraps") == [(True, True)]
