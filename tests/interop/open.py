#!/usr/bin/env python3
"""Opens envelope/1 values outside the database: the format's reference reader, written from its description alone.

    open.py --dek HEX --sealed HEX [--context TEXT]              a value, with the unwrapped data key
    open.py --kek FILE --wrapped HEX [--encryption-context JSON] a data key, with its file KEK; prints it in hex

Needs Python and its package `cryptography`. Sources: XAES-256-GCM from C2SP, HKDF-Expand from RFC 5869, UUIDv8 from
RFC 9562.
"""

import argparse
import json
import struct
import sys
import uuid

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

SEALED, WRAPPED = b"\xf7\xe1", b"\xf7\x57"
HEADER = 2 + 16
NONCE, TAG = 24, 16


class DoesNotOpen(Exception):
    pass


def expand(key, label, length):
    """RFC 5869's HKDF-Expand with SHA-256; the key is the PRK, the label the info."""
    return HKDFExpand(hashes.SHA256(), length, label.encode("ascii")).derive(key)


def uuid8(raw):
    """RFC 9562: version 8 in byte 6, variant 10 in byte 8."""
    b = bytearray(raw)
    b[6] = b[6] & 0x0F | 0x80
    b[8] = b[8] & 0x3F | 0x80
    return bytes(b)


def key_id(dek):
    return uuid8(expand(dek, "envelope/1 key id", 16))


def kek_id(kek):
    return uuid8(expand(kek, "envelope/1 kek id", 16))


def xaes_derive(key, nonce):
    """C2SP XAES-256-GCM: a key out of the first half of the nonce, by CMAC as the KDF in counter mode."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    left = int.from_bytes(block.update(bytes(16)), "big") << 1
    if left >> 128:
        left = (left ^ 0x87) & (1 << 128) - 1
    out = b""
    for counter in (1, 2):
        message = int.from_bytes(bytes([0, counter, ord("X"), 0]) + nonce[:12], "big")
        out += block.update((message ^ left).to_bytes(16, "big"))
    return out


def xaes_open(key, nonce, ciphertext, aad):
    try:
        return AESGCM(xaes_derive(key, nonce)).decrypt(nonce[12:], ciphertext, aad)
    except InvalidTag:
        raise DoesNotOpen("the tag does not verify") from None


def split(raw, magic, least):
    """Header, key id, nonce, ciphertext with its tag."""
    if len(raw) < least or raw[:2] != magic:
        raise DoesNotOpen(f"not of this format: {len(raw)} bytes beginning {raw[:2].hex()}")
    return raw[:HEADER], raw[2:HEADER], raw[HEADER : HEADER + NONCE], raw[HEADER + NONCE :]


def open_value(dek, sealed, context=""):
    header, named, nonce, ciphertext = split(sealed, SEALED, HEADER + NONCE + TAG)
    if named != key_id(dek):
        raise DoesNotOpen(f"needs key {uuid.UUID(bytes=named)}, this is {uuid.UUID(bytes=key_id(dek))}")
    return xaes_open(expand(dek, "envelope/1 seal", 32), nonce, ciphertext, header + context.encode())


def canonical(encryption_context):
    """Keys sorted by bytes; each key and value as u32 big-endian length and bytes."""
    pairs = sorted((k.encode(), v.encode()) for k, v in encryption_context.items())
    return b"".join(struct.pack(">I", len(x)) + x for pair in pairs for x in pair)


def unwrap(kek, wrapped, encryption_context):
    header, named, nonce, ciphertext = split(wrapped, WRAPPED, HEADER + NONCE + TAG)
    if len(wrapped) != HEADER + NONCE + 32 + TAG:
        raise DoesNotOpen("a file wrap is 90 bytes")
    if named != kek_id(kek):
        raise DoesNotOpen(f"needs KEK {uuid.UUID(bytes=named)}, this file holds {uuid.UUID(bytes=kek_id(kek))}")
    return xaes_open(expand(kek, "envelope/1 wrap", 32), nonce, ciphertext, header + canonical(encryption_context))


def main():
    hexadecimal = bytes.fromhex
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dek", type=hexadecimal)
    p.add_argument("--sealed", type=hexadecimal)
    p.add_argument("--context", default="")
    p.add_argument("--kek")
    p.add_argument("--wrapped", type=hexadecimal)
    p.add_argument("--encryption-context", type=json.loads, default={})
    a = p.parse_args()
    try:
        if a.dek and a.sealed:
            sys.stdout.buffer.write(open_value(a.dek, a.sealed, a.context))
        elif a.kek and a.wrapped:
            with open(a.kek, "rb") as f:
                print(unwrap(f.read(), a.wrapped, a.encryption_context).hex())
        else:
            p.error("give --dek and --sealed, or --kek and --wrapped")
    except DoesNotOpen as e:
        sys.exit(f"does not open: {e}")


if __name__ == "__main__":
    main()
