"""A table in use, five columns of it sealed by the printed plan, while two versions of an application read and write it."""

import time

from harness import adoption, application
from harness.disk import files_holding

ROWS = 4000


def until_done(load, more):
    """Until so many more transactions are through."""
    wanted = len(load.done) + more
    while len(load.done) < wanted and not load.wrong:
        time.sleep(0.01)


def run(c, load, steps):
    """As a team would: the old version, both side by side while the plan waits for the application, then the new one."""
    turned = False
    for _, sql, _, _ in steps:
        if sql is not None:
            c.execute(sql)
        elif not turned:
            turned = True
            load.run(application.OLD, application.NEW)
            until_done(load, 200)
            load.run(application.NEW)
            until_done(load, 100)
    assert turned


def test_a_table_in_use(own_cluster):
    cluster = own_cluster().start()
    with cluster.connect() as c:
        c.execute('CREATE EXTENSION "pgrx-example"')
        application.fill(c, ROWS)
        c.execute("VACUUM ANALYZE people")
        load = application.Load(cluster, ROWS, rate=400)
        load.run(application.OLD)
        until_done(load, 100)
        run(c, load, c.execute(adoption.PLAN).fetchall())
        until_done(load, 100)
        load.stop()

        assert not load.errors()
        assert not load.wrong
        assert {done.version for done in load.done} == {"old", "new"}
        assert adoption.wrong_rows(cluster, load, ROWS) == []
        assert c.execute(adoption.PLAN).fetchall() == []
        assert c.execute(f"SELECT count(*) FROM people WHERE num_nonnulls({', '.join(application.SENSITIVE)}) > 0").fetchone() == (0,)
        assert adoption.unopened(c) == []
        assert c.execute("SELECT * FROM envelope.lint('people') WHERE severity = 'error'").fetchall() == []

        assert adoption.is_on_disk(cluster, c)
        c.execute(adoption.REWRITE)
        assert not adoption.is_on_disk(cluster, c)
        c.execute("VACUUM FULL pg_catalog.pg_statistic")
        c.execute("CHECKPOINT")
        assert files_holding(cluster.data / "base", adoption.NEEDLE) == []
        assert adoption.wrong_rows(cluster, load, ROWS) == []
