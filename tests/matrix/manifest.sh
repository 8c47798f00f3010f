#!/usr/bin/env bash
# Cargo.toml and Cargo.lock for the pgrx that also knows PostgreSQL 19, made from those of the checkout: manifest.sh DIR
# It asks a newer Rust than the one that 14 to 18 are built with. Other dependencies stay as they are locked.
source "$(dirname "$0")/env.sh"

pgrx=0.19.4
rust=1.96
into=${1:?a directory}

# Cargo resolves a whole workspace only.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$ROOT/Cargo.lock" "$ROOT/src" "$work/"
sed -e "s/^pgrx = \"=.*\"/pgrx = \"=$pgrx\"/" -e "s/^pgrx-tests = \"=.*\"/pgrx-tests = \"=$pgrx\"/" \
    -e "s/^rust-version = .*/rust-version = \"$rust\"/" \
    -e 's/^pg18 = .*/&\npg19 = ["pgrx\/pg19", "pgrx-tests\/pg19"]/' "$ROOT/Cargo.toml" >"$work/Cargo.toml"
[ "$(grep -cE "^(pgrx|pgrx-tests) = \"=$pgrx\"|^pg19 = |^rust-version = \"$rust\"" "$work/Cargo.toml")" = 4 ] ||
    die "Cargo.toml is not as tests/matrix/manifest.sh knows it"
(cd "$work" && cargo metadata --quiet --format-version 1 >/dev/null)

mkdir -p "$into"
for file in Cargo.toml Cargo.lock; do
    # An unchanged file keeps its time.
    cmp -s "$work/$file" "$into/$file" || cp "$work/$file" "$into/$file"
done
