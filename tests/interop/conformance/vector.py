"""A vector: its name, what it shows, the question, and the answer or the name of the error."""

import hashlib

VECTORS = []


def some(name, length=32):
    return hashlib.shake_256(b"envelope/1 conformance " + name.encode()).digest(length)


def gives(name, shows, do, expected, in_crate=True, **given):
    VECTORS.append({"name": name, "shows": shows, "do": do, "with": given, "gives": expected, **({} if in_crate else {"in_crate": False})})


def fails(name, shows, do, error, in_crate=True, **given):
    VECTORS.append({"name": name, "shows": shows, "do": do, "with": given, "fails": error, **({} if in_crate else {"in_crate": False})})


def flipped(raw, at, bit=0):
    out = bytearray(raw)
    out[at] ^= 1 << bit
    return bytes(out)
