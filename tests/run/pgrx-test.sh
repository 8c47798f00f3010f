#!/usr/bin/env bash
# The crates' own tests, and those inside the server by pgrx's framework: one build for both.
source "$(dirname "$0")/../setup/env.sh"

pg=$(major)
# The framework asks for the extension under the library's name; see the shim's control file.
cp "$ROOT"/tests/shim/* "$("$(tree_pg_config "$pg" dev)" --sharedir)/extension/"

flags=(--no-default-features --features "pg$pg $ALL_KMS")
if [ "$(id -u)" = 0 ]; then
    # PostgreSQL does not run as root. The directory must be the other user's, to make and to write.
    pgdata=$TREES/pgrx-test
    mkdir -p "$pgdata"
    chown postgres "$pgdata"
    flags+=(--runas postgres --pgdata "$pgdata/data")
    trap 'rm -rf "$pgdata"' EXIT
fi
cd "$ROOT"
use_tool cargo-pgrx "$(cargo_pgrx_version)"
# The framework installs the extension by itself.
PGRX_BUILD_FLAGS=$DEV_BUILD_FLAGS cargo pgrx test "${flags[@]}" "pg$pg"
