#!/usr/bin/env bash
# Runs a command where a major's server is: on.sh MAJOR COMMAND…; prepare.sh MAJOR comes first.
# So one test is run by hand: on.sh 18 tests/run/python.sh dev -m pytest -q cluster/test_dump.py
here=$(cd "$(dirname "$0")" && pwd)
source "$here/env.sh"

export PG=${1:?a major}
shift
checkout=$(printf %s "$ROOT" | cksum | cut -d' ' -f1)
manifest=$MATRIX/manifest/$checkout-$PG
suite=$(suite_of "$PG")
cd "$ROOT"

# by SCRIPT: the major's own manifest, unless it was made from the same files.
by() {
    local made
    made=$(find src -name Cargo.toml -exec cat "$here/$1" Cargo.lock Cargo.toml {} + | cksum)
    [ "$(cat "$manifest/made" 2>/dev/null)" != "$made" ] || return 0
    "$here/$1" "$manifest"
    echo "$made" >"$manifest/made"
}
case $PG in
14) by bindings14.sh ;;
19) by manifest.sh ;;
*) manifest= ;;
esac

# cargo-pgrx's configuration: a major's own, so that no build makes another major's bindings old.
home=pgrx-home/$checkout-$PG
# This machine's cargo-pgrx runs everywhere, but is not of the version for 19.
own=$(tool cargo-pgrx "$(cargo_pgrx_version)")
lent=$MATRIX/$suite/var/cache/tools
if [ -n "$suite" ] && [ "$PG" != 19 ] && [ -d "$own" ] && [ ! -d "$lent/${own##*/}" ]; then
    mkdir -p "$lent"
    cp -r "$own" "$lent/"
fi

if [ -n "$suite" ]; then
    export MANIFEST=$manifest ENVELOPE_TOOLS=/var/cache/tools ENVELOPE_PGRX_HOME=/var/cache/$home LEND=yes
    # Its pgrx asks for a newer Rust than this machine may have; the suite's own does.
    [ "$PG" != 19 ] || LEND=no
    exec "$here/enter.sh" "$suite" "$@"
fi
[ "$PG" = 15 ] || export ENVELOPE_PGRX_HOME=$MATRIX/$home
[ -n "$manifest" ] || exec "$@"
as_root_only
# The other manifest stands over the checkout's in a namespace of its own, which ends with the command.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount -- bash -euc '
    for file in Cargo.toml Cargo.lock; do mount --bind "$0/$file" "$file"; done
    exec "$@"' "$manifest" "$@"
