"""A backend that waits for a KMS can be interrupted, seen, and bothers nobody."""

import os
import socket

import psycopg
import pytest

from harness import faults, moto as kms, process, sealed
from harness.work import Work
from sqlstate import fails


class Waiting:
    """A session that opens a value, or does something else for which it asks the KMS, in the background."""

    def __init__(self, db, user="postgres", statement="SELECT envelope_decrypt('people', ssn) FROM people"):
        self.connection = db.connect(user)
        self.pid = self.connection.info.backend_pid
        self._statement = statement
        self._work = None

    def start(self, proxy):
        proxy.reset_counts()
        self._work = Work(self.connection.execute, self._statement)
        process.wait_until(lambda: proxy.counts["Decrypt"] == 1, "the request arrives")
        return self

    def error(self):
        return self._work.error()


@pytest.fixture
def hanging(aws, aws_cluster, proxy):
    """A database whose next Decrypt hangs, with a timeout that does not help."""
    aws.people(rows=["x"])
    aws_cluster.set(envelope__kms_timeout="60s")
    proxy.fault("Decrypt", faults.hang)
    yield aws
    aws_cluster.set(envelope__kms_timeout="4s")


def test_seen_from_outside(hanging, proxy):
    w = Waiting(hanging).start(proxy)
    query = "SELECT wait_event_type = 'Extension' AND wait_event IS NOT NULL FROM pg_stat_activity WHERE pid = %s"
    process.wait_until(lambda: hanging.value(query, (w.pid,)), "it waits")
    # Others go on, with the same table, its DDL too once a reader's own lock is gone.
    hanging.sql("INSERT INTO people VALUES (2, NULL)")
    hanging.sql("CREATE TABLE other (v bytea)")
    locks = hanging.sql("SELECT locktype, mode FROM pg_locks WHERE pid = %s AND mode LIKE '%%Exclusive%%' "
                        "AND locktype <> 'virtualxid'", (w.pid,))
    assert locks == []
    hanging.sql("SELECT pg_cancel_backend(%s)", (w.pid,))
    w.error()


def test_an_update_waits_with_its_row(hanging, proxy):
    """Of locks of our own there is none; the row is locked before its trigger runs. `warm` asks ahead."""
    hanging.sql("INSERT INTO people VALUES (2, NULL)")
    w = Waiting(hanging, statement="UPDATE people SET ssn = 'y' WHERE id = 1").start(proxy)
    hanging.sql("SELECT 1 FROM people WHERE id = 2 FOR UPDATE NOWAIT")
    with fails("55P03"):
        hanging.sql("SELECT 1 FROM people WHERE id = 1 FOR UPDATE NOWAIT")
    hanging.sql("SELECT pg_cancel_backend(%s)", (w.pid,))
    assert w.error().sqlstate == "57014"
    proxy.clear()
    with hanging.connect() as c:
        c.execute("SELECT envelope.warm('people')")
        proxy.fault("Decrypt", faults.hang)
        c.execute("UPDATE people SET ssn = 'y' WHERE id = 1")


def test_cancel(hanging, proxy):
    w = Waiting(hanging).start(proxy)
    hanging.sql("SELECT pg_cancel_backend(%s)", (w.pid,))
    assert w.error().sqlstate == "57014"
    proxy.clear()
    opened = w.connection.execute("SELECT envelope_decrypt_text('people', ssn) FROM people").fetchone()
    assert opened == ("x",)


def test_terminate(hanging, proxy):
    w = Waiting(hanging).start(proxy)
    hanging.sql("SELECT pg_terminate_backend(%s)", (w.pid,))
    assert w.error().sqlstate == "57P01"
    process.wait_until(lambda: not process.alive(w.pid), "the backend ends")
    assert hanging.value("SELECT count(*) FROM people") == 1


def test_statement_timeout(hanging, proxy):
    w = Waiting(hanging)
    w.connection.execute("SET statement_timeout = '3s'")
    w.start(proxy)
    assert w.error().sqlstate == "57014"


def test_cancel_while_a_key_is_made(hanging, proxy):
    hanging.sql("CREATE TABLE fresh (v bytea)")
    proxy.reset_counts()
    proxy.fault("GenerateDataKey", faults.hang)
    with hanging.connect() as c:
        c.execute("SET statement_timeout = '3s'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("SELECT envelope_encrypt('fresh', 'x')")
        assert proxy.counts["GenerateDataKey"] == 1
        c.execute("RESET statement_timeout")
        assert c.execute("SELECT count(*) FROM envelope.keys WHERE relation LIKE '%fresh'").fetchone() == (0,)
        proxy.clear()
        c.execute("SELECT envelope_encrypt('fresh', 'x')")


def test_client_goes_away(hanging, proxy):
    w = Waiting(hanging)
    w.connection.execute("SET client_connection_check_interval = '200ms'")
    w.start(proxy)
    s = socket.socket(fileno=os.dup(w.connection.fileno()))
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    process.wait_until(lambda: not process.alive(w.pid), "the backend ends")


def test_postmaster_dies(own_cluster, database, moto, proxy):
    c = own_cluster(env=kms.CREDENTIALS, conf={
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": proxy.url,
        "envelope.kms_timeout": "60s",
    }).start()
    db = database(c)
    db.people(rows=["x"])
    proxy.fault("Decrypt", faults.hang)
    w = Waiting(db).start(proxy)
    # Waits itself until every child has ended, the waiting one too.
    c.kill9()
    assert not process.alive(w.pid)
    proxy.clear()
    w.error()
    c.start()
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"


@pytest.mark.parametrize("reads", [
    "SELECT * FROM envelope.census('people', 'ssn')",
    "CALL envelope.reencrypt('people', 'ssn')",
])
def test_an_error_of_postgresql_while_a_value_is_read(db, reads):
    """Its own, not one about the value: it ends the statement, with its SQLSTATE, and a block that catches it goes on."""
    db.people(rows=[sealed.LONG.hex()])
    toast = db.value("SELECT indexrelid::regclass::text FROM pg_class c JOIN pg_index i ON i.indrelid = c.reltoastrelid "
                     "WHERE c.oid = 'people'::regclass")
    db.sql("SELECT envelope.rotate_key('people')")
    with db.connect() as holder, db.connect() as c:
        holder.execute(f"BEGIN; REINDEX INDEX {toast}")
        c.execute("SET lock_timeout = '200ms'")
        with fails("55P03"):
            c.execute(reads)
        assert c.execute("SELECT 1").fetchone() == (1,)
        if not reads.startswith("CALL"):
            c.execute(f"DO $$ BEGIN PERFORM {reads.removeprefix('SELECT ')}; RAISE 'not reached'; "
                      "EXCEPTION WHEN lock_not_available THEN END $$")
        holder.execute("ROLLBACK")
        c.execute(reads)
        assert c.execute("SELECT envelope_decrypt('people', ssn) FROM people").fetchone() == (sealed.LONG.hex().encode(),)
