"""Instructions of a value, which no noise touches: by callgrind, in a server of single-user mode. Alone:
tests/run/python.sh release -m bench.bench instructions

callgrind plays a processor with AES-NI and AVX2: for long values AWS-LC takes newer instructions where there are some, and then
fewer of them. Beside an earlier build where BENCH_BEFORE names its directory of PostgreSQL's programs."""

import os
import pathlib
import re
import subprocess

from harness import place as tree
from harness import process

from . import place, sizes

# Values of each size, by size in bytes: about as many instructions for each.
VALUES = {16: 20_000, 1024: 4_000, 65_536: 100}
SCRATCH = "TRUNCATE bare, sealed, returned"


def builds():
    found = {"now": tree.PG_BIN}
    if before := os.environ.get("BENCH_BEFORE"):
        found["before"] = pathlib.Path(before)
    return found


def measure():
    """Of each build: [{size, copy, seal, open, pgcrypto: {seal, open}}] above a scan, and {trigger, PL/pgSQL} above an INSERT of the
    same row without a trigger."""
    return {build: of_build(pg_bin) for build, pg_bin in builds().items()}


def of_build(pg_bin, conf=None, counts=None):
    counts = counts or VALUES
    with place.server({"shared_preload_libraries": "pgrx-example", **(conf or {})}, pg_bin=pg_bin) as cluster:
        with cluster.connect() as connection:
            place.extensions(connection)
            connection.execute("CREATE TABLE bench (v bytea)")
            connection.execute("SELECT envelope.create_key('bench')")
            for size, values in counts.items():
                of_size(connection, size, values)
            for name in ("bare", "sealed", "returned"):
                connection.execute(f"CREATE UNLOGGED TABLE {name} (v bytea)")
            connection.execute("CREATE TRIGGER seal BEFORE INSERT ON sealed FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
            connection.execute("SELECT envelope.create_key('sealed')")
            connection.execute("CREATE FUNCTION returned() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
            connection.execute("CREATE TRIGGER r BEFORE INSERT ON returned FOR EACH ROW EXECUTE FUNCTION returned()")
        cluster.stop()
        return {"sizes": [{"size": size, **above_a_scan(cluster, size, values)} for size, values in counts.items()],
                "rows": above_an_insert(cluster, counts[16])}


def of_size(connection, size, values):
    """Tables of so many values: in clear, and sealed by each. Out of line where they are long, never compressed."""
    for name in ("plain", "ours", "pgcrypto"):
        sizes.table(connection, f"{name}_{size}")
    connection.execute(f"INSERT INTO plain_{size} SELECT substr(string_agg(sha512(convert_to(g || '.' || i, 'UTF8')), ''), 1, {size}) "
                       f"FROM generate_series(1, {values}) g, generate_series(1, {-(-size // 64)}) i GROUP BY g")
    connection.execute(f"INSERT INTO ours_{size} SELECT envelope_encrypt('bench', v) FROM plain_{size}")
    connection.execute(f"INSERT INTO pgcrypto_{size} SELECT encrypt_iv(v, {sizes.KEY}, {sizes.IV}, 'aes-cbc') FROM plain_{size}")
    for name in ("plain", "ours", "pgcrypto"):
        connection.execute(f"VACUUM ANALYZE {name}_{size}")


def above_a_scan(cluster, size, values):
    def of(table, expression):
        return counted(cluster, f"SELECT count({expression}) FROM {table}_{size}") / values

    # Counting the column itself does not look into it: what fetching a long value costs is part of the work.
    scans = {table: of(table, "v") for table in ("plain", "ours", "pgcrypto")}
    return {
        "copy": of("plain", "v || v" if size == 16 else "v || ''::bytea") - scans["plain"],
        "seal": of("plain", "envelope_encrypt('bench', v)") - scans["plain"],
        "open": of("ours", "envelope_decrypt('bench', v)") - scans["ours"],
        "pgcrypto": {
            "seal": of("plain", f"encrypt_iv(v, {sizes.KEY}, {sizes.IV}, 'aes-cbc')") - scans["plain"],
            "open": of("pgcrypto", f"decrypt_iv(v, {sizes.KEY}, {sizes.IV}, 'aes-cbc')") - scans["pgcrypto"],
        },
    }


def above_an_insert(cluster, values):
    def of(table):
        return counted(cluster, f"INSERT INTO {table} SELECT v FROM plain_16", SCRATCH) / values

    bare = of("bare")
    return {"trigger": of("sealed") - bare, "PL/pgSQL": of("returned") - bare}


def counted(cluster, query, between="SELECT 1"):
    """Instructions of a query. What a session does once, or in a first statement, is not of them."""
    return (run(cluster, query, between, 3) - run(cluster, query, between, 1)) / 2


def run(cluster, query, between, times):
    script = f"SELECT envelope.warm('bench'), envelope.warm('sealed');\n\n{between};\n\n" + f"{query};\n\n{between};\n\n" * times
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(cluster.pg_bin / "postgres"), "--single", "-j",
         "-D", str(cluster.data), "postgres"], input=script.encode(), capture_output=True, cwd=cluster.base,
        env={**cluster._environment(), "PATH": "/usr/bin:/bin"}, **process.server_identity())
    found = re.search(rb"Collected : (\d+)", done.stderr)
    assert found and b"ERROR" not in done.stderr, done.stderr[-2000:]
    return int(found[1])
