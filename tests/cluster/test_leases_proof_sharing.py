"""What sessions share and what they never do: by identity, by database, by transaction, by the state of a key. A session that
needs no request has found a lease; requests are counted where they arrive."""

import contextlib
import time

import psycopg
import pytest
from harness import faults, leased, process
from harness import moto as kms
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from harness.database import Database
from harness.leased import OPEN, Crowd, asked, forget, hold
from harness.work import Work, at_once
from sqlstate import fails

SEAL = "SELECT length(envelope_encrypt('people', 'y')) > 0"
EVERYWHERE = "SELECT envelope.flush_cache(everywhere => true)"


def arn(name):
    return f"arn:aws:iam::123456789012:role/{name}"


@pytest.fixture(scope="module")
def shared(moto, kms_proxy):
    with leased.cluster(moto, kms_proxy, max_prepared_transactions=10, wal_level="logical",
                        wal_retrieve_retry_interval="200ms", envelope__allowed_keks="*") as c:
        yield c


@pytest.fixture
def db(shared, proxy):
    with leased.one_value(shared, proxy) as made:
        yield made


def key_id(db, table="public.people"):
    return db.value("SELECT key_id FROM envelope.keys WHERE relation = %s ORDER BY version LIMIT 1", (table,))


# -- what a lease does ----------------------------------------------------------------------------------------------


def test_every_session_after_the_first_finds_a_lease(db, proxy):
    assert [asked(db, proxy) for _ in range(4)] == [1, 0, 0, 0]
    assert db.value(SEAL)
    assert db.value("SELECT envelope.warm('people')") == 1
    assert proxy.counts == {"Decrypt": 1}


def test_it_survives_the_session_that_asked(db, proxy):
    with db.connect() as c:
        c.execute(OPEN)
        pid = c.info.backend_pid
    process.wait_until(lambda: not process.alive(pid), "the backend ends")
    assert asked(db, proxy) == 0
    # Also by an error after it, in the statement and in the transaction.
    forget(db)
    with fails("22012"):
        db.sql("SELECT envelope_decrypt('people', ssn), 1 / (id - 1) FROM people")
    assert asked(db, proxy) == 0


def test_a_flush_of_ones_own_leaves_it(db, proxy):
    with db.connect() as c:
        for _ in range(3):
            assert c.execute(OPEN).fetchall() == [("x",)]
            c.execute("SELECT envelope.flush_cache()")
    with db.connect() as c:
        c.execute(OPEN)
        c.execute("DISCARD ALL")
        c.execute(OPEN)
    assert proxy.counts == {"Decrypt": 1}


def test_keys_of_every_purpose_and_version(db, proxy):
    db.sql("CREATE TABLE found (id int PRIMARY KEY, v envelope.sealed)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON found FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    db.sql("SELECT envelope.set_policy('found', 'v', value_type => 'text')")
    db.sql("SELECT envelope.add_index('found', 'v', 'exact', force => true)")
    db.sql("INSERT INTO found VALUES (1, 'a')")
    db.sql("SELECT envelope.rotate_key('found')")
    db.sql("INSERT INTO found VALUES (2, 'b')")
    forget(db)
    proxy.reset_counts()
    uses = ["SELECT envelope_decrypt_text('found', v) FROM found ORDER BY id", "INSERT INTO found VALUES (3, 'c') RETURNING id"]
    first = [db.sql(use) for use in uses]
    assert first == [[("a",), ("b",)], [(3,)]]
    # Two that opened and one that indexed.
    assert proxy.counts == {"Decrypt": 3}
    db.sql("DELETE FROM found WHERE id = 3")
    assert [db.sql(use) for use in uses] == first
    assert proxy.counts == {"Decrypt": 3}


def test_parallel_workers(db, proxy):
    db.sql("INSERT INTO people SELECT g, 'x' FROM generate_series(2, 3000) g")
    forget(db)
    proxy.reset_counts()
    with db.connect() as c:
        # The setting was renamed in PostgreSQL 16.
        force = "force_parallel_mode" if c.info.server_version < 160000 else "debug_parallel_query"
        for name, value in ((force, "on"), ("parallel_setup_cost", 0), ("parallel_tuple_cost", 0),
                            ("min_parallel_table_scan_size", 0), ("max_parallel_workers_per_gather", 4)):
            c.execute(f"SET {name} = {value}")
        query = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'x'"
        plan = str(c.execute(f"EXPLAIN (ANALYZE, COSTS OFF) {query}").fetchall())
        assert "Workers Launched" in plan and "Workers Launched: 0" not in plan
        assert proxy.counts == {"Decrypt": 1}
        assert c.execute(query).fetchone() == (3000,)
    assert proxy.counts == {"Decrypt": 1}


def test_a_worker_of_logical_replication(shared, db, proxy):
    """It seals what comes in clear, by the lease that the table's sessions have."""
    origin = f"{db.name}_origin"
    shared.create_database(origin)
    shared.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea); CREATE PUBLICATION p FOR TABLE people", dbname=origin)
    shared.sql(f"SELECT pg_create_logical_replication_slot('{db.name}', 'pgoutput')", dbname=origin)
    db.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER seal")
    try:
        db.sql(f"CREATE SUBSCRIPTION s CONNECTION 'host={shared.base} port={shared.port} user=postgres dbname={origin}' "
               f"PUBLICATION p WITH (create_slot = false, slot_name = '{db.name}', copy_data = false)")
        assert asked(db, proxy) == 1
        shared.sql("INSERT INTO people VALUES (2, 'x')", dbname=origin)
        process.wait_until(lambda: db.value("SELECT count(*) FROM people") == 2, "apply")
        assert db.sql(OPEN) == [("x",)] * 2
        assert proxy.counts == {"Decrypt": 1}
    finally:
        db.sql("ALTER SUBSCRIPTION s DISABLE")
        db.sql("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        db.sql("DROP SUBSCRIPTION s")
        process.wait_until(lambda: drops_slot(shared, db.name), "the slot is free")
        shared.sql(f"DROP DATABASE {origin}")


def drops_slot(cluster, name):
    with contextlib.suppress(psycopg.errors.ObjectInUse):
        cluster.sql(f"SELECT pg_drop_replication_slot('{name}')")
        return True


def test_a_standby(shared, db, proxy):
    """It has a table of leases of its own, also after its promotion."""
    with BaseBackup(shared, standby=True) as standby:
        standby.start()
        standby.caught_up()
        there = lambda query: standby.sql(query, dbname=db.name)
        assert [there(OPEN) for _ in range(3)] == [[("x",)]] * 3
        assert proxy.counts == {"Decrypt": 1}
        assert asked(db, proxy) == 1
        standby.promote()
        assert there(OPEN) == [("x",)]
        assert proxy.counts == {"Decrypt": 2}
        # A retirement that replay brings, too.
        there("SELECT envelope.rotate_key('people')")
        there(f"SELECT envelope.retire_key('{key_id(db)}')")
        with fails("55000"):
            there(OPEN)
        assert asked(db, proxy) == 0


def test_a_retirement_that_replay_brings(shared, db, proxy):
    db.sql("SELECT envelope.rotate_key('people')")
    with BaseBackup(shared, standby=True) as standby:
        standby.start()
        standby.caught_up()
        with standby.connect(db.name) as warm:
            assert warm.execute(OPEN).fetchall() == [("x",)]
            db.sql(f"SELECT envelope.retire_key('{key_id(db)}')")
            standby.caught_up()
            for run in (lambda: warm.execute(OPEN), lambda: standby.sql(OPEN, dbname=db.name)):
                with fails("55000"):
                    run()


# -- a crash, a restart ---------------------------------------------------------------------------------------------


def test_a_crash_and_a_restart_begin_anew(moto, proxy):
    with leased.cluster(moto, proxy, restart_after_crash="on") as cluster:
        db = Database(cluster)
        db.people(rows=["x"])
        forget(db)
        assert [asked(db, proxy) for _ in range(2)] == [1, 0]
        with db.connect() as c:
            cluster.kill9_backend(c.info.backend_pid)
        assert [asked(db, proxy) for _ in range(2)] == [1, 0]
        cluster.restart()
        assert [asked(db, proxy) for _ in range(2)] == [1, 0]
        cluster.kill9()
        cluster.start()
        assert [asked(db, proxy) for _ in range(2)] == [1, 0]


# -- off ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [{"envelope__shared_keys": 0}, {"shared_preload_libraries": ""}])
def test_without_leases_each_session_asks(moto, proxy, off):
    with leased.cluster(moto, proxy, **off) as cluster:
        db = Database(cluster)
        db.people(rows=["x"])
        proxy.reset_counts()
        assert [asked(db, proxy) for _ in range(3)] == [1, 1, 1]
        assert db.value(SEAL)


def test_a_full_table(moto, proxy):
    """More keys than it has places: all open, and those that found none ask for themselves."""
    tables = [f"t{i}" for i in range(40)]
    with leased.cluster(moto, proxy, envelope__shared_keys=16, envelope__cache_ttl="600s") as cluster:
        db = Database(cluster)
        for table in tables:
            db.people(table, rows=[table])
        forget(db)

        def open_all():
            proxy.reset_counts()
            with db.connect() as c:
                for table in tables:
                    assert c.execute(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table}").fetchone() == (table,)
            return proxy.counts["Decrypt"]

        assert open_all() == 40
        # Those that stand keep their places: none is due.
        assert open_all() == open_all()
        assert 24 <= open_all() <= 39
        forget(db)
        assert at_once(lambda i: db.value(f"SELECT envelope_decrypt_text('t{i}', ssn) FROM t{i}"), 20) == tables[:20]


def test_what_has_expired_makes_room(moto, proxy):
    with leased.cluster(moto, proxy, envelope__shared_keys=16, envelope__cache_ttl="2s") as cluster:
        db = Database(cluster)
        for i in range(40):
            db.people(f"t{i}", rows=["v"])
        open_one = lambda i: db.value(f"SELECT envelope_decrypt_text('t{i}', ssn) FROM t{i}")
        for i in range(32):
            open_one(i)
        time.sleep(2.2)
        db.sql("ALTER SYSTEM SET envelope.cache_ttl = '600s'; ")
        db.sql("SELECT pg_reload_conf()")
        process.wait_until(lambda: db.value("SHOW envelope.cache_ttl") == "10min", "reload")
        proxy.reset_counts()
        for i in (36, 37, 38):
            assert [open_one(i), open_one(i)] == ["v", "v"]
        assert proxy.counts == {"Decrypt": 3}


# -- what is not shared ---------------------------------------------------------------------------------------------


def test_two_identities_never_meet(db, proxy):
    """What KMS gave one it must refuse the other: in new sessions, and in one session that changes."""
    assert [asked(db, proxy) for _ in range(2)] == [1, 0]
    proxy.fault("Decrypt", faults.deny_all_but("server"))
    with db.connect() as c:
        assert c.execute(OPEN).fetchall() == [("x",)]
        c.execute(f"SET envelope.aws_role_arn = '{arn('stranger')}'")
        for _ in range(2):
            with fails("28000"):
                c.execute(OPEN)
        c.execute("RESET envelope.aws_role_arn")
        assert c.execute(OPEN).fetchall() == [("x",)]
    with db.connect() as c:
        c.execute(f"SET envelope.aws_role_arn = '{arn('stranger')}'")
        with fails("28000"):
            c.execute(OPEN)
    # A refusal to one is none to another.
    forget(db)
    assert asked(db, proxy) == 1
    assert [who for what, who in proxy.callers if what == "Decrypt"].count("server") == 2


def test_each_identity_asks_once(db, proxy):
    """Also where one role of the database, or one IAM role, is all that two have in common."""
    db.sql(f"GRANT SELECT ON people TO {db.low}; SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    for _ in range(3):
        for user in ("postgres", db.low):
            for name in ("one", "two"):
                with db.connect() as c:
                    c.execute(f"SET envelope.aws_role_arn = '{arn(name)}'")
                    c.execute(f"SET ROLE {user}")
                    assert c.execute(OPEN).fetchall() == [("x",)]
    by = [who for what, who in proxy.callers if what == "Decrypt"]
    assert sorted(by) == sorted(["pg-postgres", f"pg-{db.low}"] * 2)


def test_a_crowd_of_two_identities(db, proxy):
    """Who waits for one's answer is not helped by another's."""
    is_asking = hold(proxy, operation="AssumeRole")
    with db.connect() as stranger:
        stranger.execute(f"SET envelope.aws_role_arn = '{arn('stranger')}'")
        asking = Work(stranger.execute, OPEN)
        is_asking()
        assert at_once(lambda _: db.value(OPEN), 3) == ["x"] * 3
        assert asking.is_alive()
        proxy.clear()
        assert asking.result().fetchall() == [("x",)]
    assert sorted(who for what, who in proxy.callers if what == "Decrypt") == ["pg-postgres", "server"]


def test_a_role_without_the_right_finds_no_lease(db, proxy):
    assert asked(db, proxy) == 1
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    with fails("42501"):
        db.sql(OPEN, user=db.low)
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    assert db.sql(OPEN, user=db.low) == [("x",)]
    db.sql(f"SELECT envelope.revoke_key('people', '{db.low}', 'decrypt')")
    with fails("42501"):
        db.sql(OPEN, user=db.low)
    assert proxy.counts == {"Decrypt": 1}


def test_two_databases_never_meet(shared, db, proxy):
    """Though keys and their ids are the same: made from a template, and restored from a dump."""
    assert asked(db, proxy) == 1
    dump = shared.base / f"{db.name}.dump"
    shared.client("pg_dump", "-Fc", "-f", dump, dbname=db.name)
    copy, restored = f"{db.name}_copy", f"{db.name}_restored"
    shared.sql(f"CREATE DATABASE {copy} TEMPLATE {db.name}")
    shared.sql(f"CREATE DATABASE {restored}")
    shared.client("pg_restore", "-d", restored, dump)
    try:
        for name in (copy, restored):
            proxy.reset_counts()
            there = lambda: shared.sql(OPEN, dbname=name)
            assert there() == [("x",)]
            assert proxy.counts == {"Decrypt": 1}
            assert there() == [("x",)]
            assert proxy.counts == {"Decrypt": 1}
    finally:
        for name in (copy, restored):
            shared.sql(f"DROP DATABASE {name}")


def test_a_database_that_is_made_anew(shared, db, proxy):
    """By the same name, from the same template."""
    name = f"{db.name}_anew"
    for _ in range(2):
        proxy.reset_counts()
        shared.sql(f"CREATE DATABASE {name} TEMPLATE {db.name}")
        for _ in range(2):
            assert shared.sql(OPEN, dbname=name) == [("x",)]
        assert proxy.counts == {"Decrypt": 1}
        shared.sql(f"DROP DATABASE {name}")


@pytest.mark.parametrize("within", ["BEGIN", "BEGIN; SAVEPOINT s"])
def test_a_key_of_an_open_transaction(db, proxy, within):
    """Whose wrap the session itself can unwrap already: each time by asking."""
    with db.connect() as c:
        db.people("fresh")
        c.execute(within)
        c.execute("INSERT INTO fresh VALUES (1, 'y')")
        opens = "SELECT envelope_decrypt_text('fresh', ssn) FROM fresh"
        for requests in (2, 3, 4):
            c.execute("SELECT envelope.flush_cache()")
            assert c.execute(opens).fetchall() == [("y",)]
            # The first of them has proved the new wrap.
            assert proxy.counts["Decrypt"] == requests
        c.execute("COMMIT")
        proxy.reset_counts()
        assert [db.value(opens) for _ in range(3)] == ["y"] * 3
        assert proxy.counts["Decrypt"] <= 1


@pytest.mark.parametrize("end", ["COMMIT PREPARED", "ROLLBACK PREPARED"])
def test_a_key_of_a_prepared_transaction(db, proxy, end):
    """Its session forgets it; another session's commit brings the wrap, and no lease."""
    db.people("fresh")
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO fresh VALUES (1, 'y')")
        c.execute("SELECT envelope.flush_cache()")
        c.execute("SELECT envelope_decrypt_text('fresh', ssn) FROM fresh")
        made, = c.execute("SELECT key_id FROM envelope.keys WHERE relation = 'public.fresh'").fetchone()
        c.execute(f"PREPARE TRANSACTION '{db.name}'")
        db.sql(f"{end} '{db.name}'")
        proxy.reset_counts()
        opens = "SELECT envelope_decrypt_text('fresh', ssn) FROM fresh"
        if end == "COMMIT PREPARED":
            assert [db.value(opens), c.execute(opens).fetchone()[0], db.value(opens)] == ["y"] * 3
            assert proxy.counts == {"Decrypt": 1}
        else:
            for run in (db.sql, c.execute):
                run("INSERT INTO fresh VALUES (2, 'z') ON CONFLICT DO NOTHING")
            assert db.value(opens) == "z"
            assert db.value("SELECT count(*) FROM envelope.keys WHERE key_id = %s", (made,)) == 0


@pytest.mark.parametrize("how", ["savepoint", "transaction"])
def test_a_key_that_was_rolled_back(db, proxy, how):
    """Nothing is sealed under it afterwards, in any session."""
    db.people("fresh")
    with db.connect() as c:
        c.execute("BEGIN")
        if how == "savepoint":
            c.execute("SAVEPOINT s")
        c.execute("INSERT INTO fresh VALUES (1, 'y')")
        lost, = c.execute("SELECT key_id FROM envelope.keys WHERE relation = 'public.fresh'").fetchone()
        c.execute("SELECT envelope.flush_cache()")
        c.execute("SELECT envelope_decrypt_text('fresh', ssn) FROM fresh")
        c.execute("ROLLBACK TO s" if how == "savepoint" else "ROLLBACK")
        c.execute("INSERT INTO fresh VALUES (1, 'z')")
        if how == "savepoint":
            c.execute("COMMIT")
    used, = db.sql("SELECT envelope.key_id_of(ssn) FROM fresh")[0]
    assert used != lost
    assert db.value("SELECT envelope_decrypt_text('fresh', ssn) FROM fresh") == "z"


@pytest.mark.parametrize("limit, least", [("cache_max_uses = 1", 5), ("cache_max_uses = 2", 2), ("cache_max_bytes = 1", 2)])
def test_a_limit_of_uses_makes_it_ask_the_kms(db, proxy, limit, least):
    """A lease does not stand in for it."""
    db.sql("INSERT INTO people VALUES (2, %s)", (b"x" * 700,))
    assert db.sql("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = 2")
    proxy.reset_counts()
    with db.connect() as c:
        c.execute(f"SET envelope.{limit}")
        for _ in range(6):
            c.execute("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = 2")
        assert least <= proxy.counts["Decrypt"] <= 6
    # What it asked for is nobody else's burden.
    proxy.reset_counts()
    assert db.sql("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 1") == [("x",)]
    assert proxy.counts["Decrypt"] == 0


@pytest.mark.parametrize("past", ["SELECT ok FROM envelope.check()", "SELECT envelope.rotate_key('people')",
                                  "SELECT done FROM envelope.rewrap({kek}, {kek})"])
def test_what_asks_past_leases(db, proxy, past):
    kek = db.value("SELECT kek FROM envelope.wrapped_key")
    assert [asked(db, proxy) for _ in range(2)] == [1, 0]
    proxy.reset_counts()
    with db.connect() as c:
        c.execute(past.format(kek=f"'{kek}'"))
    assert sum(proxy.counts.values()) >= 1
    assert "Decrypt" in proxy.counts
    proxy.clear()


def test_check_finds_a_revocation_that_a_lease_hides(db, proxy):
    assert asked(db, proxy) == 1
    proxy.fault("Decrypt", faults.deny)
    assert db.value(OPEN) == "x"
    assert not all(ok for ok, in db.sql("SELECT ok FROM envelope.check()"))


# -- taken away -----------------------------------------------------------------------------------------------------


def second_kek(db, moto):
    kek = kms.kek(moto.create_key())
    db.sql("SELECT envelope.add_kek('people', %s)", (kek,))
    return kek


def retire(db, moto):
    db.sql("SELECT envelope.retire_key(%s)", (key_id(db),))


def destroy(db, moto):
    db.sql("SELECT envelope.retire_key(%s)", (key_id(db),))
    db.sql("SELECT envelope.destroy_key(%s, 'by the test', shred => true)", (key_id(db),))


def drop_kek(db, moto):
    first = db.value("SELECT kek FROM envelope.wrapped_key WHERE key_id = %s", (key_id(db),))
    second_kek(db, moto)
    db.sql("SELECT envelope.drop_kek('people', %s)", (first,))


def flush(db, moto):
    forget(db)


TAKEN = {"retire": (retire, "55000"), "destroy": (destroy, None), "drop_kek": (drop_kek, "asks"), "flush": (flush, "asks")}


@pytest.fixture
def two_versions(db, proxy):
    """The value x under a first key that a second one has followed."""
    db.sql("SELECT envelope.rotate_key('people')")
    forget(db)
    proxy.reset_counts()
    return db


@pytest.mark.parametrize("how", TAKEN)
def test_taken_away_at_once(two_versions, moto, proxy, how):
    db = two_versions
    take, then = TAKEN[how]
    with db.connect() as warm:
        assert warm.execute(OPEN).fetchall() == [("x",)]
        assert asked(db, proxy) == 0
        take(db, moto)
        if then == "asks":
            assert asked(db, proxy) == 1
            assert warm.execute(OPEN).fetchall() == [("x",)]
            return
        for run in (lambda: warm.execute(OPEN), lambda: db.sql(OPEN)):
            with pytest.raises(psycopg.Error) as caught:
                run()
            assert then in (None, caught.value.sqlstate)
    if how == "retire":
        # Not by a lease from before.
        proxy.reset_counts()
        db.sql("SELECT envelope.unretire_key(%s)", (key_id(db),))
        assert asked(db, proxy) == 1


@pytest.mark.parametrize("how", TAKEN)
def test_an_answer_on_its_way_serves_its_asker_alone(two_versions, moto, proxy, how):
    db = two_versions
    take, then = TAKEN[how]
    is_asking = hold(proxy)
    with db.connect() as c:
        asking = Work(c.execute, OPEN)
        is_asking()
        take(db, moto)
        arrived = proxy.counts["Decrypt"]
        proxy.clear()
        # What it began it may end, or learn what has become of the key.
        with contextlib.suppress(psycopg.Error):
            assert asking.result().fetchall() == [("x",)]
        assert proxy.counts["Decrypt"] <= arrived + 1
    proxy.reset_counts()
    if how == "retire":
        with fails("55000"):
            db.sql(OPEN)
        db.sql("SELECT envelope.unretire_key(%s)", (key_id(db),))
    if how == "destroy":
        with pytest.raises(psycopg.Error):
            db.sql(OPEN)
    else:
        assert asked(db, proxy) == 1
        assert asked(db, proxy) == 0


def test_who_waits_while_it_is_taken_away(two_versions, moto, proxy):
    """They are not handed what came of a request from before."""
    db = two_versions
    is_asking = hold(proxy)
    with Crowd(db, 4) as crowd:
        crowd.start(is_asking)
        forget(db)
        proxy.clear()
        assert crowd.opened([crowd.asking, *crowd.waiting])
    assert proxy.counts["Decrypt"] == 2
    is_asking = hold(proxy)
    forget(db)
    with Crowd(db, 4) as crowd:
        crowd.start(is_asking)
        retire(db, moto)
        proxy.clear()
        for work in crowd.waiting:
            assert work.error().sqlstate == "55000"


def test_a_key_that_is_taken_away_takes_no_answer_of_another(db, proxy):
    """Whoever may manage one table's keys may retire one of them, and take that back, as often as he likes."""
    db.sql("CREATE TABLE other (v bytea); SELECT envelope.create_key('other'); SELECT envelope.rotate_key('other')")
    other = key_id(db, "public.other")
    proxy.reset_counts()
    is_asking = hold(proxy)
    with Crowd(db, 4) as crowd:
        crowd.start(is_asking)
        for _ in range(3):
            db.sql("SELECT envelope.retire_key(%s)", (other,))
            db.sql("SELECT envelope.unretire_key(%s)", (other,))
        proxy.clear()
        assert crowd.opened([crowd.asking, *crowd.waiting])
    assert proxy.counts["Decrypt"] == 1
    assert asked(db, proxy) == 0


@pytest.mark.parametrize("change", ["SELECT envelope.retire_key('{key}')", EVERYWHERE])
def test_a_change_that_is_rolled_back(two_versions, proxy, change):
    db = two_versions
    assert asked(db, proxy) == 1
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute(change.format(key=key_id(db)))
        c.execute("ROLLBACK")
    assert db.value(OPEN) == "x"


def test_a_change_that_is_prepared(two_versions, proxy):
    """Its commit runs in a session that did not make it."""
    db = two_versions
    assert asked(db, proxy) == 1
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("SELECT envelope.retire_key(%s)", (key_id(db),))
        c.execute(f"PREPARE TRANSACTION '{db.name}'")
    assert db.value(OPEN) == "x"
    db.sql(f"COMMIT PREPARED '{db.name}'")
    with fails("55000"):
        db.sql(OPEN)


def test_only_superusers_flush_everywhere(db, proxy):
    assert asked(db, proxy) == 1
    with fails("42501") as caught:
        db.sql(EVERYWHERE, user=db.low)
    assert "flush_cache()" in caught.value.diag.message_hint
    assert asked(db, proxy) == 0


def test_a_row_of_the_catalog_that_is_changed_by_hand(db, proxy):
    """Whatever a lease says, the catalog says whether a key may be used."""
    assert [asked(db, proxy) for _ in range(2)] == [1, 0]
    db.sql("UPDATE envelope.data_key SET state = 'retired'")
    with fails("55000"):
        db.sql(OPEN)
    db.sql("UPDATE envelope.data_key SET state = 'active'")
    assert db.value(OPEN) == "x"
    db.sql("DELETE FROM envelope.data_key")
    with fails("42704"):
        db.sql(OPEN)


def test_a_dropped_extension(shared, db, proxy):
    value = db.value("SELECT ssn FROM people")
    assert [asked(db, proxy) for _ in range(2)] == [1, 0]
    db.sql('SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE; CREATE EXTENSION "pgrx-example"')
    with fails("42704"):
        db.sql("SELECT envelope_decrypt('people', %s)", (value,))
