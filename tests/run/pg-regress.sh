#!/usr/bin/env bash
# SQL scripts and what they must print, by PostgreSQL's own pg_regress on a throwaway cluster.
# Tests run in order of their names, `setup` first. RESULTS=DIR keeps what they printed there.
# What a major prints otherwise stands in a directory of expected/ that is called after it.
source "$(dirname "$0")/../setup/env.sh"

pg=$(major)
pg_config=$(tree_pg_config "$pg" dev)
pg_regress=$(dirname "$("$pg_config" --pgxs)")/../test/regress/pg_regress

# The user who runs the server must be able to read and write all of it, and a socket's path is short.
work=$(mktemp -d /tmp/envelope-regress-XXXXXX)
trap '[ -z "${RESULTS:-}" ] || cp "$work"/results/*.out "$RESULTS"; rm -rf "$work"' EXIT
cp -r "$ROOT/tests/pg_regress/sql" "$ROOT/tests/pg_regress/expected" "$work/"
[ ! -d "$work/expected/$pg" ] || cp "$work/expected/$pg"/*.out "$work/expected/"
# The bootstrap superuser is called after the user who runs the server: `postgres` for root, not for others.
if grep -nw postgres "$work"/expected/*.out; then
    die "an expected output names the bootstrap superuser"
fi
as=()
if [ "$(id -u)" = 0 ]; then
    chown -R postgres "$work"
    as=(runuser -u postgres --)
fi

mapfile -t tests < <(find "$work/sql" -name '*.sql' ! -name setup.sql -printf '%f\n' | sed 's|\.sql$||' | LC_ALL=C sort)
[ ! -f "$work/sql/setup.sql" ] || tests=(setup "${tests[@]}")
# On a slow machine it would come to tables whose pages, order of rows or plan are looked at.
echo "autovacuum = off" >"$work/conf"
cd "$work"
if ! "${as[@]}" "$pg_regress" --temp-instance="$work/instance" --temp-config="$work/conf" --bindir="$("$pg_config" --bindir)" \
    --inputdir="$work" --outputdir="$work" --encoding=UTF8 --no-locale "${tests[@]}"; then
    cat "$work/regression.diffs" 2>/dev/null || tail -n 50 "$work"/log/*.log
    exit 1
fi
