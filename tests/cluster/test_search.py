"""Finding sealed values by ordinary indexes: what the planner makes of it, and what comes back."""

import psycopg
import pytest
from harness.database import Database
from harness.index_keys import give, index_keys
from interop import open as reader
from interop import search as reference
from sqlstate import fails


def plan(connection, query, params=None):
    """The lines of a plan."""
    return [line for (line,) in connection.execute(f"EXPLAIN (COSTS OFF) {query}", params).fetchall()]


def uses(connection, index, query, params=None):
    """Whether a plan reads that index with a condition on it."""
    lines = plan(connection, query, params)
    at = [n for n, line in enumerate(lines) if f" on {index}" in line or f"using {index}" in line]
    return bool(at) and any("Index Cond:" in line for line in lines[at[0]:at[0] + 3])


def table(db, name, kind, rows, form="sealed", **policy):
    """A table whose column `v` is sealed, as values of that type."""
    column = {"sealed": "envelope.sealed", "bytea": "bytea"}[form]
    db.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, v {column})")
    more = "".join(f", {key} => {value}" for key, value in policy.items())
    kind = f"'{kind}'" if kind else "NULL"
    db.sql(f"SELECT envelope.set_policy('{name}', 'v', form => '{form}', value_type => {kind}{more})")
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    with db.connect() as c, c.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {name} VALUES (%s, %s)", list(enumerate(rows, 1)))


def index(db, name, kind, index_column="v_ix", **more):
    """Adds an index to `v`, which has no terms yet, and says that it has all."""
    named = "".join(f", {key} => %({key})s" for key in more)
    db.sql(f"SELECT envelope.add_index('{name}', 'v', %(kind)s, index_column => %(index_column)s{named})",
           {"kind": kind, "index_column": index_column, **more})
    if not index_keys(db, f"public.{name}"):
        give(db, name)
    built(db, name, index_column)


def built(db, name, index_column="v_ix", is_built=True):
    db.sql("UPDATE envelope.column_index SET built = %s WHERE relation = %s::text::regclass::oid AND index_column = %s",
           (is_built, name, index_column))


def fill(db, name, terms, index_column="v_ix", where="true"):
    """Writes the terms that queries ask for to rows, past the trigger."""
    db.sql(f"ALTER TABLE {name} DISABLE TRIGGER USER; UPDATE {name} SET {index_column} = {terms} WHERE {where};"
           f"ALTER TABLE {name} ENABLE TRIGGER USER; ANALYZE {name}")


OPENED = "envelope_decrypt_text('{0}', v)"


def refused(db, sqlstate, query, params=None, user="postgres"):
    """The error of a query that fails with that SQLSTATE."""
    with fails(sqlstate) as error:
        db.sql(query, params, user=user)
    return error.value


def ids(connection, query, params=None):
    return sorted(number for number, *_ in connection.execute(query, params).fetchall())


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


# -- one value --------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def people(cluster):
    """2,000 numbers, each twice as it is written and found by its digits."""
    db = Database(cluster)
    table(db, "people", "text", [f"{1000 + n // 2}-{'0' * (n % 2)}" for n in range(4000)])
    db.sql("ALTER TABLE people ADD owner text DEFAULT 'me'")
    index(db, "people", "exact", form="digits")
    fill(db, "people", f"(envelope_search('people', 'v', {OPENED.format('people')}))[1]")
    db.sql("CREATE INDEX people_ix ON people (v_ix); ANALYZE people")
    return db


MATCHES = "envelope_matches('people', 'v', v, v_ix, '=', {})"
ANY = "v_ix = ANY (envelope_search('people', 'v', {}))"


@pytest.mark.parametrize("condition", [MATCHES, ANY])
def test_one_value_is_found_by_its_index(people, condition):
    query = f"SELECT id FROM people WHERE {condition}"
    with people.connect() as c:
        for value in ("'1 0 0 7'", "'1007'::varchar(9)", "'1007'::text"):
            assert uses(c, "people_ix", query.format(value))
            assert ids(c, query.format(value)) == [15]
        assert ids(c, query.format("'1007-1'")) == []
        assert ids(c, query.format("'10070'")) == [16]
        # A value that the client sends without a type.
        assert ids(c, query.format("%s"), ("1007",)) == [15]
        assert ids(c, query.format("NULL")) == []
        assert ids(c, query.format("NULL::text")) == []


@pytest.mark.parametrize("condition", [MATCHES, ANY])
def test_the_index_is_read_in_prepared_statements_joins_and_alternatives(people, condition):
    with people.connect() as c:
        for mode in ("force_generic_plan", "force_custom_plan"):
            c.execute(f"SET plan_cache_mode = {mode}")
            c.execute(f"PREPARE asks(text) AS SELECT id FROM people WHERE {condition.format('$1')}")
            assert uses(c, "people_ix", "EXECUTE asks('1007')")
            assert [ids(c, f"EXECUTE asks('{value}')") for value in (1007, 1008, 1)] == [[15], [17], []]
            c.execute("DEALLOCATE asks")
        c.execute("CREATE TEMP TABLE asked AS VALUES ('1007'), ('1009'), (NULL), ('10090')")
        joined = f"SELECT p.id FROM asked a JOIN people p ON {condition.format('a.column1')}"
        assert uses(c, "people_ix", joined)
        assert ids(c, joined) == [15, 19, 20]
        either = f"SELECT id FROM people WHERE {condition.format(chr(39) + '1007' + chr(39))} OR id = 3 OR {condition.format('(SELECT 1008::text)')}"
        assert any("BitmapOr" in line for line in plan(c, either))
        assert ids(c, either) == [3, 15, 17]
        # What may be another value each time is not computed twice.
        assert not any("_asked(" in line for line in plan(c, f"SELECT id FROM people WHERE {MATCHES.format('random()::text')}"))


def test_every_index_that_compares_bytes_is_read(people):
    query = f"SELECT id FROM people WHERE {MATCHES.format(chr(39) + '1007' + chr(39))}"
    with people.connect(autocommit=False) as c:
        c.execute("DROP INDEX people_ix; CREATE INDEX people_hash ON people USING hash (v_ix)")
        assert uses(c, "people_hash", query)
        assert ids(c, query) == [15]
        c.execute("DROP INDEX people_hash; CREATE INDEX people_both ON people (owner, v_ix)")
        assert uses(c, "people_both", f"{query} AND owner = 'me'")
        c.execute("DROP INDEX people_both; CREATE INDEX people_part ON people (v_ix) WHERE owner = 'me'")
        assert uses(c, "people_part", f"{query} AND owner = 'me'")
        # Without one, what cannot match is not opened.
        c.execute("DROP INDEX people_part; ALTER TABLE people DISABLE TRIGGER USER; "
                  "UPDATE people SET v_ix = NULL WHERE id = 16; ALTER TABLE people ENABLE TRIGGER USER")
        c.rollback()


@pytest.mark.parametrize("condition", [MATCHES, ANY])
def test_the_index_is_read_under_row_security_and_through_views(people, condition):
    query = f"SELECT id FROM people WHERE {condition.format(chr(39) + '1007' + chr(39))}"
    with people.connect(autocommit=False) as c:
        # As row security has it, those of others are not even opened.
        c.execute(f"UPDATE people SET owner = 'you' WHERE id % 2 = 0; GRANT SELECT ON people TO {people.low};"
                  f"SELECT envelope.grant_key('people', '{people.low}', 'decrypt, search');"
                  "ALTER TABLE people ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON people USING (owner = 'me')")
        c.execute("CREATE VIEW barrier WITH (security_barrier) AS SELECT id, v, v_ix FROM people WHERE owner = 'me'")
        c.execute("CREATE VIEW renamed AS SELECT id AS n, v AS sealed, v_ix AS ix FROM people LIMIT 100000")
        assert uses(c, "people_ix", query.replace("FROM people", "FROM barrier"))
        assert ids(c, query.replace("FROM people", "FROM barrier")) == [15]
        renamed = query.replace("SELECT id FROM people", "SELECT n FROM renamed").replace("v_ix", "ix").replace(" v,", " sealed,")
        assert ids(c, renamed) == [15]
        c.execute(f"SET ROLE {people.low}")
        assert uses(c, "people_ix", query)
        assert ids(c, query) == [15]
        assert ids(c, query.replace("1007", "10070")) == []
        c.rollback()


def test_the_index_is_read_through_a_view_of_opened_values(people):
    with people.connect(autocommit=False) as c:
        c.execute("SELECT envelope.open_view('people', 'opened', execute => true)")
        query = "SELECT id, v FROM opened WHERE v_ix = ANY (envelope_search('people', 'v', '1007'))"
        assert uses(c, "people_ix", query)
        assert c.execute(query).fetchall() == [(15, "1007-")]
        query = "SELECT id, v FROM opened WHERE envelope_matches('people', 'v', v_sealed, v_ix, '=', '1007')"
        assert uses(c, "people_ix", query)
        assert c.execute(query).fetchall() == [(15, "1007-")]
        c.rollback()


def test_partitions_are_searched_by_their_own_indexes(db):
    db.sql("CREATE TABLE parted (id int, v envelope.sealed) PARTITION BY RANGE (id);"
           "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (3000);"
           "CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (3000) TO (6000);"
           "SELECT envelope.set_policy('parted', 'v', value_type => 'bigint');"
           "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON parted FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');"
           "INSERT INTO parted SELECT i, i % 2500 FROM generate_series(0, 5999) i")
    index(db, "parted", "exact")
    fill(db, "parted", "(envelope_search('parted', 'v', id % 2500))[1]")
    db.sql("CREATE INDEX ON parted (v_ix)")
    query = "SELECT id FROM parted WHERE envelope_matches('parted', 'v', v, v_ix, '=', 77)"
    with db.connect() as c:
        assert uses(c, "parted_1_v_ix_idx", query) and uses(c, "parted_2_v_ix_idx", query)
        assert ids(c, query) == [77, 2577, 5077]
        # By the name of a partition, too.
        by_part = "SELECT id FROM parted_2 WHERE envelope_matches('parted_2', 'v', v, v_ix, '=', 77)"
        assert uses(c, "parted_2_v_ix_idx", by_part)
        assert ids(c, by_part) == [5077]


def test_what_is_no_index_column_of_the_table_is_no_condition(people):
    people.sql("CREATE TABLE IF NOT EXISTS others AS SELECT id, v, v_ix, v_ix AS copy FROM people")
    with people.connect() as c:
        # Another table's column of the name, an expression: each value is compared.
        for column in ("o.v_ix", "coalesce(o.v_ix)", "o.copy"):
            query = f"SELECT id FROM others o WHERE envelope_matches('people', 'v', v, {column}, '=', '1007')"
            assert not any("_asked(" in line for line in plan(c, query))


# -- which value ------------------------------------------------------------------------------------------------------

def same(db, kind, stored, *asked, form="sealed", **more):
    """Which of the `asked` SQL values are found as the one that is stored."""
    name = "same"
    db.sql(f"DROP TABLE IF EXISTS {name}")
    table(db, name, kind, [stored], form=form, **more)
    index(db, name, "exact")
    found = []
    with db.connect() as c:
        c.execute("SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = sql_standard")
        c.execute(f"ALTER TABLE {name} DISABLE TRIGGER USER; UPDATE {name} SET v_ix = (envelope_search('{name}', 'v', {asked[0]}))[1]")
        for value in asked:
            by_term = c.execute(f"SELECT count(*) FROM {name} WHERE v_ix = ANY (envelope_search('{name}', 'v', {value}))").fetchone()[0]
            matches = c.execute(f"SELECT envelope_matches('{name}', 'v', v, NULL::bytea, '=', {value}) FROM {name}").fetchone()[0]
            assert (by_term == 1) is matches, value
            found.append(matches)
    return found


@pytest.mark.parametrize("kind, stored, equal, other", [
    ("integer", "7", ["7", "'7'", "7::smallint", "7::bigint", "' 7'"], ["8", "7000000000", "'-7'"]),
    ("numeric", "5.50", ["5.5", "'5.50'", "5.500", "5.50::numeric(9,4)"], ["5", "5.51", "5.505"]),
    ("numeric(6,2)", "5.50", ["5.5", "'5.5'"], ["5.501", "5.5049", "5"]),
    ("double precision", "0.5", ["0.5", "0.5::real", "0.50::numeric", "'5e-1'"], ["1", "'NaN'"]),
    ("date", "2026-11-30", ["'2026-11-30'", "date '30/11/2026'", "'20261130'"], ["'2026-11-29'"]),
    ("timestamptz", "2026-11-30T05:00:00Z", ["'2026-11-30 05:00'", "timestamptz '2026-11-30 05:00+00'", "'2026-11-30T05:00:00Z'"],
     ["timestamptz '2026-11-30 05:00'"]),
    ("interval", "P1D", ["interval '1 day'", "interval '24 hours'", "'P1D'"], ["interval '25 hours'"]),
    ("uuid", "c0ffee00-0102-0304-0506-070809aabbcf", ["'C0FFEE00-0102-0304-0506-070809AABBCF'"],
     ["'c0ffee00-0102-0304-0506-070809aabbce'"]),
    ("inet", "10.0.0.1/32", ["'10.0.0.1'", "inet '10.0.0.1'"], ["cidr '10.0.0.0/8'", "'10.0.0.1/8'"]),
    ("char(5)", "ab", ["'ab'", "'ab   '", "'ab'::char(9)"], ["'abc'", "'a b'"]),
    ("text", "ab", ["'ab'", "'ab'::char(4)"], ["'ab '", "'AB'", "''"]),
    ("positive", "5", ["5", "'5'"], ["-5", "0"]),
    (None, b"\xff\x00", ["'\\xff00'::bytea"], ["'\\xff'::bytea", "''"]),
])
def test_a_value_is_asked_for_as_the_columns_type_has_it(db, kind, stored, equal, other):
    db.sql("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    form = "sealed" if kind else "bytea"
    assert same(db, kind, stored, *equal, *other, form=form) == [True] * len(equal) + [False] * len(other)


@pytest.mark.parametrize("kind, value, sqlstate", [
    ("date", "timestamp '2026-11-30 00:00'", "22023"),
    ("date", "7", "22023"),
    ("date", "'yesterday-ish'", "22007"),
    ("timestamptz", "timestamp '2026-11-30 00:00'", "22023"),
    ("integer", "7.0", "22023"),
    ("integer", "'seven'", "22P02"),
    ("text", "7", "22023"),
    ("text", "'ab'::bytea", "22023"),
    ("uuid", "ARRAY['a']", "22023"),
])
def test_a_value_of_another_type_is_refused(db, kind, value, sqlstate):
    table(db, "other", kind, [])
    index(db, "other", "exact")
    for query in (f"SELECT envelope_search('other', 'v', {value})",
                  f"SELECT envelope_matches('other', 'v', '\\x00'::bytea, '\\x00'::bytea, '=', {value})"):
        error = refused(db, sqlstate, query)
        assert "seven" not in str(error) and "yesterday" not in str(error)


# -- which index ------------------------------------------------------------------------------------------------------

def test_a_question_without_an_index_or_with_several_is_an_error(db):
    table(db, "many", "text", ["Meier"])
    ask = "SELECT envelope_search('many', 'v', 'Meier'{})"
    assert "add_index" in refused(db, "42704", ask.format("")).diag.message_hint
    index(db, "many", "exact", "v_ix")
    db.value(ask.format(""))
    index(db, "many", "exact", "v_fold", form="casefold", label="fold")
    index(db, "many", "prefix(3)", "v_pre", form="casefold", label="pre")
    hint = refused(db, "22023", ask.format("")).diag.message_hint
    # Of an index of another kind it is not the equal value that is asked for.
    assert all(one in hint for one in ("v_ix (exact/1)", "v_fold (casefold/1)")) and "v_pre" not in hint
    # By kind, by form, by rule, by column.
    terms = {kind: db.value(ask.format(f", kind => '{kind}'"))
             for kind in ("casefold", "casefold/1", "v_fold", "v_ix", "exact/1", "prefix", "prefix(3)", "v_pre")}
    assert terms["casefold"] == terms["casefold/1"] == terms["v_fold"]
    assert terms["v_ix"] == terms["exact/1"]
    assert terms["prefix"] == terms["prefix(3)"] == terms["v_pre"]
    assert len({terms[kind][0] for kind in ("v_fold", "v_ix", "v_pre")}) == 3
    refused(db, "22023", ask.format(", kind => 'exact'"))
    refused(db, "42704", ask.format(", kind => 'words'"))
    # As a question it may be either's.
    matches = "SELECT envelope_matches('many', 'v', v, '\\x00'::bytea, '=', 'MEIER'{}) FROM many"
    refused(db, "22023", matches.format(""))
    assert db.value(matches.format(", index_name => 'v_fold'")) is True
    assert db.value(matches.format(", index_name => 'v_ix'")) is False
    refused(db, "42704", matches.format(", index_name => 'v'"))
    refused(db, "22023", matches.replace("'='", "'<'").format(", index_name => 'v_ix'"))
    refused(db, "22023", matches.replace("'='", "'like'").format(""))
    assert "<=" in refused(db, "22023", matches.replace("'='", "'between'").format("")).diag.message_hint
    # The column that stands there says which.
    by_column = "SELECT envelope_matches('many', 'v', v, {}, '=', 'MEIER') FROM many"
    fill(db, "many", "(envelope_search('many', 'v', 'Meier', 'v_fold'))[1]", "v_fold")
    fill(db, "many", "(envelope_search('many', 'v', 'Meier', 'v_ix'))[1]", "v_ix")
    assert db.value(by_column.format("v_fold")) is True
    assert db.value(by_column.format("v_ix")) is False


def test_an_index_that_is_not_built_gives_no_terms_and_is_not_read(db):
    table(db, "new", "text", ["a", "b"])
    index(db, "new", "exact")
    built(db, "new", is_built=False)
    with db.connect() as c:
        c.execute("SET plan_cache_mode = force_generic_plan")
        c.execute("PREPARE asks(text) AS SELECT id FROM new WHERE envelope_matches('new', 'v', v, v_ix, '=', $1)")
        assert not any("_asked(" in line for line in plan(c, "EXECUTE asks('a')"))
        assert ids(c, "EXECUTE asks('a')") == [1]
        refused(db, "55000", "SELECT envelope_search('new', 'v', 'a')")
        built(db, "new")
        # Plans that are kept learn of it.
        assert any("_asked(" in line for line in plan(c, "EXECUTE asks('a')"))
        db.sql("SELECT envelope.drop_index('new', 'v_ix')")
        with pytest.raises(psycopg.errors.UndefinedObject):
            c.execute("EXECUTE asks('a')")


# -- texts ------------------------------------------------------------------------------------------------------------

NAMES = ["Meier", "meier", "Hans Meier", "Hans-Peter Müller", "MÜLLER", "Muller", "Straße", "STRASSE 7", "ﬁne", "  two   blanks ",
         "İstanbul", "ilk", "Ａlpha", "Åse", "Øystein 44", "a", "ab", "", "!?", "x" * 3000, "Hans Hans Meiers", "e\u0301t\u00e9"]
# Text columns, their rule, and what a query gives.
TEXTS = {
    "words": ("envelope_search_tokens('names', 'v', {v}, 'v_words')", "words", {}),
    "parts": ("envelope_search_tokens('names', 'v', {v}, '=')", "parts(3)", {}),
    "start": ("(envelope_search('names', 'v', {v}, 'v_start'))[1]", "prefix(3)", {"form": "casefold"}),
    "stop": ("(envelope_search('names', 'v', {v}, 'v_stop'))[1]", "suffix(2)", {"form": "casefold"}),
}


@pytest.fixture(scope="module")
def names(cluster):
    db = Database(cluster)
    table(db, "names", "text", NAMES + [f"filler {n}" for n in range(1000)])
    for name, (_, kind, more) in TEXTS.items():
        index(db, "names", kind, f"v_{name}", label=name, **more)
    # What the trigger stores of a whole value, as queries ask for it; of those that have nothing nothing can be asked.
    for name, (terms, _, _) in TEXTS.items():
        has = {"words": "{v} ~ '[[:alnum:]]'", "parts": "length(btrim({v})) > 0", "start": "length({v}) > 2",
               "stop": "length({v}) > 1"}[name].format(v=OPENED.format("names"))
        fill(db, "names", terms.format(v=OPENED.format("names")), f"v_{name}", has)
        using = "USING gin" if name in ("words", "parts") else ""
        db.sql(f"CREATE INDEX names_{name} ON names {using} (v_{name})")
    db.sql("ANALYZE names")
    return db


def by_index(c, name, op, asked, column=None):
    condition = f"envelope_matches('names', 'v', v, v_{column or name}, %(op)s, %(asked)s)"
    query = f"SELECT id FROM names WHERE {condition}"
    # Parameters of a client are constants here, as in a custom plan.
    text = psycopg.ClientCursor(c).mogrify(query, {"op": op, "asked": asked})
    assert uses(c, f"names_{name}", text), plan(c, text)
    return {NAMES[n - 1] for n in ids(c, text) if n <= len(NAMES)}


@pytest.mark.parametrize("name, op, asked, found", [
    ("words", "words", "meier", {"Meier", "meier", "Hans Meier"}),
    ("words", "words", "MEIER, hans!", {"Hans Meier"}),
    ("words", "words", "muller", {"Muller"}),
    ("words", "words", "müller", {"Hans-Peter Müller", "MÜLLER"}),
    ("words", "words", "strasse", {"Straße", "STRASSE 7"}),
    ("words", "words", "alpha", {"Ａlpha"}),
    ("words", "words", "44", {"Øystein 44"}),
    ("words", "words", "mei", set()),
    ("parts", "contains", "eier", {"Meier", "meier", "Hans Meier", "Hans Hans Meiers"}),
    ("parts", "contains", "s-P", {"Hans-Peter Müller"}),
    ("parts", "contains", "traß", {"Straße", "STRASSE 7"}),
    ("parts", "contains", "fin", {"ﬁne"}),
    ("parts", "contains", "xxxx", {"x" * 3000}),
    ("parts", "contains", "été", {"e\u0301t\u00e9"}),
    ("parts", "prefix", "ha", {"Hans Meier", "Hans-Peter Müller", "Hans Hans Meiers"}),
    ("parts", "prefix", "hans ", {"Hans Meier", "Hans Hans Meiers"}),
    ("parts", "suffix", "er", {"Meier", "meier", "Hans Meier", "Hans-Peter Müller", "MÜLLER", "Muller"}),
    ("parts", "=", "MEIER", {"Meier", "meier"}),
    ("parts", "=", "a", {"a"}),
    ("start", "prefix", "mei", {"Meier", "meier"}),
    ("start", "prefix", "hans m", {"Hans Meier"}),
    ("start", "=", "meier", {"Meier", "meier"}),
    ("stop", "suffix", "er", {"Meier", "meier", "Hans Meier", "Hans-Peter Müller", "MÜLLER", "Muller"}),
    ("stop", "suffix", "sse", {"Straße"}),
])
def test_texts_are_found_by_their_normal_form(names, name, op, asked, found):
    with names.connect() as c:
        assert by_index(c, name, op, asked) == found
        # Without the index the same.
        for index_name in TEXTS:
            built(names, "names", f"v_{index_name}", is_built=False)
        try:
            query = f"SELECT id FROM names WHERE envelope_matches('names', 'v', v, v_{name}, %s, %s, index_name => 'v_{name}')"
            assert {NAMES[n - 1] for n in ids(c, query, (op, asked)) if n <= len(NAMES)} == found
        finally:
            for index_name in TEXTS:
                built(names, "names", f"v_{index_name}")


def test_without_its_column_the_only_index_of_its_kind_answers(names):
    for column, op, asked in (("v_parts", "contains", "eier"), ("v_words", "words", "meier"), ("v_stop", "suffix", "er")):
        query = f"SELECT count(*) FROM names WHERE envelope_matches('names', 'v', v, coalesce({column}), '{op}', '{asked}')"
        assert names.value(query) == names.value(query.replace(f"coalesce({column})", column)) > 2


def test_a_value_that_the_index_cannot_hold_is_none_that_is_asked_for(db):
    table(db, "old", "text", ["none", "a@b", "12"])
    index(db, "old", "exact", form="digits", label="digits")
    index(db, "old", "exact", "v_mail", form="email", label="mail")
    matches = "SELECT array_agg(envelope_matches('old', 'v', v, '\\x00'::bytea, '=', %s, index_name => %s) ORDER BY id) FROM old"
    assert db.value(matches, ("1-2", "v_ix")) == [False, False, True]
    assert db.value(matches, ("A@B.", "v_mail")) == [False, True, False]


@pytest.mark.parametrize("name, op, asked", [
    ("words", "words", ""), ("words", "words", " !?"), ("parts", "contains", "ab"), ("parts", "contains", ""),
    ("parts", "contains", "a "), ("parts", "prefix", "a"), ("parts", "suffix", ""), ("start", "prefix", "me"),
    ("stop", "suffix", "r"), ("start", "contains", "meier"), ("parts", "words", "meier"), ("words", "contains", "meier"),
    ("parts", "<", "meier"),
])
def test_a_question_that_the_index_cannot_answer_is_refused(names, name, op, asked):
    """Whatever plan is made: an answer without the index would be none with it."""
    query = f"SELECT count(*) FROM names WHERE envelope_matches('names', 'v', v, v_{name}, %s, %s, index_name => 'v_{name}')"
    error = refused(names, "22023", query, (op, asked))
    assert error.diag.message_hint
    terms = f"SELECT envelope.t{'okens' if name in ('words', 'parts') else 'erms'}_asked('names', 'v', 'v_{name}', %s, %s)"
    assert refused(names, "22023", terms, (op, asked)).diag.message_hint


def test_where_nothing_is_said_an_equal_value_is_asked_for(db):
    """Another index beside it does not make statements fail that were written before."""
    table(db, "cards", "text", ["4000-1234", "4000-1235"])
    index(db, "cards", "suffix(4)", "v_last", form="digits")
    ask = "SELECT envelope_search('cards', 'v', '40001234')"
    last = db.value(ask)
    index(db, "cards", "exact", form="digits")
    assert db.value(ask) == db.value(ask[:-1] + ", 'exact')") != last == db.value(ask[:-1] + ", 'suffix(4)')")
    index(db, "cards", "exact", "v_raw", form="nfc")
    refused(db, "22023", ask)


def test_sets_of_tokens_are_asked_for_by_kind_and_by_question(names):
    ask = "SELECT envelope_search_tokens('names', 'v', 'meier'{})"
    refused(names, "22023", ask.format(""))
    tokens = {kind: set(names.value(ask.format(f", '{kind}'"))) for kind in ("words", "parts", "contains", "prefix", "suffix", "=")}
    assert tokens["parts"] == tokens["contains"] == tokens["prefix"] & tokens["suffix"]
    assert tokens["="] == tokens["prefix"] | tokens["suffix"]
    assert [len(tokens[kind]) for kind in ("words", "contains", "prefix", "suffix", "=")] == [1, 3, 4, 4, 5]
    refused(names, "22023", "SELECT envelope_search_tokens('names', 'v', 'me', 'parts')")
    assert names.value("SELECT envelope_search_tokens('names', 'v', NULL, 'parts')") is None
    found = names.sql("SELECT id FROM names WHERE v_parts @> envelope_search_tokens('names', 'v', 'eier', 'parts')")
    assert len(found) == 4


def test_words_and_parts_are_found_by_the_index_under_row_security(names):
    with names.connect(autocommit=False) as c:
        c.execute(f"GRANT SELECT ON names TO {names.low}; SELECT envelope.grant_key('names', '{names.low}', 'decrypt, search');"
                  "ALTER TABLE names ENABLE ROW LEVEL SECURITY; CREATE POLICY low ON names USING (id % 30 IN (1, 2))")
        c.execute(f"SET ROLE {names.low}")
        for name, op in (("parts", "contains"), ("words", "words"), ("start", "prefix")):
            assert by_index(c, name, op, "meier") == {"Meier", "meier"}
        c.rollback()


# -- ranges -----------------------------------------------------------------------------------------------------------

def numbers(db, kind="integer"):
    """Numbers from -20 to 1100 of a tree whose domain is 0 to 1023, and of steps of 10; infinities where there are any."""
    table(db, "numbers", kind, [])
    db.sql("INSERT INTO numbers SELECT i, i - 21 FROM generate_series(1, 1121) i")
    index(db, "numbers", "steps(10)", "v_steps", label="steps")
    db.sql("ALTER TABLE numbers ADD v_tree bigint[]")
    db.sql("INSERT INTO envelope.column_index (id, relation, column_name, index_column, rule, label, built) "
           "VALUES (gen_random_uuid(), 'numbers', 'v', 'v_tree', 'tree(2,1,10,9223372036854775808) int/1', 'tree', true)")
    fill(db, "numbers", "(envelope_search('numbers', 'v', id - 21, 'steps'))[1]", "v_steps")
    # Each node is what a range of just its values asks for.
    node = "envelope_search_range_tokens('numbers', 'v', (id - 21) >> {0} << {0}, ((id - 21) >> {0} << {0}) + (1 << {0}) - 1)"
    fill(db, "numbers", " || ".join(node.format(height) for height in (0, 2, 4, 6, 8)), "v_tree")
    db.sql("CREATE INDEX numbers_tree ON numbers USING gin (v_tree); CREATE INDEX numbers_steps ON numbers (v_steps); ANALYZE numbers")


def test_ranges_are_found_by_their_index(db):
    numbers(db)
    value = "envelope_decrypt_as('numbers', v, NULL::int)"
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        for low, high in [(0, 1023), (5, 5), (7, 300), (-5, 3), (1000, 1200), (-100, 2000), (300, 7), (None, 12), (1015, None)]:
            asked = {"low": low, "high": high}
            expected = [n for n in range(-20, 1101) if (low is None or n >= low) and (high is None or n <= high)]
            between = f"({value} >= %(low)s::int OR %(low)s::int IS NULL) AND ({value} <= %(high)s::int OR %(high)s::int IS NULL)"
            tokens = "envelope_search_range_tokens('numbers', 'v', %(low)s::int, %(high)s::int)"
            for condition in (f"envelope.any_token(v_tree, {tokens})", f"v_tree && {tokens}"):
                query = psycopg.ClientCursor(c).mogrify(f"SELECT id - 21 FROM numbers WHERE {condition} AND {between}", asked)
                assert uses(c, "numbers_tree", query)
                assert ids(c, query) == expected, asked
            if None in (low, high):
                refused(db, "22023", "SELECT envelope_search_range('numbers', 'v', %(low)s::int, %(high)s::int)", asked)
                continue
            steps = f"v_steps = ANY (envelope_search_range('numbers', 'v', %(low)s::int, %(high)s::int)) AND {between}"
            query = psycopg.ClientCursor(c).mogrify(f"SELECT id - 21 FROM numbers WHERE {steps}", asked)
            assert uses(c, "numbers_steps", query)
            assert ids(c, query) == expected, asked


def test_questions_of_order_are_compared_as_the_type_does(db):
    numbers(db)
    compare = {"=": int.__eq__, "<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__}
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        for op, is_so in compare.items():
            for asked in (-21, -3, 0, 5, 512, 1023, 1024, 1100, 5000):
                for column in ("tree", "steps"):
                    query = f"SELECT id - 21 FROM numbers WHERE envelope_matches('numbers', 'v', v, v_{column}, '{op}', {asked})"
                    # A step is asked for by its number: there is no end of them.
                    assert uses(c, f"numbers_{column}", query) is (column == "tree" or op == "=")
                    assert ids(c, query) == [n for n in range(-20, 1101) if is_so(n, asked)], (op, asked, column)


def test_classes_are_asked_for_by_their_boundaries(db):
    table(db, "born", "date", [])
    db.sql("INSERT INTO born SELECT i, date '2000-01-01' + i FROM generate_series(1, 1000) i;"
           "INSERT INTO born VALUES (1001, 'infinity'), (1002, '-infinity')")
    bounds = '{"bounds": ["2000-01-08", "2000-02-01", "2000-02-02", "2001-01-01", "2002-01-01"]}'
    index(db, "born", "buckets", options=bounds, force=True)
    fill(db, "born", "(envelope_search('born', 'v', envelope_decrypt_as('born', v, NULL::date)))[1]")
    db.sql("CREATE INDEX born_ix ON born (v_ix); ANALYZE born")
    assert db.value("SELECT count(DISTINCT v_ix) FROM born") == 8
    value = "envelope_decrypt_as('born', v, NULL::date)"
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        for low, high in [("2000-01-07", "2000-01-08"), ("2000-02-01", "2000-02-01"), (None, "2000-03-01"), ("2002-05-05", None),
                          ("2001-01-01", "2001-12-31"), ("infinity", None), (None, "-infinity"), ("2001-01-01", "2000-01-01")]:
            text = psycopg.ClientCursor(c).mogrify(
                "SELECT id FROM born WHERE v_ix = ANY (envelope_search_range('born', 'v', %s::date, %s::date))", (low, high))
            assert uses(c, "born_ix", text)
            found = ids(c, text)
            between = f"{value} BETWEEN coalesce(%s, '-infinity')::date AND coalesce(%s, 'infinity')::date"
            expected = ids(c, f"SELECT id FROM born WHERE {between}", (low, high))
            assert set(expected) <= set(found), (low, high)
            assert ids(c, f"{text} AND {between}", (low, high)) == expected
            # No more than whole classes.
            assert len(found) < len(expected) + 700
        for op in ("=", "<", "<=", ">", ">="):
            for asked in ("2000-01-08", "2000-06-01", "infinity"):
                query = f"SELECT id FROM born WHERE envelope_matches('born', 'v', v, v_ix, '{op}', date '{asked}')"
                assert uses(c, "born_ix", query)
                assert ids(c, query) == ids(c, f"SELECT id FROM born WHERE {value} {op} '{asked}'")
    refused(db, "42704", "SELECT envelope_search_range_tokens('born', 'v', NULL::date, NULL)")


@pytest.mark.parametrize("kind, values", [
    ("numeric(6,2)", ["-0.01", "0.00", "12.50", "12.51", "9999.99", "NaN"]),
    ("double precision", ["-Infinity", "-1.5", "0", "1e300", "Infinity", "NaN"]),
    ("timestamp", ["-infinity", "1999-12-31 23:59:59.999999", "2000-01-01 00:00:00", "infinity"]),
    ("date", ["-infinity", "4714-11-24 BC", "1999-12-31", "2000-01-01", "infinity"]),
    ("time", ["00:00:00", "12:00:00", "24:00:00"]),
])
def test_the_order_is_the_types_with_all_its_ends(db, kind, values):
    table(db, "ends", kind, values)
    db.sql("ALTER TABLE ends ADD v_ix bytea")
    name = {"double precision": "float", "numeric(6,2)": "numeric(2)"}.get(kind, kind)
    db.sql("INSERT INTO envelope.column_index (id, relation, column_name, index_column, rule, label, term_length) "
           f"VALUES (gen_random_uuid(), 'ends', 'v', 'v_ix', 'buckets {name}/1', 'ends', 8)")
    give(db, "ends")
    more = ["12.505"] if kind == "numeric(6,2)" else []
    for op in ("=", "<", "<=", ">", ">="):
        for asked in values + more:
            # PostgreSQL's own answers; the literal without the column's modifier.
            base = kind.partition("(")[0]
            expected = db.sql(f"SELECT n FROM unnest(%s::text[]) WITH ORDINALITY AS u (x, n) WHERE x::{kind} {op} %s::{base}", (values, asked))
            query = f"SELECT id FROM ends WHERE envelope_matches('ends', 'v', v, v_ix, '{op}', %s::{base})"
            assert db.sql(f"{query} ORDER BY id", (asked,)) == expected, (op, asked)


# -- bytes ------------------------------------------------------------------------------------------------------------

def key(db, name):
    """The index key of a table, outside the database."""
    wrapped, context, kek = db.sql(
        "SELECT w.wrapped, w.kms_context, w.kek FROM envelope.wrapped_key w JOIN envelope.keys k USING (key_id) "
        "WHERE k.relation = %s AND k.purpose = 'index' AND k.state = 'active'", (f"public.{name}",))[0]
    with open(kek.removeprefix("file://"), "rb") as f:
        return reference.Key(reader.unwrap(f.read(), bytes(wrapped), context))


@pytest.mark.parametrize("name, op, asked", [
    ("words", "words", "Müller, STRASSE 7"), ("parts", "contains", " Hans  Peter"), ("parts", "prefix", "ﬁ"),
    ("parts", "suffix", "xE\u0301"), ("parts", "=", "ab"), ("start", "prefix", "Straße"), ("stop", "suffix", "ABCß"),
])
def test_the_terms_of_texts_are_those_of_the_format(names, name, op, asked):
    rule = names.value("SELECT rule FROM envelope.indexes WHERE index_column = %s", (f"v_{name}",))
    payloads = reference.asked(rule, op, asked)
    its = key(names, "names")
    if name in ("words", "parts"):
        expected = sorted({its.token(name, rule, payload) for payload in payloads})
        assert names.value("SELECT envelope.tokens_asked('names', 'v', %s, %s, %s)", (f"v_{name}", op, asked)) == expected
    else:
        expected = [its.term(name, rule, 16, payload) for payload in payloads]
        assert names.value("SELECT envelope.terms_asked('names', 'v', %s, %s, %s)", (f"v_{name}", op, asked)) == expected


@pytest.mark.parametrize("kind, value, form", [
    ("integer", "-7", "-7"), ("numeric(6,2)", "5.50", "5.50"), ("double precision", "1e23", "9.999999999999999e+22"),
    ("date", "'0044-03-15 BC'", "0044-03-15 BC"), ("interval", "interval '1 mon -1 day'", "P1M-1D"),
    ("uuid", "'C0FFEE00-0102-0304-0506-070809AABBCF'", "c0ffee00-0102-0304-0506-070809aabbcf"), ("inet", "'10.0.0.1'", "10.0.0.1/32"),
])
def test_the_terms_of_values_are_those_of_the_format(db, kind, value, form):
    table(db, "one", kind, [])
    index(db, "one", "exact", label="a label")
    if not index_keys(db, "public.one"):
        give(db, "one")
    base = {"integer": "int8", "double precision": "float8"}.get(kind, kind.partition("(")[0])
    [payload] = reference.of_form("exact/1", base, form)
    assert db.value(f"SELECT envelope_search('one', 'v', {value})") == [key(db, "one").term("a label", "exact/1", 16, payload)]


def test_the_terms_of_ranges_are_those_of_the_format(db):
    numbers(db)
    its, half = key(db, "numbers"), 1 << 63
    for low, high in [(7, 300), (-5, 3), (1000, 5000), (5, 5)]:
        found = reference.asked_between("steps(10) int/1", low + half, high + half)
        assert set(db.value("SELECT envelope_search_range('numbers', 'v', %s::int, %s::int)", (low, high))) == {
            its.term("steps", "steps(10) int/1", 8, payload) for payload in found}
        rule = "tree(2,1,10,9223372036854775808) int/1"
        found = reference.asked_between(rule, low + half, high + half)
        assert set(db.value("SELECT envelope_search_range_tokens('numbers', 'v', %s::int, %s::int)", (low, high))) == {
            its.token("tree", rule, payload) for payload in found}


# -- rows -------------------------------------------------------------------------------------------------------------

def test_a_value_that_is_bound_to_its_row_is_opened_by_its_context(db):
    db.sql("CREATE TABLE bound (id int PRIMARY KEY, v envelope.sealed)")
    db.sql("SELECT envelope.set_policy('bound', 'v', value_type => 'text', bind => '{id}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON bound FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    db.sql("INSERT INTO bound SELECT i, 'v' || i % 500 FROM generate_series(1, 1000) i")
    index(db, "bound", "exact")
    fill(db, "bound", "(envelope_search('bound', 'v', 'v' || id % 500))[1]")
    db.sql("CREATE INDEX bound_ix ON bound (v_ix)")
    query = "SELECT id FROM bound WHERE envelope_matches('bound', 'v', v, v_ix, '=', 'v7'{})"
    context = ", envelope.row_context('bound', 'v', id::text)"
    with db.connect() as c:
        assert uses(c, "bound_ix", query.format(context))
        assert ids(c, query.format(context)) == [7, 507]
        with fails("22000"):
            c.execute(query.format(""))
        c.execute("SELECT envelope.open_view('bound', 'shown', execute => true)")
        assert ids(c, "SELECT id FROM shown WHERE v_ix = ANY (envelope_search('bound', 'v', 'v7')) AND v = 'v7'") == [7, 507]


def test_what_does_not_open_is_an_error_and_no_answer(people):
    query = "SELECT envelope_matches('people', 'v', {}, v_ix, '=', '1007') FROM people WHERE id = 15"
    assert people.value(query.format("v")) is True
    assert people.value(query.format("NULL::bytea")) is None
    refused(people, "22000", query.format("set_byte(v::bytea, 50, get_byte(v::bytea, 50) # 1)"))
    refused(people, "22000", query.format("'1007'::bytea"))


def test_what_is_no_sealed_value_is_not_taken_for_one(people):
    """The planner's own function takes any type there, and anybody may call it."""
    recheck = "SELECT envelope.recheck('people', 'v', {}, 'v_ix', '=', '1007', '')"
    for value in ("5", "5::bigint", "'text'::text", "ARRAY[1]", "ROW(1)", "NULL::int"):
        refused(people, "22023", recheck.format(value))
    refused(people, "22000", recheck.format("'1007'::bytea"))


def test_another_column_of_the_table_is_an_error_and_no_answer(db):
    """No row would match, or every row be opened."""
    table(db, "people", "text", ["1007"])
    db.sql("ALTER TABLE people ADD mail envelope.sealed; SELECT envelope.set_policy('people', 'mail', value_type => 'text')")
    db.sql("CREATE TRIGGER seals BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('mail')")
    index(db, "people", "exact")
    db.sql("SELECT envelope.add_index('people', 'mail', 'exact', index_column => 'mail_ix')")
    db.sql("CREATE VIEW shown AS SELECT id, mail AS v, v_ix, mail_ix, v AS sealed FROM people")
    query = "SELECT id FROM {} WHERE envelope_matches('people', 'v', {}, {}, '=', '1007')"
    for name, sealed, index_column in (("people", "mail", "v_ix"), ("people p", "p.mail", "p.v_ix"), ("people", "v", "mail_ix"),
                                       ("people", "v", "v"), ("people", "v", "id"), ("shown", "v", "v_ix"),
                                       ("shown", "sealed", "mail_ix")):
        refused(db, "22023", query.format(name, sealed, index_column))
    hint = refused(db, "22023", query.format("people", "v", "mail_ix")).diag.message_hint
    assert "v_ix" in hint and "mail_ix" not in hint
    # Of another table, or no column at all, it may be any.
    fill(db, "people", "(envelope_search('people', 'v', '1007'))[1]")
    db.sql("CREATE TABLE others AS SELECT v AS mail, v_ix AS mail_ix FROM people")
    for name, sealed, index_column in (("shown", "sealed", "v_ix"), ("people", "coalesce(v)", "coalesce(v_ix)")):
        assert db.value(query.format(name, sealed, index_column)) == 1
    assert db.value(query.format("others", "mail", "mail_ix").replace("id", "1")) == 1


def test_rows_are_changed_by_what_they_match(people):
    with people.connect(autocommit=False) as c:
        condition = MATCHES.format("'1007'")
        assert uses(c, "people_ix", f"UPDATE people SET owner = 'x' WHERE {condition}")
        assert c.execute(f"UPDATE people SET owner = 'x' WHERE {condition}").rowcount == 1
        # NOT and NULL as of any condition.
        assert c.execute(f"SELECT count(*) FROM people WHERE NOT {condition}").fetchone() == (3999,)
        assert c.execute(f"SELECT count(*), count({condition}) FROM people").fetchone() == (4000, 4000)
        outer = f"SELECT count(*), count(p.id) FROM (VALUES (1), (2)) a LEFT JOIN people p ON a.column1 = 1 AND {condition}"
        assert c.execute(outer).fetchone() == (2, 1)
        assert uses(c, "people_ix", f"DELETE FROM people WHERE {condition}")
        assert c.execute(f"DELETE FROM people WHERE {condition}").rowcount == 1
        c.rollback()


# -- rights, keys -----------------------------------------------------------------------------------------------------

def test_a_missing_right_is_an_error(people):
    search = "SELECT count(*) FROM people WHERE v_ix = ANY (envelope_search('people', 'v', '1007'))"
    matches = "SELECT count(*) FROM people WHERE envelope_matches('people', 'v', v, v_ix, '=', '1007')"
    role = f"other_{people.low}"
    people.sql(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON people TO {role}")
    refused(people, "42501", search, user=role)
    # Before anything is said of the value, or of the index.
    refused(people, "42501", "SELECT envelope_search('people', 'v', 7)", user=role)
    refused(people, "42501", matches, user=role)
    people.sql(f"SELECT envelope.grant_key('people', '{role}', 'search')")
    assert people.value(search, user=role) == 1
    refused(people, "42501", matches, user=role)
    people.sql(f"SELECT envelope.grant_key('people', '{role}', 'decrypt')")
    assert people.value(matches, user=role) == 1
    people.sql(f"SELECT envelope.revoke_key('people', '{role}', 'search')")
    # Whatever plan is made.
    for way in ("on", "off"):
        with people.connect(user=role) as c:
            c.execute(f"SET enable_indexscan = {way}; SET enable_bitmapscan = {way}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                c.execute(matches)


@pytest.mark.parametrize("what", ["not built", "no plain column", "by name"])
def test_a_comparison_without_terms_needs_the_same_rights(db, what):
    """It tells of a value as much as its terms do."""
    table(db, "t", "text", ["a", "b"])
    index(db, "t", "exact")
    built(db, "t", is_built=what != "not built")
    column = {"not built": "v_ix", "no plain column": "coalesce(v_ix)", "by name": "NULL::bytea"}[what]
    by_name = ", index_name => 'v_ix'" if what == "by name" else ""
    matches = f"SELECT id FROM t WHERE envelope_matches('t', 'v', v, {column}, '=', 'a'{by_name})"
    db.sql(f"GRANT SELECT ON t TO {db.low}; SELECT envelope.grant_key('t', '{db.low}', 'decrypt')")
    assert not any("_asked(" in line for line in plan(db.connect(), matches))
    refused(db, "42501", matches, user=db.low)
    # Of a row that holds nothing, too.
    refused(db, "42501", f"SELECT envelope_matches('t', 'v', NULL::bytea, NULL::bytea, '=', 'a'{by_name})", user=db.low)
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'search')")
    assert db.sql(matches, user=db.low) == [(1,)]
    db.sql(f"SELECT envelope.revoke_key('t', '{db.low}', 'decrypt')")
    refused(db, "42501", matches, user=db.low)


def test_answers_are_right_while_the_index_key_is_rotated(db):
    table(db, "t", "text", [f"n{i}" for i in range(100)])
    index(db, "t", "exact")
    fill(db, "t", "(envelope_search('t', 'v', 'n' || id - 1))[1]")
    db.sql("CREATE INDEX t_ix ON t (v_ix)")
    query = "SELECT id FROM t WHERE envelope_matches('t', 'v', v, v_ix, '=', %s)"
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        assert ids(c, query, ("n7",)) == [8]
        db.sql("SELECT envelope.rotate_index_key('t')")
        terms = c.execute("SELECT envelope_search('t', 'v', 'n7')").fetchone()[0]
        assert len(terms) == len({term[:2] for term in terms}) == 2
        # Half of the rows have the new key's, which comes first.
        fill(db, "t", "(envelope_search('t', 'v', 'n' || id - 1))[1]", where="id % 2 = 0")
        assert db.value("SELECT count(DISTINCT substr(v_ix, 1, 2)) FROM t") == 2
        for number in (7, 8):
            assert ids(c, query, (f"n{number}",)) == [number + 1]
            assert uses(c, "t_ix", query, (f"n{number}",))


def test_a_prepared_question_is_planned_once(people):
    """By default: the planner knows how many terms are asked for, and finds no better plan by the values."""
    with people.connect() as c:
        c.execute(f"PREPARE asks(text) AS SELECT id FROM people WHERE {MATCHES.format('$1')}")
        assert [ids(c, "EXECUTE asks('1007')") for _ in range(8)] == [[15]] * 8
        kinds = c.execute("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE name = 'asks'").fetchone()
        assert kinds == (3, 5)
        assert uses(c, "people_ix", "EXECUTE asks('1007')")


def test_a_prepared_question_goes_on_while_the_index_key_is_rotated(db):
    """As it was planned it asks for the terms of the keys that there were, and of one more."""
    table(db, "t", "text", [f"n{i}" for i in range(1000)])
    index(db, "t", "exact")
    built(db, "t")
    db.sql("UPDATE t SET v_ix = ''; CREATE INDEX t_ix ON t (v_ix); ANALYZE t")
    with db.connect() as c:
        c.execute("SET plan_cache_mode = force_generic_plan")
        c.execute("PREPARE asks(text) AS SELECT id FROM t WHERE envelope_matches('t', 'v', v, v_ix, '=', $1)")
        for rotations in range(3):
            assert ids(c, "EXECUTE asks('n7')") == [8]
            assert str(plan(c, "EXECUTE asks('n7')")).count("term_asked(") >= rotations + 2
            db.sql(f"SELECT envelope.rotate_index_key('t'); UPDATE t SET v_ix = '' WHERE id > {200 * rotations + 100}")
            assert [ids(c, f"EXECUTE asks('n{number}')") for number in (7, 150, 350, 999)] == [[8], [151], [351], [1000]]
            # Each key by itself, and the one that has come since.
            terms = c.execute("SELECT envelope_search('t', 'v', 'n7')").fetchone()[0]
            one = "SELECT envelope.term_asked('t', 'v', 'v_ix', '=', 'n7', {})"
            all_ = [c.execute(one.format(version)).fetchone()[0] for version in range(rotations + 2, 0, -1)]
            assert all_ == terms
            assert c.execute(one.format(rotations + 3)).fetchone() == (None,)
            since = "SELECT envelope.key_since('t', 'v', 'v_ix', %s::bigint[])"
            for versions, other in (([*range(1, rotations + 3)], None), ([*range(1, rotations + 2)], rotations + 2),
                                    ([*range(2, rotations + 3)], 1)):
                assert c.execute(since, (versions,)).fetchone() == (other,)
            with fails("40001"):
                c.execute(since, ([],))


def test_without_an_index_key_there_is_an_error_and_no_answer(db):
    """As on a subscriber, before the keys arrive; also where the question was planned while there was one."""
    table(db, "t", "text", ["a", "b"])
    index(db, "t", "exact")
    fill(db, "t", "(envelope_search('t', 'v', 'a'))[1]")
    query = "SELECT id FROM t WHERE envelope_matches('t', 'v', v, v_ix, '=', 'a')"
    with db.connect() as c:
        c.execute("SET plan_cache_mode = force_generic_plan")
        c.execute(f"PREPARE asks AS {query}")
        assert ids(c, "EXECUTE asks") == [1]
        db.sql("DELETE FROM envelope.data_key WHERE purpose = 'index'")
        for question in (query, "EXECUTE asks", "SELECT envelope.term_asked('t', 'v', 'v_ix', '=', 'a', 1)"):
            with fails("42704"):
                c.execute(question)


def test_a_prepared_question_is_asked_with_the_right_of_who_executes_it(db):
    table(db, "t", "text", ["a", "b"])
    index(db, "t", "exact")
    fill(db, "t", "(envelope_search('t', 'v', OPENED))[1]".replace("OPENED", OPENED.format("t")))
    db.sql(f"GRANT SELECT ON t TO {db.low}")
    with db.connect() as c:
        c.execute("SET plan_cache_mode = force_generic_plan")
        c.execute("PREPARE asks(text) AS SELECT id FROM t WHERE envelope_matches('t', 'v', v, v_ix, '=', $1)")
        assert ids(c, "EXECUTE asks('a')") == [1]
        c.execute(f"SET ROLE {db.low}")
        for verb in ("decrypt", "search"):
            with fails("42501"):
                c.execute("EXECUTE asks('a')")
            db.sql(f"SELECT envelope.grant_key('t', '{db.low}', '{verb}')")
        assert ids(c, "EXECUTE asks('a')") == [1] and ids(c, "EXECUTE asks(NULL)") == []
        db.sql(f"SELECT envelope.revoke_key('t', '{db.low}', 'search')")
        for question in ("EXECUTE asks('a')", "SELECT envelope.key_since('t', 'v', 'v_ix', '{1}')",
                         "SELECT envelope.term_asked('t', 'v', 'v_ix', '=', 'a', 1)"):
            with fails("42501"):
                c.execute(question)


def test_a_condition_is_asked_once_a_statement(aws, proxy):
    """Each use of a key counts: with few allowed, the KMS would be asked again and again."""
    table(aws, "people", "text", [f"n{n}" for n in range(100)])
    index(aws, "people", "exact")
    query = "SELECT count(*) FROM people WHERE v_ix = ANY (envelope_search('people', 'v', {}))"
    with aws.connect() as c:
        c.execute("SET envelope.cache_max_uses = 10; SET enable_indexscan = off; SET enable_bitmapscan = off")
        c.execute("SELECT envelope_search('people', 'v', 'n7')")
        proxy.reset_counts()
        # As a filter it is called for each row.
        assert c.execute(query.format("'n7'")).fetchone() == (0,)
        assert proxy.counts["Decrypt"] <= 1
        # Other arguments are another question, in every row.
        c.execute(query.format("'n' || id"))
        assert proxy.counts["Decrypt"] >= 9


def test_an_answer_is_not_kept_for_another_role(people):
    """PL/pgSQL keeps the state of its expressions for a whole transaction."""
    with people.connect(autocommit=False) as c:
        c.execute("CREATE FUNCTION asks() RETURNS int LANGUAGE plpgsql AS "
                  "$$BEGIN RETURN cardinality(envelope_search('people', 'v', '1007')); END$$")
        c.execute(f"CREATE ROLE nobody_{people.low}; GRANT ALL ON SCHEMA public TO nobody_{people.low}")
        assert c.execute("SELECT asks()").fetchone() == (1,)
        c.execute(f"SET LOCAL ROLE nobody_{people.low}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            c.execute("SELECT asks()")
        c.rollback()


# -- rows that the trigger wrote --------------------------------------------------------------------------------------

WRITTEN = [
    ("exact", "text", {}, "=", ["Meier", "meier", "Meier ", "", "Müller"]),
    ("exact", "text", {"form": "casefold"}, "=", ["Meier", "MEIER", "Straße", "STRASSE", "Muller"]),
    ("exact", "text", {"form": "email"}, "=", ["A@b.de", "a@B.de.", "a@c.de"]),
    ("exact", "integer", {}, "=", ["1", "-1", "10"]),
    ("prefix(2)", "text", {}, "prefix", ["Meier", "Meyer", "meier", "M"]),
    ("suffix(2)", "text", {}, "suffix", ["Meier", "Meyer", "meie", "r"]),
    ("words", "text", {}, "words", ["Hans Meier", "meier, hans", "Hans", "Meiers"]),
    ("parts(3)", "text", {}, "contains", ["Meier", "Hausmeierei", "Meyer", "eie"]),
    ("buckets", "date", {"options": '{"bounds": ["1970-01-01", "1980-06-30"]}'}, "=", ["1975-01-01", "1969-12-31", "infinity"]),
    ("days", "date", {}, "=", ["1975-01-01", "1969-12-31", "-infinity"]),
    ("tree", "date", {"options": '{"low": "1900-01-01", "high": "2079-06-05"}'}, "=", ["1975-01-01", "1800-01-01", "infinity"]),
]


@pytest.mark.parametrize("kind, of, more, op, values", WRITTEN)
def test_what_the_trigger_writes_is_found(db, kind, of, more, op, values):
    table(db, "t", of, [])
    index(db, "t", kind, force=True, **more)
    with db.connect() as c:
        c.cursor().executemany("INSERT INTO t (id, v) VALUES (%s, %s)", list(enumerate(values, 1)))
        # With more beside them, so that an index is worth it.
        filler = {"text": "'x' || i || '@y'", "integer": "1000 + i", "date": "date '2001-01-01' + i"}[of]
        c.execute(f"INSERT INTO t (id, v) SELECT 100 + i, ({filler})::text::envelope.sealed FROM generate_series(1, 500) i")
        using = "USING gin" if kind in ("words", "parts(3)", "tree") else ""
        c.execute(f"CREATE INDEX t_ix ON t {using} (v_ix); ANALYZE t; SET enable_seqscan = off")
        query = f"SELECT id FROM t WHERE id + 0 < 100 AND envelope_matches('t', 'v', v, {{}}, '{op}', %s::{of}, index_name => 'v_ix')"
        found = 0
        for asked in values:
            if kind in ("prefix(2)", "suffix(2)") and len(asked) < 2:
                continue
            text = psycopg.ClientCursor(c).mogrify(query, (asked,))
            assert uses(c, "t_ix", text.format("v_ix"))
            by_index = ids(c, text.format("v_ix"))
            # As without it: every row is opened and compared.
            array = "bigint[]" if using else "bytea"
            assert by_index == ids(c, text.format(f"NULL::{array}")), asked
            assert values.index(asked) + 1 in by_index
            found += len(by_index)
        # What the trigger writes for another value is another row's.
        first = c.execute("SELECT v_ix FROM t WHERE id = 1").fetchone()[0]
        c.execute("UPDATE t SET v = (SELECT v FROM t WHERE id = 101) WHERE id = 1")
        assert c.execute("SELECT v_ix FROM t WHERE id = 1").fetchone()[0] != first
        text = psycopg.ClientCursor(c).mogrify(query, (values[0],))
        assert 1 not in ids(c, text.format("v_ix"))


def test_a_boundary_set_is_read_once(aws, proxy):
    """Every value that a join asks for is a question of its own. With few uses of a key allowed, the KMS would be asked for
    the set's key as often as for that of the terms."""
    table(aws, "born", "date", [])
    index(aws, "born", "buckets", options='{"bounds": ["1970-01-01", "1980-06-30"]}', force=True)
    with aws.connect() as c:
        c.execute("SET envelope.cache_max_uses = 10")
        c.execute("SELECT envelope_search('born', 'v', date '1975-01-01')")
        proxy.reset_counts()
        assert c.execute("SELECT count(DISTINCT envelope_search('born', 'v', date '1960-01-01' + 100 * i)) "
                         "FROM generate_series(1, 100) i").fetchone() == (3,)
        assert 5 <= proxy.counts["Decrypt"] <= 12


def test_answers_that_are_not_asked_for_again_are_let_go(people):
    """One statement that asks for many values, as a join does, holds no more than one that asks for the same again."""
    size = "(SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name = 'ExecutorState')"
    with people.connect() as c:
        same, others = (c.execute(
            f"SELECT max(CASE WHEN g = 20000 THEN {size} END) FROM generate_series(1, 20000) g "
            f"WHERE envelope_search('people', 'v', '1' || {asked}) IS NOT NULL").fetchone()[0]
            for asked in ("g % 1", "g"))
    assert others < same + 500_000
