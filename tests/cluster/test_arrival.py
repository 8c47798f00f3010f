"""Keys that replication brings which is none of CREATE SUBSCRIPTION's (pglogical and others): sessions with a replication
origin, in the replica role, as apply workers and copies are. test_logical.py has PostgreSQL's own."""

import contextlib
import itertools

import pytest
from sqlstate import fails

# A replication slot of the cluster's stands behind each origin that is at work.
_origins = itertools.count(1)


@contextlib.contextmanager
def worker(db):
    """A session that applies what arrives."""
    origin = f"node_{next(_origins)}"
    db.sql("SELECT pg_replication_origin_create(%s)", (origin,))
    try:
        with db.connect() as c:
            c.execute("SET session_replication_role = replica; SET statement_timeout = '60s'")
            c.execute("SELECT pg_replication_origin_session_setup(%s)", (origin,))
            yield c
    finally:
        db.sql("SELECT pg_replication_origin_drop(%s)", (origin,))


@pytest.fixture
def a(db):
    db.people(rows=["one"])
    return db


# -- no key is another's --------------------------------------------------------------------------------------------


CHANGES = ["key_id = 'c8954524-1083-828f-9f2b-385dffc29ef1'", "keyring_id = gen_random_uuid()", "version = version + 1",
           "purpose = 'index'"]


@pytest.mark.parametrize("change", CHANGES, ids=[change.split()[0] for change in CHANGES])
def test_the_row_of_a_key_stays_its_own(a, change):
    """Whoever writes."""
    before = a.sql("SELECT * FROM envelope.data_key")
    with worker(a) as session:
        for run in (a.sql, session.execute):
            with fails("42710"):
                run(f"UPDATE envelope.data_key SET {change}")
        # As of no interest to those who listen.
        session.execute("UPDATE envelope.data_key SET reason = 'looked at', created_at = now()")
    a.sql("UPDATE envelope.data_key SET reason = NULL, created_at = %s", (before[0][5],))
    assert a.sql("SELECT * FROM envelope.data_key") == before
