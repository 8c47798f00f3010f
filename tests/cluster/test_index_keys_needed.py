"""An index key stays as long as something is under it: terms, tokens, boundary sets, what queries ask."""

import pytest
from harness import process
from harness.index_keys import give, states
from harness.work import Work
from sqlstate import fails

OUT = {"retire": "SELECT envelope.retire_key(%s)", "destroy": "SELECT envelope.destroy_key(%s, 'a test')"}


def marker(key_id):
    return int.from_bytes(key_id.bytes[:8], "big", signed=True)


def declare(db, table="people", keys_of=None, length=16, **more):
    """Says that the table's column `ix` holds terms or, without a length, tokens."""
    row = {"relation": table, "column_name": "ssn", "index_column": "ix", "label": f"{table}.ssn", "keys_of": keys_of,
           "rule": "exact/1" if length else "words casefold/1", "term_length": length, **more}
    names = ", ".join(row)
    values = ", ".join({"relation": "%s::text::envelope.table_ref", "keys_of": "%s::text::envelope.table_ref"}.get(n, "%s")
                       for n in row)
    db.sql(f"INSERT INTO envelope.column_index (id, {names}) VALUES (gen_random_uuid(), {values})", [*row.values()])


@pytest.fixture
def people(db):
    """A table whose index key was rotated."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    db.sql("SELECT envelope.create_key('people')")
    db.old = give(db)
    db.new = db.value("SELECT envelope.rotate_index_key('people')")
    return db


def with_terms(db, *terms, table="people"):
    db.sql(f"ALTER TABLE {table} ADD ix bytea")
    for i, term in enumerate(terms):
        db.sql(f"INSERT INTO {table} (id, ix) VALUES (%s, %s)", (i, term))


def with_tokens(db, *sets, table="people"):
    db.sql(f"ALTER TABLE {table} ADD ix int8[]")
    for i, tokens in enumerate(sets):
        db.sql(f"INSERT INTO {table} (id, ix) VALUES (%s, %s::int8[])", (i, tokens))


def refuses(db):
    """The old key, whatever is asked; the error of the last."""
    for statement in OUT.values():
        with fails("55006") as caught:
            db.sql(statement, (db.old,))
    assert states(db) == ["decrypt-only", "active"]
    return caught.value.diag


def lets_go(db):
    for statement in OUT.values():
        db.sql(statement, (db.old,))
    assert states(db) == ["destroyed", "active"]


def test_a_term(people):
    with_terms(people, people.new.bytes[:2] + bytes(16), None, people.old.bytes[:2] + bytes(16))
    declare(people)
    diag = refuses(people)
    assert "ctid (0,3)" in diag.message_detail
    people.sql("UPDATE people SET ix = NULL WHERE id = 2")
    lets_go(people)


def test_a_term_that_is_stored_out_of_line(people):
    """Nobody makes such terms; what is compressed is found all the same."""
    with_terms(people, people.old.bytes[:2] + bytes(100_000))
    declare(people)
    refuses(people)


def test_tokens_of_it_alone(people):
    old, new = marker(people.old), marker(people.new)
    with_tokens(people, sorted([new, 5, 6]), None, [], sorted([old, new, 7]), sorted([old, *range(5000)]))
    declare(people, length=None)
    assert "ctid (0,5)" in refuses(people).message_detail
    people.sql("UPDATE people SET ix = ix || %s::int8 WHERE id = 4", (new,))
    lets_go(people)


def test_tokens_that_queries_ask_for(people):
    """As long as they ask for the old ones, those count, whether or not a row has the new ones as well."""
    with_tokens(people, sorted([marker(people.old), marker(people.new)]))
    declare(people, length=None, key_id=people.old)
    refuses(people)
    people.sql("UPDATE envelope.column_index SET key_id = %s", (people.new,))
    lets_go(people)


def test_a_set_of_boundaries(people):
    with_terms(people)
    declare(people, length=8, boundaries=b"\xf7\xe1" + people.old.bytes + bytes(60))
    refuses(people)
    people.sql("UPDATE envelope.column_index SET boundaries = NULL")
    lets_go(people)


def test_another_table_that_has_its_keys(people):
    people.sql("CREATE TABLE others (id int PRIMARY KEY, ssn bytea); SELECT envelope.create_key('others')")
    with_terms(people, people.old.bytes[:2] + bytes(16), table="others")
    declare(people, "others", keys_of="people")
    refuses(people)
    with fails("55006"):
        people.sql("SELECT envelope.shred('people', 'a test')")
    people.sql("UPDATE envelope.column_index SET keys_of = NULL")
    lets_go(people)
    people.sql("SELECT envelope.shred('people', 'a test')")


def test_a_partition(db):
    db.sql("CREATE TABLE people (id int, ssn bytea, ix bytea) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE part PARTITION OF people FOR VALUES IN (1)")
    db.sql("SELECT envelope.create_key('people')")
    db.old = give(db)
    db.sql("SELECT envelope.rotate_index_key('people')")
    db.sql("INSERT INTO people (id, ix) VALUES (1, %s)", (db.old.bytes[:2] + bytes(16),))
    declare(db)
    assert "part" in refuses(db).message_detail
    db.sql("TRUNCATE part")
    lets_go(db)


def test_what_a_copy_of_a_destroyed_key_is_good_for(people):
    said = []
    with people.connect() as c:
        c.add_notice_handler(lambda diag: said.append(diag.message_detail or ""))
        c.execute(OUT["destroy"], (people.old,))
    assert any("find values" in detail for detail in said)


def test_shred_does_not_look(people):
    with_terms(people, people.old.bytes[:2] + bytes(16))
    declare(people)
    people.sql("SELECT envelope.destroy_key(%s, 'a test', shred => true)", (people.old,))
    assert states(people) == ["destroyed", "active"]


@pytest.mark.parametrize("out", OUT)
def test_it_waits_for_who_is_writing(people, out):
    with_terms(people)
    declare(people)
    with people.connect() as writer, people.connect() as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO people (id, ix) VALUES (1, %s)", (people.old.bytes[:2] + bytes(16),))
        going = Work(c.execute, OUT[out], (people.old,))
        process.wait_until(lambda: people.waits_for_lock(c.info.backend_pid), "waiting")
        writer.execute("COMMIT")
        assert going.error().sqlstate == "55006"
    assert states(people) == ["decrypt-only", "active"]
