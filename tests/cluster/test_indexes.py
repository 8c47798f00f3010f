"""Search indexes are declared, refused, and follow their columns; and they travel."""

import psycopg
import pytest
from harness.keyrings import notices
from sqlstate import fails


def people(db, kind="text", name="people", rows=()):
    """A table whose column `ssn` is sealed, as values of that type."""
    db.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, ssn envelope.sealed)")
    db.sql(f"SELECT envelope.set_policy('{name}', 'ssn', value_type => %s)", (kind,))
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    for number, value in enumerate(rows, 1):
        db.sql(f"INSERT INTO {name} VALUES (%s, %s)", (number, value))


def add(db, kind, table="people", column="ssn", user="postgres", **more):
    """Adds an index; the statements that are to be run next."""
    named = "".join(f", {name} => %({name})s" for name in more)
    rows = db.sql(f"SELECT envelope.add_index(%(table)s, %(column)s, %(kind)s{named})",
                  {"table": table, "column": column, "kind": kind, **more}, user=user)
    return [sql for sql, in rows]


def indexes(db, what="relation, column_name, index_column, rule, label"):
    return db.sql(f"SELECT {what} FROM envelope.indexes ORDER BY index_column")


def type_of(db, column, table="people"):
    return db.value("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass "
                    "AND attname = %s", (table, column))


@pytest.mark.parametrize("kind, value_type, more, rule, column", [
    ("exact", "text", {}, "exact/1", "bytea"),
    ("exact", "text", {"form": "casefold"}, "casefold/1", "bytea"),
    ("exact", "uuid", {}, "exact/1", "bytea"),
    ("exact", "interval", {"form": "exact"}, "exact/1", "bytea"),
    ("exact", "numeric", {}, "exact/1", "bytea"),
    ("prefix(4)", "text", {"form": "digits"}, "prefix(4) digits/1", "bytea"),
    ("suffix(4)", "varchar(30)", {"form": "alnum"}, "suffix(4) alnum/1", "bytea"),
    ("words", "text", {}, "words casefold/1", "bigint[]"),
    ("parts", "text", {}, "parts(3) casefold/1", "bigint[]"),
    ("parts(4)", "text", {"form": "nfc"}, "parts(4) nfc/1", "bigint[]"),
    ("days", "date", {}, "days date/1", "bytea"),
    ("days", "timestamptz", {}, "days timestamptz/1", "bytea"),
    ("steps(7)", "date", {}, "steps(7) date/1", "bytea"),
    ("steps(10)", "bigint", {}, "steps(10) int/1", "bytea"),
    ("steps(10)", "smallint", {}, "steps(10) int/1", "bytea"),
    ("steps(10)", "numeric(12,2)", {}, "steps(10) numeric(2)/1", "bytea"),
    ("buckets", "date", {"options": '{"bounds": ["1970-01-01", "1980-06-30"]}'}, "buckets date/1", "bytea"),
    ("buckets", "double precision", {"options": '{"bounds": [-1.5, 0, 1e300]}'}, "buckets float/1", "bytea"),
    ("tree", "date", {"options": '{"low": "1970-01-01", "high": "2149-06-06"}'},
     "tree(2,6,16,9223372036854775808) date/1", "bigint[]"),
    ("tree", "smallint", {"options": '{"low": 0, "high": 127, "sparsity": 1, "trim": 0}'},
     "tree(1,0,7,9223372036854775808) int/1", "bigint[]"),
])
def test_an_index_is_added(db, kind, value_type, more, rule, column):
    people(db, value_type)
    run = add(db, kind, **more)
    assert indexes(db) == [("public.people", "ssn", "ssn_ix", rule, "people.ssn")]
    name, form = (kind.split("(")[0], rule.split("/")[0].split(" ")[-1])
    assert db.sql("SELECT split_part(kind, '(', 1), form, is_unique, built, keys_of FROM envelope.indexes") == [
        (name, form, False, False, None)]
    assert type_of(db, "ssn_ix") == column
    comment = db.value("SELECT col_description('people'::regclass, attnum) FROM pg_attribute "
                       "WHERE attrelid = 'people'::regclass AND attname = 'ssn_ix'")
    assert f"rule {rule}" in comment
    assert run[0] == "CALL envelope.build_index('public.people', 'ssn', 'ssn_ix')"
    # PostgreSQL takes it, and the index is one that can be used.
    db.sql(run[1])
    assert db.value("SELECT count(*) FROM pg_index WHERE indrelid = 'people'::regclass AND indisvalid "
                    "AND NOT indisprimary") == 1


@pytest.mark.parametrize("kind, value_type, more, sqlstate", [
    ("exact", "bool", {}, "0A000"),
    ("exact", "bool", {"force": True}, "0A000"),
    ("exact", "two", {"force": True}, "0A000"),
    ("exact", "json", {}, "0A000"),
    ("exact", "jsonb", {"force": True}, "0A000"),
    ("exact", "text[]", {"force": True}, "0A000"),
    ("words", "date", {}, "42804"),
    ("prefix(4)", "integer", {}, "42804"),
    ("days", "time", {}, "42804"),
    ("days", "integer", {}, "42804"),
    ("days", "text", {}, "42804"),
    ("buckets", "numeric", {}, "42804"),
    ("buckets", "numeric(19,2)", {}, "42804"),
    ("steps(1)", "real", {}, "42804"),
    ("steps(10)", "interval", {}, "42804"),
    ("exact", "date", {"form": "digits"}, "22023"),
    ("exact", "text", {"form": "upper"}, "22023"),
    ("equal", "text", {}, "22023"),
    ("prefix", "text", {}, "22023"),
    ("prefix()", "text", {}, "22023"),
    ("prefix(0)", "text", {}, "22023"),
    ("prefix(4096)", "text", {}, "22023"),
    ("prefix(4", "text", {}, "22023"),
    ("exact(4)", "text", {}, "22023"),
    ("parts(1)", "text", {}, "22023"),
    ("steps(0)", "date", {}, "22023"),
    ("exact", "text", {"options": '{"unique": true, "term_length": 8}'}, "22023"),
    ("days", "date", {"options": '{"unique": true}'}, "22023"),
    ("words", "text", {"options": '{"term_length": 16}'}, "22023"),
    ("exact", "text", {"options": '{"term_length": 7}'}, "22023"),
    ("exact", "text", {"options": '{"term_length": 33}'}, "22023"),
    ("exact", "text", {"options": '{"classes": 7}'}, "22023"),
    ("exact", "text", {"options": '{"else": 7}'}, "22023"),
    ("exact", "text", {"options": '[]'}, "22023"),
    ("tree", "date", {}, "22023"),
    ("tree", "date", {"options": '{"low": "1970-01-01"}'}, "22023"),
    ("tree", "date", {"options": '{"low": "1970-01-01", "high": "1970-01-01"}'}, "22023"),
    ("tree", "date", {"options": '{"low": "-infinity", "high": "1970-01-01"}'}, "22023"),
    ("tree", "date", {"options": '{"low": "a secret", "high": "1970-01-01"}'}, "22007"),
    ("tree", "date", {"options": '{"low": "1970-01-01", "high": "1990-01-01", "sparsity": 9}'}, "22023"),
    ("tree", "text", {"options": '{"low": "a", "high": "z"}'}, "42804"),
    ("buckets", "date", {}, "55000"),
    ("buckets", "date", {"options": '{"bounds": ["1980-01-01", "1970-01-01"]}'}, "22023"),
    ("buckets", "date", {"options": '{"bounds": ["1980-01-01", "1980-01-01"]}'}, "22023"),
    ("buckets", "date", {"options": '{"bounds": ["infinity"]}'}, "22023"),
    ("buckets", "date", {"options": '{"bounds": []}'}, "22023"),
    ("buckets", "date", {"options": '{"classes": 1}'}, "22023"),
    ("exact", "text", {"label": ""}, "22023"),
    ("exact", "text", {"label": "x" * 256}, "22023"),
    ("exact", "text", {"index_column": "ssn"}, "55000"),
    ("exact", "text", {"column": "id"}, "42704"),
    ("exact", "text", {"column": "none"}, "42703"),
    ("exact", "text", {"table": "parts_1"}, "42809"),
    ("exact", "text", {"kind": None}, "22023"),
])
def test_what_is_refused(db, kind, value_type, more, sqlstate):
    db.sql("CREATE TYPE two AS ENUM ('m', 'f')")
    db.sql("CREATE TABLE parts (id int, ssn envelope.sealed) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE parts_1 PARTITION OF parts DEFAULT")
    people(db, value_type)
    with fails(sqlstate):
        add(db, **{"kind": kind, **more})
    assert indexes(db) == []
    assert db.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0") == 2


def test_the_index_column(db):
    people(db)
    db.sql("ALTER TABLE people ADD ssn_ix text, ADD terms bytea, ADD tokens bigint[], ADD made bytea GENERATED ALWAYS AS "
           "(''::bytea) STORED, ADD filled bytea DEFAULT '', ADD needed bytea NOT NULL, ADD plain text, ADD bound int NOT NULL, "
           "ADD other envelope.sealed, ADD triggered bytea")
    db.sql("SELECT envelope.set_policy('people', 'other', 'source', source => 'plain', bind => '{bound}')")
    db.sql("CREATE TRIGGER other BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('triggered')")
    for column, sqlstate in (("ssn_ix", "42804"), ("tokens", "42804"), ("made", "55000"), ("filled", "55000"),
                             ("needed", "55000"), ("bound", "55000"), ("plain", "55000"), ("other", "55000"),
                             ("triggered", "55000")):
        with fails(sqlstate):
            add(db, "exact", index_column=column)
    with fails("42804"):
        add(db, "words", index_column="terms")
    add(db, "exact", index_column="terms")
    with fails("42710"):
        add(db, "prefix(4)", index_column="terms")
    add(db, "words", index_column="tokens")
    # One that it makes, when the usual name is taken; and none when that is, too.
    add(db, "suffix(4)")
    with fails("42701"):
        add(db, "suffix(5)")
    add(db, "suffix(5)", index_column='Eine "Spalte"')
    assert indexes(db, "index_column, rule") == [
        ('Eine "Spalte"', "suffix(5) exact/1"), ("ssn_suffix", "suffix(4) exact/1"), ("terms", "exact/1"),
        ("tokens", "words casefold/1")]
    with fails("42710"):
        add(db, "exact", index_column="again")


def test_values_that_are_there_are_not_written_over(db):
    people(db)
    db.sql("ALTER TABLE people ADD terms bytea; INSERT INTO people VALUES (1, 'x', 'a picture')")
    with fails("55000"):
        add(db, "exact", index_column="terms")
    add(db, "exact", index_column="terms", force=True)


def test_who_may_add_an_index(db):
    people(db)
    db.sql("ALTER TABLE people ADD picture bytea")
    with fails("42501"):
        add(db, "exact", user=db.low)
    db.sql(f"SELECT envelope.create_key('people'), envelope.grant_key('people', '{db.low}', 'manage')")
    # To manage keys is not to say what a trigger writes, nor to change a table.
    for column in ({}, {"index_column": "picture"}):
        with fails("42501"):
            add(db, "exact", user=db.low, **column)
    assert indexes(db) == []
    add(db, "exact")
    assert indexes(db, "index_column") == [("ssn_ix",)]
    assert db.sql("SELECT index_column FROM envelope.indexes", user=db.low) == [("ssn_ix",)]
    db.sql(f"SELECT envelope.revoke_key('people', '{db.low}', 'manage')")
    assert db.sql("SELECT index_column FROM envelope.indexes", user=db.low) == []
    with fails("42501"):
        db.sql("SELECT envelope.drop_index('people', 'ssn_ix')", user=db.low)
    with fails("42501"):
        db.sql("TABLE envelope.column_index", user=db.low)


def test_labels(db):
    people(db)
    people(db, name="staff")
    db.sql("SELECT envelope.create_key('people'), envelope.share_keyring('people', 'staff')")
    add(db, "exact")
    # Of another keyring: nothing is shared.
    add(db, "exact", "staff", label="people.ssn", index_column="alone")
    people(db, name="visitors")
    more = {"table": "visitors", "keys_of": "people", "label": "people.ssn"}
    with fails("42710"):
        add(db, "exact", **more)
    for other in ({"kind": "prefix(4)"}, {"form": "casefold"}, {"options": '{"term_length": 20}'}):
        with fails("22023"):
            add(db, **{"kind": "exact", "share_label": True, **more, **other})
    add(db, "exact", share_label=True, **more)
    assert db.sql("SELECT relation, keys_of, label FROM envelope.indexes WHERE keys_of IS NOT NULL") == [
        ("public.visitors", "public.people", "people.ssn")]
    # Several kinds of one column have one label; and it stays whatever becomes of the names.
    add(db, "prefix(4)", "staff", label="people.ssn")
    db.sql("ALTER TABLE staff RENAME ssn TO number")
    db.sql("ALTER TABLE staff RENAME TO persons")
    assert set(indexes(db, "label")) == {("people.ssn",)}


def test_whose_keys_are_used(db):
    db.sql(f"CREATE TABLE hers (id int, ssn envelope.sealed); ALTER TABLE hers OWNER TO {db.low}")
    people(db)
    db.sql("SELECT envelope.create_key('people'), envelope.create_key('hers')")
    db.sql("SELECT envelope.set_policy('hers', 'ssn')", user=db.low)
    with fails("42501"):
        add(db, "exact", "hers", user=db.low, keys_of="people")
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'manage')")
    add(db, "exact", "hers", user=db.low, keys_of="people")
    # What is left without keys of its own says so; it does not use others.
    db.sql("DROP TABLE people")
    assert db.sql("SELECT relation, keys_of FROM envelope.indexes") == [("public.hers", "-")]
    assert db.sql("SELECT keys_of::oid FROM envelope.column_index") == [(0,)]


def test_names_are_followed(db):
    people(db)
    db.sql("ALTER TABLE people ADD note text")
    add(db, "exact")
    add(db, "words", index_column="tokens")
    for rename in ('ssn TO "Größe"', "ssn_ix TO terms", "note TO remark"):
        db.sql(f"ALTER TABLE people RENAME {rename}")
    db.sql("CREATE SCHEMA elsewhere; ALTER TABLE people SET SCHEMA elsewhere")
    with db.connect(autocommit=False) as c:
        c.execute("ALTER TABLE elsewhere.people RENAME terms TO x")
        c.execute("ALTER TABLE elsewhere.people DROP tokens")
        assert c.execute("SELECT index_column FROM envelope.indexes").fetchall() == [("x",)]
        c.rollback()
    what = "relation, column_name, index_column"
    assert indexes(db, what) == [("elsewhere.people", "Größe", "terms"), ("elsewhere.people", "Größe", "tokens")]
    with fails("0A000"):
        db.sql("ALTER TABLE elsewhere.people ALTER terms TYPE text USING terms::text")
    db.sql("ALTER TABLE elsewhere.people DROP terms")
    assert indexes(db, what) == [("elsewhere.people", "Größe", "tokens")]
    db.sql('ALTER TABLE elsewhere.people DROP "Größe" CASCADE')
    assert db.sql("TABLE envelope.column_index") == []


def test_an_index_that_ends(db):
    people(db)
    add(db, "exact")
    with db.connect() as c:
        told = notices(c)
        assert c.execute("SELECT envelope.drop_index('people', 'ssn_ix')").fetchall() == [(True,)]
    assert ["ALTER TABLE public.people DROP COLUMN ssn_ix" in message for _, message, _ in told] == [True]
    assert not db.value("SELECT envelope.drop_index('people', 'ssn_ix')")
    assert type_of(db, "ssn_ix") == "bytea"
    add(db, "exact", index_column="ssn_ix")
    db.sql("DROP TABLE people")
    # Its OID will be another table's some day.
    assert db.sql("SELECT relation::oid, relation::text FROM envelope.column_index") == [(0, "-")]
    assert indexes(db) == []


def test_an_index_needs_the_policy(db):
    people(db, "varchar(10)")
    add(db, "exact")
    for change in ("SELECT envelope.drop_policy('people', 'ssn')", "SELECT envelope.set_policy('people', 'ssn', value_type => 'date')",
                   "SELECT envelope.set_policy('people', 'ssn')", "SELECT envelope.unprotect('people', 'ssn')"):
        with fails("55000"):
            db.sql(change)
    # Another length, another block, another binding: the terms are the same.
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'varchar(20)', block => 16)")
    db.sql("SELECT envelope.drop_index('people', 'ssn_ix')")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'date')")
    people(db, "numeric(10,2)", "pay")
    add(db, "steps(10)", "pay")
    with fails("55000"):
        db.sql("SELECT envelope.set_policy('pay', 'ssn', value_type => 'numeric(10,3)')")
    db.sql("CREATE TABLE bills (plain numeric(10,2), ssn bytea)")
    db.sql("SELECT envelope.set_policy('bills', 'ssn', 'source', source => 'plain')")
    add(db, "steps(10)", "bills")
    with fails("55000"):
        db.sql("ALTER TABLE bills ALTER plain TYPE numeric(10,3)")


def test_partitions_use_the_index_of_their_root(db):
    db.sql("CREATE TABLE parts (id int, ssn envelope.sealed) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE parts_1 PARTITION OF parts DEFAULT")
    db.sql("SELECT envelope.set_policy('parts', 'ssn', value_type => 'text')")
    run = add(db, "exact", "parts")
    assert type_of(db, "ssn_ix", "parts_1") == "bytea"
    # PostgreSQL has no CONCURRENTLY here.
    db.sql(run[1])
    db.sql("ALTER TABLE parts RENAME ssn_ix TO terms")
    assert indexes(db, "relation, index_column") == [("public.parts", "terms")]
    with fails("42809"):
        db.sql("SELECT envelope.drop_index('parts_1', 'terms')")


def test_who_may_read_terms(db):
    """Whoever writes to the table and reads terms can try values. Who reads the whole table loses the one column."""
    people(db)
    db.sql(f'GRANT SELECT, INSERT ON people TO {db.low}; CREATE ROLE "odd {db.low}"')
    db.sql(f'GRANT INSERT ON people TO "odd {db.low}"')
    run = add(db, "exact")
    for sql in run[2:]:
        db.sql(sql)
    rights = "SELECT has_column_privilege(%s, 'people', %s, 'SELECT')"
    assert [db.value(rights, (db.low, column)) for column in ("id", "ssn", "ssn_ix")] == [True, True, False]
    assert db.value("SELECT has_table_privilege(%s, 'people', 'INSERT')", (db.low,))


def test_who_may_search_reads_terms_still(db):
    """And one index's rights do not give another one's terms back."""
    people(db)
    db.sql(f'CREATE ROLE "odd {db.low}"; GRANT SELECT ON people TO {db.low}, "odd {db.low}", PUBLIC')
    db.sql(f"SELECT envelope.create_key('people'), envelope.grant_key('people', '{db.low}', 'search')")
    first, second = add(db, "exact"), add(db, "words", index_column="tokens")
    for sql in first[2:] + second[2:]:
        assert f"FROM {db.low}" not in sql and f"TO {db.low}" not in sql
        db.sql(sql)
    rights = "SELECT has_column_privilege(%s, 'people', %s, 'SELECT')"
    columns = ("id", "ssn", "ssn_ix", "tokens")
    assert [db.value(rights, (f"odd {db.low}", column)) for column in columns] == [True, True, False, False]
    assert all(db.value(rights, (db.low, column)) for column in columns)


@pytest.mark.parametrize("online", ["true", "false"])
def test_a_plan_takes_terms_from_who_reads_all(db, online):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text, born date)")
    db.sql("GRANT SELECT ON people TO PUBLIC")
    options = f"""{{"online": {online}, "indexes": [{{"kind": "exact", "index_column": "a"}}], "born": {{"form": "source",
        "indexes": [{{"kind": "days", "index_column": "b"}}]}}}}"""
    plan = [sql for sql, in db.sql("SELECT sql FROM envelope.plan('people', '{ssn,born}', %s)", (options,)) if sql]
    for sql in plan:
        db.sql(sql)
    rights = "SELECT attname, has_column_privilege(%s, attrelid, attnum, 'SELECT') FROM pg_attribute WHERE attrelid = 'people'::regclass AND attnum > 0 AND NOT attisdropped"
    assert dict(db.sql(rights, (db.low,))) == {"id": True, "ssn": True, "born": True, "born_sealed": True, "a": False, "b": False}
    assert db.sql("SELECT sql FROM envelope.plan('people', '{ssn,born}', %s)", (options,)) == []


def test_a_plan_leaves_terms_to_who_may_open_values(db):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text)")
    db.sql(f"GRANT SELECT ON people TO {db.low}")
    sql = "SELECT sql FROM envelope.plan('people', '{ssn}', '{\"indexes\": [{\"kind\": \"exact\"}]}')"
    plan = [sql for sql, in db.sql(sql) if sql]
    left_out = [sql for sql in plan if "'decrypt'" in sql]
    for step in plan:
        if step not in left_out:
            db.sql(step)
    # It got no right on the keys: so the plan that is printed anew takes the terms from it.
    [(revoke,)] = db.sql(sql)
    db.sql(left_out[0])
    assert db.sql(sql) == []
    db.sql(f"SELECT envelope.revoke_key('people', '{db.low}', 'decrypt')")
    db.sql(revoke)
    assert db.sql(sql) == []
    assert not db.value("SELECT has_column_privilege(%s, 'people', 'ssn_ix', 'SELECT')", (db.low,))


def test_dumped_and_restored(db, cluster, own_cluster):
    people(db)
    people(db, name="staff")
    add(db, "exact")
    add(db, "words", "staff", index_column='Eine "Spalte"', keys_of="people", label="é")
    db.sql("UPDATE envelope.column_index SET key_id = gen_random_uuid(), boundaries = 'x', built = true "
           "WHERE keys_of IS NULL")
    what = ("relation::text, column_name, index_column, rule, label, term_length, keys_of::text, key_id, is_unique, boundaries, "
            "built")
    rows = db.sql(f"SELECT {what} FROM envelope.column_index ORDER BY 1")
    db.sql("CREATE TABLE gone (id int)")
    target = own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start()
    # So that no OID of there is that of here.
    target.sql("CREATE TABLE filler (a int); DROP TABLE filler")
    target.sql("CREATE DATABASE copy")
    archive = cluster.base / f"{db.name}.dump"
    cluster.client("pg_dump", "-Fc", "-f", archive, dbname=db.name)
    target.client("pg_restore", "--exit-on-error", "-j4", "-d", "copy", archive)
    assert target.sql(f"SELECT {what} FROM envelope.column_index ORDER BY 1", dbname="copy") == rows
    assert target.sql("SELECT * FROM envelope.indexes ORDER BY 1", dbname="copy") == db.sql(
        "SELECT * FROM envelope.indexes ORDER BY 1")


def test_others_do_not_write_the_catalog(db):
    people(db)
    add(db, "exact")
    db.sql(f"GRANT pg_write_all_data TO {db.low}")
    for write in ("DELETE FROM envelope.column_index", "UPDATE envelope.column_index SET label = 'x'"):
        with fails("42501"):
            db.sql(write, user=db.low)


def measured(db, kind, options="{}", table="people"):
    return dict(db.sql("SELECT measure, value FROM envelope.index_leakage(%s, 'ssn', %s, %s)", (table, kind, options)))


FILLED = "INSERT INTO people SELECT g, {} FROM generate_series(1, {}) g"


@pytest.mark.parametrize("value, rows, kind, more, refused", [
    # Few values, or one that many rows have.
    ("(g % 16)::text", 200, "exact", {}, True),
    ("(g % 17)::text", 200, "exact", {}, False),
    ("CASE WHEN g % 4 = 0 THEN 'x' ELSE g::text END", 200, "exact", {}, True),
    ("CASE WHEN g % 6 = 0 THEN 'x' ELSE g::text END", 200, "exact", {}, False),
    # Told apart by the normal form alone.
    ("'x' || repeat(' ', g)", 200, "exact", {}, False),
    ("'1' || repeat(' ', g)", 200, "exact", {"form": "digits"}, True),
    # Of few rows nothing is said.
    ("'x'", 5, "exact", {}, False),
    ("(g % 16)::text", 200, "words", {}, False),
])
def test_what_an_index_would_give_away_is_counted(db, value, rows, kind, more, refused):
    people(db)
    db.sql(FILLED.format(value, rows))
    if refused:
        with fails("55000"):
            add(db, kind, **more)
        assert indexes(db) == []
    add(db, kind, force=refused, **more)
    assert len(indexes(db)) == 1


@pytest.mark.parametrize("value, rows, refused", [("g", 1000, False), ("g / 2", 1000, True), ("g % 9", 15, False)])
def test_a_tree_of_frequent_values_is_refused(db, value, rows, refused):
    people(db, "integer")
    db.sql(FILLED.format(f"({value})::text", rows))
    options = '{"low": 0, "high": 4095}'
    if refused:
        with fails("55000"):
            add(db, "tree", options=options)
    add(db, "tree", options=options, force=refused)


@pytest.mark.parametrize("kinds, value_type, form, sqlstate", [
    (("days", "steps(7)"), "date", None, None),
    (("steps(30)", "steps(7)"), "date", None, "55000"),
    (("steps(86400)", "days"), "timestamp", None, None),
    (("buckets", "days"), "date", None, "55000"),
    (("tree", "days"), "date", None, "55000"),
    (("prefix(6)", "suffix(4)"), "text", "digits", "55000"),
    (("suffix(4)", "prefix(8)"), "text", "digits", "55000"),
    (("prefix(5)", "suffix(4)"), "text", "digits", None),
    (("prefix(6)", "suffix(4)"), "text", "alnum", None),
    (("exact", "suffix(4)"), "text", "digits", "WARNING"),
    (("prefix(4)", "exact"), "text", "digits", "WARNING"),
    (("exact", "suffix(4)"), "text", "casefold", None),
])
def test_what_two_indexes_give_away_together(db, kinds, value_type, form, sqlstate):
    people(db, value_type)
    options = {"buckets": '{"bounds": ["1990-01-01"]}', "tree": '{"low": "1970-01-01", "high": "2020-01-01"}'}
    more = {"form": form} if form else {}
    first, second = kinds
    add(db, first, **more, options=options.get(first, "{}"))
    with db.connect() as c:
        told = notices(c)
        sql = "SELECT envelope.add_index('people', 'ssn', %s, form => %s, options => %s, force => %s)"
        arguments = (second, form, options.get(second, "{}"))
        if sqlstate == "55000":
            with fails("55000"):
                c.execute(sql, (*arguments, False))
        c.execute(sql, (*arguments, sqlstate == "55000"))
    assert any(severity == "WARNING" for severity, *_ in told) == (sqlstate is not None)


@pytest.mark.parametrize("kind, value, told", [
    ("prefix(4)", "'acct' || g", True), ("prefix(5)", "'acct' || g", False), ("suffix(2)", "g || 'st'", True)])
def test_terms_that_tell_no_rows_apart_are_warned_of(db, kind, value, told):
    people(db)
    db.sql(FILLED.format(value, 30))
    with db.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.add_index('people', 'ssn', %s)", (kind,))
    assert any(severity == "WARNING" for severity, *_ in got) == told


def test_measures(db):
    people(db)
    assert measured(db, "exact") == {"values read": "0", "leakage": None}
    # 100 rows of one value, 50 of the next, and 850 of their own.
    db.sql(FILLED.format("CASE WHEN g <= 100 THEN 'a' WHEN g <= 150 THEN 'b' ELSE 'person ' || g END", 1000))
    of = measured(db, "exact")
    assert (of["values read"], of["distinct values"], of["distinct terms"]) == ("1000", "852", "852")
    assert (of["largest class"], of["unique"], of["bytes a row"]) == ("10.00 %", "85.00 %", "19")
    # Who knows how often each is there finds these two, and next to nobody else.
    assert 15.0 <= float(of["guessed by frequency"].split()[0]) < 16.0
    # Who asks for more than six characters fetches all of these.
    of = measured(db, "prefix(6)")
    assert (of["distinct terms"], of["false positives"]) == ("1", "some")
    of = measured(db, "parts(3)", '{"form": "exact"}')
    assert (of["largest class"], of["false positives"]) == ("85.00 %", "few")
    assert "unique" not in of
    db.sql("INSERT INTO people VALUES (0, NULL)")
    assert measured(db, "exact")["values read"] == "1000"
    with fails("42501"):
        db.sql("SELECT * FROM envelope.index_leakage('people', 'ssn', 'exact')", user=db.low)
    with fails("42704"):
        db.sql("SELECT * FROM envelope.index_leakage('people', 'id', 'exact')")
    people(db, "date", "births")
    db.sql("INSERT INTO births SELECT g, (date '1950-01-01' + g)::text FROM generate_series(1, 2000) g")
    of = measured(db, "buckets", table="births")
    assert of["classes"] == "256" and of["fetched for 1 %"] == "1.39"
    assert measured(db, "buckets", '{"classes": 1000}', table="births")["classes"] is None
    assert measured(db, "days", table="births")["distinct terms"] == "2000"
    assert measured(db, "steps(10)", table="births")["distinct terms"] in ("200", "201")


def test_values_are_read_as_the_policy_binds_them(db):
    """Partitions, row contexts, values that are not sealed: what can be read is."""
    db.sql("CREATE TABLE people (id int NOT NULL, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE people_1 PARTITION OF people FOR VALUES FROM (0) TO (50)")
    db.sql("CREATE TABLE people_2 PARTITION OF people DEFAULT")
    db.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', 'text', bind => '{id}')")
    db.sql("INSERT INTO people VALUES (1000, 'in clear')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql(FILLED.format("convert_to('é ' || g, 'UTF8')", 99))
    assert measured(db, "exact")["distinct values"] == "99"
    assert "1 that are not sealed" in db.value(
        "SELECT remark FROM envelope.index_leakage('people', 'ssn', 'exact') WHERE measure = 'values read'")


def test_of_a_large_table_some_pages_are_read(db):
    people(db)
    db.sql("ALTER TABLE people ADD filler text; ALTER TABLE people ALTER filler SET STORAGE PLAIN")
    db.sql("INSERT INTO people SELECT g, 'person ' || g, repeat('x', 4000) FROM generate_series(1, 6000) g")
    read = int(measured(db, "exact")["values read"])
    assert 3000 <= read <= 5000


def test_boundaries_come_from_the_values(db):
    people(db, "integer")
    db.sql("CREATE TABLE births (id int)")
    db.sql(FILLED.format("g::text", 500))
    with fails("55000"):
        add(db, "buckets")
    add(db, "buckets", options='{"classes": 8}')
    stored = db.value("SELECT boundaries FROM envelope.column_index")
    # Sealed under the index key, and bound to label and rule.
    key = db.value("SELECT key_id FROM envelope.keys WHERE purpose = 'index'")
    assert db.value("SELECT envelope.key_id_of(%s)", (stored,)) == key
    assert b"bounds" not in stored


def test_index_keys_are_made(db):
    people(db)
    people(db, name="staff")
    add(db, "exact", options='{"unique": true}')
    key = db.value("SELECT key_id FROM envelope.keys WHERE purpose = 'index'")
    add(db, "words", index_column="tokens")
    add(db, "prefix(4)", index_column="start")
    assert db.sql("SELECT index_column, key_id FROM envelope.indexes ORDER BY 1") == [
        ("ssn_ix", key), ("start", None), ("tokens", key)]
    add(db, "exact", "staff", keys_of="people")
    assert db.sql("SELECT key_id FROM envelope.keys WHERE purpose = 'index'") == [(key,)]
    assert db.sql("SELECT DISTINCT waiting FROM envelope.indexes") == [(False,)]
    db.sql("SELECT envelope.rotate_index_key('people')")
    assert db.sql("SELECT DISTINCT waiting FROM envelope.indexes") == [(True,)]
    # The second column of a unique index, pinned to the new version.
    add(db, "exact", index_column="again", options='{"unique": true}')
    with fails("42710"):
        add(db, "exact", index_column="third", options='{"unique": true}')


def test_a_second_column_takes_the_place_of_the_first(db):
    people(db)
    add(db, "exact", options='{"unique": true}')
    db.sql("CREATE UNIQUE INDEX ON people (ssn_ix)")
    db.sql("SELECT envelope.rotate_index_key('people')")
    add(db, "exact", index_column="again", options='{"unique": true}')
    add(db, "words", index_column="tokens")
    swap = "SELECT envelope.swap_index('people', 'ssn_ix', %s)"
    for column, sqlstate in (("again", "55000"), ("tokens", "55000"), ("ssn_ix", "55000"), ("id", "42704")):
        with fails(sqlstate) as error:
            db.sql(swap, (column,))
        assert error.value.diag.message_hint
    with fails("55000") as error:
        db.sql(swap, ("again",))
    # The HINT has the whole statement.
    db.sql(error.value.diag.message_hint.rstrip("."))
    with fails("55000") as error:
        db.sql(swap, ("again",))
    db.sql(error.value.diag.message_hint.rstrip("."))
    db.sql("ALTER INDEX people_again_idx RENAME TO second")
    new = db.value("SELECT key_id FROM envelope.column_index WHERE index_column = 'again'")
    with fails("42501"):
        db.sql(swap, ("again",), user=db.low)
    db.sql(f'CREATE ROLE "odd {db.low}"; GRANT SELECT (ssn_ix) ON people TO {db.low} WITH GRANT OPTION')
    db.sql(f'GRANT SELECT (ssn_ix) ON people TO "odd {db.low}"; COMMENT ON COLUMN people.ssn_ix IS $$it\'s terms$$')
    rights = "SELECT (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(attacl) x), col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = 'people'::regclass AND attname = 'ssn_ix'"
    before = db.sql(rights)
    index = db.value("SELECT 'second'::regclass::oid")
    db.sql(swap, ("again",))
    assert db.sql("SELECT index_column, key_id FROM envelope.indexes WHERE is_unique") == [("ssn_ix", new)]
    # Who searches may go on, and the message of 23505 names the index as before.
    assert db.sql(rights) == before and before[0][0] is not None
    assert db.sql("SELECT relname, pg_get_indexdef(oid) LIKE '%%(ssn_ix)' FROM pg_class WHERE oid = %s", (index,)) == [
        ("people_ssn_ix_idx", True)]
    assert "(again)" in db.value("SELECT pg_get_indexdef('second'::regclass)")
    db.sql("ALTER TABLE people DROP again")
    assert len(indexes(db)) == 2


def test_terms_of_other_keys_take_no_place(db):
    people(db)
    people(db, name="staff")
    add(db, "exact", label="both")
    add(db, "exact", index_column="theirs", label="both", keys_of="staff")
    db.sql("UPDATE envelope.column_index SET built = true")
    with fails("55000"):
        db.sql("SELECT envelope.swap_index('people', 'ssn_ix', 'theirs')")
    assert {column for column, in indexes(db, "index_column")} == {"ssn_ix", "theirs"}


@pytest.mark.parametrize("kind, options", [("exact digits", "{}"), ("digits", "{}"), ("exact", '{"form": "digit"}')])
def test_a_form_that_is_misplaced_is_told_where_it_goes(db, kind, options):
    people(db)
    with fails("22023") as error:
        db.sql("SELECT envelope.index_leakage('people', 'ssn', %s, %s)", (kind, options))
    hint = error.value.diag.message_hint
    assert "options" in hint and "form =>" in hint


def test_a_column_without_terms_is_told_from_one_that_is_missing(db):
    people(db)
    db.sql("ALTER TABLE people ADD mail envelope.sealed; SELECT envelope.set_policy('people', 'mail', value_type => 'date')")
    db.sql("CREATE TRIGGER seals BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('mail')")
    add(db, "exact")
    for column, index_column, sqlstate, said in (
            ("ssn", "ssn_xi", "42703", "ssn_xi"), ("ssn", "id", "42704", "id"), ("mail", "ssn_ix", "42704", "mail")):
        with fails(sqlstate) as error:
            db.sql(f"CALL envelope.build_index('people', '{column}', '{index_column}')")
        assert f'"{said}"' in error.value.diag.message_primary
    with fails("42703"):
        db.sql("SELECT envelope.swap_index('people', 'ssn_ix', 'ssn_xi')")
    with fails("42703"):
        db.sql("SELECT envelope.split_classes('people', 'ssn_xi')")
    # Text that is no date says of which column, and how dates are written, and not what it was.
    for write in ("INSERT INTO people (id, mail) VALUES (1, '31/31/1964')", "SELECT envelope.add_index('people', 'mail', 'days'); "
                  "UPDATE envelope.column_index SET built = true; SELECT envelope_search('people', 'mail', '31/31/1964')"):
        with db.connect() as c, fails("22008") as error:
            c.execute(write)
        diag = error.value.diag
        assert "mail" in diag.message_detail and "YYYY-MM-DD" in diag.message_hint and "1964" not in diag.message_primary


@pytest.mark.parametrize("more, said", [
    ({"form": "nfc", "options": '{"unique": true}'}, "nfc/1"),
    ({"label": "else", "options": '{"unique": true}'}, "else"),
    ({"options": '{"unique": true, "term_length": 20}'}, "20"),
])
def test_what_differs_is_said_where_a_column_cannot_take_the_place(db, more, said):
    people(db)
    add(db, "exact", options='{"unique": true}')
    db.sql("SELECT envelope.rotate_index_key('people')")
    add(db, "exact", index_column="again", **more)
    with fails("55000") as error:
        db.sql("SELECT envelope.swap_index('people', 'ssn_ix', 'again')")
    assert said in error.value.diag.message_primary


def test_classes_that_grew_are_split(db):
    """And the set is sealed under the active index key, before and after its rotation."""
    people(db, "integer")
    db.sql(FILLED.format("g::text", 800))
    add(db, "buckets", options='{"classes": 8}')
    add(db, "exact", index_column="other")
    split = "SELECT envelope.split_classes('people', 'ssn_ix')"
    assert db.value(split) == 0
    under = "SELECT envelope.key_id_of(boundaries) FROM envelope.column_index WHERE boundaries IS NOT NULL"
    key = db.value("SELECT envelope.rotate_index_key('people')")
    assert db.value(under) == key
    db.sql("INSERT INTO people SELECT 1000 + g, (200 + g % 90)::text FROM generate_series(1, 8000) g")
    before = db.value("SELECT boundaries FROM envelope.column_index WHERE boundaries IS NOT NULL")
    assert db.value(split) == 1
    assert db.value(under) == key
    assert db.value("SELECT length(boundaries) > length(%s::bytea) FROM envelope.column_index "
                    "WHERE boundaries IS NOT NULL", (before,))
    assert db.value(split) == 0
    with fails("42809"):
        db.sql("SELECT envelope.split_classes('people', 'other')")
    with fails("42704"):
        db.sql("SELECT envelope.split_classes('people', 'ssn')")
    with fails("42501"):
        db.sql(split, user=db.low)


def test_boundaries_that_do_not_open(db):
    people(db, "integer")
    db.sql(FILLED.format("g::text", 800))
    add(db, "buckets", options='{"classes": 8}')
    db.sql("UPDATE envelope.column_index SET label = 'other'")
    with fails("XX001"):
        db.sql("SELECT envelope.split_classes('people', 'ssn_ix')")


def found(db, table="people"):
    return {row[:3] for row in db.sql(
        "SELECT column_name, severity, sqlstate, message, remedy FROM envelope.lint(%s::text::regclass)", (table,))}


def mended(db, severity, sqlstate, run=True):
    """The finding is there, and gone once its remedy has run."""
    said = [row for row in db.sql("SELECT severity, sqlstate, remedy FROM envelope.lint('people')")
            if row[:2] == (severity, sqlstate)]
    assert len(said) == 1, db.sql("TABLE envelope.column_index")
    if run:
        db.sql(said[0][2])
        assert ("ssn", severity, sqlstate) not in found(db)


def indexed(db):
    """A table whose index is as it should be."""
    people(db)
    db.sql("ALTER TABLE people ADD CHECK (envelope.is_sealed(ssn))")
    add(db, "exact")
    db.sql("CREATE INDEX ON people (ssn_ix)")
    db.sql("UPDATE envelope.column_index SET built = true")


def test_lint_of_an_index_as_it_should_be(db):
    indexed(db)
    assert found(db) == set() and found(db, None) == set()


@pytest.mark.parametrize("change, severity, sqlstate", [
    ("ALTER TABLE people ALTER ssn_ix SET DEFAULT ''", "error", "42P17"),
    ("ALTER TABLE people ALTER ssn_ix SET NOT NULL", "error", "23502"),
    ("UPDATE envelope.column_index SET index_column = 'gone'", "error", "42703"),
    ("UPDATE envelope.sealed_column SET form = NULL", "error", "42704"),
    ("UPDATE envelope.column_index SET term_length = NULL", "error", "42804"),
    ("UPDATE envelope.column_index SET keys_of = '-'", "error", "42704"),
    ("UPDATE envelope.column_index SET is_unique = true", "error", "55000"),
    ("UPDATE envelope.column_index SET key_id = gen_random_uuid()", "error", "42704"),
])
def test_lint_of_an_index(db, change, severity, sqlstate):
    indexed(db)
    db.sql(change)
    mended(db, severity, sqlstate)


def test_lint_of_an_index_that_is_not_built(db):
    indexed(db)
    db.sql("UPDATE envelope.column_index SET built = false")
    mended(db, "warning", "55000", run=False)


@pytest.mark.parametrize("kind, unique, severity", [("exact", "true", "warning"), ("exact", "false", "notice"),
                                                    ("words", "false", "notice")])
def test_lint_of_an_index_that_postgresql_has_not(db, kind, unique, severity):
    indexed(db)
    add(db, kind, index_column="terms", form="nfc", options=f'{{"unique": {unique}}}')
    db.sql("UPDATE envelope.column_index SET built = true")
    # Neither of them keeps all values apart.
    db.sql("CREATE UNIQUE INDEX ON people (terms, id)" if unique == "true" else "CREATE INDEX ON people (id)")
    mended(db, severity, "55000")
    assert found(db) == set()
    db.sql("UPDATE pg_index SET indisvalid = false WHERE indrelid = 'people'::regclass")
    assert ("ssn", severity, "55000") in found(db)


def test_lint_of_rotation(db):
    indexed(db)
    db.sql("SELECT envelope.rotate_index_key('people')")
    mended(db, "notice", "55000", run=False)
    add(db, "exact", index_column="own", form="nfc", options='{"unique": true}')
    db.sql("UPDATE envelope.column_index SET built = true")
    db.sql("CREATE UNIQUE INDEX ON people (own)")
    db.sql("SELECT envelope.rotate_index_key('people')")
    assert len([row for row in db.sql("SELECT sqlstate FROM envelope.lint('people')") if row == ("55000",)]) == 2
    add(db, "exact", index_column="again", form="nfc", options='{"unique": true}')
    db.sql("CREATE UNIQUE INDEX ON people (again)")
    db.sql("UPDATE envelope.column_index SET built = true")
    assert len([row for row in db.sql("SELECT sqlstate FROM envelope.lint('people')") if row == ("55000",)]) == 1


def told(db):
    """What lint says is to be done about index keys."""
    rows = db.sql("SELECT remedy FROM envelope.lint('people') WHERE (severity, sqlstate) = ('notice', '55000')")
    return [remedy for remedy, in rows if "build_index" in remedy or "retire_key" in remedy or "add_index" in remedy]


def test_lint_tells_what_is_next_after_a_rotation(db):
    people(db, rows=["1-2", "3"])
    builds = [add(db, "exact")[0], add(db, "words", index_column="tokens")[0]]
    for build in builds:
        db.sql(build)
    assert told(db) == []
    db.sql("SELECT envelope.rotate_index_key('people')")
    assert sorted(told(db)) == builds
    for build in builds:
        # What is built is not told of, and the key stays as long as one is left.
        assert build in told(db)
        db.sql(build)
        assert build not in told(db)
    retire, = told(db)
    db.sql(retire)
    assert told(db) == []
    assert db.sql("SELECT DISTINCT waiting FROM envelope.indexes") == [(False,)]


def test_lint_tells_of_parts_that_are_not_built(db):
    db.sql("CREATE TABLE people (id int, ssn envelope.sealed) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE one PARTITION OF people FOR VALUES IN (1); CREATE TABLE two PARTITION OF people FOR VALUES IN (2)")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'text')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO people VALUES (1, 'a'), (2, 'b')")
    build = add(db, "exact")[0]
    db.sql(build)
    db.sql("SELECT envelope.rotate_index_key('people')")
    db.sql(build.replace("public.people", "public.one"))
    assert told(db) == [build]
    db.sql(build)
    assert [remedy[:26] for remedy in told(db)] == ["SELECT envelope.retire_key"]


def test_lint_gives_the_second_column_of_a_unique_index(db):
    people(db, rows=["1-2", "3"])
    people(db, name="others")
    run = add(db, "exact", form="digits", label="both", options='{"unique": true, "term_length": 20}')
    db.sql(run[0])
    db.sql("SELECT envelope.rotate_index_key('people')")
    add(db, "exact", "others", keys_of="people", form="digits", label="both", share_label=True, options='{"term_length": 20}')
    # Building it does not bring it to the new key, and says so.
    with db.connect() as c:
        said = notices(c)
        c.execute(run[0])
    assert any("swap_index" in (hint or "") for _, _, hint in said)
    remedy, = told(db)
    db.sql(remedy)
    assert told(db) == []
    first, second = db.sql("SELECT rule, label, term_length, is_unique FROM envelope.indexes WHERE relation = 'public.people'")
    assert first == second == ("digits/1", "both", 20, True)


def test_lint_of_labels(db):
    indexed(db)
    people(db, name="visitors")
    add(db, "exact", "visitors", keys_of="people", label="people.ssn", share_label=True)
    db.sql("UPDATE envelope.column_index SET built = true")
    assert ("ssn", "warning", "42710") not in found(db)
    db.sql("UPDATE envelope.column_index SET rule = 'nfc/1' WHERE keys_of IS NOT NULL")
    assert ("ssn", "warning", "42710") in found(db) and ("ssn", "warning", "42710") in found(db, "visitors")


@pytest.mark.parametrize("grant, told", [
    ("SELECT, INSERT ON people TO {}", True),
    ("SELECT (ssn_ix), UPDATE ON people TO {}", True),
    ("SELECT (ssn_ix), UPDATE (id) ON people TO PUBLIC", True),
    ("SELECT (id), SELECT (ssn), INSERT ON people TO {}", False),
    ("SELECT ON people TO {}", False),
])
def test_lint_of_who_reads_terms(db, grant, told):
    indexed(db)
    add(db, "words", index_column="tokens")
    db.sql("CREATE INDEX ON people USING gin (tokens); UPDATE envelope.column_index SET built = true")
    db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'encrypt')")
    db.sql("GRANT " + grant.format(db.low))
    of_terms = [row for row in db.sql("SELECT severity, sqlstate, remedy FROM envelope.lint('people')")
                if row[:2] == ("warning", "42501")]
    # Of a right on the whole table there is one for each column of terms.
    assert len(of_terms) == told * (2 if grant.startswith("SELECT, ") else 1)
    for *_, remedy in of_terms:
        db.sql(remedy)
        assert ("ssn", "warning", "42501") not in found(db)
        for column in ("ssn_ix", "tokens"):
            assert db.value(f"SELECT has_column_privilege('{db.low}', 'people', '{column}', 'SELECT')") is False
        db.sql("GRANT " + grant.format(db.low))
        db.sql(f"SELECT envelope.grant_key('people', '{db.low}', 'search')")
        assert ("ssn", "warning", "42501") not in found(db) or "PUBLIC" in grant


def test_lint_of_classes_that_grew(db):
    people(db, "integer")
    db.sql(FILLED.format("g::text", 800))
    add(db, "buckets", options='{"classes": 8}')
    # As the trigger fills it.
    db.sql("ALTER TABLE people DISABLE TRIGGER ALL")
    db.sql("UPDATE people SET ssn_ix = CASE WHEN id % 10 < 8 THEN '\\x00' ELSE set_byte('\\x00', 0, 1 + id % 17) END")
    db.sql("ANALYZE people")
    assert any(row[0].startswith("SELECT envelope.split_classes") for row in
               db.sql("SELECT remedy FROM envelope.lint('people') WHERE severity = 'notice' AND sqlstate = '55000'"))


def test_check_tells_of_errors(db):
    indexed(db)
    assert db.sql("SELECT message FROM envelope.check() WHERE NOT ok") == []
    db.sql("UPDATE envelope.column_index SET keys_of = '-'")
    assert len(db.sql("SELECT message FROM envelope.check() WHERE NOT ok")) == 1


@pytest.mark.parametrize("online", ["true", "false"])
def test_the_steps_of_a_plan(db, online):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text, born date)")
    db.sql("INSERT INTO people SELECT g, 'person ' || g, date '1950-01-01' + g FROM generate_series(1, 1100) g")
    options = f"""{{"online": {online}, "ssn": {{"indexes": [{{"kind": "exact", "form": "casefold", "unique": true}},
        {{"kind": "parts", "index_column": "Stücke", "label": "it's", "force": true}}]}},
        "born": {{"indexes": [{{"kind": "buckets", "classes": 16}}]}}}}"""

    def steps():
        return [sql for sql, in db.sql("SELECT sql FROM envelope.plan('people', '{ssn,born}', %s)", (options,))]

    def build(sql):
        # What building it sets.
        name = sql.split("'")[-2]
        db.sql("UPDATE envelope.column_index SET built = true WHERE index_column = %s", (name,))

    printed = steps()
    added = [at for at, sql in enumerate(printed) if sql and sql.startswith("SELECT envelope.add_index")]
    assert [sql.split("(")[0] for sql in printed[added[0]:added[0] + 9]] == [
        "SELECT envelope.add_index", "CALL envelope.build_index", "CREATE UNIQUE INDEX CONCURRENTLY ON public.people ",
        "SELECT envelope.add_index", "CALL envelope.build_index", "CREATE INDEX CONCURRENTLY ON public.people USING gin ",
        "SELECT envelope.add_index", "CALL envelope.build_index", "CREATE INDEX CONCURRENTLY ON public.people "]
    # Before readers change over: they are told so by a step without a statement.
    assert (None in printed[added[-1]:-1]) == (online == "true")
    for sql in printed:
        if sql is not None:
            build(sql) if "build_index" in sql else db.sql(sql)
    assert sorted(indexes(db, "column_name, index_column, rule, label, is_unique")) == [
        ("born_sealed", "born_sealed_ix", "buckets date/1", "people.born_sealed", False),
        ("ssn", "Stücke", "parts(3) casefold/1", "it's", False), ("ssn", "ssn_ix", "casefold/1", "people.ssn", True)]
    assert steps() == []
    db.sql("UPDATE envelope.column_index SET built = false WHERE index_column = 'ssn_ix'")
    assert [sql.split("(")[0] for sql in steps()] == ["CALL envelope.build_index"]
    db.sql("SELECT envelope.drop_index('people', 'ssn_ix'); ALTER TABLE people DROP ssn_ix")
    assert len(steps()) == 3


def test_a_plan_is_not_done_before_postgresql_keeps_values_unique(db):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text)")
    db.sql("INSERT INTO people SELECT g, 'person ' || g % 99 FROM generate_series(1, 100) g")

    def steps():
        options = '{"indexes": [{"kind": "exact", "unique": true}]}'
        return [sql for sql, in db.sql("SELECT sql FROM envelope.plan('people', '{ssn}', %s)", (options,))]

    *before, create = steps()
    with db.connect() as c:
        told = notices(c)
        for sql in before:
            c.execute(sql)
    # The duplicate is told of at once, and the query of the HINT finds its rows.
    [hint] = [hint for severity, message, hint in told if severity == "WARNING" and "UNIQUE" in message]
    assert [count for _, count, _ in db.sql(hint[hint.index("SELECT"):])] == [2]
    with fails("23505"):
        db.sql(create)
    drop, again = steps()
    assert drop.startswith("DROP INDEX CONCURRENTLY public.") and again == create
    db.sql(drop)
    assert steps() == [create]
    # One that is not unique is not what was asked for.
    db.sql("CREATE INDEX other ON people (ssn_ix)")
    assert steps() == [create]
    db.sql("DELETE FROM people WHERE id = 100")
    db.sql(create)
    assert steps() == []


@pytest.mark.parametrize("indexes", ['{"kind": "exact"}', '[{}]', '["exact"]', '[{"kind": 1}]',
                                     '[{"kind": "exact", "force": 1}]'])
def test_a_plan_of_indexes_that_are_none(db, indexes):
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text)")
    with fails("22023"):
        db.sql("SELECT envelope.plan('people', '{ssn}', %s)", (f'{{"indexes": {indexes}}}',))


def test_there_is_no_moment_without_an_answer_or_uniqueness_in_a_plan(db):
    """A table in use: after each step either the plaintext can be searched and is unique, or the sealed value."""
    reader = f"reader_{db.name}"
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn text, pay int); CREATE UNIQUE INDEX people_ssn ON people (ssn)")
    db.sql("INSERT INTO people SELECT g, 'person ' || g, g FROM generate_series(1, 300) g")
    db.sql(f"CREATE ROLE {reader} LOGIN; GRANT SELECT ON people TO {reader}")
    options = """{"online": true, "quiet": true, "ssn": {"indexes": [{"kind": "exact", "unique": true}]},
                  "pay": {"indexes": [{"kind": "exact"}]}}"""

    def steps():
        return [sql for sql, in db.sql("SELECT sql FROM envelope.plan('people', '{ssn,pay}', %s) WHERE sql IS NOT NULL",
                                       (options,))]

    def asks(c):
        ways = {"plain": "SELECT id FROM people WHERE ssn = 'person 7'",
                "before": "SELECT id FROM people WHERE ssn_ix = ANY (envelope_search('people', 'ssn_sealed', 'person 7'))",
                "after": "SELECT id FROM people WHERE ssn_ix = ANY (envelope_search('people', 'ssn', 'person 7'))"}
        found = []
        for way, query in ways.items():
            try:
                c.execute("SET enable_seqscan = off")
                rows = c.execute(query).fetchall()
            except psycopg.Error:
                continue
            assert rows in ([(7,)], []), (way, rows)
            found += [way] if rows else []
        return found

    ways, printed = [], steps()
    for sql in printed:
        with db.connect() as c:
            c.execute(sql)
            ways.append(asks(c))
            assert ways[-1], sql
            with fails("23505"):
                c.execute("INSERT INTO people (id, ssn) VALUES (1000, 'person 8')")
    assert ways[0] == ["plain"] and ways[-1] == ["after"]
    assert ["plain", "before"] in ways
    assert steps() == []
    assert db.sql("SELECT label FROM envelope.indexes ORDER BY 1") == [("people.pay_sealed",), ("people.ssn",)]
    assert not db.sql("SELECT * FROM envelope.verify('people', 'ssn')")
    # Who is not to read terms reads all else as before, under its name of now.
    db.sql(f"SELECT envelope.grant_key('people', '{reader}', 'decrypt')")
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 7", user=reader) == "person 7"
