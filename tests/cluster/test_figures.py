"""What all sessions of a server have done with keys and asked of KMSs: exact after known work, however a transaction or
a session ended, and through crashes, resets and a full table."""

import os

import psycopg
import pytest
from harness import faults, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.database import Database
from harness.work import Work, at_once
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
PRELOADED = {"shared_preload_libraries": "pgrx-example"}


@pytest.fixture(scope="module")
def preloaded(moto, kms_proxy):
    conf = PRELOADED | {
        "envelope.default_kek": kms.kek(moto.create_key()),
        "envelope.aws_endpoint_url": kms_proxy.url,
        "envelope.kms_timeout": "2s",
        # The SDK's pauses between attempts are random and long beside these tests.
        "envelope.kms_max_attempts": "1",
    }
    with Cluster(conf=conf, env=kms.CREDENTIALS) as c:
        yield c


@pytest.fixture
def db(preloaded, proxy):
    made = Database(preloaded)
    yield made
    made.drop()


def figures(db, columns="values_sealed, values_opened, bytes_sealed, bytes_opened", table="people"):
    """Of the key of a table, as they are once all who did something have ended their transactions."""
    return db.sql(f"SELECT {columns} FROM envelope.stats_cluster "
                  f"WHERE datname = current_database() AND table_name = 'public.{table}'")


def requests(db):
    """How often the KMS was asked for what in this database, and what it said."""
    found = db.sql("SELECT operation, outcome, requests FROM envelope.stats_kms WHERE datname = current_database()")
    return {(operation, outcome): count for operation, outcome, count in found}


def test_values_of_several_sessions(db):
    db.people()
    seal = "INSERT INTO people SELECT g, convert_to('12345', 'UTF8') FROM generate_series(%s::int, %s::int) g"
    at_once(lambda i: db.sql(seal, (10 * i + 1, 10 * i + 10)), 4)
    at_once(lambda i: db.sql(f"SELECT length(envelope_decrypt('people', ssn)) FROM people WHERE id <= {10 * i}"), 5)
    assert figures(db) == [(40, 100, 200, 500)]
    [(relid, purpose, version, reset)] = figures(db, "relid, purpose, version, stats_reset < now()")
    assert (relid, purpose, version, reset) == (db.value("SELECT 'people'::regclass::oid"), "seal", 1, True)
