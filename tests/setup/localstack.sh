#!/usr/bin/env bash
# LocalStack, a second AWS KMS for the tests, in a venv of its own (330 MB); made anew when the list changes. Prints where
# it is.
source "$(dirname "$0")/env.sh"

wanted=$ROOT/tests/setup/localstack.txt
place=${VENV%/*}/localstack
mkdir -p "${place%/*}"
# Tests run side by side.
exec {lock}>"$place.lock"
flock "$lock"
if ! cmp -s "$wanted" "$place/requirements.txt"; then
    python=$("$ROOT/tests/setup/python313.sh")
    rm -rf "$place"
    "$python" -m venv --without-pip "$place"
    downloads=$(mktemp -d)
    trap 'rm -rf "$downloads"' EXIT
    /usr/bin/python3 -m venv "$downloads/venv" || die "missing: python3-venv"
    "$downloads/venv/bin/pip" --quiet --disable-pip-version-check download --no-deps --require-hashes -d "$downloads" \
        -r "$ROOT/tests/setup/python313.txt" || die "missing: pip (it could not be downloaded)"
    wheel=$(echo "$downloads"/pip-*.whl)
    "$place/bin/python" "$wheel/pip" --quiet --disable-pip-version-check install --no-compile --no-deps \
        --require-hashes -r "$wanted" >&2 || die "missing: LocalStack (pip could not install tests/setup/localstack.txt)"
    cp "$wanted" "$place/requirements.txt"
fi
echo "$place"
