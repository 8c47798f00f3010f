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


# -- rows that would not be found -------------------------------------------------------------------------------------

def test_terms_of_an_ended_index_are_made_anew(db):
    protected(db, rows=("One", "Two", "Three"))
    indexed(db)
    db.sql("SELECT envelope.drop_index('t', 'ix')")
    db.sql("UPDATE t SET v = 'Four' WHERE id = 3")
    # Of the same rule, and of another one: both have the same index key.
    indexed(db, force=True)
    with db.connect() as c:
        assert (found(c, "Four"), found(c, "Three"), found(c, "One")) == ([3], [], [1])
    db.sql("SELECT envelope.drop_index('t', 'ix')")
    indexed(db, form="casefold", force=True)
    with db.connect() as c:
        assert (found(c, "FOUR"), found(c, "one")) == ([3], [1])
    assert not db.sql("SELECT * FROM envelope.verify('t', 'v')")


def test_a_partition_that_comes_with_rows_is_built_first(db):
    protected(db, columns="id int, v envelope.sealed", how="PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    db.sql("INSERT INTO t VALUES (1, 'one')")
    indexed(db)
    db.sql("CREATE TABLE t_2 (LIKE t)")
    db.sql("ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (10) TO (20)")
    assert is_built(db)
    db.sql("INSERT INTO t VALUES (11, 'one')")
    # What is written while it is none is nobody's terms.
    db.sql("ALTER TABLE t DETACH PARTITION t_2")
    db.sql("INSERT INTO t_2 VALUES (12, envelope_encrypt('t', 'one')::envelope.sealed, NULL)")
    db.sql("UPDATE t_2 SET v = envelope_encrypt('t', 'two')::envelope.sealed WHERE id = 11")
    db.sql("ALTER TABLE t ATTACH PARTITION t_2 FOR VALUES FROM (10) TO (20)")
    assert not is_built(db)
    with db.connect() as c:
        with fails("55000"):
            found(c, "one")
        assert c.execute("SELECT id FROM t WHERE envelope_matches('t', 'v', v, ix, '=', 'one') ORDER BY id").fetchall() == [
            (1,), (12,)]
        c.execute("CALL envelope.build_index('t', 'v', 'ix')")
        assert (found(c, "one"), found(c, "two")) == ([1, 12], [11])


@pytest.mark.parametrize("uses", ["own", "lent"])
def test_a_table_whose_index_keys_are_used_becomes_no_partition(db, uses):
    """It would have the keys of the topmost table, and every question be for terms that nobody has made."""
    protected(db, "u")
    protected(db, "part", columns="id int NOT NULL, v envelope.sealed")
    indexed(db, "part")
    name = "part"
    if uses == "lent":
        indexed(db, "u", keys_of="part", label="part.v", share_label=True)
        db.sql("SELECT envelope.drop_index('part', 'ix')")
        name = "u"
    protected(db, "t", columns="id int NOT NULL, v envelope.sealed, ix bytea", how="PARTITION BY RANGE (id)")
    db.sql("SELECT envelope.create_key('t'); DROP TRIGGER seal ON part")
    indexed(db, "t", force=True)
    attach = "ALTER TABLE t ATTACH PARTITION part FOR VALUES FROM (0) TO (10)"
    with fails("55000"):
        db.sql(attach)
    with db.connect() as c:
        assert found(c, "one", name) == [1]
        # As a release before this one let it be.
        c.execute("BEGIN; CREATE TABLE kept AS TABLE envelope.column_index; DELETE FROM envelope.column_index WHERE relation <> 't'::regclass::oid")
        c.execute(attach)
        c.execute("DELETE FROM envelope.column_index; INSERT INTO envelope.column_index TABLE kept")
        assert "42809" in [code for code, in c.execute(f"SELECT sqlstate FROM envelope.lint('{name}') WHERE severity = 'error'")]
        c.execute("ROLLBACK")
    db.sql(f"SELECT envelope.drop_index('{name}', 'ix')")
    db.sql(attach)
    with db.connect() as c:
        c.execute("CALL envelope.build_index('t', 'v', 'ix')")
        assert found(c, "one") == [1]


def test_a_question_is_of_one_row(db):
    """A table that is in a query twice: with an index and without it the answer is the same."""
    protected(db, rows=("one", "two"))
    indexed(db)
    ask = "SELECT a.id, b.id FROM t a, t b WHERE envelope_matches('t', 'v', a.v, b.ix, '=', 'one') ORDER BY 1, 2"
    assert db.sql(ask) == [(1, 1), (1, 2)]
    db.sql("UPDATE envelope.column_index SET built = false")
    assert db.sql(ask) == [(1, 1), (1, 2)]


def test_a_quiet_sealing_leaves_no_row_without_terms(db):
    protected(db, columns="id int PRIMARY KEY, v envelope.sealed, plain text", rows=())
    db.sql("DROP TRIGGER seal ON t; INSERT INTO t VALUES (1, NULL, 'one')")
    db.sql("SELECT envelope.set_policy('t', 'v', form => 'source', value_type => 'text', source => 'plain')")
    db.sql(SEAL.format("t", "v=plain"))
    indexed(db)
    with db.connect() as c:
        with fails("55000"):
            c.execute("CALL envelope.seal_column('t', 'v', 'plain', quiet => true)")
        c.execute("CALL envelope.seal_column('t', 'v', 'plain')")
        assert found(c, "one") == [1]


@pytest.mark.parametrize("expression, sqlstate", [("envelope_encrypt('t', 'same')", "55000"), ("v::bytea", None)])
def test_values_are_not_made_anew_beside_their_terms(db, expression, sqlstate):
    protected(db)
    indexed(db)
    statement = f"ALTER TABLE t ALTER v TYPE bytea USING {expression}"
    if sqlstate:
        with fails(sqlstate):
            db.sql(statement)
    else:
        db.sql(statement)
    with db.connect() as c:
        assert found(c, "one") == [1]


def test_rows_of_heirs_are_not_left_out(db):
    protected(db)
    indexed(db)
    db.sql("CREATE INDEX ON t (ix); CREATE TABLE heir () INHERITS (t)")
    db.sql("INSERT INTO heir VALUES (9, envelope_encrypt('t', 'one')::envelope.sealed, NULL)")
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        assert c.execute("SELECT id FROM t WHERE envelope_matches('t', 'v', v, ix, '=', 'one') ORDER BY id").fetchall() == [
            (1,), (9,)]


# -- transactions that see rows as they were --------------------------------------------------------------------------

@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("tokens", [False, True])
def test_an_index_is_not_asked_for_rows_from_before_it(db, level, tokens):
    protected(db)
    indexed(db, kind="words" if tokens else "exact", build=False)
    question = "SELECT id FROM t WHERE envelope_matches('t', 'v', v, ix, %s, 'one')", ("words" if tokens else "=",)
    with db.connect(autocommit=False) as c, db.connect() as other:
        c.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        c.execute("SELECT count(*) FROM pg_class").fetchall()
        other.execute("CALL envelope.build_index('t', 'v', 'ix')")
        assert c.execute(*question).fetchall() == [(1,)]
        with fails("40001"):
            found(c, "one", tokens=tokens)
        c.rollback()
        assert found(c, "one", tokens=tokens) == [1]


def test_tokens_of_a_rotated_key_are_not_asked_for_rows_from_before(db):
    protected(db)
    indexed(db, kind="words")
    with db.connect(autocommit=False) as c, db.connect() as other:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        assert found(c, "one", tokens=True) == [1]
        other.execute("SELECT envelope.rotate_index_key('t')")
        assert found(c, "one", tokens=True) == [1]
        other.execute("CALL envelope.build_index('t', 'v', 'ix')")
        with fails("40001"):
            found(c, "one", tokens=True)


def test_a_transaction_sees_the_index_that_it_adds(db):
    protected(db, rows=())
    with db.connect(autocommit=False) as c:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        c.execute("SELECT envelope.add_index('t', 'v', 'exact', index_column => 'ix')")
        c.execute("UPDATE envelope.column_index SET built = true; INSERT INTO t VALUES (1, 'one')")
        assert found(c, "one") == [1]


# -- the second column of a unique index ------------------------------------------------------------------------------

def unique(db):
    """A unique index, and the column that is to take its place."""
    protected(db)
    indexed(db, options='{"unique": true}')
    db.sql("CREATE UNIQUE INDEX t_ix ON t (ix)")
    db.sql("SELECT envelope.rotate_index_key('t')")


def second(db):
    indexed(db, column="ix2", options='{"unique": true}')


@pytest.mark.parametrize("index", ["(id, ix2)", "(id) INCLUDE (ix2)", "(ix2) WHERE id > 1", "(ix2, id)"])
def test_a_unique_index_of_more_is_none_of_the_column(db, index):
    unique(db)
    second(db)
    db.sql(f"CREATE UNIQUE INDEX ON t {index}")
    with fails("55000"):
        db.sql("SELECT envelope.swap_index('t', 'ix', 'ix2')")
    db.sql("CREATE UNIQUE INDEX ON t (ix2)")
    db.sql("SELECT envelope.swap_index('t', 'ix', 'ix2')")
    with fails("23505"):
        db.sql("INSERT INTO t VALUES (9, 'one')")


def test_uniqueness_within_a_group_is_kept_as_it_is(db):
    protected(db, columns="id int PRIMARY KEY, v envelope.sealed, tenant int DEFAULT 1")
    indexed(db, options='{"unique": true}')
    db.sql("CREATE UNIQUE INDEX ON t (tenant, ix)")
    db.sql("SELECT envelope.rotate_index_key('t')")
    second(db)
    db.sql("CREATE UNIQUE INDEX ON t (id, ix2)")
    with fails("55000"):
        db.sql("SELECT envelope.swap_index('t', 'ix', 'ix2')")
    db.sql("CREATE UNIQUE INDEX ON t (ix2, tenant)")
    db.sql("SELECT envelope.swap_index('t', 'ix', 'ix2')")


@pytest.mark.parametrize("column", ["a", "z"])
def test_the_first_column_answers_while_the_second_is_filled(db, column):
    unique(db)
    indexed(db, column=column, options='{"unique": true}', build=False)
    question = "SELECT id FROM t WHERE ix = ANY (envelope_search('t', 'v', 'one'))"
    assert db.sql(question) == [(1,)]
    with db.connect() as c, fails("55000"):
        found(c, "one", column=column)


PARTS = {
    "list": ("tenant int", "BY LIST (tenant)", "ix, tenant",
             ["CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)", "CREATE TABLE t_2 PARTITION OF t DEFAULT"]),
    "nested": ("tenant int, year int DEFAULT 1", "BY LIST (tenant)", "ix, tenant, year",
               ["CREATE TABLE t_1 (year int DEFAULT 1, v envelope.sealed, tenant int, id int) PARTITION BY LIST (year)",
                "ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES IN (1)",
                "CREATE TABLE t_11 PARTITION OF t_1 FOR VALUES IN (1)", "CREATE TABLE t_2 PARTITION OF t DEFAULT"]),
}


@pytest.mark.parametrize("way", PARTS)
def test_uniqueness_in_a_partitioned_table_is_beside_the_partition_key(db, way):
    column, by, columns, parts = PARTS[way]
    protected(db, columns=f"id int, v envelope.sealed, {column}", how=f"PARTITION {by}")
    for part in parts:
        db.sql(part)
    db.sql("INSERT INTO t (id, v, tenant) VALUES (1, 'one', 1), (2, 'one', 2)")
    said = []
    with db.connect() as c:
        c.add_notice_handler(lambda notice: said.append((notice.severity, notice.message_primary)))
        run = [sql for sql, in c.execute("SELECT envelope.add_index('t', 'v', 'exact', index_column => 'ix', "
                                         "options => '{\"unique\": true}')").fetchall()]
        assert [message for severity, message in said if severity == "WARNING" and "together with tenant" in message]
        create = run[1]
        assert create == f"CREATE UNIQUE INDEX ON public.t ({columns})"
        lint = c.execute("SELECT remedy FROM envelope.lint('t') WHERE message LIKE '%UNIQUE%'").fetchall()
        assert lint and lint[0][0].replace('"', "") == create.replace('"', "")
        for sql in run:
            c.execute(sql)
        # There it is, and nobody asks for another one.
        assert not c.execute("SELECT 1 FROM envelope.lint('t') WHERE message LIKE '%UNIQUE%'").fetchall()
        assert not c.execute("""SELECT 1 FROM envelope.plan('t', '{v}', '{"indexes": [{"kind": "exact", "unique": true}]}')
                                WHERE sql LIKE 'CREATE%'""").fetchall()
        with fails("23505"):
            c.execute("INSERT INTO t (id, v, tenant) VALUES (3, 'one', 1)")
        c.execute(f"INSERT INTO t (id, v, tenant) VALUES (3, 'one', 1) ON CONFLICT ({columns}) DO UPDATE SET id = 9")
        assert sorted(found(c, "one")) == [2, 9]
        # Through a rotation as well.
        c.execute("SELECT envelope.rotate_index_key('t')")
        for sql, in c.execute("SELECT envelope.add_index('t', 'v', 'exact', index_column => 'ix2', "
                              "options => '{\"unique\": true}')").fetchall():
            c.execute(sql)
        c.execute("SELECT envelope.swap_index('t', 'ix', 'ix2')")
        with fails("23505"):
            c.execute("INSERT INTO t (id, v, tenant) VALUES (3, 'one', 1)")


def test_a_unique_index_of_more_than_the_partition_key_is_none_of_the_column(db):
    protected(db, columns="id int, v envelope.sealed, tenant int", how="PARTITION BY LIST (tenant)")
    db.sql("CREATE TABLE t_1 PARTITION OF t DEFAULT")
    indexed(db, options='{"unique": true}')
    db.sql("CREATE UNIQUE INDEX ON t (ix, tenant, id)")
    assert db.sql("SELECT 1 FROM envelope.lint('t') WHERE message LIKE '%UNIQUE%'")


def test_nothing_is_unique_in_a_table_that_is_partitioned_by_an_expression(db):
    protected(db, columns="id int, v envelope.sealed", how="PARTITION BY LIST ((id % 2))")
    db.sql("CREATE TABLE t_1 PARTITION OF t DEFAULT")
    with fails("0A000"):
        indexed(db, options='{"unique": true}')
    indexed(db)


READERS = [
    "CREATE VIEW reader AS SELECT id FROM t WHERE ix = ANY (envelope_search('t', 'v', 'one'))",
    "CREATE FUNCTION reader() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t WHERE ix IS NULL; END",
    "ALTER TABLE t ADD g bytea GENERATED ALWAYS AS (ix) STORED",
    "CREATE POLICY reader ON t USING (ix IS NOT NULL)",
    "CREATE TABLE child (id int, ix bytea REFERENCES t (ix))",
]


@pytest.mark.parametrize("reader", READERS)
def test_what_reads_the_column_by_its_number_stops_the_swap(db, reader):
    unique(db)
    db.sql(reader)
    second(db)
    db.sql("CREATE UNIQUE INDEX ON t (ix2)")
    with fails("2BP01"):
        db.sql("SELECT envelope.swap_index('t', 'ix', 'ix2')")
    assert db.value("SELECT count(*) FROM envelope.column_index") == 2


# -- who may write, and no more ---------------------------------------------------------------------------------------

@pytest.fixture
def writer(db):
    """A role that may write values, and neither open, search, nor read terms; and the term of the value `one`."""
    protected(db)
    indexed(db)
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'encrypt')")
    db.sql(f"GRANT INSERT ON t TO {db.low}; GRANT SELECT (id), UPDATE ON t TO {db.low}")
    return db.value("SELECT ix FROM t WHERE id = 1")


def test_who_may_only_write_is_not_told_whether_a_term_is_that_of_a_value(db, writer):
    db.sql("INSERT INTO t (id, v, ix) VALUES (11, 'one', %s), (12, 'other', %s)", (writer, writer), user=db.low)
    db.sql("UPDATE t SET v = 'other', ix = %s WHERE id = 2", (writer,), user=db.low)
    with db.connect() as c:
        assert (found(c, "one"), found(c, "other")) == ([1, 11], [2, 12])
    # Who may open or search, or read the terms made, is told.
    for more in (f"SELECT envelope.grant_key('t', '{db.low}', 'search')", f"GRANT SELECT (ix) ON t TO {db.low}"):
        db.sql(more)
        with fails("22023"):
            db.sql("INSERT INTO t (id, v, ix) VALUES (13, 'other', %s)", (writer,), user=db.low)
        db.sql(f"SELECT envelope.revoke_key('t', '{db.low}', 'search')")


# -- keys that were lent ----------------------------------------------------------------------------------------------

@pytest.fixture
def lent(db):
    """The low role owns table `u`, whose terms are made by the index keys of table `t`, which another role owns."""
    db.other = f"other_{db.name}"
    db.sql(f"CREATE ROLE {db.other} LOGIN; GRANT CREATE ON SCHEMA public TO {db.low}, {db.other}")
    protected(db)
    protected(db, name="u")
    db.sql(f"ALTER TABLE t OWNER TO {db.other}; ALTER TABLE u OWNER TO {db.low}")
    indexed(db)
    db.sql(f"SELECT envelope.grant_key('t', '{db.low}', 'manage')")
    db.sql("SELECT envelope.add_index('u', 'v', 'exact', index_column => 'ix', keys_of => 't', label => 't.v', "
           "share_label => true)", user=db.low)
    return db


WRITES = ["INSERT INTO u (id, v) VALUES (9, 'one')", "UPDATE u SET v = 'one' WHERE id = 2", "UPDATE u SET ix = ''"]


@pytest.mark.parametrize("statement", WRITES)
@pytest.mark.parametrize("by", ["owner", "writer", "superuser"])
def test_whom_the_right_was_taken_from_makes_no_terms(lent, statement, by):
    user = {"owner": lent.low, "writer": f"w_{lent.name}", "superuser": "postgres"}[by]
    if by == "writer":
        lent.sql(f"CREATE ROLE {user} LOGIN; GRANT ALL ON u TO {user}")
        lent.sql(f"SELECT envelope.grant_key('u', '{user}', 'encrypt, decrypt')")
    with lent.connect(user) as c:
        c.execute("UPDATE u SET v = 'before' WHERE id = 1")
        lent.sql(f"SELECT envelope.revoke_key('t', '{lent.low}', 'manage')", user=lent.other)
        with fails("42501") as error:
            c.execute(statement)
        # Whose right it is that counts is said.
        assert lent.low in error.value.diag.message_detail and "'t'" in error.value.diag.message_hint.replace("public.", "")
        lent.sql(f"SELECT envelope.grant_key('t', '{lent.low}', 'search')", user=lent.other)
        c.execute(statement)


def test_an_owner_who_never_had_the_right_makes_no_terms(lent):
    lent.sql(f"ALTER TABLE u OWNER TO {lent.other}")
    lent.sql("INSERT INTO u (id, v) VALUES (9, 'one')", user=lent.other)
    lent.sql(f"SELECT envelope.revoke_key('t', '{lent.low}', 'manage')")
    with lent.connect() as c:
        c.execute("INSERT INTO u (id, v) VALUES (10, 'one')")
        lent.sql(f"ALTER TABLE u OWNER TO {lent.low}")
        with fails("42501"):
            c.execute("INSERT INTO u (id, v) VALUES (11, 'one')")


def test_whom_the_right_was_taken_from_builds_and_compares_nothing(lent):
    term = lent.value("SELECT ix FROM t WHERE id = 1")
    ask = f"SELECT envelope.row_fault('u'::regclass, envelope_encrypt('u', 'one'), '', NULL, '{{ix}}', decode('{term.hex()}', 'hex'))"
    assert lent.value(ask, user=lent.low) is None
    lent.sql(f"SELECT envelope.revoke_key('t', '{lent.low}', 'manage')")
    with fails("42501"):
        lent.sql(ask, user=lent.low)
    with lent.connect(lent.low) as c, fails("42501"):
        c.execute("CALL envelope.build_index('u', 'v', 'ix')")


def test_a_table_gets_no_terms_that_its_owner_may_not_make(lent):
    add = "SELECT envelope.add_index('u', 'v', 'words', index_column => 'w', keys_of => 't', label => 'words')"
    lent.sql(f"SELECT envelope.revoke_key('t', '{lent.low}', 'manage')")
    with fails("42501") as error:
        lent.sql(add)
    assert lent.low in error.value.diag.message_detail
    lent.sql(f"SELECT envelope.grant_key('t', '{lent.low}', 'search')")
    lent.sql(add)


def test_whoever_manages_the_keys_ends_an_index_that_uses_them(lent):
    stranger = f"s_{lent.name}"
    lent.sql(f"CREATE ROLE {stranger} LOGIN")
    drop = "SELECT envelope.drop_index('u', 'ix')"
    with fails("42501"):
        lent.sql(drop, user=stranger)
    lent.sql(f"SELECT envelope.revoke_key('t', '{lent.low}', 'manage')")
    assert [("u", "error", "42501")] == [
        (row[0].split(".")[-1], *row[2:4]) for row in lent.sql("SELECT * FROM envelope.lint('u')") if "owns" in row[4]]
    assert lent.sql("SELECT keys_of FROM envelope.indexes WHERE relation = 'public.u'", user=lent.other) == [("public.t",)]
    assert lent.value(drop, user=lent.other) is True
    assert lent.value("SELECT count(*) FROM envelope.column_index") == 1
    lent.sql("INSERT INTO u (id, v) VALUES (9, 'one')", user=lent.low)
    # That is of the keys that were lent, and of no others.
    indexed(lent, name="u")
    with fails("42501"):
        lent.sql(drop, user=lent.other)


# -- columns that are compared ----------------------------------------------------------------------------------------

def test_a_column_of_several_indexes_can_be_joined_by_one(db):
    protected(db)
    indexed(db, kind="words", column="words")
    indexed(db)
    protected(db, name="u")
    with fails("22023"):
        indexed(db, name="u", kind="prefix(2)", column="words", keys_of="t", label="t.v", share_label=True)
    indexed(db, name="u", keys_of="t", label="t.v", share_label=True)
    assert db.value("SELECT count(*) FROM t JOIN u USING (ix)") == 3


def test_a_table_that_is_gone_has_no_label(db):
    protected(db)
    indexed(db)
    protected(db, name="u")
    indexed(db, name="u", keys_of="t", label="t.v", share_label=True)
    db.sql("DROP TABLE u")
    indexed(db, kind="words", column="words")
    with db.connect() as c:
        assert found(c, "two", column="words", tokens=True) == [2]
