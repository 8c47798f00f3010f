#!/usr/bin/env bash
# Mutations of the pure crates: which changes of the code no test of theirs sees. Into target/mutants.out; hours.
# What was caught is not tried again: it goes on where it stopped. mutants.sh [arguments of cargo mutants, which choose a part]
# Fails at a mutant that is missed and not in tests/mutants.txt.
source "$(dirname "$0")/../setup/env.sh"

use_tool cargo-mutants 27.1.0
use_tool cargo-nextest 0.9.143
cd "$ROOT"
mkdir -p "$TARGET"
# Of a run that was broken off; the next one moves it away.
[ ! -d "$TARGET/mutants.out" ] || python3 tests/run/mutants.py "$TARGET/mutants.out" count
done=0
cargo mutants --package envelope --package gcm --test-workspace=false --output "$TARGET" --iterate "$@" || done=$?
# 2: some were missed. 3: some took too long, and so were noticed.
case $done in
0 | 2 | 3) ;;
*) exit "$done" ;;
esac
exec python3 tests/run/mutants.py "$TARGET/mutants.out" ${1:+part}
