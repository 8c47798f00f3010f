# shellcheck shell=bash
# Where things are, for the scripts beside this one: source it, do not run it.
# Nothing is written outside the target directory, TREES and TOOLS.
set -euo pipefail
# The server's user must be able to read what is made here.
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
# shellcheck disable=SC2034 # for those who source this
VENV=${ENVELOPE_VENV:-$TARGET/venv}
# What the clients of docs/clients.md are run with.
# shellcheck disable=SC2034 # for those who source this
CLIENTS=${ENVELOPE_CLIENTS:-${VENV%/*}/clients}
# The OpenBao that the tests start.
# shellcheck disable=SC2034 # for those who source this
OPENBAO=${ENVELOPE_OPENBAO:-${VENV%/*}/openbao}
# The Prometheus and the exporter that the tests start.
# shellcheck disable=SC2034 # for those who source this
MONITORING=${ENVELOPE_MONITORING:-${VENV%/*}/monitoring}

# Private copies of PostgreSQL. The server may run as another user than the one who builds (root: `postgres`), and a
# home directory may be closed to that user; a checkout has trees of its own, so that two do not mix their builds.
TREES=${ENVELOPE_TREES:-/var/tmp/pgrx-example-$(id -u)-$(printf %s "$ROOT" | cksum | cut -d' ' -f1)}

# Programs that cargo builds from source (tool.sh), its own subcommands most of them. All checkouts of a user share them, each in a directory
# named after its version and Rust's; `make clean` leaves them. Without a home to write to, each checkout has its own.
TOOLS=${ENVELOPE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/pgrx-example/tools}
{ mkdir -p "$TOOLS" && [ -w "$TOOLS" ]; } 2>/dev/null || TOOLS=$TARGET/tools

# rustup's own place, for shells that have not read ~/.cargo/env.
PATH=$PATH:$HOME/.cargo/bin
# cargo-pgrx's configuration: one set of server trees.
export PATH PGRX_HOME=${ENVELOPE_PGRX_HOME:-$TARGET/pgrx-home}
# cargo-pgrx would give a linker's flag to all crates, and they would be built once with it and once without. build.rs
# gives it to the one link that needs it.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1
# For development builds. The extension has no examples; asking for them makes cargo choose the features of each crate as for
# the tests, so that it is built once for both.
# shellcheck disable=SC2034 # for those who source this
DEV_BUILD_FLAGS=--examples

# All providers of KEKs, and connections to other nodes: for builds that are tested and measured.
# shellcheck disable=SC2034 # for those who source this
ALL_KMS="kms-aws kms-vault kms-pkcs11 kms-kmip nodes"

die() {
    echo "$*" >&2
    exit 1
}

# Of exactly the version that Cargo.toml asks of pgrx.
cargo_pgrx_version() { sed -n 's/^pgrx = "=\(.*\)"/\1/p' "$ROOT/Cargo.toml"; }

# Where a cargo subcommand of one version is: tool NAME VERSION.
tool() { echo "$TOOLS/$1-$2-rust-$(cd "$ROOT" && rustc --version | cut -d' ' -f2)"; }
# What it says of itself: `cargo-deny 0.20.2`, `mdbook v0.5.4`, `cargo-nextest 0.9.143 (60fa45f63 2026-08-04)`.
has_tool() {
    local said
    case $1 in
    cargo-*) said=$(cargo "${1#cargo-}" --version 2>/dev/null) ;;
    *) said=$("$1" --version 2>/dev/null) ;;
    esac
    said=${said%%$'\n'*}
    [[ "${said/ v/ } " = "$1 $2 "* ]]
}
# Puts it on the PATH, and builds it where nobody has: use_tool NAME VERSION [FEATURES].
use_tool() {
    ! has_tool "$1" "$2" || return 0
    PATH=$(tool "$1" "$2")/bin:$PATH
    [ -x "$(tool "$1" "$2")/bin/$1" ] || "$ROOT/tests/setup/tool.sh" "$@"
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
