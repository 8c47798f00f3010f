#!/usr/bin/env bash
# Builds the extension and puts it into the private server tree: install.sh dev|release.
source "$(dirname "$0")/env.sh"

pg=$(major)
profile=${1:?dev or release}
flags=(--pg-config "$(tree_pg_config "$pg" "$profile")" --no-default-features --features "pg$pg $ALL_KMS")
if [ "$profile" = dev ]; then
    export PGRX_BUILD_FLAGS=$DEV_BUILD_FLAGS
else
    flags+=(--release)
fi
cd "$ROOT"
use_tool cargo-pgrx "$(cargo_pgrx_version)"
cargo pgrx install "${flags[@]}"
# What tests install beside it, earlier releases of it among them.
[ "$profile" != dev ] || cp "$ROOT"/tests/shim/citus* "$ROOT"/tests/fixtures/*/pgrx-example--*.sql \
    "$("$(tree_pg_config "$pg" dev)" --sharedir)/extension/"
