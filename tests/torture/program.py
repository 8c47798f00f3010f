"""Random programs on a server that is killed again and again; at the end a fresh backend must find exactly what was
committed, and every key whole.

    make torture MINUTES=10 SEED=1234 LEASES=off
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import threading
import time

from harness import process
from harness.cluster import Cluster
from kms.providers import QUICK

from .oracle import Oracle
from .session import Session
from .steps import CREATE
from .verify import verify
from .watch import Watch

# Seconds from one kill to the next, and from one table that has no key yet to the next.
KILL_EVERY = (4, 9)
TABLE_EVERY = 0.4
CONF = {"max_prepared_transactions": 40, "restart_after_crash": "on", "log_min_messages": "warning",
        # As long as it takes beside all that goes on here; a key's time is over again and again.
        "envelope.kms_timeout": "60s", "envelope.allowed_keks": "*", "envelope.cache_ttl": "5s"}
# Keys are shared, or each backend asks for itself.
LEASES = {True: {"shared_preload_libraries": "pgrx-example"}, False: {"shared_preload_libraries": ""}}


def run(seed, seconds, sessions=8, say=print, enough=lambda counts: True, at_most=0, leases=True):
    """Counts of what happened; raises when something is wrong. Goes on after `seconds` until `enough` of the counts, but
    not past `at_most` seconds."""
    say(f"torture: seed {seed}, {sessions} sessions, {seconds:.0f} s, leases {'on' if leases else 'off'}")
    oracle, stop = Oracle(), threading.Event()
    rng = random.Random(f"{seed}/kills")
    with kmses() as (keks, conf, env), Cluster(conf=CONF | LEASES[leases] | conf, env=env) as cluster:
        cluster.sql('CREATE EXTENSION "pgrx-example"')
        for i in range(3):
            add_table(cluster, oracle, f"old{i}")
        workers = [Session(i, seed, cluster, oracle, stop, keks) for i in range(sessions)]
        threads = [*workers, Watch(cluster, oracle, stop)]
        for t in threads:
            t.start()
        try:
            now = time.monotonic()
            torment(cluster, oracle, rng, stop, lambda: time.monotonic() < now + seconds or (
                time.monotonic() < now + at_most and not enough(oracle.counts)))
        finally:
            stop.set()
            for t in threads:
                t.join(120)
        for t in threads:
            assert not t.is_alive(), "a session hangs"
            if t.problem:
                raise t.problem
        # The last word is what the disk has.
        kill_server(cluster, oracle)
        for w in workers:
            with cluster.connect() as c:
                w.settle(c)
        found = verify(cluster, oracle)
    counts = {**oracle.counts, **found}
    say("torture: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    return counts


@contextlib.contextmanager
def kmses():
    """Two KEKs of each provider whose keys are safe there, and the settings and variables to ask them by."""
    keks, conf, env = [], {}, {}
    with contextlib.ExitStack() as stack:
        for provider_class in filter(lambda provider: provider.outlives_crashes, QUICK):
            provider = provider_class(stack)
            keks += [provider.new_kek() for _ in range(2)]
            conf |= provider.conf
            env |= provider.env
        # Asked for where none is named, as soon as a KMS has data keys.
        yield keks, conf | {"envelope.default_kek": keks[0]}, env


def torment(cluster, oracle, rng, stop, more):
    next_kill, tables = time.monotonic() + rng.uniform(*KILL_EVERY), 0
    while more() and not stop.wait(TABLE_EVERY):
        if time.monotonic() < next_kill:
            # All sessions will want to be its first.
            add_table(cluster, oracle, f"new{tables}")
            tables += 1
            continue
        (kill_server if rng.random() < 0.6 else kill_backend)(cluster, oracle)
        next_kill = time.monotonic() + rng.uniform(*KILL_EVERY)


def add_table(cluster, oracle, table):
    cluster.sql(CREATE.format(table))
    oracle.add_table(table)


def kill_server(cluster, oracle):
    """Every process of it, the postmaster first, so that nothing can be tidied up."""
    def kill(children):
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    cluster.kill9(kill)
    oracle.count("crashes of the server")
    cluster.start()


def kill_backend(cluster, oracle):
    """One of the sessions: the postmaster then restarts all."""
    with cluster.connect() as c:
        pids = c.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' "
                         "AND pid <> pg_backend_pid() ORDER BY xact_start NULLS LAST").fetchall()
        if not pids:
            return
        os.kill(pids[0][0], signal.SIGKILL)
        process.wait_until(lambda: not alive_connection(c), "the postmaster ends all sessions")
    oracle.count("crashes of a backend")
    process.wait_until(lambda: answers(cluster), "the server is back")


def alive_connection(c):
    try:
        c.execute("SELECT 1")
        return True
    except Exception:
        return False


def answers(cluster):
    try:
        cluster.connect().close()
        return True
    except Exception:
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--leases", choices=("on", "off"), default="on")
    args = parser.parse_args()
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    try:
        run(seed, args.minutes * 60, args.sessions, leases=args.leases == "on")
    except AssertionError as e:
        sys.exit(f"torture: seed {seed}: {e}")


if __name__ == "__main__":
    main()
