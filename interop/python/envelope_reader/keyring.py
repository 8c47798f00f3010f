"""What `envelope.export_keyring` gives: a table's data keys, each wrapped by its KEKs."""

import base64
import json
import re
import uuid

from . import keys
from .context import context_json
from .errors import EnvelopeError
from .forms import decode
from .values import named_key, open_value

FORMAT = "envelope/1 keyring"
PURPOSES = ("seal", "index")
STATES = ("pending", "active", "decrypt-only", "retired", "destroyed")


def bad(why):
    return EnvelopeError("not_a_keyring", why)


def field(of, name, kind):
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool) and kind is int:
        raise bad(f"{name} is missing or of another type")
    return value


def key_id_of(text):
    if not re.fullmatch("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text):
        raise bad("a key id is a UUID")
    found = uuid.UUID(text)
    if not keys.is_uuid8(found.bytes):
        raise bad("a key id is a UUID of version 8")
    return str(found)


class DataKey:
    """A data key as the document has it: id, purpose, version, state, and its wraps."""

    def __init__(self, of):
        self.id = key_id_of(field(of, "key_id", str))
        self.purpose, self.state = field(of, "purpose", str), field(of, "state", str)
        self.version = field(of, "version", int)
        if self.purpose not in PURPOSES or self.state not in STATES:
            raise bad("a purpose or state that is not known here")
        self.wraps = [Wrap(one) for one in field(of, "wraps", list)]
        if (self.state == "destroyed") == bool(self.wraps):
            raise bad("a data key is destroyed, or has wraps")


class Wrap:
    """A data key under one KEK: its URI, the encryption context, the bytes."""

    def __init__(self, of):
        self.kek, self.context = field(of, "kek", str), field(of, "kms_context", dict)
        try:
            context_json(self.context)
            self.wrapped = base64.b64decode(field(of, "wrapped", str), validate=True)
        except (EnvelopeError, ValueError):
            raise bad("an encryption context or a wrap cannot be read") from None
        if not self.wrapped or base64.b64encode(self.wrapped).decode() != of["wrapped"]:
            raise bad("a wrap is base64")


class Keyring:
    """Opens values of a table. `unwrappers` says how to unwrap, by the beginning of a KEK's URI, the longest that fits:
    `{"aws-kms://": ask}`, with `ask(wrapped, context, kek) -> bytes`. A function may raise what it likes; another KEK of
    the data key is tried then, and the first error is raised if none works."""

    def __init__(self, document, unwrappers=None):
        if isinstance(document, (str, bytes)):
            try:
                document = json.loads(document)
            except ValueError:
                raise bad("it is no JSON") from None
        if field(document, "format", str) != FORMAT:
            raise bad("another format")
        self.table = f"{field(document, 'schema', str)}.{field(document, 'table', str)}"
        rings = field(document, "keyrings", list)
        self.keys = {}
        for one in (key for ring in rings for key in field(ring, "data_keys", list)):
            key = DataKey(one)
            if key.id in self.keys:
                raise bad("two data keys have one id")
            self.keys[key.id] = key
        if sum(field(ring, "seals", bool) for ring in rings) != 1:
            raise bad("one keyring seals")
        self.unwrappers = unwrappers or {}
        self.unwrapped = {}

    def unwrapper(self, kek):
        fits = [beginning for beginning in self.unwrappers if kek.startswith(beginning)]
        return self.unwrappers[max(fits, key=len)] if fits else None

    def data_key(self, key_id, purpose="seal"):
        """The 32 bytes of a data key, unwrapped once and kept. States forbid nothing here: they are the database's."""
        key = self.keys.get(key_id)
        if key is None or key.purpose != purpose:
            raise EnvelopeError("unknown_key", key_id)
        if key.state == "destroyed":
            raise EnvelopeError("destroyed_key", key_id)
        if key_id not in self.unwrapped:
            self.unwrapped[key_id] = self.unwrap(key)
        return self.unwrapped[key_id]

    def unwrap(self, key):
        first = None
        for wrap in key.wraps:
            ask = self.unwrapper(wrap.kek)
            if ask is None:
                continue
            try:
                found = keys.checked(ask(wrap.wrapped, wrap.context, wrap.kek))
                if keys.text_of(keys.key_id(found)) != key.id:
                    raise EnvelopeError("other_data_key", key.id)
                return found
            except Exception as error:  # of the caller's function, which may be any
                first = first or error
        raise first or EnvelopeError("no_kek", key.id)

    def open(self, sealed, context=""):
        """The bytes that were sealed."""
        return open_value(self.data_key(named_key(sealed)), sealed, context)

    def open_as(self, kind, sealed, context=""):
        """A value that was sealed with its type: see `decode`."""
        return decode(kind, self.open(sealed, context))

    def index_keys(self):
        """The data keys of search that are not destroyed, the active one first: their 32 bytes."""
        found = [key for key in self.keys.values() if key.purpose == "index" and key.state != "destroyed"]
        found.sort(key=lambda key: (key.state != "active", -key.version))
        return [self.data_key(key.id, "index") for key in found]
