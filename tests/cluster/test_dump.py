"""Dump and restore into another cluster: every key arrives, in whatever order."""

import pytest
from sqlstate import fails

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


NEEDS_KEYS = "SELECT ok FROM envelope.check() WHERE message ~ 'needs data keys'"


@pytest.fixture
def paying(db):
    """A table that sorts before the schema of keys in a dump, with what needs those while rows are loaded."""
    db.sql("CREATE SCHEMA app")
    db.people("app.pay", rows=["5", "7"])
    db.sql("CREATE FUNCTION app.opened(v bytea) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS "
           "$$ BEGIN RETURN public.envelope_decrypt_text('app.pay', v)::numeric; END $$")
    return db


def counts(target):
    return target.sql("SELECT count(*), count(envelope_decrypt('app.pay', ssn)) FROM app.pay", dbname="copy")


def test_a_check_that_opens_values(paying, target):
    """Valid, it makes a restore lose the rows: check() says so. NOT VALID, they all come, and it checks new ones."""
    assert paying.sql(NEEDS_KEYS) == []
    add = "ALTER TABLE app.pay ADD CONSTRAINT c CHECK (envelope_decrypt_text('app.pay', ssn)::numeric > 0)"
    paying.sql(add)
    assert paying.sql(NEEDS_KEYS) == [(False,)]
    archive = paying.cluster.base / f"{paying.name}.dump"
    paying.cluster.client("pg_dump", "-Fc", "-f", archive, dbname=paying.name)
    # It goes on, as it does by default, and gives its error at the end.
    with pytest.raises(RuntimeError, match="data key .* is not in this database"):
        target.client("pg_restore", "-d", "copy", archive)
    assert target.sql("SELECT count(*) FROM app.pay", dbname="copy") == [(0,)]
    paying.sql(f"ALTER TABLE app.pay DROP CONSTRAINT c; {add} NOT VALID")
    assert paying.sql(NEEDS_KEYS) == []
    target.sql("DROP DATABASE copy")
    target.sql("CREATE DATABASE copy")
    restore(paying, target)
    assert counts(target) == [(2, 2)]
    with fails("23514"):
        target.sql("INSERT INTO app.pay VALUES (3, '-1')", dbname="copy")


def test_keys_before_rows(paying, target):
    """docs/backup.md: what cannot be NOT VALID is loaded after the keys, by as many jobs as one likes."""
    paying.sql("ALTER TABLE app.pay ADD cents numeric GENERATED ALWAYS AS (app.opened(ssn) * 100) STORED")
    paying.sql("ALTER TABLE app.pay ADD CHECK (envelope_decrypt_text('app.pay', ssn)::numeric > 0)")
    paying.sql("CREATE INDEX ON app.pay (app.opened(ssn))")
    archive = paying.cluster.base / f"{paying.name}.dump"
    paying.cluster.client("pg_dump", "-Fc", "-f", archive, dbname=paying.name)
    for part in (["--section=pre-data"], ["--data-only", "-n", "envelope"], ["--data-only", "-j4", "-N", "envelope"],
                 ["--section=post-data", "-j4"]):
        target.client("pg_restore", "--exit-on-error", *part, "-d", "copy", archive)
    assert counts(target) == [(2, 2)]
    assert target.sql("SELECT array_agg(cents ORDER BY cents) FROM app.pay", dbname="copy") == [([500, 700],)]
    assert target.sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'app'", dbname="copy") == [(2,)]
    assert key_rows(lambda q: target.sql(q, dbname="copy")) == key_rows(paying.sql)
    assert target.sql("SELECT * FROM envelope.check() WHERE NOT ok AND message !~ 'needs data keys'", dbname="copy") == []
