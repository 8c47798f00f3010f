"""envelope.sync_keyrings over several clusters: nodes that do not answer, who connects and how, TLS, and the nodes of Citus,
for which an extension stands in (tests/shim)."""

import threading

import psycopg
import pytest
from harness import process, shards
from harness.authority import Authority
from harness.cluster import Cluster
from harness.database import Database
from harness.nodes import server, sync, to, told
from harness.tcp_proxy import TcpProxy
from sqlstate import fails

PEOPLE = "public.people"
SYNC = "SELECT node, step, ok, sqlstate FROM envelope.sync_keyrings(ARRAY['north'])"


@pytest.fixture(scope="module")
def authority():
    with Authority() as made:
        yield made


@pytest.fixture(scope="module")
def pair(authority):
    """Two clusters with one KEK. The second one takes passwords by TCP, with TLS or without."""
    certificate, key = authority.issue("node", hosts=("127.0.0.1",))
    with Cluster() as first:
        second = Cluster(conf={
            "envelope.file_kek_directory": f"{first.data}.kek", "listen_addresses": "127.0.0.1", "ssl": "on",
            "ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": authority.ca})
        second.port = process.free_port()
        hba = second.data / "pg_hba.conf"
        hba.write_text("local all all trust\nhost all passworded 127.0.0.1/32 scram-sha-256\n"
                       "hostssl all certified 127.0.0.1/32 cert\nhostssl all postgres 127.0.0.1/32 trust\n")
        with second:
            second.sql("CREATE ROLE passworded LOGIN SUPERUSER PASSWORD 'it''s \\ right'")
            second.sql("CREATE ROLE certified LOGIN SUPERUSER")
            yield first, second


@pytest.fixture
def nodes(pair):
    """A database on each, with the table; the first makes the keys."""
    made = [Database(cluster) for cluster in pair]
    for db in made:
        db.people()
    made[0].sql("SELECT envelope.create_key('people')")
    yield made
    for db in made:
        db.drop()


def tcp(db, **more):
    return {"host": "127.0.0.1", "port": db.cluster.port, "dbname": db.name, **more}


# -- who connects, and how ------------------------------------------------------------------------------------------


def test_a_password(nodes):
    a, b = nodes
    server(a, "north", **tcp(b, user="passworded", password="it's \\ right"))
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]


def test_a_wrong_password(nodes):
    a, b = nodes
    server(a, "north", **tcp(b, user="passworded", password="wrong-7f3a"))
    [(*row, message)] = told(a, "north")
    assert tuple(row) == ("north", None, "reach", False, "28P01") and "7f3a" not in message


def test_tls_as_strict_as_it_says(nodes, authority):
    a, b = nodes
    with Authority("others") as others:
        for at, (options, ok) in enumerate([
                ({"sslmode": "disable"}, False),
                ({}, True),
                ({"sslmode": "require"}, True),
                ({"sslmode": "require", "sslrootcert": others.ca}, False),
                ({"sslmode": "prefer", "sslrootcert": others.ca}, False),
                ({"sslmode": "verify-ca", "sslrootcert": authority.ca}, True),
                ({"sslmode": "verify-ca", "sslrootcert": others.ca}, False),
                ({"sslmode": "verify-full", "sslrootcert": authority.ca}, True),
                ({"sslmode": "verify-full", "sslrootcert": authority.ca, "host": "localhost", "hostaddr": "127.0.0.1"}, False),
                ({"sslmode": "verify-ca", "sslrootcert": authority.ca, "host": "localhost", "hostaddr": "127.0.0.1"}, True),
        ]):
            server(a, f"s{at}", **{**tcp(b), **options})
            rows = sync(a, f"s{at}", dry_run=True)
            assert [row[3] for row in rows] == [ok], (options, told(a, f"s{at}", dry_run=True))


def test_a_certificate_of_ones_own(nodes, authority):
    a, b = nodes
    certificate, key = authority.issue("certified", client=True)
    server(a, "north", **tcp(b, user="certified", sslmode="require", sslcert=certificate, sslkey=key))
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]
    key.chmod(0o644)
    with fails("22023"):
        sync(a, "north")


# -- nodes that do not answer ---------------------------------------------------------------------------------------


def test_a_node_that_is_silent(nodes):
    a, b = nodes
    with TcpProxy("127.0.0.1", b.cluster.port) as proxy:
        proxy.hang()
        server(a, "north", **tcp(b, port=proxy.port))
        server(a, "south", **to(b))
        with a.connect() as c:
            c.execute("LOAD 'pgrx-example'")
            c.execute("SET envelope.node_timeout = '500ms'")
            rows = c.execute("SELECT node, step, ok, sqlstate FROM envelope.sync_keyrings(ARRAY['north', 'south'])").fetchall()
        assert rows == [("north", "reach", False, "08006"), ("south", "import", True, None)]


def test_cancel_while_a_node_does_not_answer(nodes):
    a, b = nodes
    with TcpProxy("127.0.0.1", b.cluster.port) as proxy:
        proxy.hang()
        server(a, "north", **tcp(b, port=proxy.port))
        with a.connect() as c:
            threading.Timer(1, c.cancel).start()
            with fails("57014"):
                c.execute(SYNC)
            assert c.execute("SELECT 1").fetchall() == [(1,)]


def test_cancel_ends_the_statement_over_there(nodes):
    a, b = nodes
    server(a, "north", **to(b))

    def waiting():
        return b.cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock' "
                             "AND application_name = 'pgrx-example'", (b.name,))[0][0]

    with a.connect() as c, b.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE envelope.keyring_table, people IN ACCESS EXCLUSIVE MODE")
        caught = []

        def run():
            try:
                c.execute(SYNC)
            except psycopg.Error as error:
                caught.append(error.sqlstate)

        thread = threading.Thread(target=run)
        thread.start()
        process.wait_until(lambda: waiting() == 1, "the node waits for the lock")
        c.cancel()
        thread.join()
        assert caught == ["57014"]
        process.wait_until(lambda: waiting() == 0, "its statement is cancelled")
        blocker.rollback()
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]


def test_a_node_that_is_down_is_told_and_caught_up(nodes):
    a, b = nodes
    server(a, "north", **tcp(b, port=process.free_port()))
    assert sync(a, "north") == [("north", None, "reach", False, "08001")]
    a.sql(f"ALTER SERVER north OPTIONS (SET port '{b.cluster.port}')")
    assert sync(a, "north") == [("north", PEOPLE, "import", True, None)]


# -- Citus ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def citus(pair):
    """Its coordinator and a worker, databases of one name, with a distributed table."""
    made = []
    for group, cluster in enumerate(pair):
        db = Database(cluster)
        if made:
            cluster.sql(f"ALTER DATABASE {db.name} RENAME TO {made[0].name}")
            db.name = made[0].name
        made.append(db)
        db.sql("CREATE EXTENSION dblink")
        shards.worker(db, group)
        db.people()
        shards.distribute(db, "people")
    coordinator = made[0]
    for group, db in enumerate(made):
        coordinator.sql("INSERT INTO pg_dist_node (groupid, nodename, nodeport) VALUES (%s, %s, %s)",
                        (group, str(db.cluster.base), db.cluster.port))
    coordinator.sql("SELECT envelope.create_key('people')")
    yield made
    for db in made:
        db.drop()


def worker_name(db):
    return f"{db.cluster.base}:{db.cluster.port}"


def test_nodes_of_citus(citus):
    coordinator, worker = citus
    coordinator.people("local", rows=["not distributed"])
    name = worker_name(worker)
    assert sync(coordinator) == [(name, PEOPLE, "import", True, None)]
    assert sync(coordinator) == [(name, PEOPLE, "same", True, None)]
    assert coordinator.value("SELECT count(*) FROM envelope.followed_keyring") == 0
    value = coordinator.value("SELECT envelope_encrypt_text('people', 'x')")
    shard = shards.shard(worker, "people")
    worker.sql(f"INSERT INTO {shard} VALUES (1, %s)", (value,))
    assert worker.sql(f"SELECT envelope_decrypt_text('people', ssn) FROM {shard}") == [("x",)]


def test_two_phases_on_citus(citus):
    coordinator, worker = citus
    sync(coordinator)
    coordinator.sql("SELECT envelope.rotate_key('people', activate => false)")
    assert [(step, ok) for _, _, step, ok, _ in sync(coordinator, activate=True)] == [
        ("import", True), ("activate", True), ("activate", True)]
    keys = "SELECT version, state FROM envelope.keys ORDER BY version"
    assert worker.sql(keys) == coordinator.sql(keys) == [(1, "decrypt-only"), (2, "active")]


def test_only_on_the_coordinator(citus):
    _, worker = citus
    with fails("55000"):
        sync(worker)


def test_a_worker_that_is_away(citus):
    coordinator, worker = citus
    coordinator.sql("INSERT INTO pg_dist_node (groupid, nodename) VALUES (2, '/nowhere')")
    assert sorted(sync(coordinator), key=str) == sorted([
        ("/nowhere:5432", None, "reach", False, "08001"), (worker_name(worker), PEOPLE, "import", True, None)], key=str)


def test_a_worker_that_is_not_used_now(citus):
    """It comes back without what the others were told."""
    coordinator, worker = citus
    sync(coordinator)
    coordinator.sql("SELECT envelope.rotate_key('people', activate => false)")
    coordinator.sql("UPDATE pg_dist_node SET isactive = false WHERE groupid = 1")
    assert sync(coordinator, activate=True) == [
        (worker_name(worker), None, "reach", False, "08001"), (None, PEOPLE, "activate", False, "55000")]
    coordinator.sql("UPDATE pg_dist_node SET isactive = true")
    assert (None, PEOPLE, "activate", True, None) in sync(coordinator, activate=True)


def test_owners_bring_their_own_tables(citus):
    """Through Citus, which connects as them."""
    coordinator, worker = citus
    low = coordinator.low
    if not worker.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (low,)):
        worker.sql(f"CREATE ROLE {low} LOGIN")
    coordinator.sql("GRANT EXECUTE ON FUNCTION dblink_connect_u(text, text) TO public")
    for db in (coordinator, worker):
        db.people("mine")
        db.sql(f"ALTER TABLE mine OWNER TO {low}")
        shards.distribute(db, "mine")
    coordinator.sql("SELECT envelope.create_key('mine')")
    # The worker's database has the name that is in the wrap's context.
    assert sync(coordinator, user=low) == [(worker_name(worker), "public.mine", "import", True, None)]
    assert sync(coordinator, user=low, relations=["people"]) == [(None, PEOPLE, "export", False, "42501")]
