"""Boundary sets: which interval of the order of a type a value is in, for `buckets`."""

import json
import math
import struct

from . import ordinals
from .context import netstring
from .errors import EnvelopeError
from .forms import number_of, scalar
from .rules import Rule
from .values import opened_by

MOST = (1 << 32) - 1
# The types whose forms a rule's bounds are written in.
FORMS_OF = {"int": "int8", "float": "float8"}


def boundaries_context(label, rule):
    return "envelope/1 boundaries," + (netstring(label) + netstring(rule)).decode()


def open_boundaries(data_key, label, rule, sealed):
    """The text of a set, with the data key of its index."""
    raw = opened_by(data_key, "envelope/1 boundaries", sealed, boundaries_context(label, rule))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise EnvelopeError("not_a_boundary_set") from None


def is_number(of):
    return isinstance(of, int) and not isinstance(of, bool) and 0 <= of <= MOST


class Boundaries:
    """A set, from its text and the rule that it is of."""

    def __init__(self, rule, text):
        rule = Rule(rule)
        if rule.kind != "buckets":
            raise EnvelopeError("no_answer")
        try:
            found = json.loads(text)
            self.set, self.classes = found["set"], found["classes"]
            self.bounds = [self.bound(rule, one) for one in found["bounds"]]
            self.former = found.get("former", [[] for _ in self.classes])
        except (ValueError, LookupError, TypeError, AttributeError, EnvelopeError):
            raise EnvelopeError("not_a_boundary_set") from None
        if not self.is_right(found) or self.write(found) != text:
            raise EnvelopeError("not_a_boundary_set")

    @staticmethod
    def bound(rule, text):
        name = FORMS_OF.get(rule.subject, rule.subject)
        if name == "float8":
            number = number_of(name, text)
            at = None if number is None or not math.isfinite(number) else ordinals.of_double(number)
        else:
            at = ordinals.ordinal_of(name, scalar(name, text.encode()), rule.scale)
        if not isinstance(at, int):
            raise EnvelopeError("no_form")
        return at

    def is_right(self, found):
        lists = [*self.classes, *self.former] if isinstance(self.classes, list) and isinstance(self.former, list) else [None]
        if not all(isinstance(one, list) and all(map(is_number, one)) for one in lists):
            return False
        current = [one for classes in self.classes for one in classes]
        return (is_number(self.set) and len(set(current)) == len(current) and ("former" not in found or any(self.former))
                and len(self.classes) == len(self.former) == len(self.bounds) + 1 and all(self.classes)
                and all(a < b for a, b in zip(self.bounds, self.bounds[1:])))

    def write(self, found):
        """The one text."""
        fields = [name for name in ("set", "bounds", "classes", "former") if name in found]
        return json.dumps({name: found[name] for name in fields}, separators=(",", ":"), ensure_ascii=False)

    def interval(self, at):
        return sum(bound <= at for bound in self.bounds)

    def classes_of(self, at):
        return self.classes[self.interval(at)]

    def asked(self, low, high):
        at = range(self.interval(low), self.interval(high) + 1)
        return list(dict.fromkeys(one for interval in at for one in self.classes[interval] + self.former[interval]))

    def payload(self, one):
        return struct.pack(">II", self.set, one)
