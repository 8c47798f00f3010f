"""Fixtures: clusters, a database a test, the KMS endpoint."""

import pytest
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from harness.proxy import FaultProxy


@pytest.fixture(scope="session")
def cluster():
    """A cluster with file KEKs, shared by all tests."""
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


@pytest.fixture
def db(cluster):
    made = Database(cluster)
    yield made
    made.drop()


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
    made = Database(aws_cluster)
    yield made
    made.drop()


@pytest.fixture
def database():
    """For clusters of a test's own: database(cluster)."""
    return Database
