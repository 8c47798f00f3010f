"""The demo's steps, in order."""

import json
import os
import pathlib
import shutil

import psycopg
from show import check, heading, say, shown, table

from harness import place
from harness.disk import files_holding

DATA = pathlib.Path("/usr/share/iso-codes/json/iso_639-3.json")
# Long enough to occur nowhere by chance, and in no catalog.
NEEDLE = "Arbëreshë Albanian"
OPEN = "envelope_decrypt_text('language', name)"

_proxy = None
_most = 0


def count_requests_at(proxy, most):
    """A session that makes a key and uses it costs so many requests."""
    global _proxy, _most
    _proxy, _most = proxy, most


def give_to_server(path):
    """As root the server runs as `postgres`, who must be able to write there."""
    if os.geteuid() == 0:
        user = place.server_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def load(cluster):
    heading("A table loaded by COPY; the trigger seals the column `name`")
    languages = json.loads(DATA.read_text())["639-3"]
    with cluster.connect() as c:
        c.execute(shown('CREATE EXTENSION "pgrx-example"'))
        c.execute(shown("CREATE TABLE language (code text PRIMARY KEY, name bytea)"))
        c.execute(shown("CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON language\n"
                        "FOR EACH ROW EXECUTE FUNCTION envelope_seal('name')"))
        with c.cursor().copy(shown("COPY language FROM STDIN")) as copy:
            for one in languages:
                copy.write_row((one["alpha_3"], one["name"].encode()))
        say(f"{len(languages)} rows: every language of ISO 639-3, from Debian's iso-codes")
        table(c.execute(shown("SELECT relation, purpose, version, state, keks FROM envelope.keys")))
        opened = c.execute(shown(f"SELECT code, {OPEN} FROM language")).fetchall()
    check(dict(opened) == {one["alpha_3"]: one["name"] for one in languages}, "every name opens, as it was")
    if _proxy:
        check(_proxy.counts.total() <= _most, f"requests to the KMS so far: {dict(_proxy.counts)}")


def on_disk(cluster):
    heading("The bytes as they are stored, and opened")
    with cluster.connect() as c:
        table(c.execute(shown(
            f"SELECT code, substr(name, 1, 24) AS stored, octet_length(name) AS bytes,\n"
            f"       {OPEN} AS opened\n"
            "FROM language WHERE code IN ('deu', 'nor', 'vol', 'aae') ORDER BY code")))
        table(c.execute(shown("SELECT i.* FROM language, envelope.inspect(name) AS i WHERE code = 'vol'")))


def second_role(cluster):
    heading("Another role: it may read the table, but not open it")
    with cluster.connect() as c:
        c.execute(shown("CREATE ROLE analyst LOGIN"))
        c.execute(shown("GRANT SELECT ON language TO analyst"))
    with cluster.connect(user="analyst") as c:
        count = c.execute("SELECT count(*) FROM language").fetchone()[0]
        say(f"analyst counts {count} rows")
        try:
            c.execute(shown(f"SELECT {OPEN} FROM language"))
            check(False, "analyst must not open")
        except psycopg.Error as e:
            say(f"{e.diag.severity} {e.sqlstate}: {e.diag.message_primary}")
            check(e.sqlstate == "42501", "refused for want of a right")


def search(cluster):
    heading(f"Data files and WAL searched for a name that is in the table: {NEEDLE}")
    with cluster.connect() as c:
        check(c.execute(f"SELECT count(*) FROM language WHERE {OPEN} = %s", (NEEDLE,)).fetchone() == (1,),
              "it is there, when opened")
        c.execute("CHECKPOINT")
        found = files_holding(cluster.data, NEEDLE.encode())
        check(found == [], "no file of the cluster holds it")
        say("The same search, after the name went into a table without the trigger:")
        c.execute(shown(f"CREATE TABLE unsealed AS SELECT '{NEEDLE}'::text AS name"))
        c.execute("CHECKPOINT")
        found = files_holding(cluster.data, NEEDLE.encode())
        say(*(str(p.relative_to(cluster.data)) for p in found))
        check(any("pg_wal" in str(p) for p in found) and any("base" in str(p) for p in found),
              "found in the table's file and in WAL")
        c.execute("DROP TABLE unsealed")


def dump_and_restore(source, target, kind):
    heading("pg_dump into a second, new cluster")
    with target:
        archive = source.base / "shop.dump"
        source.client("pg_dump", "-Fc", "-f", archive)
        check(NEEDLE.encode() not in archive.read_bytes(), f"the dump does not hold {NEEDLE}")
        if kind == "file":
            put_away(source, target, archive)
        else:
            restore(target, archive)
        query = f"SELECT code, {OPEN} FROM language ORDER BY code"
        ours, theirs = source.sql(query), target.sql(query)
        check(ours == theirs, f"all {len(theirs)} rows open there and compare equal")


def restore(target, archive):
    # The role is no part of a database's dump.
    target.sql("CREATE ROLE analyst LOGIN")
    target.client("pg_restore", "--exit-on-error", "-j2", "-d", "postgres", archive)
    say("restored by pg_restore -j2: the wrapped keys are in the dump")


def put_away(source, target, archive):
    """A file KEK is in no dump: whoever has the dump alone has nothing."""
    directory = pathlib.Path(source.conf["envelope.file_kek_directory"])
    safe = directory.with_name("safe")
    say("The key file is put away, as if the second cluster were on a machine that never had it:",
        f"mv {directory} {safe}")
    directory.rename(safe)
    restore(target, archive)
    try:
        target.sql(f"SELECT {OPEN} FROM language LIMIT 1")
        check(False, "nothing must open without the KEK")
    except psycopg.Error as e:
        say(f"{e.diag.severity} {e.sqlstate}: {e.diag.message_primary}")
    say("Now the key file is copied by hand to where it was, as you would on a new machine:",
        f"cp -a {safe} {directory}")
    shutil.copytree(safe, directory)
    for path in (directory, *directory.iterdir()):
        give_to_server(path)
