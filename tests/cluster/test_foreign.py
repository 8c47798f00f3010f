"""Values that stand on other servers, in foreign tables: a key is destroyed only where a SELECT proves that none needs it."""

import psycopg
import pytest
from harness import foreign, process, shards
from harness.work import Work
from sqlstate import fails

PARTED = {"partition": "CREATE FOREIGN TABLE {} PARTITION OF parts FOR VALUES IN ({}) SERVER away OPTIONS (table_name '{}')",
          "heir": "CREATE FOREIGN TABLE {0} (CHECK (id = {1})) INHERITS (parts) SERVER away OPTIONS (table_name '{2}')"}


@pytest.fixture
def there(cluster):
    with foreign.elsewhere(cluster) as made:
        yield made


def parts(db, there, way="partition", options=foreign.SHOWS_ALL, names=("away_1",)):
    """A table with a value of its first key, of two, in each foreign part; the first key."""
    foreign.server(db, there, options)
    by = " PARTITION BY LIST (id)" if way == "partition" else ""
    db.sql(f"CREATE TABLE parts (id int, ssn bytea){by}")
    for number, name in enumerate(names, 1):
        foreign.table(there, name)
        db.sql(PARTED[way].format(name, number, name))
    key = db.value("SELECT envelope.create_key('parts')")
    for number, name in enumerate(names, 1):
        db.sql(f"INSERT INTO {name} VALUES ({number}, envelope_encrypt_text('parts', 'one'))")
    db.sql("SELECT envelope.rotate_key('parts')")
    return db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.parts' AND version = 1") if key else None


def destroy(run, key):
    return run("SELECT envelope.destroy_key(%s, 'a test')", (key,))


RESEAL = "UPDATE parts SET ssn = envelope.reseal('parts', ssn) WHERE envelope.key_id_of(ssn) = %s"


@pytest.mark.parametrize("way", PARTED)
def test_a_value_there_keeps_its_key(db, there, way):
    key = parts(db, there, way)
    with fails("55006") as caught:
        destroy(db.sql, key)
    # The HINT begins with a statement that helps.
    hint = caught.value.diag.message_hint
    db.sql(hint[hint.index("UPDATE"):hint.index(". To lose")])
    destroy(db.sql, key)
    assert db.value("SELECT state FROM envelope.keys WHERE key_id = %s", (key,)) == "destroyed"
    assert db.value("SELECT envelope_decrypt_text('parts', ssn) FROM parts") == "one"


def test_several_parts_and_keys_at_once(db, there):
    key = parts(db, there, names=("away_1", "away_2"))
    db.sql(RESEAL + " AND id = 1", (key,))
    with fails("55006") as caught:
        destroy(db.sql, key)
    assert "away_2" in caught.value.diag.message_primary
    db.sql("SELECT envelope.rotate_key('parts')")
    db.sql("UPDATE parts SET ssn = envelope.reseal('parts', ssn)")
    db.sql("SELECT envelope.destroy_key(key_id, 'a test') FROM envelope.keys WHERE relation = 'public.parts' "
           "AND state = 'decrypt-only'")
    assert db.sql("SELECT state FROM envelope.keys WHERE relation = 'public.parts' ORDER BY version") == [
        ("destroyed",), ("destroyed",), ("active",)]


def test_rows_that_the_server_may_hide(db, there):
    """Row security there: without a word of the server's options it is not looked at, with it the server refuses."""
    key = parts(db, there, options=None)
    there.sql(f"CREATE ROLE reader_{there.name} LOGIN")
    there.sql(f"GRANT SELECT ON away_1 TO reader_{there.name}")
    there.sql("ALTER TABLE away_1 ENABLE ROW LEVEL SECURITY")
    db.sql(f"ALTER USER MAPPING FOR PUBLIC SERVER away OPTIONS (SET user 'reader_{there.name}')")
    assert db.value("SELECT count(*) FROM parts") == 0
    with fails("55006"):
        destroy(db.sql, key)
    db.sql("ALTER SERVER away OPTIONS (ADD options '-c row_security=off')")
    with fails("42501"):
        destroy(db.sql, key)
    there.sql(f"ALTER ROLE reader_{there.name} BYPASSRLS")
    with fails("55006") as caught:
        destroy(db.sql, key)
    assert "still seals" in caught.value.diag.message_primary


def test_a_transaction_that_has_read_there_before(db, there):
    """It would see what it saw then, and not what was committed since."""
    key = parts(db, there)
    sealed = db.value("SELECT ssn FROM parts")
    db.sql(RESEAL, (key,))
    with db.connect() as c, db.connect() as writer:
        c.execute("BEGIN")
        assert c.execute("SELECT count(*) FROM parts").fetchone() == (1,)
        writer.execute("INSERT INTO away_1 VALUES (1, %s)", (sealed,))
        with fails("55006") as caught:
            destroy(c.execute, key)
        assert "still seals" not in caught.value.diag.message_primary
        c.execute("ROLLBACK")
        # In one statement, too.
        with fails("55006"):
            c.execute("SELECT envelope.destroy_key(%s, 'x') FROM (SELECT count(*) FROM away_1 OFFSET 0) s", (key,))
        # An idle connection from an earlier transaction is no hindrance.
        with fails("55006") as caught:
            destroy(c.execute, key)
        assert "still seals" in caught.value.diag.message_primary
        c.execute("DELETE FROM away_1 WHERE ssn = %s", (sealed,))
        destroy(c.execute, key)


def test_a_savepoint_that_locked_is_gone(db, there):
    """Its locks are free, and what others wrote since is not seen by the transaction that it began there."""
    key = parts(db, there)
    sealed = db.value("SELECT ssn FROM parts")
    db.sql(RESEAL, (key,))
    with db.connect() as c, db.connect() as writer:
        c.execute("BEGIN")
        c.execute("SAVEPOINT s")
        destroy(c.execute, key)
        c.execute("ROLLBACK TO s")
        writer.execute("INSERT INTO away_1 VALUES (1, %s)", (sealed,))
        with fails("55006"):
            destroy(c.execute, key)


def test_tables_locked_later_on_the_same_server(db, there):
    """The first look began a transaction there; who wrote to the second table until its own lock is not seen by it."""
    first = parts(db, there)
    db.sql(RESEAL, (first,))
    db.sql("CREATE TABLE others (id int, ssn bytea) PARTITION BY LIST (id)")
    foreign.table(there, "others_1")
    db.sql("CREATE FOREIGN TABLE others_1 PARTITION OF others FOR VALUES IN (1) SERVER away")
    db.sql("SELECT envelope.create_key('others')")
    sealed = db.value("SELECT envelope_encrypt_text('others', 'x')")
    db.sql("SELECT envelope.rotate_key('others')")
    second = db.value("SELECT key_id FROM envelope.inspect(%s)", (sealed,))
    with db.connect() as c, db.connect() as writer:
        c.execute("BEGIN")
        destroy(c.execute, first)
        writer.execute("INSERT INTO others VALUES (1, %s)", (sealed,))
        with fails("55006") as caught:
            destroy(c.execute, second)
        assert "still seals" not in caught.value.diag.message_primary


def test_who_is_writing_is_waited_for(db, there):
    key = parts(db, there)
    sealed = db.value("SELECT ssn FROM parts")
    db.sql(RESEAL, (key,))
    with db.connect() as writer, db.connect() as c:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO away_1 VALUES (1, %s)", (sealed,))

        def run():
            with fails("55006") as caught:
                destroy(c.execute, key)
            assert "still seals" in caught.value.diag.message_primary

        refused = Work(run)
        process.wait_until(lambda: db.waits_for_lock(c.info.backend_pid), "a wait for the writer")
        writer.execute("COMMIT")
        refused.result()


def test_no_answer_is_no_proof(db, there):
    key = parts(db, there)
    db.sql(RESEAL, (key,))
    db.sql("ALTER SERVER away OPTIONS (SET dbname 'nowhere')")
    with pytest.raises(psycopg.Error):
        destroy(db.sql, key)
    assert db.value("SELECT state FROM envelope.keys WHERE key_id = %s", (key,)) == "decrypt-only"


def test_other_wrappers(db, there):
    """Of which nothing is known: here one that says it is empty."""
    key = parts(db, there)
    db.sql(RESEAL, (key,))
    db.sql("CREATE EXTENSION file_fdw")
    db.sql("CREATE SERVER files FOREIGN DATA WRAPPER file_fdw")
    db.sql("CREATE FOREIGN TABLE file PARTITION OF parts FOR VALUES IN (9) SERVER files OPTIONS (filename '/dev/null')")
    with fails("55006"):
        destroy(db.sql, key)


def test_as_the_owner(db, there):
    """The mapping of the table's owner is used, also by a superuser."""
    key = parts(db, there)
    db.sql(RESEAL, (key,))
    db.sql(f"ALTER TABLE parts OWNER TO {db.low}")
    db.sql(f"ALTER FOREIGN TABLE away_1 OWNER TO {db.low}")
    db.sql("DROP USER MAPPING FOR PUBLIC SERVER away")
    db.sql("CREATE USER MAPPING FOR postgres SERVER away OPTIONS (user 'postgres')")
    with pytest.raises(psycopg.Error):
        destroy(db.sql, key)
    db.sql(f"CREATE USER MAPPING FOR {db.low} SERVER away OPTIONS (user 'postgres', password_required 'false')")
    destroy(db.sql, key)


def test_unshare(db, there):
    parts(db, there)
    db.sql("CREATE TABLE source (id int, ssn bytea)")
    db.sql("SELECT envelope.create_key('source')")
    db.sql("SELECT envelope.share_keyring('source', 'parts')")
    db.sql("INSERT INTO parts VALUES (1, envelope_encrypt_text('source', 'lent'))")
    unshare = "SELECT envelope.unshare_keyring('source', 'parts')"
    with fails("55006"):
        db.sql(unshare)
    db.sql("DELETE FROM parts WHERE envelope.key_id_of(ssn) IN (SELECT key_id FROM envelope.keys WHERE relation = 'public.source')")
    db.sql(unshare)


def test_index_terms(db, there):
    """The terms of an index key."""
    foreign.server(db, there)
    there.sql("CREATE TABLE away_1 (id int, ssn bytea, ssn_exact bytea)")
    db.sql("CREATE TABLE parts (id int, ssn bytea, ssn_exact bytea) PARTITION BY LIST (id)")
    db.sql("SELECT envelope.create_key('parts')")
    db.sql("SELECT envelope.protect('parts', 'ssn', value_type => 'text', form => 'bytea')")
    db.sql("SELECT envelope.add_index('parts', 'ssn', 'exact', 'ssn_exact', force => true)")
    db.sql("CREATE FOREIGN TABLE away_1 PARTITION OF parts FOR VALUES IN (1) SERVER away")
    key = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.parts' AND purpose = 'index'")
    db.sql("SELECT envelope.rotate_index_key('parts')")
    there.sql("INSERT INTO away_1 VALUES (1, NULL, %s::bytea || '\\x00'::bytea)", (key.bytes[:2],))
    with fails("55006"):
        destroy(db.sql, key)
    there.sql("DELETE FROM away_1")
    destroy(db.sql, key)


def test_distributed_tables_are_not_looked_at(db):
    """What the coordinator's SELECT sees proves nothing of nodes that seal on, nor of transactions that are prepared."""
    db.sql("CREATE TABLE parts (id int, ssn bytea)")
    db.sql("SELECT envelope.create_key('parts')")
    key = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.parts'")
    db.sql("SELECT envelope.rotate_key('parts')")
    shards.worker(db, group=0)
    shards.distribute(db, "parts")
    with fails("55006"):
        destroy(db.sql, key)


def test_nobody_has_another_owners_table_read(db, there):
    """The owner of the parent may not do what the owner of a part may, such as use their user mapping."""
    key = parts(db, there)
    db.sql(RESEAL, (key,))
    db.sql(f"ALTER TABLE parts OWNER TO {db.low}")
    with fails("55006"):
        db.sql("SELECT envelope.destroy_key(%s, 'a test')", (key,), user=db.low)
    destroy(db.sql, key)


def test_a_domain_of_anothers_does_not_run_as_the_owner(db, there):
    """What it checks is its owner's code; a part's owner may be somebody who may more."""
    foreign.server(db, there)
    db.sql("CREATE DOMAIN theirs AS bytea; CREATE TABLE parts (id int, ssn theirs) PARTITION BY LIST (id)")
    foreign.table(there, "away_1")
    db.sql(PARTED["partition"].format("away_1", 1, "away_1"))
    db.sql("SELECT envelope.create_key('parts'), envelope.rotate_key('parts')")
    key = db.value("SELECT key_id FROM envelope.keys WHERE relation = 'public.parts' AND version = 1")
    there.sql("INSERT INTO away_1 VALUES (1, NULL)")
    db.sql(f"ALTER DOMAIN theirs OWNER TO {db.low}")
    db.sql("CREATE TABLE ran (as_whom text); CREATE FUNCTION note(bytea) RETURNS boolean LANGUAGE plpgsql AS "
           "$f$ BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END $f$; "
           "ALTER DOMAIN theirs ADD CONSTRAINT noted CHECK (public.note(VALUE)) NOT VALID")
    with fails("55006"):
        destroy(db.sql, key)
    assert db.sql("SELECT * FROM ran") == []
    # A superuser's own runs.
    db.sql("ALTER DOMAIN theirs OWNER TO postgres")
    destroy(db.sql, key)
