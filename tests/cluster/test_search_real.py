"""Search over real data: names of languages, countries and their regions (Debian's iso-codes), time zones (tzdata), a list
of names that are hard to write, and dates and numbers at random. Plain Python says what is to be found."""

import functools
import json
import pathlib
import random

import psycopg
import pytest
from harness.database import Database
from harness.index_keys import index_keys
from interop import normal
from interop import search as reference
from interop.normal import Refused
from test_search import ids, key, uses

ISO = pathlib.Path("/usr/share/iso-codes/json")
ZONES = pathlib.Path("/usr/share/zoneinfo/zone1970.tab")
# Case, accents in one code point and in two, ligatures, Turkish i, full width, other scripts' digits, what is not seen,
# what Unicode 15.1.0 does not assign.
HARD = [
    "Meier", "meier", "MEIER", "Meier ", " Meier", "Hans  Meier", "Hans\u00a0Meier", "Hans\tMeier", "Hans-Peter Meier", "O'Meier",
    "M\u00fcller", "Mu\u0308ller", "M\u00dcLLER", "MU\u0308LLER", "Muller", "Mueller", "Stra\u00dfe", "STRA\u1e9eE", "STRASSE", "strasse",
    "\ufb01scher", "Fischer", "\ufb02ug", "o\ufb00en", "\u0133sland", "IJsland", "\u01c4emal", "\u01c5emal", "d\u017eemal", "\u00e6ther", "aether", "\u0152uvre",
    "\u0130stanbul", "istanbul", "Istanbul", "ISTANBUL", "\u0131stanbul", "i\u0307stanbul", "I\u015f\u0131k", "\u0131\u015f\u0131k", "Y\u0131ld\u0131z", "YILDIZ",
    "\uff2d\uff45\uff49\uff45\uff52", "\uff21\uff22\uff23\uff11\uff12", "ABC12", "\uff76\uff9e", "\u30ac", "\u30ab\u3099", "\u0391\u03a3", "\u03b1\u03c2", "\u03b1\u03c3", "\u1fb3", "\u03b1\u03b9",
    "\u212aelvin", "Kelvin", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u212bngstr\u00f6m", "\u1ec7 Vi\u1ec7t", "e\u0323\u0302 Vie\u0323\u0302t", "e\u0302\u0323",
    "\uac01", "\u1100\u1161\u11a8", "\u0928\u0940", "\u0663\u0664\u0665", "345", "\U0001d40c\U0001d41e\U0001d422\U0001d41e\U0001d42b", "\U0001f469\u200d\U0001f680", "\U0001f1e9\U0001f1ea",
    "Mei\u00ader", "Mei\u200der", "\ufeffMeier", "\u0378Meier", "Me\u0378\u0308ier", "Mei\uffffer", "\U000e0041Meier", "M\x01eier", "\u2028", " ", "", "a", "ab", "\u0308", "!?",
    "x" * 3000, "a@b.de", "A@B.DE.", "\uff21@b.de", "a@b@c.de", "010-047", "C01X00T47", "010047",
]


def names(many=400):
    """All kinds of them, always the same."""
    found = []
    for part in ("3166-1", "3166-2", "639-3", "4217", "15924"):
        rows, = (rows for rows in json.loads((ISO / f"iso_{part}.json").read_text()).values() if isinstance(rows, list))
        found += [row[name] for row in rows for name in ("name", "official_name", "common_name") if name in row]
    found += [line.split("\t")[2] for line in ZONES.read_text().splitlines() if not line.startswith("#")]
    accents = sorted({name for name in found if not name.isascii()})
    drawn = random.Random(16)
    return HARD + drawn.sample(accents, many // 2) + drawn.sample(sorted(set(found) - set(accents)), many // 2)


def spelled(text, encoding):
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False


# What an index is asked, by its kind and form.
INDEXES = {
    "exact": ("exact", "exact", "="),
    "nfc": ("exact", "nfc", "="),
    "fold": ("exact", "casefold", "="),
    "alnum": ("exact", "alnum", "="),
    "start": ("prefix(3)", "casefold", "prefix"),
    "stop": ("suffix(3)", "casefold", "suffix"),
    "words": ("words", "casefold", "words"),
    "parts": ("parts(3)", "casefold", "contains"),
}
SETS = ("words", "parts")


@functools.cache
def normalised(form, text, is_piece=False):
    try:
        return normal.normal(form, text, is_piece)
    except Refused:
        return None


@functools.cache
def words(text):
    return set(reference.words(text))


def is_found(form, op, value, asked):
    """What the docs say of a question, read from them."""
    value, asked = normalised(form, value), normalised(form, asked, op != "=")
    if value is None or asked is None:
        return False
    if op == "words":
        return words(asked) <= words(value)
    return {"=": value == asked, "prefix": value.startswith(asked), "suffix": value.endswith(asked), "contains": asked in value}[op]


def pieces(op, values):
    """Of some of the values: what occurs, written in another way, and what does not."""
    drawn = random.Random(f"{op} 16")
    chosen = HARD + drawn.sample(values[len(HARD):], 60)
    for value in chosen:
        at, end = sorted(drawn.choices(range(len(value) + 1), k=2))
        piece = {"=": value, "prefix": value[:end], "suffix": value[at:], "contains": value[at:end][:40], "words": value}[op]
        yield piece
        yield drawn.choice([str.upper, str.lower, str.swapcase, str.title])(piece)


@pytest.fixture(scope="module", params=["UTF8", "LATIN1", "LATIN5"])
def people(request, cluster):
    """Those of the names that the database can spell. Half of the rows are from before the indexes."""
    encoding = request.param
    db = Database(cluster)
    if encoding != "UTF8":
        # A process of the tests may come back to this one after it was at another.
        db.name = f"{db.name}_{encoding.lower()}"
        cluster.sql(f"CREATE DATABASE {db.name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        db.sql('CREATE EXTENSION "pgrx-example"')
    python = {"UTF8": "utf-8", "LATIN1": "iso8859-1", "LATIN5": "iso8859-9"}[encoding]
    db.spells = lambda text: spelled(text, python)
    db.values = [name for name in names() if db.spells(name)]
    db.sql("CREATE TABLE people (id int PRIMARY KEY, v envelope.sealed);"
           "SELECT envelope.set_policy('people', 'v', value_type => 'text');"
           "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    # `alnum` has nothing of some of them, and refuses to store those.
    db.sql("CREATE TABLE numbers (LIKE people);"
           "SELECT envelope.set_policy('numbers', 'v', value_type => 'text');"
           "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON numbers FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    rows = list(enumerate(db.values))
    half = len(rows) // 2

    def fill(rows):
        with db.connect() as c, c.cursor() as cursor:
            cursor.executemany("INSERT INTO people (id, v) VALUES (%s, %s)", rows)
            cursor.executemany("INSERT INTO numbers (id, v) VALUES (%s, %s)", [row for row in rows if has_alnum(row[1])])

    fill(rows[:half])
    for name, (kind, form, _) in INDEXES.items():
        table = "numbers" if name == "alnum" else "people"
        db.sql(f"SELECT envelope.add_index('{table}', 'v', %s, index_column => %s, form => %s, label => %s, force => true)",
               (kind, f"v_{name}", None if name in SETS else form, name))
        db.sql(f"CALL envelope.build_index('{table}', 'v', 'v_{name}')")
        db.sql(f"CREATE INDEX {table}_{name} ON {table} USING {'gin' if name in SETS else 'btree'} (v_{name})")
    fill(rows[half:])
    db.sql("ANALYZE people, numbers")
    return db


def has_alnum(text):
    return normalised("alnum", text) is not None


@pytest.mark.parametrize("name", INDEXES)
def test_what_is_stored_is_what_the_format_says(people, name):
    kind, form, _ = INDEXES[name]
    table = "numbers" if name == "alnum" else "people"
    rule = f"{form}/1" if kind == "exact" else f"{kind} {form}/1"
    its = key(people, table)
    for number, stored in people.sql(f"SELECT id, v_{name} FROM {table}"):
        payloads = reference.of_text(rule, people.values[number])
        if name in SETS:
            assert stored == its.stored(name, rule, payloads), people.values[number]
        else:
            assert stored == (its.term(name, rule, 16, payloads[0]) if payloads else None), people.values[number]


@pytest.mark.parametrize("name", INDEXES)
def test_the_index_finds_what_the_definition_says(people, name):
    kind, form, op = INDEXES[name]
    table = "numbers" if name == "alnum" else "people"
    rule = f"{form}/1" if kind == "exact" else f"{kind} {form}/1"
    query = f"SELECT id FROM {table} WHERE envelope_matches('{table}', 'v', v, v_{name}, '{op}', %s)"
    answered = found = 0
    with people.connect() as c:
        c.execute("SET enable_seqscan = off")
        for asked in filter(people.spells, pieces(op, people.values)):
            text = psycopg.ClientCursor(c).mogrify(query, (asked,))
            try:
                refuses = not reference.asked(rule, op, asked)
            except Refused:
                refuses = True
            if refuses:
                with pytest.raises(psycopg.errors.InvalidParameterValue):
                    c.execute(text)
                continue
            expected = [n for n, value in enumerate(people.values)
                        if is_found(form, op, value, asked) and (table == "people" or has_alnum(value))]
            assert ids(c, text) == expected, asked
            last = text
            answered, found = answered + 1, found + len(expected)
        assert uses(c, f"{table}_{name}", last)
    # Of what was asked, most has an answer.
    assert answered > 50 and found > 50


# -- what is ordered --------------------------------------------------------------------------------------------------

ORDERED = [
    ("date", "buckets", {"classes": 16}), ("date", "days", {}), ("date", "steps(30)", {}),
    ("date", "tree", {"low": "1900-01-01", "high": "2079-06-05", "sparsity": 2, "trim": 2}),
    ("integer", "buckets", {"classes": 16}), ("integer", "steps(1000000)", {}), ("integer", "tree", {"low": 0, "high": 65535}),
    ("bigint", "buckets", {"classes": 16}), ("numeric(9,2)", "buckets", {"classes": 16}), ("numeric(9,2)", "steps(5000)", {}),
    ("double precision", "buckets", {"classes": 16}), ("time", "buckets", {"classes": 16}), ("time", "steps(600)", {}),
    ("timestamp", "buckets", {"classes": 16}), ("timestamptz", "days", {}), ("timestamptz", "buckets", {"classes": 16}),
]
ENDS = {
    "date": ["infinity", "-infinity", "1900-01-01", "2079-06-05", "2079-06-06", "1899-12-31", "4713-01-01 BC", "5874897-12-31", "1970-01-01"],
    "integer": ["-2147483648", "2147483647", "0", "-1", "65535", "65536"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0", "-1"],
    "numeric(9,2)": ["9999999.99", "-9999999.99", "0", "-0.01", "NaN"],
    "double precision": ["infinity", "-infinity", "NaN", "0", "-0", "5e-324", "-5e-324", "1.7976931348623157e308", "1e23"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "00:00:00.000001"],
    "timestamp": ["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "1970-01-01 00:00:00", "1969-12-31 23:59:59.999999"],
    "timestamptz": ["infinity", "-infinity", "1970-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00", "1999-12-31 23:59:59+14"],
}


def drawn(kind, count, chance):
    day = lambda: f"{chance.randrange(1890, 2090)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
    clock = lambda: f"{chance.randrange(24):02}:{chance.randrange(60):02}:{chance.randrange(60):02}.{chance.randrange(1000):03}"
    one = {
        "date": day, "integer": lambda: str(int(chance.gauss(30000, 30000))), "bigint": lambda: str(chance.randrange(-10**12, 10**12)),
        "numeric(9,2)": lambda: f"{chance.lognormvariate(8, 1):.2f}", "double precision": lambda: repr(chance.gauss(0, 1) * 10 ** chance.randrange(-20, 20)),
        "time": clock, "timestamp": lambda: f"{day()} {clock()}", "timestamptz": lambda: f"{day()} {clock()}+00",
    }[kind]
    return [one() for _ in range(count)]


@pytest.mark.parametrize("kind, index, options", ORDERED)
def test_ranges_are_those_of_a_column_in_clear(db, kind, index, options):
    """The same values beside it, compared by PostgreSQL itself."""
    chance = random.Random(f"{kind} {index}")
    db.sql(f"CREATE TABLE t (id int PRIMARY KEY, v envelope.sealed, plain {kind});"
           f"SELECT envelope.set_policy('t', 'v', value_type => '{kind}');"
           "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('v')")
    is_set, full = index == "tree", ENDS[kind]
    values = full + drawn(kind, 300, chance)

    def fill(first, values):
        with db.connect() as c, c.cursor() as cursor:
            cursor.executemany(f"INSERT INTO t (id, v, plain) VALUES (%s, %s::{kind}::text::envelope.sealed, %s)",
                               [(first + n, value, value) for n, value in enumerate(values)])

    fill(1, values[:200])
    db.sql("SELECT envelope.add_index('t', 'v', %s, index_column => 'v_ix', options => %s::jsonb, force => true)", (index, json.dumps(options)))
    db.sql("CALL envelope.build_index('t', 'v', 'v_ix')")
    fill(201, values[200:])
    db.sql(f"CREATE INDEX t_ix ON t USING {'gin' if is_set else 'btree'} (v_ix); ANALYZE t")
    base = kind.partition("(")[0]
    value = f"envelope_decrypt_as('t', v, NULL::{kind})"
    needs_ends = index == "days" or index.startswith("steps")
    ends = full + drawn(kind, 6, chance)
    with db.connect() as c:
        c.execute("SET enable_seqscan = off")
        asked = [tuple(chance.choices(ends, k=2)) for _ in range(20)] + [(end, end) for end in ends] + [(ends[-1], ends[-2])]
        asked += [] if needs_ends else [(end, None) for end in ends] + [(None, end) for end in ends] + [(None, None)]
        answered = 0
        for low, high in asked:
            low, high = (f"NULL::{base}" if end is None else f"'{end}'::{base}" for end in (low, high))
            terms = f"envelope_search_range{'_tokens' if is_set else ''}('t', 'v', {low}, {high})"
            condition = f"v_ix {'&&' if is_set else '= ANY'} ({terms})"
            within = " AND ".join(["true"] + [f"plain >= {low}"] * ("NULL" not in low) + [f"plain <= {high}"] * ("NULL" not in high))
            expected = ids(c, f"SELECT id FROM t WHERE {within}")
            try:
                found = ids(c, f"SELECT id FROM t WHERE {condition}")
            except psycopg.errors.InvalidParameterValue:
                # More steps than a query asks for.
                assert needs_ends
                continue
            answered += 1
            assert set(expected) <= set(found), (low, high)
            assert ids(c, f"SELECT id FROM t WHERE {condition} AND {within.replace('plain', value)}") == expected, (low, high)
        assert answered > 20
        for op in ("=", "<", "<=", ">", ">="):
            for end in ends:
                query = f"SELECT id FROM t WHERE envelope_matches('t', 'v', v, v_ix, '{op}', '{end}'::{base})"
                assert ids(c, query) == ids(c, f"SELECT id FROM t WHERE plain {op} '{end}'::{base}"), (op, end)
        assert uses(c, "t_ix", query.replace(f"'{op}'", "'='"))
    assert index_keys(db, "public.t")
