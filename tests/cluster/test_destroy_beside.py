"""destroy_key beside drops, registrations, readers and another of its kind."""

import pytest
from harness import process, sealed
from harness.work import Work
from sqlstate import fails


def old_key(db, table):
    """Makes the table, with a column that no trigger tells of, and two versions of its key; the first one's id."""
    db.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, v bytea)")
    key_id = db.value("SELECT envelope.create_key(%s)", (table,))
    sealed.second_version(db.sql, table)
    return key_id


def destroy(c, key_id):
    return c.execute("SELECT envelope.destroy_key(%s, 'a test')", (key_id,))


def state(db, key_id):
    return db.value("SELECT state FROM envelope.keys WHERE key_id = %s", (key_id,))


def waits(db, c):
    process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for a lock")


# -- drops ----------------------------------------------------------------------------------------------------------


DROPPED = {
    # Made, used with the keyring or registered, dropped.
    "shared": ("CREATE TABLE gone (v bytea)", "SELECT envelope.share_keyring('people', 'gone')", "DROP TABLE gone"),
    "registered": ("CREATE TABLE gone (v bytea)", "SELECT envelope.register_column('gone', 'v')", "DROP TABLE gone"),
    "heir": ("CREATE TABLE gone () INHERITS (people)", "SELECT 1", "DROP TABLE gone"),
    "domain": ("CREATE DOMAIN sealed AS bytea; CREATE TABLE gone (v sealed)",
               "SELECT envelope.register_column('gone', 'v')", "DROP DOMAIN sealed CASCADE"),
}


@pytest.mark.parametrize("how", DROPPED)
def test_a_table_that_is_dropped_meanwhile_holds_nothing(db, how):
    made, used, dropped = DROPPED[how]
    key_id = old_key(db, "people")
    db.sql(made)
    db.sql(used)
    with db.connect() as dropper, db.connect() as c:
        dropper.execute("BEGIN")
        dropper.execute(dropped)
        work = Work(destroy, c, key_id)
        waits(db, c)
        dropper.execute("COMMIT")
        work.result()
    assert state(db, key_id) == "destroyed"


def test_another_owners_registered_table_that_is_dropped_meanwhile(db):
    """It is not waited for, and not read: it is said to be locked, or is gone."""
    key_id = old_key(db, "people")
    db.sql(f"ALTER TABLE people OWNER TO {db.low}")
    db.sql("CREATE TABLE theirs (v bytea); SELECT envelope.register_column('theirs', 'v')")
    with db.connect() as dropper, db.connect(user=db.low) as c:
        dropper.execute("BEGIN; DROP TABLE theirs")
        with fails("55P03"):
            destroy(c, key_id)
        dropper.execute("COMMIT")
        destroy(c, key_id)
    assert state(db, key_id) == "destroyed"


def test_a_column_is_not_registered_of_a_table_that_is_being_dropped(db):
    db.sql("CREATE TABLE people (v bytea)")
    with db.connect() as dropper, db.connect() as c:
        dropper.execute("BEGIN; DROP TABLE people")
        work = Work(c.execute, "SELECT envelope.register_column('people', 'v')")
        waits(db, c)
        dropper.execute("COMMIT")
        assert work.error().sqlstate == "42P01"
    assert db.value("SELECT count(*) FROM envelope.sealed_column") == 0


# -- two at once ----------------------------------------------------------------------------------------------------


def test_two_destructions_lock_in_one_order(db):
    """Each of a table of its own, and each reads what is registered of the other's. An ordinary UPDATE beside them is
    neither held up nor anybody's victim."""
    one, other = old_key(db, "people"), old_key(db, "patients")
    db.sql("CREATE TABLE busy (id int PRIMARY KEY, v bytea); INSERT INTO people VALUES (1, NULL)")
    for table in ("busy", "people", "patients"):
        db.sql("SELECT envelope.register_column(%s, 'v')", (table,))
    with db.connect() as writer, db.connect() as first, db.connect() as second, db.connect() as update:
        for c in (first, second, update):
            c.execute("SET deadlock_timeout = '50ms'")
        writer.execute("BEGIN; INSERT INTO busy VALUES (1, NULL)")
        works = [Work(destroy, first, one)]
        waits(db, first)
        works.append(Work(destroy, second, other))
        waits(db, second)
        # While they wait for the writer they hold no table that somebody else may want.
        Work(update.execute, "UPDATE people SET id = 2").result()
        writer.execute("COMMIT")
        for work in works:
            work.result()
    assert (state(db, one), state(db, other)) == ("destroyed", "destroyed")
    assert db.value("SELECT id FROM people") == 2


def test_who_writes_by_the_parent_is_no_victim(db):
    """Children are locked after their parents, as writers do, whatever their OIDs."""
    db.sql("CREATE TABLE part (id int NOT NULL, v bytea)")
    db.sql("CREATE TABLE people (id int NOT NULL, v bytea) PARTITION BY RANGE (id)")
    db.sql("ALTER TABLE people ATTACH PARTITION part FOR VALUES FROM (0) TO (10)")
    assert db.value("SELECT 'part'::regclass::oid < 'people'::regclass::oid")
    key_id = db.value("SELECT envelope.create_key('people')")
    sealed.second_version(db.sql, "people")
    with db.connect() as writer, db.connect() as c:
        for session in (writer, c):
            session.execute("SET deadlock_timeout = '50ms'")
        writer.execute("BEGIN; LOCK TABLE ONLY people IN ROW EXCLUSIVE MODE")
        work = Work(destroy, c, key_id)
        waits(db, c)
        writer.execute("INSERT INTO people VALUES (1, NULL); COMMIT")
        work.result()
    assert state(db, key_id) == "destroyed"


WRITES = {
    # Tables beside `people`, and what one transaction writes before and while destroy_key waits.
    "leaf, then root": ("CREATE TABLE people (id int, v bytea) PARTITION BY LIST (id); "
                        "CREATE TABLE part PARTITION OF people DEFAULT", "part", "people"),
    "heir, then base": ("CREATE TABLE people (id int, v bytea); CREATE TABLE heir () INHERITS (people)",
                        "heir", "people"),
    "two that use the keyring": ("CREATE TABLE people (id int, v bytea); CREATE TABLE copies (id int, v bytea); "
                                 "SELECT envelope.share_keyring('people', 'copies')", "copies", "people"),
}


@pytest.mark.parametrize("order", WRITES)
def test_who_writes_to_several_tables_is_no_victim(db, order):
    """Whatever the order: while destroy_key waits for one of them it holds none."""
    made, before, meanwhile = WRITES[order]
    made = made.split("; ")
    db.sql(made[0])
    key_id = db.value("SELECT envelope.create_key('people')")
    sealed.second_version(db.sql, "people")
    for statement in made[1:]:
        db.sql(statement)
    with db.connect() as writer, db.connect() as c:
        for session in (writer, c):
            session.execute("SET deadlock_timeout = '50ms'")
        writer.execute(f"BEGIN; INSERT INTO {before} VALUES (1, NULL)")
        work = Work(destroy, c, key_id)
        waits(db, c)
        writer.execute(f"INSERT INTO {meanwhile} VALUES (2, NULL)")
        writer.execute("COMMIT")
        work.result()
    assert state(db, key_id) == "destroyed"
    assert db.value("SELECT count(*) FROM people") >= 1


def test_a_partition_that_comes_while_unshare_waits(db):
    old_key(db, "people")
    db.sql("CREATE TABLE copies (id int, v bytea) PARTITION BY LIST (id); CREATE TABLE part PARTITION OF copies DEFAULT")
    db.sql("SELECT envelope.share_keyring('people', 'copies')")
    with db.connect() as writer, db.connect() as c:
        writer.execute("BEGIN; INSERT INTO part VALUES (2, NULL); CREATE TABLE more (id int, v bytea)")
        writer.execute("INSERT INTO more VALUES (1, envelope_encrypt('people', 'x'))")
        work = Work(c.execute, "SELECT envelope.unshare_keyring('people', 'copies')")
        waits(db, c)
        writer.execute("ALTER TABLE copies ATTACH PARTITION more FOR VALUES IN (1)")
        writer.execute("COMMIT")
        assert work.error().sqlstate == "55006"


def test_what_another_owner_is_writing_is_not_passed_by(db):
    """unshare_keyring cannot see it, and waits for nobody else's table: it says that the table is in use."""
    first_owner, other_owner = f"first_{db.name}", f"other_{db.name}"
    for role in (first_owner, other_owner):
        db.sql(f"CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}")
    db.sql("CREATE TABLE people (v bytea)", user=first_owner)
    db.sql("CREATE TABLE copies (v bytea)", user=other_owner)
    db.sql("SELECT envelope.create_key('people')", user=first_owner)
    db.sql("SELECT envelope.share_keyring('people', 'copies')")
    value = db.value("SELECT envelope_encrypt('people', 'x')", user=first_owner)
    with db.connect(user=other_owner) as writer, db.connect(user=first_owner) as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO copies VALUES (%s)", (value,))
        with fails("55P03"):
            c.execute("SELECT envelope.unshare_keyring('people', 'copies')")
        writer.execute("COMMIT")
        with fails("55006"):
            c.execute("SELECT envelope.unshare_keyring('people', 'copies')")
    assert db.value("SELECT envelope_decrypt_text('copies', v) FROM copies") == "x"


def test_a_superuser_is_not_held_up_by_anybodys_registered_table(db):
    key_id = old_key(db, "people")
    db.sql(f"CREATE TABLE theirs (id int, v bytea); ALTER TABLE theirs OWNER TO {db.low}")
    db.sql("SELECT envelope.register_column('theirs', 'v')", user=db.low)
    with db.connect(user=db.low) as writer, db.connect() as c:
        writer.execute("BEGIN; INSERT INTO theirs VALUES (1, NULL)")
        c.execute("SET lock_timeout = '60s'")
        destroy(c, key_id)
    assert state(db, key_id) == "destroyed"


def test_an_earlier_snapshot_hides_no_partition(db):
    """unshare_keyring looks at what is there now, in every isolation level."""
    old_key(db, "people")
    db.sql("CREATE TABLE copies (id int, v bytea) PARTITION BY LIST (id)")
    db.sql("SELECT envelope.share_keyring('people', 'copies')")
    with db.connect() as c:
        c.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
        db.sql("CREATE TABLE part PARTITION OF copies DEFAULT")
        db.sql("INSERT INTO copies VALUES (1, envelope_encrypt('people', 'x'))")
        with fails("55006"):
            c.execute("SELECT envelope.unshare_keyring('people', 'copies')")


def test_later_writers_wait_behind_it(db):
    """For as long as it waits for a table, and until its transaction ends; then they go on."""
    key_id = old_key(db, "people")
    with db.connect() as writer, db.connect() as c, db.connect() as later:
        writer.execute("BEGIN; INSERT INTO people VALUES (1, NULL)")
        work = Work(destroy, c, key_id)
        waits(db, c)
        update = Work(later.execute, "INSERT INTO people VALUES (2, NULL)")
        waits(db, later)
        writer.execute("COMMIT")
        work.result()
        update.result()
    assert db.value("SELECT count(*) FROM people") == 2


# -- what is registered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("child", ["CREATE TABLE child PARTITION OF haystack DEFAULT WITH (fillfactor = 10)",
                                   "CREATE TABLE child () INHERITS (haystack) WITH (fillfactor = 10)"])
def test_a_registered_tables_partitions_and_heirs_are_read_to_their_end(db, child):
    key_id = old_key(db, "people")
    needle = db.value("SELECT envelope_encrypt('people', 'x')")
    second = db.value("SELECT envelope.key_id_of(%s)", (needle,))
    sealed.second_version(db.sql, "people")
    db.sql(f"CREATE TABLE haystack (id int, v bytea) {'PARTITION BY LIST (id)' if 'PARTITION' in child else ''}")
    db.sql(child)
    db.sql("INSERT INTO child SELECT g, sha512(g::text::bytea) FROM generate_series(1, 30000) g")
    db.sql("INSERT INTO child VALUES (0, %s)", (needle,))
    # Far more than a sample.
    assert db.value("SELECT pg_relation_size('child') / 8192") > 4000
    db.sql("SELECT envelope.register_column('haystack', 'v')")
    with db.connect() as c:
        with fails("55006") as caught:
            destroy(c, second)
        assert "public.child" in str(caught.value)
        db.sql("DELETE FROM child WHERE id = 0")
        destroy(c, second)
    assert (state(db, second), state(db, key_id)) == ("destroyed", "decrypt-only")


# -- readers --------------------------------------------------------------------------------------------------------


def test_who_comes_to_a_key_that_was_destroyed_meanwhile(aws, proxy):
    """warm() has chosen its keys, and waits for the KMS with the first of them: the next is gone by then, and nothing
    is damaged."""
    aws.sql("CREATE TABLE people (id int PRIMARY KEY, v bytea)")
    key_id = aws.value("SELECT envelope.create_key('people')")
    aws.sql("SELECT envelope.rotate_key('people')")
    with aws.patient() as c, aws.connect() as d:
        held = proxy.hold("Decrypt")
        work = Work(c.execute, "SELECT envelope.warm('people')")
        held()
        destroy(d, key_id)
        proxy.clear()
        assert work.error().sqlstate == "55000"
