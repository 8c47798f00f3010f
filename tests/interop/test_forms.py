"""The reference reader of canonical forms against their vectors: a check of both."""

import json
import math
import struct

import pytest

from harness.place import ROOT
from interop import forms

VECTORS = json.loads((ROOT / "tests/vectors/search-1.json").read_text())


@pytest.mark.parametrize("v", VECTORS["dates"], ids=lambda v: v["form"])
def test_date(v):
    assert forms.read("date", v["padded"].encode()) == forms.read("date", v["form"].encode()) == v["days"]


@pytest.mark.parametrize("v", VECTORS["timestamptz"], ids=lambda v: v["form"])
def test_timestamptz(v):
    assert forms.read("timestamptz", v["padded"].encode()) == v["us"]


@pytest.mark.parametrize("v", VECTORS["interval"], ids=lambda v: v["form"])
def test_interval(v):
    assert forms.read("interval", v["form"].encode()) == (v["months"], v["days"], v["us"])


@pytest.mark.parametrize("kind, form", [("float8", ">d"), ("float4", ">f")])
def test_floats(kind, form):
    for v in VECTORS[kind]:
        expected = struct.unpack(form, bytes.fromhex(v["bits"]))[0]
        found = forms.read(kind, v["form"].encode())
        assert math.isnan(expected) and math.isnan(found) or struct.pack(form, found) == bytes.fromhex(v["bits"]), v


@pytest.mark.parametrize("v", VECTORS["arrays"], ids=lambda v: v["form"])
def test_array(v):
    assert forms.read("text[]", v["form"].encode()) == v["value"]


@pytest.mark.parametrize("v", VECTORS["padding"], ids=lambda v: f"{v['type']} {v['form']}")
def test_padding(v):
    if "padded_hex" in v:
        padded = bytes.fromhex(v["padded_hex"])
        assert forms.without_mark(padded) == v["form"].encode()
    else:
        padded = v["padded"].encode()
        assert forms.without_spaces(padded) == v["form"].encode()
    assert len(padded) % v["block"] == 0


@pytest.mark.parametrize("kind, form", [("date", "0000-01-01"), ("date", "2026-02-29"), ("time", "05:08:34.50"), ("bool", "TRUE"),
                                        ("timestamptz", "2026-11-30T05:08:34"), ("interval", "1D")])
def test_what_is_no_form(kind, form):
    with pytest.raises((forms.NoForm, KeyError)):
        forms.read(kind, form.encode())
