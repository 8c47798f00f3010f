"""Keys and the ends of transactions: prepared ones, snapshots, parallel workers, cursors, procedures, poolers."""

import psycopg
import pytest
from harness import pooler, process
from harness.cluster import Cluster
from sqlstate import fails

OPEN = "SELECT id, envelope_decrypt_text('people', ssn) FROM people ORDER BY id"


@pytest.fixture(scope="module")
def two_phase():
    with Cluster(conf={"max_prepared_transactions": 20, "autovacuum_naptime": "1s"}) as c:
        yield c


@pytest.fixture
def prepared(two_phase, database):
    return database(two_phase)


def insert(c, table="people", row=(1, b"x")):
    """Inserts by the trigger; the sealed value."""
    return c.execute(f"INSERT INTO {table} VALUES (%s, %s) RETURNING ssn", row).fetchone()[0]


def opened(c, sealed, table="people"):
    return c.execute("SELECT envelope_decrypt_text(%s, %s)", (table, sealed)).fetchone()[0]


def keys(db):
    return db.value("SELECT count(*) FROM envelope.data_key")


# -- prepared transactions ------------------------------------------------------------------------------------------


def test_what_was_sealed_before_prepare_and_after_shares_no_run_of_nonces(prepared):
    prepared.people(rows=["first"])
    with prepared.connect() as c:
        c.execute("BEGIN")
        before = insert(c, row=(2, b"x"))
        c.execute(f"PREPARE TRANSACTION '{prepared.name}'")
        after = insert(c, row=(3, b"x"))
        c.execute(f"COMMIT PREPARED '{prepared.name}'")
    assert before[18:30] != after[18:30]


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_key_is_nobodys_until_it_is_committed(prepared, end):
    prepared.people()
    with prepared.connect() as maker, prepared.connect() as other:
        maker.execute("BEGIN")
        sealed = insert(maker)
        assert opened(maker, sealed) == "x"
        maker.execute(f"PREPARE TRANSACTION '{prepared.name}'")
        assert maker.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)
        for session in (maker, other):
            with fails("42704"):
                opened(session, sealed)
            # Whether the table has a key is undecided: a first insert waits, as for a unique value.
            session.execute("SET lock_timeout = '100ms'")
            with fails("55P03"):
                insert(session, row=(2, b"y"))
        other.execute(f"{end} PREPARED '{prepared.name}'")
        for i, session in enumerate((maker, other), 3):
            if end == "COMMIT":
                assert opened(session, sealed) == "x"
            else:
                with fails("42704"):
                    opened(session, sealed)
            insert(session, row=(i, b"z"))
    assert keys(prepared) == 1
    kept = [(1, "x")] if end == "COMMIT" else []
    assert prepared.sql(OPEN) == [*kept, (3, "z"), (4, "z")]


def test_prepared_keys_outlive_crashes(two_phase, prepared):
    for table in ("kept", "lost"):
        prepared.people(table)
        with prepared.connect() as c:
            c.execute("BEGIN")
            insert(c, table)
            c.execute(f"PREPARE TRANSACTION '{prepared.name}{table}'")
    two_phase.kill9()
    two_phase.start()
    assert keys(prepared) == 0
    with prepared.connect() as c:
        c.execute("SET lock_timeout = '100ms'")
        with fails("55P03"):
            insert(c, "lost", (2, b"y"))
    prepared.sql(f"COMMIT PREPARED '{prepared.name}kept'")
    prepared.sql(f"ROLLBACK PREPARED '{prepared.name}lost'")
    two_phase.kill9()
    two_phase.start()
    assert keys(prepared) == 1
    with prepared.connect() as c:
        insert(c, "lost", (2, b"y"))
        insert(c, "kept", (2, b"y"))
    for table, texts in (("kept", ["x", "y"]), ("lost", ["y"])):
        rows = prepared.sql(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table} ORDER BY id")
        assert [text for text, in rows] == texts
    assert keys(prepared) == 2


def test_prepared_with_savepoints(prepared):
    for table in ("released", "undone"):
        prepared.people(table)
    with prepared.connect() as c:
        c.execute("BEGIN")
        c.execute("SAVEPOINT a")
        insert(c, "released")
        c.execute("RELEASE a")
        c.execute("SAVEPOINT b")
        sealed = insert(c, "undone")
        c.execute("ROLLBACK TO b")
        with fails("42704"):
            opened(c, sealed, "undone")
        c.execute("ROLLBACK TO b")
        insert(c, "undone", (2, b"again"))
        c.execute("PREPARE TRANSACTION 's'")
        c.execute("COMMIT PREPARED 's'")
        assert c.execute("SELECT envelope_decrypt_text('released', ssn) FROM released").fetchall() == [("x",)]
        assert c.execute("SELECT envelope_decrypt_text('undone', ssn) FROM undone").fetchall() == [("again",)]
    assert keys(prepared) == 2


# -- snapshots ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_key_younger_than_the_snapshot(db, isolation):
    db.people()
    with db.connect() as c:
        c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
        c.execute("SELECT count(*) FROM envelope.data_key")
        db.sql("INSERT INTO people VALUES (1, 'theirs')")
        sealed = db.value("SELECT ssn FROM people")
        assert c.execute("SELECT count(*) FROM people").fetchone() == (0,)
        assert opened(c, sealed) == "theirs"
        insert(c, row=(2, b"ours"))
        # Kept by the trigger, since it opens.
        c.execute("INSERT INTO people VALUES (3, %s)", (sealed,))
        c.execute("COMMIT")
    assert db.sql(OPEN) == [(1, "theirs"), (2, "ours"), (3, "theirs")]
    assert keys(db) == 1


def test_read_only_transactions_open_and_make_nothing(db):
    db.people(rows=["x"])
    db.people("fresh")
    for mode in ("READ ONLY", "ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE"):
        with db.connect() as c:
            c.execute(f"BEGIN {mode}")
            assert c.execute(OPEN).fetchall() == [(1, "x")]
            assert len(c.execute("SELECT envelope_encrypt('people', 'y')").fetchone()[0]) == 59
            with fails("42704"):
                c.execute("SELECT envelope_encrypt('fresh', 'y')")
    assert keys(db) == 1


def test_a_drop_that_is_rolled_back(db):
    db.people(rows=["x"])
    with db.connect() as c:
        c.execute(OPEN)
        c.execute("BEGIN")
        c.execute("DROP TABLE people")
        c.execute("CREATE TABLE people (id int, ssn bytea)")
        c.execute("INSERT INTO people VALUES (7, envelope_encrypt('people', 'short-lived'))")
        assert c.execute(OPEN).fetchall() == [(7, "short-lived")]
        c.execute("ROLLBACK")
        insert(c, row=(2, b"y"))
        assert c.execute(OPEN).fetchall() == [(1, "x"), (2, "y")]
    assert keys(db) == 1


# -- parallel query -------------------------------------------------------------------------------------------------


@pytest.fixture
def parallel(db):
    """A session whose queries run in workers alone."""
    with db.connect() as c:
        force = "debug_parallel_query" if c.info.server_version >= 160000 else "force_parallel_mode"
        for setting in (f"{force} = on", "min_parallel_table_scan_size = 0", "parallel_setup_cost = 0",
                        "parallel_tuple_cost = 0", "max_parallel_workers_per_gather = 2",
                        "parallel_leader_participation = off"):
            c.execute(f"SET {setting}")
        yield c


def fill(c, rows):
    c.execute("INSERT INTO people SELECT i, convert_to('v' || i, 'UTF8') FROM generate_series(1, %s) AS i", (rows,))
    c.execute("ANALYZE people")


def test_workers_open(db, parallel):
    db.people()
    fill(parallel, 2000)
    query = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'v' || id"
    plan = str(parallel.execute("EXPLAIN (ANALYZE) " + query).fetchall())
    assert "Workers Launched: 2" in plan and "Parallel Seq Scan" in plan
    assert parallel.execute(query).fetchone() == (2000,)


def test_workers_open_under_a_key_of_the_open_transaction(db, parallel):
    parallel.execute("BEGIN")
    parallel.execute("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    parallel.execute("CREATE TRIGGER seal BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    fill(parallel, 500)
    query = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) = 'v' || id"
    assert "Workers Planned: 2" in str(parallel.execute("EXPLAIN " + query).fetchall())
    assert parallel.execute(query).fetchone() == (500,)
    parallel.execute("ROLLBACK")
    assert keys(db) == 0


def test_workers_seal_for_a_table_as_query(db, parallel):
    db.people(rows=["first"])
    parallel.execute("CREATE TABLE source AS SELECT i AS id FROM generate_series(1, 3000) AS i")
    parallel.execute("ANALYZE source")
    query = "CREATE TABLE sealed AS SELECT id, envelope_encrypt_text('people', 'v' || id) AS ssn FROM source"
    assert "Workers Planned: 2" in str(parallel.execute("EXPLAIN " + query).fetchall())
    parallel.execute(query)
    # Two workers and every row: no nonce twice.
    assert db.value("SELECT count(DISTINCT substr(ssn, 19, 24)) FROM sealed") == 3000
    assert db.value("SELECT count(*) FROM sealed WHERE envelope_decrypt_text('people', ssn) = 'v' || id") == 3000
    parallel.execute("CREATE TABLE plain AS SELECT id, envelope_decrypt_text('people', ssn) AS text FROM sealed")
    assert db.value("SELECT count(*) FROM plain WHERE text = 'v' || id") == 3000


def test_no_first_use_in_a_worker(db, parallel):
    db.people()
    parallel.execute("CREATE TABLE source AS SELECT i AS id FROM generate_series(1, 100) AS i")
    parallel.execute("ANALYZE source")
    for query in ("SELECT envelope_encrypt('people', 'x') FROM source",
                  "CREATE TABLE sealed AS SELECT envelope_encrypt('people', 'x') AS ssn FROM source"):
        with fails("42704") as caught:
            parallel.execute(query)
        assert "create_key" in caught.value.diag.message_hint
    assert keys(db) == 0
    insert(parallel)
    assert len(parallel.execute("SELECT envelope_encrypt('people', 'x') FROM source").fetchall()) == 100


# -- upkeep ---------------------------------------------------------------------------------------------------------


def test_autovacuum_and_rewrites(two_phase, prepared):
    prepared.people()
    prepared.sql("ALTER TABLE people ADD CHECK (envelope.is_sealed(ssn)), SET (autovacuum_vacuum_threshold = 10, "
                 "autovacuum_analyze_threshold = 10, autovacuum_vacuum_scale_factor = 0)")
    with prepared.connect() as c:
        fill(c, 300)
        c.execute("UPDATE people SET ssn = 'again' WHERE id % 2 = 0")
        upkeep = ("SELECT autovacuum_count > 0 AND autoanalyze_count > 0 FROM pg_stat_user_tables "
                  "WHERE relname = 'people'")
        two_phase.set(autovacuum="on")
        try:
            process.wait_until(lambda: c.execute(upkeep).fetchone()[0], "autovacuum of the table")
        finally:
            two_phase.set(autovacuum="off")
        count = "SELECT count(*) FROM people WHERE envelope_decrypt_text('people', ssn) IN ('v' || id, 'again')"
        for command in ("ANALYZE people", "VACUUM (FULL, ANALYZE) people", "CLUSTER people USING people_pkey",
                        "REINDEX TABLE people", "VACUUM FULL envelope.data_key", "VACUUM FULL envelope.keyring_table",
                        "VACUUM FULL envelope.wrapped_key", "REINDEX SCHEMA envelope"):
            c.execute(command)
            assert c.execute(count).fetchone() == (300,), command


# -- cursors, procedures, exceptions --------------------------------------------------------------------------------


def test_cursors(db):
    db.people(rows=["a", "b", "c", "d", "e"])
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("SET LOCAL enable_sort = off")
        c.execute(f"DECLARE lazy CURSOR FOR {OPEN}")
        c.execute(f"DECLARE held CURSOR WITH HOLD FOR {OPEN}")
        assert c.execute("FETCH lazy").fetchall() == [(1, "a")]
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute("FETCH lazy").fetchall() == [(2, "b")]
        c.execute("SAVEPOINT s")
        c.execute("CREATE TABLE other (v bytea)")
        c.execute("SELECT envelope_encrypt('other', 'x')")
        c.execute("ROLLBACK TO s")
        assert c.execute("FETCH lazy").fetchall() == [(3, "c")]
        # The next fetch is a statement of its own: what others changed holds for it.
        db.sql("UPDATE envelope.data_key SET state = 'retired'")
        c.execute("SAVEPOINT s")
        with fails("55000"):
            c.execute("FETCH lazy")
        c.execute("ROLLBACK TO s")
        db.sql("UPDATE envelope.data_key SET state = 'active'")
        c.execute("COMMIT")
        assert len(c.execute("FETCH ALL held").fetchall()) == 5


def test_a_procedure_that_commits_in_a_loop(db):
    db.sql("""
        CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
        BEGIN
          FOR i IN 1..12 LOOP
            EXECUTE format('CREATE TABLE t%s (v bytea)', i);
            COMMIT;
            EXECUTE format('INSERT INTO t%1$s VALUES (envelope_encrypt_text(%2$L, %2$L))', i, 't' || i);
            IF i % 3 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
            EXECUTE format('INSERT INTO t%1$s VALUES (envelope_encrypt_text(%2$L, %2$L))', i, 't' || i);
            COMMIT;
          END LOOP;
        END $$""")
    db.sql("CALL fill()")
    for i in range(1, 13):
        opened_all = db.sql(f"SELECT envelope_decrypt_text('t{i}', v) FROM t{i}")
        assert opened_all == [(f"t{i}",)] * (1 if i % 3 == 0 else 2)
    assert keys(db) == 12


def test_nested_exception_blocks(db):
    """Each block is a savepoint; a key made in one that fails must seal nothing afterwards."""
    for table in ("a", "b", "c"):
        db.people(table)
    db.sql("""
        CREATE FUNCTION nest() RETURNS SETOF bytea LANGUAGE plpgsql AS $$
        DECLARE lost bytea;
        BEGIN
          BEGIN
            INSERT INTO a VALUES (1, 'a lost') RETURNING ssn INTO lost;
            RETURN NEXT lost;
            BEGIN
              INSERT INTO b VALUES (1, 'b lost') RETURNING ssn INTO lost;
              RETURN NEXT lost;
              RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN
              INSERT INTO b VALUES (2, 'b lost too') RETURNING ssn INTO lost;
              RETURN NEXT lost;
            END;
            INSERT INTO a VALUES (2, 'a lost too');
            PERFORM 1 / 0;
          EXCEPTION WHEN division_by_zero THEN
            BEGIN
              INSERT INTO c VALUES (1, 'c kept');
            EXCEPTION WHEN others THEN RAISE;
            END;
          END;
          INSERT INTO a VALUES (3, 'a kept');
          INSERT INTO b VALUES (3, 'b kept');
          INSERT INTO c VALUES (3, 'c kept');
        END $$""")
    with db.connect() as c:
        lost = [value for value, in c.execute("SELECT nest()").fetchall()]
        assert len(lost) == 3
        for session in (c, db.connect()):
            for table, rows in (("a", 1), ("b", 1), ("c", 2)):
                opened_all = session.execute(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table}").fetchall()
                assert opened_all == [(f"{table} kept",)] * rows
            for table, sealed in zip("abb", lost):
                with fails("42704"):
                    opened(session, sealed, table)
            if session is not c:
                session.close()
    assert keys(db) == 3


# -- what others change ---------------------------------------------------------------------------------------------

CHANGES = {
    "retired": ("UPDATE envelope.data_key SET state = 'retired'", "55000"),
    "destroyed": ("UPDATE envelope.data_key SET state = 'destroyed'", "55000"),
    "deleted": ("DELETE FROM envelope.data_key", "42704"),
    "truncated": ("TRUNCATE envelope.data_key", "42704"),
    "unlinked": ("TRUNCATE envelope.keyring_table", "22023"),
    "owner": ("ALTER TABLE people OWNER TO postgres", "42501"),
    "extension": ('SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE; '
                  'CREATE EXTENSION "pgrx-example"', "42704"),
}


@pytest.mark.parametrize("within", ["alone", "in a transaction"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_elsewhere_holds_for_the_next_statement(db, change, within):
    command, sqlstate = CHANGES[change]
    db.people(rows=["x"])
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    with db.connect(user=db.low) as c:
        sealed = c.execute("SELECT ssn FROM people").fetchone()[0]
        if within != "alone":
            c.execute("BEGIN")
        assert opened(c, sealed) == "x"
        if within != "alone":
            # Our own lock on the table would make the other's DDL wait.
            c.execute("COMMIT")
            c.execute("BEGIN")
            c.execute("SELECT 1")
        with db.connect() as other:
            for part in command.split("; "):
                other.execute(part)
        with fails(sqlstate):
            opened(c, sealed)
        if change in ("deleted", "truncated", "extension"):
            c.execute("ROLLBACK")
            assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)


def test_the_right_of_the_databases_owner(db):
    """Who owns the database is the member of pg_database_owner, with no row in pg_auth_members."""
    db.people(rows=["x"])
    db.sql("ALTER TABLE people OWNER TO pg_database_owner")
    db.sql(f"ALTER DATABASE {db.name} OWNER TO {db.low}")
    with db.connect(user=db.low) as c:
        sealed = c.execute("SELECT ssn FROM people").fetchone()[0]
        assert opened(c, sealed) == "x"
        db.sql(f"ALTER DATABASE {db.name} OWNER TO postgres")
        with fails("42501"):
            opened(c, sealed)


# -- a pooler -------------------------------------------------------------------------------------------------------


@pytest.fixture
def bouncer(cluster, db, tmp_path):
    """pgbouncer in transaction mode with one server connection, which its clients share."""
    with pooler.in_transaction_mode(cluster, db.name, tmp_path / "bouncer.log") as port:
        # Prepared statements of the protocol belong to one server connection.
        yield lambda: psycopg.connect(host="127.0.0.1", port=port, dbname=db.name, user="postgres", autocommit=True,
                                      connect_timeout=60, prepare_threshold=None)


def test_two_clients_of_a_pooler(db, bouncer):
    for table in ("people", "other", "third"):
        db.people(table)
    db.sql(f"GRANT ALL ON people TO {db.low}")
    with bouncer() as a, bouncer() as b:
        pid = "SELECT pg_backend_pid()"
        assert a.execute(pid).fetchone() == b.execute(pid).fetchone()
        a.execute("BEGIN")
        lost = insert(a)
        a.execute("ROLLBACK")
        with fails("42704"):
            opened(b, lost)
        b.execute("BEGIN")
        insert(b)
        b.execute("COMMIT")
        assert a.execute(OPEN).fetchall() == [(1, "x")]
        for i in range(2, 30):
            one, two = (a, b) if i % 2 else (b, a)
            one.execute("BEGIN")
            insert(one, row=(i, b"y"))
            insert(one, "other" if i < 15 else "third", row=(i, b"y"))
            one.execute("ROLLBACK" if i % 5 == 0 else "COMMIT")
            # Another role's rights do not stay behind in the shared backend, nor do its own.
            two.execute("BEGIN")
            two.execute(f"SET LOCAL ROLE {db.low}")
            with fails("42501"):
                two.execute(OPEN)
            two.execute("ROLLBACK")
            assert len(two.execute(OPEN).fetchall()) == i - i // 5
    assert keys(db) == 3
    assert {text for _, text in db.sql(OPEN)} == {"x", "y"}
