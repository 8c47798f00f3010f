"""What all sessions of a server have done with keys and asked of KMSs: exact after known work, however a transaction or
a session ended, and through crashes, resets and a full table."""

import os
import signal

import psycopg
import pytest
from harness import faults, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from harness.work import Work, at_once
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
SEAL = "INSERT INTO people SELECT g, convert_to('12345', 'UTF8') FROM generate_series(%s::int, %s::int) g"
EVERYWHERE = "SELECT envelope.flush_cache(everywhere => true)"
VALUES = "values_sealed, values_opened, bytes_sealed, bytes_opened"
VIEWS = ["stats_cluster", "stats_kms", "stats_leases"]
PRELOADED = {
    "shared_preload_libraries": "pgrx-example",
    "max_prepared_transactions": "5",
    # Each request is seen, and its time.
    "envelope.kms_timeout": "4s",
    # The SDK's pauses between attempts are random and long beside these tests.
    "envelope.kms_max_attempts": "1",
}


@pytest.fixture(scope="module")
def preloaded(moto, kms_proxy):
    conf = PRELOADED | {
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_endpoint_url": kms_proxy.url,
    }
    with Cluster(conf=conf, env=kms.CREDENTIALS) as c:
        yield c


@pytest.fixture
def db(preloaded, proxy):
    made = Database(preloaded)
    yield made
    made.drop()


@pytest.fixture
def file_db(own_cluster, database):
    """In a cluster of its own, whose KEK is a file."""
    def make(**conf):
        return database(own_cluster(conf=PRELOADED | conf).start())

    return make


def figures(db, columns=VALUES, table="people"):
    """Of the key of a table, by those who have ended their transactions."""
    [found] = db.sql(f"SELECT {columns} FROM envelope.stats_cluster "
                     f"WHERE datname = current_database() AND relation = 'public.{table}'")
    return found


def requests(db):
    """How often the KMS was asked for what in this database, and what it said."""
    found = db.sql("SELECT operation, outcome, requests FROM envelope.stats_kms WHERE datname = current_database()")
    return {(operation, outcome): count for operation, outcome, count in found}


# -- values ---------------------------------------------------------------------------------------------------------


def test_values_of_several_sessions(db):
    db.people()
    at_once(lambda i: db.sql(SEAL, (10 * i + 1, 10 * i + 10)), 4)
    at_once(lambda i: db.sql(f"SELECT length(envelope_decrypt('people', ssn)) FROM people WHERE id <= {10 * i}"), 5)
    assert figures(db) == (40, 100, 200, 500)
    relid = db.value("SELECT 'people'::regclass::oid")
    assert figures(db, "relid, purpose, version, stats_reset < now()") == (relid, "seal", 1, True)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "PREPARE TRANSACTION 'figures'"])
def test_each_end_of_a_transaction_adds_what_came_in_it(db, end):
    db.people(rows=["12345"])
    with db.connect() as c:
        for first in (2, 12):
            c.execute("BEGIN")
            c.execute(SEAL, (first, first + 9))
            c.execute(OPEN)
            c.execute(end)
            if "PREPARE" in end:
                c.execute("COMMIT PREPARED 'figures'")
    opened = 11 + (21 if end != "ROLLBACK" else 11)
    if end == "ROLLBACK":
        opened = 11 + 11
    assert figures(db) == (21, opened, 105, 5 * opened)


def test_what_failed_midway_counts_and_a_savepoint_takes_nothing_back(db):
    db.people(rows=["12345"])
    with db.connect() as c:
        with fails("22012"):
            c.execute("SELECT length(envelope_decrypt('people', ssn)) / (3 - g) FROM people, generate_series(1, 9) g")
        assert figures(db)[1] == 3
        c.execute("BEGIN; SAVEPOINT s")
        c.execute(OPEN)
        c.execute("ROLLBACK TO s")
        c.execute(OPEN)
        assert figures(db)[1] == 3
        c.execute("COMMIT")
    assert figures(db)[1] == 5


def test_what_does_not_open_is_no_value(db):
    db.people(rows=["12345"])
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    db.sql("UPDATE people SET ssn = set_byte(ssn, 50, get_byte(ssn, 50) # 1)")
    with fails("22000"):
        db.sql(OPEN)
    assert figures(db) == (1, 0, 5, 0)


def test_parallel_workers(db):
    db.people()
    db.sql(SEAL, (1, 4000))
    with db.connect() as c:
        for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                        "max_parallel_workers_per_gather = 2", "parallel_leader_participation = off"):
            c.execute(f"SET {setting}")
        sql = "SELECT sum(length(envelope_decrypt('people', ssn))) FROM people"
        assert "Parallel" in str(c.execute("EXPLAIN " + sql).fetchall())
        assert c.execute(sql).fetchone() == (20_000,)
    assert figures(db) == (4000, 4000, 20_000, 20_000)


@pytest.mark.parametrize("how", ["closed", "terminated", "terminated in a transaction"])
def test_a_session_that_ends(db, how):
    db.people(rows=["12345"])
    before = figures(db)[1]
    with db.connect() as c:
        pid = c.info.backend_pid
        if how == "terminated in a transaction":
            c.execute("BEGIN")
        c.execute(OPEN)
        if how != "terminated in a transaction":
            assert figures(db, "values_opened, backends_holding") == (before + 1, 1)
        if how != "closed":
            db.value(f"SELECT pg_terminate_backend({pid})")
        c.close()
    process.wait_until(lambda: not process.alive(pid), "the session ends")
    assert figures(db, "values_opened, backends_holding") == (before + 1, 0)


def test_who_holds_a_key(db):
    db.people(rows=["12345"])
    holding = lambda: figures(db, "backends_holding")[0]
    process.wait_until(lambda: holding() == 0, "the session that sealed has ended")
    with db.connect() as one, db.connect() as other:
        one.execute(OPEN)
        other.execute(OPEN)
        other.execute(OPEN)
        assert holding() == 2
        db.sql("SELECT envelope.stats_reset()")
        assert holding() == 2 and figures(db) == (0, 0, 0, 0)
        one.execute("SELECT envelope.flush_cache()")
        assert holding() == 1
        one.execute(OPEN)
        assert holding() == 2
        other.execute("DISCARD ALL")
        assert holding() == 1


def test_an_index_key(db):
    """Of a table that has an index: values that are stored, and one that is searched for."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn envelope.sealed)")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'text')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    with db.connect() as c:
        for statement, in c.execute("SELECT envelope.add_index('people', 'ssn', 'exact', force => true)").fetchall():
            c.execute(statement)
    db.sql("SELECT envelope.stats_reset()")
    hashed = "SELECT values_hashed, values_sealed, values_opened FROM envelope.stats_cluster WHERE purpose = 'index'"
    db.sql("INSERT INTO people SELECT g, 'value ' || g FROM generate_series(1, 5) g")
    assert db.sql(hashed) == [(5, 0, 0)]
    assert db.value("SELECT id FROM people WHERE envelope_matches('people', 'ssn', ssn, ssn_ix, '=', 'value 3')") == 3
    [(asked, sealed, opened)] = db.sql(hashed)
    assert asked > 5 and (sealed, opened) == (0, 0)


def test_cache_hits_are_values_whose_key_was_at_hand(db):
    db.people(rows=["12345"])
    db.sql("SELECT envelope.stats_reset()")
    with db.connect() as c:
        c.execute("SELECT envelope_decrypt('people', ssn) FROM people, generate_series(1, 10)")
        c.execute(OPEN)
    assert figures(db, "values_opened, cache_hits") == (11, 10)


def test_sessions_with_thousands_of_keys(file_db):
    """Each key by itself, when all of them were used in one transaction and when one was."""
    db = file_db()
    db.sql("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (v bytea)', i); "
           "PERFORM envelope.create_key(format('t%s', i)::regclass); END LOOP; END $$")
    open_all = "SELECT length(envelope_encrypt(format('t%s', g)::regclass, 'x')) FROM generate_series(1, 300) g"
    with db.connect() as c:
        c.execute(open_all)
        c.execute("SELECT envelope_encrypt('t7', 'x')")
        counts = "SELECT values_sealed, count(*) FROM envelope.stats_cluster GROUP BY 1 ORDER BY 1"
        assert db.sql(counts) == [(1, 299), (2, 1)]
        assert db.value("SELECT sum(backends_holding) FROM envelope.stats_cluster") == 300
    process.wait_until(lambda: db.value("SELECT sum(backends_holding) FROM envelope.stats_cluster") == 0, "the session ends")


def test_a_full_table_gives_up_what_was_used_longest_ago_and_says_so(file_db):
    slots = 32
    db = file_db(**{"envelope.shared_keys": slots})
    db.sql("CREATE TABLE kept (v bytea); SELECT envelope.create_key('kept')")
    with db.connect() as c:
        c.execute("SELECT envelope_encrypt('kept', 'x')")
        for first in range(0, slots, 8):
            c.execute(f"""DO $$ BEGIN FOR i IN {first + 1}..{first + 8} LOOP EXECUTE format('CREATE TABLE t%s (v bytea)', i);
                PERFORM envelope.create_key(format('t%s', i)::regclass);
                PERFORM envelope_encrypt(format('t%s', i)::regclass, 'xy'); END LOOP; END $$""")
            c.execute("SELECT envelope_encrypt('kept', 'x')")
        rows = c.execute("SELECT count(key_id), sum(values_sealed), sum(bytes_sealed), sum(keys_evicted) "
                         "FROM envelope.stats_cluster").fetchone()
        assert rows == (slots, slots + 5, 2 * slots + 5, 1)
        evicted = c.execute("SELECT key_id, datid, values_sealed, bytes_sealed, backends_holding "
                            "FROM envelope.stats_cluster WHERE keys_evicted > 0").fetchall()
        assert evicted == [(None, None, 1, 2, 0)]
        assert figures(db, "values_sealed", "kept") == (5,)
        # It comes back, and takes the place of another.
        c.execute("SELECT envelope_encrypt('t1', 'xy')")
        assert figures(db, "values_sealed, backends_holding", "t1") == (1, 1)
        assert c.execute("SELECT sum(values_sealed) FROM envelope.stats_cluster").fetchone() == (slots + 6,)


# -- the KMS --------------------------------------------------------------------------------------------------------


def test_requests_are_those_that_arrive(db, proxy):
    db.people(rows=["12345"])
    for _ in range(3):
        db.sql(OPEN)
    with db.connect() as c:
        c.execute(OPEN)
        c.execute(OPEN)
    made = requests(db)
    assert made[("generate", "ok")] == proxy.counts["GenerateDataKey"] == 1
    assert made[("unwrap", "ok")] == proxy.counts["Decrypt"] >= 1
    assert set(made) == {("generate", "ok"), ("unwrap", "ok")}
    sent, failed, recent = figures(db, "kms_requests, kms_failures, now() - last_unwrap < '1 minute'")
    assert (sent, failed, recent) == (proxy.counts["Decrypt"], 0, True)


OUTCOMES = {
    "deny": "denied",
    "disabled": "key_state",
    "missing": "key_state",
    "throttle": "throttled",
    "internal": "unavailable",
    "hang": "unavailable",
    "reset": "unavailable",
    "garbage": "unavailable",
    "expired_token": "credentials",
    "invalid_ciphertext": "invalid_wrap",
    "short_plaintext": "invalid_wrap",
}


@pytest.mark.parametrize("fault, outcome", OUTCOMES.items())
def test_each_outcome(db, proxy, fault, outcome):
    db.people(rows=["12345"])
    db.sql(EVERYWHERE)
    proxy.fault("Decrypt", getattr(faults, fault))
    with db.connect() as c:
        with pytest.raises(psycopg.Error):
            c.execute(OPEN)
    assert requests(db)[("unwrap", outcome)] == 1
    assert figures(db, "kms_requests - kms_failures, kms_failures") == (requests(db).get(("unwrap", "ok"), 0), 1)


@pytest.mark.parametrize("end", ["cancel", "terminate", "statement_timeout"])
def test_who_does_not_wait_for_the_answer_is_counted_all_the_same(db, proxy, end):
    db.people(rows=["12345"])
    db.sql(EVERYWHERE)
    held = proxy.hold("Decrypt")
    with db.patient() as c:
        if end == "statement_timeout":
            c.execute("SET statement_timeout = '3s'")
        work = Work(c.execute, OPEN)
        held()
        if end != "statement_timeout":
            db.value(f"SELECT pg_{end}_backend({c.info.backend_pid})")
        assert work.error().sqlstate == ("57P01" if end == "terminate" else "57014")
        process.wait_until(lambda: ("unwrap", "cancelled") in requests(db), "it is counted")
    assert requests(db)[("unwrap", "cancelled")] == 1
    assert figures(db, "kms_failures") == (1,)


def test_the_histogram(db, proxy):
    bounds = db.value("SELECT envelope.latency_bounds()")
    assert bounds == [float(2**i) for i in range(16)] + [float("inf")]
    db.people(rows=["12345"])
    db.sql(EVERYWHERE)
    db.sql("SELECT envelope.stats_reset()")
    proxy.fault("Decrypt", faults.delay(0.3))
    db.sql(OPEN)
    [(buckets, total, at)] = db.sql(
        "SELECT latency_buckets, total_latency_ms, last_at > now() - interval '1 minute' FROM envelope.stats_kms "
        "WHERE datname = current_database() AND operation = 'unwrap' AND outcome = 'ok'")
    assert len(buckets) == len(bounds) and sum(buckets) == 1 and at
    at = buckets.index(1)
    assert bounds[at - 1] < total <= bounds[at] and total >= 300


def test_fall_overs(db, proxy, moto):
    """By a second KEK, while the first is out of reach."""
    db.people(rows=["12345"])
    second = moto.create_key()
    db.sql("SET envelope.allowed_keks = 'aws-kms://arn:aws:kms:*'; "
           f"SELECT envelope.add_kek('people', '{kms.kek(second)}')")
    first = db.value("SELECT keks[1] FROM envelope.keys")
    proxy.fault("Decrypt", lambda x: (faults.internal if x.request["KeyId"] in first else faults.none)(x))
    with db.connect() as c:
        c.execute("SET envelope.allowed_keks = 'aws-kms://arn:aws:kms:*'")
        c.execute(EVERYWHERE)
        assert c.execute(OPEN).fetchall() == [("12345",)]
    assert figures(db, "kek_fallovers") == (1,)
    by_kek = dict(db.sql("SELECT kek, requests FROM envelope.stats_kms WHERE datname = current_database() "
                         "AND operation = 'unwrap' AND outcome = 'unavailable'"))
    assert by_kek == {first: 1}


def test_a_key_file_counts_too(file_db):
    db = file_db()
    db.people(rows=["12345"])
    db.sql(OPEN)
    [(provider, count)] = db.sql("SELECT provider, requests FROM envelope.stats_kms WHERE operation = 'generate'")
    assert (provider, count) == ("file", 1)
    assert db.value("SELECT sum(kms_requests) FROM envelope.stats_cluster") >= 1


def test_leases(db, proxy):
    db.people(rows=["12345"])
    db.sql(EVERYWHERE)
    db.sql("SELECT envelope.stats_reset()")
    proxy.reset_counts()
    for _ in range(3):
        db.sql(OPEN)
    columns = "kms_requests, lease_hits, lease_waits, values_opened, cache_hits"
    assert figures(db, columns) == (1, 2, 0, 3, 0) and proxy.counts["Decrypt"] == 1
    [(slots, ready, lookups, hits)] = db.sql("SELECT slots, ready >= 1, lookups, hits FROM envelope.stats_leases")
    assert (slots, ready, lookups, hits) == (1024, True, 3, 2)
    db.sql(EVERYWHERE)
    held = proxy.hold("Decrypt")
    works = [Work(db.sql, OPEN)]
    held()
    works += [Work(db.sql, OPEN) for _ in range(2)]
    process.wait_until(lambda: db.value("SELECT waits FROM envelope.stats_leases") == 2, "two wait")
    proxy.clear()
    for work in works:
        work.result()
    assert figures(db, columns) == (2, 4, 2, 6, 0) and proxy.counts["Decrypt"] == 2
    assert figures(db, "total_lease_wait_ms > 0") == (True,)
    db.sql("SELECT envelope.stats_reset()")
    assert db.sql("SELECT lookups, hits, waits FROM envelope.stats_leases") == [(0, 0, 0)]


def test_without_leases_figures_go_on(file_db):
    db = file_db(**{"envelope.shared_keys": 0})
    db.people(rows=["12345"])
    db.sql(OPEN)
    assert figures(db) == (1, 1, 5, 5)
    assert db.sql("SELECT slots, lookups FROM envelope.stats_leases") == [(0, 0)]


# -- the server -----------------------------------------------------------------------------------------------------


def test_a_crash_begins_anew(file_db):
    db = file_db()
    db.people(rows=["12345"])
    with db.connect() as c:
        c.execute(OPEN)
        assert db.value("SELECT sum(values_opened) FROM envelope.stats_cluster") == 1
        db.cluster.kill9_backend(c.info.backend_pid)
    assert db.sql("SELECT * FROM envelope.stats_cluster") == []
    assert db.sql("SELECT * FROM envelope.stats_kms") == []
    db.sql(OPEN)
    opened, holding, since = figures(db, "values_opened, backends_holding, stats_reset > now() - interval '1 minute'")
    assert (opened, holding, since) == (1, 0, True)


def test_reset(db):
    db.people(rows=["12345"])
    db.sql(OPEN)
    before = db.value("SELECT max(stats_reset) FROM envelope.stats_leases")
    db.sql("SELECT envelope.stats_reset()")
    assert db.sql("SELECT * FROM envelope.stats_kms") == []
    assert db.value("SELECT count(*) FROM envelope.stats_cluster WHERE values_sealed > 0") == 0
    assert db.value("SELECT stats_reset FROM envelope.stats_leases") > before
    db.sql(OPEN)
    assert figures(db)[1] == 1


def test_other_databases_are_shown_by_their_name(db, preloaded):
    other = Database(preloaded)
    other.people(rows=["12345"])
    other.sql(OPEN)
    [row] = db.sql(f"SELECT values_opened, relid, relation, purpose, version, key_id IS NOT NULL "
                   f"FROM envelope.stats_cluster WHERE datname = '{other.name}'")
    assert row == (1, None, None, None, None, True)
    assert db.value(f"SELECT count(*) FROM envelope.stats_kms WHERE datname = '{other.name}'") >= 1
    other.drop()


def test_rights(db):
    db.people(rows=["12345"])
    for view in VIEWS:
        with fails("42501"):
            db.sql(f"SELECT * FROM envelope.{view}", user=db.low)
    for function in ("figures_of_keys", "figures_of_kms", "figures_of_leases", "stats_reset"):
        with fails("42501"):
            db.sql(f"SELECT envelope.{function}()", user=db.low)
    assert db.value("SELECT cardinality(envelope.latency_bounds())", user=db.low) == 17
    for role in ("pg_read_all_stats", "pg_monitor"):
        db.sql(f"GRANT {role} TO {db.low}")
        for view in VIEWS:
            assert db.sql(f"SELECT * FROM envelope.{view}", user=db.low)
        assert figures(db, "values_sealed")[0] == 1
        with fails("42501"):
            db.sql("SELECT envelope.stats_reset()", user=db.low)
        db.sql(f"REVOKE {role} FROM {db.low}")
    db.sql(f"GRANT EXECUTE ON FUNCTION envelope.stats_reset() TO {db.low}")
    db.sql("SELECT envelope.stats_reset()", user=db.low)


def test_without_preload(cluster, database):
    db = database(cluster)
    db.people(rows=["12345"])
    for view in VIEWS:
        with fails("55000") as caught:
            db.sql(f"SELECT * FROM envelope.{view}")
        assert "shared_preload_libraries" in caught.value.diag.message_hint
    with fails("55000"):
        db.sql("SELECT envelope.stats_reset()")
    db.drop()


def test_waits_bear_a_name(db, proxy):
    """The KMS's own, from PostgreSQL 17 on; before, an extension's waits have one name for all."""
    db.people(rows=["12345"])
    db.sql(EVERYWHERE)
    held = proxy.hold("Decrypt")
    with db.patient() as c:
        work = Work(c.execute, OPEN)
        held()
        waits = ("SELECT wait_event FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Extension' "
                 "AND wait_event IS NOT NULL")
        # The request may be there before the session waits for its answer.
        [(name,)] = process.wait_until(lambda: db.sql(waits, (c.info.backend_pid,)), "it waits")
        assert name == ("EnvelopeKms" if c.info.server_version >= 170000 else "Extension")
        proxy.clear()
        work.result()
