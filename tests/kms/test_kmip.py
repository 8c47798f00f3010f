"""KMIP: what is asked of a key and of a server, and what may stand behind the port instead of one. What all providers
must do is in test_conformance.py."""

import contextlib
import datetime
import pathlib
import re
import shutil
import socket
import ssl
import tempfile
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from harness import memory, process
from harness.authority import Authority
from harness.cluster import Cluster
from harness.database import Database
from harness.pykmip import PyKmip
from interop import kms_wraps
from sqlstate import fails

pytestmark = pytest.mark.xdist_group("pykmip")

HOUR = datetime.timedelta(hours=1)
OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
# Tags and types: a message of an answer, and a length that is longer than any.
ANSWER = b"\x42\x00\x7b\x01"


@pytest.fixture(scope="module")
def server():
    with PyKmip() as s:
        yield s


@pytest.fixture(scope="module")
def key(server):
    return server.create_key()


@pytest.fixture(scope="module")
def db(server, key):
    conf = {**server.conf_of_client(), "envelope.default_kek": server.kek(key), "envelope.allowed_keks": "*",
            "envelope.kms_timeout": "20s"}
    with Cluster(conf=conf) as cluster:
        db = Database(cluster)
        db.people(rows=["x"])
        yield db


@contextlib.contextmanager
def session(db, **settings):
    """One that reaches servers otherwise: a setting's name without `envelope.`, and its value."""
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        for name, value in settings.items():
            c.execute(f"SET envelope.{name} = '{value}'")
        yield c


def client(certificate, secret):
    return {"kmip_client_cert_file": certificate, "kmip_client_key_file": secret}


def check(db, kek, **settings):
    """The SQLSTATE of what `check_kek` finds last, None when it finds nothing, and the WARNINGs that it gives."""
    told = []
    with session(db, **settings) as c:
        # What they say is gone with the connection.
        c.add_notice_handler(lambda notice: told.append((notice.severity, notice.message_primary)))
        _, ok, sqlstate, _ = c.execute("SELECT * FROM envelope.check_kek(%s)", (kek,)).fetchall()[-1]
    assert ok == (sqlstate is None)
    return sqlstate, [message for severity, message in told if severity == "WARNING"]


def opens(db, **settings):
    with session(db, **settings) as c:
        return c.execute(OPEN).fetchone() == ("x",)


# -- keys -------------------------------------------------------------------------------------------------------------


def test_a_wrap_is_aes_gcm_under_the_key_itself(db, server, key):
    """Another program opens it who has the key, which the extension never has."""
    wrapped, context = db.sql("SELECT wrapped, kms_context FROM envelope.wrapped_key")[0]
    kek = bytes.fromhex(server.do(f"client.get({key!r}).value.hex()"))
    assert len(kms_wraps.unwrap(kek, bytes(wrapped), context)) == 32
    with pytest.raises(kms_wraps.DoesNotOpen):
        kms_wraps.unwrap(kek, bytes(wrapped), {**context, "database": "another"})


def test_the_key_itself_is_never_asked_for(db, server):
    begin = len(server.log.read_text())
    db.sql("SELECT envelope.rotate_key('people')")
    assert opens(db)
    assert check(db, db.value("SELECT keks[1] FROM envelope.keys LIMIT 1"))[0] is None
    asked = set(re.findall(r"Processing operation: (\w+)", server.log.read_text()[begin:]))
    assert asked == {"DiscoverVersions", "Encrypt", "Decrypt", "GetAttributes"}


def test_no_copy_is_left_in_memory(db, server, key):
    """Of data keys that were wrapped and unwrapped, of the client's own key, of the KEK, once connections are closed."""
    kek = bytes.fromhex(server.do(f"client.get({key!r}).value.hex()"))
    own = serialization.load_pem_private_key(pathlib.Path(server.client[1]).read_bytes(), None)
    secrets = {"KEK": kek, "client's key": own.private_numbers().private_value.to_bytes(32, "big")}
    db.people("remembered")
    with db.connect() as c:
        c.execute("INSERT INTO remembered VALUES (1, 'x')")
        assert c.execute(OPEN).fetchone() == ("x",)
        for number, (wrapped, context) in enumerate(db.sql("SELECT wrapped, kms_context FROM envelope.wrapped_key "
                                                           "WHERE kek = %s", (server.kek(key),))):
            data_key = kms_wraps.unwrap(kek, bytes(wrapped), context)
            secrets |= {f"{number}": data_key, f"half of {number}": data_key[:16]}
        assert len(secrets) >= 6
        process.wait_until(lambda: not memory.held(c.info.backend_pid, secrets), f"none left of {[*secrets]}", 20)


@pytest.mark.parametrize("made", [
    {"length": 128},
    {"algorithm": "TRIPLE_DES", "length": 192},
    {"active": False},
], ids=["128 bits", "another algorithm", "not yet active"])
def test_a_key_that_cannot_be_a_kek(db, server, made):
    assert check(db, server.kek(server.create_key(**made)))[0] == "55000"


def test_a_key_of_128_bits_wraps_nothing(db, server):
    """Encrypt would take it."""
    unfit = server.kek(server.create_key(length=128))
    db.people("short")
    with fails("55000"):
        db.sql("SELECT envelope.create_key('short', %s)", (unfit,))
    good = server.kek(server.create_key())
    db.sql("SELECT envelope.create_key('short', %s)", (good,))
    with fails("55000"):
        db.sql("SELECT envelope.add_kek('short', %s)", (unfit,))
    assert db.sql("SELECT done, sqlstate FROM envelope.rewrap(%s, %s)", (good, unfit)) == [(False, "55000")]
    assert db.value("SELECT count(*) FROM envelope.wrapped_key WHERE kek = %s", (unfit,)) == 0


@pytest.mark.parametrize("usage", ["ENCRYPT", "DECRYPT"])
def test_a_key_that_may_only(db, server, usage):
    """Such a key must be registered: those that PyKMIP's client has made may both, whatever is asked for."""
    made = ("kmip.pie.objects.SymmetricKey(enums.CryptographicAlgorithm.AES, 256, bytes(32), "
            f"masks=[enums.CryptographicUsageMask.{usage}])")
    key = server.do(f"[key := client.register({made}), client.activate(key)][0]")
    assert check(db, server.kek(key))[0] == "55000"


def test_no_such_key(db, server):
    for name in ("no-such-key", "12345", "a%2Fb%20c"):
        assert check(db, server.kek(name))[0] == "55000"


def test_a_key_that_get_would_hand_out_is_told(db, server, key):
    """PyKMIP's keys are not Sensitive, and it tells nothing of Extractable."""
    sqlstate, warnings = check(db, server.kek(key))
    assert sqlstate is None
    assert len(warnings) == 1 and server.kek(key) in warnings[0]


def test_a_key_that_is_deactivated_and_destroyed(db, server):
    kek = server.create_key()
    db.people("gone")
    db.sql("SELECT envelope.create_key('gone', %s)", (server.kek(kek),))
    db.sql("INSERT INTO gone VALUES (1, 'x')")
    for end in (server.deactivate, server.destroy_key):
        end(kek)
        with fails("55000"):
            db.sql("SELECT envelope_decrypt_text('gone', ssn) FROM gone")


# -- versions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_below_1_4_is_refused(db, version):
    with PyKmip((version,)) as old:
        kek = old.kek(old.create_key())
        settings = {"kmip_ca_file": old.authority.ca, **client(*old.client)}
        assert check(db, kek, **settings)[0] == "55000"
        db.sql("CREATE TABLE IF NOT EXISTS older (id int)")
        with session(db, **settings) as c, fails("55000") as refused:
            c.execute("SELECT envelope.create_key('older', %s)", (kek,))
        assert "1.4" in refused.value.diag.message_hint


def test_a_server_of_2_0_alone(db):
    with PyKmip(("2.0",)) as new:
        settings = {"kmip_ca_file": new.authority.ca, **client(*new.client)}
        sqlstate, warnings = check(db, new.kek(new.create_key()), **settings)
        assert sqlstate is None and len(warnings) == 1
        assert check(db, new.kek(new.create_key(length=128)), **settings)[0] == "55000"


# -- who asks, and who answers ----------------------------------------------------------------------------------------


def test_another_user_may_not(db, server, key):
    stranger = client(*server.authority.issue("stranger", client=True))
    with session(db, **stranger) as c, fails("28000"):
        c.execute(OPEN)
    assert check(db, server.kek(key), **stranger)[0] == "28000"


def test_certificates_that_do_not_do(db, server):
    with Authority("others") as others:
        expired = server.authority.issue("expired", client=True, valid=(-2 * HOUR, -HOUR))
        for certificate in (expired, others.issue("envelope", client=True)):
            with session(db, **client(*certificate)) as c, fails("28000"):
                c.execute(OPEN)
        with session(db, kmip_ca_file=others.ca) as c, fails("58030") as unknown:
            c.execute(OPEN)
        assert "envelope.kmip_ca_file" in unknown.value.diag.message_hint
    with session(db, **client("", "")) as c, fails("58030") as none:
        c.execute(OPEN)
    assert "envelope.kmip_client_cert_file" in none.value.diag.message_hint
    assert opens(db)


def test_another_name_than_the_certificates(db, server, key):
    """That of PyKMIP is for 127.0.0.1 and localhost, and it listens on the first alone."""
    with Listener(server.authority.serving("elsewhere", hosts=["kmip.example.com"]).context, silent) as other:
        assert check(db, other.kek)[0] == "58030"


def test_files_that_do_not_do(db, server):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="envelope-kmip-files-", dir="/tmp"))
    try:
        directory.chmod(0o755)
        certificate, secret = server.client

        def copy(path, name, mode):
            made = directory / name
            shutil.copyfile(path, made)
            made.chmod(mode)
            process.give_to_server(made)
            return made

        link = directory / "link"
        link.symlink_to(secret)
        other = server.authority.issue("another", client=True)[1]
        for settings, sqlstate in [
            (client(certificate, copy(secret, "readable", 0o644)), "28000"),
            (client(certificate, copy(secret, "writable", 0o620)), "28000"),
            (client(certificate, link), "28000"),
            (client(certificate, directory / "missing"), "28000"),
            (client(certificate, directory), "28000"),
            (client(certificate, certificate), "28000"),
            (client(certificate, other), "22023"),
            (client(secret, secret), "22023"),
            (client(copy(certificate, "changeable", 0o666), secret), "22023"),
            (client(certificate, ""), "22023"),
            (client("", secret), "22023"),
            (client("envelope.pem", secret), "22023"),
            ({"kmip_ca_file": secret}, "22023"),
            ({"kmip_ca_file": directory / "missing"}, "22023"),
            ({"kmip_ca_file": f"127.0.0.1:{server.port}={server.authority.ca},/x"}, "22023"),
        ]:
            with session(db, **settings) as c, fails(sqlstate) as refused:
                c.execute(OPEN)
            assert "envelope.kmip_" in str(refused.value), settings
        assert opens(db, kmip_ca_file=f"127.0.0.1:{server.port}={server.authority.ca}")
    finally:
        shutil.rmtree(directory)


def test_files_are_read_anew(db, server):
    certificate, secret = map(pathlib.Path, server.authority.issue("envelope-renewed", client=True))
    good = [path.read_bytes() for path in server.client]
    bad = [certificate.read_bytes(), secret.read_bytes()]
    with session(db, **client(certificate, secret)) as c:
        for contents, is_let_in in [(bad, False), (good, True), (bad, False)]:
            for path, content in zip((certificate, secret), contents):
                path.write_bytes(content)
            c.execute("SELECT envelope.flush_cache()")
            if is_let_in:
                assert c.execute(OPEN).fetchone() == ("x",)
            else:
                with fails("28000"):
                    c.execute(OPEN)


# -- no KMIP server ---------------------------------------------------------------------------------------------------


class Listener:
    """Something else on a port: by TLS if it has a context, and each connection is `behave`'s."""

    def __init__(self, context, behave):
        self._context, self._behave = context, behave
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.kek = f"kmip://127.0.0.1:{self.port}/1"
        self._done = threading.Event()
        self.asked = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError), client:
            client.settimeout(60)
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                client.recv(1 << 16)
                self.asked.set()
                self._behave(client, self._done)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._done.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def silent(client, done):
    done.wait(60)


def says(answer):
    return lambda client, done: client.sendall(answer)


def endless(begin):
    def behave(client, done):
        client.sendall(begin)
        while not done.is_set():
            client.sendall(b"\0" * 65536)

    return behave


def drip(client, done):
    """An answer of a length that may be, a byte at a time."""
    client.sendall(ANSWER + (32768).to_bytes(4, "big"))
    while not done.wait(0.05):
        client.sendall(b"\0")


HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
LONGEST = (65536 - 8).to_bytes(4, "big")


@pytest.mark.parametrize("behave", [
    says(HTTP),
    says(b""),
    says(ANSWER),
    says(ANSWER + (0).to_bytes(4, "big")),
    says(ANSWER + (16).to_bytes(4, "big") + b"\x42\x00\x7a\x01\xff\xff\xff\xf8" + b"\0" * 8),
    endless(b""),
    endless(ANSWER + b"\xff\xff\xff\xf8"),
    endless(ANSWER + LONGEST),
], ids=["HTTP", "nothing", "half a header", "an empty answer", "a length that lies", "zeros", "4 GiB", "noughts"])
def test_what_is_no_kmip(db, server, behave):
    with Listener(server.authority.serving("another").context, behave) as other:
        assert check(db, other.kek, kms_max_attempts=1)[0] == "58030"
        assert other.asked.is_set()


def test_what_is_no_tls(db, server):
    for behave in (says(HTTP), says(b"SSH-2.0-OpenSSH_9.2p1\r\n"), says(b"")):
        with Listener(None, behave) as other:
            assert check(db, other.kek, kms_max_attempts=1)[0] == "58030"
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port = closed.getsockname()[1]
    assert check(db, f"kmip://127.0.0.1:{port}/1", kms_max_attempts=1)[0] == "58030"
    assert check(db, f"kmip://no-such-host.invalid:{port}/1", kms_max_attempts=1)[0] == "58030"


def test_a_servers_certificate_that_has_expired(db, server):
    context = server.authority.serving("expired-server", valid=(-2 * HOUR, -HOUR)).context
    with Listener(context, silent) as other:
        assert check(db, other.kek)[0] == "58030"


def test_a_server_of_tls_1_3_that_wants_a_certificate(db, server):
    """It says so only when it is read from."""
    context = server.authority.serving("strict").context
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(server.authority.ca)
    with Listener(context, silent) as other:
        assert check(db, other.kek, **client("", ""))[0] == "28000"


@pytest.mark.parametrize("behave", [silent, drip])
def test_a_server_that_takes_for_ever(db, server, behave):
    with Listener(server.authority.serving("slow").context, behave) as other:
        assert check(db, other.kek, kms_timeout="1s")[0] == "58030"


def test_a_wait_can_be_cancelled(db, server):
    with Listener(server.authority.serving("silent").context, silent) as other, session(db, kms_timeout="300s") as c:
        cancel = threading.Thread(target=lambda: other.asked.wait(60) and c.cancel())
        cancel.start()
        with fails("57014"):
            c.execute("SELECT * FROM envelope.check_kek(%s)", (other.kek,))
        cancel.join()
        assert c.execute(OPEN).fetchone() == ("x",)


def test_a_server_that_is_away_and_comes_back(db, server):
    with session(db, kms_max_attempts=1) as c:
        assert c.execute(OPEN).fetchone() == ("x",)
        c.execute("SELECT envelope.flush_cache()")
        server.stop()
        try:
            with fails("58030"):
                c.execute(OPEN)
        finally:
            server.start()
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchone() == ("x",)
