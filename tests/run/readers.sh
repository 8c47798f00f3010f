#!/usr/bin/env bash
# The readers of interop/ as packages, in target/readers: a wheel and an archive of sources for Python, a tarball for npm.
# Each is installed where there is nothing else of ours, and passes the vectors there.
source "$(dirname "$0")/../setup/env.sh"

"$ROOT/tests/setup/venv.sh"
command -v npm >/dev/null || die "missing: npm (apt-get install npm)"
# Two builds of one commit give the same bytes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$ROOT" log -1 --format=%ct -- interop 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH PIP_DISABLE_PIP_VERSION_CHECK=1

made=$TARGET/readers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$made"
mkdir -p "$made" "$work/from" "$work/interop" "$work/tests"
cp -r "$ROOT/interop/python" "$ROOT/interop/javascript" "$work/from"
cp -r "$ROOT/tests/vectors" "$work/tests"

# Python's own tool, at the version that made the released ones.
/usr/bin/python3 -m venv "$work/build"
"$work/build/bin/pip" --quiet install build==1.3.0
"$work/build/bin/python" -m build --outdir "$made" "$work/from/python" >"$work/log" 2>&1 || die "$(tail -n 20 "$work/log")"
(cd "$work/from/javascript" && npm pack --silent --pack-destination "$made" >/dev/null)

# The tests stand as in a checkout, but the package is the one that was installed.
/usr/bin/python3 -m venv "$work/python"
"$work/python/bin/pip" --quiet install "$made"/*.whl
mkdir "$work/interop/python"
cp -r "$ROOT/interop/python/tests" "$work/interop/python"
"$work/python/bin/python" -m unittest discover "$work/interop/python/tests"

mkdir "$work/interop/javascript"
tar -xzf "$made"/*.tgz -C "$work/interop/javascript" --strip-components 1
cp -r "$ROOT/interop/javascript/test" "$work/interop/javascript"
(cd "$work/interop/javascript" && npm test --silent)

cd "$made"
sha256sum -- *
