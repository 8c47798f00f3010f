"""What a search index costs: the trigger with one and without, and CALL envelope.build_index beside `UPDATE t SET c = c`
in batches as large."""

import statistics

from . import place, timing
from .reencrypt import BATCH, REPETITIONS, ROWS, UPDATE_ITSELF

INSERTS = 200_000
TRIGGER = "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {0} FOR EACH ROW EXECUTE FUNCTION envelope_seal('c')"
# By name: the kind of index, and the options that it needs.
KINDS = {"none": None, "exact": ("exact", "{}"), "digits": ("exact", '{"form": "digits"}'), "words": ("words", "{}"),
         "parts": ("parts(3)", "{}")}


def triggers():
    """Nanoseconds a row of an INSERT … SELECT of 16 characters that the trigger seals, by the kind of its index, above one
    without a trigger."""
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        connection.execute("CREATE TABLE plain AS SELECT g AS id, left(md5(g::text), 16)::bytea AS v "
                           f"FROM generate_series(1, {INSERTS}) g")
        connection.execute("CREATE TABLE bare (id int, c bytea)")
        works = {"bare": "INSERT INTO bare SELECT * FROM plain"}
        for name, kind in KINDS.items():
            connection.execute(f"CREATE TABLE t_{name} (id int, c bytea)")
            connection.execute(f"SELECT envelope.set_policy('t_{name}', 'c', form => 'bytea', value_type => 'text')")
            connection.execute(TRIGGER.format(f"t_{name}"))
            connection.execute(f"SELECT envelope.create_key('t_{name}')")
            if kind:
                connection.execute(f"SELECT envelope.add_index('t_{name}', 'c', %s, options => %s)", kind)
            works[name] = f"INSERT INTO t_{name} (id, c) SELECT * FROM plain"
        took = timing.queries(connection, works, INSERTS)
        return {name: took[name] - took["bare"] for name in KINDS}


CALLS = {"update": f"CALL update_itself({BATCH})",
         "build": f"CALL envelope.build_index('t', 'c', 'ix', batch_size => {BATCH})"}


def building():
    """Seconds on a processor by call, of rows that hold a sealed value of 64 bytes."""
    with place.server() as cluster:
        with cluster.connect() as connection:
            place.extensions(connection)
            connection.execute(UPDATE_ITSELF)
        runs = {name: [] for name in CALLS}
        for _ in range(REPETITIONS):
            for name, call in CALLS.items():
                runs[name].append(once(cluster, call))
        return {"rows": ROWS, "seconds": {name: statistics.median(samples) for name, samples in runs.items()}}


def once(cluster, call):
    with cluster.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, c bytea)")
        connection.execute("SELECT envelope.set_policy('t', 'c', form => 'bytea', value_type => 'bytea')")
        connection.execute(TRIGGER.format("t"))
        connection.execute("SELECT envelope.create_key('t')")
        connection.execute(f"INSERT INTO t (id, c) SELECT g, sha512(g::text::bytea) FROM generate_series(1, {ROWS}) g")
        connection.execute("SELECT envelope.add_index('t', 'c', 'exact', index_column => 'ix')")
        connection.execute("VACUUM ANALYZE t")
        connection.execute("CHECKPOINT")
    # A backend of its own, as each call has.
    with cluster.connect() as connection:
        connection.execute("SELECT envelope.warm('t')")
        return timing.on_processor(connection.info.backend_pid, lambda: connection.execute(call)) / 1e9


def measure():
    return {"triggers": triggers(), "building": building()}
