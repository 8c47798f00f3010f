#!/usr/bin/env bash
# A package of target/packages in a fresh Debian: installed with what it depends on and nothing else, the SQL of the quick
# start and of the README run, purged, installed again, tested by autopkgtest: try.sh MAJOR
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../matrix/env.sh"

as_root_only
pg=${1:?a major}
suite=$(suite_of "$pg")
[ -n "$suite" ] || suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
deb=$(find "$TARGET/packages" -maxdepth 1 -name "postgresql-$pg-envelope_*.deb" | sort -V | tail -n 1)
[ -n "$deb" ] || die "missing: target/packages/postgresql-$pg-envelope_*.deb (make deb MAJORS=$pg)"

# A chroot of its own, which goes with the run.
MATRIX=$(mktemp -d /var/tmp/pgrx-example-deb.XXXXXX)
export MATRIX
trap 'rm -rf "$MATRIX"' EXIT
"$here/../matrix/chroot.sh" "$suite" >"$MATRIX/log" 2>&1 || { tail "$MATRIX/log" >&2; die "no chroot of $suite"; }
home=$MATRIX/$suite/root
cp "$deb" "$home/package.deb"
cp "$here/inside.sh" "$home/"
mkdir "$home/source"
cp -r "$ROOT/debian" "$home/source/"
for page in quick-start:docs/quick-start.md readme:README.md; do
    python3 "$here/sql.py" "$ROOT/${page#*:}" >"$home/${page%%:*}.sql"
    python3 "$here/sql.py" --expected "$ROOT/${page#*:}" >"$home/${page%%:*}.expected"
done
"$here/../matrix/enter.sh" "$suite" bash /root/inside.sh "$pg"
