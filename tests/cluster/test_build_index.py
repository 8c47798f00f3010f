"""CALL envelope.build_index: rows that are there get their terms, beside everything else that goes on."""

import random
import time

import psycopg
import pytest
from harness import process
from harness.index_keys import index_keys
from harness.work import Work
from sqlstate import fails
from test_index_rows import BOUNDS, DOMAIN, protect

ROWS = 600
CUT = (None, "57P01", "57P02", "57P03")
GOAL = "SELECT envelope.index_goal('t', 'v', 'ix', false)"
LEFT = "SELECT envelope.index_left(ARRAY['t'::regclass::oid], 'ix', false)"
KINDS = [
    ("exact", "text", {}),
    ("prefix(3)", "text", {}),
    ("words", "text", {}),
    ("buckets", "date", {"options": BOUNDS}),
    ("tree", "date", {"options": DOMAIN}),
]


def add(db, kind="exact", name="t", column="ix", **more):
    named = "".join(f", {key} => %({key})s" for key in more)
    db.sql(f"SELECT envelope.add_index('{name}', 'v', %(kind)s, index_column => %(column)s{named})",
           {"kind": kind, "column": column, **more})


def build(column="ix", name="t", more=""):
    return f"CALL envelope.build_index('{name}', 'v', '{column}', batch_size => 50{more})"


def fill(db, value_type="text", form="sealed", rows=ROWS, **more):
    """A table with values from before there was an index: `number n`, or a day."""
    protect(db, value_type, form, **more)
    into = "plain" if form in ("source", "mirror") else "v"
    put = {"text": "'number ' || g", "date": "date '1960-01-01' + 30 * g"}[value_type]
    cast = ""
    if into == "v":
        cast = "::text::bytea" if form == "bytea" else "::text::envelope.sealed"
    db.sql(f"INSERT INTO t (id, {into}) SELECT g, ({put}){cast} FROM generate_series(1, {rows}) g")
    db.sql("UPDATE t SET v = NULL WHERE id % 100 = 0")


def is_built(db, column="ix"):
    return db.value("SELECT built FROM envelope.indexes WHERE index_column = %s", (column,))


def faults(db, name="t"):
    return db.sql(f"SELECT sqlstate, message FROM envelope.verify('{name}', 'v')")


def found(db, value, column="ix", name="t"):
    return [i for i, in db.sql(f"SELECT id FROM {name} WHERE {column} = ANY (envelope_search('{name}', 'v', %s::text, '{column}'))"
                               " ORDER BY id", (value,))]


def past_the_trigger(db, *statements, name="t"):
    with db.connect() as c:
        c.execute("SET session_replication_role = replica")
        for statement in statements:
            c.execute(statement)


@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("kind, value_type, more", KINDS)
def test_all_rows_get_their_terms(db, kind, value_type, more, quiet):
    fill(db, value_type)
    add(db, kind, **more)
    assert not is_built(db) and faults(db) == []
    with fails("55000"):
        db.sql(f"SELECT envelope_search{'_tokens' if kind in ('words', 'tree') else ''}('t', 'v', '1960-01-31'::{value_type})")
    before = dict(db.sql("SELECT id, v::bytea FROM t"))
    db.sql(build(more=f", quiet => {quiet}"))
    assert is_built(db) and faults(db) == []
    assert db.value("SELECT count(*) FROM t WHERE (ix IS NULL) <> (v IS NULL)") == 0
    assert dict(db.sql("SELECT id, v::bytea FROM t")) == before
    assert db.sql("SELECT column_name, rows_done::int, finished_at IS NOT NULL FROM envelope.progress WHERE work = 'index'") == [
        ("ix", ROWS - 6, True)]
    # Again: nothing to do, and nothing is touched.
    rows = db.sql("SELECT id, xmin::text FROM t ORDER BY 1")
    db.sql(build())
    assert db.sql("SELECT id, xmin::text FROM t ORDER BY 1") == rows
    # What a row had is kept by rows that are written.
    db.sql("INSERT INTO t (id, v) SELECT 1000, v FROM t WHERE id = 1")
    assert db.value("SELECT count(DISTINCT ix) FROM t WHERE id IN (1, 1000)") == 1
    assert faults(db) == []


@pytest.mark.parametrize("form", ["bytea", "source", "mirror"])
def test_all_forms_of_a_column(db, form):
    fill(db, form=form, rows=60)
    add(db)
    db.sql(build())
    assert found(db, "number 7") == [7] and faults(db) == []


def test_partitions_and_bound_rows(db):
    fill(db, rows=200, how="PARTITION BY RANGE (id)", bind=["id"])
    add(db)
    db.sql(build())
    assert is_built(db) and faults(db) == []
    assert (found(db, "number 7"), found(db, "number 150")) == ([7], [150])


def test_values_that_have_no_term(db):
    """Shorter than the prefix: each is looked at again, and left."""
    protect(db)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'ab'), (2, 'abc'), (3, '')")
    add(db, "prefix(3)")
    db.sql(build())
    assert is_built(db) and faults(db) == []
    assert db.sql("SELECT id FROM t WHERE ix IS NULL ORDER BY id") == [(1,), (3,)]


def test_values_that_the_index_cannot_take(db):
    protect(db)
    db.sql("INSERT INTO t (id, v) VALUES (1, '1'), (2, 'none'), (3, '3')")
    add(db, form="digits")
    with fails("22023") as caught:
        db.sql(build())
    assert "none" not in str(caught.value) and "(0,2)" in caught.value.diag.message_detail
    assert not is_built(db)
    db.sql(build(more=", on_damage => 'skip'"))
    assert is_built(db) and faults(db) == []
    assert db.sql("SELECT id FROM t WHERE ix IS NULL") == [(2,)]


def test_damaged_values(db):
    fill(db, rows=50)
    add(db)
    past_the_trigger(db, "UPDATE t SET v = set_byte(v::bytea, 40, get_byte(v::bytea, 40) # 1)::envelope.sealed WHERE id = 7")
    with fails("22000"):
        db.sql(build())
    assert not is_built(db)
    db.sql(build(more=", on_damage => 'skip'"))
    assert db.sql("SELECT id FROM t WHERE ix IS NULL AND id % 100 <> 0") == [(7,)]
    assert [state for state, _ in faults(db)] == ["22000"]


def test_values_under_destroyed_keys_and_in_clear_are_left(db):
    fill(db, rows=50)
    old = db.value("SELECT key_id FROM envelope.keys WHERE purpose = 'seal'")
    db.sql("SELECT envelope.rotate_key('t')")
    db.sql("UPDATE t SET v = envelope.reseal('t', v) WHERE id > 2")
    db.sql("SELECT envelope.destroy_key(%s, 'a test', shred => true)", (old,))
    past_the_trigger(db, "UPDATE t SET v = 'clear'::text::envelope.sealed WHERE id = 3")
    add(db)
    db.sql(build())
    assert is_built(db)
    assert db.sql("SELECT id FROM t WHERE ix IS NULL ORDER BY id") == [(1,), (2,), (3,)]


def test_after_a_rotation(db):
    fill(db)
    add(db)
    add(db, "words", column="words")
    db.sql(build())
    db.sql(build("words"))
    db.sql("SELECT envelope.rotate_index_key('t')")
    old, new = (key_id for key_id, _, _ in index_keys(db, "public.t"))
    db.sql("INSERT INTO t (id, v) VALUES (1000, 'number 7')")
    assert found(db, "number 7") == [7, 1000]
    assert db.value("SELECT key_id FROM envelope.indexes WHERE index_column = 'words'") == old
    with fails("55006"):
        db.sql("SELECT envelope.retire_key(%s)", (old,))
    db.sql(build())
    db.sql(build("words"))
    assert db.value("SELECT key_id FROM envelope.indexes WHERE index_column = 'words'") == new
    assert faults(db) == [] and found(db, "number 7") == [7, 1000]
    assert db.value("SELECT count(*) FROM t WHERE substr(ix, 1, 2) <> %s", (new.bytes[:2],)) == 0
    db.sql("SELECT envelope.retire_key(%s)", (old,))
    assert faults(db) == [] and found(db, "number 7") == [7, 1000]
    # A row keeps the tokens that nobody asks for any more.
    db.sql("UPDATE t SET note = 'n'")
    assert faults(db) == []


def test_a_second_column_takes_the_place_of_a_unique_one(db):
    fill(db, rows=200)
    add(db, options='{"unique": true}')
    db.sql(build())
    db.sql("CREATE UNIQUE INDEX ON t (ix)")
    db.sql("SELECT envelope.rotate_index_key('t')")
    stop = []

    def insert():
        # Each value twice: one of both goes in.
        with db.connect() as c:
            n, refused = 1000, 0
            while not stop:
                for i in (2 * n, 2 * n + 1):
                    try:
                        c.execute("INSERT INTO t (id, v) VALUES (%s, %s)", (i, f"number {n}"))
                    except psycopg.errors.UniqueViolation:
                        refused += 1
                n += 1
            return n - 1000, refused

    writer = Work(insert)
    add(db, column="ix_2", options='{"unique": true}')
    db.sql(build("ix_2"))
    db.sql("CREATE UNIQUE INDEX CONCURRENTLY ON t (ix_2)")
    db.sql("SELECT envelope.swap_index('t', 'ix', 'ix_2')")
    written = db.value("SELECT max(id) FROM t")
    process.wait_until(lambda: db.value("SELECT max(id) FROM t") > written, "it goes on")
    stop.append(True)
    values, refused = writer.result()
    assert values == refused > 0
    assert faults(db) == [] and found(db, "number 1000") == [2000]
    new = index_keys(db, "public.t")[-1][0]
    assert db.value("SELECT count(*) FROM t WHERE substr(ix, 1, 2) <> %s", (new.bytes[:2],)) == 0


def test_writers_and_rotations_meanwhile(db):
    fill(db)
    add(db)
    add(db, "parts(3)", column="pieces")
    stop = []

    def write(seed):
        draw = random.Random(seed)
        with db.connect() as c:
            while not stop:
                i = draw.randint(1, ROWS)
                c.execute(draw.choice([
                    "UPDATE t SET v = 'other ' || id WHERE id = %s", "UPDATE t SET note = 'n' WHERE id = %s",
                    "UPDATE t SET v = NULL WHERE id = %s", "DELETE FROM t WHERE id = %s",
                    "INSERT INTO t (id, v) VALUES (%s, 'number 1')"]), (i,))

    writers = [Work(write, seed) for seed in range(2)]
    for turn in range(2):
        db.sql(build(more=", row_lock_timeout => '60 s'"))
        db.sql(build("pieces", more=", row_lock_timeout => '60 s'"))
        assert faults(db) == []
        if turn == 0:
            db.sql("SELECT envelope.rotate_index_key('t')")
    stop.append(True)
    for writer in writers:
        writer.result()
    assert faults(db) == []
    new = index_keys(db, "public.t")[-1][0]
    assert db.value("SELECT count(*) FROM t WHERE substr(ix, 1, 2) <> %s", (new.bytes[:2],)) == 0


def test_who_has_begun_to_write_before_is_waited_for(db):
    fill(db, rows=50)
    db.sql("ALTER TABLE t ADD ix bytea")
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO t (id, v) VALUES (1000, 'number 7')")
        add(db)
        with fails("55P03"):
            db.sql(build(more=", row_lock_timeout => '300 ms'"))
        assert not is_built(db)
        building = Work(db.sql, build())
        time.sleep(0.5)
        assert building.is_alive()
        c.execute("COMMIT")
    building.result()
    assert is_built(db) and faults(db) == [] and found(db, "number 7") == [7, 1000]


def test_it_goes_on_where_it_was_cut_off(db):
    fill(db)
    add(db)
    done = 0
    for _ in range(3):
        with db.connect() as c:
            pid = c.info.backend_pid
            calling = Work(c.execute, build(more=", pause => '1 min'"))
            process.wait_until(lambda: db.value(
                "SELECT coalesce(max(rows_done), 0) FROM envelope.progress WHERE work = 'index'") > done, "rows are done")
            db.sql("SELECT pg_terminate_backend(%s)", (pid,))
            assert calling.error().sqlstate in CUT
        done = db.value("SELECT rows_done FROM envelope.progress WHERE work = 'index'")
        assert not is_built(db)
    db.sql(build())
    assert is_built(db) and faults(db) == []
    assert db.value("SELECT rows_done FROM envelope.progress WHERE work = 'index'") == ROWS - 6


def test_who_may(db):
    fill(db, rows=20)
    add(db)
    db.sql(f"GRANT ALL ON t TO {db.low}")
    for right in ("encrypt", "decrypt", "search"):
        db.sql(f"SELECT envelope.grant_key('t', '{db.low}', '{right}')")
    with fails("42501"):
        db.sql(build(), user=db.low)
    for right in ("encrypt", "decrypt", "search"):
        db.sql(f"SELECT envelope.revoke_key('t', '{db.low}', '{right}')")
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'manage')")
    db.sql(build(), user=db.low)
    assert is_built(db) and faults(db) == []


@pytest.mark.parametrize("statement, sqlstate", [
    ("CALL envelope.build_index('t', 'v', 'note')", "42704"),
    ("CALL envelope.build_index('t', 'note', 'ix')", "42704"),
    ("CALL envelope.build_index('t', 'v', NULL)", "22023"),
    ("CALL envelope.build_index('t', 'v', 'ix', batch_size => 0)", "22023"),
    ("CALL envelope.build_index('t', 'v', 'ix', on_damage => 'x')", "22023"),
    ("BEGIN; CALL envelope.build_index('t', 'v', 'ix')", "2D000"),
])
def test_what_is_refused(db, statement, sqlstate):
    fill(db, rows=2)
    add(db)
    with fails(sqlstate):
        db.sql(statement)


def test_a_trigger_must_be_there(db):
    fill(db, rows=2)
    add(db)
    trigger = db.value("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'seal'")
    db.sql("DROP TRIGGER seal ON t")
    with fails("55000"):
        db.sql(build())
    # Rows that are written from now on would have none.
    db.sql(build(more=", quiet => true"))
    assert not is_built(db) and faults(db) == []
    assert db.value("SELECT count(*) FROM t WHERE ix IS NULL AND v IS NOT NULL") == 0
    db.sql(trigger)
    db.sql("ALTER TABLE t DISABLE TRIGGER seal")
    db.sql(build(more=", quiet => true"))
    assert not is_built(db)
    db.sql("ALTER TABLE t ENABLE TRIGGER seal")
    rows = db.sql("SELECT id, xmin::text FROM t ORDER BY 1")
    db.sql(build(more=", quiet => true"))
    assert is_built(db) and faults(db) == []
    assert db.sql("SELECT id, xmin::text FROM t ORDER BY 1") == rows


def test_nobody_can_say_that_it_is_built(db):
    fill(db, rows=20)
    add(db)
    left = "SELECT envelope.index_left(ARRAY['t'::regclass::oid], 'ix', false)"
    with db.connect() as c:
        goal = c.execute("SELECT envelope.index_goal('t', 'v', 'ix', false)").fetchone()
        built = ("SELECT envelope.index_built('t', 'ix', %s)", goal)
        with fails("22023"):
            c.execute(*built)
        with fails("22023"):
            c.execute("SELECT envelope.writers_ended('t')")
        # Seen to be so, and not locked.
        db.sql("UPDATE t SET ix = ''")
        with fails("22023"), c.transaction():
            assert c.execute(left).fetchall() == []
            c.execute(*built)
        # Locked, and not seen.
        with fails("22023"), c.transaction():
            c.execute("LOCK TABLE t")
            c.execute("SELECT envelope.writers_ended('t')")
            c.execute(*built)
        past_the_trigger(db, "UPDATE t SET ix = NULL WHERE id = 7")
        with fails("22023"), c.transaction():
            assert len(c.execute(left).fetchall()) == 1
            c.execute(*built)
        # Another goal, and a look of another transaction.
        db.sql("UPDATE t SET ix = '' WHERE id = 7")
        with c.transaction():
            c.execute(left)
            assert c.execute("SELECT envelope.index_built('t', 'ix', 'x')").fetchall() == [(False,)]
        with fails("22023"):
            c.execute(*built)
        assert not is_built(db)
        # What is seen and true is noted.
        with c.transaction():
            c.execute(left)
            assert c.execute(*built).fetchall() == [(True,)]
    assert is_built(db) and faults(db) == []


def test_what_is_left_alone_is_told(db):
    """By the look at the end, which meets each."""
    fill(db, rows=50)
    add(db)
    past_the_trigger(db, "UPDATE t SET v = 'clear'::text::envelope.sealed WHERE id IN (3, 4, 5)")
    notices = []
    with db.connect() as c:
        c.add_notice_handler(lambda n: notices.append(f"{n.message_primary} {n.message_detail}"))
        c.execute(build())
    told = [notice for notice in notices if "left" in notice]
    assert len(told) == 1 and "3" in told[0] and is_built(db), notices


def test_all_partitions_are_looked_at(db):
    fill(db, rows=200, how="PARTITION BY RANGE (id)")
    add(db)
    db.sql("UPDATE t SET ix = '' WHERE id < 100")
    with db.connect() as c:
        goal = c.execute(GOAL).fetchone()
        with c.transaction():
            c.execute("LOCK TABLE t")
            c.execute("SELECT envelope.writers_ended('t')")
        with c.transaction():
            assert c.execute("SELECT envelope.index_left(ARRAY['t_1'::regclass::oid], 'ix', false)").fetchall() == []
            assert c.execute("SELECT envelope.index_built('t', 'ix', %s)", goal).fetchall() == [(False,)]
    assert not is_built(db)


def test_who_has_begun_to_write_to_a_partition_is_waited_for(db):
    fill(db, rows=20, how="PARTITION BY RANGE (id)")
    add(db)
    with db.connect() as c:
        c.execute(GOAL)
        with fails("22023"), c.transaction():
            c.execute("LOCK TABLE ONLY t")
            c.execute("SELECT envelope.writers_ended('t')")
        with c.transaction():
            c.execute("LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE")
            c.execute("SELECT envelope.writers_ended('t')")


def test_who_does_not_know_of_the_index_is_waited_for(db):
    """Nobody else sees it before the transaction ends that has added it."""
    fill(db, rows=1)
    db.sql("UPDATE t SET v = NULL")
    with db.connect() as c:
        with c.transaction():
            c.execute("SELECT envelope.add_index('t', 'v', 'exact', index_column => 'ix')")
            goal = c.execute(GOAL).fetchone()
            c.execute("LOCK TABLE t")
            c.execute("SELECT envelope.writers_ended('t')")
        with fails("22023"), c.transaction():
            assert c.execute(LEFT).fetchall() == []
            c.execute("SELECT envelope.index_built('t', 'ix', %s)", goal)
    assert not is_built(db)


def test_who_has_begun_to_write_before_a_rotation_is_waited_for(db):
    """That the writers before another goal have ended says nothing of this one, which another session tells."""
    fill(db, rows=20)
    add(db, "words")
    db.sql(build())
    with db.connect() as c, db.connect() as writer:
        c.execute(GOAL)
        with c.transaction():
            c.execute("LOCK TABLE t")
            c.execute("SELECT envelope.writers_ended('t')")
        writer.execute("BEGIN; INSERT INTO t VALUES (100, 'number 100')")
        db.sql("SELECT envelope.rotate_index_key('t')")
        goal = db.sql(GOAL)[0]
        db.sql("UPDATE t SET ix = '{}' WHERE id <> 100")
        with c.transaction():
            assert c.execute(LEFT).fetchall() == []
            assert c.execute("SELECT envelope.index_built('t', 'ix', %s)", goal).fetchall() == [(False,)]
        writer.execute("COMMIT")
    by_tokens = "SELECT id FROM t WHERE ix @> envelope_search_tokens('t', 'v', '100'::text)"
    assert db.sql(by_tokens) == [(100,)]
    db.sql(build())
    assert db.sql(by_tokens) == [(100,)] and faults(db) == []


def test_terms_of_another_value_are_found(db):
    """Also once the building has begun to know which terms are right."""
    fill(db, rows=100)
    add(db)
    db.sql("UPDATE t SET ix = '' WHERE id < 50")
    past_the_trigger(db, "UPDATE t SET ix = (SELECT ix FROM t WHERE id = 1) WHERE id IN (7, 8)",
                     "UPDATE t SET v = (SELECT v FROM t WHERE id = 2) WHERE id = 9")
    db.sql(build())
    assert is_built(db) and faults(db) == []
    assert found(db, "number 1") == [1] and found(db, "number 2") == [2, 9]


@pytest.mark.parametrize("memory", ["1MB", "64MB"])
def test_terms_that_change_meanwhile(db, memory):
    """A wrong term that comes while rows are brought to theirs: it is found by the look at the end."""
    fill(db, rows=600)
    add(db)
    with db.connect() as c:
        c.execute(f"SET maintenance_work_mem = '{memory}'")
        # In its first pass, which takes some seconds so: what comes behind the last one nobody looks for.
        building = Work(c.execute, build(more=", pause => '300 ms'"))
        process.wait_until(lambda: db.value("SELECT count(*) FROM t WHERE ix IS NOT NULL") >= 100, "rows are done")
        past_the_trigger(db, "UPDATE t SET ix = (SELECT ix FROM t WHERE id = 1) WHERE id IN (5, 30)")
        building.result()
    assert is_built(db) and faults(db) == []


def test_values_that_are_sealed_later(db):
    """What was in clear, or beside the column, gets its terms with its seal."""
    protect(db, form="source")
    past_the_trigger(db, "INSERT INTO t (id, plain) VALUES (1, 'one'), (2, NULL)")
    add(db)
    db.sql(build())
    assert is_built(db)
    with fails("55000"):
        db.sql("CALL envelope.seal_column('t', 'v', quiet => true)")
    db.sql("CALL envelope.seal_column('t', 'v')")
    assert found(db, "one") == [1] and faults(db) == []


def test_reencryption_leaves_terms_as_they_are(db):
    fill(db, rows=50)
    add(db)
    db.sql(build())
    before = db.sql("SELECT id, ix FROM t ORDER BY id")
    for quiet in (False, True):
        db.sql("SELECT envelope.rotate_key('t')")
        db.sql(f"CALL envelope.reencrypt('t', 'v', quiet => {quiet})")
        assert db.sql("SELECT id, ix FROM t ORDER BY id") == before and faults(db) == []


def test_classes_that_were_split(db):
    protect(db, "date")
    db.sql("INSERT INTO t (id, v) SELECT g, (date '1990-01-01' + g)::text::envelope.sealed FROM generate_series(1, 400) g")
    add(db, "buckets", options='{"bounds": ["1950-01-01", "1951-01-01", "1952-01-01", "1953-01-01", "1954-01-01", "1955-01-01"]}')
    db.sql(build())
    assert db.value("SELECT count(DISTINCT ix) FROM t") == 1
    assert db.value("SELECT envelope.split_classes('t', 'ix')") == 1
    # One that was asked for anew keeps what was right.
    assert faults(db) == []
    db.sql("UPDATE t SET note = 'n'")
    assert db.value("SELECT count(DISTINCT ix) FROM t") == 1
    db.sql(build())
    assert faults(db) == []
    assert db.value("SELECT count(DISTINCT ix) FROM t") > 3
    asked = "envelope_search_range('t', 'v', date '1990-03-01', date '1990-03-02')"
    assert set(range(59, 61)) <= {i for i, in db.sql(f"SELECT id FROM t WHERE ix = ANY ({asked})")}
    rows = db.sql("SELECT id, xmin::text FROM t ORDER BY 1")
    db.sql(build())
    assert db.sql("SELECT id, xmin::text FROM t ORDER BY 1") == rows


# -- envelope.verify --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("kind, tampered", [
    ("exact", "'\\x00'::bytea"), ("exact", "(SELECT ix FROM t WHERE id = 2)"), ("exact", "NULL"), ("exact", "''::bytea"),
    ("words", "'{}'::int8[]"), ("words", "NULL"), ("words", "ix[1:1]"), ("words", "ix || 7::bigint"),
    ("words", "(SELECT ix FROM t WHERE id = 2)"),
])
def test_verify_finds_other_terms(db, kind, tampered):
    fill(db, rows=10)
    add(db, kind)
    db.sql(build())
    assert faults(db) == []
    past_the_trigger(db, f"UPDATE t SET ix = {tampered} WHERE id = 3")
    assert db.sql("SELECT tid IS NOT NULL, sqlstate FROM envelope.verify('t', 'v')") == [(True, "XX002")]
    # To ask for them repairs it.
    db.sql("UPDATE t SET ix = " + ("''" if kind == "exact" else "'{}'") + " WHERE id = 3")
    assert faults(db) == []


def test_verify_finds_terms_of_no_value(db):
    fill(db, rows=10)
    add(db)
    db.sql(build())
    past_the_trigger(db, "UPDATE t SET v = NULL WHERE id = 3")
    assert [state for state, _ in faults(db)] == ["XX002"]
    db.sql(build())
    assert faults(db) == []


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_statements(db, seed):
    """Whatever is done, verify finds nothing, and the indexes give what a look at all values gives."""
    draw = random.Random(seed)
    protect(db, how="PARTITION BY RANGE (id)")
    words = ["anna", "berta", "carl", "dora"]
    value = lambda: " ".join(draw.choices(words, k=draw.randint(0, 3)))
    steps = [
        lambda c: c.execute("INSERT INTO t (id, v) VALUES (%s, %s)", (draw.randint(0, 200), value())),
        lambda c: c.execute("UPDATE t SET v = %s WHERE id %% 7 = %s", (value(), draw.randint(0, 6))),
        lambda c: c.execute("UPDATE t SET id = 200 - id WHERE id %% 7 = %s AND id <= 200", (draw.randint(0, 6),)),
        lambda c: c.execute("UPDATE t SET v = NULL WHERE id %% 11 = %s", (draw.randint(0, 10),)),
        lambda c: c.execute("UPDATE t SET v = envelope.reseal('t', v) WHERE id % 3 = 0 AND v IS NOT NULL"),
        lambda c: c.execute("UPDATE t a SET v = b.v FROM t b WHERE a.id % 5 = 1 AND b.id = a.id + 1"),
        lambda c: c.execute("SELECT envelope.rotate_key('t')"),
        lambda c: c.execute("SELECT envelope.rotate_index_key('t')"),
        lambda c: c.execute("CALL envelope.reencrypt('t', 'v')"),
        lambda c: c.execute(build()),
        lambda c: c.execute(build("words")),
        lambda c: c.execute("DELETE FROM t WHERE id %% 13 = %s", (draw.randint(0, 12),)),
    ]
    add(db)
    add(db, "words", column="words")
    db.sql(build())
    db.sql(build("words"))
    with db.connect() as c:
        c.execute("INSERT INTO t (id, v) SELECT g, 'anna'::text::envelope.sealed FROM generate_series(0, 200, 5) g")
        for _ in range(30):
            draw.choices(steps, [6, 6, 4, 2, 2, 2, 1, 1, 1, 1, 1, 2])[0](c)
        assert faults(db) == []
        clear = c.execute("SELECT tableoid, ctid, envelope_decrypt_text('t', v) FROM t WHERE v IS NOT NULL").fetchall()
        for text in {text for _, _, text in clear} | {"nobody"}:
            rows = c.execute("SELECT tableoid, ctid FROM t WHERE ix = ANY (envelope_search('t', 'v', %s::text, 'ix'))",
                             (text,)).fetchall()
            assert sorted(rows) == sorted((part, at) for part, at, it in clear if it == text)
        for word in words:
            rows = c.execute("SELECT tableoid, ctid FROM t WHERE words @> envelope_search_tokens('t', 'v', %s::text, 'words')",
                             (word,)).fetchall()
            assert sorted(rows) == sorted((part, at) for part, at, it in clear if word in it.split())
