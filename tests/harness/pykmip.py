"""PyKMIP as a KMIP server: what it does well is AES-GCM with associated data, from KMIP 1.4 on."""

import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

from . import place, process
from .authority import Authority

RUN = pathlib.Path(__file__).with_name("pykmip_run.py")
ENV = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
       "PYTHONWARNINGS": "ignore"}


@functools.cache
def python():
    """Of the venv that PyKMIP is in, which is made when it is not there."""
    done = subprocess.run([place.ROOT / "tests/setup/pykmip.sh"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip()) / "bin/python"


class PyKmip:
    """A server on a free port of 127.0.0.1 that runs as the server's user, with a certificate authority of its own.
    Whoever makes a key owns it, and nobody else may use it: clients are told apart by their certificates' names.
    `versions` are those of KMIP that it speaks, all that it knows unless given."""

    def __init__(self, versions=()):
        # Not below pytest's own directory, which the server's user may not enter.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="envelope-kmip-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.port = process.free_port()
        self.versions = versions
        self.authority = Authority()
        self.client = self.authority.issue("envelope", client=True)
        certificate, key = self.authority.issue("server")
        (self.directory / "policy").mkdir()
        self.conf = self.directory / "server.conf"
        self.conf.write_text("\n".join([
            "[server]", "hostname=127.0.0.1", f"port={self.port}", f"certificate_path={certificate}",
            f"key_path={key}", f"ca_path={self.authority.ca}", "auth_suite=TLS1.2", "enable_tls_client_auth=True",
            f"policy_path={self.directory}/policy", f"database_path={self.directory}/keys.db", ""]))
        self.log = self.directory / "server.log"
        self._administrator, self._asking = None, threading.Lock()
        self.hand_over()
        self.start()

    def hand_over(self):
        """All files to the server's user."""
        user = place.server_user()
        if os.geteuid() == 0:
            for path in (self.directory, *self.directory.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self):
        with open(self.directory / "output", "ab") as output:
            self._server = process.spawn([python(), RUN, "serve", self.conf, self.log, *self.versions], env=ENV,
                                         log=output, as_server_user=True)
        self.pid = self._server.pid
        try:
            process.wait_until(self._answers, "PyKMIP start")
        except BaseException:
            self.stop()
            raise
        return self

    def _answers(self):
        if self._server.poll() is not None:
            raise RuntimeError("PyKMIP did not start:\n" + (self.directory / "output").read_text(errors="replace"))
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
                self._context().wrap_socket(plain, server_hostname="127.0.0.1").close()
            return True
        except OSError:
            return False

    def _context(self):
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.load_cert_chain(*self.client)
        return context

    def stop(self):
        """At once: asked nicely it waits for its connections. Its helper processes are of its session."""
        if self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()

    def pause(self):
        """It accepts connections and says nothing, until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self):
        os.kill(self.pid, signal.SIGCONT)

    def destroy(self):
        self.stop()
        if self._administrator:
            # It ends with its input.
            self._administrator.communicate()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.authority.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()

    # -- use ----------------------------------------------------------------------------------------------------

    def conf_of_client(self, client=None):
        """What the extension is told about reaching it."""
        certificate, key = client or self.client
        return {"envelope.kmip_ca_file": self.authority.ca, "envelope.kmip_client_cert_file": certificate,
                "envelope.kmip_client_key_file": key}

    def kek(self, key, host="127.0.0.1"):
        """The URI by which the extension names a key."""
        return f"kmip://{host}:{self.port}/{key}"

    def do(self, statement, client=None):
        """What an expression over PyKMIP's own `client` and `enums` gives, as text."""
        certificate, key = client or self.client
        asked = {"host": "127.0.0.1", "port": self.port, "cert": str(certificate), "key": str(key),
                 "ca": str(self.authority.ca), "version": "KMIP_" + (*self.versions, "1.4")[0].replace(".", "_"),
                 "statement": statement}
        with self._asking:
            if self._administrator is None:
                # One for all: to load the library takes longer than what is asked of it.
                self._administrator = subprocess.Popen([python(), RUN, "do"], env=ENV, stdin=subprocess.PIPE,
                                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            print(json.dumps(asked), file=self._administrator.stdin, flush=True)
            told = json.loads(self._administrator.stdout.readline())
        assert "given" in told, told["error"]
        return told["given"]

    def create_key(self, usage=("ENCRYPT", "DECRYPT"), length=256, algorithm="AES", active=True):
        """A new key's unique identifier."""
        masks = ", ".join(f"enums.CryptographicUsageMask.{name}" for name in usage)
        return self.do(f"[key := client.create(enums.CryptographicAlgorithm.{algorithm}, {length}, "
                       f"cryptographic_usage_mask=[{masks}]), {active} and client.activate(key)][0]")

    def activate(self, key):
        self.do(f"client.activate({key!r})")

    def deactivate(self, key):
        """For good: KMIP has no way back."""
        self.do(f"client.revoke(enums.RevocationReasonCode.CESSATION_OF_OPERATION, {key!r})")

    def destroy_key(self, key):
        """An active key must be deactivated first."""
        self.do(f"client.destroy({key!r})")
