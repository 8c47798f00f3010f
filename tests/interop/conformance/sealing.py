"""Seals and wraps, which the readers do not."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from envelope_reader import context, keys, xaes

from interop.conformance.vector import some

DEK, OTHER = some("data key"), some("another data key")


def sealed(plaintext, of="", dek=DEK, label="envelope/1 seal", nonce=None, header=None):
    nonce = nonce or some("nonce of " + of + plaintext.hex(), 24)
    header = header or b"\xf7\xe1" + keys.key_id(dek)
    return header + nonce + AESGCM(xaes.derived(keys.expand(dek, label, 32), nonce)).encrypt(nonce[12:], plaintext, header + of.encode())


KEK, OTHER_KEK = some("KEK"), some("another KEK")
SHOP = {"database": "shop", "table": "public.customers"}


def file_wrap(of, dek=DEK, kek=KEK):
    header, nonce = b"\xf7\x57" + keys.kek_id(kek), some("nonce of a wrap" + context.context_json(of), 24)
    key = xaes.derived(keys.expand(kek, "envelope/1 wrap", 32), nonce)
    return header + nonce + AESGCM(key).encrypt(nonce[12:], dek, header + context.context_bytes(of))


def token_wrap(of, iv, dek=DEK, kek=KEK, label=True):
    aad = (b"envelope/1 kms wrap," if label else b"") + context.context_json(of).encode()
    gcm = Cipher(algorithms.AES(kek), modes.GCM(iv)).encryptor()
    gcm.authenticate_additional_data(aad)
    return b"\xf7\x58" + bytes([len(iv)]) + iv + gcm.update(dek) + gcm.finalize() + gcm.tag


def first_bit(dek):
    aes = Cipher(algorithms.AES(keys.expand(dek, "envelope/1 seal", 32)), modes.ECB()).encryptor()
    return aes.update(bytes(16))[0] >> 7
