"""docs/moving-tables.md: its commands are run as they stand there, and what it says comes true."""

import subprocess

import pytest
from harness import place
from harness.document import blocks
from sqlstate import fails

DOCUMENT = "moving-tables.md"
TITLE = "Tables that are copied, attached, exchanged, moved"


def run(db, heading, user="postgres"):
    with db.connect(user) as c:
        for block in blocks(DOCUMENT, heading, "sql"):
            c.execute(block)


def opened(db, table, user="postgres"):
    return [row[0] for row in db.sql(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table} ORDER BY id",
                                     user=user)]


def insert(db, table, i, text):
    db.sql(f"INSERT INTO {table} VALUES (%s, envelope_encrypt_text(%s::text::regclass, %s))", (i, table, text))


def writes_are_sealed(db, table, i, user="postgres", through=None):
    """One more INSERT and UPDATE of plain bytes, as a client sends them, perhaps through the name of a table above."""
    name = through or table
    opens = f"SELECT envelope.is_sealed(ssn), envelope_decrypt(%s::text::regclass, ssn) FROM {table} WHERE id = %s"
    statements = (f"INSERT INTO {name} (ssn, id) VALUES (%s, %s)", f"UPDATE {name} SET ssn = %s WHERE id = %s")
    for statement, value in zip(statements, (b"in clear", b"changed in clear"), strict=True):
        db.sql(statement, (value, i), user=user)
        assert (True, value) in db.sql(opens, (table, i), user=user), f"{statement}: {table}"
    assert db.sql("SELECT * FROM envelope.lint(%s::text::regclass) WHERE severity = 'error'", (table,), user=user) == []


def sealing(db, table, name="seal"):
    db.sql(f"CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW "
           "EXECUTE FUNCTION envelope_seal('ssn')")


def keys_in(db, table):
    return db.value(f"SELECT count(DISTINCT key_id) FROM {table}, envelope.inspect(ssn)")


def test_copied_dropped_renamed(db):
    """By the owner, who is no superuser."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.people("customers", rows=["one", "two"])
    db.sql(f"ALTER TABLE customers OWNER TO {db.low}")
    run(db, "Copied, dropped, renamed", user=db.low)
    db.sql("INSERT INTO customers VALUES (3, envelope_encrypt('customers', 'three'))", user=db.low)
    assert opened(db, "customers", user=db.low) == ["one", "two", "three"]
    writes_are_sealed(db, "customers", 4, user=db.low)
    assert keys_in(db, "customers") == 1
    assert db.sql("SELECT relation, orphaned FROM envelope.keys") == [("public.customers", False)]


def test_a_copy_beside_its_source(db):
    db.people("customers", rows=["one"])
    run(db, "A copy beside its source")
    insert(db, "customers_copy", 2, "two")
    assert opened(db, "customers_copy") == ["one", "two"]
    assert keys_in(db, "customers_copy") == 2
    with fails("22023"):
        db.sql("SELECT envelope_decrypt('customers', ssn) FROM customers_copy WHERE id = 2")
    writes_are_sealed(db, "customers_copy", 3)
    db.sql("DELETE FROM customers_copy WHERE id = 3")
    db.sql("DROP TABLE customers")
    assert opened(db, "customers_copy") == ["one", "two"]
    writes_are_sealed(db, "customers_copy", 3)


def test_the_check_goes_along(db):
    """As the document says of each: without the trigger nothing gets in unsealed."""
    db.people("customers", rows=["one"])
    run(db, TITLE)
    run(db, "A copy beside its source")
    db.sql("CREATE TABLE customers_eu () INHERITS (customers)")
    for table in ("customers", "customers_copy", "customers_eu"):
        db.sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        with fails("23514"):
            db.sql(f"INSERT INTO {table} VALUES (2, 'in clear')")


@pytest.fixture(params=["checked", "unchecked"])
def log(db, request):
    """A partitioned table, and tables with keys of their own to be attached. All have a trigger of one name, and a
    CHECK or none."""
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM (2025) TO (2026)")
    insert(db, "log", 2025, "root's")
    for table, year in (("log_2026", 2026), ("log_2025_new", 2025)):
        db.sql(f"CREATE TABLE {table} (id int, ssn bytea)")
        insert(db, table, year, f"{table}'s")
    for table in ("log", "log_2026", "log_2025_new"):
        sealing(db, table)
        if request.param == "checked":
            [check] = blocks(DOCUMENT, TITLE, "sql")
            db.sql(check.replace("customers", table))
    return db


def test_taken_back(db):
    db.people("customers", rows=["one"])
    run(db, "A copy beside its source")
    with fails("55006"):
        db.sql("SELECT envelope.unshare_keyring('customers', 'customers_copy')")
    with db.connect() as other:
        other.execute("SELECT envelope_decrypt('customers_copy', ssn) FROM customers")
        # One by one: a procedure that commits stands alone.
        for block in blocks(DOCUMENT, "Taken back", "sql"):
            for statement in filter(str.strip, block.split(";\n")):
                db.sql(statement)
        with fails("22023"):
            other.execute("SELECT envelope_decrypt('customers_copy', ssn) FROM customers")
    assert opened(db, "customers_copy") == opened(db, "customers") == ["one"]
    writes_are_sealed(db, "customers_copy", 2)


def test_attached(log):
    with fails("22023"):
        log.sql("SELECT envelope_decrypt('log', ssn) FROM log_2026")
    run(log, "Attached as a partition")
    insert(log, "log_2026", 2026, "later")
    assert opened(log, "log") == ["root's", "log_2026's", "later"]
    # The later one is sealed with the root's.
    assert keys_in(log, "log") == 2
    writes_are_sealed(log, "log_2026", 2026)
    writes_are_sealed(log, "log_2026", 2026, through="log")


def test_attached_to_a_table_without_a_trigger(db):
    """Then the partition keeps its own, as the document says."""
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE log_2026 (id int, ssn bytea)")
    sealing(db, "log_2026")
    insert(db, "log_2026", 2026, "x")
    [recipe] = blocks(DOCUMENT, "Attached as a partition", "sql")
    dropped = "DROP TRIGGER IF EXISTS seal ON log_2026;\n"
    assert dropped in recipe
    with db.connect() as c:
        c.execute(recipe.replace(dropped, ""))
    writes_are_sealed(db, "log_2026", 2026, through="log")


def test_detached(log):
    [recipe, _] = blocks(DOCUMENT, "Detached", "sql")
    with log.connect() as c:
        c.execute(recipe)
    insert(log, "log_2025", 2025, "by itself")
    assert sorted(opened(log, "log_2025")) == ["by itself", "root's"]
    writes_are_sealed(log, "log_2025", 2025)
    log.sql("DROP TABLE log")
    writes_are_sealed(log, "log_2025", 2025)


def test_detached_concurrently(log):
    log.sql("SELECT envelope.share_keyring('log', 'log_2025')")
    [_, trigger] = blocks(DOCUMENT, "Detached", "sql")
    log.sql(trigger)
    writes_are_sealed(log, "log_2025", 2025, through="log")
    log.sql("ALTER TABLE log DETACH PARTITION log_2025 CONCURRENTLY")
    writes_are_sealed(log, "log_2025", 2025)


def test_exchanged(log):
    run(log, "Exchanged")
    assert opened(log, "log") == ["log_2025_new's"]
    assert opened(log, "log_2025") == ["root's"]
    writes_are_sealed(log, "log_2025", 2025)
    writes_are_sealed(log, "log_2025_new", 2025)
    writes_are_sealed(log, "log_2025_new", 2025, through="log")


def test_inherited(db):
    db.sql("CREATE TABLE customers (id int, ssn bytea)")
    sealing(db, "customers")
    [heir, share] = blocks(DOCUMENT, "Inheritance", "sql")
    with db.connect() as c:
        c.execute(heir)
    insert(db, "customers", 1, "world")
    db.sql("INSERT INTO customers_eu VALUES (2, 'europe')")
    with fails("22023"):
        opened(db, "customers")
    assert db.sql("SELECT envelope_decrypt_text(tableoid, ssn) FROM customers ORDER BY id") == [("world",), ("europe",)]
    with db.connect() as c:
        c.execute(share)
    assert opened(db, "customers") == ["world", "europe"]
    writes_are_sealed(db, "customers_eu", 3)
    db.sql("UPDATE customers SET ssn = 'by the parent' WHERE id = 3")
    assert opened(db, "customers")[2] == "by the parent"
    assert db.value("SELECT bool_and(envelope.is_sealed(ssn)) FROM customers")


def test_swapped_names(db):
    db.people("customers", rows=["old"])
    db.people("customers_new", rows=["new"])
    run(db, "Swapped names")
    assert opened(db, "customers") == ["new"] and opened(db, "customers_old") == ["old"]
    db.sql("INSERT INTO customers VALUES (2, 'more')")
    assert keys_in(db, "customers") == 1
    writes_are_sealed(db, "customers", 3)
    writes_are_sealed(db, "customers_old", 3)


def test_history(db):
    db.people("customers", rows=["one", "two"])
    [history, reseal] = blocks(DOCUMENT, "History tables", "sql")
    with db.connect() as c:
        c.execute(history)
    db.sql("UPDATE customers SET ssn = 'changed' WHERE id = 1")
    db.sql("DELETE FROM customers WHERE id = 2")
    past = "SELECT envelope_decrypt_text('customers', ssn) FROM customers_history ORDER BY id"
    assert db.sql(past) == [("one",), ("two",)]
    with fails("23514"):
        db.sql("INSERT INTO customers_history VALUES (3, 'in clear')")
    db.sql("SELECT envelope.rotate_key('customers')")
    db.sql("CALL envelope.reencrypt('customers', 'ssn', quiet => true)")
    # It is registered, so that its values hold the key.
    destroy = "SELECT envelope.destroy_key(key_id, 'x') FROM envelope.keys WHERE relation = 'public.customers' AND version = 1"
    with fails("55006"):
        db.sql(destroy)
    db.sql(reseal)
    assert db.sql(past) == [("one",), ("two",)]
    assert db.value("SELECT array_agg(DISTINCT version) FROM customers_history, envelope.inspect(ssn)") == [2]
    db.sql(destroy)


def test_to_another_cluster(db, cluster, own_cluster, database, tmp_path):
    db.people("customers", rows=["one"])
    db.people("archive", rows=["kept"])
    db.sql("SELECT envelope.share_keyring('archive', 'customers')")
    db.sql("INSERT INTO customers SELECT id + 1, ssn FROM archive")
    to = database(own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start())
    connection = {name: f"host={d.cluster.base} port={d.cluster.port} user=postgres dbname={d.name}"
                  for name, d in (("FROM", db), ("TO", to))}
    [script] = blocks(DOCUMENT, "To another cluster", "sh")
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, capture_output=True, text=True,
                          env={"PATH": f"{place.PG_BIN}:/usr/bin:/bin", "LANG": "C.UTF-8", **connection})
    assert done.returncode == 0 and "ERROR" not in done.stderr, done.stderr
    assert opened(to, "customers") == ["one", "kept"]
    to.sql("INSERT INTO customers VALUES (3, 'three')")
    assert opened(to, "customers") == ["one", "kept", "three"]
    assert keys_in(to, "customers") == 2
    writes_are_sealed(to, "customers", 4)
    assert to.sql("SELECT relation, ok FROM envelope.check() WHERE key_id IS NULL OR NOT ok") == []
