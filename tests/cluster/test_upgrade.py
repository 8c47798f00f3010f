"""What any release sealed opens with this build; a major upgrade by pg_upgrade."""

import json
import pathlib
import shutil

import pytest
from fixtures import make as fixtures
from harness import place, sealed, sealed_later
from harness.cluster import Cluster
from test_upgrade_script import RELEASES, UPDATE, Released

FIXTURES = pathlib.Path(fixtures.__file__).parent
VERSIONS = sorted(path.parent.name for path in FIXTURES.glob("*/dump.sql"))


# -- fixtures of every release --------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=VERSIONS)
def released(request):
    """A database restored from a release's dump, and what must open in it."""
    fixture = FIXTURES / request.param
    with Cluster() as c:
        c.sql("CREATE DATABASE sealed")
        c.sql("CREATE ROLE reader")
        script = c.base / "dump.sql"
        script.write_text(fixtures.dump(fixture, fixtures.install_keks(fixture, c)))
        c.client("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", script, dbname="sealed")
        yield c, json.loads((fixture / "plaintexts.json").read_text())


def test_everything_sealed_by_a_release_opens(released):
    cluster, cases = released
    assert len(cases) >= 7
    for case in cases:
        rows = cluster.sql(case["open"], dbname="sealed")
        assert [fixtures.written(value) for (value,) in rows] == case["plaintexts"], case["open"]


def test_its_keys_are_found_sound(released):
    cluster, _ = released
    assert cluster.sql("SELECT * FROM envelope.check() WHERE NOT ok", dbname="sealed") == []
    assert cluster.sql("SELECT count(*) > 7 FROM envelope.check()", dbname="sealed") == [(True,)]


def test_its_keys_seal_on(released):
    cluster, _ = released

    def run(query, params=None):
        return cluster.sql(query, params, "sealed")

    keys = run("SELECT count(*) FROM envelope.data_key")
    run("INSERT INTO people VALUES (100, 'new')")
    assert run("SELECT envelope_decrypt_text('people', ssn) FROM people WHERE id = 100") == [("new",)]
    run("DELETE FROM people WHERE id = 100")
    assert run("SELECT count(*) FROM envelope.data_key") == keys


# -- pg_upgrade -----------------------------------------------------------------------------------------------------

MODES = ["--copy", "--link"] + (["--swap"] if place.major() >= 18 else [])


@pytest.mark.parametrize("mode", MODES)
def test_pg_upgrade(own_cluster, mode):
    """From one cluster to a new one of the same major, which goes the same way as to a later one: schema by dump, files
    as they are. The OIDs in the catalog's rows must still be those of the tables and roles."""
    old = own_cluster().start()
    old.sql("CREATE ROLE filler; DROP ROLE filler; CREATE ROLE reader")
    old.sql("CREATE DATABASE app")
    old.sql('CREATE EXTENSION "pgrx-example"', dbname="app")
    on_old = on(old)
    sealed.make(on_old, "reader")
    before = state(on_old)
    old.stop()
    new = own_cluster(conf={"envelope.file_kek_directory": f"{old.data}.kek"})
    new.upgrade_from(old, mode)
    new.start()
    on_new = on(new)
    assert state(on_new) == before
    assert all(oid == named for _, oid, named in sealed.bindings(on_new))
    assert on_new("SELECT grantee::regrole::text FROM (SELECT grantee::oid FROM envelope.key_grant) g") == [("reader",)]
    assert sealed.opened(on_new) == sealed.PLAINTEXTS
    for table in sealed.PLAINTEXTS:
        sealed.insert(on_new, table, 50, "new")
        assert on_new(sealed.opening(table))[-1][0] in ("new", b"new")
    assert sealed.catalog(on_new)["data_key"] == before[0]["data_key"]
    # A dropped table is let go of, here too, and the extension is still one that can be dumped and dropped.
    on_new("DROP TABLE texts")
    assert ("-", 0, 0) in sealed.bindings(on_new)
    assert "COPY envelope.wrapped_key" in new.client("pg_dump", dbname="app")


def test_pg_upgrade_from_major_to_major(own_cluster):
    """From the oldest major at hand through all others to the one under test, each time into a cluster as initdb makes
    it. Where only one is at hand, to the same. The library is preloaded, keys are rotated on each, a table's are under two
    KEKs, and a role that owns nothing seals by its grant: nothing has to be set for the old key files. Beside it a database
    with policies, search indexes and typed values, and one whose catalog is the first release's until the last major."""
    servers = place.servers() if len(place.servers()) > 1 else place.servers() * 2
    conf = {"shared_preload_libraries": "pgrx-example"}
    old = own_cluster(conf=conf, initdb=["-k"], pg_bin=servers[0]).start()
    old.sql("CREATE ROLE filler; DROP ROLE filler; CREATE ROLE reader LOGIN")
    old.sql("CREATE DATABASE app")
    old.sql("CREATE DATABASE searched")
    on(old)('CREATE EXTENSION "pgrx-example"')
    on(old, "searched")('CREATE EXTENSION "pgrx-example"')
    sealed.make(on(old), "reader")
    kek = old.base / "data.kek" / "second.kek"
    kek.write_bytes(bytes(range(32)))
    kek.chmod(0o600)
    shutil.chown(kek, kek.parent.owner(), kek.parent.group())
    on(old)(f"SET envelope.allowed_keks = 'file://{kek}'; SELECT envelope.add_kek('people', 'file://{kek}')")
    on(old)("SELECT envelope.grant_key('people', 'reader', 'encrypt')")
    on(old)("GRANT SELECT, INSERT ON people TO reader")
    on(old)(f"ALTER DATABASE searched SET envelope.allowed_keks = 'file://{kek.parent}/default.kek,file://{kek}'")
    sealed_later.make(on(old, "searched"), "reader", f"file://{kek}")
    keks = {setting: old.conf.get(setting) for setting in ("envelope.default_kek", "envelope.allowed_keks")}
    released = Released(old, RELEASES[0])
    for setting in keks:
        on(old)(f"ALTER DATABASE {released.name} SET {setting} = '{old.conf[setting]}'")
    old.set(**{setting.replace(".", "__"): value for setting, value in keks.items()})
    for database in ("app", "searched", released.name):
        on(old, database)("ANALYZE")
    expected = {table: list(values) for table, values in sealed.PLAINTEXTS.items()}
    for hop, pg_bin in enumerate(servers[1:]):
        before = state(on(old))
        by_search = searched(on(old, "searched"))
        by_release = released.stored()
        old.stop()
        new = own_cluster(conf=conf, initdb=["-k"], pg_bin=pg_bin)
        new.upgrade_from(old, ("--link", "--copy", "--swap")[hop % (3 if place.major(pg_bin) >= 18 else 2)])
        new.start()
        run = on(new)
        assert state(run) == before
        assert sealed.opened(run) == expected
        assert all(oid == named for _, oid, named in sealed.bindings(run))
        assert run("SELECT * FROM envelope.check() WHERE NOT ok") == []
        assert run("SELECT DISTINCT cardinality(keks) FROM envelope.keys WHERE relation = 'public.people'") == [(2,)]
        assert new.sql("SELECT count(envelope_decrypt('people', ssn)) FROM people", dbname="app", user="reader") == [
            (len(expected["people"]) - 1,)]
        new.sql("INSERT INTO people VALUES (1000, 'by the reader')", dbname="app", user="reader")
        run("DELETE FROM people WHERE id = 1000")
        for table in expected:
            sealed.insert(run, table, 60 + 2 * hop, "new")
            expected[table].append("new" if isinstance(expected[table][0], str) else b"new")
        sealed.second_version(run, "people")
        sealed.insert(run, "people", 61 + 2 * hop, "after the rotation")
        expected["people"].append(b"after the rotation")
        assert run("SELECT * FROM envelope.check() WHERE NOT ok") == []
        assert run("SELECT count(DISTINCT envelope.key_id_of(ssn)) FROM people") == [(3 + hop,)]
        assert searched(on(new, "searched")) == by_search
        released.cluster = new
        assert released.stored() == by_release
        released.everything_opens()
        old = new
    assert place.major(old.pg_bin) == place.major()
    assert released.value("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'") == RELEASES[0]
    released.sql(UPDATE)
    assert all(oid == named for _, oid, named in sealed.bindings(released.sql))
    released.everything_opens()
    released.works()


def on(cluster, database="app"):
    """Runs one statement in a database of the test."""
    return lambda query, params=None: cluster.sql(query, params, database)


def searched(run):
    """What sealed_later made opens, and its indexes answer; all stored terms and the rights to keys, to be compared."""
    for query, expected in sealed_later.cases():
        assert [value for (value,) in run(query)] == expected, query
    assert run("SELECT * FROM envelope.check() WHERE NOT ok") == []
    return [run(query) for query in (
        "SELECT * FROM patients ORDER BY id", "SELECT * FROM visits ORDER BY id", "SELECT * FROM typed ORDER BY type",
        "SELECT * FROM envelope.column_index ORDER BY 1", "SELECT * FROM envelope.sealed_column ORDER BY 1",
        "SELECT * FROM envelope.key_privileges ORDER BY 1, 2, 3")]


def state(run):
    """What an upgrade must leave as it is."""
    return sealed.catalog(run), sealed.stored(run), triggers(run)


def triggers(run):
    """The catalog's triggers, how they fire, and the extension's members; not the types of rows and arrays, which later
    majors count among them."""
    return (run("SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE tgfoid = "
                "'envelope.invalidate'::regproc ORDER BY 1, 2"),
            run("SELECT evtname, evtenabled FROM pg_event_trigger ORDER BY 1"),
            run("SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refobjid = "
                "(SELECT oid FROM pg_extension WHERE extname = 'pgrx-example') AND deptype = 'e' AND NOT EXISTS (SELECT "
                "FROM pg_type t WHERE classid = 'pg_type'::regclass AND t.oid = objid AND (t.typrelid <> 0 "
                "OR t.typcategory = 'A')) ORDER BY 1"),
            run("SELECT extversion, array(SELECT c::regclass::text FROM unnest(extconfig) c ORDER BY 1) "
                "FROM pg_extension WHERE extname = 'pgrx-example'"))
