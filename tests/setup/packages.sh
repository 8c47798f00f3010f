#!/usr/bin/env bash
# Debian and Ubuntu packages for building, testing and the demo, and those named: only what is missing, by apt-get.
# packages.sh [PACKAGE…]
source "$(dirname "$0")/env.sh"

command -v apt-get >/dev/null || die "missing: apt-get (this set-up knows Debian and Ubuntu)"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

may_install() {
    # Without a terminal sudo cannot ask for a password.
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; } ||
        die "missing: $* (install as root: apt-get install $*)"
}

update_once() {
    [ -z "${updated:-}" ] || return 0
    as_root apt-get -q update
    updated=yes
}

# A machine that never ran `apt-get update` does not know the distribution's major.
if ! pg=$(major 2>/dev/null); then
    [ -z "${PG:-}" ] || major >/dev/null
    may_install postgresql
    update_once
    pg=$(major)
fi

packages=(
    gcc libc6-dev pkg-config # the linker, and C in crates
    libclang-dev             # bindgen over PostgreSQL's headers
    "postgresql-$pg" "postgresql-server-dev-$pg"
    python3 python3-venv # the tests that drive clusters, the demo, the bench
    python3-dev          # builds what has no wheel for the newest Python
    iso-codes            # the demo's data, and names to search
    tzdata               # names to search
    git                  # which tests a change touches, and what a package is made of
    pgbouncer            # sessions that share a backend
    softhsm2 opensc      # a PKCS#11 token, and the tool that administrators of one use
    "$@"
)
# cargo pgrx test runs the server as another user by sudo.
[ "$(id -u)" != 0 ] || packages+=(sudo)

missing=()
for package in "${packages[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0
may_install "${missing[@]}"

# Installing a server makes and starts a cluster unless told otherwise; nobody asked for one.
drop_in=/etc/postgresql-common/createcluster.d/pgrx-example-setup.conf
trap 'as_root rm -f "$drop_in"' EXIT
as_root mkdir -p "${drop_in%/*}"
echo "create_main_cluster = false" | as_root tee "$drop_in" >/dev/null

install() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"; }
if ! install; then
    update_once
    install || die "missing: ${missing[*]} (apt-get could not install them)"
fi
# Nor did anybody ask for a pooler's service; the tests start their own.
if [[ " ${missing[*]} " == *" pgbouncer "* ]] && command -v systemctl >/dev/null; then
    as_root systemctl --quiet disable --now pgbouncer || true
fi
