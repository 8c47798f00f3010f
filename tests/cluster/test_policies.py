"""Policies: what a column is, and what the trigger does with it."""

import pytest
from sqlstate import fails


def policy(db, relation, column, user="postgres"):
    """Form, type, source, tag, bound columns, block, mask of a policy; None without one."""
    rows = db.sql(
        "SELECT form, value_type, source, tag, bound_columns, block, mask FROM envelope.policies "
        "WHERE relation = %s AND column_name = %s", (relation, column), user=user)
    return rows[0] if rows else None


def customers(db, bind="{id}", name="customers"):
    """A table whose column `ssn` is bound to its row, and sealed by the trigger."""
    db.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, name text, ssn bytea, card bytea)")
    db.sql("SELECT envelope.set_policy(%s, 'ssn', 'bytea', bind => %s)", (name, bind))
    db.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")


def test_what_a_policy_says(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, b uuid NOT NULL, v bytea, plain date, note text, o bytea)")
    db.sql("SELECT envelope.set_policy('t', 'v', 'source', 'date', 'plain', bind => '{b,id}', mask => 'last4')")
    said = ("source", "date", "plain", "t.v", ["b", "id"], None, "last4")
    assert policy(db, "public.t", "v") == said
    # The tag stays, whatever becomes of the names.
    db.sql("ALTER TABLE t RENAME TO u")
    db.sql("SELECT envelope.set_policy('u', 'v', 'source', 'date', 'plain', bind => '{b,id}', mask => 'last4')")
    assert policy(db, "public.u", "v") == said
    db.sql("SELECT envelope.set_policy('u', 'o', 'bytea', 'varchar(20)', block => 32, tag => 'eigene')")
    assert policy(db, "public.u", "o") == ("bytea", "character varying(20)", None, "eigene", [], 32, None)
    # What is registered already becomes a policy, and stays registered after.
    assert not db.value("SELECT envelope.register_column('u', 'o')")
    with fails("55000"):
        db.sql("SELECT envelope.unregister_column('u', 'o')")
    assert db.value("SELECT envelope.drop_policy('u', 'o')")
    assert not db.value("SELECT envelope.drop_policy('u', 'o')")
    assert policy(db, "public.u", "o") is None
    assert db.value("SELECT registered FROM envelope.sealed_columns WHERE column_name = 'o'")
    assert db.value("SELECT envelope.unregister_column('u', 'o')")


@pytest.mark.parametrize("arguments, sqlstate", [
    ("'t', 'nothing', 'bytea'", "42703"),
    ("'t', 'v', 'bits'", "22023"),
    ("'t', 'v', NULL", "22023"),
    ("'t', 'note', 'bytea'", "42804"),
    ("'t', 'note', 'bytea', 'date'", "42804"),
    ("'t', 'g', 'bytea'", "428C9"),
    ("'t', 'v', 'bytea', 'nowhere.gone'", "42704"),
    ("'t', 'v', 'bytea', source => 'note'", "22023"),
    ("'t', 'v', 'source'", "22023"),
    ("'t', 'v', 'source', source => 'nothing'", "42703"),
    ("'t', 'v', 'source', source => 'v'", "22023"),
    ("'t', 'v', 'source', source => 'g'", "428C9"),
    ("'t', 'v', 'source', 'date', 'note'", "42804"),
    ("'t', 'note', 'source', source => 'v'", "42804"),
    ("'t', 'v', 'bytea', bind => '{nothing}'", "42703"),
    ("'t', 'v', 'bytea', bind => '{note}'", "55000"),
    ("'t', 'v', 'bytea', bind => '{day}'", "42804"),
    ("'t', 'v', 'bytea', bind => '{v}'", "22023"),
    ("'t', 'v', 'bytea', bind => '{g}'", "428C9"),
    ("'t', 'v', 'bytea', bind => '{id,id}'", "22023"),
    ("'t', 'v', 'bytea', bind => '{id,NULL}'", "22023"),
    ("'t', 'v', 'bytea', bind => NULL", "22023"),
    ("'t', 'v', 'bytea', tag => ''", "22023"),
    ("'t', 'v', 'bytea', tag => 't.taken'", "42710"),
    ("'t', 'v', 'bytea', tag => 'of another'", "42710"),
    ("'t', 'v', 'bytea', block => 16", "22023"),
    ("'t', 'v', 'bytea', 'date', block => 16", "22023"),
    ("'t', 'v', 'bytea', 'text', block => 0", "22023"),
    ("'t', 'v', 'bytea', mask => 'first4'", "22023"),
    ("'t', 'id', 'bytea', 'integer'", "22023"),
    ("'t_view', 'v', 'bytea'", "42809"),
    ("'parts_1', 'v', 'bytea'", "42809"),
    ("0, 'v', 'bytea'", "42P01"),
    ("NULL, 'v', 'bytea'", "22023"),
])
def test_what_a_policy_may_not_say(db, arguments, sqlstate):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, day date NOT NULL DEFAULT now(), v bytea, note text, taken bytea, "
           "g bytea GENERATED ALWAYS AS ('x'::bytea) STORED)")
    db.sql("CREATE TABLE other (v bytea)")
    db.sql("CREATE VIEW t_view AS TABLE t")
    db.sql("CREATE TABLE parts (id int, v bytea) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE parts_1 PARTITION OF parts DEFAULT")
    db.sql("SELECT envelope.create_key('t')")
    db.sql("SELECT envelope.share_keyring('t', 'other')")
    db.sql("SELECT envelope.set_policy('t', 'taken', 'bytea', bind => '{id}')")
    db.sql("SELECT envelope.set_policy('other', 'v', 'bytea', tag => 'of another')")
    before = db.sql("TABLE envelope.policies ORDER BY tag")
    with fails(sqlstate):
        db.sql(f"SELECT envelope.set_policy({arguments})")
    assert db.sql("TABLE envelope.policies ORDER BY tag") == before


def test_who_may_say_it(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v bytea)")
    db.sql("SELECT envelope.create_key('t')")
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea')")
    for call in ("set_policy('t', 'v', 'bytea')", "drop_policy('t', 'v')", "binding_done('t', 'v')"):
        with fails("42501"):
            db.sql(f"SELECT envelope.{call}", user=db.low)
    assert db.sql("TABLE envelope.policies", user=db.low) == []
    db.sql("SELECT envelope.grant_key('t', %s, 'manage')", (db.low,))
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{id}')", user=db.low)
    assert policy(db, "public.t", "v", db.low)[4] == ["id"]


def test_row_context(db):
    db.sql("CREATE TABLE t (id int PRIMARY KEY, k text NOT NULL, v bytea, free bytea)")
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{id,k}')")
    db.sql("SELECT envelope.set_policy('t', 'free', 'bytea')")
    assert db.value("SELECT envelope.row_context('t', 'v', '42', 'ä')") == "envelope/1 row,3:t.v,2:42,2:ä,"
    assert db.value("SELECT envelope.row_context('t', 'v', '42', 'ä') = envelope_context('t.v', '42', 'ä')")
    assert db.value("SELECT envelope.row_context('t', 'free')") == ""
    for call, sqlstate in (("'t', 'v'", "22023"), ("'t', 'v', '1'", "22023"), ("'t', 'v', '1', NULL", "22004"),
                           ("'t', 'free', '1'", "22023"), ("'t', 'id'", "42704"), ("'t', 'v', VARIADIC NULL", "22023"),
                           ("'t', 'v', '1', repeat('x', 70000)", "54000")):
        with fails(sqlstate):
            db.sql(f"SELECT envelope.row_context({call})")
    # Any role may build contexts, and another session's change counts from the next statement on.
    with db.connect() as other:
        assert other.execute("SELECT envelope.row_context('t', 'free')").fetchone() == ("",)
        db.sql("SELECT envelope.set_policy('t', 'free', 'bytea', bind => '{id}')")
        assert other.execute("SELECT envelope.row_context('t', 'free', '1')").fetchone() == (
            "envelope/1 row,6:t.free,1:1,",)


def test_must_be_empty(db):
    db.sql("CREATE TABLE t (plain date CHECK (envelope.must_be_empty(plain)), many int[] CHECK "
           "(envelope.must_be_empty(many)))")
    db.sql("INSERT INTO t VALUES (NULL, NULL)")
    for values in ("'1999-12-31', NULL", "NULL, '{4711}'"):
        with fails("23514") as caught:
            db.sql(f"INSERT INTO t VALUES ({values})")
        shown = f"{caught.value.diag.message_primary} {caught.value.diag.message_detail}"
        assert "1999" not in shown and "4711" not in shown


def test_former_context(db):
    """It is kept where there are values that may have it, and only one of them."""
    former = "SELECT former_tag, former_bound FROM envelope.sealed_column WHERE column_name = %s"
    db.sql("CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL, v bytea, w bytea)")
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{k}')")
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{id}')")
    assert db.sql(former, ("v",)) == [(None, None)]
    db.sql("INSERT INTO t VALUES (1, 1, envelope_encrypt('t', 'x'), NULL)")
    db.sql("SELECT envelope.set_policy('t', 'w', 'bytea', bind => '{id}')")
    assert db.sql(former, ("w",)) == [(None, None)]
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{id,k}')")
    assert db.sql(former, ("v",)) == [("t.v", ["id"])]
    with fails("55000"):
        db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{k}')")
    # Back again: now some may have the other.
    db.sql("SELECT envelope.set_policy('t', 'v', 'bytea', bind => '{id}')")
    assert db.sql(former, ("v",)) == [("t.v", ["id", "k"])]
    assert db.value("SELECT envelope.binding_done('t', 'v')")
    assert not db.value("SELECT envelope.binding_done('t', 'v')")
    assert db.sql(former, ("v",)) == [(None, None)]
    # A savepoint takes it back.
    with db.connect(autocommit=False) as c:
        c.execute("SAVEPOINT s")
        c.execute("SELECT envelope.set_policy('t', 'v', 'bytea')")
        assert c.execute("SELECT envelope.row_context('t', 'v')").fetchone() == ("",)
        c.execute("ROLLBACK TO s")
        assert c.execute("SELECT envelope.row_context('t', 'v', '1')").fetchone() != ("",)
