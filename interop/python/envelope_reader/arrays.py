"""Arrays: JSON of nested arrays, whose elements are strings or null, with one text for each."""

import re

from .context import quoted

DEPTH = 6
STRING = re.compile(rb'"((?:[^"\\\x00-\x1f]|\\(?:["\\bfnrt]|u00[01][0-9a-f]))*)"')
ESCAPE = re.compile(rb'\\(u00..|.)')
PLAIN = {b'"': b'"', b"\\": b"\\", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}


def unescaped(raw):
    return ESCAPE.sub(lambda found: PLAIN.get(found[1]) or bytes([int(found[1][3:], 16)]), raw)


def is_shortest(raw):
    """`\\n` has a short escape and `\\u000a` is another text for it."""
    return all(len(found[1]) == 1 or len(quoted(chr(int(found[1][3:], 16)))) == 8 for found in ESCAPE.finditer(raw))


def elements(form):
    """Nested lists of bytes and None; None if it is no form. The sizes of all arrays at one depth are the same."""
    try:
        form.decode()
    except UnicodeDecodeError:
        return None
    if form == b"[]":
        return []
    at, stack, sizes = 0, [], {}
    leaf = None
    while True:
        if form[at : at + 1] == b"[":
            if len(stack) == DEPTH or leaf is not None and len(stack) >= leaf:
                return None
            stack.append([])
            at += 1
            continue
        # An element, which stands at one depth everywhere.
        if not stack or leaf not in (None, len(stack)):
            return None
        leaf = len(stack)
        if form[at : at + 4] == b"null":
            stack[-1].append(None)
            at += 4
        else:
            found = STRING.match(form, at)
            if not found or not is_shortest(found[1]):
                return None
            stack[-1].append(unescaped(found[1]))
            at = found.end()
        while form[at : at + 1] == b"]":
            done = stack.pop()
            if sizes.setdefault(len(stack), len(done)) != len(done):
                return None
            at += 1
            if not stack:
                return done if at == len(form) else None
            stack[-1].append(done)
        if form[at : at + 1] != b",":
            return None
        at += 1


def each(of, read):
    return [each(one, read) if isinstance(one, list) else None if one is None else read(one) for one in of]
