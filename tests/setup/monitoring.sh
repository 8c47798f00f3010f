#!/usr/bin/env bash
# Prometheus, its promtool and postgres_exporter as the distribution has them, unpacked in a directory of their own: no
# service, no user and no file of the system's comes of it.
source "$(dirname "$0")/env.sh"

programs=(prometheus promtool prometheus-postgres-exporter)
are_there() {
    local program
    for program in "${programs[@]}"; do
        [ -x "$MONITORING/usr/bin/$program" ] || return 1
    done
}
! are_there || exit 0
command -v apt-get >/dev/null || die "missing: apt-get (this set-up knows Debian and Ubuntu)"
rm -rf "$MONITORING"
mkdir -p "$MONITORING"
cd "$MONITORING"
# From Debian 13 on promtool is a package of its own.
download() {
    local packages=(prometheus prometheus-postgres-exporter)
    ! apt-cache show promtool >/dev/null 2>&1 || packages+=(promtool)
    apt-get -q -o APT::Sandbox::User=root download "${packages[@]}" >/dev/null
}
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
# A machine that never ran `apt-get update` does not know the packages.
download 2>/dev/null || { as_root apt-get -q update && download; } ||
    die "missing: prometheus prometheus-postgres-exporter (apt-get could not download them)"
for package in *.deb; do dpkg-deb --extract "$package" .; done
rm -f -- *.deb
are_there || die "missing: ${programs[*]} (not in the distribution's packages)"
