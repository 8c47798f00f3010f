"""Files as an operator or an orchestrator puts them for the server: tokens, secret ids."""

import os
import pathlib
import shutil
import tempfile

from . import process


class SecretsDir:
    """A directory of the server's user, gone after its `with` block."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="envelope-secrets-", dir="/tmp"))
        process.give_to_server(self.path)

    def write(self, name, text, mode=0o600):
        """A file that is there as a whole or not at all; its path."""
        path = self.path / name
        new = self.path / f"{name}.new"
        new.write_text(text)
        os.chmod(new, mode)
        process.give_to_server(new)
        new.rename(path)
        return path

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)
