"""Terms and tokens: payloads under an index key."""

import hashlib
import hmac

from . import keys
from .context import netstring
from .errors import EnvelopeError
from .rules import Rule

TOKEN = 8
NO_VALUE_HAS = b"\xff"


def signed(raw):
    return int.from_bytes(raw, "big", signed=True)


class IndexKey:
    """From the data key of an index: `Keyring.index_keys` gives them."""

    def __init__(self, data_key):
        self.id = keys.key_id(data_key)
        self.key = keys.expand(data_key, "envelope/1 index", 32)

    def hashed(self, label, rule, n, payload):
        if not 1 <= n <= 32:
            raise EnvelopeError("bad_term")
        return hmac.new(self.key, netstring(label) + netstring(Rule(rule).text) + bytes([n]) + payload, hashlib.sha256).digest()[:n]

    def term(self, label, rule, payload, n=None):
        """What a term column has."""
        return self.id[:2] + self.hashed(label, rule, Rule(rule).n if n is None else n, payload)

    def token(self, label, rule, payload):
        return signed(self.hashed(label, rule, TOKEN, payload))

    @property
    def marker(self):
        return signed(self.id[:TOKEN])

    def tokens(self, label, rule, payloads):
        """For a question: each once, ascending. Without payloads the token that no value has."""
        return sorted({self.token(label, rule, payload) for payload in payloads or [NO_VALUE_HAS]})

    def stored(self, label, rule, payloads):
        """What a token column has while one index key is in use."""
        return sorted({self.marker, *(self.token(label, rule, payload) for payload in payloads)})
