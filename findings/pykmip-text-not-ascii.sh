#!/usr/bin/env bash
# PyKMIP: texts of KMIP are UTF-8 (specification 1.4, section 9.1.1.3). One would expect that a name such as "clé" is
# written and read like any other.
#
# Seen with PyKMIP 0.11.0 (PyPI): texts are taken apart into single bytes when they are read, and into single characters
# when they are written, and each is decoded or packed alone. What is not ASCII can be neither written nor read. A server
# answers such a request with Invalid Message.
#
# Here: unique identifiers of keys are ASCII on every server that was met, and that is what tests name keys by.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install PyKMIP==0.11.0
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata

from kmip.core import primitives, utils

print("PyKMIP", importlib.metadata.version("PyKMIP"))


def written(text):
    """Tag, type, length, and the text filled up to 8 bytes."""
    raw = text.encode()
    return b"\x42\x00\x00\x07" + len(raw).to_bytes(4, "big") + raw + bytes(-len(raw) % 8)


def outcome(run):
    try:
        return run()
    except Exception as error:
        return type(error).__name__


def write(text):
    stream = utils.BytearrayStream()
    primitives.TextString(text).write(stream)
    return stream.buffer == written(text)


def read(text):
    item = primitives.TextString()
    item.read(utils.BytearrayStream(written(text)))
    return item.value == text


seen = [(text, outcome(lambda: write(text)), outcome(lambda: read(text))) for text in ("key", "cl\u00e9")]
for text, writing, reading in seen:
    print(f"{text}: written {writing}, read {reading}")
assert seen == [("key", True, True), ("cl\u00e9", "error", "UnicodeDecodeError")], "otherwise"
PYTHON
echo "as described"
