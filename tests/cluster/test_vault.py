"""KEKs in OpenBao's transit engine: the real server, and in front of it a proxy for what a server does not do at will."""

import base64
import contextlib
import itertools
import json
import pathlib
import socket
import threading

import psycopg
import pytest
from harness import faults, openbao, process
from harness.audit import Audit
from harness.authority import DAY, Authority
from harness.cluster import Cluster
from harness.jwt import Issuer, TokenReview
from harness.openbao import OpenBao, kek
from harness.proxy import FaultProxy
from harness.secrets_dir import SecretsDir
from sqlstate import fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people ORDER BY id"
_numbers = itertools.count(1)


class Site:
    """One OpenBao with every way to log in, a proxy in front of it, and a PostgreSQL cluster that logs in by JWT."""

    def __init__(self, ends):
        self.bao = ends.enter_context(OpenBao())
        self.proxy = ends.enter_context(FaultProxy(self.bao.url))
        self.address = f"127.0.0.1:{self.proxy.port}"
        self.files = ends.enter_context(SecretsDir())
        self.api = ends.enter_context(TokenReview())
        self.issuer = Issuer()
        self.bao.create_key("main")
        self.bao.key_policy("pg", "*")
        for method in ("approle", "jwt", "kubernetes", "cert"):
            self.bao.enable_auth(method)
        self.bao.jwt_role("pg", self.issuer, "pg", bound_subject="postgres")
        self.jwt = self.files.write("jwt", self.issuer.token("postgres"))
        self.conf = {
            "envelope.default_kek": self.kek("main"),
            "envelope.allowed_keks": "vault*",
            "envelope.vault_auth": "jwt",
            "envelope.vault_role": "pg",
            "envelope.vault_jwt_file": self.jwt,
            "envelope.kms_timeout": "3s",
            "max_connections": "230",
        }
        self.cluster = ends.enter_context(Cluster(conf=self.conf))

    def kek(self, name, mount="transit"):
        """Through the proxy."""
        return f"vault+http://{self.address}/{mount}/keys/{name}"

    def key(self, mount="transit", **more):
        """A new key; its name and URI."""
        name = f"k{next(_numbers)}"
        self.bao.create_key(name, mount, **more)
        return name, self.kek(name, mount)


@pytest.fixture(scope="module")
def site():
    with contextlib.ExitStack() as ends:
        yield Site(ends)


@pytest.fixture
def bao(site):
    return site.bao


@pytest.fixture
def proxy(site):
    site.proxy.clear()
    site.proxy.reset_counts()
    yield site.proxy
    site.proxy.clear()


@pytest.fixture
def db(site, proxy, database):
    return database(site.cluster)


@pytest.fixture
def key(site, db):
    """A table with two values under a key of its own; the key's name."""
    name, uri = site.key()
    sealed_under(db, uri)
    site.proxy.reset_counts()
    return name


def sealed_under(db, uri, **settings):
    with session(db, **settings) as c:
        c.execute("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
        c.execute("SELECT envelope.create_key('people', %s)", (uri,))
        for i, text in enumerate(["x", "y"]):
            c.execute("INSERT INTO people VALUES (%s, envelope_encrypt('people', %s))", (i, text))


@contextlib.contextmanager
def session(db, **settings):
    """A new backend with these settings."""
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        for name, value in settings.items():
            c.execute("SELECT set_config(%s, %s, false)", (f"envelope.{name}", str(value)))
        yield c


def opened(db, **settings):
    """By a new backend, with these settings."""
    with session(db, **settings) as c:
        return [text for (text,) in c.execute(OPEN)]


def wrapped(db):
    [(text,)] = db.sql("SELECT convert_from(wrapped, 'UTF8') FROM envelope.wrapped_key")
    return text


def put(db, wrap):
    db.sql("UPDATE envelope.wrapped_key SET wrapped = convert_to(%s, 'UTF8')", (wrap,))


def rewrap(db, old, new):
    return db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, 'people')", (old, new))


def hint(caught):
    return caught.value.diag.message_hint or ""


# -- what it is for ---------------------------------------------------------------------------------------------


def test_a_value_is_sealed_and_opened(site, db, proxy, key):
    assert opened(db) == ["x", "y"]
    # One login and one request a backend, and one connection for both.
    assert proxy.counts == {"login": 1, "decrypt": 1}
    assert proxy.connections == 1
    assert wrapped(db).startswith("vault:v1:")
    assert db.sql("SELECT keks FROM envelope.keys") == [([site.kek(key)],)]


def test_what_one_call_asks_goes_over_one_connection(site, db, proxy):
    """A new key is made and tried in one, and opened in another. Between the two none is kept, nor the data key in its
    buffers."""
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea); CREATE TABLE others (id int PRIMARY KEY, ssn bytea)")
    with session(db) as c:
        c.execute("SELECT envelope.create_key('people')")
        assert proxy.counts == {"login": 1, "datakey": 1, "decrypt": 2, "keys": 1} and proxy.connections == 2
        proxy.reset_counts()
        c.execute("SELECT envelope.create_key('others')")
        assert proxy.counts == {"datakey": 1, "decrypt": 2, "keys": 1} and proxy.connections == 2


def test_the_context_is_bound_and_stands_in_the_audit_log(db, bao, key):
    opened(db)
    context = json.dumps({"database": db.name, "table": "public.people"}, separators=(",", ":"))
    asked = [line["request"] for line in bao.audit() if line["type"] == "request"]
    last = [request for request in asked if request["path"] == f"transit/decrypt/{key}"][-1]
    assert base64.b64decode(last["data"]["context"]).decode() == context
    # What is secret does not.
    assert last["data"]["ciphertext"].startswith("hmac-sha256:")


def test_the_audit_has_the_request_id(site, db, bao, key):
    """By which its lines join those of the server's own log."""
    audit = Audit(site.cluster)
    with session(db, audit="ddl") as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
    [line] = audit.lines("unwrap")
    there = {one["request"]["id"]: one["request"]["path"] for one in bao.audit() if one["type"] == "response"}
    assert there[line["kms_request_id"]] == f"transit/decrypt/{key}" and line["kek"] == site.kek(key)


def test_a_rotated_key_opens_what_it_wrapped_and_rewrap_moves_on(site, db, bao, proxy, key):
    uri = site.kek(key)
    first = wrapped(db)
    bao.rotate_key(key)
    assert opened(db) == ["x", "y"]
    proxy.reset_counts()
    assert rewrap(db, uri, uri) == [(True, None)]
    # The data key did not leave the server to be wrapped: it came back once, to be compared.
    assert proxy.counts["rewrap"] == 1 and not proxy.counts["encrypt"] and not proxy.counts["datakey"]
    assert first.startswith("vault:v1:") and wrapped(db).startswith("vault:v2:")
    bao.configure_key(key, min_decryption_version=2)
    assert opened(db) == ["x", "y"]


def test_a_move_between_keys_goes_through_this_process(site, db, proxy, key):
    _, other = site.key()
    assert rewrap(db, site.kek(key), other) == [(True, None)]
    assert proxy.counts["encrypt"] == 1
    assert opened(db) == ["x", "y"]
    assert db.sql("SELECT keks FROM envelope.keys") == [([other],)]


def test_several_keks(site, db, bao, key):
    name, other = site.key()
    assert db.value("SELECT envelope.add_kek('people', %s)", (other,)) == 1
    bao.disable_key(key)
    # A key that is disabled is a refusal, which no other KEK bridges.
    with fails("55000"):
        opened(db)
    bao.enable_key(key)
    assert db.value("SELECT envelope.drop_kek('people', %s)", (site.kek(key),)) == 1
    bao.delete_key(key)
    assert opened(db) == ["x", "y"]
    assert bao.key(name)["derived"]


# -- every answer -----------------------------------------------------------------------------------------------


def change_byte(site, db, key):
    wrap = wrapped(db)
    put(db, wrap[:-6] + ("A" if wrap[-6] != "A" else "B") + wrap[-5:])


def change_context(site, db, key):
    db.sql("UPDATE envelope.wrapped_key SET kms_context = kms_context || '{\"table\": \"public.other\"}'")


def change_label(site, db, key):
    site.bao.rotate_key(key)
    put(db, wrapped(db).replace("vault:v1:", "vault:v2:"))


def of_another_key(site, db, key):
    other = f"other_{key}"
    site.bao.create_key(other)
    context = base64.b64encode(json.dumps({"database": db.name, "table": "public.people"}, separators=(",", ":")).encode())
    put(db, site.bao.request("POST", f"transit/datakey/plaintext/{other}", {"context": context.decode()})["data"]["ciphertext"])


def too_old(site, db, key):
    site.bao.rotate_key(key)
    site.bao.configure_key(key, min_decryption_version=2)


def recreate_underived(site, db, key):
    site.bao.delete_key(key)
    site.bao.create_key(key, derived=False)


def policy(*rights):
    return lambda site, db, key: site.bao.key_policy("pg", "*", may=rights)


# The wrap's own fault, or the key's: what is done, SQLSTATE, what the HINT speaks of.
ANSWERS = {
    "byte changed": (change_byte, "XX001", "wrap was changed"),
    "another context": (change_context, "XX001", "encryption context"),
    "another version's label": (change_label, "XX001", "wrap was changed"),
    "another key's wrap": (of_another_key, "XX001", "another key"),
    "no prefix": (lambda s, db, k: put(db, wrapped(db)[9:]), "XX001", ""),
    "no wrap": (lambda s, db, k: put(db, "x"), "XX001", ""),
    "too short": (lambda s, db, k: put(db, "vault:v1:AAAA"), "XX001", "wrap was changed"),
    "not base64": (lambda s, db, k: put(db, "vault:v1:AAA=A"), "XX001", "wrap was changed"),
    "version too new": (lambda s, db, k: put(db, wrapped(db).replace("v1", "v9")), "XX001", "older backup"),
    "version too old": (too_old, "55000", "min_decryption_version"),
    "key deleted": (lambda s, db, k: s.bao.delete_key(k), "55000", "Is there such a key"),
    "key soft-deleted": (lambda s, db, k: s.bao.disable_key(k), "55000", "soft-delete-restore"),
    "key made anew": (recreate_underived, "XX001", "wrap was changed"),
    "no right": (policy("encrypt"), "28000", "Allow update on transit/decrypt/"),
}


@pytest.mark.parametrize("broken", ANSWERS)
def test_every_answer_about_a_wrap(site, db, key, broken):
    act, sqlstate, said = ANSWERS[broken]
    act(site, db, key)
    try:
        with fails(sqlstate) as caught:
            opened(db)
    finally:
        site.bao.key_policy("pg", "*")
    assert said in hint(caught), hint(caught)
    assert f"transit/keys/{key}" in caught.value.diag.message_primary
    assert "x" not in caught.value.diag.message_primary.split()


def test_a_key_that_is_back_opens_again(site, db, bao, key):
    bao.disable_key(key)
    with fails("55000"):
        opened(db)
    bao.enable_key(key)
    assert opened(db) == ["x", "y"]


def test_a_mount_that_is_gone(site, db, bao):
    bao.enable_transit("gone")
    bao.policy("gone", 'path "gone/*" { capabilities = ["update"] }')
    bao.jwt_role("gone", site.issuer, "gone")
    _, uri = site.key("gone")
    sealed_under(db, uri, vault_role="gone")
    bao.request("DELETE", "sys/mounts/gone")
    with fails("55000") as caught:
        opened(db, vault_role="gone")
    assert "Is there such a key" in hint(caught)


# Keys that cannot serve: how they are made, and what the HINT says.
UNFIT = {
    "not derived": {"derived": False},
    "rsa": {"type": "rsa-2048", "derived": False},
    "ed25519": {"type": "ed25519", "derived": True},
    "hmac": {"type": "hmac", "derived": False, "key_size": 32},
}


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("reads", [True, False])
def test_a_key_that_binds_no_context_makes_no_wrap(site, db, bao, kind, reads):
    """With every right, and without the one to read it."""
    _, uri = site.key(**UNFIT[kind])
    bao.key_policy("pg", "*", reads=reads)
    try:
        db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
        with fails("55000") as caught:
            db.sql("SELECT envelope.create_key('people', %s)", (uri,))
        assert "derived=true" in hint(caught)
        steps = db.sql("SELECT step, ok FROM envelope.check_kek(%s)", (uri,))
        assert [ok for _, ok in steps][-1] is False
        # Nor does one that exists already go there.
        db.sql("SELECT envelope.create_key('people', %s)", (site.kek("main"),))
        with fails("55000"):
            db.sql("SELECT envelope.add_kek('people', %s)", (uri,))
        assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 1
        assert rewrap(db, site.kek("main"), uri) == [(False, "55000")]
    finally:
        bao.key_policy("pg", "*")


def test_a_key_of_128_bits_makes_no_wrap(site, db, key):
    """Where the token may read the key: nothing else shows it."""
    _, uri = site.key(type="aes128-gcm96")
    db.sql("CREATE TABLE short (v bytea)")
    with fails("55000") as caught:
        db.sql("SELECT envelope.create_key('short', %s)", (uri,))
    assert "derived=true" in hint(caught)
    with fails("55000"):
        db.sql("SELECT envelope.add_kek('people', %s)", (uri,))
    assert rewrap(db, site.kek(key), uri) == [(False, "55000")]
    assert db.value("SELECT count(*) FROM envelope.wrapped_key") == 1


@pytest.mark.parametrize("anew, reads", [({"derived": False}, True), ({"derived": False}, False),
                                         ({"type": "aes128-gcm96"}, True)])
def test_a_key_that_was_made_anew_is_tried_anew(site, db, bao, key, anew, reads):
    """In a session that has found the old one fit."""
    bao.key_policy("pg", "*", reads=reads)
    name, uri = site.key()
    try:
        with session(db) as c:
            c.execute("CREATE TABLE other (v bytea); CREATE TABLE third (v bytea)")
            c.execute("SELECT envelope.create_key('other', %s)", (uri,))
            bao.delete_key(name)
            bao.create_key(name, **anew)
            for query, arguments in (("SELECT envelope.create_key('third', %s)", (uri,)),
                                     ("SELECT envelope.add_kek('people', %s)", (uri,))):
                with fails("55000"):
                    c.execute(query, arguments)
            moved = c.execute("SELECT done, sqlstate FROM envelope.rewrap(%s, %s, 'people')", (site.kek(key), uri))
            assert moved.fetchall() == [(False, "55000")]
        assert db.value("SELECT count(*) FROM envelope.wrapped_key WHERE kek = %s", (uri,)) == 1
    finally:
        bao.key_policy("pg", "*")


def test_a_key_is_tried_once_for_all_that_it_wraps(site, db, proxy, key):
    """And not found out about again and again where it may not be read."""
    db.sql("SELECT envelope.rotate_key('people'); SELECT envelope.rotate_key('people')")
    _, uri = site.key()
    for reads in (True, False):
        site.bao.key_policy("pg", "*", reads=reads)
        proxy.reset_counts()
        try:
            with session(db) as c:
                assert c.execute("SELECT envelope.add_kek('people', %s)", (uri,)).fetchone() == (3,)
                c.execute("SELECT envelope.drop_kek('people', %s)", (uri,))
        finally:
            site.bao.key_policy("pg", "*")
        # Of each key: unwrapped, wrapped, unwrapped to compare; and at the end, by the KEK that stays.
        assert proxy.counts == {"login": 1, "decrypt": 10, "encrypt": 3, "datakey": 1, "keys": 1}


def test_what_hands_the_kek_out_is_warned_of(site, db, bao):
    _, uri = site.key(exportable=True, allow_plaintext_backup=True)
    told = []
    with db.connect() as c:
        c.add_notice_handler(lambda notice: told.append(notice.message_primary))
        steps = c.execute("SELECT step, ok FROM envelope.check_kek(%s)", (uri,)).fetchall()
    assert all(ok for _, ok in steps)
    assert any("exportable" in text for text in told) and any("backup" in text for text in told)


def test_a_missing_key_is_not_made_by_wrapping(site, db, bao, key):
    """Encrypting makes a key that is missing, where the token has `create`."""
    bao.policy("pg", 'path "transit/*" { capabilities = ["create", "update", "read"] }')
    try:
        with fails("55000"):
            db.sql("SELECT envelope.add_kek('people', %s)", (site.kek("mistyped"),))
        with pytest.raises(openbao.Refused):
            bao.key("mistyped")
    finally:
        bao.key_policy("pg", "*")


# -- the server as a whole --------------------------------------------------------------------------------------


def error(status, *errors, **more):
    """A refusal as the API says it."""
    return lambda x: x.answer(status, "application/json", json.dumps({"errors": errors, **more}).encode())


def text(status, body=b"<html>not what you asked for</html>"):
    return lambda x: x.answer(status, "text/html", body)


def changed(**more):
    """The server's own answer with something in it changed."""

    def fault(x):
        status, kind, body = x.upstream()
        answer = json.loads(body)
        for name, value in more.items():
            if name in answer:
                answer[name] = value
            else:
                answer["data"][name] = value
        x.answer(status, kind, json.dumps(answer).encode())

    return fault


def plaintext(length):
    return changed(plaintext=base64.b64encode(b"k" * length).decode())


# What any request may meet, whoever asks: the fault, SQLSTATE, what the HINT speaks of.
ANYWHERE = {
    "quota": (error(429, "rate limit quota exceeded"), "53400", "envelope.cache_ttl"),
    "sealed": (error(503, "Vault is sealed"), "58030", "Unseal"),
    "internal error": (error(500, "internal error"), "58030", "log"),
    "a standby that redirects": (text(307, b""), "58030", "Redirects"),
    "a gateway's 502": (text(502), "58030", "Does OpenBao or Vault answer"),
    "a web server's 404": (text(404), "58030", "Does OpenBao or Vault answer"),
    "a web server's 400": (text(400), "58030", "Does OpenBao or Vault answer"),
    "a web server's 200": (text(200), "58030", "Does OpenBao or Vault answer"),
    "no content": (text(204, b""), "58030", "Does OpenBao or Vault answer"),
    "garbage": (faults.garbage, "58030", "Does OpenBao or Vault answer"),
    "unknown namespace": (error(404, "namespace not found"), "22023", "envelope.vault_namespace"),
    "refused by a gateway": (faults.unauthorized, "28000", ""),
    "endless": (faults.endless, "58030", ""),
    "hang": (faults.hang, "58030", "envelope.kms_timeout"),
    "hang in body": (faults.hang_in_body, "58030", "envelope.kms_timeout"),
    "reset": (faults.reset, "58030", ""),
    "truncated": (faults.truncated, "58030", ""),
}
# What only an operation on a key may meet.
OPERATIONS = {
    "a warning": (changed(warnings=["Endpoint ignored these unrecognized parameters: [context]"]), "55000", "context"),
    "16 bytes": (plaintext(16), "XX001", ""),
    "33 bytes": (plaintext(33), "XX001", ""),
    "no data": (changed(data=None), "58030", ""),
    "something new": (error(400, "something new"), "XX001", "wrap was changed"),
    "no mount": (error(404, 'no handler for route "x". route entry not found.'), "55000", "Is there such a key"),
}


@pytest.mark.parametrize("auth", ["jwt", "inline-jwt"])
@pytest.mark.parametrize("fault", ANYWHERE | OPERATIONS)
def test_while_a_key_is_unwrapped(db, key, proxy, fault, auth):
    act, sqlstate, said = (ANYWHERE | OPERATIONS)[fault]
    before = db.sql("SELECT * FROM envelope.wrapped_key")
    proxy.fault("decrypt", act)
    with fails(sqlstate) as caught:
        opened(db, vault_auth=auth)
    assert said in hint(caught), hint(caught)
    proxy.clear()
    assert opened(db, vault_auth=auth) == ["x", "y"]
    assert db.sql("SELECT * FROM envelope.wrapped_key") == before


@pytest.mark.parametrize("fault", ANYWHERE)
def test_while_logging_in(db, key, proxy, fault):
    act, sqlstate, _ = ANYWHERE[fault]
    proxy.fault("login", act)
    with fails(sqlstate):
        opened(db)
    assert proxy.counts["decrypt"] == 0
    proxy.clear()
    assert opened(db) == ["x", "y"]


@pytest.mark.parametrize("fault", ANYWHERE)
def test_while_a_key_is_made(site, db, proxy, fault):
    act, sqlstate, _ = ANYWHERE[fault]
    db.sql("CREATE TABLE people (id int PRIMARY KEY, ssn bytea)")
    proxy.fault("datakey", act)
    with fails(sqlstate):
        db.sql("SELECT envelope.create_key('people')")
    assert db.value("SELECT count(*) FROM envelope.data_key") == 0
    proxy.clear()
    db.sql("SELECT envelope.create_key('people')")


@pytest.mark.parametrize("fault", [faults.reset, error(500, "internal error"), error(503, "Vault is sealed"),
                                   error(429, "rate limit quota exceeded")])
def test_one_failure_is_tried_again(db, key, proxy, fault):
    proxy.fault("decrypt", fault, times=1)
    assert opened(db) == ["x", "y"]
    assert proxy.counts == {"login": 1, "decrypt": 2}


def test_a_connection_that_breaks_after_the_login_is_no_failure(db, key, proxy):
    """A server may close what it has answered on. The request goes over a new connection, and is not an attempt more."""
    proxy.fault("decrypt", faults.reset, times=1)
    assert opened(db, kms_max_attempts=1) == ["x", "y"]
    assert proxy.counts == {"login": 1, "decrypt": 2} and proxy.connections == 2
    # What goes over a new one is.
    proxy.fault("decrypt", faults.reset)
    proxy.reset_counts()
    with fails("58030"):
        opened(db, kms_max_attempts=1)
    assert proxy.counts == {"login": 1, "decrypt": 2} and proxy.connections == 2


def test_a_server_that_closes_its_connections(db, key, proxy):
    def last(x):
        x.close = True
        faults.none(x)

    proxy.fault("login", last)
    assert opened(db, kms_max_attempts=1) == ["x", "y"]
    assert proxy.counts == {"login": 1, "decrypt": 1} and proxy.connections == 2


def test_an_attempt_more_goes_over_another_connection(db, key, proxy):
    """Which may lead to another server behind the same address."""
    proxy.fault("decrypt", error(503, "Vault is sealed"), times=1)
    assert opened(db) == ["x", "y"]
    assert proxy.counts == {"login": 1, "decrypt": 2} and proxy.connections == 2


def test_a_refusal_about_a_key_is_not_tried_again(db, key, proxy):
    proxy.fault("decrypt", error(400, "encryption key not found"))
    with fails("55000"):
        opened(db)
    assert proxy.counts["decrypt"] == 1


def test_a_slow_server_is_waited_for(db, key, proxy):
    proxy.fault("*", faults.delay(0.5))
    assert opened(db) == ["x", "y"]


def test_a_hanging_server_is_left_when_the_statement_is_cancelled(db, key, proxy):
    is_held = proxy.hold("decrypt")
    with session(db, kms_timeout="120s") as c:
        thread = threading.Thread(target=lambda: (is_held(), c.cancel()))
        thread.start()
        with fails("57014"):
            c.execute(OPEN)
        thread.join()
        proxy.clear()
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


def test_the_server_is_sealed_down_and_frozen(site, db, bao, key):
    """The real one, one after the other, and each time all is well after."""
    for act, undo, said in ((bao.seal, bao.unseal, "Unseal"), (bao.stop, bao.start, ""), (bao.freeze, bao.thaw, "")):
        act()
        try:
            with fails("58030") as caught:
                opened(db)
            assert said in hint(caught)
        finally:
            undo()
        assert opened(db) == ["x", "y"]


def test_the_servers_own_quota(db, bao, key):
    bao.quota("test", 1, f"transit/decrypt/{key}", interval="24h")
    try:
        with fails("53400"):
            for _ in range(10):
                opened(db, kms_max_attempts=1)
    finally:
        bao.drop_quota("test")


def test_two_hundred_backends_at_once(site, db, bao, proxy, key):
    """Batch tokens: each logs in for itself, and none leaves a token behind."""
    with contextlib.ExitStack() as ends:
        backends = [ends.enter_context(db.connect()) for _ in range(200)]
        found = [None] * len(backends)

        def open_in(i):
            found[i] = backends[i].execute(OPEN).fetchall()

        for c in backends:
            c.execute("LOAD 'pgrx-example'")
            c.execute("SET envelope.kms_timeout = '60s'")
        before = len(bao.accessors())
        threads = [threading.Thread(target=open_in, args=(i,)) for i in range(len(backends))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [[("x",), ("y",)]] * len(backends)
    assert proxy.counts["login"] == len(backends)
    assert len(bao.accessors()) == before


# -- logging in -------------------------------------------------------------------------------------------------


def ways(site, type="batch"):
    """Every method: the settings by which a session logs in, for tokens of this type."""
    bao, files, role = site.bao, site.files, f"pg-{type}"
    role_id, secret_id = bao.approle(role, "pg", type=type)
    bao.jwt_role(role, site.issuer, "pg", bound_subject="postgres", type=type)
    bao.kubernetes_role(role, site.api, "pg", type=type)
    certificate, certificate_key = bao.authority.issue(f"client{next(_numbers)}", client=True)
    bao.cert_role(role, certificate, "pg", type=type)
    token = files.write(f"token-{type}", bao.token("pg", type=type) + "\n")
    account = files.write("account", site.issuer.service_account("db", "postgres"), 0o644)
    ca = {"vault_ca_file": bao.authority.ca}
    return {
        "token": {**ca, "vault_auth": "token", "vault_role": "", "vault_token_file": token},
        "approle": {**ca, "vault_auth": "approle", "vault_role": "", "vault_role_id": role_id,
                    "vault_secret_id_file": files.write("secret_id", secret_id)},
        "jwt": {**ca, "vault_auth": "jwt", "vault_role": role, "vault_jwt_file": site.jwt},
        "kubernetes": {**ca, "vault_auth": "kubernetes", "vault_role": role, "vault_jwt_file": account},
        "cert": {**ca, "vault_auth": "cert", "vault_role": role, "vault_client_cert_file": certificate,
                 "vault_client_key_file": certificate_key},
    }


METHODS = ["token", "approle", "jwt", "kubernetes", "cert"]
INLINE = [f"inline-{method}" for method in METHODS if method != "token"]


def inline(settings):
    """The same login, in each request."""
    return settings | {"vault_auth": f"inline-{settings['vault_auth']}"}


@pytest.fixture
def tls_key(site, db):
    """The URI of a new key, past the proxy, by TLS."""
    name, _ = site.key()
    return kek(site.bao, name, tls=True)


@pytest.mark.parametrize("method", METHODS)
def test_each_way_to_log_in(site, db, tls_key, method):
    settings = ways(site)[method]
    sealed_under(db, tls_key, **settings)
    assert opened(db, **settings) == ["x", "y"]


@pytest.mark.parametrize("method", INLINE)
def test_each_way_to_log_in_with_the_request(site, db, bao, tls_key, method):
    """Also where the role's tokens are such as the server keeps: none is made."""
    settings = inline(ways(site, "service")[method.removeprefix("inline-")])
    before = len(bao.accessors())
    sealed_under(db, tls_key, **settings)
    assert opened(db, **settings) == ["x", "y"]
    assert len(bao.accessors()) == before


def test_a_request_that_logs_in_is_one(db, proxy, key):
    """The first value of a session takes one request, and each later one as well."""
    with session(db, vault_auth="inline-jwt") as c:
        for _ in range(2):
            assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
            assert proxy.counts == {"decrypt": 1} and proxy.connections == 1
            c.execute("SELECT envelope.flush_cache()")
            proxy.reset_counts()


def test_a_login_with_the_request_reads_its_files_each_time(site, db, key):
    token = site.issuer.token
    settings = {"vault_auth": "inline-jwt", "vault_jwt_file": site.files.write("renewed", token("postgres"))}
    with session(db, **settings) as c:
        for subject, is_let_in in (("postgres", True), ("another", False), ("postgres", True)):
            site.files.write("renewed", token(subject))
            c.execute("SELECT envelope.flush_cache()")
            with contextlib.nullcontext() if is_let_in else fails("28000"):
                assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


def test_a_certificate_that_was_renewed_is_shown(site, db, bao, tls_key):
    """By a session that has shown the old one, and is refused with it."""
    settings = inline(ways(site)["cert"])
    old, new = (bao.authority.issue(f"renewed{next(_numbers)}", client=True) for _ in range(2))
    bao.cert_role("renewed", old[0], "pg")
    settings |= {"vault_role": "renewed", "vault_client_cert_file": old[0], "vault_client_key_file": old[1]}
    sealed_under(db, tls_key, **settings)
    with session(db, **settings) as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        bao.cert_role("renewed", new[0], "pg")
        for ours, theirs in zip(old, new, strict=True):
            # The file stays, and so do its owner and mode.
            pathlib.Path(ours).write_bytes(pathlib.Path(theirs).read_bytes())
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


@pytest.mark.parametrize("method", METHODS)
def test_a_token_that_expired_is_had_anew(site, db, bao, tls_key, method):
    """In one session, which need not know: its next request is refused, it logs in once more and asks once more."""
    settings = ways(site, "service")[method]
    sealed_under(db, tls_key, **settings)
    with session(db, **settings) as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        bao.revoke_all()
        c.execute("SELECT envelope.flush_cache()")
        if method == "token":
            with fails("28000"):
                c.execute(OPEN)
            # As an agent does.
            site.files.write("token-service", bao.token("pg", type="service"))
            c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]


def test_a_denial_is_asked_twice_and_no_more(db, bao, proxy, key):
    """The second time with a new token: the first may only have expired."""
    with db.connect() as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        proxy.reset_counts()
        bao.key_policy("pg", "*", may=["encrypt"])
        try:
            c.execute("SELECT envelope.flush_cache()")
            with fails("28000"):
                c.execute(OPEN)
            assert proxy.counts == {"login": 1, "decrypt": 2}
            # A new session has a new token at once.
            proxy.reset_counts()
            with fails("28000"):
                opened(db)
            assert proxy.counts == {"login": 1, "decrypt": 1}
        finally:
            bao.key_policy("pg", "*")


def test_a_denial_of_a_request_that_logs_in_is_asked_once(db, bao, proxy, key):
    """There is no token that may have expired."""
    with session(db, vault_auth="inline-jwt") as c:
        assert c.execute(OPEN).fetchall() == [("x",), ("y",)]
        proxy.reset_counts()
        bao.key_policy("pg", "*", may=["encrypt"])
        try:
            c.execute("SELECT envelope.flush_cache()")
            with fails("28000") as caught:
                c.execute(OPEN)
            assert "Allow update on transit/decrypt/" in hint(caught) and "inline-" in hint(caught)
            assert proxy.counts == {"decrypt": 1}
        finally:
            bao.key_policy("pg", "*")


def jwt(site, name, **kw):
    return {"vault_jwt_file": site.files.write(name, site.issuer.token(**{"subject": "postgres", **kw}))}


# A login that is refused: the settings, SQLSTATE, what the HINT speaks of.
LOGINS = {
    "no such role": (lambda s: {"vault_role": "nobody"}, "28000", "envelope.vault_role"),
    "audience": (lambda s: jwt(s, "audience", audience="other"), "28000", "audience"),
    "subject": (lambda s: jwt(s, "subject", subject="other"), "28000", "subject"),
    "expired": (lambda s: jwt(s, "expired", lives=-600), "28000", "expires"),
    "no JWT": (lambda s: {"vault_jwt_file": s.files.write("none", "none")}, "28000", "envelope.vault_jwt_file"),
    "no such mount": (lambda s: {"vault_auth_mount": "nowhere"}, "28000", "envelope.vault_auth_mount"),
    "wrong secret id": (lambda s: {**ways(s)["approle"], "vault_secret_id_file": s.files.write("wrong", "wrong")}, "28000",
                        "secret_id_num_uses"),
    "unknown token": (lambda s: {**ways(s)["token"], "vault_token_file": s.files.write("unknown", "s.unknown")}, "28000", ""),
    "unknown namespace": (lambda s: {"vault_namespace": "nowhere"}, "22023", "envelope.vault_namespace"),
    "no such method": (lambda s: {"vault_auth": "ldap"}, "22023", "envelope.vault_auth"),
    "a token with each request": (lambda s: {"vault_auth": "inline-token"}, "22023", "envelope.vault_auth"),
    "nothing set": (lambda s: {"vault_auth": "", "vault_role": ""}, "22023", "vault_token_file"),
    "a role that the token does not have": (lambda s: {"vault_auth": "token", "vault_token_file": "/x"}, "22023", "jwt"),
    "a certificate without TLS": (lambda s: {**ways(s)["cert"]}, "22023", ""),
    "a relative path": (lambda s: {"vault_jwt_file": "jwt"}, "22023", "whole path"),
    "no file": (lambda s: {"vault_jwt_file": s.files.path / "missing"}, "28000", "read"),
    "an empty file": (lambda s: {"vault_jwt_file": s.files.write("empty", "\n")}, "28000", "secret alone"),
    "two lines": (lambda s: {"vault_jwt_file": s.files.write("two", "a\nb\n")}, "28000", "secret alone"),
    "a file that others may write": (lambda s: {"vault_jwt_file": s.files.write("open", "x", 0o666)}, "28000", "go-w"),
    "a secret that others may read": (lambda s: {**ways(s)["token"], "vault_token_file": s.files.write("read", "x", 0o644)},
                                      "28000", "0600"),
    "a directory": (lambda s: {"vault_jwt_file": s.files.path}, "28000", "file"),
}


@pytest.mark.parametrize("login", LOGINS)
def test_a_login_that_is_refused(site, db, key, proxy, login):
    settings, sqlstate, said = LOGINS[login]
    with fails(sqlstate) as caught:
        opened(db, **settings(site))
    assert said in hint(caught), hint(caught)
    assert not {"decrypt"} & set(proxy.counts) or login == "unknown token"


@pytest.mark.parametrize("login", ["no such role", "audience", "subject", "expired", "no JWT", "no such mount", "wrong secret id",
                                   "unknown namespace", "no file", "a certificate without TLS"])
def test_a_login_with_the_request_that_is_refused(site, db, key, proxy, login):
    settings, sqlstate, said = LOGINS[login]
    settings = inline({"vault_auth": "jwt", **settings(site)})
    with fails(sqlstate) as caught:
        opened(db, **settings)
    assert said in hint(caught), hint(caught)
    assert proxy.counts["login"] == 0 and proxy.counts["decrypt"] <= 1


def test_kubernetes_while_its_api_is_away(site, db, tls_key):
    settings = ways(site)["kubernetes"]
    sealed_under(db, tls_key, **settings)
    site.bao.kubernetes_role("pg-batch", Away(site.api), "pg")
    try:
        with fails("28000") as caught:
            opened(db, **settings)
        assert "Kubernetes API" in hint(caught)
    finally:
        ways(site)
    assert opened(db, **settings) == ["x", "y"]


class Away:
    """An API server that nobody reaches."""

    def __init__(self, api):
        self.url = f"http://127.0.0.1:{process.free_port()}"
        self.reviewer = api.reviewer


def test_a_secret_id_that_is_used_up(site, db, bao, tls_key):
    settings = dict(ways(site)["approle"])
    sealed_under(db, tls_key, **settings)
    role_id, secret_id = bao.approle("once", "pg", secret_id_num_uses=1)
    settings |= {"vault_role_id": role_id, "vault_secret_id_file": site.files.write("once", secret_id)}
    assert opened(db, **settings) == ["x", "y"]
    with fails("28000") as caught:
        opened(db, **settings)
    assert "secret_id_num_uses" in hint(caught)
    site.files.write("once", bao.secret_id("once"))
    assert opened(db, **settings) == ["x", "y"]


def test_namespaces(site, db, bao):
    """By the header, or by the mount's path."""
    bao.namespace("team")
    bao.enable_transit(namespace="team")
    bao.create_key("k", namespace="team")
    bao.key_policy("pg", "*", namespace="team")
    bao.enable_auth("jwt", namespace="team")
    bao.jwt_role("pg", site.issuer, "pg", namespace="team")
    sealed_under(db, site.kek("k"), vault_namespace="team")
    assert opened(db, vault_namespace="team") == ["x", "y"]
    with fails("55000"):
        opened(db)
    path = site.kek("k", "team/transit")
    assert db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s)", (site.kek("k"), path)) == [(False, "55000")]
    with session(db, vault_namespace="", vault_auth_mount="jwt") as c:
        steps = c.execute("SELECT step, ok FROM envelope.check_kek(%s)", (path,)).fetchall()
    # A token of one namespace has no rights in another.
    assert steps[-1] == ("generate", False)


def test_each_database_role_as_a_role_of_the_server(site, db, bao, key):
    """A key policy decides by database role."""
    bao.policy("none", 'path "other/*" { capabilities = ["read"] }')
    bao.jwt_role("none", site.issuer, "none")
    db.sql(f"GRANT SELECT ON people TO {db.low}; SELECT envelope.grant_key('people', '{db.low}', 'decrypt')")
    db.sql(f"ALTER ROLE {db.low} SET envelope.vault_role = 'none'")
    with fails("28000"):
        db.sql(OPEN, user=db.low)
    assert db.sql(OPEN) == [("x",), ("y",)]
    db.sql(f"ALTER ROLE {db.low} SET envelope.vault_role = 'pg'")
    assert db.sql(OPEN, user=db.low) == [("x",), ("y",)]
    with db.connect(db.low) as c, fails("42501"):
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.vault_role = 'pg'")


# -- TLS --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def behind(context=None, answer=b""):
    """A port with something else behind it, that answers with these bytes."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(5)
                        connection.recv(65536)
                        connection.sendall(answer)
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_certificates(site, db, bao, tls_key):
    """Who signed it, whom it names, and until when it holds."""
    sealed_under(db, tls_key, **ways(site)["jwt"])
    with Authority("another") as another:
        ours, good = bao.authority, bao.authority.serving("good")
        cases = {
            "unknown CA": (good, another.ca, "58030", "envelope.vault_ca_file"),
            "the system's CAs": (good, "", "58030", "envelope.vault_ca_file"),
            "another name": (ours.serving("elsewhere", hosts=["vault.example.com", "127.0.0.2"]), ours.ca, "58030", "name"),
            "expired": (ours.serving("expired", valid=(-3 * DAY, -2 * DAY)), ours.ca, "58030", "Renew"),
            "not yet": (ours.serving("not-yet", valid=(DAY, 2 * DAY)), ours.ca, "58030", "clock"),
            "no CA in the file": (good, site.files.write("no-ca", "none"), "22023", "BEGIN CERTIFICATE"),
            "no file": (good, "/nowhere/ca.pem", "22023", ""),
        }
        for name, (tls, ca, sqlstate, said) in cases.items():
            with FaultProxy(bao.url, tls=tls) as proxy:
                uri = f"vault://127.0.0.1:{proxy.port}/{tls_key.split('/', 3)[3]}"
                with session(db, vault_ca_file=ca) as c, pytest.raises(psycopg.Error) as caught:
                    c.execute("CREATE TABLE IF NOT EXISTS t (v bytea)")
                    c.execute("SELECT envelope.create_key('t', %s)", (uri,))
                assert caught.value.sqlstate == sqlstate and said in hint(caught), f"{name}: {caught.value}"
                assert not proxy.requests, f"{name}: something was sent"


def test_a_client_certificate_that_expired(site, db, bao, tls_key):
    settings = ways(site)["cert"]
    sealed_under(db, tls_key, **settings)
    certificate, key = bao.authority.issue("old", client=True, valid=(-3 * DAY, -2 * DAY))
    with fails("28000"):
        opened(db, **settings | {"vault_client_cert_file": certificate, "vault_client_key_file": key})


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2p1\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"E\0\0\0\x08FATAL"])
@pytest.mark.parametrize("scheme", ["vault", "vault+http"])
def test_another_protocol_behind_the_port(db, scheme, answer):
    with behind(answer=answer) as port:
        db.sql("CREATE TABLE t (v bytea)")
        with fails("58030"):
            db.sql("SELECT envelope.create_key('t', %s)", (f"{scheme}://127.0.0.1:{port}/transit/keys/k",))


def test_tls_where_none_is_spoken_and_the_other_way_round(site, db, bao):
    db.sql("CREATE TABLE t (v bytea)")
    for uri in (f"vault://{bao.address}/transit/keys/main", f"vault+http://{bao.tls_address}/transit/keys/main"):
        with fails("58030"):
            db.sql("SELECT envelope.create_key('t', %s)", (uri,))


def test_nobody_there(db):
    db.sql("CREATE TABLE t (v bytea)")
    for host in (f"127.0.0.1:{process.free_port()}", "does-not-exist.invalid:8200"):
        with fails("58030"):
            db.sql("SELECT envelope.create_key('t', %s)", (f"vault://{host}/transit/keys/k",))


# -- policies ---------------------------------------------------------------------------------------------------


def test_the_least_rights_do(site, db, bao):
    """A token that may use one key, by update alone, and not read it."""
    name, uri = site.key()
    bao.key_policy("least", name, reads=False)
    bao.jwt_role("least", site.issuer, "least")
    sealed_under(db, uri, vault_role="least")
    assert opened(db, vault_role="least") == ["x", "y"]
    with session(db, vault_role="least") as c:
        steps = c.execute("SELECT step, ok FROM envelope.check_kek(%s)", (uri,)).fetchall()
        assert all(ok for _, ok in steps)
        bao.rotate_key(name)
        assert c.execute("SELECT done FROM envelope.rewrap(%s, %s)", (uri, uri)).fetchall() == [(True,)]


def pinned(name, *contexts):
    """A policy that lets in these contexts alone, by the beginning of each in base64."""
    values = ", ".join(f'"{context}"' for context in contexts)
    rights = {"datakey/plaintext": "", "decrypt": '"ciphertext" = []', "encrypt": '"plaintext" = []',
              "rewrap": '"ciphertext" = []'}
    return "\n".join(
        f'path "transit/{right}/{name}" {{\n  capabilities = ["update"]\n  required_parameters = ["context"]\n'
        f'  allowed_parameters = {{\n    "context" = [{values}]\n    {more}\n  }}\n}}'
        for right, more in rights.items())


def test_a_policy_pins_the_database(site, db, bao):
    """By the beginning of the context: no other database of the same server may use the key, and this one may."""
    name, uri = site.key()
    begin = f'{{"database":"{db.name}",'.encode()
    # As many characters as no later byte changes.
    glob = base64.b64encode(begin)[:len(begin) * 8 // 6].decode() + "*"
    bao.policy("pinned", pinned(name, glob))
    bao.jwt_role("pinned", site.issuer, "pinned")
    sealed_under(db, uri, vault_role="pinned")
    assert opened(db, vault_role="pinned") == ["x", "y"]
    with session(db, vault_role="pinned") as c, fails("28000") as caught:
        c.execute("CREATE TABLE t (v bytea)")
        c.execute("SELECT envelope.create_key('t', %s, '{\"database\": \"another\"}')", (uri,))
    assert "context" in hint(caught) and "another" in caught.value.diag.message_detail
    # Nor does a list of wraps get past it, unless it lets any parameter in: in that no policy looks at contexts.
    token = bao.token("pinned")
    context = base64.b64encode(b'{"database":"another"}').decode()
    wrap = bao.request("POST", f"transit/datakey/wrapped/{name}", {"context": context})["data"]["ciphertext"]
    several = {"context": base64.b64encode(begin).decode(), "batch_input": [{"ciphertext": wrap, "context": context}]}
    with pytest.raises(openbao.Refused) as refused:
        bao.request("POST", f"transit/decrypt/{name}", several, token=token)
    assert refused.value.status == 403
    bao.policy("pinned", pinned(name, glob).replace('"ciphertext"', '"*"'))
    assert bao.request("POST", f"transit/decrypt/{name}", several, token=token)["data"]["batch_results"][0]["plaintext"]


def test_a_policy_that_pins_the_whole_context(site, db, bao):
    """Whether the key binds it cannot be tried then: the token must be let read the key."""
    name, uri = site.key()
    context = json.dumps({"database": db.name, "table": "public.people"}, separators=(",", ":"))
    exact = pinned(name, base64.b64encode(context.encode()).decode())
    bao.policy("exact", exact)
    bao.jwt_role("exact", site.issuer, "exact")
    with fails("28000") as caught:
        sealed_under(db, uri, vault_role="exact")
    assert f"read on transit/keys/{name}" in hint(caught)
    bao.policy("exact", exact + f'\npath "transit/keys/{name}" {{ capabilities = ["read"] }}')
    db.sql("DROP TABLE IF EXISTS people")
    sealed_under(db, uri, vault_role="exact")
    assert opened(db, vault_role="exact") == ["x", "y"]
