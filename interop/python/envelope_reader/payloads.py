"""What counts of a value under a rule, and what a question asks for."""

import re
import struct

from . import ordinals
from .errors import EnvelopeError
from .forms import text_of
from .normal import is_control, is_of_words, is_white, normal_form
from .rules import DAY, HALF, Rule
from .types import MARKED, Type, unfilled

MOST_STEPS = 10_000
BEGIN, END = "\2", "\3"
# Values of a type that are no numbers, in PostgreSQL's order; numbers come before those from `infinity` on.
RANKS = {"-infinity": 0, "infinity": 2, "NaN": 3}
NAMED = {"int": (), "time": (), "float": tuple(RANKS), "numeric": tuple(RANKS)}
OPS = {"exact": ("=",), "words": ("=", "words"), "prefix": ("=", "prefix"), "suffix": ("=", "suffix"),
       "parts": ("=", "contains", "prefix", "suffix")}


def outside(name):
    return b"\xff" + name.encode()


def node(height, at):
    return struct.pack(">BQ", height, at)


def words(text):
    return [word.encode() for word in "".join(c if is_of_words(c) else "\0" for c in text).split("\0") if word]


def spaced(text):
    text = "".join(" " if is_white(c) else c for c in text)
    return re.sub(" +", " ", "".join(c for c in text if not is_control(c))).strip(" ")


def pieces(text, k):
    return [text[at : at + k].encode() for at in range(len(text) - k + 1)]


def of_text(rule, text):
    """None where a text is too short for a prefix or suffix: it has no term."""
    found = normal_form(rule.subject, text)
    if rule.kind == "exact":
        return [found.encode()]
    if rule.kind == "words":
        return words(found)
    k, = rule.numbers
    if rule.kind == "parts":
        return pieces(BEGIN + spaced(found) + END, k)
    if len(found) < k:
        return None
    return [(found[:k] if rule.kind == "prefix" else found[-k:]).encode()]


def of_ordinal(rule, at, boundaries=None):
    if isinstance(at, str):
        return [outside(at)]
    if rule.kind == "buckets":
        if boundaries is None:
            raise EnvelopeError("no_boundaries")
        return [boundaries.payload(one) for one in boundaries.classes_of(at)]
    if rule.kind != "tree":
        return [struct.pack(">q", (at - HALF) // rule.width)]
    _, _, bits, low = rule.numbers
    if at < low:
        return [outside("below")]
    if at - low >= 1 << bits:
        return [outside("above")]
    return [node(height, at - low >> height) for height in rule.heights]


def payloads(rule, kind, plaintext, boundaries=None):
    """Of a value of a type, as it is opened (of text: its UTF-8). Each once, in the order of the rule's definition; None
    where the value has no term. Under `buckets` those of all classes of the value, of which its row has one."""
    rule, kind = Rule(rule), Type(kind)
    form = unfilled(kind, plaintext)
    if kind.is_array:
        raise EnvelopeError("no_form")
    if kind.name in MARKED and kind.name not in ordinals.WITHOUT:
        if rule.subject not in OPS and rule.kind not in OPS:
            raise EnvelopeError("no_form")
        found = of_text(rule, text_of(form))
    elif rule.text == "exact/1":
        found = [form if kind.name == "bytea" else ordinals.index_form(kind.name, form).encode()]
    elif ordinals.SUBJECTS.get(kind.name) != rule.subject:
        raise EnvelopeError("no_form")
    else:
        found = of_ordinal(rule, ordinals.ordinal(kind.name, form, rule.scale), boundaries)
    return None if found is None else list(dict.fromkeys(found))


def asked(rule, op, text):
    """Of text: `=`, `prefix`, `suffix`, `contains` or `words`. A value that is found has all of these payloads."""
    rule = Rule(rule)
    if rule.kind not in OPS:
        raise EnvelopeError("no_answer")
    found = normal_form(rule.subject, text, op != "=")
    if op not in OPS[rule.kind]:
        raise EnvelopeError("no_answer")
    if rule.kind == "exact":
        return [found.encode()]
    if rule.kind == "words":
        all_words = words(found)
        if op == "=" and not all_words:
            raise EnvelopeError("too_short")
        return list(dict.fromkeys(all_words))
    k, = rule.numbers
    if rule.kind == "parts":
        found = spaced(found)
        whole = (BEGIN if op in ("=", "prefix") else "") + found + (END if op in ("=", "suffix") else "")
        if not found or len(whole) < k:
            raise EnvelopeError("too_short")
        return list(dict.fromkeys(pieces(whole, k)))
    if len(found) < k:
        raise EnvelopeError("too_short")
    return [(found[:k] if rule.kind == "prefix" else found[-k:]).encode()]


def cover(rule, low, high):
    """The fewest nodes that hold the numbers from low to high, counted from the tree's low end."""
    heights = list(rule.heights)

    def from_above(level, at):
        first, last = at << heights[level], (at + 1 << heights[level]) - 1
        if last < low or first > high:
            return []
        if low <= first and last <= high:
            return [node(heights[level], at)]
        count = 1 << heights[level] - heights[level - 1]
        return [found for child in range(at * count, (at + 1) * count) for found in from_above(level - 1, child)]
    top = len(heights) - 1
    return [found for at in range(low >> heights[top], (high >> heights[top]) + 1) for found in from_above(top, at)]


def end_of(rule, kind, form):
    if form is None:
        return None
    if ordinals.SUBJECTS.get(kind.name) != rule.subject:
        raise EnvelopeError("no_form")
    return ordinals.ordinal(kind.name, unfilled(kind, form), rule.scale)


def of_numbers(rule, low, high, boundaries):
    if rule.kind == "buckets":
        if boundaries is None:
            raise EnvelopeError("no_boundaries")
        return [boundaries.payload(one) for one in boundaries.asked(low, high)]
    if rule.kind != "tree":
        first, last = (low - HALF) // rule.width, (high - HALF) // rule.width
        if last - first >= MOST_STEPS:
            raise EnvelopeError("too_wide")
        return [struct.pack(">q", at) for at in range(first, last + 1)]
    _, _, bits, start = rule.numbers
    end = start + (1 << bits) - 1
    found = [outside("below")] if low < start else []
    if low <= end and high >= start:
        found += cover(rule, max(low, start) - start, min(high, end) - start)
    return found + ([outside("above")] if high > end else [])


def asked_between(rule, kind, low, high, boundaries=None):
    """From one form to another, both within; None has no end. A value of the range has one of these payloads."""
    rule, kind = Rule(rule), Type(kind)
    if rule.kind in OPS or kind.is_array:
        raise EnvelopeError("no_answer")
    low, high = end_of(rule, kind, low), end_of(rule, kind, high)
    first, last = (HALF, HALF + DAY) if rule.subject == "time" else (0, 2 * HALF - 1)
    least, most = -1 if low is None else RANKS.get(low, 1), 4 if high is None else RANKS.get(high, 1)
    found = []
    if least <= 1 <= most:
        start = low if isinstance(low, int) else first
        end = high if isinstance(high, int) else last
        found = of_numbers(rule, start, end, boundaries) if start <= end else []
    return found + [outside(name) for name in NAMED.get(rule.subject, ("-infinity", "infinity")) if least <= RANKS[name] <= most]
