"""SoftHSM, Debian's token in software."""

from .pkcs11 import Token

MODULE = "/usr/lib/softhsm/libsofthsm2.so"


class SoftHsm(Token):
    module = MODULE

    def _configure(self):
        tokens = self.directory / "tokens"
        tokens.mkdir()
        conf = self.directory / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
                        "library.reset_on_fork = false\n")
        self._own(tokens)
        return {"SOFTHSM2_CONF": str(conf)}
