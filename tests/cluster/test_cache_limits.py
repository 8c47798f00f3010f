"""How long an unwrapped key is used, counted where the KMS is asked. One session each: a cache is a session's."""

import time

import pytest
from harness import faults
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"


@pytest.fixture
def session(aws, proxy):
    """A session that has opened a value once, and a fresh count."""
    aws.people(rows=["x"])
    with aws.connect() as c:
        # The SDK's pauses between attempts are random and long beside these tests.
        c.execute("SET envelope.kms_max_attempts = 1")
        assert c.execute(OPEN).fetchall() == [("x",)]
        proxy.reset_counts()
        yield c


def opens(c, times):
    for _ in range(times):
        assert c.execute(OPEN).fetchall() == [("x",)]


def test_time_to_live(session, proxy):
    """Lowered, it holds for keys in the cache as well."""
    opens(session, 5)
    assert proxy.counts["Decrypt"] == 0
    session.execute("SET envelope.cache_ttl = 1")
    time.sleep(1.2)
    opens(session, 1)
    assert proxy.counts["Decrypt"] == 1
    session.execute("SET envelope.cache_ttl = 600")
    opens(session, 2)
    assert proxy.counts["Decrypt"] == 1


def test_a_revocation_takes_hold_after_the_time_to_live(session, proxy):
    proxy.fault("Decrypt", faults.deny)
    opens(session, 2)
    session.execute("SET envelope.cache_ttl = 1")
    time.sleep(1.2)
    with fails("28000"):
        session.execute(OPEN)
    assert session.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)


@pytest.mark.parametrize("limit, asked", [("cache_max_uses = 3", 3), ("cache_max_bytes = 1", 0)])
def test_uses_and_bytes(session, proxy, limit, asked):
    session.execute(f"SET envelope.{limit}")
    opens(session, 9)
    assert proxy.counts["Decrypt"] == asked


def test_bytes_of_long_values(session, aws, proxy):
    aws.sql("INSERT INTO people VALUES (2, %s)", (b"y" * 5000,))
    proxy.reset_counts()
    session.execute("SET envelope.cache_max_bytes = 1")
    for _ in range(3):
        session.execute("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = 2")
    assert proxy.counts["Decrypt"] == 2


def test_most_keys(session, aws, proxy):
    session.execute("SET envelope.cache_max_keys = 2")
    for i in range(4):
        aws.sql(f"CREATE TABLE t{i} (v bytea)")
        aws.sql(f"SELECT envelope.create_key('t{i}')")
        session.execute(f"SELECT envelope_encrypt('t{i}', 'x')")
        assert session.execute("SELECT keys_cached <= 2 FROM envelope.stats").fetchone() == (True,)
    proxy.reset_counts()
    session.execute("SELECT envelope_encrypt('t3', 'x')")
    assert proxy.counts["Decrypt"] == 0
    session.execute("SELECT envelope_encrypt('t0', 'x')")
    assert proxy.counts["Decrypt"] == 1


def test_a_table_has_tighter_limits_of_its_own(session, aws, proxy):
    aws.sql("""SELECT envelope.set_limits('people', '{"cache_max_uses": 2}')""")
    opens(session, 6)
    assert proxy.counts["Decrypt"] in (2, 3)
    # Not looser ones.
    aws.sql("""SELECT envelope.set_limits('people', '{"cache_ttl": 100000}')""")
    session.execute("SET envelope.cache_ttl = 1")
    opens(session, 1)
    proxy.reset_counts()
    time.sleep(1.2)
    opens(session, 1)
    assert proxy.counts["Decrypt"] == 1


def test_stale_while_out_of_reach(session, proxy):
    session.execute("SET envelope.cache_ttl = 1")
    session.execute("SET envelope.cache_max_stale = 6")
    proxy.refuse()
    try:
        time.sleep(1.2)
        opens(session, 3)
        time.sleep(7)
        with fails("58030"):
            session.execute(OPEN)
    finally:
        proxy.listen()
    session.execute("SELECT envelope.flush_cache()")
    opens(session, 1)


@pytest.mark.parametrize("fault", ["deny", "unauthorized"])
def test_never_stale_when_refused(session, proxy, fault):
    session.execute("SET envelope.cache_max_stale = 600")
    session.execute("SET envelope.cache_ttl = 1")
    proxy.fault("Decrypt", getattr(faults, fault))
    time.sleep(1.2)
    with fails("28000"):
        session.execute(OPEN)
    # Not when it is out of reach afterwards, either: the key is wiped.
    proxy.fault("Decrypt", faults.unavailable)
    session.execute("SELECT envelope.flush_cache()")
    with fails("58030"):
        session.execute(OPEN)


def test_failures_are_remembered_for_a_moment(session, proxy):
    proxy.fault("Decrypt", faults.deny)
    session.execute("SELECT envelope.flush_cache()")
    for _ in range(50):
        with fails("28000"):
            session.execute(OPEN)
    assert 1 <= proxy.counts["Decrypt"] < 10
    proxy.clear()
    time.sleep(5.2)
    opens(session, 1)


def test_warm(session, aws, proxy):
    session.execute("SELECT envelope.flush_cache()")
    assert session.execute("SELECT envelope.warm('people')").fetchone() == (1,)
    assert proxy.counts["Decrypt"] == 1
    proxy.fault("*", faults.unavailable)
    opens(session, 1)
    session.execute("INSERT INTO people VALUES (2, 'y')")
    assert session.execute("SELECT envelope.warm('people')").fetchone() == (0,)
    with fails("42501"):
        aws.sql("SELECT envelope.warm('people')", user=aws.low)
    with fails("42501"):
        aws.sql("SELECT envelope.set_limits('people', '{}')", user=aws.low)
