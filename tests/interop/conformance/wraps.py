"""Encryption contexts, and data keys wrapped under them."""

import base64
import struct

from envelope_reader import keys

from interop.conformance.sealing import DEK, KEK, OTHER_KEK, SHOP, file_wrap, token_wrap
from interop.conformance.vector import fails, flipped, gives, some

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
    "spaces": ({" a ": " "}, '{" a ":" "}'),
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
        gives(
            f"context/{name}, for transit",
            "the JSON in base64",
            "context_transit",
            base64.b64encode(text.encode()).decode(),
            in_crate=False,
            context=of,
        )
        gives(f"context/{name}, for a token", "the JSON behind a label", "token_associated_data", "envelope/1 kms wrap," + text, context=of)
    for name, of in [
        ("a number", {"k": 1}),
        ("null", {"k": None}),
        ("nested", {"k": {}}),
        ("a list", []),
        ("text", "k"),
        ("none", None),
        ("8,193 bytes", {"k": "x" * 8185}),
        ("8,192 bytes before the escapes", {"k": "\n" * 8184}),
    ]:
        for do in ("context_json", "context_bytes", "token_associated_data"):
            fails(f"context/{name}, {do}", "an object of strings, 8 KiB at most", do, "bad_context", context=of)


def wraps():
    gives("file wrap/KEK id", "a KEK's id is derived from it", "kek_id", keys.text_of(keys.kek_id(KEK)), kek=KEK.hex())
    fails("file wrap/KEK id of 31 bytes", "a key has 32 bytes", "kek_id", "wrong_length", kek=KEK[:31].hex())
    for name, (of, _) in CONTEXTS.items():
        gives(f"file wrap/context {name}", "a key file unwraps", "unwrap_by_file", DEK.hex(), kek=KEK.hex(), wrapped=file_wrap(of).hex(), context=of)
        wrapped = token_wrap(of, some("iv", 12))
        gives(
            f"token wrap/context {name}", "a token's key unwraps", "unwrap_by_token_key", DEK.hex(), kek=KEK.hex(), wrapped=wrapped.hex(), context=of
        )

    def bad(do, name, error, wrapped, of=SHOP, kek=KEK, shows="a wrap that was changed, or is another's"):
        fails(f"{'file' if do == 'unwrap_by_file' else 'token'} wrap/{name}", shows, do, error, kek=kek.hex(), wrapped=wrapped.hex(), context=of)

    whole = file_wrap(SHOP)
    for name, error, raw in [
        ("changed: marker", "not_a_wrap", flipped(whole, 0)),
        ("marker of a sealed value", "not_a_wrap", b"\xf7\xe1" + whole[2:]),
        ("marker of a token's", "not_a_wrap", b"\xf7\x58" + whole[2:]),
        ("changed: KEK id", "other_kek", flipped(whole, 2)),
        ("changed: version of the KEK id", "other_kek", flipped(whole, 8, 4)),
        ("changed: nonce", "does_not_open", flipped(whole, 18)),
        ("changed: nonce, second half", "does_not_open", flipped(whole, 41)),
        ("changed: ciphertext", "does_not_open", flipped(whole, 42)),
        ("changed: tag", "does_not_open", flipped(whole, -1)),
        ("one byte short", "not_a_wrap", whole[:-1]),
        ("one byte long", "not_a_wrap", whole + b"\0"),
        ("nothing", "not_a_wrap", b""),
        ("one byte", "not_a_wrap", b"\xf7"),
        ("of another KEK", "other_kek", file_wrap(SHOP, kek=OTHER_KEK)),
    ]:
        bad("unwrap_by_file", name, error, raw)
    for name, of in [
        ("another database", {**SHOP, "database": "other"}),
        ("context left out", {}),
        ("a key more", {**SHOP, "k": ""}),
        ("key and value exchanged", {"shop": "database", "public.customers": "table"}),
    ]:
        bad("unwrap_by_file", name, "does_not_open", whole, of)
        bad("unwrap_by_token_key", name, "does_not_open", token_wrap(SHOP, some("iv", 12)), of)
    bad("unwrap_by_file", "a context that is none", "bad_context", whole, {"k": 1})
    bad("unwrap_by_file", "KEK of 33 bytes", "wrong_length", whole, kek=KEK + b"\0")

    for length in (12, 13, 16, 32, 64, 128):
        gives(
            f"token wrap/an IV of {length} bytes",
            "a token chooses its IV",
            "unwrap_by_token_key",
            DEK.hex(),
            kek=KEK.hex(),
            wrapped=token_wrap(SHOP, some("iv", length)).hex(),
            context=SHOP,
        )
    long = b"\xf7\x58\x81" + some("iv", 129) + bytes(48)
    bad("unwrap_by_token_key", "an IV of 129 bytes", "long_iv", long, shows="the readers' cipher takes 128")
    short = token_wrap(SHOP, some("iv", 12))
    for name, error, raw in [
        ("changed: IV", "does_not_open", flipped(short, 3)),
        ("changed: ciphertext", "does_not_open", flipped(short, 15)),
        ("changed: tag", "does_not_open", flipped(short, -1)),
        ("changed: marker", "not_a_wrap", flipped(short, 1)),
        ("marker of a file wrap", "not_a_wrap", b"\xf7\x57" + short[2:]),
        ("one byte short", "not_a_wrap", short[:-1]),
        ("one byte long", "not_a_wrap", short + b"\0"),
        ("an IV of 11 bytes", "not_a_wrap", b"\xf7\x58\x0b" + short[4:]),
        ("no IV", "not_a_wrap", b"\xf7\x58\0" + short[15:]),
        ("an IV longer than all", "not_a_wrap", b"\xf7\x58\xff" + short[3:]),
        ("three bytes", "not_a_wrap", short[:3]),
        ("two bytes", "not_a_wrap", short[:2]),
        ("nothing", "not_a_wrap", b""),
        ("without the label", "does_not_open", token_wrap(SHOP, some("iv", 12), label=False)),
        ("of another KEK", "does_not_open", token_wrap(SHOP, some("iv", 12), kek=OTHER_KEK)),
    ]:
        bad("unwrap_by_token_key", name, error, raw)
    bad("unwrap_by_token_key", "KEK of 16 bytes", "wrong_length", short, kek=KEK[:16])
