"""Who waits for another session's answer, where the key has several KEKs and the first does not answer."""

import concurrent.futures

import pytest
from harness import faults
from harness import moto as kms
from harness.database import Database

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"


@pytest.fixture
def two_keks(own_cluster, moto, proxy):
    """A value whose key is under two KEKs: the database, and which is the first."""
    first, second = moto.create_key(), moto.create_key()
    conf = {
        "shared_preload_libraries": "pgrx-example",
        "envelope.default_kek": kms.kek(first),
        "envelope.allowed_keks": "aws-kms://arn:aws:kms:*",
        "envelope.aws_region": kms.REGION,
        "envelope.aws_endpoint_url": proxy.url,
        "envelope.kms_timeout": "4s",
        "envelope.kms_max_attempts": "1",
    }
    db = Database(own_cluster(conf=conf, env=kms.CREDENTIALS).start())
    db.people(rows=["a"])
    db.sql("SELECT envelope.add_kek('people', %s)", (kms.kek(second),))
    db.sql("SELECT envelope.flush_cache(everywhere => true)")
    return db, first


def test_who_waits_is_served_by_the_kek_that_steps_in(two_keks, proxy):
    db, first = two_keks
    # Both together take longer than one may.
    slow = faults.delay(1.5)
    proxy.fault("Decrypt", lambda x: (faults.hang if x.request["KeyId"] in first else slow)(x))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        sessions = [db.connect() for _ in range(6)]
        try:
            opened = list(pool.map(lambda c: c.execute(OPEN).fetchone(), sessions))
        finally:
            for session in sessions:
                session.close()
    assert opened == [("a",)] * 6
