"""Keyrings of tables that are dropped, copied, attached, exchanged, moved to another cluster."""

import json
import os
import threading
import time

import psycopg
import pytest
from harness import faults, process
from harness.base_backup import BaseBackup
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text(%s::text::regclass, ssn) FROM {} ORDER BY id"
LINKS = "SELECT relation::text, seals, former_owner::text FROM envelope.keyring_table WHERE keyring_id = %s"
EVENT_TRIGGERS = "SELECT evtname, evtenabled, evttags FROM pg_event_trigger ORDER BY 1"


def opened(db, table, by=None):
    return [row[0] for row in db.sql(OPEN.format(table), (by or table,))]


def keyring(db, table):
    """The keyring that a table seals with."""
    return db.value("SELECT keyring_id FROM envelope.keyring_table WHERE relation::text = %s AND seals",
                    (f"public.{table}",))


def keys_in(db, table):
    return db.value(f"SELECT count(DISTINCT key_id) FROM {table}, envelope.inspect(ssn)")


class In:
    """A database of another cluster, as Database has it."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name

    def sql(self, query, params=None, user="postgres"):
        return self.cluster.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        return self.sql(query, params, user)[0][0]


@pytest.fixture
def target(cluster, own_cluster):
    """Another cluster with an empty database. It may use the first one's key file: both run on one machine, and a
    key file's URI is its path."""
    c = own_cluster(conf={"envelope.file_kek_directory": f"{cluster.data}.kek"}).start()
    c.sql("CREATE DATABASE copy")
    return In(c, "copy")


# -- dropped ------------------------------------------------------------------------------------------------------


def notices(connection):
    got = []
    connection.add_notice_handler(lambda d: got.append((d.severity_nonlocalized, d.message_primary, d.message_hint)))
    return got


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
    assert db.sql(OPEN.format("copied"), ("copied",), user=db.low) == [("x",)]


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


def test_adopted_by_two_at_once(db):
    """One keyring seals for one table, however many ask."""
    db.people(rows=["x"])
    left = keyring(db, "people")
    db.sql("DROP TABLE people")
    for n in range(4):
        db.people(f"t{n}")
    start, outcomes = threading.Barrier(4), []

    def adopt(n):
        with db.connect() as c:
            c.execute("SELECT envelope.flush_cache()")
            start.wait()
            try:
                c.execute("SELECT envelope.adopt_keyring(%s, %s::text::regclass)", (left, f"t{n}"))
                outcomes.append(None)
            except psycopg.Error as e:
                outcomes.append(e.sqlstate)

    threads = [threading.Thread(target=adopt, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(outcomes, key=str) == ["55000"] * 3 + [None]
    assert db.value("SELECT count(*) FROM envelope.keyring_table WHERE keyring_id = %s AND seals", (left,)) == 1


# -- copied, attached, exchanged ----------------------------------------------------------------------------------


@pytest.fixture
def log(db):
    """A partitioned table, and one with a key of its own to be attached."""
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM (0) TO (10)")
    db.sql("INSERT INTO log VALUES (1, envelope_encrypt('log', 'root'))")
    db.sql("CREATE TABLE log_2 (id int, ssn bytea)")
    db.sql("INSERT INTO log_2 VALUES (11, envelope_encrypt('log_2', 'own'))")
    return db


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_attached_partition_opens_by_the_root(log, late):
    attach = "ALTER TABLE log ATTACH PARTITION log_2 FOR VALUES FROM (10) TO (20)"
    share = "SELECT envelope.share_keyring('log_2', 'log')"
    for command in (attach, share) if late else (share, attach):
        log.sql(command)
    log.sql("INSERT INTO log VALUES (12, envelope_encrypt('log_2', 'later'))")
    assert opened(log, "log") == ["root", "own", "later"]
    assert keys_in(log, "log") == 2


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_detached_partition_opens_what_it_holds(log, late):
    detach = "ALTER TABLE log DETACH PARTITION log_1"
    share = "SELECT envelope.share_keyring('log', 'log_1')"
    log.sql(detach if late else share)
    log.sql(share if late else detach)
    log.sql("INSERT INTO log_1 VALUES (2, envelope_encrypt('log_1', 'by itself'))")
    assert opened(log, "log_1") == ["root", "by itself"]
    assert keys_in(log, "log_1") == 2
    log.sql("DROP TABLE log")
    assert opened(log, "log_1") == ["root", "by itself"]


def test_partition_adopts_to_open(log):
    """A partition seals with its root's keyring, so one that it adopts is for opening."""
    log.sql("CREATE TABLE saved AS TABLE log_2")
    left = keyring(log, "log_2")
    log.sql("DROP TABLE log_2")
    log.sql("SELECT envelope.adopt_keyring(%s, 'log_1')", (left,))
    # Nobody seals with it: who owned its table may still have another adopt it.
    assert sorted(log.sql(LINKS, (left,))) == [("-", True, "postgres"), ("public.log_1", False, "-")]
    assert opened(log, "saved", by="log_1") == ["own"]
    log.sql("INSERT INTO log VALUES (3, envelope_encrypt('log_1', 'sealed by the root'))")
    assert keys_in(log, "log") == 1


# -- moved --------------------------------------------------------------------------------------------------------


def test_export_opens_in_another_cluster(db, target):
    db.people(rows=["one", "two"])
    exported = json.dumps(db.value("SELECT envelope.export_keyring('people')"))
    rows = db.sql("SELECT id, ssn FROM people ORDER BY id")
    assert b"one" not in exported.encode()
    target.sql('CREATE EXTENSION "pgrx-example"')
    target.sql("CREATE TABLE people (id int, ssn bytea)")
    assert target.value("SELECT envelope.import_keyring(%s)", (exported,)) == keyring(db, "people")
    for row in rows:
        target.sql("INSERT INTO people VALUES (%s, %s)", row)
    assert opened(target, "people") == ["one", "two"]
    target.sql("INSERT INTO people VALUES (3, envelope_encrypt('people', 'three'))")
    assert keys_in(target, "people") == 1
    assert target.value("SELECT bool_and(ok) FROM envelope.check()")
    # And back, with what was sealed there.
    back = json.dumps(target.value("SELECT envelope.export_keyring('people')"))
    assert json.loads(back) == json.loads(exported)


def test_import_refuses_a_kek_from_elsewhere(db, own_cluster):
    """Another cluster's key file is not among the KEKs that are allowed by default."""
    db.people(rows=["one"])
    exported = json.dumps(db.value("SELECT envelope.export_keyring('people')"))
    c = own_cluster().start()
    c.sql('CREATE EXTENSION "pgrx-example"')
    with fails("42501"):
        c.sql("SELECT envelope.import_keyring(%s)", (exported,))
    assert c.sql("SELECT count(*) FROM envelope.keyring") == [(0,)]


def test_check_after_the_key_file_moved(own_cluster, database):
    """One KEK gone, another there: each wrap gets its row, whatever this session has in memory."""
    c = own_cluster().start()
    db = database(c)
    db.people("a", rows=["x"])
    other = c.base / "data.kek" / "other.kek"
    other.write_bytes((c.base / "data.kek" / "default.kek").read_bytes()[::-1])
    stat = (c.base / "data.kek" / "default.kek").stat()
    other.chmod(0o600)
    os.chown(other, stat.st_uid, stat.st_gid)
    db.sql("CREATE TABLE b (v bytea); CREATE TABLE c (v bytea)")
    db.sql(f"SELECT envelope.create_key('b', 'file://{other}')")
    db.sql("SELECT envelope.create_key('c')")
    checked = "SELECT relation, ok, sqlstate FROM envelope.check() ORDER BY 1"
    with db.connect() as session:
        session.execute("SELECT envelope.warm('a')")
        assert session.execute(checked).fetchall() == [(f"public.{t}", True, None) for t in "abc"]
        other.rename(other.with_suffix(".away"))
        assert session.execute(checked).fetchall() == [
            ("public.a", True, None), ("public.b", False, "55000"), ("public.c", True, None)]
        default = c.base / "data.kek" / "default.kek"
        default.rename(default.with_suffix(".away"))
        assert [row[1] for row in session.execute(checked)] == [False] * 3
        # The cached key goes on; only check() looks past it.
        session.execute("SELECT envelope_decrypt('a', ssn) FROM a")
        other.with_suffix(".away").rename(other)
        assert [row[1] for row in session.execute(checked)] == [False, True, False]


def test_check_asks_a_kek_out_of_reach_once(aws, proxy):
    """And goes on: with a timeout for each key of a large database nobody would see the end."""
    for n in range(3):
        aws.people(f"t{n}", rows=["x"])
    proxy.reset_counts()
    assert aws.value("SELECT count(*) FROM envelope.check() WHERE ok") == 3
    assert proxy.counts["Decrypt"] == 3
    proxy.fault("Decrypt", faults.hang)
    started = time.monotonic()
    rows = aws.sql("SELECT ok, sqlstate FROM envelope.check()")
    assert rows == [(False, "58030")] * 3 and time.monotonic() - started < 8
    proxy.clear()
    proxy.fault("Decrypt", faults.deny, times=1)
    assert sorted(aws.sql("SELECT ok, sqlstate FROM envelope.check()"), key=str) == [
        (False, "28000"), (True, None), (True, None)]
    proxy.fault("Decrypt", faults.another_plaintext, times=1)
    assert aws.value("SELECT array_agg(sqlstate) FROM envelope.check() WHERE NOT ok") == ["XX001"]


# -- dumps, the extension, the database, a standby ----------------------------------------------------------------


@pytest.fixture
def dumped(db):
    """A sealed table, and a keyring that a dropped one has left."""
    db.people(rows=["one"])
    db.people("gone", rows=["two"])
    db.sql("CREATE TABLE backup AS TABLE gone")
    db.sql("DROP TABLE gone")
    return db


@pytest.mark.parametrize("how", ["plain", "parallel", "clean"])
def test_dump_and_restore(dumped, target, how):
    archive = dumped.cluster.base / f"{dumped.name}.{how}"
    if how == "plain":
        dumped.cluster.client("pg_dump", "-f", archive, dbname=dumped.name)
        target.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", archive, dbname=target.name)
    else:
        dumped.cluster.client("pg_dump", "-Fc", "-f", archive, dbname=dumped.name)
        args = ["--exit-on-error", "-j4", "-d", target.name, archive]
        target.cluster.client("pg_restore", *args)
        if how == "clean":
            # Over itself: the keyrings are in the archive, so their loss is allowed. --clean means it.
            with pytest.raises(RuntimeError, match="holds keyrings"):
                target.cluster.client("pg_restore", "--clean", "--if-exists", *args)
            target.cluster.client("pg_restore", "--clean", "--if-exists", *args,
                                  options="-c envelope.allow_drop=on")
    assert target.sql(EVENT_TRIGGERS) == dumped.sql(EVENT_TRIGGERS)
    links = "SELECT keyring_id, relation::text, seals, former_owner::text FROM envelope.keyring_table ORDER BY 1"
    assert target.sql(links) == dumped.sql(links)
    assert opened(target, "people") == ["one"]
    # They are at work there: another drop leaves a keyring, and what was left before is adopted.
    left = keyring(target, "people")
    target.sql("DROP TABLE people")
    assert target.sql(LINKS, (left,)) == [("-", True, "postgres")]
    orphan = dumped.value("SELECT keyring_id FROM envelope.keyring WHERE table_name = 'public.gone'")
    target.sql("SELECT envelope.adopt_keyring(%s, 'backup')", (orphan,))
    assert opened(target, "backup") == ["two"]
    with fails("2BP01"):
        target.sql('DROP EXTENSION "pgrx-example" CASCADE')


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


def test_standby_follows(own_cluster, database):
    primary = own_cluster().start()
    db = database(primary)
    db.people(rows=["one"])
    db.people("gone", rows=["two"])
    db.sql("CREATE TABLE backup AS TABLE gone")
    standby = BaseBackup(primary, conf={"envelope.file_kek_directory": f"{primary.data}.kek"}, standby=True)
    there = In(standby, db.name)
    with standby, standby.connect(db.name) as reader:
        assert reader.execute(OPEN.format("people"), ("people",)).fetchall() == [("one",)]
        left = keyring(db, "gone")
        db.sql("DROP TABLE gone")
        process.wait_until(lambda: there.sql(LINKS, (left,)) == [("-", True, "postgres")], 20, "replay of the drop")
        assert reader.execute(OPEN.format("people"), ("people",)).fetchall() == [("one",)]
        assert reader.execute("SELECT bool_and(ok), count(key_id) FROM envelope.check()").fetchone() == (True, 2)
        for call in (f"adopt_keyring('{left}', 'backup')", "share_keyring('people', 'backup')"):
            with fails("25006"):
                reader.execute(f"SELECT envelope.{call}")
        db.sql("SELECT envelope.adopt_keyring(%s, 'backup')", (left,))
        process.wait_until(lambda: there.sql(LINKS, (left,)) == [("public.backup", True, "-")], 20, "replay")
        assert reader.execute(OPEN.format("backup"), ("backup",)).fetchall() == [("two",)]
