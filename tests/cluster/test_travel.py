"""Keys of one table on several nodes, clusters by themselves: they travel whole by export and import, are made on one
node, are rotated with no moment in which one node cannot open what another seals, and come together again after two
nodes have rotated apart."""

import itertools
import json

import pytest
from harness import process
from harness.audit import Audit
from harness.cluster import Cluster
from harness.keyrings import notices
from harness.work import Work
from sqlstate import fails

LOGICAL = {"wal_level": "logical", "wal_retrieve_retry_interval": "200ms", "max_worker_processes": 24}
SEAL = "SELECT version FROM envelope.inspect(envelope_encrypt('people', 'x'))"
KEYS = "SELECT version, state FROM envelope.keys WHERE relation = 'public.people' AND purpose = 'seal' ORDER BY version"
ROTATE = "SELECT envelope.rotate_key('people')"
PREPARE = "SELECT envelope.rotate_key('people', activate => false)"
CATALOG = ("SELECT to_jsonb(k) FROM envelope.keyring k UNION ALL SELECT to_jsonb(k) FROM envelope.keyring_table k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.data_key k UNION ALL SELECT to_jsonb(k) FROM envelope.wrapped_key k "
           "UNION ALL SELECT to_jsonb(k) FROM envelope.key_grant k UNION ALL SELECT to_jsonb(k) FROM envelope.followed_keyring k "
           "ORDER BY 1")

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def clusters():
    """Three with one KEK."""
    with Cluster(conf=LOGICAL) as first:
        conf = {**LOGICAL, "envelope.file_kek_directory": f"{first.data}.kek"}
        with Cluster(conf=conf) as second, Cluster(conf=conf) as third:
            yield first, second, third


class Node:
    """A database of one name on one of them, with a table `people`, and a role of no special rights."""

    def __init__(self, cluster, name):
        self.cluster, self.name, self.low = cluster, name, f"low_{name}"
        cluster.create_database(name)
        cluster.sql(f"CREATE ROLE {self.low} LOGIN")
        self.table("people")

    def table(self, name, owner="postgres"):
        self.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, ssn bytea); ALTER TABLE {name} OWNER TO {owner}")
        self.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")

    def connect(self, user="postgres", **kw):
        return self.cluster.connect(self.name, user, **kw)

    def sql(self, query, params=None, user="postgres"):
        return self.cluster.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        return self.sql(query, params, user)[0][0]

    def waits(self, session):
        return self.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (session.info.backend_pid,))

    def exported(self, table="people"):
        return self.value("SELECT envelope.export_keyring(%s::text::regclass)", (table,))

    def load(self, document, more="", table="people", user="postgres"):
        self.sql(f"SELECT envelope.import_keyring(%s, %s::text::regclass{more})", (json.dumps(document), table), user)

    def put(self, number, text):
        self.sql("INSERT INTO people VALUES (%s, %s)", (number, text.encode()))

    def opens(self, value):
        return self.value("SELECT envelope_decrypt_text('people', %s)", (value,))

    def sealed(self, text):
        return self.value("SELECT envelope_encrypt_text('people', %s)", (text,))

    def key_id(self, version):
        return self.value("SELECT key_id FROM envelope.data_key WHERE version = %s AND purpose = 'seal'", (version,))

    def activate(self, version):
        self.sql("SELECT envelope.activate_key(%s)", (self.key_id(version),))

    def told(self):
        """What check() says beside of keyrings and keys that are well."""
        return self.sql("SELECT key_id, message FROM envelope.check() WHERE ok AND message IS NOT NULL AND relation = 'public.people'")


@pytest.fixture
def nodes(clusters):
    name = f"travel{next(_numbers)}"
    return [Node(cluster, name) for cluster in clusters]


@pytest.fixture
def a(nodes):
    """Where the keys are made."""
    nodes[0].put(1, "one")
    return nodes[0]


@pytest.fixture
def b(a, nodes):
    """Where they follow."""
    nodes[1].load(a.exported(), ", follow => true")
    return nodes[1]


@pytest.fixture
def c(a, nodes):
    nodes[2].load(a.exported(), ", follow => true")
    return nodes[2]


# -- followed -------------------------------------------------------------------------------------------------------


def test_who_follows_makes_no_keys(a, b, c):
    for node in (b, c):
        before = node.sql(CATALOG)
        for statement in (ROTATE, PREPARE, "SELECT envelope.create_key('people')"):
            with fails("55000" if "rotate" in statement else "42710"):
                node.sql(statement)
        node.sql("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 2}')")
        for i in range(10):
            node.put(10 + i, "here")
        assert node.sql("SELECT * FROM envelope.rotate_due()") == []
        assert node.sql(KEYS) == [(1, "active")]
        node.sql("SELECT envelope.set_limits('people', '{}')")
        assert node.sql(CATALOG) == before
        assert len(node.told()) == 1
    assert a.told() == []
    # They are made where they come from, and each import goes on with it, said once more or not.
    for more in ("", ", follow => true"):
        a.sql(ROTATE)
        for node in (b, c):
            node.load(a.exported(), more)
            assert node.sql(KEYS) == a.sql(KEYS)
            assert a.opens(node.sealed("from there")) == "from there"
            with fails("55000"):
                node.sql(ROTATE)


def test_a_missing_key_is_made_where_the_others_come_from(a, b):
    for node in (a, b):
        node.sql("SELECT envelope.shred('people', 'all of it')")
    for statement in ("SELECT envelope_encrypt('people', 'x')", "SELECT envelope.create_key('people')"):
        with fails("55000"):
            b.sql(statement)
    a.sql("SELECT envelope.create_key('people')")
    b.load(a.exported())
    assert b.value(SEAL) == a.value(SEAL) == 2


def test_who_follows_puts_keys_out_of_use_by_itself(a, b):
    """An import does not destroy: each node does, once no value there needs the key."""
    a.sql(ROTATE)
    b.load(a.exported())
    b.sql("SELECT envelope.retire_key(%s); ", (b.key_id(1),))
    b.sql("SELECT envelope.destroy_key(%s, 'no value left')", (b.key_id(1),))
    b.load(a.exported())
    assert b.sql(KEYS) == [(1, "destroyed"), (2, "active")]


def test_that_ends_when_somebody_says_so(a, b):
    audit = Audit(b.cluster)
    with b.connect() as session:
        session.execute("SET envelope.audit = 'ddl'")
        session.execute("SELECT envelope.unfollow_keyring('people')")
        session.execute(ROTATE)
        session.execute("SELECT envelope.import_keyring(%s, 'people', follow => true)", (json.dumps(b.exported()),))
    assert b.told() != []
    unfollowed, = audit.lines("unfollow")
    followed, = audit.lines("follow")
    assert unfollowed["keyring_id"] == followed["keyring_id"] == a.exported()["keyrings"][0]["keyring_id"]
    with fails("55000"):
        b.sql(ROTATE)


def test_the_mark_stays_where_it_was_made(a, b):
    dump = b.cluster.base / f"{b.name}.sql"
    b.cluster.client("pg_dump", "-f", dump, dbname=b.name)
    b.cluster.sql(f"CREATE DATABASE {b.name}_copy")
    b.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", dump, dbname=f"{b.name}_copy")
    b.cluster.sql(ROTATE, dbname=f"{b.name}_copy")


# -- a rotation in two phases ---------------------------------------------------------------------------------------


def test_no_node_meets_what_it_cannot_open(a, b, c):
    """Whichever of them learns of what first."""
    everybody = (a, b, c)

    def seal_everywhere():
        for node in everybody:
            for other in everybody:
                assert other.opens(node.sealed("x")) == "x"

    a.sql(PREPARE)
    assert a.sql(KEYS) == [(1, "active"), (2, "pending")]
    seal_everywhere()
    for node in (b, c):
        node.load(a.exported())
        assert node.sql(KEYS) == [(1, "active"), (2, "pending")]
        assert len(node.told()) == 2
        seal_everywhere()
    a.activate(2)
    assert [node.value(SEAL) for node in everybody] == [2, 1, 1]
    seal_everywhere()
    for node in (b, c):
        node.load(a.exported())
        seal_everywhere()
    assert [node.sql(KEYS) for node in everybody] == [[(1, "decrypt-only"), (2, "active")]] * 3
    assert [node.value(SEAL) for node in everybody] == [2, 2, 2]
    # What is older takes nothing back.
    assert a.exported() == b.exported() == c.exported()


def test_a_session_learns_of_it_at_its_next_statement(a):
    with a.connect() as session:
        assert session.execute(SEAL).fetchone() == (1,)
        a.sql(PREPARE)
        assert session.execute(SEAL).fetchone() == (1,)
        a.activate(2)
        assert session.execute(SEAL).fetchone() == (2,)
    with a.connect(autocommit=False) as session:
        session.execute(PREPARE)
        session.execute("SELECT envelope.activate_key(key_id) FROM envelope.keys WHERE state = 'pending'")
        assert session.execute(SEAL).fetchone() == (3,)
        session.rollback()
        assert session.execute(SEAL).fetchone() == (2,)
    assert a.value("SELECT bool_and(ok) FROM envelope.check()")


def test_reencryption_leaves_values_alone_that_are_ahead(a, b):
    """Another node seals under the next version already: brought back, they would come to and fro."""
    a.sql(PREPARE)
    b.load(a.exported())
    a.activate(2)
    ahead = a.sealed("ahead")
    b.put(1, "one")
    b.sql("INSERT INTO people VALUES (2, %s)", (ahead,))
    with b.connect() as session:
        session.execute("CALL envelope.reencrypt('people', 'ssn')")
        session.execute("CALL envelope.seal_column('people', 'ssn')")
        session.execute("UPDATE people SET ssn = envelope.reseal('people', ssn)")
    assert b.value("SELECT ssn FROM people WHERE id = 2") == ahead
    assert b.sql("SELECT version, state, rows FROM envelope.census('people', 'ssn') ORDER BY 1") == [
        (1, "active", 1), (2, "pending", 1)]
    left = "SELECT rows_unknown, rows_destroyed, rows_of_others, rows_left FROM envelope.progress"
    assert b.sql(left) == [(0, 0, 0, 0)] * len(b.sql(left))
    b.load(a.exported())
    with b.connect() as session:
        session.execute("CALL envelope.reencrypt('people', 'ssn')")
    assert b.sql("SELECT version, rows FROM envelope.census('people', 'ssn')") == [(2, 2)]


def test_a_pending_key_stays_until_it_has_its_turn(a, b):
    a.sql(PREPARE)
    key = a.key_id(2)
    for statement in (f"SELECT envelope.retire_key('{key}')", f"SELECT envelope.destroy_key('{key}', 'x')",
                      f"SELECT envelope.destroy_key('{key}', 'x', shred => true)", ROTATE, PREPARE,
                      "SELECT envelope.set_minimum_version('people', 2)"):
        with fails("22023" if "minimum" in statement else "55000"):
            a.sql(statement)
    with fails("42704"):
        a.sql("SELECT envelope.activate_key(gen_random_uuid())")
    with fails("22023"):
        a.sql("SELECT envelope.activate_key(NULL)")
    with fails("42501"):
        a.sql(f"SELECT envelope.activate_key('{key}')", user=a.low)
    b.load(a.exported())
    with fails("55000"):
        b.activate(2)
    assert a.sql(KEYS) == b.sql(KEYS) == [(1, "active"), (2, "pending")]
    audit = Audit(a.cluster)
    with a.connect() as session:
        session.execute("SET envelope.audit = 'ddl'")
        # Again is nothing.
        for _ in range(2):
            session.execute("SELECT envelope.activate_key(%s)", (key,))
    line, = audit.lines("activate")
    assert (line["key_id"], line["table"]) == (str(key), "public.people")
    a.sql(ROTATE)
    assert a.sql(KEYS) == [(1, "decrypt-only"), (2, "decrypt-only"), (3, "active")]
    for version in (1, 2):
        with fails("55000"):
            a.activate(version)
    # Where it was never active it was passed by.
    b.load(a.exported())
    assert b.sql(KEYS) == a.sql(KEYS)


@pytest.mark.parametrize("given, kept", [(None, "due"), ("all have it", "all have it")])
def test_the_reason_of_a_rotation_in_two_steps(a, given, kept):
    a.sql("SELECT envelope.rotate_key('people', 'due', activate => false)")
    a.sql("SELECT envelope.activate_key(%s, %s)", (a.key_id(2), given))
    assert a.sql("SELECT state, reason FROM envelope.keys ORDER BY version") == [("decrypt-only", kept), ("active", kept)]
    assert a.sql("SELECT event, detail FROM envelope.key_events WHERE event IN ('rotate', 'activate') ORDER BY at") == [
        ("rotate", "pending: due"), ("activate", kept)]


def test_whoever_manages_the_keys_activates(a):
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'manage'); {PREPARE}")
    a.sql(f"SELECT envelope.activate_key('{a.key_id(2)}')", user=a.low)
    assert a.value(SEAL) == 2


def test_of_two_at_once_the_second_finds_it_done(a):
    a.sql(PREPARE)
    activate = f"SELECT envelope.activate_key('{a.key_id(2)}')"
    with a.connect(autocommit=False) as first, a.connect() as second:
        first.execute(activate)
        activates = Work(second.execute, activate)
        process.wait_until(lambda: a.waits(second), "the wait")
        with fails("55000"):
            a.sql(PREPARE)
        first.commit()
        activates.result()
    a.sql(PREPARE)
    # Nor do two make the next one.
    a.activate(3)
    with a.connect(autocommit=False) as first, a.connect() as second:
        first.execute(PREPARE)
        prepares = Work(second.execute, PREPARE)
        process.wait_until(lambda: a.waits(second), "the wait")
        first.commit()
        assert prepares.error().sqlstate == "55000"
    assert a.sql(KEYS)[2:] == [(3, "active"), (4, "pending")]


def test_what_is_rolled_back_is_done_by_the_next(a):
    a.sql(PREPARE)
    activate = f"SELECT envelope.activate_key('{a.key_id(2)}')"
    with a.connect(autocommit=False) as first, a.connect() as second:
        first.execute(activate)
        activates = Work(second.execute, activate)
        process.wait_until(lambda: a.waits(second), "the wait")
        first.rollback()
        activates.result()
        assert second.execute(SEAL).fetchone() == (2,)


def test_nothing_rotates_by_itself_meanwhile(a):
    a.sql("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 2}')")
    a.sql(PREPARE)
    for i in range(10):
        a.put(10 + i, "x")
    assert a.sql("SELECT * FROM envelope.rotate_due()") == []
    assert a.sql(KEYS) == [(1, "active"), (2, "pending")]
    a.activate(2)
    for i in range(10):
        a.put(20 + i, "x")
    assert a.value("SELECT max(version) FROM envelope.keys") > 2


def test_all_keys_of_a_table_go_with_it(a):
    a.sql(PREPARE)
    assert a.value("SELECT envelope.shred('people', 'all of it')") == 2
    assert a.sql("SELECT state, pending FROM envelope.data_key") == [("destroyed", False)] * 2
    a.sql("SELECT envelope.create_key('people')")
    assert a.value(SEAL) == 3
    a.sql(PREPARE)
    a.sql("DROP TABLE people")
    a.sql("SELECT envelope.forget_keyring((SELECT DISTINCT keyring_id FROM envelope.keys))")
    assert a.sql("SELECT DISTINCT state, pending FROM envelope.data_key") == [("destroyed", False)]


def test_index_keys_in_two_phases(a):
    """Their terms are asked for before any is written."""
    a.sql("CREATE TABLE found (id int PRIMARY KEY, v envelope.sealed)")
    a.sql("SELECT envelope.set_policy('found', 'v', value_type => 'int')")
    a.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON found FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    a.sql("SELECT envelope.add_index('found', 'v', 'exact', 'v_ix', force => true)")
    a.sql("SELECT envelope.add_index('found', 'v', 'buckets', 'v_b', options => '{\"bounds\": [10, 20, 30]}', force => true)")

    def build():
        for column in ("v_ix", "v_b"):
            with a.connect() as session:
                session.execute(f"CALL envelope.build_index('found', 'v', '{column}')")

    def put(number):
        a.sql("INSERT INTO found (id, v) VALUES (%s, 7)", (number,))

    def found():
        ranged = a.sql("SELECT id FROM found WHERE v_b = ANY (envelope_search_range('found', 'v', 5, 9)) ORDER BY 1")
        exact = a.sql("SELECT id FROM found WHERE v_ix = ANY (envelope_search('found', 'v', 7)) ORDER BY 1")
        assert exact == ranged
        return [number for number, in exact]

    build()
    put(1)
    term = "SELECT DISTINCT substr(v_ix, 1, 2) FROM found"
    before = a.value(term)
    key = a.value("SELECT envelope.rotate_index_key('found', activate => false)")
    put(2)
    # Nothing is waiting to be built anew, and nothing to be retired.
    assert a.sql("SELECT DISTINCT waiting FROM envelope.indexes") == [(False,)]
    assert a.sql("SELECT remedy FROM envelope.lint('found') WHERE remedy ~ 'retire_key|build_index'") == []
    assert a.sql(term) == [(before,)] and found() == [1, 2]
    for statement in ("SELECT envelope.rotate_index_key('found')", f"SELECT envelope.retire_key('{key}')"):
        with fails("55000"):
            a.sql(statement)
    a.sql("SELECT envelope.activate_key(%s)", (key,))
    put(3)
    assert sorted(a.sql(term)) == sorted([(before,), (key.bytes[:2],)]) and found() == [1, 2, 3]
    build()
    a.sql("SELECT envelope.retire_key(key_id) FROM envelope.keys WHERE purpose = 'index' AND version = 1")
    assert found() == [1, 2, 3]


# -- rotated apart --------------------------------------------------------------------------------------------------


@pytest.fixture
def apart(a, nodes):
    """Two nodes with one first version, and a second one each."""
    b = nodes[1]
    b.load(a.exported())
    for node in (a, b):
        node.sql(ROTATE)
    return b


def test_both_are_told_and_nothing_is_written(a, apart):
    for node, other in ((a, apart), (apart, a)):
        before = node.sql(CATALOG)
        with fails("42710") as caught:
            node.load(other.exported())
        assert str(a.key_id(2)) in str(caught.value) and str(apart.key_id(2)) in str(caught.value)
        assert node.sql(CATALOG) == before


def test_both_are_kept(a, apart):
    """What seals goes on, what the other has sealed opens, and the next version of one is that of both."""
    b = apart
    b.sql("SELECT envelope.set_minimum_version('people', 2)")
    of_a, of_b = a.sealed("a"), b.sealed("b")
    b.load(a.exported(), ", resolve => 'keep-both', follow => true")
    assert b.sql(KEYS) == [(1, "decrypt-only"), (2, "active"), (3, "decrypt-only")]
    assert b.value(SEAL) == 2 and b.key_id(3) == a.key_id(2)
    assert (b.opens(of_a), b.opens(of_b)) == ("a", "b")
    # It is known from then on.
    before = b.sql(CATALOG)
    b.load(a.exported())
    b.load(a.exported(), ", resolve => 'keep-both'")
    assert b.sql(CATALOG) == before
    # The number that was given here is wanted there.
    a.sql(ROTATE)
    b.load(a.exported())
    assert b.sql(KEYS) == [(1, "decrypt-only"), (2, "decrypt-only"), (3, "active"), (4, "decrypt-only")]
    assert b.key_id(3) == a.key_id(3) and b.key_id(4) == a.key_id(2)
    assert a.opens(b.sealed("for both")) == "for both"
    assert (b.opens(of_a), b.opens(of_b)) == ("a", "b")
    assert b.value("SELECT bool_and(ok) FROM envelope.check()")
    # And the other way, for who is to open what was sealed here.
    with fails("42704"):
        a.opens(of_b)
    a.load(b.exported(), ", resolve => 'keep-both'")
    assert a.value(SEAL) == 3 and a.opens(of_b) == "b"
    for _ in range(3):
        a.sql(ROTATE)
        b.load(a.exported())
        assert a.opens(b.sealed("x")) == "x" and b.value(SEAL) == a.value(SEAL)


def test_a_third_node_has_it_from_either(a, apart, nodes):
    b, c = apart, nodes[2]
    b.load(a.exported(), ", resolve => 'keep-both'")
    c.load(b.exported())
    c.load(a.exported())
    assert (c.opens(a.sealed("a")), c.opens(b.sealed("b"))) == ("a", "b")


def test_what_was_destroyed_frees_no_version(a, apart):
    apart.sql(ROTATE)
    apart.sql("SELECT envelope.destroy_key(%s, 'the fork')", (apart.key_id(2),))
    with fails("42710"):
        apart.load(a.exported())
    apart.load(a.exported(), ", resolve => 'keep-both'")
    assert apart.sql(KEYS) == [(1, "decrypt-only"), (2, "destroyed"), (3, "active"), (4, "decrypt-only")]
    assert apart.opens(a.sealed("a")) == "a"


@pytest.mark.parametrize("more", [", resolve => 'ours'", ", resolve => NULL", ", follow => NULL", ", grants => NULL"])
def test_options_that_there_are_not(a, b, more):
    with fails("22023"):
        b.load(a.exported(), more)


def test_functions_of_an_earlier_release_do_as_before(a, nodes):
    """Their catalog calls them until it is updated."""
    for node in (a, nodes[1]):
        node.sql("CREATE FUNCTION rotate(relation regclass, reason text) RETURNS uuid LANGUAGE c "
                 "AS 'pgrx-example', 'envelope_rotate_key_wrapper'")
        node.sql("CREATE FUNCTION import(keyring jsonb, relation regclass) RETURNS uuid LANGUAGE c "
                 "AS 'pgrx-example', 'envelope_import_keyring_wrapper'")
    for _ in range(2):
        a.sql("SELECT rotate('people', 'as before')")
        nodes[1].sql("SELECT import(%s, 'people')", (json.dumps(a.exported()),))
        assert a.value("SELECT state FROM envelope.keys WHERE reason = 'as before' LIMIT 1") == "decrypt-only"
    assert nodes[1].sql(KEYS) == a.sql(KEYS) == [(1, "decrypt-only"), (2, "decrypt-only"), (3, "active")]
    nodes[1].sql("SELECT rotate('people', 'follows nobody')")


# -- rights ---------------------------------------------------------------------------------------------------------


def test_rights_travel_by_the_names_of_roles(a, nodes):
    b, gone = nodes[1], f"gone_{a.name}"
    a.cluster.sql(f'CREATE ROLE {gone}; CREATE ROLE "Größe {a.name}"')
    b.cluster.sql(f'CREATE ROLE "Größe {a.name}"')
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'encrypt, decrypt'), envelope.grant_key('people', '{gone}', 'search'), "
          f"envelope.grant_key('people', 'Größe {a.name}', 'manage')")
    rights = "SELECT grantee::text, verb FROM envelope.key_grant ORDER BY 1, 2"
    document = a.exported()
    b.load(document)
    assert b.sql(rights) == []
    with b.connect() as session:
        told = notices(session)
        session.execute("SELECT envelope.import_keyring(%s, 'people', grants => true)", (json.dumps(document),))
    (severity, message, _), = told
    assert severity == "WARNING" and gone in message
    assert b.sql(rights) == [row for row in a.sql(rights) if row[0] != gone]
    assert b.value("SELECT envelope_decrypt_text('people', %s)", (a.sealed("a"),), user=b.low) == "a"
    # Nothing is taken away, and nothing given twice.
    a.sql(f"SELECT envelope.revoke_key('people', '{a.low}', 'decrypt')")
    before = b.sql(CATALOG)
    b.load(a.exported(), ", grants => true")
    assert b.sql(CATALOG) == before
    # They are what an export has.
    assert sorted((it["role"], it["verb"]) for it in document["keyrings"][0]["grants"]) == sorted(
        [(a.low, "encrypt"), (a.low, "decrypt"), (gone, "search"), (f"Größe {a.name}", "manage")])
    document["keyrings"][0]["grants"][0]["verb"] = "all"
    with fails("22023"):
        b.load(document)


# -- the owner of a table -------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(nodes):
    """A node with a table of the low role's own."""
    b = nodes[1]
    b.table("own", owner=b.low)
    return b


def test_the_owner_imports_for_their_table(a, theirs):
    a.sql(f"SELECT envelope.grant_key('people', '{a.low}', 'decrypt')")
    for more in (", follow => true, grants => true", ""):
        theirs.load(a.exported(), more, "own", theirs.low)
        assert theirs.value("SELECT envelope_decrypt_text('own', %s)", (a.sealed("a"),), theirs.low) == "a"
        a.sql(ROTATE)
    with fails("55000"):
        theirs.sql("SELECT envelope.rotate_key('own')", user=theirs.low)
    with fails("42501"):
        theirs.load(a.exported(), table="people", user=theirs.low)
    with fails("42501"):
        theirs.sql("SELECT envelope.import_keyring(%s)", (json.dumps(a.exported()),), theirs.low)
    # Whoever may manage its keys does not own it.
    theirs.sql(f"SELECT envelope.create_key('people'); SELECT envelope.grant_key('people', '{theirs.low}', 'manage')")
    with fails("42501"):
        theirs.load(a.exported(), table="people", user=theirs.low)


def test_what_is_another_s_is_not_theirs_to_import(a, theirs):
    """They may have got hold of an export, and of the right to ask the KMS by this server."""
    theirs.load(a.exported())
    document = a.exported()
    before = theirs.sql(CATALOG)
    with fails("42501"):
        theirs.load(document, table="own", user=theirs.low)
    # Nor beside one of their own.
    theirs.sql("SELECT envelope.create_key('own')", user=theirs.low)
    before = theirs.sql(CATALOG)
    mine = theirs.exported("own")
    a.sql(ROTATE)
    document = a.exported()
    document["keyrings"][0]["seals"] = False
    mine["keyrings"].append(document["keyrings"][0])
    with theirs.connect(theirs.low) as session:
        told = notices(session)
        session.execute("SELECT envelope.import_keyring(%s, 'own')", (json.dumps(mine),))
    (severity, message, _), = told
    assert severity == "WARNING" and document["keyrings"][0]["keyring_id"] in message
    assert theirs.sql(CATALOG) == before
    with fails("22023"):
        theirs.value("SELECT envelope_decrypt('own', %s)", (theirs.sealed("x"),), theirs.low)
    # Nor when its table is gone, or it was forgotten.
    theirs.sql("DROP TABLE people")
    document["keyrings"][0]["seals"] = True
    for _ in range(2):
        with fails("42501"):
            theirs.load(document, table="own", user=theirs.low)
        theirs.sql("SELECT envelope.forget_keyring(keyring_id) FROM (SELECT DISTINCT keyring_id FROM envelope.keys "
                   "WHERE orphaned) AS o")


def test_nobody_takes_the_id_of_another_s_key(a, theirs):
    """It stands in every value."""
    theirs.sql("SELECT envelope.create_key('own')", user=theirs.low)
    document = theirs.exported("own")
    taken = json.loads(json.dumps(document["keyrings"][0]["data_keys"][0]))
    taken.update(key_id=str(a.key_id(1)), version=7, state="destroyed", wraps=[])
    document["keyrings"][0]["data_keys"].append(taken)
    theirs.load(document, table="own", user=theirs.low)
    theirs.load(a.exported())
    assert theirs.opens(a.sealed("a")) == "a"


def test_nobody_gets_in_by_the_id_of_another_s_keyring(a, theirs, nodes):
    """Whoever knows it may be first, with keys of their own. Then the other does not come in, and nothing is shared."""
    c = nodes[2]
    c.table("own")
    c.sql("SELECT envelope.create_key('own')")
    document = c.exported("own")
    document["keyrings"][0]["keyring_id"] = a.exported()["keyrings"][0]["keyring_id"]
    document["keyrings"][0]["data_keys"][0]["version"] = 7
    theirs.load(document, table="own", user=theirs.low)
    before = theirs.sql(CATALOG)
    for more in ("", ", resolve => 'keep-both', grants => true"):
        with fails("42710"):
            theirs.load(a.exported(), more)
    assert theirs.sql(CATALOG) == before
    with fails("42704"):
        theirs.value("SELECT envelope_decrypt('own', %s)", (a.sealed("a"),), theirs.low)
    theirs.sql("DROP TABLE own")
    theirs.sql("SELECT envelope.forget_keyring(keyring_id) FROM (SELECT DISTINCT keyring_id FROM envelope.keys) AS o")
    theirs.load(a.exported())
    assert theirs.opens(a.sealed("a")) == "a"


def test_only_what_the_settings_permit(a, theirs):
    document = a.exported()
    theirs.sql(f"ALTER DATABASE {theirs.name} SET envelope.allowed_keks = 'aws-kms://*'")
    with fails("42501"):
        theirs.load(document, table="own", user=theirs.low)
    theirs.sql(f"ALTER DATABASE {theirs.name} RESET envelope.allowed_keks")
    theirs.load(document, table="own", user=theirs.low)
    with fails("22023"):
        theirs.load({**document, "schema": "x" * 1024 * 1024}, table="own", user=theirs.low)


def test_what_one_database_made_no_other_opens_for_an_owner(a, theirs):
    """Wraps can be read in dumps, and by the owner of the database. Whoever has them, and a table in another database of the
    server, would have them opened there."""
    other = Node(theirs.cluster, f"other_{theirs.name}")
    other.table("own", owner=other.low)
    document = a.exported()
    # As in an export that somebody wrote themselves.
    document["keyrings"][0]["kms_context"] = {"database": other.name, "table": "public.own"}
    with fails("42501"):
        other.load(document, table="own", user=other.low)
    # Nor can the context be another.
    for key in document["keyrings"][0]["data_keys"]:
        for wrap in key["wraps"]:
            wrap["kms_context"]["database"] = other.name
    with fails("XX001"):
        other.load(document, table="own", user=other.low)
    assert other.sql("SELECT count(*) FROM envelope.wrapped_key") == [(0,)]
    other.load(a.exported(), table="own")
    assert other.value("SELECT envelope_decrypt_text('own', %s)", (a.sealed("a"),), other.low) == "a"
    # What is here already is not asked for.
    other.load(a.exported(), table="own", user=other.low)


# -- forgotten ------------------------------------------------------------------------------------------------------


def test_an_older_export_brings_no_forgotten_key_back(a, nodes):
    b = nodes[1]
    a.sql(ROTATE)
    older = a.exported()
    b.load(older)
    b.sql("DROP TABLE people")
    b.sql("SELECT envelope.forget_keyring(keyring_id) FROM (SELECT DISTINCT keyring_id FROM envelope.keys) AS o")
    b.table("people")
    before = b.sql(CATALOG)
    for more in ("", ", resolve => 'keep-both'"):
        with fails("42710"):
            b.load(older, more)
    assert b.sql(CATALOG) == before
    # What was made since comes alone.
    of_older = a.sealed("older")
    a.sql(ROTATE)
    b.load(a.exported())
    assert b.sql(KEYS) == [(1, "destroyed"), (2, "destroyed"), (3, "active")]
    assert b.value("SELECT count(DISTINCT key_id) FROM envelope.wrapped_key") == 1
    with fails("55000"):
        b.opens(of_older)
    assert a.opens(b.sealed("x")) == "x"


# -- by logical replication -----------------------------------------------------------------------------------------


class Subscription:
    """All of one node's tables, on another."""

    def __init__(self, of, by):
        self.of, self.by = of, by
        of.sql(f"CREATE PUBLICATION {of.name} FOR ALL TABLES")
        by.sql(f"CREATE SUBSCRIPTION {of.name} CONNECTION 'host={of.cluster.base} port={of.cluster.port} user=postgres "
               f"dbname={of.name}' PUBLICATION {of.name}")
        process.wait_until(lambda: by.value("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel"), "initial copy")

    def applied(self):
        position = self.of.value("SELECT pg_current_wal_lsn()")
        process.wait_until(lambda: self.of.value("SELECT bool_and(replay_lsn >= %s) FROM pg_stat_replication "
                                                 "WHERE application_name = %s", (position, self.of.name)), "apply")

    def drop(self):
        self.by.sql(f"ALTER SUBSCRIPTION {self.of.name} DISABLE")
        self.by.sql(f"DROP SUBSCRIPTION {self.of.name}")


@pytest.fixture
def subscription(a, nodes):
    made = Subscription(a, nodes[1])
    yield made
    made.drop()


def test_by_replication_a_pending_key_comes_as_one(a, nodes, subscription):
    b = nodes[1]
    a.sql(PREPARE)
    subscription.applied()
    assert b.sql(KEYS) == [(1, "active"), (2, "pending")]
    with fails("55000"):
        b.activate(2)
    a.activate(2)
    assert b.opens(a.sealed("x")) == "x"
    subscription.applied()
    assert b.sql(KEYS) == [(1, "decrypt-only"), (2, "active")]
    # Of two ways to bring keys one is enough.
    with fails("55000"):
        b.load(a.exported(), ", follow => true")


def test_a_subscriber_that_lacks_the_column_stops_and_goes_on(a, nodes, subscription):
    """One that was not upgraded first; nothing is lost."""
    b = nodes[1]
    subscription.drop()
    b.sql("ALTER TABLE envelope.data_key RENAME pending TO is_not_there")
    b.sql("TRUNCATE people, envelope.keyring, envelope.keyring_table, envelope.data_key, envelope.wrapped_key")
    b.sql(f"CREATE SUBSCRIPTION {a.name} CONNECTION 'host={a.cluster.base} port={a.cluster.port} user=postgres "
          f"dbname={a.name}' PUBLICATION {a.name}")
    mark = b.cluster.log.stat().st_size
    missing = 'is missing replicated column: "pending"'
    process.wait_until(lambda: missing in b.cluster.log.read_text()[mark:], "the error")
    assert b.value("SELECT count(*) FROM envelope.data_key") == 0
    b.sql("ALTER TABLE envelope.data_key RENAME is_not_there TO pending")
    process.wait_until(lambda: b.value("SELECT count(*) = 1 FROM envelope.data_key"), "the copy")
    assert b.opens(a.sealed("x")) == "x"
