#!/usr/bin/env bash
# One major's package (PG), built from a copy of the files that stdin names and looked at by lintian. On stdin, and each
# ended by NUL, as a chroot may have no git and no repository behind a worktree: git ls-files -z | build.sh
source "$(dirname "$0")/../setup/env.sh"

wanted=(debhelper dpkg-dev lintian postgresql-common)
# From Debian 13 on pg_buildext is in a package of its own.
! apt-cache show postgresql-common-dev >/dev/null 2>&1 || wanted+=(postgresql-common-dev)
dpkg -s "${wanted[@]}" >/dev/null 2>&1 ||
    DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root install "${wanted[@]}" </dev/null >/dev/null ||
    die "missing: ${wanted[*]} (apt-get could not install them)"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
build=$TARGET/packages/build-$PG/pgrx-example-$version
rm -rf "${build%/*}"
mkdir -p "$build"
cd "$ROOT"
tar --null -T - -c | tar -x -C "$build"
cd "$build"
# The crates are compiled once for all majors that the same Rust builds on the same Debian: C in them takes what the C
# library's headers name, and an older library may lack it.
CARGO_TARGET_DIR=$TARGET/packages/cargo-$(rustc --version | cut -d' ' -f2)-$(. /etc/os-release && echo "$VERSION_CODENAME")
export CARGO_TARGET_DIR
export PG_SUPPORTED_VERSIONS=$PG
SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -S Timestamp)
export SOURCE_DATE_EPOCH
pg_buildext updatecontrol
# -d: Rust may have come by rustup, of which dpkg knows nothing.
# The source package too, for lintian to look at debian/.
dpkg-buildpackage --no-sign --build=full -d
# An older lintian knows an older policy. The suite that it names is for those who upload it.
lintian --fail-on error,warning --suppress-tags bad-distribution-in-changes-file,newer-standards-version ../*.changes
mv ../*.deb "$TARGET/packages/"
rm -rf "${build%/*}"
