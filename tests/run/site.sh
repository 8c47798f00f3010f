#!/usr/bin/env bash
# The documentation as a site, into target/site, and whether its links lead somewhere.
source "$(dirname "$0")/../setup/env.sh"

use_tool mdbook 0.5.4
/usr/bin/python3 "$ROOT/site/build.py" 2>&1 | { grep -v " INFO " || true; }
/usr/bin/python3 "$ROOT/site/links.py" "$TARGET/site"
echo "$TARGET/site/index.html"
