"""A database with every kind of sealed value, and what opens them: what a dump, a replica or another version has to
bring along. `run` is a function that runs one statement in that database and gives its rows."""

import hashlib

# Longer than a page, and nothing that compresses: it is stored out of line.
LONG = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(100))
# Names that need quotes, in characters that LATIN1 has too.
QUOTED = '"Größe ""x"""."Tabelle, é"'
CONTEXT = "Zoë, 7"

# Table, its column, how a value of it opens, what it holds.
TABLES = [
    ("people", "ssn", "envelope_decrypt({table}, {column})", [b"123-45-6789", b"", b"\x00\xff\xf7\xe1", LONG, None]),
    ("texts", "v", f"envelope_decrypt_text({{table}}, {{column}}, '{CONTEXT}')", ["Zoë", "", "x" * 3000]),
    ("records", "v", "envelope_decrypt_text({table}, {column}, envelope_context('v', id::text))", ["one", "twö"]),
    ("verbatim", "v", "envelope_decrypt_text({table}, {column})", ["C:\\101 \\x41", "", "é \\"]),
    ("parts", "v", "envelope_decrypt({table}, {column})", [b"low", b"low too", b"high"]),
    ("renamed", "v", "envelope_decrypt({table}, {column})", [b"renamed"]),
    ("elsewhere.moved", "v", "envelope_decrypt({table}, {column})", [b"moved"]),
    (QUOTED, '"Spalte ß"', "envelope_decrypt({table}, {column})", ["é".encode(), b"quoted"]),
]
PLAINTEXTS = {table: values for table, _, _, values in TABLES}
# Sealed by the trigger.
TRIGGERED = ("people", "verbatim", "parts", "renamed", "elsewhere.moved", QUOTED)
# What travels: the extension's tables, and what orders their rows.
CATALOG = {"keyring": "keyring_id", "keyring_table": "id", "data_key": "key_id", "wrapped_key": "key_id, kek",
           "key_grant": "id", "sealed_column": "id", "key_use": "id"}


def make(run, reader):
    """Makes it all; the extension is there. `people` has two versions of its key, the role `reader` one grant, and a
    dropped table left its keys."""
    run("CREATE SCHEMA elsewhere")
    run('CREATE SCHEMA "Größe ""x"""')
    run("CREATE TABLE people (id int PRIMARY KEY, ssn bytea CHECK (envelope.is_sealed(ssn)))")
    for table in ("texts", "records", "first_name", "moved", "dropped"):
        run(f"CREATE TABLE {table} (id int PRIMARY KEY, v bytea)")
    run("CREATE TABLE verbatim (id int PRIMARY KEY, v envelope.sealed CHECK (envelope.is_sealed(v)))")
    run("CREATE TABLE parts (id int PRIMARY KEY, v bytea) PARTITION BY RANGE (id)")
    run("CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (3)")
    run("CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (3) TO (100)")
    run(f'CREATE TABLE {QUOTED} (id int PRIMARY KEY, "Spalte ß" bytea)')
    for table, column in (("people", "ssn"), ("first_name", "v"), ("moved", "v"), ("parts", "v"),
                          ("verbatim", "v"), (QUOTED, "Spalte ß")):
        run(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW "
            f"EXECUTE FUNCTION envelope_seal('{column}')")
    for table in ("first_name", "moved"):
        run(f"SELECT envelope.create_key('{table}')")
    run("ALTER TABLE first_name RENAME TO renamed")
    run("ALTER TABLE moved SET SCHEMA elsewhere")
    run("INSERT INTO dropped VALUES (1, envelope_encrypt('dropped', 'gone'))")
    run("DROP TABLE dropped")
    for table, _, _, values in TABLES:
        for i, value in enumerate(values, 1):
            if table == "people" and i == 3:
                second_version(run, "people")
            insert(run, table, i, value)
    run("INSERT INTO envelope.key_grant SELECT gen_random_uuid(), keyring_id, %s, 'decrypt' "
        "FROM envelope.keyring_table WHERE relation::text = 'public.people'", (reader,))
    run("INSERT INTO envelope.sealed_column (id, relation, column_name, tag, bound_columns) "
        "VALUES (gen_random_uuid(), 'public.records', 'v', 'v', '{id}')")


def insert(run, table, number, value):
    """One more value of the table, in the way that its values are sealed."""
    seal = {"texts": f"envelope_encrypt_text('texts', %s, '{CONTEXT}')",
            "records": f"envelope_encrypt_text('records', %s, envelope_context('v', '{number}'))"}
    run(f"INSERT INTO {table} VALUES (%s, {seal.get(table, '%s')})", (number, value))


def second_version(run, table):
    run("SELECT envelope.rotate_key(%s)", (table,))


def opening(table):
    """The query that opens a table's values, in their order."""
    name, column, expression = next((t, c, e) for t, c, e, _ in TABLES if t == table)
    literal = "'" + name.replace("'", "''") + "'"
    return f"SELECT {expression.format(table=literal, column=column)} FROM {name} ORDER BY id"


def opened(run, tables=PLAINTEXTS):
    """What opens, by table: to be compared with PLAINTEXTS."""
    return {table: [row[0] for row in run(opening(table))] for table in tables}


def stored(run, tables=PLAINTEXTS):
    """The sealed values, byte for byte, by table."""
    columns = {table: column for table, column, _, _ in TABLES}
    return {table: [row[0] for row in run(f"SELECT {columns[table]} FROM {table} ORDER BY id")] for table in tables}


def catalog(run):
    """All rows of the extension's tables: names where another database has other OIDs."""
    return {table: run(f"SELECT * FROM envelope.{table} ORDER BY {order}") for table, order in CATALOG.items()}


def bindings(run):
    """Each keyring's table as its text, and whether its OID is that table's here; 0 is '-'."""
    return run("SELECT relation::text, relation::oid, CASE relation::oid WHEN 0 THEN 0 "
               "ELSE to_regclass(relation::text)::oid END FROM envelope.keyring_table ORDER BY 1")
