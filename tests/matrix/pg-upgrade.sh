#!/usr/bin/env bash
# pg_upgrade from this machine's PostgreSQL, 15, to later majors in their chroots: pg-upgrade.sh [MAJOR…]
# The server tree of 15 is taken there, with the libraries that the later Debian has no more. The tests find it by
# ENVELOPE_OTHER_PG_BINS, and not in the trees beside their own: a run of the matrix alone shall not meet an older build.
here=$(cd "$(dirname "$0")" && pwd)
source "$here/env.sh"

as_root_only
from=15
majors=("$@")
[ ${#majors[@]} -gt 0 ] || majors=(17 18)
"$here/prepare.sh" "$from"
tree=$(tree "$from" dev)
there=/var/cache/upgrade/pg$from
libraries=/usr/local/lib/of-postgresql-$from

for pg in "${majors[@]}"; do
    suite=$(suite_of "$pg")
    [ -n "$suite" ] || die "pg-upgrade.sh: PostgreSQL $pg is not in a later Debian than $from"
    "$here/prepare.sh" "$pg"
    root=$MATRIX/$suite

    rm -rf "${root:?}$there" "$root$libraries"
    mkdir -p "$root$there" "$root$libraries"
    cp -a "$tree/." "$root$there/"
    # A server without it compiles no queries, and needs no LLVM of its own.
    rm -rf "$root$there/lib/postgresql/$from/lib/llvmjit.so" "$root$there/lib/postgresql/$from/lib/bitcode"
    # Scripts are among the files: ldd says so, and fails.
    { find "$root$there/lib/postgresql/$from"/{bin,lib} -type f -exec ldd {} + 2>/dev/null || true; } |
        awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        while IFS= read -r library; do
            compgen -G "$root/usr/lib/*/${library##*/}" >/dev/null || cp -L "$library" "$root$libraries/"
        done
    echo "$libraries" >"$root/etc/ld.so.conf.d/of-postgresql-$from.conf"
    "$here/enter.sh" "$suite" ldconfig

    ENVELOPE_OTHER_PG_BINS=$there/lib/postgresql/$from/bin "$here/on.sh" "$pg" \
        tests/run/python.sh dev -m pytest -q -p no:cacheprovider cluster/test_upgrade.py -k major_to_major
done
