"""Faults of the KMS that are no answer of the KMS, each fault where it hurts most, credentials that change, and what
interrupted requests leave behind."""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import psycopg
import pytest
from harness import faults, moto as kms, place, process
from harness.cluster import Cluster
from harness.database import Database
from harness.work import Work
from sqlstate import REFUSED_OR_BROKEN, fails

OPEN = "SELECT envelope_decrypt_text('people', ssn) FROM people"
# What never comes to an end; all else is answered at once, however long a busy machine takes.
SILENT = ("hang", "hang_in_body", "drip", "silent", "silent TLS")


def timeout(answer):
    return "2s" if answer in SILENT else "20s"


@pytest.fixture(scope="module")
def shared(aws_cluster):
    db = Database(aws_cluster)
    db.people(rows=["x"])
    return db


@pytest.fixture
def aws(shared, proxy):
    """`people` has a key and the value x, `fresh` has neither."""
    shared.sql("DROP TABLE IF EXISTS fresh")
    shared.people("fresh")
    return shared


@contextlib.contextmanager
def session(db, state, kms_timeout="20s"):
    """A session in one of the three states, and the statement that asks the KMS there."""
    with db.connect() as c:
        c.execute("LOAD 'pgrx-example'")
        c.execute("SET envelope.kms_max_attempts = 1")
        if state == "warm, expired":
            c.execute("SET envelope.cache_max_uses = 1")
            assert c.execute(OPEN).fetchone() == ("x",)
        c.execute(f"SET envelope.kms_timeout = '{kms_timeout}'")
        yield c, "INSERT INTO fresh VALUES (1, 'y')" if state == "new" else OPEN


STATES = ["new", "cold", "warm, expired"]


def check_unharmed(db, c, query):
    """After a fault: nothing half made, and once the KMS is back the session goes on."""
    assert db.value("SELECT count(*) FROM envelope.keyring_table WHERE relation::oid = 'fresh'::regclass") == 0
    c.execute("SELECT envelope.flush_cache()")
    c.execute("RESET envelope.aws_endpoint_url")
    c.execute("RESET envelope.kms_timeout")
    c.execute(query)
    assert c.execute(OPEN).fetchone() == ("x",)


# -- no answer of the KMS -------------------------------------------------------------------------------------------


class Silent:
    """Accepts connections, reads nothing and says nothing; behind TLS with a certificate of its own if it has one."""

    def __init__(self, certificate=None):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._accepted = []
        self.connected = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._accepted.append(connection)
                self.connected.set()
                if self._context:
                    with contextlib.suppress(OSError):
                        self._accepted.append(self._context.wrap_socket(connection, server_side=True))

    def close(self):
        # Wakes the thread in accept().
        self._listener.shutdown(socket.SHUT_RDWR)
        for s in (self._listener, *self._accepted):
            s.close()


@pytest.fixture
def silent():
    s = Silent()
    yield s
    s.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", path, "-out", path.with_suffix(".crt"), "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    with open(path, "a") as f:
        f.write(path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def self_signed(certificate):
    s = Silent(certificate)
    yield s
    s.close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("endpoint", ["no such host", "nobody listens", "TLS to a plain port", "self-signed",
                                      "silent", "silent TLS"])
def test_no_answer(aws, proxy, silent, self_signed, endpoint, state):
    url = {"no such host": "http://no-such-host.invalid:1",
           "nobody listens": f"http://127.0.0.1:{process.free_port()}",
           "TLS to a plain port": proxy.url.replace("http:", "https:"),
           "self-signed": f"https://127.0.0.1:{self_signed.port}",
           "silent": f"http://127.0.0.1:{silent.port}",
           "silent TLS": f"https://127.0.0.1:{silent.port}"}[endpoint]
    with session(aws, state, timeout(endpoint)) as (c, query):
        proxy.reset_counts()
        c.execute(f"SET envelope.aws_endpoint_url = '{url}'")
        with fails("58030") as caught:
            c.execute(query)
        assert caught.value.diag.message_hint
        assert not proxy.counts
        check_unharmed(aws, c, query)


# -- answers, by the state in which they meet a session -------------------------------------------------------------


ANSWERS = {
    **REFUSED_OR_BROKEN,
    "expired_token": "28000",
    "drip": "58030",
    "another_plaintext": "XX001",
    "another_key": "XX001",
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("answer", ANSWERS)
def test_answer(aws, proxy, answer, state):
    with session(aws, state, timeout(answer)) as (c, query):
        proxy.reset_counts()
        proxy.fault("*", getattr(faults, answer))
        with fails(ANSWERS[answer]):
            c.execute(query)
        # A wrap that does not give its key back is noticed by the second request.
        assert sum(proxy.counts.values()) == (2 if (answer, state) == ("another_plaintext", "new") else 1)
        proxy.clear()
        check_unharmed(aws, c, query)


def test_answers_after_the_time_to_live(aws, proxy):
    """As above, with keys whose time is over; one wait for all sessions."""
    with contextlib.ExitStack() as stack:
        sessions = {}
        for answer in ANSWERS:
            c = sessions[answer] = stack.enter_context(aws.connect())
            c.execute("LOAD 'pgrx-example'")
            for setting in ("cache_ttl = 1", f"kms_timeout = '{timeout(answer)}'", "kms_max_attempts = 1"):
                c.execute(f"SET envelope.{setting}")
            assert c.execute(OPEN).fetchone() == ("x",)
        time.sleep(1.1)
        for answer, c in sessions.items():
            proxy.fault("Decrypt", getattr(faults, answer))
            with fails(ANSWERS[answer]):
                c.execute(OPEN)
            assert c.execute("SELECT keys_cached FROM envelope.stats").fetchone() == (0,), answer
            proxy.clear()
            c.execute("SELECT envelope.flush_cache()")
            assert c.execute(OPEN).fetchone() == ("x",), answer


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize("answer", ["throttle", "internal", "reset"])
def test_attempts(aws, proxy, answer, attempts):
    with session(aws, "cold") as (c, query):
        c.execute(f"SET envelope.kms_max_attempts = {attempts}")
        proxy.reset_counts()
        proxy.fault("Decrypt", getattr(faults, answer))
        with fails(ANSWERS[answer]):
            c.execute(query)
        assert proxy.counts == {"Decrypt": attempts}


def test_throttled_until_time_is_up(aws, proxy):
    """In a pause between attempts; nobody would be told of a quota by "no answer"."""
    with session(aws, "cold", "2s") as (c, query):
        c.execute("SET envelope.kms_max_attempts = 100")
        proxy.reset_counts()
        proxy.fault("Decrypt", faults.throttle)
        with fails("53400") as caught:
            c.execute(query)
        assert proxy.counts["Decrypt"] >= 1
        assert "11111111-2222" in caught.value.diag.message_detail


def peak_memory(pid):
    """kB."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


@pytest.mark.parametrize("state", STATES)
def test_an_endless_answer_is_not_read_to_its_end(aws, proxy, state):
    with session(aws, state) as (c, query):
        pid = c.info.backend_pid
        with contextlib.suppress(psycopg.Error):
            proxy.fault("*", faults.throttle)
            c.execute(query)
        c.execute("SELECT envelope.flush_cache()")
        before = peak_memory(pid)
        proxy.fault("*", faults.endless)
        with fails("58030"):
            c.execute(query)
        assert peak_memory(pid) - before < 16 * 1024
        proxy.clear()
        check_unharmed(aws, c, query)


def test_a_slow_answer_in_time_counts(aws, proxy):
    with session(aws, "cold") as (c, query):
        proxy.fault("Decrypt", faults.delay(0.5))
        assert c.execute(query).fetchone() == ("x",)
        assert c.execute("SELECT kms_requests, kms_failures FROM envelope.stats").fetchone() == (1, 0)


# -- credentials ----------------------------------------------------------------------------------------------------


@pytest.fixture
def credentials():
    """A directory that the server's user may read, and a function that writes the credentials file there."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-credentials-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(base, place.server_user().pw_uid, -1)
    path = base / "credentials"

    def write(key):
        # As tools do it: whole, under another name, then renamed.
        new = base / "new"
        new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n"
                       f"aws_session_token = token{key}\n")
        if os.geteuid() == 0:
            os.chown(new, place.server_user().pw_uid, -1)
        new.rename(path)

    write("AKIDFIRST")
    yield path, write
    shutil.rmtree(base)


def signed_by(used):
    """Refuses expired credentials as AWS does: those that are not the newest; notes who has signed."""

    def fault(x, wanted=None):
        key = re.search(r"Credential=(\w+)/", x._handler.headers["Authorization"])[1]
        used.append(key)
        (faults.expired_token if wanted and key != wanted else faults.none)(x)

    return fault


def test_credentials_renewed_within_a_session(moto, proxy, credentials):
    path, write = credentials
    conf = {"envelope.default_kek": kms.kek(moto.create_key()), "envelope.aws_region": kms.REGION,
            "envelope.aws_endpoint_url": proxy.url}
    used = []
    note = signed_by(used)
    with Cluster(conf=conf, env={"AWS_SHARED_CREDENTIALS_FILE": str(path)}) as cluster:
        db = Database(cluster)
        proxy.fault("*", note)
        db.people(rows=["x"])
        with db.connect() as c:
            assert c.execute(OPEN).fetchone() == ("x",)
            assert set(used) == {"AKIDFIRST"}
            # Expired, and not yet renewed.
            c.execute("SELECT envelope.flush_cache()")
            proxy.fault("*", lambda x: note(x, "AKIDSECOND"))
            with fails("28000"):
                c.execute(OPEN)
            # Renewed: the same session goes on, by itself, a moment later.
            write("AKIDSECOND")
            used.clear()

            def resumed():
                try:
                    return c.execute(OPEN).fetchone() == ("x",)
                except psycopg.Error as e:
                    assert e.sqlstate == "28000"
                    return False

            process.wait_until(resumed, "the new credentials are used")
            assert used[-1] == "AKIDSECOND" and "AKIDFIRST" not in used
            # Taken away altogether.
            path.unlink()
            c.execute("SELECT envelope.flush_cache()")
            proxy.fault("*", lambda x: note(x, "AKIDTHIRD"))
            for _ in range(2):
                with fails("28000"):
                    c.execute(OPEN)
                c.execute("SELECT envelope.flush_cache()")
            write("AKIDTHIRD")
            assert c.execute(OPEN).fetchone() == ("x",)
            assert not any("secret" in line for line in cluster.log.read_text().splitlines())


# -- interrupted ----------------------------------------------------------------------------------------------------


@pytest.fixture
def witness(aws):
    """Another session: it has the key, its backend stays the same, and it works all along."""
    with aws.connect() as c:
        assert c.execute(OPEN).fetchone() == ("x",)
        # The checkpointer's start tells a crash of another backend, after which the postmaster starts all anew.
        same = """SELECT pg_backend_pid(), pg_postmaster_start_time(), backend_start
                  FROM pg_stat_activity WHERE backend_type = 'checkpointer'"""
        before = c.execute(same).fetchone()
        yield c
        assert c.execute(same).fetchone() == before
        assert c.execute(OPEN).fetchone() == ("x",)


HANGS = ["hang", "hang_in_body", "drip", "silent", "silent TLS", "between attempts"]


@pytest.mark.parametrize("how", ["cancel", "terminate"])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("where", HANGS)
def test_interrupt(aws, proxy, silent, witness, where, state, how):
    with session(aws, state) as (c, query):
        c.execute("SET envelope.kms_timeout = '60s'")
        proxy.reset_counts()
        if where == "between attempts":
            # The SDK's pauses grow; in one of them the session is interrupted.
            c.execute("SET envelope.kms_max_attempts = 100")
            proxy.fault("*", faults.throttle)
            asked = lambda: sum(proxy.counts.values()) >= 2
        elif where.startswith("silent"):
            scheme = "https" if where == "silent TLS" else "http"
            c.execute(f"SET envelope.aws_endpoint_url = '{scheme}://127.0.0.1:{silent.port}'")
            asked = silent.connected.is_set
        else:
            proxy.fault("*", getattr(faults, where))
            asked = lambda: sum(proxy.counts.values()) >= 1
        asking = Work(c.execute, query)
        process.wait_until(asked, "the request is under way")
        pid = c.info.backend_pid
        waits = "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = %s"
        process.wait_until(lambda: witness.execute(waits, (pid,)).fetchone()[0], "it waits")
        assert witness.execute(OPEN).fetchone() == ("x",)
        witness.execute(f"SELECT pg_{how}_backend(%s)", (pid,))
        assert asking.error().sqlstate == ("57014" if how == "cancel" else "57P01")
        proxy.clear()
        if how == "cancel":
            check_unharmed(aws, c, query)
        else:
            process.wait_until(lambda: not process.alive(pid), "the backend ends")


@pytest.fixture
def at_exit(aws):
    """Has a session load a library with a destructor; who ran that is what is returned."""
    # Where the server's user may read and write.
    ended, library = aws.cluster.base / "ended", aws.cluster.base / "at_exit.so"
    headers = subprocess.run([place.PG_BIN / "pg_config", "--includedir-server"], check=True, capture_output=True,
                             text=True).stdout.strip()
    subprocess.run(["gcc", "-shared", "-fPIC", f"-I{headers}", f'-DENDED="{ended}"', "-o", library,
                    place.ROOT / "tests/harness/at_exit.c"], check=True)
    library.chmod(0o755)

    def load(c):
        c.execute(f"LOAD '{library}'")
        return c.info.backend_pid

    load.ended = lambda: [int(line) for line in ended.read_text().split()]
    return load


def test_a_backend_with_a_client_ends_without_the_libraries_destructors(aws, at_exit):
    """The client's thread may be at work then, and the TLS library aborts where it has lost its random numbers."""
    with aws.connect() as c:
        without = at_exit(c)
    with aws.connect() as c:
        used = at_exit(c)
        assert c.execute(OPEN).fetchone() == ("x",)
    with aws.connect() as c, aws.connect() as witness:
        terminated = at_exit(c)
        assert c.execute(OPEN).fetchone() == ("x",)
        witness.execute("SELECT pg_terminate_backend(%s, 10000)", (terminated,))
    for pid in (without, used, terminated):
        process.wait_until(lambda: not process.alive(pid), "the backend ends")
    assert at_exit.ended() == [without]


def resources(pid):
    """Threads and open files of a backend."""
    return len(os.listdir(f"/proc/{pid}/task")), len(os.listdir(f"/proc/{pid}/fd"))


def limit_statements(c, milliseconds):
    """This statement, too, is under the limit there is."""
    while True:
        with contextlib.suppress(psycopg.errors.QueryCanceled):
            c.execute(f"SET statement_timeout = {milliseconds}")
            return


@pytest.mark.parametrize("where", ["hang", "hang_in_body", "silent"])
def test_nothing_is_left_of_two_hundred_cancelled_requests(aws, proxy, silent, witness, where):
    with session(aws, "cold") as (c, query):
        c.execute("SET envelope.kms_timeout = '20s'")
        c.execute(query)
        if where == "silent":
            c.execute(f"SET envelope.aws_endpoint_url = 'http://127.0.0.1:{silent.port}'")
        else:
            proxy.fault("*", getattr(faults, where))
        threads, files = resources(c.info.backend_pid)
        proxy.reset_counts()
        # Cancelled before the request is sent, while it is, or after: all of it.
        for milliseconds, times in ((10, 80), (20, 60), (40, 40), (80, 20), (2000, 2)):
            limit_statements(c, milliseconds)
            for _ in range(times):
                with fails("57014"):
                    c.execute("SELECT envelope.flush_cache(), envelope_decrypt('people', ssn) FROM people")
        limit_statements(c, 0)
        if where != "silent":
            assert proxy.counts["Decrypt"] >= 2
        proxy.clear()
        c.execute("RESET envelope.aws_endpoint_url")
        c.execute("SELECT envelope.flush_cache()")
        assert c.execute(OPEN).fetchone() == ("x",)

        def gone():
            now = resources(c.info.backend_pid)
            return now[0] <= threads and now[1] <= files + 2

        try:
            process.wait_until(gone, "threads and files are back to what they were")
        except TimeoutError as e:
            raise AssertionError(f"{threads}, {files} became {resources(c.info.backend_pid)}") from e
