"""Policies: what a column is, and what the trigger does with it."""

import pytest
from harness import place, process
from harness.keyrings import notices
from harness.work import Work
from sqlstate import fails


def policy(db, relation, column, user="postgres"):
    """Form, type, source, tag, bound columns, block, mask of a policy; None without one."""
    rows = db.sql(
        "SELECT form, value_type, source, tag, bound_columns, block, mask FROM envelope.policies "
        "WHERE relation = %s AND column_name = %s", (relation, column), user=user)
    return rows[0] if rows else None


def customers(db, bind="{id}", name="customers"):
    """A table whose column `ssn` is bound to its row, and sealed by the trigger."""
    db.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, name text NOT NULL DEFAULT 'n', ssn bytea, card bytea)")
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
    ("'t', 'v', 'bytea', 'point'", "0A000"),
    ("'t', 'v', 'source', source => 'p'", "0A000"),
    ("'t', 'v'", "42804"),
    ("'t', 's', 'bytea'", "42804"),
    ("'t', 'd', 'bytea'", "42804"),
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
    db.sql("CREATE DOMAIN sealed_of_us AS envelope.sealed")
    db.sql("CREATE TABLE t (id int PRIMARY KEY, day date NOT NULL DEFAULT now(), v bytea, note text, taken bytea, "
           "s envelope.sealed, d sealed_of_us, p point, g bytea GENERATED ALWAYS AS ('x'::bytea) STORED)")
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


def test_who_may_name_a_domain(db):
    """Its constraints run as whoever writes to the table, which is not for who may only manage its keys."""
    db.sql("CREATE TABLE t (id int PRIMARY KEY, v envelope.sealed, w text, o envelope.sealed)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('v', 'o')")
    db.sql("SELECT envelope.create_key('t'), envelope.grant_key('t', %s, 'manage')", (db.low,))
    db.sql("CREATE SCHEMA theirs; GRANT ALL ON SCHEMA theirs TO PUBLIC")
    db.sql("CREATE FUNCTION theirs.as_me(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN "
           "RAISE EXCEPTION 'runs as %', current_user; END $$; "
           "CREATE DOMAIN theirs.code AS text CHECK (theirs.as_me(VALUE)); "
           "CREATE DOMAIN theirs.more AS theirs.code; CREATE DOMAIN theirs.list AS theirs.code[]", user=db.low)
    for kind in ("theirs.code", "theirs.more", "theirs.code[]", "theirs.list", "theirs.list[]"):
        with fails("0A000" if kind == "theirs.list[]" else "42501"):
            db.sql("SELECT envelope.set_policy('t', 'v', value_type => %s)", (kind,), user=db.low)
    db.sql("SELECT envelope.set_policy('t', 'v', value_type => 'text')", user=db.low)
    db.sql("INSERT INTO t (id, v) VALUES (1, 'x')")
    # What the owner has chosen may be said again: as the type of the column, and by a policy.
    db.sql("CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); ALTER TABLE t ALTER w TYPE short")
    db.sql("SELECT envelope.set_policy('t', 'w', value_type => 'short')", user=db.low)
    db.sql("SELECT envelope.set_policy('t', 'o', value_type => 'short')")
    db.sql("SELECT envelope.set_policy('t', 'o', value_type => 'short', mask => 'last4')", user=db.low)
    with fails("23514"):
        db.sql("INSERT INTO t (id, o) VALUES (2, 'too long for it')")


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


def context(column="ssn", table="customers", of="id::text"):
    return f"envelope.row_context('{table}', '{column}', {of})"


def opened(db, table="customers", column="ssn", of="id::text", key="id"):
    """What each row's value opens to, by its row context."""
    return dict(db.sql(f"SELECT {key}, convert_from(envelope_decrypt('{table}', {column}, "
                       f"{context(column, table, of)}), 'UTF8') FROM {table} ORDER BY 1"))


@pytest.mark.parametrize("has_key", [False, True])
def test_what_others_are_writing_when_a_column_is_bound(db, has_key):
    """It may be under the former context, and is bound before that is refused."""
    db.people()
    if has_key:
        db.sql("SELECT envelope.create_key('people')")
    with db.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO people VALUES (1, 'a')")
        db.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', bind => '{id}')")
        assert db.value("SELECT former_bound FROM envelope.sealed_column") == []
        with db.connect() as c, fails("55P03"):
            c.execute("CALL envelope.seal_column('people', 'ssn', row_lock_timeout => '1 s')")
        assert db.value("SELECT former_bound FROM envelope.sealed_column") == []
        writer.commit()
    with db.connect() as c:
        c.execute("CALL envelope.seal_column('people', 'ssn')")
    assert db.value("SELECT former_bound FROM envelope.sealed_column") is None
    assert db.sql("SELECT message FROM envelope.verify('people', 'ssn')") == []


def test_nobody_writes_while_a_column_is_bound_that_has_no_values(db):
    db.people()
    with db.connect(autocommit=False) as c:
        c.execute("SELECT envelope.set_policy('people', 'ssn', 'bytea', bind => '{id}')")
        writer = Work(db.sql, "INSERT INTO people VALUES (1, 'a')")
        process.wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 1, "the writer")
        c.commit()
    writer.result()
    assert db.value("SELECT former_bound FROM envelope.sealed_column") is None
    assert db.sql("SELECT message FROM envelope.verify('people', 'ssn')") == []


def test_values_are_bound_to_their_row(db):
    customers(db)
    db.sql("INSERT INTO customers SELECT g, 'n', convert_to('ssn ' || g, 'UTF8') FROM generate_series(1, 3) g")
    assert opened(db) == {1: "ssn 1", 2: "ssn 2", 3: "ssn 3"}
    # Without the row context, or with another row's, it does not open.
    for of in ("''", "envelope.row_context('customers', 'ssn', '2')"):
        with fails("22000"):
            db.sql(f"SELECT envelope_decrypt('customers', ssn, {of}) FROM customers WHERE id = 1")
    # A sealed value that is moved to another row is refused, one that was sealed for this row is kept.
    with fails("22000") as caught:
        db.sql("UPDATE customers SET ssn = (SELECT ssn FROM customers WHERE id = 1) WHERE id = 2")
    assert "row" in caught.value.diag.message_hint
    with fails("22000"):
        db.sql("INSERT INTO customers SELECT 9, name, ssn FROM customers WHERE id = 1")
    for of in ("''", "envelope.row_context('customers', 'ssn', '9')"):
        with fails("22000"):
            db.sql(f"INSERT INTO customers VALUES (4, 'n', envelope_encrypt('customers', 'x', {of}))")
    given = db.value(f"SELECT envelope_encrypt('customers', 'by hand', {context(of=chr(39) + '4' + chr(39))})")
    db.sql("INSERT INTO customers VALUES (4, 'n', %s)", (given,))
    assert db.value("SELECT ssn = %s FROM customers WHERE id = 4", (given,))
    # Past the trigger it does not open in another place either.
    db.sql("ALTER TABLE customers DISABLE TRIGGER seal")
    db.sql("UPDATE customers SET ssn = (SELECT ssn FROM customers WHERE id = 1) WHERE id = 2")
    with fails("22000"):
        opened(db)


def test_another_column_of_the_row(db):
    customers(db)
    db.sql("SELECT envelope.set_policy('customers', 'card', 'bytea', bind => '{id}')")
    db.sql("DROP TRIGGER seal ON customers")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn', 'card')")
    db.sql("INSERT INTO customers VALUES (1, 'n', 'x', NULL)")
    with fails("22000"):
        db.sql("UPDATE customers SET card = ssn")


def test_a_changed_key_reseals(db):
    customers(db, "{id,name}")
    of = "id::text, name"
    db.sql("ALTER TABLE customers ALTER name TYPE text COLLATE \"C\"")
    db.sql("INSERT INTO customers VALUES (1, 'ann', 'x'), (2, 'bob', NULL)")
    before = db.value("SELECT ssn FROM customers WHERE id = 1")
    # An UPDATE of other columns opens nothing: the role needs no right to the keys.
    db.sql(f"GRANT SELECT, UPDATE, INSERT ON customers TO {db.low}")
    db.sql("UPDATE customers SET card = NULL", user=db.low)
    assert db.value("SELECT ssn FROM customers WHERE id = 1") == before
    db.sql("UPDATE customers SET id = id, name = 'bob' WHERE id = 2", user=db.low)
    for change in ("id = 11", "name = 'Ann'"):
        with fails("42501"):
            db.sql(f"UPDATE customers SET {change} WHERE id = 1", user=db.low)
    db.sql("SELECT envelope.grant_key('customers', %s, 'encrypt')", (db.low,))
    db.sql("UPDATE customers SET id = 11, name = 'Ann' WHERE id = 1", user=db.low)
    assert opened(db, of=of) == {2: None, 11: "x"}
    # Key and value at once: in clear, sealed for the new key, or sealed for the old one.
    db.sql("UPDATE customers SET id = 12, ssn = 'y' WHERE id = 11")
    db.sql("UPDATE customers SET id = 13, ssn = envelope_encrypt('customers', 'z', "
           "envelope.row_context('customers', 'ssn', '13', 'Ann')) WHERE id = 12")
    assert opened(db, of=of) == {2: None, 13: "z"}
    db.sql("UPDATE customers SET id = 14, ssn = envelope_encrypt('customers', 'old', "
           "envelope.row_context('customers', 'ssn', '13', 'Ann')) WHERE id = 13")
    assert opened(db, of=of) == {2: None, 14: "old"}
    with fails("22000"):
        db.sql("UPDATE customers SET id = 15, ssn = envelope_encrypt('customers', 'z', "
               "envelope.row_context('customers', 'ssn', '16', 'Ann')) WHERE id = 14")


def test_changed_means_other_bytes(db):
    """Whatever the collation of the bound column says."""
    db.sql("CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    db.sql("CREATE TABLE customers (id text COLLATE blind PRIMARY KEY, ssn bytea)")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers VALUES ('a', 'x')")
    assert db.value("UPDATE customers SET id = 'A' WHERE id = 'A' RETURNING id") == "A"
    assert opened(db, of="id") == {"A": "x"}


def test_types_that_values_may_be_bound_to(db):
    db.sql("CREATE DOMAIN number AS bigint")
    db.sql("CREATE DOMAIN number_of_it AS number")
    db.sql("CREATE TABLE t (a smallint NOT NULL, b int NOT NULL, c bigint NOT NULL, d uuid NOT NULL, e text NOT NULL, "
           "f varchar(9) NOT NULL, g bytea NOT NULL, h number_of_it NOT NULL, ssn bytea)")
    db.sql("SELECT envelope.set_policy('t', 'ssn', 'bytea', bind => '{a,b,c,d,e,f,g,h}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO t VALUES (-32768, -1, -9223372036854775808, '6BA7B810-9DAD-11D1-80B4-00C04FD430C8', "
           "'ä' || repeat('x', 3000), '', '\\x00ff', 0, 'secret')")
    of = "a::text, b::text, c::text, d::text, e, f, encode(g, 'hex'), h::text"
    assert opened(db, "t", of=of, key="b") == {-1: "secret"}
    for change in ("a = 1", "b = 2", "c = 3", "d = gen_random_uuid()", "e = 'ö'", "f = 'f'", "g = ''", "h = -4"):
        db.sql(f"UPDATE t SET {change}")
        assert list(opened(db, "t", of=of, key="b").values()) == ["secret"]
    with fails("54000"):
        db.sql("UPDATE t SET e = repeat('x', 70000)")
    with fails("54000"):
        db.sql("UPDATE t SET g = convert_to(repeat('x', 40000), 'UTF8')")
    db.sql("ALTER TABLE t ALTER e DROP NOT NULL, ALTER b DROP NOT NULL")
    with fails("22004"):
        db.sql("UPDATE t SET e = NULL")
    # What is not bound to anything needs no key.
    db.sql("UPDATE t SET ssn = NULL, e = NULL")
    db.sql("UPDATE t SET f = 'g'")


def merge(db, table, source, changes, columns, values):
    """Of rows by their id; 14 has no MERGE."""
    if place.major() < 15:
        db.sql(f"UPDATE {table} t SET {changes} FROM {source} WHERE t.id = v.id")
        db.sql(f"INSERT INTO {table} ({columns}) SELECT {values} FROM {source} "
               f"WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.id = v.id)")
        return
    db.sql(f"MERGE INTO {table} t USING {source} ON t.id = v.id WHEN MATCHED THEN UPDATE SET {changes} "
           f"WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})")


def test_upsert_merge_copy(db):
    customers(db)
    db.sql("INSERT INTO customers VALUES (1, 'n', 'one')")
    db.sql("INSERT INTO customers VALUES (1, 'n', 'two'), (2, 'n', 'new') "
           "ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn")
    assert opened(db) == {1: "two", 2: "new"}
    # Where the key is not what conflicts, EXCLUDED's value is bound to EXCLUDED's row.
    db.sql("CREATE UNIQUE INDEX ON customers (name) WHERE name <> 'n'")
    db.sql("INSERT INTO customers VALUES (3, 'bob', 'three')")
    with fails("22000"):
        db.sql("INSERT INTO customers VALUES (4, 'bob', 'four') ON CONFLICT (name) WHERE name <> 'n' "
               "DO UPDATE SET ssn = EXCLUDED.ssn")
    merge(db, "customers", "(VALUES (3, 'merged'), (5, 'five')) v (id, ssn)", "ssn = convert_to(v.ssn, 'UTF8')",
          "id, name, ssn", "v.id, 'n', convert_to(v.ssn, 'UTF8')")
    with db.connect() as c, c.cursor().copy("COPY customers (id, ssn) FROM STDIN") as copy:
        copy.write("6\tsix\n")
    assert opened(db) == {1: "two", 2: "new", 3: "merged", 5: "five", 6: "six"}


def test_partitions(db):
    """The policy stands on the top; a row that moves is sealed for its new key."""
    db.sql("CREATE TABLE customers (region int NOT NULL, id int NOT NULL, ssn bytea) PARTITION BY LIST (region)")
    db.sql("CREATE TABLE customers_1 PARTITION OF customers FOR VALUES IN (1)")
    db.sql("CREATE TABLE customers_2 (junk int, ssn bytea, id int NOT NULL, region int NOT NULL)")
    db.sql("ALTER TABLE customers_2 DROP junk")
    db.sql("ALTER TABLE customers ATTACH PARTITION customers_2 FOR VALUES IN (2)")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{region,id}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers VALUES (1, 1, 'one'), (2, 2, 'two')")
    of = "region::text, id::text"
    assert opened(db, of=of) == {1: "one", 2: "two"}
    # The trigger of the partition that the row leaves seals it for where it goes.
    db.sql("UPDATE customers SET region = 2 WHERE id = 1")
    assert db.value("SELECT count(*) FROM customers_2") == 2
    assert opened(db, of=of) == {1: "one", 2: "two"}
    assert db.value("SELECT envelope.row_context('customers_2', 'ssn', '2', '1') = "
                    "envelope.row_context('customers', 'ssn', '2', '1')")


@pytest.mark.parametrize("again", ["{id}", "{id,name}", "{}"])
def test_a_policy_that_comes_back(db, again):
    """What was bound by the one that has ended is bound anew, and under its tag if it is bound as it was."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL DEFAULT 'n', ssn bytea)")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}', tag => 'of old')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers (id, ssn) VALUES (1, 'a')")
    assert db.value("SELECT envelope.drop_policy('customers', 'ssn')")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => %s)", (again,))
    assert policy(db, "public.customers", "ssn")[3] == "of old"
    assert db.sql("SELECT message FROM envelope.verify('customers', 'ssn')") == []
    with db.connect() as c:
        c.execute("CALL envelope.seal_column('customers', 'ssn')")
    db.sql("UPDATE customers SET id = 2, name = 'm'")
    assert db.sql("SELECT message FROM envelope.verify('customers', 'ssn')") == []
    assert db.value("SELECT former_bound IS NULL FROM envelope.sealed_column")


def test_what_ends_a_policy_forgets_no_context(db):
    """Neither while the column is being bound, nor without a word while a trigger seals it."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, ssn bytea)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers VALUES (1, 'a')")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    with fails("55000") as caught:
        db.sql("SELECT envelope.drop_policy('customers', 'ssn')")
    assert "envelope.seal_column" in caught.value.diag.message_hint
    assert db.sql("SELECT message FROM envelope.verify('customers', 'ssn')") == []
    db.sql("CALL envelope.seal_column('customers', 'ssn')")
    drop = "SELECT envelope.drop_policy('customers', 'ssn')"
    with db.connect() as c:
        told = notices(c)
        c.execute(drop)
        [(severity, _, hint)] = told
        assert severity == "NOTICE" and "envelope.unprotect" in hint
    db.sql("UPDATE customers SET id = 2")
    assert db.value("SELECT envelope_decrypt('customers', ssn, envelope_context('customers.ssn', '1')) FROM customers") == b"a"
    db.sql("UPDATE customers SET id = 1")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    db.sql("CALL envelope.seal_column('customers', 'ssn')")
    assert opened(db) == {1: "a"}
    # Nothing is said where no trigger is left.
    db.sql("DROP TRIGGER seal ON customers")
    with db.connect() as c:
        told = notices(c)
        c.execute(drop)
        assert told == []


def test_a_partition_with_a_policy_of_its_own_has_the_others_of_its_root(db):
    db.sql("CREATE TABLE p (id int, y int, v envelope.sealed, w envelope.sealed, PRIMARY KEY (id, y)) PARTITION BY LIST (y)")
    db.sql("CREATE TABLE c (LIKE p INCLUDING ALL)")
    db.sql("SELECT envelope.set_policy('p', 'v', bind => '{id}'), envelope.set_policy('c', 'w', value_type => 'date')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON p FOR EACH ROW EXECUTE FUNCTION envelope_seal('v', 'w')")
    db.sql("ALTER TABLE p ATTACH PARTITION c FOR VALUES IN (1)")
    db.sql("INSERT INTO p VALUES (7, 1, 'bound', '2020-2-29')")
    assert db.sql("SELECT envelope_decrypt_text('p', v, envelope.row_context('p', 'v', id::text)), "
                  "envelope_decrypt_as('p', w, NULL::date)::text FROM p") == [("bound", "2020-02-29")]
    assert db.sql("SELECT message FROM envelope.verify('p', 'v')") == []


def test_while_a_column_is_being_bound(db):
    """Values of before open and are kept until all are bound."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, name text, ssn bytea)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers VALUES (1, 'n', 'one'), (2, 'n', 'two'), (3, 'n', 'three')")
    with db.connect() as other:
        other.execute("UPDATE customers SET name = 'other'")
        db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
        # In another session from its next statement on.
        other.execute("INSERT INTO customers VALUES (4, 'n', 'four')")
    before = db.sql("SELECT ssn FROM customers WHERE id < 3 ORDER BY id")
    db.sql("UPDATE customers SET name = 'm', ssn = ssn || ''::bytea WHERE id < 3")
    assert db.sql("SELECT ssn FROM customers WHERE id < 3 ORDER BY id") == before
    # A key that changes binds the value.
    db.sql("UPDATE customers SET id = 33 WHERE id = 3")
    assert db.value(f"SELECT convert_from(envelope_decrypt('customers', ssn, {context()}), 'UTF8') "
                    "FROM customers WHERE id = 33") == "three"
    db.sql("UPDATE customers SET ssn = envelope_decrypt('customers', ssn) WHERE id < 3")
    assert opened(db) == {1: "one", 2: "two", 4: "four", 33: "three"}
    db.sql("SELECT envelope.binding_done('customers', 'ssn')")
    with fails("22000"):
        db.sql("INSERT INTO customers VALUES (5, 'n', envelope_encrypt('customers', 'x'))")


def test_a_binding_is_not_done_while_values_are_left(db):
    """They would open no more. Of partitions, too; neither plaintext nor what is damaged counts."""
    db.sql("CREATE TABLE customers (id int NOT NULL, ssn bytea) PARTITION BY LIST (id)")
    for part in (1, 2):
        db.sql(f"CREATE TABLE customers_{part} PARTITION OF customers FOR VALUES IN ({part})")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO customers VALUES (1, 'one'), (2, 'two'), (2, 'too'), (1, NULL)")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', 'bytea', bind => '{id}')")
    done = "SELECT envelope.binding_done('customers', 'ssn')"
    db.sql("UPDATE customers SET ssn = envelope_decrypt('customers', ssn) WHERE tableoid = 'customers_1'::regclass AND ssn IS NOT NULL")
    with fails("55000") as caught:
        db.sql(done)
    assert caught.value.diag.message_primary.startswith("2 ")
    # Whom a policy of the table hides rows from does not know.
    db.sql(f"ALTER TABLE customers OWNER TO {db.low}; ALTER TABLE customers_1 OWNER TO {db.low}")
    db.sql(f"ALTER TABLE customers_2 OWNER TO {db.low}; ALTER TABLE customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    with fails("42501"):
        db.sql(done, user=db.low)
    db.sql("ALTER TABLE customers DISABLE ROW LEVEL SECURITY")
    with db.connect() as c:
        c.execute("BEGIN")
        # One that is changed and one in clear are not what would be lost.
        c.execute("ALTER TABLE customers DISABLE TRIGGER USER")
        c.execute("UPDATE customers SET ssn = CASE ctid WHEN (SELECT min(ctid) FROM customers_2) THEN 'clear' ELSE "
                  "set_byte(ssn, 45, get_byte(ssn, 45) # 255) END")
        assert c.execute(done).fetchone() == (True,)
        c.execute("ROLLBACK")
    db.sql(caught.value.diag.message_hint.split(": ")[1].removesuffix("."))
    assert not db.value(done)
    assert opened(db) == {1: "one", 2: "too"} or opened(db) == {1: "one", 2: "two"}


def sourced(db, function="envelope_seal", bind="{id}", kind="text"):
    """Plaintext comes in as `ssn`, and is stored as `sealed`."""
    db.sql(f"CREATE TABLE people (id int PRIMARY KEY, note text, ssn {kind}, sealed bytea)")
    if bind:
        db.sql("SELECT envelope.set_policy('people', 'sealed', 'source', source => 'ssn', bind => %s)", (bind,))
    seals(db, function)


def seals(db, function):
    db.sql("DROP TRIGGER IF EXISTS seal ON people")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW "
           f"EXECUTE FUNCTION {function}('sealed=ssn')")


def people(db, bound=True):
    """Of each row the source, and what the sealed value opens to."""
    of = "envelope.row_context('people', 'sealed', id::text)" if bound else "''"
    rows = db.sql(f"SELECT id, ssn, convert_from(envelope_decrypt('people', sealed, {of}), 'UTF8') FROM people")
    return {row: (source, value) for row, source, value in rows}


@pytest.mark.parametrize("bind", ["{id}", None])
def test_source_column(db, bind):
    sourced(db, bind=bind)
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'C:\\101'), (2, NULL), (3, 'ä')")
    def now():
        return people(db, bound=bind is not None)
    assert now() == {1: (None, "C:\\101"), 2: (None, None), 3: (None, "ä")}
    # NULL changes nothing, whether the source is named or not.
    before = db.sql("SELECT sealed FROM people ORDER BY id")
    db.sql("UPDATE people SET note = 'x'")
    db.sql("UPDATE people SET note = 'y', ssn = NULL, sealed = sealed")
    assert db.sql("SELECT sealed FROM people ORDER BY id") == before
    for erases in ("ssn = NULL", "note = 'z', ssn = ssn", "(note, ssn) = (SELECT 'z', NULL)"):
        with fails("22004") as caught:
            db.sql(f"UPDATE people SET {erases} WHERE id = 1")
        assert '"sealed" = NULL' in caught.value.diag.message_hint
    db.sql("UPDATE people SET ssn = 'other' WHERE id = 1")
    db.sql("UPDATE people SET sealed = NULL WHERE id = 3")
    assert now() == {1: (None, "other"), 2: (None, None), 3: (None, None)}
    # Sealed by hand, or in clear, into the column itself.
    db.sql("UPDATE people SET sealed = 'in clear' WHERE id = 3")
    assert now()[3] == (None, "in clear")
    # Never both.
    with fails("22023"):
        db.sql("INSERT INTO people (id, ssn, sealed) VALUES (4, 'a', 'b')")
    with fails("22023"):
        db.sql("UPDATE people SET ssn = 'a', sealed = 'b' WHERE id = 1")
    with fails("22P02"):
        db.sql("UPDATE people SET ssn = (SELECT sealed::text FROM people WHERE id = 1) WHERE id = 1")
    # A copy of the row as it is stored, and an upsert.
    db.sql("CREATE TABLE kept AS TABLE people")
    db.sql("TRUNCATE people")
    db.sql("INSERT INTO people TABLE kept")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'upsert') ON CONFLICT (id) DO UPDATE SET sealed = EXCLUDED.sealed")
    assert now() == {1: (None, "upsert"), 2: (None, None), 3: (None, "in clear")}
    with fails("22004"):
        db.sql("INSERT INTO people (id, ssn) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn")
    merge(db, "people", "(VALUES (1, 'merged'), (9, 'new')) v (id, ssn)", "ssn = v.ssn", "id, ssn", "v.id, v.ssn")
    assert now()[1] == (None, "merged") and now()[9] == (None, "new")
    # Sessions that play what others have done are told nothing: all columns are named there.
    db.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER seal")
    with db.connect() as c:
        c.execute("SET session_replication_role = replica")
        c.execute("UPDATE people SET ssn = NULL WHERE id = 1")
    assert now()[1] == (None, "merged")


def test_source_and_a_changed_key(db):
    sourced(db)
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'one')")
    db.sql("UPDATE people SET id = 2")
    assert people(db) == {2: (None, "one")}
    db.sql("UPDATE people SET id = 3, ssn = 'three'")
    assert people(db) == {3: (None, "three")}
    with fails("22000"):
        db.sql("UPDATE people SET sealed = envelope_encrypt('people', 'x')")


def test_rows_from_before_the_trigger(db):
    """Plaintext that stands in the source is sealed by the next UPDATE of its row, and never lost."""
    sourced(db)
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    db.sql("INSERT INTO people VALUES (1, 'n', 'a'), (2, 'n', 'b'), (3, 'n', 'c'), (4, 'n', 'd')")
    db.sql("ALTER TABLE people ENABLE TRIGGER seal")
    db.sql("UPDATE people SET note = 'm' WHERE id = 1")
    # Who does not know of the source writes back what was read.
    db.sql("UPDATE people SET note = 'm', sealed = NULL WHERE id = 2")
    db.sql("UPDATE people SET sealed = 'newer' WHERE id = 3")
    db.sql("UPDATE people SET sealed = NULL, ssn = NULL WHERE id = 4")
    assert people(db) == {1: (None, "a"), 2: (None, "b"), 3: (None, "newer"), 4: (None, None)}


@pytest.mark.parametrize("bind", ["{id}", None])
def test_mirror(db, bind):
    """Reading either is right, whoever writes to which."""
    sourced(db, "envelope_mirror", bind)
    def now():
        return people(db, bound=bind is not None)
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'old app')")
    db.sql("INSERT INTO people (id, sealed) VALUES (2, 'new app')")
    assert now() == {1: ("old app", "old app"), 2: ("new app", "new app")}
    before = db.sql("SELECT sealed FROM people ORDER BY id")
    db.sql("UPDATE people SET note = 'x'")
    db.sql("UPDATE people SET note = 'y', ssn = ssn, sealed = sealed")
    assert db.sql("SELECT sealed FROM people ORDER BY id") == before
    db.sql("UPDATE people SET ssn = 'changed by old' WHERE id = 1")
    db.sql("UPDATE people SET sealed = 'changed by new' WHERE id = 2")
    assert now() == {1: ("changed by old",) * 2, 2: ("changed by new",) * 2}
    # The same to both, as a restore of the rows brings it; never two values.
    db.sql("CREATE TABLE kept AS TABLE people")
    db.sql("TRUNCATE people")
    db.sql("INSERT INTO people TABLE kept")
    assert now() == {1: ("changed by old",) * 2, 2: ("changed by new",) * 2}
    for both in ("UPDATE people SET ssn = 'a', sealed = 'b'", "INSERT INTO people VALUES (9, 'n', 'a', 'b')"):
        with fails("22023"):
            db.sql(both)
    # Erased by either name.
    db.sql("UPDATE people SET ssn = NULL WHERE id = 1")
    db.sql("UPDATE people SET sealed = NULL WHERE id = 2")
    assert now() == {1: (None, None), 2: (None, None)}
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'a') ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn")
    db.sql("INSERT INTO people (id, ssn) VALUES (2, 'b') ON CONFLICT (id) DO UPDATE SET sealed = EXCLUDED.sealed")
    db.sql("UPDATE people SET id = id + 10")
    assert now() == {11: ("a", "a"), 12: ("b", "b")}


def test_from_mirror_to_seal_and_back(db):
    sourced(db, "envelope_mirror")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'a'), (2, 'b')")
    seals(db, "envelope_seal")
    db.sql("UPDATE people SET note = 'x' WHERE id = 1")
    assert people(db) == {1: (None, "a"), 2: ("b", "b")}
    seals(db, "envelope_mirror")
    # Nobody has asked for plaintext to come back, and an old program that writes what it read erases nothing.
    db.sql("UPDATE people SET note = 'y'")
    with fails("22004"):
        db.sql("UPDATE people SET note = 'z', ssn = NULL WHERE id = 1")
    assert people(db) == {1: (None, "a"), 2: ("b", "b")}


def test_mirror_opens_for_who_may(db):
    """Who writes plaintext needs no right to open it; who writes a sealed value does."""
    sourced(db, "envelope_mirror")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'a')")
    db.sql(f"GRANT SELECT, INSERT, UPDATE ON people TO {db.low}")
    db.sql("SELECT envelope.grant_key('people', %s, 'encrypt')", (db.low,))
    db.sql("INSERT INTO people (id, sealed) VALUES (2, 'b')", user=db.low)
    by_hand = ("INSERT INTO people (id, sealed) VALUES (3, envelope_encrypt('people', 'c', "
               "envelope.row_context('people', 'sealed', '3')))")
    with fails("42501"):
        db.sql(by_hand, user=db.low)
    db.sql("SELECT envelope.grant_key('people', %s, 'decrypt')", (db.low,))
    db.sql(by_hand, user=db.low)
    assert people(db) == {1: ("a", "a"), 2: ("b", "b"), 3: ("c", "c")}


def test_mirror_tells_nobody_who_may_not_open_whether_a_guess_is_right(db):
    sourced(db, "envelope_mirror")
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'a')")
    db.sql(f"GRANT SELECT (id, sealed), INSERT (id, ssn, sealed), UPDATE (ssn, sealed) ON people TO {db.low}")
    db.sql("SELECT envelope.grant_key('people', %s, 'encrypt')", (db.low,))
    sealed = db.value("SELECT sealed FROM people")
    for guess in ("a", "b"):
        with fails("42501"):
            db.sql("INSERT INTO people (id, ssn, sealed) VALUES (2, %s, %s)", (guess, sealed), user=db.low)
        # Nor by what becomes of the sealed value.
        with db.connect(db.low, autocommit=False) as c:
            assert c.execute("UPDATE people SET ssn = %s, sealed = sealed WHERE id = 1 RETURNING sealed", (guess,)
                             ).fetchall() != [(sealed,)]
            c.rollback()
    # Nor by whether it needs the right to seal.
    db.sql("SELECT envelope.revoke_key('people', %s, 'encrypt')", (db.low,))
    for guess in ("a", "b"):
        with fails("42501"):
            db.sql("UPDATE people SET ssn = %s WHERE id = 1", (guess,), user=db.low)
    db.sql("SELECT envelope.grant_key('people', %s, 'encrypt')", (db.low,))
    # Both in clear: no secret.
    db.sql("INSERT INTO people (id, ssn, sealed) VALUES (2, 'b', 'b')", user=db.low)
    assert people(db) == {1: ("a", "a"), 2: ("b", "b")}


@pytest.mark.parametrize("arguments, sqlstate", [
    ("'sealed=nothing'", "42703"), ("'nothing=ssn'", "42703"), ("'ssn=note'", "42804"), ("'sealed='", "42703"),
    ("'=ssn'", "42703"), ("'sealed=sealed'", "39P01"), ("'sealed=ssn=note'", "42703"), ("'sealed=g'", "428C9"),
    ("'" + "x" * 70 + "=ssn'", "42703"), ("", "39P01"),
])
@pytest.mark.parametrize("function", ["envelope_seal", "envelope_mirror"])
def test_arguments(db, function, arguments, sqlstate):
    db.sql("CREATE TABLE people (id int, note text, ssn text, sealed bytea, "
           "g text GENERATED ALWAYS AS (upper(note)) STORED)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW "
           f"EXECUTE FUNCTION {function}({arguments})")
    with fails(sqlstate):
        db.sql("INSERT INTO people (id, ssn) VALUES (1, 'x')")


def test_mirror_needs_a_source(db):
    db.sql("CREATE TABLE people (id int, sealed bytea)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION envelope_mirror('sealed')")
    with fails("39P01"):
        db.sql("INSERT INTO people VALUES (1, 'x')")


def of_type(db, kind, form="sealed", **said):
    """A column `v` whose values are of a type, and the trigger."""
    column = "envelope.sealed" if form == "sealed" else "bytea"
    db.sql(f"CREATE TABLE typed (id int PRIMARY KEY, v {column})")
    db.sql("SELECT envelope.set_policy('typed', 'v', %s, %s, bind => '{id}', block => %s)",
           (form, kind, said.get("block")))
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON typed FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")


def form_of(db, row=1, table="typed", column="v"):
    """The bytes that a row's value opens to."""
    return bytes(db.value(f"SELECT envelope_decrypt('{table}', {column}, "
                          f"envelope.row_context('{table}', '{column}', id::text)) FROM {table} WHERE id = {row}"))


@pytest.mark.parametrize("kind, arrives, form", [
    ("date", "2026-11-30", "2026-11-30   "),
    ("date", "Nov 30 2026", "2026-11-30   "),
    ("date", "26/11/30", "2026-11-30   "),
    ("timestamptz", "2026-11-30 12:00", "2026-11-30T12:00:00Z          "),
    ("timestamptz", "2026-11-30 12:00+02", "2026-11-30T10:00:00Z          "),
    ("interval", "-1 +2:03:04", "P-1DT2H3M4S".ljust(60)),
    ("boolean", "t", "true "),
    ("integer", " 42 ", "42         "),
    ("numeric(10,2)", "1e3", "1000.00      "),
    ("numeric(10,2)", "3.14159", "3.14         "),
    ("uuid", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
    ("inet", "10.0.0.1", "10.0.0.1/32".ljust(44)),
    ("mood", "glad", "glad".ljust(64)),
    ("date[]", "{2026-11-30,NULL}", '["2026-11-30",null]'),
    ("jsonb", '{"a":1}', '{"a": 1}'),
    ("json", '{"a":1}', '{"a":1}'),
    ("text", "C:\\101 ä", "C:\\101 ä"),
    ("varchar(5)", "ä", "ä"),
    ("char(5)", "ab  ", "ab"),
    ("percent", "7", "7          "),
    ("bytea", "\\xdead", "\\xdead"),
])
def test_values_of_a_type(db, kind, arrives, form):
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    db.sql("CREATE DOMAIN percent AS int CHECK (VALUE <= 100)")
    of_type(db, kind)
    with db.connect() as c:
        # What a session has set does not count.
        for setting in ("DateStyle = 'German, DMY'", "TimeZone = 'Asia/Tokyo'", "IntervalStyle = sql_standard"):
            c.execute(f"SET {setting}")
        c.execute("INSERT INTO typed VALUES (1, %s)", (arrives,))
        assert c.execute("SHOW DateStyle").fetchone() == ("German, DMY",)
        assert c.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
        assert c.execute("SELECT '01.02.2026'::date - '2026-02-01'::date").fetchone() == (0,)
        written = form_of(db)
        assert written == form.encode()
        # What was read is written back, in clear or sealed, in the form itself.
        c.execute("UPDATE typed SET v = %s::bytea", (written,))
        assert form_of(db) == written
        c.execute("UPDATE typed SET v = v::bytea || ''::bytea")
        c.execute("UPDATE typed SET id = 2")
        assert form_of(db, 2) == written


@pytest.mark.parametrize("kind, arrives, sqlstate", [
    ("date", "31.11.2026", "22008"),
    ("date", "no-date-4711", "22007"),
    ("integer", "4711x", "22P02"),
    ("integer", "47110000000000", "22003"),
    ("numeric(4,2)", "4711", "22003"),
    ("boolean", "4711", "22P02"),
    ("mood", "4711", "22P02"),
    ("varchar(3)", "4711", "22001"),
    ("percent", "4711", "23514"),
    ("jsonb", "{4711", "22P02"),
    ("date[]", "{4711", "22P02"),
])
def test_what_is_no_value_of_the_type(db, kind, arrives, sqlstate):
    db.sql("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    db.sql("CREATE DOMAIN percent AS int CHECK (VALUE <= 100)")
    of_type(db, kind)
    with fails(sqlstate) as caught:
        db.sql("INSERT INTO typed VALUES (1, %s)", (arrives,))
    diag = caught.value.diag
    assert not any("4711" in (text or "") for text in (diag.message_primary, diag.message_detail, diag.message_hint))
    with db.connect() as c:
        c.execute("SET DateStyle = 'German, DMY'")
        with fails(sqlstate):
            c.execute("INSERT INTO typed VALUES (1, %s)", (arrives,))
        assert c.execute("SELECT '01.02.2026'::date - '2026-02-01'::date").fetchone() == (0,)


def test_sealed_values_of_another_type(db):
    of_type(db, "date")
    db.sql("INSERT INTO typed VALUES (1, '2026-11-30')")
    sealed = "envelope.row_context('typed', 'v', id::text)"
    db.sql(f"UPDATE typed SET v = envelope_encrypt_as('typed', '2026-12-24'::date, {sealed})")
    assert form_of(db) == b"2026-12-24   "
    for value in ("envelope_encrypt_as('typed', 4711, {})", "envelope_encrypt_text('typed', '24.12.2026', {})"):
        with fails("22023") as caught:
            db.sql(f"UPDATE typed SET v = {value.format(sealed)}")
        assert "4711" not in str(caught.value)
    db.sql("UPDATE typed SET id = 1, v = v")
    assert form_of(db) == b"2026-12-24   "


def test_text_in_blocks(db):
    of_type(db, "text", "bytea", block=16)
    for row, text in enumerate(("", "ä" * 7, "x" * 15, "x" * 16), 1):
        db.sql("INSERT INTO typed VALUES (%s, %s)", (row, text.encode()))
        assert form_of(db, row) == (text.encode() + b"\xff").ljust(32 if row == 4 else 16, b"\0")
    assert {size for size, in db.sql("SELECT octet_length(v) FROM typed")} == {16 + 58, 32 + 58}
    with fails("22021"):
        db.sql("INSERT INTO typed VALUES (9, '\\xc3')")


def test_text_must_be_text(db):
    of_type(db, "text", "bytea")
    for bad in ("\\xc3", "\\x00"):
        with fails("22021"):
            db.sql("INSERT INTO typed VALUES (9, %s::bytea)", (bad,))


@pytest.mark.parametrize("function", ["envelope_seal", "envelope_mirror"])
@pytest.mark.parametrize("kind, value, form", [
    ("date", "'2026-11-30'", b"2026-11-30   "),
    ("numeric(10,2)", "3.5", b"3.50         "),
    ("int[]", "'{1,NULL}'", b'["1",null]'),
    ("boolean", "false", b"false"),
    ("char(4)", "'ab'", b"ab"),
    ("percent", "7", b"7          "),
])
@pytest.mark.parametrize("bind", ["{id}", None])
def test_sources_of_a_type(db, function, kind, value, form, bind):
    db.sql("CREATE DOMAIN percent AS int CHECK (VALUE <= 100)")
    sourced(db, function, bind, kind)
    db.sql(f"INSERT INTO people (id, ssn) VALUES (1, {value})")
    context = "envelope.row_context('people', 'sealed', '1')" if bind else "''"
    assert bytes(db.value(f"SELECT envelope_decrypt('people', sealed, {context}) FROM people")) == form
    assert db.value(f"SELECT ssn IS NOT DISTINCT FROM {'NULL' if function == 'envelope_seal' else value}::{kind} FROM people")
    if function == "envelope_mirror":
        db.sql("INSERT INTO people (id, sealed) VALUES (2, %s)", (form,))
        assert db.value("SELECT count(DISTINCT ssn) FROM people WHERE ssn IS NOT NULL") == 1
        # Both say the same, whatever the form is filled to.
        db.sql(f"INSERT INTO people (id, ssn, sealed) SELECT 3, ssn, "
               f"envelope_encrypt('people', %s, replace({context}, '1:1', '1:3')) FROM people WHERE id = 2",
               (form.rstrip(),))


def test_a_type_that_was_dropped(db):
    """An error of its own, also in sessions that knew the type; and it can be made anew."""
    db.sql("CREATE TYPE mood AS ENUM ('well', 'unwell')")
    of_type(db, "mood")
    with db.connect() as c:
        c.execute("INSERT INTO typed VALUES (1, 'well')")
        db.sql("DROP TYPE mood")
        for statement in ("INSERT INTO typed VALUES (2, 'well')", "SELECT envelope.plan('typed', '{v}')",
                          "SELECT envelope.unprotect('typed', 'v')", "SELECT envelope.protect('typed', 'v')",
                          "CALL envelope.seal_column('typed', 'v', source => 'upper(''well'')')"):
            for run in (c.execute, db.sql):
                with fails("42704") as caught:
                    run(statement)
                assert "set_policy" in caught.value.diag.message_hint and "typed" in caught.value.diag.message_primary
        assert db.sql("SELECT column_name, severity FROM envelope.lint('typed') WHERE sqlstate = '42704'") == [("v", "error")]
        db.sql("CREATE TYPE mood AS ENUM ('well', 'unwell')")
        db.sql("SELECT envelope.set_policy('typed', 'v', value_type => 'mood', bind => '{id}')")
        c.execute("INSERT INTO typed VALUES (2, 'unwell')")
        assert form_of(db, 1).rstrip() == b"well" and form_of(db, 2).rstrip() == b"unwell"
        assert db.value("SELECT count(*) FROM envelope.lint('typed') WHERE sqlstate = '42704'") == 0


def test_a_source_that_has_become_another_type(db):
    sourced(db, kind="int")
    db.sql("ALTER TABLE people ALTER ssn TYPE date USING NULL")
    with fails("42804"):
        db.sql("INSERT INTO people (id, ssn) VALUES (1, '2026-11-30')")


def test_a_source_in_partitions_of_another_order(db):
    db.sql("CREATE TABLE people (region int, id int NOT NULL, ssn text, sealed bytea) PARTITION BY LIST (region)")
    db.sql("CREATE TABLE people_1 (junk int, junk2 int, sealed bytea, ssn text, id int NOT NULL, region int)")
    db.sql("ALTER TABLE people_1 DROP junk, DROP junk2")
    db.sql("ALTER TABLE people ATTACH PARTITION people_1 FOR VALUES IN (1)")
    db.sql("CREATE UNIQUE INDEX ON people (region, id)")
    db.sql("SELECT envelope.set_policy('people', 'sealed', 'source', source => 'ssn', bind => '{id}')")
    seals(db, "envelope_seal")
    db.sql("INSERT INTO people VALUES (1, 1, 'a')")
    for table in ("people", "people_1"):
        with fails("22004"):
            db.sql(f"UPDATE {table} SET ssn = NULL")
        db.sql(f"UPDATE {table} SET ssn = NULL, sealed = sealed")
    with fails("22004"):
        db.sql("INSERT INTO people VALUES (1, 1, 'b') ON CONFLICT (region, id) DO UPDATE SET ssn = EXCLUDED.ssn")
    db.sql("INSERT INTO people VALUES (1, 1, 'b') ON CONFLICT (region, id) DO UPDATE SET sealed = EXCLUDED.sealed")
    assert people(db) == {1: (None, "b")}


def test_a_partition_that_is_detached_keeps_the_tag(db):
    """Its values are bound by it. By default no two tables of a keyring have one."""
    db.sql("CREATE SCHEMA other")
    db.sql("CREATE TABLE log (y int NOT NULL, ssn bytea) PARTITION BY RANGE (y)")
    db.sql("CREATE TABLE other.log PARTITION OF log FOR VALUES FROM (2025) TO (2026)")
    db.sql("SELECT envelope.set_policy('log', 'ssn', 'bytea', bind => '{y}')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON log FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO log VALUES (2025, 'x')")
    with db.connect(autocommit=False) as c:
        c.execute("SELECT envelope.share_keyring('log', 'other.log')")
        c.execute("ALTER TABLE log DETACH PARTITION other.log")
        with pytest.raises(Exception, match="has the same keyring"), c.transaction():
            c.execute("SELECT envelope.set_policy('other.log', 'ssn', 'bytea', bind => '{y}')")
        c.execute("SELECT envelope.set_policy('other.log', 'ssn', 'bytea', bind => '{y}', tag => 'log.ssn')")
        c.execute("SELECT envelope.set_policy('other.log', 'ssn', 'bytea', bind => '{y}')")
        c.execute("SELECT envelope.binding_done('other.log', 'ssn')")
        c.execute("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON other.log FOR EACH ROW "
                  "EXECUTE FUNCTION envelope_seal('ssn')")
        c.commit()
    db.sql("UPDATE other.log SET y = 2020")
    assert opened(db, "other.log", of="y::text", key="y") == {2020: "x"}


def test_a_policy_of_another_form_than_the_column_is_told_the_one_that_fits(db):
    db.sql("CREATE TABLE t (id int, b bytea, s envelope.sealed)")
    for column, form, fits in (("b", "sealed", "form 'bytea'"), ("s", "bytea", "form 'sealed'")):
        with fails("42804") as caught:
            db.sql(f"SELECT envelope.set_policy('t', '{column}', '{form}')")
        assert fits in caught.value.diag.message_hint
