"""PKCS#11, with two tokens in software whose answers differ."""

import contextlib
import itertools
import os
import urllib.parse

from harness.kryoptic import Kryoptic as KryopticToken
from harness.pkcs11_faults import Faults
from harness.softhsm import SoftHsm as SoftHsmToken
from interop import kms_wraps

from .provider import Provider

_numbers = itertools.count(1)
# Return values of PKCS#11.
CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_PIN_EXPIRED, CKR_SESSION_COUNT = "30", "32", "a3", "b1"


class _Token(Provider):
    """Keys whose bytes the test knows; a module that stands before the token makes the faults."""

    one_a_server = "envelope.pkcs11_module"
    lacks = {
        "garbage": "a module speaks no protocol: what it hands back is a wrap or none",
        "rotated": "a key of a token has one version: move to another key",
    }

    def __init__(self, stack):
        super().__init__(stack)
        self.token = stack.enter_context(self._start())
        self.faults = Faults(self.token)
        self._keys = {}
        self.conf, self.env = self.token.settings, self.token.env

    def _start(self):
        raise NotImplementedError

    def new_kek(self):
        return self._import(f"kek{next(_numbers)}", os.urandom(32))

    def _import(self, label, key):
        self._keys[label] = key
        return self.token.import_key(key, label)

    def data_key(self, kek, wrapped, context):
        return kms_wraps.unwrap(self._keys[_label(kek)], bytes(wrapped), context)

    def calm(self):
        self.faults.clear()

    def calm_counts(self):
        self.faults.set("log")

    @property
    def requests(self):
        return sum(len(self.faults.calls(name)) for name in ("C_Encrypt", "C_Decrypt"))

    @contextlib.contextmanager
    def _saying(self, *names, text=""):
        for name in names:
            self.faults.set(name, text)
        try:
            yield
        finally:
            for name in names:
                self.faults.take_back(name)

    @contextlib.contextmanager
    def disabled(self, kek):
        """It may not be used for what a KEK does."""
        self.token.change_key(_label(kek), encrypt=False, decrypt=False)
        try:
            yield
        finally:
            self.token.change_key(_label(kek), encrypt=True, decrypt=True)

    @contextlib.contextmanager
    def deleted(self, kek):
        self.token.destroy_key(_label(kek))
        try:
            yield
        finally:
            # From the copy in the vault, as it were.
            self._import(_label(kek), self._keys[_label(kek)])

    @contextlib.contextmanager
    def denied(self, kek):
        self.token.write_pin("4321")
        try:
            yield
        finally:
            self.token.write_pin(self.token.pin)

    def expired(self, kek):
        return self._saying("login", text=CKR_PIN_EXPIRED)

    def throttled(self, kek):
        """It has no session left."""
        return self._saying("encrypt", "decrypt", text=CKR_SESSION_COUNT)

    def sealed(self, kek):
        """Taken out."""
        return self._saying("encrypt", "decrypt", "find", text=CKR_DEVICE_REMOVED)

    def down(self, kek):
        return self._saying("encrypt", "decrypt", "find", text=CKR_DEVICE_ERROR)

    def slow(self, kek):
        return self._saying("slow", text="500")

    def hanging(self, kek):
        return self._saying("hang")


class SoftHsm(_Token):
    name = "softhsm"
    # A process that ends while it logs in can leave the token empty: findings/softhsm-login-rewrites-token.sh.
    outlives_crashes = False

    def _start(self):
        return SoftHsmToken()


class Kryoptic(_Token):
    name = "kryoptic"

    def _start(self):
        return KryopticToken()


def _label(kek):
    attributes = dict(part.split("=") for part in kek.removeprefix("pkcs11:").split(";"))
    return urllib.parse.unquote(attributes["object"])
