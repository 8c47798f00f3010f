"""What is on disk, and what a crash leaves."""

import pytest
from harness.disk import files_holding
from sqlstate import fails

NEEDLE = "a-plaintext-that-occurs-nowhere-else"


def test_plaintext_is_not_on_disk(db, cluster):
    # Other tests of this cluster have written theirs in clear.
    needle = f"{NEEDLE} in {db.name}."
    db.people()
    db.sql("CREATE TABLE control (v text)")
    with db.connect() as c, c.cursor().copy("COPY people FROM STDIN") as copy:
        for i in range(1000):
            copy.write_row((i, f"{needle}-{i}"))
    db.sql("UPDATE people SET ssn = %s WHERE id = 1", (f"{needle} by update".encode(),))
    cluster.sql("CHECKPOINT")
    assert files_holding(cluster.data, needle.encode()) == []
    # The search finds what is there: heap and WAL. In many places: the header of a WAL page may come between.
    db.sql("INSERT INTO control SELECT %s FROM generate_series(1, 100)", (needle,))
    cluster.sql("CHECKPOINT")
    found = files_holding(cluster.data, needle.encode())
    assert any("pg_wal" in str(p) for p in found) and any("/base/" in str(p) for p in found)


STATISTICS = "VACUUM FULL pg_catalog.pg_statistic"


@pytest.mark.parametrize("column, steps", [
    ("bytea", ["UPDATE people SET ssn = ssn", "VACUUM FULL people", "ANALYZE people", STATISTICS]),
    ("text", ["DROP TRIGGER seal ON people",
              "ALTER TABLE people ALTER ssn TYPE bytea USING envelope_encrypt_text('people', ssn)", STATISTICS]),
])
def test_sealed_in_place(db, cluster, column, steps):
    """SECURITY.md: what takes plaintext that was there out of the table's file and the statistics."""
    def files():
        # Twice: a file that was replaced is unlinked by the checkpoint after the next.
        cluster.sql("CHECKPOINT; CHECKPOINT")
        database = db.value("SELECT oid FROM pg_database WHERE datname = current_database()")
        return files_holding(cluster.data / "base" / str(database), needle)

    needle = f"{NEEDLE}, in a column of {column}".encode()
    db.sql(f"CREATE TABLE people (id int PRIMARY KEY, ssn {column})")
    db.sql("INSERT INTO people SELECT g, %s FROM generate_series(1, 100) g", (needle if column == "bytea" else needle.decode(),))
    db.sql("ANALYZE people")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    for step in steps:
        assert files(), step
        db.sql(step)
    assert files() == []
    assert db.value("SELECT count(*) FROM people WHERE envelope_decrypt('people', ssn) = %s", (needle,)) == 100


def test_crash_keeps_what_was_committed(own_cluster, database):
    c = own_cluster(conf={"fsync": "on"}).start()
    db = database(c)
    db.people("t1", rows=["one"])
    db.people("t2")
    db.sql("INSERT INTO t2 VALUES (1, 'two')")
    open_transaction = db.connect(autocommit=False)
    open_transaction.execute("CREATE TABLE t3 (v bytea)")
    open_transaction.execute("INSERT INTO t3 VALUES (envelope_encrypt('t3', 'never committed'))")
    c.kill9()
    open_transaction.close()
    c.start()
    assert db.sql("SELECT envelope_decrypt_text('t1', ssn) FROM t1") == [("one",)]
    assert db.sql("SELECT envelope_decrypt_text('t2', ssn) FROM t2") == [("two",)]
    assert db.value("SELECT count(*) FROM envelope.data_key") == 2
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 2


def test_file_kek_is_outside_and_closed(db, cluster):
    db.people(rows=["x"])
    directory = cluster.base / "data.kek"
    keks = [p for p in directory.rglob("*") if p.is_file()]
    assert keks and all(p.stat().st_mode & 0o777 == 0o600 and p.stat().st_size == 32 for p in keks)
    assert directory.stat().st_mode & 0o077 == 0
    material = keks[0].read_bytes()
    cluster.sql("CHECKPOINT")
    assert files_holding(cluster.data, material) == []


def test_a_lost_key_file_is_not_made_anew(own_cluster, database):
    """A second KEK under the first one's name would make the first one's return a loss."""
    c = own_cluster().start()
    db = database(c)
    db.people(rows=["x"])
    kek = c.base / "data.kek" / "default.kek"
    away = kek.rename(kek.with_name("away"))
    db.sql("CREATE TABLE other (v bytea)")
    with fails("55000"):
        db.sql("INSERT INTO other VALUES (envelope_encrypt('other', 'y'))")
    assert not kek.exists()
    away.rename(kek)
    db.sql("INSERT INTO other VALUES (envelope_encrypt('other', 'y'))")
    assert db.value("SELECT envelope_decrypt_text('people', ssn) FROM people") == "x"
