"""Reads the canonical forms of typed values outside the database: written from the format's description alone, and with
nothing beyond Python's own library. What comes out are plain numbers, so that years before 1 and after 9999 are some, too."""

import json
import re
import uuid
from decimal import Decimal

ENDS = {b"infinity": float("inf"), b"-infinity": float("-inf")}
DAY = 86_400_000_000


class NoForm(Exception):
    pass


def without_spaces(form):
    return form.rstrip(b" ")


def without_mark(form):
    """Text that was filled to a block, without what fills it."""
    zeros_off = form.rstrip(b"\0")
    return zeros_off[:-1] if zeros_off.endswith(b"\xff") else form


def parts(pattern, form):
    found = re.fullmatch(pattern, form.decode())
    if not found:
        raise NoForm(form)
    return found


def days(form):
    """From 1970-01-01, in the proleptic Gregorian calendar, in which 1 BC is the year 0."""
    if form in ENDS:
        return ENDS[form]
    shown, month, day, era = parts(r"(\d{4,})-(\d\d)-(\d\d)( BC)?", form).groups()
    year, month, day = (1 - int(shown) if era else int(shown)), int(month), int(day)
    lengths = [31, 28 + (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if shown == "0000" or not 1 <= month <= 12 or not 1 <= day <= lengths[month - 1]:
        raise NoForm(form)
    before = year - 1
    return 365 * before + before // 4 - before // 100 + before // 400 + sum(lengths[: month - 1]) + day - 719_163


def microseconds(form):
    hours, minutes, seconds, fraction = parts(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{0,5}[1-9]))?", form).groups()
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int((fraction or "").ljust(6, "0"))


def zoned(form):
    """Microseconds of the day, seconds east of UTC."""
    clock, sign, hours, minutes, seconds = parts(r"(.*)([+-])(\d\d):(\d\d)(?::(\d\d))?", form).groups()
    east = (int(hours) * 60 + int(minutes)) * 60 + int(seconds or 0)
    return microseconds(clock.encode()), -east if sign == "-" else east


def moment(form, zone=""):
    """Microseconds from 1970-01-01."""
    if form in ENDS:
        return ENDS[form]
    day, clock, era = parts(rf"(\S+)T([0-9:.]+){zone}( BC)?", form).groups()
    return days(f"{day}{era or ''}".encode()) * DAY + microseconds(clock.encode())


def interval(form):
    """Months, days, microseconds."""
    if form in ENDS:
        return ENDS[form]
    n = r"(?:(-?\d+){})?"
    found = parts(f"P{n.format('Y')}{n.format('M')}{n.format('D')}(?:T{n.format('H')}{n.format('M')}" r"(?:(-?[\d.]+)S)?)?", form)
    years, months, all_days, hours, minutes, seconds = (Decimal(part or 0) for part in found.groups())
    us = (hours * 3600 + minutes * 60 + seconds) * 1_000_000
    return int(years * 12 + months), int(all_days), int(us)


READERS = {
    "bool": lambda form: {b"true": True, b"false": False}[form],
    **dict.fromkeys(["int2", "int4", "int8"], int),
    "numeric": lambda form: Decimal(form.decode()),
    **dict.fromkeys(["float4", "float8"], float),
    "date": days,
    "time": microseconds,
    "timetz": zoned,
    "timestamp": moment,
    "timestamptz": lambda form: moment(form, "Z"),
    "interval": interval,
    "uuid": lambda form: uuid.UUID(form.decode()),
    **dict.fromkeys(["inet", "cidr", "enum"], bytes.decode),
}


def array(form, element):
    """Nested lists."""
    def read(value):
        if isinstance(value, list):
            return [read(one) for one in value]
        return None if value is None else element(value)
    return read(json.loads(form))


def read(kind, plaintext):
    """What was sealed as a type, once its value is opened (`open.py`): a number, text, bytes, or nested lists of them."""
    if kind.endswith("[]"):
        of = kind.removesuffix("[]")
        if of == "bytea":
            return array(plaintext, lambda text: bytes.fromhex(text.removeprefix("\\x")))
        return array(without_spaces(plaintext), lambda text: read(of, text.encode()))
    if kind == "bytea":
        return plaintext
    if kind in ("text", "varchar", "char"):
        return without_mark(plaintext).decode()
    if kind in ("json", "jsonb"):
        return json.loads(without_mark(plaintext))
    return READERS[kind](without_spaces(plaintext))
