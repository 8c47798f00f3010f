"""Runs in PyKMIP's own venv: the server, or one thing that an administrator does by its client library.

    pykmip_run.py serve CONF LOG [VERSION…]      only these versions of KMIP, as other servers have others
    pykmip_run.py do '{"host": …, "port": …, "cert": …, "key": …, "ca": …, "version": …}' STATEMENT
"""

import json
import sys


def serve(conf, log, *versions):
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


def do(where, statement):
    import kmip.pie.objects
    from kmip import enums
    from kmip.pie.client import ProxyKmipClient

    where = json.loads(where)
    with ProxyKmipClient(hostname=where["host"], port=where["port"], cert=where["cert"], key=where["key"],
                         ca=where["ca"], kmip_version=enums.KMIPVersion[where["version"]]) as client:
        print(eval(statement, {"client": client, "enums": enums, "kmip": kmip}))


{"serve": serve, "do": do}[sys.argv[1]](*sys.argv[2:])
