"""Answers the questions of the conformance vectors: JSON lines in, JSON lines out. Bytes are hex, 64-bit numbers text."""

import json
import sys

import envelope_reader as reader
from envelope_reader import ordinals, payloads, terms, types
from envelope_reader.normal import normal_form

raw = bytes.fromhex


class Refused(Exception):
    """What a caller's own function raises."""


def shown(value):
    """What `decode` gave: bytes as text, like in arrays."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    return "\\x" + value.hex() if isinstance(value, bytes) else value


def hexes(found):
    """In any order."""
    return None if found is None else sorted(one.hex() for one in found)


def unwrapper(how):
    """A key file, a token's key, or a KMS that answers to what it knows."""
    if "file" in how:
        return lambda wrapped, context, kek: reader.unwrap_by_file(raw(how["file"]), wrapped, context)
    if "token" in how:
        return lambda wrapped, context, kek: reader.unwrap_by_token_key(raw(how["token"]), wrapped, context)

    def ask(wrapped, context, kek):
        found = how["answers"].get(f"{wrapped.hex()} {reader.context_json(context)}")
        if found is None:
            raise Refused
        return raw(found)
    return ask


def keyring(document, unwrappers, **_):
    return reader.Keyring(document, {kek: unwrapper(how) for kek, how in unwrappers.items()})


def boundaries(rule, of):
    return None if of is None else reader.Boundaries(rule, of)


def bytes_or_none(text):
    return None if text is None else text.encode()


ANSWERS = {
    "key_id": lambda data_key: str(reader.keys.text_of(reader.key_id(raw(data_key)))),
    "kek_id": lambda kek: reader.keys.text_of(reader.kek_id(raw(kek))),
    "named_key": lambda sealed: reader.named_key(raw(sealed)),
    "open_value": lambda data_key, sealed, context: reader.open_value(raw(data_key), raw(sealed), context).hex(),
    "open_as": lambda data_key, sealed, context, type: shown(
        reader.decode(type, reader.open_value(raw(data_key), raw(sealed), context))),
    "decode": lambda type, plaintext: shown(reader.decode(type, raw(plaintext))),
    "decode_text": lambda plaintext: reader.decode_text(raw(plaintext)),
    "filled": lambda type, form, block=None: reader.filled(type, raw(form), block).hex(),
    "row_context": lambda tag, parts: reader.row_context(tag, *parts),
    "context_json": lambda context: reader.context_json(context),
    "context_bytes": lambda context: reader.context_bytes(context).hex(),
    "context_transit": lambda context: reader.context_transit(context),
    "unwrap_by_file": lambda kek, wrapped, context: reader.unwrap_by_file(raw(kek), raw(wrapped), context).hex(),
    "unwrap_by_token_key": lambda kek, wrapped, context: reader.unwrap_by_token_key(raw(kek), raw(wrapped), context).hex(),
    "token_associated_data": lambda context: reader.token_associated_data(context).decode(),
    "keyring_open": lambda sealed, context="", **of: keyring(**of).open(raw(sealed), context).hex(),
    "keyring_index_keys": lambda **of: [key.hex() for key in keyring(**of).index_keys()],
    "normal_form": lambda form, text, is_piece=False: normal_form(form, text, is_piece),
    "ordinal": lambda type, form, scale=None: str(ordinals.ordinal(types.Type(type).name, form.encode(), scale)),
    "payloads": lambda rule, type, plaintext, set=None: hexes(
        payloads.payloads(rule, type, raw(plaintext), boundaries(rule, set))),
    "asked": lambda rule, op, text: hexes(payloads.asked(rule, op, text)),
    "asked_between": lambda rule, type, low, high, set=None: hexes(
        payloads.asked_between(rule, type, bytes_or_none(low), bytes_or_none(high), boundaries(rule, set))),
    "term": lambda data_key, label, rule, payload, n=None: terms.IndexKey(raw(data_key)).term(label, rule, raw(payload), n).hex(),
    "marker": lambda data_key: str(terms.IndexKey(raw(data_key)).marker),
    "tokens": lambda data_key, label, rule, payloads: [
        str(one) for one in terms.IndexKey(raw(data_key)).tokens(label, rule, [raw(payload) for payload in payloads])],
    "stored": lambda data_key, label, rule, payloads: [
        str(one) for one in terms.IndexKey(raw(data_key)).stored(label, rule, [raw(payload) for payload in payloads])],
    "open_boundaries": lambda data_key, label, rule, sealed: reader.open_boundaries(raw(data_key), label, rule, raw(sealed)),
}


def answer(do, given):
    try:
        return {"gives": ANSWERS[do](**given)}
    except reader.EnvelopeError as error:
        return {"fails": error.name}
    except Refused:
        return {"fails": "refused"}


def main():
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(answer(question["do"], question["with"])), flush=True)


if __name__ == "__main__":
    main()
