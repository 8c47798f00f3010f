#!/usr/bin/env bash
# cargo-pgrx of exactly the version that Cargo.toml asks of pgrx, and its configuration for the private server tree.
source "$(dirname "$0")/env.sh"

version=$(sed -n 's/^pgrx = "=\(.*\)"/\1/p' "$ROOT/Cargo.toml")
[ -n "$version" ] || die "Cargo.toml: no line pgrx = \"=VERSION\""
if [ "$(cargo pgrx --version 2>/dev/null)" != "cargo-pgrx $version" ]; then
    cargo install cargo-pgrx --version "$version" --locked --root "$TOOLS/tools" ||
        die "missing: cargo-pgrx $version (cargo install could not build it)"
fi

# Rewriting the configuration would make cargo build the bindings anew, so only when it differs.
pg=$(major)
pg_config=$(tree_pg_config "$pg" dev)
if ! grep -qsF "pg$pg = \"$pg_config\"" "$PGRX_HOME/config.toml"; then
    mkdir -p "$PGRX_HOME"
    cargo pgrx init "--pg$pg=$pg_config"
fi
