"""Many sessions make a table's first insert at once: one key, and nobody notices."""

import re
import threading

import psycopg
import pytest
from harness.work import Work, at_once

SESSIONS = 50


def check_one_key(db, rows):
    assert db.sql("SELECT state, count(*) FROM envelope.data_key GROUP BY 1") == [("active", 1)]
    assert db.value("SELECT count(*) FROM envelope.keyring") == 1
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 1
    opened = db.sql("SELECT id, envelope_decrypt_text('people', ssn) FROM people")
    assert len(opened) == rows and all(text == f"v{i}" for i, text in opened)


@pytest.mark.parametrize("isolation", ["autocommit", "read committed", "repeatable read", "serializable"])
def test_fifty_first_inserts(db, isolation):
    db.people()

    def insert(i):
        with db.connect() as c:
            if isolation == "autocommit":
                c.execute("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
                return
            c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            # The snapshot is older than the key, for all but one.
            c.execute("SELECT count(*) FROM pg_class")
            c.execute("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
            c.execute("COMMIT")

    at_once(insert, SESSIONS)
    check_one_key(db, SESSIONS)


def test_the_first_ones_roll_back(db):
    db.people()

    def insert(i):
        with db.connect() as c:
            c.execute("BEGIN")
            c.execute("INSERT INTO people VALUES (%s, %s)", (i, f"v{i}".encode()))
            c.execute("ROLLBACK" if i < 10 else "COMMIT")

    at_once(insert, 20)
    check_one_key(db, 10)


def test_serializable_sessions_make_keys_for_different_tables(db):
    """Reading the catalog takes no predicate lock, so that they do not fail each other."""
    for i in range(8):
        db.sql(f"CREATE TABLE t{i} (v bytea)")

    def make(i):
        with db.connect() as c:
            c.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
            c.execute(f"INSERT INTO t{i} VALUES (envelope_encrypt('t{i}', 'x'))")
            together.wait()
            c.execute("COMMIT")

    together = threading.Barrier(8)
    at_once(make, 8)
    assert db.value("SELECT count(*) FROM envelope.data_key") == 8


def test_a_key_made_after_the_snapshot_opens_and_seals(db):
    db.people()
    for isolation in ("REPEATABLE READ", "SERIALIZABLE"):
        with db.connect() as c:
            c.execute(f"BEGIN ISOLATION LEVEL {isolation}")
            c.execute("SELECT count(*) FROM people")
            sealed = db.value("SELECT envelope_encrypt('people', 'new')")
            opened = c.execute("SELECT envelope_decrypt_text('people', %s)", (sealed,)).fetchone()
            assert opened == ("new",)
            c.execute("INSERT INTO people VALUES (1, 'x')")
            c.execute("ROLLBACK")
    assert db.value("SELECT count(*) FROM envelope.data_key") == 1


def test_nothing_is_locked_while_the_kms_is_asked(aws, proxy):
    aws.people()
    held = proxy.hold("GenerateDataKey")
    with aws.patient() as c, aws.connect() as other:
        waiting = Work(c.execute, "SELECT envelope_encrypt('people', 'x')")
        held()
        locks = other.execute(
            "SELECT locktype, relation::regclass::text, mode FROM pg_locks WHERE pid = %s AND locktype <> 'virtualxid'"
            " AND mode <> 'AccessShareLock' OR relation = 'people'::regclass",
            (c.info.backend_pid,)).fetchall()
        assert locks == []
        other.execute("SET lock_timeout = '60s'")
        other.execute("ALTER TABLE people ADD COLUMN note text")
        proxy.clear()
        waiting.result()
    assert aws.value("SELECT count(*) FROM envelope.data_key") == 1


def test_prepared_transactions(own_cluster, database):
    """PREPARE takes the key's fate out of the session's hands; it survives a crash."""
    cluster = own_cluster(conf={"max_prepared_transactions": 10, "fsync": "on"}).start()
    db = database(cluster)
    for table in ("kept", "lost"):
        db.people(table)
        with db.connect() as c:
            c.execute("BEGIN")
            c.execute(f"INSERT INTO {table} VALUES (1, 'prepared')")
            c.execute(f"PREPARE TRANSACTION '{table}'")
            assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)
    assert db.value("SELECT count(*) FROM envelope.data_key") == 0
    cluster.kill9()
    cluster.start()
    db.sql("COMMIT PREPARED 'kept'")
    db.sql("ROLLBACK PREPARED 'lost'")
    assert db.value("SELECT envelope_decrypt_text('kept', ssn) FROM kept") == "prepared"
    db.sql("INSERT INTO lost VALUES (2, 'after')")
    assert db.sql("SELECT envelope_decrypt_text('lost', ssn) FROM lost") == [("after",)]
    assert db.value("SELECT count(*) FROM envelope.data_key") == 2


def test_what_another_session_changes_takes_hold_at_the_next_statement(db):
    db.people(rows=["x"])
    opens = "SELECT envelope_decrypt_text('people', ssn) FROM people"
    with db.connect() as c:
        for change, sqlstate in [
            ("UPDATE envelope.data_key SET state = 'retired'", "55000"),
            ("UPDATE envelope.data_key SET state = 'active'", None),
            ("UPDATE envelope.keyring_table SET relation = '-'", "22023"),
            ("UPDATE envelope.keyring_table SET relation = 'people'", None),
            ("TRUNCATE envelope.data_key", "42704"),
        ]:
            # Within one transaction of the reader, too.
            c.execute("BEGIN")
            c.execute("SAVEPOINT s")
            db.sql(change)
            try:
                assert c.execute(opens).fetchall() == [("x",)] and sqlstate is None, change
            except psycopg.Error as e:
                assert e.sqlstate == sqlstate, change
            c.execute("ROLLBACK")


def test_it_takes_hold_also_where_no_table_is_read(db):
    """Then nothing but our own call learns of it, within a transaction."""
    db.people(rows=["x"])
    with db.connect() as c:
        sealed = c.execute("SELECT ssn FROM people").fetchone()[0]
        opens = f"SELECT envelope_decrypt_text('people', '\\x{sealed.hex()}')"
        c.execute("BEGIN")
        assert c.execute(opens).fetchone() == ("x",)
        db.sql("UPDATE envelope.data_key SET state = 'retired'")
        with pytest.raises(psycopg.Error) as caught:
            c.execute(opens)
        assert caught.value.sqlstate == "55000"


def test_the_extension_made_again_elsewhere_empties_the_cache(db):
    db.people(rows=["x"])
    with db.connect() as c:
        sealed = c.execute("SELECT ssn FROM people").fetchone()[0]
        assert c.execute("SELECT envelope_decrypt_text('people', %s)", (sealed,)).fetchone() == ("x",)
        db.sql('SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE')
        db.sql('CREATE EXTENSION "pgrx-example"')
        with pytest.raises(psycopg.Error) as caught:
            c.execute("SELECT envelope_decrypt_text('people', %s)", (sealed,))
        assert caught.value.sqlstate == "42704"


def test_a_table_that_was_dropped_many_times(db):
    """The WARNING names the newest keyrings that it has left and counts the others; a shredded one is none."""
    def made():
        told = []
        with db.connect() as c:
            c.add_notice_handler(lambda diag: told.append(diag.message_primary))
            c.execute("CREATE TABLE again (v bytea)")
            c.execute("SELECT envelope_encrypt('again', 'x')")
        return re.findall("[0-9a-f]{8}-[0-9a-f-]{27}", "".join(told)), " ".join(told)

    keyring = "SELECT keyring_id::text FROM envelope.keys WHERE relation = 'public.again' AND NOT orphaned"
    left = []
    for n in range(6):
        named, text = made()
        assert named == left[::-1][:3]
        assert (f"{n - 3} more" in text) == (n > 3)
        left.append(db.value(keyring))
        db.sql("DROP TABLE again")
    db.sql("CREATE TABLE again (v bytea); SELECT envelope.create_key('again'); SELECT envelope.shred('again', 'x'); "
           "DROP TABLE again")
    assert made()[0] == left[::-1][:3]
