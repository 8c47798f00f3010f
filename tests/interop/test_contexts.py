"""The encryption context as text: the reference against vectors, those of other hands among them."""

import base64
import json

import pytest
from harness.place import ROOT
from interop import contexts

VECTORS = json.loads((ROOT / "tests/vectors/contexts-1.json").read_text())["contexts"]
# By other hands.
OTHERS = json.loads((ROOT / "tests/vectors/search-1.json").read_text())["encryption_contexts"]


@pytest.mark.parametrize("v", VECTORS + OTHERS, ids=lambda v: v["form"][:30].encode("unicode_escape").decode())
def test_form(v):
    form = contexts.canonical(v["context"])
    assert form == v["form"]
    # It is JSON, with nothing lost.
    assert json.loads(form) == v["context"]
    assert contexts.canonical(json.loads(form)) == form
    assert not any(c < " " for c in form)
    if "transit" in v:
        assert contexts.transit(v["context"]) == v["transit"]
        assert base64.b64decode(v["transit"]).decode() == form


@pytest.mark.parametrize("v", VECTORS, ids=lambda v: v["form"][:30].encode("unicode_escape").decode())
def test_what_other_rules_give(v):
    given = {name: rule(v["context"]) for name, rule in contexts.OTHERS.items()}
    assert {name: form for name, form in given.items() if form != v["form"]} == v["not"]


@pytest.mark.parametrize("rule", contexts.OTHERS)
def test_every_other_rule_is_caught(rule):
    """By a vector that differs in more than white space."""
    def squeezed(text):
        return text.replace(" ", "")

    assert [v for v in VECTORS if squeezed(v["not"].get(rule, v["form"])) != squeezed(v["form"])]
