"""Tables and the extension are dropped: keyrings stay."""

import psycopg
import pytest
from harness import process
from harness.keyrings import LINKS, keyring, notices, opened
from sqlstate import fails

def test_recreated_table_is_told_and_adopts(db):
    db.people(rows=["kept in a backup"])
    db.sql("CREATE TABLE backup AS TABLE people")
    left = keyring(db, "people")
    # A backend of its own, which has not loaded the library: the drop is seen all the same.
    db.sql("DROP TABLE people")
    assert db.sql(LINKS, (left,)) == [("-", True, "postgres")]
    db.people()
    with db.connect() as c:
        got = notices(c)
        c.execute("INSERT INTO people VALUES (1, 'new')")
        c.execute("INSERT INTO people VALUES (2, 'newer')")
    assert [severity for severity, *_ in got] == ["WARNING"]
    assert str(left) in got[0][1] and "adopt_keyring" in got[0][2]
    with fails("22023"):
        db.sql("INSERT INTO people SELECT id + 10, ssn FROM backup")
    db.sql("SELECT envelope.adopt_keyring(%s, 'people')", (left,))
    db.sql("INSERT INTO people SELECT id + 10, ssn FROM backup")
    assert opened(db, "people") == ["new", "newer", "kept in a backup"]
    # Nobody is told when nothing was left.
    db.people("another")
    with db.connect() as c:
        got = notices(c)
        c.execute("INSERT INTO another VALUES (1, 'x')")
    assert got == []


def test_drop_by_a_role_without_rights(db):
    """The owner needs no right on the catalog, and the keyring remembers them."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.sql("CREATE TABLE theirs (id int, ssn bytea)", user=db.low)
    db.sql("INSERT INTO theirs VALUES (1, envelope_encrypt('theirs', 'x'))", user=db.low)
    db.sql("CREATE TABLE copied AS TABLE theirs", user=db.low)
    left = keyring(db, "theirs")
    db.sql("DROP TABLE theirs", user=db.low)
    assert db.sql(LINKS, (left,)) == [("-", True, db.low)]
    db.sql("SELECT envelope.adopt_keyring(%s, 'copied')", (left,), user=db.low)
    assert db.sql("SELECT envelope_decrypt_text('copied', ssn) FROM copied", user=db.low) == [("x",)]


WAYS = {
    "DROP TABLE s.t": "CREATE TABLE s.t (id int, ssn bytea)",
    "DROP SCHEMA s CASCADE": "CREATE TABLE s.t (id int, ssn bytea)",
    "DROP OWNED BY {low}": "CREATE TABLE s.t (id int, ssn bytea); ALTER TABLE s.t OWNER TO {low}",
    "DROP TYPE s.of CASCADE": "CREATE TYPE s.of AS (id int, ssn bytea); CREATE TABLE s.t OF s.of",
    "DROP FUNCTION s.f CASCADE": "CREATE FUNCTION s.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; "
                                 "CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (s.f(id))",
    "DROP TABLE s.parent CASCADE": "CREATE TABLE s.parent (id int, ssn bytea); CREATE TABLE s.t () INHERITS (s.parent)",
    # The partition key holds a constant that names the sequence, a configuration, or a column of a type.
    "DROP SEQUENCE s.q CASCADE": "CREATE SEQUENCE s.q; CREATE FUNCTION s.g(regclass, int) RETURNS int LANGUAGE sql "
                                 "IMMUTABLE AS 'SELECT $2'; "
                                 "CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (s.g('s.q'::regclass, id))",
    "DROP TEXT SEARCH CONFIGURATION s.c CASCADE":
        "CREATE TEXT SEARCH CONFIGURATION s.c (COPY = simple); CREATE TABLE s.t (id text, ssn bytea) "
        "PARTITION BY LIST (to_tsvector('s.c'::regconfig, id))",
    "ALTER TYPE s.pair DROP ATTRIBUTE a CASCADE":
        "CREATE TYPE s.pair AS (a int, b int); CREATE FUNCTION s.p(int) RETURNS s.pair LANGUAGE sql IMMUTABLE "
        "AS 'SELECT ($1, $1)::s.pair'; CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (((s.p(id)).a))",
    "ALTER TABLE s.row DROP COLUMN a CASCADE":
        "CREATE TABLE s.row (a int, b int); CREATE FUNCTION s.p(int) RETURNS s.row LANGUAGE sql IMMUTABLE "
        "AS 'SELECT ($1, $1)::s.row'; CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (((s.p(id)).a))",
    "ALTER FOREIGN TABLE s.row DROP COLUMN a CASCADE":
        "CREATE FOREIGN DATA WRAPPER {low}; CREATE SERVER {low} FOREIGN DATA WRAPPER {low}; "
        "CREATE FOREIGN TABLE s.row (a int, b int) SERVER {low}; CREATE FUNCTION s.p(int) RETURNS s.row LANGUAGE sql "
        "IMMUTABLE AS 'SELECT ($1, $1)::s.row'; CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (((s.p(id)).a))",
    "DROP AGGREGATE s.total(int) CASCADE":
        "CREATE AGGREGATE s.total(int) (sfunc = int4pl, stype = int); "
        "CREATE FUNCTION s.g(regprocedure, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $2'; "
        "CREATE TABLE s.t (id int, ssn bytea) PARTITION BY LIST (s.g('s.total(int)'::regprocedure, id))",
    "DO $$ BEGIN EXECUTE 'DROP TABLE s.t'; END $$": "CREATE TABLE s.t (id int, ssn bytea)",
    "SET session_replication_role = replica; DROP TABLE s.t": "CREATE TABLE s.t (id int, ssn bytea)",
}


@pytest.mark.parametrize("drop", WAYS)
def test_every_way_to_drop_is_seen(db, drop):
    """By a backend that has not loaded the library before."""
    db.sql("CREATE SCHEMA s")
    for command in WAYS[drop].format(low=db.low).split("; "):
        db.sql(command)
    db.sql("SELECT envelope_encrypt('s.t', 'x')")
    left = db.value("SELECT keyring_id FROM envelope.keyring_table WHERE relation::text = 's.t'")
    db.sql(drop.format(low=db.low))
    owner = db.low if "OWNED" in drop else "postgres"
    assert db.sql(LINKS, (left,)) == [("-", True, owner)]


@pytest.mark.parametrize("preload", [False, True])
def test_a_table_that_goes_with_a_temporary_type(own_cluster, database, preload):
    """PostgreSQL drops it for itself, when the session ends."""
    c = own_cluster(conf={"shared_preload_libraries": "pgrx-example"} if preload else None).start()
    db = database(c)
    with db.connect() as session:
        session.execute("CREATE TYPE pg_temp.kind AS (ssn bytea); CREATE TABLE typed OF pg_temp.kind")
        session.execute("SELECT envelope_encrypt('typed', 'x')")
        left = keyring(db, "typed")
    process.wait_until(lambda: db.sql(LINKS, (left,)) == [("-", True, "postgres")], "the keyring is let go of")
    assert db.sql("SELECT to_regclass('typed')") == [(None,)]


def test_drop_sees_a_key_made_after_its_snapshot(db):
    """A REPEATABLE READ transaction that began before the key was made must not leave a dangling link."""
    db.people()
    with db.connect(autocommit=False) as c:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        c.execute("SELECT 1")
        db.sql("INSERT INTO people VALUES (1, 'late')")
        left = keyring(db, "people")
        c.execute("DROP TABLE people")
        c.commit()
    assert db.sql(LINKS, (left,)) == [("-", True, "postgres")]


def test_rolled_back_drop_changes_nothing(db):
    db.people(rows=["x"])
    kept = keyring(db, "people")
    with db.connect(autocommit=False) as c:
        c.execute("SAVEPOINT s")
        c.execute("DROP TABLE people")
        c.execute("ROLLBACK TO s")
        c.commit()
        c.execute("DROP TABLE people")
        c.rollback()
    assert db.sql(LINKS, (kept,)) == [("public.people", True, "-")]
    assert opened(db, "people") == ["x"]


@pytest.mark.parametrize("command", ["VACUUM FULL people", "CLUSTER people USING people_pkey", "TRUNCATE people",
                                     "ALTER TABLE people ALTER id TYPE bigint", "REINDEX TABLE CONCURRENTLY people"])
def test_rewriting_a_table_is_no_drop(db, command):
    db.people(rows=["x"])
    kept = keyring(db, "people")
    db.sql(command)
    assert db.sql(LINKS, (kept,)) == [("public.people", True, "-")]


def test_temporary_tables_come_and_go(db):
    db.people(rows=["x"])
    with db.connect() as c:
        c.execute("CREATE TEMP TABLE a AS TABLE people")
        c.execute("BEGIN; CREATE TEMP TABLE b (v bytea) ON COMMIT DROP; COMMIT")
        c.execute("DROP TABLE a")
        c.execute("CREATE TEMP TABLE c (v bytea)")
    assert opened(db, "people") == ["x"]


def test_a_sealed_column_lets_go(db):
    db.people(rows=["x"])
    db.sql("INSERT INTO envelope.sealed_column (id, relation, column_name, tag) "
           "VALUES (gen_random_uuid(), 'people', 'ssn', 'ssn')")
    db.sql("DROP TABLE people")
    assert db.sql("SELECT relation::oid, relation::text FROM envelope.sealed_column") == [(0, "-")]


@pytest.mark.alone
def test_a_planted_setting_does_not_hide_a_drop(db):
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.sql("CREATE TABLE t (v bytea); SELECT envelope_encrypt('t', 'x')", user=db.low)
    left = keyring(db, "t")
    with db.connect(db.low, options="-c envelope.cache_ttl=1") as c:
        c.execute("DROP TABLE t")
    assert db.sql(LINKS, (left,)) == [("-", True, db.low)]


# -- the extension, the database ----------------------------------------------------------------------------------


@pytest.fixture
def dumped(db):
    """A sealed table, and a keyring that a dropped one has left."""
    db.people(rows=["one"])
    db.people("gone", rows=["two"])
    db.sql("DROP TABLE gone")
    return db


def test_drop_of_the_extension_needs_leave(dumped):
    for command in ('DROP EXTENSION "pgrx-example" CASCADE', "DROP SCHEMA public CASCADE"):
        with fails("2BP01") as caught:
            dumped.sql(command)
        assert "2 keyrings" in caught.value.diag.message_detail
        assert "public.people" in caught.value.diag.message_detail
        assert "allow_drop" in caught.value.diag.message_hint
    assert opened(dumped, "people") == ["one"]


def test_drop_owned_by_the_extensions_owner(cluster):
    cluster.sql("CREATE DATABASE owned")
    cluster.sql("CREATE ROLE boss SUPERUSER LOGIN")
    cluster.sql("CREATE TABLE t (v bytea)", dbname="owned")
    cluster.sql('CREATE EXTENSION "pgrx-example"', dbname="owned", user="boss")
    cluster.sql("SELECT envelope_encrypt('t', 'x')", dbname="owned")
    with fails("2BP01") as caught:
        cluster.sql("DROP OWNED BY boss CASCADE", dbname="owned")
    assert "1 keyring would" in caught.value.diag.message_detail
    cluster.sql("SET envelope.allow_drop = on; DROP OWNED BY boss CASCADE", dbname="owned")
    assert cluster.sql("SELECT count(*) FROM pg_extension WHERE extname LIKE 'pgrx%'", dbname="owned") == [(0,)]
    cluster.sql("DROP DATABASE owned")
    cluster.sql("DROP ROLE boss")


@pytest.mark.parametrize("command", ["DROP SCHEMA public, other CASCADE", 'DROP EXTENSION "pgrx-example" CASCADE',
                                     "DROP OWNED BY boss CASCADE"])
def test_allowed_it_takes_sealed_tables_along(cluster, command):
    """The catalog is half gone when the tables' turn comes."""
    cluster.sql("CREATE ROLE boss SUPERUSER LOGIN")
    cluster.sql("CREATE DATABASE along")

    def sql(query):
        return cluster.sql(query, dbname="along", user="boss")

    try:
        sql("CREATE SCHEMA other; CREATE TABLE before (v bytea); CREATE TABLE other.before (v bytea)")
        sql('CREATE EXTENSION "pgrx-example"')
        sql("CREATE TABLE after (v bytea); CREATE TABLE other.after (v bytea)")
        sql("SELECT envelope_encrypt(t, 'x') FROM unnest('{before,after,other.before,other.after}'::regclass[]) AS t")
        sql("INSERT INTO envelope.sealed_column (id, relation, column_name, tag) "
            "SELECT gen_random_uuid(), t, 'v', 'v' FROM unnest('{before,after}'::regclass[]) AS t")
        sql(f"SET envelope.allow_drop = on; {command}")
        assert sql("SELECT count(*) FROM pg_extension WHERE extname = 'pgrx-example'") == [(0,)]
    finally:
        cluster.sql("DROP DATABASE along")
        cluster.sql("DROP ROLE boss")


@pytest.mark.alone
def test_low_role_cannot_allow_the_drop(dumped):
    dumped.sql(f"ALTER DATABASE {dumped.name} OWNER TO {dumped.low}; ALTER SCHEMA public OWNER TO {dumped.low}")
    for options in ("", "-c envelope.allow_drop=on"):
        with dumped.connect(dumped.low, options=options) as c:
            with pytest.raises(psycopg.Error):
                c.execute("SET envelope.allow_drop = on; DROP SCHEMA public CASCADE")
            with pytest.raises(psycopg.Error) as caught:
                c.execute("DROP SCHEMA public CASCADE")
            assert caught.value.sqlstate == "2BP01"
    assert opened(dumped, "people") == ["one"]


LOOK_ALIKE = """
CREATE SCHEMA envelope;
CREATE DOMAIN envelope.table_ref AS oid;
CREATE DOMAIN envelope.role_ref AS oid;
CREATE TABLE envelope.keyring (keyring_id uuid, table_name bigint);
CREATE TABLE envelope.keyring_table
  (id uuid, keyring_id uuid, relation envelope.table_ref, seals bool, former_owner envelope.role_ref);
CREATE INDEX keyring_table_relation ON envelope.keyring_table (relation);
CREATE TABLE envelope.sealed_column (id uuid, relation envelope.table_ref);
CREATE INDEX sealed_column_relation ON envelope.sealed_column (relation);
CREATE TABLE envelope.reencryption (relation envelope.table_ref);
INSERT INTO envelope.keyring VALUES (gen_random_uuid(), 4096);
CREATE TABLE fired (name text);
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN INSERT INTO public.fired VALUES (TG_TABLE_NAME); RETURN NEW; END';
CREATE TRIGGER fire BEFORE UPDATE ON envelope.keyring_table FOR EACH ROW EXECUTE FUNCTION public.fire();
CREATE TRIGGER fire BEFORE DELETE ON envelope.reencryption EXECUTE FUNCTION public.fire();
"""


def test_a_schema_of_the_same_name_is_not_the_extensions(own_cluster):
    """Where the extension is not, whoever may create schemas can make look-alikes of its tables. The preloaded library
    takes no address from them, and has none of their triggers run in another's DROP."""
    c = own_cluster(conf={"shared_preload_libraries": "pgrx-example"}).start()
    c.sql("CREATE ROLE mallory LOGIN")
    c.sql("CREATE DATABASE hers OWNER mallory")
    c.sql("CREATE TABLE t (v bytea)", dbname="hers")
    c.sql(LOOK_ALIKE, dbname="hers", user="mallory")
    c.sql("INSERT INTO envelope.keyring_table VALUES (gen_random_uuid(), gen_random_uuid(), 't'::regclass, false, 0)",
          dbname="hers", user="mallory")
    c.sql("DROP TABLE t", dbname="hers")
    assert c.sql("SELECT name FROM fired", dbname="hers") == []
    c.sql("DROP TABLE envelope.keyring", dbname="hers", user="mallory")
    with fails("42P06"):
        c.sql('CREATE EXTENSION "pgrx-example"', dbname="hers")


@pytest.mark.parametrize("preload", [False, True])
def test_drop_database(own_cluster, database, preload):
    c = own_cluster(conf={"shared_preload_libraries": "pgrx-example"} if preload else None).start()
    db = database(c)
    db.people(rows=["x"])
    c.sql(f"DROP DATABASE {db.name}")
    assert c.sql("SELECT count(*) FROM pg_database WHERE datname = %s", (db.name,)) == [(0,)]
    # Where the extension is not, drops are none of its business.
    c.sql("CREATE TABLE t (v bytea)")
    c.sql("DROP TABLE t")
