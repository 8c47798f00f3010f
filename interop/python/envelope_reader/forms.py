"""Canonical forms: what `envelope_encrypt_as` and policies seal, back to text.

Strict, as the database is: what is not byte for byte the form of a value is an error."""

import re

from . import arrays, dates, floats, network
from .errors import EnvelopeError
from .types import MARKED, Type, unfilled

INTEGERS = {"int2": 16, "int4": 32, "int8": 64}
# Of PostgreSQL's numeric.
DIGITS_BEFORE, DIGITS_AFTER = 131_072, 16_383


def is_bool(text):
    return text in ("true", "false")


def is_integer(text, bits):
    found = re.fullmatch("0|-?[1-9][0-9]{0,18}", text)
    return bool(found) and -(1 << bits - 1) <= int(text) < 1 << bits - 1


def is_numeric(text):
    if text in ("NaN", "Infinity", "-Infinity"):
        return True
    found = re.fullmatch(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", text)
    if not found or len(found[2]) > DIGITS_BEFORE or len(found[3] or "") > DIGITS_AFTER:
        return False
    return not found[1] or bool((found[2] + (found[3] or "")).strip("0"))


def number_of(sort, text):
    """The float that a text in decimal notation stands for, None for other texts: with any digits, not only its form."""
    named = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text)
    if named:
        return float(named)
    if not re.fullmatch(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,400})?(e[+-][0-9]{2,3})?", text):
        return None
    if sort == "float4":
        return floats.float4(text)
    number = float(text)
    return None if number in (dates.BEFORE, dates.AFTER) else number


def is_float(sort, text):
    number = number_of(sort, text)
    return number is not None and floats.float_form(sort, number) == text


CHECKS = {
    "bool": is_bool,
    **{name: lambda text, bits=bits: is_integer(text, bits) for name, bits in INTEGERS.items()},
    "numeric": is_numeric,
    "float4": lambda text: is_float("float4", text),
    "float8": lambda text: is_float("float8", text),
    **{name: lambda text, read=getattr(dates, name): read(text) is not None for name in ("time", "timetz", "interval")},
    **{name: lambda text, read=read, has=has: (number := read(text)) is not None and has(number) for name, read, has in (
        ("date", dates.date, dates.has_date), ("timestamp", dates.timestamp, dates.has_timestamp),
        ("timestamptz", dates.timestamptz, dates.has_timestamp))},
    "uuid": lambda text: bool(re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)),
    "inet": lambda text: network.address(text) is not None,
    "cidr": lambda text: network.network(text) is not None,
    "enum": lambda text: "\0" not in text,
}


def text_of(raw):
    """22021 in the database."""
    try:
        found = raw.decode()
    except UnicodeDecodeError:
        raise EnvelopeError("not_text") from None
    if "\0" in found:
        raise EnvelopeError("not_text")
    return found


def scalar(name, form):
    if name in MARKED:
        return text_of(form)
    try:
        text = form.decode()
    except UnicodeDecodeError:
        raise EnvelopeError("no_form") from None
    if not CHECKS[name](text):
        raise EnvelopeError("no_form")
    return text


def bytes_in_array(form):
    if not re.fullmatch(rb"\\x(?:[0-9a-f]{2})*", form):
        raise EnvelopeError("no_form")
    return bytes.fromhex(form[2:].decode())


def decode(kind, plaintext):
    """What was sealed as a value of that type: its canonical form as text, filled or not; of bytea the bytes; of an array
    nested lists of those, with None for NULL. json and jsonb come as their text: whether it is JSON is not looked at."""
    kind = Type(kind)
    form = unfilled(kind, plaintext)
    if kind.is_array:
        found = arrays.elements(form)
        if found is None:
            raise EnvelopeError("no_form")
        return arrays.each(found, bytes_in_array if kind.name == "bytea" else lambda one: scalar(kind.name, one))
    return form if kind.name == "bytea" else scalar(kind.name, form)


def decode_text(plaintext):
    """What `envelope_decrypt_text` gives: it knows no type, and takes a text's filling off."""
    return text_of(unfilled("text", plaintext))
