"""What a client must have told, and what must stand in the database after it."""

import itertools
import platform
import re

from clients import all as every
from clients.client import AWKWARD, CHANGED, SECRET
from harness import document, place
from harness.cluster import Cluster
from harness.process import free_port

# The table's columns, and the facts that they hold.
COLUMNS = {"Version": "version", "Sealed value": "ssn", "Bytes": "bytes for ssn", "String": "a string for note",
           "Table": "table", "Errors": "value in errors"}
# Said of a client that has no such thing.
NONE = "–"

# What comparing a sealed column gives, of both tables: where it is not an error of the server, and no row.
COMPARED = dict.fromkeys(("Django", "Django, `server_side_binding`"), ("FieldError", "FieldError"))
# What the page says of single clients.
SAID = {
    "psycopg": {"ssn in binary": "bytes"},
    "asyncpg": {"value in its own errors": "shown"},
    "node-postgres": {"ssn in binary": "other text"},
    "SQLAlchemy": {"value in errors with hide_parameters": "not shown", "value in the log": "shown",
                   "value in the log with hide_parameters": "not shown"},
    "SQLAlchemy on asyncpg": {"value in errors with hide_parameters": "not shown"},
    "Django": {"BinaryField after create": "as given", "BinaryField when read": "bytes",
               "BinaryField in get_or_create": "another row"},
    "Drizzle": {"value in the cause of errors": "not shown"},
    "JDBC": {"ssn by getBytes": "other bytes", "ssn as bytea by getBytes": "bytes", "value in errors of a batch": "shown",
             "value in the cause of a batch's error": "not shown"},
    "tokio-postgres": {"ssn into String": "refused", "ssn into Vec<u8>": "refused", "ssn as bytea into Vec<u8>": "bytes",
                       "a string for ssn, without ::text": "refused"},
    "sqlx": {"ssn into String": "refused", "ssn into Vec<u8>": "refused", "ssn as bytea into Vec<u8>": "bytes"},
    "pgx": {"ssn into []byte": "other bytes", "ssn as bytea into []byte": "bytes", "bytes for ssn by ::bytea": "kept"},
    "ActiveRecord": {"schema.rb has the table": "no", "schema.rb has the triggers": "no", "CHECK in schema.rb": "nil",
                     "CHECK with IS NOT FALSE in schema.rb": "envelope.is_sealed(note) IS NOT FALSE"},
}
# Clients that write values into the text of statements.
BY_TEXT = {"Django"}

_numbers = itertools.count(1)


def table():
    """The clients of docs/clients.md by name, each with its cells by their heads."""
    text = (place.ROOT / "docs" / "clients.md").read_text()
    section = text.partition("\n## What each client does\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\|(.*)\|$", section, re.M)
    head, _, *rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def expected(client, version):
    """Its row of the table. A distribution's package is of the version told, unless this is that distribution."""
    row = table()[client]
    pinned, _, release = row["Version"].rstrip(")").partition(" (")
    here = platform.freedesktop_os_release()
    theirs = release and release != f"{here['NAME'].split()[0]} {here.get('VERSION_ID')}"
    return row | {"Version": version if theirs else pinned}


def cluster_for_clients():
    """One that listens on a port, as not every client knows sockets."""
    c = Cluster(conf={"listen_addresses": "127.0.0.1"})
    c.port = free_port()
    return c


def database(cluster, *headings):
    """A fresh one with the tables of the recipes, and what the SQL below these headings makes; its name."""
    name = f"clients{next(_numbers)}"
    cluster.create_database(name)
    cluster.sql(document.blocks("clients.md", "The tables", "sql")[0], dbname=name)
    for heading in headings:
        for block in document.blocks("clients.md", heading, "sql"):
            # Without what the page shows to fail.
            cluster.sql("\n".join(line for line in block.splitlines() if "-- ERROR" not in line), dbname=name)
    return name


def url(cluster, dbname):
    return f"postgres://postgres@127.0.0.1:{cluster.port}/{dbname}"


def run(client, cluster, directory):
    """Runs a client on a fresh database; what it told, after what must hold for all was looked at."""
    program = {**every.DAILY, **every.OTHERS}[client]
    dbname = database(cluster, *([program.heading] if program.more_sql else []))
    log = cluster.log.stat().st_size
    told = program.run(directory, url(cluster, dbname))
    texts = [told[fact] for fact in ("added", "changed", "note added", "note changed")]
    assert texts == [AWKWARD, CHANGED, AWKWARD, CHANGED]
    assert not [fact for fact, value in told.items() if value.lower() == "false"]
    assert told["note"] == "bytes"
    assert (told["ssn ="], told["note ="]) == COMPARED.get(client, ("42883", "0"))
    assert {column: told.get(fact, NONE) for column, fact in COLUMNS.items()} == expected(client, told["version"])
    assert SAID.get(client, {}).items() <= told.items()
    # A statement failed at the end. Its parameters are in the log only if they stood in its text.
    with open(cluster.log) as f:
        f.seek(log)
        lines = f.read()
    assert "customers_pkey" in lines
    assert (SECRET in lines) == (client in BY_TEXT)
    # In the eyes of another session: sealed once, and the same text.
    for name, column in (("customers", "ssn"), ("patients", "note")):
        opened = f"envelope_decrypt('{name}', {column})"
        [row] = cluster.sql(
            f"SELECT envelope.is_sealed({column}), envelope.is_sealed({opened}), convert_from({opened}, 'UTF8') "
            f"FROM {name} WHERE id = 1", dbname=dbname)
        assert row == (True, False, CHANGED)
    return told
