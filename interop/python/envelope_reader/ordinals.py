"""Typed values as numbers in the order of their type, and their index forms. In come canonical forms."""

import struct

from . import dates
from .errors import EnvelopeError
from .forms import number_of, scalar
from .rules import ALL, HALF

SUBJECTS = {"int2": "int", "int4": "int", "int8": "int", "float4": "float", "float8": "float",
            "timestamp": "timestamp", "timestamptz": "timestamptz", "date": "date", "time": "time", "numeric": "numeric"}
NAMES = {"NaN": "NaN", "Infinity": "infinity", "-Infinity": "-infinity", "infinity": "infinity", "-infinity": "-infinity"}
# No index takes a value of these.
WITHOUT = ("bool", "json", "jsonb")


def of_double(number):
    bits, = struct.unpack(">Q", struct.pack(">d", number or 0.0))
    return bits | HALF if bits < HALF else bits ^ ALL - 1


def ordinal_of(name, text, scale=None):
    """A number from 0 to 2^64 - 1, or the name of a value that has none."""
    if text in NAMES:
        return NAMES[text]
    if name in ("float4", "float8"):
        return of_double(number_of(name, text))
    if name == "numeric":
        whole, _, decimals = text.lstrip("-").partition(".")
        kept = max(scale, 0)
        digits = whole + decimals[:kept].ljust(kept, "0")
        dropped = decimals[kept:]
        if scale < 0:
            digits, dropped = digits[:scale] or "0", digits[scale:] + dropped
        if dropped.strip("0") or len(digits.lstrip("0")) > 18:
            raise EnvelopeError("no_form")
        return HALF + int(digits) * (-1 if text.startswith("-") else 1)
    if name in SUBJECTS and SUBJECTS[name] == "int":
        return HALF + int(text)
    return HALF + min(getattr(dates, name)(text), HALF - 1)


def ordinal(name, form, scale=None):
    """Of the form of a value, as bytes."""
    if name not in SUBJECTS:
        raise EnvelopeError("no_form")
    return ordinal_of(name, scalar(name, form), scale)


def index_form(name, form):
    """What is hashed of a value under `exact/1`."""
    if name in WITHOUT:
        raise EnvelopeError("no_form")
    text = scalar(name, form)
    if name in ("float4", "float8"):
        number = number_of(name, text)
        return "7ff8000000000000" if number != number else struct.pack(">d", number or 0.0).hex()
    if name == "numeric":
        return text.rstrip("0").rstrip(".") if "." in text else text
    if name == "interval" and text not in NAMES:
        months, days, us = dates.interval(text)
        return str((30 * months + days) * dates.DAY + us)
    return text
