#!/usr/bin/env bash
# moto: the calls of AWS KMS take DryRun, which asks whether a call would be allowed, and does nothing. AWS answers
# DryRunOperationException where it would ("Testing your permissions" in its Developer Guide). So a check by DryRun
# takes that error for yes, and one would expect it of moto or an error that says that it has no such parameter.
#
# Seen with moto 5.2.5 (PyPI): DryRun counts for nothing. GenerateDataKey and Decrypt hand out the key in clear, and
# RevokeGrant takes the grant away. A check that waits for the error says no to a key that works.
#
# Here: envelope.check_kek does not ask by DryRun. It wraps and opens a key of its own.
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
        return "in clear" if "Plaintext" in call(DryRun=True, **asked) else "done"
    except ClientError as e:
        return e.response["Error"]["Code"]


print("moto", moto.__version__)
with moto.mock_aws():
    client = boto3.client("kms", region_name="eu-central-1")
    key = client.create_key()["KeyMetadata"]["KeyId"]
    wrap = client.encrypt(KeyId=key, Plaintext=b"x" * 32)["CiphertextBlob"]
    grant = client.create_grant(KeyId=key, GranteePrincipal="arn:aws:iam::123456789012:role/app", Operations=["Decrypt"])
    seen = {
        "Encrypt": outcome(client.encrypt, KeyId=key, Plaintext=b"x"),
        "GenerateDataKey": outcome(client.generate_data_key, KeyId=key, KeySpec="AES_256"),
        "Decrypt": outcome(client.decrypt, CiphertextBlob=wrap),
        "RevokeGrant": outcome(client.revoke_grant, KeyId=key, GrantId=grant["GrantId"]),
    }
    left = len(client.list_grants(KeyId=key)["Grants"])
for call, answer in seen.items():
    print(f"{call} with DryRun: {answer}")
print("grants left:", left)
assert seen == {"Encrypt": "done", "GenerateDataKey": "in clear", "Decrypt": "in clear", "RevokeGrant": "done"} and left == 0
print("as described")
PYTHON
"$work/venv/bin/python" "$work/run.py"
