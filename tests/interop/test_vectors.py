"""The reference reader against the format's vectors: a check of both."""

import json
import uuid

import pytest

from harness.place import ROOT
from interop import open as reader

VECTORS = json.loads((ROOT / "tests/vectors/envelope-1.json").read_text())


def named(vectors):
    return [pytest.param(v, id=v.get("note", str(i))) for i, v in enumerate(vectors)]


@pytest.mark.parametrize("v", named(VECTORS["values"]))
def test_sealed_value(v):
    dek, sealed = bytes.fromhex(v["dek"]), bytes.fromhex(v["sealed"])
    if not v["opens"]:
        with pytest.raises(reader.DoesNotOpen):
            reader.open_value(dek, sealed, v["context"])
        return
    assert str(uuid.UUID(bytes=reader.key_id(dek))) == v["key_id"]
    assert reader.open_value(dek, sealed, v["context"]) == bytes.fromhex(v["plaintext"])


@pytest.mark.parametrize("v", named(VECTORS["file_wraps"]))
def test_file_wrap(v):
    kek, wrapped = bytes.fromhex(v["kek"]), bytes.fromhex(v["wrapped"])
    if not v["unwraps"]:
        with pytest.raises(reader.DoesNotOpen):
            reader.unwrap(kek, wrapped, v["encryption_context"])
        return
    assert reader.canonical(v["encryption_context"]).hex() == v["canonical"]
    assert reader.unwrap(kek, wrapped, v["encryption_context"]) == bytes.fromhex(v["dek"])
