"""What any release sealed opens with this build; the extension's update; a major upgrade by pg_upgrade."""

import json
import pathlib
import subprocess

import pytest
from fixtures import make as fixtures
from harness import place, process, sealed
from harness.cluster import Cluster

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
        kek = fixtures.install_kek(fixture / "kek", c)
        c.set(envelope__default_kek=kek)
        c.restart()
        script = c.base / "dump.sql"
        script.write_text((fixture / "dump.sql").read_text().replace(fixtures.KEK_PLACE, kek))
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


def test_this_version_has_its_fixtures(cluster):
    assert cluster.sql("SELECT default_version FROM pg_available_extensions WHERE name = 'pgrx-example'") in [
        [(version,)] for version in VERSIONS]


# -- the extension's update -----------------------------------------------------------------------------------------


def test_update_without_a_newer_version_changes_nothing(db):
    db.people(rows=["a"])
    with db.connect() as session:
        opening = "SELECT envelope_decrypt_text('people', ssn) FROM people"
        assert session.execute(opening).fetchall() == [("a",)]
        version = db.sql("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'")
        db.sql('ALTER EXTENSION "pgrx-example" UPDATE')
        assert db.sql("SELECT extversion FROM pg_extension WHERE extname = 'pgrx-example'") == version
        assert session.execute(opening).fetchall() == [("a",)]
    assert db.sql(opening) == [("a",)]


# -- pg_upgrade -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["--copy", "--link"])
def test_pg_upgrade(own_cluster, mode):
    """From one cluster to a new one of the same major, which goes the same way as to a later one: schema by dump, files
    as they are. The OIDs in the catalog's rows must still be those of the tables and roles."""
    old = own_cluster().start()
    old.sql("CREATE ROLE filler; DROP ROLE filler; CREATE ROLE reader")
    old.sql("CREATE DATABASE app")
    old.sql('CREATE EXTENSION "pgrx-example"', dbname="app")

    def on_old(query, params=None):
        return old.sql(query, params, "app")

    sealed.make(on_old, "reader")
    before = sealed.catalog(on_old), sealed.stored(on_old), triggers(on_old)
    old.stop()
    new = own_cluster(conf={"envelope.file_kek_directory": f"{old.data}.kek"})
    upgrade(old, new, mode)
    new.start()

    def on_new(query, params=None):
        return new.sql(query, params, "app")

    assert (sealed.catalog(on_new), sealed.stored(on_new), triggers(on_new)) == before
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


def triggers(run):
    """The catalog's triggers, how they fire, and the extension's members."""
    return (run("SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE tgfoid = "
                "'envelope.invalidate'::regproc ORDER BY 1, 2"),
            run("SELECT evtname, evtenabled FROM pg_event_trigger"),
            run("SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refobjid = "
                "(SELECT oid FROM pg_extension WHERE extname = 'pgrx-example') AND deptype = 'e' ORDER BY 1"),
            run("SELECT extversion, array(SELECT c::regclass::text FROM unnest(extconfig) c ORDER BY 1) "
                "FROM pg_extension WHERE extname = 'pgrx-example'"))


def upgrade(old, new, mode):
    done = subprocess.run(
        [place.PG_BIN / "pg_upgrade", "-U", "postgres", "-b", place.PG_BIN, "-B", place.PG_BIN, "-d", old.data,
         "-D", new.data, "-p", str(process.free_port()), "-P", str(process.free_port()), "-s", new.base,
         # Its default, and an option by name from PostgreSQL 16 only.
         *([] if mode == "--copy" else [mode])],
        cwd=new.base, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(new.base)}, capture_output=True,
        text=True, **process.server_identity())
    assert done.returncode == 0, done.stdout + done.stderr
