"""Keyrings are adopted, shared, exported, imported, dumped, replicated. docs/moving-tables.md has the ways through."""

import contextlib
import json
import threading

import psycopg
import pytest
from harness import faults, process
from harness.base_backup import BaseBackup
from harness.keyrings import LINKS, keyring, keys_in, notices, opened
from harness.work import Work, at_once
from sqlstate import fails

EVENT_TRIGGERS = "SELECT evtname, evtenabled, evttags FROM pg_event_trigger ORDER BY 1"
OPEN = "SELECT envelope_decrypt_text(%s::text::regclass, ssn) FROM {} ORDER BY id"


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


# -- adopted, shared ------------------------------------------------------------------------------------------------


def test_a_loan_is_not_kept_by_a_lock(db):
    """Whoever has a keyring on loan cannot keep it by holding their table."""
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.people(rows=["x"])
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    db.sql("CREATE TABLE theirs (ssn bytea); SELECT envelope.share_keyring('people', 'theirs')")
    with db.connect() as holder, db.connect(db.low) as owner:
        owner.execute("SET lock_timeout = '60s'")
        holder.execute("BEGIN; LOCK TABLE theirs")
        with fails("55P03") as caught:
            owner.execute("SELECT envelope.unshare_keyring('people', 'theirs')")
        assert "public.theirs is locked" in str(caught.value)
        owner.execute("SELECT envelope.unshare_keyring('people', 'theirs', force => true)")
    assert db.sql("SELECT relation::text FROM envelope.keyring_table") == [("public.people",)]


def test_adopted_by_two_at_once(db):
    """One keyring seals for one table, however many ask."""
    db.people(rows=["x"])
    left = keyring(db, "people")
    db.sql("DROP TABLE people")
    for n in range(4):
        db.people(f"t{n}")
    together = threading.Barrier(4)

    def adopt(n):
        with db.connect() as c:
            # The library is loaded.
            c.execute("SELECT envelope.flush_cache()")
            together.wait(60)
            try:
                c.execute("SELECT envelope.adopt_keyring(%s, %s::text::regclass)", (left, f"t{n}"))
            except psycopg.Error as e:
                return e.sqlstate

    assert sorted(at_once(adopt, 4), key=str) == ["55000"] * 3 + [None]
    assert db.value("SELECT count(*) FROM envelope.keyring_table WHERE keyring_id = %s AND seals", (left,)) == 1


def test_adopted_under_an_older_snapshot(db):
    db.people(rows=["x"])
    left = keyring(db, "people")
    db.sql("CREATE TABLE copy AS TABLE people")
    with db.connect(autocommit=False) as c:
        c.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        c.execute("SELECT 1")
        db.sql("DROP TABLE people")
        c.execute("SELECT envelope.adopt_keyring(%s, 'copy')", (left,))
        assert c.execute("SELECT envelope_decrypt_text('copy', ssn) FROM copy").fetchone() == ("x",)
        c.commit()
    assert opened(db, "copy") == ["x"]


def test_adopting_waits_for_a_key_that_is_being_made(db):
    """The table seals with one of the two, and opens with both."""
    db.people(rows=["x"])
    left = keyring(db, "people")
    db.sql("DROP TABLE people; CREATE TABLE people (id int, ssn bytea)")
    with db.connect(autocommit=False) as maker:
        maker.execute("SELECT envelope.create_key('people')")
        adopted = Work(db.sql, "SELECT envelope.adopt_keyring(%s, 'people')", (left,))
        process.wait_until(lambda: db.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'object'"),
                           "the adopter waits")
        assert adopted.is_alive()
        maker.commit()
        adopted.result()
    assert db.sql("SELECT seals FROM envelope.keyring_table WHERE relation = 'people'::regclass::oid ORDER BY 1") == [
        (False,), (True,)]


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


def test_an_export_takes_the_partitions_keyrings_along(log):
    """And tells who may not open one that it is missing."""
    log.sql("ALTER TABLE log ATTACH PARTITION log_2 FOR VALUES FROM (10) TO (20)")
    export = "SELECT jsonb_array_length(envelope.export_keyring(%s)->'keyrings')"
    assert [log.value(export, (table,)) for table in ("log", "log_1", "log_2")] == [2, 1, 2]
    log.sql(f"SELECT envelope.grant_key('log', '{log.low}', 'manage')")
    with log.connect(log.low) as c:
        got = notices(c)
        assert c.execute(export, ("log",)).fetchone() == (1,)
    assert [severity for severity, *_ in got] == ["WARNING"]
    assert "public.log_2" in got[0][1] and str(keyring(log, "log_2")) in got[0][1]


def test_exported_again_after_its_wraps_were_made_anew(db, target):
    """The wrap that is there stays, and the new version comes."""
    db.people(rows=["one"])
    export = "SELECT envelope.export_keyring('people')"
    target.sql('CREATE EXTENSION "pgrx-example"')
    target.sql("CREATE TABLE people (id int, ssn bytea)")
    target.sql("SELECT envelope.import_keyring(%s)", (json.dumps(db.value(export)),))
    wraps = target.sql("SELECT wrapped FROM envelope.wrapped_key")
    db.sql("SELECT envelope.rewrap(kek, kek, 'people') FROM envelope.wrapped_key")
    db.sql("SELECT envelope.rotate_key('people'); INSERT INTO people VALUES (2, 'two')")
    target.sql("SELECT envelope.import_keyring(%s)", (json.dumps(db.value(export)),))
    for row in db.sql("SELECT id, ssn FROM people ORDER BY id"):
        target.sql("INSERT INTO people VALUES (%s, %s)", row)
    assert opened(target, "people") == ["one", "two"]
    assert set(wraps) < set(target.sql("SELECT wrapped FROM envelope.wrapped_key"))


def test_import_refuses_a_kek_from_elsewhere(db, own_cluster):
    """Another cluster's key file is not among the KEKs that are allowed by default."""
    db.people(rows=["one"])
    exported = json.dumps(db.value("SELECT envelope.export_keyring('people')"))
    c = own_cluster().start()
    c.sql('CREATE EXTENSION "pgrx-example"')
    with fails("42501"):
        c.sql("SELECT envelope.import_keyring(%s)", (exported,))
    assert c.sql("SELECT count(*) FROM envelope.keyring") == [(0,)]


FORGET = "TRUNCATE envelope.keyring, envelope.keyring_table, envelope.data_key, envelope.wrapped_key"


@pytest.fixture
def exported(db):
    """What the database has forgotten, with a value that needs it."""
    db.people(rows=["x"])
    document = json.dumps(db.value("SELECT envelope.export_keyring('people')"))
    db.sql(FORGET)
    return document


def test_a_rolled_back_import_leaves_no_key_behind(db, exported):
    """Nor in the session's memory."""
    opens = "SELECT envelope_decrypt_text('people', ssn) FROM people"
    with db.connect(autocommit=False) as c:
        for rollback in ("ROLLBACK TO s", "ROLLBACK"):
            c.execute("SAVEPOINT s")
            c.execute("SELECT envelope.import_keyring(%s)", (exported,))
            assert c.execute(opens).fetchone() == ("x",)
            c.execute(rollback)
            with fails("42704"):
                c.execute(opens)
            c.execute("ROLLBACK")


def test_imported_by_four_at_once(db, exported):
    """Time and again: who reads the catalog while another's import commits must not see a half of it."""
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(db.connect()) for _ in range(4)]
        for _ in range(50):
            db.sql(FORGET)
            at_once(lambda i: sessions[i].execute("SELECT envelope.import_keyring(%s)", (exported,)), 4)
            assert db.sql("SELECT seals FROM envelope.keyring_table") == [(True,)]
    assert opened(db, "people") == ["x"]


def test_import_by_name_says_so(db, exported):
    with db.connect() as c:
        got = notices(c)
        c.execute("SELECT envelope.import_keyring(%s)", (exported,))
    assert [severity for severity, *_ in got] == ["NOTICE"] and "public.people" in got[0][1]


@pytest.mark.parametrize(("fault", "sqlstate"), [(faults.deny, "28000"), (faults.internal, "58030"),
                                                 (faults.another_plaintext, "XX001")])
def test_import_writes_nothing_unless_every_wrap_opens(aws, proxy, fault, sqlstate):
    aws.people(rows=["x"])
    document = json.dumps(aws.value("SELECT envelope.export_keyring('people')"))
    aws.sql(FORGET)
    proxy.fault("Decrypt", fault)
    with fails(sqlstate):
        aws.sql("SELECT envelope.import_keyring(%s)", (document,))
    assert aws.value("SELECT count(*) FROM envelope.keyring, envelope.data_key, envelope.wrapped_key") == 0
    proxy.clear()
    aws.sql("SELECT envelope.import_keyring(%s)", (document,))
    assert opened(aws, "people") == ["x"]


def test_import_holds_no_lock_while_the_kms_is_asked(aws, proxy):
    aws.people(rows=["x"])
    document = json.dumps(aws.value("SELECT envelope.export_keyring('people')"))
    aws.sql(FORGET)
    proxy.fault("Decrypt", faults.hang)
    with aws.patient() as c:
        pid = c.info.backend_pid
        loading = Work(c.execute, "SELECT envelope.import_keyring(%s)", (document,))
        asked = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event IN ('EnvelopeKms', 'Extension')"
        process.wait_until(lambda: aws.value(asked, (pid,)), "the KMS is asked")
        # Of the extension's own and of the table; AccessShareLock on what was read keeps nobody out.
        assert aws.value("SELECT count(*) FROM pg_locks WHERE pid = %s AND (locktype = 'object' OR relation = "
                         "'people'::regclass)", (pid,)) == 0
        aws.sql("SELECT pg_cancel_backend(%s)", (pid,))
        assert loading.error().sqlstate == "57014"


# -- dumps, a standby ---------------------------------------------------------------------------------------------


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
        process.wait_until(lambda: there.sql(LINKS, (left,)) == [("-", True, "postgres")], "replay of the drop")
        assert reader.execute(OPEN.format("people"), ("people",)).fetchall() == [("one",)]
        assert reader.execute("SELECT bool_and(ok), count(key_id) FROM envelope.check()").fetchone() == (True, 2)
        for call in (f"adopt_keyring('{left}', 'backup')", "share_keyring('people', 'backup')"):
            with fails("25006"):
                reader.execute(f"SELECT envelope.{call}")
        db.sql("SELECT envelope.adopt_keyring(%s, 'backup')", (left,))
        process.wait_until(lambda: there.sql(LINKS, (left,)) == [("public.backup", True, "-")], "replay")
        assert reader.execute(OPEN.format("backup"), ("backup",)).fetchall() == [("two",)]


def test_an_export_is_of_one_moment(db):
    """Beside rotations and destructions: one active key, and whatever is not destroyed has its wraps."""
    db.sql("CREATE TABLE t (v bytea); SELECT envelope.create_key('t')")
    # It takes its time to read them all.
    db.sql("SELECT count(envelope.rotate_key('t')) FROM generate_series(1, 200)")
    active = "SELECT key_id FROM envelope.keys WHERE relation = 'public.t' AND state = 'active'"

    def rotate_and_destroy():
        with db.connect() as c:
            for _ in range(60):
                before, = c.execute(active).fetchone()
                c.execute("SELECT envelope.rotate_key('t')")
                c.execute("SELECT envelope.destroy_key(%s, 'over')", (before,))

    work = Work(rotate_and_destroy)
    with db.connect() as c:
        while work.is_alive():
            exported, = c.execute("SELECT envelope.export_keyring('t')").fetchone()
            keys = exported["keyrings"][0]["data_keys"]
            assert [key["state"] for key in keys].count("active") == 1
            assert all(bool(key["wraps"]) == (key["state"] != "destroyed") for key in keys)
    work.result()
