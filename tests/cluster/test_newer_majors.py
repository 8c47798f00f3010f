"""What later majors brought and sealed tables meet. On an earlier major the same statement is refused."""

import json
import threading

import psycopg
import pytest
from harness import place
from harness.disk import files_holding
from harness.work import Work
from sqlstate import fails

MAJOR = place.major()
NEEDLE = "a-plaintext-of-later-majors"
OPENED = "SELECT id, envelope_decrypt_text('people', ssn) FROM people ORDER BY id"


# -- 17 and 19: COPY that goes on ------------------------------------------------------------------------------------


def copy(session, options, *lines):
    with session.cursor().copy(f"COPY people FROM STDIN ({options})") as into:
        into.write("".join(line + "\n" for line in lines))


def test_a_bad_literal_becomes_null(db):
    """What bytea cannot read is no plaintext: the trigger sees NULL, and a nullable column keeps that. Unless asked to be
    verbose PostgreSQL says how many rows, and not what stood in them."""
    db.people()
    bad = f"1\t\\\\d{NEEDLE}"
    with db.connect() as session:
        told = []
        session.add_notice_handler(lambda notice: told.append(str(notice.message_primary)))
        if MAJOR < 19:
            # An unknown option before 17, another one's value after.
            with fails("42601" if MAJOR < 17 else "22023"):
                copy(session, "ON_ERROR set_null", bad)
            return
        copy(session, "ON_ERROR set_null", bad, "2\tgood")
        assert db.sql(OPENED) == [(1, None), (2, "good")]
        assert told and NEEDLE not in "".join(told)
        copy(session, "ON_ERROR set_null, LOG_VERBOSITY verbose", bad.replace("1", "3"))
        assert NEEDLE in "".join(told)
        # NOT NULL refuses it, and PostgreSQL shows the literal: the trigger is through by then.
        db.sql("DELETE FROM people; ALTER TABLE people ALTER ssn SET NOT NULL")
        with fails("23502"):
            copy(session, "ON_ERROR set_null", "4\tgood", bad)
        assert db.sql(OPENED) == []


# -- 18: NOT ENFORCED ------------------------------------------------------------------------------------------------


def test_check_says_which_constraint_is_not_enforced(db):
    """Such a CHECK lets plaintext in. From 19 on one that was enforced can be changed, either way."""
    db.sql("CREATE SCHEMA s")
    made = ('CREATE TABLE s.t (id int, v bytea, CONSTRAINT "is it" CHECK (envelope.is_sealed(v)) NOT ENFORCED, '
            "CONSTRAINT other CHECK (id > 0) NOT ENFORCED)")
    if MAJOR < 18:
        with fails("42601"):
            db.sql(made)
        return
    found = "SELECT relation, ok, sqlstate, message ~ 'constraint \"is it\" of' FROM envelope.check() WHERE relation ~ '^s'"
    db.sql(made)
    db.sql("INSERT INTO s.t VALUES (1, 'in clear')")
    assert db.sql(found) == [("s.t", False, "55000", True)]
    enforce = 'ALTER TABLE s.t ALTER CONSTRAINT "is it" {} ENFORCED'
    if MAJOR < 19:
        with fails("42809"):
            db.sql(enforce.format(""))
    else:
        with fails("23514"):
            db.sql(enforce.format(""))
        db.sql("DELETE FROM s.t")
        db.sql(enforce.format(""))
        assert db.sql(found) == []
        db.sql(enforce.format("NOT"))
        assert db.sql(found) == [("s.t", False, "55000", True)]
    # Once in a partitioned table. Others are told of what they own.
    db.sql(f"CREATE TABLE s.p (v bytea, CONSTRAINT \"is it\" CHECK (envelope.is_sealed(v)) NOT ENFORCED) "
           f"PARTITION BY LIST (v); CREATE TABLE s.part PARTITION OF s.p DEFAULT; ALTER TABLE s.p OWNER TO {db.low}")
    assert {row[0] for row in db.sql(found)} == {"s.t", "s.p"}
    assert db.sql(found, user=db.low) == [("s.p", False, "55000", True)]
    db.sql("DROP SCHEMA s CASCADE")


# -- 18: NOT NULL of new rows only -----------------------------------------------------------------------------------


def test_a_not_null_that_is_not_proved(db):
    """Rows from before may hold NULL: no view finds them by that column, and no value is bound to it."""
    db.people(rows=["one"])
    db.sql("ALTER TABLE people DROP CONSTRAINT people_pkey, ADD tenant int UNIQUE")
    made = "ALTER TABLE people ADD CONSTRAINT has_tenant NOT NULL tenant NOT VALID"
    if MAJOR < 18:
        with fails("42601"):
            db.sql(made)
        return
    db.sql(made)
    bind = "SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{tenant}')"
    opened = "SELECT envelope.open_view('people', 'opened', write => 'triggers', execute => true)"
    for wanted in (bind, opened):
        with fails("55000"):
            db.sql(wanted)
    db.sql("TRUNCATE people; ALTER TABLE people VALIDATE CONSTRAINT has_tenant")
    db.sql(bind)
    db.sql(opened)


# -- 18: RETURNING old and new ---------------------------------------------------------------------------------------

RETURNING = [
    ("INSERT INTO people VALUES (2, 'two') {}", (None, "two")),
    ("UPDATE people SET ssn = 'another' WHERE id = 1 {}", ("one", "another")),
    ("INSERT INTO people VALUES (1, 'another') ON CONFLICT (id) DO UPDATE SET ssn = excluded.ssn {}", ("one", "another")),
    ("DELETE FROM people WHERE id = 1 {}", ("one", None)),
    ("MERGE INTO people p USING (VALUES (1, 'another'::bytea)) AS v (id, ssn) ON p.id = v.id "
     "WHEN MATCHED THEN UPDATE SET ssn = v.ssn {}", ("one", "another")),
]


@pytest.mark.parametrize("statement, opened", RETURNING)
def test_returning_old_and_new_gives_sealed_values(db, statement, opened):
    """Both are as they are stored: what the statement wrote comes back sealed."""
    db.people(rows=["one"])
    stored = db.value("SELECT ssn FROM people")
    if MAJOR < 18:
        with fails("42P01" if not statement.startswith("MERGE") else ("42601" if MAJOR < 17 else "42P01")):
            db.sql(statement.format("RETURNING old.ssn, new.ssn"))
        return
    with db.connect() as session:
        old, new = session.execute(statement.format("RETURNING old.ssn, new.ssn")).fetchone()
        assert [value and session.execute("SELECT envelope.is_sealed(%s), envelope_decrypt_text('people', %s)",
                                          (value, value)).fetchone() for value in (old, new)] == [
            text and (True, text) for text in opened]
        assert old in (None, stored)
        assert new is None or (new,) in session.execute("SELECT ssn FROM people").fetchall()


# -- 18: statistics that travel --------------------------------------------------------------------------------------


def test_a_dump_with_statistics_has_what_an_index_has_opened(own_cluster, database):
    """In clear, and so has a cluster that pg_upgrade made of it: check() has said so. Before 18 none are taken along."""
    old = own_cluster().start()
    db = database(old)
    db.people()
    db.sql(f"INSERT INTO people SELECT i, '{NEEDLE}' FROM generate_series(1, 100) i")
    db.sql("CREATE FUNCTION opened(v bytea) RETURNS text LANGUAGE sql IMMUTABLE AS "
           "$$ SELECT public.envelope_decrypt_text('public.people', v) $$")
    db.sql("CREATE INDEX people_ssn ON people (opened(ssn)); CREATE STATISTICS of_ssn ON (opened(ssn)) FROM people")
    assert db.sql("SELECT sqlstate, count(*) FROM envelope.check() WHERE NOT ok GROUP BY 1") == [("55000", 2)]
    db.sql("ANALYZE people")
    sampled = ("SELECT most_common_vals::text FROM pg_stats WHERE tablename = 'people_ssn' UNION ALL "
               "SELECT most_common_vals::text FROM pg_stats_ext_exprs WHERE most_common_vals IS NOT NULL")
    both = [(f"{{{NEEDLE}}}",)] * 2
    assert db.sql(sampled) == both
    assert NEEDLE not in old.client("pg_dump", dbname=db.name)
    if MAJOR < 18:
        with pytest.raises(RuntimeError, match="statistics"):
            old.client("pg_dump", "--statistics", dbname=db.name)
    else:
        assert NEEDLE in old.client("pg_dump", "--statistics", dbname=db.name)
    old.stop()
    new = own_cluster()
    new.upgrade_from(old)
    new.start()
    # From 19 on what CREATE STATISTICS has collected, too.
    assert new.sql(sampled, dbname=db.name) == both[:max(0, MAJOR - 17)]
    # Without the two the samples go.
    new.sql("DROP INDEX people_ssn; DROP STATISTICS of_ssn", dbname=db.name)
    assert new.sql("SELECT * FROM envelope.check() WHERE NOT ok", dbname=db.name) == []
    new.sql("VACUUM FULL pg_statistic", dbname=db.name)
    new.sql("VACUUM FULL pg_statistic_ext_data", dbname=db.name)
    new.sql("CHECKPOINT")
    assert [path for path in files_holding(new.data / "base", NEEDLE.encode())] == []


# -- 19: REPACK ------------------------------------------------------------------------------------------------------


def test_repack_beside_writers_rotation_and_reencryption(db):
    """The table and the tables of keys are written anew while others write, rotate, bring values to the active key and
    count: no value is lost, no key is missing for a moment, and nothing is left under an older key at the end."""
    db.people()
    repack = "REPACK (CONCURRENTLY) {}"
    if MAJOR < 19:
        with fails("42601"):
            db.sql(repack.format("people"))
        return
    rows = 2000
    db.sql(f"INSERT INTO people SELECT i, convert_to('v' || i, 'UTF8') FROM generate_series(1, {rows}) i")
    expected = {i: f"v{i}" for i in range(1, rows + 1)}
    over = threading.Event()

    def write(first):
        number = 0
        with db.connect() as session:
            while not over.is_set():
                number += 1
                at = 1 + (first + 4 * number) % rows
                text = f"w{first}-{number}" * (1 + number % 300)
                session.execute("UPDATE people SET ssn = %s WHERE id = %s", (text.encode(), at))
                expected[at] = text
        return number

    def rotate():
        times = 0
        with db.connect() as session:
            while not over.is_set():
                times += 1
                try:
                    session.execute("SELECT envelope.rotate_key('people')")
                except psycopg.errors.SerializationFailure:
                    # A table of keys was exchanged while it waited to write there: nothing was done.
                    continue
                session.execute("CALL envelope.reencrypt('people', 'ssn', 50)")
                assert session.execute("SELECT sum(rows) FROM envelope.census('people', 'ssn')").fetchone() == (rows,)
        return times

    works = [Work(write, 1), Work(write, 3), Work(rotate)]
    try:
        with db.connect() as session:
            for table in ("people", "envelope.data_key", "envelope.wrapped_key", "envelope.keyring_table") * 3:
                session.execute(repack.format(table))
                for work in works:
                    assert work.is_alive(), work.result()
    finally:
        over.set()
    assert all(work.result() > 0 for work in works)
    assert dict(db.sql(OPENED)) == expected
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert db.sql("SELECT state, rows FROM envelope.census('people', 'ssn') WHERE rows > 0") == [("active", rows)]
    assert db.sql("SELECT * FROM envelope.check() WHERE NOT ok") == []
    db.sql("REPACK people")
    assert dict(db.sql(OPENED)) == expected
    # A table whose whole old row identifies it is not for it, and one without any such key neither.
    for identity in ("FULL", "NOTHING"):
        db.sql(f"ALTER TABLE people REPLICA IDENTITY {identity}")
        with fails("55000"):
            db.sql(repack.format("people"))


# -- 19: ON CONFLICT DO SELECT ---------------------------------------------------------------------------------------


def test_on_conflict_do_select_gives_what_is_stored(db):
    """Sealed, and opened by whom the key was granted to alone. What was to be inserted is sealed and goes."""
    db.people(rows=["one"])
    stored = db.value("SELECT ssn FROM people")
    db.sql(f"GRANT SELECT, INSERT, UPDATE ON people TO {db.low}; SELECT envelope.grant_key('people', '{db.low}', 'encrypt')")
    insert = "INSERT INTO people VALUES (1, 'another') ON CONFLICT (id) DO SELECT {} RETURNING {}"
    if MAJOR < 19:
        with fails("42601"):
            db.sql(insert.format("", "ssn"))
        return
    for lock in ("", "FOR UPDATE"):
        assert db.sql(insert.format(lock, "ssn"), user=db.low) == [(stored,)]
        assert db.sql(insert.format(lock, "envelope_decrypt_text('people', ssn)")) == [("one",)]
        with fails("42501"):
            db.sql(insert.format(lock, "envelope_decrypt_text('people', ssn)"), user=db.low)
    assert db.sql(OPENED) == [(1, "one")] and db.value("SELECT ssn FROM people") == stored


# -- 19: COPY as JSON ------------------------------------------------------------------------------------------------


def test_copy_as_json_brings_sealed_values(db):
    """As bytea's text, which a table that has the key takes back as it is."""
    db.people(rows=[NEEDLE, "two"])
    with db.connect() as session:
        out = session.cursor().copy("COPY people TO STDOUT (FORMAT json)")
        if MAJOR < 19:
            # JSON is a word of the grammar from 16 on.
            with fails("22023" if MAJOR < 16 else "42601"), out:
                pass
            return
        with out as lines:
            written = b"".join(map(bytes, lines)).decode()
    rows = [json.loads(line) for line in written.splitlines()]
    assert NEEDLE not in written and [row["id"] for row in rows] == [1, 2]
    stored = db.sql("SELECT ssn FROM people ORDER BY id")
    assert [bytes.fromhex(row["ssn"][2:]) for row in rows] == [value for value, in stored]
    db.sql("TRUNCATE people")
    for row in rows:
        db.sql("INSERT INTO people SELECT * FROM json_populate_record(NULL::people, %s)", (json.dumps(row),))
    assert db.sql("SELECT ssn FROM people ORDER BY id") == stored
    assert db.sql(OPENED) == [(1, NEEDLE), (2, "two")]
