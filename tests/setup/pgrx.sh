#!/usr/bin/env bash
# cargo-pgrx of exactly the version that Cargo.toml asks of pgrx, and its configuration for the private server tree.
source "$(dirname "$0")/env.sh"

[ -n "$(cargo_pgrx_version)" ] || die "Cargo.toml: no line pgrx = \"=VERSION\""
use_tool cargo-pgrx "$(cargo_pgrx_version)"

# Rewriting the configuration would make cargo build the bindings anew, so only when it differs.
pg=$(major)
pg_config=$(tree_pg_config "$pg" dev)
if ! grep -qsF "pg$pg = \"$pg_config\"" "$PGRX_HOME/config.toml"; then
    mkdir -p "$PGRX_HOME"
    cargo pgrx init "--pg$pg=$pg_config"
fi
