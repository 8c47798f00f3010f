#!/usr/bin/env bash
# Looks for what a hostile role could make of the extension's scripts: search_path, CREATE OR REPLACE, rights.
source "$(dirname "$0")/../setup/env.sh"

pg=$(major)
extension=$("$(tree_pg_config "$pg" dev)" --sharedir)/extension
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
# These run with their caller's rights and read the caller's expression with the caller's search_path. A procedure that
# commits cannot set one either.
unpinned=(
    'envelope.sweep_statements(relation regclass,value text,is_left text,changes text,is_damaged text,is_sound text,OUT change text,OUT change_free text,OUT number text)'
    'envelope.reencrypt_rows(change text,change_free text,number text,skips boolean,pass integer,from_block bigint,to_block bigint,old_keys uuid[],active_key uuid,quiet boolean,OUT met bigint,OUT moved bigint,OUT damaged bigint,OUT is_seen boolean)'
    'envelope.sweep_left(relations oid[],is_left text,is_damaged text,old_keys uuid[],active_key uuid)'
    'envelope.sweep(work text,relation regclass,column_name name,value text,is_left text,changes text,is_damaged text,is_sound text,by_rows boolean,source name,is_emptied boolean,batch_size integer,pause interval,max_lag bigint,row_lock_timeout interval,quiet boolean,strict boolean,INOUT complete boolean)'
    'envelope.wait_for_writers(relation regclass,row_lock_timeout interval,message text)'
    'envelope.seal_column(relation regclass,column_name name,source text,batch_size integer,pause interval,max_lag bigint,row_lock_timeout interval,quiet boolean,verify boolean,on_damage text)'
    'envelope.build_index(relation regclass,column_name name,index_column name,batch_size integer,pause interval,max_lag bigint,row_lock_timeout interval,quiet boolean,on_damage text)'
    'envelope.reencrypt(relation regclass,column_name name,batch_size integer,context text,pause interval,max_lag bigint,row_lock_timeout interval,quiet boolean,verify boolean,strict boolean,on_damage text)'
)
flags=()
for function in "${unpinned[@]}"; do flags+=(--proc-without-search-path "$function"); done
# pgspot does not know bodies of standard SQL, so it gets them as strings. Such a body is parsed when the function is
# made, with the script's search_path: names in it must be qualified as everywhere else.
# shellcheck disable=SC2016 # a dollar quote of SQL
as_string='s/^  BEGIN ATOMIC$/  SET search_path = pg_catalog, pg_temp AS $body$/; s/^  END;$/  $body$;/'
sed "$as_string" "$extension/pgrx-example--$version.sql" | "$VENV/bin/pgspot" "${flags[@]}"
# In an upgrade script schema envelope is the extension's already, and PostgreSQL has it replace no one else's objects.
for script in "$ROOT"/sql/pgrx-example--*--*.sql; do
    { echo 'CREATE SCHEMA envelope;' && sed "$as_string" "$script"; } | "$VENV/bin/pgspot" "${flags[@]}"
done
