"""The transit engine of OpenBao, which is HashiCorp Vault's."""

import base64
import contextlib
import itertools
import pathlib
import tempfile

from harness import openbao, process
from harness.tcp_proxy import TcpProxy
from interop import contexts

from .provider import BehindTcpProxy

_numbers = itertools.count(1)
POLICY = "suite"
QUOTA = "suite"


class OpenBao(BehindTcpProxy):
    """Behind a proxy, which makes the faults of the way to it; all others are the server's own."""

    name = "openbao"
    for_good = frozenset({"deleted"})
    # The proxy counts connections, and a call has one: a new wrap is made and tried in one, and then unwrapped. From one key
    # to another a data key goes by way of the server.
    costs = {"generate": 2, "unwrap": 1, "rewrap": 3}

    def __init__(self, stack):
        super().__init__(stack)
        self.server = openbao.OpenBao()
        stack.callback(self.server.destroy)
        self.proxy = stack.enter_context(TcpProxy("127.0.0.1", self.server.port))
        self._rights = {}
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="envelope-vault-", dir="/tmp")))
        directory.chmod(0o755)
        self._token_file = directory / "token"
        self._give_rights()
        self._new_token()
        self.conf = {"envelope.vault_auth": "token", "envelope.vault_token_file": self._token_file}

    def _new_token(self):
        self._token = self.server.token(POLICY, type="service")
        self._token_file.write_text(self._token)
        self._token_file.chmod(0o600)
        process.give_to_server(self._token_file)

    def _give_rights(self, denied=None):
        """To all keys but one; what is denied goes before what is allowed."""
        rights = ("datakey/plaintext", "decrypt", "encrypt", "rewrap")
        rules = [f'path "transit/{right}/*" {{ capabilities = ["update"] }}' for right in rights]
        rules.append('path "transit/keys/*" { capabilities = ["read"] }')
        if denied:
            rules += [f'path "transit/{right}/{denied}" {{ capabilities = ["deny"] }}' for right in (*rights, "keys")]
        self.server.policy(POLICY, "\n".join(rules))

    def new_kek(self):
        name = f"kek{next(_numbers)}"
        self.server.create_key(name)
        return f"vault+http://{self.proxy.address}/transit/keys/{name}"

    def data_key(self, kek, wrapped, context):
        asked = {"ciphertext": bytes(wrapped).decode(), "context": contexts.transit(context)}
        answer = self.server.request("POST", f"transit/decrypt/{_name(kek)}", asked)
        return base64.b64decode(answer["data"]["plaintext"])

    @property
    def requests(self):
        return self.proxy.connections

    @contextlib.contextmanager
    def rotated(self, kek):
        self.server.rotate_key(_name(kek))
        yield

    @contextlib.contextmanager
    def disabled(self, kek):
        self.server.disable_key(_name(kek))
        try:
            yield
        finally:
            self.server.enable_key(_name(kek))

    @contextlib.contextmanager
    def deleted(self, kek):
        self.server.delete_key(_name(kek))
        yield

    @contextlib.contextmanager
    def denied(self, kek):
        self._give_rights(denied=_name(kek))
        try:
            yield
        finally:
            self._give_rights()

    @contextlib.contextmanager
    def expired(self, kek):
        """The token is no longer taken; the file has it still. Then there is a new one in the file."""
        self.server.request("POST", "auth/token/revoke", {"token": self._token})
        try:
            yield
        finally:
            self._new_token()

    @contextlib.contextmanager
    def throttled(self, kek):
        # A day for one more: the machine may be busy.
        self.server.quota(QUOTA, 1, "transit/", interval="24h")
        # What may still pass.
        with contextlib.suppress(openbao.Refused):
            while True:
                self.server.key(_name(kek))
        try:
            yield
        finally:
            self.server.drop_quota(QUOTA)

    @contextlib.contextmanager
    def sealed(self, kek):
        self.server.seal()
        try:
            yield
        finally:
            self.server.unseal()


def _name(kek):
    return kek.rpartition("/")[2]
