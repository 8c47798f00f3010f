#!/bin/sh
# What cargo calls in place of rustc when a package is built (RUSTC_WRAPPER), so that the bytes do not depend on folders: panics name a
# crate's files by its name and version, and not by where this builder keeps them. As flags of cargo the folders would get into the
# hashes that it names things by. BUILDERS_WRAPPER is a wrapper that the builder has, sccache for one.
set -eu
if [ -n "${CARGO_MANIFEST_DIR:-}" ]; then
    crate=/crates/$CARGO_PKG_NAME-$CARGO_PKG_VERSION
    # What is below cargo's own folder (our crates, vendored ones) is named relative to that.
    set -- "$@" "--remap-path-prefix=${CARGO_MANIFEST_DIR#"$PWD"/}=$crate"
    [ -z "${OUT_DIR:-}" ] || set -- "$@" "--remap-path-prefix=$OUT_DIR=$crate/out"
fi
# shellcheck disable=SC2086 # a command with arguments
exec ${BUILDERS_WRAPPER:-} "$@"
