#!/usr/bin/env bash
# The loop of a developer: unit tests, the extension, SQL scripts, and those cluster tests that the change touches;
# quick.sh [NAME…] runs tests/cluster/test_NAME.py instead of these.
source "$(dirname "$0")/../setup/env.sh"

here=$ROOT/tests/run
mapfile -t files < <("$here/python.sh" dev -m quick "$@")
[ ${#files[@]} -gt 0 ] || die "no cluster test was chosen"
pg=$(major)
cd "$ROOT"
echo "and to it: format, lints, AddressSanitizer, the four tests that run inside a server (a build of their own)" >&2
PGRX_TEST_SKIP=1 cargo test --quiet --lib --tests --no-default-features --features "pg$pg pg_test $ALL_KMS"
"$ROOT/tests/setup/install.sh" dev
"$here/pg-regress.sh"
"$here/pytest.sh" "${files[@]}"
