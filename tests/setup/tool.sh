#!/usr/bin/env bash
# Builds a program for all checkouts of this user: tool.sh NAME VERSION [FEATURES]; see TOOLS in env.sh.
source "$(dirname "$0")/env.sh"

name=${1:?a crate} version=${2:?its version}
place=$(tool "$name" "$version")
mkdir -p "$TOOLS"
# Another checkout may be about it just now.
exec {lock}>"$place.lock"
flock "$lock"
[ ! -x "$place/bin/$name" ] || exit 0
rm -rf "$place" "$place.new"
# Not optimised: it runs for a second, and building it so would take minutes.
PATH=$place.new/bin:$PATH CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install "$name" --version "$version" --locked --profile dev --features "${3:-}" --root "$place.new" ||
    die "missing: $name $version (cargo install could not build it)"
# A program that its crate builds only with a feature is left out without an error.
[ -x "$place.new/bin/$name" ] || die "missing: $name $version (its crate built no program of that name)"
mv "$place.new" "$place"
