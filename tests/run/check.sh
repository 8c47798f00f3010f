#!/usr/bin/env bash
# What needs no server: format, lints, dependencies, scripts.
source "$(dirname "$0")/../setup/env.sh"

cd "$ROOT"
cargo fmt --all --check
/usr/bin/python3 tests/run/wings.py
/usr/bin/python3 tests/run/releases.py
# shellcheck disable=SC2046 # file names of this repository: no spaces
"$VENV/bin/shellcheck" -x -P SCRIPTDIR $(find tests docker .ci -name '*.sh') .ci/run
"$VENV/bin/hadolint" docker/Dockerfile
# Whether these say what their readers know. The schemas come with the program.
"$VENV/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker/compose.yaml
"$VENV/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
pg=$(major)
cargo clippy --workspace --all-targets --no-default-features --features "pg$pg pg_test $ALL_KMS" -- -D warnings
# Each provider of KEKs by itself, connections to other nodes, and none of it. As for the tests (DEV_BUILD_FLAGS), so that no crate is built anew.
for kms in "" $ALL_KMS; do
    cargo check --quiet --lib "$DEV_BUILD_FLAGS" --no-default-features --features "pg$pg pg_test $kms"
done
PGRX_TEST_SKIP=1 cargo test --quiet --lib --no-default-features --features "pg$pg pg_test" -- kms:: nodes::
tests/run/site.sh
use_tool cargo-deny 0.20.2
# Not advisories: their database is not a package of any registry.
cargo deny check bans licenses sources
