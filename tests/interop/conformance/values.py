"""Sealed values and the contexts of rows."""

from envelope_reader import context, keys

from interop.conformance.sealing import DEK, OTHER, first_bit, sealed
from interop.conformance.vector import fails, flipped, gives, some


def values():
    for what, plaintext in [
        ("no bytes", b""),
        ("one byte", b"\0"),
        ("15 bytes", b"x" * 15),
        ("16 bytes", b"x" * 16),
        ("17 bytes", b"x" * 17),
        ("4,096 bytes", some("page", 4096)),
        ("bytes that are no text", b"\xff\xfe\0"),
        ("a sealed value, sealed again", sealed(b"inner")),
    ]:
        gives(f"value/{what}", "a value opens", "open_value", plaintext.hex(), data_key=DEK.hex(), sealed=sealed(plaintext).hex(), context="")
    row = context.row_context("customers.ssn", "42")
    for what, of in [
        ("of a row", row),
        ("beyond ASCII", "Zoë 東京 🔑"),
        ("not normalised", "e\u0301"),
        ("with a zero", "a\0b"),
        ("of 1,000 bytes", "x" * 1000),
    ]:
        gives(
            f"value/context {what}",
            "the context is bound byte for byte",
            "open_value",
            b"123-45-6789".hex(),
            data_key=DEK.hex(),
            sealed=sealed(b"123-45-6789", of).hex(),
            context=of,
        )
    for what, nonce in [("zeros", bytes(24)), ("ones", b"\xff" * 24), ("a counter that is at its end", some("first half", 12) + b"\xff" * 12)]:
        gives(
            f"value/nonce of {what}",
            "any nonce opens",
            "open_value",
            b"abc".hex(),
            data_key=DEK.hex(),
            sealed=sealed(b"abc", nonce=nonce).hex(),
            context="",
        )
    # CMAC's subkey is made in two ways, by the first bit of a block under the key.
    for top in (0, 1):
        dek = next(k for k in (some(f"subkey {i}") for i in range(99)) if first_bit(k) == top)
        gives(
            f"value/subkey whose first bit is {top}",
            "the key derivation of XAES-256-GCM doubles with and without 0x87",
            "open_value",
            b"abc".hex(),
            data_key=dek.hex(),
            sealed=sealed(b"abc", dek=dek).hex(),
            context="",
        )
    gives("value/key id", "a key's id is derived from it", "key_id", keys.text_of(keys.key_id(DEK)), data_key=DEK.hex())
    gives("value/named key", "a value names its key", "named_key", keys.text_of(keys.key_id(DEK)), sealed=sealed(b"abc").hex())

    whole = sealed(b"123-45-6789", row)

    def broken(name, error, raw, of=row, dek=DEK, shows="a changed value does not open"):
        fails(f"value/{name}", shows, "open_value", error, data_key=dek.hex(), sealed=raw.hex(), context=of)

    for name, at in [
        ("nonce, first byte", 18),
        ("nonce, last byte of the first half", 29),
        ("nonce, first byte of the second half", 30),
        ("nonce, last byte", 41),
        ("ciphertext, first byte", 42),
        ("ciphertext, last byte", 52),
        ("tag, first byte", 53),
        ("tag, last byte", -1),
    ]:
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


def row_contexts():
    for name, tag, parts in [
        ("no parts", "t.c", []),
        ("one", "customers.ssn", ["42"]),
        ("several", "t.c", ["1", "2", "3"]),
        ("empty", "", [""]),
        ("lengths in bytes", "Zoë", ["東京"]),
        ("what looks like two", "a", ["1:b,", "c"]),
        ("a long one", "t.c", ["x" * 100]),
        ("bytea, in hex", "t.c", ["00ff"]),
        ("a uuid", "t.c", ["c0ffee00-0102-0304-0506-070809aabbcf"]),
    ]:
        expected = "envelope/1 row," + "".join(f"{len(one.encode())}:{one}," for one in [tag, *parts])
        gives(f"row context/{name}", "netstrings of the tag and the bound values", "row_context", expected, tag=tag, parts=parts)
