#!/usr/bin/env bash
# Rust must be there already: few distributions have one new enough, and rustup is the user's to install.
# rust.sh [check] [asan]: also what these targets ask for.
source "$(dirname "$0")/env.sh"

cd "$ROOT"
need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
command -v cargo >/dev/null || die "missing: cargo (install Rust $need or newer with rustup)"
command -v rustc >/dev/null || die "missing: rustc (install Rust $need or newer with rustup)"
have=$(rustc --version | cut -d' ' -f2)
printf '%s\n%s\n' "$need" "${have%%-*}" | sort -VC ||
    die "missing: Rust $need or newer (this one is $have; rustup update)"
# A distribution packs these apart from the compiler. The bindings to PostgreSQL's headers are written by rustfmt.
rustfmt --version >/dev/null 2>&1 || die "missing: rustfmt (rustup component add rustfmt, or apt-get install rustfmt)"
for target in "$@"; do
    case $target in
    check)
        cargo fmt --version >/dev/null 2>&1 || die "missing: cargo fmt (rustup component add rustfmt, or apt-get install rustfmt)"
        cargo clippy --version >/dev/null 2>&1 || die "missing: clippy (rustup component add clippy, or apt-get install rust-clippy)"
        ;;
    asan)
        cargo +nightly --version >/dev/null 2>&1 || command -v rustup >/dev/null ||
            die "missing: rustup (AddressSanitizer asks for nightly Rust, which no distribution has)"
        ;;
    esac
done
