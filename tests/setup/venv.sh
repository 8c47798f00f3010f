#!/usr/bin/env bash
# The Python of the tests, the demo and the bench; made anew when tests/requirements.txt changes.
source "$(dirname "$0")/env.sh"

wanted=$ROOT/tests/requirements.txt
cmp -s "$wanted" "$VENV/requirements.txt" && exit 0
rm -rf "$VENV"
/usr/bin/python3 -m venv "$VENV" || die "missing: python3-venv"
# Most of the modules are never used: python.sh compiles those that are.
"$VENV/bin/pip" --quiet --disable-pip-version-check install --no-compile -r "$wanted" ||
    die "missing: Python packages of tests/requirements.txt (pip could not install them)"
cp "$wanted" "$VENV/requirements.txt"
