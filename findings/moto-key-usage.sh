#!/usr/bin/env bash
# moto: an AWS KMS key has a usage and a spec for good. AWS refuses Encrypt under a key that signs or makes MACs, and
# GenerateDataKey under any key that is not symmetric ("Encrypt" and "GenerateDataKey" in its API Reference:
# InvalidKeyUsageException). One would expect that of moto, which keeps both and shows them in DescribeKey.
#
# Seen with moto 5.2.5 (PyPI): a key of any kind wraps data keys and gives them back, as if it were a symmetric one. An RSA
# key takes an encryption context, too, for which it has no place. A wrong KeySpec or KeyUsage in the code that makes a
# KEK shows only when that code meets AWS.
#
# Here: envelope.check_kek tries a KEK step by step. Run it against AWS itself once, after the key was made.
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

CONTEXT = {"table": "customers"}


def outcome(client, key):
    try:
        given = client.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext=CONTEXT)
        client.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext=CONTEXT)
        opened = client.decrypt(KeyId=key, CiphertextBlob=given["CiphertextBlob"], EncryptionContext=CONTEXT)
        return "wraps and opens" if opened["Plaintext"] == given["Plaintext"] else "opens to something else"
    except ClientError as e:
        return e.response["Error"]["Code"]


print("moto", moto.__version__)
seen = []
with moto.mock_aws():
    client = boto3.client("kms", region_name="eu-central-1")
    for spec, usage in (("HMAC_256", "GENERATE_VERIFY_MAC"), ("ECC_NIST_P256", "SIGN_VERIFY"), ("RSA_2048", "ENCRYPT_DECRYPT")):
        made = client.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]
        told = client.describe_key(KeyId=made["KeyId"])["KeyMetadata"]
        assert (told["KeySpec"], told["KeyUsage"]) == (spec, usage)
        seen.append(outcome(client, made["KeyId"]))
        print(f"{spec}, {usage}: {seen[-1]}")
assert seen == ["wraps and opens"] * 3
print("as described")
PYTHON
"$work/venv/bin/python" "$work/run.py"
