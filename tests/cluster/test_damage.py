"""CALL envelope.reencrypt with on_damage => 'skip': values that do not open are passed by, counted, and told."""

import threading

import pytest
from harness import faults, process, sealed
from harness.work import Work
from sqlstate import fails

ROWS = 1000
SKIP = "CALL envelope.reencrypt('people', 'ssn', 50, on_damage => 'skip'{})"


def fill(db, rows=ROWS):
    db.people()
    db.sql(f"INSERT INTO people SELECT g, convert_to('v' || g, 'UTF8') FROM generate_series(1, {rows}) g")


def past_the_trigger(db, *statements, table="people"):
    db.sql(f"ALTER TABLE {table} DISABLE TRIGGER seal")
    for statement in statements:
        db.sql(statement)
    db.sql(f"ALTER TABLE {table} ENABLE TRIGGER seal")


def damage(db, where, table="people"):
    past_the_trigger(db, f"UPDATE {table} SET ssn = set_byte(ssn, 45, get_byte(ssn, 45) # 255) WHERE {where}", table=table)


def census(db, table="people"):
    return {(version, state): rows for version, state, rows in
            db.sql("SELECT version, state, rows FROM envelope.census(%s, 'ssn')", (table,))}


def progress(db, relation="public.people"):
    """Rows done, damaged, in clear, and whether it has ended."""
    return db.sql("SELECT rows_done, rows_damaged, rows_plaintext, finished_at IS NOT NULL FROM envelope.progress "
                  "WHERE relation = %s", (relation,))[0]


def told(db, statement):
    """The WARNINGs of a statement: message, DETAIL, HINT."""
    notices = []
    with db.connect() as c:
        c.add_notice_handler(lambda n: notices.append((n.message_primary, n.message_detail or "", n.message_hint or "")))
        c.execute(statement)
    return notices


def test_the_others_are_brought_along(db):
    fill(db)
    damage(db, "id IN (777, 778, 1)")
    past_the_trigger(db, "UPDATE people SET ssn = 'plain' WHERE id = 5")
    sealed.second_version(db.sql, "people")
    with fails("22000"):
        db.sql("CALL envelope.reencrypt('people', 'ssn')")
    (message, detail, hint), = told(db, SKIP.format(""))
    assert "3 that do not open" in detail and "1 in clear" in detail and "envelope.verify(" in hint
    assert census(db) == {(2, "active"): ROWS - 4, (1, "decrypt-only"): 3, (None, "not sealed"): 1}
    assert progress(db) == (ROWS - 4, 3, 1, True)
    # The statement of the HINT lists them.
    listed = hint[hint.index("SELECT * FROM envelope.verify"):].rstrip(".")
    assert len(db.sql(listed)) == 4
    assert db.value("SELECT count(*) FROM people WHERE id NOT IN (777, 778, 1, 5) "
                    "AND envelope_decrypt_text('people', ssn) = 'v' || id") == ROWS - 4
    # Again: nothing to do, and the same is said.
    assert told(db, SKIP.format(""))[0][1] == detail
    # Their key is in use by them, still.
    with fails("55006"):
        db.sql("SELECT envelope.destroy_key(key_id, 'x') FROM envelope.keys WHERE version = 1")
    # What is mended is told no more.
    db.sql("DELETE FROM people WHERE id IN (777, 778, 1, 5)")
    assert told(db, SKIP.format(", strict => true")) == []
    assert progress(db)[1:] == (0, 0, True)


def test_strict_is_an_error_at_the_end(db):
    fill(db, 100)
    damage(db, "id = 7")
    sealed.second_version(db.sql, "people")
    with fails("22000"):
        db.sql(SKIP.format(", strict => true"))
    assert census(db) == {(2, "active"): 99, (1, "decrypt-only"): 1}


def test_under_the_active_key(db):
    """Nothing is to be done with them; they are looked at to verify."""
    fill(db, 100)
    damage(db, "id IN (7, 8)")
    with fails("22000"):
        db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert "2 that do not open" in told(db, SKIP.format(""))[0][1]
    assert told(db, SKIP.format(", verify => false")) == []


def test_values_that_postgresql_cannot_read(db):
    db.sql("CREATE EXTENSION pg_surgery")
    db.people()
    db.sql("ALTER TABLE people ALTER ssn SET STORAGE EXTERNAL")
    db.sql("INSERT INTO people SELECT g, decode(repeat('00', 9000), 'hex') FROM generate_series(1, 30) g")
    toast = db.value("SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'people'::regclass")
    ids = [i for i, in db.sql(f"SELECT DISTINCT chunk_id FROM {toast} ORDER BY 1")]
    # Of one not even the header.
    for at, parts in ((4, "chunk_seq >= 0"), (9, "chunk_seq = 4")):
        chunks = db.value(f"SELECT array_agg(ctid)::text FROM {toast} WHERE chunk_id = {ids[at]} AND {parts}")
        db.sql("SELECT heap_force_kill(%s, %s::tid[])", (toast, chunks))
    sealed.second_version(db.sql, "people")
    with fails("XX001"):
        db.sql("CALL envelope.reencrypt('people', 'ssn')")
    (_, detail, _), = told(db, SKIP.format(""))
    assert "2 that do not open" in detail
    assert progress(db) == (28, 2, 0, True)


def test_under_a_retired_key_and_below_the_minimum(db):
    fill(db, 20)
    sealed.second_version(db.sql, "people")
    db.sql("UPDATE people SET ssn = 'second' WHERE id = 1")
    sealed.second_version(db.sql, "people")
    db.sql("SELECT envelope.retire_key(key_id) FROM envelope.keys WHERE version = 1")
    with fails("55000"):
        db.sql("CALL envelope.reencrypt('people', 'ssn')")
    assert "19 that do not open" in told(db, SKIP.format(""))[0][1]
    assert census(db) == {(3, "active"): 1, (1, "retired"): 19}
    db.sql("SELECT envelope.unretire_key(key_id) FROM envelope.keys WHERE version = 1")
    assert told(db, SKIP.format("")) == []
    assert census(db) == {(3, "active"): 20}


def test_under_a_destroyed_key(db):
    """Lost on purpose, and counted as that."""
    fill(db, 20)
    sealed.second_version(db.sql, "people")
    db.sql("UPDATE people SET ssn = 'second' WHERE id < 5")
    db.sql("SELECT envelope.destroy_key(key_id, 'x', shred => true) FROM envelope.keys WHERE version = 1")
    (_, detail, _), = told(db, SKIP.format(""))
    assert "16 under destroyed keys" in detail and "do not open" not in detail
    assert progress(db)[1] == 0


def test_over_partitions(db):
    db.sql("CREATE TABLE people (id int, ssn bytea) PARTITION BY RANGE (id)")
    for i in range(3):
        db.sql(f"CREATE TABLE p{i} PARTITION OF people FOR VALUES FROM ({i * 100}) TO ({i * 100 + 100})")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO people SELECT g, 'x' FROM generate_series(0, 299) g")
    damage(db, "id IN (5, 105, 106)")
    sealed.second_version(db.sql, "people")
    with db.connect() as c:
        # It ends, although every partition that is looked at again still has such a value.
        c.execute("SET statement_timeout = '60s'")
        c.execute(SKIP.format(""))
    assert census(db) == {(2, "active"): 297, (1, "decrypt-only"): 3}
    assert [progress(db, f"public.p{i}")[:2] for i in range(3)] == [(99, 1), (98, 2), (100, 0)]


def test_a_key_or_a_kms_that_cannot_be_had_is_no_damage(aws, proxy):
    fill(aws, 20)
    damage(aws, "id = 3")
    sealed.second_version(aws.sql, "people")
    proxy.fault("*", faults.reset)
    with fails("58030"):
        aws.sql(SKIP.format(""))
    proxy.clear()
    assert census(aws) == {(1, "decrypt-only"): 20}
    aws.sql(SKIP.format(""))
    assert census(aws) == {(2, "active"): 19, (1, "decrypt-only"): 1}


def test_a_right_that_is_missing_is_no_damage(db):
    """A value of another keyring that the table may open with, but not this role."""
    fill(db, 5)
    db.people("others", ["x"])
    db.sql("SELECT envelope.share_keyring('others', 'people')")
    past_the_trigger(db, "UPDATE people SET ssn = (SELECT ssn FROM others) WHERE id = 3")
    db.sql(f"GRANT SELECT, UPDATE ON people TO {db.low}")
    for verb in ("manage", "encrypt", "decrypt"):
        db.sql(f"SELECT envelope.grant_key('people', '{db.low}', '{verb}')")
    sealed.second_version(db.sql, "people")
    with fails("42501"):
        db.sql(SKIP.format(""), user=db.low)


@pytest.mark.parametrize("value", ["NULL", "'ignore'", "''"])
def test_what_it_can_be(db, value):
    fill(db, 3)
    with fails("22023"):
        db.sql(f"CALL envelope.reencrypt('people', 'ssn', on_damage => {value})")


def test_cut_off_and_called_again(db):
    """The counts are those of the last pass, however often it began."""
    fill(db)
    damage(db, "id % 100 = 0")
    sealed.second_version(db.sql, "people")
    for _ in range(3):
        with db.connect() as c:
            running = Work(c.execute, SKIP.format(", pause => '20 ms'"))
            before = progress_or_zero(db)
            process.wait_until(lambda before=before: progress_or_zero(db) > before or not running.is_alive(), "some rows")
            db.sql("SELECT pg_cancel_backend(%s)", (c.info.backend_pid,))
            running.outcome()
    db.sql(SKIP.format(""))
    assert progress(db) == (ROWS - 10, 10, 0, True)
    assert census(db) == {(2, "active"): ROWS - 10, (1, "decrypt-only"): 10}


def progress_or_zero(db):
    return (db.sql("SELECT rows_done FROM envelope.progress") or [(0,)])[0][0]


def test_beside_writers_and_held_rows(db):
    """The long way for held rows and that for damaged values are one."""
    fill(db)
    damage(db, "id % 50 = 0")
    sealed.second_version(db.sql, "people")
    stop = threading.Event()

    def write():
        with db.connect() as c:
            for i in range(10**9):
                if stop.is_set():
                    return
                c.execute("UPDATE people SET ssn = %s WHERE id = %s", (f"w{i}".encode(), i % ROWS // 50 * 50 + 1))

    with db.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM people WHERE id IN (2, 50, 500, 502) FOR UPDATE")
        writer = Work(write)
        running = Work(db.sql, SKIP.format(", row_lock_timeout => '1 min'"))
        process.wait_until(lambda: progress_or_zero(db) >= ROWS - 60, "all others")
        holder.execute("COMMIT")
    running.result()
    stop.set()
    writer.result()
    db.sql(SKIP.format(""))
    assert census(db) == {(2, "active"): ROWS - 20, (1, "decrypt-only"): 20}
    assert progress(db)[1] == 20
    assert db.value("SELECT count(*) FROM people WHERE id % 50 <> 0 "
                    "AND envelope_decrypt_text('people', ssn) !~ '^[vw][0-9]+$'") == 0
