"""What the trigger keeps from row to row: it never outlives what it was found out from."""

import pytest
from sqlstate import fails

TRIGGER = "CREATE TRIGGER seal{0} BEFORE INSERT OR UPDATE ON {1} FOR EACH ROW EXECUTE FUNCTION {2}({3})"


def seals(c, table, *arguments, function="envelope_seal", name=""):
    c.execute(TRIGGER.format(name, table, function, ", ".join(f"'{argument}'" for argument in arguments)))


def sealed_names(c, table, *columns):
    """The columns of which every row's value is sealed, and no row's is NULL."""
    return {column for column in columns
            if c.execute(f"SELECT bool_and(envelope.is_sealed({column}) AND {column} IS NOT NULL) FROM {table}").fetchone()[0]}


def opened(c, table, column, context="''"):
    """What each row's value opens to, by its id."""
    return dict(c.execute(f"SELECT id, convert_from(envelope_decrypt('{table}', {column}, {context}), 'UTF8') "
                          f"FROM {table} ORDER BY id").fetchall())


def at_row(c, table, row, does):
    """Makes a function of an id that gives it back, and at one row does something before."""
    c.execute(f"CREATE OR REPLACE FUNCTION met(id int) RETURNS int LANGUAGE plpgsql VOLATILE AS "
              f"$f$ BEGIN IF id = {row} THEN {does} END IF; RETURN id; END $f$")


def test_columns_renamed_between_statements(db):
    """Of one session, prepared ones among them: with a policy the arguments follow, without one they name what is gone,
    or another column."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (id int PRIMARY KEY, a text, v bytea)")
        c.execute("SELECT envelope.set_policy('t', 'v', 'source', 'text', 'a', bind => '{id}')")
        seals(c, "t", "v=a")
        c.execute("PREPARE ins(int, text) AS INSERT INTO t VALUES ($1, $2)")
        c.execute("EXECUTE ins(1, 'one')")
        for rename in ("a TO plain", "v TO sealed", "id TO number"):
            c.execute(f"ALTER TABLE t RENAME {rename}")
            c.execute("EXECUTE ins(%s, 'more')" % (1 + len(rename)))
        c.execute("ALTER TABLE t RENAME number TO id")
        c.execute("EXECUTE ins(2, 'two')")
        found = opened(c, "t", "sealed", "envelope.row_context('t', 'sealed', id::text)")
        assert (len(found), found[1], found[2]) == (5, "one", "two")
        assert c.execute("SELECT count(plain) FROM t").fetchone() == (0,)
        # Without a policy.
        c.execute("CREATE TABLE free (id int, a bytea, b bytea)")
        seals(c, "free", "a")
        c.execute("PREPARE of_free AS INSERT INTO free VALUES (1, 'one', 'two')")
        c.execute("EXECUTE of_free")
        c.execute("ALTER TABLE free RENAME a TO c")
        with fails("42703"):
            c.execute("EXECUTE of_free")
        c.execute("ALTER TABLE free RENAME b TO a")
        c.execute("TRUNCATE free")
        c.execute("EXECUTE of_free")
        assert sealed_names(c, "free", "a", "c") == {"a"}


@pytest.mark.parametrize("argument", ["a", "a=s"])
def test_columns_renamed_within_a_statement(db, argument):
    """By what it calls: from the next row on another column bears the name."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (id int, a bytea, b bytea, s bytea)")
        seals(c, "t", argument)
        at_row(c, "t", 3, "ALTER TABLE t RENAME a TO c; ALTER TABLE t RENAME b TO a;")
        written = "a" if argument == "a" else "s"
        both = "'x', 'y', NULL::bytea" if written == "a" else "NULL::bytea, NULL::bytea, 'z'::bytea"
        c.execute(f"INSERT INTO t SELECT met(g), {both} FROM generate_series(1, 4) g")
        assert c.execute("SELECT id, envelope.is_sealed(c) AND c IS NOT NULL, envelope.is_sealed(a) AND a IS NOT NULL "
                         "FROM t ORDER BY id").fetchall() == [
            (1, True, False), (2, True, False), (3, False, True), (4, False, True)]


def test_columns_dropped_and_made_anew(db):
    """The name is another number's, and a number before it is nobody's."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (gone text, id int, v bytea, s text)")
        seals(c, "t", "v=s")
        c.execute("PREPARE ins(int) AS INSERT INTO t (id, s) VALUES ($1, 'x')")
        c.execute("EXECUTE ins(1)")
        c.execute("ALTER TABLE t DROP gone")
        c.execute("EXECUTE ins(2)")
        c.execute("ALTER TABLE t DROP v")
        with fails("42703"):
            c.execute("EXECUTE ins(3)")
        c.execute("ALTER TABLE t ADD v envelope.sealed")
        c.execute("EXECUTE ins(4)")
        c.execute("UPDATE t SET s = 'y'")
        assert opened(c, "t", "v") == {1: "y", 2: "y", 4: "y"}
        c.execute("ALTER TABLE t DROP v, ADD v text")
        with fails("42804"):
            c.execute("EXECUTE ins(5)")


def test_columns_added_with_values_that_rows_lack(db):
    """Rows from before hold fewer columns than the table: what they lack stands in the catalog."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (id int, note text)")
        c.execute("INSERT INTO t VALUES (1, 'x'), (2, NULL)")
        c.execute("ALTER TABLE t ADD v bytea DEFAULT 'early', ADD s text DEFAULT NULL, ADD n int DEFAULT 7")
        seals(c, "t", "v=s")
        c.execute("UPDATE t SET note = 'y'")
        assert opened(c, "t", "v") == {1: "early", 2: "early"}
        before = c.execute("SELECT id, v, n FROM t").fetchall()
        c.execute("UPDATE t SET note = NULL")
        assert c.execute("SELECT id, v, n FROM t").fetchall() == before
        c.execute("UPDATE t SET v = NULL, s = 'late'")
        assert opened(c, "t", "v") == {1: "late", 2: "late"}


def test_what_a_row_lacks_is_what_it_had_before(db):
    """A source that is left as it is leaves what is sealed beside it, too."""
    db.sql("CREATE TABLE t (id int, note text, v bytea); INSERT INTO t VALUES (1, 'x', envelope_encrypt('t', 'early'))")
    db.sql("ALTER TABLE t ADD s text DEFAULT 'early'")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_mirror('v=s')")
    before = db.value("SELECT v FROM t")
    db.sql("UPDATE t SET note = 'y'")
    assert db.sql("SELECT note, s, v FROM t") == [("y", "early", before)]


def test_a_key_that_was_refused_is_refused_again(db):
    """What was found of the value before is known; that nothing was found is not."""
    db.sql("CREATE TABLE t (v bytea)")
    sealed = db.value("SELECT envelope_encrypt('t', 'x')")
    old = db.value("SELECT key_id FROM envelope.keys")
    db.sql("SELECT envelope.rotate_key('t')")
    db.sql("SELECT envelope.retire_key(%s)", (old,))
    with db.connect() as c:
        seals(c, "t", "v")
        for _ in range(3):
            with fails("55000"):
                c.execute("INSERT INTO t VALUES (%s)", (sealed,))
            with fails("55000"):
                c.execute("SELECT envelope_decrypt('t', %s)", (sealed,))


def test_columns_among_many_that_are_null(db):
    names = [f"c{n}" for n in range(1, 41)]
    with db.connect() as c:
        c.execute(f"CREATE TABLE t (id int, {', '.join(name + ' bytea' for name in names)})")
        seals(c, "t", "c7", "c8", "c9=c10", "c40=c33")
        c.execute("INSERT INTO t (id, c8, c33) VALUES (1, 'a', 'b'), (2, NULL, NULL)")
        c.execute("INSERT INTO t (id, c7, c10, c16, c40) VALUES (3, 'c', 'd', 'e', 'f')")
        c.execute("UPDATE t SET c39 = 'g'")
        filled = c.execute("SELECT id, ARRAY(SELECT key || CASE WHEN envelope.is_sealed(decode(substr(value, 3), 'hex')) "
                           "THEN '*' ELSE '' END FROM json_each_text(to_json(t)) WHERE key <> 'id' AND value IS NOT NULL "
                           "ORDER BY 1) FROM t ORDER BY id").fetchall()
        assert filled == [(1, ["c39", "c40*", "c8*"]), (2, ["c39"]), (3, ["c16", "c39", "c40*", "c7*", "c9*"])]
        assert c.execute("SELECT convert_from(envelope_decrypt('t', c40), 'UTF8') FROM t WHERE c40 IS NOT NULL "
                         "ORDER BY id").fetchall() == [("b",), ("f",)]


def partitions(c):
    """Three, each with its columns in another order, and in another number: some were dropped."""
    c.execute("CREATE TABLE t (id int NOT NULL, k int NOT NULL, v bytea, s text) PARTITION BY LIST (k)")
    c.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    c.execute("CREATE TABLE t2 (x int, s text, y text, v bytea, k int NOT NULL, id int NOT NULL)")
    c.execute("ALTER TABLE t2 DROP x, DROP y")
    c.execute("CREATE TABLE t3 (v bytea, s text, id int NOT NULL, z bytea, k int NOT NULL)")
    c.execute("ALTER TABLE t3 DROP z")
    for n in (2, 3):
        c.execute(f"ALTER TABLE t ATTACH PARTITION t{n} FOR VALUES IN ({n})")


@pytest.mark.parametrize("bound", [False, True])
def test_partitions_with_columns_in_another_order(db, bound):
    """In one statement, row by row in turn; and an UPDATE that moves rows between them."""
    with db.connect() as c:
        partitions(c)
        context = "''"
        if bound:
            c.execute("SELECT envelope.set_policy('t', 'v', 'source', 'text', 's', bind => '{id,k}')")
            context = "envelope.row_context('t', 'v', id::text, k::text)"
        seals(c, "t", "v=s")
        c.execute("INSERT INTO t SELECT g, 1 + g % 3, NULL, 'of ' || g FROM generate_series(1, 9) g")
        told = {n: f"of {n}" for n in range(1, 10)}
        assert opened(c, "t", "v", context) == told
        c.execute("UPDATE t SET k = 1 + k % 3")
        c.execute("UPDATE t SET s = 'of ' || id, k = 1 + (k + id) % 3")
        assert opened(c, "t", "v", context) == told
        assert c.execute("SELECT count(s), count(DISTINCT tableoid) FROM t").fetchone() == (0, 3)
        with c.cursor().copy("COPY t (id, k, s) FROM STDIN") as copy:
            for n in range(11, 17):
                copy.write_row((n, 1 + n % 3, f"of {n}"))
        assert opened(c, "t", "v", context) == told | {n: f"of {n}" for n in range(11, 17)}


def test_a_policy_that_comes_within_a_statement(db):
    """It counts from the next row on."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (id int NOT NULL, v bytea)")
        seals(c, "t", "v")
        at_row(c, "t", 3, "PERFORM envelope.set_policy('t', 'v', 'bytea', 'int', bind => '{id}');")
        with fails("22P02"):
            c.execute("INSERT INTO t SELECT met(g), 'no number' FROM generate_series(1, 4) g")
        c.execute("INSERT INTO t SELECT met(g), '007' FROM generate_series(1, 4) g")
        assert opened(c, "t", "v", "CASE WHEN id < 3 THEN '' ELSE envelope.row_context('t', 'v', id::text) END") == {
            1: "007", 2: "007", 3: "7          ", 4: "7          "}


def test_triggers_beside_each_other(db):
    """On one table, and on those that its rows' triggers write to, itself among them."""
    with db.connect() as c:
        c.execute("CREATE TABLE t (id int, a bytea, b bytea, s bytea)")
        c.execute("CREATE TABLE log (b bytea, a bytea)")
        seals(c, "t", "a", name="_1")
        seals(c, "t", "b=s", name="_2")
        seals(c, "log", "b", "a")
        c.execute("CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN "
                  "IF NEW.id < 100 THEN INSERT INTO t VALUES (NEW.id + 100, 'a', NULL, 's'); END IF; "
                  "INSERT INTO log VALUES ('b', 'a'); RETURN NEW; END $f$")
        c.execute("CREATE TRIGGER again BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION again()")
        c.execute("WITH logged AS (INSERT INTO log SELECT 'b', 'a' FROM generate_series(1, 3) RETURNING 1) "
                  "INSERT INTO t SELECT g, 'a', NULL, 's' FROM generate_series(1, 3) g, (SELECT count(*) FROM logged) l")
        assert c.execute("SELECT count(*), count(s) FROM t").fetchone() == (6, 0)
        assert sealed_names(c, "t", "a", "b") == {"a", "b"}
        assert c.execute("SELECT count(*) FROM log").fetchone() == (9,)
        assert sealed_names(c, "log", "a", "b") == {"a", "b"}


def test_roles_within_a_statement(db):
    """What the next row's role may do, not the one's before."""
    with db.connect() as c:
        c.execute(f"CREATE TABLE t (id int, v bytea); GRANT INSERT, SELECT ON t TO {db.low}")
        seals(c, "t", "v")
        c.execute("SELECT envelope.create_key('t')")
        at_row(c, "t", 3, f"SET LOCAL ROLE {db.low};")
        with fails("42501"):
            c.execute("INSERT INTO t SELECT met(g), 'x' FROM generate_series(1, 4) g")
        c.execute(f"SELECT envelope.grant_key('t', '{db.low}', 'encrypt')")
        c.execute("INSERT INTO t SELECT met(g), 'x' FROM generate_series(1, 4) g")
        assert opened(c, "t", "v") == {n: "x" for n in range(1, 5)}
