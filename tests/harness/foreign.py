"""Tables whose rows stand on another server, by postgres_fdw: in a database of their own, which knows nothing of keys."""

import contextlib

from harness.database import Database

# Of the server: what it is not allowed to do without a word.
SHOWS_ALL = "-c row_security=off"


@contextlib.contextmanager
def elsewhere(cluster):
    """The database that stands for the other server."""
    made = Database(cluster)
    made.sql('DROP EXTENSION "pgrx-example"')
    yield made
    made.drop()


def server(db, there, options=SHOWS_ALL):
    """Server `away`, which `there` is, with what libpq is to send along."""
    db.sql("CREATE EXTENSION IF NOT EXISTS postgres_fdw")
    along = f", options '{options}'" if options else ""
    db.sql(f"CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{there.cluster.base}', "
           f"port '{there.cluster.port}', dbname '{there.name}'{along})")
    db.sql("CREATE USER MAPPING FOR PUBLIC SERVER away OPTIONS (user 'postgres', password_required 'false')")


def table(there, name):
    there.sql(f"CREATE TABLE {name} (id int, ssn bytea)")
