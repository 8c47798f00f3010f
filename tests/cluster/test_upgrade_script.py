"""ALTER EXTENSION ... UPDATE from each release: the same catalog as a fresh one, object by object; what users built on
it stays; what the library does before."""

import itertools
import json
import pathlib
import re

import pytest
from fixtures import make as fixtures
from harness import objects, place, process, sealed
from harness.cluster import Cluster
from harness.work import Work
from sqlstate import fails

FIXTURES = pathlib.Path(fixtures.__file__).parent
# Older ones: from its release until the next version begins, the version at hand has fixtures, too.
VERSION = re.search(r'^version = "(.*)"', (place.ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
RELEASES = sorted(path.parent.name for path in FIXTURES.glob("*/dump.sql") if path.parent.name != VERSION)
# What 0.2.0 changed in the catalog of 0.1.0: columns and parameters that the library needs. The next one's are its own.
FROM_THE_FIRST = pytest.mark.parametrize("cluster_of", ["0.1.0"], indirect=True)
_numbers = itertools.count(1)
UPDATE = 'ALTER EXTENSION "pgrx-example" UPDATE'


def install(run, release, schema="public"):
    run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    run(f"CREATE EXTENSION \"pgrx-example\" SCHEMA {schema} VERSION '{release}'")


def all_objects(connection):
    return objects.described(lambda query, params=None: connection.execute(query, params).fetchall())


# -- the same catalog -----------------------------------------------------------------------------------------------


def test_there_is_a_way_from_every_release(cluster):
    default = cluster.sql("SELECT default_version FROM pg_available_extensions WHERE name = 'pgrx-example'")[0][0]
    ways = dict(cluster.sql("SELECT source, path FROM pg_extension_update_paths('pgrx-example') WHERE target = %s",
                            (default,)))
    assert RELEASES and all(ways[release] for release in RELEASES)


@pytest.mark.parametrize("schema", ["public", "crypto"])
@pytest.mark.parametrize("release", RELEASES)
def test_an_updated_catalog_is_a_fresh_one(cluster, database, release, schema):
    fresh, updated = database(cluster), database(cluster)
    for db in (fresh, updated):
        db.sql('DROP EXTENSION "pgrx-example"')
        db.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    fresh.sql(f'CREATE EXTENSION "pgrx-example" SCHEMA {schema}')
    install(updated.sql, release, schema)
    with fresh.connect() as one, updated.connect() as other:
        assert objects.differences(all_objects(one), all_objects(other)) != []
        other.execute(UPDATE)
        found = all_objects(one)
        assert len(found) > 400
        assert objects.differences(found, all_objects(other)) == []


@pytest.mark.parametrize("release", RELEASES)
def test_an_update_leaves_all_to_one_owner(own_cluster, database, release):
    """Whoever runs it: what it makes belongs to whom the rest belongs to. The extension writes as that role, and may be
    of no special rights by then."""
    cluster = own_cluster().start()
    cluster.sql("CREATE ROLE deploy SUPERUSER LOGIN")
    fresh, updated = database(cluster), database(cluster)
    for db in (fresh, updated):
        db.sql('DROP EXTENSION "pgrx-example"')
    fresh.sql('CREATE EXTENSION "pgrx-example"', user="deploy")
    install(lambda query: updated.sql(query, user="deploy"), release)
    with fresh.connect() as one, updated.connect() as other:
        other.execute(f"BEGIN; {UPDATE}")
        assert objects.differences(all_objects(one), all_objects(other)) == []
        other.execute("ROLLBACK")
        cluster.sql("ALTER ROLE deploy NOSUPERUSER")
        other.execute(UPDATE)
        # An event trigger's owner is a superuser.
        assert [line for line in objects.differences(all_objects(one), all_objects(other))
                if not line.startswith("event trigger ")] == []
    updated.sql("CREATE TABLE t (v bytea); SELECT envelope.create_key('t')")
    updated.sql("SELECT envelope.unfollow_keyring('t')")
    updated.sql("SELECT envelope.rotate_key('t')")
    assert updated.sql("SELECT * FROM envelope.check() WHERE NOT ok") == []


@pytest.mark.parametrize("change", [
    "COMMENT ON FUNCTION envelope.check(boolean, name[]) IS NULL",
    "COMMENT ON COLUMN envelope.reencryption.rows_unknown IS 'another'",
    "COMMENT ON CAST (envelope.table_ref AS oid) IS 'another'",
    "COMMENT ON EVENT TRIGGER envelope_watch_drops IS NULL",
    "GRANT SELECT ON envelope.key_use TO PUBLIC",
    "REVOKE SELECT (kek) ON envelope.wrapped_key FROM pg_database_owner; "
    "GRANT SELECT (kek) ON envelope.wrapped_key TO pg_monitor",
    "REVOKE SELECT ON envelope.keys FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION envelope.keep_out() TO PUBLIC",
    "REVOKE EXECUTE ON FUNCTION envelope.census FROM PUBLIC",
    "GRANT CREATE ON SCHEMA envelope TO PUBLIC",
    "DELETE FROM pg_init_privs WHERE objoid = 'envelope.keys'::regclass",
    "ALTER TABLE envelope.keyring ALTER limits DROP DEFAULT",
    "ALTER TABLE envelope.keyring ALTER limits SET DEFAULT '[]'",
    "ALTER TABLE envelope.keyring ALTER limits DROP NOT NULL",
    "ALTER TABLE envelope.followed_keyring ALTER origin TYPE varchar",
    "ALTER TABLE envelope.keyring ADD later int",
    "ALTER TABLE envelope.keyring ALTER kms_context SET STORAGE external",
    "ALTER TABLE envelope.keyring DROP CONSTRAINT keyring_minimum_version_check",
    "ALTER TABLE envelope.reencryption SET (fillfactor = 60)",
    "ALTER TABLE envelope.followed_keyring ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE envelope.followed_keyring REPLICA IDENTITY FULL",
    "ALTER TABLE envelope.followed_keyring OWNER TO pg_monitor",
    "DROP INDEX envelope.keyring_table_name",
    "DROP INDEX envelope.keyring_table_name; CREATE INDEX keyring_table_name ON envelope.keyring (table_name)",
    "DROP TRIGGER follow ON envelope.data_key",
    "ALTER TABLE envelope.data_key ENABLE TRIGGER follow",
    "ALTER EVENT TRIGGER envelope_watch_drops ENABLE",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) COST 1",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) VOLATILE",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) PARALLEL UNSAFE",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) STRICT",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) LEAKPROOF",
    "ALTER FUNCTION envelope_decrypt(regclass, bytea, text) OWNER TO pg_monitor",
    "ALTER FUNCTION envelope.session_stats ROWS 2",
    "ALTER FUNCTION envelope.replication_lag SECURITY INVOKER",
    "ALTER FUNCTION envelope.census RESET row_security",
    "CREATE OR REPLACE FUNCTION envelope.is_sealed(value bytea) RETURNS boolean LANGUAGE c IMMUTABLE STRICT "
    "PARALLEL SAFE AS 'pgrx-example', 'envelope_flush_cache_wrapper'",
    "CREATE OR REPLACE FUNCTION envelope.rotate_due(max_keys integer DEFAULT 99) RETURNS TABLE (relation text, "
    "key_id uuid, new_key_id uuid, sqlstate text, message text) LANGUAGE c VOLATILE PARALLEL UNSAFE "
    "AS 'pgrx-example', 'envelope_rotate_due_wrapper'",
    "CREATE OR REPLACE FUNCTION envelope.replication_lag() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL RESTRICTED "
    "SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 0::bigint'",
    "ALTER VIEW envelope.keys RESET (security_barrier)",
    "CREATE OR REPLACE VIEW envelope.stats AS SELECT * FROM envelope.session_stats() WHERE true",
    "ALTER EXTENSION \"pgrx-example\" DROP FUNCTION envelope.check(boolean, name[])",
    "CREATE FUNCTION envelope.more() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
    "ALTER EXTENSION \"pgrx-example\" ADD FUNCTION envelope.more()",
    "UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'pgrx-example'",
    "UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:] "
    "WHERE extname = 'pgrx-example'",
    "ALTER TYPE envelope.table_ref OWNER TO pg_monitor",
    "ALTER EXTENSION \"pgrx-example\" DROP CAST (regrole AS envelope.role_ref); "
    "DROP CAST (regrole AS envelope.role_ref)",
])
def test_the_comparison_sees(shown, change):
    session, as_it_is = shown
    with session.transaction(force_rollback=True):
        session.execute("SET LOCAL client_min_messages = error")
        for statement in change.split("; "):
            session.execute(statement)
        assert objects.differences(as_it_is, all_objects(session)) != []


@pytest.fixture(scope="module")
def shown():
    """A session in a database with the extension, and what it is made of."""
    with Cluster() as c:
        c.sql('CREATE EXTENSION "pgrx-example"')
        with c.connect() as session:
            as_it_is = all_objects(session)
            assert objects.differences(as_it_is, all_objects(session)) == []
            yield session, as_it_is


# -- a database of that release -------------------------------------------------------------------------------------


class Released:
    """A database with the catalog of a release and what that one sealed, in a cluster that runs."""

    def __init__(self, cluster, release):
        self.cluster, self.release, self.name = cluster, release, f"sealed{next(_numbers)}"
        fixture = FIXTURES / release
        keks = fixtures.install_keks(fixture, cluster)
        if not cluster.sql("SELECT 1 FROM pg_roles WHERE rolname = 'reader'"):
            cluster.sql("CREATE ROLE reader")
        cluster.sql(f"CREATE DATABASE {self.name}")
        install(self.sql, release)
        script = cluster.base / "dump.sql"
        script.write_text(fixtures.dump(fixture, keks))
        cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=self.name)
        self.cases = json.loads((fixture / "plaintexts.json").read_text())
        # The tables that the release had a sealed value of.
        self.tables = [table for table in sealed.PLAINTEXTS if any(f" FROM {table} " in case["open"] for case in self.cases)]
        assert len(self.tables) >= 7

    def stored(self):
        return sealed.stored(self.sql, self.tables)

    def sql(self, query, params=None, user="postgres"):
        return self.cluster.sql(query, params, self.name, user)

    def value(self, query, params=None, user="postgres"):
        return self.sql(query, params, user)[0][0]

    def everything_opens(self, run=None, without=()):
        """All but what is in some tables."""
        for case in self.cases:
            if any(table in case["open"] for table in without):
                continue
            rows = (run or self.sql)(case["open"])
            assert [fixtures.written(value) for (value,) in rows] == case["plaintexts"], case["open"]

    def works(self):
        """Keys are made and brought on, values sealed and opened: what the library at hand can do."""
        assert self.sql("SELECT * FROM envelope.check() WHERE NOT ok") == []
        before = self.value("SELECT count(*) FROM envelope.data_key")
        for table in self.tables:
            sealed.insert(self.sql, table, 60, "new")
            assert self.sql(sealed.opening(table))[-1][0] in ("new", b"new")
            self.sql(f"DELETE FROM {table} WHERE id = 60")
        assert self.value("SELECT count(*) FROM envelope.data_key") == before
        self.sql("CREATE TABLE first (v bytea)")
        self.sql("INSERT INTO first SELECT envelope_encrypt_text('first', 'used')")
        self.sql("SELECT envelope.rotate_key('people')")
        self.sql("CALL envelope.reencrypt('people', 'ssn', strict => true)")
        assert self.value("SELECT count(*) FROM envelope.census('people', 'ssn') WHERE state = 'decrypt-only'") == 0
        assert self.sql("SELECT state FROM envelope.keys WHERE relation = 'public.people' ORDER BY version DESC LIMIT 2"
                        ) == [("active",), ("decrypt-only",)]
        self.everything_opens()


@pytest.fixture(scope="module", params=RELEASES)
def cluster_of(request):
    """A cluster for databases of one release."""
    with Cluster() as c:
        yield c, request.param


@pytest.fixture
def released(cluster_of):
    return Released(*cluster_of)


def test_what_a_release_sealed_opens_after_the_update(released):
    """A re-encryption that was under way goes on."""
    released.everything_opens()
    released.sql("INSERT INTO envelope.reencryption (id, relation, column_name, key_id, blocks, window_blocks, found) "
                 "SELECT gen_random_uuid(), 'public.people', 'ssn', key_id, 1, 1, 2 FROM envelope.keys "
                 "WHERE relation = 'public.people' AND state = 'active'")
    released.sql(UPDATE)
    assert released.sql("SELECT finished_at, rows_plaintext, rows_of_others, rows_unknown, rows_destroyed "
                        "FROM envelope.progress") == [(None, 0, 0, 0, 0)]
    assert released.value("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'") != released.release
    released.everything_opens()
    # Two versions of a key, a grant and the keys of a dropped table came along.
    assert released.value("SELECT count(*) FROM envelope.keys WHERE relation = 'public.people'") == 2
    assert released.value("SELECT count(*) FROM envelope.keys WHERE orphaned") == 1
    assert released.sql("SELECT grantee, verb FROM envelope.key_privileges WHERE origin = 'grant' "
                        "AND relation = 'public.people'") == [
        ("reader", "decrypt")]
    released.works()


def test_before_the_update_values_open_and_are_sealed(released):
    """The library is the new one, the catalog the old one."""
    released.everything_opens()
    keys = released.value("SELECT count(*) FROM envelope.data_key")
    for table in released.tables:
        sealed.insert(released.sql, table, 50, "new")
        assert released.sql(sealed.opening(table))[-1][0] in ("new", b"new")
    assert released.value("SELECT count(*) FROM envelope.data_key") == keys
    sealed_before = released.stored()
    released.sql(UPDATE)
    assert released.stored() == sealed_before
    for table in released.tables:
        assert released.sql(sealed.opening(table))[-1][0] in ("new", b"new")
        released.sql(f"DELETE FROM {table} WHERE id = 50")
    released.works()


@FROM_THE_FIRST
@pytest.mark.parametrize("statement", [
    "INSERT INTO unused VALUES (1, 'x')",
    "SELECT envelope_encrypt('unused', 'x')",
    "SELECT envelope.create_key('unused')",
    "SELECT envelope.rotate_key('people')",
    "SELECT envelope.destroy_key(key_id, 'test', shred => true) FROM envelope.data_key WHERE state = 'decrypt-only'",
    "SELECT envelope.shred('people', 'test')",
    "SELECT envelope.import_keyring(envelope.export_keyring('people'))",
    "CALL envelope.reencrypt('people', 'ssn')",
])
def test_before_the_update_what_needs_it_says_so(released_once, statement):
    """55000 with the remedy, and nothing is changed."""
    before = sealed.catalog(released_once.sql), released_once.stored()
    with fails("55000") as caught:
        released_once.sql(statement)
    assert UPDATE in caught.value.diag.message_hint
    assert (sealed.catalog(released_once.sql), released_once.stored()) == before
    assert released_once.sql("SELECT * FROM unused") == []


@FROM_THE_FIRST
def test_before_the_update_the_rest_goes_on(released):
    run = released.sql
    exported = released.value("SELECT envelope.export_keyring('people')::text")
    assert exported
    found = run("SELECT DISTINCT sqlstate, message FROM envelope.check() WHERE NOT ok")
    assert [state for state, _ in found] == ["55000"]
    run("SELECT envelope.set_limits('people', '{\"rotate_after_seals\": 1}')")
    run("SELECT envelope.grant_key('people', 'reader', 'encrypt')")
    run("SELECT envelope.share_keyring('people', 'texts')")
    # The key's turn is over: it cannot be rotated yet, and seals on.
    keys = released.value("SELECT count(*) FROM envelope.data_key")
    for i in range(3):
        run("INSERT INTO people VALUES (%s, 'x')", (70 + i,))
    assert run("SELECT count(*) FROM envelope.data_key") == [(keys,)]
    run("DELETE FROM people WHERE id >= 70")
    run("SELECT envelope.set_limits('people', '{}')")
    assert run("SELECT count(*) FROM envelope.census('people', 'ssn') WHERE state = 'active'") == [(1,)]
    run("DROP TABLE renamed")
    assert released.value("SELECT count(*) FROM envelope.keys WHERE orphaned") == 2


@pytest.fixture(scope="module")
def released_once(cluster_of):
    released = Released(*cluster_of)
    released.sql("CREATE TABLE unused (id int, v bytea)")
    released.sql("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON unused FOR EACH ROW "
                 "EXECUTE FUNCTION envelope_seal('v')")
    return released


def test_sessions_go_on_through_the_update(released):
    with released.cluster.connect(released.name) as warm, released.cluster.connect(released.name) as open_one:
        run = running_in(warm)
        released.everything_opens(run)
        run("PREPARE opening AS SELECT envelope_decrypt('people', ssn) FROM people ORDER BY id")
        before = run("EXECUTE opening")
        open_one.execute("BEGIN; SELECT envelope_decrypt('parts', v) FROM parts")
        released.sql(UPDATE)
        open_one.execute("INSERT INTO parts VALUES (80, 'within'); COMMIT")
        assert run("EXECUTE opening") == before
        run("INSERT INTO people VALUES (80, 'warm')")
        run("CREATE TABLE later (v bytea)")
        run("INSERT INTO later VALUES (envelope_encrypt('later', 'x'))")
        released.everything_opens(lambda query: run(query)[:len(next(
            case for case in released.cases if case["open"] == query)["plaintexts"])])


def test_others_open_and_seal_while_it_runs(released):
    """At its end it locks what sessions read of tables. They wait for that moment, and go on."""
    with released.cluster.connect(released.name) as updating, released.cluster.connect(released.name) as other:
        run = running_in(other)
        run("SET statement_timeout = '60s'")
        released.everything_opens(run)
        updating.execute(f"BEGIN; {UPDATE}")

        def meanwhile():
            released.everything_opens(run)
            for table in released.tables:
                sealed.insert(run, table, 85, "meanwhile")
        work = Work(meanwhile)
        updating.execute("COMMIT")
        work.result()
        for table in released.tables:
            assert run(sealed.opening(table))[-1][0] in ("meanwhile", b"meanwhile")


def running_in(connection):
    def run(query, params=None):
        cursor = connection.execute(query, params)
        return cursor.fetchall() if cursor.description else None
    return run


def test_update_without_a_newer_version_changes_nothing(db):
    db.people(rows=["a"])
    with db.connect() as session:
        opening = "SELECT envelope_decrypt_text('people', ssn) FROM people"
        assert session.execute(opening).fetchall() == [("a",)]
        version = db.sql("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'")
        db.sql(UPDATE)
        assert db.sql("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'") == version
        assert session.execute(opening).fetchall() == [("a",)]
    assert db.sql(opening) == [("a",)]


LOGICAL = {"wal_level": "logical", "wal_retrieve_retry_interval": "200ms"}


@pytest.mark.parametrize("release, first", [*((release, "subscriber") for release in RELEASES), ("0.1.0", "publisher")])
def test_both_sides_of_a_subscription(own_cluster, release, first):
    """The subscriber first, and nothing stops. The other way around a subscription that lacks columns, as one of 0.1.0,
    waits for the subscriber's update, and then goes on."""
    here = Released(own_cluster(conf=LOGICAL).start(), release)
    there = own_cluster(conf={**LOGICAL, "envelope.default_kek": here.cluster.conf["envelope.default_kek"]}).start()
    there.sql("CREATE ROLE reader")
    there.sql(f"CREATE DATABASE {here.name}")

    def run(query, params=None):
        return there.sql(query, params, here.name)

    def arrives(number):
        here.sql(f"INSERT INTO people VALUES ({number}, 'sent')")
        process.wait_until(lambda: run("SELECT envelope_decrypt('people', ssn) FROM people WHERE id = %s", (number,))
                           == [(b"sent",)], "apply")

    install(run, release)
    script = here.cluster.base / "schema.sql"
    here.cluster.client("pg_dump", "-s", "-f", script, dbname=here.name)
    there.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=here.name)
    here.sql("CREATE PUBLICATION all_of_it FOR ALL TABLES")
    run(f"CREATE SUBSCRIPTION all_of_it CONNECTION 'host={here.cluster.base} port={here.cluster.port} user=postgres "
        f"dbname={here.name}' PUBLICATION all_of_it")
    process.wait_until(lambda: run("SELECT 1 FROM pg_subscription_rel WHERE srsubstate <> 'r'") == [], "copy")
    here.everything_opens(run)
    arrives(90)
    (run if first == "subscriber" else here.sql)(UPDATE)
    arrives(91)
    if first == "subscriber":
        here.sql(UPDATE)
    here.sql("SELECT envelope.rotate_key('people')")
    here.sql("CALL envelope.reencrypt('people', 'ssn')")
    if first == "publisher":
        lacking = "envelope.data_key"
        process.wait_until(lambda: lacking in there.log.read_text(), "the subscription stops")
        run(UPDATE)
    arrives(92)
    assert run("SELECT count(DISTINCT envelope.key_id_of(ssn)) FROM people") == [(1,)]
    assert run("SELECT * FROM envelope.check() WHERE NOT ok") == []
    with fails("55000") as caught:
        run("SELECT envelope.rotate_key('people')")
    assert "replication" in str(caught.value)
    run("ALTER SUBSCRIPTION all_of_it DISABLE")
    run("DROP SUBSCRIPTION all_of_it")


# -- what users built on it -----------------------------------------------------------------------------------------


def test_what_users_built_stays(released):
    run = released.sql
    run("CREATE ROLE operator LOGIN; CREATE ROLE clerk LOGIN")
    run("CREATE VIEW my_keys AS SELECT * FROM envelope.keys")
    run("CREATE VIEW my_progress AS SELECT * FROM envelope.progress")
    run("CREATE VIEW opened AS SELECT id, envelope_decrypt('people', ssn) AS ssn FROM people")
    run("CREATE MATERIALIZED VIEW told AS SELECT relation, count(*) FROM envelope.key_privileges GROUP BY 1")
    run("CREATE FUNCTION shape(value bytea) RETURNS uuid LANGUAGE sql BEGIN ATOMIC "
        "SELECT (envelope.inspect(value)).key_id; END")
    run("CREATE FUNCTION counted() RETURNS SETOF bigint LANGUAGE sql BEGIN ATOMIC "
        "SELECT rows FROM envelope.census('people', 'ssn'); END")
    run("CREATE TABLE mine (id int PRIMARY KEY, v bytea DEFAULT envelope_encrypt_text('texts', 'unsaid'), "
        "key uuid GENERATED ALWAYS AS (envelope.key_id_of(v)) STORED, CHECK (envelope.is_sealed(v)))")
    run("CREATE INDEX mine_key ON mine (envelope.key_id_of(v))")
    run("CREATE DOMAIN sealed AS bytea CHECK (envelope.is_sealed(VALUE))")
    run("REVOKE EXECUTE ON FUNCTION envelope.census, envelope.shred, envelope.inspect(bytea) FROM PUBLIC")
    run("GRANT EXECUTE ON FUNCTION envelope.shred TO operator")
    run("REVOKE EXECUTE ON PROCEDURE envelope.reencrypt FROM PUBLIC")
    run("GRANT EXECUTE ON PROCEDURE envelope.reencrypt TO operator WITH GRANT OPTION")
    run("REVOKE SELECT ON envelope.keys FROM PUBLIC; GRANT SELECT ON envelope.keys TO clerk")
    run("INSERT INTO mine (id) VALUES (1)")
    # By name: PostgreSQL keeps rights by object, and one of them is made anew.
    rights = ("SELECT p.proname, a.grantee::regrole::text, a.is_grantable FROM pg_proc p, aclexplode(p.proacl) a "
              "WHERE p.pronamespace = 'envelope'::regnamespace AND p.proname IN ('census', 'shred', 'inspect', "
              "'reencrypt') ORDER BY 1, 2", "SELECT relacl::text FROM pg_class WHERE oid = 'envelope.keys'::regclass")
    before = [run(query) for query in rights]
    assert ("reencrypt", "operator", True) in before[0]
    run(UPDATE)
    assert [run(query) for query in rights] == before
    check_what_users_built(run)
    run("INSERT INTO mine (id) VALUES (2)")
    with fails("42501"):
        released.sql("CALL envelope.reencrypt('people', 'ssn')", user="clerk")
    released.works()
    # A dump knows which rights are the user's.
    again = restored(released)
    assert [again(query) for query in rights] == before
    check_what_users_built(again)
    # What the grants named goes as any other role.
    run("DROP VIEW my_keys, my_progress, opened; DROP MATERIALIZED VIEW told; DROP FUNCTION shape, counted")
    for name in (released.name, f"{released.name}_again"):
        released.cluster.sql("DROP OWNED BY operator, clerk", dbname=name)
    run("DROP ROLE operator, clerk")


def check_what_users_built(run):
    assert run("SELECT count(*) FROM my_keys WHERE relation = 'public.people'")[0][0] >= 2
    run("SELECT * FROM my_progress")
    run("REFRESH MATERIALIZED VIEW told")
    assert run("SELECT count(*) > 0 FROM told") == [(True,)]
    assert run("SELECT ssn FROM opened WHERE id = 1") == [(b"123-45-6789",)]
    assert run("SELECT shape(v) = key FROM mine WHERE id = 1") == [(True,)]
    assert run("SELECT envelope_decrypt_text('texts', v) FROM mine WHERE id = 1") == [("unsaid",)]
    assert run("SELECT sum(c) > 0 FROM counted() c") == [(True,)]
    with fails("23514"):
        run("INSERT INTO mine VALUES (3, 'clear')")


# What a routine has that was made anew, by name: the rights of each role, and what else users can alter.
REMADE = ("SELECT p.proname, p.proowner::regrole::text, p.proconfig, ARRAY(SELECT DISTINCT COALESCE(r.rolname, 'gone') "
          "FROM aclexplode(p.proacl) a LEFT JOIN (SELECT oid, rolname FROM pg_roles UNION SELECT 0, 'public') r "
          "ON r.oid = a.grantee ORDER BY 1)::text FROM pg_proc p WHERE p.pronamespace = 'envelope'::regnamespace "
          "AND p.proname IN ('reencrypt', 'reencrypt_rows', 'reencrypt_window') ORDER BY 1")


@FROM_THE_FIRST
def test_the_entry_of_a_role_that_is_gone_is_no_right_of_all(released):
    """It is left out. What PUBLIC has it keeps."""
    run = released.sql
    run("CREATE ROLE leaver; CREATE ROLE stayer")
    run("REVOKE EXECUTE ON PROCEDURE envelope.reencrypt FROM PUBLIC")
    run("GRANT EXECUTE ON PROCEDURE envelope.reencrypt TO leaver, stayer")
    run("GRANT EXECUTE ON FUNCTION envelope.reencrypt_rows TO leaver")
    # As something other than DROP ROLE, which would refuse, leaves it.
    run("DELETE FROM pg_shdepend WHERE refobjid = 'leaver'::regrole; DELETE FROM pg_authid WHERE rolname = 'leaver'")
    assert [acl for *_, acl in run(REMADE)][0] == "{gone,postgres,stayer}"
    run(UPDATE)
    assert [acl for *_, acl in run(REMADE)] == ["{postgres,stayer}", "{postgres,public}", "{}"]
    run("DROP OWNED BY stayer; DROP ROLE stayer")


@FROM_THE_FIRST
def test_what_users_did_to_a_routine_that_is_made_anew_stays(released):
    """Its owner, its settings, that its owner may not call it."""
    run = released.sql
    run("CREATE ROLE keeper; CREATE ROLE user_of_it")
    run("ALTER FUNCTION envelope.reencrypt_rows SET work_mem = '8MB'")
    run("ALTER FUNCTION envelope.reencrypt_rows SET search_path = \"my schema\", pg_temp")
    run("ALTER FUNCTION envelope.reencrypt_rows OWNER TO keeper")
    run("GRANT EXECUTE ON FUNCTION envelope.reencrypt_rows TO user_of_it")
    run("ALTER FUNCTION envelope.reencrypt_window OWNER TO keeper")
    run("REVOKE EXECUTE ON FUNCTION envelope.reencrypt_window FROM keeper")
    before = run(REMADE)
    assert before[1] == ("reencrypt_rows", "keeper",
                         ["row_security=off", "work_mem=8MB", 'search_path="my schema", pg_temp'],
                         "{keeper,public,user_of_it}")
    assert before[2] == ("reencrypt_window", "keeper", None, "{public}")
    run(UPDATE)
    assert run(REMADE) == before
    # Whoever gave them, they are the owner's to take.
    assert run("SELECT DISTINCT a.grantor::regrole::text FROM pg_proc p, aclexplode(p.proacl) a "
               "WHERE p.oid = 'envelope.reencrypt_rows'::regproc") == [("keeper",)]
    run("REASSIGN OWNED BY keeper TO postgres; DROP OWNED BY keeper, user_of_it; DROP ROLE keeper, user_of_it")


@FROM_THE_FIRST
def test_an_update_that_something_stands_in_the_way_of_does_nothing(released):
    """A routine that gained a parameter is made anew: what depends on the old one is named, and all stays as it was."""
    released.sql("CREATE FUNCTION mine() RETURNS SETOF bigint LANGUAGE sql BEGIN ATOMIC "
                 "SELECT to_block FROM envelope.reencrypt_window('people', 'ssn', 1, true); END")
    with fails("2BP01") as caught:
        released.sql(UPDATE)
    assert "mine()" in caught.value.diag.message_detail
    assert released.value("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'") == released.release
    released.everything_opens()
    released.sql("DROP FUNCTION mine()")
    # Also what only another session has: it stands there to the session's end.
    released.sql("CREATE ROLE passer_by LOGIN")
    with released.cluster.connect(released.name, user="passer_by") as session:
        session.execute("CREATE TEMP VIEW short AS SELECT to_block FROM envelope.reencrypt_window('people', 'ssn', 1, true)")
        with fails("2BP01") as caught:
            released.sql(UPDATE)
        assert "short" in caught.value.diag.message_detail
    process.wait_until(lambda: released.sql("SELECT 1 FROM pg_class WHERE relname = 'short'") == [], "the view goes")
    released.sql("DROP ROLE passer_by")
    released.sql(UPDATE)
    released.works()


# -- afterwards -----------------------------------------------------------------------------------------------------


def restored(released):
    """A copy of the database by pg_dump and psql; what runs statements in it."""
    name = f"{released.name}_again"
    script = released.cluster.base / f"{name}.sql"
    released.cluster.client("pg_dump", "-f", script, dbname=released.name)
    released.cluster.sql(f"CREATE DATABASE {name}")
    released.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname=name)

    def run(query, params=None):
        return released.cluster.sql(query, params, name)

    return run


def test_dump_and_drop_after_the_update(released):
    released.sql(UPDATE)
    run = restored(released)
    assert sealed.catalog(run) == sealed.catalog(released.sql)
    released.everything_opens(run)
    assert run("SELECT * FROM envelope.check() WHERE NOT ok") == []
    with released.cluster.connect(released.name) as one, released.cluster.connect(f"{released.name}_again") as other:
        assert objects.differences(all_objects(one), all_objects(other)) == []
    # Columns of the extension's type go with it.
    lost = [table for (table,) in run("SELECT DISTINCT attrelid::regclass::text FROM pg_attribute "
                                      "WHERE atttypid = 'envelope.sealed'::regtype AND NOT attisdropped")]
    with fails("2BP01"):
        run('DROP EXTENSION "pgrx-example" CASCADE')
    run('SET envelope.allow_drop = on; DROP EXTENSION "pgrx-example" CASCADE')
    left = run("SELECT count(*) FROM pg_namespace WHERE nspname = 'envelope'")
    assert left == [(0,)]
    assert run("SELECT proname FROM pg_proc WHERE probin LIKE '%pgrx-example%'") == []
    assert run("SELECT evtname FROM pg_event_trigger") == []
    # Made again, with the rows of a dump, all opens.
    rows = released.cluster.base / "rows.sql"
    released.cluster.client("pg_dump", "-a", "-t", "envelope.*", "-e", "pgrx-example", "-f", rows, dbname=released.name)
    run('CREATE EXTENSION "pgrx-example"')
    released.cluster.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", rows, dbname=f"{released.name}_again")
    released.everything_opens(run, without=lost)
