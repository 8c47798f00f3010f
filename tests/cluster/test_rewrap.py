"""Keys that move from one KEK to another: requests, outages, crashes, others who change the same keys."""

import pytest
from harness import faults, process
from harness import moto as kms
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from harness.work import Work
from sqlstate import fails

TABLES = 6
MOVE = "SELECT table_name, done, sqlstate FROM envelope.rewrap(%s, %s)"
LEFT = "SELECT count(*) FROM envelope.wrapped_key WHERE kek = %s"


@pytest.fixture(scope="module")
def keks(moto):
    return kms.kek(moto.create_key()), kms.kek(moto.create_key())


@pytest.fixture(scope="module")
def two_keks(kms_proxy, keks):
    with Cluster(conf=conf(kms_proxy, keks), env=kms.CREDENTIALS) as c:
        yield c


def conf(proxy, keks, **more):
    return {"envelope.default_kek": keks[0], "envelope.allowed_keks": ",".join(keks),
            "envelope.aws_region": kms.REGION, "envelope.aws_endpoint_url": proxy.url,
            "envelope.kms_timeout": "4s", "envelope.kms_max_attempts": "1", **more}


def filled(db):
    for i in range(TABLES):
        db.people(f"t{i}", [f"v{i}"])
    return db


@pytest.fixture
def db(two_keks, database, proxy):
    db = filled(database(two_keks))
    proxy.reset_counts()
    return db


def check_whole(db):
    """Every key is there under one KEK, gives itself back, and opens what it sealed."""
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == db.value("SELECT count(*) FROM envelope.data_key")
    assert db.sql("SELECT * FROM envelope.check() WHERE NOT ok") == []
    for i in range(TABLES):
        assert db.sql(f"SELECT envelope_decrypt_text('t{i}', ssn) FROM t{i}")[0] == (f"v{i}",)


def test_requests(db, keks, proxy):
    """The key does not leave the KMS; the source's key and both contexts are pinned."""
    rows = db.sql(MOVE, keks)
    assert rows == [(table, True, None) for table, *_ in rows] and len(rows) == TABLES
    assert proxy.counts == {"ReEncrypt": TABLES, "Decrypt": TABLES}
    arns = [kek.removeprefix("aws-kms://") for kek in keks]
    for operation, request in proxy.requests:
        if operation == "ReEncrypt":
            assert [request["SourceKeyId"], request["DestinationKeyId"]] == arns
            assert request["SourceEncryptionContext"] == request["DestinationEncryptionContext"]
            assert request["SourceEncryptionContext"]["database"] == db.name
        else:
            assert request["KeyId"] == arns[1] and request["EncryptionContext"]["database"] == db.name
    check_whole(db)
    proxy.reset_counts()
    assert db.sql(MOVE, keks) == [] and not proxy.counts


def test_a_dry_run_asks_and_changes_nothing(db, keks, proxy):
    before = db.sql("SELECT * FROM envelope.wrapped_key ORDER BY 1")
    rows = db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, dry_run => true)", keks)
    assert rows == [(False, None)] * TABLES and not proxy.counts
    assert db.sql("SELECT * FROM envelope.wrapped_key ORDER BY 1") == before


def test_who_manages_nothing_asks_no_kms(db, keks, moto, proxy, two_keks):
    """What an alias stands for, or whether there is one, is not for all to ask with the server's right."""
    db.sql(f"ALTER DATABASE {db.name} SET envelope.allowed_keks = 'aws-kms://*'")
    proxy.reset_counts()
    assert db.sql("SELECT * FROM envelope.rewrap(%s, 'aws-kms://alias/anything')", (keks[0],), user=db.low) == []
    assert proxy.counts == {}


def test_to_an_alias(db, keks, moto, proxy, two_keks):
    moto.client().create_alias(AliasName="alias/moved", TargetKeyId=keks[1].removeprefix("aws-kms://"))
    try:
        assert len(db.sql(MOVE, (keks[0], "aws-kms://alias/moved"))) == TABLES
        assert db.value(LEFT, (keks[1],)) == TABLES
        # What it stands for is asked once.
        assert proxy.counts == {"DescribeKey": 1, "ReEncrypt": TABLES, "Decrypt": TABLES}
    finally:
        moto.client().delete_alias(AliasName="alias/moved")


def test_anew_under_the_same(db, keks, proxy):
    """After the KEK was rotated in the KMS: old wraps open, and this brings them to its newest backing key."""
    before = dict(db.sql("SELECT key_id, wrapped FROM envelope.wrapped_key"))
    rows = db.sql(MOVE, (keks[0], keks[0]))
    assert [done for _, done, _ in rows] == [True] * TABLES
    assert proxy.counts == {"ReEncrypt": TABLES, "Decrypt": TABLES}
    after = dict(db.sql("SELECT key_id, wrapped FROM envelope.wrapped_key"))
    assert before.keys() == after.keys() and all(before[key] != after[key] for key in before)
    check_whole(db)


def test_an_owner_moves_the_own_tables_only(db, keks):
    db.sql(f"ALTER TABLE t1 OWNER TO {db.low}")
    assert db.sql(MOVE, keks, user=db.low) == [("public.t1", True, None)]
    with fails("42501"):
        db.sql("SELECT * FROM envelope.rewrap(%s, %s, 't2')", keks, user=db.low)
    assert db.value(LEFT, (keks[0],)) == TABLES - 1
    assert len(db.sql(MOVE, keks)) == TABLES - 1


@pytest.mark.parametrize("operation", ["ReEncrypt", "Decrypt"])
@pytest.mark.parametrize("fault", ["unavailable", "throttle", "reset"])
def test_an_outage_on_the_way(db, keks, proxy, operation, fault):
    """What was verified is done, the rest is as it was, and the next call does that alone."""
    bad = getattr(faults, fault)
    proxy.fault(operation, lambda x: (bad if proxy.counts[operation] > 3 else faults.none)(x))
    rows = db.sql(MOVE, keks)
    assert [done for _, done, _ in rows] == [True] * 3 + [False] * 3
    assert rows[3][2] == {"unavailable": "58030", "throttle": "53400", "reset": "58030"}[fault]
    # Nobody is asked about the rest.
    assert proxy.counts["ReEncrypt"] == 4 and [sqlstate for *_, sqlstate in rows[4:]] == ["58030"] * 2
    assert db.value(LEFT, (keks[0],)) == 3
    proxy.clear()
    check_whole(db)
    proxy.reset_counts()
    assert [done for _, done, _ in db.sql(MOVE, keks)] == [True] * 3
    assert proxy.counts == {"ReEncrypt": 3, "Decrypt": 3}
    check_whole(db)


@pytest.mark.parametrize("operation, fault, sqlstate", [
    ("ReEncrypt", "deny", "28000"), ("ReEncrypt", "garbage", "58030"), ("ReEncrypt", "disabled", "55000"),
    ("Decrypt", "deny", "28000"), ("Decrypt", "another_plaintext", "XX001"), ("Decrypt", "short_plaintext", "XX001")])
def test_a_wrap_that_does_not_give_its_key_back_replaces_nothing(db, keks, proxy, operation, fault, sqlstate):
    bad = getattr(faults, fault)
    proxy.fault(operation, lambda x: (bad if proxy.counts[operation] == 2 else faults.none)(x))
    rows = db.sql(MOVE, keks)
    assert rows[1][1:] == (False, sqlstate)
    # An outage ends it, a refusal concerns one key.
    goes_on = sqlstate != "58030"
    assert [done for _, done, _ in rows] == [True, False] + [goes_on] * (TABLES - 2)
    proxy.clear()
    check_whole(db)


@pytest.mark.parametrize("operation", ["ReEncrypt", "Decrypt"])
def test_killed_while_the_kms_is_asked(proxy, keks, own_cluster, database, operation):
    cluster = own_cluster(conf=conf(proxy, keks, fsync="on"), env=kms.CREDENTIALS).start()
    db = filled(database(cluster))
    proxy.reset_counts()
    proxy.fault(operation, lambda x: (faults.hang if proxy.counts[operation] > 2 else faults.none)(x))
    with db.patient() as c:
        moving = Work(c.execute, MOVE, keks)
        process.wait_until(lambda: proxy.counts[operation] > 2, "it asks")
        cluster.kill9_backend(c.info.backend_pid)
        assert moving.error()
    proxy.clear()
    assert db.value(LEFT, (keks[0],)) == TABLES
    check_whole(db)
    assert len(db.sql(MOVE, keks)) == TABLES
    check_whole(db)


@pytest.mark.parametrize("committed", [False, True])
def test_killed_around_the_commit(proxy, keks, own_cluster, database, committed):
    cluster = own_cluster(conf=conf(proxy, keks, fsync="on"), env=kms.CREDENTIALS).start()
    db = filled(database(cluster))
    c = db.connect()
    c.execute("BEGIN")
    c.execute(MOVE, keks)
    if committed:
        c.execute("COMMIT")
    cluster.kill9()
    cluster.start()
    assert db.value(LEFT, (keks[0],)) == (0 if committed else TABLES)
    check_whole(db)


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_two_at_once(db, keks, end):
    """The second waits, and does what the first did not."""
    with db.connect() as one, db.connect() as other:
        one.execute("BEGIN")
        one.execute(MOVE, keks)
        moving = Work(lambda: other.execute(MOVE, keks).fetchall())
        process.wait_until(lambda: db.waits_for_lock(other.info.backend_pid), "the second waits")
        one.execute(end)
        rows = moving.result()
    if end == "COMMIT":
        assert [row[1:] for row in rows] == [(False, "40001")] * TABLES
    else:
        assert [row[1:] for row in rows] == [(True, None)] * TABLES
    assert db.value(LEFT, (keks[0],)) == 0
    check_whole(db)


def test_a_key_made_meanwhile_is_told_of(db, keks, proxy):
    """It is under the old KEK: whoever switches that off next must know."""
    held = proxy.hold("ReEncrypt")
    with db.patient() as c:
        moving = Work(lambda: c.execute(MOVE, keks).fetchall())
        held()
        db.sql("SELECT envelope.rotate_key('t3')")
        proxy.clear()
        rows = moving.result()
    assert [row for row in rows if not row[1]] == [("public.t3", False, "40001")] and len(rows) == TABLES + 1
    assert db.sql(MOVE, keks) == [("public.t3", True, None)]
    check_whole(db)


def test_no_key_is_made_under_a_kek_that_was_left_meanwhile(db, keks, proxy):
    held = proxy.hold("GenerateDataKey")
    with db.patient() as c:
        rotating = Work(c.execute, "SELECT envelope.rotate_key('t3')")
        held()
        db.sql(MOVE, keks)
        proxy.clear()
        assert rotating.error().sqlstate == "40001"
        c.execute("SELECT envelope.rotate_key('t3')")
    assert db.value(LEFT, (keks[0],)) == 0
    check_whole(db)


def test_a_rotation_that_is_not_committed_yet_is_waited_for(db, keks):
    with db.connect() as one, db.connect() as other:
        one.execute("BEGIN")
        one.execute("SELECT envelope.rotate_key('t3')")
        moving = Work(lambda: other.execute(MOVE, keks).fetchall())
        process.wait_until(lambda: db.waits_for_lock(other.info.backend_pid), "it waits")
        one.execute("COMMIT")
        rows = moving.result()
    assert [row for row in rows if not row[1]] == [("public.t3", False, "40001")]
    assert db.value(LEFT, (keks[0],)) == 1


@pytest.mark.alone
def test_a_standby_follows(proxy, keks, own_cluster, database):
    cluster = own_cluster(conf=conf(proxy, keks), env=kms.CREDENTIALS).start()
    db = filled(database(cluster))
    opens = "SELECT envelope_decrypt_text('t1', ssn) FROM t1"
    with BaseBackup(cluster, standby=True) as standby:
        standby.caught_up()
        with standby.connect(db.name) as session:
            assert session.execute(opens).fetchone() == ("v1",)
            with fails("25006"):
                session.execute(MOVE, keks)
            db.sql(MOVE, keks)
            standby.caught_up()
            session.execute("SELECT envelope.flush_cache()")
            proxy.reset_counts()
            assert session.execute(opens).fetchone() == ("v1",)
            assert [request["KeyId"] for _, request in proxy.requests] == [keks[1].removeprefix("aws-kms://")]


def test_rolled_back(db, keks):
    with db.connect() as c:
        c.execute("BEGIN")
        c.execute("SAVEPOINT s")
        c.execute(MOVE, keks)
        c.execute("ROLLBACK TO s")
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute("SELECT envelope_decrypt_text('t1', ssn) FROM t1").fetchone() == ("v1",)
        c.execute("COMMIT")
    assert db.value(LEFT, (keks[0],)) == TABLES
    check_whole(db)


def test_another_kek_of_the_keyring_stays_the_tables_own(db, keks):
    """The default of a keyring moves along, so that its next key goes where the others are."""
    db.sql("CREATE TABLE named (v bytea)")
    db.sql("SELECT envelope.create_key('named', %s)", (keks[0],))
    db.sql(MOVE, keks)
    assert db.sql("SELECT default_kek FROM envelope.keyring WHERE default_kek IS NOT NULL") == [(keks[1],)]
    db.sql("SELECT envelope.rotate_key('named')")
    assert db.value(LEFT, (keks[0],)) == 0


@pytest.mark.parametrize("call", ["envelope.rewrap(%(a)s, %(b)s, 't1')", "envelope.rewrap(%(a)s, %(a)s, 't1')",
                                  "envelope.add_kek('t1', %(b)s)"])
def test_what_is_stored_is_what_was_verified(db, keks, call):
    """Something of somebody's own making changes what is written: nothing of it stays."""
    db.sql("""CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN NEW.wrapped := set_byte(NEW.wrapped, 40, 255 - get_byte(NEW.wrapped, 40)); RETURN NEW; END $$""")
    db.sql("CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON envelope.wrapped_key FOR EACH ROW EXECUTE FUNCTION spoil()")
    before = db.sql("SELECT key_id, kek, wrapped FROM envelope.wrapped_key ORDER BY 1")
    with fails("XX001"):
        db.sql(f"SELECT * FROM {call}", {"a": keks[0], "b": keks[1]})
    assert db.sql("SELECT key_id, kek, wrapped FROM envelope.wrapped_key ORDER BY 1") == before
    check_whole(db)


def test_an_import_beside_a_destruction_brings_no_wrap(db, keks):
    """The export has a wrap that is not here. The import waits until it is decided whether the key lives."""
    db.sql("SELECT envelope.add_kek('t0', %s)", (keks[1],))
    db.sql("SELECT envelope.rotate_key('t0')")
    exported = db.value("SELECT envelope.export_keyring('t0')::text")
    db.sql("SELECT envelope.drop_kek('t0', %s)", (keks[1],))
    key_id = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.t0' AND state = 'decrypt-only'")
    with db.connect() as one, db.connect() as other:
        one.execute("BEGIN")
        one.execute("SELECT envelope.destroy_key(%s, 'a test', shred => true)", (key_id,))
        importing = Work(other.execute, "SELECT envelope.import_keyring(%s)", (exported,))
        # It need not wait.
        process.wait_until(lambda: not importing.is_alive() or db.waits_for_lock(other.info.backend_pid), "the import")
        one.execute("COMMIT")
        importing.result()
    assert db.sql("SELECT state, cardinality(keks) FROM envelope.keys WHERE key_id = %s", (key_id,)) == [("destroyed", 0)]


def test_a_wrap_that_cannot_be_read_keeps_no_other_from_opening(db, keks):
    db.sql("SELECT envelope.add_kek('t0', %s)", (keks[1],))
    db.sql("UPDATE envelope.wrapped_key SET kms_context = '{\"table\": 1}' WHERE kek = %s", (keks[0],))
    with db.connect() as c:
        assert c.execute("SELECT envelope_decrypt_text('t0', ssn) FROM t0").fetchall() == [("v0",)]
        c.execute("INSERT INTO t0 VALUES (9, 'w')")
    # Where it is the only one, that is the error.
    with fails("XX001"):
        db.sql("SELECT envelope_decrypt_text('t1', ssn) FROM t1")


# -- keys that a table only opens with ----------------------------------------------------------------------------------


@pytest.fixture
def copied(db):
    """t0 goes on in a copy that was made beside it: with a keyring of its own, and t0's to open what it copied."""
    db.sql("CREATE TABLE copied (LIKE t0 INCLUDING ALL)")
    db.sql("SELECT envelope.share_keyring('t0', 'copied'); INSERT INTO copied TABLE t0")
    db.sql("SELECT envelope_encrypt('copied', 'x')")
    return db


@pytest.mark.parametrize("relation", [None, "copied"])
@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_a_keyring_whose_table_is_gone_and_that_another_needs(copied, keks, relation, who):
    """Else nothing would seem to be under the old KEK any more."""
    user = copied.low if who == "owner" else "postgres"
    copied.sql(f"GRANT CREATE ON SCHEMA public TO {copied.low}; ALTER TABLE copied OWNER TO {copied.low}; DROP TABLE t0")
    move = "SELECT table_name, done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass, %s)"
    would = copied.sql(move, (*keks, relation, True), user=user)
    assert would.count(("public.copied", False, None)) == 2
    moved = copied.sql(move, (*keks, relation, False), user=user)
    assert moved.count(("public.copied", True, None)) == 2
    assert copied.sql(move, (*keks, relation, True), user=user) == []
    assert copied.value("SELECT envelope_decrypt_text('copied', ssn) FROM copied") == "v0"


def test_a_keyring_of_anothers_is_told_of(copied, keks):
    """Who may not move it learns that a table of theirs needs the old KEK."""
    copied.sql(f"GRANT CREATE ON SCHEMA public TO {copied.low}; ALTER TABLE copied OWNER TO {copied.low}")
    for relation in (None, "copied"):
        move = "SELECT table_name, done, sqlstate FROM envelope.rewrap(%s, %s, %s::text::regclass)"
        rows = copied.sql(move, (*keks, relation), user=copied.low)
        assert ("public.t0", False, "42501") in rows
        assert [row for row in rows if row[2] is None] in ([("public.copied", True, None)], [])
    copied.sql("SELECT envelope.rewrap(%s, %s, 't0')", keks)
    assert copied.sql(move, (*keks, None), user=copied.low) == []


def test_a_partitions_own_keyring_moves_with_its_root(db, keks):
    db.sql("CREATE TABLE log (id int, ssn bytea) PARTITION BY LIST (id); CREATE TABLE log_1 (id int, ssn bytea)")
    db.sql("INSERT INTO log_1 VALUES (1, envelope_encrypt('log_1', 'one'))")
    db.sql("ALTER TABLE log ATTACH PARTITION log_1 FOR VALUES IN (1); SELECT envelope_encrypt('log', 'x')")
    rows = db.sql("SELECT table_name, done FROM envelope.rewrap(%s, %s, 'log')", keks)
    assert sorted(rows) == [("public.log", True), ("public.log_1", True)]
    assert db.value("SELECT envelope_decrypt_text(tableoid, ssn) FROM log") == "one"


def test_an_heirs_keyring_does_not(db, keks):
    db.sql("CREATE TABLE heir () INHERITS (t0); SELECT envelope_encrypt('heir', 'x')")
    assert db.sql("SELECT table_name, done FROM envelope.rewrap(%s, %s, 't0')", keks) == [("public.t0", True)]
