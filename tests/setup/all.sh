#!/usr/bin/env bash
# Everything that the other targets need, in order; quick when nothing is missing. all.sh dev|release
here=$(dirname "$0")
set -e
"$here/rust.sh"
"$here/packages.sh"
"$here/tree.sh" dev
[ "${1:-dev}" = dev ] || "$here/tree.sh" "$1"
"$here/pgrx.sh"
"$here/venv.sh"
"$here/openbao.sh"
