#!/usr/bin/env bash
# Into target/sbom: what a package's library is made of (CycloneDX), and the licences of all of it. The same bytes each time.
# FEATURES as for make install.
source "$(dirname "$0")/../setup/env.sh"

use_tool cargo-cyclonedx 0.5.9
# It compares thousands of texts with all known licences: not optimised, that takes longer than building it.
CARGO_PROFILE_DEV_OPT_LEVEL=2 use_tool cargo-about 0.9.3 cli
here=$ROOT/tests/packages
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
built=(--no-default-features --features "pg$(major) ${FEATURES-kms-aws kms-vault nodes}")
out=$TARGET/sbom
rm -rf "$out"
mkdir -p "$out/source"
# It writes beside each Cargo.toml: of a copy.
cp -R "$ROOT"/{Cargo.toml,Cargo.lock,LICENSE,build.rs,src} "$out/source/"
cd "$out/source"
# Then neither the time nor a random serial number is in it.
SOURCE_DATE_EPOCH=0 CARGO_TARGET_DIR=$TARGET cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu \
    --override-filename sbom "${built[@]}"
# The refs of our own crates are folders of this machine.
sed "s|path+file://$out/source|path+file:///pgrx-example|g" sbom.json >"$out/pgrx-example-$version.cdx.json"
cargo about generate --locked --fail --config "$here/about.toml" "${built[@]}" --output-file "$out/LICENCES.txt" "$here/licences.hbs"
rm -rf "$out/source"
(cd "$out" && sha256sum ./*)
