#!/usr/bin/env bash
# SoftHSM: a process logs in to a token to use its keys. One would expect that this reads the token, and that whatever
# becomes of the process the token stays.
#
# Seen with SoftHSM 2.6.1 (Debian softhsm2 2.6.1-2.1): every C_Login empties the token's file and writes it anew in place, to
# keep count of wrong PINs. A process that ends in between, killed or by itself, leaves it empty. The token has no label and no
# PIN then, nobody can log in to it, and its keys are lost. It takes a few tries where one process logs in again and again.
#
# Here: docs/kms/pkcs11.md says that SoftHSM is for tests. A backend logs in once. Random programs on a server that is killed keep
# no data key in it.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get -q download softhsm2=2.6.1-2.1 libsofthsm2=2.6.1-2.1 softhsm2-common=2.6.1-2.1 >/dev/null 2>&1
for package in *.deb; do dpkg-deb -x "$package" .; done
module=$work/usr/lib/softhsm/libsofthsm2.so
mkdir tokens
echo "directories.tokendir = $work/tokens" >softhsm2.conf
export SOFTHSM2_CONF=$work/softhsm2.conf
util=("$work/usr/bin/softhsm2-util" --module "$module")
"${util[@]}" --version
"${util[@]}" --init-token --free --label kek --so-pin 87654321 --pin 1234 >/dev/null
"${util[@]}" --show-slots | grep -q 'Label: *kek'

cat >login.py <<'PYTHON'
import ctypes, sys

library, word = ctypes.CDLL(sys.argv[1]), ctypes.c_ulong
library.C_Initialize(None)
slots, count, session = (word * 9)(), word(9), word()
library.C_GetSlotList(1, slots, ctypes.byref(count))
library.C_OpenSession(slots[0], word(6), None, None, ctypes.byref(session))
while library.C_Login(session, word(1), b"1234", word(4)) == 0:
    library.C_Logout(session)
PYTHON
object=$(echo "$work"/tokens/*/token.object)
before=$(stat -c %s "$object")
for tries in $(seq 300); do
    python3 login.py "$module" &
    sleep "0.1$((RANDOM % 90 + 10))"
    kill -9 $! 2>/dev/null || true
    wait $! 2>/dev/null || true
    [ -s "$object" ] || break
done
echo "token.object: $before bytes, after $tries processes that were killed: $(stat -c %s "$object")"
[ ! -s "$object" ]
if "${util[@]}" --show-slots | grep -q 'Label: *kek'; then exit 1; fi
echo "as described"
