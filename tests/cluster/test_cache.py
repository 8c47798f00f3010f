"""The cache of unwrapped keys beside rows, transactions, other sessions and a sick KMS; requests are counted where they
arrive. test_cache_limits.py has each limit by itself."""

import time

import psycopg
import pytest
from harness import faults, process
from harness.database import Database
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
SEAL = "SELECT length(envelope_encrypt('people', 'y'))"
KEYS = "SELECT keys_cached FROM envelope.stats"


@pytest.fixture(scope="module")
def shared(aws_cluster):
    return Database(aws_cluster)


@pytest.fixture
def aws(shared, proxy):
    """As new for each test: to make a database for each would take longer than most of them."""
    shared.sql('SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE; '
               'DROP SCHEMA public CASCADE; CREATE SCHEMA public; '
               'GRANT USAGE ON SCHEMA public TO PUBLIC; CREATE EXTENSION "pgrx-example" SCHEMA public')
    return shared


@pytest.fixture
def session(aws, proxy):
    """A session that has the key of `people`, and a fresh count. One value, a, is in the table."""
    aws.people(rows=["a"])
    with aws.connect() as c:
        # A worker would be a session of its own, with a cache of its own.
        c.execute("SET max_parallel_workers_per_gather = 0")
        # The SDK's pauses between attempts are random and long beside these tests.
        c.execute("SET envelope.kms_max_attempts = 1")
        assert c.execute(OPEN).fetchall() == [("a",)]
        proxy.reset_counts()
        yield c


@pytest.fixture
def reload(aws_cluster):
    """Changes settings of the cluster by a reload, until the test ends."""
    changed = set()

    def change(**settings):
        changed.update(settings)
        aws_cluster.set(**settings)

    yield change
    # The next test's sessions read the file at their start.
    aws_cluster.set(**dict.fromkeys(changed))


def keys_cached(c):
    return c.execute(KEYS).fetchone()[0]


def settle(c, name, value):
    """Waits until a reload has reached the session."""
    process.wait_until(lambda: c.execute(f"SHOW {name}").fetchone()[0] == value, f"{name} = {value}")


# -- rows, transactions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["envelope_decrypt('people', ssn)", "envelope_encrypt('people', 'x')"])
def test_a_hundred_thousand_rows_one_request(session, proxy, call):
    session.execute("SELECT envelope.flush_cache()")
    assert session.execute(f"SELECT count({call}) FROM people, generate_series(1, 100000)").fetchone() == (100_000,)
    assert proxy.counts == {"Decrypt": 1}


def test_interleaved_tables_one_request_each(session, aws, proxy):
    aws.people("others", rows=["b"])
    proxy.reset_counts()
    session.execute("SELECT envelope.flush_cache()")
    query = """SELECT count(envelope_decrypt('people', p.ssn)) + count(envelope_decrypt('others', o.ssn))
               FROM people p, others o, generate_series(1, 1000)"""
    assert session.execute(query).fetchone() == (2000,)
    assert proxy.counts == {"Decrypt": 2}


def test_rollbacks_and_other_sessions_changes_cost_no_request(session, aws, proxy):
    for i in range(5):
        session.execute("BEGIN")
        session.execute("INSERT INTO people VALUES (%s, 'lost')", (100 + i,))
        session.execute("SAVEPOINT s")
        session.execute(OPEN)
        session.execute("ROLLBACK")
        aws.sql("UPDATE envelope.data_key SET reason = 'looked at'")
        aws.sql(f"CREATE TABLE t{i} (v int)")
    assert session.execute(OPEN).fetchall() == [("a",)]
    assert not proxy.counts


def test_a_key_of_the_open_transaction_stays(session, aws, proxy):
    """Not even cache_max_keys takes it; a flush does, and its wrap is found again."""
    for table in ("one", "two"):
        aws.people(table)
    session.execute("SET envelope.cache_max_keys = 1")
    session.execute("BEGIN")
    for table in ("one", "two"):
        session.execute(f"INSERT INTO {table} VALUES (1, 'v')")
    assert proxy.counts == {"GenerateDataKey": 2, "Decrypt": 2}
    opens_both = """SELECT envelope_decrypt_text('one', one.ssn), envelope_decrypt_text('two', two.ssn)
                    FROM one, two"""
    assert session.execute(opens_both).fetchall() == [("v", "v")]
    assert proxy.counts == {"GenerateDataKey": 2, "Decrypt": 2}
    session.execute("SELECT envelope.flush_cache()")
    assert session.execute(opens_both).fetchall() == [("v", "v")]
    assert proxy.counts["Decrypt"] == 4
    session.execute("ROLLBACK")
    assert keys_cached(session) <= 1
    assert aws.value("SELECT count(*) FROM envelope.data_key") == 1


# -- limits ---------------------------------------------------------------------------------------------------------


def test_the_time_to_live_by_a_reload(session, proxy, reload):
    reload(envelope__cache_ttl="1s")
    settle(session, "envelope.cache_ttl", "1s")
    session.execute(SEAL)
    before = proxy.counts["Decrypt"]
    assert before <= 1
    time.sleep(1.2)
    session.execute(SEAL)
    assert proxy.counts == {"Decrypt": before + 1}
    assert session.execute(OPEN).fetchall() == [("a",)]
    before = proxy.counts["Decrypt"]
    reload(envelope__cache_ttl="10min")
    settle(session, "envelope.cache_ttl", "10min")
    time.sleep(1.2)
    session.execute(SEAL)
    assert proxy.counts["Decrypt"] == before


@pytest.mark.parametrize("used_after_the_change", [True, False])
def test_an_unused_key_is_wiped_after_its_time(session, aws, proxy, used_after_the_change):
    """By the next miss of any key; also when the time was shortened since the key was last used."""
    aws.people("others", rows=["b"])
    session.execute("SET envelope.cache_ttl = 1")
    if used_after_the_change:
        session.execute(OPEN)
    time.sleep(1.2)
    session.execute("SELECT envelope_decrypt('others', ssn) FROM others")
    assert keys_cached(session) == 1


def test_the_oldest_key_goes_first(session, aws, proxy):
    session.execute("SET envelope.cache_max_keys = 3")
    for i in range(4):
        aws.people(f"t{i}", rows=[f"v{i}"])
    proxy.reset_counts()

    def asked_for(i):
        before = proxy.counts["Decrypt"]
        assert session.execute(f"SELECT envelope_decrypt_text('t{i}', ssn) FROM t{i}").fetchone() == (f"v{i}",)
        return proxy.counts["Decrypt"] - before

    assert [asked_for(i) for i in (0, 1, 2)] == [1, 1, 1]
    time.sleep(0.01)
    # That it is used does not make a key younger: its unwrapping counts.
    assert asked_for(0) == 0
    assert [asked_for(i) for i in (3, 1, 2, 3)] == [1, 0, 0, 0]
    assert asked_for(0) == 1
    assert keys_cached(session) == 3
    session.execute("SET envelope.cache_max_keys = 1")
    assert [asked_for(i) for i in (1, 1, 2, 2, 1)][1::2] == [0, 0]
    assert keys_cached(session) == 1


@pytest.mark.parametrize("uses, asked", [(1, 10), (4, 3), (10, 1), (11, 1)])
def test_uses_are_counted_by_the_value(session, aws, proxy, uses, asked):
    for i in range(2, 11):
        session.execute("INSERT INTO people VALUES (%s, 'a')", (i,))
    session.execute("SELECT envelope.flush_cache()")
    session.execute(f"SET envelope.cache_max_uses = {uses}")
    proxy.reset_counts()
    assert session.execute(OPEN).fetchall() == [("a",)] * 10
    assert proxy.counts == {"Decrypt": asked}


def test_sealing_counts_as_well(session, proxy):
    session.execute("SELECT envelope.flush_cache()")
    session.execute("SET envelope.cache_max_uses = 3")
    for _ in range(3):
        session.execute(SEAL)
        assert session.execute(OPEN).fetchall() == [("a",)]
    assert proxy.counts == {"Decrypt": 2}


# -- a table's own limits -------------------------------------------------------------------------------------------


def set_limits(db, limits, **kw):
    db.sql("SELECT envelope.set_limits('people', %s)", (limits,), **kw)


NO_LIMITS = ["[]", "null", "1", '"x"', '{"cache_ttl": 0}', '{"cache_ttl": -1}', '{"cache_ttl": 1.5}',
             '{"cache_ttl": "1"}', '{"cache_ttl": true}', '{"cache_max_keys": 1}', '{"Cache_ttl": 1}',
             '{"cache_max_uses": [1]}', '{"cache_max_uses": 1e30}', '{"cache_max_bytes": 99999999999999999999999}',
             '{"cache_ttl": 1, "x": 1}']


def test_limits_that_are_none(aws):
    aws.people(rows=["a"])
    set_limits(aws, '{"cache_ttl": 100}')
    for limits in NO_LIMITS:
        with fails("22023"):
            set_limits(aws, limits)
    assert aws.value("SELECT limits FROM envelope.keyring") == {"cache_ttl": 100}


def test_whose_limits_one_sets(aws):
    aws.people()
    with fails("42704"):
        set_limits(aws, "{}")
    aws.sql("INSERT INTO people VALUES (1, 'a')")
    with fails("42501"):
        set_limits(aws, "{}", user=aws.low)
    aws.sql(f"GRANT ALL ON people TO {aws.low}")
    with fails("42501"):
        set_limits(aws, "{}", user=aws.low)
    aws.sql(f"ALTER TABLE people OWNER TO {aws.low}")
    set_limits(aws, '{"cache_max_uses": 7}', user=aws.low)
    assert aws.value("SELECT limits FROM envelope.keyring") == {"cache_max_uses": 7}


def test_own_limits_hold_for_other_sessions_at_once_and_not_when_rolled_back(session, aws, proxy):
    with aws.connect() as other:
        other.execute("BEGIN")
        other.execute("""SELECT envelope.set_limits('people', '{"cache_max_uses": 1}')""")
        for _ in range(4):
            session.execute(OPEN)
        assert not proxy.counts
        other.execute("ROLLBACK")
    for _ in range(4):
        session.execute(OPEN)
    assert not proxy.counts
    set_limits(aws, '{"cache_max_uses": 1}')
    for _ in range(4):
        session.execute(OPEN)
    assert proxy.counts == {"Decrypt": 4}
    set_limits(aws, "{}")
    session.execute(OPEN)
    proxy.reset_counts()
    for _ in range(4):
        session.execute(OPEN)
    assert not proxy.counts


def test_own_limits_are_only_tighter(session, aws, proxy):
    session.execute("SET envelope.cache_max_uses = 2")
    # 0 is no limit, as in the settings: it loosens nothing.
    for loose in ('{"cache_max_uses": 1000}', '{"cache_max_uses": 0}', "{}"):
        set_limits(aws, loose)
        session.execute("SELECT envelope.flush_cache()")
        proxy.reset_counts()
        for _ in range(6):
            session.execute(OPEN)
        assert proxy.counts == {"Decrypt": 3}, loose


def test_own_limit_of_bytes(session, aws, proxy):
    session.execute("INSERT INTO people VALUES (2, %s)", (b"x" * 1500,))
    set_limits(aws, '{"cache_max_bytes": 2}')
    session.execute("SELECT envelope.flush_cache()")
    proxy.reset_counts()
    for _ in range(8):
        session.execute("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = 2")
    # Two values go beyond 2 kB, the third finds the limit reached.
    assert proxy.counts == {"Decrypt": 4}


def test_own_limits_hold_for_that_table_alone(session, aws, proxy):
    aws.people("others", rows=["b"])
    set_limits(aws, '{"cache_max_uses": 1}')
    opens_other = "SELECT envelope_decrypt('others', ssn) FROM others"
    session.execute(opens_other)
    proxy.reset_counts()
    for _ in range(4):
        session.execute(opens_other)
    assert not proxy.counts


# -- a sick KMS -----------------------------------------------------------------------------------------------------


def expire(c, stale=0):
    """Lowers the time to live and waits past it."""
    c.execute(f"SET envelope.cache_max_stale = {stale}")
    c.execute("SET envelope.cache_ttl = 1")
    time.sleep(1.1)


@pytest.mark.parametrize("fault", ["unavailable", "throttle", "reset"])
def test_stale_keys_seal_and_open(session, proxy, fault):
    expire(session, stale=60)
    proxy.fault("Decrypt", getattr(faults, fault))
    started = time.monotonic()
    for _ in range(20):
        assert session.execute(OPEN).fetchall() == [("a",)]
        session.execute(SEAL)
    # The KMS is asked once a second, not once a value.
    assert 1 <= proxy.counts["Decrypt"] <= 5 + (time.monotonic() - started)


def test_use_does_not_prolong_staleness(session, proxy):
    expire(session, stale=6)
    proxy.fault("Decrypt", faults.unavailable)
    assert session.execute(OPEN).fetchall() == [("a",)]
    deadline = time.monotonic() + 30
    with fails("58030"):
        while time.monotonic() < deadline:
            session.execute(OPEN)
            session.execute(SEAL)
            time.sleep(0.02)
    # The last request may have been under way when its time came.
    with fails("58030"):
        session.execute(OPEN)
    assert keys_cached(session) == 0


def test_a_service_that_is_back_is_used(session, proxy):
    expire(session, stale=60)
    proxy.fault("Decrypt", faults.unavailable)
    session.execute(OPEN)
    proxy.clear()
    proxy.reset_counts()

    def asked():
        assert session.execute(OPEN).fetchall() == [("a",)]
        return proxy.counts["Decrypt"]

    process.wait_until(asked, "the KMS is asked again")
    session.execute("SET envelope.cache_max_stale = 0")
    session.execute("SET envelope.cache_ttl = 60")
    assert session.execute(OPEN).fetchall() == [("a",)]


@pytest.mark.parametrize("fault, sqlstate", [("deny", "28000"), ("disabled", "55000"), ("missing", "55000"),
                                             ("pending_deletion", "55000"), ("incorrect_key", "XX001"),
                                             ("another_plaintext", "XX001")])
def test_what_is_refused_is_never_stale_and_not_afterwards(session, proxy, fault, sqlstate):
    # By uses rather than by time: expired all the same.
    session.execute("SET envelope.cache_max_stale = 600")
    session.execute("SET envelope.cache_max_uses = 1")
    session.execute(OPEN)
    proxy.fault("Decrypt", getattr(faults, fault))
    with fails(sqlstate):
        session.execute(OPEN)
    assert keys_cached(session) == 0
    proxy.fault("Decrypt", faults.unavailable)
    time.sleep(0.15)
    for query in (OPEN, SEAL):
        with fails("58030"):
            session.execute(query)
    proxy.clear()
    session.execute("SELECT envelope.flush_cache()")
    assert session.execute(OPEN).fetchall() == [("a",)]


def test_refused_while_stale(session, proxy):
    expire(session, stale=600)
    proxy.fault("Decrypt", faults.unavailable)
    assert session.execute(OPEN).fetchall() == [("a",)]
    proxy.fault("Decrypt", faults.deny)
    deadline = time.monotonic() + 10
    with fails("28000"):
        while time.monotonic() < deadline:
            session.execute(OPEN)
            time.sleep(0.02)
    assert keys_cached(session) == 0


def test_stale_is_no_way_around_the_catalog(session, aws, proxy):
    expire(session, stale=600)
    proxy.fault("Decrypt", faults.unavailable)
    assert session.execute(OPEN).fetchall() == [("a",)]
    aws.sql("UPDATE envelope.data_key SET state = 'retired'")
    with fails("55000"):
        session.execute(OPEN)


def test_a_table_that_allows_no_staleness(session, aws, proxy):
    set_limits(aws, '{"cache_max_stale": 0}')
    expire(session, stale=600)
    proxy.fault("Decrypt", faults.unavailable)
    with fails("58030"):
        session.execute(OPEN)


def test_many_statements_in_an_outage_make_few_requests(session, proxy):
    session.execute("SELECT envelope.flush_cache()")
    proxy.fault("*", faults.unavailable)
    started = time.monotonic()
    for _ in range(300):
        with fails("58030"):
            session.execute(OPEN)
        with pytest.raises(psycopg.Error):
            session.execute(SEAL)
    # Each pause is twice the last: 0.1 s, 0.2 s, …
    took = time.monotonic() - started
    assert 1 <= proxy.counts["Decrypt"] <= 6 + took / 2
    proxy.clear()
    session.execute("SELECT envelope.flush_cache()")
    assert session.execute(OPEN).fetchall() == [("a",)]


def test_service_resumes_by_itself(session, proxy):
    session.execute("SELECT envelope.flush_cache()")
    proxy.fault("Decrypt", faults.unavailable)
    with fails("58030"):
        session.execute(OPEN)
    proxy.clear()

    def resumed():
        try:
            return session.execute(OPEN).fetchall() == [("a",)]
        except psycopg.Error as e:
            assert e.sqlstate == "58030"
            return False

    process.wait_until(resumed, "service resumes")


def test_a_key_that_is_refused_does_not_hide_another(session, aws, proxy):
    aws.people("others", rows=["b"])
    session.execute("SELECT envelope.flush_cache()")
    proxy.fault("Decrypt", faults.deny, times=1)
    with fails("28000"):
        session.execute(OPEN)
    assert session.execute("SELECT envelope_decrypt_text('others', ssn) FROM others").fetchone() == ("b",)


# -- warm -----------------------------------------------------------------------------------------------------------


def test_warm_tables_need_no_kms(session, aws, proxy):
    for table in ("one", "two"):
        aws.people(table, rows=["v"])
    session.execute("SELECT envelope.flush_cache()")
    proxy.reset_counts()
    for table in ("people", "one", "two"):
        assert session.execute("SELECT envelope.warm(%s)", (table,)).fetchone() == (1,)
    assert proxy.counts == {"Decrypt": 3}
    proxy.fault("*", faults.hang)
    session.execute("SET statement_timeout = '60s'")
    for table in ("people", "one", "two"):
        session.execute(f"INSERT INTO {table} VALUES (2, 'w')")
        opened = session.execute(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table} WHERE id = 2")
        assert opened.fetchone() == ("w",)
        assert session.execute("SELECT envelope.warm(%s)", (table,)).fetchone() == (0,)
    assert proxy.counts == {"Decrypt": 3}


def test_warm_in_an_outage_and_without_a_key(session, aws, proxy):
    aws.people("fresh")
    assert session.execute("SELECT envelope.warm('fresh')").fetchone() == (0,)
    assert not proxy.counts
    session.execute("SELECT envelope.flush_cache()")
    proxy.fault("Decrypt", faults.deny)
    with fails("28000"):
        session.execute("SELECT envelope.warm('people')")
    with fails("42P01"):
        session.execute("SELECT envelope.warm('nowhere')")


@pytest.mark.parametrize("used_after_the_change", [True, False])
def test_warm_renews_what_has_expired(session, proxy, used_after_the_change):
    """Also when the time was shortened since the key was last used."""
    session.execute("SET envelope.cache_ttl = 1")
    if used_after_the_change:
        session.execute(OPEN)
        proxy.reset_counts()
    time.sleep(1.1)
    assert session.execute("SELECT envelope.warm('people')").fetchone() == (1,)
    session.execute("SET envelope.cache_ttl = 600")
    session.execute(OPEN)
    assert proxy.counts == {"Decrypt": 1}


def test_warm_renews_what_tighter_limits_of_the_table_end(session, aws, proxy):
    session.execute(OPEN)
    set_limits(aws, '{"cache_max_uses": 1}')
    assert session.execute("SELECT envelope.warm('people')").fetchone() == (1,)
    proxy.fault("*", faults.unavailable)
    assert session.execute(OPEN).fetchall() == [("a",)]
