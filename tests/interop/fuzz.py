#!/usr/bin/env python3
"""Asks the readers of interop/ and the Rust crate the same about random values and random damage: they must give the same
bytes, or refuse by the same name. Says how much was tried and where they disagree.

    PYTHONPATH=tests:interop/python target/venv/bin/python tests/interop/fuzz.py [--seconds 60] [--seed 1]
"""

import argparse
import copy
import json
import random
import struct
import sys
import time

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from envelope_reader import EnvelopeError, context, dates, floats, keys, network, ordinals, rules, types, xaes

from interop import readers
from interop.conformance import keyrings, sealing
from interop.conformance import rules as known_rules

PORTION = 1500
ALPHABET = '0123456789-+.:/ TZPYMDHSBCEaeifnrtuxNI\\"[],{}()\0é٣ßﬁ\u0301\u200d\u0378🔑@_ \n\ta'
SCALARS = list(types.BLOCKS)
ARRAYS = [kind + "[]" for kind in SCALARS]


class Fuzz:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.makers = [
            self.value,
            self.value,
            self.file_wrap,
            self.token_wrap,
            self.contexts,
            self.row_context,
            self.form,
            self.form,
            self.form,
            self.form,
            self.filled,
            self.sealed_form,
            self.normal_form,
            self.normal_form,
            self.payloads,
            self.payloads,
            self.asked,
            self.between,
            self.rule,
            self.tokens,
            self.boundaries,
            self.sealed_boundaries,
            self.keyring,
        ]

    def question(self):
        return self.random.choice(self.makers)()

    # -- bytes and text

    def some(self, most):
        return self.random.randbytes(self.random.choice([0, 1, self.random.randrange(most)]))

    def character(self):
        r = self.random
        kind = r.random()
        if kind < 0.4:
            return r.choice(ALPHABET)
        if kind < 0.6:
            return chr(r.randrange(0x20, 0x7F))
        if kind < 0.8:
            return chr(
                r.choice(
                    [
                        r.randrange(0xA0, 0x600),
                        r.randrange(0x1E00, 0x2200),
                        r.randrange(0xF900, 0xFFFE),
                        r.randrange(0x300, 0x370),
                        r.randrange(0xAC00, 0xAC50),
                        r.randrange(0x1100, 0x1200),
                    ]
                )
            )
        code = r.randrange(0x110000)
        return chr(code) if not 0xD800 <= code <= 0xDFFF else "x"

    def text(self, most=12):
        return "".join(self.character() for _ in range(self.random.randrange(most + 1)))

    def damaged(self, raw):
        r = self.random
        raw = bytearray(raw)
        for _ in range(r.choice([0, 1, 1, 2, 4])):
            at = r.randrange(len(raw) + 1)
            how = r.random()
            if how < 0.5 and at < len(raw):
                raw[at] ^= 1 << r.randrange(8)
            elif how < 0.6:
                raw.insert(at, r.randrange(256))
            elif how < 0.7 and at < len(raw):
                del raw[at]
            elif how < 0.8:
                del raw[at:]
            elif how < 0.9:
                raw += self.some(40)
            elif at < len(raw):
                raw[at] = r.choice([0, 0x20, 0xF7, 0xE1, 0x57, 0x58, 0xFF])
        return bytes(raw)

    def edited(self, text):
        r = self.random
        text = list(text)
        for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
            at, c = r.randrange(len(text) + 1), r.choice(ALPHABET) if r.random() < 0.9 else self.character()
            how = r.randrange(4)
            if how == 0:
                text.insert(at, c)
            elif how == 1 and at < len(text):
                text[at] = c
            elif how == 2 and at < len(text):
                del text[at]
            elif how == 3 and at < len(text):
                text.insert(at, text[at])
        return "".join(text)

    def key(self):
        return self.random.randbytes(32 if self.random.random() < 0.98 else self.random.choice([0, 31, 33]))

    def one_of_two(self, right, other, often=0.85):
        return right if self.random.random() < often else other

    # -- values and wraps

    def value(self):
        dek, of = self.random.randbytes(32), self.one_of_two("", self.text())
        sealed = sealing.sealed(self.some(200), of, dek, nonce=self.random.randbytes(24))
        return "open_value", {
            "data_key": self.one_of_two(dek, self.key(), 0.95).hex(),
            "sealed": self.damaged(sealed).hex(),
            "context": self.one_of_two(of, self.text()),
        }

    def context(self):
        r = self.random
        of = {self.text(4): self.text() for _ in range(r.randrange(5))}
        if r.random() < 0.02:
            of["long"] = self.character() * r.randrange(8100, 8250)
        if r.random() < 0.03:
            of["other"] = r.choice([1, None, [], {}, True])
        return of

    def file_wrap(self):
        of, kek, dek = self.context(), self.random.randbytes(32), self.random.randbytes(32)
        header, nonce = b"\xf7\x57" + keys.kek_id(kek), self.random.randbytes(24)
        try:
            bound = context.context_bytes(of)
        except EnvelopeError:
            bound = b""
        cipher = AESGCM(xaes.derived(keys.expand(kek, "envelope/1 wrap", 32), nonce))
        wrapped = header + nonce + cipher.encrypt(nonce[12:], dek, header + bound)
        return "unwrap_by_file", {
            "kek": self.one_of_two(kek, self.key(), 0.95).hex(),
            "wrapped": self.damaged(wrapped).hex(),
            "context": self.one_of_two(of, self.context()),
        }

    def token_wrap(self):
        of, kek, dek = self.context(), self.random.randbytes(32), self.random.randbytes(32)
        iv = self.random.randbytes(self.random.choice([12, 12, 13, 16, 32, 64, 128]))
        try:
            bound = context.context_json(of)
        except EnvelopeError:
            bound = ""
        gcm = Cipher(algorithms.AES(kek), modes.GCM(iv)).encryptor()
        gcm.authenticate_additional_data(b"envelope/1 kms wrap," + bound.encode())
        wrapped = b"\xf7\x58" + bytes([len(iv)]) + iv + gcm.update(dek) + gcm.finalize() + gcm.tag
        return "unwrap_by_token_key", {
            "kek": self.one_of_two(kek, self.key(), 0.95).hex(),
            "wrapped": self.damaged(wrapped).hex(),
            "context": self.one_of_two(of, self.context()),
        }

    def contexts(self):
        return self.random.choice(["context_json", "context_bytes", "context_transit", "token_associated_data"]), {"context": self.context()}

    def row_context(self):
        return "row_context", {"tag": self.text(), "parts": [self.text() for _ in range(self.random.randrange(4))]}

    # -- typed values

    def integer(self, bits):
        r = self.random
        return r.choice(
            [
                r.randrange(-20, 20),
                r.randrange(-(1 << bits - 1), 1 << bits - 1),
                -(1 << bits - 1),
                (1 << bits - 1) - 1,
                (1 << bits - 1),
                -(1 << bits - 1) - 1,
            ]
        )

    def decimal(self):
        r = self.random
        digits = str(r.randrange(10 ** r.randrange(1, 25)))
        shown = digits + r.choice(["", "." + "".join(r.choice("0123456789") for _ in range(r.randrange(1, 12)))])
        return r.choice(["", "", "-"]) + shown

    def float(self, sort):
        r = self.random
        if sort == "float4":
            (number,) = struct.unpack(">f", r.choice([r.randbytes(4), struct.pack(">f", round(r.uniform(-1e5, 1e5), r.randrange(5)))]))
        else:
            (number,) = struct.unpack(">d", r.choice([r.randbytes(8), struct.pack(">d", round(r.uniform(-1e9, 1e9), r.randrange(7)))]))
        return r.choice([floats.float_form(sort, number), floats.float_form(sort, number), repr(number), self.decimal()])

    def day(self):
        r = self.random
        year = r.choice(
            [
                r.randrange(1, 10_000),
                r.randrange(1900, 2100),
                r.randrange(4700, 4720),
                r.randrange(294_270, 294_280),
                r.randrange(5_874_890, 5_874_900),
                r.randrange(10_000, 300_000),
            ]
        )
        return f"{year:04}-{r.randrange(1, 13):02}-{r.randrange(1, 32):02}", r.choice(["", "", "", " BC"])

    def clock(self):
        r = self.random
        return f"{r.randrange(25):02}:{r.randrange(61):02}:{r.randrange(61):02}" + r.choice(
            ["", "", f".{r.randrange(1, 10**6)}", f".{r.randrange(1, 10**6):06}"]
        )

    def interval(self):
        r = self.random
        if r.random() < 0.6:
            few = r.random() < 0.3
            numbers = [0 if few and r.random() < 0.6 else self.integer(bits) for bits in (32, 32, 64)]
            return dates.interval_text(*numbers)
        n = lambda unit: r.choice(["", "", f"{r.randrange(-99, 99)}{unit}"])
        clock = n("H") + n("M") + r.choice(["", f"{r.randrange(-99, 99)}S", f"{r.randrange(-99, 99)}.{r.randrange(1, 10**6)}S"])
        return f"P{n('Y')}{n('M')}{n('D')}" + ("T" + clock if clock else "")

    def address(self):
        r = self.random
        if r.random() < 0.4:
            return ".".join(str(r.choice([0, 1, 10, 255, 256, r.randrange(256)])) for _ in range(4)) + f"/{r.randrange(34)}"
        raw = b"".join(r.choice([0, 0, 0, 1, 0xFFFF, r.randrange(1 << 16)]).to_bytes(2, "big") for _ in range(8))
        shown = network.v6_text(raw) if r.random() < 0.8 else ":".join(f"{int.from_bytes(raw[at : at + 2], 'big'):x}" for at in range(0, 16, 2))
        return f"{shown}/{r.choice([0, 1, 32, 64, 128, 129, r.randrange(130)])}"

    def a_form(self, kind):
        """Of a random value of the type, or near to one."""
        r = self.random
        day, era = self.day()
        return {
            "bool": lambda: r.choice(["true", "false", "t"]),
            "int2": lambda: str(self.integer(16)),
            "int4": lambda: str(self.integer(32)),
            "int8": lambda: str(self.integer(64)),
            "numeric": lambda: r.choice([self.decimal(), self.decimal(), "NaN", "Infinity", "-Infinity", "-0", "0.00"]),
            "float4": lambda: self.float("float4"),
            "float8": lambda: self.float("float8"),
            "date": lambda: r.choice([day + era, day + era, "infinity", "-infinity"]),
            "time": self.clock,
            "timetz": lambda: self.clock() + f"{r.choice('+-')}{r.randrange(17):02}:{r.randrange(60):02}" + r.choice(["", f":{r.randrange(60):02}"]),
            "timestamp": lambda: r.choice([f"{day}T{self.clock()}{era}", f"{day}T{self.clock()}{era}", "infinity", "-infinity"]),
            "timestamptz": lambda: r.choice([f"{day}T{self.clock()}Z{era}", f"{day}T{self.clock()}Z{era}", "infinity", "-infinity"]),
            "interval": self.interval,
            "uuid": lambda: keys.text_of(r.randbytes(16)),
            "inet": self.address,
            "cidr": self.address,
        }.get(kind, self.text)()

    def an_array(self, kind):
        r = self.random
        sizes = [r.randrange(1, 4) for _ in range(r.choice([1, 1, 2, 3]))]

        def nested(left):
            if left:
                return "[" + ",".join(nested(left[1:]) for _ in range(left[0])) + "]"
            if r.random() < 0.2:
                return "null"
            return context.quoted("\\x" + self.some(6).hex() if kind == "bytea" else self.a_form(kind))

        return nested(sizes) if r.random() < 0.95 else "[]"

    def plaintext(self, kind):
        """Of that type, as it may be sealed: filled or not, changed or not."""
        r = self.random
        text = self.an_array(kind[:-2]) if kind.endswith("[]") else self.a_form(kind)
        if r.random() < 0.6:
            text = self.edited(text)
        raw = text.encode()
        how = r.random()
        if how < 0.3:
            raw = types.filled(kind, raw, r.choice([None, None, 8, 16]))
        elif how < 0.4:
            raw += r.choice([b" ", b"\0", b"\xff", b"\xff\0\0", b"\n", b"\xff\xff"])
        return self.damaged(raw) if r.random() < 0.15 else raw

    def kind(self):
        return self.random.choice(SCALARS) if self.random.random() < 0.75 else self.random.choice(ARRAYS)

    def form(self):
        kind = self.kind()
        if self.random.random() < 0.05:
            return "decode_text", {"plaintext": self.plaintext("text").hex()}
        return "decode", {"type": kind, "plaintext": self.plaintext(kind).hex()}

    def filled(self):
        kind = self.random.choice(SCALARS)
        given = {"type": kind, "form": self.a_form(kind).encode().hex()}
        return "filled", given if self.random.random() < 0.5 else {**given, "block": self.random.randrange(1, 70)}

    def sealed_form(self):
        kind, dek, of = self.kind(), self.random.randbytes(32), context.row_context("t.c", self.text(4))
        sealed = sealing.sealed(self.plaintext(kind), of, dek, nonce=self.random.randbytes(24))
        return "open_as", {"data_key": dek.hex(), "sealed": sealed.hex(), "context": of, "type": kind}

    # -- search

    def normal_form(self):
        form = self.random.choice(["exact", "nfc", "casefold", "digits", "alnum", "email"])
        text = self.text()
        if form == "email" and self.random.random() < 0.7:
            text = self.text(5) + "@" + self.text(5)
        return "normal_form", {"form": form, "text": text, "is_piece": self.random.random() < 0.2}

    def text_rule(self):
        r = self.random
        kind = r.choice(["", f"prefix({r.randrange(1, 5)}) ", f"suffix({r.randrange(1, 5)}) ", "words ", f"parts({r.randrange(2, 5)}) "])
        return kind + r.choice(["exact", "nfc", "casefold", "digits", "alnum", "email"]) + "/1"

    def ordered(self):
        """A rule, and a type that it may be for."""
        r = self.random
        kind = r.choice(["int2", "int4", "int8", "float4", "float8", "numeric", "date", "time", "timestamp", "timestamptz"])
        subject = {
            "int2": "int",
            "int4": "int",
            "int8": "int",
            "float4": "float",
            "float8": "float",
            "numeric": f"numeric({r.randrange(-3, 8)})",
        }.get(kind, kind)
        bits = r.choice([r.randrange(1, 65), 64, 40])
        # A cover has up to 2^(trim + sparsity) nodes.
        trim = r.randrange(0, min(r.choice([13, 4, 4, 4, 4, 4, 4, 4, 4, 4]), bits))
        low = r.choice([0, r.randrange((1 << 64) - (1 << bits) + 1), max(0, min((1 << 63) - (1 << bits - 1), (1 << 64) - (1 << bits)))])
        rule = r.choice(
            [
                "days",
                f"steps({r.choice([1, 7, 900, 3600, r.randrange(1, 10**6)])})",
                "buckets",
                f"tree({r.randrange(1, 9)},{trim},{bits},{low})",
                f"tree({r.randrange(1, 4)},{trim},{bits},{low})",
            ]
        )
        return f"{rule} {subject}/1", kind

    def set_for(self, rule, kind):
        r = self.random
        if not rule.startswith("buckets") or r.random() < 0.1:
            return {} if r.random() < 0.97 else {"set": '{"set":1,"bounds":[],"classes":[[0]]}'}
        name = {"int2": "int8", "int4": "int8", "float4": "float8"}.get(kind, kind)
        subject = rules.Rule(rule)
        bounds = {}
        for _ in range(r.randrange(5)):
            form = self.a_form(name)
            try:
                at = ordinals.ordinal(name, form.encode(), subject.scale)
            except EnvelopeError:
                continue
            if isinstance(at, int):
                bounds[at] = form
        number = lambda: r.choice([r.randrange(20), r.randrange(1 << 32)])
        numbers = [number() for _ in range(12)] if r.random() < 0.05 else r.sample(range(30), 12)
        classes = [[numbers.pop() for _ in range(r.randrange(1, 3))] for _ in range(len(bounds) + 1)]
        of = {"set": number(), "bounds": [bounds[at] for at in sorted(bounds)], "classes": classes}
        former = [[number() for _ in range(r.randrange(2))] for _ in classes]
        if r.random() < 0.3 and any(former):
            of["former"] = former
        return {"set": json.dumps(of, separators=(",", ":"), ensure_ascii=False)}

    def payloads(self):
        r = self.random
        if r.random() < 0.5:
            kind, rule = r.choice(["text", "text", "text", "varchar", "bpchar", *SCALARS, "int4[]"]), self.text_rule()
            return "payloads", {"rule": r.choice([rule, rule, "exact/1"]), "type": kind, "plaintext": self.plaintext(kind).hex()}
        rule, kind = self.ordered()
        try:
            set = self.set_for(rule, kind)
        except EnvelopeError:
            set = {}
        kind = self.one_of_two(kind, r.choice(SCALARS), 0.97)
        return "payloads", {"rule": rule, "type": kind, "plaintext": self.plaintext(kind).hex(), **set}

    def asked(self):
        return "asked", {
            "rule": self.text_rule(),
            "op": self.random.choice(["=", "prefix", "suffix", "contains", "words", "like"]),
            "text": self.text(8),
        }

    def between(self):
        r = self.random
        rule, kind = self.ordered()
        try:
            set = self.set_for(rule, kind)
        except EnvelopeError:
            set = {}
        ends = [r.choice([None, self.a_form(kind), self.a_form(kind), self.edited(self.a_form(kind))]) for _ in range(2)]
        if r.random() < 0.3 and kind.startswith("int"):
            ends = [str(sorted([r.randrange(-500, 500), r.randrange(-500, 500)])[at]) for at in (0, 1)]
        return "asked_between", {"rule": rule, "type": kind, "low": ends[0], "high": ends[1], **set}

    def rule(self):
        rule = self.random.choice(
            [self.text_rule(), self.ordered()[0], self.random.choice(known_rules.RULES + known_rules.ORDERED + known_rules.NO_RULES)]
        )
        given = {"data_key": self.random.randbytes(32).hex(), "label": self.text(), "rule": self.edited(rule), "payload": self.some(30).hex()}
        return "term", given if self.random.random() < 0.7 else {**given, "n": self.random.randrange(40)}

    def tokens(self):
        given = {
            "data_key": self.random.randbytes(32).hex(),
            "label": self.text(),
            "rule": self.text_rule(),
            "payloads": [self.some(12).hex() for _ in range(self.random.randrange(5))],
        }
        return self.random.choice(["tokens", "stored"]), given

    def boundaries(self):
        rule, kind = self.ordered()
        while not rule.startswith("buckets"):
            rule, kind = self.ordered()
        set = self.set_for(rule, kind)
        if "set" in set and self.random.random() < 0.6:
            set = {"set": self.edited(set["set"])}
        return "payloads", {"rule": rule, "type": kind, "plaintext": self.a_form(kind).encode().hex(), **set}

    def sealed_boundaries(self):
        dek, label, rule = self.random.randbytes(32), self.text(), self.text_rule()
        of = "envelope/1 boundaries," + (context.netstring(label) + context.netstring(rule)).decode()
        sealed = sealing.sealed(self.text().encode(), of, dek, "envelope/1 boundaries", self.random.randbytes(24))
        return "open_boundaries", {
            "data_key": dek.hex(),
            "label": self.one_of_two(label, self.text()),
            "rule": rule,
            "sealed": self.damaged(sealed).hex(),
        }

    # -- keyrings, which the crate does not read

    def keyring(self):
        r = self.random
        deks = [r.randbytes(32) for _ in range(r.randrange(1, 4))]
        of = [sealing.SHOP, self.context()][r.random() < 0.3]
        try:
            wraps = [sealing.file_wrap(of, dek) for dek in deks]
        except EnvelopeError:
            of, wraps = sealing.SHOP, [sealing.file_wrap(sealing.SHOP, dek) for dek in deks]
        states = [r.choice(["active", "decrypt-only", "retired", "pending", "destroyed"]) for _ in deks]
        all_keys = [
            keyrings.a_key(
                dek,
                at + 1,
                state,
                [] if state == "destroyed" else [keyrings.a_wrap(keyrings.KEK_FILE, self.one_of_two(wrapped, self.damaged(wrapped)), of)],
                r.choice(["seal", "seal", "index"]),
            )
            for at, (dek, state, wrapped) in enumerate(zip(deks, states, wraps))
        ]
        # A copy, as its parts are others' as well.
        document = copy.deepcopy(keyrings.a_document([keyrings.a_keyring(all_keys)]))
        if r.random() < 0.5:
            self.change(document)
        given = {"document": self.one_of_two(document, json.dumps(document)), "unwrappers": {"file://": {"file": sealing.KEK.hex()}}}
        if r.random() < 0.2:
            return "keyring_index_keys", given
        return "keyring_open", {
            **given,
            "sealed": self.damaged(sealing.sealed(b"abc", "", r.choice(deks), nonce=r.randbytes(24))).hex(),
            "context": "",
        }

    def change(self, of):
        """One thing somewhere in a document."""
        r = self.random
        while True:
            at = r.choice(list(of) if isinstance(of, dict) else range(len(of))) if of else None
            if at is None:
                return
            if isinstance(of[at], (dict, list)) and of[at] and r.random() < 0.75:
                of = of[at]
                continue
            how = r.random()
            if how < 0.3:
                del of[at]
            elif how < 0.6 and isinstance(of[at], str):
                of[at] = self.edited(of[at])
            else:
                of[at] = r.choice([None, 1, "x", [], {}, True, "active", of[at]])
            return


def is_same(question, answers):
    """Of the readers, and of the crate if it has one. Of floats it reads more texts than PostgreSQL writes."""
    python, javascript, crate = answers
    if python != javascript:
        return False
    if crate is None or python == crate:
        return True
    return "float" in question["with"].get("type", "") and python == {"fails": "no_form"}


def run(seed, count, commands):
    """Disagreements, and how often a question was answered by a value."""
    fuzz = Fuzz(seed)
    questions = [{"do": do, "with": given} for do, given in (fuzz.question() for _ in range(count))]
    answers = readers.ask_all(commands, questions)
    wrong = [(question, found) for question, found in zip(questions, answers) if not is_same(question, found)]
    return wrong, sum("gives" in found[0] for found in answers), sum(found[2] is not None for found in answers)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    commands, ends = [readers.python(), readers.javascript(), readers.crate()], time.monotonic() + a.seconds
    tried = opened = by_crate = disagreements = 0
    seed = a.seed
    while time.monotonic() < ends:
        wrong, gave, crate = run(seed, PORTION, commands)
        tried, opened, by_crate, disagreements = tried + PORTION, opened + gave, by_crate + crate, disagreements + len(wrong)
        for question, answers in wrong[:20]:
            print(json.dumps({"seed": seed, **question, "answers": answers}), flush=True)
        seed += 1
        if seed % 20 == 0:
            print(
                f"{tried} tried, {opened} answered by a value, {by_crate} by the crate as well, {disagreements} disagreements",
                file=sys.stderr,
                flush=True,
            )
    print(
        f"{tried} tried, {opened} answered by a value, {by_crate} by the crate as well, {disagreements} disagreements; seeds {a.seed} to {seed - 1}"
    )
    sys.exit(disagreements > 0)


if __name__ == "__main__":
    main()
