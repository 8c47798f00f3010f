"""envelope.lint(): each finding by its SQLSTATE, and gone once its remedy has run."""

import psycopg
import pytest

SEAL = "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')"
SECRET = "123-45-6789"


def findings(db, table=None, user="postgres"):
    """(column, severity, sqlstate), each with its message and remedy; no message holds a value."""
    rows = db.sql("SELECT column_name, severity, sqlstate, message, remedy FROM envelope.lint(%s::text::regclass)",
                  (table,), user)
    for row in rows:
        assert SECRET not in row[3] + row[4]
    return rows


def kinds(db, table=None, user="postgres"):
    return {row[:3] for row in findings(db, table, user)}


def mend(db, table, column, severity, sqlstate):
    """Runs the remedy of the finding, and sees it gone."""
    same = [row for row in findings(db, table) if row[:3] == (column, severity, sqlstate)]
    assert len(same) == 1, findings(db, table)
    db.sql(same[0][4])
    after = findings(db, table)
    assert same[0][3] not in [row[3] for row in after], after


def make(db, name="people", columns="id int PRIMARY KEY, name text, ssn bytea"):
    """A table that is as it should be."""
    db.sql(f"CREATE TABLE {name} ({columns})")
    db.sql(SEAL.format(t=name))
    db.sql(f"ALTER TABLE {name} ADD CONSTRAINT ssn_is_sealed CHECK (envelope.is_sealed(ssn))")
    db.sql(f"INSERT INTO {name} (id, ssn) VALUES (1, '{SECRET}'), (2, NULL)")


def loose(db, name="people"):
    """One whose CHECK is missing."""
    make(db, name)
    db.sql(f"ALTER TABLE {name} DROP CONSTRAINT ssn_is_sealed")


def trigger(db, how, table="people"):
    db.sql(f"DROP TRIGGER IF EXISTS seal ON {table}")
    db.sql(f"CREATE TRIGGER seal {how} EXECUTE FUNCTION envelope_seal('ssn')")


def test_a_table_as_it_should_be(db):
    make(db)
    assert findings(db, "people") == [] and findings(db) == []
    assert findings(db, "people") == []


@pytest.mark.parametrize("how, sqlstate", [
    ("BEFORE INSERT ON people FOR EACH ROW", "39P01"),
    ("BEFORE UPDATE ON people FOR EACH ROW", "39P01"),
    ("BEFORE INSERT OR UPDATE OF name ON people FOR EACH ROW", "39P01"),
    ("BEFORE INSERT OR UPDATE ON people FOR EACH ROW WHEN (NEW.id > 5)", "39P01"),
    ("BEFORE INSERT OR UPDATE ON people FOR EACH STATEMENT", "39P01"),
    ("AFTER INSERT OR UPDATE ON people FOR EACH ROW", "39P01"),
])
def test_a_trigger_that_does_not_fire_for_every_write(db, how, sqlstate):
    make(db)
    trigger(db, how)
    assert kinds(db, "people") == {("ssn", "error", sqlstate)}
    mend(db, "people", "ssn", "error", sqlstate)
    assert findings(db, "people") == []


@pytest.mark.parametrize("change", ["DISABLE TRIGGER seal", "DISABLE TRIGGER ALL", "ENABLE REPLICA TRIGGER seal"])
def test_a_trigger_that_is_off(db, change):
    make(db)
    db.sql(f"ALTER TABLE people {change}")
    assert kinds(db, "people") == {("ssn", "error", "55000")}
    mend(db, "people", "ssn", "error", "55000")
    db.sql("ALTER TABLE people ENABLE ALWAYS TRIGGER seal")
    assert findings(db, "people") == []


def test_two_triggers_that_together_fire_for_every_write(db):
    make(db)
    trigger(db, "BEFORE INSERT ON people FOR EACH ROW")
    db.sql("CREATE TRIGGER seal_too BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    assert findings(db, "people") == []
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    assert kinds(db, "people") == {("ssn", "error", "55000"), ("ssn", "error", "39P01")}


def test_update_of_the_column_alone(db):
    """Enough, as long as no other trigger writes to it."""
    make(db)
    trigger(db, "BEFORE INSERT OR UPDATE OF ssn ON people FOR EACH ROW")
    assert kinds(db, "people") == {("ssn", "warning", "39P01")}
    mend(db, "people", "ssn", "warning", "39P01")


def test_a_wrong_trigger_beside_a_right_one(db):
    make(db)
    db.sql("CREATE TRIGGER late AFTER UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    assert kinds(db, "people") == {("ssn", "error", "39P01")}


@pytest.mark.parametrize("arguments, column, sqlstate", [
    ("'ssn', 'snn'", "snn", "42703"),
    ("'ssn', 'name'", "name", "42804"),
    ("'ssn', 'long'", "long", "428C9"),
    ("", None, "39P01"),
])
def test_arguments_that_the_trigger_refuses(db, arguments, column, sqlstate):
    make(db, columns="id int PRIMARY KEY, name text, ssn bytea, long bytea GENERATED ALWAYS AS ('x'::bytea) STORED")
    db.sql(f"CREATE TRIGGER more BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal({arguments})")
    assert (column, "error", sqlstate) in kinds(db, "people")
    mend(db, "people", column, "error", sqlstate)
    db.sql("INSERT INTO people (id, ssn) VALUES (7, 'x')")
    assert not [row for row in findings(db, "people") if row[2] == sqlstate]


def test_a_column_that_was_renamed(db):
    """The one column that could be it is put into the trigger in its place."""
    make(db)
    db.sql("ALTER TABLE people RENAME ssn TO social")
    assert ("ssn", "error", "42703") in kinds(db, "people")
    mend(db, "people", "ssn", "error", "42703")
    db.sql("INSERT INTO people (id, social) VALUES (7, 'x')")
    assert db.value("SELECT bool_and(envelope.is_sealed(social)) FROM people")
    assert findings(db, "people") == []


AUDIT = ("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} RETURN NEW; END$$; "
         "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION {name}()")


@pytest.mark.parametrize("body", [
    "INSERT INTO seen VALUES (NEW.ssn);", 'INSERT INTO seen VALUES (NEW . "ssn");', "PERFORM to_jsonb(NEW);",
    "INSERT INTO seen SELECT r.ssn FROM (SELECT NEW.*) AS r;", "EXECUTE 'SELECT $1' USING NEW;"])
def test_a_trigger_that_sees_plaintext(db, body):
    make(db)
    db.sql("CREATE TABLE seen (ssn bytea)")
    db.sql(AUDIT.format(name="audit", body=body))
    assert kinds(db, "people") == {("ssn", "error", "42P17")}
    mend(db, "people", "ssn", "error", "42P17")
    db.sql("INSERT INTO people (id, ssn) VALUES (7, %s)", (SECRET.encode(),))
    assert SECRET.encode() not in [value for (value,) in db.sql("SELECT ssn FROM seen")]
    assert findings(db, "people") == []


def test_a_trigger_that_has_nothing_to_do_with_the_column(db):
    make(db)
    db.sql(AUDIT.format(name="audit", body="NEW.name := upper(NEW.name); -- NEW.ssn stays\n"))
    assert findings(db, "people") == []


def test_a_trigger_that_puts_plaintext_back(db):
    make(db)
    db.sql(AUDIT.format(name="worse", body=f"NEW.ssn := '{SECRET}';"))
    # The CHECK refuses it.
    assert findings(db, "people") == []
    db.sql("ALTER TABLE people DROP CONSTRAINT ssn_is_sealed")
    assert ("ssn", "warning", "42P17") in kinds(db, "people")
    mend(db, "people", "ssn", "warning", "42P17")


@pytest.mark.parametrize("body, changes", [
    ("NEW.id := NEW.id + 1;", True), ("IF NEW.name IS NULL THEN new . \"id\" = 7; END IF;", True),
    ("SELECT 7 INTO NEW.id;", True), ("IF NEW.id = 3 THEN NEW.name := 'three'; END IF;", False), ("-- NEW.id := 1;\n", False)])
def test_a_trigger_that_changes_what_values_are_bound_to(db, body, changes):
    """It must do so before they are sealed."""
    make(db)
    db.sql("TRUNCATE people; SELECT envelope.set_policy('people', 'ssn', 'bytea', bind => '{id}')")
    db.sql(AUDIT.format(name="worse", body=body))
    if changes:
        assert kinds(db, "people") == {("ssn", "error", "42P17")}
        mend(db, "people", "ssn", "error", "42P17")
    assert findings(db, "people") == []
    db.sql("INSERT INTO people (id, ssn) VALUES (1, 'x')")
    assert db.sql("SELECT message FROM envelope.verify('people', 'ssn')") == []


def test_rules(db):
    make(db)
    db.sql("CREATE TABLE seen (ssn bytea)")
    db.sql("CREATE RULE also AS ON INSERT TO people DO ALSO INSERT INTO seen VALUES (NEW.ssn)")
    db.sql("CREATE RULE other AS ON INSERT TO people DO ALSO SELECT NEW.id")
    assert kinds(db, "people") == {("ssn", "error", "42P17")}
    mend(db, "people", "ssn", "error", "42P17")
    db.sql("CREATE RULE away AS ON UPDATE TO people WHERE NEW.id < 0 DO INSTEAD INSERT INTO seen VALUES (NEW.ssn)")
    assert kinds(db, "people") == {("ssn", "warning", "42P17")}
    mend(db, "people", "ssn", "warning", "42P17")
    assert findings(db, "people") == []


def test_a_trigger_that_seals_by_itself(db):
    """Field fault: the stored value is sealed again in every UPDATE. No statement mends it."""
    db.sql("CREATE TABLE own (id int, ssn bytea CHECK (envelope.is_sealed(ssn)))")
    db.sql("SELECT envelope.create_key('own')")
    body = "NEW.ssn := envelope_encrypt('own', NEW.ssn, envelope_context('ssn', NEW.id::text));"
    db.sql(AUDIT.format(name="seals", body=body).replace("ON people", "ON own"))
    assert kinds(db, "own") == {(None, "warning", "42P17")}
    for condition in ("NOT envelope.is_sealed(NEW.ssn)", "NEW.ssn IS DISTINCT FROM OLD.ssn"):
        db.sql(f"CREATE OR REPLACE FUNCTION seals() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
               f"IF {condition} THEN {body} END IF; RETURN NEW; END$$")
        assert findings(db, "own") == []


def test_no_check(db):
    loose(db)
    assert kinds(db, "people") == {("ssn", "warning", "23514")}
    mend(db, "people", "ssn", "warning", "23514")
    # It was added NOT VALID, which keeps nobody waiting.
    assert kinds(db, "people") == {("ssn", "warning", "23514")}
    mend(db, "people", "ssn", "warning", "23514")
    assert findings(db, "people") == []


def test_the_check_of_a_domain_will_do(db):
    db.sql("CREATE DOMAIN sealed_bytes AS bytea CHECK (envelope.is_sealed(VALUE))")
    db.sql("CREATE DOMAIN sealed_ssn AS sealed_bytes")
    db.sql("CREATE TABLE people (id int, ssn sealed_ssn)")
    db.sql("SELECT envelope.register_column('people', 'ssn')")
    assert findings(db, "people") == []


def test_defaults(db):
    """Field fault: ADD COLUMN … DEFAULT gives the rows that are there a value in clear."""
    make(db)
    db.sql("CREATE TRIGGER seal_more BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('b')")
    db.sql(f"ALTER TABLE people ADD b bytea NOT NULL DEFAULT '{SECRET}'")
    # Among the values, in the catalog, and the default itself.
    assert [row[1:3] for row in findings(db, "people") if row[0] == "b"] == [
        ("error", "23514"), ("error", "23514"), ("warning", "23514"), ("warning", "42P17")]
    broken = "SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.people'"
    assert db.value(broken) == 2
    mend(db, "people", "b", "warning", "42P17")
    for *_, message, remedy in findings(db, "people")[:2]:
        db.sql(remedy)
    assert [row[:3] for row in findings(db, "people")] == [("b", "warning", "23514")]
    assert db.value("SELECT bool_and(envelope_decrypt_text('people', b) = %s) FROM people", (SECRET,))
    assert db.value(broken) == 0


@pytest.mark.parametrize("change", [
    "ADD UNIQUE (ssn)", "DROP CONSTRAINT people_pkey, ADD PRIMARY KEY (ssn)", "ADD EXCLUDE (ssn WITH =)",
    "ADD CHECK (ssn <> '')", "ADD CHECK (ssn IS NOT NULL AND ssn <> 'x')",
])
def test_constraints_that_compare(db, change):
    make(db)
    db.sql("DELETE FROM people WHERE ssn IS NULL")
    db.sql(f"ALTER TABLE people {change}")
    assert kinds(db, "people") == {("ssn", "warning", "42883")}
    mend(db, "people", "ssn", "warning", "42883")


@pytest.mark.parametrize("check", ["ssn IS NOT NULL", "octet_length(ssn) < 1000", "id > 0"])
def test_checks_that_may_look(db, check):
    make(db)
    db.sql("DELETE FROM people WHERE ssn IS NULL")
    db.sql(f"ALTER TABLE people ADD CHECK ({check})")
    assert findings(db, "people") == []


def test_foreign_keys(db):
    make(db)
    db.sql("ALTER TABLE people ADD CONSTRAINT once UNIQUE (ssn)")
    db.sql("CREATE TABLE refers (ssn bytea REFERENCES people (ssn))")
    messages = [row[4] for row in findings(db, "people")]
    assert "ALTER TABLE public.refers DROP CONSTRAINT refers_ssn_fkey" in messages
    db.sql("ALTER TABLE refers DROP CONSTRAINT refers_ssn_fkey")
    mend(db, "people", "ssn", "warning", "42883")
    assert findings(db, "people") == []


@pytest.mark.parametrize("sql, kind", [
    ("CREATE INDEX ON people (ssn)", ("ssn", "notice", "42883")),
    ("CREATE STATISTICS s ON id, ssn FROM people", ("ssn", "notice", "42883")),
    ("ALTER TABLE people REPLICA IDENTITY FULL", ("ssn", "notice", "42883")),
    ("ALTER TABLE people ADD g text GENERATED ALWAYS AS (md5(ssn)) STORED", ("g", "warning", "42883")),
])
def test_what_is_built_from_sealed_values(db, sql, kind):
    make(db)
    db.sql(sql)
    assert kinds(db, "people") == {kind}
    mend(db, "people", *kind)
    assert findings(db, "people") == []


def test_an_index_of_ours(db):
    make(db)
    db.sql("CREATE INDEX ON people (envelope.key_id_of(ssn))")
    assert findings(db, "people") == []


# Values.


def in_clear(db, table="people"):
    """Puts plaintext into a column whose CHECK is missing."""
    db.sql(f"ALTER TABLE {table} DISABLE TRIGGER seal")
    db.sql(f"INSERT INTO {table} (id, ssn) VALUES (3, %s)", (SECRET.encode(),))
    db.sql(f"ALTER TABLE {table} ENABLE TRIGGER seal")


def test_plaintext_among_the_values(db):
    loose(db)
    in_clear(db)
    assert ("ssn", "error", "23514") in kinds(db, "people")
    mend(db, "people", "ssn", "error", "23514")
    assert db.value("SELECT bool_and(envelope.is_sealed(ssn)) FROM people")


def test_plaintext_in_a_partition(db):
    """Named with the partition that it stands in."""
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql(SEAL.format(t="log"))
    db.sql("CREATE TABLE log_low PARTITION OF log FOR VALUES FROM (0) TO (10)")
    in_clear(db, "log_low")
    assert db.sql("SELECT relation FROM envelope.lint('log') WHERE severity = 'error'") == [("public.log_low",)]
    mend(db, "log", "ssn", "error", "23514")


def test_sealed_values_that_nobody_registered(db):
    make(db)
    db.sql("CREATE TABLE copies AS SELECT ssn FROM people")
    assert kinds(db, "copies") == {("ssn", "warning", "42704")}
    mend(db, "copies", "ssn", "warning", "42704")
    assert kinds(db, "copies") == {("ssn", "warning", "23514")}


@pytest.mark.parametrize("expression", [
    "ARRAY[ssn]", "ARRAY[ssn::text]", "jsonb_build_object('id', 1, 'ssn', ssn)", "to_json(ssn)", "ssn::text",
    "encode(ssn, 'hex')", "encode(ssn, 'base64')", "'x' || encode(ssn, 'base64')"])
def test_sealed_values_in_other_types(db, expression):
    """destroy_key does not find them there."""
    make(db)
    db.sql(f"CREATE TABLE copies AS SELECT {expression} AS copied FROM people WHERE ssn IS NOT NULL")
    assert kinds(db, "copies") == {("copied", "warning", "42804")}
    assert ("copied", "warning", "42804") in kinds(db)


def test_values_of_no_key_that_is_known_here(db):
    make(db)
    db.sql("CREATE TABLE others AS SELECT set_byte(ssn, 10, get_byte(ssn, 10) # 1) AS v, 'f7e1'::text AS t FROM people")
    assert findings(db, "others") == []


def test_keys_that_did_not_come_along(db):
    """After a restore of one schema, which brings no rows of the extension: nothing else tells that no value opens."""
    make(db)
    make(db, "lost", "id int, ssn envelope.sealed")
    db.sql("ALTER TABLE lost DISABLE TRIGGER seal")
    db.sql("UPDATE lost SET ssn = set_byte(ssn::bytea, 10, get_byte(ssn::bytea, 10) # 1)::envelope.sealed")
    db.sql("ALTER TABLE lost ENABLE TRIGGER seal")
    assert findings(db, "people") == []
    assert kinds(db, "lost") == {("ssn", "error", "42704")}
    assert db.value("SELECT count(*) FROM envelope.check() WHERE NOT ok AND sqlstate = '42704' AND relation = 'public.lost'") == 1


def test_what_a_dropped_column_has_left(db):
    make(db, columns="id int PRIMARY KEY, name text, ssn bytea, old text DEFAULT 'in clear'")
    db.sql("ALTER TABLE people DROP COLUMN old")
    assert kinds(db, "people") == {(None, "notice", "55000")}
    mend(db, "people", None, "notice", "55000")
    assert findings(db, "people") == []


def test_plaintext_in_statistics(db):
    loose(db)
    in_clear(db)
    db.sql("INSERT INTO people SELECT g, 'n' FROM generate_series(10, 20) g; ANALYZE people")
    db.sql("UPDATE people SET ssn = ssn")
    assert ("ssn", "warning", "55000") in kinds(db, "people")
    mend(db, "people", "ssn", "warning", "55000")


def test_what_needs_a_key_to_load(db):
    """Field fault: a dump with it cannot be restored, and the rows are lost."""
    make(db)
    db.sql("ALTER TABLE people ADD CONSTRAINT short CHECK (length(envelope_decrypt_text('people', ssn)) < 20)")
    assert kinds(db, "people") == {(None, "error", "55000")} == kinds(db)
    mend(db, "people", None, "error", "55000")
    assert findings(db, "people") == []
    with pytest.raises(psycopg.errors.CheckViolation):
        db.sql("INSERT INTO people VALUES (9, 'n', repeat('x', 30)::bytea)")


# check().


def test_check_tells_of_errors(db):
    """Field fault: half-set and disabled triggers went unseen."""
    make(db)
    broken = "SELECT relation, sqlstate, message FROM envelope.check() WHERE NOT ok"
    assert db.sql(broken) == []
    trigger(db, "BEFORE INSERT ON people FOR EACH ROW")
    (relation, sqlstate, message), = db.sql(broken)
    assert (relation, sqlstate) == ("public.people", "39P01") and "CREATE OR REPLACE TRIGGER" in message
    mend(db, "people", "ssn", "error", "39P01")
    db.sql("ALTER TABLE people DISABLE TRIGGER seal")
    assert [row[1] for row in db.sql(broken)] == ["55000"]
    assert db.sql(broken, user=db.low) == []
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    assert [row[1] for row in db.sql(broken, user=db.low)] == ["55000"]
    # Nobody's but one's own, for members of pg_monitor neither.
    db.sql(f"ALTER TABLE people OWNER TO postgres; GRANT pg_monitor TO {db.low}")
    assert db.sql(broken, user=db.low) == []


# Policies.


def protected(db):
    """A table with a column of each form, as plan() and the guides set them up."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, name text, ssn text, born date, card bytea, born_sealed bytea)")
    db.sql("SELECT envelope.protect('customers', 'ssn', bind => '{id}')")
    db.sql("SELECT envelope.protect('customers', 'card', form => 'bytea')")
    db.sql("SELECT envelope.set_policy('customers', 'born_sealed', form => 'source', source => 'born')")
    db.sql("CREATE TRIGGER seal_born BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('born_sealed=born')")
    db.sql("ALTER TABLE customers ADD CONSTRAINT born_is_sealed CHECK (envelope.is_sealed(born_sealed)), "
           "ADD CONSTRAINT born_must_be_empty CHECK (envelope.must_be_empty(born))")
    db.sql(f"INSERT INTO customers (id, ssn, born, card) VALUES (2, '{SECRET}', '2000-01-01', '4111')")
    db.sql("ANALYZE customers")


def test_protected_columns_of_each_form(db):
    protected(db)
    assert findings(db, "customers") == [] == findings(db)
    for write in ("table", "triggers"):
        db.sql("SELECT * FROM envelope.open_view('customers', %s, write => %s, execute => true)", (f"by_{write}", write))
    assert findings(db, "customers") == [] == findings(db)


def test_plaintext_under_a_policy(db):
    """What is written while the trigger is off is bound to its row when it is sealed."""
    protected(db)
    db.sql("ALTER TABLE customers DISABLE TRIGGER USER, DROP CONSTRAINT ssn_is_sealed")
    db.sql("INSERT INTO customers (id, ssn) VALUES (7, %s)", (SECRET,))
    db.sql("ALTER TABLE customers ENABLE TRIGGER USER")
    mend(db, "customers", "ssn", "error", "23514")
    opened = "SELECT bool_and(envelope_decrypt_text('customers', ssn, envelope.row_context('customers', 'ssn', id::text)) = %s)"
    assert db.value(f"{opened} FROM customers", (SECRET,))


def test_a_policy_without_a_trigger(db):
    """An error whatever else there is: intent was said."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, ssn bytea CONSTRAINT ssn_is_sealed CHECK (envelope.is_sealed(ssn)))")
    db.sql("SELECT envelope.set_policy('customers', 'ssn', form => 'bytea')")
    assert kinds(db, "customers") == {("ssn", "error", "42704")}
    mend(db, "customers", "ssn", "error", "42704")
    assert findings(db, "customers") == []
    db.sql("INSERT INTO customers VALUES (1, 'x')")
    assert findings(db) == []


def test_a_policy_of_a_source_without_a_trigger(db):
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, ssn text, ssn_sealed bytea)")
    db.sql("SELECT envelope.set_policy('customers', 'ssn_sealed', form => 'source', source => 'ssn')")
    mend(db, "customers", "ssn_sealed", "error", "42704")
    db.sql(f"INSERT INTO customers (id, ssn) VALUES (1, '{SECRET}')")
    assert db.value("SELECT bool_and(ssn IS NULL AND envelope.is_sealed(ssn_sealed)) FROM customers")
    mend(db, "customers", "ssn", "warning", "23514")
    mend(db, "customers", "ssn_sealed", "warning", "23514")


def test_a_policy_of_a_column_that_is_not_sealed_yet(db):
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, born date)")
    db.sql("SELECT envelope.set_policy('customers', 'born', value_type => 'date')")
    assert kinds(db, "customers") == {("born", "error", "42804")}
    mend(db, "customers", "born", "error", "42804")
    assert findings(db, "customers") == []


@pytest.fixture
def unwatched(db):
    """The database without the event trigger that refuses triggers that would not seal: a superuser may switch it off."""
    db.sql("ALTER EVENT TRIGGER envelope_watch_policies DISABLE")
    return db


@pytest.mark.parametrize("change, column", [
    ("column_name = 'gone' WHERE column_name = 'card'", "gone"),
    ("source = 'gone' WHERE source = 'born'", "born_sealed"),
    ("bound_columns = '{gone}' WHERE bound_columns = '{id}'", "ssn"),
])
def test_policies_of_columns_that_are_gone(db, change, column):
    """Policies follow renames. A restore into another table may bring one that fits nothing."""
    protected(db)
    db.sql(f"UPDATE envelope.sealed_column SET {change}")
    assert (column, "error", "42703") in kinds(db, "customers")


def test_a_policy_of_a_column_that_is_gone_is_dropped(db):
    protected(db)
    db.sql("UPDATE envelope.sealed_column SET column_name = 'gone' WHERE column_name = 'card'")
    mend(db, "customers", "gone", "error", "42703")
    mend(db, "customers", "gone", "warning", "42703")
    assert findings(db, "customers") == []


def test_a_registered_column_that_is_gone(db):
    make(db)
    db.sql("ALTER TABLE people ADD old bytea; SELECT envelope.register_column('people', 'old')")
    db.sql("ALTER TABLE people DROP COLUMN old")
    mend(db, "people", "old", "warning", "42703")
    assert findings(db, "people") == []


def test_a_trigger_that_takes_plaintext_from_elsewhere(unwatched):
    db = unwatched
    protected(db)
    db.sql("CREATE OR REPLACE TRIGGER seal_born BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('born_sealed')")
    mend(db, "customers", "born_sealed", "error", "39P01")
    assert findings(db, "customers") == []


def test_a_key_that_changes_what_is_bound(db):
    db.sql("CREATE TABLE accounts (id int PRIMARY KEY)")
    protected(db)
    db.sql("INSERT INTO accounts VALUES (1), (2)")
    db.sql("ALTER TABLE customers ADD FOREIGN KEY (id) REFERENCES accounts ON UPDATE CASCADE ON DELETE CASCADE")
    assert kinds(db, "customers") == {("ssn", "notice", "42501")}
    mend(db, "customers", "ssn", "notice", "42501")
    assert findings(db, "customers") == []


@pytest.mark.parametrize("change, kind", [
    ("ALTER TABLE customers ALTER born SET DEFAULT '2000-01-01'", ("born", "error", "42P17")),
    ("ALTER TABLE customers ALTER born SET NOT NULL", ("born", "warning", "23502")),
    ("ALTER TABLE customers ADD UNIQUE (born)", ("born", "warning", "42P17")),
    ("ALTER TABLE customers ADD CHECK (born < '2100-01-01')", ("born", "warning", "42P17")),
    ("ALTER TABLE customers ADD y int GENERATED ALWAYS AS (born - '2000-01-01') STORED", ("y", "warning", "42883")),
    ("ALTER TABLE customers DROP CONSTRAINT born_must_be_empty", ("born", "warning", "23514")),
])
def test_what_stands_on_a_source(db, change, kind):
    protected(db)
    db.sql("DELETE FROM customers")
    db.sql(change)
    assert kinds(db, "customers") == {kind}
    mend(db, "customers", *kind)


def test_a_source_that_still_holds_values(db):
    protected(db)
    db.sql("ALTER TABLE customers DROP CONSTRAINT born_must_be_empty, DISABLE TRIGGER seal_born")
    db.sql("INSERT INTO customers (id, born) SELECT g, '2001-01-01' FROM generate_series(10, 20) g; ANALYZE customers")
    db.sql("ALTER TABLE customers ENABLE TRIGGER seal_born")
    assert kinds(db, "customers") == {("born", "error", "23514"), ("born", "warning", "23514"), ("born", "warning", "55000")}
    mend(db, "customers", "born", "error", "23514")
    mend(db, "customers", "born", "warning", "55000")
    assert kinds(db, "customers") == {("born", "warning", "23514")}


def test_a_mirror_keeps_its_source(db):
    """For a rolling deploy: no alarm, but a word."""
    db.sql("CREATE TABLE customers (id int PRIMARY KEY, ssn text NOT NULL UNIQUE, ssn_sealed bytea "
           "CONSTRAINT ssn_is_sealed CHECK (envelope.is_sealed(ssn_sealed)))")
    db.sql("SELECT envelope.set_policy('customers', 'ssn_sealed', form => 'source', source => 'ssn')")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON customers FOR EACH ROW "
           "EXECUTE FUNCTION envelope_mirror('ssn_sealed=ssn')")
    db.sql("INSERT INTO customers (id, ssn) VALUES (1, 'x')")
    assert kinds(db, "customers") == {("ssn", "notice", "55000")}


# Relatives: partitions, heirs, copies.


@pytest.mark.parametrize("sql, severity", [
    ("CREATE INDEX opens ON people (opened(ssn))", "error"),
    ("CREATE INDEX opens ON people (id) WHERE opened(ssn) <> ''", "notice"),
    ("CREATE STATISTICS opens ON (opened(ssn)) FROM people", "error"),
    ("CREATE MATERIALIZED VIEW opens AS SELECT opened(ssn) FROM people", "error"),
])
def test_what_stores_opened_values(db, sql, severity):
    make(db)
    db.sql("CREATE FUNCTION opened(ssn bytea) RETURNS text IMMUTABLE LANGUAGE sql AS "
           "$$SELECT public.envelope_decrypt_text('public.people', ssn)$$")
    db.sql(sql)
    assert (None, severity, "55000") in kinds(db)
    remedy, = [row[4] for row in findings(db) if row[2] == "55000"]
    db.sql(remedy)
    assert findings(db) == []


def test_a_partition_whose_trigger_is_off(db):
    db.sql("CREATE TABLE log (y int, ssn bytea CONSTRAINT c CHECK (envelope.is_sealed(ssn))) PARTITION BY RANGE (y)")
    db.sql(SEAL.format(t="log"))
    db.sql("CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM (2025) TO (2026)")
    assert findings(db, "log") == [] and findings(db) == [] and findings(db, "log_2025") == []
    db.sql("ALTER TABLE log_2025 DISABLE TRIGGER seal")
    assert kinds(db, "log") == {("ssn", "error", "55000")} == kinds(db, "log_2025")
    mend(db, "log", "ssn", "error", "55000")
    # What is wrong with all is told once.
    db.sql("ALTER TABLE log DISABLE TRIGGER seal")
    assert len(findings(db)) == 1


def test_an_heir_without_a_trigger(db):
    loose(db)
    db.sql("CREATE TABLE people_eu () INHERITS (people)")
    assert ("ssn", "error", "42704") in kinds(db, "people")
    mend(db, "people_eu", "ssn", "error", "42704")
    db.sql(f"INSERT INTO people_eu (id, ssn) VALUES (9, '{SECRET}')")
    assert db.value("SELECT bool_and(envelope.is_sealed(ssn)) FROM people_eu")


def test_a_copy_that_was_lent_the_keyring(db):
    """Field fault: LIKE brings no trigger, and what is written to the copy is stored in clear."""
    loose(db)
    db.sql("CREATE TABLE people_copy (LIKE people INCLUDING ALL)")
    assert findings(db, "people_copy") == []
    db.sql("SELECT envelope.share_keyring('people', 'people_copy')")
    db.sql("INSERT INTO people_copy TABLE people")
    assert ("ssn", "error", "42704") in kinds(db, "people_copy")
    mend(db, "people_copy", "ssn", "error", "42704")
    assert kinds(db, "people_copy") == {("ssn", "warning", "23514")}


def test_a_partition_that_was_detached(db):
    """Field fault: DETACH takes the trigger away."""
    db.sql("CREATE TABLE log (y int, ssn bytea) PARTITION BY RANGE (y)")
    db.sql(SEAL.format(t="log"))
    db.sql("CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM (2025) TO (2026)")
    db.sql("INSERT INTO log VALUES (2025, 'x')")
    db.sql("SELECT envelope.share_keyring('log', 'log_2025')")
    db.sql("ALTER TABLE log DETACH PARTITION log_2025")
    assert ("ssn", "error", "42704") in kinds(db, "log_2025")
    mend(db, "log_2025", "ssn", "error", "42704")


# Rights.


def test_who_may_write_and_read_and_has_no_right_on_the_keys(db):
    make(db)
    db.sql(f"GRANT SELECT, INSERT ON people TO {db.low}")
    assert kinds(db, "people") == {("ssn", "notice", "42501")}
    assert len(findings(db, "people")) == 2
    for *_, remedy in findings(db, "people"):
        db.sql(remedy)
    assert findings(db, "people") == []
    db.sql("GRANT SELECT ON people TO PUBLIC")
    assert kinds(db, "people") == {("ssn", "notice", "42501")}


def test_who_may_manage_keys_may_open(db):
    make(db)
    db.sql(f"GRANT SELECT ON people TO {db.low}; SELECT envelope.grant_key('people', '{db.low}', 'manage')")
    assert findings(db, "people") == []
    db.sql(f"GRANT INSERT (ssn) ON people TO {db.low}")
    assert kinds(db, "people") == {("ssn", "notice", "42501")}


def test_who_only_searches_need_not_open(db):
    make(db)
    db.sql(f"GRANT SELECT ON people TO {db.low}; SELECT envelope.grant_key('people', '{db.low}', 'search')")
    assert findings(db, "people") == []
    # A view that opens values is another matter.
    db.sql("CREATE VIEW shown AS SELECT id, envelope_decrypt_text('people', ssn) AS ssn FROM people")
    db.sql(f"GRANT SELECT ON shown TO {db.low}")
    assert kinds(db, "people") == {("ssn", "notice", "42501")}


def test_a_view_whose_readers_cannot_open(db):
    make(db)
    db.sql("CREATE VIEW shown AS SELECT id, envelope_decrypt_text('people', ssn) AS ssn FROM people")
    db.sql(f"GRANT SELECT ON shown TO {db.low}")
    assert kinds(db, "people") == {("ssn", "notice", "42501")}
    mend(db, "people", "ssn", "notice", "42501")
    assert findings(db, "people") == []


def test_a_publication_that_leaves_the_column_out(db):
    """Column lists are new in PostgreSQL 15."""
    make(db)
    with db.connect() as c:
        if c.info.server_version < 150000:
            return
        c.execute("CREATE PUBLICATION p FOR TABLE people (id, ssn)")
        assert findings(db, "people") == []
        c.execute("ALTER PUBLICATION p SET TABLE people (id, name)")
    assert kinds(db, "people") == {("ssn", "notice", "42P17")}


# Who sees what.


def test_roles_see_their_own(db):
    loose(db)
    db.sql(f"CREATE TABLE own (ssn bytea); ALTER TABLE own OWNER TO {db.low}")
    db.sql(SEAL.format(t="own"))
    of = "SELECT DISTINCT relation FROM envelope.lint() ORDER BY 1"
    assert db.sql(of) == [("public.own",), ("public.people",)]
    assert db.sql(of, user=db.low) == [("public.own",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        findings(db, "people", db.low)
    db.sql(f"GRANT pg_monitor TO {db.low}")
    assert db.sql(of, user=db.low) == [("public.own",), ("public.people",)]
    assert kinds(db, "people", db.low) == {("ssn", "warning", "23514")}


def test_what_is_no_table(db):
    make(db)
    db.sql("CREATE VIEW v AS SELECT * FROM people")
    with pytest.raises(psycopg.errors.WrongObjectType):
        findings(db, "v")
    with pytest.raises(psycopg.errors.UndefinedTable):
        db.sql("SELECT * FROM envelope.lint(1::oid)")


def test_names_that_need_quotes(db):
    db.sql('CREATE SCHEMA "S x"')
    db.sql('CREATE TABLE "S x"."T ""ä" ("C \'ß" bytea)')
    db.sql("""CREATE TRIGGER "T r" BEFORE INSERT ON "S x"."T ""ä" FOR EACH ROW EXECUTE FUNCTION envelope_seal('C ''ß')""")
    db.sql('CREATE INDEX "I x" ON "S x"."T ""ä" ("C \'ß")')
    for _ in range(4):
        for *_, remedy in findings(db)[:1]:
            db.sql(remedy)
    assert findings(db) == []
