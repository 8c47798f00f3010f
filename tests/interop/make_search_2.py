#!/usr/bin/env python3
"""Writes tests/vectors/search-2.json with the reference: what search-1.json lacks.

    PYTHONPATH=tests target/venv/bin/python tests/interop/make_search_2.py
"""

import hashlib
import json
import pathlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interop import normal, search
from interop import open as reader
from interop.normal import Refused

FILE = pathlib.Path(__file__).parents[1] / "vectors/search-2.json"
DEK = hashlib.sha256(b"envelope/1 search-2 index key").digest()
KEY = search.Key(DEK)
LABEL = "people.any"

TYPED = [
    ("exact/1", "int2", ["0", "-1", "32767"]),
    ("exact/1", "int8", ["0", "-1", "32767", "-9223372036854775808"]),
    ("exact/1", "float4", ["0.1", "-0", "NaN", "-Infinity", "1e+10"]),
    ("exact/1", "float8", ["0.1", "0.10000000149011612", "-0", "0", "NaN", "Infinity"]),
    ("exact/1", "numeric", ["12.50", "12.5", "100", "0.00", "-0.010", "NaN"]),
    ("exact/1", "date", ["2026-11-30", "0044-03-15 BC", "infinity"]),
    ("exact/1", "time", ["05:08:34.5", "24:00:00"]),
    ("exact/1", "timetz", ["05:08:34+02:00", "03:08:34+00:00"]),
    ("exact/1", "timestamp", ["2026-11-30T05:08:34", "-infinity"]),
    ("exact/1", "timestamptz", ["2026-11-30T05:08:34Z"]),
    ("exact/1", "interval", ["P1M", "P30D", "PT720H", "infinity"]),
    ("exact/1", "uuid", ["c0ffee00-0102-0304-0506-070809aabbcf"]),
    ("exact/1", "inet", ["10.0.0.1/32", "2001:db8::1/64", "::ffff:1.2.3.4/128"]),
    ("exact/1", "cidr", ["2001:db8::/32"]),
    ("exact/1", "enum", ["sad"]),
    ("steps(10) int/1", "int4", ["0", "9", "10", "-1", "-10", "-11"]),
    ("steps(1000) numeric(2)/1", "numeric", ["999.99", "1000.00", "-0.01", "NaN"]),
    ("days timestamp/1", "timestamp", ["1969-12-31T23:59:59.999999", "1970-01-01T00:00:00", "infinity"]),
    ("days timestamptz/1", "timestamptz", ["2026-11-30T05:08:34Z", "4714-11-24T00:00:00Z BC", "-infinity"]),
    ("steps(3600) timestamp/1", "timestamp", ["1970-01-01T00:59:59.999999", "1970-01-01T01:00:00", "1969-12-31T23:59:59"]),
    ("steps(3600) timestamptz/1", "timestamptz", ["294247-01-10T04:00:54.775807Z", "294276-12-31T23:59:59.999999Z"]),
    ("steps(900) time/1", "time", ["00:00:00", "00:14:59.999999", "00:15:00", "24:00:00"]),
    ("steps(7) date/1", "date", ["1969-12-31", "1970-01-07", "infinity", "-infinity"]),
    ("tree(2,1,8,9223372036854775708) int/1", "int2", ["-101", "-100", "0", "155", "156"]),
    ("tree(3,0,37,9223372036854775808) time/1", "time", ["00:00:00", "12:00:00.000001", "24:00:00"]),
    ("tree(4,4,64,0) float/1", "float4", ["0.1", "-0", "-1.5", "NaN", "Infinity"]),
    ("tree(4,4,64,0) float/1", "float8", ["0.1", "0.10000000149011612", "5e-324", "-Infinity"]),
    ("tree(2,4,40,9223372036854775808) numeric(2)/1", "numeric", ["12.50", "12.5", "0.00", "-0.01", "9999999999999999.99"]),
    ("tree(6,12,64,0) timestamptz/1", "timestamptz", ["294247-01-10T04:00:54.775806Z", "294276-12-31T23:59:59.999999Z"]),
]

ORDINALS = [
    ("int8", None, ["-9223372036854775808", "9223372036854775807"]),
    ("float4", None, ["0.1", "1e-45", "-3.4028235e+38", "NaN"]),
    ("float8", None, ["1.7976931348623157e+308", "-5e-324", "-1.7976931348623157e+308", "-Infinity"]),
    ("numeric", 0, ["999999999999999999", "-999999999999999999", "1000000000000000000", "1.5", "NaN"]),
    ("numeric", -2, ["12300", "-100", "0", "1230"]),
    ("numeric", 20, ["0.00000000000000000123", "0.000000000000000001230"]),
    ("date", None, ["4714-11-24 BC", "5874897-12-31", "infinity"]),
    ("time", None, ["00:00:00", "24:00:00"]),
    ("timestamp", None, ["4714-11-24T00:00:00 BC", "294247-01-10T04:00:54.775807", "294247-01-10T04:00:54.775808"]),
    ("timestamptz", None, ["1970-01-01T00:00:00Z", "294276-12-31T23:59:59.999999Z", "-infinity"]),
]

QUERIES = [
    ("casefold/1", "=", "MÜLLER"), ("casefold/1", "contains", "x"),
    ("prefix(3) casefold/1", "prefix", "Mül"), ("prefix(3) casefold/1", "prefix", "Müller"), ("prefix(3) casefold/1", "=", "Mu\u0308ller"),
    ("prefix(3) casefold/1", "prefix", "Mü"), ("prefix(3) casefold/1", "suffix", "Müller"),
    ("suffix(4) digits/1", "suffix", "67-89"), ("suffix(4) digits/1", "=", "123-45-6789"), ("suffix(4) digits/1", "suffix", "789"),
    ("suffix(4) digits/1", "suffix", "abc"),
    ("words casefold/1", "words", "Müller, Anna"), ("words casefold/1", "words", " — "), ("words casefold/1", "=", " — "),
    ("words casefold/1", "contains", "anna"),
    ("parts(3) casefold/1", "contains", "NNA"), ("parts(3) casefold/1", "contains", " a  b\t"), ("parts(3) casefold/1", "contains", "ab"),
    ("parts(3) casefold/1", "contains", " ab "), ("parts(3) casefold/1", "contains", "a\x01bc"), ("parts(3) casefold/1", "prefix", "An"),
    ("parts(3) casefold/1", "prefix", "a"), ("parts(3) casefold/1", "suffix", "na"), ("parts(3) casefold/1", "=", "a"),
    ("parts(3) casefold/1", "=", ""), ("parts(2) casefold/1", "=", "  "), ("parts(2) casefold/1", "prefix", "\x03"),
    ("parts(3) email/1", "suffix", "@Example.com"), ("parts(3) email/1", "=", "anna"), ("parts(4) alnum/1", "contains", "C-01/X"),
]

SETS = [
    ("buckets date/1", "date", None, 1, '{"set":1,"bounds":["0044-03-15 BC","1970-01-01","2026-11-30"],"classes":[[0],[1,2,3],[4],[5]]}'),
    ("buckets date/1", "date", None, 2, '{"set":2,"bounds":[],"classes":[[0]]}'),
    ("buckets int/1", "int4", None, 7, '{"set":7,"bounds":["-5","0","7"],"classes":[[0],[4],[5,6],[2]],"former":[[],[1],[1,3],[]]}'),
    ("buckets numeric(2)/1", "numeric", 2, 1, '{"set":1,"bounds":["-0.01","12.50"],"classes":[[0],[1],[4294967295]]}'),
    ("buckets float/1", "float8", None, 1, '{"set":1,"bounds":["-1.5","1e+15"],"classes":[[0],[1],[2]]}'),
    ("buckets float/1", "float4", None, 1, '{"set":1,"bounds":["1.0000000149011612e-01"],"classes":[[0],[1]]}'),
    ("buckets timestamptz/1", "timestamptz", None, 4294967295, '{"set":4294967295,"bounds":["2026-11-30T05:08:34Z"],"classes":[[9],[8]]}'),
]

RANGES = [
    ("days date/1", "date", None, "2026-11-30", "2026-12-02"), ("days date/1", "date", None, "2026-11-30", "2026-11-29"),
    ("days date/1", "date", None, "infinity", None), ("days date/1", "date", None, "2026-11-30", None),
    ("days date/1", "date", None, "-infinity", "-infinity"),
    ("steps(7) date/1", "date", None, "1969-12-31", "1970-01-07"),
    ("steps(43200) time/1", "time", None, None, None), ("steps(43200) time/1", "time", None, "12:00:00", None),
    ("steps(1000) numeric(2)/1", "numeric", 2, "-0.01", "1000.00"), ("steps(1) int/1", "int4", None, "0", "9999"),
    ("steps(1) int/1", "int4", None, "0", "10000"),
    ("tree(2,1,8,9223372036854775708) int/1", "int4", None, "-50", "49"), ("tree(2,1,8,9223372036854775708) int/1", "int4", None, None, None),
    ("tree(2,1,8,9223372036854775708) int/1", "int4", None, "-1000", "-101"), ("tree(2,1,8,9223372036854775708) int/1", "int4", None, "155", "156"),
    ("tree(4,4,64,0) float/1", "float8", None, "0", None), ("tree(4,4,64,0) float/1", "float8", None, None, "-1.7976931348623157e+308"),
    ("tree(4,4,64,0) float/1", "float8", None, "Infinity", "NaN"), ("tree(4,4,64,0) float/1", "float8", None, "NaN", "NaN"),
    ("tree(2,4,40,9223372036854775808) numeric(2)/1", "numeric", 2, "12.50", "99.99"),
]


def outcome(make):
    try:
        return {"payloads": [payload.hex() for payload in make()]}
    except Refused as refused:
        return {"refused": str(refused)}


def typed():
    for rule, kind, all_forms in TYPED:
        for form in all_forms:
            payloads = search.of_form(rule, kind, form)
            v = {"rule": rule, "type": kind, "form": form, "payloads": [payload.hex() for payload in payloads]}
            if rule.startswith("tree"):
                yield {**v, "stored": KEY.stored(LABEL, rule, payloads)}
            else:
                n = 16 if rule == "exact/1" else 8
                yield {**v, "n": n, "term": KEY.term(LABEL, rule, n, payloads[0]).hex()}


def ordinals():
    for kind, scale, all_forms in ORDINALS:
        for form in all_forms:
            try:
                found = search.ordinal(kind, form, scale)
            except Refused:
                found = None
            yield {"type": kind, "scale": scale, "form": form, "ordinal": found}


def ranges():
    for rule, kind, scale, low, high in RANGES:
        ends = [None if end is None else search.ordinal(kind, end, scale) for end in (low, high)]
        made = outcome(lambda: search.asked_between(rule, *ends))
        if len(made.get("payloads", [])) > 300:
            made = {"count": len(made["payloads"]), "last": made["payloads"][-1]}
        yield {"rule": rule, "type": kind, "low": low, "high": high, **made}


def sets():
    for number, (rule, kind, scale, _, text) in enumerate(SETS):
        nonce = hashlib.sha256(b"nonce %d" % number).digest()[:24]
        header = reader.SEALED + KEY.id
        cipher = AESGCM(reader.xaes_derive(reader.expand(DEK, "envelope/1 boundaries", 32), nonce))
        context = search.boundaries_context(LABEL, rule)
        sealed = header + nonce + cipher.encrypt(nonce[12:], text.encode(), header + context.encode())
        found = search.Boundaries(text, kind, scale)
        bounds = json.loads(text)["bounds"]
        ordinals = [search.ordinal("float8" if kind == "float4" else kind, bound, scale) for bound in bounds] or [search.HALF]
        at = sorted({0, (1 << 64) - 1} | {one + by for one in ordinals for by in (-1, 0)})
        yield {"label": LABEL, "rule": rule, "type": kind, "text": text, "nonce": nonce.hex(), "context": context, "sealed": sealed.hex(),
               "values": [{"ordinal": one, "classes": found.classes[found.interval(one)]} for one in at],
               "ranges": [{"low": low, "high": high, "payloads": [p.hex() for p in found.payloads(low, high)]}
                          for low, high in [(at[0], at[-1]), (at[1], at[1]), (at[1], at[2])]]}


# What 15.1.0 assigns, and some more, but for what is private.
CODE_POINTS = [c for first, last in [(0, 0xD7FF), (0xE000, 0x32FFF), (0xE0000, 0xE0FFF)] for c in map(chr, range(first, last + 1))]


def digest(of):
    return hashlib.sha256(b"".join(map(of, CODE_POINTS))).hexdigest()


def form_of(form):
    """A byte FF behind each form; a byte FE where there is none."""
    def of(c):
        try:
            return normal.normal(form, c).encode() + b"\xff"
        except Refused:
            return b"\xfe"
    return of


def code_points():
    """Digests over those code points: of their normal forms; of how they stand between others that compose; of properties."""
    return {
        **{form: digest(form_of(form)) for form in ("nfc", "casefold", "digits", "alnum")},
        "marks": digest(lambda c: normal.nfc(f"a\u0323{c}\u0301\u0327").encode() + b"\xff"),
        "folded": digest(lambda c: normal.casefold(f"A\u0323{c}\u0301\u0327B{c}\u0345").encode() + b"\xff"),
        "hangul": digest(lambda c: normal.nfc(f"\u1100{c}\u11a8").encode() + b"\xff"),
        "kinds": digest(lambda c: bytes([c in normal.WHITE, normal.is_control(c), normal.is_of_words(c)])),
    }


def make():
    return {
        "format": "envelope/1 search", "unicode": normal.unicode.unidata_version, "index_dek": DEK.hex(), "label": LABEL,
        "code_points": code_points(), "typed": list(typed()), "ordinals": list(ordinals()),
        "queries": [{"rule": rule, "op": op, "text": text, **outcome(lambda: search.asked(rule, op, text))} for rule, op, text in QUERIES],
        "ranges": list(ranges()), "boundary_sets": list(sets()),
    }


def write(vectors):
    lines = [f'"{key}": {json.dumps(value)}' if not isinstance(value, list) else
             f'"{key}": [\n  ' + ",\n  ".join(json.dumps(one) for one in value) + "\n]" for key, value in vectors.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(write(make()))
