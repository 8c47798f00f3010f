#!/usr/bin/env bash
# Rust must be there already: no distribution has one new enough, and rustup is the user's to install.
source "$(dirname "$0")/env.sh"

need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
command -v cargo >/dev/null || die "missing: cargo (install Rust $need or newer with rustup)"
command -v rustc >/dev/null || die "missing: rustc (install Rust $need or newer with rustup)"
have=$(cd "$ROOT" && rustc --version | cut -d' ' -f2)
printf '%s\n%s\n' "$need" "${have%%-*}" | sort -VC ||
    die "missing: Rust $need or newer (this one is $have; rustup update)"
