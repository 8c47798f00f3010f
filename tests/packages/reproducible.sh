#!/usr/bin/env bash
# Whether a package's files have the same bytes wherever and whenever they are built: two builds of the tracked files that differ in the
# names of their folders, cargo's own among them, and in times, umask, language and time zone. PG, PG_CONFIG and FEATURES as for make install.
source "$(dirname "$0")/../setup/env.sh"

config=$(command -v "${PG_CONFIG:-pg_config}") || die "missing: ${PG_CONFIG:-pg_config} (set PG_CONFIG to the server's pg_config)"
here=$TARGET/reproducible
rm -rf "$here"
mkdir -p "$here"

# unpack FOLDER UMASK TIME: the sources, and what cargo has of the registry.
unpack() (
    umask "$2"
    mkdir -p "$1/source" "$1/cargo/registry"
    cd "$ROOT"
    git -c safe.directory='*' ls-files -z | tar --null -T - -c --mtime "$3" | tar -x --no-same-permissions -C "$1/source"
    # What was fetched is not fetched twice. It is unpacked twice.
    home=${CARGO_HOME:-$HOME/.cargo}
    for shared in registry/index registry/cache config.toml config; do
        [ ! -e "$home/$shared" ] || ln -s "$home/$shared" "$1/cargo/$shared"
    done
)
# build FOLDER UMASK LANGUAGE ZONE: into FOLDER/installed.
build() (
    umask "$2"
    cd "$1/source"
    LC_ALL=$3 TZ=$4 CARGO_HOME=$1/cargo CARGO_TARGET_DIR=$1/made \
        make install DESTDIR="$1/installed" PG_CONFIG="$config" >"$1/log" 2>&1 ||
        { tail -n 30 "$1/log" >&2; die "the build in $1 failed"; }
)
# Each file with its mode and the sum of its bytes.
sums() (cd "$1/installed" && find . -type f -printf '%m ' -exec sha256sum {} \; | sort -k 3)

one=$here/a two=$here/a-second/folder-with-another-name
unpack "$one" 022 2001-02-03
unpack "$two" 077 2011-12-13
build "$one" 022 C UTC
build "$two" 077 C.UTF-8 Asia/Kathmandu
sums "$one" >"$here/one.sums"
sums "$two" >"$here/two.sums"
if ! diff "$here/one.sums" "$here/two.sums"; then
    (cd "$one/installed" && find . -type f) | while read -r file; do
        cmp "$one/installed/$file" "$two/installed/$file" || true
    done
    die "not the same: diffoscope $one/installed $two/installed says where"
fi
# The first folder's name in the files would be one that the second has not.
! grep -rlF -e "$here" -e "${CARGO_HOME:-$HOME/.cargo}/" "$one/installed" || die "these name the builder's folders"
cat "$here/one.sums"
rm -rf "$one" "$here/a-second"
