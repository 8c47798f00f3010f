#!/usr/bin/env bash
# All that a major needs, and the extension built and installed for it: prepare.sh MAJOR
here=$(dirname "$0")
source "$here/env.sh"

pg=${1:?a major}
suite=$(suite_of "$pg")
if [ -n "$suite" ]; then
    as_root_only
    [ -x "$MATRIX/$suite/usr/lib/postgresql/$pg/bin/postgres" ] || "$here/chroot.sh" "$suite" "$pg"
fi
case $pg in
14 | 16)
    # What does not depend on the major, for the one that this machine has.
    for step in rust packages venv openbao; do PG='' "$here/../setup/$step.sh"; done
    "$here/server.sh" "$pg"
    "$here/on.sh" "$pg" tests/setup/pgrx.sh
    ;;
*) "$here/on.sh" "$pg" tests/setup/all.sh dev ;;
esac
"$here/on.sh" "$pg" tests/setup/install.sh dev
