"""Where every key comes from: HKDF-Expand with SHA-256 (RFC 5869), and UUIDs of version 8 (RFC 9562)."""

import hashlib
import hmac
import uuid

from .errors import EnvelopeError

KEY = 32


def checked(key):
    if not isinstance(key, (bytes, bytearray)) or len(key) != KEY:
        raise EnvelopeError("wrong_length")
    return bytes(key)


def expand(key, label, length):
    """One block of HKDF-Expand is enough: no output here is longer than 32 bytes. The key is the PRK."""
    return hmac.new(checked(key), label.encode("ascii") + b"\x01", hashlib.sha256).digest()[:length]


def uuid8(raw):
    raw = bytearray(raw)
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return bytes(raw)


def is_uuid8(raw):
    return raw[6] >> 4 == 8 and raw[8] >> 6 == 2


def key_id(data_key):
    """16 bytes, which commit to the data key."""
    return uuid8(expand(data_key, "envelope/1 key id", 16))


def kek_id(kek):
    """16 bytes, of the contents of a key file."""
    return uuid8(expand(kek, "envelope/1 kek id", 16))


def text_of(an_id):
    """An id as it stands in the catalog."""
    return str(uuid.UUID(bytes=an_id))
