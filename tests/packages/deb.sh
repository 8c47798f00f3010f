#!/usr/bin/env bash
# Debian packages of the majors at hand, into target/packages: deb.sh [MAJOR…]
# Each is built where its PostgreSQL is: 15 and 16 here, 17 and 18 in chroots of a later Debian (see tests/matrix).
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../matrix/env.sh"

as_root_only
mkdir -p "$TARGET/packages"
for pg in "${@:-15}"; do
    suite=$(suite_of "$pg")
    [ -z "$suite" ] || [ -x "$MATRIX/$suite/usr/lib/postgresql/$pg/bin/postgres" ] ||
        "$here/../matrix/chroot.sh" "$suite" "$pg"
    "$here/../matrix/on.sh" "$pg" tests/packages/build.sh
done
ls -l "$TARGET/packages"/*.deb
