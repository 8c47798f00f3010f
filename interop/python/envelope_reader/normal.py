"""Normal forms of text, version 1, by Unicode 15.1.0. Its tables are in unicode.json. How characters are composed is
taken from Python, or from the package unicodedata2 where Python is older than 3.13: what 15.1.0 assigns never changes."""

import bisect
import functools
import importlib
import json
from importlib import resources

from .context import utf8
from .errors import EnvelopeError

TABLES = json.loads(resources.files(__package__).joinpath("unicode.json").read_text(encoding="ascii"))
FOLDING = TABLES["folding"]
CONTROLS = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}


@functools.cache
def newest_unicode():
    for name in ("unicodedata", "unicodedata2"):
        try:
            found = importlib.import_module(name)
        except ImportError:
            continue
        if tuple(map(int, found.unidata_version.split("."))) >= (15, 1, 0):
            return found
    raise ImportError("search needs Python 3.13 or later, or the package unicodedata2")


def normalized(form, text):
    return newest_unicode().normalize(form, text)


def has(table, c):
    """Where runs begin and where they have ended stands in turns."""
    return bisect.bisect_right(TABLES[table], ord(c)) % 2 == 1


def is_white(c):
    return has("white", c)


def is_control(c):
    return c in CONTROLS


def is_of_words(c):
    return has("words", c)


def decimal(c):
    """`0` to `9` for a decimal digit of any script, empty for others."""
    zero = TABLES["zeros"][max(bisect.bisect_right(TABLES["zeros"], ord(c)) - 1, 0)]
    return str(ord(c) - zero) if 0 <= ord(c) - zero <= 9 else ""


def by_runs(text, of_run):
    """Of each run of characters that 15.1.0 knows; each other one stands as it is."""
    out, run = [], ""
    for c in text:
        if has("assigned", c) or has("ignorable", c):
            run += c
        else:
            out += [of_run(run), c]
            run = ""
    return "".join([*out, of_run(run)])


def folded(text):
    return "".join(FOLDING.get(c, c) for c in text)


def without_ignorable(text):
    return "".join(c for c in text if not has("ignorable", c))


def casefold_run(run):
    run = normalized("NFKC", folded(normalized("NFD", without_ignorable(run))))
    return normalized("NFKC", folded(without_ignorable(run)))


def exact(text):
    return text


def nfc(text):
    return by_runs(text, lambda run: normalized("NFC", run))


def casefold(text):
    return by_runs(text, casefold_run)


def left(text):
    if not text:
        raise EnvelopeError("empty")
    return text


def digits(text):
    return left("".join(map(decimal, text)))


def alnum(text):
    return left("".join(decimal(c) or c for c in casefold(text) if is_of_words(c)))


def trimmed(text):
    kept = [at for at, c in enumerate(text) if not is_white(c)]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def email(text):
    name, at, domain = casefold(trimmed(text)).rpartition("@")
    domain = domain[:-1] if domain.endswith(".") else domain
    if not name or not domain or any(is_white(c) or is_control(c) for c in name + domain):
        raise EnvelopeError("no_address")
    return name + at + domain


FORMS = {"exact": exact, "nfc": nfc, "casefold": casefold, "digits": digits, "alnum": alnum, "email": email}


def normal_form(form, text, is_piece=False):
    """Of a value; or of a piece of one, which a query looks for and which is no whole address."""
    if form not in FORMS:
        raise EnvelopeError("unknown_rule")
    if "\0" in text:
        raise EnvelopeError("not_text")
    utf8(text)
    return FORMS["casefold" if is_piece and form == "email" else form](text)
