"""destroy_key and shred beside everything else that goes on: writers, prepared transactions, tables nobody thinks of."""

import psycopg
import pytest
from harness import disk, process, sealed
from harness.base_backup import BaseBackup
from harness.cluster import Cluster
from harness.work import Work
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', %s)"


@pytest.fixture(scope="module")
def two_phase():
    with Cluster(conf={"max_prepared_transactions": 20}) as c:
        yield c


@pytest.fixture
def prepared(two_phase, database):
    return database(two_phase)


def two_versions(db, table="people"):
    """A table without a trigger, a value of each of its two versions, and the first version's key id."""
    db.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, ssn bytea)")
    first = db.value(f"SELECT envelope_encrypt('{table}', 'first')")
    sealed.second_version(db.sql, table)
    second = db.value(f"SELECT envelope_encrypt('{table}', 'second')")
    return first, second, db.value("SELECT key_id FROM envelope.inspect(%s)", (first,))


def destroy(run, key_id, **options):
    return run("SELECT envelope.destroy_key(%s, 'a test', %s)", (key_id, options.get("shred", False)))


def state(db, key_id):
    """Of the key, and how many wraps it has."""
    return db.sql("SELECT state, cardinality(keks) FROM envelope.keys WHERE key_id = %s", (key_id,))[0]


# -- what nobody would see ------------------------------------------------------------------------------------------


def test_it_waits_for_who_is_writing_and_then_refuses(db):
    first, _, key_id = two_versions(db)
    with db.connect() as writer, db.connect() as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO people VALUES (1, %s)", (first,))

        def run():
            with fails("55006"):
                destroy(c.execute, key_id)

        refused = Work(run)
        process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for the writer")
        writer.execute("COMMIT")
        refused.result()
    assert state(db, key_id) == ("decrypt-only", 1)
    assert db.value(OPEN, (first,)) == "first"


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_prepared_transaction_holds_a_value(prepared, end):
    first, _, key_id = two_versions(prepared)
    with prepared.connect() as c:
        c.execute("BEGIN")
        c.execute("INSERT INTO people VALUES (1, %s)", (first,))
        c.execute(f"PREPARE TRANSACTION '{prepared.name}'")
        c.execute("SET lock_timeout = '200ms'")
        with fails("55P03"):
            destroy(c.execute, key_id)
        assert state(prepared, key_id) == ("decrypt-only", 1)
        c.execute(f"{end} PREPARED '{prepared.name}'")
        if end == "COMMIT":
            with fails("55006"):
                destroy(c.execute, key_id)
            assert prepared.value(OPEN, (first,)) == "first"
        else:
            destroy(c.execute, key_id)
            assert state(prepared, key_id) == ("destroyed", 0)


def test_writers_wait_until_it_has_committed(db):
    first, second, key_id = two_versions(db)
    with db.connect() as c, db.connect() as writer:
        c.execute("BEGIN")
        destroy(c.execute, key_id)
        writer.execute("SET lock_timeout = '100ms'")
        with fails("55P03"):
            writer.execute("INSERT INTO people VALUES (1, %s)", (second,))
        assert writer.execute("SELECT count(*) FROM people").fetchone() == (0,)
        c.execute("COMMIT")
        writer.execute("INSERT INTO people VALUES (1, %s)", (second,))


def test_row_policies_and_missing_rights_hide_nothing(db):
    first, _, key_id = two_versions(db)
    db.sql("INSERT INTO people VALUES (1, %s)", (first,))
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    db.sql("ALTER TABLE people ENABLE ROW LEVEL SECURITY")
    db.sql("ALTER TABLE people FORCE ROW LEVEL SECURITY")
    with db.connect(user=db.low) as owner:
        owner.execute("REVOKE ALL ON people FROM CURRENT_USER")
        with fails("55006"):
            destroy(owner.execute, key_id)
    db.sql("DELETE FROM people")
    with db.connect(user=db.low) as owner:
        destroy(owner.execute, key_id)
    assert state(db, key_id) == ("destroyed", 0)


def test_a_value_past_the_first_pages(db):
    """The table is read to its end, not sampled."""
    first, second, key_id = two_versions(db)
    db.sql("INSERT INTO people SELECT g, %s FROM generate_series(1, 30000) g", (second,))
    db.sql("UPDATE people SET ssn = %s WHERE id = 20000", (first,))
    with fails("55006"):
        destroy(db.sql, key_id)
    db.sql("UPDATE people SET ssn = %s WHERE id = 20000", (second,))
    destroy(db.sql, key_id)


def test_partitions_at_every_level_and_heirs(db):
    db.sql("CREATE TABLE parts (id int, v bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (10) PARTITION BY LIST (id)")
    db.sql("CREATE TABLE lowest PARTITION OF low DEFAULT")
    first = db.value("SELECT envelope_encrypt('parts', 'x')")
    sealed.second_version(db.sql, "parts")
    key_id = db.value("SELECT key_id FROM envelope.inspect(%s)", (first,))
    db.sql("INSERT INTO lowest VALUES (1, %s)", (first,))
    with fails("55006"):
        destroy(db.sql, key_id)
    db.sql("DELETE FROM lowest")
    destroy(db.sql, key_id)


# -- tables that are no longer the key's own ------------------------------------------------------------------------


def test_a_detached_partition_is_found(db):
    db.sql("CREATE TABLE parts (id int, v bytea) PARTITION BY RANGE (id)")
    db.sql("CREATE TABLE old PARTITION OF parts FOR VALUES FROM (0) TO (10)")
    db.sql("INSERT INTO parts VALUES (1, envelope_encrypt('parts', 'x'))")
    key_id = db.value("SELECT key_id FROM old, envelope.inspect(v)")
    sealed.second_version(db.sql, "parts")
    db.sql("ALTER TABLE parts DETACH PARTITION old")
    with fails("55006") as caught:
        destroy(db.sql, key_id)
    assert "public.old" in str(caught.value)


def test_a_table_that_opens_with_the_keyring(db):
    first, _, key_id = two_versions(db)
    db.sql("CREATE TABLE elsewhere (v bytea)")
    db.sql("SELECT envelope.share_keyring('people', 'elsewhere')")
    with db.connect() as writer, db.connect() as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO elsewhere VALUES (%s)", (first,))
        c.execute("SET lock_timeout = '200ms'")
        with fails("55P03"):
            destroy(c.execute, key_id)
        writer.execute("COMMIT")
        with fails("55006"):
            destroy(c.execute, key_id)


@pytest.fixture
def haystack(db):
    """A table of nobody's keyring, too large to be sampled well, with one value under the first of two versions of
    another table's key at its end."""
    first, second, key_id = two_versions(db)
    db.sql("CREATE TABLE haystack (id int, v bytea) WITH (fillfactor = 10)")
    db.sql("INSERT INTO haystack SELECT g, %s FROM generate_series(1, 30000) g", (second,))
    db.sql("INSERT INTO haystack VALUES (0, %s)", (first,))
    assert db.value("SELECT pg_relation_size('haystack') / 8192") > 4000
    return key_id


def test_a_registered_column_is_read_to_its_end(db, haystack):
    db.sql("SELECT envelope.register_column('haystack', 'v')")
    with fails("55006") as caught:
        destroy(db.sql, haystack)
    assert "public.haystack" in str(caught.value)
    # Renamed it is still looked at.
    db.sql("ALTER TABLE haystack RENAME v TO w")
    with fails("55006"):
        destroy(db.sql, haystack)
    with db.connect() as writer, db.connect() as c:
        writer.execute("BEGIN")
        writer.execute("UPDATE haystack SET id = -1 WHERE id = 0")
        c.execute("SET lock_timeout = '200ms'")
        with fails("55P03"):
            destroy(c.execute, haystack)
        writer.execute("DELETE FROM haystack WHERE id = -1")
        writer.execute("COMMIT")
        destroy(c.execute, haystack)


def test_a_sample_is_no_proof_and_finds_what_is_common(db, haystack):
    """What docs/key-lifecycle.md says of tables that are neither the keyring's nor registered."""
    db.sql("UPDATE haystack SET v = (SELECT v FROM haystack WHERE id = 0) WHERE id % 10 = 0")
    with fails("55006"):
        destroy(db.sql, haystack)


def test_another_owners_table_is_read_and_not_locked(db):
    """Nobody can hold up the writers of a table that is not theirs."""
    first, second, key_id = two_versions(db)
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    db.sql("CREATE TABLE theirs (v bytea)")
    db.sql("SELECT envelope.register_column('theirs', 'v')")
    db.sql("INSERT INTO theirs VALUES (%s)", (first,))
    with db.connect() as writer, db.connect(user=db.low) as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO theirs VALUES (%s)", (second,))
        c.execute("SET lock_timeout = '200ms'")
        with fails("55006"):
            destroy(c.execute, key_id)
        writer.execute("DELETE FROM theirs")
        writer.execute("COMMIT")
        c.execute("BEGIN")
        destroy(c.execute, key_id)
        writer.execute("SET lock_timeout = '200ms'")
        writer.execute("INSERT INTO theirs VALUES (%s)", (second,))
        c.execute("COMMIT")


def test_nobody_waits_for_who_locks_another_table(db):
    """Nor do the writers of the keyring's table, who wait for the destruction."""
    first, second, key_id = two_versions(db)
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    db.sql("CREATE TABLE theirs (v bytea); CREATE TABLE registered (v bytea) PARTITION BY RANGE (v)")
    db.sql("CREATE TABLE part PARTITION OF registered DEFAULT; SELECT envelope.register_column('registered', 'v')")
    with db.connect() as other, db.connect(user=db.low) as c:
        c.execute("SET lock_timeout = '60s'")
        for table, end in (("registered", "ROLLBACK"), ("part", "ROLLBACK"), ("theirs", None)):
            other.execute("BEGIN")
            other.execute(f"LOCK TABLE ONLY {table}")
            if end:
                with fails("55P03") as caught:
                    destroy(c.execute, key_id)
                assert "public.registered is locked" in str(caught.value)
                other.execute(end)
        # Of other tables a sample is read, if it can be.
        destroy(c.execute, key_id)


def test_a_foreign_table_cannot_be_looked_into(db):
    first, second, key_id = two_versions(db)
    db.sql("CREATE TABLE parts (id int, v bytea) PARTITION BY RANGE (id)")
    db.sql("SELECT envelope.create_key('parts')")
    key_id = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.parts'")
    sealed.second_version(db.sql, "parts")
    db.sql("CREATE EXTENSION postgres_fdw")
    db.sql("CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw")
    db.sql("CREATE FOREIGN TABLE remote PARTITION OF parts FOR VALUES FROM (0) TO (10) SERVER away")
    with fails("55006"):
        destroy(db.sql, key_id)
    destroy(db.sql, key_id, shred=True)
    assert state(db, key_id) == ("destroyed", 0)


# -- the key itself -------------------------------------------------------------------------------------------------


def test_other_sessions_stop_opening_and_others_never_knew(db):
    """At their next statement after the commit; a rollback is as if nothing had been."""
    first, second, key_id = two_versions(db)
    with db.connect() as warm, db.connect() as c:
        assert warm.execute(OPEN, (first,)).fetchone() == ("first",)
        c.execute("BEGIN")
        destroy(c.execute, key_id)
        with fails("55000"):
            c.execute("SAVEPOINT s")
            c.execute(OPEN, (first,))
        c.execute("ROLLBACK TO s")
        assert warm.execute(OPEN, (first,)).fetchone() == ("first",)
        c.execute("ROLLBACK")
        assert c.execute(OPEN, (first,)).fetchone() == ("first",)
        destroy(c.execute, key_id)
        for session in (warm, c):
            with fails("55000") as caught:
                session.execute(OPEN, (first,))
            assert "a test" in caught.value.diag.message_detail
            assert session.execute(OPEN, (second,)).fetchone() == ("second",)


def test_what_destruction_means_is_said(db):
    *_, key_id = two_versions(db)
    said = []
    with db.connect() as c:
        c.add_notice_handler(lambda notice: said.append((notice.severity, notice.message_detail, notice.message_hint)))
        destroy(c.execute, key_id)
    ((severity, detail, hint),) = said
    assert severity == "NOTICE" and "backups" in detail and "KMS" in hint


def test_two_at_once_destroy_it_once(db):
    *_, key_id = two_versions(db)
    with db.connect() as one, db.connect() as other:
        one.execute("BEGIN")
        destroy(one.execute, key_id)

        def run():
            with fails("55000"):
                destroy(other.execute, key_id)

        refused = Work(run)
        process.wait_until(lambda: db.waits_for_lock(other.info.backend_pid), "a wait for the first")
        one.execute("COMMIT")
        refused.result()


@pytest.mark.parametrize("function", ["retire_key", "unretire_key"])
def test_nothing_brings_it_back(db, function):
    """Also when it was decided before the destruction had committed."""
    *_, key_id = two_versions(db)
    if function == "unretire_key":
        db.sql("SELECT envelope.retire_key(%s)", (key_id,))
    with db.connect() as one, db.connect() as other:
        one.execute("BEGIN")
        destroy(one.execute, key_id)

        def run():
            with fails("55000"):
                other.execute(f"SELECT envelope.{function}(%s)", (key_id,))

        refused = Work(run)
        process.wait_until(lambda: db.waits_for_lock(other.info.backend_pid), "a wait for the first")
        one.execute("COMMIT")
        refused.result()
    assert state(db, key_id) == ("destroyed", 0)


def test_its_wrap_leaves_the_files(own_cluster, database):
    db = database(own_cluster().start())
    *_, key_id = two_versions(db)
    wrapped, path = db.sql("SELECT wrapped, pg_relation_filepath('envelope.wrapped_key') FROM envelope.wrapped_key "
                           "WHERE key_id = %s", (key_id,))[0]
    base = db.cluster.data / "base"
    db.sql("CHECKPOINT")
    assert disk.files_holding(base, wrapped) == [db.cluster.data / path]
    destroy(db.sql, key_id)
    db.sql("VACUUM FULL envelope.wrapped_key")
    db.sql("CHECKPOINT")
    assert disk.files_holding(base, wrapped) == []


def test_killed_before_its_commit_nothing_is_gone(own_cluster, database):
    db = database(own_cluster().start())
    first, _, key_id = two_versions(db)
    with pytest.raises(psycopg.OperationalError), db.connect() as c:
        c.execute("BEGIN")
        destroy(c.execute, key_id)
        db.cluster.kill9()
        c.execute("COMMIT")
    db.cluster.start()
    assert state(db, key_id) == ("decrypt-only", 1)
    assert db.value(OPEN, (first,)) == "first"
    destroy(db.sql, key_id)
    db.cluster.kill9()
    db.cluster.start()
    assert state(db, key_id) == ("destroyed", 0)


def test_on_a_standby(database):
    primary = Cluster()
    # One place for both, as a KMS would be.
    primary.set(envelope__file_kek_directory=primary.base / "kek")
    with primary, BaseBackup(primary, standby=True) as standby:
        db = database(primary)
        first, second, key_id = two_versions(db)
        standby.caught_up()
        with standby.connect(db.name) as session:
            assert session.execute(OPEN, (first,)).fetchone() == ("first",)
            for statement in ("SELECT envelope.destroy_key(%s, 'x')", "SELECT envelope.retire_key(%s)"):
                with fails("25006"):
                    session.execute(statement, (key_id,))
            destroy(db.sql, key_id)
            standby.caught_up()
            with fails("55000"):
                session.execute(OPEN, (first,))
            assert session.execute(OPEN, (second,)).fetchone() == ("second",)


# -- shred ----------------------------------------------------------------------------------------------------------


def test_shred_waits_for_nobody_and_what_was_being_written_is_lost_too(db):
    """It is for when it has to be quick."""
    db.people(rows=["one"])
    with db.connect() as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO people VALUES (2, 'two')")
        assert db.value("SELECT envelope.shred('people', 'now')") == 1
        writer.execute("COMMIT")
        with fails("42704"):
            writer.execute("INSERT INTO people VALUES (3, 'three')")
    for row in (1, 2):
        with fails("55000"):
            db.sql("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = %s", (row,))


def test_shred_waits_for_a_key_that_is_being_made(db):
    """Else the table would have one it knows nothing of, under which values were sealed before it committed."""
    db.people()
    with db.connect() as maker, db.connect() as c:
        maker.execute("BEGIN")
        maker.execute("INSERT INTO people VALUES (1, 'one')")
        shredded = Work(lambda: c.execute("SELECT envelope.shred('people', 'now')").fetchone()[0])
        process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for the maker")
        maker.execute("COMMIT")
        assert shredded.result() == 1
    with fails("55000"):
        db.sql("SELECT envelope_decrypt('people', ssn) FROM people")


def test_shred_beside_a_destruction_that_waits(db):
    """The destruction has marked its key and waits for a writer; shred waits for it, holding nothing it needs."""
    _, second, key_id = two_versions(db)
    with db.connect() as writer, db.connect() as one, db.connect() as other:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO people VALUES (1, %s)", (second,))
        destroyed = Work(destroy, one.execute, key_id)
        process.wait_until(lambda: db.waits_for_lock(one.info.backend_pid), "a wait for the writer")
        shredded = Work(lambda: other.execute("SELECT envelope.shred('people', 'a test')").fetchone()[0])
        process.wait_until(lambda: db.waits_for_lock(other.info.backend_pid), "a wait for the destruction")
        writer.execute("COMMIT")
        destroyed.result()
        # The other version alone: the first was destroyed when its turn came.
        assert shredded.result() == 1
    assert db.sql("SELECT DISTINCT state, cardinality(keks) FROM envelope.keys") == [("destroyed", 0)]


# -- temporary tables -----------------------------------------------------------------------------------------------


def test_temporary_heirs(db):
    """One's own is read, another session's cannot be."""
    first, second, key_id = two_versions(db)
    with db.connect() as c:
        c.execute("CREATE TEMP TABLE heir () INHERITS (people)")
        c.execute("INSERT INTO heir VALUES (1, %s)", (second,))
        with fails("55006") as caught:
            destroy(db.sql, key_id)
        assert "another session's temporary table" in str(caught.value)
        c.execute("INSERT INTO heir VALUES (2, %s)", (first,))
        with fails("55006") as caught:
            destroy(c.execute, key_id)
        assert "still seals values" in str(caught.value)
        c.execute("DELETE FROM heir WHERE id = 2")
        destroy(c.execute, key_id)
    assert state(db, key_id) == ("destroyed", 0)


def test_temporary_copies(db):
    first, _, key_id = two_versions(db)
    with db.connect() as c, db.connect() as other:
        for session in (c, other):
            session.execute("CREATE TEMP TABLE copies (v bytea)")
            session.execute("INSERT INTO copies VALUES (%s)", (first,))
        with fails("55006"):
            destroy(c.execute, key_id)
        c.execute("DROP TABLE copies")
        # What another session holds by itself is not looked for.
        destroy(c.execute, key_id)
    assert state(db, key_id) == ("destroyed", 0)


# -- beside who lets another table use the key --------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
@pytest.mark.parametrize("what", ["destroy_key", "shred"])
def test_it_waits_for_who_shares_the_keyring(db, what, end):
    """Else what was copied there would be under a destroyed key when the share commits."""
    first, _, key_id = two_versions(db)
    db.sql("CREATE TABLE copied (id int, ssn bytea)")
    with db.connect() as sharer, db.connect() as c:
        sharer.execute("BEGIN")
        sharer.execute("SELECT envelope.share_keyring('people', 'copied')")
        sharer.execute("INSERT INTO copied VALUES (1, %s)", (first,))
        if what == "shred":
            work = Work(lambda: c.execute("SELECT envelope.shred('people', 'a test')"))
        else:
            work = Work(destroy, c.execute, key_id)
        process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for the sharer")
        sharer.execute(end)
        if end == "COMMIT":
            assert work.error().sqlstate == "55006"
            assert db.value("SELECT envelope_decrypt_text('copied', ssn) FROM copied") == "first"
        else:
            work.result()
            assert state(db, key_id) == ("destroyed", 0)


def test_it_waits_for_a_prepared_adoption(own_cluster, database):
    db = database(own_cluster(conf={"max_prepared_transactions": 2}).start())
    first, _, key_id = two_versions(db)
    left = db.value("SELECT keyring_id FROM envelope.keyring")
    db.sql("DROP TABLE people; CREATE TABLE restored (id int, ssn bytea)")
    with db.connect() as adopter, db.connect() as c:
        adopter.execute("BEGIN")
        adopter.execute("SELECT envelope.adopt_keyring(%s, 'restored')", (left,))
        adopter.execute("INSERT INTO restored VALUES (1, %s)", (first,))
        adopter.execute("PREPARE TRANSACTION 'adopted'")
        work = Work(destroy, c.execute, key_id)
        process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for the adopter")
        adopter.execute("COMMIT PREPARED 'adopted'")
        assert work.error().sqlstate == "55006"
    assert db.value("SELECT envelope_decrypt_text('restored', ssn) FROM restored") == "first"
