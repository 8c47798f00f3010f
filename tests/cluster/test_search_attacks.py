"""Search that loses rows without a word, gives away what it should not, or brings the server down: tried by hand once."""

import psycopg
import pytest
from sqlstate import fails

SEAL = "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION envelope_seal('{1}')"


def protected(db, name="t", rows=("one", "two", "three"), columns="id int PRIMARY KEY, v envelope.sealed", how=""):
    """A table of texts, sealed in column `v`."""
    db.sql(f"CREATE TABLE {name} ({columns}) {how}")
    db.sql(f"SELECT envelope.set_policy('{name}', 'v', form => 'sealed', value_type => 'text')")
    db.sql(SEAL.format(name, "v"))
    if not how:
        for number, text in enumerate(rows, 1):
            db.sql(f"INSERT INTO {name} (id, v) VALUES (%s, %s)", (number, text))


def indexed(db, name="t", kind="exact", column="ix", build=True, **more):
    given = "".join(f", {key} => %({key})s" for key in more)
    db.sql(f"SELECT envelope.add_index('{name}', 'v', %(kind)s, index_column => %(column)s{given})",
           {"kind": kind, "column": column, **more})
    if build:
        with db.connect() as c:
            c.execute(f"CALL envelope.build_index('{name}', 'v', '{column}')")


def found(c, text, name="t", column="ix", tokens=False):
    asked = f"envelope_search{'_tokens' if tokens else ''}('{name}', 'v', %s::text, '{column}')"
    condition = f"{column} @> {asked}" if tokens else f"{column} = ANY ({asked})"
    return [number for number, in c.execute(f"SELECT id FROM {name} WHERE {condition} ORDER BY id", (text,)).fetchall()]


def is_built(db, name="t"):
    return db.value("SELECT bool_and(built) FROM envelope.column_index WHERE relation = %s::text::regclass::oid", (name,))


# -- values of other types where terms are due ------------------------------------------------------------------------

@pytest.mark.parametrize("terms", ["5", "'abc'::text", "'{1}'::bigint[]", "'{1}'::int[]", "ROW(1, 2)", "1.5::float8"])
@pytest.mark.parametrize("call", [
    "envelope.is_unindexed(t.tableoid, v::bytea, '', NULL, 'v', ctid, 'ix', {})",
    "envelope.indexed(t.tableoid, v::bytea, '', NULL, 'v', ctid, 'ix', {})",
    "envelope.row_fault(t.tableoid, v::bytea, '', NULL, '{{ix}}', {})",
    "envelope.row_fault(t.tableoid, v::bytea, '', NULL, '{{ix}}', VARIADIC ARRAY[{}])",
])
def test_what_is_no_term_is_not_read_as_one(db, call, terms):
    protected(db)
    indexed(db)
    with db.connect() as c:
        with pytest.raises(psycopg.DatabaseError) as error:
            c.execute(f"SELECT {call.format(terms)} FROM t")
        assert error.value.sqlstate == "42804"
        assert c.execute("SELECT 1").fetchone() == (1,)


def test_terms_are_no_tokens(db):
    protected(db)
    indexed(db)
    indexed(db, kind="words", column="words")
    for call in ("envelope.tokens_asked('t', 'v', 'ix', '=', 'one'::text)",
                 "envelope.terms_asked('t', 'v', 'words', 'words', 'one'::text)"):
        with fails("22023"):
            db.sql(f"SELECT {call}")
