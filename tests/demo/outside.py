"""The way out: data opened with stock tools, without the extension and without PostgreSQL."""

import base64
import json
import subprocess

from show import check, heading, say, shown

from harness import moto as kms, place


def open_without_us(cluster, endpoint):
    heading("Opened outside the database: `aws kms decrypt` and a page of Python")
    with cluster.connect() as c:
        kek, context, wrapped = c.execute(shown(
            "SELECT kek, kms_context, wrapped FROM envelope.wrapped_key")).fetchone()
        sealed, opened = c.execute(
            "SELECT name, envelope_decrypt_text('language', name) FROM language WHERE code = 'vol'").fetchone()
    blob = cluster.base / "wrapped.bin"
    blob.write_bytes(wrapped)
    command = ["aws", "kms", "decrypt", "--key-id", kek.removeprefix("aws-kms://"),
               "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", json.dumps(context)]
    say("$ " + " ".join(command))
    answer = run([place.VENV_BIN / "aws", *command[1:], "--output", "json"], env=kms.cli_env(endpoint))
    dek = base64.b64decode(json.loads(answer)["Plaintext"]).hex()
    say("$ tests/interop/open.py --dek … --sealed " + sealed.hex()[:40] + "…")
    reader = place.ROOT / "tests/interop/open.py"
    text = run([place.VENV_BIN / "python", reader, "--dek", dek, "--sealed", sealed.hex()])
    say(text)
    check(text == opened, "the same as the database opens")


def run(argv, **kw):
    return subprocess.run([str(a) for a in argv], check=True, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, **kw).stdout
