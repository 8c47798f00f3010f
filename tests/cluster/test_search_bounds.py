"""Ranges whose ends the column's type cannot hold: as PostgreSQL answers them on the plain column."""

import pytest
from conftest import Database
from sqlstate import fails

# The type of a column, its values, and ends far outside and just outside of it.
COLUMNS = {
    "smallint": (["-32768", "-5", "0", "7", "32767"], ["40000::int", "-40000::int", "9223372036854775807", "-9223372036854775808", "7::smallint"]),
    "integer": (["-2147483648", "0", "7", "2147483647"], ["5000000000", "-5000000000", "'99999999999999999999'", "'-99999999999999999999'"]),
    "bigint": (["-9223372036854775808", "0", "9223372036854775807"], ["'9223372036854775808'", "'-9223372036854775809'"]),
    "numeric(6,2)": (["-9999.99", "0", "12.34", "9999.99"],
                     ["10000", "-10000", "9999.995", "-9999.995", "12.335", "12.344", "1e300::numeric", "5000000000", "'123456'"]),
    "real": (["-3.4e38", "0", "1.5", "3.4e38", "Infinity", "-Infinity", "NaN"],
             ["1e300::float8", "-1e300::float8", "'1e99'", "'NaN'::float8", "'Infinity'::float8", "10::numeric ^ 60"]),
    "double precision": (["-1e308", "0", "1e308", "Infinity", "-Infinity", "NaN"],
                         ["10::numeric ^ 400", "-(10::numeric ^ 400)", "'1e999'", "'-1e999'"]),
    "date": (["1964-08-12", "4714-11-24 BC", "5874897-12-31", "infinity", "-infinity"],
             ["date '9999-12-31'", "date '0001-01-01'", "date 'infinity'", "date '-infinity'"]),
    "timestamp": (["1964-08-12 12:00", "4714-11-24 BC", "294276-12-31", "infinity", "-infinity"],
                  ["date '9999-12-31'", "date '5874897-12-31'", "timestamp 'infinity'"]),
    "time": (["00:00", "12:00", "24:00"], ["time '24:00'", "time '00:00'"]),
}
# The domain of a tree, and the boundary of two classes.
DOMAINS = {"smallint": ("0", "99"), "integer": ("0", "99"), "bigint": ("0", "99"), "numeric(6,2)": ("0", "99.99"),
           "real": ("0", "99"), "double precision": ("0", "99"), "date": ("1950-01-01", "1999-12-31"),
           "timestamp": ("1950-01-01", "1999-12-31"), "time": ("10:00", "13:00")}
KINDS = ("buckets", "tree")


@pytest.fixture(scope="module")
def bounds(cluster):
    return Database(cluster)


def make(db, name, of, kind):
    """A table with some values of a type, and their index."""
    values, _ = COLUMNS[of]
    db.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, plain {of}, v envelope.sealed)")
    db.sql(f"SELECT envelope.set_policy('{name}', 'v', value_type => '{of}')")
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    for number, value in enumerate(values):
        db.sql(f"INSERT INTO {name} VALUES (%s, %s, %s)", (number, value, value))
    low, high = DOMAINS[of]
    options = f'{{"bounds": ["{high}"]}}' if kind == "buckets" else f'{{"low": "{low}", "high": "{high}"}}'
    db.sql(f"SELECT envelope.add_index('{name}', 'v', '{kind}', 'ix', options => %s, force => true)", (options,))
    db.sql(f"CALL envelope.build_index('{name}', 'v', 'ix')")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of", COLUMNS)
def test_ends_that_the_column_cannot_hold(bounds, of, kind):
    _, ends = COLUMNS[of]
    db, name = bounds, f"t_{list(COLUMNS).index(of)}_{kind}"
    make(db, name, of, kind)
    with db.connect() as c:
        c.execute(f"CREATE INDEX ON {name} {'USING gin ' if kind == 'tree' else ''}(ix); ANALYZE {name}")
        suffix, meets = ("", "= ANY") if kind == "buckets" else ("_tokens", "&&")
        for end in ends:
            plain_end = f"{end}::numeric" if end.startswith("'") and "NaN" not in end and "nf" not in end else end
            plain = f"plain::{'numeric' if 'numeric' in plain_end else of.split('(')[0]}" if of != "real" else "plain::float8"
            if of in ("real", "double precision"):
                # Which has infinities from PostgreSQL 14 on.
                plain, plain_end = "plain::numeric", f"({plain_end})::numeric"
            for op in ("<", "<=", ">", ">=", "="):
                expected = c.execute(f"SELECT id FROM {name} WHERE {plain} {op} {plain_end} ORDER BY id").fetchall()
                for scan in ("on", "off"):
                    c.execute(f"SET enable_seqscan = {scan}; SET enable_indexscan = {'off' if scan == 'on' else 'on'};"
                              f"SET enable_bitmapscan = {'off' if scan == 'on' else 'on'}")
                    asked = f"SELECT id FROM {name} WHERE envelope_matches('{name}', 'v', v, ix, '{op}', {end}) ORDER BY id"
                    assert c.execute(asked).fetchall() == expected, (op, end, scan)
            # Whatever is in the range is among what terms find.
            for ask, op in (((end, "NULL"), ">="), (("NULL", end), "<=")):
                expected = c.execute(f"SELECT id FROM {name} WHERE {plain} {op} {plain_end} ORDER BY id").fetchall()
                found = c.execute(f"SELECT id FROM {name} WHERE ix {meets} (envelope_search_range{suffix}('{name}', 'v', "
                                  f"{', '.join(ask)}))").fetchall()
                assert set(expected) <= set(found), (ask, op)


def test_what_is_no_value_at_all_is_an_error(bounds):
    """PostgreSQL has one SQLSTATE for a day that is too far away, and for one that there is not."""
    db = bounds
    for kind in KINDS:
        name = f"days_{kind}"
        make(db, name, "date", kind)
        for asked, sqlstate in (("'1990-02-30'", "22008"), ("'soon'", "22007")):
            with fails(sqlstate):
                db.sql(f"SELECT id FROM {name} WHERE envelope_matches('{name}', 'v', v, ix, '<=', {asked})")
