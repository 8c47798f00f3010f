#!/usr/bin/env bash
# pg_regress and the cluster tests on every major: matrix.sh [MAJOR…]
# What that needs (chroots, downloads, builds) is made below MATRIX and kept, and so is what each step printed.
here=$(dirname "$0")
source "$here/../matrix/env.sh"

as_root_only
majors=("$@")
[ ${#majors[@]} -gt 0 ] || majors=(14 15 16 17 18 19)
logs=$MATRIX/logs
mkdir -p "$logs"

# step NAME COMMAND…: its output into a file; says so when it fails.
step() {
    local log=$logs/$pg-$1.log
    shift
    if ! "$@" >"$log" 2>&1; then
        echo "PostgreSQL $pg: see $log, which ends:" >&2
        tail -n 5 "$log" >&2
        return 1
    fi
}

# The line of pg_regress that counts, in the words of all majors: passed/total.
regress_count() {
    sed -nE -e 's/^(#)? ?All ([0-9]+) tests passed.*/\2\/\2/p' \
        -e 's/^(#)? ?([0-9]+) of ([0-9]+) tests failed.*/\2 \3/p' "$logs/$pg-regress.log" |
        awk '{ print NF == 2 ? $2 - $1 "/" $2 : $1; exit }'
}

# The last line of pytest: passed/total, where a test that was skipped or left out did not pass.
cluster_count() {
    tail -n 1 "$logs/$pg-cluster.log" | awk '
        { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^(passed|failed|errors?|skipped|deselected)/) { all += $i; n[$(i + 1)] = $i } }
        END { if (all) print n["passed"] + n["passed,"] "/" all }'
}

on() { "$here/../matrix/on.sh" "$pg" "$@"; }

failed=
row() { printf '%-7s %-10s %-11s %-9s %s\n' "$@"; }
table=$(row major minor pg_regress cluster minutes)
for pg in "${majors[@]}"; do
    began=$SECONDS
    minor=- regress=- cluster=-
    rm -f "$logs/$pg"-*.log
    echo "PostgreSQL $pg …" >&2
    if step prepare "$here/../matrix/prepare.sh" "$pg"; then
        # shellcheck disable=SC2016 # for the shell there
        minor=$(on bash -c 'source tests/setup/env.sh; "$(dirname "$(tree_pg_config "$PG" dev)")/postgres" --version' |
            sed -E 's/^postgres \(PostgreSQL\) ([^ ]*).*/\1/')
        step regress on tests/run/pg-regress.sh || failed=yes
        regress=$(regress_count)
        # The packages that 14 and 16 come from have no pg_upgrade, or one of another minor than the server.
        without=()
        case $pg in
        14 | 16)
            without+=(--deselect cluster/test_upgrade.py::test_pg_upgrade)
            without+=(--deselect cluster/test_newer_majors.py::test_a_dump_with_statistics_has_what_an_index_has_opened)
            ;;
        esac
        step cluster on tests/run/pytest.sh -p no:cacheprovider "${without[@]}" || failed=yes
        cluster=$(cluster_count)
    else
        failed=yes
    fi
    table+=$'\n'$(row "$pg" "$minor" "${regress:--}" "${cluster:--}" $(((SECONDS - began + 30) / 60)))
done
echo "$table"
[ -z "$failed" ]
