"""Values with types: one form of bytes in every session, of a length that tells little, and the value again."""

import pytest
from harness import place
from harness.database import Database
from interop import forms as outside
from interop import open as opener
from sqlstate import fails

# Type, SQL of the value, its form, the block that it is filled to.
VALUES = [
    ("bool", "true", "true", 5),
    ("bool", "false", "false", 5),
    ("int2", "'-32768'", "-32768", 6),
    ("int2", "'32767'", "32767", 6),
    ("int4", "'-2147483648'", "-2147483648", 11),
    ("int4", "0", "0", 11),
    ("int8", "'-9223372036854775808'", "-9223372036854775808", 20),
    ("int8", "'9223372036854775807'", "9223372036854775807", 20),
    ("numeric", "'1.00'", "1.00", 32),
    ("numeric", "'-0.00'", "0.00", 32),
    ("numeric", "'NaN'", "NaN", 32),
    ("numeric", "'-Infinity'", "-Infinity", 32),
    ("numeric", "'123456789012345678901234567890.12'", "123456789012345678901234567890.12", 32),
    ("numeric", "1e-20", "0.00000000000000000001", 32),
    ("float4", "'0.1'", "0.1", 16),
    ("float4", "'-3.4028235e38'", "-3.4028235e+38", 16),
    ("float4", "'-1.1754944e-38'", "-1.1754944e-38", 16),
    ("float4", "'1e-45'", "1e-45", 16),
    ("float4", "'-0'", "-0", 16),
    ("float8", "'0.1'", "0.1", 24),
    ("float8", "'1e23'", "9.999999999999999e+22", 24),
    ("float8", "'-2.2250738585072014e-308'", "-2.2250738585072014e-308", 24),
    ("float8", "'-0'", "-0", 24),
    ("float8", "'NaN'", "NaN", 24),
    ("float8", "'-Infinity'", "-Infinity", 24),
    ("float8", "'5e-324'", "5e-324", 24),
    ("float8", "'123456789012345680'", "1.2345678901234568e+17", 24),
    ("date", "'2026-11-30'", "2026-11-30", 13),
    ("date", "'4714-11-24 BC'", "4714-11-24 BC", 13),
    ("date", "'0001-12-31 BC'", "0001-12-31 BC", 13),
    ("date", "'5874897-12-31'", "5874897-12-31", 13),
    ("date", "'infinity'", "infinity", 13),
    ("date", "'-infinity'", "-infinity", 13),
    ("time", "'05:08:34.5'", "05:08:34.5", 15),
    ("time", "'24:00:00'", "24:00:00", 15),
    ("time", "'23:59:59.999999'", "23:59:59.999999", 15),
    ("timetz", "'05:08:34.5+02'", "05:08:34.5+02:00", 24),
    ("timetz", "'00:00:00-15:59:59'", "00:00:00-15:59:59", 24),
    ("timetz", "'24:00:00+00'", "24:00:00+00:00", 24),
    ("timestamp", "'2026-11-30 05:08:34'", "2026-11-30T05:08:34", 29),
    ("timestamp", "'294276-12-31 23:59:59.999999'", "294276-12-31T23:59:59.999999", 29),
    ("timestamp", "'4714-11-24 00:00:00.000001 BC'", "4714-11-24T00:00:00.000001 BC", 29),
    ("timestamp", "'infinity'", "infinity", 29),
    ("timestamptz", "'2026-11-30 05:08:34.12+02'", "2026-11-30T03:08:34.12Z", 30),
    ("timestamptz", "'294276-12-31 23:59:59.999999+00'", "294276-12-31T23:59:59.999999Z", 30),
    ("timestamptz", "'4714-11-24 00:00:00+00 BC'", "4714-11-24T00:00:00Z BC", 30),
    ("timestamptz", "'-infinity'", "-infinity", 30),
    ("interval", "'0'", "PT0S", 60),
    ("interval", "'1 year 2 months 3 days 04:05:06.789'", "P1Y2M3DT4H5M6.789S", 60),
    ("interval", "'-1 year 2 days -00:00:00.000001'", "P-1Y2DT-0.000001S", 60),
    ("interval", "'1 month -1 day -24 hours'", "P1M-1DT-24H", 60),
    ("interval", "'30 days'", "P30D", 60),
    ("interval", "'-178956970 years -8 months -2147483648 days -2562047788:00:54.775807'",
     "P-178956970Y-8M-2147483648DT-2562047788H-54.775807S", 60),
    ("uuid", "'C0FFEE00-0102-0304-0506-070809AABBCF'", "c0ffee00-0102-0304-0506-070809aabbcf", 36),
    ("inet", "'10.0.0.1'", "10.0.0.1/32", 44),
    ("inet", "'10.0.0.1/8'", "10.0.0.1/8", 44),
    ("inet", "'2001:DB8::1/64'", "2001:db8::1/64", 44),
    ("inet", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128", 44),
    ("inet", "'::ffff:1.2.3.4'", "::ffff:1.2.3.4/128", 44),
    ("cidr", "'10.1.0.0/16'", "10.1.0.0/16", 44),
    ("cidr", "'::/0'", "::/0", 44),
    ("mood", "'sad'", "sad", 64),
    ("mood", "'Grüße'", "Grüße", 64),
    ("text", "''", "", 1),
    ("text", "' a  '", " a  ", 1),
    ("text", "'Grüße'", "Grüße", 1),
    ("varchar", "'x '", "x ", 1),
    ("char(5)", "'ab '", "ab", 1),
    ("json", "'{\"a\" : [1,  \"é\"]} '", '{"a" : [1,  "é"]} ', 1),
    ("jsonb", "'{\"b\":1.00, \"a\":\"\\u0001\"}'", '{"a": "\\u0001", "b": 1.00}', 1),
    ("bytea", "'\\x00ff20'", b"\x00\xff\x20", 1),
    ("birthday", "'1999-12-31'", "1999-12-31", 13),
    ("price", "'9.5'", "9.50", 13),
    ("code", "'ab'", "ab", 1),
    ("int4[]", "'{}'", "[]", 1),
    ("int4[]", "'{{1,NULL},{3,4}}'", '[["1",null],["3","4"]]', 1),
    ("float8[]", "'{NaN,1e23}'", '["NaN","9.999999999999999e+22"]', 1),
    ("text[]", "ARRAY[E'q\"\\\\', E'\\n\\x01', 'null', '', NULL, 'é']",
     '["q\\"\\\\","\\n\\u0001","null","",null,"é"]', 1),
    ("bytea[]", "ARRAY['\\x00ff'::bytea, '']", '["\\\\x00ff","\\\\x"]', 1),
    ("jsonb[]", "ARRAY['{\"a\": \"b\"}'::jsonb]", '["{\\"a\\": \\"b\\"}"]', 1),
    ("timestamptz[]", "ARRAY['2026-11-30 00:00+00'::timestamptz]", '["2026-11-30T00:00:00Z"]', 1),
    ("char(3)[]", "ARRAY['a'::char(3)]", '["a"]', 1),
    ("mood[]", "ARRAY['sad'::mood]", '["sad"]', 1),
    ("birthday[]", "ARRAY['1999-12-31'::birthday, NULL]", '["1999-12-31",null]', 1),
    ("days", "'{1999-12-31}'", '["1999-12-31"]', 1),
]
# 14 cannot read the least interval, not even as it prints it.
if place.major() < 15:
    VALUES = [row for row in VALUES if "-2147483648 days" not in row[1]]

TYPES = """
    CREATE TYPE mood AS ENUM ('sad', 'Grüße', '', 'ends in a space ');
    CREATE DOMAIN birthday AS date CHECK (VALUE < '2020-01-01');
    CREATE DOMAIN price AS numeric(10, 2) NOT NULL;
    CREATE DOMAIN code AS char(4);
    CREATE DOMAIN days AS date[] CHECK (array_length(VALUE, 1) < 3);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TABLE t (id int);
"""

HOSTILE = """
    SET DateStyle = 'SQL, DMY'; SET IntervalStyle = sql_standard; SET TimeZone = 'Asia/Kathmandu';
    SET extra_float_digits = -15; SET bytea_output = escape; SET array_nulls = off; SET xmloption = document;
    SET lc_monetary = 'C'; SET client_encoding = LATIN1;
"""
# Later majors know no other strings than the standard's.
HOSTILE += "SET standard_conforming_strings = off" if place.major() < 19 else ""


def filled(form, block):
    form = form if isinstance(form, bytes) else form.encode()
    blocks = max(1, -(-len(form) // block))
    return form if block == 1 else form.ljust(blocks * block)


def same(n, back):
    """Whether `back` is the value again. Blanks at the end of a char(n) are none of it."""
    text = "" if VALUES[n][0].startswith("char") else "::text"
    return f"{back}{text} = c{n}{text}"


def make(db):
    """All values, each in a column of its own type."""
    with db.connect(client_encoding="utf8") as c:
        c.execute(TYPES)
        columns = ", ".join(f"{value}::{kind} AS c{i}" for i, (kind, value, *_) in enumerate(VALUES))
        c.execute(f"CREATE TABLE typed AS SELECT {columns}")


@pytest.fixture(scope="module")
def typed(cluster):
    db = Database(cluster)
    make(db)
    return db


def forms(connection):
    """What is sealed of each."""
    opened = ", ".join(f"envelope_decrypt('t', envelope_encrypt_as('t', c{i}))" for i in range(len(VALUES)))
    return [bytes(form) for form in connection.execute(f"SELECT {opened} FROM typed", binary=True).fetchone()]


EXPECTED = [filled(form, block) for _, _, form, block in VALUES]


def test_forms(typed):
    with typed.connect() as c:
        assert forms(c) == EXPECTED


def test_no_setting_changes_a_form(typed):
    with typed.connect() as c:
        c.execute(HOSTILE)
        assert forms(c) == EXPECTED


def test_values_come_back(typed):
    """Of the same type, and the same text, so that -0 and 1.00 are themselves; in sessions of other settings too."""
    with typed.connect() as one, typed.connect() as other:
        other.execute(HOSTILE)
        one.execute("CREATE TABLE sealed (n int, v bytea)")
        for n in range(len(VALUES)):
            one.execute(f"INSERT INTO sealed SELECT {n}, envelope_encrypt_as('t', c{n}, 'x') FROM typed")
        for n, (kind, *_) in enumerate(VALUES):
            back = f"envelope_decrypt_as('t', v, c{n}, 'x')"
            for c in (one, other):
                found = c.execute(f"SELECT {same(n, back)}, pg_typeof({back}) = pg_typeof(c{n}) "
                                  f"FROM typed, sealed WHERE n = {n}").fetchone()
                assert found == (True, True), VALUES[n]


@pytest.mark.parametrize("kind, values", [
    ("bool", ["true", "false"]), ("int4", ["0", "'-2147483648'"]), ("numeric", ["0", "-1234567890123456789012345678.9"]),
    ("date", ["'infinity'", "'2026-11-30'", "'4714-11-24 BC'"]), ("interval", ["'0'", "'-1 year -1 day -01:01:01.5'"]),
    ("inet", ["'::'", "'10.0.0.1/8'"]), ("mood", ["'sad'", "'Grüße'", "''"]), ("float8", ["0", "'-1.5e-300'"])])
def test_a_length_tells_the_type_alone(typed, kind, values):
    lengths = {typed.value(f"SELECT length(envelope_encrypt_as('t', {value}::{kind}))") for value in values}
    assert len(lengths) == 1


def test_null(typed):
    assert typed.value("SELECT envelope_encrypt_as('t', NULL::date)") is None
    assert typed.value("SELECT envelope_decrypt_as('t', NULL, NULL::date)") is None
    for call in ("envelope_encrypt_as(NULL, 1)", "envelope_encrypt_as('t', 1, NULL)",
                 "envelope_decrypt_as(NULL, '', NULL::int)", "envelope_decrypt_as('t', '', NULL::int, NULL)"):
        with fails("22023"):
            typed.sql(f"SELECT {call}")


@pytest.mark.parametrize("kind", ["point", "money", "xml", "bit(3)", "int4range", "t", "oid", "name", "int2vector",
                                  "point[]", "days[]", "tsvector"])
def test_types_without_a_form(typed, kind):
    with fails("0A000") as caught:
        typed.sql(f"SELECT envelope_encrypt_as('t', NULL::{kind})")
    assert kind.split("[")[0].split("(")[0] in str(caught.value)
    with fails("0A000"):
        typed.sql(f"SELECT envelope_decrypt_as('t', NULL, NULL::{kind})")


@pytest.mark.parametrize("value", ["'[2:3]={1,2}'::int[]", "'[0:0][1:1]={{1}}'::int[]", "'ends in a space '::mood",
                                   "ARRAY['ends in a space '::mood]"])
def test_values_without_a_form(typed, value):
    """What would not come back as it was."""
    with fails("0A000") as caught:
        typed.sql(f"SELECT envelope_encrypt_as('t', {value})")
    assert "ends in a space '" not in str(caught.value) and "{1" not in str(caught.value)


@pytest.mark.parametrize("plaintext, kind", [
    ("secret", "bool"), ("secret", "date"), ("secret", "mood"), ("secret", "json"), ("{\"secret\": ", "jsonb"),
    ("secret", "int4"), ("40000", "int2"), ("2147483648", "int4"), ("secret", "numeric"), ("-0", "numeric"),
    ("01", "int4"), ("1 ", "uuid"), ("2026-02-29", "date"), ("5874898-01-01", "date"), ("4714-11-23 BC", "date"),
    ("294277-01-01T00:00:00Z", "timestamptz"), ("2026-11-30T05:08:34", "timestamptz"), ("12:00:00+16:00", "timetz"),
    ("1e+23", "float8"), ("0.10000000000000001", "float8"), ("1e+400", "float8"), ("0.100000001", "float4"),
    ("P1M30DT", "interval"), ("10.0.0.1/8", "cidr"), ("10.0.0.1", "inet"),
    ("[1]", "int4[]"), ("[\"secret\"]", "int4[]"), ("[[\"1\"],[]]", "int4[]"), ("[\"\\\\xg0\"]", "bytea[]"),
    ("9" * 140_000, "numeric"), (" sad", "mood"), ("[\"sad \"]", "mood[]"), ("", "int4"), ("   ", "bool")])
def test_another_types_form_is_refused(typed, plaintext, kind):
    """The error names the type, and shows nothing of the value."""
    with fails("22P02") as caught:
        typed.sql(f"SELECT envelope_decrypt_as('t', envelope_encrypt('t', %s), NULL::{kind})", (plaintext.encode(),))
    told = f"{caught.value} {caught.value.diag.message_detail} {caught.value.diag.context}"
    assert plaintext.strip() == "" or len(plaintext) < 3 or plaintext.strip() not in told
    assert "secret" not in told
    name = typed.value(f"SELECT format_type('{kind}'::regtype, NULL)")
    assert name in told


@pytest.mark.parametrize("kind", ["text", "varchar", "char(3)", "json", "jsonb", "text[]"])
def test_what_is_no_utf8_is_no_text(typed, kind):
    with fails("22P02" if "[" in kind else "22021") as caught:
        typed.sql(f"SELECT envelope_decrypt_as('t', envelope_encrypt('t', '\\x22ff22'), NULL::{kind})")
    assert "ff" not in str(caught.value)


def test_of_what_the_value_is_is_told(db):
    """A statement may open values of many tables and columns: which of them is of another type?"""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, born envelope.sealed, pay envelope.sealed)")
    db.sql("SELECT envelope.set_policy('people', 'pay', value_type => 'int', bind => '{id}');"
           "SELECT envelope.set_policy('people', 'born', value_type => 'text', bind => '{id}')")
    for opens in ("envelope_decrypt_as", "envelope_decrypt_as_or_null"):
        if opens.endswith("null") and not db.value("SELECT to_regproc(%s) IS NOT NULL", (opens,)):
            continue
        with fails("22P02") as caught:
            db.sql(f"SELECT {opens}('people', envelope_encrypt('people', 'x'), NULL::int)")
        assert "people" in caught.value.diag.message_detail and "column" not in caught.value.diag.message_detail
        bound = "envelope.row_context('people', 'born', '1')"
        with fails("22P02") as caught:
            db.sql(f"SELECT {opens}('people', envelope_encrypt('people', 'x', {bound}), NULL::int, {bound})")
        assert 'column "born"' in caught.value.diag.message_detail
    with fails("22000") as caught:
        db.sql("SELECT envelope_decrypt_as('people', 'no value'::bytea, NULL::int)")
    assert "people" in caught.value.diag.message_detail


def test_unfilled_forms_and_other_blocks_open_too(typed):
    opened = "SELECT envelope_decrypt_as('t', envelope_encrypt('t', %s), NULL::{})"
    assert typed.value(opened.format("bool"), (b"true",)) is True
    assert typed.value(opened.format("int4"), (b"7" + b" " * 200,)) == 7
    for kind in ("text", "varchar", "bpchar"):
        assert typed.value(opened.format(kind), (b"a \xff" + bytes(13),)) == "a "
        assert typed.value(opened.format(kind), (b"\xff",)) == ""
    assert typed.value(opened.format("jsonb"), (b"[1]\xff\0",)) == [1]
    # Bytes end as they end.
    assert typed.value(opened.format("bytea"), (b"a\xff\0",)) == b"a\xff\0"
    assert typed.value("SELECT envelope_decrypt_text('t', envelope_encrypt('t', %s))", (b"a \xff\0\0",)) == "a "
    for bad in (b"a\xff\0b", b"\xff\xff\0", b"a\xffb\0"):
        with fails("22021"):
            typed.value("SELECT envelope_decrypt_text('t', envelope_encrypt('t', %s))", (bad,))
        with fails("22021"):
            typed.value(opened.format("text"), (bad,))


@pytest.mark.parametrize("form", ["infinity", "-infinity"])
def test_intervals_without_end(typed, form):
    """PostgreSQL 17 brought them. What means them there is an interval like others before."""
    with typed.connect() as c:
        sealed = c.execute("SELECT envelope_encrypt('t', %s)", (form.encode(),)).fetchone()
        if c.info.server_version < 170000:
            with fails("22P02"):
                c.execute("SELECT envelope_decrypt_as('t', %s::bytea, NULL::interval)", sealed)
        else:
            opened = "SELECT envelope_decrypt_as('t', envelope_encrypt_as('t', i), i)::text FROM (SELECT interval %s AS i) AS i"
            assert c.execute(opened.replace("%s", f"'{form}'")).fetchone() == (form,)
            assert c.execute("SELECT envelope_decrypt_as('t', %s::bytea, NULL::interval)::text", sealed).fetchone() == (form,)


def test_domains_hold(typed):
    """Their constraints are asked when a value comes back, in arrays as well."""
    sealed = "envelope_encrypt('t', convert_to({}, 'UTF8'))"
    for kind, form, state in [("birthday", "'2021-01-01'", "23514"), ("birthday[]", """'["2021-01-01"]'""", "23514"),
                              ("days", """'["1999-01-01","1999-01-01","1999-01-01"]'""", "23514"),
                              ("price[]", "'[null]'", "23502"), ("price[]", "'[\"123456789\"]'", "22003"),
                              ("code", "'abcde'", "22001")]:
        with fails(state) as caught:
            typed.sql(f"SELECT envelope_decrypt_as('t', {sealed.format(form)}, '{{}}'::{kind})" if "[" in kind else
                      f"SELECT envelope_decrypt_as('t', {sealed.format(form)}, NULL::{kind})")
        assert "2021" not in str(caught.value) and "abcde" not in str(caught.value)
    # One call, many rows: what is prepared of a domain is kept from row to row.
    typed.sql("CREATE TABLE many AS SELECT g, envelope_encrypt_as('t', g::positive) AS v FROM generate_series(1, 50) g")
    assert typed.value("SELECT sum(envelope_decrypt_as('t', v, NULL::positive)) FROM many") == 1275
    typed.sql("UPDATE many SET v = envelope_encrypt_as('t', -g) WHERE g = 50")
    with fails("23514"):
        typed.sql("SELECT envelope_decrypt_as('t', v, NULL::positive) FROM many")
    assert typed.value("SELECT envelope_decrypt_as('t', v, NULL::int) FROM many WHERE g = 50") == -50


def test_modifiers_of_domains_hold(typed):
    rounded = "SELECT envelope_decrypt_as('t', envelope_encrypt_as('t', 1.234), 0::price)::text"
    assert typed.value(rounded) == "1.23"
    assert typed.value("SELECT octet_length(envelope_decrypt_as('t', envelope_encrypt_as('t', 'ab'::text), NULL::code))") == 4


def test_an_enum_value_that_is_not_committed_yet(typed):
    """As PostgreSQL has it: its OID must not get into an index before."""
    with typed.connect(autocommit=False) as c:
        c.execute("SELECT envelope_encrypt_as('t', 'sad'::mood)")
        c.execute("ALTER TYPE mood ADD VALUE 'new'")
        with fails("55P04"):
            c.execute("SELECT envelope_decrypt_as('t', envelope_encrypt('t', 'new'), NULL::mood)")


def test_long_values(typed):
    with typed.connect() as c:
        for value in ("repeat('Grüße', 100000)", "repeat('a', 127)", "repeat('a', 128)", "repeat('a', 129)",
                      "array_fill('ab\"'::text, ARRAY[100, 1000])", "array_fill(1, ARRAY[3, 7, 2, 5, 1, 1])",
                      "array_agg(g) FROM generate_series(1, 10000) g", "repeat('9', 1000)::numeric"):
            expression, _, rest = value.partition(" FROM ")
            source = f"(SELECT {expression} AS v {'FROM ' + rest if rest else ''}) AS s"
            comes_back = f"SELECT envelope_decrypt_as('t', envelope_encrypt_as('t', v), v) = v FROM {source}"
            assert c.execute(comes_back).fetchone() == (True,), value


def test_stored_values_of_any_shape(typed):
    """Compressed, out of line, with a short header, expanded by PL/pgSQL."""
    typed.sql("CREATE TABLE stored (a int[], b text, c inet, d numeric)")
    typed.sql("ALTER TABLE stored ALTER a SET STORAGE EXTERNAL")
    typed.sql("INSERT INTO stored SELECT array_agg(g), repeat('x', 100000), '::1', 1.5 FROM generate_series(1, 5000) g")
    typed.sql("CREATE TABLE stored_sealed AS SELECT envelope_encrypt_as('t', a) AS a, envelope_encrypt_as('t', b) AS b, "
              "envelope_encrypt_as('t', c) AS c, envelope_encrypt_as('t', d) AS d FROM stored")
    assert typed.sql("SELECT envelope_decrypt_as('t', e.a, s.a) = s.a, envelope_decrypt_as('t', e.b, s.b) = s.b, "
                     "envelope_decrypt_as('t', e.c, s.c) = s.c, envelope_decrypt_as('t', e.d, s.d) = s.d "
                     "FROM stored s, stored_sealed e") == [(True,) * 4]
    typed.sql("""DO $$ DECLARE a int[] := '{1}'; b bytea; BEGIN
        FOR i IN 2 .. 5 LOOP a[i] := i; END LOOP;
        b := envelope_encrypt_as('t', a);
        IF envelope_decrypt_as('t', b, a) <> a THEN RAISE 'other'; END IF; END $$""")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "UTF8"])
def test_the_servers_encoding_changes_no_form(cluster, encoding):
    db = Database.__new__(Database)
    db.cluster, db.name = cluster, f"typed_{encoding.lower()}"
    cluster.sql(f"CREATE DATABASE {db.name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    db.sql('CREATE EXTENSION "pgrx-example"')
    with db.connect(client_encoding="utf8") as c:
        c.execute(TYPES.encode())
        columns = ", ".join(f"{value}::{kind} AS c{i}" for i, (kind, value, *_) in enumerate(VALUES))
        c.execute(f"CREATE TABLE typed AS SELECT {columns}".encode())
        assert forms(c) == EXPECTED
        for n in range(len(VALUES)):
            back = f"envelope_decrypt_as('t', envelope_encrypt_as('t', c{n}), c{n})"
            assert c.execute(f"SELECT {same(n, back)} FROM typed").fetchone() == (True,), VALUES[n]
        sealed = "envelope_encrypt('t', %s)"
        if encoding == "LATIN1":
            for kind in ("text", "jsonb"):
                with fails("22P05") as caught:
                    c.execute(f"SELECT envelope_decrypt_as('t', {sealed}, NULL::{kind})", ('"名"'.encode(),))
                assert "0x" not in str(caught.value)
            with fails("22P02"):
                c.execute(f"SELECT envelope_decrypt_as('t', {sealed}, NULL::mood)", ("名".encode(),))
        if encoding == "SQL_ASCII":
            for value in ("%b::text", "ARRAY[%b::text]", "to_jsonb(%b::text)"):
                with fails("22021") as caught:
                    c.execute(f"SELECT envelope_encrypt_as('t', {value})".replace("%b::text", "convert_from(%b, 'SQL_ASCII')"),
                              (b"4929\xf1",))
                assert "4929" not in str(caught.value)


def test_a_literal_without_a_type(typed):
    """PostgreSQL cannot tell what is meant."""
    with fails("42804"):
        typed.sql("SELECT envelope_encrypt_as('t', 'abc')")


def test_rights_and_damage_are_as_in_envelope_decrypt(typed):
    sealed = typed.value("SELECT envelope_encrypt_as('t', 1)")
    for state, arguments, user in [("42501", "'t', %s, NULL::int", typed.low), ("22000", "'t', %s, NULL::int, 'x'", "postgres")]:
        with fails(state):
            typed.sql(f"SELECT envelope_decrypt_as({arguments})", (sealed,), user=user)
    with fails("42501"):
        typed.sql("SELECT envelope_encrypt_as('t', 1)", user=typed.low)
    with fails("22000"):
        typed.sql("SELECT envelope_decrypt_as('t', 'abc', NULL::text)")


CAST = ["bool", "int2", "int4", "int8", "numeric", "float4", "float8", "date", "time", "timetz", "timestamp",
        "timestamptz", "interval", "uuid", "inet", "cidr", "json", "jsonb"]


@pytest.mark.parametrize("session", ["", HOSTILE])
def test_assigned_to_a_sealed_column_a_value_is_its_form(typed, session):
    """Filled, and in assignments only."""
    with typed.connect() as c:
        c.execute(session)
        c.execute("CREATE TEMP TABLE assigned (v envelope.sealed)")
        for n, (kind, *_) in enumerate(VALUES):
            if kind in [*CAST, "birthday", "price"]:
                c.execute(f"INSERT INTO assigned SELECT c{n} FROM typed")
                found = c.execute("SELECT v::bytea FROM assigned", binary=True).fetchone()
                assert found == (EXPECTED[n],), VALUES[n]
                c.execute("TRUNCATE assigned")
    with fails("42883"):
        typed.sql("SELECT envelope.is_sealed(1)")
    with fails("42804"):
        typed.sql("CREATE TEMP TABLE assigned (v envelope.sealed); INSERT INTO assigned VALUES ('(1,2)'::point)")


def test_what_is_assigned_is_sealed_by_the_trigger(typed):
    typed.sql("CREATE TABLE people (id int, born envelope.sealed)")
    typed.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('born')")
    typed.sql("INSERT INTO people VALUES (1, date '1999-12-31')")
    typed.sql("DO $$ DECLARE d date := '2000-01-01'; BEGIN INSERT INTO people VALUES (2, d); END $$")
    typed.sql("UPDATE people SET born = envelope_encrypt_as('people', date '2000-02-29') WHERE id = 2")
    opened = "SELECT envelope_decrypt_as('people', born, NULL::date)::text FROM people ORDER BY id"
    assert typed.sql(opened) == [("1999-12-31",), ("2000-02-29",)]
    assert typed.value("SELECT count(DISTINCT octet_length(born::bytea)) FROM people") == 1


def test_plans(typed):
    """Sealing is not folded into one value for all rows, opening goes into parallel workers."""
    with typed.connect() as c:
        c.execute("CREATE TABLE planned AS SELECT envelope_encrypt_as('t', 7) AS v FROM generate_series(1, 1000)")
        assert c.execute("SELECT count(DISTINCT v) FROM planned").fetchone() == (1000,)
        c.execute("ANALYZE planned")
        c.execute("SET parallel_setup_cost = 0; SET min_parallel_table_scan_size = 0; SET parallel_tuple_cost = 0")
        query = "SELECT sum(envelope_decrypt_as('t', v, NULL::int)) FROM planned"
        plan = "\n".join(line for (line,) in c.execute(f"EXPLAIN (ANALYZE, VERBOSE) {query}").fetchall())
        assert "Workers Launched: 2" in plan and "Partial Aggregate" in plan, plan
        assert c.execute(query).fetchone() == (7000,)
        labels = c.execute("SELECT proname::text, provolatile::text, proparallel::text, procost::int, proisstrict FROM pg_proc "
                           "WHERE proname IN ('envelope_encrypt_as', 'envelope_decrypt_as') GROUP BY 1, 2, 3, 4, 5 "
                           "ORDER BY 1").fetchall()
        assert labels == [("envelope_decrypt_as", "s", "s", 20, False), ("envelope_encrypt_as", "v", "s", 20, False)]


MOMENT = ("CASE WHEN isfinite(v) THEN (v::date - date '1970-01-01') * 86400000000::numeric "
          "+ extract(epoch FROM v::time) * 1000000 ELSE v::text::numeric END")

# As numbers that an outside reader gives: SQL of the value `v`.
OUTSIDE = {
    **dict.fromkeys(["bool", "int2", "int4", "int8", "numeric", "float8", "uuid", "text", "varchar", "json", "jsonb", "bytea",
                     "int4[]", "float8[]", "text[]", "bytea[]", "jsonb[]"], "v"),
    "date": "CASE WHEN isfinite(v) THEN (v - date '1970-01-01')::float8 ELSE v::text::float8 END",
    "time": "(extract(epoch FROM v) * 1000000)::int8",
    "timetz": "ROW((extract(epoch FROM v::time) * 1000000)::int8, extract(timezone FROM v)::int8)",
    "timestamp": MOMENT,
    "timestamptz": MOMENT,
    "interval": "ROW((extract(year FROM v) * 12 + extract(month FROM v))::int8, extract(day FROM v)::int8, "
                "((extract(hour FROM v) * 60 + extract(minute FROM v)) * 60000000 + extract(microseconds FROM v))::int8)",
    "float4": "v::text::float8", "inet": "host(v) || '/' || masklen(v)", "cidr": "v::text", "mood": "v::text",
}


def test_an_outside_reader_reads_them(typed):
    """With the key of the table, and no PostgreSQL."""
    with typed.connect() as c:
        c.execute("SET TimeZone = 'UTC'")
        c.execute("SELECT envelope_encrypt_as('t', 'makes the key'::text)")
        kek, wrapped, context = c.execute(
            "SELECT kek, wrapped, kms_context FROM envelope.wrapped_key JOIN envelope.data_key USING (key_id) "
            "JOIN envelope.keyring_table USING (keyring_id) WHERE relation::text = 'public.t'").fetchone()
        with open(kek.removeprefix("file://"), "rb") as f:
            dek = opener.unwrap(f.read(), wrapped, context)
        for n, (kind, *_) in enumerate(VALUES):
            if kind not in OUTSIDE:
                continue
            sealed, expected = c.execute(f"SELECT envelope_encrypt_as('t', v), {OUTSIDE[kind]} FROM (SELECT c{n} AS v FROM typed) s",
                                         binary=True).fetchone()
            found = outside.read("enum" if kind == "mood" else kind, opener.open_value(dek, sealed))
            assert found == expected or repr(found).lower() == repr(expected).lower(), VALUES[n]


# Values all over a type, from the number `g` and eight bytes that look random, as `r`; the form by PostgreSQL's own output.
RANDOM = {
    "date": ("date '4714-11-24 BC' + (r & 2147483647)::int % 2147483493", "v::text"),
    "timestamp": ("timestamp '1970-01-01' + (CASE WHEN r < 0 THEN r % 200000000000000 ELSE r % 9000000000000000 END) "
                  "* interval '0.001 seconds'",
                  "regexp_replace(v::text, ' ', 'T')"),
    "timestamptz": ("timestamptz '2000-01-01 00:00+00' + (r % 60000000000000) * interval '0.001 seconds'",
                    "replace(regexp_replace(v::text, ' ', 'T'), '+00', 'Z')"),
    "time": ("time '00:00' + (r % 86400000000) * interval '0.000001 seconds'", "v::text"),
    "interval": ("make_interval(months => (r % 100000)::int, days => (r % 777)::int * (g % 3), "
                 "secs => (g % 5) * (r / 3 % 1000000000) / 1000000.0)", "v::text"),
    "inet": ("CASE WHEN g % 3 = 0 THEN inet '0.0.0.0' + (r & 4294967295) ELSE set_masklen(rtrim(regexp_replace(regexp_replace("
             "md5(g::text), '(....)', '\\1:', 'g'), '[1-9a-f]{1,3}(?=:)', '0', 'g'), ':')::inet, g % 129) END",
             "host(v) || '/' || masklen(v)"),
    "float8": ("(r::float8 / 12345) * 10::float8 ^ (g % 500 - 250)", "v::text"),
    "float4": ("((r::float8 / 12345) * 10::float8 ^ (g % 40 - 30))::float4", "v::text"),
    "numeric": ("r::numeric / (10::numeric ^ (g % 30)) * (g % 3 - 1)", "v::text"),
    "int8": ("r", "v::text"),
    "uuid": ("md5(g::text)::uuid", "v::text"),
}


@pytest.mark.parametrize("kind", RANDOM)
def test_forms_are_postgresqls_text_in_iso(typed, kind):
    value, text = RANDOM[kind]
    with typed.connect() as c:
        c.execute("SET DateStyle = ISO; SET IntervalStyle = iso_8601; SET TimeZone = 'UTC'; SET extra_float_digits = 1")
        c.execute(f"""CREATE TEMP TABLE random AS SELECT v, {text} AS expected, envelope_encrypt_as('t', v) AS sealed FROM (
            SELECT ({value})::{kind} AS v FROM (SELECT g, ('x' || md5(g::text))::bit(64)::bigint AS r
                                             FROM generate_series(1, 3000) AS g) AS r OFFSET 0) AS v""")
        other = c.execute("SELECT expected, rtrim(envelope_decrypt_text('t', sealed)) FROM random WHERE expected "
                          "IS DISTINCT FROM rtrim(envelope_decrypt_text('t', sealed)) LIMIT 3").fetchall()
        assert other == []
        assert c.execute("SELECT count(DISTINCT v) > 1000, bool_and(envelope_decrypt_as('t', sealed, v)::text = v::text) "
                         "FROM random").fetchone() == (True, True)
