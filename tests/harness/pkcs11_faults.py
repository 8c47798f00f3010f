"""Faults of a token: a module of the tests' own that stands before the real one (pkcs11_faults.c)."""

import os
import pathlib
import shutil
import subprocess

from . import place

SOURCE = pathlib.Path(__file__).with_suffix(".c")


class Faults:
    """Puts the module before that of `token`, whose `settings` and `env` then name it."""

    def __init__(self, token):
        self.token = token
        self.directory = token.directory / "faults"
        self.directory.mkdir()
        behind, library = token.module, token.directory / "faults.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
        library.chmod(0o755)
        token.module = str(library)
        token.env = {**token.env, "PKCS11_BEHIND": behind, "PKCS11_FAULTS": str(self.directory)}
        self.set("log")
        token._own(self.directory)

    def set(self, name, text=""):
        path = self.directory / name
        # Whole or not at all, for who reads it meanwhile; the log is written by the server.
        new = self.directory / f".{name}"
        new.write_text(text)
        if os.geteuid() == 0:
            user = place.server_user()
            os.chown(new, user.pw_uid, user.pw_gid)
        new.rename(path)

    def clear(self):
        """None any more, and an empty log."""
        shutil.rmtree(self.directory)
        self.directory.mkdir(mode=0o755)
        self.set("log")
        self.token._own(self.directory)

    def take_back(self, name):
        (self.directory / name).unlink()

    def calls(self, name):
        """The processes that called a function, once a call."""
        lines = (self.directory / "log").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == name]
