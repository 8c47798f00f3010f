#!/usr/bin/env bash
# Debian packages of the majors at hand, into target/packages: deb.sh [MAJOR…]
# Each is built where its PostgreSQL is: 15 and 16 here, 17 to 19 in chroots of a later Debian (see tests/matrix).
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../matrix/env.sh"

as_root_only
mkdir -p "$TARGET/packages"
for pg in "${@:-15}"; do
    case $pg in
    1[5-9]) ;;
    # What the matrix makes of 14 has no headers of its own.
    *) die "make deb: packages are of PostgreSQL 15 to 19, not $pg" ;;
    esac
    suite=$(suite_of "$pg")
    [ -z "$suite" ] || [ -x "$MATRIX/$suite/usr/lib/postgresql/$pg/bin/postgres" ] ||
        "$here/../matrix/chroot.sh" "$suite" "$pg"
    git -C "$ROOT" -c safe.directory='*' ls-files -z | "$here/../matrix/on.sh" "$pg" tests/packages/build.sh
    # Its chroot builds by the suite's own Rust, and into a directory of its own.
    [ "$pg" != 19 ] || mv "$MATRIX/$suite/var/cache/target/packages"/*.deb "$TARGET/packages/"
done
ls -l "$TARGET/packages"/*.deb
