#!/usr/bin/env bash
# Debian packages of the majors at hand, into target/packages: deb.sh [MAJOR…]
# Each is built where its PostgreSQL is: 15 and 16 here, 17 and 18 in chroots of a later Debian (see tests/matrix).
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../setup/env.sh"

[ "$(id -u)" = 0 ] || die "missing: root (it builds in chroots)"
mkdir -p "$TARGET/packages"
for pg in "${@:-15}"; do
    suite=$(source "$here/../matrix/env.sh" && suite_of "$pg")
    if [ -n "$suite" ]; then
        chroot=$(source "$here/../matrix/env.sh" && echo "$MATRIX/$suite")
        [ -x "$chroot/usr/lib/postgresql/$pg/bin/postgres" ] || "$here/../matrix/chroot.sh" "$suite" "$pg"
    fi
    "$here/../matrix/on.sh" "$pg" tests/packages/build.sh
done
ls -l "$TARGET/packages"/*.deb
