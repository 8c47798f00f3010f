"""The audit: a line of JSON for each event of a key, in the server's log and nowhere else."""

import contextlib
import csv
import io

import psycopg
import pytest
from harness import faults, process
from harness.audit import Audit
from sqlstate import fails

NEEDLE = "a-plaintext-that-occurs-nowhere-else"
OPEN = "SELECT count(envelope_decrypt_text('people', ssn)) FROM people"
REQUEST_ID = "11111111-2222-3333-4444-555555555555"


@contextlib.contextmanager
def level(cluster, value):
    """While `envelope.audit` is `value`, for sessions that begin meanwhile."""
    cluster.sql(f"ALTER ROLE ALL SET envelope.audit = '{value}'")
    try:
        yield Audit(cluster)
    finally:
        cluster.sql("ALTER ROLE ALL RESET envelope.audit")


def of(line, *names):
    return tuple(line.get(name) for name in names)


@pytest.mark.parametrize("value, told", [
    ("off", []),
    ("ddl", ["unwrap", "create", "grant", "revoke", "set_limits", "unwrap", "check", "share", "unshare", "export",
             "drop_table", "adopt", "import"]),
    ("all", ["unwrap", "create", "grant", "revoke", "set_limits", "open", "unwrap", "check", "share", "unshare",
             "export", "drop_table", "adopt", "import"]),
])
def test_what_each_setting_tells(aws, value, told):
    with level(aws.cluster, value) as audit, aws.connect() as c:
        c.execute("CREATE TABLE people (ssn bytea)")
        c.execute("SELECT envelope.create_key('people')")
        c.execute(f"SELECT envelope.grant_key('people', '{aws.low}', 'decrypt')")
        c.execute(f"SELECT envelope.revoke_key('people', '{aws.low}', 'decrypt')")
        c.execute("""SELECT envelope.set_limits('people', '{"cache_ttl": 60}')""")
        c.execute("INSERT INTO people VALUES (envelope_encrypt_text('people', 'x'))")
        c.execute(OPEN)
        c.execute("SELECT envelope.check()")
        c.execute("CREATE TABLE beside (); CREATE TABLE next ()")
        c.execute("SELECT envelope.share_keyring('people', 'beside'), envelope.unshare_keyring('people', 'beside')")
        exported, = c.execute("SELECT envelope.export_keyring('people')::text").fetchone()
        c.execute("DROP TABLE beside, people")
        c.execute("SELECT envelope.adopt_keyring(keyring_id, 'next') FROM envelope.keys")
        c.execute("SELECT envelope.import_keyring(%s, 'next')", (exported,))
        assert audit.events() == told


def test_what_the_lines_hold(aws):
    aws.people(rows=["x"])
    key_id, keyring_id, kek = map(str, aws.sql("SELECT key_id, keyring_id, keks[1] FROM envelope.keys")[0])
    aws.sql(f"ALTER TABLE people OWNER TO {aws.low}")
    with level(aws.cluster, "all") as audit, aws.connect() as c:
        c.execute(f"SET ROLE {aws.low}")
        c.execute(OPEN)
        c.execute("SELECT envelope.grant_key('people', 'postgres', 'search')")
    unwrap, opened, grant = audit.lines()
    who = {"database": aws.name, "role": aws.low, "login_role": "postgres", "table": "public.people"}
    assert unwrap == {"event": "unwrap", **who, "key_id": key_id, "kek": kek, "kms_request_id": REQUEST_ID}
    assert opened == {"event": "open", **who, "key_id": key_id, "count": 1}
    assert grant == {"event": "grant", **who, "keyring_id": keyring_id, "grantee": "postgres", "verb": "search"}


@pytest.mark.parametrize("value", ["off", "all"])
def test_refusals_are_always_told(aws, proxy, value):
    aws.people(rows=["x"])
    aws.sql("GRANT ALL ON people TO PUBLIC; CREATE TABLE mine (v bytea)")
    aws.sql(f"ALTER TABLE mine OWNER TO {aws.low}")
    with level(aws.cluster, value) as audit:
        for statement in (OPEN, "INSERT INTO people VALUES (2, 'x')", "SELECT envelope.create_key('people')",
                          "SELECT envelope.create_key('mine', 'file:///etc/passwd')"):
            with fails("42501"):
                aws.sql(statement, user=aws.low)
        # Also where the error is caught, and where the options are.
        aws.sql("DO $$ BEGIN PERFORM envelope_decrypt('people', ssn) FROM people; "
                "EXCEPTION WHEN insufficient_privilege THEN END $$", user=aws.low)
        with aws.connect(aws.low, options="-c envelope.audit=off") as c, fails("42501"):
            c.execute(OPEN)
        # KMS refuses the server.
        proxy.fault("Decrypt", faults.deny)
        with fails("28000"):
            aws.sql(OPEN)
        refused = audit.lines("refuse")
    assert [of(line, "role", "sqlstate") for line in refused] == 6 * [(aws.low, "42501")] + [("postgres", "28000")]
    assert [line.get("table") for line in refused[:3]] == 3 * ["public.people"]
    assert refused[3]["kek"] == "file:///etc/passwd"
    assert "envelope.audit" in refused[5]["detail"]
    assert refused[6]["kms_request_id"] == REQUEST_ID and refused[6]["kek"].startswith("aws-kms://arn:")


def test_refusals_that_a_check_meets(aws, proxy):
    aws.people(rows=["x"])
    proxy.fault("*", faults.deny)
    audit = Audit(aws.cluster)
    assert aws.sql("SELECT sqlstate FROM envelope.check()") == [("28000",)]
    assert aws.sql("SELECT sqlstate FROM envelope.check_kek(%s)", (aws.cluster.conf["envelope.default_kek"],)) == [
        (None,), (None,), (None,), ("28000",)]
    assert [line["sqlstate"] for line in audit.lines("refuse")] == 2 * ["28000"]


def test_refusals_that_are_told_in_rows_or_not_at_all(aws, proxy):
    aws.people(rows=["x"])
    kek = aws.cluster.conf["envelope.default_kek"]
    aws.sql("""SELECT envelope.set_limits('people', '{"rotate_after_seals": 1}')""")
    aws.sql("INSERT INTO envelope.key_use SELECT gen_random_uuid(), key_id, 9, 9 FROM envelope.data_key")
    proxy.fault("*", faults.deny)
    audit = Audit(aws.cluster)
    assert aws.sql("SELECT sqlstate FROM envelope.rotate_due()") == [("28000",)]
    assert aws.sql("SELECT sqlstate FROM envelope.rewrap(%s, %s)", (kek, kek)) == [("28000",)]
    assert [line["sqlstate"] for line in audit.lines("refuse")] == 2 * ["28000"]
    # A rotation that nobody asked for.
    proxy.clear()
    with aws.connect() as c:
        c.execute("SELECT envelope.warm('people')")
        proxy.fault("*", faults.deny)
        c.execute("INSERT INTO people VALUES (2, 'y')")
    assert [line["sqlstate"] for line in audit.lines("refuse")] == 3 * ["28000"]


def test_the_life_of_a_key(aws):
    aws.people(rows=[NEEDLE])
    kek = aws.cluster.conf["envelope.default_kek"]
    first = aws.value("SELECT key_id FROM envelope.keys")
    with level(aws.cluster, "all") as audit, aws.connect() as c:
        for statement, params, told in (
            ("SELECT envelope.rotate_key('people', 'due')", None, ["unwrap", "rotate"]),
            ("CALL envelope.reencrypt('people', 'ssn', verify => false)", None, ["unwrap", "open"]),
            ("SELECT FROM envelope.rewrap(%s, %s)", (kek, kek), 2 * ["unwrap"] + 2 * ["rewrap"]),
            ("SELECT envelope.set_minimum_version('people', 2)", None, ["set_minimum_version"]),
            ("SELECT envelope.register_column('people', 'ssn')", None, ["register_column"]),
            ("SELECT envelope.unregister_column('people', 'ssn')", None, ["unregister_column"]),
            ("SELECT envelope.retire_key(%s, 'old')", (first,), ["retire"]),
            ("SELECT envelope.unretire_key(%s)", (first,), ["unretire"]),
            ("SELECT envelope.destroy_key(%s, 'over')", (first,), ["destroy"]),
            ("""SELECT envelope.set_limits('people', '{"rotate_after_seals": 1}')""", None, ["set_limits"]),
            ("INSERT INTO people VALUES (2, 'y')", None, ["unwrap", "rotate"]),
            ("SELECT envelope.shred('people', 'end')", None, 2 * ["destroy"]),
        ):
            before = len(audit.events())
            c.execute(statement, params)
            assert audit.events()[before:] == told, statement
        assert NEEDLE not in audit.text()
        assert [of(line, "key_id", "detail") for line in audit.lines("retire", "unretire")] == [
            (str(first), "old"), (str(first), None)]


def test_who_logged_in(db):
    """Not who it was made to look like."""
    db.people(rows=["x"])
    audit = Audit(db.cluster)
    with db.connect() as c:
        c.execute(f"SET SESSION AUTHORIZATION {db.low}")
        with fails("42501"):
            c.execute("SELECT envelope.create_key('people')")
    assert [of(line, "role", "login_role") for line in audit.lines()] == [(db.low, "postgres")]


def test_a_forged_line_has_a_context(own_cluster, database):
    """What tells an audit's line from one that RAISE LOG writes, where both are read: in a CSV log."""
    c = own_cluster(conf={"logging_collector": "on", "log_destination": "csvlog", "log_filename": "audit"}).start()
    db = database(c)
    db.people(rows=["x"])
    line = 'envelope audit: {"event":"create"}'
    db.sql(f"DO $$ BEGIN RAISE LOG '%', '{line}'; END $$", user=db.low)
    with fails("42501"):
        db.sql("SELECT envelope.create_key('people')", user=db.low)
    message, context = 13, 18
    logged = c.data / "log" / "audit.csv"

    def lines():
        rows = csv.reader(io.StringIO(logged.read_text()))
        # The last one may be under way.
        return [row for row in rows if len(row) > context and row[message].startswith("envelope audit: ")]

    process.wait_until(lambda: len(lines()) == 2, "both lines")
    rows = lines()
    assert [row[message] == line for row in rows] == [True, False]
    assert rows[0][context] and not rows[1][context]


def test_what_is_no_refusal_is_not_told(db):
    db.people(rows=["x"])
    audit = Audit(db.cluster)
    for sqlstate, statement in (("22000", "SELECT envelope_decrypt('people', '\\x00')"),
                                ("42710", "SELECT envelope.create_key('people')"),
                                ("42P01", "SELECT envelope_encrypt(0, '')")):
        with fails(sqlstate):
            db.sql(statement)
    assert audit.lines() == []


class TestOpened:
    """One line a statement, table, key and role; how many values, not which."""

    @pytest.fixture
    def audit(self, db):
        db.people(rows=["x"])
        db.sql("INSERT INTO people SELECT i, 'x' FROM generate_series(2, 1000) i")
        with level(db.cluster, "all") as audit:
            yield audit

    def test_one_line_for_many_rows(self, db, audit):
        db.sql(OPEN)
        assert [line["count"] for line in audit.lines("open")] == [1000]

    def test_a_line_each_statement_of_a_transaction(self, db, audit):
        with db.connect(autocommit=False) as c:
            for limit in (3, 5):
                c.execute(f"SELECT envelope_decrypt('people', ssn) FROM people LIMIT {limit}")
            assert [line["count"] for line in audit.lines("open")] == [3]
            c.rollback()
        assert [line["count"] for line in audit.lines("open")] == [3, 5]

    def test_what_a_failing_statement_has_opened(self, db, audit):
        with fails("22012"):
            db.sql("SELECT 1 / (7 - id) FROM (SELECT id, envelope_decrypt('people', ssn) AS opened FROM people "
                   "ORDER BY id OFFSET 0) p WHERE opened = 'x'")
        assert [line["count"] for line in audit.lines("open")] == [7]

    def test_a_terminated_session(self, db, audit):
        with pytest.raises(psycopg.OperationalError), db.connect(autocommit=False) as c:
            c.execute("SELECT envelope_decrypt('people', ssn) FROM people LIMIT 4")
            db.sql("SELECT pg_terminate_backend(%s, 10000)", (c.info.backend_pid,))
            c.execute("SELECT 1")
        assert [line["count"] for line in audit.lines("open")] == [4]

    def test_roles_and_tables_apart(self, db, audit):
        db.sql("CREATE TABLE other (v bytea); INSERT INTO other VALUES (envelope_encrypt('other', 'y'))")
        db.sql("CREATE FUNCTION lent(bytea) RETURNS bytea LANGUAGE sql SECURITY DEFINER SET search_path = public "
               "AS $$ SELECT envelope_decrypt('people', $1) $$")
        db.sql(f"GRANT SELECT ON people, other TO {db.low}; SELECT envelope.grant_key('other', '{db.low}', 'decrypt')")
        db.sql("SELECT lent(ssn), envelope_decrypt('other', v) FROM people, other WHERE id <= 2", user=db.low)
        lines = {of(line, "role", "login_role", "table", "count") for line in audit.lines("open")}
        assert lines == {("postgres", db.low, "public.people", 2), (db.low, db.low, "public.other", 2)}

    def test_parallel_workers_count_their_own(self, db, audit):
        with db.connect() as c:
            for setting in ("min_parallel_table_scan_size = 0", "parallel_setup_cost = 0", "parallel_tuple_cost = 0",
                            "max_parallel_workers_per_gather = 2"):
                c.execute(f"SET {setting}")
            assert "Workers Planned: 2" in str(c.execute("EXPLAIN " + OPEN).fetchall())
            c.execute(OPEN)
        assert sum(line["count"] for line in audit.lines("open")) == 1000

    def test_more_keys_than_are_kept_in_mind(self, db, audit):
        db.sql("CREATE TABLE many (t regclass, v bytea)")
        for i in range(70):
            db.sql(f"CREATE TABLE m{i} ()")
        db.sql("INSERT INTO many SELECT t, envelope_encrypt(t, 'x') FROM "
               "(SELECT ('m' || i)::regclass AS t FROM generate_series(0, 69) i) m")
        assert db.value("SELECT count(envelope_decrypt(t, v)) FROM many, generate_series(1, 2)") == 140
        assert sum(line["count"] for line in audit.lines("open")) == 140


def test_terms_asked_for_are_counted_by_table_key_and_role(db):
    """So that whoever tries one value after the other is seen."""
    db.sql("CREATE TABLE t (id int, v envelope.sealed, w envelope.sealed);"
           "SELECT envelope.set_policy('t', 'v', value_type => 'int'), envelope.set_policy('t', 'w', value_type => 'text');"
           "CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION envelope_seal('v', 'w');"
           "INSERT INTO t VALUES (1, '7', 'seven');"
           f"SELECT envelope.grant_key('t', '{db.low}', 'search');"
           "SELECT envelope.add_index('t', 'v', 'exact'), envelope.add_index('t', 'w', 'words');"
           "UPDATE envelope.column_index SET built = true")
    key_id = db.value("SELECT key_id::text FROM envelope.keys WHERE purpose = 'index'")
    with level(db.cluster, "all") as audit, db.connect(db.low) as c:
        c.execute("SELECT envelope_search('t', 'v', i) FROM generate_series(1, 1000) i")
        # The same question is answered once.
        c.execute("SELECT envelope_search('t', 'v', 7) FROM generate_series(1, 1000) i")
        c.execute("SELECT envelope_search_tokens('t', 'w', 'two words and two')")
        with fails("22P02"):
            c.execute("SELECT envelope_search('t', 'v', i::text || CASE i WHEN 5 THEN 'x' ELSE '' END) FROM generate_series(1, 9) i")
        c.execute("SELECT 1")
        db.sql("SELECT envelope.rotate_index_key('t')")
        c.execute("SELECT envelope_search('t', 'v', i) FROM generate_series(1, 10) i")
        lines = audit.lines("search")
    assert [of(line, "role", "table", "count") for line in lines] == [
        (db.low, "public.t", count) for count in (1000, lines[1]["count"], 3, 4, 10, 10)]
    assert lines[1]["count"] <= 2
    assert [line["key_id"] == key_id for line in lines[:4]] == 4 * [True]
    assert {line["key_id"] for line in lines[4:]} == {key_id, db.value(
        "SELECT key_id::text FROM envelope.keys WHERE purpose = 'index' AND state = 'active'")}


def test_a_line_goes_to_the_log_alone_and_says_nothing_else(db):
    """Neither the statement nor its context, which hold what the client sent."""
    db.people()
    db.sql("SELECT envelope.create_key('people')")
    heard = []
    with level(db.cluster, "all") as audit, db.connect(options="-c client_min_messages=debug5") as c:
        c.add_notice_handler(lambda notice: heard.append(notice.message_primary))
        with c.cursor().copy("COPY people FROM STDIN") as copy:
            copy.write_row((1, NEEDLE))
        c.execute(f"SELECT envelope_decrypt_text('people', ssn) = '{NEEDLE}' FROM people")
        c.execute("SELECT envelope.flush_cache()")
        c.execute(f"DO $$ BEGIN PERFORM envelope_decrypt_text('people', ssn) = '{NEEDLE}' FROM people; END $$")
    assert audit.events() == ["unwrap", "open", "unwrap", "open"]
    assert NEEDLE not in audit.text()
    assert heard and not any("audit" in message for message in heard)


def test_lines_are_ascii_in_every_encoding(cluster):
    cluster.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with level(cluster, "ddl") as audit, cluster.connect("latin") as c:
        c.execute('CREATE EXTENSION "pgrx-example"')
        name = '"größe ""x"""'
        c.execute(f"CREATE TABLE {name} (v bytea)")
        c.execute(f"SELECT envelope.create_key('{name}')")
        created, = audit.lines("create")
    assert created["table"] == "public." + name and created["database"] == "latin"
    assert audit.text().isascii()
