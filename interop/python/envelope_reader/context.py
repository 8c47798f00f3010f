"""The two sorts of context: of a row, which binds a value, and of a KMS, which binds a data key."""

import base64
import struct

from .errors import EnvelopeError

LONGEST = 8192
ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def utf8(text):
    """Python's strings may hold halves of surrogate pairs, which are no text."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EnvelopeError("not_text") from None


def netstring(text):
    raw = utf8(text)
    return b"%d:%s," % (len(raw), raw)


def row_context(tag, *parts):
    """Of a column's tag, and of the texts of the columns that the policy binds, in its order."""
    return (b"envelope/1 row," + b"".join(map(netstring, (tag, *parts)))).decode()


def quoted(text):
    return '"' + "".join(ESCAPES.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def pairs(encryption_context):
    """Keys and values in the order of the keys' UTF-8 bytes."""
    if not isinstance(encryption_context, dict):
        raise EnvelopeError("bad_context")
    for text in (*encryption_context, *encryption_context.values()):
        if not isinstance(text, str):
            raise EnvelopeError("bad_context")
    try:
        return sorted(encryption_context.items(), key=lambda pair: pair[0].encode())
    except UnicodeEncodeError:
        raise EnvelopeError("bad_context") from None


def context_json(encryption_context):
    """The one JSON of an encryption context: what tokens and key servers bind, and OpenBao and Vault in base64."""
    text = "{" + ",".join(f"{quoted(key)}:{quoted(value)}" for key, value in pairs(encryption_context)) + "}"
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise EnvelopeError("bad_context") from None
    if length > LONGEST:
        raise EnvelopeError("bad_context")
    return text


def context_bytes(encryption_context):
    """What a key file binds: each key and value behind its length."""
    context_json(encryption_context)
    texts = [text.encode() for pair in pairs(encryption_context) for text in pair]
    return b"".join(struct.pack(">I", len(text)) + text for text in texts)


def context_transit(encryption_context):
    """What OpenBao and Vault get as `context`."""
    return base64.b64encode(context_json(encryption_context).encode()).decode()
