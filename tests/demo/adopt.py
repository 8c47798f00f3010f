#!/usr/bin/env python3
"""Five columns of a live table are sealed while two versions of an application read and write it. The chart shows what
they felt of it: adoption.svg in the current directory, or where CHART says. ROWS is the size of the table."""

import os
import pathlib
import time

from show import check, heading, say, shown

from bench import plot
from harness import adoption, application
from harness.cluster import Cluster

ROWS = int(os.environ.get("ROWS", "100000"))
CHART = pathlib.Path(os.environ.get("CHART") or "adoption.svg")
# A while of each state, to look at.
QUIET = 3


def main():
    heading("A new PostgreSQL cluster, and a table in use")
    with Cluster() as shop:
        shop.start()
        with shop.connect() as c:
            c.execute('CREATE EXTENSION "pgrx-example"')
            application.fill(c, ROWS)
            c.execute("VACUUM ANALYZE people")
        say(f"people: {ROWS:,} rows of text, dates and numbers in clear; 4 clients, 60 transactions a second")
        load, marks = application.Load(shop, ROWS), []
        load.run(application.OLD)
        time.sleep(QUIET)
        adopt(shop, load, marks)
        time.sleep(QUIET)
        load.stop()
        compare(shop, load)
        rewrite(shop)
        draw(load, marks)
    heading("Done; nothing is left running")


def adopt(cluster, load, marks):
    heading("The plan")
    with cluster.connect() as c:
        plan = c.execute(shown(adoption.PLAN)).fetchall()
        for step, sql, lock, remark in plan:
            if sql is None:
                heading(f"Step {step}: the application's turn")
                say(remark)
                if not any(name == "new" for name, _ in marks):
                    load.run(application.OLD, application.NEW)
                    marks.append(("both versions", load.seconds()))
                    time.sleep(QUIET)
                    load.run(application.NEW)
                    marks.append(("new", load.seconds()))
                    time.sleep(QUIET)
                continue
            heading(f"Step {step}, {lock}")
            marks.append((f"step {step}", load.seconds()))
            shown(sql)
            c.execute(sql)


def compare(cluster, load):
    heading("What the application felt, and what the table holds")
    for done in load.errors()[:3]:
        say(f"{done.version} at {done.at:.1f} s: {done.error}")
    check(not load.errors(), f"{len(load.done):,} transactions, none failed")
    check(not load.wrong, "every value that was read was the one that was written")
    check(load.longest() < 1, f"the longest took {load.longest() * 1000:.0f} ms")
    check(not adoption.wrong_rows(cluster, load, ROWS), "all rows open as they were written")
    with cluster.connect() as c:
        check(not adoption.unopened(c), "envelope.verify finds no value that does not open")
        errors = c.execute("SELECT * FROM envelope.lint('people') WHERE severity = 'error'").fetchall()
        check(not errors, "envelope.lint finds no error")


def rewrite(cluster):
    heading("The plaintext that is left on disk")
    with cluster.connect() as c:
        check(adoption.is_on_disk(cluster, c), "the table's files hold plaintext of the time before")
        c.execute(shown(adoption.REWRITE))
        check(not adoption.is_on_disk(cluster, c), "after it they hold none")


def draw(load, marks):
    buckets = {}
    for done in load.done:
        buckets.setdefault(int(done.at), []).append(done.seconds * 1000)
    whole = {second: sorted(taken) for second, taken in buckets.items() if second < int(load.seconds())}
    CHART.write_text(plot.lines(
        f"Five columns of {ROWS:,} rows are sealed while two versions of an application use them", "seconds",
        "transactions a second; milliseconds", {
            "transactions a second": [(at, len(taken)) for at, taken in sorted(whole.items())],
            "slowest, ms": [(at, taken[-1]) for at, taken in sorted(whole.items())],
            "median, ms": [(at, taken[len(taken) // 2]) for at, taken in sorted(whole.items())],
        }, log=False, marks=marks))
    say(f"chart: {CHART.resolve()}")


if __name__ == "__main__":
    main()
