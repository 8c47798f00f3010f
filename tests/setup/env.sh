# shellcheck shell=bash
# Where things are, for the scripts beside this one: source it, do not run it.
# Nothing is written outside the target directory and TREES.
set -euo pipefail
# The server's user must be able to read what is made here.
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# shellcheck disable=SC2034 # for those who source this
VENV=${ENVELOPE_VENV:-$TARGET/venv}
# cargo-pgrx and its configuration: those of one version of pgrx and one set of server trees.
TOOLS=${ENVELOPE_TOOLS:-$TARGET}

# Private copies of PostgreSQL. The server may run as another user than the one who builds (root: `postgres`), and a
# home directory may be closed to that user; a checkout has trees of its own, so that two do not mix their builds.
TREES=${ENVELOPE_TREES:-/var/tmp/pgrx-example-$(id -u)-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)}

# rustup's own place, for shells that have not read ~/.cargo/env.
PATH=$TOOLS/tools/bin:$PATH:$HOME/.cargo/bin
export PATH PGRX_HOME=$TOOLS/pgrx-home

die() {
    echo "$*" >&2
    exit 1
}

# The PostgreSQL major of this run: PG, else the newest one installed with its headers, else the distribution's own.
major() {
    local n
    if [ -n "${PG:-}" ]; then
        n=${PG#pg}
        case $n in
        1[4-9]) ;;
        *) die "PG=$PG: this extension builds for PostgreSQL 14 to 19" ;;
        esac
        grep -q "^pg$n = " "$ROOT/Cargo.toml" ||
            die "PG=$PG: needs the pgrx that knows it (make test-matrix MAJORS=$n; by hand: tests/matrix/manifest.sh)"
        echo "$n"
        return
    fi
    for n in 18 17 16 15 14; do
        if [ -x "/usr/lib/postgresql/$n/bin/postgres" ] && [ -f "/usr/include/postgresql/$n/server/postgres.h" ]; then
            echo "$n"
            return
        fi
    done
    n=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
    [ -n "$n" ] || die "missing: PostgreSQL (no package postgresql-NN known to apt; try apt-get update)"
    echo "$n"
}

# The private server tree of a build profile (dev, release).
tree() { echo "$TREES/pg$1-$2"; }

# Debian's layout, kept below the tree so that PostgreSQL finds its parts relative to its own binaries.
tree_pg_config() { echo "$(tree "$1" "$2")/lib/postgresql/$1/bin/pg_config"; }
