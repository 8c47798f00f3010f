"""Policies, search indexes, lint and keys that travel, where a table is distributed: its shards are parts of it. By the engine
that stands in for Citus (tests/shim)."""

import json

import pytest
from harness import shards
from sqlstate import fails


@pytest.fixture
def node(db):
    """A worker with a distributed table that has a policy, a trigger, and two search indexes."""
    shards.worker(db)
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea, ssn_exact bytea, ssn_words bigint[])")
    db.sql("SELECT envelope.create_key('people')")
    db.sql("SELECT envelope.set_policy('people', 'ssn', value_type => 'text', form => 'bytea')")
    db.sql("ALTER TABLE people ADD CHECK (envelope.is_sealed(ssn))")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("SELECT envelope.add_index('people', 'ssn', 'exact', 'ssn_exact', force => true)")
    db.sql("SELECT envelope.add_index('people', 'ssn', 'words', 'ssn_words', force => true)")
    for column in ("ssn_exact", "ssn_words"):
        db.sql(f"CALL envelope.build_index('people', 'ssn', '{column}')")
    shards.distribute(db, "people")
    return db


def insert(db, table, number=1, value="ann bee"):
    db.sql(f"INSERT INTO {table} (id, ssn) VALUES (%s, %s)", (number, value.encode()))


REFUSED = {
    "set_policy": "SELECT envelope.set_policy('{}', 'ssn')",
    "drop_policy": "SELECT envelope.drop_policy('{}', 'ssn')",
    "protect": "SELECT envelope.protect('{}', 'ssn')",
    "unprotect": "SELECT envelope.unprotect('{}', 'ssn')",
    "plan": "SELECT * FROM envelope.plan('{}', ARRAY['ssn']::name[])",
    "add_index": "SELECT envelope.add_index('{}', 'ssn', 'suffix(4)', force => true)",
    "drop_index": "SELECT envelope.drop_index('{}', 'ssn_exact')",
    "shred": "SELECT envelope.shred('{}', 'x')",
}


@pytest.mark.parametrize("what", REFUSED)
def test_said_of_the_table_alone(node, what):
    shard = shards.shard(node, "people")
    with fails("42809") as caught:
        node.sql(REFUSED[what].format(shard))
    assert "public.people" in caught.value.diag.message_primary + (caught.value.diag.message_hint or "")


def test_terms_are_the_tables(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    ((exact, words),) = node.sql(f"SELECT ssn_exact, ssn_words FROM {shard}")
    for name in ("people", shard):
        assert node.value(f"SELECT envelope_search('{name}', 'ssn', 'ann bee'::text, 'exact')") == [exact]
        asked = node.value(f"SELECT envelope_search_tokens('{name}', 'ssn', 'bee'::text, 'words')")
        assert set(asked) <= set(words)
        for column, op, value in (("ssn_exact", "=", "ann bee"), ("ssn_words", "words", "bee")):
            asks = (f"SELECT id FROM {shard} WHERE envelope_matches('{name}', 'ssn', ssn, {column}, '{op}', %s::text)")
            assert node.sql(asks, (value,)) == [(1,)]
    # PostgreSQL's index on the shard is used, whichever name is asked for.
    node.sql(f"CREATE INDEX ON {shard} (ssn_exact)")
    with node.connect() as c:
        c.execute("SET enable_seqscan = off")
        for name in ("people", shard):
            plan = c.execute(f"EXPLAIN SELECT FROM {shard} WHERE envelope_matches('{name}', 'ssn', ssn, ssn_exact, '=', 'ann bee'::text)")
            assert "Index Cond" in str(plan.fetchall())


def test_an_index_is_built_by_shard(node):
    """Rows from before it, and after a rotation of the index key."""
    shard = shards.shard(node, "people")
    insert(node, shard)
    node.sql(f"ALTER TABLE {shard} DISABLE TRIGGER seal")
    node.sql(f"UPDATE {shard} SET ssn_exact = NULL")
    node.sql(f"ALTER TABLE {shard} ENABLE TRIGGER seal")
    node.sql(f"CALL envelope.build_index('{shard}', 'ssn', 'ssn_exact')")
    assert node.value(f"SELECT ssn_exact = ANY (envelope_search('people', 'ssn', 'ann bee'::text, 'exact')) FROM {shard}")
    node.sql("SELECT envelope.rotate_index_key('people')")
    before = node.value(f"SELECT ssn_exact FROM {shard}")
    node.sql(f"CALL envelope.build_index('{shard}', 'ssn', 'ssn_exact')")
    assert node.value(f"SELECT ssn_exact FROM {shard}") != before
    assert node.value(f"SELECT count(*) FROM envelope.verify('{shard}', 'ssn')") == 0


def test_one_shard_does_not_make_the_index_built(node):
    shard, other = shards.shard(node, "people"), shards.shard(node, "people")
    insert(node, shard), insert(node, other)
    node.sql("SELECT envelope.add_index('people', 'ssn', 'prefix(3)', 'ssn_prefix', force => true)")
    for name in (shard, other):
        node.sql(f"ALTER TABLE {name} ADD ssn_prefix bytea")
    node.sql(f"CALL envelope.build_index('{shard}', 'ssn', 'ssn_prefix')")
    assert node.value(f"SELECT ssn_prefix IS NOT NULL FROM {shard}")
    assert not node.value("SELECT built FROM envelope.column_index WHERE index_column = 'ssn_prefix'")


def findings(db, *about):
    """Of lint, of errors and warnings; and what check finds."""
    told = db.sql(f"SELECT relation, sqlstate, severity FROM envelope.lint({', '.join('%s' for _ in about)}) "
                  "WHERE severity <> 'notice'", about)
    return told, db.value("SELECT count(*) FROM envelope.check() WHERE NOT ok")


def test_lint_and_check_take_a_shard_for_a_part(node):
    shard = shards.shard(node, "people")
    insert(node, shard)
    assert findings(node) == ([], 0)
    # Neither registered nor sealed by a trigger, but its table's.
    node.sql("DROP TRIGGER seal ON people")
    node.sql(f"DROP TRIGGER seal ON {shard}")
    assert not node.sql("SELECT FROM envelope.lint() WHERE relation = %s", (f"public.{shard}",))


@pytest.mark.parametrize("guarded", [True, False])
def test_a_shard_whose_trigger_is_missing_is_told(node, guarded):
    shard = shards.shard(node, "people")
    insert(node, shard)
    node.sql(f"DROP TRIGGER seal ON {shard}")
    if not guarded:
        node.sql(f"ALTER TABLE {shard} DROP CONSTRAINT people_ssn_check")
    mine = (f"public.{shard}", "42704", "warning" if guarded else "error")
    told, broken = findings(node)
    assert mine in told and broken == (0 if guarded else 1)
    assert mine in findings(node, "people")[0] and mine in findings(node, shard)[0]
    node.sql(node.value("SELECT remedy FROM envelope.lint(%s) WHERE sqlstate = '42704'", (shard,)))
    told, broken = findings(node)
    assert "42704" not in [sqlstate for _, sqlstate, _ in told] and not broken


def test_plaintext_on_a_shard_is_told(node):
    shard = shards.shard(node, "people")
    node.sql(f"ALTER TABLE {shard} DISABLE TRIGGER seal")
    node.sql(f"ALTER TABLE {shard} DROP CONSTRAINT people_ssn_check")
    insert(node, shard)
    assert (f"public.{shard}", "23514", "error") in findings(node, "people")[0]


# -- a shard on its way here: its table is made, filled, given its triggers, and only then placed --------------------


def coming(db, state="ENABLE"):
    """The new table of a shard that another node still has, with its trigger, and a value of its table's."""
    sealed = db.value("SELECT envelope_encrypt_text('people', 'moved')")
    shard = shards.shard(db, "people", group=2)
    db.sql(f"ALTER TABLE {shard} {state} TRIGGER seal")
    return shard, sealed


def arrives(db, shard):
    db.sql("UPDATE pg_dist_placement SET groupid = 1 WHERE shardid = %s", (int(shard.split("_")[-1]),))


@pytest.mark.parametrize("state", ["ENABLE", "ENABLE ALWAYS", "ENABLE REPLICA"])
def test_rows_that_replication_brings(node, state):
    """As a logical worker applies them, before and after the triggers are there: as they come."""
    shard, sealed = coming(node, state)
    with node.connect() as c:
        c.execute("SET session_replication_role = replica")
        c.execute(f"INSERT INTO {shard} (id, ssn) VALUES (1, %s), (2, %s)", (sealed, sealed))
        c.execute(f"UPDATE {shard} SET id = 3 WHERE id = 2")
        arrives(node, shard)
        c.execute(f"INSERT INTO {shard} (id, ssn) VALUES (4, %s)", (sealed,))
    assert node.sql(f"SELECT DISTINCT ssn FROM {shard}") == [(sealed,)]
    assert node.value("SELECT count(*) FROM envelope.keyring") == 1


def test_rows_that_a_copy_brings(node):
    shard, sealed = coming(node)
    with shards.internal(node) as c, node.connect() as client:
        opens = f"SELECT envelope_decrypt_text('{shard}', ssn), envelope_decrypt_text('people', ssn) FROM {shard}"
        with c.cursor().copy(f"COPY {shard} (id, ssn) FROM STDIN") as rows:
            rows.write_row((1, sealed))
        assert client.execute(opens).fetchall() == [("moved", "moved")]
        arrives(node, shard)
        assert client.execute(opens).fetchall() == [("moved", "moved")]
    # And where it came from, until it is dropped there.
    node.sql("UPDATE pg_dist_placement SET groupid = 3")
    assert node.value(f"SELECT envelope_decrypt_text('{shard}', ssn) FROM {shard}") == "moved"


def test_no_key_is_made_on_the_way(db):
    shards.worker(db)
    db.people()
    shards.distribute(db, "people")
    shard = shards.shard(db, "people", group=2)
    with fails("42704"):
        db.sql(f"INSERT INTO {shard} VALUES (1, 'x')")
    assert db.value("SELECT count(*) FROM envelope.keyring") == 0


# -- keys that travel -------------------------------------------------------------------------------------------------


def test_export_of_a_shard_is_the_tables(node):
    shard = shards.shard(node, "people")
    exported = node.value(f"SELECT envelope.export_keyring('{shard}')::text")
    assert json.loads(exported) == json.loads(node.value("SELECT envelope.export_keyring('people')::text"))
    node.sql("SELECT envelope.import_keyring(%s)", (exported,))


def test_shred_takes_shards_that_were_lent_its_keys(node):
    """As an import by a shard's name does."""
    shard = shards.shard(node, "people")
    exported = node.value("SELECT envelope.export_keyring('people')::text")
    node.sql("SELECT envelope.import_keyring(%s, %s)", (exported, shard))
    assert node.value("SELECT envelope.shred('people', 'x')") > 0


def test_import_by_the_owner(db, database, cluster):
    """Without a superuser, as `run_command_on_workers` runs it as the table's owner."""
    there = database(cluster)
    for it in (db, there):
        shards.worker(it, group=0 if it is db else 1)
        it.sql(f"GRANT CREATE ON SCHEMA public TO {db.low}")
        with it.connect(user=db.low) as c:
            c.execute("CREATE TABLE mine (id int, ssn bytea)")
        shards.distribute(it, "mine")
    db.sql("SELECT envelope.create_key('mine', kms_context => jsonb_build_object('database', %s::text))", (there.name,),
           user=db.low)
    exported = db.value("SELECT envelope.export_keyring('mine')::text", user=db.low)
    sealed = db.value("SELECT envelope_encrypt('mine', 'x')", user=db.low)
    with there.connect(user=db.low) as c:
        number = next(shards._shards)
        c.execute(f"CREATE TABLE mine_{number} (id int, ssn bytea)")
    there.sql("INSERT INTO pg_dist_shard VALUES ('mine', %s)", (number,))
    there.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (%s, 1)", (number,))
    there.sql("SELECT envelope.import_keyring(%s, 'mine')", (exported,), user=db.low)
    assert there.value(f"SELECT envelope_decrypt_text('mine_{number}', %s)", (sealed,), user=db.low) == "x"
    there.drop()


def test_boundaries_go_with_the_index_key(node):
    """Also where it is rotated by a shard's name: else the old index key could never be retired."""
    # The classes are made on the coordinator.
    node.sql("UPDATE pg_dist_local_group SET groupid = 0")
    node.sql("ALTER TABLE people ADD age bytea, ADD age_buckets bytea")
    node.sql("SELECT envelope.set_policy('people', 'age', value_type => 'integer', form => 'bytea')")
    node.sql("SELECT envelope.add_index('people', 'age', 'buckets', 'age_buckets', "
             "options => '{\"bounds\": [10, 20, 30]}', force => true)")
    node.sql("UPDATE pg_dist_local_group SET groupid = 1")
    shard = shards.shard(node, "people")
    made_by = ("SELECT k.version FROM envelope.column_index i JOIN envelope.data_key k ON k.key_id = envelope.key_id_of(i.boundaries) "
               "WHERE i.index_column = 'age_buckets'")
    assert node.value(made_by) == 1
    node.sql(f"SELECT envelope.rotate_index_key('{shard}')")
    assert node.value(made_by) == 2


def test_what_a_table_had_before_it_became_a_shard(db):
    """As a conversion leaves it: its own policy and index can still be ended."""
    db.sql("CREATE TABLE acc_102007 (id int PRIMARY KEY, ssn bytea, ssn_exact bytea)")
    db.sql("SELECT envelope.create_key('acc_102007')")
    db.sql("SELECT envelope.set_policy('acc_102007', 'ssn', value_type => 'text', form => 'bytea')")
    db.sql("SELECT envelope.add_index('acc_102007', 'ssn', 'exact', 'ssn_exact', force => true)")
    shards.worker(db, group=0)
    db.sql("CREATE TABLE acc (id int PRIMARY KEY, ssn bytea, ssn_exact bytea)")
    shards.distribute(db, "acc")
    db.sql("INSERT INTO pg_dist_shard VALUES ('acc', 102007)")
    with fails("42809"):
        db.sql("SELECT envelope.set_policy('acc_102007', 'ssn', value_type => 'text', form => 'bytea')")
    assert db.value("SELECT envelope.drop_index('acc_102007', 'ssn_exact')")
    assert db.value("SELECT envelope.drop_policy('acc_102007', 'ssn')")
    assert {row[0] for row in db.sql("SELECT ok FROM envelope.check()")} == {True}
