#!/usr/bin/env python3
"""CALL envelope.reencrypt of a million 64-byte values beside `UPDATE t SET c = c` in batches as large: time, memory, and
what becomes of the table's size."""

import os
import statistics
import threading
import time

from harness import sealed
from harness.cluster import Cluster

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
BATCH = 1000
REPETITIONS = int(os.environ.get("BENCH_REPETITIONS", "5"))
CONF = {"fsync": "on", "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "jit": "off"}

# As many rows a batch and a commit each, by ranges of pages too.
UPDATE_ITSELF = """
CREATE PROCEDURE update_itself(batch int) LANGUAGE plpgsql AS $$
DECLARE
  pages int := pg_relation_size('t') / 8192;
  step int := batch / (SELECT count(*) FROM t WHERE ctid < '(10,0)') * 10;
BEGIN
  FOR page IN 0 .. pages BY step LOOP
    EXECUTE format('UPDATE t SET c = c WHERE ctid >= %L AND ctid < %L',
                   format('(%s,0)', page)::tid, format('(%s,0)', page + step)::tid);
    COMMIT;
  END LOOP;
END $$"""


def table(connection, rows):
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, c bytea)")
    connection.execute("INSERT INTO t SELECT g, envelope_encrypt('t', sha512(g::text::bytea)) "
                       f"FROM generate_series(1, {rows}) g")
    connection.execute("VACUUM ANALYZE t")
    connection.execute("CHECKPOINT")


def size(connection):
    return connection.execute("SELECT pg_total_relation_size('t')").fetchone()[0] / 1e6


def peak_memory(pid, done):
    """The most memory of its own, in MB, that a backend has held until `done` is set."""
    most = 0
    while not done.wait(0.05):
        with open(f"/proc/{pid}/status") as f:
            kb = next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
        most = max(most, kb / 1024)
    return most


def timed(connection, call):
    """Seconds, and the backend's peak memory."""
    done, memory = threading.Event(), []
    watch = threading.Thread(target=lambda: memory.append(peak_memory(connection.info.backend_pid, done)))
    watch.start()
    started = time.perf_counter()
    try:
        connection.execute(call)
        return time.perf_counter() - started, memory
    finally:
        done.set()
        watch.join()


CALLS = {
    "UPDATE t SET c = c": f"CALL update_itself({BATCH})",
    "reencrypt": f"CALL envelope.reencrypt('t', 'c', {BATCH})",
    "reencrypt, verify => false": f"CALL envelope.reencrypt('t', 'c', {BATCH}, verify => false)",
}


def once(cluster, rows, call):
    """Seconds, peak memory, and the table's size before and after."""
    with cluster.connect() as c:
        table(c, rows)
        sealed.second_version(c.execute, "t")
    # A session of its own: what another has used before is not counted.
    with cluster.connect() as c:
        c.execute("SELECT envelope.warm('t')")
        before = size(c)
        seconds, (memory,) = timed(c, call)
        return seconds, memory, before, size(c)


def compare(cluster):
    print(f"\nRe-encryption of 64-byte values in batches of {BATCH} beside the same UPDATE with nothing to do; medians of "
          f"{REPETITIONS} interleaved repetitions")
    print(f"{'':28} {'rows':>9} {'s':>7} {'rows/s':>9} {'times':>6} {'peak MB':>8} {'MB before':>10} {'after':>6}")
    for rows in (ROWS // 10, ROWS):
        runs = {name: [] for name in CALLS}
        for _ in range(REPETITIONS):
            for name, call in CALLS.items():
                runs[name].append(once(cluster, rows, call))
        base = None
        for name, samples in runs.items():
            seconds, memory, before, after = map(statistics.median, zip(*samples, strict=True))
            base = base or seconds
            print(f"{name:28} {rows:>9} {seconds:>7.2f} {rows / seconds:>9,.0f} {seconds / base:>6.2f} {memory:>8.1f} "
                  f"{before:>10.0f} {after:>6.0f}", flush=True)


def bloat(cluster):
    """Another session vacuums meanwhile, as autovacuum would."""
    print("\nThe same with VACUUM t in another session, over and over")
    with cluster.connect() as c, cluster.connect() as vacuum:
        table(c, ROWS)
        sealed.second_version(c.execute, "t")
        before, done = size(c), threading.Event()

        def keep_vacuuming():
            while not done.wait(0.2):
                vacuum.execute("VACUUM t")

        thread = threading.Thread(target=keep_vacuuming)
        thread.start()
        try:
            started = time.perf_counter()
            c.execute(f"CALL envelope.reencrypt('t', 'c', {BATCH})")
        finally:
            done.set()
            thread.join()
        print(f"{time.perf_counter() - started:.1f} s, {before:.0f} MB before, {size(c):.0f} MB after")


if __name__ == "__main__":
    with Cluster(conf=CONF) as cluster:
        cluster.sql('CREATE EXTENSION "pgrx-example"')
        cluster.sql(UPDATE_ITSELF)
        compare(cluster)
        bloat(cluster)
