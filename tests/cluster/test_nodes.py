"""Do the nodes agree? What each says of itself, and what envelope.check() tells of others."""

import json

import pytest
from harness import shards
from harness.database import Database
from harness.nodes import exported, server, to
from sqlstate import fails

TOLD = ("SELECT relation, key_id::text, ok, sqlstate, message FROM envelope.check(nodes => %s, servers => %s::name[]) "
        "WHERE message ~ 'node '")
STATE = "SELECT envelope.node_state()"


def told(db, *servers, user="postgres"):
    """What check() tells of other nodes."""
    return db.sql(TOLD, (not servers, list(servers) or None), user=user)


def wrong(db, *servers):
    """The table and the SQLSTATE of each thing that is wrong there."""
    return sorted((relation or "", sqlstate) for relation, _, ok, sqlstate, _ in told(db, *servers) if not ok)


def noted(db, *servers):
    return [message for _, _, ok, _, message in told(db, *servers) if ok]


@pytest.fixture
def a(db):
    """Where the keys are made."""
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    return db


@pytest.fixture
def empty(a, cluster, database):
    """Another database with the table and without its keys, as server `b` of the first."""
    there = database(cluster)
    there.people()
    server(a, "b", **to(there))
    yield there
    there.drop()


@pytest.fixture
def b(a, empty):
    bring(a, empty)
    return empty


def bring(a, b, **how):
    how = {"follow": True, "grants": True, **how}
    given = "".join(f", {name} => {value}" for name, value in how.items())
    b.sql(f"SELECT envelope.import_keyring(%s, 'people'{given})", (exported(a),))


def rotate(db, **how):
    given = "".join(f", {name} => {value}" for name, value in how.items())
    return db.value(f"SELECT envelope.rotate_key('people'{given})::text")


def key_id(db, version):
    return db.value("SELECT key_id::text FROM envelope.keys WHERE relation = 'public.people' AND version = %s", (version,))


# -- check() --------------------------------------------------------------------------------------------------------


def test_nodes_that_agree(a, b):
    assert wrong(a, "b") == []
    answered = [message for message in noted(a, "b") if "answered" in message]
    assert len(answered) == 1 and answered[0].endswith(": 1")


def test_nobody_is_asked_unasked(a, b):
    plain = a.sql("SELECT * FROM envelope.check()")
    assert a.sql("SELECT * FROM envelope.check(nodes => false, servers => NULL)") == plain
    assert not [row for row in plain if row[-1] and "node " in row[-1]]
    # With nodes, the rows of this node come all the same.
    assert a.sql("SELECT * FROM envelope.check(servers => '{b}')")[:len(plain)] == plain


def no_table(a, b):
    b.sql("DROP TABLE people")


def orphaned(a, b):
    b.sql("DROP TABLE people")
    b.people()


def key_is_missing(a, b):
    rotate(a)


def key_only_there(a, b):
    b.sql("SELECT envelope.unfollow_keyring('people')")
    rotate(b)


def rotated_on_both(a, b):
    rotate(a)
    key_only_there(a, b)


def pending_is_missing(a, b):
    rotate(a, activate=False)


def pending_is_everywhere(a, b):
    rotate(a, activate=False)
    bring(a, b)


def active_here_pending_there(a, b):
    pending_is_everywhere(a, b)
    a.sql("SELECT envelope.activate_key(%s)", (key_id(a, 2),))


def second_version(a, b):
    rotate(a)
    bring(a, b)


def destroyed_here(a, b):
    second_version(a, b)
    a.sql("SELECT envelope.destroy_key(%s, 'over')", (key_id(a, 1),))


def destroyed_there(a, b):
    second_version(a, b)
    b.sql("SELECT envelope.destroy_key(%s, 'over')", (key_id(a, 1),))


def destroyed_on_both(a, b):
    destroyed_here(a, b)
    b.sql("SELECT envelope.destroy_key(%s, 'over')", (key_id(a, 1),))


def retired_here(a, b):
    second_version(a, b)
    a.sql("SELECT envelope.retire_key(%s, 'over')", (key_id(a, 1),))


def retired_there(a, b):
    second_version(a, b)
    b.sql("SELECT envelope.retire_key(%s, 'over')", (key_id(a, 1),))


def minimum_version(a, b):
    second_version(a, b)
    a.sql("SELECT envelope.set_minimum_version('people', 2)")


def limits(a, b):
    a.sql("""SELECT envelope.set_limits('people', '{"cache_ttl": 60}')""")


def granted_here(a, b):
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'decrypt')")


def granted_there(a, b):
    b.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'search')")


def other_owner(a, b):
    b.sql(f"ALTER TABLE people OWNER TO {b.low}")


def other_policy(a, b):
    for node, bound in ((a, "id"), (b, "")):
        node.sql(f"SELECT envelope.set_policy('people', 'ssn', form => 'bytea', bind => '{{{bound}}}')")


def older_extension(a, b):
    b.sql("UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'pgrx-example'")


def makes_keys_there_alone(a, b):
    a.sql(f"ALTER DATABASE {a.name} SET envelope.auto_create_key = off")


def other_default_kek(a, b):
    b.sql(f"ALTER DATABASE {b.name} SET envelope.default_kek = 'file:///elsewhere/other.kek'")


def other_default_kek_that_is_not_used(a, b):
    other_default_kek(a, b)
    b.sql(f"ALTER DATABASE {b.name} SET envelope.auto_create_key = off")


def other_setting(a, b):
    b.sql(f"ALTER DATABASE {b.name} SET envelope.cache_ttl = '7min'")


P = "public.people"
KINDS = {
    no_table: [],
    orphaned: [(P, "42704")],
    key_is_missing: [(P, "42704"), (P, "55000")],
    key_only_there: [(P, "42704"), (P, "55000")],
    rotated_on_both: [(P, "42710")],
    pending_is_missing: [(P, "42704")],
    pending_is_everywhere: [],
    active_here_pending_there: [(P, "55000")],
    destroyed_here: [(P, "55000")],
    destroyed_there: [(P, "55000")],
    destroyed_on_both: [],
    retired_here: [(P, "55000")],
    retired_there: [(P, "55000")],
    minimum_version: [(P, "55000")],
    limits: [(P, "55000")],
    granted_here: [(P, "42501")],
    granted_there: [(P, "42501")],
    other_owner: [(P, "42501")],
    other_policy: [(P, "55000")],
    older_extension: [("", "55000")],
    makes_keys_there_alone: [("", "22023")],
    other_default_kek: [("", "22023")],
    other_default_kek_that_is_not_used: [],
    other_setting: [],
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kinds(a, b, kind):
    kind(a, b)
    assert wrong(a, "b") == KINDS[kind]


def test_no_keyring_there(a, empty):
    assert wrong(a, "b") == [(P, "42704")]


def test_a_keyring_of_its_own_there(a, empty):
    empty.sql("SELECT envelope.create_key('people')")
    (message,) = [message for _, _, ok, sqlstate, message in told(a, "b") if sqlstate == "42710"]
    for node in (a, empty):
        assert node.value("SELECT keyring_id::text FROM envelope.keys") in message


def test_a_table_that_has_keys_there_alone(a, b):
    for node in (a, b):
        node.people("more")
    b.people("others", rows=["of no concern: the table is not here"])
    b.sql("SELECT envelope.create_key('more')")
    assert wrong(a, "b") == [("public.more", "42704")]


def test_a_fork_is_told_with_both_keys(a, b):
    rotated_on_both(a, b)
    (message,) = [message for *_, sqlstate, message in told(a, "b") if sqlstate == "42710"]
    assert key_id(a, 2) in message and key_id(b, 2) in message
    assert "keep-both" in message


def test_both_active_keys_are_told(a, b):
    active_here_pending_there(a, b)
    (message,) = [message for _, _, ok, _, message in told(a, "b") if not ok]
    assert key_id(a, 1) in message and key_id(a, 2) in message and "pending" in message


def test_who_has_what_where(a, b):
    granted_there(a, b)
    (message,) = [message for *_, sqlstate, message in told(a, "b") if sqlstate == "42501"]
    assert f'"{a.low}"' in message and "search" in message and "revoke_key" in message


def test_another_setting_is_worth_knowing(a, b):
    other_setting(a, b)
    assert [message for message in noted(a, "b") if "envelope.cache_ttl" in message and "420" in message]


def test_a_table_that_is_not_there_is_worth_knowing(a, b):
    no_table(a, b)
    assert [message for message in noted(a, "b") if P in message]


def test_what_was_imported_without_following(a, empty):
    bring(a, empty, follow=False)
    assert wrong(a, "b") == []
    assert [message for message in noted(a, "b") if "sync_keyrings" in message]


def test_what_it_says_mends_it(a, b):
    rotate(a)
    limits(a, b)
    granted_here(a, b)
    assert wrong(a, "b") != []
    a.sql("SELECT * FROM envelope.sync_keyrings(ARRAY['b'])")
    assert wrong(a, "b") == []


def test_each_node_has_its_rows(a, b, cluster, database):
    c = database(cluster)
    c.people()
    server(a, "c", **to(c))
    rows = told(a, "b", "c")
    assert [(ok, sqlstate) for *_, ok, sqlstate, message in rows if "node c" in message and not ok] == [(False, "42704")]
    assert not [message for *_, ok, _, message in rows if "node b" in message and not ok]


# -- nodes that do not answer ---------------------------------------------------------------------------------------


def test_nodes_that_are_away(a, b):
    where = to(b)
    server(a, "no_database", **{**where, "dbname": "nowhere"})
    server(a, "no_server", **{**where, "host": "/nowhere"})
    server(a, "no_extension", **{**where, "dbname": "template1"})
    rows = told(a, "no_server", "b", "no_database", "no_extension")
    codes = {message.split(" ")[1]: sqlstate for *_, ok, sqlstate, message in rows if not ok}
    assert codes == {"no_server": "08001", "no_database": "3D000", "no_extension": "42704"}
    # The others are asked all the same.
    assert [message for *_, ok, _, message in rows if ok and message.startswith("node b has answered")]


NONSENSE = {
    "empty": ("{}", "08P01"),
    "another form": ('{"format": "envelope/9 node", "library_version": "9.9.9"}', "0A000"),
    "a list": ("[1, 2, 3]", "08P01"),
}


@pytest.mark.parametrize("answer", NONSENSE)
def test_answers_that_are_none(a, cluster, answer):
    """Whatever it says, nothing of it is shown."""
    text, sqlstate = NONSENSE[answer]
    feigned = f"feigned_{a.name}"
    cluster.sql(f"CREATE DATABASE {feigned}")
    text = json.dumps({**json.loads(text), "note": "SECRET"}) if text.startswith("{") else text
    cluster.sql('CREATE EXTENSION "pgrx-example"; CREATE OR REPLACE FUNCTION envelope.node_state('
                "relations text[] DEFAULT '{}', named_only boolean DEFAULT false) RETURNS jsonb LANGUAGE sql "
                f"AS $f$ SELECT '{text}'::jsonb $f$", None, feigned)
    server(a, "feigned", host=cluster.base, port=cluster.port, dbname=feigned)
    rows = told(a, "feigned")
    assert [(ok, code) for *_, ok, code, _ in rows] == [(False, sqlstate)]
    assert "SECRET" not in str(rows)


FEIGNED = """CREATE TABLE ran (what text);
    CREATE FUNCTION note() RETURNS text LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO public.ran VALUES ('it'); RETURN '[]'; END $f$;
    CREATE SCHEMA envelope;
    CREATE FUNCTION envelope.node_state(text[], bool) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN public.note(); END';
    CREATE FUNCTION envelope.take_keyrings(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN public.note(); END'"""


def test_functions_of_others_are_not_called(a, cluster):
    """In a database without the extension anybody may have made one of the name: it would run as the role that asks."""
    feigned = f"others_{a.name}"
    cluster.sql(f"CREATE DATABASE {feigned}")
    cluster.sql(FEIGNED, None, feigned)
    server(a, "feigned", host=cluster.base, port=cluster.port, dbname=feigned)
    assert wrong(a, "feigned") == [("", "42704")]
    assert [row[2:5] for row in a.sql("SELECT * FROM envelope.sync_keyrings('{feigned}')")] == [("extension", False, "42704")]
    assert cluster.sql("SELECT * FROM ran", None, feigned) == []


def test_servers_are_for_superusers(a, b):
    with fails("42501"):
        told(a, "b", user=a.low)


def test_no_nodes_at_all(a):
    with fails("55000"):
        told(a)


def test_a_role_that_may_not_see_there(a, b):
    server(a, "blind", user=b.low, **to(b))
    assert wrong(a, "blind") == [(P, "42501")]
    b.sql(f"GRANT pg_monitor TO {b.low}")
    assert wrong(a, "blind") == []


# -- node_state() ---------------------------------------------------------------------------------------------------


def test_state_has_the_keys(a):
    state = a.value(STATE)
    assert state["database"] == a.name and state["sees_all"] is True
    assert state["system_identifier"] == a.value("SELECT system_identifier::text FROM pg_control_system()")
    assert state["extension_version"] == state["library_version"]
    assert state["settings"]["envelope.cache_ttl"] == "300"
    (table,), (keyring,) = state["tables"], state["keyrings"]
    assert table["relation"] == P and table["seals"] == keyring["keyring_id"]
    (key,) = keyring["keys"]
    assert [key["key_id"]] == [id for id, in a.sql("SELECT key_id::text FROM envelope.keys")]
    assert (key["version"], key["state"], key["purpose"]) == (1, "active", "seal")
    assert [key["keks"]] == [keks for keks, in a.sql("SELECT keks FROM envelope.keys")]


def test_state_of_named_tables(a):
    a.sql("""CREATE TABLE "Other ""one" (v bytea); CREATE TABLE more (v bytea); SELECT envelope.create_key('more')""")
    names = ['public."Other ""one"', "public.people", "nowhere.table", "no name", "x'; DROP TABLE people; --"]
    tables = {table["relation"]: table for table in a.value("SELECT envelope.node_state(%s)", (names,))["tables"]}
    assert set(tables) == {*names, "public.more"}
    assert {name for name in tables if tables[name]["exists"]} == {names[0], P, "public.more"}
    assert tables[names[0]]["seals"] is None
    only = a.value("SELECT envelope.node_state(%s, named_only => true)", (names,))
    assert {table["relation"] for table in only["tables"]} == set(names)
    assert [keyring["table_name"] for keyring in only["keyrings"]] == [P]


def test_no_servers_at_all_are_not_asked(a):
    """It would look as if all was well."""
    for given in ("'{}'", "ARRAY[NULL::name]"):
        with fails("22023"):
            a.sql(f"SELECT * FROM envelope.check(servers => {given})")


def test_state_needs_names(a):
    for given in ("NULL", "ARRAY[NULL::text]"):
        with fails("22023"):
            a.sql(f"SELECT envelope.node_state({given})")


def test_nothing_secret_in_a_state(a):
    """No wrapped key, in no notation, and no place of a secret."""
    a.sql(f"ALTER DATABASE {a.name} SET envelope.vault_token_file = '/secret/token'")
    a.sql(f"ALTER DATABASE {a.name} SET envelope.pkcs11_module = '/secret/module'")
    text = a.value(f"SELECT ({STATE})::text")
    for notation in ("hex", "base64", "escape"):
        for wrapped, in a.sql("SELECT encode(wrapped, %s) FROM envelope.wrapped_key", (notation,)):
            assert wrapped not in text and wrapped[:40] not in text
    assert "/secret" not in text and "_file" not in text.replace("file://", "")


def test_a_role_sees_what_it_manages(a):
    """As owner, or by a right; others nothing but the node itself."""
    a.sql(f"GRANT CREATE ON SCHEMA public TO {a.low}")
    state = a.value(f"SELECT envelope.node_state(ARRAY['{P}'])", user=a.low)
    assert state["keyrings"] == [] and state["sees_all"] is False
    (table,) = state["tables"]
    assert (table["exists"], table["hidden"], table["owner"], table["seals"]) == (True, True, None, None)
    a.sql("CREATE TABLE own (v bytea)", user=a.low)
    a.sql("SELECT envelope.create_key('own')", user=a.low)
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'decrypt')")
    tables = "SELECT jsonb_path_query(envelope.node_state(), '$.keyrings[*].table_name') #>> '{}' ORDER BY 1"
    assert a.sql(tables, user=a.low) == [("public.own",)]
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'manage')")
    assert a.sql(tables, user=a.low) == [("public.own",), (P,)]
    a.sql(f"SELECT envelope.revoke_key('people', '{a.low}', 'manage'); GRANT pg_monitor TO {a.low}")
    assert a.sql(tables, user=a.low) == [("public.own",), (P,)]


def test_whom_a_keyring_is_lent_to_is_not_told_of(a):
    """Who manages a keyring sees nothing of another's table that opens with it, and seals with its own."""
    a.sql("CREATE TABLE more (v bytea); SELECT envelope.create_key('more'); SELECT envelope.share_keyring('people', 'more')")
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'manage')")
    tables = "SELECT jsonb_path_query(envelope.node_state(), '$.tables[*].relation') #>> '{}' ORDER BY 1"
    assert a.sql(tables, user=a.low) == [(P,)]
    assert a.sql(tables) == [("public.more",), (P,)]


def test_state_of_what_nobody_uses(a):
    a.sql("DROP TABLE people")
    state = a.value(STATE)
    assert state["tables"] == []
    assert [keyring["orphaned"] for keyring in state["keyrings"]] == [True]
    # It is told of with a table of that name.
    for name, expected in ((P, 1), ("public.other", 0)):
        only = a.value("SELECT envelope.node_state(%s, named_only => true)", ([name],))
        assert len(only["keyrings"]) == expected


# -- a distributed engine -------------------------------------------------------------------------------------------


@pytest.fixture
def worker(a, cluster, own_cluster):
    """Another server whose database is called as the first, with the same keys; and both are nodes of the stand-in."""
    there = own_cluster(conf={"envelope.file_kek_directory": cluster.base / "data.kek"}).start()
    node = Database.__new__(Database)
    node.cluster, node.name, node.low = there, a.name, a.low
    there.create_database(a.name)
    there.sql(f"CREATE ROLE {a.low}")
    node.people()
    for group, one in enumerate((a, node)):
        shards.worker(one, group)
        shards.distribute(one, "people")
        one.sql("CREATE EXTENSION dblink")
        one.sql("CREATE TABLE local_one (v bytea); SELECT envelope.create_key('local_one')")
    for group, one in enumerate((cluster, there)):
        a.sql("INSERT INTO pg_dist_node (groupid, nodename) VALUES (%s, %s)", (group, str(one.base)))
    bring(a, node)
    return node


def test_distributed_tables_are_to_agree(a, worker):
    """Those alone: other tables of a node are its own."""
    assert wrong(a) == []
    rotate(a)
    assert wrong(a) == [(P, "42704"), (P, "55000")]
    bring(a, worker)
    assert wrong(a) == []
    worker.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'decrypt')")
    assert wrong(a) == [(P, "42501")]


def test_a_distributed_table_that_a_node_lacks(a, worker):
    worker.sql("DELETE FROM pg_dist_partition; DROP TABLE people")
    assert wrong(a) == [(P, "42P01")]


def test_a_worker_that_is_away(a, worker):
    worker.cluster.stop()
    assert [(ok, sqlstate) for *_, ok, sqlstate, _ in told(a)] == [(False, "08001")]
