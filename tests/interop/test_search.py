"""The reference of search against the vectors of another implementation, and against those that it made itself."""

import json

import pytest

from harness.place import ROOT
from interop import make_search_2, normal, search
from interop.normal import Refused

VECTORS = json.loads((ROOT / "tests/vectors/search-1.json").read_text())
KEY = search.Key(bytes.fromhex(VECTORS["index_dek"]))
NEXT = search.Key(bytes.fromhex(VECTORS["next_index_dek"]))


def test_keys():
    assert (KEY.index_key.hex(), KEY.id.hex(), KEY.marker) == (VECTORS["index_key"], VECTORS["key_id"], VECTORS["marker"])
    assert NEXT.marker == VECTORS["next_marker"]


@pytest.mark.parametrize("v", VECTORS["normal_forms"], ids=lambda v: ascii(v["value"]))
def test_normal_forms(v):
    for form in normal.FORMS:
        if v[form] is None:
            with pytest.raises(Refused):
                normal.normal(form, v["value"])
        else:
            assert normal.normal(form, v["value"]) == v[form]


def test_terms():
    for v in VECTORS["terms"]:
        payload, = search.of_text(v["rule"], v["value"])
        assert payload.hex() == v["payload"]
        assert KEY.term(v["label"], v["rule"], v["n"], payload).hex() == v["term"], v


def test_token_sets():
    for v in VECTORS["token_sets"]:
        payloads = search.of_text(v["rule"], v["value"])
        assert sorted(set(payloads)) == sorted(piece.encode() for piece in v["pieces"])
        assert KEY.stored(v["label"], v["rule"], payloads) == v["stored"], v


def test_trees():
    for v in VECTORS["tree"]:
        payloads = search.of_ordinal(v["rule"], v["days"] + search.HALF)
        assert [payload.hex() for payload in payloads] == v["payloads"]
        assert KEY.stored(v["label"], v["rule"], payloads) == v["stored"]
    for v in VECTORS["tree_outside"]:
        assert KEY.stored(v["label"], v["rule"], [search.outside(v["value"])]) == v["stored"]


def test_covers():
    for v in VECTORS["covers"]:
        found = search.cover([v["sparsity"], v["trim"], v["bits"], 0], v["a"], v["b"])
        assert [list(node) for node in found] == v["nodes"]


def test_ordered_terms():
    for v in VECTORS["ordered_terms"]:
        if "days" in v:
            payload, = search.of_ordinal(v["rule"], v["days"] + search.HALF)
            assert payload.hex() == v["payload"]
        assert KEY.term(v["label"], v["rule"], 8, bytes.fromhex(v["payload"])).hex() == v["term"]


@pytest.mark.parametrize("section, kind", [("numeric_index", "numeric"), ("float8", "float8"), ("interval", "interval")])
def test_index_forms(section, kind):
    for v in VECTORS[section]:
        assert search.index_form(kind, v["form"]) == v["index"], v


def test_rotation():
    for v in VECTORS["rotation"]:
        payloads = search.of_text(v["rule"], v["value"])
        for key, tokens in ((KEY, v["tokens_now"]), (NEXT, v["tokens_next"])):
            assert sorted({key.token("people.name", v["rule"], payload) for payload in payloads}) == tokens


def test_the_second_file_is_what_the_reference_makes():
    assert make_search_2.FILE.read_text() == make_search_2.write(make_search_2.make())


def test_boundary_sets_open():
    vectors = json.loads(make_search_2.FILE.read_text())
    for v in vectors["boundary_sets"]:
        opened = search.open_boundaries(bytes.fromhex(vectors["index_dek"]), v["label"], v["rule"], bytes.fromhex(v["sealed"]))
        assert opened == v["text"]
