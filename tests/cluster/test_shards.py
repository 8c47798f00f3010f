"""A shard of a distributed table is a part of it: it seals and opens with the table's keyring. The engine is one that stands in
for Citus, by its catalog (tests/shim)."""

import re

import psycopg
import pytest
from harness import shards
from sqlstate import fails

KEYRINGS = "SELECT count(*) FROM envelope.keyring"
OPENED = "SELECT envelope_decrypt_text('people', ssn) FROM {} ORDER BY id"


@pytest.fixture
def node(db):
    """A worker with a distributed table that has its key, and a sealing trigger."""
    shards.worker(db)
    db.people()
    shards.distribute(db, "people")
    db.sql("SELECT envelope.create_key('people')")
    return db


def insert(db, table, value="one"):
    db.sql(f"INSERT INTO {table} VALUES (1, %s)", (value.encode(),))


def opened(db, table):
    return [text for text, in db.sql(OPENED.format(table))]


def key_of(db, table):
    return db.value(f"SELECT envelope.key_id_of(ssn) FROM {table} LIMIT 1")


def active(db):
    return db.value("SELECT key_id FROM envelope.data_key WHERE state = 'active'")


def test_trigger_seals_for_the_table(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    with node.connect() as c, c.cursor().copy(f"COPY {shard} FROM STDIN") as rows:
        rows.write("2\ttwo\n")
    assert opened(node, shard) == ["one", "two"]
    assert [text for text, in node.sql(f"SELECT envelope_decrypt_text(tableoid, ssn) FROM {shard} ORDER BY id")] == ["one", "two"]
    assert key_of(node, shard) == active(node)
    assert node.value(KEYRINGS) == 1


def test_what_came_sealed_for_the_table_is_kept(node):
    shard = shards.shard(node, "people")
    sealed = node.value("SELECT envelope_encrypt('people', 'x')")
    node.sql(f"INSERT INTO {shard} VALUES (1, %s)", (sealed,))
    assert node.value(f"SELECT ssn FROM {shard}") == sealed
    node.sql(f"UPDATE {shard} SET id = 2")
    assert opened(node, shard) == ["x"]


def test_rotation_reaches_the_shards(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    old = key_of(node, shard)
    node.sql("SELECT envelope.rotate_key('people')")
    node.sql(f"CALL envelope.reencrypt('{shard}', 'ssn')")
    assert key_of(node, shard) == active(node) != old
    assert opened(node, shard) == ["one"]


def test_partition_of_a_shard(node):
    node.sql("CREATE TABLE days (id int, day int, ssn bytea) PARTITION BY LIST (day)")
    node.sql("CREATE TABLE days_1 PARTITION OF days FOR VALUES IN (1)")
    shards.distribute(node, "days")
    shards.distribute(node, "days_1")
    node.sql("SELECT envelope.create_key('days')")
    number = next(shards._shards)
    node.sql(f"CREATE TABLE days_{number} (LIKE days) PARTITION BY LIST (day)")
    node.sql("INSERT INTO pg_dist_shard VALUES ('days', %s)", (number,))
    node.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (%s, 1)", (number,))
    part = shards.shard(node, "days_1")
    assert node.value(f"SELECT envelope_decrypt_text('days', envelope_encrypt_text('{part}', 'alone'))") == "alone"
    node.sql(f"ALTER TABLE days_{number} ATTACH PARTITION {part} FOR VALUES IN (1)")
    assert node.value(f"SELECT envelope_decrypt_text('days_1', envelope_encrypt_text('{part}', 'within'))") == "within"
    assert node.value(f"SELECT envelope_decrypt_text('{part}', envelope_encrypt_text('days', 'above'))") == "above"


def test_policy_of_the_table(node):
    """Row contexts: the shard's rows are bound as the table's."""
    node.sql("CREATE TABLE cards (id int NOT NULL PRIMARY KEY, pan bytea)")
    node.sql("SELECT envelope.create_key('cards')")
    node.sql("SELECT envelope.protect('cards', 'pan', form => 'bytea', bind => '{id}')")
    node.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON cards FOR EACH ROW EXECUTE FUNCTION envelope_seal('pan')")
    shards.distribute(node, "cards")
    shard = shards.shard(node, "cards")
    node.sql(f"INSERT INTO {shard} VALUES (7, '4111')")
    assert node.value("SELECT envelope_decrypt('cards', pan, envelope.row_context('cards', 'pan', id::text)) "
                      f"FROM {shard}") == b"4111"
    with fails("22000"):
        node.sql(f"SELECT envelope_decrypt('cards', pan) FROM {shard}")


def test_long_names(node):
    table = "n" * 60
    node.sql(f"CREATE TABLE {table} (id int, ssn bytea)")
    shards.distribute(node, table)
    node.sql(f"SELECT envelope.create_key('{table}')")
    shard = shards.shard(node, table, name="n" * 47 + "_0af19c22_%s")
    assert node.value(f"SELECT envelope_decrypt_text('{table}', envelope_encrypt_text('{shard}', 'x'))") == "x"


NO_SHARDS = {
    "another schema": "ALTER TABLE {} SET SCHEMA aside",
    "another owner": "ALTER TABLE {} OWNER TO {low}",
    "another name": "ALTER TABLE {} RENAME TO others_{number}",
    "no shard any more": "DELETE FROM pg_dist_shard WHERE shardid = {number}",
    "nobody's": "ALTER EXTENSION citus DROP TABLE pg_dist_shard; ANALYZE pg_class",
}


@pytest.mark.parametrize("why", NO_SHARDS)
def test_what_is_no_shard(node, why):
    shard = shards.shard(node, "people")
    node.sql("CREATE SCHEMA aside")
    with node.connect() as c:
        where = c.execute("SELECT %s::regclass::oid", (shard,)).fetchone()[0]
        sealed = c.execute("SELECT envelope_encrypt_text(%s::oid, 'x')", (where,)).fetchone()[0]
        node.sql(NO_SHARDS[why].format(shard, low=node.low, number=shard.split("_")[-1]))
        # A session that knew it as a shard, too.
        with fails("22023"):
            c.execute("SELECT envelope_decrypt_text(%s::oid, %s)", (where, sealed))


def test_nobody_can_feign_one(db):
    """Tables of these names that anybody can make."""
    db.sql(f"CREATE SCHEMA AUTHORIZATION {db.low}")
    db.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    with db.connect(user=db.low) as c:
        for schema in ("public", db.low):
            c.execute(f"CREATE TABLE {schema}.pg_dist_shard AS SELECT 'people'::regclass AS logicalrelid, 102008::int8 AS shardid")
            c.execute(f"CREATE TABLE {schema}.pg_dist_placement AS SELECT 102008::int8 AS shardid, 0 AS groupid")
            c.execute(f"CREATE TABLE {schema}.pg_dist_local_group AS SELECT 0 AS groupid")
        c.execute("CREATE TABLE public.people_102008 (id int, ssn bytea)")
        c.execute("SELECT envelope_encrypt_text('people_102008', 'x')")
    # A key of its own.
    assert db.value(KEYRINGS) == 2


def test_rights_are_the_tables(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    node.sql(f"GRANT SELECT, INSERT ON people, {shard} TO {node.low}")
    opens = f"SELECT envelope_decrypt_text('{shard}', ssn) FROM {shard}"
    with fails("42501"):
        node.sql(opens, user=node.low)
    node.sql(f"SELECT envelope.grant_key('people', '{node.low}', 'decrypt')")
    assert node.value(opens, user=node.low) == "one"


def test_keys_of_its_own_seal_until_the_table_has_some(db):
    """As a conversion leaves it, or a trigger on shards before this release."""
    db.people("acc_102007", rows=["old"])
    shards.worker(db, group=0)
    db.sql("CREATE TABLE acc (id int PRIMARY KEY, ssn bytea)")
    shards.distribute(db, "acc")
    db.sql("INSERT INTO pg_dist_shard VALUES ('acc', 102007)")
    db.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (102007, 0)")
    insert_new = "INSERT INTO acc_102007 VALUES (%s, %s)"
    db.sql(insert_new, (2, b"still"))
    assert db.value(KEYRINGS) == 1
    db.sql("SELECT envelope.create_key('acc')")
    db.sql(insert_new, (3, b"new"))
    both = "SELECT envelope_decrypt_text('acc_102007', ssn) FROM acc_102007 ORDER BY id"
    assert [text for text, in db.sql(both)] == ["old", "still", "new"]
    assert db.value("SELECT envelope_decrypt_text('acc', ssn) FROM acc_102007 WHERE id = 3") == "new"


def test_no_first_key_on_a_shard(db):
    shards.worker(db, group=0)
    db.people()
    shards.distribute(db, "people")
    shard = shards.shard(db, "people", group=0)
    for statement in (f"INSERT INTO {shard} VALUES (1, 'x')", f"SELECT envelope.create_key('{shard}')"):
        with fails("42704"):
            db.sql(statement)
    # On the coordinator the table's own is made on first use.
    db.sql("SELECT envelope_encrypt('people', 'x')")
    insert(db, shard)
    assert db.value(KEYRINGS) == 1


def test_no_first_key_on_a_worker(db):
    shards.worker(db)
    db.people()
    shards.distribute(db, "people")
    seal = "SELECT envelope_encrypt('people', 'x')"
    with fails("42704"):
        db.sql(seal)
    # On purpose it is made.
    db.sql("SELECT envelope.create_key('people')")
    db.sql(seal)


@pytest.mark.parametrize("application", ["citus_internal gpid=10000012199", "citus_run_command gpid=1", "citus_rebalancer gpid=2"])
def test_no_first_key_for_another_node(db, application):
    db.people()
    seal = "SELECT envelope_encrypt('people', 'x')"
    shards.worker(db, group=0)
    with shards.internal(db, application) as c:
        with pytest.raises(psycopg.Error) as error:
            c.execute(seal)
        assert error.value.sqlstate == "42704"
        assert "create_key" in error.value.diag.message_hint
    assert db.value(KEYRINGS) == 0
    db.sql("SELECT envelope.create_key('people')")
    with shards.internal(db, application) as c:
        c.execute(seal)


def test_the_name_alone_means_nothing(db):
    """Where there is no engine."""
    db.people()
    with shards.internal(db) as c:
        c.execute("SELECT envelope_encrypt('people', 'x')")


# What is done on the shards, and what stands in its place on the table.
GOES_THROUGH = {
    "CALL envelope.reencrypt('people', 'ssn')": "CALL envelope.reencrypt(%L, 'ssn')",
    "CALL envelope.seal_column('people', 'ssn')": "CALL envelope.seal_column(%L, 'ssn')",
    "SELECT * FROM envelope.verify('people', 'ssn')": "SELECT count(*) FROM envelope.verify(%L, 'ssn')",
}


def told(db, statement, sqlstate="0A000"):
    """The calls that a refusal says are to be made, on each placement: its node's group, and the call."""
    with fails(sqlstate) as error:
        db.sql(statement)
    return db.sql(re.search(r"(SELECT \* FROM run_command_on_placements\(.*?\))\. ", error.value.diag.message_hint).group(1))


@pytest.mark.parametrize("statement", GOES_THROUGH)
def test_who_looks_for_values_is_sent_to_the_shards(db, statement):
    db.people()
    db.sql("SELECT envelope.protect('people', 'ssn', form => 'bytea')")
    shards.worker(db)
    shards.distribute(db, "people")
    pair = [shards.shard(db, "people") for _ in range(2)]
    for shard in pair:
        insert(db, shard)
    db.sql("SELECT envelope.rotate_key('people')")
    # The stand-in gives the calls. The engine makes each in a session of its own.
    calls = [call for _, call in told(db, statement)]
    assert calls == [f"{GOES_THROUGH[statement]}".replace("%L", f"'public.{shard}'") for shard in pair]
    for call in calls:
        db.sql(call)
    assert [opened(db, shard) for shard in pair] == [["one"]] * 2
    if "reencrypt" in statement:
        assert {key_of(db, shard) for shard in pair} == {active(db)}


def test_destroy_looks_nowhere_and_says_who_can(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    node.sql("SELECT envelope.rotate_key('people')")
    # A replica, as of a reference table. Each node is asked: the coordinator's SELECT reads one replica of each shard.
    node.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (%s, 2)", (shard.split("_")[-1],))
    old = key_of(node, shard)
    calls = told(node, f"SELECT envelope.destroy_key('{old}', 'too early')", "55006")
    assert [group for group, _ in calls] == [1, 2]
    assert node.value(calls[0][1])[0]["rows"] == 1
    assert opened(node, shard) == ["one"]


def test_replicas_are_gone_through(node):
    shard = shards.shard(node, "people")
    node.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (%s, 2)", (shard.split("_")[-1],))
    assert [group for group, _ in told(node, "CALL envelope.reencrypt('people', 'ssn')")] == [1, 2]


LEAKAGE = "SELECT value FROM envelope.index_leakage('notes', 'note', 'exact') WHERE measure = %s"


def test_values_on_other_nodes_are_counted(node):
    """Each says that it stands in a table of another node's."""
    node.sql("CREATE TABLE notes (id int, note text)")
    node.sql("SELECT envelope.protect('notes', 'note')")
    shards.distribute(node, "notes")
    rows = shards.elsewhere(node, "notes")
    node.sql(f"INSERT INTO {rows} SELECT g, envelope_encrypt_text('notes', 'note ' || g)::envelope.sealed FROM generate_series(1, 30) g")
    assert node.value(LEAKAGE, ("values read",)).startswith("30")


def test_protect_comes_before_rows(node):
    """What would seal is on other nodes, which have neither key nor policy yet."""
    node.sql("CREATE TABLE notes (id int, note text)")
    shards.distribute(node, "notes")
    keyrings = node.value(KEYRINGS)
    for statement in ("SELECT envelope.protect('notes', 'note')", "SELECT * FROM envelope.plan('notes', '{note}')"):
        with fails("0A000"):
            node.sql(statement)
    assert node.value(KEYRINGS) == keyrings


def test_classes_are_the_coordinators(node):
    """Others would have other ones, and what is asked by the coordinator's would not be found."""
    node.sql("CREATE TABLE days (id int, day date)")
    node.sql("SELECT envelope.protect('days', 'day')")
    node.sql("INSERT INTO days SELECT g, (date '2026-01-01' + g)::text::envelope.sealed FROM generate_series(1, 100) g")
    shards.distribute(node, "days")
    add = """SELECT envelope.add_index('days', 'day', 'buckets', options => '{"classes": 16}')"""
    with fails("0A000"):
        node.sql(add)
    node.sql("UPDATE pg_dist_local_group SET groupid = 0")
    node.sql(add)
    node.sql("UPDATE pg_dist_local_group SET groupid = 1")
    with fails("0A000"):
        node.sql("SELECT envelope.split_classes('days', 'day_ix')")


@pytest.fixture
def indexed(node):
    """A distributed table with a search index that is not built, and a shard with a row of before."""
    node.sql("CREATE TABLE notes (id int PRIMARY KEY, note text)")
    node.sql("SELECT envelope.protect('notes', 'note')")
    shard = shards.shard(node, "notes")
    node.sql(f"INSERT INTO {shard} VALUES (1, 'one')")
    node.sql("ALTER TABLE notes ADD COLUMN note_ix bytea")
    node.sql(f"ALTER TABLE {shard} ADD COLUMN note_ix bytea")
    shards.distribute(node, "notes")
    node.sql("SELECT envelope.add_index('notes', 'note', 'exact', 'note_ix')")
    return node, shard


BUILD = "CALL envelope.build_index('notes', 'note', 'note_ix')"
BUILT = "SELECT built FROM envelope.indexes WHERE relation = 'public.notes'"
FOUND = "SELECT id FROM {} WHERE note_ix = ANY (envelope_search('notes', 'note', 'one'::text))"


def test_index_is_built_on_the_shards_and_then_known(indexed):
    """The engine's SELECT on the table reads the shards: here by inheritance."""
    db, shard = indexed
    db.sql(f"ALTER TABLE {shard} INHERIT notes")
    calls = [call for _, call in told(db, BUILD)]
    assert not db.value(BUILT)
    for call in calls:
        db.sql(call)
    assert not db.value(BUILT)
    with fails("55000"):
        db.sql(FOUND.format(shard))
    db.sql(BUILD)
    assert db.value(BUILT)
    assert db.value(FOUND.format(shard)) == 1


def test_who_writes_to_a_shard_is_waited_for(indexed):
    db, shard = indexed
    call = f"CALL envelope.build_index('{shard}', 'note', 'note_ix', row_lock_timeout => '200 ms')"
    with db.connect(autocommit=False) as writer:
        writer.execute(f"INSERT INTO {shard} VALUES (2, 'two')")
        with fails("55P03"):
            db.sql(call)
    db.sql(call)
    assert db.value(f"SELECT count(note_ix) FROM {shard}") == 2


def test_nobody_else_locks_a_shard(indexed):
    """Or whoever may EXECUTE could keep others from writing."""
    db, shard = indexed
    db.sql(f"GRANT SELECT ON notes, {shard} TO {db.low}")
    with db.connect(user=db.low, autocommit=False) as c:
        assert c.execute("SELECT envelope.lock_shard(%s)", (shard,)).fetchone() == (False,)
        db.sql(f"INSERT INTO {shard} VALUES (2, 'two')")


def test_no_statement_locks_a_shard(own_cluster, database):
    """The engine refuses that to all."""
    db = database(own_cluster(conf={"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}).start())
    shards.worker(db)
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    db.sql("SELECT envelope.set_policy('people', 'ssn', 'bytea', 'text')")
    db.sql("SELECT envelope.add_index('people', 'ssn', 'exact')")
    shards.distribute(db, "people")
    shard = shards.shard(db, "people")
    db.sql("CREATE EXTENSION pg_stat_statements")
    db.sql(f"CALL envelope.build_index('{shard}', 'ssn', 'ssn_ix')")
    statements = "SELECT count(*) FROM pg_stat_statements WHERE query ~ %s"
    assert db.value(statements, ("build_index",)) > 0
    assert db.value(statements, ("^LOCK",)) == 0
