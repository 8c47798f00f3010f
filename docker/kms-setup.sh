#!/bin/sh
# Run by compose.yaml beside OpenBao: a key, a policy that lets use it and nothing else, and a token of that policy for the
# database, in the file TOKEN (of OWNER: the image's user postgres). Again does no harm.
set -eu
token=${TOKEN:-/run/envelope/token} owner=${OWNER:-999:999}

tries=0
until bao status >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { echo "missing: OpenBao at $BAO_ADDR" >&2; exit 1; }
    sleep 1
done
bao secrets list | grep -q '^transit/' || bao secrets enable transit
# derived=true is what binds a wrapped key to its table.
bao write transit/keys/demo type=aes256-gcm96 derived=true >/dev/null
bao policy write demo - <<'HCL'
path "transit/datakey/plaintext/demo" { capabilities = ["update"] }
path "transit/decrypt/demo"           { capabilities = ["update"] }
path "transit/encrypt/demo"           { capabilities = ["update"] }
path "transit/rewrap/demo"            { capabilities = ["update"] }
path "transit/keys/demo"              { capabilities = ["read"] }
HCL
umask 077
bao token create -policy=demo -ttl=24h -field=token >"$token.new"
chown "$owner" "$token.new"
mv "$token.new" "$token"
echo "the database may use transit/keys/demo"
