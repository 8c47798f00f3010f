"""Makes terms, tokens and what queries ask for, outside the database: the reference for search, written from the format's
description alone. A rule is its text; a payload is bytes."""

import hashlib
import hmac
import json
import math
import re
import struct

from interop import forms, normal
from interop import open as reader
from interop.normal import Refused

HALF = 1 << 63
DAY = 86_400_000_000
OPEN = None


# Keys, terms, tokens

def netstring(text):
    raw = text.encode()
    return b"%d:%s," % (len(raw), raw)


def hashed(index_key, label, rule, n, payload):
    message = netstring(label) + netstring(rule) + bytes([n]) + payload
    return hmac.new(index_key, message, hashlib.sha256).digest()[:n]


class Key:
    """An index key."""

    def __init__(self, dek):
        self.dek = dek
        self.id = reader.key_id(dek)
        self.index_key = reader.expand(dek, "envelope/1 index", 32)

    def term(self, label, rule, n, payload):
        return self.id[:2] + hashed(self.index_key, label, rule, n, payload)

    def token(self, label, rule, payload):
        return int.from_bytes(hashed(self.index_key, label, rule, 8, payload), "big", signed=True)

    @property
    def marker(self):
        return int.from_bytes(self.id[:8], "big", signed=True)

    def stored(self, label, rule, payloads):
        return sorted({self.marker} | {self.token(label, rule, payload) for payload in payloads})


# Rules

def parse(rule):
    """Kind, parameters, form or type, scale."""
    kind, parameters, subject, scale = re.fullmatch(r"(?:(\w+)(?:\(([\d,]+)\))? )?(\w+)(?:\((-?\d+)\))?/1", rule).groups()
    numbers = [int(number) for number in parameters.split(",")] if parameters else []
    return kind or "exact", numbers, subject, None if scale is None else int(scale)


# Ordinals and index forms, from canonical forms

def read(kind, form):
    """A number. Single precision is rounded to as such, then widened."""
    value = forms.read(kind, form.encode())
    return struct.unpack(">f", struct.pack(">f", value))[0] if kind == "float4" else value


def ordinal(kind, form, scale=None):
    """A number, or the name of a value that has none."""
    value = read(kind, form)
    if kind == "numeric" and value.is_finite():
        number = value.scaleb(scale)
        if number != int(number) or abs(number) >= 10**18:
            raise Refused("no number of that scale")
        return int(number) + HALF
    if value != value:
        return "NaN"
    if value in (math.inf, -math.inf):
        return "infinity" if value > 0 else "-infinity"
    if kind in ("float4", "float8"):
        bits = struct.unpack(">Q", struct.pack(">d", 0.0 if value == 0 else value))[0]
        return bits ^ HALF if bits < HALF else bits ^ (1 << 64) - 1
    return min(value, HALF - 1) + HALF


def index_form(kind, form):
    if kind in ("float4", "float8"):
        value = read(kind, form)
        return "7ff8000000000000" if value != value else struct.pack(">d", 0.0 if value == 0 else value).hex()
    if kind == "numeric":
        found = re.sub(r"\.?0*$", "", form) if "." in form else form
        return "0" if found == "-0" else found
    if kind == "interval" and not form.endswith("infinity"):
        months, days, us = forms.interval(form.encode())
        return str((30 * months + days) * DAY + us)
    return form


# Payloads

def outside(name):
    return b"\xff" + name.encode()


def step(rule):
    kind, numbers, subject, scale = parse(rule)
    if kind == "days":
        return 1 if subject == "date" else DAY
    unit = {"int": 1, "date": 1, "numeric": 10 ** (scale or 0)}.get(subject, 1_000_000)
    return numbers[0] * unit


def heights(sparsity, trim, bits):
    return range(0, bits - trim + 1, sparsity)


def node(height, at):
    return struct.pack(">BQ", height, at)


def spaced(text):
    text = "".join(" " if c in normal.WHITE else c for c in text)
    text = "".join(c for c in text if not normal.is_control(c))
    return re.sub(" +", " ", text).strip(" ")


def pieces(text, k):
    return [text[at : at + k].encode() for at in range(len(text) - k + 1)]


def words(text):
    return [word.encode() for word in "".join(c if normal.is_of_words(c) else "\0" for c in text).split("\0") if word]


def of_text(rule, text):
    kind, numbers, form, _ = parse(rule)
    text = normal.normal(form, text)
    if kind == "exact":
        return [text.encode()]
    if kind == "words":
        return words(text)
    k = numbers[0]
    if kind == "parts":
        return pieces(f"\x02{spaced(text)}\x03", k)
    if len(text) < k:
        return []
    return [(text[:k] if kind == "prefix" else text[-k:]).encode()]


def of_ordinal(rule, value):
    """Of all kinds but buckets."""
    kind, numbers, _, _ = parse(rule)
    if isinstance(value, str):
        return [outside(value)]
    if kind == "tree":
        sparsity, trim, bits, low = numbers
        if value < low:
            return [outside("below")]
        if value - low >= 1 << bits:
            return [outside("above")]
        return [node(height, (value - low) >> height) for height in heights(sparsity, trim, bits)]
    return [struct.pack(">q", (value - HALF) // step(rule))]


def of_form(rule, kind, form):
    """Of a value of a type by its canonical form: no text, and not for buckets."""
    _, _, subject, scale = parse(rule)
    if subject == "exact":
        return [index_form(kind, form).encode()]
    return of_ordinal(rule, ordinal(kind, form, scale))


# Queries

def asked(rule, op, text):
    """Of text. All of them stand in a value that the question finds."""
    kind, numbers, form, _ = parse(rule)
    if kind in ("exact", "words", "prefix", "suffix"):
        if op not in {"exact": ["="], "words": ["=", "words"]}.get(kind, ["=", kind]):
            raise Refused("no answer")
        found = normal.normal(form, text, op != "=")
        if kind in ("prefix", "suffix") and len(found) < numbers[0] or op == "=" and kind == "words" and not words(found):
            raise Refused("too short")
        if kind == "exact":
            return [found.encode()]
        return words(found) if kind == "words" else [(found[: numbers[0]] if kind == "prefix" else found[-numbers[0] :]).encode()]
    k = numbers[0]
    found = spaced(normal.normal(form, text, op != "="))
    before, after = {"=": ("\2", "\3"), "prefix": ("\2", ""), "suffix": ("", "\3"), "contains": ("", "")}[op]
    if not found or len(before + found + after) < k:
        raise Refused("too short")
    return pieces(before + found + after, k)


def cover(numbers, low, high):
    """The fewest nodes: those that are whole within, and whose parent is not, down from the top."""
    sparsity, trim, bits, _ = numbers
    all_heights = list(heights(sparsity, trim, bits))

    def below(height, at):
        first, last = at << height, (at + 1 << height) - 1
        if last < low or first > high:
            return []
        if low <= first and last <= high:
            return [(height, at)]
        lower = all_heights[all_heights.index(height) - 1]
        count = 1 << height - lower
        return [found for child in range(at * count, (at + 1) * count) for found in below(lower, child)]
    top = all_heights[-1]
    return [found for at in range(low >> top, (high >> top) + 1) for found in below(top, at)]


RANK = {"-infinity": 0, "infinity": 2, "NaN": 3}
OUTSIDE = {"float": RANK, "numeric": RANK, "int": [], "time": []}


def asked_between(rule, low, high, boundaries=None):
    """From one ordinal or name to another, both within; OPEN has no end. One of them stands in every value of the range."""
    kind, numbers, subject, _ = parse(rule)
    found = []
    first, last = (HALF, HALF + DAY) if subject == "time" else (0, (1 << 64) - 1)
    ranks = [RANK.get(end, 1) if end is not OPEN else of for end, of in ((low, -1), (high, 4))]
    if ranks[0] <= 1 and ranks[1] >= 1:
        least, most = (max(low, first) if isinstance(low, int) else first), (min(high, last) if isinstance(high, int) else last)
        if least <= most and kind == "tree":
            start, end = numbers[3], numbers[3] + (1 << numbers[2]) - 1
            found += [outside("below")] if least < start else []
            if least <= end and most >= start:
                found += [node(*one) for one in cover(numbers, max(least, start) - start, min(most, end) - start)]
            found += [outside("above")] if most > end else []
        elif least <= most and kind == "buckets":
            found += boundaries.payloads(least, most)
        elif least <= most:
            steps = (least - HALF) // step(rule), (most - HALF) // step(rule)
            if steps[1] - steps[0] >= 10_000:
                raise Refused("too wide")
            found += [struct.pack(">q", at) for at in range(steps[0], steps[1] + 1)]
    names = [name for name in OUTSIDE.get(subject, ["-infinity", "infinity"]) if ranks[0] <= RANK[name] <= ranks[1]]
    return found + [outside(name) for name in names]


# Boundary sets

class Boundaries:
    def __init__(self, text, kind, scale=None):
        found = json.loads(text)
        self.set = found["set"]
        self.bounds = [ordinal("float8" if kind == "float4" else kind, bound, scale) for bound in found["bounds"]]
        self.classes = found["classes"]
        self.former = found.get("former", [[]] * len(self.classes))

    def interval(self, value):
        return sum(bound <= value for bound in self.bounds)

    def asked(self, low, high):
        """Classes of a range, each once."""
        at = range(self.interval(low), self.interval(high) + 1)
        return list(dict.fromkeys(one for interval in at for one in self.classes[interval] + self.former[interval]))

    def payloads(self, low, high):
        return [struct.pack(">II", self.set, one) for one in self.asked(low, high)]


def boundaries_context(label, rule):
    return "envelope/1 boundaries," + (netstring(label) + netstring(rule)).decode()


def open_boundaries(dek, label, rule, sealed):
    """The text of a set."""
    header, named, nonce, ciphertext = reader.split(sealed, reader.SEALED, 58)
    if named != reader.key_id(dek):
        raise reader.DoesNotOpen("another key")
    key = reader.expand(dek, "envelope/1 boundaries", 32)
    return reader.xaes_open(key, nonce, ciphertext, header + boundaries_context(label, rule).encode()).decode()
