#!/usr/bin/env bash
# PyKMIP: AES-GCM with associated data, asked for in KMIP 1.2, the version that its client speaks unless told otherwise.
# That version has no place for associated data nor for the tag. One would expect an error.
#
# Seen with PyKMIP 0.11.0 (PyPI), client and server: Success. The client leaves the associated data out when it writes the
# request, the server the tag when it writes the answer. Decrypt wants a tag, so what was encrypted does not decrypt any
# more. In 1.4 the same calls give the tag, and the data come back.
#
# Here: KEKs of KMIP need a server that speaks 1.4 or later, an answer without a tag does not count, and each new wrap is
# tried before it is stored.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
server=
end() {
    # It has helper processes; they are of its session.
    [ -z "$server" ] || kill -KILL -- "-$server" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

cd "$work"
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install PyKMIP==0.11.0

# Certificates that the two trust.
ecdsa=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2)
openssl req -x509 "${ecdsa[@]}" -keyout ca.key -out ca.pem -subj /CN=ca 2>/dev/null
for name in server client; do
    openssl req "${ecdsa[@]}" -keyout $name.key -out $name.csr -subj /CN=$name 2>/dev/null
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $name.pem 2>/dev/null \
        -extfile <(printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' $name)
done

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir policy
cat >server.conf <<CONF
[server]
hostname=127.0.0.1
port=$port
certificate_path=$work/server.pem
key_path=$work/server.key
ca_path=$work/ca.pem
auth_suite=TLS1.2
policy_path=$work/policy
database_path=$work/keys.db
CONF
PYTHONWARNINGS=ignore setsid venv/bin/pykmip-server -f "$work/server.conf" -l "$work/server.log" >output 2>&1 &
server=$!
disown
for _ in {1..300}; do
    ! grep -q 'Starting connection service' server.log 2>/dev/null || break
    sleep 0.2
done

venv/bin/python -W ignore - "$port" <<'PYTHON'
import importlib.metadata
import logging
import sys

from kmip import enums
from kmip.core.attributes import CryptographicParameters
from kmip.core.exceptions import OperationFailure
from kmip.core.messages import payloads
from kmip.pie.client import ProxyKmipClient

# Of configuration files that are not there.
logging.disable(logging.WARNING)
print("PyKMIP", importlib.metadata.version("PyKMIP"))
GCM = CryptographicParameters(block_cipher_mode=enums.BlockCipherMode.GCM,
                              cryptographic_algorithm=enums.CryptographicAlgorithm.AES, tag_length=16)
seen = {}
for version in ("KMIP_1_2", "KMIP_1_4"):
    with ProxyKmipClient(hostname="127.0.0.1", port=int(sys.argv[1]), cert="client.pem", key="client.key", ca="ca.pem",
                         kmip_version=enums.KMIPVersion[version]) as client:
        key = client.create(enums.CryptographicAlgorithm.AES, 256)
        client.activate(key)
        asked = payloads.EncryptRequestPayload(key, GCM, b"data", bytes(12), b"associated data")
        given = client.proxy.send_request_payload(enums.Operation.ENCRYPT, asked)
        asked = payloads.DecryptRequestPayload(key, GCM, given.data, bytes(12), b"associated data", given.auth_tag)
        try:
            back = client.proxy.send_request_payload(enums.Operation.DECRYPT, asked).data
        except OperationFailure as error:
            back = str(error)
    seen[version] = (given.auth_tag is not None, back)
    print(f"{version}: {len(given.data)} bytes encrypted, tag {given.auth_tag and given.auth_tag.hex()}, decrypted {back}")
assert seen["KMIP_1_4"] == (True, b"data"), "otherwise"
assert not seen["KMIP_1_2"][0] and "tag must be provided" in seen["KMIP_1_2"][1], "otherwise"
PYTHON
echo "as described"
