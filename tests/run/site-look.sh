#!/usr/bin/env bash
# The site in a browser: wide and narrow, light and dark, by axe-core: site-look.sh [PAGE…]. By hand, not a part of the tests:
# it takes minutes, Node.js with npm, and Chromium (BROWSER says where; headless ones do).
source "$(dirname "$0")/../setup/env.sh"

"$ROOT/tests/run/site.sh"
browser=${BROWSER:-$(command -v chromium-headless-shell || command -v chromium || true)}
[ -n "$browser" ] || die "missing: chromium (apt-get install chromium-headless-shell, or BROWSER=/path)"
command -v npm >/dev/null || die "missing: npm (apt-get install npm)"
look=$TARGET/site-look
mkdir -p "$look"
if ! cmp -s "$ROOT/site/package.json" "$look/package.json"; then
    cp "$ROOT/site/package.json" "$look/"
    (cd "$look" && npm install --silent --ignore-scripts --no-audit --no-fund) ||
        die "missing: npm packages of site/package.json (npm could not install them)"
fi
cd "$look"
exec node "$ROOT/site/look.mjs" "$TARGET/site" "$look/pictures" "$browser" "$@"
