"""Dump and restore into another cluster: every key arrives, in whatever order."""

import pytest

OPEN = {
    "first": "SELECT envelope_decrypt_text('first', ssn) FROM first ORDER BY id",
    "renamed": "SELECT envelope_decrypt_text('renamed', ssn) FROM renamed ORDER BY id",
    "elsewhere.third": "SELECT envelope_decrypt_text('elsewhere.third', ssn) FROM elsewhere.third ORDER BY id",
}


@pytest.fixture
def source(db):
    """Three sealed tables, one renamed, one in another schema; a fourth was dropped."""
    db.sql("CREATE SCHEMA elsewhere")
    for name in ("first", "second", "elsewhere.third", "dropped"):
        db.people(name, rows=[f"{name} 1", f"{name} 2"])
    db.sql("ALTER TABLE second RENAME TO renamed")
    db.sql("DROP TABLE dropped")
    return db


def key_rows(run):
    return run("SELECT w.key_id, w.kek, w.wrapped, k.state, k.version FROM envelope.wrapped_key w "
               "JOIN envelope.data_key k USING (key_id) ORDER BY 1, 2")


def restore(source, target, *dump_args):
    """Dumps the source's database and restores it over `copy` in the target cluster, by four workers."""
    archive = source.cluster.base / f"{source.name}.dump"
    source.cluster.client("pg_dump", "-Fc", *dump_args, "-f", archive, dbname=source.name)
    target.client("pg_restore", "--exit-on-error", "-j4", "-d", "copy", archive)


@pytest.fixture
def target(cluster, own_cluster):
    """A new cluster with an empty database. A key file's URI is its path, and both run on one machine: the file is
    where the dump's wraps name it."""
    c = own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start()
    c.sql("CREATE DATABASE copy")
    return c


@pytest.mark.parametrize("left_out", [None, "renamed"])
def test_dump_and_parallel_restore(source, target, left_out):
    restore(source, target, *(["-T", left_out] if left_out else []))
    assert key_rows(lambda q: target.sql(q, dbname="copy")) == key_rows(source.sql)
    for table, query in OPEN.items():
        if table != left_out:
            assert target.sql(query, dbname="copy") == source.sql(query), table
    # And it seals on, with the keys that came.
    target.sql("INSERT INTO first VALUES (9, 'new')", dbname="copy")
    assert target.sql("SELECT count(*) FROM envelope.data_key", dbname="copy") == source.sql(
        "SELECT count(*) FROM envelope.data_key")


def test_plain_dump(source, target):
    text = source.cluster.client("pg_dump", dbname=source.name)
    assert "first 1" not in text
    path = target.base / "plain.sql"
    path.write_text(text)
    target.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", path, dbname="copy")
    assert key_rows(lambda q: target.sql(q, dbname="copy")) == key_rows(source.sql)


def test_extension_in_the_target_already(source, target):
    """CREATE EXTENSION first, then the dump: its tables of keys load all the same."""
    target.sql('CREATE EXTENSION "pgrx-example"', dbname="copy")
    restore(source, target)
    assert key_rows(lambda q: target.sql(q, dbname="copy")) == key_rows(source.sql)
    assert target.sql(OPEN["first"], dbname="copy") == source.sql(OPEN["first"])


def test_database_owner_may_dump(source):
    source.sql(f"ALTER DATABASE {source.name} OWNER TO {source.low}")
    for table in ("first", "renamed", "elsewhere.third"):
        source.sql(f"ALTER TABLE {table} OWNER TO {source.low}")
    source.sql(f"ALTER SCHEMA elsewhere OWNER TO {source.low}")
    source.cluster.client("pg_dump", "-Fc", "-f", source.cluster.base / "by_owner.dump", dbname=source.name,
                          user=source.low)
