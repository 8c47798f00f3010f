"""The reference for wraps of tokens and key servers against its vectors."""

import json

import pytest

from harness.place import ROOT
from interop import kms_wraps
from interop.open import DoesNotOpen

VECTORS = json.loads((ROOT / "tests/vectors/kms-wraps-1.json").read_text())
# By other hands: the encryption contexts as JSON.
CONTEXTS = json.loads((ROOT / "tests/vectors/search-1.json").read_text())["encryption_contexts"]


@pytest.mark.parametrize("v", [pytest.param(v, id=v["note"]) for v in VECTORS["wraps"]])
def test_wrap(v):
    kek, wrapped, context = bytes.fromhex(v["kek"]), bytes.fromhex(v["wrapped"]), v["encryption_context"]
    assert kms_wraps.associated_data(context).decode() == v["associated_data"]
    if v["unwraps"]:
        assert kms_wraps.unwrap(kek, wrapped, context) == bytes.fromhex(v["dek"])
        return
    with pytest.raises(DoesNotOpen) as error:
        kms_wraps.unwrap(kek, wrapped, context)
    assert (error.type is kms_wraps.NotAWrap) == (not v["parses"])


@pytest.mark.parametrize("v", CONTEXTS)
def test_context(v):
    assert kms_wraps.canonical(v["context"]) == v["form"]
