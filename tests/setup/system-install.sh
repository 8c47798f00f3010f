#!/usr/bin/env bash
# A release build into a system's PostgreSQL: system-install.sh PG_CONFIG. Packages are set up for its major.
here=$(dirname "$0")
source "$here/env.sh"

command -v "$1" >/dev/null || die "missing: $1 (set PG_CONFIG to the server's pg_config)"
PG=$("$1" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
export PG
"$here/all.sh" dev
flags=(--release --pg-config "$(command -v "$1")" --no-default-features --features "pg$PG")
[ -w "$("$1" --pkglibdir)" ] || flags+=(--sudo)
cd "$ROOT"
cargo pgrx install "${flags[@]}"
