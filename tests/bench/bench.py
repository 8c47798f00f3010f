#!/usr/bin/env python3
"""All that is measured, into docs/bench: tests/run/python.sh release -m bench.bench. With names of parts, these alone are measured
again, and take the place of what stands there."""

import json
import sys
import time

from . import (
    cold,
    columns,
    instructions,
    keyrings,
    leakage,
    leases,
    lint,
    one_row,
    peers,
    place,
    reencrypt,
    report,
    scale,
    sealing,
    search,
    sizes,
    timing,
    views,
    writes,
)

PARTS = {
    "sizes": sizes.measure,
    "instructions": instructions.measure,
    "copy": writes.copy,
    "inserts": writes.inserts,
    "one row": one_row.measure,
    "storage": writes.storage,
    "columns": columns.measure,
    "parallel": scale.parallel,
    "many keys": scale.many_keys,
    "reencrypt": reencrypt.measure,
    "sealing": sealing.measure,
    "keyrings": keyrings.measure,
    "lint": lint.measure,
    "cold": lambda: {"file": cold.with_file(), "aws": cold.with_aws(), "vault": cold.with_vault(),
                     "vault, login first": cold.with_vault("jwt")},
    "leases": leases.measure,
    "peers": peers.measure,
    "views": views.writes,
    "search": search.measure,
    "leakage": leakage.measure,
}


def main():
    with place.server() as cluster:
        version = cluster.sql("SHOW server_version")[0][0].split()[0]
    again = sys.argv[1:]
    results = json.loads((report.PLACE / "results.json").read_text()) if again else {}
    results |= {"machine": report.machine(f"PostgreSQL {version}"), "repetitions": timing.REPETITIONS}
    for name, measure in PARTS.items():
        if again and name not in again:
            continue
        print(f"{name} …", flush=True)
        started = time.monotonic()
        results[name] = measure()
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    report.write(results)
    print((report.PLACE / "README.md").read_text())


if __name__ == "__main__":
    main()
