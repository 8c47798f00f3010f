#!/usr/bin/env python3
"""A reference for wraps of a token or a key server (`F7 58`, docs/format.md); run, it writes
tests/vectors/kms-wraps-1.json.

    PYTHONPATH=tests target/venv/bin/python tests/interop/kms_wraps.py
"""

import hashlib
import json
import pathlib
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from interop.open import DoesNotOpen

FILE = pathlib.Path(__file__).parents[1] / "vectors/kms-wraps-1.json"
LABEL = "envelope/1 kms wrap,"
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


class NotAWrap(DoesNotOpen):
    pass


def text(value):
    """A string of the canonical JSON."""
    return '"' + re.sub('["\\\\\x00-\x1f]', lambda c: ESCAPES.get(c[0], f"\\u{ord(c[0]):04x}"), value) + '"'


def canonical(context):
    """An encryption context as the one JSON: keys by their UTF-8 bytes, no spaces, the fewest escapes."""
    return "{" + ",".join(f"{text(k)}:{text(context[k])}" for k in sorted(context, key=str.encode)) + "}"


def associated_data(context):
    return (LABEL + canonical(context)).encode()


def wrap(kek, dek, iv, aad):
    gcm = Cipher(algorithms.AES(kek), modes.GCM(iv)).encryptor()
    gcm.authenticate_additional_data(aad)
    return b"\xf7\x58" + bytes([len(iv)]) + iv + gcm.update(dek) + gcm.finalize() + gcm.tag


def parts(wrapped):
    """IV, ciphertext and tag."""
    if wrapped[:2] != b"\xf7\x58" or len(wrapped) < 3 or wrapped[2] < 12 or len(wrapped) != 3 + wrapped[2] + 48:
        raise NotAWrap
    return wrapped[3:-48], wrapped[-48:-16], wrapped[-16:]


def unwrap(kek, wrapped, context):
    iv, ciphertext, tag = parts(wrapped)
    gcm = Cipher(algorithms.AES(kek), modes.GCM(iv, tag)).decryptor()
    gcm.authenticate_additional_data(associated_data(context))
    try:
        return gcm.update(ciphertext) + gcm.finalize()
    except InvalidTag:
        raise DoesNotOpen from None


# -- the vectors ------------------------------------------------------------------------------------------------------

CONTEXTS = [
    {},
    {"database": "a", "table": "public.t"},
    {"\U0001f511": "1", "\ufb01": "2", "B": "3", "aa": "4", "b": "5"},
    {"a\u2028": "<&>\x7f/\"\\\b\x01\xe9"},
    {"k": "v" * 8000},
]


def some(name, length):
    return hashlib.shake_256(name.encode()).digest(length)


def good():
    chosen = [(12, context) for context in CONTEXTS]
    chosen += [(length, CONTEXTS[i % 4]) for i, length in enumerate((12, 13, 16, 32, 64, 128))]
    for i, (length, context) in enumerate(chosen):
        kek, dek, iv = some(f"kek {i}", 32), some(f"dek {i}", 32), some(f"iv {i}", length)
        aad = associated_data(context)
        yield {"note": f"{i}: an IV of {length} bytes", "kek": kek.hex(), "dek": dek.hex(), "iv": iv.hex(),
               "encryption_context": context, "associated_data": aad.decode(),
               "wrapped": wrap(kek, dek, iv, aad).hex(), "parses": True, "unwraps": True}


def flipped(raw, at):
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def bad(plain, vector):
    """`vector` spoilt in each way; `plain` has an empty context."""
    w = bytes.fromhex(vector["wrapped"])
    for note, raw, parses in [
        ("the IV changed", flipped(w, 3), True),
        ("the ciphertext changed", flipped(w, 15), True),
        ("the tag changed", flipped(w, -1), True),
        ("the marker of a file wrap", b"\xf7\x57" + w[2:], False),
        ("one byte short", w[:-1], False),
        ("one byte long", w + b"\0", False),
        ("the length says one less", w[:2] + b"\x0b" + w[3:], False),
        ("the length says one more", w[:2] + b"\x0d" + w[3:], False),
        ("an IV of 11 bytes", w[:2] + b"\x0b" + w[4:], False),
        ("no IV", w[:2] + b"\0" + w[15:], False),
        ("a tag of 12 bytes", w[:-4], False),
        ("nothing", b"", False),
        ("a length and no more", w[:3], False),
    ]:
        yield {**vector, "note": note, "wrapped": raw.hex(), "parses": parses, "unwraps": False}
    other = {**vector["encryption_context"], "database": "b"}
    yield {**vector, "note": "another encryption context", "encryption_context": other,
           "associated_data": associated_data(other).decode(), "unwraps": False}
    yield {**vector, "note": "another KEK", "kek": some("another", 32).hex(), "unwraps": False}
    kek, dek, iv = (bytes.fromhex(plain[k]) for k in ("kek", "dek", "iv"))
    yield {**plain, "note": "associated data without the label", "wrapped": wrap(kek, dek, iv, b"{}").hex(),
           "unwraps": False}


if __name__ == "__main__":
    made = list(good())
    made += bad(made[0], made[1])
    FILE.write_text(json.dumps({"format": "envelope/1 kms wraps", "wraps": made}, indent=1) + "\n")
