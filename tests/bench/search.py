"""Search by index beside what PostgreSQL does with plaintext: look-ups, ranges, parts of text; bytes a row; the trigger; the
build. Each table has one column beside its number, in clear or sealed, and one index. Alone:
tests/run/python.sh release -m bench.bench search"""

import statistics

from . import leakage, place, timing
from .reencrypt import BATCH, ROWS, UPDATE_ITSELF

LOOKUPS = 2000
REPETITIONS = 5
PIECES = 20
# The dates stand in no order, as those of births do. The names are in lower case, so that LIKE and normal forms say the same.
VALUES = f"""
CREATE TABLE people AS SELECT g AS id, sha256(g::text::bytea) AS key, date '1940-01-01' + (hashint8(g) & 2147483647) % 30000 AS born,
  lower(f.name || ' ' || l.name) AS name
FROM generate_series(1, {ROWS}) g JOIN first f ON f.id = (hashint8(g + 1) & 2147483647) % 100000
JOIN last l ON l.id = (hashint8(g + 2) & 2147483647) % 100000"""
# By table: the column, its type, and what add_index is given; of a plain one, its index.
SEALED = {
    "by_exact": ("key", "bytea", "'exact'"),
    "by_buckets": ("born", "date", "'buckets'"),
    "by_tree": ("born", "date", """'tree', force => true, options => '{"low": "1900-01-01", "high": "2079-06-06"}'"""),
    "by_parts": ("name", "text", "'parts(3)'"),
}
PLAIN = {"plain_key": ("key", "(key)"), "plain_born": ("born", "(born)"), "plain_name": ("name", "USING gin (name gin_trgm_ops)")}
RANGES = {"0.01 %": 3, "0.1 %": 30, "1 %": 300, "10 %": 3000}
LOOK_UP = {
    "plain look-up": "SELECT key FROM plain_key WHERE key = %s",
    "exact": "SELECT envelope_decrypt('by_exact', key) FROM by_exact "
             "WHERE key_ix = ANY (envelope_search('by_exact', 'key', %s::bytea))",
    "exact, envelope_matches": "SELECT envelope_decrypt('by_exact', key) FROM by_exact "
                               "WHERE envelope_matches('by_exact', 'key', key, key_ix, '=', %s::bytea)",
}
# Without OFFSET 0 PostgreSQL would make one query of the two, and BETWEEN would open each value twice.
OPENED = ("SELECT count(id) FROM (SELECT id, envelope_decrypt_as('{0}', born, NULL::date) AS born FROM {0} WHERE {1} OFFSET 0) AS found "
          "WHERE born BETWEEN %s AND %s")
BETWEEN = {
    "plain range": "SELECT count(id) FROM plain_born WHERE born BETWEEN %s AND %s",
    "buckets": OPENED.format("by_buckets", "born_ix = ANY (envelope_search_range('by_buckets', 'born', %s::date, %s::date))"),
    "tree": OPENED.format("by_tree", "born_ix && envelope_search_range_tokens('by_tree', 'born', %s::date, %s::date)"),
}
PARTS = {
    "pg_trgm": "SELECT count(id) FROM plain_name WHERE name LIKE '%%' || %s || '%%'",
    "parts(3)": "SELECT count(id) FROM by_parts WHERE name_ix @> envelope_search_tokens('by_parts', 'name', %s::text) "
                "AND envelope_decrypt_text('by_parts', name) LIKE '%%' || %s || '%%'",
    "parts(3), envelope_matches": "SELECT count(id) FROM by_parts "
                                  "WHERE envelope_matches('by_parts', 'name', name, name_ix, 'contains', %s::text)",
    "opening every row": "SELECT count(id) FROM by_parts WHERE envelope_decrypt_text('by_parts', name) LIKE '%%' || %s || '%%'",
}


def measure():
    """Milliseconds of a backend on its processor, by question; bytes a row, by index; microseconds a row of a write; seconds
    of a build."""
    with place.server() as cluster:
        with cluster.connect() as c:
            place.extensions(c)
            c.execute("CREATE EXTENSION pg_trgm")
            c.execute(UPDATE_ITSELF)
            fill(c)
            results = {"rows": ROWS, "trigger µs": trigger(c), "bytes a row": sizes(c),
                       "ms": {**lookups(c), **ranges(c)}, "terms a second": listed(c)}
            results["ms"] |= parts(c)
            c.execute("DROP TABLE people, " + ", ".join([*PLAIN, *SEALED]))
        return results | {"build s": builds(cluster)}


def fill(c):
    """Names by the frequencies of a census: of lists in which each stands as often as it does there."""
    for table, names in (("first", leakage.first_names()), ("last", leakage.surnames())):
        c.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, name text)")
        with c.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            for number, name in enumerate(leakage.drawn(names, 100_000)):
                copy.write_row((number, name))
    c.execute(VALUES)
    for table, (column, index) in PLAIN.items():
        c.execute(f"CREATE TABLE {table} AS SELECT id, {column} FROM people ORDER BY id")
        c.execute(f"CREATE INDEX ON {table} {index}")
    for table, (column, kind, index) in SEALED.items():
        sealed(c, table, column, kind)
        c.execute(f"INSERT INTO {table} (id, {column}) SELECT id, {column} FROM people ORDER BY id")
        build, create = [sql for sql, in c.execute(f"SELECT envelope.add_index('{table}', '{column}', {index})")][:2]
        c.execute(build)
        # As if the terms had been written with their rows.
        c.execute(f"VACUUM FULL {table}")
        c.execute(create)
    for table in (*PLAIN, *SEALED):
        c.execute(f"VACUUM ANALYZE {table}")
    c.execute("CHECKPOINT")


def sealed(c, table, column, kind):
    c.execute(f"CREATE TABLE {table} (id int, {column} envelope.sealed)")
    c.execute(f"SELECT envelope.set_policy('{table}', '{column}', value_type => '{kind}'), envelope.create_key('{table}')")
    c.execute(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION envelope_seal('{column}')")


def sizes(c):
    """In PostgreSQL's index, and in the table."""
    names = {"exact": "by_exact", "plain, 32 bytes": "plain_key", "buckets": "by_buckets", "plain date": "plain_born",
             "tree": "by_tree", "parts(3)": "by_parts", "pg_trgm": "plain_name"}
    column = {name: f"{SEALED[table][0]}_ix" for name, table in names.items() if table in SEALED}
    return {"index": {name: c.execute("SELECT pg_indexes_size(%s)", (table,)).fetchone()[0] / ROWS for name, table in names.items()},
            "column": {name: float(c.execute(f"SELECT avg(pg_column_size({of})) FROM {names[name]}").fetchone()[0])
                       for name, of in column.items()}}


def compared(c, works, each):
    """Milliseconds of each of the questions, by name. All must have the same answers."""
    answers = {name: run() for name, run in works.items()}
    assert len({str(answer) for answer in answers.values()}) == 1, answers
    pid = c.info.backend_pid
    took = timing.interleaved(works, REPETITIONS, lambda work: timing.on_processor(pid, work))
    return {name: ns / 1e6 / each for name, ns in took.items()}


def asking(c, query, questions):
    """Prepared, as programs have it."""
    return lambda: [c.execute(query, question * (query.count("%s") // len(question)), prepare=True).fetchone()[0]
                    for question in questions]


def lookups(c):
    """One row by its key, opened; by one plan for all, and by default, with a plan for each where PostgreSQL takes that for
    better."""
    keys = c.execute(f"SELECT key FROM plain_key WHERE id % {max(ROWS // LOOKUPS, 1)} = 0").fetchall()
    took = {}
    for mode, of in (("force_generic_plan", ""), ("auto", ", by default")):
        c.execute(f"SET plan_cache_mode = {mode}")
        took |= compared(c, {name + of: asking(c, query, keys) for name, query in LOOK_UP.items()}, len(keys))
    c.execute("RESET plan_cache_mode")
    return took


def ranges(c):
    """Several of each width, from all over the years."""
    took = {}
    for name, days in RANGES.items():
        questions = [c.execute("SELECT date '1940-01-01' + %s, date '1940-01-01' + %s", (at, at + days - 1)).fetchone()
                     for at in range(1000, 25_000, 8000 if days > 1000 else 2357)]
        kinds = ["plain range", "tree" if days < 30 else "buckets"]
        works = {f"{kind} {name}": asking(c, BETWEEN[kind], questions) for kind in kinds}
        took |= compared(c, works, len(questions))
    return took


def parts(c):
    """Pieces of five letters of the surnames that are there, each name as likely as another."""
    pieces = c.execute("SELECT piece FROM (SELECT DISTINCT substr(name, 2, 5) AS piece FROM last WHERE name ~ '^.[a-z]{5}') AS p "
                       f"WHERE EXISTS (SELECT FROM plain_name WHERE name LIKE '%' || piece || '%') ORDER BY hashtext(piece) LIMIT {PIECES}").fetchall()
    works = {name: asking(c, query, pieces) for name, query in PARTS.items()}
    scan = works.pop("opening every row")
    took = compared(c, works, len(pieces))
    pid = c.info.backend_pid
    return took | {"opening every row": statistics.median(timing.on_processor(pid, scan) for _ in range(3)) / 1e6 / len(pieces)}


def listed(c):
    """Terms a second that a backend makes of a list of values, for whoever may search."""
    query = "SELECT count(envelope_search('by_exact', 'key', g::text::bytea)) FROM generate_series(1, 100000) g"
    return 100_000 / compared(c, {"": lambda: c.execute(query).fetchone()}, 1)[""] * 1000


def trigger(c):
    """An INSERT … SELECT of texts of 16 letters, above one without a trigger, by what the sealing trigger keeps."""
    kinds = {"sealed": None, "exact": "exact", "words": "words", "parts(3)": "parts(3)"}
    rows = min(ROWS, 100_000)
    c.execute(f"CREATE TABLE texts AS SELECT id, encode(substr(key, 1, 8), 'hex') AS v FROM plain_key LIMIT {rows}")
    c.execute("CREATE TABLE bare (id int, v text)")
    works = {"bare": "INSERT INTO bare SELECT id, v FROM texts"}
    for name, kind in kinds.items():
        table = f'"into {name}"'
        sealed(c, table, "v", "text")
        if kind:
            c.execute(f"SELECT envelope.add_index('{table}', 'v', '{kind}')")
        works[name] = f"INSERT INTO {table} (id, v) SELECT id, v FROM texts"
    took = timing.queries(c, works, rows)
    return {"without": took["bare"] / 1000} | {name: (took[name] - took["bare"]) / 1000 for name in kinds}


def builds(cluster):
    """Seconds on a processor, of tables that are filled anew; the sealing trigger is off where only c = c is set."""
    calls = {"update": f"CALL update_itself({BATCH})", "build": f"CALL envelope.build_index('t', 'c', 'c_ix', batch_size => {BATCH})"}
    runs = {name: [] for name in calls}
    for _ in range(REPETITIONS):
        for name, call in calls.items():
            with cluster.connect() as c:
                c.execute("DROP TABLE IF EXISTS t")
                sealed(c, "t", "c", "bytea")
                c.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
                c.execute(f"INSERT INTO t SELECT g, sha512(g::text::bytea) FROM generate_series(1, {ROWS}) g")
                c.execute("SELECT envelope.add_index('t', 'c', 'exact')")
                if name == "update":
                    c.execute("ALTER TABLE t DISABLE TRIGGER seal")
                c.execute("VACUUM ANALYZE t")
                c.execute("CHECKPOINT")
            with cluster.connect() as c:
                c.execute("SELECT envelope.warm('t')")
                runs[name].append(timing.on_processor(c.info.backend_pid, lambda call=call: c.execute(call)) / 1e9)
    return {name: statistics.median(samples) for name, samples in runs.items()}
