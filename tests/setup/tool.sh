#!/usr/bin/env bash
# Builds a program for all checkouts of this user: tool.sh NAME VERSION; see TOOLS in env.sh.
source "$(dirname "$0")/env.sh"

name=${1:?a crate} version=${2:?its version}
place=$(tool "$name" "$version")
PATH=$place/bin:$PATH
mkdir -p "$TOOLS"
# Another checkout may be about it just now.
exec {lock}>"$place.lock"
flock "$lock"
! has_tool "$name" "$version" || exit 0
rm -rf "$place" "$place.new"
# Not optimised: it runs for a second, and building it so would take minutes.
PATH=$place.new/bin:$PATH CARGO_PROFILE_DEV_DEBUG=0 \
    cargo install "$name" --version "$version" --locked --profile dev --root "$place.new" ||
    die "missing: $name $version (cargo install could not build it)"
mv "$place.new" "$place"
