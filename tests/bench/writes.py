"""What the sealing trigger costs: COPY of many narrow rows, and single-row INSERTs by prepared statement."""

import re
import statistics

from . import place, timing

ROWS = 1_000_000
# Bytes by which a sealed value is longer.
OVERHEAD = 58
TRIGGER = "CREATE TRIGGER nop BEFORE INSERT OR UPDATE ON plpgsql FOR EACH ROW EXECUTE FUNCTION nop()"
VALUE = "'\\x00112233445566778899aabbccddeeff'"
NOP = "CREATE FUNCTION nop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
SECONDS = 1
ROUNDS = 30


def tables(connection):
    """Three tables of an int and a bytea: without a trigger, with ours, with one that does nothing."""
    place.extensions(connection)
    connection.execute(NOP)
    connection.execute("CREATE TABLE bare (id int, v bytea)")
    connection.execute("CREATE TABLE plpgsql (id int, v bytea)")
    connection.execute(TRIGGER)
    place.sealed_table(connection, "sealed")


def copy():
    """Milliseconds for 1,000,000 rows of an int and 16 bytes, from a binary file: without a trigger, with ours, with one
    in PL/pgSQL that only does RETURN NEW; and without a trigger again, of values as long as sealed ones."""
    with place.server() as cluster, cluster.connect() as connection:
        tables(connection)
        connection.execute("CREATE TABLE long (id int, v bytea)")
        files = {table: cluster.data / f"{'long' if table == 'long' else 'short'}.copy"
                 for table in ("bare", "sealed", "plpgsql", "long")}
        for table, length in (("bare", 16), ("long", 16 + OVERHEAD)):
            connection.execute(f"COPY (SELECT g, substr(sha512(convert_to(g::text, 'UTF8')) || sha512(''), 1, {length}) "
                               f"FROM generate_series(1, {ROWS}) g) TO '{files[table]}' (FORMAT binary)")

        def load(table):
            connection.execute(f"TRUNCATE {table}")
            connection.execute("CHECKPOINT")
            return lambda: connection.execute(f"COPY {table} FROM '{files[table]}' (FORMAT binary)")

        pid, samples = connection.info.backend_pid, {table: [] for table in files}
        for round_ in range(timing.REPETITIONS + 1):
            for table, taken in samples.items():
                took = timing.on_processor(pid, load(table))
                if round_:
                    taken.append(took / 1e6)
        return {table: statistics.median(taken) for table, taken in samples.items()}


def inserts():
    """Transactions a second of one client, by pgbench: without a trigger, with ours, with one in PL/pgSQL that only
    does RETURN NEW; without and with ours for rows that leave nothing to seal, which is what having a trigger costs; and
    the ratios of neighbours."""
    with place.server() as cluster:
        script = cluster.base / "insert.sql"
        rates = {(table, VALUE): [] for table in ("bare", "sealed", "plpgsql")}
        rates |= {(table, "NULL"): [] for table in ("bare", "sealed")}
        with cluster.connect() as connection:
            tables(connection)
        for round_ in range(ROUNDS + 1):
            for (table, value), found in rates.items():
                script.write_text(f"\\set id random(1, 1000000000)\nINSERT INTO {table} VALUES (:id, {value});\n")
                out = cluster.client("pgbench", "-n", "-M", "prepared", "-f", script, "-T", SECONDS)
                if round_:
                    found.append(float(re.search(r"tps = ([\d.]+)", out)[1]))
        def ratio(table, value):
            return statistics.median(rate / bare for bare, rate in zip(rates["bare", value], rates[table, value]))

        medians = {table: statistics.median(found) for (table, value), found in rates.items() if value == VALUE}
        return {**medians, "ratio": ratio("sealed", VALUE), "plpgsql ratio": ratio("plpgsql", VALUE),
                "NULL ratio": ratio("sealed", "NULL")}


def storage():
    """Milliseconds to store 20,000 sealed values of 4 KiB, and MB they take, by the column's storage."""
    found = {}
    with place.server() as cluster, cluster.connect() as connection:
        place.extensions(connection)
        works = {}
        connection.execute("CREATE TABLE source AS SELECT g AS id, (SELECT string_agg(sha512(convert_to(g || '.' || i, "
                           "'UTF8')), '') FROM generate_series(1, 64) i) AS v FROM generate_series(1, 20000) g")
        for kind in ("EXTENDED", "EXTERNAL"):
            place.sealed_table(connection, kind.lower())
            connection.execute(f"ALTER TABLE {kind.lower()} ALTER v SET STORAGE {kind}")
            works[kind] = lambda kind=kind: (connection.execute(f"TRUNCATE {kind}"),
                                             connection.execute(f"INSERT INTO {kind} SELECT * FROM source"))
        took = timing.interleaved(works)
        for kind, ns in took.items():
            size = connection.execute("SELECT pg_total_relation_size(%s)", (kind.lower(),)).fetchone()[0]
            found[kind] = {"ms": ns / 1e6, "MB": size / 1e6}
    return found
