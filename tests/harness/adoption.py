"""Columns of a table in use are sealed by the steps of a plan: what the demo shows, and what a test holds it to."""

from . import application

OPTIONS = '{"online": true, "form": "source", "view": "people_open"}'
PLAN = (f"SELECT step, sql, lock, remark FROM envelope.plan('people', '{{{','.join(application.SENSITIVE)}}}',\n"
        f"  '{OPTIONS}')")
# In every row of before, and in no row that an application writes.
NEEDLE = b"@example.org"


def wrong_rows(cluster, load, rows):
    """What the view of opened values does not say as it was written, row by row; of rows that nobody wrote to, as they
    were. `rows` were there before the load."""
    written = load.people()
    wanted = {who: application.original(who) for who in range(1, rows + 1)}
    wanted |= {who: application.person(who, generation) for who, generation in written.items()}
    with cluster.connect() as c:
        found = {who: values for who, *values in c.execute(
            f"SELECT id, {', '.join(application.SENSITIVE)} FROM people_open").fetchall()}
    return [who for who in wanted.keys() | found.keys()
            if who not in wanted or who not in found or not application.is_same(found[who], wanted[who])]


def unopened(connection):
    """The values that do not open."""
    return [row for column in application.SENSITIVE for row in connection.execute(
        "SELECT * FROM envelope.verify('people', %s)", (f"{column}_sealed",)).fetchall()]


def is_on_disk(cluster, connection):
    """Whether the table's files hold plaintext of before."""
    connection.execute("CHECKPOINT")
    [(path,)] = connection.execute("SELECT pg_relation_filepath('people')").fetchall()
    first = cluster.data / path
    return any(NEEDLE in one.read_bytes() for one in [first, *first.parent.glob(first.name + ".*")])


REWRITE = "VACUUM (FULL, ANALYZE) people"
