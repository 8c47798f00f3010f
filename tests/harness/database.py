"""A fresh database of a test's own in a cluster."""

import contextlib
import itertools

import psycopg

_numbers = itertools.count(1)


class Database:
    """A fresh database with the extension in it, and a role of no special rights."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.name = f"db{next(_numbers)}"
        cluster.create_database(self.name)
        self.low = f"low_{self.name}"
        cluster.sql(f"CREATE ROLE {self.low} LOGIN")

    def drop(self):
        """If it can be: thousands of them take tens of gigabytes."""
        with contextlib.suppress(psycopg.Error):
            self.cluster.sql(f"DROP DATABASE {self.name} WITH (FORCE)")

    def connect(self, user="postgres", **kw):
        return self.cluster.connect(self.name, user, **kw)

    def sql(self, query, params=None, user="postgres"):
        return self.cluster.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        return self.sql(query, params, user)[0][0]

    def patient(self):
        """A session that waits for the KMS as long as it takes."""
        c = self.connect()
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.kms_timeout = '120s'")
        return c

    def waits_for_lock(self, pid):
        return self.value("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", (pid,))

    def sleeps(self, pid):
        return self.value("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", (pid,))

    def people(self, name="people", rows=()):
        """A table whose column `ssn` the trigger seals."""
        self.sql(f"CREATE TABLE {name} (id int PRIMARY KEY, ssn bytea)")
        self.sql(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW "
                 "EXECUTE FUNCTION envelope_seal('ssn')")
        for i, text in enumerate(rows, 1):
            self.sql(f"INSERT INTO {name} VALUES (%s, %s)", (i, text.encode()))
