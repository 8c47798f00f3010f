"""What it costs to write through a view: single-row statements by prepared statement, as programs send them. A backend's
own time on its processor, so that neither the client nor the other views count."""

from . import place, timing

STATEMENTS = 2000
COLUMNS = "id int PRIMARY KEY, name text, n int DEFAULT 0, v envelope.sealed"
WRITES = {
    "INSERT": "INSERT INTO {where} (id, name, {v}) VALUES (%s, %s, '123-45-6789')",
    "UPDATE of a plain column": "UPDATE {where} SET name = %s WHERE id = %s",
    "UPDATE of the sealed column": "UPDATE {where} SET {v} = %s WHERE id = %s",
}
# Where, and the column that takes new values.
PLACES = {"table": ("people", "v"), "view": ("people_open", "v_sealed"), "triggers": ("people_written", "v")}


def writes():
    """Microseconds of one statement, by kind and by where it is sent: to the table, to the view that PostgreSQL writes
    through, to the one that triggers write through."""
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        place.sealed_table(connection, "people", COLUMNS)
        connection.execute("SELECT envelope.open_view('people', 'people_open', execute => true)")
        connection.execute("SELECT envelope.open_view('people', 'people_written', write => 'triggers', execute => true)")
        connection.prepare_threshold = 0
        pid = connection.info.backend_pid
        found = {}
        for kind, statement in WRITES.items():
            works = {name: work(connection, kind, statement.format(where=where, v=v)) for name, (where, v) in PLACES.items()}
            took = timing.interleaved(works, timer=lambda work: timing.on_processor(pid, work))
            found[kind] = {name: ns / STATEMENTS / 1000 for name, ns in took.items()}
        return found


def work(connection, kind, statement):
    def run():
        if kind == "INSERT":
            connection.execute("TRUNCATE people")
            for i in range(STATEMENTS):
                connection.execute(statement, (i, "somebody"))
        else:
            for i in range(STATEMENTS):
                connection.execute(statement, (str(next(_numbers)), i))
    return run


def numbers():
    n = 0
    while True:
        n += 1
        yield n


_numbers = numbers()
