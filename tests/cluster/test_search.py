"""Finding sealed values by ordinary indexes: what the planner makes of it, and what comes back."""

import pytest
from conftest import Database


def plan(connection, query, params=None):
    """The lines of a plan."""
    return [line for (line,) in connection.execute(f"EXPLAIN (COSTS OFF) {query}", params).fetchall()]


def uses(connection, index, query, params=None):
    """Whether a plan reads that index with a condition on it."""
    lines = plan(connection, query, params)
    at = [n for n, line in enumerate(lines) if f" on {index}" in line or f"using {index}" in line]
    return bool(at) and any("Index Cond:" in line for line in lines[at[0]:at[0] + 3])


# -- sets of tokens ---------------------------------------------------------------------------------------------------

SETS = """
    CREATE TABLE sets (id int PRIMARY KEY, owner text, tokens bigint[]);
    INSERT INTO sets SELECT i, CASE i % 2 WHEN 0 THEN 'me' ELSE 'you' END,
                            ARRAY[-9, i, 10000 + i / 100, 20000 + i / 1000] FROM generate_series(1, 10000) i;
    INSERT INTO sets VALUES (10001, 'me', NULL), (10002, 'me', '{}'), (10003, 'me', '{NULL,7}'), (10004, 'me', '{9,7,8}'),
                            (10005, 'me', '{{7,30001},{30002,30003}}');
    CREATE INDEX sets_tokens ON sets USING gin (tokens);
    ANALYZE sets;
"""


@pytest.fixture(scope="module")
def sets(cluster):
    db = Database(cluster)
    db.sql(SETS)
    return db


@pytest.fixture
def undone(sets):
    """A connection whose changes are undone."""
    with sets.connect(autocommit=False) as c:
        yield c
        c.rollback()


ASKED = ["{7}", "{7,8}", "{8,7,30002}", "{}", "{NULL}", "{NULL,7}", "{10003,7}", "{{20001,7},{9,10005}}", "{-9,77}", None,
         "{9223372036854775807,-9223372036854775808}"]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("indexed", [True, False])
def test_sets_of_tokens_are_compared_as_postgresql_does(sets, asked, indexed):
    with sets.connect() as c:
        c.execute(f"SET enable_seqscan = {'off' if indexed else 'on'}; SET enable_bitmapscan = {'on' if indexed else 'off'}")

        def rows(condition):
            found = c.execute(f"SELECT id FROM sets WHERE {condition} ORDER BY id", {"asked": asked}).fetchall()
            return [number for (number,) in found]

        assert rows("envelope.any_token(tokens, %(asked)s)") == rows("tokens && %(asked)s::bigint[]")
        # Where nothing is asked for, nothing is found.
        contained = rows("tokens @> %(asked)s::bigint[]") if asked != "{}" else []
        assert rows("envelope.all_tokens(tokens, %(asked)s)") == contained


@pytest.mark.parametrize("function, operator", [("any_token", "&&"), ("all_tokens", "@>")])
def test_a_set_of_tokens_is_an_index_condition(undone, function, operator):
    c, condition = undone, f"envelope.{function}(tokens, %s)"
    lines = plan(c, f"SELECT * FROM sets WHERE {condition}", ("{77}",))
    assert any(f"Index Cond: (tokens {operator} " in line for line in lines)
    # By a function's value, which is known when the index is read.
    c.execute("CREATE FUNCTION asked(n int) RETURNS bigint[] STABLE LANGUAGE sql AS 'SELECT ARRAY[n::bigint]'")
    c.execute("ALTER FUNCTION asked(int) STRICT PARALLEL SAFE COST 10")
    assert uses(c, "sets_tokens", f"SELECT * FROM sets WHERE envelope.{function}(tokens, asked(77))")
    # Not by a column of the row itself, nor by what may be another set each time.
    for asked in ("ARRAY[id::bigint]", "ARRAY[(random() * 9)::bigint]"):
        assert not uses(c, "sets_tokens", f"SELECT * FROM sets WHERE envelope.{function}(tokens, {asked})")
    # Nor of a column that is not the index's.
    assert not uses(c, "sets_tokens", f"SELECT * FROM sets WHERE envelope.{function}(%s, ARRAY[id::bigint])", ("{7}",))


@pytest.mark.parametrize("function", ["any_token", "all_tokens"])
def test_the_index_is_read_whatever_the_query_looks_like(sets, function):
    with sets.connect() as c:
        for mode in ("force_generic_plan", "force_custom_plan"):
            c.execute(f"SET plan_cache_mode = {mode}")
            c.execute(f"PREPARE asks(bigint[]) AS SELECT id FROM sets WHERE envelope.{function}(tokens, $1)")
            assert uses(c, "sets_tokens", "EXECUTE asks('{77}')")
            assert c.execute("EXECUTE asks('{77}')").fetchall() == [(77,)]
            c.execute("DEALLOCATE asks")
        joined = f"SELECT s.id FROM (VALUES ('{{5}}'::bigint[]), ('{{6}}')) v (asked) JOIN sets s ON envelope.{function}(s.tokens, v.asked)"
        assert uses(c, "sets_tokens", joined)
        assert c.execute(f"{joined} ORDER BY 1").fetchall() == [(5,), (6,)]
        either = f"SELECT id FROM sets WHERE envelope.{function}(tokens, '{{5}}') OR id = 8 OR envelope.{function}(tokens, '{{6}}')"
        assert any("BitmapOr" in line for line in plan(c, either))
        assert sorted(c.execute(either).fetchall()) == [(5,), (6,), (8,)]


def test_the_index_is_read_in_every_partition(db):
    db.sql("CREATE TABLE parted (id int, tokens bigint[]) PARTITION BY RANGE (id);"
           "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (5000);"
           "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (5000) TO (10000);"
           "INSERT INTO parted SELECT i, ARRAY[i % 3000] FROM generate_series(1, 9999) i;"
           "CREATE INDEX ON parted USING gin (tokens); ANALYZE parted")
    query = "SELECT id FROM parted WHERE envelope.any_token(tokens, '{2500}') ORDER BY 1"
    with db.connect() as c:
        assert uses(c, "parted_1_tokens_idx", query) and uses(c, "parted_2_tokens_idx", query)
        assert c.execute(query).fetchall() == [(2500,), (5500,), (8500,)]


@pytest.mark.parametrize("function, operator", [("any_token", "&&"), ("all_tokens", "@>")])
def test_the_index_is_read_under_row_security_and_security_barriers(sets, undone, function, operator):
    """PostgreSQL's own operators are not leakproof: it would look at the rows of others first, and so does not."""
    c = undone
    c.execute("CREATE VIEW mine WITH (security_barrier) AS SELECT * FROM sets WHERE owner = 'me'")
    by_view = "SELECT id FROM mine WHERE {}"
    assert uses(c, "sets_tokens", by_view.format(f"envelope.{function}(tokens, '{{78}}')"))
    assert not uses(c, "sets_tokens", by_view.format(f"tokens {operator} '{{78}}'"))
    c.execute(f"ALTER TABLE sets ENABLE ROW LEVEL SECURITY; GRANT SELECT ON sets TO {sets.low};"
              "CREATE POLICY mine ON sets USING (owner = 'me')")
    c.execute(f"SET ROLE {sets.low}")
    query = f"SELECT id FROM sets WHERE envelope.{function}(tokens, '{{78}}')"
    assert uses(c, "sets_tokens", query)
    assert c.execute(query).fetchall() == [(78,)]
    assert c.execute(f"SELECT id FROM sets WHERE envelope.{function}(tokens, '{{77}}')").fetchall() == []


def test_the_planner_expects_as_many_rows_as_of_the_operator(sets):
    with sets.connect() as c:
        for function, operator in (("any_token", "&&"), ("all_tokens", "@>")):
            expected = [c.execute(f"EXPLAIN (FORMAT JSON) SELECT * FROM sets WHERE {condition}").fetchone()[0][0]["Plan"]
                        for condition in (f"envelope.{function}(tokens, '{{20003}}')", f"tokens {operator} '{{20003}}'")]
            assert expected[0]["Plan Rows"] == expected[1]["Plan Rows"] < 2000
