"""Policies follow their columns: renames, drops, other types; and they travel."""

import pytest
from sqlstate import fails
from test_policies import customers, of_type, opened, people, policy, sourced


def triggers(db, relation="people"):
    """Of each of a table's triggers whether it is enabled, and its definition."""
    return db.sql("SELECT tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger "
                  "WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY 1", (relation,))


def test_renamed_columns(db):
    sourced(db)
    db.sql("CREATE TRIGGER other BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION "
           "envelope_seal('sealed=ssn')")
    db.sql("ALTER TABLE people DISABLE TRIGGER other, ENABLE ALWAYS TRIGGER seal")
    db.sql("COMMENT ON TRIGGER seal ON people IS 'ours'")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'one')")
    for rename in ("id TO number", "ssn TO plain", "sealed TO \"Odd 'one'\""):
        db.sql(f"ALTER TABLE people RENAME {rename}")
    db.sql("ALTER TABLE people RENAME TO persons")
    assert policy(db, "public.persons", "Odd 'one'") == (
        "source", "text", "plain", "people.sealed", ["number"], None, None)
    assert [(name, enabled, definition.split("envelope_seal")[1]) for name, enabled, definition
            in triggers(db, "persons")] == [
        ("other", "D", "('Odd ''one''=plain')"), ("seal", "A", "('Odd ''one''=plain')")]
    assert db.value("SELECT obj_description(oid) FROM pg_trigger WHERE tgname = 'seal'") == "ours"
    db.sql("INSERT INTO persons (number, plain) VALUES (2, 'two')")
    db.sql("UPDATE persons SET number = 3 WHERE number = 1")
    assert dict(db.sql("SELECT number, envelope_decrypt_text('persons', \"Odd 'one'\", envelope.row_context('persons', "
                       "'Odd ''one''', number::text)) FROM persons")) == {2: "two", 3: "one"}
    for column in ("plain", "\"Odd 'one'\""):
        with fails("22023"):
            db.sql(f"ALTER TABLE persons RENAME {column} TO \"a=b\"")
    db.sql("ALTER TABLE persons RENAME note TO \"a=b\"")


def test_progress_follows(db):
    """Also of a column without a policy, and into the name of one that is gone; a rollback undoes it."""
    def progress():
        return db.sql("SELECT column_name, work, rows_done FROM envelope.progress WHERE relation = 'public.people' ORDER BY 1, 2")

    db.people("people", ["one", "two"])
    db.sql("ALTER TABLE people ADD other bytea")
    db.sql("SELECT envelope.rotate_key('people')")
    db.sql("CALL envelope.reencrypt('people', 'ssn')")
    db.sql("CALL envelope.seal_column('people', 'ssn')")
    db.sql("CALL envelope.seal_column('people', 'other')")
    before = [("other", "seal", 0), ("ssn", "reencrypt", 2), ("ssn", "seal", 0)]
    assert progress() == before
    with db.connect(autocommit=False) as c:
        c.execute("ALTER TABLE people RENAME ssn TO \"Odd 'one'\"")
        c.rollback()
    assert progress() == before
    db.sql("ALTER TABLE people RENAME ssn TO \"Odd 'one'\"")
    assert progress() == [("Odd 'one'", "reencrypt", 2), ("Odd 'one'", "seal", 0), ("other", "seal", 0)]
    # Rows of before the library followed: of a name that no column bears any more.
    db.sql("INSERT INTO envelope.reencryption (id, relation, column_name, key_id, blocks, window_blocks, work) "
           "SELECT gen_random_uuid(), relation, 'ssn', key_id, 0, 1, work FROM envelope.reencryption WHERE column_name <> 'other'")
    db.sql("ALTER TABLE people RENAME \"Odd 'one'\" TO ssn")
    assert progress() == before
    db.sql("ALTER TABLE people DROP other")
    assert progress() == before[1:]


def test_a_rename_that_is_taken_back(db):
    customers(db)
    before = triggers(db, "customers"), policy(db, "public.customers", "ssn")
    with db.connect(autocommit=False) as c:
        c.execute("SAVEPOINT s")
        c.execute("ALTER TABLE customers RENAME id TO number")
        c.execute("ALTER TABLE customers RENAME ssn TO sealed")
        c.execute("INSERT INTO customers (number, sealed) VALUES (1, 'x')")
        c.execute("ROLLBACK TO s")
        c.execute("INSERT INTO customers (id, ssn) VALUES (1, 'y')")
        c.commit()
    assert (triggers(db, "customers"), policy(db, "public.customers", "ssn")) == before
    assert opened(db) == {1: "y"}


def test_renames_below(db):
    """Of partitions, each with triggers of its own, and of what others have while a session uses the table."""
    db.sql("CREATE TABLE customers (region int NOT NULL, id int NOT NULL, ssn bytea) PARTITION BY LIST (region)")
    db.sql("CREATE TABLE customers_1 PARTITION OF customers FOR VALUES IN (1) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE customers_1_1 PARTITION OF customers_1 DEFAULT")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")
    with db.connect() as other:
        other.execute("INSERT INTO customers VALUES (1, 1, 'one')")
        db.sql("ALTER TABLE customers RENAME ssn TO sealed")
        db.sql("ALTER TABLE customers RENAME id TO number")
        other.execute("INSERT INTO customers VALUES (1, 2, 'two')")
        other.execute("UPDATE customers_1_1 SET number = 3 WHERE number = 1")
    assert opened(db, column="sealed", of="number::text", key="number") == {3: "one", 2: "two"}


def test_a_column_without_a_policy_is_left_alone(db):
    """Nothing is done behind anybody's back where no policy was made."""
    db.people(rows=["x"])
    before = triggers(db)
    db.sql("ALTER TABLE people RENAME ssn TO sealed")
    assert triggers(db) == before
    with fails("42703"):
        db.sql("INSERT INTO people VALUES (2, 'y')")


def test_while_a_column_is_being_bound_it_is_followed(db):
    db.people("customers", rows=["x"])
    db.sql("ALTER TABLE customers ADD k int NOT NULL DEFAULT 1")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    db.sql("CALL envelope.seal_column('customers', 'ssn')")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{k}')")
    db.sql("ALTER TABLE customers RENAME id TO number")
    assert db.value("SELECT former_bound FROM envelope.sealed_column") == ["number"]
    with fails("2BP01") as caught:
        db.sql("ALTER TABLE customers DROP number")
    assert "drop_policy" not in caught.value.diag.message_hint
    db.sql("CALL" + caught.value.diag.message_hint.split(": CALL")[1].removesuffix("."))
    db.sql("ALTER TABLE customers DROP number")


def test_a_bound_column_can_be_dropped(db):
    """As the HINT says, step by step: no value is left bound to what is gone."""
    db.people("customers", rows=["x", "y"])
    db.sql("ALTER TABLE customers ADD \"K k\" int NOT NULL DEFAULT 1, ADD l int NOT NULL DEFAULT 2")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id,\"K k\",l}')")
    db.sql("CALL envelope.seal_column('customers', 'ssn')")
    with fails("2BP01") as caught:
        db.sql("ALTER TABLE customers DROP l")
    hint = caught.value.diag.message_hint
    assert "drop_policy" not in hint
    change, seal = hint.split("First seal the values without it: ")[1].split("; then ")
    db.sql(change.split(", with all else")[0].replace("...", "'bytea'"))
    with fails("2BP01"):
        db.sql("ALTER TABLE customers DROP l")
    db.sql(seal.removesuffix("."))
    db.sql("ALTER TABLE customers DROP l")
    assert db.sql("SELECT convert_from(envelope_decrypt('customers', ssn, envelope.row_context('customers', 'ssn', id::text, "
                  "\"K k\"::text)), 'UTF8') FROM customers ORDER BY id") == [("x",), ("y",)]


def test_dropped_columns(db):
    sourced(db)
    for column in ("id", "ssn"):
        with fails("2BP01"):
            db.sql(f"ALTER TABLE people DROP {column}")
    assert policy(db, "public.people", "sealed") is not None
    with db.connect(autocommit=False) as c:
        c.execute("ALTER TABLE people DROP sealed")
        assert c.execute("SELECT count(*) FROM envelope.sealed_column").fetchone() == (0,)
        c.rollback()
    assert policy(db, "public.people", "sealed") is not None
    db.sql("ALTER TABLE people DROP sealed, DROP ssn, DROP id")
    assert db.sql("TABLE envelope.sealed_column") == []
    # With the type, with the table, with the schema.
    of_type(db, "date")
    db.sql("CREATE SCHEMA elsewhere")
    db.sql("CREATE DOMAIN elsewhere.ours AS envelope.sealed")
    db.sql("ALTER TABLE typed ALTER v TYPE elsewhere.ours")
    db.sql("DROP SCHEMA elsewhere CASCADE")
    assert db.sql("TABLE envelope.sealed_column") == []
    db.sql("DROP TABLE people")
    sourced(db)
    db.sql("DROP TABLE people")
    assert db.sql("TABLE envelope.policies") == []


@pytest.mark.parametrize("kind, other, sqlstate", [
    ("smallint", "int", None), ("int", "bigint", None), ("bigint", "int", "0A000"), ("text", "varchar(80)", None),
    ("varchar(9)", "text", None), ("int", "number", None), ("number", "int", None), ("int", "text", "0A000"),
    ("text", "bytea", "0A000"), ("text", "char(9)", "0A000"), ("uuid", "text", "0A000"),
])
def test_other_types_of_bound_columns(db, kind, other, sqlstate):
    db.sql("CREATE DOMAIN number AS int")
    db.sql(f"CREATE TABLE t (k {kind} NOT NULL, v bytea)")
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{k}')")
    alter = f"ALTER TABLE t ALTER k TYPE {other}"
    if sqlstate is None:
        db.sql(alter)
        db.sql("ALTER TABLE t ALTER k SET STATISTICS 10")
    else:
        with fails(sqlstate):
            db.sql(alter + f" USING k::text::{other}")


@pytest.mark.parametrize("kind, other, using, is_taken", [
    ("int", "int", "k", True), ("int", "bigint", "k::bigint", True), ("int", "bigint", "k::text::bigint", True),
    ("int", "bigint", "CAST(k AS smallint)", True), ("text", "varchar(9)", "k::text", True), ("text", "text", "k::name_", True),
    ("int", "int", "k + 1", False), ("int", "bigint", "NULL", False), ("int", "int", "n", False),
    ("int", "int", "k::boolean::int", False), ("text", "varchar(1)", "k::varchar(1)", False),
    ("text", "text", "k::\"char\"::text", False), ("text", "text", "k::short::text", False),
    ("text", "text", "k::int::text", False), ("text", "text", "upper(k)", False), ("text", "text", "n::text", False),
])
def test_values_of_bound_columns_are_not_made_anew(db, kind, other, using, is_taken):
    """By ALTER TABLE, which fires no trigger. A cast that changes nothing, as frameworks write it, is none."""
    db.sql("CREATE DOMAIN short AS varchar(1); CREATE DOMAIN name_ AS text")
    db.sql(f"CREATE TABLE t (k {kind} NOT NULL, n int, v bytea); CREATE TABLE heir () INHERITS (t)")
    db.sql("SELECT envelope.set_policy('heir', 'v', 'bytea', bind => '{k}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON heir FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    db.sql("INSERT INTO heir VALUES ('011', 7, 'x')")
    alter = f"ALTER TABLE t ALTER n SET STATISTICS 10, ALTER k TYPE {other} USING {using}"
    if is_taken:
        db.sql(alter)
    else:
        with fails("0A000"):
            db.sql(alter)
    db.sql("ALTER TABLE t ALTER n TYPE int USING n + 1")
    assert db.value("SELECT convert_from(envelope_decrypt('heir', v, envelope.row_context('heir', 'v', k::text)), 'UTF8') "
                    "FROM heir") == "x"


def test_other_types_of_sources(db):
    sourced(db, kind="numeric(4,2)")
    db.sql("ALTER TABLE people ALTER ssn TYPE numeric(10,2)")
    assert policy(db, "public.people", "sealed")[1] == "numeric(10,2)"
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 12345.5)")
    # What is sealed as numbers is not sealed as text by the way.
    db.sql("ALTER TABLE people ALTER ssn TYPE text")
    with fails("42804"):
        db.sql("INSERT INTO people (id, ssn) VALUES (2, '7')")
    db.sql("ALTER TABLE people ALTER ssn TYPE numeric(10,2) USING ssn::numeric")
    db.sql("INSERT INTO people (id, ssn) VALUES (2, 7)")


def test_names_of_enum_values(db):
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    db.sql("CREATE TYPE free AS ENUM ('a')")
    db.sql("CREATE DOMAIN moods AS mood[]")
    of_type(db, "moods")
    with fails("0A000"):
        db.sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    db.sql("ALTER TYPE mood ADD VALUE 'blue'")
    db.sql("ALTER TYPE free RENAME VALUE 'a' TO 'b'")
    with fails("22023"):
        db.sql("ALTER TYPE free RENAME VALUE 'x' TO 'y'")
    db.sql("SELECT envelope.drop_policy('typed', 'v')")
    db.sql("ALTER TYPE mood RENAME VALUE 'sad' TO 'grey'")


@pytest.mark.parametrize("trigger", [
    "BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('sealed=ssn')",
    "BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('sealed=ssn')",
    "BEFORE INSERT OR UPDATE OF ssn ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('sealed=ssn')",
    "BEFORE INSERT OR UPDATE ON people FOR EACH ROW WHEN (NEW.id > 0) EXECUTE FUNCTION envelope_seal('sealed=ssn')",
    "AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_mirror('sealed=ssn')",
    "BEFORE INSERT OR UPDATE ON people EXECUTE FUNCTION envelope_seal('sealed=ssn')",
    "BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('sealed')",
    "BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('sealed=note')",
])
def test_triggers_that_would_not_seal(db, trigger):
    sourced(db)
    before = triggers(db)
    with fails("39P01"):
        db.sql(f"CREATE TRIGGER wrong {trigger}")
    with fails("39P01"):
        db.sql(f"CREATE OR REPLACE TRIGGER seal {trigger}")
    assert triggers(db) == before
    # Nobody is told where there is no policy of the column, nor in sessions that play what others have done.
    with db.connect() as c:
        c.execute("SET session_replication_role = replica")
        c.execute(f"CREATE TRIGGER wrong {trigger}")
        c.execute("DROP TRIGGER wrong ON people")
    db.sql("SELECT envelope.drop_policy('people', 'sealed')")
    db.sql(f"CREATE TRIGGER wrong {trigger}")


def test_triggers_of_others(db):
    """Views, tables without a policy, triggers of other functions."""
    sourced(db)
    db.sql("CREATE VIEW shown AS TABLE people")
    db.sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    db.sql("CREATE TRIGGER t INSTEAD OF INSERT ON shown FOR EACH ROW EXECUTE FUNCTION f()")
    db.sql("CREATE TRIGGER t BEFORE INSERT ON people EXECUTE FUNCTION f()")
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    db.sql("DROP TRIGGER seal ON people")
    db.sql("CREATE TABLE free (v bytea)")
    db.sql("CREATE TRIGGER t BEFORE INSERT ON free FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")


def test_a_trigger_of_a_partition(db):
    db.sql("CREATE TABLE customers (id int NOT NULL, ssn bytea) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE customers_1 PARTITION OF customers DEFAULT")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    with fails("39P01"):
        db.sql("CREATE TRIGGER t BEFORE INSERT ON customers_1 FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")


def test_policies_travel(db, cluster, own_cluster):
    """By dump and restore: types, sources and bindings arrive, and what comes after is sealed by them."""
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    sourced(db, kind="mood[]")
    db.sql("SELECT envelope.set_policy('people', 'sealed', 'source', 'mood[]', 'ssn', bind => '{id}', mask => 'last4')")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, '{sad}')")
    db.sql("CREATE TABLE gone (id int)")
    target = own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start()
    # So that no OID of there is that of here.
    target.sql("CREATE TABLE filler (a int); DROP TABLE filler")
    target.sql("CREATE DATABASE copy")
    archive = cluster.base / f"{db.name}.dump"
    cluster.client("pg_dump", "-Fc", "-f", archive, dbname=db.name)
    target.client("pg_restore", "--exit-on-error", "-j4", "-d", "copy", archive)
    assert target.sql("TABLE envelope.policies", dbname="copy") == db.sql("TABLE envelope.policies")
    assert target.sql("SELECT value_type::text FROM envelope.sealed_column", dbname="copy") == [("public.mood[]",)]
    target.sql("INSERT INTO people (id, ssn) VALUES (2, '{glad}')", dbname="copy")
    target.sql("UPDATE people SET id = 3 WHERE id = 1", dbname="copy")
    of = "envelope.row_context('people', 'sealed', id::text)"
    assert target.sql(f"SELECT id, envelope_decrypt_as('people', sealed, NULL::mood[], {of})::text FROM people ORDER BY 1",
                      dbname="copy") == [(2, "{glad}"), (3, "{sad}")]


def test_the_extension_goes(db):
    sourced(db)
    of_type(db, "date")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'x')")
    with fails("2BP01"):
        db.sql('DROP EXTENSION "pgrx-example" CASCADE')
    assert people(db) == {1: (None, "x")}
    with db.connect() as c:
        c.execute("SET envelope.allow_drop = on")
        c.execute('DROP EXTENSION "pgrx-example" CASCADE')
        c.execute("ALTER TABLE people RENAME ssn TO plain")
        c.execute("ALTER TABLE people DROP plain")
        c.execute("CREATE TRIGGER suppress BEFORE UPDATE ON people FOR EACH ROW "
                  "EXECUTE FUNCTION suppress_redundant_updates_trigger()")
        c.execute('CREATE EXTENSION "pgrx-example"')
        assert c.execute("TABLE envelope.policies").fetchall() == []


def test_types_are_named(db):
    """An OID never leaves the database."""
    db.sql("CREATE SCHEMA \"Odd schema\"")
    db.sql("CREATE TYPE \"Odd schema\".\"a.b\" AS ENUM ('x')")
    db.sql("CREATE TABLE refs (t envelope.type_ref)")
    given = ("\"Odd schema\".\"a.b\"", "\"Odd schema\".\"a.b\"[]", "int", "varchar(3)", "pg_catalog.\"char\"", "char(3)",
             "nowhere.gone", "nothing", "-")
    db.sql("INSERT INTO refs SELECT g::envelope.type_ref FROM unnest(%s::text[]) g", (list(given),))
    assert [text for text, in db.sql("SELECT t::text FROM refs")] == [
        "\"Odd schema\".\"a.b\"", "\"Odd schema\".\"a.b\"[]", "integer", "character varying", "pg_catalog.\"char\"",
        "pg_catalog.bpchar", "-", "-", "-"]
    assert db.value("SELECT count(*) FROM refs WHERE t = 0") == 3
    for bad in ("23", "", "int; DROP TABLE refs"):
        with fails("42601"):
            db.sql(f"INSERT INTO refs VALUES ('{bad}')")
    with db.connect() as c:
        assert c.execute("SELECT t FROM refs LIMIT 1", binary=True).fetchone()[0] == b"\"Odd schema\".\"a.b\""
    db.sql("DROP TYPE \"Odd schema\".\"a.b\"")
    assert db.value("SELECT t::text FROM refs") == "-"
