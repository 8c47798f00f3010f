"""The code of docs/open-elsewhere.md and of the readers' READMEs, as it stands; the KMS is a stand-in."""

import json
import re
import subprocess
import sys
import types

import pytest
from envelope_reader import context
from interop import readers
from interop.conformance import keyrings, sealing
from interop.conformance.vector import some

PAGE = readers.ROOT / "docs/open-elsewhere.md"
ROW = context.row_context("patients.ssn", "7")
# `call  # what it gives`, in either language.
SHOWN = re.compile(r"^(?:await )?(keyring\.\w+\(.*?\));? *(?:#|//) ('.*')$", re.M)
KMS = """
export class DecryptCommand { constructor(input) { this.input = input; } }
export class KMSClient { async send({ input }) {
  if (JSON.stringify(input.EncryptionContext) !== process.env.CONTEXT) throw new Error('denied');
  return { Plaintext: Buffer.from(process.env.DEK, 'hex') };
} }
"""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.S | re.M)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """An export, and the values of a row."""
    index = some("index key")
    by_kms = [keyrings.a_wrap(keyrings.ARN, keyrings.BLOB)]
    by_file = f"file://{tmp_path}/kek"
    keys = [keyrings.a_key(sealing.DEK, 1, "active", [*by_kms, keyrings.a_wrap(by_file, sealing.file_wrap(sealing.SHOP))]),
            keyrings.a_key(index, 1, "active", [keyrings.a_wrap(by_file, sealing.file_wrap(sealing.SHOP, index))], "index")]
    (tmp_path / "kek").write_bytes(sealing.KEK)
    (tmp_path / "keyring.json").write_text(json.dumps(keyrings.a_document([keyrings.a_keyring(keys)])))
    monkeypatch.chdir(tmp_path)
    return {"ssn": sealing.sealed(b"123-45-6789", ROW), "born": sealing.sealed(b"1815-12-10   "), "context": ROW}


def a_client(name):
    assert name == "kms"

    def decrypt(KeyId, CiphertextBlob, EncryptionContext):
        assert (f"aws-kms://{KeyId}", CiphertextBlob, EncryptionContext) == (keyrings.ARN, keyrings.BLOB, sealing.SHOP)
        return {"Plaintext": sealing.DEK}
    return types.SimpleNamespace(decrypt=decrypt)


def test_the_pages_python(given, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", types.SimpleNamespace(client=a_client))
    opening, searching = blocks(PAGE, "python")
    names = {"ssn": given["ssn"].hex(), "born": given["born"].hex(), "context": ROW}
    exec(opening, names)
    shown = SHOWN.findall(opening)
    assert len(shown) == 2
    for call, value in shown:
        assert eval(call, names) == eval(value)
    # Its index keys are under a key file.
    names["keyring"].unwrappers["file://"] = lambda wrapped, of, kek: some("index key")
    exec(searching, names)
    assert [len(term) for term in names["terms"]] == [18]


def test_the_readmes_python(given):
    [block] = blocks(readers.ROOT / "interop/python/README.md", "python")
    names = {"sealed": given["born"], "context": ""}
    exec(block, names)
    [(call, value)] = SHOWN.findall(block)
    assert eval(call, names) == eval(value)


@pytest.mark.parametrize("page", ["docs/open-elsewhere.md", "interop/javascript/README.md"])
def test_javascript(given, tmp_path, page):
    [block] = blocks(readers.ROOT / page, "javascript")
    kms = tmp_path / "node_modules/@aws-sdk/client-kms"
    kms.mkdir(parents=True)
    (kms / "package.json").write_text('{"type": "module", "exports": "./index.js"}')
    (kms / "index.js").write_text(KMS)
    (tmp_path / "node_modules/envelope-reader").symlink_to(readers.ROOT / "interop/javascript")
    shown = SHOWN.findall(block)
    assert shown
    sealed = given["ssn"] if "ssn" in block else given["born"]
    values = f"const ssn = '{sealed.hex()}', sealed = Buffer.from(ssn, 'hex'), context = {json.dumps(ROW if 'ssn' in block else '')};\n"
    checks = "".join(f"if (await {call} !== {value}) process.exit(1);\n" for call, value in shown)
    env = {"CONTEXT": json.dumps(sealing.SHOP, separators=(",", ":")), "DEK": sealing.DEK.hex()}
    # Imports come first wherever they stand.
    (tmp_path / "page.mjs").write_text(values + block + checks)
    subprocess.run([readers.node(), "page.mjs"], cwd=tmp_path, env=env, check=True)
