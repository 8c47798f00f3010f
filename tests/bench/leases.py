"""What backends share, beside what each does for itself: the same build with `envelope.shared_keys` 0, and an earlier build
where BENCH_BEFORE names its directory of PostgreSQL's programs. The KMS is AWS's as moto plays it, answering 20 ms later. Alone:
tests/run/python.sh release -m bench.bench leases"""

import contextlib
import os
import pathlib
import statistics
import subprocess
import time

from harness import faults, pooler, process
from harness import moto as kms
from harness import place as tree
from harness.proxy import FaultProxy
from harness.work import at_once

from . import instructions, place, timing

LATENCY = 0.020
SESSIONS = 100
CLIENTS = 1000
BACKENDS = 31
ROWS = 1000
# A look-up over an expiry: seconds that a key lives, that the clients run, and to each side of a request that count as its own.
TTL, RUN, BESIDE = 8, 60, 0.25
# The model's counts: backends, tables, seconds a key lives, seconds they run, statements a second of each backend.
COUNTED, TABLES, COUNT_TTL, COUNT_RUN, COUNT_RATE = (10, 100), 3, 10, 40, 2

OPEN = "SELECT envelope_decrypt('bench', v) FROM bench WHERE id = 1"
PLAIN = "SELECT octet_length(v) FROM bench WHERE id = 1"


def builds():
    """Settings and programs of each way that is compared, by name."""
    preloaded = {"shared_preload_libraries": "pgrx-example"}
    found = {"each for itself": ({**preloaded, "envelope.shared_keys": 0}, tree.PG_BIN), "leases": (preloaded, tree.PG_BIN)}
    if before := os.environ.get("BENCH_BEFORE"):
        found = {"before": (preloaded, pathlib.Path(before))} | found
    return found


def measure():
    with kms.Moto() as moto, FaultProxy(moto.url) as proxy:
        arrivals = []
        proxy.fault("*", slow(arrivals))
        found = {name: of_build(conf, pg_bin, moto, proxy, arrivals) for name, (conf, pg_bin) in builds().items()}
    return {"builds": found, "instructions": {name: of_16(*build) for name, build in builds().items()
                                              if name != "each for itself"}}


def of_16(conf, pg_bin):
    """Instructions of a value of 16 bytes above a scan, where the key is there, with a key file."""
    size = next(iter(instructions.VALUES))
    return instructions.of_build(pg_bin, conf, {size: instructions.VALUES[size]})["sizes"][0]


def slow(arrivals):
    """A KMS in another house; notes when each request has come."""
    def fault(exchange):
        arrivals.append(time.time())
        faults.delay(LATENCY)(exchange)

    return fault


@contextlib.contextmanager
def server(conf, pg_bin, moto, proxy, **more):
    conf = {**conf, "envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_region": kms.REGION,
            "envelope.aws_endpoint_url": proxy.url, "envelope.kms_timeout": "60s", "max_connections": 300, **more}
    with place.server(conf, env=kms.CREDENTIALS, pg_bin=pg_bin) as cluster:
        cluster.sql('CREATE EXTENSION "pgrx-example"')
        for table in ("bench", *(f"t{i}" for i in range(TABLES))):
            cluster.sql(f"CREATE TABLE {table} (id int PRIMARY KEY, v bytea)")
            cluster.sql(f"INSERT INTO {table} SELECT g, envelope_encrypt('{table}', 'sixteen bytes ok') "
                        f"FROM generate_series(1, {ROWS}) g")
        cluster.sql("VACUUM ANALYZE")
        proxy.reset_counts()
        yield cluster


def of_build(conf, pg_bin, moto, proxy, arrivals):
    with server(conf, pg_bin, moto, proxy) as cluster:
        found = {"at once": opened_at_once(cluster, proxy), "first": first_values(cluster, proxy),
                 "pgbouncer": through_pgbouncer(cluster, proxy)}
    with server(conf, pg_bin, moto, proxy, **{"envelope.cache_ttl": f"{TTL}s"}) as cluster:
        found["expiry"] = over_expiries(cluster, arrivals)
    with server(conf, pg_bin, moto, proxy, **{"envelope.cache_ttl": f"{COUNT_TTL}s"}) as cluster:
        found["counts"] = {backends: counts(cluster, proxy, backends) for backends in COUNTED}
    return found


def forget_leases(cluster):
    """Where there are any."""
    if cluster.sql("SELECT to_regprocedure('envelope.flush_cache(boolean)')")[0][0]:
        cluster.sql("SELECT envelope.flush_cache(true)")


def opened_at_once(cluster, proxy):
    """Requests that so many new backends make for one key, and milliseconds until each has its value."""
    forget_leases(cluster)
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(cluster.connect()) for _ in range(SESSIONS)]
        proxy.reset_counts()
        took = at_once(lambda i: timing.timed(connections[i].execute, OPEN) / 1e6, SESSIONS)
        anonymous = sum(timing.anonymous(connection.info.backend_pid) for connection in connections)
    return {"requests": sum(proxy.counts.values()), "median ms": statistics.median(took), "last ms": max(took),
            "MB of all": anonymous / 1024}


def first_values(cluster, proxy):
    """Medians over new backends: milliseconds of the first statement that opens a value, the same without us; kB that it adds.
    With leases, the key is leased."""
    cluster.sql(OPEN)
    backends = [one_backend(cluster, proxy) for _ in range(BACKENDS + 1)][1:]
    return {name: statistics.median(backend[name] for backend in backends) for name in backends[0]}


def one_backend(cluster, proxy):
    with cluster.connect() as connection:
        pid = connection.info.backend_pid
        # What any first statement costs, and the library's load, is not ours to count twice.
        connection.execute("SELECT count(*) FROM bench")
        connection.execute("SELECT envelope_context('a', 'b')")
        plain = timing.timed(connection.execute, PLAIN) / 1e6
        own, private = timing.anonymous(pid), not_shared(pid)
        proxy.reset_counts()
        first = timing.timed(connection.execute, OPEN) / 1e6
        again = timing.timed(connection.execute, OPEN) / 1e6
        return {"first ms": first, "plain ms": plain, "above ms": first - plain, "second ms": again,
                "kB": timing.anonymous(pid) - own, "kB with files": not_shared(pid) - private,
                "requests": sum(proxy.counts.values())}


def not_shared(pid):
    """kB of memory that is a process's own, with pages of files that it alone has; without the server's shared memory, which
    counts as its own, too, wherever it was the only one to look."""
    found, is_own = 0, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            name, *fields = line.split()
            if not name.endswith(":"):
                is_own = fields[0].endswith("p")
            elif is_own and name in ("Private_Clean:", "Private_Dirty:"):
                found += int(fields[0])
    return found


def pgbench(cluster, script, *options, port=None):
    """Runs it; milliseconds of each statement with the second in which it ended. Each of `options` is an argument."""
    directory = cluster.base / "pgbench"
    directory.mkdir(exist_ok=True)
    process.give_to_server(directory)
    path = directory / "script.sql"
    path.write_text(script)
    for old in directory.glob("log*"):
        old.unlink()
    host = ["-h", "127.0.0.1", "-p", port] if port else ["-h", cluster.base, "-p", cluster.port]
    done = subprocess.run([str(argument) for argument in (
        tree.PG_BIN / "pgbench", "-n", "-f", path, "-l", "--log-prefix", directory / "log", *host, "-U", "postgres", *options,
        "postgres")], env={"PATH": "/usr/bin:/bin", "PGOPTIONS": "" if port else "-c statement_timeout=60s"}, capture_output=True,
        text=True, cwd="/", **process.server_identity())
    assert done.returncode == 0, done.stderr
    lines = [line.split() for log in directory.glob("log*") for line in log.read_text().splitlines()]
    return [(int(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1e3) for line in lines]


def part(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def over_expiries(cluster, arrivals):
    """Twenty clients look up one row each at a time. p99 in ms: of what ended near a request, and of all else. The first
    requests, of backends that are new, are left out."""
    arrivals.clear()
    began = time.time()
    taken = pgbench(cluster, f"\\set id random(1, {ROWS})\nSELECT envelope_decrypt('bench', v) FROM bench WHERE id = :id;\n",
                    "-c", 20, "-j", 1, "-T", RUN, "-R", 1000, "-M", "prepared")
    requests = [at for at in arrivals if at > began + 2]
    taken = [(at, ms) for at, ms in taken if at > began + 2]
    near = [ms for at, ms in taken if any(-BESIDE < at - request < BESIDE + LATENCY for request in requests)]
    away = [ms for at, ms in taken if all(not -1 < at - request < 1 for request in requests)]
    return {"requests": len(requests), "near": len(near), "away": len(away), "p99 near ms": part(near, 0.99),
            "p99 away ms": part(away, 0.99), "p999 near ms": part(near, 0.999), "p999 away ms": part(away, 0.999),
            "longest near ms": max(near), "longest away ms": max(away)}


def through_pgbouncer(cluster, proxy):
    """So many clients at once, one statement each, in transaction mode over as many backends as above."""
    forget_leases(cluster)
    with pooler.in_transaction_mode(cluster, "postgres", cluster.base / "bouncer.log", size=SESSIONS, clients=CLIENTS + 50) as port:
        proxy.reset_counts()
        taken = [ms for _, ms in pgbench(cluster, OPEN + ";\n", "-c", CLIENTS, "-j", 2, "-t", 1, "-M", "simple", port=port)]
    assert len(taken) == CLIENTS, len(taken)
    return {"requests": sum(proxy.counts.values()), "median ms": statistics.median(taken), "p99 ms": part(taken, 0.99),
            "last ms": max(taken)}


def counts(cluster, proxy, backends):
    """Requests of so many backends that all use all keys, all the time, over some lives of a key."""
    forget_leases(cluster)
    tables = [f"t{i}" for i in range(TABLES)]
    opened = ", ".join(f"envelope_decrypt('{table}', {table}.v)" for table in tables)
    where = " AND ".join(f"{table}.id = 1" for table in tables)
    proxy.reset_counts()
    pgbench(cluster, f"SELECT {opened} FROM {', '.join(tables)} WHERE {where};\n", "-c", backends, "-j", 1, "-T", COUNT_RUN,
            "-R", COUNT_RATE * backends, "-M", "prepared")
    return {"requests": sum(proxy.counts.values()), "keys": TABLES, "ttl": COUNT_TTL, "seconds": COUNT_RUN}
