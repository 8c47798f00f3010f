"""CALL envelope.reencrypt of 64-byte values beside `UPDATE t SET c = c` in batches as large, and what it leaves of the
table."""

import os
import statistics
import threading

from harness import sealed
from harness.work import Work

from . import place, timing

ROWS = int(os.environ.get("BENCH_ROWS", "1000000"))
BATCH = 1000
REPETITIONS = 5

# By ranges of pages too, with a commit each.
UPDATE_ITSELF = """
CREATE PROCEDURE update_itself(batch int) LANGUAGE plpgsql AS $$
DECLARE
  pages int := pg_relation_size('t') / 8192;
  step int := batch * 10 / (SELECT count(*) FROM t WHERE ctid < '(10,0)');
BEGIN
  FOR page IN 0 .. pages BY step LOOP
    EXECUTE format('UPDATE t SET c = c WHERE ctid >= %L AND ctid < %L',
                   format('(%s,0)', page)::tid, format('(%s,0)', page + step)::tid);
    COMMIT;
  END LOOP;
END $$"""
CALLS = {
    "update": f"CALL update_itself({BATCH})",
    "verified": f"CALL envelope.reencrypt('t', 'c', {BATCH})",
    "not verified": f"CALL envelope.reencrypt('t', 'c', {BATCH}, verify => false)",
}


def measure():
    """Seconds on a processor and the backend's own memory (kB), by number of rows and call, and the table's size (MB)
    before and after, with and without VACUUM beside it."""
    with place.server() as cluster:
        with cluster.connect() as connection:
            place.extensions(connection)
            connection.execute(UPDATE_ITSELF)
        results = {"rows": ROWS, "seconds": {}, "kB": {}}
        for rows in (ROWS // 10, ROWS):
            runs = {name: [] for name in CALLS}
            for _ in range(REPETITIONS):
                for name, call in CALLS.items():
                    runs[name].append(once(cluster, rows, call))
            for name, samples in runs.items():
                seconds, memory = map(statistics.median, zip(*samples, strict=True))
                results["seconds"][f"{name} {rows}"], results["kB"][f"{name} {rows}"] = seconds, memory
        results["MB"] = {"alone": sizes(cluster, lambda: None), "vacuumed": sizes(cluster, lambda: cluster.sql("VACUUM t"))}
        return results


def fill(connection, rows):
    connection.execute("DROP TABLE IF EXISTS t")
    connection.execute("CREATE TABLE t (id int PRIMARY KEY, c bytea)")
    connection.execute("INSERT INTO t SELECT g, envelope_encrypt('t', sha512(g::text::bytea)) "
                       f"FROM generate_series(1, {rows}) g")
    sealed.second_version(connection.execute, "t")
    connection.execute("VACUUM ANALYZE t")
    connection.execute("CHECKPOINT")


def once(cluster, rows, call):
    with cluster.connect() as connection:
        fill(connection, rows)
    # A backend of its own: what another has used before is not counted.
    with cluster.connect() as connection:
        connection.execute("SELECT envelope.warm('t')")
        pid = connection.info.backend_pid
        ns = timing.on_processor(pid, lambda: connection.execute(call))
        return ns / 1e9, own_memory(pid)


def own_memory(pid):
    """The most that a backend has held, in kB, without the shared buffers that it has touched."""
    with open(f"/proc/{pid}/status") as f:
        fields = dict(line.split(":", 1) for line in f)
    return int(fields["VmHWM"].split()[0]) - int(fields["RssShmem"].split()[0])


def sizes(cluster, meanwhile):
    """The table before and after, while another session does something over and over."""

    def size():
        return cluster.sql("SELECT pg_total_relation_size('t')")[0][0] / 1e6

    def repeat():
        while not done.wait(0.2):
            meanwhile()

    with cluster.connect() as connection:
        fill(connection, ROWS)
        before, done = size(), threading.Event()
        other = Work(repeat)
        try:
            connection.execute(CALLS["verified"])
        finally:
            done.set()
            other.result()
        return [before, size()]
