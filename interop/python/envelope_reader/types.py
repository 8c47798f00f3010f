"""Names of types, and how their forms are filled to a block."""

import re

from .errors import EnvelopeError

# Of each type that has a form: its block, 1 where there is none. That of numeric goes by its modifier.
BLOCKS = {
    "bool": 5, "int2": 6, "int4": 11, "int8": 20, "numeric": 32, "float4": 16, "float8": 24, "date": 13, "time": 15,
    "timetz": 24, "timestamp": 29, "timestamptz": 30, "interval": 60, "uuid": 36, "inet": 44, "cidr": 44, "enum": 64,
    "text": 1, "varchar": 1, "bpchar": 1, "json": 1, "jsonb": 1, "bytea": 1,
}
MARKED = {"text", "varchar", "bpchar", "json", "jsonb"}
# As PostgreSQL shows them, in envelope.policies too.
ALIASES = {
    "boolean": "bool", "smallint": "int2", "integer": "int4", "int": "int4", "bigint": "int8", "real": "float4",
    "double precision": "float8", "decimal": "numeric", "character varying": "varchar", "character": "bpchar",
    "char": "bpchar", "time without time zone": "time", "time with time zone": "timetz",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz",
}


class Type:
    """`numeric(10,2)`, `timestamp(3) with time zone`, `integer[]`; the name `enum` stands for each enum. `name` is the
    short one of the scalar, `is_array` says that it is an array of those."""

    def __init__(self, text):
        found = re.fullmatch(r"([a-z0-9 ]+?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?((?:\[\])?)", text)
        name = (found[1] + (found[4] or "")) if found else ""
        self.name = ALIASES.get(name, name)
        if self.name not in BLOCKS:
            raise EnvelopeError("unknown_type")
        self.is_array = bool(found[5])
        self.precision, self.scale = (int(n) if n else None for n in (found[2], found[3]))

    @property
    def block(self):
        """What the forms of the type are filled to if no policy says otherwise."""
        if self.is_array:
            return 1
        if self.name == "numeric" and self.precision is not None:
            scale = self.scale or 0
            return self.precision - scale + 1 if scale < 0 else max(self.precision, scale) + 3
        return BLOCKS[self.name]


def unfilled(kind, plaintext):
    """A form without what fills it to a block. Values that were not filled stay as they are."""
    kind = Type(kind) if isinstance(kind, str) else kind
    if kind.is_array or kind.name not in MARKED | {"bytea"}:
        return plaintext.rstrip(b" ")
    if kind.name == "bytea":
        return plaintext
    zeros_off = plaintext.rstrip(b"\0")
    return zeros_off[:-1] if zeros_off.endswith(b"\xff") else plaintext


def filled(kind, form, block=None):
    """A form as it is sealed: for checks that values of a column do not tell by their lengths."""
    kind = Type(kind) if isinstance(kind, str) else kind
    block = kind.block if block is None else block
    if block <= 1 or kind.is_array or kind.name == "bytea":
        return form
    if kind.name in MARKED:
        return (form + b"\xff") + bytes(-(len(form) + 1) % block)
    return form + b" " * (-len(form) % block if form else block)
