"""Search: normal forms, payloads, questions, terms, boundary sets."""

import json
import struct

from envelope_reader import context, terms

from interop.conformance.rules import NO_RULES, ORDERED, RULES, TEXTS
from interop.conformance.sealing import OTHER, sealed
from interop.conformance.vector import fails, flipped, gives, some

INDEX = some("index key")


def hexes(*all_payloads):
    return sorted({(one if isinstance(one, bytes) else one.encode()).hex() for one in all_payloads})


def text(of):
    return of.encode().hex()


def float_set(bound):
    return json.dumps({"set": 1, "bounds": [bound], "classes": [[0], [1]]}, separators=(",", ":"))


def search():
    for name, (of, forms) in TEXTS.items():
        for form, found in forms.items():
            if found is None:
                fails(
                    f"normal form/{form}: {name}",
                    "a text that has none",
                    "normal_form",
                    "no_address" if form == "email" else "empty",
                    form=form,
                    text=of,
                )
            else:
                gives(f"normal form/{form}: {name}", "normal forms are pinned to Unicode 15.1.0", "normal_form", found, form=form, text=of)
    gives(
        "normal form/email: a piece",
        "a piece of an address has the form of casefold",
        "normal_form",
        "@example.",
        form="email",
        text="@Example.",
        is_piece=True,
    )
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
        gives(
            f"terms/stored tokens: {name}",
            "each once, ascending, with the marker",
            "stored",
            [str(one) for one in key.stored("people.name", "words casefold/1", raw)],
            payloads=found,
            **words,
        )
        gives(
            f"terms/tokens asked for: {name}",
            "without the marker; of none the one that no value has",
            "tokens",
            [str(one) for one in key.tokens("people.name", "words casefold/1", raw)],
            payloads=found,
            **words,
        )

    def of_value(name, rule, kind, form, found, set=None):
        given = {"rule": rule, "type": kind, "plaintext": form if kind == "bytea" else text(form), **({} if set is None else {"set": set})}
        gives(f"payload/{name}", "what counts of a value", "payloads", found, **given)

    def none_of(name, error, rule, kind, form, set=None):
        fails(
            f"payload/{name}",
            "a value that the rule does not take",
            "payloads",
            error,
            rule=rule,
            type=kind,
            plaintext=form if kind == "bytea" else text(form),
            **({} if set is None else {"set": set}),
        )

    of_value("text, exact", "exact/1", "text", " A ", hexes(" A "))
    of_value("text, filled", "casefold/1", "text", "Ab", hexes("ab"))
    of_value("bytea", "exact/1", "bytea", "00ff20", hexes(b"\0\xff "))
    of_value("prefix", "prefix(3) casefold/1", "text", "Müller", hexes("mül"))
    of_value("prefix of a text of that length", "prefix(3) casefold/1", "text", "Mül", hexes("mül"))
    of_value("suffix of a text of that length", "suffix(4) digits/1", "text", "6789", hexes("6789"))
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
    for kind, form, found in [
        ("int2", "-1", "-1"),
        ("numeric", "12.50", "12.5"),
        ("numeric", "1.0", "1"),
        ("numeric", "100", "100"),
        ("numeric", "0.00", "0"),
        ("numeric", "NaN", "NaN"),
        ("float8", "-0", "0" * 16),
        ("float8", "NaN", "7ff8000000000000"),
        ("float4", "0.1", "3fb99999a0000000"),
        ("float8", "0.1", "3fb999999999999a"),
        ("interval", "P1M", "2592000000000"),
        ("interval", "PT720H", "2592000000000"),
        ("interval", "P-1M", "-2592000000000"),
        ("interval", "infinity", "infinity"),
        ("date", "2026-11-30", "2026-11-30"),
        ("time", "24:00:00", "24:00:00"),
        ("timetz", "05:08:34+02:00", "05:08:34+02:00"),
        ("timestamptz", "infinity", "infinity"),
        ("uuid", "c0ffee00-0102-0304-0506-070809aabbcf", "c0ffee00-0102-0304-0506-070809aabbcf"),
        ("inet", "10.0.0.1/32", "10.0.0.1/32"),
        ("enum", "sad", "sad"),
        ("bpchar", "ab", "ab"),
    ]:
        of_value(f"exact {kind} {form}", "exact/1", kind, form, hexes(found))
    of_value("exact date, filled", "exact/1", "date", "2026-11-30   ", hexes("2026-11-30"))

    numeric_set = '{"set":1,"bounds":["0"],"classes":[[0],[1]]}'

    def bucket(set, one):
        return struct.pack(">II", set, one)

    def step(at):
        return struct.pack(">q", at)

    for rule, kind, form, found in [
        ("days date/1", "date", "1969-12-31", step(-1)),
        ("days timestamptz/1", "timestamptz", "1969-12-31T23:59:59.999999Z", step(-1)),
        ("days date/1", "date", "infinity", b"\xffinfinity"),
        ("steps(7) date/1", "date", "1970-01-08", step(1)),
        ("steps(10) int/1", "int8", "-1", step(-1)),
        ("steps(10) int/1", "int8", "-10", step(-1)),
        ("steps(10) int/1", "int8", "-11", step(-2)),
        ("steps(1000) numeric(2)/1", "numeric", "-0.01", step(-1)),
        ("steps(1000) numeric(2)/1", "numeric", "NaN", b"\xffNaN"),
        ("steps(1000) numeric(2)/1", "numeric", "-Infinity", b"\xff-infinity"),
        ("steps(900) time/1", "time", "24:00:00", step(96)),
        ("steps(3600) timestamp/1", "timestamp", "294276-12-31T23:59:59.999999", step(2562047788)),
        ("steps(1) int/1", "int8", "-9223372036854775808", step(-(1 << 63))),
        ("steps(1) int/1", "int8", "9223372036854775807", step((1 << 63) - 1)),
    ]:
        of_value(f"{rule} of {form}", rule, kind, form, hexes(found))

    def node(height, at):
        return struct.pack(">BQ", height, at)

    of_value("numeric of 18 digits", "steps(1) numeric(0)/1", "numeric", "999999999999999999", hexes(step(10**18 - 1)))
    none_of("numeric of 19 digits", "no_form", "steps(1) numeric(0)/1", "numeric", "1000000000000000000")
    of_value("numeric of a negative scale", "buckets numeric(-2)/1", "numeric", "-12300", hexes(bucket(1, 0)), numeric_set)
    of_value("numeric of a negative scale, 0", "buckets numeric(-2)/1", "numeric", "0.00", hexes(bucket(1, 1)), numeric_set)
    none_of("numeric of a negative scale, too small", "no_form", "buckets numeric(-2)/1", "numeric", "50", numeric_set)
    none_of("numeric of a negative scale, not whole", "no_form", "buckets numeric(-2)/1", "numeric", "12340", numeric_set)
    of_value("tree, whole", "tree(2,1,8,9223372036854775708) int/1", "int4", "0", hexes(node(0, 100), node(2, 25), node(4, 6), node(6, 1)))
    of_value("tree, below", "tree(2,1,8,9223372036854775708) int/1", "int4", "-101", hexes(b"\xffbelow"))
    of_value("tree, above", "tree(2,1,8,9223372036854775708) int/1", "int4", "156", hexes(b"\xffabove"))
    of_value("tree of 64 bits", "tree(8,12,64,0) int/1", "int8", "0", hexes(*(node(h, (1 << 63) >> h) for h in range(0, 53, 8))))
    of_value("tree of floats, -0", "tree(8,12,64,0) float/1", "float8", "-0", hexes(*(node(h, (1 << 63) >> h) for h in range(0, 53, 8))))
    of_value("tree of floats, NaN", "tree(8,12,64,0) float/1", "float4", "NaN", hexes(b"\xffNaN"))
    dates = '{"set":1,"bounds":["0044-03-15 BC","1970-01-01"],"classes":[[0],[1,2],[4]]}'

    of_value("buckets, the first", "buckets date/1", "date", "0045-01-01 BC", hexes(bucket(1, 0)), dates)
    of_value("buckets, on a bound", "buckets date/1", "date", "1970-01-01", hexes(bucket(1, 4)), dates)
    of_value("buckets, several classes", "buckets date/1", "date", "1969-12-31", hexes(bucket(1, 1), bucket(1, 2)), dates)
    for bound in ("1.0000000149011612e-01", "0.100", "-123456789012345678901234567890", "1e+308"):
        of_value(f"buckets, a bound of {bound}", "buckets float/1", "float8", "NaN", hexes(b"\xffNaN"), float_set(bound))
    for bound in ("1e32", "1e+5", "01", ".5", "5.", "1e+400", "NaN", "Infinity", "+1", "1E+05", "0x10", "1e+0005"):
        none_of(f"no boundary set: a bound of {bound}", "not_a_boundary_set", "buckets float/1", "float8", "0", float_set(bound))
    most = '{"set":4294967295,"bounds":[],"classes":[[4294967295]]}'
    of_value("buckets, the largest numbers", "buckets date/1", "date", "1970-01-01", hexes(bucket(2**32 - 1, 2**32 - 1)), most)
    for form, last in [
        ("294247-01-10T04:00:54.775806Z", 2**64 - 2),
        ("294247-01-10T04:00:54.775807Z", 2**64 - 1),
        ("294276-12-31T23:59:59.999999Z", 2**64 - 1),
    ]:
        gives(f"ordinal/{form}", "all timestamps later than 64 bits have the last", "ordinal", str(last), type="timestamptz", form=form)
    for kind, form, found in [
        ("int8", "-9223372036854775808", 0),
        ("date", "1970-01-01", 2**63),
        ("time", "24:00:00", 2**63 + 86_400_000_000),
        ("float8", "-0", 2**63),
        ("float8", "5e-324", 2**63 + 1),
        ("float4", "-1", 2**64 - 1 - 0xBFF0000000000000),
        ("numeric", "NaN", "NaN"),
        ("float8", "-Infinity", "-infinity"),
    ]:
        gives(
            f"ordinal/{kind} {form}",
            "numbers in the order of the type",
            "ordinal",
            str(found),
            type=kind,
            form=form,
            **({"scale": 2} if kind == "numeric" else {}),
        )
    fails("ordinal/interval", "a type without an order here", "ordinal", "no_form", type="interval", form="P1D")
    of_value("buckets, infinity", "buckets date/1", "date", "-infinity", hexes(b"\xff-infinity"), dates)
    none_of("buckets without their set", "no_boundaries", "buckets date/1", "date", "1970-01-01")
    for name, set in [
        ("no JSON", "{"),
        ("a list", "[]"),
        ("a space", dates.replace(":1,", ": 1,")),
        ("bounds in another order", dates.replace('"0044-03-15 BC","1970-01-01"', '"1970-01-01","0044-03-15 BC"')),
        ("a bound twice", dates.replace("0044-03-15 BC", "1970-01-01")),
        ("a bound that is no form", dates.replace("1970-01-01", "1970-1-1")),
        ("a bound that is no number", dates.replace("1970-01-01", "infinity")),
        ("too few classes", dates.replace(",[4]", "")),
        ("an interval without a class", dates.replace("[4]", "[]")),
        ("a class beyond 32 bits", dates.replace("[4]", "[4294967296]")),
        ("a negative class", dates.replace("[4]", "[-1]")),
        ("a class that is no number", dates.replace("[4]", '["4"]')),
        ("another order of fields", '{"bounds":[],"set":1,"classes":[[0]]}'),
        ("a field more", dates[:-1] + ',"x":1}'),
        ("a class twice", dates.replace("[4]", "[2]")),
        ("former classes that are none", dates[:-1] + ',"former":[[],[],[]]}'),
        ("too few former classes", dates[:-1] + ',"former":[[]]}'),
        ("empty", ""),
    ]:
        none_of(f"no boundary set: {name}", "not_a_boundary_set", "buckets date/1", "date", "1970-01-01", set)
    for rule, kind, form in [
        ("exact/1", "bool", "true"),
        ("exact/1", "jsonb", "{}"),
        ("exact/1", "text[]", '["a"]'),
        ("casefold/1", "int4", "1"),
        ("casefold/1", "enum", "sad"),
        ("prefix(1) exact/1", "bytea", "00"),
        ("days date/1", "timestamp", "1970-01-01T00:00:00"),
        ("days date/1", "text", "1970-01-01"),
        ("days date/1", "date", "1970-1-1"),
        ("exact/1", "int4", "01"),
        ("steps(1) int/1", "numeric", "1"),
        ("steps(1) numeric(2)/1", "numeric", "1.234"),
        ("steps(1) numeric(2)/1", "numeric", "10000000000000000"),
        ("buckets interval/1", "interval", "P1D"),
    ]:
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
    for rule, op in [
        ("casefold/1", "contains"),
        ("casefold/1", "prefix"),
        ("prefix(3) casefold/1", "suffix"),
        ("words casefold/1", "contains"),
        ("parts(3) casefold/1", "words"),
        ("days date/1", "="),
        ("casefold/1", "~"),
    ]:
        no_question(f"{op} of {rule}", "no_answer", rule, op, "abcd")

    def between(name, rule, kind, low, high, found, set=None):
        gives(
            f"range/{name}",
            "what is asked of a range",
            "asked_between",
            found,
            rule=rule,
            type=kind,
            low=low,
            high=high,
            **({} if set is None else {"set": set}),
        )

    def no_range(name, error, rule, kind, low, high):
        fails(f"range/{name}", "what cannot be asked", "asked_between", error, rule=rule, type=kind, low=low, high=high)

    between("days", "days date/1", "date", "1969-12-31", "1970-01-02", hexes(step(-1), step(0), step(1)))
    between("one day", "days timestamp/1", "timestamp", "1970-01-01T00:00:00", "1970-01-01T23:59:59.999999", hexes(step(0)))
    between("backwards", "days date/1", "date", "1970-01-02", "1970-01-01", [])
    between("to the infinity", "days date/1", "date", "infinity", None, hexes(b"\xffinfinity"))
    between("from the infinity", "days date/1", "date", "-infinity", "-infinity", hexes(b"\xff-infinity"))
    between("all of a day", "steps(43200) time/1", "time", None, None, hexes(step(0), step(1), step(2)))
    between(
        "tree, all", "tree(2,1,8,9223372036854775708) int/1", "int4", None, None, hexes(b"\xffbelow", b"\xffabove", *(node(6, at) for at in range(4)))
    )
    between("tree, a cover", "tree(2,1,8,9223372036854775708) int/1", "int4", "-100", "-83", hexes(node(4, 0), node(0, 16), node(0, 17)))
    small = "tree(2,1,8,9223372036854775708) int/1"
    between("tree, all of it below", small, "int4", "-200", "-101", hexes(b"\xffbelow"))
    between("tree, all of it above", small, "int4", "156", "900", hexes(b"\xffabove"))
    between("tree, its first and last number", small, "int4", "-100", "155", hexes(*(node(6, at) for at in range(4))))
    between("tree, one number", small, "int4", "-100", "-100", hexes(node(0, 0)))
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
    fails(
        "boundaries/another label",
        "label and rule are bound",
        "open_boundaries",
        "does_not_open",
        sealed=set.hex(),
        **{**asked, "label": "people.died"},
    )
    fails(
        "boundaries/another rule",
        "label and rule are bound",
        "open_boundaries",
        "does_not_open",
        sealed=set.hex(),
        **{**asked, "rule": "buckets int/1"},
    )
    fails("boundaries/another key", "a set names its key", "open_boundaries", "other_key", sealed=set.hex(), **{**asked, "data_key": OTHER.hex()})
    fails("boundaries/changed", "a set is sealed", "open_boundaries", "does_not_open", sealed=flipped(set, 50).hex(), **asked)
    fails("boundaries/cut", "a set is sealed", "open_boundaries", "not_sealed", sealed=set[:40].hex(), **asked)
    fails(
        "boundaries/sealed as a value",
        "a set has a key of its own",
        "open_boundaries",
        "does_not_open",
        sealed=sealed(dates.encode(), "envelope/1 boundaries," + of, INDEX).hex(),
        **asked,
    )
    fails(
        "boundaries/not UTF-8",
        "a set is text",
        "open_boundaries",
        "not_a_boundary_set",
        sealed=sealed(b"\xff", "envelope/1 boundaries," + of, INDEX, "envelope/1 boundaries").hex(),
        **asked,
    )
