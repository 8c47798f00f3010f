"""The vectors of other hands, and those that the first reference made, as questions and answers that every reader is asked."""

import json
import pathlib

VECTORS = pathlib.Path(__file__).parents[1] / "vectors"


def read(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def asked(name, do, given, gives=None, fails=None):
    """`fails` is True where the file does not say how."""
    return {"name": name, "do": do, "with": given, **({"fails": fails} if fails else {"gives": gives})}


def envelope_1():
    vectors = read("envelope-1")
    for i, v in enumerate(vectors["values"]):
        name = f"envelope-1 value {i}: {v['note']}"
        given = {"data_key": v["dek"], "sealed": v["sealed"], "context": v["context"]}
        yield asked(name, "open_value", given, v["plaintext"], not v["opens"])
        if v["opens"]:
            yield asked(name, "key_id", {"data_key": v["dek"]}, v["key_id"])
            yield asked(name, "named_key", {"sealed": v["sealed"]}, v["key_id"])
    for i, v in enumerate(vectors["file_wraps"]):
        name = f"envelope-1 file wrap {i}"
        given = {"kek": v["kek"], "wrapped": v["wrapped"], "context": v["encryption_context"]}
        yield asked(name, "unwrap_by_file", given, v["dek"], not v["unwraps"])
        if v["unwraps"]:
            yield asked(name, "context_bytes", {"context": v["encryption_context"]}, v["canonical"])
    for i, v in enumerate(vectors["row_contexts"]):
        yield asked(f"envelope-1 row context {i}", "row_context", {"tag": v["tag"], "parts": v["values"]}, v["context"])


    for i, v in enumerate(vectors["index_terms"]):
        given = {"data_key": v["index_dek"], "label": v["label"], "rule": v["rule"], "payload": v["value"], "n": v["n"]}
        yield asked(f"envelope-1 index term {i}", "term", given, v["term"])


def contexts_1():
    for v in read("contexts-1")["contexts"] + read("search-1")["encryption_contexts"]:
        yield asked("contexts-1", "context_json", {"context": v["context"]}, v["form"])
        if "transit" in v:
            yield asked("contexts-1", "context_transit", {"context": v["context"]}, v["transit"])


def kms_wraps_1():
    for v in read("kms-wraps-1")["wraps"]:
        name = f"kms-wraps-1 {v['note']}"
        given = {"kek": v["kek"], "wrapped": v["wrapped"], "context": v["encryption_context"]}
        failure = "not_a_wrap" if not v["parses"] else "does_not_open"
        yield asked(name, "unwrap_by_token_key", given, v["dek"], None if v["unwraps"] else failure)
        if v["unwraps"]:
            yield asked(name, "token_associated_data", {"context": v["encryption_context"]}, v["associated_data"])


def form(text):
    return text.encode().hex()


def search_1():
    vectors = read("search-1")
    key, after = vectors["index_dek"], vectors["next_index_dek"]
    yield asked("search-1 marker", "marker", {"data_key": key}, str(vectors["marker"]))
    yield asked("search-1 next marker", "marker", {"data_key": after}, str(vectors["next_marker"]))
    for v in vectors["normal_forms"]:
        for one in ("exact", "nfc", "casefold", "digits", "alnum", "email"):
            fails = {"email": "no_address"}.get(one, "empty") if v[one] is None else None
            yield asked(f"search-1 {one} of {v['value']!a}", "normal_form", {"form": one, "text": v["value"]}, v[one], fails)
    for v in vectors["terms"]:
        name = f"search-1 {v['rule']} of {v['value']!a}"
        given = {"rule": v["rule"], "type": "text", "plaintext": form(v["value"])}
        yield asked(name, "payloads", given, [v["payload"]])
        yield asked(name, "term", {"data_key": key, "label": v["label"], "rule": v["rule"], "payload": v["payload"], "n": v["n"]}, v["term"])
    for v in vectors["token_sets"]:
        name = f"search-1 {v['rule']} of {v['value']!a}"
        found = sorted({form(piece) for piece in v["pieces"]})
        yield asked(name, "payloads", {"rule": v["rule"], "type": "text", "plaintext": form(v["value"])}, found)
        of = {"data_key": key, "label": v["label"], "rule": v["rule"], "payloads": found}
        yield asked(name, "stored", of, [str(one) for one in v["stored"]])
        if found:
            yield asked(name, "tokens", of, [str(one) for one in v["tokens"]])
    for v in vectors["tree"] + vectors["tree_outside"]:
        found = v.get("payloads") or [v["payload"]]
        of = {"data_key": key, "label": v["label"], "rule": v["rule"], "payloads": found}
        yield asked("search-1 tree", "stored", of, [str(one) for one in v["stored"]])
    for v in vectors["ordered_terms"]:
        of = {"data_key": key, "label": v["label"], "rule": v["rule"], "payload": v["payload"], "n": 8}
        yield asked(f"search-1 {v['rule']}", "term", of, v["term"])
    for v in vectors["rotation"]:
        for of, tokens in ((key, v["tokens_now"]), (after, v["tokens_next"])):
            payloads = [form(one) for one in ("\2mü", "mül", "üll", "lle", "ler", "er\3")]
            yield asked("search-1 rotation", "tokens", {"data_key": of, "label": "people.name", "rule": v["rule"], "payloads": payloads},
                        [str(one) for one in tokens])
    for kind in ("float8", "float4"):
        for v in vectors[kind]:
            yield asked(f"search-1 {kind} {v['form']}", "decode", {"type": kind, "plaintext": form(v["form"])}, v["form"])
            if "index" in v:
                given = {"rule": "exact/1", "type": kind, "plaintext": form(v["form"])}
                yield asked(f"search-1 {kind} {v['form']}", "payloads", given, [form(v["index"])])
    for v in vectors["timestamptz"]:
        yield asked(f"search-1 {v['form']}", "decode", {"type": "timestamptz", "plaintext": form(v["padded"])}, v["form"])
    for v in vectors["interval"]:
        yield asked(f"search-1 {v['form']}", "decode", {"type": "interval", "plaintext": form(v["form"])}, v["form"])
        given = {"rule": "exact/1", "type": "interval", "plaintext": form(v["form"])}
        yield asked(f"search-1 {v['form']}", "payloads", given, [form(v["index"])])
    for v in vectors["numeric_index"]:
        # No form of a numeric: PostgreSQL has no -0 there.
        if v["form"] == "-0.0":
            continue
        given = {"rule": "exact/1", "type": "numeric", "plaintext": form(v["form"])}
        yield asked(f"search-1 {v['form']}", "payloads", given, [form(v["index"])])
    for v in vectors["arrays"]:
        yield asked(f"search-1 {v['form']}", "decode", {"type": "text[]", "plaintext": form(v["form"])}, v["value"])
    for v in vectors["padding"]:
        filled = v.get("padded_hex") or form(v["padded"])
        yield asked(f"search-1 {v['type']} in {v['block']}", "filled", {"type": v["type"], "form": form(v["form"]), "block": v["block"]}, filled)
        yield asked(f"search-1 {v['type']} in {v['block']}", "decode", {"type": v["type"], "plaintext": filled}, v["form"])


def search_2():
    vectors = read("search-2")
    key, label = vectors["index_dek"], vectors["label"]
    for v in vectors["typed"]:
        name = f"search-2 {v['rule']} of {v['type']} {v['form']}"
        yield asked(name, "payloads", {"rule": v["rule"], "type": v["type"], "plaintext": form(v["form"])}, sorted(v["payloads"]))
        if "stored" in v:
            given = {"data_key": key, "label": label, "rule": v["rule"], "payloads": v["payloads"]}
            yield asked(name, "stored", given, [str(one) for one in v["stored"]])
        else:
            given = {"data_key": key, "label": label, "rule": v["rule"], "payload": v["payloads"][0]}
            yield asked(name, "term", given, v["term"])
    for v in vectors["ordinals"]:
        given = {"type": v["type"], "form": v["form"], "scale": v["scale"]}
        yield asked(f"search-2 ordinal of {v['form']}", "ordinal", given, str(v["ordinal"]), "no_form" if v["ordinal"] is None else None)
    refusals = {"no answer": "no_answer", "too short": "too_short", "empty": "empty", "no address": "no_address", "too wide": "too_wide"}
    for v in vectors["queries"]:
        given = {"rule": v["rule"], "op": v["op"], "text": v["text"]}
        fails = refusals[v["refused"]] if "refused" in v else None
        yield asked(f"search-2 {v['rule']} {v['op']}", "asked", given, fails or sorted(v["payloads"]), fails)
    for v in vectors["ranges"]:
        given = {"rule": v["rule"], "type": v["type"], "low": v["low"], "high": v["high"]}
        if "count" not in v:
            fails = refusals[v["refused"]] if "refused" in v else None
            yield asked(f"search-2 {v['rule']} from {v['low']} to {v['high']}", "asked_between", given, fails or sorted(v["payloads"]), fails)
    for v in vectors["boundary_sets"]:
        given = {"data_key": key, "label": v["label"], "rule": v["rule"], "sealed": v["sealed"]}
        yield asked(f"search-2 {v['rule']}", "open_boundaries", given, v["text"])


def all_known():
    return [*envelope_1(), *contexts_1(), *kms_wraps_1(), *search_1(), *search_2()]


def agrees(vector, answer):
    return "fails" in answer if vector.get("fails") is True else answer == {k: vector[k] for k in ("gives", "fails") if k in vector}
