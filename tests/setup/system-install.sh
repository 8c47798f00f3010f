#!/usr/bin/env bash
# A release build into a system's PostgreSQL: system-install.sh PG_CONFIG. FEATURES says which providers of KEKs it has. Packages are set up for its major.
# With DESTDIR the files go below that directory, and nothing is set up: whoever builds a package has said what it needs.
here=$(dirname "$0")
source "$here/env.sh"

command -v "$1" >/dev/null || die "missing: $1 (set PG_CONFIG to the server's pg_config)"
PG=$("$1" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
export PG
if [ -n "${DESTDIR:-}" ]; then "$here/rust.sh"; else "$here/all.sh" dev; fi
flags=(--pg-config "$(command -v "$1")" --no-default-features --features "pg$PG ${FEATURES-kms-aws kms-vault nodes}")
cd "$ROOT"
use_tool cargo-pgrx "$(cargo_pgrx_version)"
if [ -n "${DESTDIR:-}" ]; then
    # It has no configuration of its own to look into.
    export PGRX_HOME=$TARGET/package-pgrx-home
    mkdir -p "$PGRX_HOME" "$DESTDIR"
    printf '[configs]\npg%s = "%s"\n' "$PG" "$(command -v "$1")" >"$PGRX_HOME/config.toml"
    # The same bytes in any folder (make reproducible): messages name files, of Rust and of C.
    export BUILDERS_WRAPPER=${RUSTC_WRAPPER:-} RUSTC_WRAPPER=$ROOT/tests/packages/rustc.sh
    export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$TARGET=/target"
    cargo pgrx package "${flags[@]}" --out-dir "$DESTDIR"
elif [ -w "$("$1" --pkglibdir)" ]; then
    cargo pgrx install --release "${flags[@]}"
else
    # Not `cargo pgrx install --sudo`: that writes the new library over the old one, from which sessions run.
    # `install` takes the old one away first, and they keep it.
    package=$TARGET/package
    rm -rf "$package"
    cargo pgrx package "${flags[@]}" --out-dir "$package"
    find "$package" -type f -printf '%m %P\n' | while read -r mode file; do
        sudo install -D -m "$mode" "$package/$file" "/$file"
    done
fi
