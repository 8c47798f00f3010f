"""Rules of search indexes: their text, and no other text for the same."""

import re

from .errors import EnvelopeError
from .normal import FORMS

HALF, ALL = 1 << 63, 1 << 64
SECOND, DAY = 1_000_000, 86_400_000_000
NUMBER = "(?:0|[1-9][0-9]*)"
RULE = re.compile(rf"(?:(prefix|suffix|words|parts|days|steps|buckets|tree)(?:\(({NUMBER}(?:,{NUMBER})*)\))? )?"
                  rf"([a-z]+)(?:\((-?{NUMBER})\))?/1")
ORDERED = ("int", "float", "numeric", "date", "time", "timestamp", "timestamptz")
OF_TEXT = ("exact", "prefix", "suffix", "words", "parts")
LARGEST_SCALE = 1000


class Rule:
    """`kind`, its `numbers`, `subject` (a normal form, or a type), the `scale` of a numeric."""

    def __init__(self, text):
        found = RULE.fullmatch(text) if isinstance(text, str) else None
        if not found:
            raise EnvelopeError("unknown_rule")
        self.text, self.kind, self.subject = text, found[1] or "exact", found[3]
        self.numbers = [int(number) for number in found[2].split(",")] if found[2] else []
        self.scale = None if found[4] is None else int(found[4])
        if found[4] == "-0" or not self.is_right():
            raise EnvelopeError("unknown_rule")

    def is_right(self):
        count = {"prefix": 1, "suffix": 1, "parts": 1, "steps": 1, "tree": 4}.get(self.kind, 0)
        if len(self.numbers) != count or (self.scale is not None) != (self.subject == "numeric"):
            return False
        if self.kind in OF_TEXT:
            least, most = {"parts": (2, 8), "prefix": (1, 255), "suffix": (1, 255)}.get(self.kind, (0, 0))
            return self.subject in FORMS and (not count or least <= self.numbers[0] <= most)
        if self.subject not in ORDERED or abs(self.scale or 0) > LARGEST_SCALE:
            return False
        if self.kind == "days":
            return self.subject in ("date", "timestamp", "timestamptz")
        if self.kind == "steps":
            return self.subject != "float" and 0 <= (self.scale or 0) <= 18 and 0 < self.width < HALF
        if self.kind == "tree":
            sparsity, trim, bits, low = self.numbers
            return 1 <= sparsity <= 8 and trim <= 12 and trim < bits <= 64 and low + (1 << bits) <= ALL
        return True

    @property
    def n(self):
        """Bytes of the hash in a term, unless an index says otherwise; in a token."""
        return 16 if self.kind in ("exact", "prefix", "suffix") else 8

    @property
    def width(self):
        """Of a day or step, in units of the ordinal."""
        if self.kind == "days":
            return 1 if self.subject == "date" else DAY
        unit = {"int": 1, "date": 1, "numeric": 10 ** (self.scale or 0)}.get(self.subject, SECOND)
        return self.numbers[0] * unit

    @property
    def heights(self):
        sparsity, trim, bits, _ = self.numbers
        return range(0, bits - trim + 1, sparsity)
