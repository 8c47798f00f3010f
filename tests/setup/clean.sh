#!/usr/bin/env bash
# Takes away all that the set-up and the builds made, but no system package, and no tool that other checkouts
# share (TOOLS in env.sh).
source "$(dirname "$0")/env.sh"

rm -rf "$TREES" "$TARGET/tools" "$VENV" "$CLIENTS" "${VENV%/*}/localstack" "$MONITORING" "$PGRX_HOME" "$TARGET/asan"
cd "$ROOT"
cargo clean
