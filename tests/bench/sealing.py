"""CALL envelope.seal_column of 64-byte values beside `UPDATE t SET c = c` in batches as large."""

import statistics

from . import place, timing
from .reencrypt import BATCH, REPETITIONS, ROWS, UPDATE_ITSELF

TRIGGER = "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('c')"
# PostgreSQL locks each row before it asks which of a table's row triggers fire, also where none does.
OFF = "; ALTER TABLE t DISABLE TRIGGER seal"
# By name: the column that holds the plaintext, the sealing trigger if there is one, the call.
CALLS = {
    "update": ("c", "", f"CALL update_itself({BATCH})"),
    "update beside": ("c", TRIGGER + OFF, f"CALL update_itself({BATCH})"),
    "in place": ("c", "", f"CALL envelope.seal_column('t', 'c', batch_size => {BATCH})"),
    "quiet": ("c", TRIGGER, f"CALL envelope.seal_column('t', 'c', batch_size => {BATCH}, quiet => true)"),
    "trigger": ("c", TRIGGER, f"CALL envelope.seal_column('t', 'c', batch_size => {BATCH})"),
    "source": ("s", "", f"CALL envelope.seal_column('t', 'c', source => 's', batch_size => {BATCH})"),
}


def measure():
    """Seconds on a processor by call."""
    with place.server() as cluster:
        with cluster.connect() as connection:
            place.extensions(connection)
            connection.execute(UPDATE_ITSELF)
        runs = {name: [] for name in CALLS}
        for _ in range(REPETITIONS):
            for name, call in CALLS.items():
                runs[name].append(once(cluster, *call))
        return {"rows": ROWS, "seconds": {name: statistics.median(samples) for name, samples in runs.items()}}


def once(cluster, column, trigger, call):
    with cluster.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, c bytea, s bytea)")
        connection.execute(f"INSERT INTO t (id, {column}) SELECT g, sha512(g::text::bytea) FROM generate_series(1, {ROWS}) g")
        connection.execute("SELECT envelope.create_key('t')")
        if trigger:
            connection.execute(trigger)
        connection.execute("VACUUM ANALYZE t")
        connection.execute("CHECKPOINT")
    # A backend of its own, as each call has.
    with cluster.connect() as connection:
        connection.execute("SELECT envelope.warm('t')")
        return timing.on_processor(connection.info.backend_pid, lambda: connection.execute(call)) / 1e9
