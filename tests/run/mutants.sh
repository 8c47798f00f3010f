#!/usr/bin/env bash
# Mutations of the pure crates: which changes of the code no test of theirs sees. Into target/mutants.out; hours.
# What was caught is not tried again: it goes on where it stopped. mutants.sh [arguments of cargo mutants]
source "$(dirname "$0")/../setup/env.sh"

use_tool cargo-mutants 27.1.0
use_tool cargo-nextest 0.9.143
cd "$ROOT"
mkdir -p "$TARGET"
exec cargo mutants --package envelope --package gcm --test-workspace=false --output "$TARGET" --iterate "$@"
