#!/usr/bin/env bash
# PyKMIP, a KMIP server, beside the venv of the tests; made anew when tests/kms/pykmip.txt changes. Prints where it is.
source "$(dirname "$0")/env.sh"

wanted=$ROOT/tests/kms/pykmip.txt
place=${VENV%/*}/pykmip
# Tests run side by side.
exec {lock}>"$place.lock"
flock "$lock"
if ! cmp -s "$wanted" "$place/requirements.txt"; then
    rm -rf "$place"
    /usr/bin/python3 -m venv "$place" || die "missing: python3-venv"
    "$place/bin/pip" --quiet --disable-pip-version-check install --no-deps -r "$wanted" ||
        die "missing: Python packages of tests/kms/pykmip.txt (pip could not install them)"
    cp "$wanted" "$place/requirements.txt"
fi
echo "$place"
