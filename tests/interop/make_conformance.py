#!/usr/bin/env python3
"""Writes tests/vectors/conformance-1.json: a named vector for every kind of value, wrap, context, term and token, and for every
malformation.

    PYTHONPATH=tests:interop/python target/venv/bin/python tests/interop/make_conformance.py
"""

import json
import pathlib

from interop.conformance import keyrings, search, typed, values, wraps
from interop.conformance.vector import VECTORS

FILE = pathlib.Path(__file__).parents[1] / "vectors/conformance-1.json"
PARTS = [values.values, values.row_contexts, typed.typed, wraps.contexts, wraps.wraps, keyrings.keyrings, search.search]


def make():
    VECTORS.clear()
    for part in PARTS:
        part()
    names = [v["name"] for v in VECTORS]
    assert len(set(names)) == len(names), [name for name in names if names.count(name) > 1]
    return VECTORS


def write(vectors):
    return '{\n"format": "envelope/1 conformance",\n"vectors": [\n' + ",\n".join(json.dumps(v) for v in vectors) + "\n]\n}\n"


if __name__ == "__main__":
    FILE.write_text(write(make()))
