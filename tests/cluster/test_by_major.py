"""What differs between the majors of PostgreSQL, asked of the server's own version."""

import pytest
from harness import faults, process
from harness.work import Work
from sqlstate import fails


@pytest.fixture
def major(db):
    return db.value("SELECT current_setting('server_version_num')::int / 10000")


def test_the_library_says_its_name_and_version(db, major):
    asked = ("SELECT module_name, version FROM pg_get_loaded_modules() "
             "WHERE file_name IN ('pgrx-example', 'pgrx-example.so')")
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        if major < 18:
            with fails("42883"):
                c.execute(asked)
            return
        version = db.value("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'")
        assert c.execute(asked).fetchall() == [("pgrx-example", version)]


def test_no_trigger_seals_a_virtual_column(db, major):
    """PostgreSQL computes it when it is read: what a trigger put there would be lost, and the value stay in clear."""
    db.sql("CREATE TABLE t (v bytea)")
    virtual = "ALTER TABLE t ADD g bytea GENERATED ALWAYS AS (v) VIRTUAL"
    if major < 18:
        with fails("42601"):
            db.sql(virtual)
        return
    db.sql(virtual)
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('g')")
    with fails("428C9"):
        db.sql("INSERT INTO t (v) VALUES ('clear')")


def test_nothing_is_looked_at_in_a_virtual_source(db, major):
    """Nothing is stored there: what ends the sealing asks the rows, as of an expression."""
    kind = "VIRTUAL" if major >= 18 else "STORED"
    db.sql(f"CREATE TABLE t (a text, g text GENERATED ALWAYS AS (upper(a)) {kind}, v bytea)")
    db.sql("INSERT INTO t VALUES ('a'), ('b')")
    looked_at = db.value("SELECT source_column FROM envelope.seal_source('t', 'v', 'g')")
    assert looked_at == (None if major >= 18 else "g")
    db.sql("CALL envelope.seal_column('t', 'v', source => 'g')")
    assert db.sql("SELECT envelope_decrypt_text('t', v) FROM t ORDER BY a") == [("A",), ("B",)]


def test_the_wait_for_the_kms_has_a_name(aws, aws_cluster, proxy, major):
    aws.people(rows=["x"])
    aws_cluster.set(envelope__kms_timeout="60s")
    proxy.fault("Decrypt", faults.hang)
    with aws.connect() as c:
        pid = c.info.backend_pid
        waiting = Work(c.execute, "SELECT envelope_decrypt('people', ssn) FROM people")
        asked = ("SELECT wait_event FROM pg_stat_activity "
                 "WHERE pid = %s AND wait_event_type = 'Extension' AND wait_event IS NOT NULL")
        name = process.wait_until(lambda: aws.sql(asked, (pid,)), "the KMS is asked")
        aws.sql("SELECT pg_cancel_backend(%s)", (pid,))
        assert waiting.error().sqlstate == "57014"
    aws_cluster.set(envelope__kms_timeout="4s")
    assert name == [("EnvelopeKms" if major >= 17 else "Extension",)]


def test_a_misspelt_setting(db, major):
    """Before 15 nothing can refuse it once the library is loaded."""
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        if major < 15:
            c.execute("SET envelope.no_such_setting = 1")
            assert c.execute("SHOW envelope.no_such_setting").fetchall() == [("1",)]
        else:
            with fails("42602"):
                c.execute("SET envelope.no_such_setting = 1")
