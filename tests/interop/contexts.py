#!/usr/bin/env python3
"""The encryption context as text, outside the database (docs/format.md); run, it writes tests/vectors/contexts-1.json.

    PYTHONPATH=tests target/venv/bin/python tests/interop/contexts.py

Beside each form stand those that other rules give, so that whoever takes a library's sees at once where it goes wrong.
"""

import base64
import json
import pathlib

FILE = pathlib.Path(__file__).parents[1] / "vectors/contexts-1.json"
SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}


def string(text):
    """Escaped are the quote, the backslash and what lies below U+0020, and nothing else."""
    return '"' + "".join(SHORT.get(ord(c)) or (f"\\u{ord(c):04x}" if c < " " else c) for c in text) + '"'


def written(pairs, string=string, comma=",", colon=":"):
    return "{" + comma.join(string(key) + colon + string(value) for key, value in pairs) + "}"


def canonical(context):
    """Keys in the order of their UTF-8 bytes."""
    return written(sorted(context.items(), key=lambda pair: pair[0].encode()))


def transit(context):
    """What OpenBao and Vault get as `context`."""
    return base64.b64encode(canonical(context).encode()).decode()


# What it is not.

def rfc8785(context):
    """Keys in the order of their UTF-16 code units."""
    return written(sorted(context.items(), key=lambda pair: pair[0].encode("utf-16-be")))


def jsonb(context):
    """PostgreSQL's: short keys first, and a space after each comma and colon."""
    pairs = sorted(context.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))
    return written(pairs, comma=", ", colon=": ")


def go(context):
    """The default of encoding/json, made for pages of HTML (up to Go 1.21 \\b and \\f are \\u0008 and \\u000c, too)."""
    def escaped(text):
        plain = string(text)
        return "".join(f"\\u{ord(c):04x}" if c in "<>&\u2028\u2029" else c for c in plain)
    return written(sorted(context.items(), key=lambda pair: pair[0].encode()), escaped)


def python(context):
    """json.dumps with sorted keys and the narrowest separators: all but ASCII is escaped."""
    return json.dumps(context, sort_keys=True, separators=(",", ":"))


def javascript(context):
    """JSON.stringify of an object with these keys, sorted as Array.prototype.sort does: RFC 8785's, and lone numbers
    come first, whatever they are sorted by."""
    pairs = sorted(context.items(), key=lambda pair: pair[0].encode("utf-16-be"))
    index = [pair for pair in pairs if pair[0].isascii() and pair[0].isdigit() and str(int(pair[0])) == pair[0]]
    return written(sorted(index, key=lambda pair: int(pair[0])) + [pair for pair in pairs if pair not in index])


OTHERS = {"rfc8785": rfc8785, "jsonb": jsonb, "go": go, "python": python, "javascript": javascript}

CONTEXTS = [
    {},
    {"": ""},
    {"database": "shop", "table": "public.customers"},
    {"table": "public.customers", "database": "shop"},
    {"b": "1", "aa": "2", "a": "3", "B": "4", "_": "5", "~": "6"},
    # U+1F511 is above U+FB01, and below it in UTF-16.
    {"\U0001f511": "1", "\ufb01": "2"},
    {"é": "1", "e\u0301": "2", "z": "3"},
    {"10": "1", "9": "2", "09": "3", "a": "4"},
    {"html": "<a href='x'>&amp;</a>"},
    {"lines": "\u2028\u2029\x85"},
    {"path": "C:\\temp/\"x\""},
    {"delete": "\x7f"},
    {"text": "Zoë, 東京, 🔑"},
    {"unpaired": "\ufffd\ufeff\ufffe"},
    {"controls": "".join(map(chr, range(0x20)))},
    *({f"U+{code:04X}": chr(code)} for code in (0x00, 0x01, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x1F)),
    *({chr(code): f"U+{code:04X}"} for code in (0x00, 0x0A, 0x1F, 0x22, 0x5C, 0x7F)),
    {"long": "x" * 4000},
]


def vector(context):
    form = canonical(context)
    others = {name: rule(context) for name, rule in OTHERS.items()}
    return {"context": context, "form": form, "transit": transit(context),
            "not": {name: other for name, other in others.items() if other != form}}


if __name__ == "__main__":
    made = [vector(context) for context in CONTEXTS]
    FILE.write_text(json.dumps({"format": "envelope/1 encryption contexts", "contexts": made}, indent=1) + "\n")
