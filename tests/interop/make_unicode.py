#!/usr/bin/env python3
"""Writes what both readers know of Unicode 15.1.0, beside their code: properties that later versions change.

    PYTHONPATH=tests target/venv/bin/python tests/interop/make_unicode.py

Decompositions and compositions of what 15.1.0 assigns never change, so the readers take those of their language.
"""

import json
import pathlib
import sys

from interop.normal import IGNORABLE, WHITE, unicode

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = [ROOT / "interop/python/envelope_reader/unicode.json", ROOT / "interop/javascript/src/unicode.json"]
ALL = [c for c in map(chr, range(sys.maxunicode + 1)) if not "\ud800" <= c <= "\udfff"]
CATEGORY = {c: unicode.category(c) for c in ALL}


def ranges(holds):
    """Where runs begin and where they have ended, in turns."""
    found, is_in = [], False
    for c in ALL:
        if holds(c) != is_in:
            found.append(ord(c))
            is_in = not is_in
    return [*found, sys.maxunicode + 1] if is_in else found


def folding():
    """Of code points that fold to another text: case folding, C and F. That of Python is of assigned ones."""
    return {c: c.casefold() for c in ALL if c.casefold() != c and CATEGORY[c] != "Cn"}


def make():
    return {
        "unicode": unicode.unidata_version,
        "assigned": ranges(lambda c: CATEGORY[c] != "Cn"),
        "ignorable": ranges(IGNORABLE.__contains__),
        "white": ranges(WHITE.__contains__),
        "words": ranges(lambda c: CATEGORY[c][0] in "LMN"),
        "zeros": [ord(c) for c in ALL if CATEGORY[c] == "Nd" and unicode.decimal(c) == 0],
        "folding": folding(),
    }


def write(data):
    return "{\n" + ",\n".join(f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in data.items()) + "\n}\n"


if __name__ == "__main__":
    text = write(make())
    for file in FILES:
        file.write_text(text)
