"""A PKCS#11 token of a test's own, whichever module plays it."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import place, process

PIN, SO_PIN = "1234", "87654321"
# What a KEK must have, and what a careful administrator takes away.
KEY = {"private": True, "sensitive": True, "extractable": False, "encrypt": True, "decrypt": True,
       "wrap": False, "unwrap": False, "value_len": 32}


class Token:
    """`settings` and `env` are what a cluster needs to use it. Its files are the server user's."""

    module: str

    def __init__(self, label="kek"):
        self.label = label
        # Not below pytest's own directory, which the server's user may not enter.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="envelope-pkcs11-", dir="/tmp"))
        self.pin = PIN
        self.pin_file = self.directory / "pin"
        self.env = self._configure()
        self.write_pin(PIN)
        self.add_token(label)

    def _configure(self):
        """Writes the module's configuration; answers the variables that name it."""
        raise NotImplementedError

    def _own(self, *paths):
        if os.geteuid() == 0:
            user = place.server_user()
            for path in (self.directory, *paths):
                os.chown(path, user.pw_uid, user.pw_gid)

    def write_pin(self, pin, mode=0o600):
        """The PIN file as the server finds it."""
        self.pin_file.write_text(pin + "\n")
        self.pin_file.chmod(mode)
        self._own(self.pin_file)

    @property
    def settings(self):
        return {"envelope.pkcs11_module": self.module, "envelope.pkcs11_pin_file": str(self.pin_file)}

    def call(self, action, **arguments):
        """One action of cryptoki.py, as the server's user."""
        program = self.directory / "cryptoki.py"
        if not program.exists():
            shutil.copy(pathlib.Path(__file__).with_name("cryptoki.py"), program)
            program.chmod(0o644)
        done = subprocess.run(["/usr/bin/python3", str(program), self.module, action, json.dumps(arguments)], cwd="/",
                              env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **self.env}, capture_output=True,
                              text=True, **process.server_identity())
        assert done.returncode == 0, f"{action}: {done.stdout}{done.stderr}"

    def add_token(self, label):
        self.call("init", label=label, so_pin=SO_PIN, pin=self.pin)

    def create_key(self, label="pgkek", token=None, key_type="aes", **attributes):
        """A new key that is fit for a KEK, but for what is given (None leaves an attribute to the module). Its URI."""
        wanted = {"label": label, **KEY, **attributes}
        self.call("generate", token=token or self.label, pin=self.pin, key_type=key_type,
                  attributes={name: value for name, value in wanted.items() if value is not None})
        return self.kek(label, token)

    def import_key(self, value, label="pgkek"):
        """A key of 32 bytes that the test knows."""
        known = {name: setting for name, setting in KEY.items() if name != "value_len"}
        self.call("create", token=self.label, pin=self.pin, value=value.hex(), attributes={"label": label, **known})
        return self.kek(label)

    def change_key(self, label="pgkek", **attributes):
        self.call("change", token=self.label, pin=self.pin, label=label, attributes=attributes)

    def destroy_key(self, label="pgkek"):
        self.call("destroy", token=self.label, pin=self.pin, label=label)

    def set_pin(self, pin):
        """Another PIN of the token; the file stays as it is."""
        self.call("set_pin", token=self.label, pin=self.pin, new=pin)
        self.pin = pin

    def kek(self, label="pgkek", token=None):
        """The URI by which the extension names a key."""
        return f"pkcs11:token={token or self.label};object={label}"

    def destroy(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.destroy()
