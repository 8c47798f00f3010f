"""The way out: data opened with stock tools, without the extension and without PostgreSQL."""

import base64
import json
import subprocess

from show import check, heading, say, shown

from harness import moto as kms, place


def open_without_us(cluster, endpoint):
    heading("Opened outside the database: `aws kms decrypt` and a page of Python")
    kek, context, wrapped = a_wrap(cluster)
    blob = cluster.base / "wrapped.bin"
    blob.write_bytes(wrapped)
    command = ["aws", "kms", "decrypt", "--key-id", kek.removeprefix("aws-kms://"),
               "--ciphertext-blob", f"fileb://{blob}", "--encryption-context", json.dumps(context)]
    say("$ " + " ".join(command))
    answer = run([place.VENV_BIN / "aws", *command[1:], "--output", "json"], env=kms.cli_env(endpoint))
    open_with(cluster, json.loads(answer)["Plaintext"])


def open_by_bao(cluster, kek, jwt_file):
    heading("Opened outside the database: `bao write transit/decrypt` and a page of Python")
    address, _, name = kek.removeprefix("vault+http://").partition("/")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(cluster.base), "BAO_ADDR": f"http://{address}"}
    login = ["write", "-field=token", "auth/jwt/login", "role=demo", f"jwt=@{jwt_file}"]
    token = run([place.OPENBAO, *login], env=env)
    _, context, wrapped = a_wrap(cluster)
    # As the extension sends it: its keys in the order of their bytes, and no spaces.
    text = json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    command = ["bao", "write", "-field=plaintext", f"transit/decrypt/{name.rpartition('/')[2]}",
               f"ciphertext={wrapped.decode()}", f"context={base64.b64encode(text.encode()).decode()}"]
    say(f"The context is {text}", "$ " + " ".join(command))
    open_with(cluster, run([place.OPENBAO, *command[1:]], env={**env, "BAO_TOKEN": token.strip()}))


def a_wrap(cluster):
    """Of the only data key."""
    with cluster.connect() as c:
        return c.execute(shown("SELECT kek, kms_context, wrapped FROM envelope.wrapped_key")).fetchone()


def open_with(cluster, plaintext):
    """A value, with a data key in base64."""
    sealed, opened = cluster.sql(
        "SELECT name, envelope_decrypt_text('language', name) FROM language WHERE code = 'vol'")[0]
    dek = base64.b64decode(plaintext).hex()
    say("$ tests/interop/open.py --dek … --sealed " + sealed.hex()[:40] + "…")
    reader = place.ROOT / "tests/interop/open.py"
    text = run([place.VENV_BIN / "python", reader, "--dek", dek, "--sealed", sealed.hex()])
    say(text)
    check(text == opened, "the same as the database opens")


def run(argv, **kw):
    return subprocess.run([str(a) for a in argv], check=True, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, **kw).stdout
