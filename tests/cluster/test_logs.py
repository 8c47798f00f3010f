"""The server's log holds nothing that came from us: no key, no plaintext, also not by way of COPY's context."""

import base64

import psycopg
import pytest
from harness import faults, place
from harness.disk import files_holding, files_holding_any
from interop import open as reader
from sqlstate import fails

NEEDLE = "a-plaintext-that-occurs-nowhere-else"

# All that PostgreSQL can be made to tell, and ourselves.
TALKATIVE = {
    "shared_preload_libraries": "pgrx-example, auto_explain, pg_stat_statements",
    "log_statement": "all", "log_min_messages": "debug5", "log_error_verbosity": "verbose",
    "log_min_duration_statement": "0", "log_parser_stats": "on", "debug_print_plan": "on", "debug_print_rewritten": "on",
    "auto_explain.log_min_duration": "0", "auto_explain.log_analyze": "on", "auto_explain.log_verbose": "on",
    "auto_explain.log_nested_statements": "on", "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on", "envelope.audit": "all",
}


def copy_in(db, options=""):
    with db.connect(options=options) as c, c.cursor().copy("COPY people FROM STDIN") as copy:
        copy.write_row((1, NEEDLE))


def test_first_use_in_copy_logs_no_row(own_cluster, database):
    """The WARNING about a new key file comes while COPY is at a row."""
    c = own_cluster(conf={"log_min_messages": "debug1"}).start()
    db = database(c)
    db.people()
    copy_in(db)
    log = c.log.read_text(errors="replace")
    assert "created key file" in log and NEEDLE not in log
    assert "CONTEXT:  COPY people, line 1\n" in log


@pytest.mark.parametrize("fault", ["refused", "cancelled"])
def test_an_error_of_the_kms_in_copy_logs_no_row(aws, proxy, fault):
    """Neither our error does, nor PostgreSQL's own while the trigger waits."""
    aws.people()
    if fault == "refused":
        proxy.fault("*", faults.deny)
        sqlstate, options = "28000", ""
    else:
        proxy.fault("*", faults.hang)
        sqlstate, options = "57014", "-c statement_timeout=3s"
    with fails(sqlstate) as caught:
        copy_in(aws, options)
    assert proxy.counts["GenerateDataKey"] == 1
    assert caught.value.diag.context == "COPY people, line 1"
    assert NEEDLE not in aws.cluster.log.read_text(errors="replace")


@pytest.fixture
def foreign(db):
    """A value of another table, which the trigger refuses, as COPY has it in its text formats."""
    db.people("others", rows=["x"])
    return "\\x" + db.value("SELECT ssn FROM others").hex()


def refused_at(session, copy, data):
    """The context of the refusal."""
    with fails("22023") as caught, session.cursor().copy(copy) as into:
        into.write(data)
    return caught.value.diag.context


@pytest.mark.parametrize("copy, data, line", [
    ("COPY {} FROM STDIN", "1\t{n}\n2\t{n}\n3\t\\{v}\n4\t{n}\n", 3),
    # The line's number is that of the input: what stands in quotes may go over several, and may look like a context.
    ("COPY {} FROM STDIN (FORMAT csv, HEADER)", 'id,ssn\n1,"{n}\n, line 99: {n}"\n"2","{v}"\n', 4),
    # Rows that are left out count.
    ("COPY {} FROM STDIN WHERE id > 2", "1\t{n}\n2\t{n}\n3\t\\{v}\n", 3),
    # Another column stands there, too.
    ("COPY {} (ssn, id) FROM STDIN", "\\{v}\t77\n", 1),
])
def test_a_row_that_the_trigger_refuses_is_told_by_its_number(db, foreign, copy, data, line):
    """And not by what stands in it: neither to the client nor in the log."""
    db.people()
    db.people('"a, line b"')
    for table in ("people", '"a, line b"'):
        with db.connect() as session:
            context = refused_at(session, copy.format(table), data.format(n=NEEDLE, v=foreign))
            assert context == f"COPY {table.strip(chr(34))}, line {line}"
            # The session goes on as ever.
            assert session.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    log = db.cluster.log.read_text(errors="replace")
    assert NEEDLE not in log and foreign[2:60] not in log


def test_a_row_of_a_binary_copy_is_told_by_its_number(db, foreign):
    db.people()
    with db.connect() as session, fails("22023") as caught:
        with session.cursor().copy("COPY people FROM STDIN (FORMAT binary)") as into:
            into.set_types(["int4", "bytea"])
            into.write_row((1, NEEDLE.encode()))
            into.write_row((2, bytes.fromhex(foreign[2:])))
    assert caught.value.diag.context == "COPY people, line 2"


def test_a_row_of_a_partition_is_told_by_its_number(db, foreign):
    db.sql("CREATE TABLE parted (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT ON parted FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    with db.connect() as session:
        assert refused_at(session, "COPY parted FROM STDIN", f"1\tx\n2\t\\{foreign}\n") == "COPY parted, line 2"


def test_a_refusal_that_is_caught_leaves_the_number_right(db, foreign):
    """A trigger of the COPY's own table writes to the sealed one, catches the refusal and goes on; what fails later in
    the same COPY names its own line, and what fails in the next COPY is PostgreSQL's own as ever."""
    db.people()
    db.sql("CREATE TABLE incoming (id int, ssn bytea)")
    db.sql("CREATE FUNCTION pass_on() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
           "BEGIN INSERT INTO people VALUES (new.id, new.ssn); "
           "EXCEPTION WHEN invalid_parameter_value THEN new.ssn := NULL; END; RETURN new; END $$")
    db.sql("CREATE TRIGGER pass_on BEFORE INSERT ON incoming FOR EACH ROW EXECUTE FUNCTION pass_on()")
    with db.connect() as session:
        with pytest.raises(psycopg.Error) as caught, session.cursor().copy("COPY incoming FROM STDIN") as into:
            into.write(f"1\tx\n2\t\\{foreign}\n3\tx\nno number\tx\n")
        assert caught.value.sqlstate == "22P02" and caught.value.diag.context == "COPY incoming, line 4"
        with pytest.raises(psycopg.Error) as caught, session.cursor().copy("COPY incoming FROM STDIN") as into:
            into.write("1\tx\nno number\tx\n")
        assert caught.value.diag.context == 'COPY incoming, line 2, column id: "no number"'
        with session.cursor().copy("COPY incoming FROM STDIN") as into:
            into.write(f"1\tx\n2\t\\{foreign}\n3\tx\n")
        assert session.execute("SELECT id, ssn IS NULL FROM incoming").fetchall() == [(1, False), (2, True), (3, False)]
        assert session.execute("SELECT id FROM people").fetchall() == [(1,), (3,)]


def test_other_errors_of_copy_still_name_the_line(db):
    """What COPY says of a row that it cannot read is PostgreSQL's, and is left alone."""
    db.people(rows=["first"])
    with pytest.raises(psycopg.Error) as caught:
        with db.connect() as c, c.cursor().copy("COPY people FROM STDIN") as copy:
            copy.write_row((2, "x"))
            copy.write_row(("no number", "x"))
    assert caught.value.sqlstate == "22P02" and "line 2" in caught.value.diag.context


def forms(secret):
    """How bytes may be written, beside as they are."""
    return [secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret).rstrip(b"="),
            base64.urlsafe_b64encode(secret).rstrip(b"="), ", ".join(map(str, secret)).encode()]


def test_the_regression_suite_tells_no_key(own_cluster):
    """Every script of it, on a server that tells all it can: no data key, none derived from it and no KEK is in the log,
    in a catalog, in statistics of statements or anywhere else on disk."""
    c = own_cluster(conf=TALKATIVE).start()
    c.sql("CREATE DATABASE regression")
    c.sql("CREATE EXTENSION pg_stat_statements", dbname="regression")
    scripts = sorted((place.ROOT / "tests/pg_regress/sql").glob("*.sql"), key=lambda p: (p.stem != "setup", p.stem))
    for script in scripts:
        c.client("psql", "-qX", "-o", "/dev/null", "-f", script, dbname="regression")
    kek = (c.base / "data.kek" / "default.kek").read_bytes()
    secrets = [kek, reader.expand(kek, "envelope/1 wrap", 32)]
    for wrapped, context in c.sql("SELECT wrapped, kms_context FROM envelope.wrapped_key", dbname="regression"):
        dek = reader.unwrap(kek, bytes(wrapped), context)
        secrets += [dek, reader.expand(dek, "envelope/1 seal", 32)]
    assert len(secrets) > 20
    c.stop()
    assert files_holding_any([c.log, c.data], [form for secret in secrets for form in forms(secret)]) == []
    log = c.log.read_bytes()
    # The search finds what is told: a wrapped key in a statement's text would do.
    assert b"envelope audit: " in log and b"Query Text" in log


# Made while the statement runs, so that no statement's text holds it: who tells it has it from a value.
MADE = """CREATE FUNCTION needle() RETURNS text LANGUAGE sql VOLATILE AS
  $$ SELECT string_agg(chr(ascii(c) - 1), '' ORDER BY n)
     FROM regexp_split_to_table('{}', '') WITH ORDINALITY AS t (c, n) $$"""

# What succeeds.
WORK = """
INSERT INTO people SELECT i, convert_to(needle(), 'UTF8') FROM generate_series(1, 3) i
INSERT INTO people VALUES (1, convert_to(needle(), 'UTF8')) ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn
UPDATE people SET ssn = convert_to(needle() || needle(), 'UTF8') WHERE id = 2
INSERT INTO people SELECT 4, convert_to(repeat(needle(), 5000), 'UTF8')
UPDATE people SET ssn = envelope_encrypt_text('people', needle()) WHERE id = 3
SELECT envelope_decrypt_text('people', ssn) = needle() FROM people
SELECT count(*) FROM people WHERE envelope_decrypt('people', ssn) = convert_to(needle(), 'UTF8')
SELECT envelope_decrypt_text('people', envelope_encrypt_text('people', needle(), needle()), needle()) = needle()
SELECT envelope.inspect(ssn) FROM people
SELECT envelope.is_sealed(convert_to(needle(), 'UTF8'))
SELECT envelope.check()
EXPLAIN (ANALYZE, VERBOSE) SELECT envelope_decrypt_text('people', ssn) FROM people
ANALYZE people
CREATE TABLE copied AS SELECT ssn FROM people
"""

# What fails, with the SQLSTATE: of ours, or of PostgreSQL's over a sealed value.
FAILURES = r"""
22000 SELECT envelope_decrypt('people', convert_to(needle(), 'UTF8'))
22000 SELECT envelope_decrypt('people', envelope_encrypt_text('people', needle()), needle())
22000 SELECT envelope_decrypt('people', set_byte(ssn, 60, get_byte(ssn, 60) # 1)) FROM people WHERE id = 4
22000 INSERT INTO people SELECT 9, substr(ssn, 1, 50) || convert_to(needle(), 'UTF8') FROM people WHERE id = 1
22021 SELECT envelope_decrypt_text('people', envelope_encrypt('people', convert_to(needle(), 'UTF8') || '\xffff'))
54000 SELECT envelope_encrypt_text('people', 'x', repeat(needle(), 5000))
42704 INSERT INTO people SELECT 9, overlay(ssn PLACING convert_to(substr(needle(), 1, 4), 'UTF8') FROM 3) FROM people WHERE id = 1
42710 SELECT envelope.create_key('people', needle())
22023 SELECT envelope.create_key('empty', NULL, jsonb_build_array(needle()))
22023 SELECT envelope.set_limits('people', jsonb_build_object(needle(), 1))
22023 SELECT envelope.grant_key('people', 'postgres', needle())
23505 INSERT INTO people VALUES (1, convert_to(needle(), 'UTF8'))
23514 INSERT INTO people VALUES (-1, convert_to(needle(), 'UTF8'))
57014 SET statement_timeout = '200ms'; INSERT INTO people SELECT i, convert_to(needle(), 'UTF8') FROM generate_series(100, 1000000) i
"""


def test_a_value_is_told_by_nobody(own_cluster, database):
    """Sealed, opened, refused, cancelled, by whatever statement: a plaintext that the statement does not spell out is not
    in the log, in pg_stat_statements, in a heap, in the WAL, in statistics or in any other file."""
    c = own_cluster(conf=TALKATIVE).start()
    db = database(c)
    db.sql("CREATE EXTENSION pg_stat_statements")
    db.sql(MADE.format("".join(chr(ord(letter) + 1) for letter in NEEDLE)))
    db.people()
    db.sql("ALTER TABLE people ADD CHECK (id > 0); CREATE TABLE empty (v bytea)")
    with db.connect() as session:
        assert session.execute("SELECT needle()").fetchone() == (NEEDLE,)
        for statement in WORK.strip().splitlines():
            session.execute(statement)
        for line in FAILURES.strip().splitlines():
            sqlstate, statement = line.split(" ", 1)
            with fails(sqlstate):
                session.execute(statement)
    told = db.sql("SELECT query FROM pg_stat_statements")
    assert len(told) > 20 and not any(NEEDLE in query for query, in told)
    c.sql("CHECKPOINT")
    assert NEEDLE not in c.log.read_text(errors="replace")
    assert files_holding(c.data, NEEDLE.encode()) == []
    # What PostgreSQL itself tells of an opened value, the search finds.
    with fails("22P02"):
        db.sql("SELECT envelope_decrypt_text('people', ssn)::int FROM people WHERE id = 1")
    assert NEEDLE in c.log.read_text(errors="replace")
