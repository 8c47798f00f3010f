# shellcheck shell=bash
# For the scripts beside this one: source it, do not run it.
source "$(dirname "${BASH_SOURCE[0]}")/../setup/env.sh"

# Chroots and downloads, kept between runs.
# shellcheck disable=SC2034 # for those who source this
MATRIX=${MATRIX:-/var/tmp/pgrx-example-matrix-$(id -u)}

as_root_only() { [ "$(id -u)" = 0 ] || die "the matrix needs root, for chroots and mounts of its own"; }

# The Debian suite whose packages a major comes from; nothing for those that run on this machine itself.
suite_of() {
    case $1 in
    17) echo trixie ;;
    18 | 19) echo forky ;;
    esac
}
