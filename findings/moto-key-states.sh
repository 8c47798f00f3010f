#!/usr/bin/env bash
# moto: AWS KMS refuses a key that is disabled, waits for its deletion, or has no imported key material yet ("Key states of AWS
# KMS keys" in its Developer Guide: DisabledException, KMSInvalidStateException). One would expect that of moto, whose
# DescribeKey tells the first two states.
#
# Seen with moto 5.2.5 (PyPI): Encrypt, Decrypt, GenerateDataKey and ReEncrypt work all the same. A key that waits for material
# counts as Enabled. EnableKey takes a key out of its deletion, which AWS leaves to CancelKeyDeletion. A test that disables
# a key to see what an application does without it sees that nothing happens.
#
# Here: docs/application-ci.md says so. Such tests stop moto instead.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install 'moto[kms]==5.2.5' boto3
cat >"$work/run.py" <<'PYTHON'
import os

os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", HOME="/nonexistent")

import boto3
import moto
from botocore.exceptions import ClientError


def outcome(call, **asked):
    try:
        call(**asked)
        return "done"
    except ClientError as e:
        return e.response["Error"]["Code"]


print("moto", moto.__version__)
with moto.mock_aws():
    client = boto3.client("kms", region_name="eu-central-1")

    def create(**asked):
        return client.create_key(**asked)["KeyMetadata"]["KeyId"]

    def state(key):
        return client.describe_key(KeyId=key)["KeyMetadata"]["KeyState"]

    other = create()
    disabled, deleted, imported = create(), create(), create(Origin="EXTERNAL")
    client.disable_key(KeyId=disabled)
    client.schedule_key_deletion(KeyId=deleted, PendingWindowInDays=7)
    seen = {}
    for key in (disabled, deleted, imported):
        wrap = client.encrypt(KeyId=key, Plaintext=b"x" * 32)["CiphertextBlob"]
        seen[state(key)] = [
            outcome(client.decrypt, CiphertextBlob=wrap),
            outcome(client.generate_data_key, KeyId=key, KeySpec="AES_256"),
            outcome(client.re_encrypt, CiphertextBlob=wrap, DestinationKeyId=other),
        ]
        print(f"{state(key)}: Encrypt done, Decrypt, GenerateDataKey, ReEncrypt {seen[state(key)]}")
    enabling = outcome(client.enable_key, KeyId=deleted)
    print(f"EnableKey while the deletion is pending: {enabling}, then {state(deleted)}")
    assert state(imported) == "Enabled"
    assert (enabling, state(deleted)) == ("done", "Enabled")
assert sorted(seen) == ["Disabled", "Enabled", "PendingDeletion"]
assert all(answers == ["done"] * 3 for answers in seen.values())
print("as described")
PYTHON
"$work/venv/bin/python" "$work/run.py"
