#!/usr/bin/env bash
# Runs a command where a major's server is: on.sh MAJOR COMMAND…; prepare.sh MAJOR comes first.
# So one test is run by hand: on.sh 18 tests/run/python.sh dev -m pytest -q cluster/test_dump.py
here=$(dirname "$0")
source "$here/env.sh"

export PG=${1:?a major}
shift
checkout=$(printf %s "$ROOT" | cksum | cut -d' ' -f1)
manifest=$MATRIX/manifest/$checkout-$PG
suite=$(suite_of "$PG")
cd "$ROOT"

case $PG in
14) "$here/bindings14.sh" "$manifest" ;;
19) "$here/manifest.sh" "$manifest" ;;
*) manifest= ;;
esac
if [ -n "$suite" ]; then
    # Its own for each checkout and major; the crates that both use are built once.
    export MANIFEST=$manifest ENVELOPE_TOOLS=/var/cache/tools/$checkout-$PG
    exec "$here/enter.sh" "$suite" "$@"
fi
[ -n "$manifest" ] || exec "$@"
as_root_only
# The other manifest stands over the checkout's in a namespace of its own, which ends with the command.
# shellcheck disable=SC2016 # for the inner shell
exec unshare --mount -- bash -euc '
    for file in Cargo.toml Cargo.lock; do mount --bind "$0/$file" "$file"; done
    exec "$@"' "$manifest" "$@"
