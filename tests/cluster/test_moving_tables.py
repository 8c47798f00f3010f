"""docs/moving-tables.md: its commands are run as they stand there, and what it says comes true."""

import subprocess

import pytest
from harness import place
from harness.document import blocks
from sqlstate import fails

DOCUMENT = "moving-tables.md"


def run(db, heading, user="postgres"):
    with db.connect(user) as c:
        for block in blocks(DOCUMENT, heading, "sql"):
            c.execute(block)


def opened(db, table, user="postgres"):
    return [row[0] for row in db.sql(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table} ORDER BY id",
                                     user=user)]


def insert(db, table, i, text):
    db.sql(f"INSERT INTO {table} VALUES (%s, envelope_encrypt_text(%s::text::regclass, %s))", (i, table, text))


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
    db.sql("DROP TABLE customers")
    assert opened(db, "customers_copy") == ["one", "two"]


@pytest.fixture
def log(db):
    """A partitioned table, and tables with keys of their own to be attached."""
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE log_2025 PARTITION OF log FOR VALUES FROM (2025) TO (2026)")
    insert(db, "log", 2025, "root's")
    for table, year in (("log_2026", 2026), ("log_2025_new", 2025)):
        db.sql(f"CREATE TABLE {table} (id int, ssn bytea)")
        insert(db, table, year, f"{table}'s")
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


def test_attached(log):
    with fails("22023"):
        log.sql("SELECT envelope_decrypt('log', ssn) FROM log_2026")
    run(log, "Attached as a partition")
    insert(log, "log_2026", 2026, "later")
    assert opened(log, "log") == ["root's", "log_2026's", "later"]
    # The later one is sealed with the root's.
    assert keys_in(log, "log") == 2


def test_detached(log):
    run(log, "Detached")
    insert(log, "log_2025", 2025, "by itself")
    assert sorted(opened(log, "log_2025")) == ["by itself", "root's"]
    log.sql("DROP TABLE log")
    assert sorted(opened(log, "log_2025")) == ["by itself", "root's"]


def test_exchanged(log):
    run(log, "Exchanged")
    assert opened(log, "log") == ["log_2025_new's"]
    assert opened(log, "log_2025") == ["root's"]


def test_inherited(db):
    db.sql("CREATE TABLE customers (id int, ssn bytea)")
    db.sql("CREATE TABLE customers_eu () INHERITS (customers)")
    insert(db, "customers", 1, "world")
    insert(db, "customers_eu", 2, "europe")
    with fails("22023"):
        opened(db, "customers")
    assert db.sql("SELECT envelope_decrypt_text(tableoid, ssn) FROM customers ORDER BY id") == [("world",), ("europe",)]
    run(db, "Inheritance")
    assert opened(db, "customers") == ["world", "europe"]


def test_swapped_names(db):
    db.people("customers", rows=["old"])
    db.people("customers_new", rows=["new"])
    run(db, "Swapped names")
    assert opened(db, "customers") == ["new"] and opened(db, "customers_old") == ["old"]
    db.sql("INSERT INTO customers VALUES (2, 'more')")
    assert keys_in(db, "customers") == 1


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
    assert to.sql("SELECT relation, ok FROM envelope.check() WHERE key_id IS NULL OR NOT ok") == []
