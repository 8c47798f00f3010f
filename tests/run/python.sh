#!/usr/bin/env bash
# Runs a Python program of tests/ in the venv, with the server tree of a build profile: python.sh dev|release ARGS…
source "$(dirname "$0")/../setup/env.sh"

ENVELOPE_PG_CONFIG=$(tree_pg_config "$(major)" "${1:?dev or release}")
shift
export ENVELOPE_PG_CONFIG ENVELOPE_VENV=$VENV ENVELOPE_CLIENTS=$CLIENTS
export ENVELOPE_OPENBAO=$OPENBAO ENVELOPE_MONITORING=$MONITORING PYTHONPATH=$ROOT/tests PYTHONUNBUFFERED=1
# Compiled modules are kept, and not beside the sources.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX=$TARGET/pycache
cd "$ROOT/tests"
exec "$VENV/bin/python" "$@"
