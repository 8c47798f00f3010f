"""The sealing trigger keeps the columns of search indexes: what they hold, and who may set them."""

import pytest
from harness.index_keys import index_keys
from sqlstate import fails


def protect(db, value_type="text", form="sealed", name="t", how="", bind=None):
    """A table whose column `v` the trigger seals, as values of that type, in one of the forms of a column."""
    column = {"bytea": "v bytea"}.get(form, "v envelope.sealed")
    source = f", plain {value_type}" if form in ("source", "mirror") else ""
    argument = "v=plain" if source else "v"
    function = "envelope_mirror" if form == "mirror" else "envelope_seal"
    db.sql(f"CREATE TABLE {name} (id int NOT NULL, v {column.split()[1]}{source}, note text) {how}")
    if how:
        db.sql(f"CREATE TABLE {name}_1 PARTITION OF {name} FOR VALUES FROM (0) TO (100)")
        db.sql(f"CREATE TABLE {name}_2 PARTITION OF {name} DEFAULT")
    more = {"form": "source" if source else form, "value_type": value_type}
    if source:
        more["source"] = "plain"
    if bind:
        more["bind"] = bind
    db.sql(f"SELECT envelope.set_policy('{name}', 'v'" + "".join(f", {key} => %({key})s" for key in more) + ")", more)
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION {function}('{argument}')")


def index(db, kind="exact", name="t", column="ix", **more):
    """An index of `v`, all of whose rows have their terms."""
    named = "".join(f", {key} => %({key})s" for key in more)
    db.sql(f"SELECT envelope.add_index('{name}', 'v', %(kind)s, index_column => %(column)s{named})",
           {"kind": kind, "column": column, **more})
    db.sql("UPDATE envelope.column_index SET built = true WHERE index_column = %s", (column,))


def same(db, value, given="text", name="t", column="ix"):
    """The rows that an index says to have that value."""
    tokens = db.value("SELECT term_length IS NULL FROM envelope.column_index WHERE index_column = %s", (column,))
    asked = f"envelope_search{'_tokens' if tokens else ''}('{name}', 'v', %s::{given}, '{column}')"
    found = f"{column} @> {asked}" if tokens else f"{column} = ANY ({asked})"
    return [number for number, in db.sql(f"SELECT id FROM {name} WHERE {found} ORDER BY id", (value,))]


BOUNDS = '{"bounds": ["1970-01-01", "1980-06-30"]}'
DOMAIN = '{"low": "1900-01-01", "high": "2079-06-05", "sparsity": 1, "trim": 0}'
KINDS = [
    ("exact", "text", {}, "ab 1", "ab 2"),
    ("exact", "text", {"form": "casefold"}, "Straße", "STRASSE 2"),
    ("exact", "text", {"form": "digits"}, "1-2 3", "1234"),
    ("exact", "integer", {}, "17", "18"),
    ("exact", "numeric(8,2)", {}, "1.50", "1.51"),
    ("exact", "uuid", {}, "c0ffee00-0000-0000-0000-000000000000", "c0ffee00-0000-0000-0000-000000000001"),
    ("exact", "double precision", {}, "-0", "1e23"),
    ("exact", "interval", {}, "1 day", "1 month"),
    ("prefix(2)", "text", {}, "ab", "bb"),
    ("suffix(2)", "text", {}, "ab", "bb"),
    ("words", "text", {}, "two words", "three words more"),
    ("parts(3)", "text", {}, "some text", "other text"),
    ("buckets", "date", {"options": BOUNDS}, "1975-01-01", "1999-01-01"),
    ("tree", "date", {"options": DOMAIN}, "1975-01-01", "1999-01-01"),
]


@pytest.mark.parametrize("kind, value_type, more, one, other", KINDS)
@pytest.mark.parametrize("form", ["sealed", "bytea", "source", "mirror"])
def test_terms_follow_the_value(db, form, kind, value_type, more, one, other):
    protect(db, value_type, form)
    into = "plain" if form in ("source", "mirror") else "v"
    put = f"%s::{value_type}" if into == "plain" else "%s::text::bytea" if form == "bytea" else "%s"
    db.sql(f"INSERT INTO t (id, {into}) VALUES (0, {put})", (one,))
    index(db, kind, **more)
    assert db.value("SELECT ix IS NULL FROM t")
    db.sql(f"INSERT INTO t (id, {into}) VALUES (1, {put}), (2, {put}), (3, NULL)", (one, other))
    assert same(db, one, value_type) == [1]
    assert db.sql("SELECT id FROM t WHERE ix IS NULL ORDER BY id") == [(0,), (3,)]
    # Another value.
    db.sql(f"UPDATE t SET {into} = {put} WHERE id = 2", (one,))
    assert same(db, one, value_type) == [1, 2]
    db.sql(f"UPDATE t SET {into} = {put} WHERE id = 1", (other,))
    assert (same(db, one, value_type), same(db, other, value_type)) == ([2], [1])
    # Other columns leave it.
    before = db.sql("SELECT id, ix FROM t ORDER BY id")
    db.sql("UPDATE t SET note = 'n'")
    assert db.sql("SELECT id, ix FROM t ORDER BY id") == before
    # A sealed value of another row, or sealed anew.
    db.sql("UPDATE t SET v = (SELECT v FROM t WHERE id = 2) WHERE id = 1")
    assert same(db, one, value_type) == [1, 2]
    db.sql("SELECT envelope.rotate_key('t')")
    db.sql("UPDATE t SET v = envelope.reseal('t', v) WHERE id = 1")
    assert same(db, one, value_type) == [1, 2]
    # No value.
    db.sql("UPDATE t SET v = NULL")
    assert db.value("SELECT count(*) FROM t WHERE ix IS NOT NULL") == 0


def test_bytes_have_terms(db):
    protect(db, None, "bytea")
    index(db)
    db.sql("INSERT INTO t VALUES (1, %s), (2, %s)", (b"\0\xff", b"\0"))
    assert same(db, b"\0\xff", "bytea") == [1]


def test_several_indexes_of_one_column(db):
    protect(db)
    for column, kind in [("ix", "exact"), ("starts", "prefix(3)"), ("pieces", "parts(3)")]:
        index(db, kind, column=column)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'some text'), (2, 'so'), (3, 'other text')")
    assert same(db, "some text") == [1]
    assert same(db, "som", column="starts") == [1]
    assert same(db, "text", column="pieces") == [1, 3]
    # Shorter than the prefix.
    assert db.value("SELECT starts IS NULL AND ix IS NOT NULL FROM t WHERE id = 2")


def test_a_set_is_as_the_format_has_it(db):
    protect(db)
    index(db, "words")
    db.sql("INSERT INTO t (id, v) VALUES (1, 'two two words'), (2, '  '), (3, '')")
    (key_id, _, _), = index_keys(db, "public.t")
    marker = int.from_bytes(key_id.bytes[:8], "big", signed=True)
    sets = [tokens for tokens, in db.sql("SELECT ix FROM t ORDER BY id")]
    assert sets[1:] == [[marker], [marker]]
    assert len(sets[0]) == 3 and sets[0] == sorted(set(sets[0])) and marker in sets[0]
    assert db.value("SELECT array_ndims(ix) = 1 AND array_lower(ix, 1) = 1 FROM t WHERE id = 1")


# -- what a statement says --------------------------------------------------------------------------------------------

@pytest.fixture
def rows(db):
    protect(db)
    index(db)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one'), (2, 'two'), (3, NULL)")
    db.term = {number: term for number, term in db.sql("SELECT id, ix FROM t")}
    return db


@pytest.mark.parametrize("statement", [
    "INSERT INTO t (id, v, ix) VALUES (4, 'one', '\\x00')",
    "INSERT INTO t (id, v, ix) SELECT 4, 'three', ix FROM t WHERE id = 1",
    "INSERT INTO t (id, v, ix) SELECT 4, NULL, ix FROM t WHERE id = 1",
    "INSERT INTO t (id, v, ix) SELECT 4, v, ix || '\\x00' FROM t WHERE id = 1",
    "UPDATE t SET ix = '\\x00' WHERE id = 1",
    "UPDATE t SET ix = NULL WHERE id = 1",
    "UPDATE t SET ix = (SELECT ix FROM t WHERE id = 2) WHERE id = 1",
    "UPDATE t SET v = 'three', ix = (SELECT ix FROM t WHERE id = 2) WHERE id = 1",
    "UPDATE t SET v = NULL, ix = (SELECT ix FROM t WHERE id = 2) WHERE id = 1",
    "UPDATE t SET ix = '\\x00' WHERE id = 3",
])
def test_a_statement_that_sets_other_terms(rows, statement):
    with fails("22023"):
        rows.sql(statement)
    assert dict(rows.sql("SELECT id, ix FROM t")) == rows.term


@pytest.mark.parametrize("statement, found", [
    ("INSERT INTO t (id, v, ix) SELECT 4, 'one', ix FROM t WHERE id = 1", [1, 4]),
    ("INSERT INTO t (id, v, ix) SELECT 4, v, ix FROM t WHERE id = 1", [1, 4]),
    ("INSERT INTO t (id, v, ix) VALUES (4, 'one', NULL)", [1, 4]),
    ("INSERT INTO t (id, v, ix) VALUES (4, 'one', '')", [1, 4]),
    ("UPDATE t SET ix = ix", [1]),
    ("UPDATE t SET ix = '' WHERE id < 3", [1]),
    ("UPDATE t SET v = v, ix = ix, note = 'n'", [1]),
    ("UPDATE t SET v = 'one', ix = NULL WHERE id = 2", [1, 2]),
    ("UPDATE t SET v = 'one', ix = ix WHERE id = 2", [1, 2]),
    ("UPDATE t SET v = 'one', ix = (SELECT ix FROM t WHERE id = 1) WHERE id = 2", [1, 2]),
    ("UPDATE t SET v = NULL WHERE id = 1", []),
    ("UPDATE t SET v = 'one' WHERE id = 3", [1, 3]),
])
def test_a_statement_that_may_say_so(rows, statement, found):
    rows.sql(statement)
    assert same(rows, "one") == found


def test_upserts(rows):
    rows.sql("CREATE UNIQUE INDEX ON t (ix)")
    rows.sql("INSERT INTO t (id, v) VALUES (1, 'one') ON CONFLICT (ix) DO UPDATE SET note = 'again'")
    assert rows.sql("SELECT id, note FROM t WHERE note IS NOT NULL") == [(1, "again")]
    rows.sql("INSERT INTO t (id, v) VALUES (9, 'one') ON CONFLICT (ix) DO NOTHING")
    with fails("23505"):
        rows.sql("INSERT INTO t (id, v) VALUES (9, 'one')")
    with fails("23505"):
        rows.sql("UPDATE t SET v = 'one' WHERE id = 2")
    rows.sql("CREATE UNIQUE INDEX ON t (id)")
    for values in ["v = EXCLUDED.v", "v = EXCLUDED.v, ix = EXCLUDED.ix"]:
        rows.sql(f"INSERT INTO t (id, v) VALUES (2, 'three') ON CONFLICT (id) DO UPDATE SET {values}")
        assert (same(rows, "three"), same(rows, "two")) == ([2], [])
    with fails("22023"):
        rows.sql("INSERT INTO t (id, v) VALUES (2, 'four') ON CONFLICT (id) DO UPDATE SET ix = EXCLUDED.ix")


def test_merge(rows):
    merge = ("MERGE INTO t USING (VALUES (1, 'new'), (7, 'one')) AS s (id, v) ON t.id = s.id "
             "WHEN MATCHED THEN UPDATE SET v = s.v::envelope.sealed, ix = {} "
             "WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v::envelope.sealed)")
    rows.sql(merge.format("t.ix"))
    assert (same(rows, "one"), same(rows, "new")) == ([7], [1])
    rows.sql(merge.format("NULL"))
    with fails("22023"):
        rows.sql(merge.format("'\\x00'"))


def test_copy(rows):
    with rows.connect() as c:
        with c.cursor().copy("COPY t (id, v) FROM STDIN") as copy:
            copy.write(b"4\tone\n5\tfive\n")
        assert same(rows, "one") == [1, 4]
        with c.cursor().copy("COPY t TO STDOUT") as copy:
            dumped = b"".join(copy)
        c.execute("DELETE FROM t")
        with c.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write(dumped)
    assert (same(rows, "one"), same(rows, "five")) == ([1, 4], [5])


def test_a_tampered_column_is_refused_by_whatever_moves_the_row(db):
    protect(db, how="PARTITION BY RANGE (id)")
    index(db)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one'), (200, 'two')")
    assert (same(db, "one"), same(db, "two")) == ([1], [200])
    # To the other partition, with its terms.
    db.sql("UPDATE t SET id = 201 WHERE id = 1")
    assert same(db, "one") == [201]
    db.sql("ALTER TABLE t_2 DISABLE TRIGGER ALL; UPDATE t_2 SET ix = '\\x0011'; ALTER TABLE t_2 ENABLE TRIGGER ALL")
    with fails("22023"):
        db.sql("UPDATE t SET id = 1 WHERE id = 201")
    # It is not looked at while it stays.
    db.sql("UPDATE t SET note = 'n'")
    db.sql("UPDATE t SET ix = '' WHERE id = 201")
    assert same(db, "one") == [201]


def test_rows_move_with_terms_of_a_former_key(db):
    protect(db, how="PARTITION BY RANGE (id)")
    index(db)
    index(db, "words", column="words")
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one'), (2, 'two')")
    db.sql("SELECT envelope.rotate_index_key('t')")
    db.sql("UPDATE t SET id = 200 WHERE id = 1")
    assert same(db, "one") == [200]
    new = [key_id for key_id, _, state in index_keys(db, "public.t") if state == "active"][0]
    assert db.value("SELECT substr(ix, 1, 2) FROM t WHERE id = 200") == new.bytes[:2]
    assert db.value("SELECT cardinality(words) FROM t WHERE id = 200") == 4


def test_a_value_that_an_index_cannot_take(db):
    protect(db)
    index(db, form="digits")
    index(db, form="email", column="mail", label="mail")
    for value in ["no digit", "1", "@1"]:
        with fails("22023") as caught:
            db.sql("INSERT INTO t (id, v) VALUES (1, %s)", (value,))
        assert value not in str(caught.value) and "v" in str(caught.value)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'a1@b')")
    with fails("22023"):
        db.sql("UPDATE t SET v = 'no digit'")
    assert same(db, "1") == [1]


def test_bound_rows(db):
    protect(db, bind=["id"])
    index(db)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one'), (2, 'one')")
    db.sql("UPDATE t SET id = 3 WHERE id = 1")
    assert same(db, "one") == [2, 3]
    with fails("22000"):
        db.sql("UPDATE t SET v = (SELECT v FROM t WHERE id = 2) WHERE id = 3")
    db.sql("UPDATE t SET ix = ''")
    assert same(db, "one") == [2, 3]


# -- keys and rights --------------------------------------------------------------------------------------------------

def test_who_may_seal_may_write_terms(db):
    protect(db)
    index(db)
    db.sql(f"GRANT ALL ON t TO {db.low}")
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'encrypt')")
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one')", user=db.low)
    assert same(db, "one") == [1]
    with fails("42501"):
        db.sql("SELECT envelope_search('t', 'v', 'one'::text)", user=db.low)
    db.sql(f"SELECT envelope.revoke_key('t', '{db.low}', 'encrypt')")
    with fails("42501"):
        db.sql("UPDATE t SET ix = ''", user=db.low)
    db.sql("UPDATE t SET note = 'n', ix = ix", user=db.low)


def test_index_keys_of_another_table(db):
    protect(db)
    protect(db, name="other")
    index(db, name="other", column="other_ix")
    index(db, label="shared", keys_of="other")
    db.sql(f"GRANT ALL ON t TO {db.low}")
    db.sql("INSERT INTO t (id, v) VALUES (0, 'zero')")
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'encrypt')")
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one')", user=db.low)
    (key_id, _, _), = index_keys(db, "public.other")
    assert index_keys(db, "public.t") == []
    assert db.value("SELECT substr(ix, 1, 2) FROM t WHERE id = 1") == key_id.bytes[:2]
    assert same(db, "one") == [1]


def test_terms_are_written_under_the_active_key(db):
    protect(db)
    index(db)
    index(db, column="pinned", options='{"unique": true}', label="pinned")
    index(db, "words", column="words")
    db.sql("INSERT INTO t (id, v) VALUES (1, 'one')")
    db.sql("SELECT envelope.rotate_index_key('t')")
    db.sql("INSERT INTO t (id, v) VALUES (2, 'one 2')")
    old, new = (key_id.bytes[:2] for key_id, _, _ in index_keys(db, "public.t"))
    assert db.sql("SELECT substr(ix, 1, 2), substr(pinned, 1, 2), cardinality(words) FROM t ORDER BY id") == [
        (old, old, 2), (new, old, 6)]
    # One that nobody names stays as it is; one that is asked for does not.
    db.sql("UPDATE t SET note = 'n'")
    assert db.value("SELECT substr(ix, 1, 2) FROM t WHERE id = 1") == old
    db.sql("UPDATE t SET ix = '', words = '{}' WHERE id = 1")
    assert db.sql("SELECT substr(ix, 1, 2), cardinality(words) FROM t WHERE id = 1") == [(new, 4)]


def test_a_replica_keeps_what_comes(rows):
    with rows.connect() as c:
        c.execute("ALTER TABLE t ENABLE ALWAYS TRIGGER seal")
        value, = c.execute("SELECT v::bytea FROM t WHERE id = 1").fetchone()
        c.execute("SET session_replication_role = replica")
        c.execute("INSERT INTO t (id, v, ix) VALUES (4, %s::bytea::envelope.sealed, '\\x0001')", (value,))
        c.execute("UPDATE t SET ix = '\\x0002' WHERE id = 2")
        assert c.execute("SELECT ix FROM t WHERE id IN (2, 4) ORDER BY id").fetchall() == [(b"\0\2",), (b"\0\1",)]
        c.execute("INSERT INTO t (id, v) VALUES (5, %s::bytea::envelope.sealed)", (value,))
    assert same(rows, "one") == [1, 5]


def test_other_columns_need_no_right(rows):
    """An UPDATE of other columns needs no key, whatever it names."""
    rows.sql(f"GRANT ALL ON t TO {rows.low}")
    rows.sql("UPDATE t SET note = 'n', v = v, ix = ix", user=rows.low)
    with fails("42501"):
        rows.sql("UPDATE t SET v = 'x'", user=rows.low)
