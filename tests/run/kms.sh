#!/usr/bin/env bash
# The suite of tests/kms with every provider's server, those that take long to set up among them: kms.sh [ARGS…]
source "$(dirname "$0")/../setup/env.sh"

for server in localstack kryoptic pykmip; do "$ROOT/tests/setup/$server.sh" >/dev/null; done
export ENVELOPE_KMS=all
"$(dirname "$0")/python.sh" dev -m kms.cases
exec "$(dirname "$0")/python.sh" dev -m pytest --numprocesses 2 --dist loadgroup kms "$@"
