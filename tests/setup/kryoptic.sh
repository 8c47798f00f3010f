#!/usr/bin/env bash
# Builds Kryoptic, a PKCS#11 token in software whose answers differ from SoftHSM's, for make test-kms. All checkouts of
# a user share the build; each has a copy that the server's user may read.
source "$(dirname "$0")/env.sh"

version=1.5.4
checksum=21b64b7679ce821f19a7a48b7e40146f26fbb9daa64ee2acb6376788a26d7ae8
place=$(tool kryoptic "$version")
library=libkryoptic_pkcs11.so
mkdir -p "$TOOLS" "$TREES"
# Another checkout may be about it just now.
exec {lock}>"$place.lock"
flock "$lock"
if [ ! -f "$place/$library" ]; then
    "$ROOT/tests/setup/packages.sh" libssl-dev libsqlite3-dev
    work=$place.new
    rm -rf "$work"
    mkdir -p "$work/ask/src"
    # A crate that depends on it, so that cargo brings it and says which bytes came.
    touch "$work/ask/src/lib.rs"
    printf '[package]\nname = "ask"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n[dependencies]\nkryoptic = { version = "=%s", default-features = false }\n' \
        "$version" >"$work/ask/Cargo.toml"
    cd "$work/ask"
    cargo fetch --quiet || die "missing: kryoptic $version (cargo could not fetch it)"
    grep -A 3 '^name = "kryoptic"$' Cargo.lock | grep -q "^checksum = \"$checksum\"$" ||
        die "kryoptic $version is not the one that was tried: another checksum"
    manifest=$(cargo metadata --format-version 1 --quiet |
        python3 -c 'import json, sys; print(*(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "kryoptic"))')
    cp -r "${manifest%/*}" "$work/kryoptic"
    cd "$work/kryoptic"
    # "standard" asks for OpenSSL 3.2. The versions are those of the crate's own Cargo.lock.
    cargo build --quiet --release --locked --lib --no-default-features --features minimal,kryoptic-lib/dynamic \
        --target-dir "$work/target" || die "missing: kryoptic $version (cargo could not build it)"
    mkdir -p "$place"
    cp "$work/target/release/$library" "$place/"
    cd /
    rm -rf "$work"
fi
cmp -s "$place/$library" "$TREES/$library" || install -m 755 "$place/$library" "$TREES/$library"
