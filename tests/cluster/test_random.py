"""Where nonces come from: with a system call or without, in every process something else, and nothing sealed without."""

import pytest
from harness.database import Database
from harness.no_random import NoRandom
from sqlstate import fails

NONCES = "SELECT array_agg(substr(ssn, 19, 24)) FROM people"


@pytest.fixture(scope="module")
def source():
    with NoRandom() as made:
        yield made


@pytest.fixture
def by_call(own_cluster, source):
    """A database of a server that gets its random bytes by system call alone."""
    return Database(own_cluster(env=source.env).start())


def of_sessions(db, count=30):
    """A row of each of so many sessions, all of them open at once."""
    db.people(rows=["first"])
    sessions = [db.connect() for _ in range(count)]
    for at, session in enumerate(sessions):
        session.execute("INSERT INTO people VALUES (%s, 'x')", (at + 10,))
    for session in sessions:
        session.close()
    return db.value(NONCES)


def halves(nonces):
    return {half for nonce in nonces for half in (nonce[:12], nonce[12:])}


def test_sessions_draw_each_for_itself(db):
    nonces = of_sessions(db)
    assert len(halves(nonces)) == 2 * len(nonces) == 62


def test_so_they_do_by_system_call(by_call):
    nonces = of_sessions(by_call)
    assert len(halves(nonces)) == 2 * len(nonces) == 62


def test_a_transaction_draws_once_and_all_at_once(by_call, source):
    by_call.people(rows=["first"])
    with by_call.connect() as c:
        c.execute("INSERT INTO people VALUES (2, 'x')")
        before = len(source.drawn(c.info.backend_pid))
        c.execute("INSERT INTO people VALUES (3, 'x')")
        c.execute("INSERT INTO people SELECT i, 'x' FROM generate_series(10, 19) AS i")
        c.execute("SELECT envelope_decrypt_text('people', ssn) FROM people")
        assert source.drawn(c.info.backend_pid)[before:] == [24, 24]


def test_without_random_bytes_nothing_is_sealed(by_call, source):
    by_call.people(rows=["first"])
    with by_call.connect() as c:
        c.execute("INSERT INTO people VALUES (2, 'x')")
        c.execute("BEGIN")
        c.execute("INSERT INTO people VALUES (3, 'x')")
        source.fails(True)
        try:
            # The run that is open goes on.
            c.execute("INSERT INTO people VALUES (4, 'x')")
            c.execute("COMMIT")
            for statement in ("INSERT INTO people VALUES (5, 'x')", "UPDATE people SET ssn = 'y' WHERE id = 2",
                              "SELECT envelope_encrypt('people', 'x')"):
                with fails("58000"):
                    c.execute(statement)
            opened = c.execute("SELECT array_agg(envelope_decrypt_text('people', ssn) ORDER BY id) FROM people").fetchone()
            assert opened == (["first", "x", "x", "x"],)
        finally:
            source.fails(False)
        c.execute("INSERT INTO people VALUES (5, 'x')")
    nonces = by_call.value(NONCES)
    assert len(set(nonces)) == len(nonces) == 5
