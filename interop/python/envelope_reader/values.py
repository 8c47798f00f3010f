"""Sealed values."""

from . import keys, xaes
from .context import utf8
from .errors import EnvelopeError

MARKER = b"\xf7\xe1"
HEADER = 18
OVERHEAD = HEADER + xaes.NONCE + xaes.TAG


def is_sealed(sealed):
    """By its shape alone."""
    return len(sealed) >= OVERHEAD and sealed[:2] == MARKER and keys.is_uuid8(sealed[2:HEADER])


def named_key(sealed):
    """The id, as text, of the data key that a value was sealed under."""
    if not is_sealed(sealed):
        raise EnvelopeError("not_sealed")
    return keys.text_of(sealed[2:HEADER])


def opened_by(data_key, label, sealed, context):
    named, own = named_key(sealed), keys.text_of(keys.key_id(data_key))
    if named != own:
        raise EnvelopeError("other_key", f"needs {named}, this is {own}")
    header, nonce, rest = sealed[:HEADER], sealed[HEADER : HEADER + xaes.NONCE], sealed[HEADER + xaes.NONCE :]
    return xaes.opened(keys.expand(data_key, label, 32), nonce, rest, header + utf8(context))


def open_value(data_key, sealed, context=""):
    """The bytes that were sealed. `context` is what `row_context` gives for a column that binds others, and empty for
    one that does not."""
    return opened_by(data_key, "envelope/1 seal", sealed, context)
