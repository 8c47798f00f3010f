"""Kryoptic, a token in software from crates.io, for make test-kms: tests/setup/kryoptic.sh builds it."""

from . import place
from .pkcs11 import Token

MODULE = place.PG_BIN.parents[3].parent / "libkryoptic_pkcs11.so"


class Kryoptic(Token):
    module = str(MODULE)

    def _configure(self):
        conf = self.directory / "kryoptic.conf"
        conf.write_text("".join(f'[[slots]]\nslot = {slot}\ndbtype = "sqlite"\ndbargs = "{self.directory}/{slot}.sql"\n'
                                for slot in range(2)))
        return {"KRYOPTIC_CONF": str(conf)}

    def add_token(self, label):
        # Its slots are those of its configuration, with a token in each, and not yet initialised.
        self.call("init", label=label, so_pin="87654321", pin=self.pin, slot=0 if label == self.label else 1)
