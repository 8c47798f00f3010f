"""envelope.sync_keyrings over named servers, which are databases of one cluster here: what is brought, what differs and stays,
what a second call does."""

import json

import pytest
from harness.keyrings import keyring
from harness.nodes import exported, server, sync, to, told
from sqlstate import fails

CATALOG = ("SELECT to_jsonb(k) FROM envelope.keyring k UNION ALL SELECT to_jsonb(k) FROM envelope.keyring_table k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.data_key k UNION ALL SELECT to_jsonb(k) FROM envelope.wrapped_key k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.key_grant k UNION ALL SELECT to_jsonb(k) FROM envelope.followed_keyring k "
           "ORDER BY 1")
KEYS = "SELECT version, state FROM envelope.keys WHERE relation = 'public.people' AND purpose = 'seal' ORDER BY version"
PREPARE = "SELECT envelope.rotate_key('people', activate => false)"
PEOPLE = "public.people"


@pytest.fixture
def north(db, cluster, database):
    """Another database with the same table, as server `north` of `db`."""
    return _node(db, cluster, database, "north")


@pytest.fixture
def south(db, cluster, database):
    return _node(db, cluster, database, "south")


def _node(db, cluster, database, name):
    there = database(cluster)
    there.people()
    server(db, name, **to(there))
    return there


@pytest.fixture
def a(db):
    """Where the keys are made."""
    db.people(rows=["one"])
    return db


def opens(db, value):
    return db.value("SELECT envelope_decrypt_text('people', %s)", (value,))


def sealed(db, text):
    return db.value("SELECT envelope_encrypt_text('people', %s)", (text,))


def test_brings_and_says_so(a, north, south):
    assert sync(a, "north", "south") == [("north", PEOPLE, "import", True, None), ("south", PEOPLE, "import", True, None)]
    for there in (north, south):
        assert opens(there, sealed(a, "x")) == "x" and opens(a, sealed(there, "y")) == "y"
        with fails("55000"):
            there.sql("SELECT envelope.rotate_key('people')")
    assert a.value("SELECT count(*) FROM envelope.followed_keyring") == 0


def test_a_second_call_changes_nothing(a, north):
    sync(a, "north")
    here, there = a.sql(CATALOG), north.sql(CATALOG)
    history = north.value("SELECT count(*) FROM envelope.key_event")
    assert sync(a, "north") == [("north", PEOPLE, "same", True, None)]
    assert a.sql(CATALOG) == here and north.sql(CATALOG) == there
    assert north.value("SELECT count(*) FROM envelope.key_event") == history


def test_dry_run_changes_nothing(a, north):
    before = north.sql(CATALOG)
    assert sync(a, "north", dry_run=True) == [("north", PEOPLE, "import", True, None)]
    assert north.sql(CATALOG) == before
    assert keyring(a, "people") and str(keyring(a, "people")) in told(a, "north", dry_run=True)[0][5]


def test_rotation_reaches_the_others(a, north):
    sync(a, "north")
    a.sql("SELECT envelope.rotate_key('people')")
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]
    assert north.sql(KEYS) == a.sql(KEYS) == [(1, "decrypt-only"), (2, "active")]


def test_rotation_in_two_phases(a, north, south):
    sync(a, "north", "south")
    a.sql(PREPARE)
    rows = sync(a, "north", "south", activate=True)
    assert [(node, step, ok) for node, _, step, ok, _ in rows] == [
        ("north", "import", True), ("south", "import", True), (None, "activate", True),
        ("north", "activate", True), ("south", "activate", True)]
    for node in (a, north, south):
        assert node.sql(KEYS) == [(1, "decrypt-only"), (2, "active")]
    assert sync(a, "north", "south", activate=True) == [("north", PEOPLE, "same", True, None), ("south", PEOPLE, "same", True, None)]


def test_activated_here_is_activated_there(a, north):
    a.sql(PREPARE)
    sync(a, "north")
    assert north.sql(KEYS) == [(1, "active"), (2, "pending")]
    a.sql("SELECT envelope.activate_key(key_id) FROM envelope.keys WHERE state = 'pending'")
    assert sync(a, "north") == [("north", PEOPLE, "activate", True, None)]
    assert north.sql(KEYS) == [(1, "decrypt-only"), (2, "active")]


def test_nothing_is_activated_unless_all_have_it(a, north, south, cluster):
    sync(a, "north", "south")
    a.sql(PREPARE)
    a.sql("ALTER SERVER south OPTIONS (SET dbname 'nowhere')")
    rows = sync(a, "north", "south", activate=True)
    assert ("south", None, "reach", False, "3D000") in rows
    assert (None, PEOPLE, "activate", False, "55000") in rows
    assert a.sql(KEYS) == north.sql(KEYS) == [(1, "active"), (2, "pending")]
    a.sql(f"ALTER SERVER south OPTIONS (SET dbname '{south.name}')")
    assert (None, PEOPLE, "activate", True, None) in sync(a, "north", "south", activate=True)
    assert a.sql(KEYS) == north.sql(KEYS) == south.sql(KEYS) == [(1, "decrypt-only"), (2, "active")]


def test_dry_run_activates_nothing(a, north):
    sync(a, "north")
    a.sql(PREPARE)
    rows = sync(a, "north", activate=True, dry_run=True)
    assert (None, PEOPLE, "activate", True, None) in rows
    assert a.sql(KEYS) == [(1, "active"), (2, "pending")] and north.sql(KEYS) == [(1, "active")]


def test_a_fork_is_told_with_both_ids(a, north):
    sync(a, "north")
    north.sql("SELECT envelope.unfollow_keyring('people')")
    own = north.value("SELECT envelope.rotate_key('people')")
    other = a.value("SELECT envelope.rotate_key('people')")
    before = north.sql(CATALOG)
    [(node, relation, step, ok, sqlstate, message)] = told(a, "north")
    assert (node, relation, step, ok, sqlstate) == ("north", PEOPLE, "import", False, "42710")
    assert str(own) in message and str(other) in message
    assert north.sql(CATALOG) == before


def test_another_keyring_has_the_table(a, north):
    north.sql("SELECT envelope.create_key('people')")
    own = keyring(north, "people")
    before = north.sql(CATALOG)
    [(*row, message)] = told(a, "north")
    assert tuple(row) == ("north", PEOPLE, "import", False, "42710")
    assert str(own) in message and str(keyring(a, "people")) in message
    assert north.sql(CATALOG) == before


def test_keyring_of_another_table_is_left_to_it(a, north):
    north.sql("CREATE TABLE others (id int, ssn bytea)")
    north.sql("SELECT envelope.import_keyring(%s, 'others')", (exported(a),))
    assert sync(a, "north") == [("north", PEOPLE, "import", False, "42710")]
    assert keyring(north, "others") == keyring(a, "people")


def test_an_orphan_is_adopted(a, north):
    """As conversions do: a new table, and the old one dropped."""
    sync(a, "north")
    value = sealed(north, "x")
    north.sql("DROP TABLE people")
    north.people()
    with fails("22023"):
        opens(north, value)
    assert sync(a, "north", dry_run=True) == [("north", PEOPLE, "adopt", True, None)]
    assert sync(a, "north") == [("north", PEOPLE, "adopt", True, None)]
    assert opens(north, value) == "x" and keyring(north, "people") == keyring(a, "people")
    assert sync(a, "north") == [("north", PEOPLE, "same", True, None)]


def test_rights(a, north):
    for right in ("encrypt", "decrypt"):
        a.sql("SELECT envelope.grant_key('people', %s, %s)", (a.low, right))
    assert sync(a, "north", grants=False)[-1] == ("north", PEOPLE, "rights", False, "55000")
    assert sync(a, "north") == [("north", PEOPLE, "rights", True, None)]
    assert north.value("SELECT count(*) FROM envelope.key_grant") == 2
    a.sql("SELECT envelope.revoke_key('people', %s, 'decrypt')", (a.low,))
    [(*row, message)] = told(a, "north")
    assert tuple(row) == ("north", PEOPLE, "rights", False, "55000") and f"{a.low} decrypt" in message
    assert north.value("SELECT count(*) FROM envelope.key_grant") == 2


def test_tables_that_a_node_lacks(a, north):
    """Where they are not named, they are no fault."""
    a.people("more", rows=["x"])
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]
    assert sync(a, "north", relations=["more", "people"]) == [
        ("north", "public.more", "table", False, "42P01"), ("north", PEOPLE, "same", True, None)]


def test_a_table_of_anothers_is_given_nothing(a, north):
    """Its owner may do all with the keys, and may be anybody who may make a table of that name."""
    north.sql(f"ALTER TABLE people OWNER TO {north.low}")
    before = north.sql(CATALOG)
    for dry_run in (True, False):
        assert sync(a, "north", dry_run=dry_run) == [("north", PEOPLE, "import", False, "42501")]
    assert north.sql(CATALOG) == before
    # Named it is meant, and stays so.
    a.sql("SELECT * FROM envelope.sync_keyrings('{north}', relations => '{people}')")
    assert opens(north, sealed(a, "x")) == "x"
    assert sync(a, "north") == [("north", PEOPLE, "same", True, None)]


def test_a_key_that_was_destroyed_there_is_not_activated(a, north):
    sync(a, "north")
    pending = str(a.value(PREPARE))
    sync(a, "north")
    # By what asks nobody.
    north.sql("SELECT envelope.unfollow_keyring('people'); SELECT envelope.shred('people', 'a test')")
    rows = sync(a, "north", activate=True)
    assert (None, PEOPLE, "activate", False, "55000") in rows
    assert a.sql(KEYS)[-1] == (2, "pending") and pending


def test_a_node_without_the_extension(a, north, cluster):
    cluster.sql(f"CREATE DATABASE bare_{a.name} TEMPLATE template0")
    server(a, "bare", host=cluster.base, port=cluster.port, dbname=f"bare_{a.name}")
    assert sync(a, "bare", "north") == [("bare", None, "extension", False, "42704"), ("north", PEOPLE, "import", True, None)]


def test_a_destroyed_key_does_not_come_back(a, north):
    sync(a, "north")
    a.sql("SELECT envelope.rotate_key('people')")
    sync(a, "north")
    first = north.value("SELECT key_id FROM envelope.keys WHERE version = 1")
    north.sql("SELECT envelope.destroy_key(%s, 'no value')", (first,))
    rows = sync(a, "north")
    assert rows == [("north", PEOPLE, "differs", False, "55000")]
    assert north.sql(KEYS) == [(1, "destroyed"), (2, "active")]
    assert north.value("SELECT count(*) FROM envelope.wrapped_key WHERE key_id = %s", (first,)) == 0


def test_not_in_a_transaction_that_has_written(a, north):
    with a.connect(autocommit=False) as c:
        c.execute("SELECT envelope.rotate_key('people')")
        with fails("25001"):
            c.execute("SELECT * FROM envelope.sync_keyrings(ARRAY['north'])")
        c.rollback()
        assert c.execute("SELECT step FROM envelope.sync_keyrings(ARRAY['north'])").fetchall() == [("import",)]


def test_a_server_that_leads_here_is_told(a):
    server(a, "self", **to(a))
    before = a.sql(CATALOG)
    assert sync(a, "self") == [("self", None, "reach", False, "55000")]
    assert a.sql(CATALOG) == before


def test_servers_are_for_superusers(a, north):
    a.sql(f"GRANT USAGE ON FOREIGN SERVER north TO {a.low}; "
          f"CREATE USER MAPPING FOR {a.low} SERVER north OPTIONS (user 'postgres'); ALTER TABLE people OWNER TO {a.low}")
    with fails("42501"):
        sync(a, "north", user=a.low)


def test_who_may_not_import_gets_nothing(a, north):
    """Whoever calls what a node calls."""
    batch = json.dumps({"from": "elsewhere", "dry_run": False, "grants": True, "documents": [exported(a)]})
    before = north.sql(CATALOG)
    [[step]] = json.loads(north.value("SELECT envelope.take_keyrings(%s)", (batch,), user=north.low))
    assert (step["ok"], step["sqlstate"]) == (False, "42501")
    for other in ("", "[]", "{}", batch.replace("documents", "more")):
        with fails("22023"):
            north.sql("SELECT envelope.take_keyrings(%s)", (other,), user=north.low)
    assert north.sql(CATALOG) == before


def test_what_no_connection_can_be_made_by(a, north):
    with fails("42704"):
        sync(a, "nowhere")
    with fails("55000"):
        sync(a)
    server(a, "other", passfile="/etc/passwd", **to(north))
    with fails("HV00D"):
        sync(a, "other")
    server(a, "ca", host="h", sslmode="verify-full")
    with fails("22023"):
        sync(a, "ca")
    a.sql("CREATE SERVER unmapped FOREIGN DATA WRAPPER nodes OPTIONS (host 'h')")
    with fails("42704"):
        sync(a, "unmapped")


def test_names_of_all_sorts(a, north):
    name = 'Große "x" \\ \'y\' 中'
    for db in (a, north):
        db.sql('CREATE TABLE "{}" (ssn bytea)'.format(name.replace('"', '""').replace("%", "%%")))
    a.sql("SELECT envelope.create_key(%s::text::regclass)", ('"{}"'.format(name.replace('"', '""')),))
    rows = sync(a, "north")
    assert [step for _, relation, step, *_ in rows if relation != PEOPLE] == ["import"]


def test_many_tables_in_several_questions(a, north):
    for i in range(60):
        for db in (a, north):
            db.sql(f"CREATE TABLE t{i} (ssn bytea)")
        a.sql(f"SELECT envelope.create_key('t{i}')")
    assert {row[2:4] for row in sync(a, "north")} == {("import", True)}
    rows = sync(a, "north")
    assert len(rows) == 61 and {row[2:4] for row in rows} == {("same", True)}
