#!/usr/bin/env python3
"""Writes tests/vectors/conformance-1.json: a named vector for every kind of value, wrap, context, term and token, and for every
malformation. What is expected is said here; only sealed bytes and hashes are computed, by the reader in Python.

    PYTHONPATH=tests:interop/python target/venv/bin/python tests/interop/make_conformance.py
"""

import base64
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_reader import context, keys, terms, types, xaes

FILE = pathlib.Path(__file__).parents[1] / "vectors/conformance-1.json"
VECTORS = []


def some(name, length=32):
    return hashlib.shake_256(b"envelope/1 conformance " + name.encode()).digest(length)


def gives(name, shows, do, expected, in_crate=True, **given):
    VECTORS.append({"name": name, "shows": shows, "do": do, "with": given, "gives": expected, **({} if in_crate else {"in_crate": False})})


def fails(name, shows, do, error, in_crate=True, **given):
    VECTORS.append({"name": name, "shows": shows, "do": do, "with": given, "fails": error, **({} if in_crate else {"in_crate": False})})


def flipped(raw, at, bit=0):
    out = bytearray(raw)
    out[at] ^= 1 << bit
    return bytes(out)


# -- values -----------------------------------------------------------------------------------------------------------

DEK, OTHER = some("data key"), some("another data key")


def sealed(plaintext, of="", dek=DEK, label="envelope/1 seal", nonce=None, header=None):
    nonce = nonce or some("nonce of " + of + plaintext.hex(), 24)
    header = header or b"\xf7\xe1" + keys.key_id(dek)
    return header + nonce + AESGCM(xaes.derived(keys.expand(dek, label, 32), nonce)).encrypt(nonce[12:], plaintext, header + of.encode())


def values():
    for what, plaintext in [("no bytes", b""), ("one byte", b"\0"), ("15 bytes", b"x" * 15), ("16 bytes", b"x" * 16), ("17 bytes", b"x" * 17),
                            ("4,096 bytes", some("page", 4096)), ("bytes that are no text", b"\xff\xfe\0"),
                            ("a sealed value, sealed again", sealed(b"inner"))]:
        gives(f"value/{what}", "a value opens", "open_value", plaintext.hex(), data_key=DEK.hex(), sealed=sealed(plaintext).hex(), context="")
    row = context.row_context("customers.ssn", "42")
    for what, of in [("of a row", row), ("beyond ASCII", "Zoë 東京 🔑"), ("not normalised", "e\u0301"), ("with a zero", "a\0b"), ("of 1,000 bytes", "x" * 1000)]:
        gives(f"value/context {what}", "the context is bound byte for byte", "open_value", b"123-45-6789".hex(),
              data_key=DEK.hex(), sealed=sealed(b"123-45-6789", of).hex(), context=of)
    for what, nonce in [("zeros", bytes(24)), ("ones", b"\xff" * 24), ("a counter that is at its end", some("first half", 12) + b"\xff" * 12)]:
        gives(f"value/nonce of {what}", "any nonce opens", "open_value", b"abc".hex(), data_key=DEK.hex(), sealed=sealed(b"abc", nonce=nonce).hex(), context="")
    # CMAC's subkey is made in two ways, by the first bit of a block under the key.
    for top in (0, 1):
        dek = next(k for k in (some(f"subkey {i}") for i in range(99)) if first_bit(k) == top)
        gives(f"value/subkey whose first bit is {top}", "the key derivation of XAES-256-GCM doubles with and without 0x87", "open_value", b"abc".hex(),
              data_key=dek.hex(), sealed=sealed(b"abc", dek=dek).hex(), context="")
    gives("value/key id", "a key's id is derived from it", "key_id", keys.text_of(keys.key_id(DEK)), data_key=DEK.hex())
    gives("value/named key", "a value names its key", "named_key", keys.text_of(keys.key_id(DEK)), sealed=sealed(b"abc").hex())

    whole = sealed(b"123-45-6789", row)

    def broken(name, error, raw, of=row, dek=DEK, shows="a changed value does not open"):
        fails(f"value/{name}", shows, "open_value", error, data_key=dek.hex(), sealed=raw.hex(), context=of)
    for name, at in [("nonce, first byte", 18), ("nonce, last byte of the first half", 29), ("nonce, first byte of the second half", 30),
                     ("nonce, last byte", 41), ("ciphertext, first byte", 42), ("ciphertext, last byte", 52), ("tag, first byte", 53), ("tag, last byte", -1)]:
        broken(f"changed: {name}", "does_not_open", flipped(whole, at))
    broken("changed: key id", "other_key", flipped(whole, 2))
    broken("changed: key id, last byte", "other_key", flipped(whole, 17))
    broken("another data key", "other_key", whole, dek=OTHER, shows="a value is refused before its tag is looked at")
    broken("changed: version of the key id", "not_sealed", flipped(whole, 8, 4))
    broken("changed: variant of the key id", "not_sealed", flipped(whole, 10, 6))
    broken("changed: marker", "not_sealed", flipped(whole, 0))
    broken("changed: suite", "not_sealed", flipped(whole, 1))
    broken("marker of a file wrap", "not_sealed", b"\xf7\x57" + whole[2:])
    broken("last byte missing", "does_not_open", whole[:-1])
    broken("first byte missing", "not_sealed", whole[1:])
    broken("one byte more", "does_not_open", whole + b"\0")
    broken("58 bytes of a longer one", "does_not_open", whole[:58])
    for length in (57, 18, 17, 2, 1, 0):
        broken(f"cut to {length} bytes", "not_sealed", whole[:length], shows="58 bytes are the least")
    broken("two values in one", "does_not_open", whole + whole)
    broken("another row", "does_not_open", whole, of=context.row_context("customers.ssn", "43"))
    broken("another column", "does_not_open", whole, of=context.row_context("customers.card", "42"))
    broken("context left out", "does_not_open", whole, of="")
    broken("context where there was none", "does_not_open", sealed(b"abc"))
    broken("context normalised", "does_not_open", sealed(b"abc", "e\u0301"), of="é")
    broken("right header, sealed under another key", "does_not_open", sealed(b"abc", dek=OTHER, header=whole[:18]), of="")
    broken("sealed with the key of boundary sets", "does_not_open", sealed(b"abc", label="envelope/1 boundaries"), of="")
    broken("a data key of 31 bytes", "wrong_length", whole, dek=DEK[:31], shows="a key has 32 bytes")
    broken("a data key of 33 bytes", "wrong_length", whole, dek=DEK + b"\0", shows="a key has 32 bytes")


def first_bit(dek):
    aes = Cipher(algorithms.AES(keys.expand(dek, "envelope/1 seal", 32)), modes.ECB()).encryptor()
    return aes.update(bytes(16))[0] >> 7


def row_contexts():
    for name, tag, parts in [("no parts", "t.c", []), ("one", "customers.ssn", ["42"]), ("several", "t.c", ["1", "2", "3"]), ("empty", "", [""]),
                             ("lengths in bytes", "Zoë", ["東京"]), ("what looks like two", "a", ["1:b,", "c"]), ("a long one", "t.c", ["x" * 100]),
                             ("bytea, in hex", "t.c", ["00ff"]), ("a uuid", "t.c", ["c0ffee00-0102-0304-0506-070809aabbcf"])]:
        expected = "envelope/1 row," + "".join(f"{len(one.encode())}:{one}," for one in [tag, *parts])
        gives(f"row context/{name}", "netstrings of the tag and the bound values", "row_context", expected, tag=tag, parts=parts)


# -- typed values -----------------------------------------------------------------------------------------------------

TYPED = {
    "bool": (["true", "false"], ["TRUE", "t", "1", "", "true\n", "truefalse"]),
    "int2": (["0", "1", "-1", "32767", "-32768"], ["32768", "-32769", "+1", "-0", "00", "01", "1.0", " 1", "", "-", "1e1", "0x1", "１"]),
    "int4": (["0", "2147483647", "-2147483648"], ["2147483648", "-2147483649", "-01"]),
    "int8": (["0", "9223372036854775807", "-9223372036854775808"], ["9223372036854775808", "-9223372036854775809", "99999999999999999999"]),
    "numeric": (["0", "0.00", "12.50", "-0.01", "100000000000000000000000000000000000", "0.000000000000000000000000000000000000001", "NaN", "Infinity", "-Infinity"],
                ["-0", "-0.00", "+1", "01", "00.5", ".5", "5.", "1e5", "nan", "infinity", "-NaN", "1,5", "1 000", "", "-", "1.2.3"]),
    "float4": (["0", "-0", "0.1", "1", "1e+06", "999999", "1.2345679e+09", "1e-05", "0.0001", "3.4028235e+38", "1e-45", "NaN", "Infinity", "-Infinity"],
               ["1000000", "0.10", "1e6", "1e+6", "1E+06", "0.100000001", "3.5e+38", "1e-46", "+1", "-NaN", ".1", "inf", "1.0", "00", "1e+006"]),
    "float8": (["0", "-0", "0.1", "1e+15", "999999999999999", "9.999999999999999e+22", "1e-05", "0.0001", "123456.789", "1.7976931348623157e+308",
                "2.2250738585072014e-308", "5e-324", "-1.5", "NaN", "Infinity", "-Infinity", "0.30000000000000004", "1e+100"],
               ["1e+23", "1000000000000000", "0.1000000000000000055", "1e15", "1.8e+308", "1e-400", "0.00001", "1E-05", "0x1p3", "", "-", "1e", "e5", "Infinity ."]),
    "date": (["1970-01-01", "2026-11-30", "2024-02-29", "0044-03-15 BC", "0001-12-31 BC", "4714-11-24 BC", "9999-12-31", "10000-01-01", "5874897-12-31", "infinity", "-infinity"],
             ["2026-2-1", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "2026-04-31", "0000-01-01", "00044-03-15", "010000-01-01",
              "4714-11-23 BC", "5874898-01-01", "2026-11-30 AD", "2026-11-30 bc", "2026-11-30BC", "20261130", "Infinity", "+infinity", "", "2026-11-30T00:00:00"]),
    "time": (["00:00:00", "05:08:34", "05:08:34.5", "23:59:59.999999", "24:00:00", "00:00:00.000001"],
             ["24:00:01", "24:00:00.000001", "25:00:00", "05:60:00", "05:08:60", "5:08:34", "05:08", "05:08:34.", "05:08:34.50", "05:08:34.1234567", "05:08:34,5", ""]),
    "timetz": (["05:08:34+00:00", "05:08:34.5+02:00", "05:08:34-02:30", "05:08:34+00:19:32", "24:00:00-15:59:59", "00:00:00+15:59:59"],
               ["05:08:34", "05:08:34Z", "05:08:34-00:00", "05:08:34+2", "05:08:34+02", "05:08:34+02:00:00", "05:08:34+16:00", "05:08:34+02:60", "+02:00", "05:08:34 +02:00"]),
    "timestamp": (["1970-01-01T00:00:00", "2026-11-30T05:08:34.123456", "0044-03-15T12:00:00 BC", "4714-11-24T00:00:00 BC", "294276-12-31T23:59:59.999999", "infinity", "-infinity"],
                  ["2026-11-30 05:08:34", "2026-11-30", "2026-11-30T24:00:00", "2026-11-30T05:08:34Z", "2026-11-30T05:08:34+00:00", "0044-03-15 BCT12:00:00",
                   "4714-11-23T23:59:59 BC", "294277-01-01T00:00:00", "2026-11-30t05:08:34", "2026-11-30T05:08:34.0"]),
    "timestamptz": (["1970-01-01T00:00:00Z", "2026-11-30T05:08:34.5Z", "0044-03-15T12:00:00Z BC", "294276-12-31T23:59:59.999999Z", "infinity", "-infinity"],
                    ["2026-11-30T05:08:34", "2026-11-30T05:08:34z", "2026-11-30T05:08:34+00", "0044-03-15T12:00:00 BCZ", "0044-03-15T12:00:00 BC", "294277-01-01T00:00:00Z", "2026-11-30T24:00:00Z"]),
    "interval": (["PT0S", "P1Y2M3DT4H5M6.5S", "P1Y2M-3DT-4H-5.5S", "P30D", "PT720H", "PT-0.000001S", "P-1Y-1M", "P178956970Y7M2147483647DT2562047788H54.775807S",
                  "P-178956970Y-8M-2147483648DT-2562047788H-54.775808S", "infinity", "-infinity"],
                 ["P", "PT", "P0D", "P1W", "P12M", "PT60S", "PT3600S", "PT60M", "P1Y0M", "PT1.50S", "PT1.S", "P1DT", "1D", "P1D ago", "P+1D", "P-0D", "PT-0S", "PT1H-5M",
                  "P178956970Y8M", "P2147483648D", "PT2562047788H54.775808S", "P1M1Y", ""]),
    "uuid": (["c0ffee00-0102-0304-0506-070809aabbcf", "00000000-0000-0000-0000-000000000000"],
             ["C0FFEE00-0102-0304-0506-070809AABBCF", "c0ffee000102030405060708 09aabbcf", "c0ffee00010203040506070809aabbcf", "{c0ffee00-0102-0304-0506-070809aabbcf}", "c0ffee00-0102-0304-0506-070809aabbc", ""]),
    "inet": (["10.0.0.1/32", "10.0.0.1/8", "0.0.0.0/0", "2001:db8::1/64", "::/0", "::1/128", "::2/128", "::ffff:1.2.3.4/128", "::1.2.3.4/96", "::ffff:0.0.0.0/128", "1:0:0:2::/128",
              "1::2:0:0:3:0/128", "1:0:2:3:4:5:6:7/128", "fe80::1:0:0:1/10", "::0.1.0.0/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"],
             ["10.0.0.1", "10.0.0.1/33", "10.0.0.01/32", "10.0.0/24", "256.0.0.1/32", "10.0.0.1/032", "10.0.0.1/", "/32", "2001:DB8::1/64", "2001:0db8::1/64",
              "2001:db8:0:0:0:0:0:1/64", "1:0:0:2:0:0:0:0/128", "1::2:3:4:5:6:7/128", "::ffff:102:304/128", "::0102/128", "::1:0/128", "::1/129", ":::/0", "1:2:3:4:5:6:7/128", "::1%eth0/128", ""]),
    "cidr": (["10.0.0.0/8", "0.0.0.0/0", "10.0.0.1/32", "2001:db8::/32", "::/0"], ["10.0.0.1/8", "128.0.0.0/0", "2001:db8::1/64", "10/8"]),
    "enum": (["sad", "two words", "Zoë", ""], []),
    "text": (["", "abc", " spaces at the ends ", "Zoë 東京 🔑", "a\nb\tc", "\ufeffabc", "\uffff", "e\u0301"], []),
    "varchar": (["abc"], []), "bpchar": (["abc"], []),
    "json": (['{"a": 1}', '{"a":1,"a":2}', " [1] "], []),
    "jsonb": (['{"a": 1}', "null"], []),
}
ARRAYS = {
    "text[]": [("[]", []), ('["a"]', ["a"]), ("[null]", [None]), ('["null",null]', ["null", None]), ('["","\\"\\\\/"]', ["", '"\\/']),
               ('["\\b\\f\\n\\r\\t\\u0001\\u001f\x7f"]', ["\b\f\n\r\t\x01\x1f\x7f"]), ('["é🔑\u2028"]', ["é🔑\u2028"]),
               ('[["a",null],["b","c"]]', [["a", None], ["b", "c"]]), ('[[[[[["x"]]]]]]', [[[[[["x"]]]]]])],
    "int4[]": [('["1","-2"]', ["1", "-2"]), ('[["1"],["2"]]', [["1"], ["2"]])],
    "bytea[]": [('["\\\\x","\\\\x00ff"]', ["\\x", "\\x00ff"])],
    "timestamptz[]": [('["2026-11-30T05:08:34Z","infinity"]', ["2026-11-30T05:08:34Z", "infinity"])],
    "numeric[]": [('["1.0","NaN"]', ["1.0", "NaN"])], "bool[]": [('["true",null]', ["true", None])], "enum[]": [('["sad"]', ["sad"])],
    "jsonb[]": [('["{\\"a\\": 1}"]', ['{"a": 1}'])], "uuid[]": [('["c0ffee00-0102-0304-0506-070809aabbcf"]', ["c0ffee00-0102-0304-0506-070809aabbcf"])],
}
NO_ARRAYS = {
    "text[]": ["", "[", "]", "[]]", "[[]]", "[[],[]]", '["a",]', '[,"a"]', '["a" ,"b"]', '[ "a"]', '["a"] x', '["a"', "['a']", '[a]', "[1]", "[true]", "[NULL]", '["a"]["b"]',
               '[["a"],["b","c"]]', '[["a"],"b"]', '["a",["b"]]', '[["a"],null]', "[null,[null]]", '[[[[[[["x"]]]]]]]', '["\\/"]', '["\\u0041"]', '["\\u000a"]', '["\\u001F"]', '["\\U001f"]',
               '["\\u00e9"]', '["\n"]', '["\\x"]', '["\\"]', '{"a"}', "{a}"],
    "int4[]": ["[1]", '["01"]', '["1 "]', '["2147483648"]', '[""]'],
    "bytea[]": ['["00"]', '["\\\\x0"]', '["\\\\xFF"]', '["\\\\X00"]', '["\\\\x0g"]'],
}


def in_crate(kind):
    """Which of several texts of a float is the form PostgreSQL says, not the crate."""
    return not kind.startswith("float")


def named(text):
    return repr(text) if len(text) < 60 else repr(text[:57] + "…")


def typed():
    for kind, (forms, others) in TYPED.items():
        for form in forms:
            raw = form.encode()
            gives(f"{kind}/{named(form)}", "a form is read", "decode", form, in_crate(kind), type=kind, plaintext=raw.hex())
            block = types.BLOCKS[kind]
            if block > 1:
                filled = raw.ljust(-(-max(len(raw), 1) // block) * block)
                gives(f"{kind}/{named(form)}, filled", "what fills a form is taken off", "decode", form, in_crate(kind), type=kind, plaintext=filled.hex())
                gives(f"{kind}/{named(form)}, to be filled", "the block of the type", "filled", filled.hex(), type=kind, form=raw.hex())
        for form in others:
            fails(f"{kind}/not {named(form)}", "what is not byte for byte the form is refused", "decode", "no_form", in_crate(kind), type=kind, plaintext=form.encode().hex())
        if kind not in types.MARKED:
            fails(f"{kind}/not UTF-8", "a form is text", "decode", "no_form", type=kind, plaintext="ff")
            fails(f"{kind}/filled before", "spaces are taken off the end alone", "decode", "no_form", in_crate(kind), type=kind, plaintext=(" " + forms[0]).encode().hex()) if kind != "enum" else None
    gives("bytea/as it is", "bytea has neither form nor filling", "decode", "\\x00ff2020ff0000", type="bytea", plaintext="00ff2020ff0000")
    gives("bytea/empty", "bytea has neither form nor filling", "decode", "\\x", type="bytea", plaintext="")
    fails("enum/a zero", "text has no zero", "decode", "no_form", type="enum", plaintext="610062")

    for kind, all_forms in ARRAYS.items():
        for form, value in all_forms:
            gives(f"{kind}/{named(form)}", "an array is nested arrays of strings", "decode", value, type=kind, plaintext=form.encode().hex())
        gives(f"{kind}/filled", "spaces are taken off the end of arrays, too", "decode", all_forms[0][1], type=kind, plaintext=(all_forms[0][0] + "   ").encode().hex())
    for kind, others in NO_ARRAYS.items():
        for form in others:
            fails(f"{kind}/not {named(form)}", "an array has one text only", "decode", "no_form", type=kind, plaintext=form.encode().hex())
    fails("text[]/not UTF-8", "an array is UTF-8 as a whole", "decode", "no_form", type="text[]", plaintext=b'["\xff"]'.hex())
    fails("text[]/a zero", "text has no zero, not even an escaped one", "decode", "not_text", type="text[]", plaintext=b'["\\u0000"]'.hex())

    for kind in ("text", "varchar", "bpchar", "json", "jsonb"):
        for what, raw, error in [("not UTF-8", b"\xc3", None), ("overlong", b"\xc0\x80", None), ("half of a surrogate pair", b"\xed\xa0\x80", None), ("beyond Unicode", b"\xf4\x90\x80\x80", None),
                                 ("a zero", b"a\0b", None), ("zeros at the end, unmarked", b"ab\0\0", None), ("a mark within", b"a\xffb", None), ("a mark and other bytes", b"a\xff\0\x01", None),
                                 ("two marks", b"a\xff\xff", None)]:
            fails(f"{kind}/{what}", "text is UTF-8, without a zero", "decode", "not_text", type=kind, plaintext=raw.hex())
        gives(f"{kind}/marked", "the mark and the zeros behind it are taken off", "decode", "ab ", type=kind, plaintext=b"ab \xff\0\0\0\0".hex())
        gives(f"{kind}/marked, without a zero", "the mark alone", "decode", "abcdefg", type=kind, plaintext=b"abcdefg\xff".hex())
        gives(f"{kind}/marked, empty", "a text of no characters in a block", "decode", "", type=kind, plaintext=(b"\xff" + bytes(7)).hex())
    for form, block in [("", 8), ("abcdefg", 8), ("abcdefgh", 8), ("é", 2), ("abc", 1), ("abc", 16_384)]:
        raw = form.encode()
        marked = raw if block == 1 else (raw + b"\xff").ljust(-(-(len(raw) + 1) // block) * block, b"\0")
        gives(f"text/{form!r} in blocks of {block}", "text is filled if a policy says so", "filled", marked.hex(), type="text", form=raw.hex(), block=block)
    gives("bytea/in blocks of 8", "bytea is never filled", "filled", "616263", type="bytea", form="616263", block=8)
    for what, raw, value in [("as it is", b"abc ", "abc "), ("marked", b"abc\xff\0", "abc"), ("a filled form of another type", b"true ", "true ")]:
        gives(f"untyped text/{what}", "envelope_decrypt_text knows no type, and takes a mark off", "decode_text", value, plaintext=raw.hex())
    fails("untyped text/not UTF-8", "envelope_decrypt_text gives text", "decode_text", "not_text", plaintext="f7e1")

    for name, kind, form in [("numeric(10,2)", "numeric(10,2)", "12.50"), ("numeric(3,5)", "numeric(3,5)", "0.00123"), ("numeric(2,-3)", "numeric(2,-3)", "12000"), ("numeric(5)", "numeric(5)", "12345"),
                             ("boolean", "boolean", "true"), ("timestamp(3) with time zone", "timestamp(3) with time zone", "2026-11-30T05:08:34.123Z"), ("double precision", "double precision", "0.1"),
                             ("character varying(20)", "character varying(20)", "abc"), ("time without time zone", "time without time zone", "05:08:34"), ("character(3)", "character(3)", "ab")]:
        gives(f"type/{name}", "types as PostgreSQL shows them", "decode", form, in_crate=False, type=kind, plaintext=form.encode().hex())
    for kind, form, block in [("numeric(10,2)", "12.50", 13), ("numeric(3,5)", "0.00123", 8), ("numeric(2,-3)", "12000", 6), ("numeric(1000,1000)", "0", 1003)]:
        gives(f"type/block of {kind}", "the block of a numeric goes by its modifier", "filled", form.ljust(block).encode().hex(), in_crate=False, type=kind, form=form.encode().hex())
    for kind in ("", "money", "point", "int4[][]", "INTEGER", "xml", "oid", "name", "int4range", "bit", "text[3]", "citext"):
        fails(f"type/not {kind!r}", "a type without a form, or no name of one", "decode", "unknown_type", in_crate=False, type=kind, plaintext="31")

    row = context.row_context("customers.born", "42")
    filled = b"2026-11-30".ljust(13)
    of = {"data_key": DEK.hex(), "sealed": sealed(filled, row).hex()}
    gives("policy/date", "a value of a policy: bound, filled, typed", "open_as", "2026-11-30", context=row, type="date", **of)
    fails("policy/date, another row", "the context is asked first", "open_as", "does_not_open", context=context.row_context("customers.born", "43"), type="date", **of)
    fails("policy/date, as another type", "the type is not in the value", "open_as", "no_form", context=row, type="int4", **of)
    gives("policy/date, as text", "nor does text know that it is none", "open_as", "2026-11-30   ", context=row, type="text", **of)
    gives("policy/array", "a value of a policy", "open_as", [["1", None]], data_key=DEK.hex(), sealed=sealed(b'[["1",null]]', row).hex(), context=row, type="int4[]")
    gives("policy/text in a block", "a value of a policy", "open_as", "secret", data_key=DEK.hex(), sealed=sealed(b"secret\xff\0", row).hex(), context=row, type="text")


# -- contexts of a KMS, and wraps ---------------------------------------------------------------------------------------

CONTEXTS = {
    "empty": ({}, "{}"),
    "as made by default": ({"database": "shop", "table": "public.customers"}, '{"database":"shop","table":"public.customers"}'),
    "in another order": ({"table": "public.customers", "database": "shop"}, '{"database":"shop","table":"public.customers"}'),
    "empty texts": ({"": ""}, '{"":""}'),
    "order of bytes, not of lengths": ({"b": "1", "aa": "2"}, '{"aa":"2","b":"1"}'),
    "order of bytes, not of UTF-16": ({"\U0001f511": "1", "\ufb01": "2"}, '{"\ufb01":"2","\U0001f511":"1"}'),
    "capitals first": ({"a": "1", "B": "2", "_": "3"}, '{"B":"2","_":"3","a":"1"}'),
    "numbers as keys": ({"10": "a", "9": "b"}, '{"10":"a","9":"b"}'),
    "escapes": ({'"\\/': "\b\f\n\r\t"}, '{"\\"\\\\/":"\\b\\f\\n\\r\\t"}'),
    "other controls": ({"k": "\x00\x1f\x7f\x85"}, '{"k":"\\u0000\\u001f\x7f\x85"}'),
    "what others escape": ({"k": "<>&\u2028é🔑"}, '{"k":"<>&\u2028é🔑"}'),
    "__proto__": ({"__proto__": "1"}, '{"__proto__":"1"}'),
    "8,192 bytes": ({"k": "x" * 8184}, '{"k":"' + "x" * 8184 + '"}'),
}


def contexts():
    for name, (of, text) in CONTEXTS.items():
        pairs = sorted((key.encode(), value.encode()) for key, value in of.items())
        binary = b"".join(struct.pack(">I", len(one)) + one for pair in pairs for one in pair)
        gives(f"context/{name}", "the one JSON of an encryption context", "context_json", text, context=of)
        gives(f"context/{name}, for a key file", "lengths and bytes", "context_bytes", binary.hex(), context=of)
        gives(f"context/{name}, for transit", "the JSON in base64", "context_transit", base64.b64encode(text.encode()).decode(), in_crate=False, context=of)
        gives(f"context/{name}, for a token", "the JSON behind a label", "token_associated_data", "envelope/1 kms wrap," + text, context=of)
    for name, of in [("a number", {"k": 1}), ("null", {"k": None}), ("nested", {"k": {}}), ("a list", []), ("text", "k"), ("none", None), ("8,193 bytes", {"k": "x" * 8185}),
                     ("8,192 bytes before the escapes", {"k": "\n" * 8184})]:
        for do in ("context_json", "context_bytes", "token_associated_data"):
            fails(f"context/{name}, {do}", "an object of strings, 8 KiB at most", do, "bad_context", context=of)


KEK, OTHER_KEK = some("KEK"), some("another KEK")
SHOP = {"database": "shop", "table": "public.customers"}


def file_wrap(of, dek=DEK, kek=KEK):
    header, nonce = b"\xf7\x57" + keys.kek_id(kek), some("nonce of a wrap" + context.context_json(of), 24)
    key = xaes.derived(keys.expand(kek, "envelope/1 wrap", 32), nonce)
    return header + nonce + AESGCM(key).encrypt(nonce[12:], dek, header + context.context_bytes(of))


def token_wrap(of, iv, dek=DEK, kek=KEK, label=True):
    aad = (b"envelope/1 kms wrap," if label else b"") + context.context_json(of).encode()
    gcm = Cipher(algorithms.AES(kek), modes.GCM(iv)).encryptor()
    gcm.authenticate_additional_data(aad)
    return b"\xf7\x58" + bytes([len(iv)]) + iv + gcm.update(dek) + gcm.finalize() + gcm.tag


def wraps():
    gives("file wrap/KEK id", "a KEK's id is derived from it", "kek_id", keys.text_of(keys.kek_id(KEK)), kek=KEK.hex())
    fails("file wrap/KEK id of 31 bytes", "a key has 32 bytes", "kek_id", "wrong_length", kek=KEK[:31].hex())
    for name, (of, _) in CONTEXTS.items():
        gives(f"file wrap/context {name}", "a key file unwraps", "unwrap_by_file", DEK.hex(), kek=KEK.hex(), wrapped=file_wrap(of).hex(), context=of)
        wrapped = token_wrap(of, some("iv", 12))
        gives(f"token wrap/context {name}", "a token's key unwraps", "unwrap_by_token_key", DEK.hex(), kek=KEK.hex(), wrapped=wrapped.hex(), context=of)

    def bad(do, name, error, wrapped, of=SHOP, kek=KEK, shows="a wrap that was changed, or is another's"):
        fails(f"{'file' if do == 'unwrap_by_file' else 'token'} wrap/{name}", shows, do, error, kek=kek.hex(), wrapped=wrapped.hex(), context=of)
    whole = file_wrap(SHOP)
    for name, error, raw in [("changed: marker", "not_a_wrap", flipped(whole, 0)), ("marker of a sealed value", "not_a_wrap", b"\xf7\xe1" + whole[2:]), ("marker of a token's", "not_a_wrap", b"\xf7\x58" + whole[2:]),
                             ("changed: KEK id", "other_kek", flipped(whole, 2)), ("changed: version of the KEK id", "other_kek", flipped(whole, 8, 4)), ("changed: nonce", "does_not_open", flipped(whole, 18)),
                             ("changed: nonce, second half", "does_not_open", flipped(whole, 41)), ("changed: ciphertext", "does_not_open", flipped(whole, 42)), ("changed: tag", "does_not_open", flipped(whole, -1)),
                             ("one byte short", "not_a_wrap", whole[:-1]), ("one byte long", "not_a_wrap", whole + b"\0"), ("nothing", "not_a_wrap", b""), ("one byte", "not_a_wrap", b"\xf7"),
                             ("of another KEK", "other_kek", file_wrap(SHOP, kek=OTHER_KEK))]:
        bad("unwrap_by_file", name, error, raw)
    for name, of in [("another database", {**SHOP, "database": "other"}), ("context left out", {}), ("a key more", {**SHOP, "k": ""}), ("key and value exchanged", {"shop": "database", "public.customers": "table"})]:
        bad("unwrap_by_file", name, "does_not_open", whole, of)
        bad("unwrap_by_token_key", name, "does_not_open", token_wrap(SHOP, some("iv", 12)), of)
    bad("unwrap_by_file", "a context that is none", "bad_context", whole, {"k": 1})
    bad("unwrap_by_file", "KEK of 33 bytes", "wrong_length", whole, kek=KEK + b"\0")

    for length in (12, 13, 16, 32, 64, 128):
        gives(f"token wrap/an IV of {length} bytes", "a token chooses its IV", "unwrap_by_token_key", DEK.hex(), kek=KEK.hex(), wrapped=token_wrap(SHOP, some("iv", length)).hex(), context=SHOP)
    long = b"\xf7\x58\x81" + some("iv", 129) + bytes(48)
    bad("unwrap_by_token_key", "an IV of 129 bytes", "long_iv", long, shows="the readers' cipher takes 128")
    short = token_wrap(SHOP, some("iv", 12))
    for name, error, raw in [("changed: IV", "does_not_open", flipped(short, 3)), ("changed: ciphertext", "does_not_open", flipped(short, 15)), ("changed: tag", "does_not_open", flipped(short, -1)),
                             ("changed: marker", "not_a_wrap", flipped(short, 1)), ("marker of a file wrap", "not_a_wrap", b"\xf7\x57" + short[2:]), ("one byte short", "not_a_wrap", short[:-1]), ("one byte long", "not_a_wrap", short + b"\0"),
                             ("an IV of 11 bytes", "not_a_wrap", b"\xf7\x58\x0b" + short[4:]), ("no IV", "not_a_wrap", b"\xf7\x58\0" + short[15:]), ("an IV longer than all", "not_a_wrap", b"\xf7\x58\xff" + short[3:]),
                             ("three bytes", "not_a_wrap", short[:3]), ("nothing", "not_a_wrap", b""), ("without the label", "does_not_open", token_wrap(SHOP, some("iv", 12), label=False)),
                             ("of another KEK", "does_not_open", token_wrap(SHOP, some("iv", 12), kek=OTHER_KEK))]:
        bad("unwrap_by_token_key", name, error, raw)
    bad("unwrap_by_token_key", "KEK of 16 bytes", "wrong_length", short, kek=KEK[:16])


# -- exported keyrings ----------------------------------------------------------------------------------------------------

ARN = "aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TOKEN = "pkcs11:token=shop;object=kek"
KEK_FILE = "file:///etc/kek"
VAULT = "vault://vault.example.com:8200/transit/keys/shop"
BLOB, CIPHER = some("blob", 184), b"vault:v1:" + base64.b64encode(some("transit", 60))


def a_wrap(kek, wrapped, of=None):
    return {"kek": kek, "kms_context": SHOP if of is None else of, "wrapped": base64.b64encode(wrapped).decode()}


def a_key(dek, version, state, wrapped, purpose="seal", **changed):
    return {"key_id": keys.text_of(keys.key_id(dek)), "purpose": purpose, "version": version, "state": state, "created_at": 1764460800000000,
            "state_changed_at": 1764460800000000, "reason": None, "wraps": wrapped, **changed}


def a_keyring(data_keys, seals=True, **changed):
    return {"keyring_id": "5eed0000-0000-4000-8000-000000000001", "seals": seals, "table_name": "public.customers", "default_kek": None, "kms_context": None, "limits": {},
            "minimum_version": 1, "data_keys": data_keys, **changed}


def a_document(keyrings, **changed):
    return {"format": "envelope/1 keyring", "schema": "public", "table": "customers", "keyrings": keyrings, **changed}


def keyrings():
    by_file, by_token = a_wrap(KEK_FILE, file_wrap(SHOP)), a_wrap(TOKEN, token_wrap(SHOP, some("iv", 12)))
    by_aws, by_vault = a_wrap(ARN, BLOB), a_wrap(VAULT, CIPHER)
    value = sealed(b"123-45-6789")
    asks = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": DEK.hex(), f"{CIPHER.hex()} {context.context_json(SHOP)}": DEK.hex()}}
    lies = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": OTHER.hex()}}
    cuts = {"answers": {f"{BLOB.hex()} {context.context_json(SHOP)}": DEK[:31].hex()}}

    def of(wrapped, state="active"):
        return a_document([a_keyring([a_key(DEK, 1, state, wrapped)])])

    def opens(name, shows, document, unwrappers, raw=value, plaintext=b"123-45-6789", of_row=""):
        gives(f"keyring/{name}", shows, "keyring_open", plaintext.hex(), in_crate=False, document=document, unwrappers=unwrappers, sealed=raw.hex(), context=of_row)

    def does_not(name, error, document, unwrappers, raw=value, shows="an export that does not open the value"):
        fails(f"keyring/{name}", shows, "keyring_open", error, in_crate=False, document=document, unwrappers=unwrappers, sealed=raw.hex(), context="")
    file = {"file://": {"file": KEK.hex()}}
    opens("a key file", "an export opens with the key file", of([by_file]), file)
    opens("a token's key", "an export opens with a token", of([by_token]), {"pkcs11:": {"token": KEK.hex()}})
    opens("AWS KMS", "the caller asks the KMS", of([by_aws]), {"aws-kms://": asks})
    opens("transit", "the wrap is the text that transit gave", of([by_vault]), {"vault://": asks})
    opens("as text", "the document as text", json.dumps(of([by_file])), file)
    opens("several KEKs, one at hand", "any of its KEKs opens a data key", of([by_aws, by_file]), file)
    opens("several KEKs, the first refuses", "another one is tried", of([by_aws, by_file]), {"aws-kms://": {"answers": {}}, **file})
    opens("several KEKs, the first gives another key", "another one is tried", of([by_aws, by_file]), {"aws-kms://": lies, **file})
    opens("the longest beginning", "the function of the longest beginning is asked", of([by_file]), {"file:///etc/": {"file": KEK.hex()}, "file://": {"file": OTHER_KEK.hex()}, "": {"answers": {}}})
    for state in ("active", "decrypt-only", "retired", "pending"):
        opens(f"state {state}", "a key that is wrapped opens, whatever its state is", of([by_file], state), file)
    second = a_keyring([a_key(OTHER, 1, "active", [a_wrap(KEK_FILE, file_wrap(SHOP, OTHER))])], seals=False, keyring_id="5eed0000-0000-4000-8000-000000000002")
    opens("a keyring that the table opens with", "values of all keyrings open", a_document([*of([by_file])["keyrings"], second]), file, sealed(b"abc", dek=OTHER), b"abc")
    opens("rights and later fields", "fields that are not known are passed over", a_document([a_keyring([a_key(DEK, 1, "active", [{**by_file, "later": 1}], later=2)], grants=[{"role": "x", "verb": "decrypt"}])], later=[]), file)
    opens("bound to a row", "with a context", of([by_file]), file, sealed(b"abc", context.row_context("t.c", "1")), b"abc", context.row_context("t.c", "1"))

    does_not("no function", "no_kek", of([by_aws]), file)
    does_not("refused", "refused", of([by_aws]), {"aws-kms://": {"answers": {}}}, shows="the caller's own error comes out")
    does_not("the KMS gives another key", "other_data_key", of([by_aws]), {"aws-kms://": lies}, shows="the key id commits to the key")
    does_not("the KMS gives 31 bytes", "wrong_length", of([by_aws]), {"aws-kms://": cuts})
    does_not("another key file", "other_kek", of([by_file]), {"file://": {"file": OTHER_KEK.hex()}})
    does_not("a wrap of another context", "does_not_open", of([a_wrap(KEK_FILE, file_wrap(SHOP), {})]), file)
    does_not("wraps exchanged", "other_data_key", of([a_wrap(KEK_FILE, file_wrap(SHOP, OTHER))]), file, shows="the key id commits to the key")
    does_not("another table's value", "unknown_key", of([by_file]), file, sealed(b"abc", dek=OTHER))
    does_not("no sealed value", "not_sealed", of([by_file]), file, b"in clear")
    does_not("destroyed", "destroyed_key", of([], "destroyed"), file)
    does_not("a value under an index key", "unknown_key", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], "index")])]), file)
    for name, document in [
        ("no JSON", "{"), ("a list", []), ("nothing", {}), ("another format", a_document([], format="envelope/2 keyring")), ("no format", {k: v for k, v in of([by_file]).items() if k != "format"}),
        ("no keyring", a_document([])), ("two that seal", a_document([*of([by_file])["keyrings"], a_keyring([a_key(OTHER, 1, "active", [by_file])])])),
        ("none that seals", a_document([a_keyring([a_key(DEK, 1, "active", [by_file])], seals=False)])), ("a key twice", a_document([a_keyring([a_key(DEK, 1, "active", [by_file]), a_key(DEK, 2, "retired", [by_file])])])),
        ("a state that is not known", of([by_file], "resting")), ("a purpose that is not known", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], "other")])])),
        ("destroyed, with a wrap", of([by_file], "destroyed")), ("active, without a wrap", of([])), ("an id that is no UUID", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], key_id="x")])])),
        ("an id of another version", a_document([a_keyring([a_key(DEK, 1, "active", [by_file], key_id="5eed0000-0000-4000-8000-000000000001")])])),
        ("a version that is text", a_document([a_keyring([a_key(DEK, "1", "active", [by_file])])])), ("no base64", of([{**by_file, "wrapped": "?"}])), ("base64 without its end", of([{**by_file, "wrapped": by_file["wrapped"].rstrip("=") + "A"}])),
        ("an empty wrap", of([{**by_file, "wrapped": ""}])), ("a context that is none", of([{**by_file, "kms_context": {"k": 1}}])), ("no context", of([{k: v for k, v in by_file.items() if k != "kms_context"}])),
    ]:
        does_not(name, "not_a_keyring", document, file, shows="what is no export is refused")
    index, older = some("index key"), some("older index key")
    ring = a_document([a_keyring([a_key(older, 1, "decrypt-only", [a_wrap(KEK_FILE, file_wrap(SHOP, older))], "index"), a_key(DEK, 1, "active", [by_file]), a_key(some("gone"), 3, "destroyed", [], "index"),
                                  a_key(index, 2, "active", [a_wrap(KEK_FILE, file_wrap(SHOP, index))], "index")])])
    gives("keyring/index keys", "the active index key first, none that is destroyed", "keyring_index_keys", [index.hex(), older.hex()], in_crate=False, document=ring, unwrappers=file)


# -- search ---------------------------------------------------------------------------------------------------------------

INDEX = some("index key")
TEXTS = {
    "ß and ẞ": ("Straße STRAẞE", {"nfc": "Straße STRAẞE", "casefold": "strasse strasse", "alnum": "strassestrasse"}),
    "composed and not": ("e\u0301é", {"exact": "e\u0301é", "nfc": "éé", "casefold": "éé"}),
    "wide and ligature": ("Ａﬁ", {"nfc": "Ａﬁ", "casefold": "afi", "alnum": "afi"}),
    "final sigma": ("ΟΔΥΣΣΕΥΣ ς", {"casefold": "οδυσσευσ σ"}),
    "Turkish": ("Iİıi", {"casefold": "ii\u0307ıi"}),
    "digits of other scripts": ("٣४ ５", {"digits": "345", "alnum": "345"}),
    "letters in numbers": ("C01X00T47", {"digits": "010047", "alnum": "c01x00t47"}),
    "soft hyphen and joiners": ("a\u00adb\u200dc\ufe0f", {"nfc": "a\u00adb\u200dc\ufe0f", "casefold": "abc"}),
    "unassigned between marks": ("A\u0378\u0301", {"nfc": "A\u0378\u0301", "casefold": "a\u0378\u0301"}),
    "assigned after 15.1": ("\U0001c8a0A\ua7cb", {"casefold": "\U0001c8a0a\ua7cb"}),
    "marks in order": ("a\u0301\u0323", {"nfc": "ạ\u0301", "casefold": "ạ\u0301"}),
    "Hangul": ("\u1112\u1161\u11ab", {"nfc": "한", "casefold": "한"}),
    "empty": ("", {"exact": "", "nfc": "", "casefold": "", "digits": None, "alnum": None, "email": None}),
    "no digit": ("abc", {"digits": None}), "nothing left": (" -.", {"alnum": None}),
    "address": (" Zoë.Müller@Example.COM. ", {"email": "zoë.müller@example.com"}),
    "two signs": ("a@b@C", {"email": "a@b@c"}), "no sign": ("a.b", {"email": None}), "nothing before": ("@b", {"email": None}), "nothing behind": ("a@", {"email": None}),
    "a dot alone": ("a@.", {"email": None}), "two dots": ("a@b..", {"email": "a@b."}), "white space in it": ("a b@c", {"email": None}), "a control in it": ("a\x01@c", {"email": None}),
    "white space of Unicode": ("\u2003a@b\u00a0", {"email": "a@b"}),
}
RULES = ["exact/1", "nfc/1", "casefold/1", "digits/1", "alnum/1", "email/1", "prefix(1) exact/1", "prefix(255) digits/1", "suffix(4) digits/1", "words casefold/1", "parts(2) casefold/1", "parts(8) email/1"]
NO_RULES = ["", "exact", "exact/2", "exact/01", "Exact/1", "exact /1", " exact/1", "exact/1 ", "exact/1\n", "other/1", "exact(1)/1", "exact exact/1", "prefix exact/1", "prefix() exact/1", "prefix(0) exact/1", "prefix(256) exact/1",
            "prefix(04) exact/1", "prefix(+4) exact/1", "prefix(4)  exact/1", "prefix(4) exact /1", "prefix(4,4) exact/1", "prefix (4) exact/1", "prefix(4) date/1", "words(1) casefold/1", "parts(1) casefold/1", "parts(9) casefold/1",
            "days/1", "days int/1", "days time/1", "days numeric(2)/1", "days(1) date/1", "steps date/1", "steps(0) date/1", "steps(07) date/1", "steps(7) float/1", "steps(7) numeric/1", "steps(1) numeric(-1)/1", "steps(1) numeric(19)/1",
            "steps(10) numeric(18)/1", "steps(9223372036854775808) int/1", "steps(9223372036855) timestamp/1", "steps(7) casefold/1", "buckets/1", "buckets numeric/1", "buckets numeric(02)/1", "buckets numeric(-0)/1", "buckets numeric(40000)/1",
            "buckets text/1", "buckets int4/1", "buckets date(1)/1", "tree date/1", "tree(2,6,16) date/1", "tree(2,6,16,0,0) date/1", "tree(0,6,16,0) date/1", "tree(9,6,16,0) date/1", "tree(2,13,16,0) date/1", "tree(2,8,8,0) date/1",
            "tree(2,0,0,0) date/1", "tree(2,0,65,0) date/1", "tree(2,0,64,1) date/1", "tree(2, 6,16,0) date/1", "tree(2,6,16,-1) date/1", "tree(2,6,16,18446744073709551615) date/1"]
ORDERED = ["days date/1", "days timestamp/1", "days timestamptz/1", "steps(7) date/1", "steps(9223372036854775807) int/1", "steps(9) numeric(18)/1", "steps(9223372036854) timestamp/1", "steps(900) time/1", "steps(1000) numeric(2)/1",
           "buckets int/1", "buckets float/1", "buckets numeric(-2)/1", "tree(2,6,16,9223372036854761208) date/1", "tree(8,12,64,0) float/1", "tree(1,0,1,18446744073709551614) int/1"]


def hexes(*all_payloads):
    return sorted({(one if isinstance(one, bytes) else one.encode()).hex() for one in all_payloads})


def text(of):
    return of.encode().hex()


def search():
    for name, (of, forms) in TEXTS.items():
        for form, found in forms.items():
            if found is None:
                fails(f"normal form/{form}: {name}", "a text that has none", "normal_form", "no_address" if form == "email" else "empty", form=form, text=of)
            else:
                gives(f"normal form/{form}: {name}", "normal forms are pinned to Unicode 15.1.0", "normal_form", found, form=form, text=of)
    gives("normal form/email: a piece", "a piece of an address has the form of casefold", "normal_form", "@example.", form="email", text="@Example.", is_piece=True)
    fails("normal form/of no name", "there are six", "normal_form", "unknown_rule", form="nfkc", text="a")

    key = terms.IndexKey(INDEX)
    gives("terms/marker", "the first 8 bytes of the key id", "marker", str(struct.unpack(">q", key.id[:8])[0]), data_key=INDEX.hex())
    for rule in RULES + ORDERED:
        n = 16 if rule.startswith(("prefix", "suffix")) or " " not in rule else 8
        for label in ("people.name", "", "Zoë"):
            given = {"data_key": INDEX.hex(), "label": label, "rule": rule, "payload": "616263"}
            gives(f"terms/term of {label!r}, {rule}", "label, rule and n are hashed", "term", key.term(label, rule, b"abc", n).hex(), **given)
    for n in (1, 15, 16, 17, 32):
        given = {"data_key": INDEX.hex(), "label": "people.name", "rule": "exact/1", "payload": "616263", "n": n}
        gives(f"terms/{n} bytes", "n is hashed: a shorter term is another", "term", key.term("people.name", "exact/1", b"abc", n).hex(), **given)
    for n in (0, 33, 255):
        fails(f"terms/{n} bytes", "n is 1 to 32", "term", "bad_term", data_key=INDEX.hex(), label="l", rule="exact/1", payload="", n=n)
    for rule in NO_RULES:
        fails(f"rule/not {rule!r}", "a rule has one text", "term", "unknown_rule", data_key=INDEX.hex(), label="l", rule=rule, payload="")
    words = {"data_key": INDEX.hex(), "label": "people.name", "rule": "words casefold/1"}
    for name, found in [("none", []), ("one", ["616e6e61"]), ("several, one twice", ["616e6e61", "6d61726961", "616e6e61"])]:
        raw = [bytes.fromhex(one) for one in found]
        gives(f"terms/stored tokens: {name}", "each once, ascending, with the marker", "stored", [str(one) for one in key.stored("people.name", "words casefold/1", raw)], payloads=found, **words)
        gives(f"terms/tokens asked for: {name}", "without the marker; of none the one that no value has", "tokens", [str(one) for one in key.tokens("people.name", "words casefold/1", raw)], payloads=found, **words)

    def of_value(name, rule, kind, form, found, set=None):
        given = {"rule": rule, "type": kind, "plaintext": form if kind == "bytea" else text(form), **({} if set is None else {"set": set})}
        gives(f"payload/{name}", "what counts of a value", "payloads", found, **given)

    def none_of(name, error, rule, kind, form, set=None):
        fails(f"payload/{name}", "a value that the rule does not take", "payloads", error, rule=rule, type=kind, plaintext=form if kind == "bytea" else text(form), **({} if set is None else {"set": set}))
    of_value("text, exact", "exact/1", "text", " A ", hexes(" A "))
    of_value("text, filled", "casefold/1", "text", "Ab", hexes("ab"))
    of_value("bytea", "exact/1", "bytea", "00ff20", hexes(b"\0\xff "))
    of_value("prefix", "prefix(3) casefold/1", "text", "Müller", hexes("mül"))
    of_value("prefix of a shorter text", "prefix(3) casefold/1", "text", "Mü", None)
    of_value("prefix, characters beyond 16 bits", "prefix(2) exact/1", "text", "🔑🔒🔓", hexes("🔑🔒"))
    of_value("suffix", "suffix(4) digits/1", "text", "123-45-6789", hexes("6789"))
    of_value("suffix of a shorter text", "suffix(4) digits/1", "text", "12a3", None)
    of_value("words", "words casefold/1", "text", "Anna-Maria Müller, anna", hexes("anna", "maria", "müller"))
    of_value("words: none", "words casefold/1", "text", " — ", [])
    of_value("words: marks and numbers", "words exact/1", "text", "a\u0301b½²_c", hexes("a\u0301b½²", "c"))
    of_value("parts", "parts(3) casefold/1", "text", "Anna", hexes("\2an", "ann", "nna", "na\3"))
    of_value("parts of an empty text", "parts(2) casefold/1", "text", "", hexes("\2\3"))
    of_value("parts of a text that is too short", "parts(3) casefold/1", "text", "", [])
    of_value("parts: white space and controls", "parts(4) exact/1", "text", "\u2003a\t\x01 b\x7f ", hexes("\2a b", "a b\3"))
    for kind, form, found in [("int2", "-1", "-1"), ("numeric", "12.50", "12.5"), ("numeric", "1.0", "1"), ("numeric", "100", "100"), ("numeric", "0.00", "0"), ("numeric", "NaN", "NaN"), ("float8", "-0", "0" * 16), ("float8", "NaN", "7ff8000000000000"),
                              ("float4", "0.1", "3fb99999a0000000"), ("float8", "0.1", "3fb999999999999a"), ("interval", "P1M", "2592000000000"), ("interval", "PT720H", "2592000000000"), ("interval", "P-1M", "-2592000000000"), ("interval", "infinity", "infinity"),
                              ("date", "2026-11-30", "2026-11-30"), ("time", "24:00:00", "24:00:00"), ("timetz", "05:08:34+02:00", "05:08:34+02:00"), ("timestamptz", "infinity", "infinity"), ("uuid", "c0ffee00-0102-0304-0506-070809aabbcf",
                              "c0ffee00-0102-0304-0506-070809aabbcf"), ("inet", "10.0.0.1/32", "10.0.0.1/32"), ("enum", "sad", "sad"), ("bpchar", "ab", "ab")]:
        of_value(f"exact {kind} {form}", "exact/1", kind, form, hexes(found))
    of_value("exact date, filled", "exact/1", "date", "2026-11-30   ", hexes("2026-11-30"))

    def step(at):
        return struct.pack(">q", at)
    for rule, kind, form, found in [("days date/1", "date", "1969-12-31", step(-1)), ("days timestamptz/1", "timestamptz", "1969-12-31T23:59:59.999999Z", step(-1)), ("days date/1", "date", "infinity", b"\xffinfinity"),
                                    ("steps(7) date/1", "date", "1970-01-08", step(1)), ("steps(10) int/1", "int8", "-1", step(-1)), ("steps(10) int/1", "int8", "-10", step(-1)), ("steps(10) int/1", "int8", "-11", step(-2)),
                                    ("steps(1000) numeric(2)/1", "numeric", "-0.01", step(-1)), ("steps(1000) numeric(2)/1", "numeric", "NaN", b"\xffNaN"), ("steps(1000) numeric(2)/1", "numeric", "-Infinity", b"\xff-infinity"),
                                    ("steps(900) time/1", "time", "24:00:00", step(96)), ("steps(3600) timestamp/1", "timestamp", "294276-12-31T23:59:59.999999", step(2562047788)),
                                    ("steps(1) int/1", "int8", "-9223372036854775808", step(-(1 << 63))), ("steps(1) int/1", "int8", "9223372036854775807", step((1 << 63) - 1))]:
        of_value(f"{rule} of {form}", rule, kind, form, hexes(found))

    def node(height, at):
        return struct.pack(">BQ", height, at)
    of_value("tree, whole", "tree(2,1,8,9223372036854775708) int/1", "int4", "0", hexes(node(0, 100), node(2, 25), node(4, 6), node(6, 1)))
    of_value("tree, below", "tree(2,1,8,9223372036854775708) int/1", "int4", "-101", hexes(b"\xffbelow"))
    of_value("tree, above", "tree(2,1,8,9223372036854775708) int/1", "int4", "156", hexes(b"\xffabove"))
    of_value("tree of 64 bits", "tree(8,12,64,0) int/1", "int8", "0", hexes(*(node(h, (1 << 63) >> h) for h in range(0, 53, 8))))
    of_value("tree of floats, -0", "tree(8,12,64,0) float/1", "float8", "-0", hexes(*(node(h, (1 << 63) >> h) for h in range(0, 53, 8))))
    of_value("tree of floats, NaN", "tree(8,12,64,0) float/1", "float4", "NaN", hexes(b"\xffNaN"))
    dates = '{"set":1,"bounds":["0044-03-15 BC","1970-01-01"],"classes":[[0],[1,2],[4]]}'

    def bucket(set, one):
        return struct.pack(">II", set, one)
    of_value("buckets, the first", "buckets date/1", "date", "0045-01-01 BC", hexes(bucket(1, 0)), dates)
    of_value("buckets, on a bound", "buckets date/1", "date", "1970-01-01", hexes(bucket(1, 4)), dates)
    of_value("buckets, several classes", "buckets date/1", "date", "1969-12-31", hexes(bucket(1, 1), bucket(1, 2)), dates)
    of_value("buckets, infinity", "buckets date/1", "date", "-infinity", hexes(b"\xff-infinity"), dates)
    none_of("buckets without their set", "no_boundaries", "buckets date/1", "date", "1970-01-01")
    for name, set in [("no JSON", "{"), ("a list", "[]"), ("a space", dates.replace(":1,", ": 1,")), ("bounds in another order", dates.replace('"0044-03-15 BC","1970-01-01"', '"1970-01-01","0044-03-15 BC"')),
                      ("a bound twice", dates.replace("0044-03-15 BC", "1970-01-01")), ("a bound that is no form", dates.replace("1970-01-01", "1970-1-1")), ("a bound that is no number", dates.replace("1970-01-01", "infinity")),
                      ("too few classes", dates.replace(",[4]", "")), ("an interval without a class", dates.replace("[4]", "[]")), ("a class beyond 32 bits", dates.replace("[4]", "[4294967296]")), ("a negative class", dates.replace("[4]", "[-1]")),
                      ("a class that is no number", dates.replace("[4]", '["4"]')), ("another order of fields", '{"bounds":[],"set":1,"classes":[[0]]}'), ("a field more", dates[:-1] + ',"x":1}'), ("a class twice", dates.replace("[4]", "[2]")), ("former classes that are none", dates[:-1] + ',"former":[[],[],[]]}'), ("too few former classes", dates[:-1] + ',"former":[[]]}'),
                      ("empty", "")]:
        none_of(f"no boundary set: {name}", "not_a_boundary_set", "buckets date/1", "date", "1970-01-01", set)
    for rule, kind, form in [("exact/1", "bool", "true"), ("exact/1", "jsonb", "{}"), ("exact/1", "text[]", '["a"]'), ("casefold/1", "int4", "1"), ("casefold/1", "enum", "sad"), ("prefix(1) exact/1", "bytea", "00"), ("days date/1", "timestamp", "1970-01-01T00:00:00"),
                             ("days date/1", "text", "1970-01-01"), ("days date/1", "date", "1970-1-1"), ("exact/1", "int4", "01"), ("steps(1) int/1", "numeric", "1"), ("steps(1) numeric(2)/1", "numeric", "1.234"), ("steps(1) numeric(2)/1", "numeric", "10000000000000000"),
                             ("buckets interval/1", "interval", "P1D")]:
        error = "unknown_rule" if rule.startswith("buckets interval") else "no_form"
        none_of(f"{rule} of {kind} {form}", error, rule, kind, form)
    none_of("words of what is no text", "not_text", "words casefold/1", "text", "a\0b")

    def question(name, rule, op, of, found):
        gives(f"question/{name}", "what is asked of text", "asked", found, rule=rule, op=op, text=of)

    def no_question(name, error, rule, op, of):
        fails(f"question/{name}", "what cannot be asked", "asked", error, rule=rule, op=op, text=of)
    question("equal", "casefold/1", "=", "MÜLLER", hexes("müller"))
    question("equal, by a prefix", "prefix(3) casefold/1", "=", "Müller", hexes("mül"))
    question("begins with", "prefix(3) casefold/1", "prefix", "Müll", hexes("mül"))
    question("ends with", "suffix(4) digits/1", "suffix", "-6789", hexes("6789"))
    question("words", "words casefold/1", "words", "Müller, Anna", hexes("müller", "anna"))
    question("words: none", "words casefold/1", "words", " — ", [])
    question("contains", "parts(3) casefold/1", "contains", "NNAM", hexes("nna", "nam"))
    question("contains, without the ends", "parts(3) casefold/1", "contains", " abc ", hexes("abc"))
    question("begins with, by parts", "parts(3) casefold/1", "prefix", "An", hexes("\2an"))
    question("ends with, by parts", "parts(3) casefold/1", "suffix", "na", hexes("na\3"))
    question("equal, by parts", "parts(3) casefold/1", "=", "a", hexes("\2a\3"))
    question("ends with, of an address", "parts(3) email/1", "suffix", "@B.c", hexes("@b.", "b.c", ".c\3"))
    no_question("prefix too short", "too_short", "prefix(3) casefold/1", "prefix", "Mü")
    no_question("suffix too short", "too_short", "suffix(4) digits/1", "=", "123")
    no_question("contains too short", "too_short", "parts(3) casefold/1", "contains", "ab")
    no_question("contains nothing", "too_short", "parts(2) casefold/1", "contains", " ")
    no_question("equal to nothing, by parts", "too_short", "parts(2) casefold/1", "=", "")
    no_question("equal without words", "too_short", "words casefold/1", "=", " — ")
    no_question("digits of letters", "empty", "suffix(4) digits/1", "suffix", "abc")
    no_question("equal to no address", "no_address", "email/1", "=", "abc")
    for rule, op in [("casefold/1", "contains"), ("casefold/1", "prefix"), ("prefix(3) casefold/1", "suffix"), ("words casefold/1", "contains"), ("parts(3) casefold/1", "words"), ("days date/1", "="), ("casefold/1", "~")]:
        no_question(f"{op} of {rule}", "no_answer", rule, op, "abcd")

    def between(name, rule, kind, low, high, found, set=None):
        gives(f"range/{name}", "what is asked of a range", "asked_between", found, rule=rule, type=kind, low=low, high=high, **({} if set is None else {"set": set}))

    def no_range(name, error, rule, kind, low, high):
        fails(f"range/{name}", "what cannot be asked", "asked_between", error, rule=rule, type=kind, low=low, high=high)
    between("days", "days date/1", "date", "1969-12-31", "1970-01-02", hexes(step(-1), step(0), step(1)))
    between("one day", "days timestamp/1", "timestamp", "1970-01-01T00:00:00", "1970-01-01T23:59:59.999999", hexes(step(0)))
    between("backwards", "days date/1", "date", "1970-01-02", "1970-01-01", [])
    between("to the infinity", "days date/1", "date", "infinity", None, hexes(b"\xffinfinity"))
    between("from the infinity", "days date/1", "date", "-infinity", "-infinity", hexes(b"\xff-infinity"))
    between("all of a day", "steps(43200) time/1", "time", None, None, hexes(step(0), step(1), step(2)))
    between("tree, all", "tree(2,1,8,9223372036854775708) int/1", "int4", None, None, hexes(b"\xffbelow", b"\xffabove", *(node(6, at) for at in range(4))))
    between("tree, a cover", "tree(2,1,8,9223372036854775708) int/1", "int4", "-100", "-83", hexes(node(4, 0), node(0, 16), node(0, 17)))
    between("tree, NaN alone", "tree(8,12,64,0) float/1", "float8", "NaN", "NaN", hexes(b"\xffNaN"))
    between("buckets", "buckets date/1", "date", "1969-12-31", "1970-01-01", hexes(bucket(1, 1), bucket(1, 2), bucket(1, 4)), dates)
    former = '{"set":7,"bounds":["-5","0"],"classes":[[3],[4,5],[2]],"former":[[],[1],[1]]}'
    between("buckets, former classes as well", "buckets int/1", "int4", "-1", "0", hexes(*(bucket(7, one) for one in (4, 5, 1, 2))), former)
    no_range("10,001 steps", "too_wide", "steps(1) int/1", "int4", "0", "10000")
    no_range("without an end", "too_wide", "days date/1", "date", "1970-01-01", None)
    no_range("of text", "no_answer", "casefold/1", "text", "a", "b")
    no_range("of another type", "no_form", "days date/1", "timestamp", "1970-01-01T00:00:00", None)
    no_range("of what is no form", "no_form", "days date/1", "date", "1970-1-1", None)
    no_range("of buckets without their set", "no_boundaries", "buckets date/1", "date", "1970-01-01", None)

    of = context.netstring("people.born").decode() + context.netstring("buckets date/1").decode()
    set = sealed(dates.encode(), "envelope/1 boundaries," + of, INDEX, "envelope/1 boundaries")
    asked = {"data_key": INDEX.hex(), "label": "people.born", "rule": "buckets date/1"}
    gives("boundaries/opened", "a set is sealed under a key of its own", "open_boundaries", dates, sealed=set.hex(), **asked)
    fails("boundaries/another label", "label and rule are bound", "open_boundaries", "does_not_open", sealed=set.hex(), **{**asked, "label": "people.died"})
    fails("boundaries/another rule", "label and rule are bound", "open_boundaries", "does_not_open", sealed=set.hex(), **{**asked, "rule": "buckets int/1"})
    fails("boundaries/another key", "a set names its key", "open_boundaries", "other_key", sealed=set.hex(), **{**asked, "data_key": OTHER.hex()})
    fails("boundaries/changed", "a set is sealed", "open_boundaries", "does_not_open", sealed=flipped(set, 50).hex(), **asked)
    fails("boundaries/cut", "a set is sealed", "open_boundaries", "not_sealed", sealed=set[:40].hex(), **asked)
    fails("boundaries/sealed as a value", "a set has a key of its own", "open_boundaries", "does_not_open", sealed=sealed(dates.encode(), "envelope/1 boundaries," + of, INDEX).hex(), **asked)
    fails("boundaries/not UTF-8", "a set is text", "open_boundaries", "not_a_boundary_set", sealed=sealed(b"\xff", "envelope/1 boundaries," + of, INDEX, "envelope/1 boundaries").hex(), **asked)


def make():
    VECTORS.clear()
    for part in (values, row_contexts, typed, contexts, wraps, keyrings, search):
        part()
    names = [v["name"] for v in VECTORS]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return VECTORS


def write(vectors):
    return '{\n"format": "envelope/1 conformance",\n"vectors": [\n' + ",\n".join(json.dumps(v) for v in vectors) + "\n]\n}\n"


if __name__ == "__main__":
    FILE.write_text(write(make()))
