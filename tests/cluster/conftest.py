"""Fixtures: clusters, a database a test, the KMS endpoint."""

import itertools

import pytest

from harness import moto as kms
from harness.cluster import Cluster
from harness.proxy import FaultProxy

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def cluster():
    """A cluster with file KEKs, shared by all tests; what it looks like at the end helps when one failed."""
    with Cluster() as c:
        yield c


@pytest.fixture
def own_cluster():
    """Makes clusters for one test: own_cluster(conf=…, env=…), not yet started."""
    made = []

    def make(**kw):
        made.append(Cluster(**kw))
        return made[-1]

    yield make
    for c in made:
        c.destroy()


class Database:
    """A fresh database with the extension in it, and a role of no special rights."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.name = f"db{next(_numbers)}"
        cluster.create_database(self.name)
        self.low = f"low_{self.name}"
        cluster.sql(f"CREATE ROLE {self.low} LOGIN")

    def connect(self, user="postgres", **kw):
        return self.cluster.connect(self.name, user, **kw)

    def sql(self, query, params=None, user="postgres"):
        return self.cluster.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        return self.sql(query, params, user)[0][0]

    def patient(self):
        """A session that waits for the KMS as long as it takes."""
        c = self.connect()
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.kms_timeout = '120s'")
        return c

    def waits_for_lock(self, pid):
        return self.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (pid,))

    def sleeps(self, pid):
        return self.value("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", (pid,))

    def people(self, name="people", rows=()):
        """A table whose column `ssn` the trigger seals."""
        self.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, ssn bytea)")
        self.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW "
                 "EXECUTE FUNCTION envelope_seal('ssn')")
        for i, text in enumerate(rows, 1):
            self.sql(f"INSERT INTO {name} VALUES (%s, %s)", (i, text.encode()))


@pytest.fixture
def db(cluster):
    return Database(cluster)


@pytest.fixture(scope="session")
def moto():
    with kms.Moto() as m:
        yield m


@pytest.fixture(scope="session")
def kms_proxy(moto):
    with FaultProxy(moto.url) as p:
        yield p


@pytest.fixture
def proxy(kms_proxy):
    """The endpoint as the server sees it; each test begins without faults and counts."""
    kms_proxy.clear()
    kms_proxy.reset_counts()
    yield kms_proxy
    kms_proxy.clear()


@pytest.fixture(scope="session")
def aws_cluster(moto, kms_proxy):
    """A cluster whose KEK is in KMS, behind the proxy."""
    conf = {
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": kms_proxy.url,
        "envelope.kms_timeout": "4s",
    }
    env = {**kms.CREDENTIALS, "AWS_ENDPOINT_URL_STS": kms_proxy.url}
    with Cluster(conf=conf, env=env) as c:
        yield c


@pytest.fixture
def aws(aws_cluster, proxy):
    """A fresh database in it, after the proxy was cleared."""
    return Database(aws_cluster)


@pytest.fixture
def database():
    """For clusters of a test's own: database(cluster)."""
    return Database
