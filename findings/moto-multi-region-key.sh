#!/usr/bin/env bash
# moto: AWS KMS has multi-Region keys. One would expect that what is encrypted under one can be decrypted, in the Region of
# the key itself at least, as under any other key.
#
# Seen with moto 5.2.5 (PyPI): it cannot. CreateKey with MultiRegion answers, and so does Encrypt. Decrypt then answers
# AccessDeniedException, with KeyId and without, in the key's own Region and where it was replicated to. A ciphertext
# begins with the key's id, for which 36 characters are kept, as many as a UUID has; that of a multi-Region key is longer.
# Its form is not AWS's either: mrk- and a UUID with dashes, where AWS has mrk- and 32 hexadecimal digits.
#
# Here: replicas are tested with LocalStack (make test-kms). Keys of the form that moto gives them are not known.
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


def outcome(client, **asked):
    try:
        return "decrypts" if client.decrypt(**asked)["Plaintext"] == b"x" * 32 else "decrypts to something else"
    except ClientError as e:
        return e.response["Error"]["Code"]


print("moto", moto.__version__)
seen = {}
with moto.mock_aws():
    here, there = (boto3.client("kms", region_name=region) for region in ("eu-central-1", "us-east-1"))
    for multi in (False, True):
        key = here.create_key(MultiRegion=multi)["KeyMetadata"]["KeyId"]
        wrap = here.encrypt(KeyId=key, Plaintext=b"x" * 32)["CiphertextBlob"]
        seen[multi] = [outcome(here, CiphertextBlob=wrap), outcome(here, CiphertextBlob=wrap, KeyId=key)]
        if multi:
            here.replicate_key(KeyId=key, ReplicaRegion="us-east-1")
            seen[multi].append(outcome(there, CiphertextBlob=wrap))
        print("multi-Region" if multi else "one Region  ", key, seen[multi])
assert seen[False] == ["decrypts"] * 2
assert "decrypts" not in seen[True] and key.count("-") == 5
print("as described")
PYTHON
"$work/venv/bin/python" "$work/run.py"
