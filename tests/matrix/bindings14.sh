#!/usr/bin/env bash
# Cargo.toml and Cargo.lock with a pgrx-pg-sys that needs no headers of PostgreSQL 14: bindings14.sh DIR
# It takes the bindings that the crate ships for its documentation. For a check, and not for shipping.
source "$(dirname "$0")/env.sh"

into=${1:?a directory}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$ROOT/Cargo.toml" "$ROOT/Cargo.lock" "$ROOT/src" "$work/"

crate=$(cd "$ROOT" && cargo metadata --quiet --locked --format-version 1 | python3 -c '
import json, sys
print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "pgrx-pg-sys"))')
crate=${crate%/*}
copy=$MATRIX/crates/${crate##*/}
cat >"$work/bindgen.rs" <<'RUST'
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    // The C shim comes from this, and bindings to be replaced.
    pgrx_bindgen::build::main().map_err(|e| format!("{e:?}"))?;
    for file in ["pg14.rs", "pg14_oids.rs"] {
        fs::copy(Path::new("src/include").join(file), Path::new(&env::var("OUT_DIR")?).join(file))?;
    }
    Ok(())
}
RUST
# What the newer headers call, and 14 has not; nobody comes there.
{
    cat "$crate/pgrx-cshim.c"
    echo 'void RmgrNotFound(RmgrId rmid) { (void) rmid; __builtin_trap(); }'
} >"$work/pgrx-cshim.c"
if ! cmp -s "$work/bindgen.rs" "$copy/bindgen.rs" || ! cmp -s "$work/pgrx-cshim.c" "$copy/pgrx-cshim.c"; then
    rm -rf "$copy"
    mkdir -p "${copy%/*}"
    cp -r "$crate" "$copy"
    cp "$work/bindgen.rs" "$work/pgrx-cshim.c" "$copy/"
fi
printf '\n[patch.crates-io]\npgrx-pg-sys = { path = "%s" }\n' "$copy" >>"$work/Cargo.toml"
(cd "$work" && cargo metadata --quiet --format-version 1 >/dev/null)

mkdir -p "$into"
for file in Cargo.toml Cargo.lock; do
    # An unchanged file keeps its time.
    cmp -s "$work/$file" "$into/$file" || cp "$work/$file" "$into/$file"
done
