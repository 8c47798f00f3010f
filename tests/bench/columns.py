"""What the form of a column costs: the trigger on each, and opening what was sealed as a type."""

from . import place, timing

ROWS = 200_000
# Today's first: what the others are compared with.
FORMS = {"bytea": ("id int, v bytea", "v", "v"),
         "envelope.sealed": ("id int, v envelope.sealed", "v", "v"),
         "source": ("id int, v bytea, s bytea", "v=s", "s")}


def measure():
    """Nanoseconds a row: an INSERT … SELECT of 16 bytes that the trigger seals, by the form of the column, above one without
    a trigger; and opening dates, above a bare scan."""
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        connection.execute(f"CREATE TABLE plain AS SELECT g AS id, substr(sha512(g::text::bytea), 1, 16) AS v "
                           f"FROM generate_series(1, {ROWS}) g")
        connection.execute("CREATE TABLE bare (id int, v bytea)")
        works = {"bare": "INSERT INTO bare SELECT * FROM plain"}
        for name, (columns, argument, into) in FORMS.items():
            table = name.replace("envelope.", "")
            connection.execute(f'CREATE TABLE "{table}" ({columns})')
            connection.execute(f'CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON "{table}" FOR EACH ROW '
                               f"EXECUTE FUNCTION envelope_seal('{argument}')")
            connection.execute(f"SELECT envelope.create_key('{table}')")
            works[name] = f'INSERT INTO "{table}" (id, {into}) SELECT * FROM plain'
        took = timing.queries(connection, works, ROWS)
        connection.execute("CREATE TABLE dates (v bytea)")
        connection.execute("SELECT envelope.create_key('dates')")
        connection.execute("INSERT INTO dates SELECT envelope_encrypt_as('dates', date '1950-01-01' + g % 30000) "
                           f"FROM generate_series(1, {ROWS}) g")
        opening = timing.queries(connection, {
            "scan": "SELECT count(v) FROM dates",
            "bytes": "SELECT count(envelope_decrypt('dates', v)) FROM dates",
            "date": "SELECT count(envelope_decrypt_as('dates', v, NULL::date)) FROM dates"}, ROWS)
        return {"seal": {name: took[name] - took["bare"] for name in FORMS},
                "open": {name: opening[name] - opening["scan"] for name in ("bytes", "date")}}
