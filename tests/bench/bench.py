#!/usr/bin/env python3
"""Nanoseconds a row to seal and to open, beside pgcrypto in the same run, and KMS requests on a cold cache."""

import os
import statistics
import time

from harness import moto as kms
from harness.cluster import Cluster
from harness.proxy import FaultProxy

# Rows for each value size: about as long a scan for each.
SIZES = {16: 200_000, 1024: 100_000, 65536: 2_000}
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "7"))
KEY, IV = "'\\x" + "11" * 32 + "'::bytea", "'\\x" + "22" * 16 + "'::bytea"

# Each takes the plaintext v or what sealed it. The bare scan fetches the whole value too, which octet_length would not.
SCAN = "get_byte(v, 0)"
SEAL = {
    "scan": SCAN,
    "envelope": "octet_length(envelope_encrypt('bench', v))",
    "pgcrypto": f"octet_length(encrypt_iv(v, {KEY}, {IV}, 'aes-cbc'))",
}
OPEN = {
    "envelope": ("octet_length(envelope_decrypt('bench', v))", "envelope_encrypt('bench', v)"),
    "pgcrypto": (f"octet_length(decrypt_iv(v, {KEY}, {IV}, 'aes-cbc'))", f"encrypt_iv(v, {KEY}, {IV}, 'aes-cbc')"),
}


def timed(connection, query):
    started = time.perf_counter_ns()
    connection.execute(query)
    return time.perf_counter_ns() - started


def medians(connection, queries, rows):
    """Interleaved, so that what slows the machine slows all; the first round only warms up."""
    samples = {name: [] for name in queries}
    for round_ in range(REPETITIONS + 1):
        for name, query in queries.items():
            took = timed(connection, query)
            if round_:
                samples[name].append(took / rows)
    return {name: statistics.median(s) for name, s in samples.items()}


def create(connection, table):
    """Values in line or out of line as their size has it, never compressed: ciphers are what is measured."""
    connection.execute(f"CREATE UNLOGGED TABLE {table} (v bytea)")
    connection.execute(f"ALTER TABLE {table} ALTER v SET STORAGE EXTERNAL")


def of_size(connection, size, rows):
    connection.execute("DROP TABLE IF EXISTS plain, sealed_envelope, sealed_pgcrypto")
    create(connection, "plain")
    connection.execute("INSERT INTO plain SELECT substr(string_agg(sha512(convert_to(g || '.' || i, 'UTF8')), ''), 1, "
                       f"{size}) FROM generate_series(1, {rows}) g, generate_series(1, {-(-size // 64)}) i GROUP BY g")
    queries = {f"seal {name}": f"SELECT sum({expression}) FROM plain" for name, expression in SEAL.items()}
    for name, (expression, make) in OPEN.items():
        table = f"sealed_{name}"
        create(connection, table)
        connection.execute(f"INSERT INTO {table} SELECT {make} FROM plain")
        queries[f"scan {name}"] = f"SELECT sum({SCAN}) FROM {table}"
        queries[f"open {name}"] = f"SELECT sum({expression}) FROM {table}"
    connection.execute("VACUUM ANALYZE")
    m = medians(connection, queries, rows)
    for what in ("envelope", "pgcrypto"):
        yield what, m[f"seal {what}"] - m["seal scan"], m[f"open {what}"] - m[f"scan {what}"]


def speed():
    print(f"\nNanoseconds a row above a bare scan, medians of {REPETITIONS} interleaved repetitions")
    print(f"{'bytes':>8} {'rows':>8}  {'':24} {'seal':>9} {'open':>9}")
    labels = {"envelope": "envelope", "pgcrypto": "pgcrypto aes-256-cbc iv"}
    with Cluster(conf={"shared_buffers": "1GB", "max_parallel_workers_per_gather": "0", "jit": "off"}) as cluster:
        with cluster.connect() as c:
            c.execute('CREATE EXTENSION "pgrx-example"')
            c.execute("CREATE EXTENSION pgcrypto")
            c.execute("CREATE TABLE bench (v bytea)")
            c.execute("SELECT envelope.create_key('bench')")
            for size, rows in SIZES.items():
                for what, seal, opened in of_size(c, size, rows):
                    print(f"{size:>8} {rows:>8}  {labels[what]:24} {seal:>9,.0f} {opened:>9,.0f}", flush=True)


def requests():
    rows = 100_000
    with kms.Moto() as moto, FaultProxy(moto.url) as proxy:
        conf = {
            "envelope.default_kek": kms.kek(moto.create_key()),
            "envelope.aws_region": kms.REGION,
            "envelope.aws_endpoint_url": proxy.url,
        }
        with Cluster(conf=conf, env=kms.CREDENTIALS) as cluster:
            cluster.sql('CREATE EXTENSION "pgrx-example"')
            cluster.sql("CREATE TABLE bench (v bytea)")
            print(f"\nKMS requests for {rows:,} rows on a cold cache, counted at the endpoint")
            cluster.sql("SELECT envelope.create_key('bench')")
            print("  before, to make the key and try its wrap:", dict(proxy.counts))
            proxy.reset_counts()
            cluster.sql("INSERT INTO bench SELECT envelope_encrypt('bench', convert_to('v' || g, 'UTF8')) "
                        f"FROM generate_series(1, {rows}) g")
            print("  seal:", dict(proxy.counts))
            proxy.reset_counts()
            cluster.sql("SELECT count(envelope_decrypt('bench', v)) FROM bench")
            print("  open:", dict(proxy.counts))


if __name__ == "__main__":
    speed()
    requests()
