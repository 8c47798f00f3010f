"""Nonces as they stand in sealed values: no two alike, and shared halves only where a run of them may be."""

import pytest
from harness import process
from sqlstate import fails

# A run of nonces shares its first 12 bytes; the other 12 count.
NONCES = "SELECT substr({0}, 19, 12) AS prefix, substr({0}, 31, 12) AS counter"
MAX_VALUES = 65_536


def sealed(c, count=1, table="people"):
    """The nonces of `count` values sealed in one statement, in their order: [(prefix, counter)]."""
    rows = c.execute(NONCES.format("v") + f" FROM (SELECT envelope_encrypt('{table}', 'x') AS v "
                     f"FROM generate_series(1, {count})) AS s").fetchall()
    assert len(rows) == count
    return [(prefix, int.from_bytes(counter, "big")) for prefix, counter in rows]


def prefixes(nonces):
    return {prefix for prefix, _ in nonces}


def follow(nonces):
    first = nonces[0][1]
    return [counter for _, counter in nonces] == [(first + i) % 2**96 for i in range(len(nonces))]


@pytest.fixture
def session(db):
    """A session, outside a transaction, for a table that has a key."""
    db.people(rows=["first"])
    with db.connect() as c:
        yield c


def test_a_transaction_is_one_run(session):
    session.execute("BEGIN")
    nonces = [*sealed(session, 3), *sealed(session, 2)]
    assert len(prefixes(nonces)) == 1 and follow(nonces)
    session.execute("COMMIT")


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"])
def test_the_next_transaction_begins_another(session, end):
    session.execute("BEGIN")
    before = sealed(session)
    session.execute(end)
    assert prefixes(before).isdisjoint(prefixes(sealed(session)))


def test_each_statement_of_its_own_is_a_transaction(session):
    nonces = [sealed(session)[0] for _ in range(50)]
    assert len(prefixes(nonces)) == 50
    # Where a run starts is drawn as well.
    assert len({counter for _, counter in nonces}) == 50


def test_a_procedure_that_commits(session):
    session.execute("CREATE TABLE seen (v bytea)")
    session.execute("CREATE PROCEDURE twice() LANGUAGE plpgsql AS $$BEGIN FOR i IN 1..2 LOOP "
                    "INSERT INTO seen VALUES (envelope_encrypt('people', 'x')); COMMIT; END LOOP; END$$")
    session.execute("CALL twice()")
    assert session.execute("SELECT count(DISTINCT substr(v, 19, 12)) FROM seen").fetchone() == (2,)


def test_a_rolled_back_savepoint_gives_no_nonce_back(session):
    session.execute("BEGIN")
    nonces = sealed(session, 2)
    for _ in range(3):
        session.execute("SAVEPOINT s")
        nonces += sealed(session, 2)
        session.execute("ROLLBACK TO s")
    nonces += sealed(session, 2)
    assert len(prefixes(nonces)) == 1 and follow(nonces)


def test_an_error_gives_no_nonce_back(session):
    # The variable keeps what was sealed, past the rollback of its block.
    session.execute("""
        CREATE FUNCTION failing() RETURNS bytea LANGUAGE plpgsql AS $$
        DECLARE kept bytea; BEGIN
          BEGIN kept := envelope_encrypt('people', 'x'); PERFORM 1 / 0;
          EXCEPTION WHEN division_by_zero THEN NULL; END;
          RETURN kept; END$$""")
    session.execute("BEGIN")
    nonces = session.execute("SELECT substr(failing(), 19, 24) FROM generate_series(1, 10)").fetchall()
    assert len(set(nonces)) == 10


def test_a_run_ends_after_65_536_values(session):
    whole = sealed(session, MAX_VALUES)
    assert len(prefixes(whole)) == 1 and follow(whole)
    more = sealed(session, MAX_VALUES + 1)
    assert len(prefixes(more)) == 2
    assert more[0][0] == more[-2][0] != more[-1][0]
    assert len(set(more)) == len(more)


def test_the_trigger_and_the_functions_share_a_run(db, session):
    session.execute("BEGIN")
    nonces = sealed(session)
    session.execute("INSERT INTO people VALUES (2, 'x')")
    nonces += [(prefix, int.from_bytes(counter, "big")) for prefix, counter in
               session.execute(NONCES.format("ssn") + " FROM people WHERE id = 2").fetchall()]
    session.execute("COMMIT")
    assert len(prefixes(nonces)) == 1 and follow(nonces)


def test_each_key_has_runs_of_its_own(db, session):
    db.people("others", rows=["first"])
    session.execute("BEGIN")
    people, others, again = sealed(session), sealed(session, table="others"), sealed(session)
    assert follow(people + again)
    assert prefixes(people) == prefixes(again) != prefixes(others)


def test_a_flushed_cache_begins_another(session):
    session.execute("BEGIN")
    before = sealed(session)
    session.execute("SELECT envelope.flush_cache()")
    assert prefixes(before).isdisjoint(prefixes(sealed(session)))


def test_parallel_workers_share_no_run(db, session):
    for setting in ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0",
                    "max_parallel_workers_per_gather = 2", "parallel_leader_participation = off"):
        session.execute("SET " + setting)
    session.execute("CREATE TABLE source AS SELECT i AS id FROM generate_series(1, 40000) AS i")
    session.execute("ANALYZE source")
    query = "CREATE TABLE sealed AS SELECT envelope_encrypt('people', 'x') AS v FROM source"
    assert "Workers Planned: 2" in str(session.execute("EXPLAIN " + query).fetchall())

    def both_had_rows():
        session.execute("BEGIN")
        leader = sealed(session)
        session.execute("DROP TABLE IF EXISTS sealed")
        session.execute(query)
        session.execute("COMMIT")
        assert db.value("SELECT count(DISTINCT substr(v, 19, 24)) FROM sealed") == 40_000
        assert db.value("SELECT count(*) FROM sealed WHERE envelope_decrypt('people', v) <> 'x'") == 0
        runs = set(db.value("SELECT array_agg(DISTINCT substr(v, 19, 12)) FROM sealed"))
        assert runs.isdisjoint(prefixes(leader))
        # One run would do for all of them.
        return len(runs) >= 2

    # A busy machine may let one worker do it all.
    process.wait_until(both_had_rows, "a run for each worker")


def test_a_table_can_have_every_nonce_drawn_anew(db, session):
    session.execute("BEGIN")
    assert len(prefixes(sealed(session, 100))) == 1
    # It holds at once, for the run that is open as well.
    session.execute("""SELECT envelope.set_limits('people', '{"session_max_values": 1}')""")
    nonces = sealed(session, 100)
    session.execute("COMMIT")
    assert len(prefixes(nonces)) == 100
    assert len({counter for _, counter in nonces}) == 100
    db.sql("""SELECT envelope.set_limits('people', '{"session_max_values": 40}')""")
    assert len(prefixes(sealed(session, 100))) == 3
    db.sql("SELECT envelope.set_limits('people', '{}')")
    assert len(prefixes(sealed(session, 100))) == 1
    with fails("22023"):
        db.sql("""SELECT envelope.set_limits('people', '{"session_max_values": -1}')""")


def test_values_of_many_runs_open_in_any_order(db, session):
    """The key derived for the value before is not used for one of another run, or of another table."""
    db.people("others", rows=["first"])
    session.execute("CREATE TABLE mixed (n int, t text, v bytea)")
    for n in range(6):
        for table in ("people", "others"):
            session.execute("INSERT INTO mixed SELECT %s + i * 10, %s, envelope_encrypt_text(%s, (%s + i * 10) || %s) "
                            "FROM generate_series(1, 20) AS i", (n, table, table, n, table))
    for order in ("n, t", "t, n", "md5(v::text)", "ctid"):
        rows = session.execute("SELECT n, t, envelope_decrypt_text(t::regclass, v) FROM "
                               f"(SELECT * FROM mixed ORDER BY {order} OFFSET 0) AS s").fetchall()
        assert len(rows) == 240 and all(text == f"{n}{t}" for n, t, text in rows)
