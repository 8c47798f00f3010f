#!/usr/bin/env bash
# A chroot of a Debian suite below MATRIX, with PostgreSQL of the majors named: chroot.sh SUITE MAJOR…
# Mirror, options and proxies are those of this machine's own apt. A chroot that is there is brought up to date. Without a
# major it is the bare system, whose apt works.
here=$(dirname "$0")
source "$here/env.sh"

as_root_only
suite=$1
shift
root=$MATRIX/$suite

# shellcheck disable=SC2016 # apt's own variables
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 !~ /-/ { print $1; exit }')
[ -n "$mirror" ] || die "missing: a Debian mirror among apt's sources"

if [ ! -d "$root" ]; then
    command -v debootstrap >/dev/null || apt-get -q -y --no-install-recommends install debootstrap ||
        die "missing: debootstrap (apt-get could not install it)"
    scripts=/usr/share/debootstrap/scripts
    # An older debootstrap does not know the suite's name; the script of sid does for it.
    script=$scripts/$suite
    [ -e "$script" ] || script=$scripts/sid
    mkdir -p "$MATRIX"
    # Whole or not at all.
    rm -rf "$root.new"
    debootstrap --variant=minbase "$suite" "$root.new" "$mirror" "$script"
    mv "$root.new" "$root"
fi

apt-config dump | grep -E '^Acquire::.* "[^"]+";' >"$root/etc/apt/apt.conf.d/00of-the-host"
# Installing a server shall neither make nor start a cluster.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mkdir -p "$root/etc/postgresql-common/createcluster.d"
echo "create_main_cluster = false" >"$root/etc/postgresql-common/createcluster.d/matrix.conf"

packages=(ca-certificates gcc libc6-dev libclang-dev pkg-config python3 python3-venv iso-codes pgbouncer softhsm2 opensc sudo)
unreleased=()
for pg in "$@"; do
    if [ "$pg" = 19 ]; then
        packages+=(rustc cargo rustfmt)
        unreleased+=("postgresql-$pg" "postgresql-server-dev-$pg")
    else
        packages+=("postgresql-$pg" "postgresql-server-dev-$pg")
    fi
done
# apt takes nothing from experimental unless it is told to.
[ ${#unreleased[@]} = 0 ] || echo "deb $mirror experimental main" >"$root/etc/apt/sources.list.d/experimental.list"

install() {
    "$here/enter.sh" "$suite" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root install "$@"
}
"$here/enter.sh" "$suite" apt-get -q -o APT::Sandbox::User=root update
[ $# != 0 ] || exit 0
install "${packages[@]}"
[ ${#unreleased[@]} = 0 ] || install --target-release experimental "${unreleased[@]}"
