#!/usr/bin/env bash
# The tests that drive clusters from outside: pytest.sh [ARGS…]. Without arguments all of them, and those of tests/leased.txt
# once more on clusters whose backends share leases.
# One process more than processors, as a test waits for timeouts now and then; each process has clusters of its own, so
# not too many.
here=$(dirname "$0")
set -e
"$here/../setup/clients.sh"
processes=$(($(nproc) < 4 ? $(nproc) + 1 : 5))
run() { "$here/python.sh" dev -m pytest --numprocesses "$processes" --dist worksteal "$@"; }
run "$@"
[ $# = 0 ] || exit 0
mapfile -t leased < <(sed -n '/^#/!s|.*|cluster/test_&.py|p' "$here/../leased.txt")
ENVELOPE_LEASES=on run -m "not alone" "${leased[@]}"
