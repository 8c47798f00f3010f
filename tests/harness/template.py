"""What initdb makes, made once for a server tree: clusters begin as copies of it."""

import fcntl
import hashlib
import os
import shutil

from . import place, process

# Goes with the tree, so that another version of the server has templates of its own.
PLACE = place.PG_BIN.parents[3] / "templates"


def data_directory(options=(), pg_bin=place.PG_BIN):
    """The data directory that initdb makes with these options beside those of all tests."""
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N", *options]
    made = PLACE / hashlib.sha256("\0".join([str(pg_bin), *options]).encode()).hexdigest()[:16]
    PLACE.mkdir(exist_ok=True)
    # Another process of the tests may be about it.
    with open(PLACE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(made, options, pg_bin)
    return made


def _make(made, options, pg_bin):
    work = made.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if os.geteuid() == 0:
        user = place.server_user()
        os.chown(work, user.pw_uid, user.pw_gid)
    process.run_as_server(pg_bin / "initdb", "-D", work / "whole", *options)
    # Almost all of its WAL is zeros; copies of a sparse file are sparse.
    process.run_as_server("/bin/cp", "-a", "--sparse=always", work / "whole", work / "sparse")
    (work / "sparse").rename(made)
    shutil.rmtree(work)
