"""Databases in other encodings: sealed text is UTF-8 everywhere."""

import pytest
from harness.document import blocks
from harness.keyrings import notices
from sqlstate import fails


@pytest.fixture
def in_encoding(cluster, database):
    def make(encoding):
        db = database.__new__(database)
        db.cluster, db.name, db.low = cluster, f"enc_{encoding.lower()}", None
        cluster.sql(f"DROP DATABASE IF EXISTS {db.name}")
        cluster.sql(f"CREATE DATABASE {db.name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        db.sql('CREATE EXTENSION "pgrx-example"')
        return db

    return make


@pytest.mark.parametrize("encoding,text", [("LATIN1", "Zoë"), ("EUC_JP", "名前"), ("WIN1251", "имя")])
def test_text_and_context_are_utf8(in_encoding, encoding, text):
    db = in_encoding(encoding)
    with db.connect(client_encoding="utf8") as c:
        c.execute('CREATE TABLE "të" (v bytea)' if encoding == "LATIN1" else "CREATE TABLE t (v bytea)")
        table = '"të"' if encoding == "LATIN1" else "t"
        c.execute(f"INSERT INTO {table} VALUES (envelope_encrypt_text('{table}', %s, %s))", (text, text))
        opened = f"SELECT envelope_decrypt_text('{table}', v, %s), envelope_decrypt('{table}', v, %s) FROM {table}"
        assert c.execute(opened, (text, text)).fetchone() == (text, text.encode())
        assert c.execute("SELECT envelope_context(%s, %s)", (text, "x")).fetchone() == (
            f"envelope/1 row,{len(text.encode())}:{text},1:x,",)
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(opened, (text, text)).fetchone() == (text, text.encode())
        # Errors come through, whatever the name of the table.
        with fails("22000"):
            c.execute(f"SELECT envelope_decrypt('{table}', v) FROM {table}")


@pytest.mark.parametrize("encoding, name, shown", [("LATIN1", "të", "t?"), ("EUC_JP", "名前", "??")])
def test_a_dropped_table_is_remembered_by_its_name(in_encoding, encoding, name, shown):
    db = in_encoding(encoding)
    seal = f"""CREATE TABLE {name} (v bytea); SELECT envelope_encrypt('{name}', 'x')"""
    with db.connect(client_encoding="utf8") as c:
        c.execute(f"{seal}; DROP TABLE {name}")
        got = notices(c)
        c.execute(seal)
    assert [severity for severity, *_ in got] == ["WARNING"] and f"a table public.{shown} that" in got[0][1]


def test_a_role_whose_name_is_in_another_encoding_makes_keys(in_encoding):
    """Roles are of all databases. What is done is kept in the history with the role's name, as far as it can be read."""
    latin, japanese = in_encoding("LATIN1"), in_encoding("EUC_JP")
    with latin.connect(client_encoding="utf8") as c:
        c.execute('DROP ROLE IF EXISTS "Größe latin1"')
        c.execute('CREATE ROLE "Größe latin1"')
    with japanese.connect(client_encoding="sql_ascii") as c:
        c.execute("CREATE TABLE t (v bytea)")
        c.execute("DO $$ DECLARE r name := (SELECT rolname FROM pg_authid WHERE rolname LIKE '%e latin1'); "
                  "BEGIN EXECUTE format('ALTER TABLE t OWNER TO %I; SET ROLE %I', r, r); END $$")
        c.execute("SELECT envelope_encrypt('t', 'x')")
        c.execute("RESET ROLE")
    assert japanese.sql("SELECT event, role FROM envelope.key_event") == [("create", "Gr??e latin1")]
    japanese.cluster.sql(f"DROP DATABASE {japanese.name}")
    with latin.connect(client_encoding="utf8") as c:
        c.execute('DROP ROLE "Größe latin1"')


def test_what_the_encoding_lacks_is_an_error_without_the_text(in_encoding):
    db = in_encoding("LATIN1")
    db.sql("CREATE TABLE t (v bytea)")
    db.sql("INSERT INTO t VALUES (envelope_encrypt('t', %s))", ("名前".encode(),))
    with fails("22P05") as caught:
        db.sql("SELECT envelope_decrypt_text('t', v) FROM t")
    assert "0x" not in str(caught.value) and "名" not in str(caught.value)


def test_the_trigger_seals_the_bytes_it_gets(in_encoding, database, cluster):
    """Text that is written into a bytea column is the server's encoding's bytes; the HINT's way opens it, and the
    recipe of docs/backup.md makes it text, in whatever database it is opened then."""
    db = in_encoding("LATIN1")
    db.people()
    for i, text in enumerate(("Müller", "Ã¼"), 1):
        # As a client that sends text: psycopg binds a str as text, which PostgreSQL casts to bytea.
        with db.connect(client_encoding="utf8") as c:
            c.execute(f"INSERT INTO people VALUES ({i}, '{text}')")
    with fails("22021") as caught:
        db.sql("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 1")
    hint = caught.value.diag.message_hint
    assert "convert_from(envelope_decrypt(" in hint and "'LATIN1'" in hint
    assert "ller" not in str(caught.value) + hint
    with db.connect(client_encoding="utf8") as c:
        by_hint = "SELECT convert_from(envelope_decrypt('people', ssn), 'LATIN1') FROM people ORDER BY id"
        assert c.execute(by_hint).fetchall() == [("Müller",), ("Ã¼",)]
        [recipe] = blocks("backup.md", "Text in another encoding", "sql")
        c.execute(recipe.replace("customers", "people"))
        opened = "SELECT envelope_decrypt_text('people', ssn), envelope_decrypt('people', ssn) FROM people ORDER BY id"
        assert c.execute(opened).fetchall() == [("Müller", "Müller".encode()), ("Ã¼", "Ã¼".encode())]


def test_backslashes_are_byteas_own(db):
    """Why documents write text by envelope_encrypt_text."""
    db.people()
    db.sql(r"INSERT INTO people VALUES (1, 'C:\101')")
    with fails("22P02"):
        db.sql(r"INSERT INTO people VALUES (2, 'CORP\jdoe')")
    db.sql(r"INSERT INTO people VALUES (3, envelope_encrypt_text('people', 'C:\101'))")
    db.sql(r"INSERT INTO people VALUES (4, convert_to('CORP\jdoe', 'UTF8'))")
    db.sql("INSERT INTO people VALUES (5, %s)", (rb"C:\101",))
    assert db.sql("SELECT id, envelope_decrypt_text('people', ssn) FROM people ORDER BY id") == [
        (1, "C:A"), (3, r"C:\101"), (4, r"CORP\jdoe"), (5, r"C:\101")]


def test_sql_ascii_seals_utf8_only_and_shows_no_byte(in_encoding):
    db = in_encoding("SQL_ASCII")
    db.sql("CREATE TABLE t (v bytea)")
    with db.connect(client_encoding="sql_ascii") as c:
        utf8 = "SELECT envelope_decrypt('t', envelope_encrypt_text('t', convert_from(%b, 'SQL_ASCII')))"
        assert c.execute(utf8, ("Zoë".encode(),)).fetchone() == ("Zoë".encode(),)
        with fails("22021") as caught:
            c.execute(utf8, (b"4929\xf1\x82A",))
        assert "f1" not in str(caught.value) and "4929" not in str(caught.value)


@pytest.mark.parametrize("arguments", ["%b, 'x'", "'x', %b", "'x', 'y', %b"])
def test_sql_ascii_binds_no_two_values_to_one_context(in_encoding, arguments):
    """Bytes that are not UTF-8 have nothing put in their place, which would make two of them one."""
    db = in_encoding("SQL_ASCII")
    with db.connect(client_encoding="sql_ascii") as c:
        context = f"SELECT envelope_context({arguments.replace('%b', '''convert_from(%b, 'SQL_ASCII')''')})"
        c.execute(context, ("Zoë".encode(),))
        for text in (b"a\xff", b"a\xfe"):
            with fails("22021"):
                c.execute(context, (text,))


@pytest.mark.parametrize("encoding, name", [("LATIN1", "për"), ("EUC_JP", "名前"), ("WIN1251", "имя"), ("UTF8", "名前"),
                                            ("SQL_ASCII", "për")])
def test_what_check_names_can_be_copied(in_encoding, encoding, name):
    """The statement that a row has runs as it stands there."""
    db = in_encoding(encoding)
    with db.connect(client_encoding="sql_ascii" if encoding == "SQL_ASCII" else "utf8") as c:
        def run(query):
            return c.execute(query.encode())

        def told():
            rows = run("SELECT relation, message FROM envelope.check()").fetchall()
            return [tuple(text.decode() if isinstance(text, bytes) else text for text in row) for row in rows]

        run(f'CREATE TABLE "{name}" (v bytea)')
        run(f'ALTER TABLE "{name}" ADD CONSTRAINT "{name} is" CHECK (envelope.is_sealed(v)) NOT VALID')
        (relation, message), = told()
        assert relation == f'public."{name}"'
        run(message.split(": ", 1)[1])
        assert told() == []
        run(f'CREATE TABLE ok (v bytea); CREATE STATISTICS "{name} s" ON (envelope_decrypt(\'ok\', v)) FROM ok')
        (relation, message), = told()
        assert f'"{name} s"' in message


@pytest.mark.parametrize("encoding, name", [("SQL_ASCII", b"n\xff"), ("EUC_JP", b"n\xa9\xa1"), ("LATIN1", b"n\xeb")])
def test_check_goes_on_beside_any_name(in_encoding, encoding, name):
    """Nobody takes it away from the others by the name of a table, or by a function."""
    db = in_encoding(encoding)
    db.sql("CREATE TABLE ok (v bytea)")
    db.sql("SELECT envelope.create_key('ok')")
    with db.connect(client_encoding=encoding.lower()) as c:
        c.execute(b'CREATE TABLE "' + name + b'" (v bytea CHECK (envelope_decrypt(\'ok\', v) IS NOT NULL))')
    db.sql("""DO $$ BEGIN EXECUTE 'CREATE FUNCTION big() RETURNS int LANGUAGE plpgsql AS $b$ BEGIN RETURN 1; END --'
              || repeat('x', 30000000) || '$b$'; END $$""")
    with db.connect(client_encoding="sql_ascii") as c:
        found = c.execute("SELECT ok FROM envelope.check() ORDER BY ok").fetchall()
    assert found == [(False,), (True,)]


@pytest.mark.parametrize("encoding, name", [("LATIN1", "größe"), ("EUC_JP", "名前"), ("WIN1251", "имя")])
def test_policies_in_other_encodings(in_encoding, encoding, name):
    """Names and bound text are what they are elsewhere: the context is UTF-8."""
    db = in_encoding(encoding)
    with db.connect(client_encoding="utf8") as c:
        c.execute(f"CREATE TABLE t ({name} text NOT NULL, plain text, sealed envelope.sealed)")
        c.execute("SELECT envelope.set_policy('t', 'sealed', 'source', source => 'plain', tag => %s, bind => %s)",
                  (name, [name]))
        c.execute("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW "
                  "EXECUTE FUNCTION envelope_seal('sealed=plain')")
        c.execute("INSERT INTO t VALUES (%s, %s)", (name, name))
        size = len(name.encode())
        context = f"envelope/1 row,{size}:{name},{size}:{name},"
        assert c.execute("SELECT envelope.row_context('t', 'sealed', %s)", (name,)).fetchone() == (context,)
        opened = "SELECT envelope_decrypt_text('t', sealed, %s) FROM t"
        assert c.execute(opened, (context,)).fetchone() == (name,)
        c.execute(f"ALTER TABLE t RENAME {name} TO {name}2")
        c.execute(f"ALTER TABLE t RENAME plain TO {name}")
        c.execute(f"UPDATE t SET {name} = {name}2 || '!'")
        assert c.execute(opened, (context,)).fetchone() == (name + "!",)
        assert c.execute("SELECT source, bound_columns FROM envelope.policies").fetchone() == (name, [name + "2"])


def test_a_policy_names_no_column_that_is_no_text(in_encoding):
    db = in_encoding("SQL_ASCII")
    with db.connect(client_encoding="sql_ascii") as c:
        c.execute(b'CREATE TABLE t (id int NOT NULL, "n\xff" int NOT NULL, v bytea, "s\xff" bytea)')
        for call in (b"'v', 'bytea', bind => ARRAY['n\xff']", b"'v', 'source', source => 'n\xff'", b"'s\xff', 'bytea'"):
            with fails("22021"):
                c.execute(b"SELECT envelope.set_policy('t', " + call + b")")
