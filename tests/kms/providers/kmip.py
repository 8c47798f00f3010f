"""KMIP, as PyKMIP speaks it."""

import contextlib

from harness import pykmip
from harness.authority import DAY
from harness.tcp_proxy import TcpProxy
from interop import kms_wraps

from .provider import BehindTcpProxy


class PyKmip(BehindTcpProxy):
    name = "pykmip"
    lacks = {
        "throttled": "the protocol has no such answer",
        "sealed": "the protocol has no such state: a server that is not up is down",
        "rotated": "PyKMIP cannot rekey, and a key that was has another id: move to that",
    }
    # KMIP has no way back from these.
    for_good = frozenset({"disabled", "deleted"})

    def __init__(self, stack):
        super().__init__(stack)
        self.server = stack.enter_context(pykmip.PyKmip())
        self.proxy = stack.enter_context(TcpProxy("127.0.0.1", self.server.port))
        self.conf = self.server.conf_of_client()

    def new_kek(self):
        return f"kmip://{self.proxy.address}/{self.server.create_key()}"

    def data_key(self, kek, wrapped, context):
        """The KEK is asked for, which the extension never does."""
        key = bytes.fromhex(self.server.do(f"client.get({_id(kek)!r}).value.hex()"))
        return kms_wraps.unwrap(key, bytes(wrapped), context)

    @contextlib.contextmanager
    def _shown(self, certificate):
        """The extension shows another certificate."""
        before = [path.read_bytes() for path in self.server.client]
        self._put([path.read_bytes() for path in certificate])
        try:
            yield
        finally:
            self._put(before)

    def _put(self, contents):
        for path, content in zip(self.server.client, contents):
            path.write_bytes(content)

    def denied(self, kek):
        """The KEK is another client's."""
        return self._shown(self.server.authority.issue("stranger", client=True))

    def expired(self, kek):
        return self._shown(self.server.authority.issue("late", client=True, valid=(-2 * DAY, -DAY)))

    @contextlib.contextmanager
    def disabled(self, kek):
        self.server.deactivate(_id(kek))
        yield

    @contextlib.contextmanager
    def deleted(self, kek):
        self.server.deactivate(_id(kek))
        self.server.destroy_key(_id(kek))
        yield


def _id(kek):
    return kek.rpartition("/")[2]
