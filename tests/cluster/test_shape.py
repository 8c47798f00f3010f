"""What `envelope.is_sealed` and `envelope.inspect` read of a value: its header, not the rest."""

import pytest

LONG = "x" * 100_000
ROWS = 20


@pytest.fixture
def long_values(db):
    """Values that are stored out of line, a dozen pages each."""
    db.sql("CREATE TABLE scans (id int, v bytea)")
    db.sql("INSERT INTO scans SELECT g, envelope_encrypt_text('scans', %s) FROM generate_series(1, %s) g", (LONG, ROWS))
    return db


def blocks(db, query):
    """From PostgreSQL 18 on, the first calls of an SQL function are each planned for their value, which reads headers
    once more."""
    with db.connect(options="-c plan_cache_mode=force_generic_plan") as c:
        [[[plan]]] = c.execute(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}")
    return plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def test_the_shape_is_told_without_the_value(long_values):
    db = long_values
    whole = blocks(db, "SELECT count(md5(v)) FROM scans")
    assert whole > 10 * ROWS
    for part in ("envelope.is_sealed(v)", "envelope.key_id_of(v)", "octet_length(v)"):
        # A few pages of the TOAST table's index, and one of its own.
        assert blocks(db, f"SELECT count({part}) FROM scans") < whole / 2, part
    # Beside what the view of keys reads.
    keys = blocks(db, "SELECT (envelope.inspect(w)).version FROM (SELECT substr(v, 1, 60) AS w FROM scans OFFSET 0) s")
    assert blocks(db, "SELECT (envelope.inspect(v)).version FROM scans") - keys < whole / 2


def test_a_check_reads_no_value_that_an_update_leaves_alone(long_values):
    db = long_values
    db.sql("ALTER TABLE scans ADD CHECK (envelope.is_sealed(v))")
    whole = blocks(db, "SELECT count(md5(v)) FROM scans")
    assert blocks(db, "UPDATE scans SET id = id + 1") < whole / 2
