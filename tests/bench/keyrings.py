"""KMS requests to move the keys of many tables to a KMS, from one KEK there to another, and to rotate them."""

import os

from harness import moto as kms
from harness.proxy import FaultProxy

from . import place, timing

KEYRINGS = int(os.environ.get("BENCH_KEYRINGS", "10000"))


def measure():
    """Requests and milliseconds a key, by what is done."""
    with kms.Moto() as moto, FaultProxy(moto.url) as proxy:
        one, other = kms.kek(moto.create_key()), kms.kek(moto.create_key())
        conf = {"envelope.aws_region": kms.REGION, "envelope.aws_endpoint_url": proxy.url}
        with place.server(conf, env=kms.CREDENTIALS) as cluster, cluster.connect() as connection:
            place.extensions(connection)
            connection.execute("CREATE PROCEDURE make(high int) LANGUAGE plpgsql AS $$BEGIN "
                               "FOR i IN 1..high LOOP EXECUTE format('CREATE TABLE t%s (v bytea)', i); "
                               "PERFORM envelope.create_key(format('t%s', i)::regclass); "
                               "IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END$$")
            connection.execute(f"CALL make({KEYRINGS})")
            (file,), = connection.execute("SELECT DISTINCT kek FROM envelope.wrapped_key").fetchall()
            connection.execute(f"SET envelope.allowed_keks = '{one},{other}'")
            works = {
                "from a key file to KMS": lambda: rewrap(connection, file, one),
                "from one KEK of KMS to another": lambda: rewrap(connection, one, other),
                "rotation": lambda: rotate(connection),
            }
            return {"keyrings": KEYRINGS, **{name: a_key(proxy, work) for name, work in works.items()}}


def a_key(proxy, work):
    proxy.reset_counts()
    took = timing.timed(work)
    requests = {operation: count / KEYRINGS for operation, count in proxy.counts.items()}
    return {"requests": requests, "ms": took / 1e6 / KEYRINGS}


def rewrap(connection, old, new):
    done = connection.execute("SELECT count(*) FROM envelope.rewrap(%s, %s) WHERE done", (old, new)).fetchone()[0]
    assert done == KEYRINGS, done


def rotate(connection):
    """As a job does it: so many in a transaction, until none is due."""
    connection.execute("UPDATE envelope.keyring SET limits = '{\"rotate_after\": 3600}'")
    connection.execute("UPDATE envelope.data_key SET created_at = now() - interval '2 hours'")
    done = 0
    while rotated := connection.execute("SELECT count(new_key_id) FROM envelope.rotate_due()").fetchone()[0]:
        done += rotated
    assert done == KEYRINGS, done
