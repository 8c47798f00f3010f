"""The type envelope.sealed: text arrives as it was sent, a sealed value comes back as it is, and what compares two
sealed values is refused where it would be wrong."""

import asyncio

import asyncpg
import pg8000.dbapi
import pytest

from sqlstate import fails

# What bytea's own input would change or refuse.
TEXTS = ["plain", "", " ", "C:\\101", "\\x41", "\\x", "\\\\", "it's a \\' \"quote\"", "tab\tand\nline", "Zoë", "名前", "🔒\\x",
         "\\xf7", "a" * 5000]
UNDEFINED = "42883"


@pytest.fixture
def people(db):
    db.sql("CREATE TABLE people (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, "
           "ssn envelope.sealed CHECK (envelope.is_sealed(ssn)))")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    return db


def opened(db, table="people"):
    return [row[0] for row in db.sql(f"SELECT envelope_decrypt_text('{table}', ssn) FROM {table} ORDER BY id")]


def sealed(db, where="true"):
    """Values, as text."""
    return [row[0] for row in db.sql(f"SELECT ssn FROM people WHERE {where} ORDER BY id")]


# -- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["%s", "%t", "%b", "%s::text", "%s::varchar", "%s::envelope.sealed"])
def test_text_by_psycopg(people, parameter):
    for text in TEXTS:
        people.sql(f"INSERT INTO people (ssn) VALUES ({parameter})", (text,))
    assert opened(people) == TEXTS


def test_text_as_a_literal(people):
    for text in TEXTS:
        literal = text.replace("'", "''")
        people.sql(f"INSERT INTO people (ssn) VALUES ('{literal}')")
    assert opened(people) == TEXTS


def test_text_by_copy(people):
    with people.connect() as c:
        for options in ("", "WITH (FORMAT csv)"):
            with c.cursor().copy(f"COPY people (ssn) FROM STDIN {options}") as copy:
                for text in TEXTS:
                    if options:
                        copy.write('"' + text.replace('"', '""') + '"\n')
                    else:
                        copy.write_row((text,))
        with c.cursor().copy("COPY people (ssn) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["bytea"])
            for text in TEXTS:
                copy.write_row((text.encode(),))
    assert opened(people) == TEXTS * 3


def test_of_other_types(people):
    people.sql("INSERT INTO people (ssn) VALUES ('x y  '::char(9)), ('x y  '::varchar(9)), (%s)", (b"by\\tes",))
    assert opened(people) == ["x y", "x y  ", "by\\tes"]
    # Of a type that has a form, as that: tests/cluster/test_typed.py. There is none of these.
    for value in ("point '(1, 2)'", "'{1}'::int[]", "'{}'::xid8[]"):
        with fails("42804"):
            people.sql(f"INSERT INTO people (ssn) VALUES ({value})")


@pytest.mark.parametrize("encoding, text", [("LATIN1", "Zoë \\x41"), ("EUC_JP", "名前 \\101")])
def test_text_is_utf8_in_every_database(cluster, encoding, text):
    name = f"type_{encoding.lower()}"
    cluster.sql(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    with cluster.connect(name, client_encoding="utf8") as c:
        c.execute('CREATE EXTENSION "pgrx-example"; CREATE TABLE people (id int, ssn envelope.sealed)')
        # In clear it is shown as it is.
        c.execute("INSERT INTO people VALUES (1, %s), (2, %s::text), (3, %s)", (text, text, text.encode()))
        assert c.execute("SELECT DISTINCT ssn, ssn::bytea FROM people").fetchall() == [(text, text.encode())]
        # What cannot be shown in this encoding is shown as bytes, and is read back.
        c.execute("UPDATE people SET ssn = %s", ("🔒".encode(),))
        shown = c.execute("SELECT DISTINCT ssn FROM people").fetchone()[0]
        assert shown == "\\xf7e1:f09f9492"
        assert c.execute("SELECT %s::envelope.sealed::bytea", (shown,)).fetchone() == ("🔒".encode(),)
    cluster.sql(f"DROP DATABASE {name}")


def test_bytes_that_are_no_utf8(cluster):
    cluster.sql("CREATE DATABASE type_ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    with cluster.connect("type_ascii", client_encoding="SQL_ASCII") as c:
        c.execute('CREATE EXTENSION "pgrx-example"')
        for value in ("E'Zo\\xeb'", "E'Zo\\xeb'::text"):
            with fails("22021"):
                c.execute(f"SELECT {value}::envelope.sealed".encode())
        assert c.execute("SELECT E'Zo\\xc3\\xab'::envelope.sealed::bytea".encode()).fetchone()[0] == "Zoë".encode()
    cluster.sql("DROP DATABASE type_ascii")


# -- sealed values that come back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", ["%s", "%t", "%b::text", "%s::text", "%s::varchar", "%s::bytea"])
def test_what_was_read_can_be_written_back(people, parameter):
    people.sql("INSERT INTO people (ssn) VALUES ('C:\\101')")
    before = sealed(people)
    assert before[0].startswith("\\xf7e1")
    people.sql(f"UPDATE people SET ssn = {parameter}", (before[0],))
    people.sql(f"INSERT INTO people (ssn) VALUES ({parameter})", (before[0],))
    assert sealed(people) == before * 2


def test_bytes_are_bytes(people):
    people.sql("INSERT INTO people (ssn) VALUES ('C:\\101')")
    with people.connect() as c:
        value = c.execute("SELECT ssn FROM people", binary=True).fetchone()[0]
        assert bytes(value)[:2] == b"\xf7\xe1" and len(value) == 64
        c.execute("UPDATE people SET ssn = %b", (value,))
        c.execute("INSERT INTO people (ssn) VALUES (%t)", (value,))
        assert {bytes(v) for (v,) in c.execute("SELECT ssn FROM people", binary=True)} == {value}


@pytest.mark.parametrize("setting", ["hex", "escape"])
def test_it_is_shown_as_hex_whatever_bytea_output(people, setting):
    people.sql("INSERT INTO people (ssn) VALUES ('x')")
    with people.connect() as c:
        c.execute(f"SET bytea_output = '{setting}'")
        assert c.execute("SELECT ssn::text = '\\x' || encode(ssn::bytea, 'hex'), ssn FROM people").fetchone() == (
            True, sealed(people)[0])


OTHER_FORMS = {
    "upper case": "'\\x' || upper(encode(ssn::bytea, 'hex'))",
    "prefix in upper case": "replace(ssn::text, '\\xf7e1', '\\xF7E1')",
    "no prefix": "encode(ssn::bytea, 'hex')",
    "no prefix, upper case": "upper(encode(ssn::bytea, 'hex'))",
    "0x": "'0x' || encode(ssn::bytea, 'hex')",
    "escape": "encode(ssn::bytea, 'escape')",
    "base64": "encode(ssn::bytea, 'base64')",
    "base64 for URLs": "translate(encode(ssn::bytea, 'base64'), '+/', '-_')",
    "cut": "left(ssn::text, 100)",
    "cut in a byte": "left(ssn::text, 131)",
    "longer": "ssn::text || ' '",
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_in_another_form_it_is_refused(people, form):
    """Not sealed again: it would open to that text."""
    people.sql("INSERT INTO people (ssn) VALUES ('123-45-6789')")
    text = people.value(f"SELECT {OTHER_FORMS[form]} FROM people")
    for parameter in ("%s", "%s::text"):
        with fails("22P02") as caught:
            people.sql(f"UPDATE people SET ssn = {parameter}", (text,))
        assert caught.value.diag.message_hint
        assert text[8:40] not in str(caught.value) + str(caught.value.diag.context)
    # Its bytes in the binary protocol are that text, too.
    with people.connect() as c, fails("22P02"):
        c.execute("UPDATE people SET ssn = %s", (text.encode(),))
    assert opened(people) == ["123-45-6789"]


def test_copy_tells_the_line_and_no_more(people):
    with people.connect() as c, fails("22P02") as caught, c.cursor().copy("COPY people (ssn) FROM STDIN") as copy:
        copy.write("123-45-6789\n\\\\xf7e1 and a secret\n")
    assert caught.value.diag.context == "COPY people, line 2"


def test_that_form_of_what_nobody_has_sealed_is_text(people):
    """A key id that is in no catalog is none."""
    texts = ["f7e1" + "8" * 120, "9+E" + "f" * 90, "\\367\\341", "F7", "0xf7"]
    for text in texts:
        people.sql("INSERT INTO people (ssn) VALUES (%s)", (text,))
    assert opened(people) == texts


def test_a_sealed_value_of_another_table_is_refused(people):
    people.sql("CREATE TABLE others (v bytea)")
    value = people.value("SELECT envelope_encrypt_text('others', 'x')::envelope.sealed")
    with fails("22023"):
        people.sql("INSERT INTO people (ssn) VALUES (%s)", (value,))


@pytest.mark.parametrize("value", [b"\x00\xff", b"\xf7\xe1", b"\xf7\xe1" + bytes(100), b"\\xf7e1:41", b"\\xF7E1", b"",
                                   b"text", b"a\0b"])
def test_every_value_in_clear_comes_back_from_its_text(db, value):
    """Of a column that is not sealed yet; a dump writes that text."""
    text = db.value("SELECT %s::bytea::envelope.sealed", (value,))
    assert db.value("SELECT %s::envelope.sealed::bytea", (text,)) == value


# -- comparisons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query, sqlstate", [
    ("SELECT FROM people WHERE ssn = 'x'", UNDEFINED),
    ("SELECT FROM people WHERE ssn = 'x'::text", UNDEFINED),
    ("SELECT FROM people WHERE ssn = '\\x00'::bytea", UNDEFINED),
    ("SELECT FROM people WHERE ssn <> 'x'", UNDEFINED),
    ("SELECT FROM people WHERE ssn > 'x'", UNDEFINED),
    ("SELECT FROM people WHERE ssn IN ('x', 'y')", UNDEFINED),
    ("SELECT FROM people WHERE ssn = ANY ('{x,y}')", UNDEFINED),
    ("SELECT FROM people WHERE ssn LIKE 'x%'", UNDEFINED),
    ("SELECT FROM people WHERE ssn BETWEEN 'a' AND 'b'", UNDEFINED),
    ("SELECT FROM people WHERE ssn IS DISTINCT FROM 'x'", UNDEFINED),
    ("SELECT FROM people WHERE ssn IN (SELECT ssn FROM people)", UNDEFINED),
    ("SELECT FROM people a JOIN people b USING (ssn)", UNDEFINED),
    ("SELECT FROM people a JOIN people b ON a.ssn = b.ssn", UNDEFINED),
    ("SELECT FROM people WHERE (id, ssn) = (1, 'x')", UNDEFINED),
    ("SELECT CASE ssn WHEN 'x' THEN 1 END FROM people", UNDEFINED),
    ("SELECT nullif(ssn, 'x') FROM people", UNDEFINED),
    ("SELECT FROM people ORDER BY ssn", UNDEFINED),
    ("SELECT max(ssn) FROM people", UNDEFINED),
    ("SELECT count(DISTINCT ssn) FROM people", UNDEFINED),
    ("SELECT length(ssn) FROM people", UNDEFINED),
    ("SELECT substr(ssn, 1, 3) FROM people", UNDEFINED),
    ("CREATE INDEX ON people (ssn)", "42704"),
    ("CREATE UNIQUE INDEX ON people (ssn)", "42704"),
    ("ALTER TABLE people ADD UNIQUE (ssn)", "42704"),
    ("CREATE TABLE t (ssn envelope.sealed PRIMARY KEY)", "42704"),
    ("CREATE TABLE t (ssn envelope.sealed) PARTITION BY LIST (ssn)", "42704"),
    ("INSERT INTO people (ssn) VALUES ('x') ON CONFLICT (ssn) DO NOTHING", "42P10"),
])
def test_refused_when_it_is_parsed(people, query, sqlstate):
    with fails(sqlstate):
        people.sql(query)


def test_refused_in_a_prepared_statement(people):
    with people.connect() as c, fails(UNDEFINED):
        c.execute("PREPARE q AS SELECT FROM people WHERE ssn = $1")


def test_same_bytes_are_the_same(people):
    """What PostgreSQL does by itself, or a statement means of the value as it is stored."""
    people.sql("INSERT INTO people (ssn) VALUES ('x'), ('x'), (NULL), (NULL)")
    count = {
        "SELECT DISTINCT ssn FROM people": 3,
        "SELECT DISTINCT id, ssn FROM people ORDER BY id": 4,
        "SELECT ssn FROM people UNION SELECT ssn FROM people": 3,
        "SELECT ssn FROM people EXCEPT SELECT ssn FROM people": 0,
        "SELECT ssn FROM people INTERSECT SELECT ssn FROM people": 3,
        "SELECT ssn, count(*) FROM people GROUP BY ssn": 3,
        "SELECT FROM people a JOIN people b ON a.ssn OPERATOR(envelope.*=) b.ssn": 2,
        "SELECT FROM people a, people b WHERE a = b": 4,
        "WITH RECURSIVE r AS (SELECT ssn FROM people UNION SELECT ssn FROM r) SELECT * FROM r": 3,
    }
    with people.connect() as c:
        for query, rows in count.items():
            assert len(c.execute(query).fetchall()) == rows, query
        c.execute("SET enable_hashagg = off; SET enable_hashjoin = off")
        for query, rows in count.items():
            assert len(c.execute(query).fetchall()) == rows, query
    people.sql("CREATE INDEX ON people USING hash (ssn)")
    people.sql("ANALYZE people")


def test_writes_that_keep_a_value(people):
    people.sql("ALTER TABLE people ADD n int; INSERT INTO people (ssn) VALUES ('one'), ('two')")
    first = sealed(people)
    people.sql("UPDATE people SET ssn = ssn, n = 1")
    assert sealed(people) == first
    people.sql("INSERT INTO people (id, ssn, n) OVERRIDING SYSTEM VALUE VALUES (1, 'changed', 2) "
               "ON CONFLICT (id) DO UPDATE SET ssn = EXCLUDED.ssn, n = EXCLUDED.n")
    assert opened(people) == ["changed", "two"]
    people.sql("UPDATE people SET ssn = NULL WHERE id = 2")
    assert opened(people) == ["changed", None]


def test_a_trigger_that_compares_rows(people):
    people.sql("ALTER TABLE people ADD changed int DEFAULT 0")
    people.sql("CREATE FUNCTION count_changes() RETURNS trigger LANGUAGE plpgsql AS "
               "$$ BEGIN NEW.changed := OLD.changed + 1; RETURN NEW; END $$")
    people.sql("CREATE TRIGGER z BEFORE UPDATE ON people FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) "
               "EXECUTE FUNCTION count_changes()")
    people.sql("INSERT INTO people (ssn) VALUES ('x')")
    people.sql("UPDATE people SET ssn = ssn")
    assert people.value("SELECT changed FROM people") == 0
    people.sql("UPDATE people SET ssn = 'x'")
    assert people.value("SELECT changed FROM people") == 1


# -- functions ------------------------------------------------------------------------------------------------------


def test_functions_take_the_type_bytes_and_what_has_no_type(people):
    people.sql("INSERT INTO people (ssn) VALUES ('one')")
    text, value = people.sql("SELECT ssn::text, ssn::bytea FROM people")[0]
    version = "SELECT key_id FROM envelope.keys"
    for of in ("ssn", "ssn::bytea", f"'{text}'", f"'{text}'::bytea", "%s", "%t", "%b"):
        # Text in the binary protocol says that it is text, as it always did.
        for given in {"%s": [text, value], "%t": [text, value], "%b": [value]}.get(of, [None]):
            def run(query, of=of, args=given and (given,)):
                return people.value(f"{query.format(of)} FROM people", args)

            assert run("SELECT envelope_decrypt('people', {})") == b"one"
            assert run("SELECT envelope_decrypt_text('people', {})") == "one"
            assert run("SELECT envelope_decrypt_text(relation => 'people', sealed => {}, context => '')") == "one"
            assert run("SELECT envelope.is_sealed({})") is True
            assert run("SELECT envelope.key_id_of({})") == people.value(version)
            assert run("SELECT (envelope.inspect({})).plaintext_length") == 3
            assert run("SELECT envelope.reseal('people', {})::bytea") == value
    for nothing in ("NULL", "%s"):
        args = (None,) if nothing == "%s" else None
        assert people.value(f"SELECT envelope_decrypt('people', {nothing})", args) is None
        assert people.value(f"SELECT envelope.is_sealed({nothing})", args) is None
    # As they were, of literals that are none.
    assert people.sql("SELECT envelope.is_sealed('plain'), envelope.is_sealed('\\x00'), envelope.key_id_of('')") == [
        (False, False, None)]
    with fails("22000"):
        people.sql("SELECT envelope_decrypt('people', '\\x00')")


def test_what_opens_has_the_callers_rights(people):
    people.sql("INSERT INTO people (ssn) VALUES ('one'); ALTER TABLE people ADD plain text")
    people.sql(f"GRANT SELECT, INSERT ON people TO {people.low}")
    for query in ("SELECT envelope_decrypt('people', ssn) FROM people", "INSERT INTO people (ssn) VALUES ('x')"):
        with fails("42501"):
            people.sql(query, user=people.low)
    assert people.value("SELECT ssn FROM people", user=people.low) == sealed(people)[0]


# -- columns --------------------------------------------------------------------------------------------------------


def test_to_bytea_and_back_rewrites_nothing(people):
    people.sql("INSERT INTO people (ssn) SELECT 'x' FROM generate_series(1, 9)")
    file = "SELECT pg_relation_filenode('people')"
    before = people.value(file)
    values = sealed(people)
    people.sql("ALTER TABLE people ALTER ssn TYPE bytea USING ssn::bytea")
    assert people.value("SELECT pg_typeof(ssn)::text FROM people LIMIT 1") == "bytea"
    people.sql("INSERT INTO people (ssn) VALUES ('y')")
    people.sql("ALTER TABLE people ALTER ssn TYPE envelope.sealed")
    assert people.value(file) == before
    assert sealed(people)[:9] == values and opened(people)[9] == "y"
    with fails("23514"):
        people.sql("ALTER TABLE people DISABLE TRIGGER seal; INSERT INTO people (ssn) VALUES ('in clear')")
    # What comes out is asked for.
    with fails("42804"):
        people.sql("ALTER TABLE people ALTER ssn TYPE bytea")


def test_a_text_column_becomes_one(db):
    db.sql("CREATE TABLE t (id int, ssn text)")
    for i, text in enumerate(TEXTS):
        db.sql("INSERT INTO t VALUES (%s, %s)", (i, text))
    db.sql("ALTER TABLE t ALTER ssn TYPE envelope.sealed")
    # Programs read what they read before.
    assert [row[0] for row in db.sql("SELECT ssn FROM t ORDER BY id")] == TEXTS
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("UPDATE t SET ssn = ssn")
    assert opened(db, "t") == TEXTS
    assert db.value("SELECT bool_and(envelope.is_sealed(ssn)) FROM t")


def test_a_long_value(people):
    text = "".join(chr(0x4E00 + i % 5000) for i in range(200_000))
    people.sql("INSERT INTO people (ssn) VALUES (%s)", (text,))
    assert opened(people) == [text]
    people.sql("UPDATE people SET ssn = %s", (sealed(people)[0],))
    assert opened(people) == [text]


@pytest.mark.parametrize("domain", ["bytea", "envelope.sealed"])
def test_domains(db, domain):
    db.sql(f"CREATE DOMAIN national_id AS {domain}; CREATE DOMAIN ssn AS national_id")
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn ssn, n int)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    db.sql("INSERT INTO people VALUES (1, 'one'), (2, 'two')")
    db.sql("UPDATE people SET n = 1")
    assert opened(db) == ["one", "two"]
    assert db.value("SELECT bool_and(envelope.is_sealed(ssn)) FROM people")


def test_a_generated_column_is_refused(db):
    db.sql("CREATE TABLE people (a text, ssn envelope.sealed GENERATED ALWAYS AS (a::envelope.sealed) STORED)")
    db.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
    with fails("428C9"):
        db.sql("INSERT INTO people VALUES ('x')")


def test_the_extension_is_not_dropped_with_its_columns(people):
    people.sql("INSERT INTO people (ssn) VALUES ('one')")
    for how in ("", "CASCADE"):
        with fails("2BP01"):
            people.sql(f'DROP EXTENSION "pgrx-example" {how}')
    with fails("2BP01"):
        people.sql("DROP TYPE envelope.sealed CASCADE")
    # The way out: the column's type first, and the keys given up.
    people.sql("DROP TRIGGER seal ON people")
    people.sql("ALTER TABLE people DROP CONSTRAINT people_ssn_check, ALTER ssn TYPE bytea USING ssn::bytea")
    with people.connect() as c:
        c.execute("DELETE FROM envelope.keyring; DELETE FROM envelope.data_key")
        c.execute('DROP EXTENSION "pgrx-example"')
        assert bytes(c.execute("SELECT ssn FROM people").fetchone()[0])[:2] == b"\xf7\xe1"
        # Made anew, the type is another one, which a session that knew the first one finds.
        c.execute('CREATE EXTENSION "pgrx-example"')
        c.execute("CREATE TABLE again (id int, ssn envelope.sealed)")
        c.execute("CREATE TRIGGER seal BEFORE INSERT ON again FOR EACH ROW EXECUTE FUNCTION envelope_seal('ssn')")
        c.execute("INSERT INTO again VALUES (1, 'two')")
        assert c.execute("SELECT envelope_decrypt_text('again', ssn) FROM again").fetchone() == ("two",)


# -- dumps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def dumped(people):
    """Its CHECK and trigger stand in a schema that sorts before `envelope`; beside it a column that is not sealed yet."""
    people.sql("CREATE SCHEMA a; ALTER TABLE people SET SCHEMA a")
    for text in TEXTS:
        people.sql("INSERT INTO a.people (ssn) VALUES (%s)", (text,))
    people.sql("CREATE TABLE a.mixed (id int, v envelope.sealed)")
    people.sql("INSERT INTO a.mixed SELECT id, ssn FROM a.people")
    for i, value in enumerate([b"\x00\xff", b"\xf7\xe1cut", b"\\xf7e1:", b"C:\\101", "é".encode()], 100):
        people.sql("INSERT INTO a.mixed VALUES (%s, %s)", (i, value))
    return people


@pytest.mark.parametrize("how", ["plain", "inserts", "archive", "directory"])
def test_dump_and_restore(dumped, how):
    cluster, copy = dumped.cluster, f"copy_{dumped.name}"
    cluster.sql(f"CREATE DATABASE {copy}")
    to = cluster.base / f"{copy}.dump"
    if how in ("plain", "inserts"):
        cluster.client("pg_dump", *(["--inserts"] if how == "inserts" else []), "-f", to, dbname=dumped.name)
        cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", to, dbname=copy)
    else:
        cluster.client("pg_dump", "-Fd" if how == "directory" else "-Fc", "-f", to, dbname=dumped.name)
        cluster.client("pg_restore", "--exit-on-error", "-j4", "-d", copy, to)
    stored = ("SELECT id, ssn::bytea FROM a.people ORDER BY id", "SELECT id, v::bytea FROM a.mixed ORDER BY id")
    for query in stored:
        assert cluster.sql(query, dbname=copy) == dumped.sql(query)
    opening = "SELECT envelope_decrypt_text('a.people', ssn) FROM a.people ORDER BY id"
    assert [row[0] for row in cluster.sql(opening, dbname=copy)] == TEXTS
    cluster.sql("INSERT INTO a.people (ssn) VALUES ('C:\\101')", dbname=copy)
    assert cluster.sql(opening, dbname=copy)[-1] == ("C:\\101",)
    with fails("23514"):
        cluster.sql("ALTER TABLE a.people DISABLE TRIGGER seal; INSERT INTO a.people (ssn) VALUES ('x')", dbname=copy)
    cluster.sql(f"DROP DATABASE {copy}")


@pytest.mark.parametrize("form", ["text", "csv", "binary"])
def test_copy_out_and_in(dumped, form):
    dumped.sql("CREATE TABLE back (LIKE a.mixed)")
    with dumped.connect() as c:
        with c.cursor().copy(f"COPY a.mixed TO STDOUT (FORMAT {form})") as copy:
            data = b"".join(bytes(part) for part in copy)
        with c.cursor().copy(f"COPY back FROM STDIN (FORMAT {form})") as copy:
            copy.write(data)
    for table in ("back", "a.mixed"):
        assert dumped.value(f"SELECT count(*) FROM {table}") == len(TEXTS) + 5
    assert dumped.sql("SELECT id, v::bytea FROM back ORDER BY id") == dumped.sql(
        "SELECT id, v::bytea FROM a.mixed ORDER BY id")


# -- other drivers --------------------------------------------------------------------------------------------------


def test_asyncpg(people):
    async def run():
        c = await asyncpg.connect(host=str(people.cluster.base), port=people.cluster.port, user="postgres",
                                  database=people.name)
        try:
            for text in TEXTS:
                await c.execute("INSERT INTO people (ssn) VALUES ($1)", text)
            rows = await c.fetch("SELECT id, ssn, envelope_decrypt_text('people', ssn) AS opened FROM people ORDER BY id")
            assert [row["opened"] for row in rows] == TEXTS
            assert all(row["ssn"].startswith("\\xf7e1") for row in rows)
            # What it read it writes back, and it opens by itself.
            for row in rows:
                await c.execute("UPDATE people SET ssn = $1 WHERE id = $2", row["ssn"], row["id"])
                assert await c.fetchval("SELECT envelope_decrypt_text('people', $1)", row["ssn"]) == row["opened"]
            await c.executemany("INSERT INTO people (ssn) VALUES ($1)", [(text,) for text in TEXTS])
            await c.execute("INSERT INTO people (ssn) VALUES ($1::bytea)", b"C:\\101")
            value = await c.fetchval("SELECT ssn::bytea FROM people WHERE id = 1")
            assert await c.fetchval("SELECT envelope_decrypt_text('people', $1::bytea)", value) == TEXTS[0]
            # Without a type a parameter is of this one, for which the driver wants text.
            with pytest.raises(asyncpg.DataError):
                await c.fetchval("SELECT envelope_decrypt_text('people', $1)", value)
            with pytest.raises(asyncpg.UndefinedFunctionError):
                await c.fetch("SELECT FROM people WHERE ssn = $1", "x")
        finally:
            await c.close()

    asyncio.run(run())
    assert opened(people) == [*TEXTS, *TEXTS, "C:\\101"]


def test_pg8000(people):
    c = pg8000.dbapi.connect("postgres", unix_sock=f"{people.cluster.base}/.s.PGSQL.{people.cluster.port}",
                             database=people.name)
    try:
        cursor = c.cursor()
        for text in TEXTS:
            cursor.execute("INSERT INTO people (ssn) VALUES (%s)", (text,))
        # It sends bytes as hex, without saying that they are bytes.
        cursor.execute("INSERT INTO people (ssn) VALUES (%s::bytea)", (b"C:\\101",))
        cursor.execute("SELECT ssn, envelope_decrypt_text('people', ssn) FROM people ORDER BY id")
        rows = cursor.fetchall()
        assert [text for _, text in rows] == [*TEXTS, "C:\\101"]
        for value, text in rows:
            cursor.execute("SELECT envelope_decrypt_text('people', %s)", (value,))
            assert cursor.fetchone()[0] == text
        cursor.execute("UPDATE people SET ssn = %s WHERE id = 1", (rows[0][0],))
        c.commit()
    finally:
        c.close()
    assert sealed(people, "id = 1") == [rows[0][0]]
