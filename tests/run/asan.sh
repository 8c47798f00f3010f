#!/usr/bin/env bash
# The pure part under AddressSanitizer, which the compiler has on nightly only.
source "$(dirname "$0")/../setup/env.sh"

triple=$(rustc -vV | sed -n 's/^host: //p')
if ! cargo +nightly --version >/dev/null 2>&1; then
    rustup toolchain install nightly --profile minimal ||
        die "missing: a nightly Rust toolchain (rustup toolchain install nightly)"
fi
cd "$ROOT"
# A target directory of its own: the flags would have everything else built anew.
RUSTFLAGS=-Zsanitizer=address cargo +nightly test -p envelope -p gcm --target "$triple" --target-dir "$TARGET/asan"
