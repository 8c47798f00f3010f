#!/usr/bin/env bash
# Copies the distribution's PostgreSQL to a private tree: tree.sh dev|release.
# PostgreSQL finds its library and share directories relative to its binaries when they were moved (src/port/path.c),
# so extensions go into the copy: no root needed, and the system's server never sees a test build.
source "$(dirname "$0")/env.sh"

pg=$(major)
tree=$(tree "$pg" "${1:?dev or release}")
system=/usr/lib/postgresql/$pg
version=$("$system/bin/postgres" --version)

# A directory in a place that all may write to: nobody else's, and no link.
mkdir -p "$TREES"
[ ! -L "$TREES" ] && [ "$(stat -c %u "$TREES")" = "$(id -u)" ] || die "$TREES belongs to another user"

[ "$(cat "$tree/version" 2>/dev/null)" = "$version" ] || rm -rf "$tree"
mkdir -p "$tree/lib/postgresql" "$tree/share/postgresql" "$tree/include"
# -u repairs what a cleaner of temporary files took, and costs nothing otherwise.
cp -au "$system" "$tree/lib/postgresql/"
cp -au "/usr/share/postgresql/$pg" "$tree/share/postgresql/"
ln -sfn /usr/include/postgresql "$tree/include/postgresql"
for libraries in /usr/lib/*-linux-gnu*; do
    ln -sfn "$libraries" "$tree/lib/${libraries##*/}"
done
echo "$version" >"$tree/version"

found=$("$(tree_pg_config "$pg" "$1")" --sharedir)
[ "$found" = "$tree/share/postgresql/$pg" ] || die "PostgreSQL $pg does not find itself in $tree: sharedir is $found"
