"""Normal forms of text, version 1, written from the format's description alone. The package `unicodedata2` in its version
15.1.0 is Unicode's database of that version. Case folding is Python's own: of code points that 15.1.0 assigns it never
changes."""

import unicodedata2 as unicode

assert unicode.unidata_version == "15.1.0", unicode.unidata_version

IGNORABLE = {c for first, last in [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF)] for c in map(chr, range(first, last + 1))}
WHITE = set("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {chr(c) for c in range(0x2000, 0x200B)}


class Refused(Exception):
    pass


def is_known(c):
    return unicode.category(c) != "Cn" or c in IGNORABLE


def is_control(c):
    return unicode.category(c) == "Cc"


def is_of_words(c):
    return unicode.category(c)[0] in "LMN"


def by_runs(text, of_run):
    out, run = "", ""
    for c in text:
        if is_known(c):
            run += c
        else:
            out, run = out + of_run(run) + c, ""
    return out + of_run(run)


def nfc(text):
    return by_runs(text, lambda run: unicode.normalize("NFC", run))


def casefold(text):
    def drop(run):
        return "".join(c for c in run if c not in IGNORABLE)

    def of_run(run):
        run = unicode.normalize("NFD", drop(run))
        run = drop(unicode.normalize("NFKC", run.casefold()))
        return unicode.normalize("NFKC", run.casefold())
    return by_runs(text, of_run)


def digits(text):
    return "".join(str(unicode.decimal(c)) for c in text if unicode.category(c) == "Nd")


def alnum(text):
    return "".join(digits(c) or c for c in casefold(text) if is_of_words(c))


def email(text):
    name, at, domain = casefold(text.strip("".join(WHITE))).rpartition("@")
    domain = domain.removesuffix(".")
    if not name or not at or not domain or any(c in WHITE or is_control(c) for c in name + domain):
        raise Refused("no address")
    return name + at + domain


FORMS = {"exact": lambda text: text, "nfc": nfc, "casefold": casefold, "digits": digits, "alnum": alnum, "email": email}


def normal(form, text, is_piece=False):
    """Of a value, or of a piece that a query looks for."""
    found = casefold(text) if is_piece and form == "email" else FORMS[form](text)
    if form in ("digits", "alnum") and not found:
        raise Refused("empty")
    return found
