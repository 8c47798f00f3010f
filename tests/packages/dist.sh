#!/usr/bin/env bash
# The sources of the last commit as one archive for PGXN, into target/dist. The same commit gives the same bytes.
source "$(dirname "$0")/../setup/env.sh"

use_tool pgxn_meta 0.7.0
cd "$ROOT"
git=(git -c safe.directory='*')
"${git[@]}" diff --quiet HEAD || die "there are changes that are not committed, and would not be in the archive"
pgxn_meta META.json
name=$(python3 -c 'import json; meta = json.load(open("META.json")); print(meta["name"], meta["version"], sep="-")')
mkdir -p "$TARGET/dist"
# Times in a zip are local ones.
TZ=UTC "${git[@]}" archive --format=zip --prefix="$name/" --output="$TARGET/dist/$name.zip" HEAD
python3 - "$TARGET/dist/$name.zip" <<'PYTHON'
import json, sys, zipfile

archive = zipfile.ZipFile(sys.argv[1])
root = archive.namelist()[0]
for name, extension in json.loads(archive.read(f"{root}META.json"))["provides"].items():
    for file in (extension["file"], extension["docfile"], f"{name}.control", "Makefile", "Cargo.lock"):
        archive.getinfo(root + file)
PYTHON
sha256sum "$TARGET/dist/$name.zip"
