"""envelope.verify: each value that does not open, one row, to the end of the table."""


import psycopg
import pytest
from harness import faults, process, sealed
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from harness.database import Database
from harness.work import Work
from sqlstate import fails

ROWS = 300


def verify(db, table="people", column="ssn", **kw):
    """What it finds, without the messages, in the table's order."""
    return db.sql("SELECT tid::text, row_key, key_id::text, sqlstate FROM envelope.verify(%s, %s) ORDER BY tid",
                  (table, column), **kw)


def states(db, table="people", column="ssn"):
    """SQLSTATE by primary key."""
    return dict(db.sql("SELECT row_key, sqlstate FROM envelope.verify(%s, %s)", (table, column)))


def past_the_trigger(db, *statements, table="people"):
    db.sql(f"ALTER TABLE {table} DISABLE TRIGGER seal")
    for statement in statements:
        db.sql(statement)
    db.sql(f"ALTER TABLE {table} ENABLE TRIGGER seal")


def fill(db, rows=ROWS):
    db.people()
    db.sql(f"INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(1, {rows}) g")


def test_a_sound_table_has_no_row(db):
    fill(db)
    db.sql("INSERT INTO people VALUES (1000, NULL), (1001, '')")
    db.sql("INSERT INTO people VALUES (1002, decode(repeat('00', 100000), 'hex'))")
    assert verify(db) == []
    db.sql("TRUNCATE people")
    assert verify(db) == []


def test_every_kind_of_damage(db):
    fill(db)
    db.people("others", ["theirs"])
    sealed.second_version(db.sql, "people")
    old = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.people' AND version = 1")
    db.sql("DELETE FROM people WHERE id <> 1")
    db.sql("INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(2, 30) g")
    past_the_trigger(
        db,
        "UPDATE people SET ssn = set_byte(ssn, 45, get_byte(ssn, 45) # 255) WHERE id = 7",
        "UPDATE people SET ssn = substr(ssn, 1, 40) WHERE id = 8",
        "UPDATE people SET ssn = '123-45-6789' WHERE id = 9",
        "UPDATE people SET ssn = '' WHERE id = 10",
        "UPDATE people SET ssn = set_byte(ssn, 10, get_byte(ssn, 10) # 1) WHERE id = 11",
        "UPDATE people SET ssn = (SELECT ssn FROM others) WHERE id = 12",
        "UPDATE people SET ssn = envelope_encrypt('people', 'bound', 'a context') WHERE id = 13")
    keys = dict(db.sql("SELECT id::text, envelope.key_id_of(ssn)::text FROM people"))
    expected = {"7": "22000", "8": "22000", "9": "23514", "10": "23514", "11": "42704", "12": "22023", "13": "22000"}
    found = verify(db)
    assert {key: state for _, key, _, state in found} == expected
    assert all(keys[key] == key_id for _, key, key_id, _ in found)
    places = dict(db.sql("SELECT id::text, ctid::text FROM people"))
    assert all(places[key] == tid for tid, key, _, _ in found)
    # No part of a value is in a message, nor its column's plaintext.
    messages = [m for m, in db.sql("SELECT message FROM envelope.verify('people', 'ssn')")]
    assert all(messages) and not any("6789" in m for m in messages)
    # By their keys' states.
    db.sql("SELECT envelope.retire_key(%s)", (old,))
    assert states(db) == {**expected, "1": "55000"}
    db.sql("SELECT envelope.destroy_key(%s, 'a test', shred => true)", (old,))
    assert states(db) == {**expected, "1": "55000"}


def test_versions_that_are_no_longer_taken(db):
    fill(db, 3)
    sealed.second_version(db.sql, "people")
    db.sql("UPDATE people SET ssn = 'new' WHERE id = 2")
    db.sql("SELECT envelope.set_minimum_version('people', 2)")
    assert states(db) == {"1": "55000", "3": "55000"}


def test_values_that_postgresql_cannot_read(db):
    """Out of line and without some of their parts: the rest of the table is still looked at, in the same statement."""
    db.sql("CREATE EXTENSION pg_surgery")
    db.people()
    db.sql("ALTER TABLE people ALTER ssn SET STORAGE EXTERNAL")
    db.sql("INSERT INTO people SELECT g, decode(repeat('00', 9000), 'hex') FROM generate_series(1, 20) g")
    toast = db.value("SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'people'::regclass")
    ids = [i for i, in db.sql(f"SELECT DISTINCT chunk_id FROM {toast} ORDER BY 1")]
    # All parts of one value, the last of others.
    for at, parts in ((4, "chunk_seq >= 0"), (9, "chunk_seq = 4"), (10, "chunk_seq = 1")):
        chunks = db.value(f"SELECT array_agg(ctid)::text FROM {toast} WHERE chunk_id = {ids[at]} AND {parts}")
        db.sql("SELECT heap_force_kill(%s, %s::tid[])", (toast, chunks))
    past_the_trigger(db, "UPDATE people SET ssn = 'plain' WHERE id = 15")
    assert states(db) == {"5": "XX001", "10": "XX001", "11": "XX001", "15": "23514"}
    # Nothing is left behind of the failed reads, and the transaction goes on.
    with db.connect() as c, c.transaction():
        notices = []
        c.add_notice_handler(lambda n: notices.append(n.message_primary))
        for _ in range(3):
            assert len(c.execute("SELECT * FROM envelope.verify('people', 'ssn')").fetchall()) == 4
        c.execute("INSERT INTO people VALUES (100, 'x')")
    assert notices == []
    assert db.value("SELECT count(*) FROM people WHERE id = 100") == 1


def test_the_row_is_named_by_its_primary_key(db):
    db.sql('CREATE TABLE "t x" (a text, "b c" int, v bytea, n text DEFAULT \'private\', PRIMARY KEY ("b c", a) INCLUDE (n))')
    db.sql("INSERT INTO \"t x\" VALUES ('it''s \"a\"', 7, 'plain')")
    db.sql("SELECT envelope.create_key('\"t x\"')")
    key, = db.sql("SELECT row_key::jsonb FROM envelope.verify('\"t x\"', 'v')")[0]
    assert key == {"a": 'it\'s "a"', "b c": "7"}
    db.sql("CREATE TABLE keyless (id int, v bytea)")
    db.sql("INSERT INTO keyless VALUES (1, 'plain')")
    db.sql("SELECT envelope.create_key('keyless')")
    assert [row[1] for row in verify(db, "keyless", "v")] == [None]
    # What is to be sealed is not shown, key or not.
    db.sql("CREATE TABLE own (id int, v bytea, PRIMARY KEY (id, v))")
    db.sql("INSERT INTO own VALUES (1, 'plain')")
    db.sql("SELECT envelope.create_key('own')")
    assert [row[1] for row in verify(db, "own", "v")] == [None]


def test_partitions_are_told_apart(db):
    db.sql("CREATE TABLE log (id int PRIMARY KEY, v bytea) PARTITION BY RANGE (id)")
    for i in range(3):
        db.sql(f"CREATE TABLE log_{i} PARTITION OF log FOR VALUES FROM ({i * 10}) TO ({i * 10 + 10})")
    db.sql("SELECT envelope.create_key('log')")
    db.sql("INSERT INTO log SELECT g, envelope_encrypt('log', 'x') FROM generate_series(0, 29) g")
    db.sql("UPDATE log SET v = 'plain' WHERE id IN (5, 25)")
    found = db.sql("SELECT row_key, sqlstate, message FROM envelope.verify('log', 'v') ORDER BY row_key")
    assert [row[:2] for row in found] == [("25", "23514"), ("5", "23514")]
    assert "log_2" in found[0][2] and "log_0" in found[1][2]
    # One of them by itself; a table that inherits is another table.
    assert states(db, "log_0", "v") == {"5": "23514"}
    db.people()
    db.sql("INSERT INTO people VALUES (1, 'x')")
    db.sql("CREATE TABLE heirs () INHERITS (people)")
    db.sql("INSERT INTO heirs VALUES (1, 'plain')")
    assert verify(db) == []


def test_a_partition_opens_with_what_it_had_before(db):
    db.sql("CREATE TABLE log (id int, v bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE own (id int, v bytea)")
    db.sql("INSERT INTO own SELECT 1, envelope_encrypt('own', 'x')")
    db.sql("SELECT envelope.create_key('log')")
    db.sql("ALTER TABLE log ATTACH PARTITION own FOR VALUES FROM (0) TO (10)")
    assert verify(db, "log", "v") == []


def test_rights(db):
    fill(db, 3)
    past_the_trigger(db, "UPDATE people SET ssn = 'plain' WHERE id = 2")
    with fails("42501"):
        verify(db, user=db.low)
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    # Also where no value would be opened.
    with fails("42501"):
        verify(db, user=db.low)
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    assert [row[1] for row in verify(db, user=db.low)] == ["2"]
    # Who may seal only learns nothing.
    db.sql(f"SELECT envelope.revoke_key('people', '{db.low}', 'decrypt')")
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'encrypt')")
    with fails("42501"):
        verify(db, user=db.low)


def test_no_right_on_an_empty_table(db):
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    with fails("42501"):
        verify(db, user=db.low)


def test_rows_that_a_policy_hides_are_an_error(db):
    fill(db, 10)
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    db.sql("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
    db.sql("CREATE POLICY half ON people USING (id < 5)")
    with fails("42501"):
        verify(db, user=db.low)
    assert verify(db) == []


def test_no_function_of_the_tables_owner_runs(db):
    """Not a cast of a type of theirs that the key is of."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    for statement in (
            "CREATE TYPE colour AS ENUM ('red')",
            "CREATE FUNCTION spy(colour) RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'as %', current_user; END$$",
            "CREATE CAST (colour AS text) WITH FUNCTION spy(colour) AS IMPLICIT",
            "CREATE FUNCTION spy_json(colour) RETURNS json LANGUAGE plpgsql AS $$BEGIN RAISE 'as %', current_user; END$$",
            "CREATE CAST (colour AS json) WITH FUNCTION spy_json(colour)",
            "CREATE TABLE paint (c colour, n int, v bytea, PRIMARY KEY (c, n))",
            "CREATE TABLE paint_1 (c colour PRIMARY KEY, v bytea)",
            "INSERT INTO paint VALUES ('red', 1, 'plain')",
            "INSERT INTO paint_1 VALUES ('red', 'plain')",
            "SELECT envelope.create_key('paint')",
            "SELECT envelope.create_key('paint_1')"):
        db.sql(statement, user=db.low)
    assert len(verify(db, "paint", "v")) == len(verify(db, "paint_1", "v")) == 1


@pytest.mark.parametrize("relation, column, state", [
    ("people", "id", "42804"), ("people", "nothing", "42703"), ("shows", "ssn", "42809"), ("0", "ssn", "42P01"),
    (None, "ssn", "22023"), ("people", None, "22023"), ("kept", "ssn", "42809")])
def test_what_cannot_be_verified(db, relation, column, state):
    fill(db, 3)
    db.sql("CREATE VIEW shows AS TABLE people")
    db.sql("CREATE MATERIALIZED VIEW kept AS TABLE people")
    with fails(state):
        verify(db, relation, column)


def test_a_kms_that_is_away_is_no_damage(aws, proxy):
    fill(aws, 5)
    past_the_trigger(aws, "UPDATE people SET ssn = 'plain' WHERE id = 1")
    proxy.fault("*", faults.reset)
    with fails("58030"):
        verify(aws)
    proxy.clear()
    assert states(aws) == {"1": "23514"}


def test_on_a_standby_and_in_a_read_only_transaction():
    primary = Cluster()
    primary.set(envelope__file_kek_directory=primary.base / "kek")
    with primary, BaseBackup(primary, standby=True) as standby:
        db = Database(primary)
        fill(db, 5)
        past_the_trigger(db, "UPDATE people SET ssn = 'plain' WHERE id = 4",
                         "UPDATE people SET ssn = decode(repeat('00', 50000), 'hex') WHERE id = 5")
        standby.caught_up()
        query = "SELECT row_key FROM envelope.verify('people', 'ssn') ORDER BY 1"
        assert standby.sql(query, dbname=db.name) == [("4",), ("5",)]
        with db.connect() as c:
            c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            assert c.execute(query).fetchall() == [("4",), ("5",)]


def test_it_can_be_cancelled(db):
    fill(db, 200_000)
    with db.connect() as c:
        pid = c.info.backend_pid
        running = Work(lambda: c.execute("SELECT count(*) FROM envelope.verify('people', 'ssn')"))
        process.wait_until(lambda: db.value("SELECT state = 'active' AND query LIKE '%%verify%%' FROM pg_stat_activity "
                                            "WHERE pid = %s", (pid,)), "it runs")
        db.sql("SELECT pg_cancel_backend(%s)", (pid,))
        assert running.error().sqlstate == "57014"
