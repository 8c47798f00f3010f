"""A server whose random bytes come by system call, and can fail to come (no_random.c)."""

import os
import pathlib
import shutil
import subprocess
import tempfile

from . import place

SOURCE = pathlib.Path(__file__).with_suffix(".c")


class NoRandom:
    """`env` is that of a server."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="envelope-random-", dir="/tmp"))
        library, self._log = self.directory / "no_random.so", self.directory / "log"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
        library.chmod(0o755)
        self._log.touch()
        if os.geteuid() == 0:
            user = place.server_user()
            for path in (self.directory, self._log):
                os.chown(path, user.pw_uid, user.pw_gid)
        self.env = {"LD_PRELOAD": str(library), "NO_RANDOM": str(self.directory)}

    def fails(self, does):
        """From now on, until it is told otherwise."""
        path = self.directory / "fails"
        path.touch() if does else path.unlink()

    def drawn(self, pid):
        """How many bytes a process has asked for, call by call."""
        calls = [line.split() for line in self._log.read_text().splitlines()]
        return [int(length) for process, length in calls if int(process) == pid]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory)
