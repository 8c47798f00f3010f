#!/usr/bin/env bash
# The pure part's own tests.
source "$(dirname "$0")/../setup/env.sh"

cd "$ROOT"
cargo test -p envelope
