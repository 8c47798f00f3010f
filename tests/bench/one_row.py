"""Transactions of one row, each of which begins a run of nonces: what sealing adds to one; beside an earlier build where BENCH_BEFORE
names its directory of PostgreSQL's programs. Alone: tests/run/python.sh release -m bench.bench 'one row'"""

import contextlib
import os
import pathlib
import statistics

from harness import place as tree

from . import place, timing

ROWS = 50_000
TRANSACTIONS = 5_000
# More than elsewhere, and shorter: neighbours are compared.
ROUNDS = 3 * timing.REPETITIONS
VALUE = "'\\x00112233445566778899aabbccddeeff'::bytea"
SCANS = {"scan": "octet_length(v)", "scan, sealed": "octet_length(envelope_encrypt('each', v))"}
LOOPS = {
    "nothing": f"PERFORM octet_length({VALUE})",
    "envelope_encrypt": f"PERFORM octet_length(envelope_encrypt('bench', {VALUE}))",
    "INSERT, no trigger": f"INSERT INTO bare VALUES (1, {VALUE})",
    "INSERT, sealed": f"INSERT INTO sealed VALUES (1, {VALUE})",
}
# By name, what is measured and the same without sealing.
ABOVE = {"seal": ("scan, sealed", "scan"), "envelope_encrypt": ("envelope_encrypt", "nothing"),
         "INSERT": ("INSERT, sealed", "INSERT, no trigger")}


def builds():
    found = {"now": tree.PG_BIN}
    if before := os.environ.get("BENCH_BEFORE"):
        found["before"] = pathlib.Path(before)
    return found


def measure():
    """Nanoseconds that sealing 16 bytes adds, by build: to a value of a scan that draws a nonce for each (`seal`), to a transaction
    that seals one, to one that inserts one row. The builds take turns: `ratio` is the median of what each round says."""
    with contextlib.ExitStack() as stack:
        works = {}
        for build, pg_bin in builds().items():
            cluster = stack.enter_context(place.server({"synchronous_commit": "off"}, pg_bin=pg_bin))
            connection = stack.enter_context(cluster.connect())
            works |= {(build, name): work for name, work in of_build(connection).items()}
        rounds = [{(build, name): works[build, name]() for name in (*SCANS, *LOOPS) for build in builds()}
                  for _ in range(ROUNDS + 1)][1:]
    return {"ns": {build: {name: statistics.median(added(round_, build)[name] for round_ in rounds) for name in ABOVE}
                   for build in builds()},
            "ratio": {name: statistics.median(added(round_, "now")[name] / added(round_, "before")[name] for round_ in rounds)
                      for name in ABOVE} if "before" in builds() else {}}


def added(took, build):
    return {name: took[build, work] - took[build, floor] for name, (work, floor) in ABOVE.items()}


def of_build(connection):
    """Works by name, each of which gives the nanoseconds of one value, or of one transaction."""
    place.extensions(connection)
    for name in ("bench", "each"):
        connection.execute(f"CREATE TABLE {name} (v bytea)")
        connection.execute(f"SELECT envelope.create_key('{name}')")
    connection.execute("""SELECT envelope.set_limits('each', '{"session_max_values": 1}')""")
    connection.execute("CREATE UNLOGGED TABLE bare (id int, v bytea)")
    place.sealed_table(connection, "sealed")
    connection.execute("ALTER TABLE sealed SET UNLOGGED")
    connection.execute("CREATE UNLOGGED TABLE plain AS SELECT substr(sha512(convert_to(g::text, 'UTF8')), 1, 16) AS v "
                       f"FROM generate_series(1, {ROWS}) g")
    connection.execute("VACUUM ANALYZE plain")
    pid = connection.info.backend_pid

    def timed(statement, count, before=None):
        def work():
            if before:
                connection.execute(before)
            return timing.on_processor(pid, lambda: connection.execute(statement)) / count

        return work

    works = {name: timed(f"SELECT sum({what}) FROM plain", ROWS) for name, what in SCANS.items()}
    for name, what in LOOPS.items():
        loop = f"DO $$BEGIN FOR i IN 1..{TRANSACTIONS} LOOP {what}; COMMIT; END LOOP; END$$"
        works[name] = timed(loop, TRANSACTIONS, "TRUNCATE bare, sealed")
    return works
