"""What alerts look for that needs a server of its own: no room for leases, memory that is not locked."""

import re

import pytest
from harness import memory
from harness.cluster import Cluster

from . import programs
from .scene import dsn, flags, make_role

TABLES = 5


@pytest.fixture(scope="module")
def told():
    """What the exporter tells while a session holds more keys than there is room for, in memory that it may not lock."""
    with memory.memlock(0):
        cluster = Cluster(conf={"shared_preload_libraries": "pgrx-example", "envelope.shared_keys": 2}).start()
    with cluster:
        cluster.create_database("shop")
        make_role(cluster)
        with cluster.connect("shop") as c:
            for n in range(TABLES):
                c.execute(f"CREATE TABLE t{n} (v bytea)")
                c.execute(f"INSERT INTO t{n} VALUES (envelope_encrypt('t{n}', 'x'))")
        with cluster.connect("shop") as c, programs.Exporter(dsn(cluster, "shop"), *flags()) as exporter:
            for n in range(TABLES):
                c.execute(f"SELECT envelope_decrypt('t{n}', v) FROM t{n}")
            told = exporter.metrics()
    return {name: float(value) for name, value in re.findall(r"^(envelope_leases_\w+)\{.*\} (\S+)$", told, re.M)}


def test_no_room_for_leases(told):
    assert told["envelope_leases_slots"] == told["envelope_leases_used"] == told["envelope_leases_ready"] == 2
    assert told["envelope_leases_table_full_total"] == TABLES - 2


def test_memory_that_is_not_locked(told):
    """The session's, and the page with the key of the leases."""
    assert told["envelope_leases_backends_unlocked"] == 2
