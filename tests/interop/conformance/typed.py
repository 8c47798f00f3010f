"""Typed values."""

from envelope_reader import context, types

from interop.conformance.sealing import DEK, sealed
from interop.conformance.texts import ARRAYS, NO_ARRAYS, TYPED
from interop.conformance.vector import fails, gives


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
                gives(
                    f"{kind}/{named(form)}, filled",
                    "what fills a form is taken off",
                    "decode",
                    form,
                    in_crate(kind),
                    type=kind,
                    plaintext=filled.hex(),
                )
                gives(f"{kind}/{named(form)}, to be filled", "the block of the type", "filled", filled.hex(), type=kind, form=raw.hex())
        for form in others:
            fails(
                f"{kind}/not {named(form)}",
                "what is not byte for byte the form is refused",
                "decode",
                "no_form",
                in_crate(kind),
                type=kind,
                plaintext=form.encode().hex(),
            )
        if kind not in types.MARKED:
            fails(f"{kind}/not UTF-8", "a form is text", "decode", "no_form", type=kind, plaintext="ff")
            fails(
                f"{kind}/filled before",
                "spaces are taken off the end alone",
                "decode",
                "no_form",
                in_crate(kind),
                type=kind,
                plaintext=(" " + forms[0]).encode().hex(),
            ) if kind != "enum" else None
    gives("bytea/as it is", "bytea has neither form nor filling", "decode", "\\x00ff2020ff0000", type="bytea", plaintext="00ff2020ff0000")
    gives("bytea/empty", "bytea has neither form nor filling", "decode", "\\x", type="bytea", plaintext="")
    fails("enum/a zero", "text has no zero", "decode", "no_form", type="enum", plaintext="610062")

    for kind, all_forms in ARRAYS.items():
        for form, value in all_forms:
            gives(f"{kind}/{named(form)}", "an array is nested arrays of strings", "decode", value, type=kind, plaintext=form.encode().hex())
        gives(
            f"{kind}/filled",
            "spaces are taken off the end of arrays, too",
            "decode",
            all_forms[0][1],
            type=kind,
            plaintext=(all_forms[0][0] + "   ").encode().hex(),
        )
    for kind, others in NO_ARRAYS.items():
        for form in others:
            fails(f"{kind}/not {named(form)}", "an array has one text only", "decode", "no_form", type=kind, plaintext=form.encode().hex())
    fails("text[]/not UTF-8", "an array is UTF-8 as a whole", "decode", "no_form", type="text[]", plaintext=b'["\xff"]'.hex())
    fails("text[]/a zero", "text has no zero, not even an escaped one", "decode", "not_text", type="text[]", plaintext=b'["\\u0000"]'.hex())

    for kind in ("text", "varchar", "bpchar", "json", "jsonb"):
        for what, raw in [
            ("not UTF-8", b"\xc3"),
            ("overlong", b"\xc0\x80"),
            ("half of a surrogate pair", b"\xed\xa0\x80"),
            ("beyond Unicode", b"\xf4\x90\x80\x80"),
            ("a zero", b"a\0b"),
            ("zeros at the end, unmarked", b"ab\0\0"),
            ("a mark within", b"a\xffb"),
            ("a mark and other bytes", b"a\xff\0\x01"),
            ("two marks", b"a\xff\xff"),
        ]:
            fails(f"{kind}/{what}", "text is UTF-8, without a zero", "decode", "not_text", type=kind, plaintext=raw.hex())
        gives(f"{kind}/marked", "the mark and the zeros behind it are taken off", "decode", "ab ", type=kind, plaintext=b"ab \xff\0\0\0\0".hex())
        gives(f"{kind}/marked, without a zero", "the mark alone", "decode", "abcdefg", type=kind, plaintext=b"abcdefg\xff".hex())
        gives(f"{kind}/marked, empty", "a text of no characters in a block", "decode", "", type=kind, plaintext=(b"\xff" + bytes(7)).hex())
    for form, block in [("", 8), ("abcdefg", 8), ("abcdefgh", 8), ("é", 2), ("abc", 1), ("abc", 16_384)]:
        raw = form.encode()
        marked = raw if block == 1 else (raw + b"\xff").ljust(-(-(len(raw) + 1) // block) * block, b"\0")
        gives(
            f"text/{form!r} in blocks of {block}",
            "text is filled if a policy says so",
            "filled",
            marked.hex(),
            type="text",
            form=raw.hex(),
            block=block,
        )
    gives("bytea/in blocks of 8", "bytea is never filled", "filled", "616263", type="bytea", form="616263", block=8)
    for what, raw, value in [("as it is", b"abc ", "abc "), ("marked", b"abc\xff\0", "abc"), ("a filled form of another type", b"true ", "true ")]:
        gives(f"untyped text/{what}", "envelope_decrypt_text knows no type, and takes a mark off", "decode_text", value, plaintext=raw.hex())
    fails("untyped text/not UTF-8", "envelope_decrypt_text gives text", "decode_text", "not_text", plaintext="f7e1")

    for name, kind, form in [
        ("numeric(10,2)", "numeric(10,2)", "12.50"),
        ("numeric(3,5)", "numeric(3,5)", "0.00123"),
        ("numeric(2,-3)", "numeric(2,-3)", "12000"),
        ("numeric(5)", "numeric(5)", "12345"),
        ("boolean", "boolean", "true"),
        ("timestamp(3) with time zone", "timestamp(3) with time zone", "2026-11-30T05:08:34.123Z"),
        ("double precision", "double precision", "0.1"),
        ("character varying(20)", "character varying(20)", "abc"),
        ("time without time zone", "time without time zone", "05:08:34"),
        ("character(3)", "character(3)", "ab"),
    ]:
        gives(f"type/{name}", "types as PostgreSQL shows them", "decode", form, in_crate=False, type=kind, plaintext=form.encode().hex())
    for kind, form, block in [
        ("numeric(10,2)", "12.50", 13),
        ("numeric(3,5)", "0.00123", 8),
        ("numeric(2,-3)", "12000", 6),
        ("numeric(1000,1000)", "0", 1003),
        ("numeric(5)", "12345", 8),
    ]:
        gives(
            f"type/block of {kind}",
            "the block of a numeric goes by its modifier",
            "filled",
            form.ljust(block).encode().hex(),
            in_crate=False,
            type=kind,
            form=form.encode().hex(),
        )
    for kind in ("", "money", "point", "int4[][]", "INTEGER", "xml", "oid", "name", "int4range", "bit", "text[3]", "citext"):
        fails(f"type/not {kind!r}", "a type without a form, or no name of one", "decode", "unknown_type", in_crate=False, type=kind, plaintext="31")

    row = context.row_context("customers.born", "42")
    filled = b"2026-11-30".ljust(13)
    of = {"data_key": DEK.hex(), "sealed": sealed(filled, row).hex()}
    gives("policy/date", "a value of a policy: bound, filled, typed", "open_as", "2026-11-30", context=row, type="date", **of)
    fails(
        "policy/date, another row",
        "the context is asked first",
        "open_as",
        "does_not_open",
        context=context.row_context("customers.born", "43"),
        type="date",
        **of,
    )
    fails("policy/date, as another type", "the type is not in the value", "open_as", "no_form", context=row, type="int4", **of)
    gives("policy/date, as text", "nor does text know that it is none", "open_as", "2026-11-30   ", context=row, type="text", **of)
    gives(
        "policy/array",
        "a value of a policy",
        "open_as",
        [["1", None]],
        data_key=DEK.hex(),
        sealed=sealed(b'[["1",null]]', row).hex(),
        context=row,
        type="int4[]",
    )
    gives(
        "policy/text in a block",
        "a value of a policy",
        "open_as",
        "secret",
        data_key=DEK.hex(),
        sealed=sealed(b"secret\xff\0", row).hex(),
        context=row,
        type="text",
    )
