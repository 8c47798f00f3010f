"""Key files."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import uuid

from harness import process
from interop import open as reader

from .provider import Provider

NO_SERVER = "a file is there or it is not"


class File(Provider):
    name = "file"
    lacks = {
        "denied": "the operating system's rights are all that a file has: see disabled",
        "throttled": NO_SERVER, "sealed": NO_SERVER, "slow": NO_SERVER, "hanging": NO_SERVER,
        "down": NO_SERVER, "garbage": NO_SERVER, "expired": "nobody logs in to a file",
        "rotated": "a file has one version: move to another file",
    }

    def __init__(self, stack):
        super().__init__(stack)
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="envelope-file-", dir="/tmp"))
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        process.give_to_server(self.directory)

    def new_kek(self):
        path = self.directory / str(uuid.uuid4())
        path.write_bytes(os.urandom(32))
        path.chmod(0o600)
        process.give_to_server(path)
        return f"file://{path}"

    def data_key(self, kek, wrapped, context):
        return reader.unwrap(_path(kek).read_bytes(), wrapped, context)

    @contextlib.contextmanager
    def disabled(self, kek):
        """Others may read it, so it is not used."""
        _path(kek).chmod(0o644)
        try:
            yield
        finally:
            _path(kek).chmod(0o600)

    @contextlib.contextmanager
    def deleted(self, kek):
        away = _path(kek).rename(_path(kek).with_suffix(".away"))
        try:
            yield
        finally:
            away.rename(_path(kek))


def _path(kek):
    return pathlib.Path(kek.removeprefix("file://"))
