"""Where keys are in a backend's memory, read from outside: in locked pages while they are cached, and then nowhere."""

import base64
import contextlib
import json
import os
import resource
import secrets
import subprocess
import time

import psycopg
import pytest
from harness import faults, memory, openbao, process
from harness import moto as kms
from harness.cluster import Cluster
from harness.jwt import Issuer
from harness.proxy import FaultProxy
from harness.secrets_dir import SecretsDir
from harness.tls import Certificate
from interop import open as reader
from psycopg.pq import ExecStatus
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
# Beyond AWS-LC's threshold as well as below it.
USE = "SELECT envelope_decrypt('people', envelope_encrypt('people', repeat('x', n)::bytea)) FROM (VALUES (1), (5000)) v(n)"
WRAPS = ("SELECT w.wrapped, w.kms_context FROM envelope.wrapped_key w JOIN envelope.keys k USING (key_id) "
         "WHERE relation = %s ORDER BY k.version")


@pytest.fixture(scope="module")
def tls_cluster(moto):
    """A cluster that asks KMS over TLS, as every real one does."""
    with Certificate() as certificate, FaultProxy(moto.url, certificate) as proxy:
        conf = {"envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_endpoint_url": proxy.url}
        with Cluster(conf=conf, env={**kms.CREDENTIALS, "SSL_CERT_FILE": certificate.path}) as c:
            yield c


class Transit:
    """A cluster whose KEK is a key of OpenBao's, which it asks over TLS after a login by JWT."""

    def __init__(self, ends):
        issuer = Issuer()
        self.bao = ends.enter_context(openbao.OpenBao())
        files = ends.enter_context(SecretsDir())
        self.bao.create_key("kek")
        self.bao.key_policy("pg", "kek")
        self.bao.enable_auth("jwt")
        self.bao.jwt_role("pg", issuer, "pg")
        conf = {"envelope.default_kek": openbao.kek(self.bao, "kek", tls=True), "envelope.vault_auth": "jwt",
                "envelope.vault_role": "pg", "envelope.vault_jwt_file": files.write("jwt", issuer.token("postgres")),
                "envelope.vault_ca_file": self.bao.authority.ca}
        self.cluster = ends.enter_context(Cluster(conf=conf))

    def unwrap(self, wrapped, context):
        text = json.dumps(context, sort_keys=True, separators=(",", ":"))
        body = {"ciphertext": wrapped.decode(), "context": base64.b64encode(text.encode()).decode()}
        return base64.b64decode(self.bao.request("POST", "transit/decrypt/kek", body)["data"]["plaintext"])


@pytest.fixture(scope="module")
def transit():
    with contextlib.ExitStack() as ends:
        yield Transit(ends)


class Backend:
    """A session, and what is to be looked for in its memory."""

    def __init__(self, db, moto):
        self.db, self.moto, self.secrets = db, moto, {}
        self.c = db.connect()
        self.pid = self.c.info.backend_pid

    def know(self, table="public.people"):
        """The data keys of a table as this session sees them, unwrapped outside; `seal_key` is of the last."""
        for wrapped, context in self.c.execute(WRAPS, (table,)).fetchall():
            self.know_one(wrapped, context)

    def know_one(self, wrapped, context):
        kek = self.db.cluster.base / "data.kek" / "default.kek"
        if isinstance(self.moto, Transit):
            dek = self.moto.unwrap(bytes(wrapped), context)
        elif bytes(wrapped[:2]) == reader.WRAPPED:
            dek = reader.unwrap(kek.read_bytes(), bytes(wrapped), context)
            self.secrets["KEK"] = kek.read_bytes()
            self.secrets["wrap key"] = reader.expand(kek.read_bytes(), "envelope/1 wrap", 32)
        else:
            dek = self.moto.client().decrypt(CiphertextBlob=bytes(wrapped), EncryptionContext=context)["Plaintext"]
        self.seal_key = reader.expand(dek, "envelope/1 seal", 32)
        # As it came, as KMS writes it, and as HMAC takes it.
        forms = {"data key": dek, "half": dek[:16], "other half": dek[16:], "JSON": base64.b64encode(dek),
                 "hex": dek.hex().encode(), "inner pad": bytes(b ^ 0x36 for b in dek)}
        self.secrets.update({f"{form} {len(self.secrets)}": secret for form, secret in forms.items()})

    def cached_in(self):
        """The mappings that hold the key that seals. Nothing that it came from is anywhere, as soon as the client's
        thread has closed its connection."""
        process.wait_until(lambda: not memory.held(self.pid, self.secrets), f"none in memory of {[*self.secrets]}")
        return memory.holding(self.pid, self.seal_key)


@pytest.fixture(params=["file", "http", "https", "transit"])
def backend(request, database, moto):
    cluster = request.getfixturevalue({"file": "cluster", "http": "aws_cluster", "https": "tls_cluster",
                                       "transit": "transit"}[request.param])
    if request.param == "transit":
        moto, cluster = cluster, cluster.cluster
    if request.param == "http":
        request.getfixturevalue("proxy")
    db = database(cluster)
    db.people(rows=["secret"])
    backend = Backend(db, moto)
    with backend.c:
        yield backend


def test_the_search_finds_what_is_there(backend):
    text = f"needle {backend.pid}"
    backend.c.execute("SELECT set_config('application_name', %s, false)", (text,))
    assert memory.holding(backend.pid, text.encode())


def test_cached_keys_are_in_locked_pages_alone(backend):
    assert backend.c.execute(OPEN).fetchone() == ("secret",)
    backend.c.execute(USE)
    backend.know()
    found = backend.cached_in()
    assert found
    for mapping in found:
        # Locked, in no core dump, not in a forked child.
        assert {"lo", "dd", "wf"} <= mapping.flags, mapping
        around = [m for m in memory.mappings(backend.pid) if mapping.start in (m.end, m.start) or mapping.end == m.start]
        assert [m.perms for m in around] == ["---p", "rw-p", "---p"]
    assert backend.c.execute("SELECT memory_locked FROM envelope.stats").fetchone() == (True,)


USES = {
    "a scan": USE,
    "a trigger": "INSERT INTO people VALUES (2, 'x')",
    "PL/pgSQL": "DO $$ BEGIN PERFORM envelope_decrypt('people', ssn) FROM people; END $$",
    "a procedure that commits": "DO $$ BEGIN PERFORM envelope_decrypt('people', ssn) FROM people; COMMIT; END $$",
    "a procedure that calls one that commits": "DO $$ DECLARE s bytea := (SELECT ssn FROM people); BEGIN "
        "s := envelope_decrypt('people', s); CALL commits(); END $$",
    "an error": "SELECT envelope_decrypt('people', ssn), 1 / (id - 1) FROM people",
}


@pytest.mark.parametrize("use", USES)
def test_the_cipher_leaves_nothing_on_the_stack(db, use):
    """Of the keys in their locked pages, derived ones and those of tags among them."""
    db.people(rows=["secret"])
    db.sql("CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
    with db.connect() as c:
        with contextlib.suppress(psycopg.errors.DivisionByZero):
            c.execute(USES[use])
        pid = c.info.backend_pid
        locked = memory.content(pid, lambda mapping: {"lo", "dd", "wf"} <= mapping.flags)
        stack = memory.content(pid, lambda mapping: mapping.path == "[stack]")
    keys = {locked[at:at + 16] for at in range(0, len(locked), 16)}
    # Bytes of what is random are rarely alike. Key ids are no secret.
    keys = {key for key in keys if len(set(key)) > 8} - {id.bytes for id, in db.sql("SELECT key_id FROM envelope.keys")}
    assert len(keys) > 16
    assert [key for key in keys if key in stack] == []


@pytest.mark.parametrize("wiped_by", ["SELECT envelope.flush_cache()", "DISCARD ALL"])
def test_wiped(backend, wiped_by):
    backend.c.execute(OPEN)
    backend.c.execute(USE)
    backend.know()
    assert backend.cached_in()
    backend.c.execute(wiped_by)
    assert backend.cached_in() == []
    assert backend.c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,)
    # And the session goes on.
    assert backend.c.execute(OPEN).fetchone() == ("secret",)
    assert backend.cached_in()


def test_a_key_that_was_rolled_back(backend):
    """The session that made it had it in clear."""
    c = backend.c
    c.execute("BEGIN; CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'x'))")
    backend.know("public.t")
    assert backend.cached_in()
    c.execute("ROLLBACK")
    assert backend.cached_in() == []


def test_a_new_key_that_is_kept(backend):
    c = backend.c
    c.execute("CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'x'))")
    backend.know("public.t")
    assert backend.cached_in()


def key_file(cluster, name):
    """A key file of the server's user."""
    path, server = cluster.base / "data.kek" / name, cluster.data.stat()
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(secrets.token_bytes(32))
        path.chmod(0o600)
        for made in (path.parent, path):
            os.chown(made, server.st_uid, server.st_gid)
    return path


LIFE = {
    "rotate_key": "SELECT envelope.rotate_key('people')",
    "rewrap": "SELECT done FROM envelope.rewrap({kek}, {kek})",
    "add_kek": "SELECT envelope.add_kek('people', {further})",
    "drop_kek": "SELECT envelope.add_kek('people', {further}), envelope.drop_kek('people', {further})",
    "check": "SELECT ok FROM envelope.check()",
    "reencrypt": "SELECT envelope.rotate_key('people'), envelope.reseal('people', ssn) FROM people",
}


@pytest.mark.parametrize("change", LIFE)
def test_what_a_change_of_keys_has_handled(backend, change):
    """It asks the KMS for keys that are in nobody's cache, and has them in clear on their way to another KEK."""
    further = key_file(backend.db.cluster, "further")
    kek, = backend.c.execute("SELECT kek FROM envelope.wrapped_key").fetchone()
    backend.know()
    backend.c.execute("SELECT envelope.flush_cache()")
    backend.c.execute(LIFE[change].format(kek=f"'{kek}'", further=f"'file://{further}'"))
    if change == "rotate_key":
        backend.know()
    backend.c.execute("SELECT envelope.flush_cache()")
    assert backend.cached_in() == []


@pytest.mark.parametrize("limit, pause", [("cache_ttl = '1s'", 1.5), ("cache_max_keys = 1", 0)])
def test_past_its_time_or_put_out_by_another(backend, limit, pause):
    """A key that a limit ends goes with the next look-up that misses."""
    c = backend.c
    backend.db.sql("CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'x'))")
    c.execute(f"SET envelope.{limit}")
    c.execute(OPEN)
    backend.know()
    assert backend.cached_in()
    time.sleep(pause)
    c.execute("SELECT envelope_decrypt('t', v) FROM t")
    assert backend.cached_in() == []


def test_refused_by_the_kms(aws, proxy, moto):
    aws.people(rows=["secret"])
    backend = Backend(aws, moto)
    with backend.c as c:
        c.execute("SET envelope.cache_ttl = '1s'; SET envelope.cache_max_stale = '1h'")
        c.execute(OPEN)
        backend.know()
        assert backend.cached_in()
        proxy.fault("Decrypt", faults.deny)
        time.sleep(1.5)
        with fails("28000"):
            c.execute(OPEN)
        assert backend.cached_in() == []


class TestDiscard:
    """The hook that DISCARD ALL needs is in the way of nothing."""

    def test_other_discards_leave_keys(self, db):
        db.people(rows=["x"])
        with db.connect() as c:
            c.execute(OPEN)
            for what in ("PLANS", "SEQUENCES", "TEMP"):
                c.execute(f"DISCARD {what}")
            assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (1,)

    def test_errors_of_utility_statements_are_as_they_were(self, db):
        db.people(rows=["x"])
        db.sql("CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN "
               "RAISE EXCEPTION 'm' USING ERRCODE = 'ZX042', DETAIL = 'd', HINT = 'h', COLUMN = 'c'; END $$")
        with db.connect() as c:
            c.execute(OPEN)
            for statement in ("CALL p()", "DO $$ BEGIN CALL p(); END $$"):
                with fails("ZX042") as caught:
                    c.execute(statement)
                said = caught.value.diag
                assert (said.message_detail, said.message_hint, said.column_name) == ("d", "h", "c")
                assert "PL/pgSQL function p()" in said.context
            assert c.execute(OPEN).fetchone() == ("x",)

    def test_other_hooks_go_on(self, own_cluster, database):
        db = database(own_cluster(conf={"shared_preload_libraries": "pg_stat_statements"}).start())
        db.sql("CREATE EXTENSION pg_stat_statements")
        db.people(rows=["x"])
        with db.connect() as c:
            c.execute(OPEN)
            c.execute("DISCARD ALL")
        assert db.value("SELECT calls FROM pg_stat_statements WHERE query = 'DISCARD ALL'") == 1


def test_memory_that_cannot_be_locked(own_cluster, database):
    """RLIMIT_MEMLOCK 0: it goes on, and says so once a session."""
    with memory.memlock(0):
        c = own_cluster().start()
    db = database(c)
    db.people(rows=["x"])
    db.sql("CREATE TABLE t (v bytea); INSERT INTO t VALUES (envelope_encrypt('t', 'y'))")
    said = []
    with db.connect() as session:
        session.add_notice_handler(lambda notice: said.append((notice.severity, notice.message_primary)))
        assert session.execute(OPEN).fetchone() == ("x",)
        assert session.execute("SELECT envelope_decrypt_text('t', v) FROM t").fetchone() == ("y",)
        assert session.execute("SELECT memory_locked FROM envelope.stats").fetchone() == (False,)
    assert [severity for severity, _ in said] == ["WARNING"] and "locked" in said[0][1]
    assert "could not be locked" in c.log.read_text()


def test_who_cannot_lock_memory_is_counted(own_cluster, database):
    """Sessions that hold keys, and the server for its lease key."""
    unlocked = "SELECT backends_unlocked FROM envelope.stats_leases"
    with memory.memlock(0):
        c = own_cluster(conf={"shared_preload_libraries": "pgrx-example"}).start()
    db = database(c)
    db.people(rows=["x"])
    process.wait_until(lambda: db.value(unlocked) == 1, "the session that sealed has ended")
    with db.connect() as one, db.connect() as other:
        one.execute(OPEN)
        other.execute(OPEN)
        assert db.value(unlocked) == 3
        one.execute("SELECT envelope.flush_cache()")
        assert db.value(unlocked) == 2
    process.wait_until(lambda: db.value(unlocked) == 1, "both have ended")


def test_as_much_is_locked_as_may_be(own_cluster, database):
    """Most of 400 KiB, by a session with more keys than that holds."""
    with memory.memlock(400 * 1024):
        db = database(own_cluster().start())
    with db.connect() as session:
        session.execute("DO $$ BEGIN FOR i IN 1..400 LOOP EXECUTE format('CREATE TABLE t%s (v bytea)', i); "
                        "PERFORM envelope_encrypt(format('t%s', i)::regclass, 'x'); END LOOP; END $$")
        with open(f"/proc/{session.info.backend_pid}/smaps") as f:
            locked = sum(int(line.split()[1]) for line in f if line.startswith("Locked:"))
        assert session.execute("SELECT memory_locked FROM envelope.stats").fetchone() == (False,)
    assert 320 <= locked <= 400


MEGABYTE = 1 << 20


def limit_address_space(session, more):
    """From now on the session's process may map so many bytes more."""
    pid = session.info.backend_pid
    with open(f"/proc/{pid}/statm") as f:
        mapped = int(f.read().split()[0]) * resource.getpagesize()
    subprocess.run(["prlimit", "--pid", str(pid), f"--as={mapped + more}"], check=True, **process.server_identity())


def test_a_long_list_of_verbs_does_not_end_the_server(db):
    """Anybody may ask, and where memory is short, Rust does not raise an error but abort."""
    db.people()
    ask = "SELECT envelope.has_key_privilege('people', verbs) FROM (SELECT repeat(%s, %s) AS verbs OFFSET 0) AS v"
    with db.connect() as session:
        session.execute(ask, ("encrypt", 1))
        limit_address_space(session, 84 * MEGABYTE)
        with fails("22023"):
            session.execute(ask, ("x", 40 * MEGABYTE))
        session.execute("SELECT 1")


@pytest.mark.parametrize("kind", ["table_ref", "role_ref"])
def test_a_long_name_does_not_end_the_server(db, kind):
    """In the binary protocol, where nothing of PostgreSQL's own has looked at it before."""
    with db.connect() as session:
        oid = session.execute("SELECT %s::regtype::oid", (f"envelope.{kind}",)).fetchone()[0]

        def send(size):
            return session.pgconn.exec_params(b"SELECT $1 IS NULL", [b"x" * size], [oid], [1]).status

        assert send(10) == ExecStatus.TUPLES_OK
        # The message's buffer grows to 64, its text is a copy: no room for another.
        limit_address_space(session, 124 * MEGABYTE)
        send(40 * MEGABYTE)
        session.execute("SELECT 1")


def test_a_long_number_in_few_bytes_does_not_end_the_server(db):
    """As jsonb 1e131071 takes some bytes, as text 131,072; in a context that anybody may pass."""
    ask = ("SELECT envelope.create_key('pg_class', NULL, jsonb_build_object('a', "
           "(SELECT jsonb_agg(('1e131071')::numeric) FROM generate_series(1, %s))))")
    with db.connect() as session:
        with fails("22023"):
            session.execute(ask, (1,))
        limit_address_space(session, 240 * MEGABYTE)
        with fails("22023"):
            session.execute(ask, (800,))
        session.execute("SELECT 1")
