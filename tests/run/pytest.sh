#!/usr/bin/env bash
# The tests that drive clusters from outside: pytest.sh [ARGS…]
# One process more than processors, as a test waits for timeouts now and then; each process has clusters of its own, so
# not too many.
"$(dirname "$0")/../setup/clients.sh"
processes=$(($(nproc) < 4 ? $(nproc) + 1 : 5))
exec "$(dirname "$0")/python.sh" dev -m pytest --numprocesses "$processes" --dist worksteal "$@"
