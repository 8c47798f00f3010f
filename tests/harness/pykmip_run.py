"""Runs in PyKMIP's own venv: the server, or what an administrator does by its client library.

    pykmip_run.py serve CONF LOG [VERSION…]      only these versions of KMIP, as other servers have others
    pykmip_run.py do                             what stands on its input
"""

import ctypes
import json
import os
import signal
import sys


PR_SET_PDEATHSIG = 1


def serve(conf, log, *versions):
    # Its helper processes end with it, however it ends.
    os.register_at_fork(after_in_child=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    from kmip.core.messages.contents import ProtocolVersion
    from kmip.services.server import engine, server

    made = engine.KmipEngine.__init__

    def make(self, *args, **kw):
        made(self, *args, **kw)
        if versions:
            self._protocol_versions = [ProtocolVersion(*map(int, version.split("."))) for version in versions]
            self.default_protocol_version = self._protocol_version = self._protocol_versions[0]

    engine.KmipEngine.__init__ = make
    with server.KmipServer(config_path=conf, log_path=log) as running:
        running.serve()


def do():
    """A statement a line, with whose it is; a line for each, with what it gives or its error."""
    import kmip.pie.objects
    from kmip import enums
    from kmip.pie.client import ProxyKmipClient

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with ProxyKmipClient(hostname=asked["host"], port=asked["port"], cert=asked["cert"], key=asked["key"],
                                 ca=asked["ca"], kmip_version=enums.KMIPVersion[asked["version"]]) as client:
                names = {"client": client, "enums": enums, "kmip": kmip}
                told = {"given": str(eval(asked["statement"], names))}
        except Exception as error:
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


{"serve": serve, "do": do}[sys.argv[1]](*sys.argv[2:])
