"""XAES-256-GCM (c2sp.org/XAES-256-GCM), opening."""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import EnvelopeError

NONCE = 24
TAG = 16


def derived(key, nonce):
    """The key of AES-GCM, from the first 12 bytes of the nonce: SP 800-108 in counter mode over CMAC, with L, the
    16-bit label and the counter as C2SP says."""
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    subkey = int.from_bytes(aes.update(bytes(16)), "big") << 1
    if subkey >> 128:
        subkey ^= 1 << 128 | 0x87
    blocks = (b"\x00" + bytes([counter]) + b"X\x00" + nonce[:12] for counter in (1, 2))
    return b"".join(aes.update((int.from_bytes(block, "big") ^ subkey).to_bytes(16, "big")) for block in blocks)


def opened(key, nonce, sealed, associated):
    """Of a ciphertext with its tag at the end."""
    try:
        return AESGCM(derived(key, nonce)).decrypt(nonce[12:], sealed, associated)
    except InvalidTag:
        raise EnvelopeError("does_not_open") from None
