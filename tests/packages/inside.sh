#!/bin/bash
# Run by try.sh as root of a fresh system: inside.sh MAJOR
set -euo pipefail
pg=$1
cd /root
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root)
if [ "$pg" = 19 ]; then
    # It is not released: apt takes it from experimental only when told to.
    sed 's/ forky / experimental /' /etc/apt/sources.list >/etc/apt/sources.list.d/experimental.list
    "${apt[@]}" update >/dev/null
    apt+=(--target-release experimental)
fi
bin=/usr/lib/postgresql/$pg/bin
data=/var/lib/postgresql/try

as_postgres() { (cd / && runuser -u postgres -- "$@"); }
server() { as_postgres "$bin/pg_ctl" -D $data -w -s -l $data/log "$@"; }
run() { as_postgres psql -XAtq -F ' ' -v ON_ERROR_STOP=1 "$@"; }
fail() {
    echo "$*" >&2
    exit 1
}

"${apt[@]}" install ./package.deb >install.log 2>&1 || { tail -n 30 install.log >&2; exit 1; }
dpkg -L "postgresql-$pg-envelope" | while read -r path; do [ -d "$path" ] || echo "$path"; done >files
echo "installed: $(wc -l <files) files, with $(grep -c '^Setting up' install.log) packages"

as_postgres "$bin/initdb" -D $data -A trust -U postgres >/dev/null
echo "shared_preload_libraries = 'pgrx-example'" >>$data/postgresql.conf
server start
for page in quick-start readme; do
    as_postgres createdb $page
    run -d $page <$page.sql >$page.out 2>$page.err || { cat $page.err >&2; fail "$page: a statement failed"; }
    diff $page.expected $page.out || fail "$page: what it shows is not what is given"
    [ $page = quick-start ] || continue
    echo "quick start: $(wc -l <$page.out) results as shown"
    # The library goes while a table is sealed: nothing of the data goes with it, and it opens when the library is back.
    server restart
    run -d quick-start -c "SELECT ssn FROM patients_open WHERE id = 3" >before
    server stop
    "${apt[@]}" purge "postgresql-$pg-envelope" >/dev/null 2>&1
    while read -r path; do [ ! -e "$path" ] || fail "left after purge: $path"; done <files
    sed -i '/^shared_preload_libraries/d' $data/postgresql.conf
    server start
    [ "$(run -d quick-start -c "SELECT count(*) FROM patients WHERE ssn IS NOT NULL")" = 3 ] || fail "rows are gone with the package"
    server stop
    "${apt[@]}" install ./package.deb >/dev/null 2>&1
    server start
    run -d quick-start -c "SELECT ssn FROM patients_open WHERE id = 3" | diff before - || fail "a value does not open any more"
    [ "$(cat before)" = 987-65-4321 ] || fail "a value opens to another"
    echo "removed, purged, installed again: nothing left, nothing lost"
done
echo "README: its session ran"
server stop
# As distributions test a package that is installed. It brings programs of its own, and so it comes last.
{
    "${apt[@]}" install autopkgtest
    command -v pg_buildext || "${apt[@]}" install postgresql-common-dev
    (cd source && PG_SUPPORTED_VERSIONS=$pg pg_buildext updatecontrol)
    autopkgtest --no-built-binaries --summary-file "$PWD/autopkgtest.summary" "$PWD/source" -- null
} >autopkgtest.log 2>&1 </dev/null || { tail -n 30 autopkgtest.log >&2; fail "autopkgtest: a test of debian/tests failed"; }
echo "autopkgtest: $(grep -c ' PASS$' autopkgtest.summary) of debian/tests passed"
"${apt[@]}" purge "postgresql-$pg-envelope" >/dev/null 2>&1
while read -r path; do [ ! -e "$path" ] || fail "left after purge: $path"; done <files
