"""Wrapped data keys: by a key file, and by a token or key server that has the KEK for itself.

What AWS KMS wrapped only AWS KMS opens, and what OpenBao or Vault wrapped only they: `Keyring` takes functions that ask.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from . import keys, xaes
from .context import context_bytes, context_json
from .errors import EnvelopeError

FILE_MARKER, TOKEN_MARKER = b"\xf7\x57", b"\xf7\x58"
HEADER = 18
FILE_WRAP = HEADER + xaes.NONCE + keys.KEY + xaes.TAG
SHORTEST_IV = 12
# What OpenSSL takes.
LONGEST_IV = 128


def unwrap_by_file(kek, wrapped, encryption_context):
    """`kek`: the 32 bytes of the key file."""
    context = context_bytes(encryption_context)
    keys.checked(kek)
    if len(wrapped) != FILE_WRAP or wrapped[:2] != FILE_MARKER:
        raise EnvelopeError("not_a_wrap")
    header, nonce, rest = wrapped[:HEADER], wrapped[HEADER : HEADER + xaes.NONCE], wrapped[HEADER + xaes.NONCE :]
    named, own = header[2:], keys.kek_id(kek)
    if named != own:
        raise EnvelopeError("other_kek", f"needs {keys.text_of(named)}, this is {keys.text_of(own)}")
    return xaes.opened(keys.expand(kek, "envelope/1 wrap", 32), nonce, rest, header + context)


def token_wrap(wrapped):
    """IV, ciphertext and tag, for who asks a token or a key server to decrypt them by AES-256-GCM."""
    length = wrapped[2] if len(wrapped) > 2 else 0
    if wrapped[:2] != TOKEN_MARKER or length < SHORTEST_IV or len(wrapped) != 3 + length + keys.KEY + xaes.TAG:
        raise EnvelopeError("not_a_wrap")
    return wrapped[3 : 3 + length], wrapped[3 + length : -xaes.TAG], wrapped[-xaes.TAG :]


def token_associated_data(encryption_context):
    """The associated data that the token or key server is to check."""
    return b"envelope/1 kms wrap," + context_json(encryption_context).encode()


def unwrap_by_token_key(kek, wrapped, encryption_context):
    """Where the KEK itself is at hand, as from a backup of a token: 32 bytes."""
    associated = token_associated_data(encryption_context)
    keys.checked(kek)
    iv, ciphertext, tag = token_wrap(wrapped)
    if len(iv) > LONGEST_IV:
        raise EnvelopeError("long_iv")
    cipher = Cipher(algorithms.AES(kek), modes.GCM(iv, tag)).decryptor()
    cipher.authenticate_additional_data(associated)
    try:
        return cipher.update(ciphertext) + cipher.finalize()
    except InvalidTag:
        raise EnvelopeError("does_not_open") from None
