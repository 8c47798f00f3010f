"""Where the server tree is, and which user runs servers."""

import os
import pathlib
import pwd
import re
import subprocess

# Set by tests/setup/env.sh's callers; the tree's pg_config, so that no test meets the system's server.
PG_BIN = pathlib.Path(os.environ["ENVELOPE_PG_CONFIG"]).parent
# Servers of other majors that have the extension, by their directories of binaries: those that ENVELOPE_OTHER_PG_BINS
# names (with `:` between them), and those in the trees beside the one under test.
OTHER_PG_BINS = [pathlib.Path(path) for path in os.environ.get("ENVELOPE_OTHER_PG_BINS", "").split(":") if path]
OTHER_PG_BINS += sorted(library.parents[1] / "bin" for library in PG_BIN.parents[3].parent.glob(
    "pg*-dev/lib/postgresql/*/lib/pgrx-example.so"))
VENV_BIN = pathlib.Path(os.environ["ENVELOPE_VENV"]) / "bin"
# The program of tests/setup/openbao.sh.
OPENBAO = pathlib.Path(os.environ["ENVELOPE_OPENBAO"]) / "bao"
ROOT = pathlib.Path(__file__).resolve().parents[2]


def major(pg_bin=PG_BIN):
    """The major version of the server there."""
    version = subprocess.run([pg_bin / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
    return int(re.search(r"\d+", version)[0])


def servers():
    """The binaries of all majors from the oldest at hand to the one under test, which are what an upgrade goes
    through."""
    found = {major(pg_bin): pg_bin for pg_bin in reversed(OTHER_PG_BINS)}
    return [found[number] for number in sorted(found) if number < major()] + [PG_BIN]


def server_user():
    """PostgreSQL refuses to run as root: then the distribution's `postgres` runs it, else oneself."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.getuid())
