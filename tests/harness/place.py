"""Where the server tree is, and which user runs servers."""

import os
import pathlib
import pwd

# Set by tests/setup/env.sh's callers; the tree's pg_config, so that no test meets the system's server.
PG_BIN = pathlib.Path(os.environ["ENVELOPE_PG_CONFIG"]).parent
VENV_BIN = pathlib.Path(os.environ["ENVELOPE_VENV"]) / "bin"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def server_user():
    """PostgreSQL refuses to run as root: then the distribution's `postgres` runs it, else oneself."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
