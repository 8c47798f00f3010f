"""From a column of plaintext to a sealed one and back: envelope.plan, protect, unprotect."""

import json
import re
import threading
import time

import pytest
from harness import place
from harness.keyrings import notices
from sqlstate import fails


def plan(db, table, columns, **options):
    """The steps: (sql, lock, remark)."""
    return db.sql("SELECT sql, lock, remark FROM envelope.plan(%s::text::regclass, %s::name[], %s::jsonb) ORDER BY step",
                  (table, columns, json.dumps(options)))


def column(db, table, name):
    """Type, NOT NULL and DEFAULT of a column; None when it is not there."""
    rows = db.sql(
        "SELECT format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute LEFT JOIN pg_attrdef "
        "ON adrelid = attrelid AND adnum = attnum WHERE attrelid = %s::text::regclass AND attname = %s AND NOT attisdropped",
        (table, name))
    return rows[0] if rows else None


def shape(db, table):
    """All of a table that adoption and its way back touch."""
    return db.sql(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull, attacl::text, attstorage, attcompression, attcollation, "
        "pg_get_expr(adbin, adrelid), col_description(attrelid, attnum) FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = "
        "attrelid AND adnum = attnum WHERE attrelid = %s::text::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname",
        (table,)) + db.sql(
        # From 18 on a NOT NULL has a name, which it keeps when its column gets another one.
        "SELECT CASE contype WHEN 'n' THEN '' ELSE conname END, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = %s::text::regclass ORDER BY 1, 2",
        (table,)) + db.sql("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::text::regclass", (table,)) + db.sql(
        "SELECT column_name FROM envelope.sealed_columns")


def seals(db, table, name):
    """Whether all that is in the column is sealed, a CHECK proves it and plaintext cannot get in."""
    [(unsealed, count)] = db.sql(f"SELECT count(*) FILTER (WHERE NOT envelope.is_sealed({name})), count({name}) FROM {table}")
    assert unsealed == 0 and count > 0
    assert db.value("SELECT count(*) FROM pg_constraint WHERE conrelid = %s::text::regclass AND contype = 'c' AND "
                    "convalidated AND pg_get_constraintdef(oid) LIKE '%%envelope.is_sealed%%'", (table,)) >= 1
    return True


@pytest.mark.parametrize("kind, values, opened", [
    ("text", ["'123-45-6789'", "NULL", "''", r"'C:\101'", "'Zoë'"], "envelope_decrypt_text('t', v)"),
    ("varchar(20)", ["'123-45-6789'", "NULL"], "envelope_decrypt_text('t', v)"),
    ("bytea", ["decode('00ff', 'hex')", "NULL"], "envelope_decrypt('t', v)"),
    ("date", ["'2020-02-29'", "'0044-03-15 BC'", "NULL"], "envelope_decrypt_as('t', v, NULL::date)::text"),
    ("numeric(10,2)", ["'1.50'", "'-0.01'", "NULL"], "envelope_decrypt_as('t', v, NULL::numeric)"),
])
def test_protect_in_place(db, kind, values, opened):
    db.sql(f"CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v {kind})")
    before = shape(db, "t")
    db.sql("INSERT INTO t (v) VALUES " + ", ".join(f"({value})" for value in values))
    shown = "SELECT v::text FROM t ORDER BY id" if kind == "date" else "SELECT v FROM t ORDER BY id"
    plain = db.sql(shown)
    db.sql("SELECT envelope.protect('t', 'v')")
    assert column(db, "t", "v")[0] == "envelope.sealed" and seals(db, "t", "v")
    assert db.sql(f"SELECT {opened} FROM t ORDER BY id") == plain
    db.sql(f"INSERT INTO t (v) VALUES ({values[0]})")
    assert db.sql(f"SELECT {opened} FROM t ORDER BY id") == plain + plain[:1] and seals(db, "t", "v")
    # Once more is nothing.
    with db.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.protect('t', 'v')")
        assert [severity for severity, *_ in got] == ["NOTICE"]
    assert plan(db, "t", ["v"], form="sealed", type=kind) == []
    with fails("42710"):
        db.sql("SELECT envelope.protect('t', 'v', mask => 'last4')")
    db.sql("SELECT envelope.unprotect('t', 'v')")
    assert shape(db, "t") == before and db.sql(shown) == plain + plain[:1]


def test_protect_by_a_source(db):
    """A column that keeps its type, and is empty from then on."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, born date NOT NULL)")
    db.sql("INSERT INTO t VALUES (1, '2020-02-29'), (2, '1970-01-01')")
    db.sql(f"GRANT SELECT (born), UPDATE (born) ON t TO {db.low} WITH GRANT OPTION")
    db.sql("COMMENT ON COLUMN t.born IS 'day'")
    before = shape(db, "t")
    db.sql("SELECT envelope.protect('t', 'born', form => 'source')")
    opened = "SELECT id, born, envelope_decrypt_as('t', born_sealed, NULL::date)::text FROM t ORDER BY id"
    assert db.sql(opened) == [(1, None, "2020-02-29"), (2, None, "1970-01-01")]
    assert column(db, "t", "born_sealed") == ("envelope.sealed", True, None) and column(db, "t", "born")[1] is False
    assert db.value("SELECT attacl::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'born_sealed'") \
        == db.value("SELECT attacl::text FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'born'")
    db.sql("SELECT envelope.unprotect('t', 'born')")
    assert shape(db, "t") == before and db.sql("SELECT id, born::text FROM t ORDER BY id") == [
        (1, "2020-02-29"), (2, "1970-01-01")]
    with fails("42704"):
        db.sql("SELECT envelope.unprotect('t', 'born')")


def test_a_table_of_a_name_that_was_dropped_has_no_key(db):
    """It is made before anything is locked, and not by the first value."""
    db.people("t", ["x"])
    db.sql("DROP TABLE t; CREATE TABLE t (id int, v text)")
    assert plan(db, "t", ["v"])[0][0] == "SELECT envelope.create_key('public.t')"


def test_floats_come_back_whole(db):
    """Also as text, whatever the session's settings."""
    db.sql("CREATE TABLE t (id int, v float8)")
    db.sql("INSERT INTO t VALUES (1, 0.1234567890123456)")
    db.sql("SELECT envelope.protect('t', 'v')")
    with db.connect() as c:
        c.execute("SET extra_float_digits = -10")
        c.execute("SELECT envelope.unprotect('t', 'v', 'text')")
    assert db.sql("SELECT v FROM t") == [("0.1234567890123456",)]


def test_what_stands_on_the_column_is_carried_over(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL DEFAULT 'none', w text DEFAULT 'x')")
    db.sql("ALTER TABLE t ALTER v SET STORAGE EXTERNAL, ALTER v SET STATISTICS 7, ALTER v SET COMPRESSION pglz, "
           "REPLICA IDENTITY FULL")
    db.sql(f"GRANT SELECT (v) ON t TO {db.low}")
    db.sql("COMMENT ON COLUMN t.v IS 'it''s'")
    db.sql("INSERT INTO t (id) VALUES (1)")
    before = shape(db, "t")
    db.sql("SELECT envelope.protect('t', 'v')")
    db.sql("SELECT envelope.protect('t', 'w', form => 'bytea')")
    db.sql("INSERT INTO t (id) VALUES (2)")
    assert db.sql("SELECT envelope_decrypt_text('t', v), envelope_decrypt_text('t', w) FROM t") == [("none", "x")] * 2
    assert column(db, "t", "v")[1] and seals(db, "t", "v") and seals(db, "t", "w")
    [(storage, compression, target, acl, comment)] = db.sql(
        "SELECT attstorage, attcompression, attstattarget, attacl::text, col_description(attrelid, attnum) FROM pg_attribute "
        "WHERE attrelid = 't'::regclass AND attname = 'v'")
    assert (storage, compression, target, comment) == ("e", "p", 7, "it's") and db.low in acl
    with fails("23502"):
        db.sql("INSERT INTO t VALUES (3, NULL)")
    assert db.sql("SELECT tgname, tgargs FROM pg_trigger WHERE tgrelid = 't'::regclass") == [
        ("envelope_seal", b"v\0w\0")]
    db.sql("SELECT envelope.unprotect('t', 'v')")
    db.sql("INSERT INTO t (id) VALUES (3)")
    db.sql("SELECT envelope.unprotect('t', 'w')")
    db.sql("INSERT INTO t (id) VALUES (4)")
    assert db.sql("SELECT v, w FROM t ORDER BY id") == [("none", "x")] * 4
    now = [row[:4] + row[5:] for row in shape(db, "t") if len(row) > 2]
    # What ALTER TYPE makes of the expression of a DEFAULT reads otherwise.
    assert [row[:6] for row in now] == [(row[:4] + row[5:])[:6] for row in before if len(row) > 2]


OBSTACLES = {
    "PRIMARY KEY": ("ALTER TABLE t ADD PRIMARY KEY (v)", "2BP01"),
    "UNIQUE": ("ALTER TABLE t ADD UNIQUE (v)", "2BP01"),
    "exclusion": ("ALTER TABLE t ADD EXCLUDE USING btree (v WITH =)", "2BP01"),
    "CHECK": ("ALTER TABLE t ADD CHECK (length(v) < 12)", "2BP01"),
    "index": ("CREATE INDEX ON t (lower(v))", "2BP01"),
    "partial index": ("CREATE INDEX ON t (id) WHERE v > ''", "2BP01"),
    "replica identity": ("ALTER TABLE t ALTER v SET NOT NULL; CREATE UNIQUE INDEX u ON t (v); ALTER TABLE t REPLICA "
                         "IDENTITY USING INDEX u", "2BP01"),
    "FOREIGN KEY": ("CREATE TABLE o (v text PRIMARY KEY); INSERT INTO o SELECT v FROM t; ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES o", "2BP01"),
    "referenced": ("ALTER TABLE t ADD UNIQUE (v); CREATE TABLE o (v text REFERENCES t (v))", "2BP01"),
    "generated": ("ALTER TABLE t ADD g text GENERATED ALWAYS AS (v || 'x') STORED", "2BP01"),
    "view": ("CREATE VIEW w AS SELECT * FROM t", "2BP01"),
    "materialized view": ("CREATE MATERIALIZED VIEW w AS SELECT v FROM t", "2BP01"),
    "rule": ("CREATE TABLE o (v text); CREATE RULE r AS ON INSERT TO t DO ALSO INSERT INTO o VALUES (NEW.v)", "2BP01"),
    "policy": ("CREATE POLICY p ON t USING (v = current_user)", "2BP01"),
    "statistics": ("CREATE STATISTICS s ON id, v FROM t", "2BP01"),
    "sequence": ("CREATE SEQUENCE s OWNED BY t.v", "2BP01"),
    "trigger": ("CREATE TRIGGER a BEFORE UPDATE OF v ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
                "2BP01"),
    "function": ("CREATE FUNCTION f() RETURNS text RETURN (SELECT max(v) FROM t)", "2BP01"),
    "row type": ("CREATE TABLE o (r t)", "2BP01"),
    "heir": ("CREATE TABLE o () INHERITS (t)", "2BP01"),
    "partition key": ("DROP TABLE t; CREATE TABLE t (id int, v text) PARTITION BY LIST (v)", "0A000"),
    "partition key, by an expression": ("DROP TABLE t; CREATE TABLE t (id int, v text) PARTITION BY LIST (lower(v))", "0A000"),
    "generated itself": ("ALTER TABLE t DROP v, ADD v int GENERATED ALWAYS AS (id + 1) STORED", "0A000"),
}


if place.major() >= 15:
    OBSTACLES["publication of some rows"] = ("CREATE PUBLICATION p FOR TABLE t WHERE (v > '')", "2BP01")
    OBSTACLES["publication of some columns"] = ("CREATE PUBLICATION p FOR TABLE t (id, v)", "2BP01")


@pytest.mark.parametrize("what", OBSTACLES)
def test_what_is_not_carried_over_is_refused_before_anything_changes(db, what):
    make, sqlstate = OBSTACLES[what]
    db.sql("CREATE TABLE t (id int, v text)")
    db.sql("INSERT INTO t VALUES (1, '123-45-6789')")
    for statement in make.split("; "):
        db.sql(statement)
    before = shape(db, "t")
    for form in ("sealed", "source"):
        with fails(sqlstate) as caught:
            db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
        assert shape(db, "t") == before and db.value("SELECT count(*) FROM envelope.keys") == 0
        with fails(sqlstate):
            plan(db, "t", ["v"], form=form, online=False)
    # The statements of the HINT take it away.
    hint = caught.value.diag.message_hint
    if what in ("row type", "generated itself") or "key, by" in what or what == "partition key":
        return
    for statement in hint.split(" First: ")[1].removesuffix(".").split("; "):
        db.sql(statement)
    form = "source" if "index" in what else "sealed"
    db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
    assert seals(db, "t", "v" if form == "sealed" else "v_sealed")


def test_everything_in_the_way_is_named_at_once(db):
    db.sql("CREATE TABLE t (id int, v text UNIQUE CHECK (v > ''))")
    db.sql("CREATE VIEW w AS SELECT v FROM t")
    with fails("2BP01") as caught:
        db.sql("SELECT envelope.protect('t', 'v')")
    assert len(caught.value.diag.message_detail.splitlines()) == 3
    assert len(caught.value.diag.message_hint.split("; ")) == 3


def test_source_needs_a_column_that_can_be_empty(db):
    db.sql("CREATE DOMAIN day AS date NOT NULL")
    db.sql("CREATE TABLE t (a date DEFAULT now(), b day, c int GENERATED ALWAYS AS IDENTITY)")
    for name in "abc":
        with fails("0A000"):
            db.sql("SELECT envelope.protect('t', %s, form => 'source')", (name,))


class Writers:
    """Applications that write and read at once while a plan runs: an old version that knows plaintext alone, and a new one
    that opens. Each row says in `copy` what its protected column must say."""

    def __init__(self, db):
        self.db, self.stop, self.failed, self.threads, self.written = db, {}, [], [], 0

    def start(self, name, read, write="v"):
        self.stop[name] = threading.Event()
        thread = threading.Thread(target=self._run, args=(name, read, write))
        self.threads.append((name, thread))
        thread.start()

    def _run(self, name, read, write):
        try:
            with self.db.connect() as c:
                number = 0
                while not self.stop[name].is_set():
                    number += 1
                    text = f"{name}-{number}"
                    if number % 3:
                        c.execute(f"UPDATE t SET {write} = %s, copy = %s WHERE id = %s", (text, text, number % 40 + 1))
                    else:
                        c.execute(f"INSERT INTO t ({write}, copy) VALUES (%s, %s)", (text, text))
                    row = c.execute(f"SELECT {read}, copy FROM t WHERE id = %s", (number * 7 % 40 + 1,)).fetchone()
                    assert row is None or row[0] == row[1], row
                    self.written += 1
        except Exception as error:
            self.failed.append(f"{name}: {error!r}")

    def end(self, name):
        self.stop[name].set()
        for other, thread in self.threads:
            if other == name:
                thread.join()
        assert not self.failed, self.failed


def gexec(db, steps):
    """Runs the steps as psql's \\gexec does: each statement by itself, nothing where there is none."""
    with db.connect() as c:
        c.execute("SET lock_timeout = '60s'")
        for sql, *_ in steps:
            if sql is not None:
                c.execute(sql)


def split(steps):
    """Before and after the step at which the application changes."""
    at = next(i for i, (sql, _, remark) in enumerate(steps) if sql is None and "application" in remark)
    return steps[:at], steps[at + 1:]


@pytest.mark.parametrize("bind", [[], ["id"]])
def test_online_by_a_source_while_two_versions_write(db, bind):
    db.sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text NOT NULL, copy text)")
    db.sql("INSERT INTO t (v, copy) SELECT 'old' || g, 'old' || g FROM generate_series(1, 500) g")
    context = ", envelope.row_context('t', 'v_sealed', id::text)" if bind else ""
    new = f"envelope_decrypt_text('t', v_sealed{context})"
    before, after = split(plan(db, "t", ["v"], form="source", online=True, bind=bind))
    writers = Writers(db)
    writers.start("first", "v")
    gexec(db, before)
    writers.start("second", new)
    while writers.written < 300 and not writers.failed:
        time.sleep(0.01)
    writers.end("first")
    gexec(db, after)
    writers.end("second")
    assert db.value(f"SELECT count(*) FROM t WHERE {new} IS DISTINCT FROM copy") == 0
    assert db.value("SELECT count(*) FROM t WHERE v IS NOT NULL") == 0 and db.value("SELECT count(*) FROM t") > 500
    assert column(db, "t", "v_sealed") == ("envelope.sealed", True, None) and seals(db, "t", "v_sealed")
    assert db.sql("SELECT * FROM envelope.verify('t', 'v_sealed')") == []
    assert plan(db, "t", ["v"], form="source", online=True, bind=bind) == []
    with fails("23514"):
        db.sql("ALTER TABLE t DISABLE TRIGGER USER; INSERT INTO t (v, v_sealed) SELECT 'x', v_sealed FROM t LIMIT 1")


@pytest.mark.parametrize("form, bind", [("sealed", []), ("sealed", ["id"]), ("bytea", [])])
def test_online_under_the_same_name(db, form, bind):
    db.sql("CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text NOT NULL DEFAULT 'd', copy text DEFAULT 'd')")
    db.sql("INSERT INTO t (v, copy) SELECT 'old' || g, 'old' || g FROM generate_series(1, 500) g")
    db.sql("CREATE INDEX i ON t (v); CREATE VIEW w AS SELECT v FROM t")
    before, after = split(plan(db, "t", ["v"], form=form, online=True, bind=bind))
    writers = Writers(db)
    writers.start("first", "v")
    gexec(db, before)
    writers.end("first")
    # A view that reads the plaintext holds the last step up, and nothing has changed.
    with fails("2BP01"):
        gexec(db, after)
    assert column(db, "t", "v")[0] == "text" and column(db, "t", "v_sealed") is not None
    db.sql("DROP VIEW w")
    gexec(db, [step for step in after if "INDEX" not in (step[0] or "")])
    context = ", envelope.row_context('t', 'v', id::text)" if bind else ""
    new = f"envelope_decrypt_text('t', v{context})"
    writers.start("second", new)
    while writers.written < 300 and not writers.failed:
        time.sleep(0.01)
    writers.end("second")
    db.sql("INSERT INTO t DEFAULT VALUES")
    assert db.value(f"SELECT count(*) FROM t WHERE {new} IS DISTINCT FROM copy") == 0
    assert column(db, "t", "v")[:2] == ("envelope.sealed" if form == "sealed" else "bytea", True)
    assert column(db, "t", "v_sealed") is None and seals(db, "t", "v")
    assert db.sql("SELECT column_name, form, tag, bound_columns FROM envelope.policies") == [("v", form, "t.v", bind)]
    # Nor does anything stand in the way of what is done.
    db.sql("CREATE VIEW w AS SELECT v FROM t")
    assert plan(db, "t", ["v"], form=form, online=True, bind=bind) == []
    assert db.sql("SELECT column_name, work FROM envelope.progress") == [("v", "seal")]
    # No value is taken for one of another context.
    assert not db.value("SELECT envelope.binding_done('t', 'v')")


@pytest.mark.parametrize("form", ["sealed", "source", "bytea"])
def test_a_difference_stops_a_script_before_the_swap(db, form):
    """A variable of the statement does not stand for a column of its name."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, met text)")
    db.sql("INSERT INTO t SELECT g, 'old' || g FROM generate_series(1, 50) g")
    before, _ = split(plan(db, "t", ["v"], form=form, online=True, bind=["id"]))
    gexec(db, before)
    [compare] = [sql for sql, *_ in plan(db, "t", ["v"], form=form, online=True, bind=["id"])
                 if "data_exception" in (sql or "")]
    db.sql(compare)
    db.sql("ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET v = 'other' WHERE id <= 2; ALTER TABLE t ENABLE TRIGGER USER")
    with fails("22000") as caught:
        db.sql(compare)
    message = caught.value.diag.message_primary
    assert message.startswith("2 ") and "public.t" in message and "v_sealed" in message and not shows(caught.value, "other'")
    # The HINT's query finds them.
    query = caught.value.diag.message_hint.split(": ", 1)[1].removesuffix(".")
    assert {row[0] for row in db.sql(query)} == {1, 2}
    # As psql runs it: nothing after the step is done.
    script = db.cluster.base / "compare.sql"
    options = f'{{"online": true, "form": "{form}", "bind": ["id"]}}'
    script.write_text(f"SELECT sql FROM envelope.plan('t', '{{v}}', '{options}') WHERE step >= (SELECT step FROM envelope.plan("
                      f"'t', '{{v}}', '{options}') WHERE sql LIKE '%data_exception%') ORDER BY step \\gexec\n")
    with pytest.raises(RuntimeError, match="2 rows"):
        db.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=db.name)
    assert db.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname LIKE '%mirror'") == 1
    assert column(db, "t", "v")[0] == "text" and db.value("SELECT count(v) FROM t") == 50


@pytest.mark.parametrize("form", ["sealed", "source", "bytea", None])
def test_nothing_is_dropped_that_is_not_sealed(db, form):
    """psql goes on after the steps that fill the column and compare it have failed or were cancelled. Of two columns each is looked at, also
    of two forms."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, born date)")
    db.sql("INSERT INTO t SELECT g, 'old' || g, date '2000-01-01' + g FROM generate_series(1, 50) g")
    columns = ["v", "born"] if form is None else ["v"]
    more = {} if form is None else {"form": form}
    before, after = split(plan(db, "t", columns, online=True, **more))
    with db.connect() as c:
        for sql, *_ in before:
            if sql is None or sql.startswith("CALL"):
                continue
            if "data_exception" not in sql:
                c.execute(sql)
                continue
            with fails("22000"):
                c.execute(sql)
    db.sql("UPDATE t SET id = id WHERE id > 1")
    with fails("55000"):
        gexec(db, after)
    assert db.value("SELECT count(*) FROM t WHERE v = 'old' || id") == 50
    assert db.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname LIKE '%mirror'") == 1
    # Printed again, it goes on.
    before, after = split(plan(db, "t", columns, online=True, **more))
    gexec(db, before)
    gexec(db, after)
    assert plan(db, "t", columns, online=True, **more) == []


@pytest.mark.parametrize("form", ["source", "sealed"])
def test_nothing_is_dropped_that_is_hidden(db, form):
    """From the owner of the table, who runs the plan: what the owner cannot see cannot be found unsealed."""
    db.sql("GRANT ALL ON SCHEMA public TO PUBLIC")
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')", user=db.low)
    steps = db.sql("SELECT sql FROM envelope.plan('t', '{v}', %s::jsonb)", (json.dumps({"form": form, "online": True}),),
                   user=db.low)
    db.sql("CREATE POLICY own ON t USING (id = 3); ALTER TABLE t ENABLE ROW LEVEL SECURITY; "
           "ALTER TABLE t FORCE ROW LEVEL SECURITY", user=db.low)
    at = next(i for i, (sql,) in enumerate(steps) if (sql or "").startswith("DO") and "DROP" in sql)
    for (sql,) in steps[:at]:
        if sql is not None and not sql.startswith("CALL"):
            db.sql(sql, user=db.low)
    with fails("42501"):
        db.sql(steps[at][0], user=db.low)
    assert db.sql("SELECT id, v FROM t ORDER BY id") == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("form", ["source", "sealed", None])
def test_a_view_goes_with_it(db, form):
    """A new version may read by the view before the plaintext goes. Any other view that reads it holds the swap up. If one of
    the columns keeps its name, the view comes after the swap."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL, born date)")
    db.sql("INSERT INTO t SELECT g, 'old' || g, date '2000-01-01' + g FROM generate_series(1, 50) g")
    columns = ["v"] if form == "sealed" else ["v", "born"]
    more = {} if form is None else {"form": form}
    before, after = split(plan(db, "t", columns, view="w", online=True, **more))
    gexec(db, before)
    if form == "source":
        assert db.value("SELECT v FROM w WHERE id = 7") == "old7"
        db.sql("CREATE VIEW other AS SELECT v FROM t")
        with fails("2BP01"):
            gexec(db, after)
        db.sql("DROP VIEW other")
    gexec(db, after)
    assert db.value("SELECT count(*) FROM w WHERE v = 'old' || id") == 50
    db.sql("INSERT INTO w (id, v_new) VALUES (51, 'old51')" if form == "source" else "INSERT INTO t (id, v) VALUES (51, 'old51')")
    assert db.value("SELECT v FROM w WHERE id = 51") == "old51"
    assert db.sql("SELECT * FROM envelope.lint('t') WHERE severity = 'error'") == []


FULL = {
    "source": {"form": "source", "online": True},
    "sealed": {"form": "sealed", "online": True},
    "bytea": {"form": "bytea", "online": True},
    "bound": {"form": "source", "online": True, "bind": ["id"], "mask": "last4"},
    "bound, same name": {"form": "sealed", "online": True, "bind": ["id"], "tag": "own"},
}


def adopted(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v varchar(20) COLLATE \"C\" NOT NULL, copy text)")
    db.sql("ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    db.sql(f"GRANT SELECT (v) ON t TO {db.low}; GRANT INSERT ON t TO {db.low}")
    db.sql("INSERT INTO t SELECT g, 'v' || g, 'v' || g FROM generate_series(1, 20) g")


@pytest.mark.parametrize("way", FULL)
def test_the_way_back_from_every_step(db, way):
    adopted(db)
    before = shape(db, "t")
    count = len(plan(db, "t", ["v"], **FULL[way]))
    for number in range(1, count + 1):
        steps = plan(db, "t", ["v"], **FULL[way])
        gexec(db, steps[:number])
        went = shape(db, "t") != before
        if went:
            db.sql("INSERT INTO t (id, v, copy) VALUES (%s, %s, %s)", (100 + number, f"n{number}", f"n{number}"))
            db.sql("SELECT envelope.unprotect('t', 'v')")
        else:
            with fails("42704"):
                db.sql("SELECT envelope.unprotect('t', 'v')")
        now = shape(db, "t")
        # A collation is not in the policy: a column that became one of another type has its type's own.
        assert [row[:6] + row[7:] for row in now] == [row[:6] + row[7:] for row in before], steps[number - 1]
        assert db.value("SELECT count(*) FROM t WHERE v IS DISTINCT FROM copy") == 0
        if db.value("SELECT attcollation <> 950 FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'v'"):
            db.sql("ALTER TABLE t ALTER v TYPE varchar(20) COLLATE \"C\"")
            db.sql("ALTER TABLE t ALTER v SET STORAGE EXTERNAL")


@pytest.mark.parametrize("way", FULL)
def test_other_constraints_stay(db, way):
    """Whatever they are called. From 18 on a NOT NULL has a name, too: of column `sealed` it is v_sealed_not_null."""
    db.sql("CREATE TABLE v (id int PRIMARY KEY, v text NOT NULL, sealed boolean NOT NULL, "
           "CONSTRAINT v_sealed_is_sealed UNIQUE (sealed, id), CONSTRAINT v_is_empty UNIQUE (id, sealed))")
    db.sql("INSERT INTO v VALUES (1, 'one', true), (2, 'two', false)")
    gexec(db, plan(db, "v", ["v"], **FULL[way]))
    assert db.value("SELECT attnotnull FROM pg_attribute WHERE attrelid = 'v'::regclass AND attname = 'sealed'")
    assert db.sql("SELECT conname FROM pg_constraint WHERE conrelid = 'v'::regclass AND contype = 'u' ORDER BY 1") == [
        ("v_is_empty",), ("v_sealed_is_sealed",)]
    assert plan(db, "v", ["v"], **FULL[way]) == []


MODES = ["none", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE",
         "EXCLUSIVE", "ACCESS EXCLUSIVE"]


def named(mode):
    """As the documentation names it."""
    return re.sub(r"(?<!^)([A-Z])", r" \1", mode.removesuffix("Lock")).upper()


def strongest(c):
    held = c.execute("SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 't'::regclass AND granted").fetchall()
    names = [named(mode) for (mode,) in held]
    return max(names, key=MODES.index, default="none")


def test_the_way_back_for_rows_that_are_hidden_from_the_owner(db):
    """Of what nobody has seen nothing may be dropped."""
    db.sql("GRANT ALL ON SCHEMA public TO PUBLIC")
    db.sql("CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, NULL)", user=db.low)
    db.sql("SELECT envelope.protect('t', 'v_sealed', source => 'v')", user=db.low)
    db.sql("CREATE POLICY own ON t USING (id = 3); ALTER TABLE t ENABLE ROW LEVEL SECURITY; "
           "ALTER TABLE t FORCE ROW LEVEL SECURITY", user=db.low)
    assert db.sql("SELECT id FROM t", user=db.low) == [(3,)]
    db.sql("SELECT envelope.unprotect('t', 'v')", user=db.low)
    assert db.sql("SELECT id, v FROM t ORDER BY id") == [(1, "a"), (2, "b"), (3, None)]


@pytest.mark.parametrize("way", [*FULL, "in place"])
def test_each_step_takes_the_lock_that_it_says(db, way):
    adopted(db)
    steps = plan(db, "t", ["v"], **FULL.get(way, {"online": False, "form": "source"}))
    assert {lock.split(",")[0] for _, lock, _ in steps} <= set(MODES)
    with db.connect() as c:
        for sql, lock, _ in steps:
            if sql is None:
                continue
            if sql.startswith(("CALL", "DROP INDEX CONCURRENTLY")):
                c.execute(sql)
                continue
            c.execute("BEGIN")
            c.execute(sql)
            took = strongest(c)
            c.execute("COMMIT")
            said = lock.split(",")[0]
            # A look at the catalog's entry of a table does not lock it for long.
            assert took == said or {took, said} <= {"none", "ACCESS SHARE"}, (sql, took, said)


@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1"])
def test_names_that_need_quotes(cluster, database, encoding):
    """Whatever the table and its columns are called, and whatever encoding the database has."""
    db = database.__new__(database)
    db.cluster, db.name, db.low = cluster, f"names_{encoding.lower()}", None
    cluster.sql(f"CREATE DATABASE {db.name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    db.sql('CREATE EXTENSION "pgrx-example"')
    relation = '"Straße"."select"'
    with db.connect(client_encoding="utf8") as c:
        c.execute('CREATE SCHEMA "Straße"')
        c.execute(f'CREATE TABLE {relation} ("Größe ""x""" text NOT NULL, "user" date, "a\'b" text, "$envelope$" text, '
                  '"Id" int PRIMARY KEY)')
        c.execute(f"INSERT INTO {relation} VALUES ('ä', '2020-01-01', %s, 'é', 1)", (r"q'\x",))
        before = c.execute(f"TABLE {relation}").fetchall()
        for online in (False, True):
            columns = ['Größe "x"', "user", "a'b", "$envelope$"]
            options = {"online": online, "bind": ["Id"], "a'b": {"tag": r"it's \ ok"}}
            steps = c.execute("SELECT sql, lock, remark FROM envelope.plan(%s::text::regclass, %s::name[], %s::jsonb)",
                              (relation, columns, json.dumps(options))).fetchall()
            for sql, *_ in steps:
                if sql is not None:
                    c.execute(sql)
            [row] = c.execute(f"TABLE {relation}").fetchall()
            assert "ä" not in row and r"q'\x" not in row
            for name in columns:
                c.execute("SELECT envelope.unprotect(%s::text::regclass, %s)", (relation, name))
            kept = c.execute(f'SELECT "Größe ""x""", "user", "a\'b", "$envelope$", "Id" FROM {relation}').fetchall()
            assert kept == before
        c.execute(f'ALTER TABLE {relation} RENAME "user" TO "a=b"')
        with fails("0A000"):
            c.execute("SELECT envelope.protect(%s::text::regclass, 'a=b')", (relation,))
    cluster.sql(f"DROP DATABASE {db.name} (FORCE)")


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("form", ["sealed", "source"])
def test_partitions_are_their_tables(db, online, form):
    db.sql("CREATE TABLE t (id int NOT NULL, v text, copy text) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    db.sql("CREATE TABLE t2 (copy text, v text, dropped int, id int NOT NULL)")
    db.sql("ALTER TABLE t2 DROP dropped; ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (10) TO (20)")
    db.sql("INSERT INTO t SELECT g, 'v' || g, 'v' || g FROM generate_series(1, 19) g")
    db.sql("CREATE INDEX i ON t2 (v)")
    if not online:
        with fails("2BP01"):
            plan(db, "t", ["v"], form=form, online=False)
        db.sql("DROP INDEX i")
    with fails("0A000"):
        plan(db, "t1", ["v"], form=form, online=online)
    gexec(db, plan(db, "t", ["v"], form=form, online=online, bind=["id"]))
    name = "v" if form == "sealed" else "v_sealed"
    opened = f"envelope_decrypt_text('t', {name}, envelope.row_context('t', '{name}', id::text))"
    db.sql("INSERT INTO t (id, v, copy) VALUES (0, 'n', 'n')")
    for part in ("t", "t1", "t2"):
        assert seals(db, part, name)
        assert db.value(f"SELECT count(*) FROM {part} WHERE {opened} IS DISTINCT FROM copy") == 0
    db.sql("SELECT envelope.unprotect('t', 'v')")
    assert db.value("SELECT count(*) FROM t WHERE v IS DISTINCT FROM copy OR v IS NULL") == 0


def test_the_plan_says_who_needs_which_right(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, w text)")
    db.sql(f"GRANT SELECT, INSERT ON t TO {db.low}")
    granted = [sql for sql, *_ in plan(db, "t", ["v"]) if "grant_key" in (sql or "")]
    assert granted == [f"SELECT envelope.grant_key('public.t', '{db.low}', '{verb}')" for verb in ("encrypt", "decrypt")]
    gexec(db, plan(db, "t", ["v"], form="source"))
    db.sql("INSERT INTO t (id, v) VALUES (1, 'x')", user=db.low)
    assert db.sql("SELECT envelope_decrypt_text('t', v_sealed) FROM t", user=db.low) == [("x",)]
    assert not any("grant_key" in (sql or "") for sql, *_ in plan(db, "t", ["w"]))
    # A right on another column is none on this one; PUBLIC can be given none.
    db.sql(f"REVOKE ALL ON t FROM {db.low}; SELECT envelope.revoke_key('t', '{db.low}', v) FROM (VALUES ('encrypt'), "
           f"('decrypt')) x (v); GRANT SELECT (id) ON t TO {db.low}; GRANT UPDATE (w) ON t TO PUBLIC")
    steps = plan(db, "t", ["w"])
    assert not any("grant_key" in (sql or "") for sql, *_ in steps)
    assert [remark for sql, _, remark in steps if sql is None and "PUBLIC" in remark]
    with db.connect() as c:
        got = notices(c)
        db.sql(f"GRANT SELECT ON t TO {db.low}")
        c.execute("SELECT envelope.protect('t', 'w')")
        assert len(got) == 1 and f"'{db.low}', 'decrypt'" in got[0][2]
    db.sql("UPDATE t SET w = 'y'")
    with fails("42501"):
        db.sql("SELECT envelope_decrypt_text('t', w) FROM t", user=db.low)


def test_only_whoever_may_manage_the_table(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    for call in ("SELECT * FROM envelope.plan('t', '{v}')", "SELECT envelope.protect('t', 'v')",
                 "SELECT envelope.unprotect('t', 'v')"):
        with fails("42501"):
            db.sql(call, user=db.low)
    db.sql("SELECT envelope.create_key('t')")
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'manage')")
    # The rights on keys are no rights on the table.
    with fails("42501"):
        db.sql("SELECT envelope.protect('t', 'v')", user=db.low)
    assert column(db, "t", "v")[0] == "text" and db.sql("SELECT * FROM envelope.policies") == []
    db.sql(f"ALTER TABLE t OWNER TO {db.low}")
    db.sql("SELECT envelope.protect('t', 'v')", user=db.low)
    assert column(db, "t", "v")[0] == "envelope.sealed"


@pytest.mark.parametrize("relation, columns, options, sqlstate", [
    ("t", "{v}", '{"unknown": 1}', "22023"), ("t", "{v}", "[]", "22023"), ("t", "{v}", '{"form": "other"}', "22023"),
    ("t", "{}", "{}", "22023"), ("t", "{v,v}", "{}", "22023"), ("t", "{NULL}", "{}", "22023"), ("t", "{gone}", "{}", "42703"),
    ("t", "{v}", '{"bind": ["gone"]}', "42703"), ("t", "{v}", '{"type": "nowhere.gone"}', "42704"),
    ("w", "{v}", "{}", "42809"), ("t", "{d}", '{"form": "bytea"}', "22023"), ("t", "{v}", '{"target": "v", "form": "source"}', "22023"),
])
def test_what_cannot_be_asked_for(db, relation, columns, options, sqlstate):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, d date); CREATE VIEW w AS SELECT id AS v FROM t")
    with fails(sqlstate):
        db.sql("SELECT * FROM envelope.plan(%s::text::regclass, %s::name[], %s::jsonb)", (relation, columns, options))


def test_the_trigger_sees_the_row_last(db):
    """Whatever the other triggers of the table are called."""
    db.sql("CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v := upper(NEW.v); RETURN NEW; END$$")
    for number, name in enumerate(["before", "fill", "zzz", "~~~", "é" * 20]):
        db.sql(f"CREATE TABLE t{number} (id int, v text)")
        db.sql(f'CREATE TRIGGER "{name}" BEFORE INSERT OR UPDATE ON t{number} FOR EACH ROW EXECUTE FUNCTION up()')
        db.sql(f"SELECT envelope.protect('t{number}', 'v', form => 'source')")
        db.sql(f"INSERT INTO t{number} (v) VALUES ('abc')")
        assert db.sql(f"SELECT envelope_decrypt_text('t{number}', v_sealed) FROM t{number}") == [("ABC",)]
    db.sql("CREATE TABLE t (id int, v text)")
    db.sql(f"CREATE TRIGGER \"{'~' * 63}\" BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION up()")
    with fails("22023"):
        db.sql("SELECT envelope.protect('t', 'v')")


@pytest.mark.parametrize("kind, values, options, opened", [
    ("text", ["a", "a longer one"], "block => 32", "envelope_decrypt_text('t', v)"),
    ("numeric(10,2)", ["1", "-12345678.99"], "mask => NULL", "envelope_decrypt_as('t', v, NULL::numeric)"),
    # As one of another type: text that says dates, bytes that are text.
    ("text", ["2020-02-29", "1970-01-01"], "'date'", "envelope_decrypt_as('t', v, NULL::date)"),
    ("text", ["1", "12"], "'numeric'", "envelope_decrypt_as('t', v, NULL::numeric)"),
    ("bytea", ["a", "a longer one"], "'text', block => 32", "envelope_decrypt_text('t', v)"),
    ("bytea", ["a", "abc"], "'text', form => 'bytea'", "envelope_decrypt_text('t', v)"),
])
def test_values_are_sealed_as_the_trigger_seals_them(db, kind, values, options, opened):
    """Else lengths would tell the rows from before from those after."""
    db.sql(f"CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, v {kind} DEFAULT '{values[0]}')")
    insert = "INSERT INTO t (v) SELECT NULLIF(x, '')::{} FROM unnest(%s::text[]) x"
    db.sql(insert.format(kind), ([*values, ""],))
    db.sql(f"SELECT envelope.protect('t', 'v', {options})")
    db.sql("INSERT INTO t (v) SELECT CASE x WHEN '' THEN NULL ELSE x END FROM unnest(%s::text[]) x"
           if "bytea" not in options else insert.format("bytea"), ([*values, ""],))
    lengths = [octets for (octets,) in db.sql("SELECT octet_length(v::bytea) FROM t ORDER BY id")]
    assert lengths[:3] == lengths[3:]
    if "block" in options or kind.startswith("numeric"):
        assert len(set(lengths)) == 2
    rows = [row for (row,) in db.sql(f"SELECT {opened} FROM t ORDER BY id")]
    assert rows[:3] == rows[3:] and rows[2] is None
    assert db.sql("SELECT * FROM envelope.verify('t', 'v')") == []
    db.sql("INSERT INTO t DEFAULT VALUES")
    db.sql("UPDATE t SET id = DEFAULT")
    db.sql("SELECT envelope.unprotect('t', 'v', %s::regtype)", (kind,))
    assert column(db, "t", "v")[0].split("(")[0] == kind.split("(")[0] and column(db, "t", "v")[2] is not None


def shows(error, value):
    """Whether any part of an error does."""
    parts = ("message_primary", "message_detail", "message_hint", "context", "internal_query")
    return any(value in (getattr(error.diag, part) or "") for part in parts)


@pytest.mark.parametrize("kind, value, to", [
    ("numeric(10,2)", "1.50", "integer"), ("numeric", "0.1", "float8"), ("bigint", "9007199254740993", "float8"),
    ("integer", "16777217", "float4"), ("timestamp", "2020-02-29 12:00:01", "date"), ("text", "2020-02-29 12:00", "date"),
    ("text", "12345", "short"), ("numeric(10,2)", "1.55", "tenths"), ("numeric[]", "{1.5}", "integer[]"),
    ("timestamp", "2020-02-29 12:00:01.5", "seconds"), ("timestamp", "2020-03-29 02:30", "timestamptz"), ("text", "a" * 64, "name"),
])
@pytest.mark.parametrize("form", ["sealed", "source"])
def test_the_way_back_loses_nothing(db, kind, value, to, form):
    """What a cast would round, cut or misread is refused, and nothing has changed."""
    db.sql("CREATE DOMAIN short AS varchar(3); CREATE DOMAIN tenths AS numeric(10,1); CREATE DOMAIN seconds AS timestamp(0)")
    db.sql(f"CREATE TABLE t (id int, v {kind})")
    db.sql("INSERT INTO t VALUES (1, %s)", (value,))
    plain = db.sql("SELECT v::text FROM t")
    db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
    before = shape(db, "t")
    with fails("22023") as caught:
        db.sql("SELECT envelope.unprotect('t', 'v', %s::regtype)", (to,))
    assert "envelope.unprotect" in caught.value.diag.message_hint
    assert shape(db, "t") == before
    db.sql("SELECT envelope.unprotect('t', 'v')")
    assert db.sql("SELECT v::text FROM t") == plain


@pytest.mark.parametrize("kind, value, to", [
    ("numeric(10,2)", "1.50", "numeric"), ("numeric(10,2)", "1.50", "text"), ("smallint", "-1", "bigint"),
    ("integer", "16777217", "float8"), ("date", "2020-02-29", "timestamp"), ("text", "Zoë", "bytea"),
    ("varchar(20)", "abc", "text"), ("cidr", "10.0.0.0/8", "inet"), ("numeric(10,2)", "1.55", "hundredths"),
    ("date[]", "{2020-02-29}", "text[]"),
])
@pytest.mark.parametrize("form", ["sealed", "source"])
def test_the_way_back_to_a_type_that_holds_all(db, kind, value, to, form):
    db.sql("CREATE DOMAIN hundredths AS numeric(10,2)")
    db.sql(f"CREATE TABLE t (id int, v {kind})")
    db.sql("INSERT INTO t VALUES (1, %s)", (value,))
    wanted = "SELECT convert_to(v, 'UTF8') FROM t" if to == "bytea" else f"SELECT v::{to}::text FROM t"
    plain = db.sql(wanted)
    db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
    db.sql("SELECT envelope.unprotect('t', 'v', %s::regtype)", (to,))
    assert db.sql("SELECT v FROM t" if to == "bytea" else "SELECT v::text FROM t") == plain


@pytest.mark.parametrize("kind, secret, to, sqlstate", [
    ("text", "123-45-6789", "date", "22008"), ("char(11)", "123-45-6789", "numeric", "22P02"),
    ("bytea", "123-45-6789", "date", "22008"), ("text[]", "{123-45-6789}", "date[]", "22008"),
    ("bytea", r"\x3132332d34352dff", "text", "22021"),
])
def test_what_is_no_value_of_the_type_is_not_shown(db, kind, secret, to, sqlstate):
    """Neither on the way there nor back."""
    db.sql(f"CREATE TABLE t (id int, v {kind})")
    db.sql("INSERT INTO t VALUES (1, %s)", (secret,))
    with fails(sqlstate) as caught:
        db.sql("SELECT envelope.protect('t', 'v', %s)", (to,))
    assert not shows(caught.value, "123-45") and "0xff" not in str(caught.value)
    for form in ("sealed", "source"):
        db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
        # On the way back nothing but bytes is read as another type.
        with fails("22021" if to == "text" else "22023") as caught:
            db.sql("SELECT envelope.unprotect('t', 'v', %s)", (to,))
        assert not shows(caught.value, "123-45") and "0xff" not in str(caught.value)
        db.sql("SELECT envelope.unprotect('t', 'v')")
    assert db.sql("SELECT v::text = %s::" + kind + "::text FROM t", (secret,)) == [(True,)]


def test_what_nothing_has_sealed_yet_is_not_shown(db):
    db.sql("CREATE TABLE t (id int, v envelope.sealed)")
    db.sql("INSERT INTO t VALUES (1, '123-45-6789')")
    db.sql("SELECT envelope.set_policy('t', 'v', value_type => 'date')")
    with fails("22008") as caught:
        db.sql("SELECT envelope.unprotect('t', 'v')")
    assert not shows(caught.value, "123-45")


@pytest.mark.parametrize("kind", ["text", "bytea"])
def test_a_sealed_value_as_text_is_not_sealed_again(db, kind):
    db.people("others", ["theirs"])
    db.sql(f"CREATE TABLE t (id int, v {kind})")
    db.sql("INSERT INTO t SELECT 1, {} FROM others".format("ssn::text" if kind == "text" else "convert_to(ssn::text, 'UTF8')"))
    before = shape(db, "t"), db.sql("SELECT v FROM t")
    with fails("22P02"):
        db.sql("SELECT envelope.protect('t', 'v')")
    assert (shape(db, "t"), db.sql("SELECT v FROM t")) == before


def test_bytes_that_are_sealed_where_they_stand(db):
    """A column whose trigger came late: some of its values are in clear."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v bytea NOT NULL)")
    db.sql("INSERT INTO t SELECT g, 'old' FROM generate_series(1, 300) g")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    db.sql("UPDATE t SET id = id WHERE id < 100")
    for form in ("bytea", "sealed"):
        steps = plan(db, "t", ["v"], online=True, **({} if form == "bytea" else {"form": form}))
        gexec(db, steps)
        assert seals(db, "t", "v") and db.value("SELECT count(*) FROM t WHERE envelope_decrypt('t', v) <> 'old'") == 0
        assert plan(db, "t", ["v"], online=True, form=form) == []
        assert column(db, "t", "v")[0] == {"bytea": "bytea", "sealed": "envelope.sealed"}[form]
        assert db.value("SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass") == 1
        if form == "bytea":
            db.sql("SELECT envelope.unprotect('t', 'v')")
            assert db.value("SELECT count(*) FROM t WHERE v <> 'old'") == 0
            db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")


def test_sealed_twice_is_nothing(db):
    """What the column holds already sealed is opened first, under the context that it has."""
    db.people("t", ["a", "b"])
    db.sql("INSERT INTO t VALUES (3, NULL)")
    db.sql("SELECT envelope.protect('t', 'ssn', 'text', bind => '{id}')")
    opened = "SELECT envelope_decrypt_text('t', ssn, envelope.row_context('t', 'ssn', id::text)) FROM t ORDER BY id"
    assert db.sql(opened) == [("a",), ("b",), (None,)]
    # One that does not open stops it, and nothing has changed.
    db.people("u", ["a"])
    db.sql("ALTER TABLE u DISABLE TRIGGER USER")
    db.sql("UPDATE u SET ssn = set_byte(ssn, 45, get_byte(ssn, 45) # 255)")
    before = shape(db, "u")
    with fails("22000"):
        db.sql("SELECT envelope.protect('u', 'ssn')")
    assert shape(db, "u") == before


def test_psql_runs_the_plan(db):
    """By \\gexec, each row by itself; then no file of the table holds plaintext."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, d date)")
    db.sql("INSERT INTO t SELECT g, 'PLAINTEXT-' || g, '2020-02-29' FROM generate_series(1, 100) g")
    db.sql("ANALYZE t; CREATE INDEX i ON t (v); CREATE STATISTICS s ON v, d FROM t")
    query = db.cluster.base / "plan.sql"
    query.write_text("SELECT sql FROM envelope.plan('t', '{v,d}', '{\"online\": true, \"form\": \"source\"}') ORDER BY step \\gexec\n")
    db.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", query, dbname=db.name)
    assert db.value("SELECT count(*) FROM t WHERE envelope_decrypt_text('t', v_sealed) = 'PLAINTEXT-' || id") == 100
    assert seals(db, "t", "v_sealed") and seals(db, "t", "d_sealed")
    assert db.value("SELECT count(*) FROM pg_stats WHERE tablename = 't' AND most_common_vals::text LIKE '%PLAIN%'") == 0
    with db.connect() as c:
        c.execute("VACUUM (FULL, ANALYZE) t")
        c.execute("CHECKPOINT")
    path = db.cluster.data / db.value("SELECT pg_relation_filepath('t')")
    assert path.stat().st_size > 0 and b"PLAINTEXT" not in path.read_bytes()


@pytest.mark.parametrize("form", ["sealed", "source"])
def test_one_rewrite_leaves_no_plaintext_in_the_table(db, form):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    db.sql("INSERT INTO t SELECT g, 'PLAINTEXT-' || g FROM generate_series(1, 100) g")
    db.sql("ANALYZE t")
    db.sql("SELECT envelope.protect('t', 'v', form => %s)", (form,))
    db.sql("CHECKPOINT")
    path = db.cluster.data / db.value("SELECT pg_relation_filepath('t')")
    assert path.stat().st_size > 0 and b"PLAINTEXT" not in path.read_bytes()
    assert db.value("SELECT count(*) FROM pg_stats WHERE tablename = 't' AND attname LIKE 'v%'") == 0


def test_a_view_holds_the_emptying_up(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE VIEW w AS SELECT v FROM t")
    db.sql("INSERT INTO t VALUES (1, 'x')")
    before, after = split(plan(db, "t", ["v"], form="source", online=True))
    assert any(sql is None and "public.w" in remark for sql, _, remark in after)
    gexec(db, before)
    with fails("0A000"):
        gexec(db, after)
    assert db.sql("SELECT v FROM w") == [("x",)]
    db.sql("DROP VIEW w")
    at = next(i for i, (sql, *_) in enumerate(after) if (sql or "").startswith("CALL"))
    gexec(db, after[:at])
    # Autovacuum may come between.
    db.sql("INSERT INTO t SELECT g, 'y' FROM generate_series(2, 20) g; UPDATE t SET id = id; ALTER TABLE t DISABLE TRIGGER USER")
    db.sql("ALTER TABLE t DROP CONSTRAINT v_is_empty; UPDATE t SET v = 'PLAIN'; ANALYZE t; ALTER TABLE t ENABLE TRIGGER USER")
    db.sql("ALTER TABLE t ADD CONSTRAINT v_is_empty CHECK (envelope.must_be_empty(v)) NOT VALID")
    sampled = "SELECT count(*) FROM pg_stats WHERE tablename = 't' AND most_common_vals::text LIKE '%PLAIN%'"
    assert db.value(sampled) == 1
    db.sql("UPDATE t SET v_sealed = envelope_encrypt_text('t', 'PLAIN')")
    gexec(db, after[at:])
    assert db.sql("SELECT DISTINCT v FROM t") == [(None,)] and db.value(sampled) == 0


def test_what_goes_before_the_swap_says_its_lock(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, d date); CREATE STATISTICS s ON v, d FROM t")
    [(sql, lock, _)] = [step for step in plan(db, "t", ["v"], form="source", online=True) if "DROP STATISTICS public.s" in (step[0] or "")]
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute(sql)
        assert strongest(c) == lock.split(",")[0]


def test_what_goes_before_the_swap_can_be_made_again(db):
    """An index and a statistics object: the remark has the statement."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text, d date); CREATE STATISTICS s ON v, d FROM t")
    db.sql("CREATE INDEX i ON t USING hash (lower(v)) WITH (fillfactor = 70) WHERE id > 3")
    made = "SELECT pg_get_indexdef('i'::regclass), pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxname = 's'"
    before = db.sql(made)
    for sql, _, remark in plan(db, "t", ["v"], form="source", online=True):
        if sql and sql.startswith("DROP "):
            assert remark.startswith("drops ")
            db.sql(sql)
            db.sql(remark.split("it was: ")[1])
    assert db.sql(made) == before and len(before) == 1


@pytest.mark.parametrize("kind, default", [("text", "'none'"), ("bytea", "'none'::bytea"), ("date", "'2020-02-29'::date")])
def test_a_default_that_stays_is_told(db, kind, default):
    """It does what it did, and stands in the catalog in clear: how to be rid of it is said."""
    db.sql(f"CREATE TABLE t (id int, v {kind} DEFAULT {default}, w {kind} DEFAULT NULL, x {kind} DEFAULT {default})")
    drop = "ALTER TABLE public.t ALTER COLUMN v DROP DEFAULT"
    for online in (True, False):
        for form in ("sealed",) if kind == "date" else ("sealed", "bytea"):
            told = [remark for *_, remark in plan(db, "t", ["v", "w"], form=form, online=online) if "DEFAULT" in remark]
            assert len(told) == 1 and drop in told[0]
    with db.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.protect('t', 'v'), envelope.protect('t', 'w')")
        assert [drop in message for severity, message, _ in got if severity == "NOTICE"] == [True]
    db.sql("INSERT INTO t (id) VALUES (1)")
    assert seals(db, "t", "v")
    warned = "SELECT remedy FROM envelope.lint('t') WHERE sqlstate = '42P17'"
    assert db.sql(warned) == [(drop,)]
    db.sql(drop)
    assert db.sql(warned) == []
    # A source may have none: it would take the place of a value that is given.
    with fails("0A000"):
        db.sql("SELECT envelope.protect('t', 'x', form => 'source')")


def test_a_batch_takes_the_lock_that_it_says(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    db.sql("INSERT INTO t SELECT g, 'x' FROM generate_series(1, 3000) g")
    steps = plan(db, "t", ["v"], online=True, batch_size=1)
    at = next(i for i, (sql, *_) in enumerate(steps) if (sql or "").startswith("CALL"))
    gexec(db, steps[:at])
    sql, lock, _ = steps[at]
    # A trigger of the test's says what is held, from within.
    db.sql("CREATE TABLE held (mode text)")
    db.sql("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO held SELECT mode FROM pg_locks "
           "WHERE pid = pg_backend_pid() AND relation = TG_RELID; RETURN NULL; END$$")
    db.sql("CREATE TRIGGER note AFTER UPDATE ON t FOR EACH ROW WHEN (OLD.id % 100 = 1) EXECUTE FUNCTION note()")
    gexec(db, [(sql.replace("batch_size => 1", "batch_size => 500"),)])
    modes = {named(mode) for (mode,) in db.sql("SELECT mode FROM held")}
    assert max(modes, key=MODES.index) == lock.split(",")[0]


VALUES = {
    "bool": "true", "smallint": "-7", "integer": "42", "bigint": "9223372036854775807", "real": "1.5", "float8": "0.1",
    "numeric": "12.340", "numeric(6,2)": "1.50", "char(5)": "ab", "varchar(9)": "abc", "text": "zoë", "date": "0044-03-15 BC",
    "time": "12:34:56.789", "timetz": "12:34:56+02", "timestamp": "2020-01-01 00:00:00.5",
    "timestamptz": "2020-01-01 12:00:00+05", "timestamp(0)": "2020-01-01 00:00:00", "interval": "1 year 2 days 03:04:05.6",
    "uuid": "00000000-0000-4000-8000-000000000001", "inet": "10.0.0.1/8", "cidr": "10.0.0.0/8", "json": '{"b": 1, "a":2}',
    "jsonb": '{"b": 1, "a":2}', "bytea": r"\x00ff", "mood": "ok", "em": "a@b", "int[]": "{1,2,NULL}",
    "text[]": '{a,"b c"}', "mood[]": "{sad,ok}",
}


@pytest.mark.parametrize("way", ["sealed", "source", "online"])
def test_values_of_all_types_there_and_back(db, way):
    db.sql("CREATE DOMAIN em AS text CHECK (VALUE LIKE '%@%'); CREATE TYPE mood AS ENUM ('sad', 'ok')")
    with db.connect() as c:
        # Each table has columns of its own.
        c.prepare_threshold = None
        c.execute("SET client_min_messages = error")
        for kind, value in VALUES.items():
            c.execute(f"DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v {kind})")
            c.execute("INSERT INTO t VALUES (1, %s), (2, NULL)", (value,))
            all_of = "SELECT id, v::text, pg_typeof(v) FROM t ORDER BY id"
            before = c.execute(all_of).fetchall()
            if way == "online":
                query = """SELECT sql FROM envelope.plan('t', '{v}', '{"online": true, "form": "source"}')"""
                for (sql,) in c.execute(query).fetchall():
                    if sql is not None:
                        c.execute(sql)
            else:
                c.execute("SELECT envelope.protect('t', 'v', form => %s)", (way,))
            name = "v" if way == "sealed" else "v_sealed"
            assert c.execute(f"SELECT count(*) FILTER (WHERE envelope.is_sealed({name})), count({name}) FROM t").fetchone() == (1, 1)
            assert c.execute("SELECT count(*) FROM envelope.verify('t', %s)", (name,)).fetchone() == (0,)
            assert c.execute("SELECT count(*) FROM envelope.lint('t')").fetchone() == (0,), kind
            c.execute("SELECT envelope.unprotect('t', 'v')")
            assert c.execute(all_of).fetchall() == before, kind


def test_a_type_without_a_form_is_refused_before_anything_changes(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v point)")
    for options in ({"online": True}, {"form": "sealed"}):
        with fails("0A000"):
            plan(db, "t", ["v"], **options)
    with fails("0A000"):
        db.sql("SELECT envelope.protect('t', 'v')")
    assert db.value("SELECT count(*) FROM envelope.keys") == 0


def test_what_was_begun_one_way_is_not_done_the_other(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v text)")
    db.sql("INSERT INTO t VALUES (1, 'x')")
    steps = plan(db, "t", ["v"], form="source", online=True)
    gexec(db, steps[:4])
    before = shape(db, "t")
    with fails("42710"):
        db.sql("SELECT envelope.protect('t', 'v')")
    assert shape(db, "t") == before
    # A plan goes on as it was begun, without being told; and the rest can be done at once.
    assert [sql for sql, *_ in plan(db, "t", ["v"], form="source")] == [sql for sql, *_ in steps[4:]]
    db.sql("SELECT envelope.protect('t', 'v', form => 'source')")
    assert db.sql("SELECT v, envelope_decrypt_text('t', v_sealed) FROM t") == [(None, "x")]
    assert db.sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 't'::regclass") == [("envelope_seal",)]
    assert plan(db, "t", ["v"], form="source") == []


def test_nobody_elses_function_sees_plaintext(db):
    """In a schema that others may write to, on the path of whoever protects."""
    db.sql("CREATE TABLE seen (what text)")
    for name, arguments in [("convert_from", "bytea, text"), ("encode", "bytea, unknown"), ("convert_to", "text, text")]:
        arguments = arguments.replace("unknown", "varchar")
        result = "bytea" if name == "convert_to" else "text"
        db.sql(f"CREATE FUNCTION {name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen "
               "VALUES ($1::text); RETURN NULL; END$$")
    db.sql("CREATE TABLE t (id bytea PRIMARY KEY, v bytea, w text DEFAULT 'd')")
    db.sql("INSERT INTO t VALUES ('a', 'secret', 'secret')")
    db.sql("SELECT envelope.protect('t', 'v', 'text', bind => '{id}')")
    db.sql("SELECT envelope.protect('t', 'w', form => 'bytea', bind => '{id}')")
    db.sql("SELECT envelope.unprotect('t', 'v'), envelope.unprotect('t', 'w')")
    assert db.value("SELECT count(*) FROM seen") == 0
    assert db.sql("SELECT v, w FROM t") == [("secret", "secret")]
