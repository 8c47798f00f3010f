-- Brings the catalog of 0.1.0 to that of 0.2.0.
--
-- What changes in sql/*.sql changes here, too: both ways must lead to the same catalog, object by object, which
-- tests/cluster/test_upgrade_script.py compares. How to write it so that users lose nothing:
-- docs/upgrading-the-extension.md.

-- Tables. Columns come at the end, since src/catalog/ reads them by position.

CREATE TYPE envelope.type_ref;

CREATE FUNCTION envelope.type_ref_in(cstring) RETURNS envelope.type_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_in_wrapper';

CREATE FUNCTION envelope.type_ref_out(envelope.type_ref) RETURNS cstring
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_out_wrapper';

CREATE FUNCTION envelope.type_ref_recv(internal) RETURNS envelope.type_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_recv_wrapper';

CREATE FUNCTION envelope.type_ref_send(envelope.type_ref) RETURNS bytea
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_send_wrapper';

CREATE TYPE envelope.type_ref (
  INPUT = envelope.type_ref_in, OUTPUT = envelope.type_ref_out,
  RECEIVE = envelope.type_ref_recv, SEND = envelope.type_ref_send,
  LIKE = pg_catalog.oid
);
COMMENT ON TYPE envelope.type_ref IS
  'A type: held by OID, written as its schema-qualified name, "-" when it is gone';
COMMENT ON FUNCTION envelope.type_ref_in(cstring) IS 'Name to type, 0 when nothing bears it';
COMMENT ON FUNCTION envelope.type_ref_out(envelope.type_ref) IS 'Type to schema-qualified name';
COMMENT ON FUNCTION envelope.type_ref_recv(internal) IS 'Name to type, binary protocol';
COMMENT ON FUNCTION envelope.type_ref_send(envelope.type_ref) IS 'Type to name, binary protocol';

CREATE CAST (envelope.type_ref AS pg_catalog.oid) WITHOUT FUNCTION AS IMPLICIT;

CREATE CAST (pg_catalog.regtype AS envelope.type_ref) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE INDEX keyring_table_name ON envelope.keyring (table_name COLLATE "C");
COMMENT ON COLUMN envelope.keyring.table_name IS 'Its table, as last seen: for people, and for the WARNING to whoever makes a table of that name';
COMMENT ON COLUMN envelope.keyring_table.former_owner IS
  'Who owned the table when it was dropped: that role may give the keyring to another table';

ALTER TABLE envelope.data_key
  ADD COLUMN pending           boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN envelope.data_key.state IS
  'active: it seals and opens, one of a keyring and purpose; decrypt-only: it opens, or is pending; retired: it does not open; destroyed: never again';
COMMENT ON COLUMN envelope.data_key.pending IS
  'The key opens, and seals nothing until envelope.activate_key says so: the other nodes get it first';
COMMENT ON COLUMN envelope.wrapped_key.verified_at IS
  'When it was last unwrapped and compared: when it was written, or took the place of another';

ALTER TABLE envelope.reencryption
  ADD COLUMN rows_plaintext  bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_of_others  bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_unknown    bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_destroyed  bigint NOT NULL DEFAULT 0,
  ADD COLUMN rows_damaged    bigint NOT NULL DEFAULT 0,
  ADD COLUMN work            text NOT NULL DEFAULT 'reencrypt'
    CHECK (work OPERATOR(pg_catalog.=) ANY (ARRAY['reencrypt', 'seal', 'index']));

-- It gains a column.
DROP INDEX envelope.reencryption_once;
CREATE UNIQUE INDEX reencryption_once ON envelope.reencryption (relation, column_name, work)
  WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.reencryption IS 'How far CALL envelope.reencrypt, envelope.seal_column and envelope.build_index have come';
COMMENT ON COLUMN envelope.reencryption.rows_plaintext IS 'Values in clear, left alone; known once it has ended';
COMMENT ON COLUMN envelope.reencryption.rows_of_others IS 'Values of keyrings that the table does not open with, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_unknown IS 'Values under keys that are not in this database, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_destroyed IS 'Values under destroyed keys, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_damaged IS
  'Other values under keys of the table that do not open, and were passed by: in this pass, or the last one';
COMMENT ON COLUMN envelope.reencryption.work IS
  'What is done: values are re-encrypted, or sealed, or the column of a search index gets their terms';

CREATE TABLE envelope.followed_keyring (
  keyring_id  uuid PRIMARY KEY,
  origin      text NOT NULL,
  since       timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE envelope.followed_keyring IS
  'Keyrings whose data keys come from elsewhere: they are made and rotated there';
COMMENT ON COLUMN envelope.followed_keyring.origin IS
  'The replication origin that brought one last; empty: envelope.import_keyring brings them';

CREATE TABLE envelope.key_event (
  id              uuid PRIMARY KEY,
  at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  event           text NOT NULL,
  role            text NOT NULL,
  login_role      text NOT NULL,
  table_name      text,
  keyring_id      uuid,
  key_id          uuid,
  kek             text,
  kms_request_id  text,
  grantee         text,
  verb            text,
  count           bigint,
  detail          text
);

CREATE INDEX key_event_at ON envelope.key_event (at);

CREATE INDEX key_event_keyring ON envelope.key_event (keyring_id);
COMMENT ON TABLE envelope.key_event IS
  'The history of keys, of the rights on them and of protected columns: rows are only added';
COMMENT ON COLUMN envelope.key_event.event IS 'As in the audit: create, rotate, destroy, grant, ...';
COMMENT ON COLUMN envelope.key_event.role IS 'Whose right counted, by its name of that day';
COMMENT ON COLUMN envelope.key_event.login_role IS 'Who logged in';
COMMENT ON COLUMN envelope.key_event.kms_request_id IS 'The KMS''s number of the request that drew a new key';
COMMENT ON COLUMN envelope.key_event.detail IS 'The reason, or the new value';
-- Dumps carry the rows, and the database's owner may take them.
GRANT SELECT ON envelope.keyring, envelope.keyring_table, envelope.data_key, envelope.wrapped_key,
  envelope.key_grant, envelope.sealed_column, envelope.key_use, envelope.key_event TO pg_database_owner;

SELECT pg_catalog.pg_extension_config_dump('envelope.key_event', '');

-- Keyrings and keys. A view gains columns at the end: what users have built on it stays, and so do their grants.
COMMENT ON FUNCTION envelope_encrypt(regclass, bytea, text) IS
  'Seals bytes under the active data key of a table; a context that is bound in must be given again to open';
COMMENT ON FUNCTION envelope_decrypt(regclass, bytea, text) IS
  'Opens a value that was sealed for a table; an error if it was changed or the context differs';
COMMENT ON FUNCTION envelope_decrypt_text(regclass, bytea, text) IS
  'As envelope_decrypt, for values that were sealed as text';
COMMENT ON FUNCTION envelope_context(text, text[]) IS
  'Makes the context that binds a value to its column (tag) and row (parts)';
COMMENT ON FUNCTION envelope_seal() IS
  'Trigger BEFORE INSERT OR UPDATE ... FOR EACH ROW: seals what arrives in the columns named as arguments; with ''sealed=source'', what arrives in the source, which is emptied';
COMMENT ON FUNCTION envelope.create_key(regclass, text, jsonb) IS
  'Makes the data key of a table, under a KEK and a KMS encryption context; gives its key id';
COMMENT ON FUNCTION envelope.is_sealed(bytea) IS
  'Whether a value has the shape of a sealed value, for CHECK constraints; opens nothing';

CREATE FUNCTION envelope.flush_cache(everywhere boolean DEFAULT false)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_flush_keys_wrapper';
COMMENT ON FUNCTION envelope.flush_cache(boolean) IS
  'Wipes this session''s unwrapped data keys from memory; gives their number. Everywhere: of all sessions, with all leases';
COMMENT ON FUNCTION envelope.warm(regclass) IS
  'Unwraps a table''s data keys now, so that a later transaction need not wait for the KMS; gives the number that it unwrapped';
COMMENT ON FUNCTION envelope.set_limits(regclass, jsonb) IS
  'Sets a table''s own limits: of its cached keys, tighter than the settings; session_max_values, 1 to draw every nonce anew; and of its key''s turn: rotate_after, rotate_after_seals, rotate_after_bytes, cryptoperiod';
COMMENT ON FUNCTION envelope.grant_key(regclass, name, text) IS
  'Lets a role encrypt, decrypt, search or manage (which includes decrypt and search) with the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(regclass, text) IS
  'Whether the current role has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(name, regclass, text) IS
  'Whether a role, by name, has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.has_key_privilege(oid, regclass, text) IS
  'Whether a role, by OID, has one of the given rights on the keys of a table';
COMMENT ON FUNCTION envelope.adopt_keyring(uuid, regclass) IS
  'Gives a table the keyring of a dropped table: to seal with if it has none, else to open with';
COMMENT ON FUNCTION envelope.share_keyring(regclass, regclass) IS
  'Lets a table also open with the keyring that another table seals with';

CREATE FUNCTION envelope.unshare_keyring(
    from_relation regclass, to_relation regclass, force boolean DEFAULT false)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unshare_keyring_wrapper';
COMMENT ON FUNCTION envelope.unshare_keyring(regclass, regclass, boolean) IS
  'Takes share_keyring back; refuses while the other table holds a value of the keyring, unless force is true';
COMMENT ON FUNCTION envelope.export_keyring(regclass) IS
  'Gives the keyrings of a table as JSON, their data keys wrapped, for envelope.import_keyring elsewhere';

CREATE FUNCTION envelope.import_keyring(
    keyring jsonb, relation regclass DEFAULT NULL, follow boolean DEFAULT false,
    grants boolean DEFAULT false, resolve text DEFAULT 'error')
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_take_keyring_wrapper';
COMMENT ON FUNCTION envelope.import_keyring(jsonb, regclass, boolean, boolean, text) IS
  'Brings exported keyrings here, with what has happened to them since they were last imported, and gives them to a table; gives the id of the one that seals';
COMMENT ON FUNCTION envelope.check_kek(text) IS
  'Tries a KEK: generates a data key, unwraps it, compares; a row for each step, the failed one last';

CREATE FUNCTION envelope.check(nodes boolean DEFAULT false, servers name[] DEFAULT NULL)
  RETURNS TABLE (relation text, keyring_id uuid, key_id uuid, kek text,
                 ok boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_check_nodes_wrapper';
COMMENT ON FUNCTION envelope.check(boolean, name[]) IS
  'Unwraps every data key that you may manage (all, for superusers), past the cache, and checks that active keys may seal; a row for each wrapped key, for each break, for what a restore would lose, and for each error that envelope.lint finds; with nodes, or servers of CREATE SERVER, also for each difference between this node and the others';
COMMENT ON VIEW envelope.stats IS
  'This session: unwrapped keys in memory, whether that memory is locked, KMS operations and failures, keys that another KEK than their first one unwrapped';

-- Tables' owners and those who were given a right see their keys, owners also those of tables that are
-- gone; members of pg_monitor see all. Nobody sees a wrapped key.
CREATE OR REPLACE VIEW envelope.keys WITH (security_barrier) AS
  SELECT r.keyring_id,
         CASE WHEN t.relation::pg_catalog.text OPERATOR(pg_catalog.<>) '-'
              THEN t.relation::pg_catalog.text ELSE r.table_name END AS relation,
         k.key_id, k.purpose, k.version,
         CASE WHEN k.pending AND k.state OPERATOR(pg_catalog.=) 'decrypt-only'
              THEN 'pending' ELSE k.state END AS state,
         ARRAY(SELECT w.kek FROM envelope.wrapped_key w
               WHERE w.key_id OPERATOR(pg_catalog.=) k.key_id
               ORDER BY w.position, w.kek) AS keks,
         k.created_at, k.state_changed_at, k.reason,
         COALESCE(t.relation::pg_catalog.oid OPERATOR(pg_catalog.=) 0::pg_catalog.oid, true)
           AS orphaned,
         k.purpose OPERATOR(pg_catalog.<>) 'seal'
           OR k.version OPERATOR(pg_catalog.>=) r.minimum_version AS is_taken,
         ARRAY(SELECT w.kms_context FROM envelope.wrapped_key w
               WHERE w.key_id OPERATOR(pg_catalog.=) k.key_id
               ORDER BY w.position, w.kek) AS kms_contexts,
         (SELECT CASE WHEN pg_catalog.bool_and(w.kek OPERATOR(pg_catalog.~) '^(aws-kms|vault|vault[+]http)://')
                      THEN 'kms policy and log' ELSE 'cipher' END
          FROM envelope.wrapped_key w
          WHERE w.key_id OPERATOR(pg_catalog.=) k.key_id
          HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0) AS context_binding
  FROM envelope.keyring r
  JOIN envelope.data_key k ON k.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
  LEFT JOIN envelope.keyring_table t
    ON t.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND t.seals
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     OR EXISTS (SELECT FROM pg_catalog.pg_class c
                WHERE c.oid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
                  AND pg_catalog.pg_has_role(c.relowner, 'USAGE'))
     OR pg_catalog.pg_has_role(t.former_owner::pg_catalog.oid, 'USAGE')
     OR EXISTS (SELECT FROM envelope.key_grant g
                WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE'));
COMMENT ON VIEW envelope.keys IS
  'What is known of the data keys of tables that you own, owned or have a right on (all, for members of pg_monitor); keks and kms_contexts go together, in the order in which KEKs are tried';

-- A row a table, role and verb, however the role came by it; members of the role may do the same.
CREATE OR REPLACE VIEW envelope.key_privileges WITH (security_barrier) AS
  SELECT CASE WHEN t.relation::pg_catalog.text OPERATOR(pg_catalog.<>) '-'
              THEN t.relation::pg_catalog.text ELSE r.table_name END AS relation,
         p.grantee::pg_catalog.text AS grantee, p.verb, p.origin, r.keyring_id
  FROM envelope.keyring r
  LEFT JOIN envelope.keyring_table t
    ON t.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND t.seals
  LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
  CROSS JOIN LATERAL (
    SELECT c.relowner::pg_catalog.regrole::envelope.role_ref AS grantee, v.verb, 'owner' AS origin
    FROM pg_catalog.unnest(ARRAY['encrypt', 'decrypt', 'search', 'manage']) AS v (verb)
    WHERE c.oid IS NOT NULL
    UNION ALL
    SELECT g.grantee, g.verb, 'grant' FROM envelope.key_grant g
    WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
    UNION ALL
    SELECT g.grantee, v.verb, 'manage' FROM envelope.key_grant g,
           pg_catalog.unnest(ARRAY['decrypt', 'search']) AS v (verb)
    WHERE g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
      AND g.verb OPERATOR(pg_catalog.=) 'manage'
    UNION ALL
    SELECT DISTINCT s.relowner::pg_catalog.regrole::envelope.role_ref, 'decrypt', 'share'
    FROM envelope.keyring_table o
    JOIN pg_catalog.pg_class s ON s.oid OPERATOR(pg_catalog.=) o.relation::pg_catalog.oid
    WHERE o.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND NOT o.seals) AS p
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
     OR pg_catalog.pg_has_role(p.grantee::pg_catalog.oid, 'USAGE')
     OR EXISTS (SELECT FROM envelope.key_grant m
                WHERE m.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND m.verb OPERATOR(pg_catalog.=) 'manage'
                  AND pg_catalog.pg_has_role(m.grantee::pg_catalog.oid, 'USAGE'));
COMMENT ON VIEW envelope.key_privileges IS
  'Who may do what with the keys of a table, and why: as its owner, by a grant, since manage includes decrypt and search, or as owner of a table that the keyring is shared with; your own rights, and all rights on tables whose keys you may manage';

-- OFFSET 0 has a value looked at once, not once for each column.
CREATE OR REPLACE FUNCTION envelope.inspect(
    sealed bytea, OUT format text, OUT key_id uuid, OUT version integer, OUT relation text,
    OUT state text, OUT plaintext_length integer)
  RETURNS record LANGUAGE sql STABLE STRICT PARALLEL SAFE
  BEGIN ATOMIC
    SELECT CASE WHEN s.sealed THEN 'envelope/1' END, s.key_id, k.version, k.relation, k.state,
           CASE WHEN s.sealed THEN pg_catalog.octet_length($1) OPERATOR(pg_catalog.-) 58 END
    FROM (SELECT envelope.is_sealed($1) AS sealed,
                 CASE WHEN envelope.is_sealed($1)
                      THEN pg_catalog.encode(pg_catalog.substr($1, 3, 16), 'hex')::uuid
                 END AS key_id OFFSET 0) AS s
    LEFT JOIN envelope.keys k ON k.key_id OPERATOR(pg_catalog.=) s.key_id;
  END;
COMMENT ON FUNCTION envelope.inspect(bytea) IS
  'What a sealed value says of itself, without opening it: format, key, length; all NULL if it is not sealed';

-- Where sealed values stand.
COMMENT ON FUNCTION envelope.key_id_of(bytea) IS
  'The key id in the header of a sealed value, NULL if it has none; reads no more of the value than that';
COMMENT ON FUNCTION envelope.register_column(regclass, name) IS
  'Notes that a column holds sealed values, so that destroy_key reads all of it; false if it was noted already';
COMMENT ON FUNCTION envelope.unregister_column(regclass, name) IS
  'Takes register_column back; false if the column was not noted';

-- Triggers are looked up, not copied into the register: nothing is written behind anyone's back, and
-- nothing goes stale. Their arguments are NUL-terminated and stand one after the other; in `target=source` the
-- sealed values stand in the target.
CREATE OR REPLACE VIEW envelope.sealed_columns WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, s.column_name,
         pg_catalog.bool_or(s.tgname IS NULL) AS registered,
         pg_catalog.array_remove(pg_catalog.array_agg(DISTINCT s.tgname), NULL) AS triggers
  FROM (SELECT r.relation::pg_catalog.oid AS oid, r.column_name, NULL::pg_catalog.name AS tgname
        FROM envelope.sealed_column r
        UNION ALL
        SELECT t.tgrelid, a.attname, t.tgname
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
         AND p.prosrc OPERATOR(pg_catalog.=) ANY (ARRAY['envelope_seal_wrapper', 'envelope_mirror_wrapper'])
        JOIN pg_catalog.pg_language l ON l.oid OPERATOR(pg_catalog.=) p.prolang
         AND l.lanname OPERATOR(pg_catalog.=) 'c'
        JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) t.tgrelid
         AND a.attnum OPERATOR(pg_catalog.>) 0
         AND pg_catalog.strpos(a.attname::pg_catalog.text, '=') OPERATOR(pg_catalog.=) 0
        CROSS JOIN pg_catalog.unnest(ARRAY['00', '3d']) AS e (after)
        WHERE t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
          AND pg_catalog.position(
                pg_catalog.decode('00', 'hex') OPERATOR(pg_catalog.||) t.tgargs,
                pg_catalog.decode('00', 'hex') OPERATOR(pg_catalog.||)
                  pg_catalog.convert_to(a.attname::pg_catalog.text, pg_catalog.getdatabaseencoding())
                  OPERATOR(pg_catalog.||) pg_catalog.decode(e.after, 'hex')) OPERATOR(pg_catalog.>) 0
       ) AS s
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) s.oid
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
  GROUP BY c.oid, s.column_name;
COMMENT ON VIEW envelope.sealed_columns IS
  'Columns of your tables (all, for members of pg_monitor) that are known to hold sealed values: registered, or named by a sealing trigger';

CREATE FUNCTION envelope.keep_stored(relation regclass, column_name name)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_keep_stored_wrapper';
COMMENT ON FUNCTION envelope.keep_stored(regclass, name) IS
  'For envelope.census: an error when a column is not stored as bytea or envelope.sealed, so that no cast or view of its owner runs; it stays so to the end of the transaction';

-- row_security is off so that a policy that would hide rows is an error, not a wrong count.
CREATE OR REPLACE FUNCTION envelope.census(relation regclass, column_name name, sample real DEFAULT NULL)
  RETURNS TABLE (key_id uuid, version integer, state text, rows bigint, bytes bigint)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp SET row_security = off
  AS $$
  DECLARE
    partitioned boolean;
    place record;
  BEGIN
    IF census.relation IS NULL OR census.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF census.sample OPERATOR(pg_catalog.<=) 0 OR census.sample OPERATOR(pg_catalog.>) 100 THEN
      RAISE EXCEPTION 'sample is a percentage: more than 0, at most 100'
        USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM envelope.keep_stored(census.relation, census.column_name);
    SELECT c.relkind OPERATOR(pg_catalog.=) 'p' INTO partitioned
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) census.relation;
    RETURN QUERY EXECUTE pg_catalog.format(
      $query$
      SELECT s.key_id, k.version,
             CASE WHEN k.state IS NOT NULL THEN k.state
                  WHEN s.is_null THEN 'null'
                  WHEN s.key_id IS NULL THEN 'not sealed'
                  ELSE 'unknown' END,
             pg_catalog.round(s.rows OPERATOR(pg_catalog.*) $1)::bigint,
             pg_catalog.round(s.bytes OPERATOR(pg_catalog.*) $1)::bigint
      FROM (SELECT envelope.key_id_of(t.%1$I) AS key_id, t.%1$I IS NULL AS is_null,
                   pg_catalog.count(*)::numeric AS rows,
                   COALESCE(pg_catalog.sum(pg_catalog.octet_length(t.%1$I::pg_catalog.bytea)), 0)::numeric AS bytes
            FROM %2$s %3$s AS t %4$s GROUP BY 1, 2) AS s
      LEFT JOIN envelope.keys k ON k.key_id OPERATOR(pg_catalog.=) s.key_id
      ORDER BY k.version DESC NULLS LAST, s.key_id, s.is_null
      $query$,
      census.column_name, CASE WHEN partitioned THEN '' ELSE 'ONLY' END, census.relation,
      'TABLESAMPLE pg_catalog.system(' OPERATOR(pg_catalog.||) census.sample OPERATOR(pg_catalog.||) ')')
      USING 100.0::numeric OPERATOR(pg_catalog./) COALESCE(census.sample, 100)::numeric;
  EXCEPTION WHEN data_corrupted OR internal_error THEN
    -- A value that PostgreSQL cannot read. Which one it does not say.
    FOR place IN EXECUTE pg_catalog.format(
        'SELECT t.tableoid::pg_catalog.regclass AS part, t.ctid AS row_at FROM %s %s AS t',
        CASE WHEN partitioned THEN '' ELSE 'ONLY' END, census.relation) LOOP
      BEGIN
        EXECUTE pg_catalog.format(
          'SELECT envelope.key_id_of(t.%I) FROM ONLY %s AS t WHERE t.ctid OPERATOR(pg_catalog.=) $1',
          census.column_name, place.part) USING place.row_at;
      EXCEPTION WHEN data_corrupted OR internal_error THEN
        RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = SQLERRM, DETAIL = pg_catalog.format(
          'Table %s, column "%s", row with ctid %s.', place.part, census.column_name, place.row_at);
      END;
    END LOOP;
    RAISE;
  END $$;
COMMENT ON FUNCTION envelope.census(regclass, name, real) IS
  'Counts the values of a column by the key that they are sealed under, and those that are not sealed; with a sample (percent of pages), estimates';

-- The end of keyrings.
COMMENT ON FUNCTION envelope.retire_key(uuid, text) IS
  'From now on an old data key opens no values; envelope.unretire_key takes that back';
COMMENT ON FUNCTION envelope.destroy_key(uuid, text, boolean) IS
  'Deletes the wraps of an old data key for good; refuses while it finds a value under it, unless shred is true';
COMMENT ON FUNCTION envelope.shred(regclass, text) IS
  'Destroys all data keys of a table, the active one too: its sealed values are lost; gives the number of keys';

CREATE FUNCTION envelope.forget_keyring(keyring_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_forget_keyring_wrapper';
COMMENT ON FUNCTION envelope.forget_keyring(uuid, text) IS
  'Destroys all data keys of a keyring that no table uses any more, the active one too, and shows it no more; refuses while it finds a value under one of them';

-- Values that do not open.

-- Which values of a column do not open.
CREATE FUNCTION envelope.fault_of(relation oid, value bytea, context text, former_context text)
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_fault_of_wrapper';
COMMENT ON FUNCTION envelope.fault_of(oid, bytea, text, text) IS
  'For envelope.verify: key id, SQLSTATE and message of a value that opens under neither context; NULL if it opens';

CREATE FUNCTION envelope.sweep_contexts(relation regclass, column_name name)
  RETURNS TABLE (context text, former_context text)
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_contexts_wrapper';
COMMENT ON FUNCTION envelope.sweep_contexts(regclass, name) IS
  'For functions that read a whole table: SQL expressions over its row, of the context of a column''s values and of the one that they had before';

CREATE FUNCTION envelope.row_fault(
    relation oid, value bytea, context text, former_context text, index_columns text[], VARIADIC terms "any")
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_row_fault_wrapper';
COMMENT ON FUNCTION envelope.row_fault(oid, bytea, text, text, text[], "any") IS
  'For envelope.verify: as envelope.fault_of, and what is wrong with the first index column that does not hold the terms of the value';

CREATE FUNCTION envelope.index_columns(relation regclass, column_name name)
  RETURNS text[] LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_columns_wrapper';
COMMENT ON FUNCTION envelope.index_columns(regclass, name) IS
  'For envelope.verify: the columns that hold terms of a column''s values';

-- A row's key is shown as its output functions give it: a cast could be anybody's function. row_security is off so
-- that a policy that would hide rows is an error.
CREATE FUNCTION envelope.verify(relation regclass, column_name name)
  RETURNS TABLE (tid tid, row_key text, key_id uuid, sqlstate text, message text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp SET row_security = off
  AS $$
  #variable_conflict use_column
  DECLARE
    partitioned boolean;
    keys name[];
    shown text;
    contexts record;
    indexed text[];
  BEGIN
    IF verify.relation IS NULL OR verify.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM envelope.keep_stored(verify.relation, verify.column_name);
    -- Also where there is nothing to open.
    PERFORM envelope.fault_of(verify.relation, NULL, '', NULL);
    SELECT c.relkind OPERATOR(pg_catalog.=) 'p' INTO partitioned
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) verify.relation;
    SELECT pg_catalog.array_agg(a.attname ORDER BY k.number) INTO keys
      FROM pg_catalog.pg_index i
      CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, number)
      JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) i.indrelid
       AND a.attnum OPERATOR(pg_catalog.=) k.attnum
      WHERE i.indrelid OPERATOR(pg_catalog.=) verify.relation AND i.indisprimary
        AND k.number OPERATOR(pg_catalog.<=) i.indnkeyatts;
    -- What is to be sealed is no part of a report.
    IF keys IS NULL OR verify.column_name OPERATOR(pg_catalog.=) ANY (keys) THEN
      keys := '{}';
    END IF;
    shown := CASE pg_catalog.cardinality(keys) WHEN 0 THEN 'NULL'
             WHEN 1 THEN 'pg_catalog.format(''%s'', s.key_1)'
             ELSE (SELECT 'pg_catalog.jsonb_build_object(' OPERATOR(pg_catalog.||) pg_catalog.string_agg(
                     pg_catalog.format('%L, pg_catalog.format(''%%s'', s.key_%s)', k.name, k.number), ', '
                     ORDER BY k.number) OPERATOR(pg_catalog.||) ')'
                   FROM pg_catalog.unnest(keys) WITH ORDINALITY AS k (name, number)) END;
    indexed := envelope.index_columns(verify.relation, verify.column_name);
    SELECT * INTO contexts FROM envelope.sweep_contexts(verify.relation, verify.column_name);
    RETURN QUERY EXECUTE pg_catalog.format(
      $query$
      SELECT s.row_at, %1$s::pg_catalog.text, s.fault[1]::pg_catalog.uuid, s.fault[2],
             s.fault[3] OPERATOR(pg_catalog.||) %2$s
      FROM (SELECT t.ctid AS row_at, t.tableoid AS part %3$s,
                   envelope.%9$s(t.tableoid, t.%4$I::pg_catalog.bytea, %5$s, %6$s %10$s) AS fault
            FROM %7$s %8$s AS t OFFSET 0) AS s
      WHERE s.fault IS NOT NULL
      $query$,
      shown,
      CASE WHEN partitioned THEN $part$pg_catalog.format(' (partition %s)', s.part::pg_catalog.regclass)$part$
           ELSE $none$''$none$ END,
      (SELECT pg_catalog.string_agg(pg_catalog.format(', t.%I AS key_%s', k.name, k.number), '' ORDER BY k.number)
       FROM pg_catalog.unnest(keys) WITH ORDINALITY AS k (name, number)),
      verify.column_name, contexts.context, COALESCE(contexts.former_context, 'NULL'),
      CASE WHEN partitioned THEN '' ELSE 'ONLY' END, verify.relation,
      CASE pg_catalog.cardinality(indexed) WHEN 0 THEN 'fault_of' ELSE 'row_fault' END,
      (SELECT pg_catalog.format(', %L::pg_catalog.text[]', indexed) OPERATOR(pg_catalog.||)
              pg_catalog.string_agg(pg_catalog.format(', t.%I', k.name), '' ORDER BY k.number)
       FROM pg_catalog.unnest(indexed) WITH ORDINALITY AS k (name, number)));
  END $$;
COMMENT ON FUNCTION envelope.verify(regclass, name) IS
  'Opens every value of a column and gives a row for each that does not open, or whose index columns hold other terms, without stopping: where it stands, its row''s primary key, its key id, why';

-- Going through a table.

-- Going through a table in batches, with a commit each: what CALL envelope.reencrypt, CALL envelope.seal_column and CALL
-- envelope.build_index are built of. What they do with a row is said in SQL over that row:
--   is_left     it is to be changed
--   changes     how, as in UPDATE ... SET
--   is_damaged  its value does not open, so that it is passed by; NULL: such values are errors
--   is_sound    raises an error where the value as it is stored does not open; NULL: nobody looks
--   by_rows     whether the headers of values do not say if anything is left, so that rows must be asked
--   source      a column whose values are to be there, sealed, too; is_emptied: and not to be in it any more
--   value       what may be there already, and is then for is_sound to look at
-- In them $1 are the keys that values are brought from, $2 is the one that they are brought to, and %1$s stands for the
-- table's OID, so that any other percent sign is doubled. What changes a value opens what it has made, and compares:
-- the old one is about to be overwritten. (tableoid is 0 where PostgreSQL evaluates an UPDATE anew, for a
-- row that another transaction has changed meanwhile.)
-- In schema envelope, where nobody can put one of the same name. They say in which row an error was.
CREATE FUNCTION envelope.key_id_at(relation oid, value bytea, column_name name, row_at tid)
  RETURNS uuid LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_at_wrapper';
COMMENT ON FUNCTION envelope.key_id_at(oid, bytea, name, tid) IS
  'For envelope.reencrypt: envelope.key_id_of the value in that row';

CREATE FUNCTION envelope.key_id_if_read(value bytea)
  RETURNS uuid LANGUAGE c STABLE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_if_read_wrapper';
COMMENT ON FUNCTION envelope.key_id_if_read(bytea) IS
  'For envelope.reencrypt: envelope.key_id_of the value, NULL where PostgreSQL cannot read it';

CREATE FUNCTION envelope.is_damaged(relation oid, value bytea, context text, former_context text)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_damaged_wrapper';
COMMENT ON FUNCTION envelope.is_damaged(oid, bytea, text, text) IS
  'For functions that read a whole table: whether a value is under a key of its table, or unreadable, and does not open';

CREATE FUNCTION envelope.is_sound(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_sound_wrapper';
COMMENT ON FUNCTION envelope.is_sound(oid, bytea, text, text, name, tid) IS
  'For functions that read a whole table: an error where envelope.is_damaged is true';

CREATE FUNCTION envelope.reencrypt_window(
    work text, relation regclass, column_name name, batch_size integer, begins boolean, within regclass,
    by_rows boolean, is_seen boolean DEFAULT false, source name DEFAULT NULL, is_emptied boolean DEFAULT NULL)
  RETURNS TABLE (pass integer, from_block bigint, to_block bigint, is_idle boolean, active_key uuid, old_keys uuid[])
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_window_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_window(
    text, regclass, name, integer, boolean, regclass, boolean, boolean, name, boolean) IS
  'For envelope.sweep: the pages that come next; without pages when all rows are to be looked at; none when all is done';

CREATE FUNCTION envelope.reencrypt_note(
    work text, relation regclass, column_name name, batch_size integer, from_block bigint, to_block bigint,
    met bigint, moved bigint, damaged bigint)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_note_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_note(text, regclass, name, integer, bigint, bigint, bigint, bigint, bigint) IS
  'For envelope.sweep: notes that pages are done, with what was found, changed and passed by there';

CREATE FUNCTION envelope.sweep_begins(work text)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_begins_wrapper';
COMMENT ON FUNCTION envelope.sweep_begins(text) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: an error in a transaction block, where they cannot commit';

CREATE FUNCTION envelope.sweep_settle(work text, relation regclass, column_name name, is_left boolean)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_settle_wrapper';
COMMENT ON FUNCTION envelope.sweep_settle(text, regclass, name, boolean) IS
  'For envelope.sweep: after a look at all rows, ends it or begins the next pass; whether it has ended';

CREATE FUNCTION envelope.sweep_family(relation regclass)
  RETURNS TABLE (parts oid[], active_key uuid, old_keys uuid[])
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_family_wrapper';
COMMENT ON FUNCTION envelope.sweep_family(regclass) IS
  'For envelope.sweep: a table''s partitions that hold rows here, kept as they are to the end of the transaction, and their keys';

CREATE FUNCTION envelope.reencrypt_ended(work text, relation regclass, column_name name, strict boolean)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_ended_wrapper';
COMMENT ON FUNCTION envelope.reencrypt_ended(text, regclass, name, boolean) IS
  'For envelope.sweep: tells how many values were left alone, by a WARNING or, if strict, by an error; whether none was';

CREATE FUNCTION envelope.sweep_expressions(
    relation regclass, column_name name, context text, on_damage text,
    OUT target text, OUT value text, OUT read text, OUT cell text, OUT is_damaged text, OUT is_sound text, OUT former text,
    OUT is_whole boolean)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
  AS $$
  #variable_conflict use_column
  DECLARE
    now text;
    opened text;
    named text;
  BEGIN
    IF sweep_expressions.relation IS NULL OR sweep_expressions.column_name IS NULL THEN
      RAISE EXCEPTION 'relation and column_name must not be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF (on_damage OPERATOR(pg_catalog.=) ANY (ARRAY['error', 'skip'])) IS NOT TRUE THEN
      RAISE EXCEPTION 'on_damage must be "error" or "skip"' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT NOT c.relispartition INTO is_whole
      FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) sweep_expressions.relation;
    IF is_whole IS NULL THEN
      RAISE EXCEPTION 'relation with OID % does not exist', sweep_expressions.relation::oid
        USING ERRCODE = 'undefined_table';
    END IF;
    IF sweep_expressions.context IS NULL THEN
      SELECT c.context, c.former_context INTO now, former
        FROM envelope.sweep_contexts(sweep_expressions.relation, sweep_expressions.column_name) c;
    ELSE
      now := pg_catalog.format('(%s)', sweep_expressions.context);
    END IF;
    target := pg_catalog.replace(pg_catalog.format('%I', sweep_expressions.column_name), '%', '%%');
    value := target OPERATOR(pg_catalog.||) '::pg_catalog.bytea';
    named := pg_catalog.replace(pg_catalog.format(', %L', sweep_expressions.column_name), '%', '%%');
    read := '%1$s, ' OPERATOR(pg_catalog.||) value OPERATOR(pg_catalog.||) named;
    opened := '%1$s, ' OPERATOR(pg_catalog.||) value OPERATOR(pg_catalog.||) pg_catalog.replace(
      pg_catalog.format(', %s, %s', now, COALESCE(former, 'NULL')), '%', '%%');
    cell := opened OPERATOR(pg_catalog.||) named;
    is_sound := pg_catalog.format('envelope.is_sound(%s, ctid)', cell);
    IF on_damage OPERATOR(pg_catalog.=) 'skip' THEN
      is_damaged := pg_catalog.format('envelope.is_damaged(%s)', opened);
    END IF;
  END $$;
COMMENT ON FUNCTION envelope.sweep_expressions(regclass, name, text, text) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: what envelope.sweep is told of a column''s values, in SQL';

-- What follows runs with the rights of who calls it. The context is an SQL expression over the row,
-- the caller's own SQL as in CREATE INDEX: it may do what the caller may. It is read with the caller's
-- search_path, so that these functions pin none and qualify all that is theirs.
-- Its plan is kept for the next batch. PL/pgSQL's EXECUTE would make it anew each time.
CREATE FUNCTION envelope.sweep_run(statement text, old_keys uuid[], active_key uuid, first tid, last tid)
  RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_run_wrapper';
COMMENT ON FUNCTION envelope.sweep_run(text, uuid[], uuid, tid, tid) IS
  'For envelope.sweep: runs the statement of a batch with the caller''s rights, with the other arguments as its parameters; how many rows it has changed';

CREATE FUNCTION envelope.sweep_is_met(value bytea)
  RETURNS boolean LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_is_met_wrapper';
COMMENT ON FUNCTION envelope.sweep_is_met(bytea) IS
  'For envelope.sweep: false; counts a value that envelope.sweep_run has met and leaves as it is';

CREATE FUNCTION envelope.sweep_left_alone()
  RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sweep_left_alone_wrapper';
COMMENT ON FUNCTION envelope.sweep_left_alone() IS
  'For envelope.sweep: how many values the last envelope.sweep_run has met and left as they are';

-- Rows that another transaction holds are passed by. To lock each row first costs a fifth of the time,
-- so that the update is tried without: when it meets a row that is held it gives up at once, having held
-- nobody up, and takes the long way. So it does when it meets a damaged value that is to be passed by. A row
-- that moves to another partition meanwhile is a serialization failure to both: what cannot be had now is met
-- again.
CREATE FUNCTION envelope.sweep_statements(
    relation regclass, value text, is_left text, changes text, is_damaged text, is_sound text,
    OUT change text, OUT change_free text, OUT number text)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE
  AS $$
  DECLARE
    pages pg_catalog.text := 'ctid OPERATOR(pg_catalog.>=) $3 AND ctid OPERATOR(pg_catalog.<) $4';
    -- Of this table.
    left_ pg_catalog.text := pg_catalog.format(is_left, relation::pg_catalog.oid);
    damaged_ pg_catalog.text := pg_catalog.format(is_damaged, relation::pg_catalog.oid);
    sound_ pg_catalog.text := pg_catalog.format(is_sound, relation::pg_catalog.oid);
    update pg_catalog.text := pg_catalog.format(
      'UPDATE ONLY %s SET %s WHERE ', relation, pg_catalog.format(changes, relation::pg_catalog.oid));
  BEGIN
    -- What is met and not changed is counted where it is to be opened: if there is any, another pass opens it.
    change := pg_catalog.format(
      CASE WHEN sound_ IS NULL THEN '%1$s %2$s AND (%3$s)'
           ELSE '%1$s %2$s AND CASE WHEN %3$s THEN true ELSE envelope.sweep_is_met(%4$s) END' END,
      update, pages, left_, pg_catalog.format(value, relation::pg_catalog.oid));
    change_free := pg_catalog.format(
      '%1$s ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
         SELECT ctid FROM ONLY %2$s WHERE %3$s AND %4$s FOR NO KEY UPDATE SKIP LOCKED))',
      update, relation, pages,
      CASE WHEN damaged_ IS NULL THEN pg_catalog.format('(%s)', left_)
           ELSE pg_catalog.format('CASE WHEN %s THEN NOT (%s) ELSE false END', left_, damaged_) END);
    -- To verify is to have every value that is done opened by the query that counts the others.
    number := pg_catalog.format(
      'SELECT pg_catalog.count(*) FILTER (WHERE s.code OPERATOR(pg_catalog.=) 1),
              pg_catalog.count(*) FILTER (WHERE s.code OPERATOR(pg_catalog.=) 2)
       FROM (SELECT CASE WHEN %1$s THEN %2$s %3$s END AS code FROM ONLY %4$s WHERE %5$s OFFSET 0) AS s',
      left_, COALESCE('CASE WHEN ' OPERATOR(pg_catalog.||) damaged_ OPERATOR(pg_catalog.||) ' THEN 2 ELSE 1 END', '1'),
      CASE WHEN sound_ IS NULL THEN ''
           WHEN damaged_ IS NULL THEN 'WHEN ' OPERATOR(pg_catalog.||) sound_ OPERATOR(pg_catalog.||) ' THEN 0'
           ELSE 'WHEN ' OPERATOR(pg_catalog.||) damaged_ OPERATOR(pg_catalog.||) ' THEN 2' END,
      relation, pages);
  END $$;
COMMENT ON FUNCTION envelope.sweep_statements(regclass, text, text, text, text, text) IS
  'For envelope.sweep: what is run for each batch of a table: the change, the change of rows that nobody holds, and the query that numbers what is left and what is damaged';

-- is_seen: nothing that was met there is still to be opened.
CREATE FUNCTION envelope.reencrypt_rows(
    change text, change_free text, number text, skips boolean,
    pass integer, from_block bigint, to_block bigint, old_keys uuid[], active_key uuid, quiet boolean,
    OUT met bigint, OUT moved bigint, OUT damaged bigint, OUT is_seen boolean)
  LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET row_security = off
  AS $$
  DECLARE
    low pg_catalog.tid := pg_catalog.format('(%s,0)', from_block);
    high pg_catalog.tid := pg_catalog.format('(%s,0)', to_block);
    role pg_catalog.text;
    timeout pg_catalog.text := pg_catalog.current_setting('lock_timeout');
    long_way boolean := false;
  BEGIN
    met := 0;
    moved := 0;
    damaged := 0;
    is_seen := true;
    -- After the first pass there is mostly nothing left.
    IF pass OPERATOR(pg_catalog.>) 1 THEN
      EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
      IF met OPERATOR(pg_catalog.=) 0 THEN
        RETURN;
      END IF;
      met := 0;
    END IF;
    IF quiet THEN
      role := pg_catalog.current_setting('session_replication_role');
      PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);
    END IF;
    BEGIN
      PERFORM pg_catalog.set_config('lock_timeout', '1ms', true);
      moved := envelope.sweep_run(change, old_keys, active_key, low, high);
      is_seen := pass OPERATOR(pg_catalog.>) 1 OR envelope.sweep_left_alone() OPERATOR(pg_catalog.=) 0;
      PERFORM pg_catalog.set_config('lock_timeout', timeout, true);
    EXCEPTION
      WHEN lock_not_available OR serialization_failure THEN
        long_way := true;
      WHEN data_exception OR object_not_in_prerequisite_state OR data_corrupted OR internal_error THEN
        IF NOT skips THEN
          RAISE;
        END IF;
        long_way := true;
    END;
    IF long_way THEN
      BEGIN
        EXECUTE change_free USING old_keys, active_key, low, high;
        GET DIAGNOSTICS moved = ROW_COUNT;
      EXCEPTION WHEN serialization_failure THEN
        moved := 0;
      END;
    END IF;
    IF quiet THEN
      PERFORM pg_catalog.set_config('session_replication_role', role, true);
    END IF;
    IF long_way OR moved OPERATOR(pg_catalog.=) 0 THEN
      EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
      is_seen := true;
    ELSIF NOT is_seen AND NOT skips THEN
      -- Mostly new versions of rows of this pass, which PostgreSQL has put on these pages.
      BEGIN
        EXECUTE number INTO met, damaged USING old_keys, active_key, low, high;
        is_seen := true;
      EXCEPTION WHEN data_exception OR object_not_in_prerequisite_state OR data_corrupted OR internal_error THEN
        -- It stops the next pass, and not the change of all others.
        met := 0;
        damaged := 0;
      END;
    END IF;
    met := met OPERATOR(pg_catalog.+) moved;
  END $$;
COMMENT ON FUNCTION envelope.reencrypt_rows(
    text, text, text, boolean, integer, bigint, bigint, uuid[], uuid, boolean) IS
  'For envelope.sweep: changes the rows on some pages that are to be changed, and looks at the others';

CREATE FUNCTION envelope.sweep_left(
    relations oid[], is_left text, is_damaged text, old_keys uuid[], active_key uuid)
  RETURNS SETOF oid LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET row_security = off
  AS $$
  BEGIN
    IF relations OPERATOR(pg_catalog.=) '{}' THEN
      RETURN;
    END IF;
    -- In one statement, and so at one moment: a row may move from one that was looked at to one that was not yet.
    RETURN QUERY EXECUTE (
      SELECT pg_catalog.string_agg(pg_catalog.format(
               'SELECT %1$s::pg_catalog.oid WHERE EXISTS (SELECT FROM ONLY %2$s WHERE CASE WHEN %3$s THEN %4$s ELSE false END)',
               r.relation, r.relation::pg_catalog.regclass, pg_catalog.format(is_left, r.relation),
               COALESCE('NOT ' OPERATOR(pg_catalog.||) pg_catalog.format(is_damaged, r.relation), 'true')), ' UNION ALL ')
      FROM pg_catalog.unnest(relations) AS r (relation))
      USING old_keys, active_key;
  END $$;
COMMENT ON FUNCTION envelope.sweep_left(oid[], text, text, uuid[], uuid) IS
  'For envelope.sweep: those of some tables in which a row is left to be changed, all looked at as they are at one moment';

-- Whose rows were looked at, and in which transaction, is known there: no caller can say so of its own accord.
CREATE FUNCTION envelope.index_left(relations oid[], index_column name, skips boolean)
  RETURNS SETOF oid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_left_wrapper';
COMMENT ON FUNCTION envelope.index_left(oid[], name, boolean) IS
  'For envelope.sweep: those of some tables in which a row is left without its terms, all looked at as they are at one moment';

CREATE FUNCTION envelope.writers_ended(relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_writers_ended_wrapper';
COMMENT ON FUNCTION envelope.writers_ended(regclass) IS
  'For envelope.wait_for_writers: notes that nobody else writes to the table, which is locked';

CREATE FUNCTION envelope.lock_shard(relation regclass)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_lock_shard_wrapper';
COMMENT ON FUNCTION envelope.lock_shard(regclass) IS
  'For envelope.wait_for_writers: keeps others from writing to a shard of one''s own; false when it is none';

CREATE PROCEDURE envelope.wait_for_writers(relation regclass, row_lock_timeout interval, message text)
  LANGUAGE plpgsql
  AS $$
  DECLARE
    since pg_catalog.timestamptz := pg_catalog.clock_timestamp();
    is_alone boolean := false;
  BEGIN
    WHILE NOT is_alone LOOP
      BEGIN
        PERFORM pg_catalog.set_config('lock_timeout', '100ms', true);
        -- Citus lets nobody lock a shard by a statement.
        IF NOT envelope.lock_shard(relation) THEN
          EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', relation);
        END IF;
        PERFORM envelope.writers_ended(relation);
        is_alone := true;
      EXCEPTION WHEN lock_not_available THEN
        IF since OPERATOR(pg_catalog.+) row_lock_timeout OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN
          RAISE EXCEPTION '%', message
            USING ERRCODE = 'lock_not_available', DETAIL = 'Other transactions are writing to the table.',
                  HINT = 'CALL it again when they have ended.';
        END IF;
      END;
      COMMIT;
      IF NOT is_alone THEN
        PERFORM pg_catalog.pg_sleep(0.1);
      END IF;
    END LOOP;
  END $$;
COMMENT ON PROCEDURE envelope.wait_for_writers(regclass, interval, text) IS
  'For envelope.seal_column and envelope.build_index: waits until all have ended that had begun to write to the table';

CREATE PROCEDURE envelope.sweep(
    work text, relation regclass, column_name name, value text, is_left text, changes text, is_damaged text,
    is_sound text, by_rows boolean, source name, is_emptied boolean, batch_size integer, pause interval, max_lag bigint, row_lock_timeout interval, quiet boolean,
    strict boolean, INOUT complete boolean)
  LANGUAGE plpgsql
  AS $$
  DECLARE
    parts pg_catalog.oid[];
    begun pg_catalog.oid[] := '{}';
    part pg_catalog.regclass;
    step pg_catalog.record;
    begins boolean;
    done pg_catalog.record;
    idle boolean;
    looked boolean := false;
    idle_since pg_catalog.timestamptz;
    named pg_catalog.text;
    statements pg_catalog.record;
    -- Whether this pass has left nothing to be opened, up to what page.
    is_seen boolean;
    seen_to bigint;
  BEGIN
    SELECT pg_catalog.array_agg(c.oid ORDER BY c.oid) INTO parts FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) sweep.relation AND c.relkind OPERATOR(pg_catalog.<>) 'p'
       OR c.relkind OPERATOR(pg_catalog.=) 'r' AND c.oid OPERATOR(pg_catalog.=) ANY (
            SELECT t.relid FROM pg_catalog.pg_partition_tree(sweep.relation) t);
    -- Partitions come and go meanwhile, and rows move between them: until none has anything left.
    WHILE parts OPERATOR(pg_catalog.<>) '{}' LOOP
      FOREACH part IN ARRAY parts LOOP
        begins := part::pg_catalog.oid OPERATOR(pg_catalog.<>) ALL (begun);
        begun := pg_catalog.array_append(begun, part::pg_catalog.oid);
        named := NULL;
        is_seen := false;
        LOOP
          COMMIT;
          SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
          SELECT * INTO step
            FROM envelope.reencrypt_window(work, part, column_name, batch_size, begins, relation, by_rows, is_seen, source, is_emptied);
          EXIT WHEN step.pass IS NULL;
          begins := false;
          idle := step.is_idle;
          IF step.to_block IS NULL THEN
            -- A pass has found nothing. As the last row may have moved to pages that it had read already, what
            -- ends it is a look at all of them at one moment.
            EXIT WHEN envelope.sweep_settle(work, part, column_name, CASE
              WHEN work OPERATOR(pg_catalog.=) 'index' THEN EXISTS (
                SELECT FROM envelope.index_left(ARRAY[part::pg_catalog.oid], column_name, is_damaged IS NOT NULL))
              ELSE EXISTS (
                SELECT FROM envelope.sweep_left(ARRAY[part::pg_catalog.oid], is_left, is_damaged, step.old_keys, step.active_key))
              END);
            idle := true;
            looked := true;
          END IF;
          IF idle THEN
            idle_since := COALESCE(idle_since, pg_catalog.clock_timestamp());
            IF idle_since OPERATOR(pg_catalog.+) row_lock_timeout OPERATOR(pg_catalog.<) pg_catalog.clock_timestamp() THEN
              RAISE EXCEPTION 'some values in column "%" of table % could not be %', column_name, part,
                  CASE WHEN work OPERATOR(pg_catalog.=) 'reencrypt' THEN 'brought to the active key'
                       WHEN work OPERATOR(pg_catalog.=) 'seal' THEN 'sealed' ELSE 'indexed' END
                USING ERRCODE = 'lock_not_available',
                      DETAIL = 'Other transactions hold their rows, or a trigger keeps them as they are.',
                      HINT = 'What was done stays done: CALL it again when they have ended.';
            END IF;
            PERFORM pg_catalog.pg_sleep(0.1);
          ELSIF step.from_block OPERATOR(pg_catalog.=) 0 AND NOT looked THEN
            idle_since := NULL;
          END IF;
          CONTINUE WHEN step.to_block IS NULL;
          looked := false;
          -- From here on it keeps its name to the end of the transaction.
          IF (named OPERATOR(pg_catalog.=) part::pg_catalog.text) IS NOT TRUE THEN
            named := part::pg_catalog.text;
            SELECT * INTO statements
              FROM envelope.sweep_statements(part, value, is_left, changes, is_damaged, is_sound);
          END IF;
          SELECT * INTO done
            FROM envelope.reencrypt_rows(statements.change, statements.change_free, statements.number,
                                     is_damaged IS NOT NULL, step.pass, step.from_block, step.to_block,
                                     step.old_keys, step.active_key, quiet);
          -- How many values were passed by, only a pass knows that asks of each.
          is_seen := done.is_seen AND is_damaged IS NULL
                     AND (step.from_block OPERATOR(pg_catalog.=) 0 OR is_seen AND step.from_block OPERATOR(pg_catalog.=) seen_to);
          seen_to := step.to_block;
          PERFORM envelope.reencrypt_note(work, part, column_name, batch_size, step.from_block, step.to_block,
                                      done.met, done.moved, done.damaged);
          COMMIT;
          IF done.moved OPERATOR(pg_catalog.>) 0 THEN
            PERFORM pg_catalog.pg_sleep(EXTRACT(EPOCH FROM pause));
            IF max_lag IS NOT NULL THEN
              WHILE envelope.replication_lag() OPERATOR(pg_catalog.>) max_lag LOOP
                COMMIT;
                PERFORM pg_catalog.pg_sleep(0.1);
              END LOOP;
            END IF;
          END IF;
        END LOOP;
      END LOOP;
      EXIT WHEN relation::pg_catalog.oid OPERATOR(pg_catalog.=) ANY (parts);
      COMMIT;
      SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
      IF work OPERATOR(pg_catalog.=) 'index' THEN
        parts := ARRAY(SELECT envelope.index_left(f.parts, column_name, is_damaged IS NOT NULL)
                       FROM envelope.sweep_family(relation) f);
      ELSE
        parts := ARRAY(SELECT envelope.sweep_left(f.parts, is_left, is_damaged, f.old_keys, f.active_key)
                       FROM envelope.sweep_family(relation) f);
      END IF;
    END LOOP;
    complete := envelope.reencrypt_ended(work, relation, column_name, strict);
  END $$;
COMMENT ON PROCEDURE envelope.sweep(
    text, regclass, name, text, text, text, text, text, boolean, name, boolean, integer, interval, bigint, interval, boolean, boolean,
    boolean) IS
  'For envelope.reencrypt, envelope.seal_column and envelope.build_index: changes what is to be changed in all of a table, in batches with a commit each';

CREATE OR REPLACE VIEW envelope.progress WITH (security_barrier) AS
  SELECT p.relation, p.column_name, p.key_id, p.pass, p.rows_done, p.rows_left, p.rows_skipped, p.rows_per_second,
         CASE WHEN p.finished_at IS NULL AND p.rows_per_second OPERATOR(pg_catalog.>) 0
              THEN p.updated_at OPERATOR(pg_catalog.+) pg_catalog.make_interval(
                     secs => (p.rows_left OPERATOR(pg_catalog./) p.rows_per_second)::pg_catalog.float8)
         END AS eta,
         p.started_at, p.updated_at, p.finished_at,
         p.rows_plaintext, p.rows_of_others, p.rows_unknown, p.rows_destroyed, p.rows_damaged, p.work
  FROM (SELECT r.relation::pg_catalog.text AS relation, r.column_name, r.key_id, r.pass, r.rows_done, r.rows_skipped,
               CASE WHEN r.finished_at IS NOT NULL THEN 0
                    WHEN r.pass OPERATOR(pg_catalog.>) 1 THEN GREATEST(r.left_before OPERATOR(pg_catalog.-) r.moved, 0)
                    WHEN r.next_block OPERATOR(pg_catalog.>) 0 THEN
                      r.found OPERATOR(pg_catalog.-) r.moved OPERATOR(pg_catalog.+)
                      r.found OPERATOR(pg_catalog.*) (r.blocks OPERATOR(pg_catalog.-) r.next_block)
                        OPERATOR(pg_catalog./) r.next_block
               END AS rows_left,
               CASE WHEN r.updated_at OPERATOR(pg_catalog.>) r.resumed_at THEN
                 pg_catalog.round((r.rows_done OPERATOR(pg_catalog.-) r.rows_at_resume) OPERATOR(pg_catalog./)
                   EXTRACT(EPOCH FROM r.updated_at OPERATOR(pg_catalog.-) r.resumed_at))
               END AS rows_per_second,
               r.started_at, r.updated_at, r.finished_at,
               r.rows_plaintext, r.rows_of_others, r.rows_unknown, r.rows_destroyed, r.rows_damaged, r.work
        FROM envelope.reencryption r
        JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) r.relation::pg_catalog.oid
        WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS p;
COMMENT ON VIEW envelope.progress IS
  'How far re-encryption, sealing and the building of search indexes of your tables have come (all, for members of pg_monitor): rows done, rows left (an estimate), rows a second; when it will have ended; values left alone, once it has';

-- Re-encryption.
COMMENT ON FUNCTION envelope.reseal(regclass, bytea, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';

CREATE FUNCTION envelope.resealed(
    relation oid, sealed bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_resealed_wrapper';
COMMENT ON FUNCTION envelope.resealed(oid, bytea, text, text, name, tid) IS
  'For envelope.reencrypt: envelope.reseal of the value in that row, which was sealed under either context';

CREATE PROCEDURE envelope.reencrypt(
    relation regclass, column_name name, batch_size integer DEFAULT 1000, context text DEFAULT NULL,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, verify boolean DEFAULT true, strict boolean DEFAULT false,
    on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    expressions pg_catalog.record;
    key pg_catalog.text;
    complete boolean;
  BEGIN
    PERFORM envelope.sweep_begins('reencrypt');
    COMMIT;  -- in a function an error, before anything is done
    IF strict IS NULL OR verify IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameters context and max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO expressions FROM envelope.sweep_expressions(relation, column_name, context, on_damage);
    key := CASE WHEN expressions.is_damaged IS NULL
                THEN pg_catalog.format('envelope.key_id_at(%s, ctid)', expressions.read)
                ELSE pg_catalog.format('envelope.key_id_if_read(%s)', expressions.value) END;
    CALL envelope.sweep(
      'reencrypt', relation, column_name, expressions.value,
      key OPERATOR(pg_catalog.||) ' OPERATOR(pg_catalog.=) ANY ($1)',
      pg_catalog.format('%s = envelope.resealed(%s, ctid)', expressions.target, expressions.cell),
      expressions.is_damaged, CASE WHEN verify THEN expressions.is_sound END,
      expressions.is_damaged IS NOT NULL, NULL, NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, strict, complete);
  END $$;
COMMENT ON PROCEDURE envelope.reencrypt(
    regclass, name, integer, text, interval, bigint, interval, boolean, boolean, boolean, text) IS
  'Brings every value of a column to the table''s active key, in batches with a commit each; goes on where it was cut off; tells what it left alone, by a WARNING or, if strict, by an error';

-- The type of sealed columns.

-- The type of a sealed column: the bytes of bytea, and text that stands for itself. It has equality by hash, and no
-- other comparison: two sealed values of one plaintext differ, and what would be silently wrong is refused.
CREATE TYPE envelope.sealed;

CREATE FUNCTION envelope.sealed_in(cstring) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_in_wrapper';

CREATE FUNCTION envelope.sealed_out(envelope.sealed) RETURNS cstring
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_out_wrapper';

CREATE FUNCTION envelope.sealed_recv(internal) RETURNS envelope.sealed
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'bytearecv';

CREATE FUNCTION envelope.sealed_send(envelope.sealed) RETURNS bytea
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'byteasend';

-- Preferred, so that a literal or a parameter of no type goes to the functions that have one form for bytea and one
-- for this type. Not in the category of strings: there every literal would go to it.
CREATE TYPE envelope.sealed (
  INPUT = envelope.sealed_in, OUTPUT = envelope.sealed_out,
  RECEIVE = envelope.sealed_recv, SEND = envelope.sealed_send,
  LIKE = pg_catalog.bytea, CATEGORY = 'U', PREFERRED = true
);
COMMENT ON TYPE envelope.sealed IS
  'A sealed value: written as \x and hex; text that is none is plaintext, kept as it is, for the trigger to seal. Cannot be compared or sorted';
COMMENT ON FUNCTION envelope.sealed_in(cstring) IS 'Text, or the hex of a sealed value, to bytes';
COMMENT ON FUNCTION envelope.sealed_out(envelope.sealed) IS 'A sealed value as hex; plaintext as it is';
COMMENT ON FUNCTION envelope.sealed_recv(internal) IS 'Bytes as they are, binary protocol';
COMMENT ON FUNCTION envelope.sealed_send(envelope.sealed) IS 'Bytes as they are, binary protocol';

-- What comes in is taken where a column is assigned to; what goes out is asked for. To bytea and back is nothing to do,
-- so that a column changes its type without a rewrite.
CREATE FUNCTION envelope.sealed_from_text(text) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_text_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_text(text) IS 'Cast: as the input of envelope.sealed';

CREATE FUNCTION envelope.sealed_from_char(character) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_char_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_char(character) IS
  'Cast: as the input of envelope.sealed, without the blanks that fill up a char(n)';

CREATE CAST (text AS envelope.sealed) WITH FUNCTION envelope.sealed_from_text(text) AS ASSIGNMENT;

CREATE CAST (varchar AS envelope.sealed) WITH FUNCTION envelope.sealed_from_text(text) AS ASSIGNMENT;

CREATE CAST (character AS envelope.sealed) WITH FUNCTION envelope.sealed_from_char(character) AS ASSIGNMENT;

CREATE CAST (bytea AS envelope.sealed) WITHOUT FUNCTION AS ASSIGNMENT;

CREATE CAST (envelope.sealed AS bytea) WITHOUT FUNCTION;
COMMENT ON CAST (text AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (varchar AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (character AS envelope.sealed) IS 'In assignments; as the input of envelope.sealed';
COMMENT ON CAST (bytea AS envelope.sealed) IS 'In assignments; the same bytes';
COMMENT ON CAST (envelope.sealed AS bytea) IS 'Explicit only; the same bytes';

-- Same bytes: for DISTINCT, UNION, GROUP BY, rows compared as a whole, and logical replication that finds rows by
-- all of their columns. Not called `=`, which is what people write who mean the plaintext.
CREATE FUNCTION envelope.sealed_same(envelope.sealed, envelope.sealed) RETURNS boolean
  LANGUAGE internal IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE AS 'byteaeq';
COMMENT ON FUNCTION envelope.sealed_same(envelope.sealed, envelope.sealed) IS 'Whether two values are the same bytes';

CREATE FUNCTION envelope.sealed_hash(envelope.sealed) RETURNS integer
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlena';
COMMENT ON FUNCTION envelope.sealed_hash(envelope.sealed) IS 'Hash of the bytes';

CREATE FUNCTION envelope.sealed_hash_extended(envelope.sealed, bigint) RETURNS bigint
  LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'hashvarlenaextended';
COMMENT ON FUNCTION envelope.sealed_hash_extended(envelope.sealed, bigint) IS 'Hash of the bytes, with a seed';

CREATE OPERATOR envelope.*= (
  LEFTARG = envelope.sealed, RIGHTARG = envelope.sealed, FUNCTION = envelope.sealed_same,
  COMMUTATOR = OPERATOR(envelope.*=), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR envelope.*= (envelope.sealed, envelope.sealed) IS
  'Whether two values are the same bytes; two sealed values of one plaintext are not';

CREATE OPERATOR CLASS envelope.sealed_ops DEFAULT FOR TYPE envelope.sealed USING hash AS
  OPERATOR 1 envelope.*=,
  FUNCTION 1 envelope.sealed_hash(envelope.sealed),
  FUNCTION 2 envelope.sealed_hash_extended(envelope.sealed, bigint);
COMMENT ON OPERATOR CLASS envelope.sealed_ops USING hash IS 'Same bytes';
COMMENT ON OPERATOR FAMILY envelope.sealed_ops USING hash IS 'Same bytes';

-- What there is for bytea, for the type.
CREATE FUNCTION envelope_decrypt(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_wrapper';
COMMENT ON FUNCTION envelope_decrypt(regclass, envelope.sealed, text) IS
  'Opens a value that was sealed for a table; an error if it was changed or the context differs';

CREATE FUNCTION envelope_decrypt_text(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text(regclass, envelope.sealed, text) IS
  'As envelope_decrypt, for values that were sealed as text';

CREATE FUNCTION envelope.is_sealed(value envelope.sealed)
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_is_sealed_wrapper';
COMMENT ON FUNCTION envelope.is_sealed(envelope.sealed) IS
  'Whether a value has the shape of a sealed value, for CHECK constraints; opens nothing';

CREATE FUNCTION envelope.inspect(
    sealed envelope.sealed, OUT format text, OUT key_id uuid, OUT version integer, OUT relation text,
    OUT state text, OUT plaintext_length integer)
  RETURNS record LANGUAGE sql STABLE STRICT PARALLEL SAFE
  BEGIN ATOMIC
    SELECT i.* FROM envelope.inspect($1::bytea) AS i;
  END;
COMMENT ON FUNCTION envelope.inspect(envelope.sealed) IS
  'What a sealed value says of itself, without opening it: format, key, length; all NULL if it is not sealed';

CREATE FUNCTION envelope.key_id_of(value envelope.sealed)
  RETURNS uuid LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_key_id_of_wrapper';
COMMENT ON FUNCTION envelope.key_id_of(envelope.sealed) IS
  'The key id in the header of a sealed value, NULL if it has none; reads no more of the value than that';

CREATE FUNCTION envelope.reseal(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS envelope.sealed LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_reseal_wrapper';
COMMENT ON FUNCTION envelope.reseal(regclass, envelope.sealed, text) IS
  'Brings a sealed value to the table''s active key: opens it, seals it anew, compares; gives it back as it is if it is under that key already';

-- Values with types.

-- Values with types: sealed as a canonical form that no setting changes, and opened as the type again.
CREATE FUNCTION envelope_encrypt_as(relation regclass, value anyelement, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_encrypt_as_wrapper';
COMMENT ON FUNCTION envelope_encrypt_as(regclass, anyelement, text) IS
  'Seals a value of any common type in a form that depends on no setting, padded so that lengths tell little';

CREATE FUNCTION envelope_decrypt_as(
    relation regclass, sealed bytea, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as(regclass, bytea, anyelement, text) IS
  'Opens what envelope_encrypt_as sealed, as a value of the type of type_of (NULL::date), whose own value does not count';

CREATE FUNCTION envelope_decrypt_as(
    relation regclass, sealed envelope.sealed, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as(regclass, envelope.sealed, anyelement, text) IS
  'Opens what envelope_encrypt_as sealed, as a value of the type of type_of (NULL::date), whose own value does not count';

-- PostgreSQL's own cast shows the text that it refuses.
CREATE FUNCTION envelope.read_as(value text, type_of anyelement)
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_read_as_wrapper';
COMMENT ON FUNCTION envelope.read_as(text, anyelement) IS
  'Text as a value of the type of type_of (NULL::date), as a cast reads it, with an error that does not show it';

CREATE FUNCTION envelope.read_as(value bytea, type_of anyelement)
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_read_as_wrapper';
COMMENT ON FUNCTION envelope.read_as(bytea, anyelement) IS
  'Text in UTF-8 as a value of the type of type_of (NULL::date), as a cast reads it, with an error that does not show it';

-- What is assigned to a column of type envelope.sealed arrives there as its form, filled to the type's block, for the
-- trigger to seal.
CREATE FUNCTION envelope.sealed_from(boolean) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(boolean) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(smallint) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(smallint) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(integer) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(integer) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(bigint) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(bigint) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(numeric) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(numeric) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(real) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(real) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(double precision) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(double precision) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(date) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(date) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(time) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(time) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(timetz) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timetz) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(timestamp) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timestamp) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(timestamptz) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(timestamptz) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(interval) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(interval) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(uuid) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(uuid) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(inet) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(inet) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(cidr) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(cidr) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(json) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(json) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE FUNCTION envelope.sealed_from(jsonb) RETURNS envelope.sealed
  LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.sealed_from(jsonb) IS 'Cast: the canonical form, filled, for the trigger to seal';

CREATE CAST (boolean AS envelope.sealed) WITH FUNCTION envelope.sealed_from(boolean) AS ASSIGNMENT;

CREATE CAST (smallint AS envelope.sealed) WITH FUNCTION envelope.sealed_from(smallint) AS ASSIGNMENT;

CREATE CAST (integer AS envelope.sealed) WITH FUNCTION envelope.sealed_from(integer) AS ASSIGNMENT;

CREATE CAST (bigint AS envelope.sealed) WITH FUNCTION envelope.sealed_from(bigint) AS ASSIGNMENT;

CREATE CAST (numeric AS envelope.sealed) WITH FUNCTION envelope.sealed_from(numeric) AS ASSIGNMENT;

CREATE CAST (real AS envelope.sealed) WITH FUNCTION envelope.sealed_from(real) AS ASSIGNMENT;

CREATE CAST (double precision AS envelope.sealed) WITH FUNCTION envelope.sealed_from(double precision) AS ASSIGNMENT;

CREATE CAST (date AS envelope.sealed) WITH FUNCTION envelope.sealed_from(date) AS ASSIGNMENT;

CREATE CAST (time AS envelope.sealed) WITH FUNCTION envelope.sealed_from(time) AS ASSIGNMENT;

CREATE CAST (timetz AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timetz) AS ASSIGNMENT;

CREATE CAST (timestamp AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timestamp) AS ASSIGNMENT;

CREATE CAST (timestamptz AS envelope.sealed) WITH FUNCTION envelope.sealed_from(timestamptz) AS ASSIGNMENT;

CREATE CAST (interval AS envelope.sealed) WITH FUNCTION envelope.sealed_from(interval) AS ASSIGNMENT;

CREATE CAST (uuid AS envelope.sealed) WITH FUNCTION envelope.sealed_from(uuid) AS ASSIGNMENT;

CREATE CAST (inet AS envelope.sealed) WITH FUNCTION envelope.sealed_from(inet) AS ASSIGNMENT;

CREATE CAST (cidr AS envelope.sealed) WITH FUNCTION envelope.sealed_from(cidr) AS ASSIGNMENT;

CREATE CAST (json AS envelope.sealed) WITH FUNCTION envelope.sealed_from(json) AS ASSIGNMENT;

CREATE CAST (jsonb AS envelope.sealed) WITH FUNCTION envelope.sealed_from(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (boolean AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (smallint AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (integer AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (bigint AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (numeric AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (real AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (double precision AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (date AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (time AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timetz AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timestamp AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (timestamptz AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (interval AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (uuid AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (inet AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (cidr AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (json AS envelope.sealed) IS 'In assignments; the canonical form, filled';
COMMENT ON CAST (jsonb AS envelope.sealed) IS 'In assignments; the canonical form, filled';

-- Sealing what a column holds.

-- Sealing what a column holds in clear, online.
-- In schema envelope, where nobody can put one of the same name. They say in which row an error was.
CREATE FUNCTION envelope.is_unsealed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_is_unsealed_wrapper';
COMMENT ON FUNCTION envelope.is_unsealed(oid, bytea, text, text, name, tid) IS
  'For envelope.seal_column: whether a value is plaintext, or bound to what it was to be bound to before';

CREATE FUNCTION envelope.sealed_in_place(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_in_place_wrapper';
COMMENT ON FUNCTION envelope.sealed_in_place(oid, bytea, text, text, name, tid) IS
  'For envelope.seal_column: a value of which envelope.is_unsealed is true, sealed; any other as it is';

CREATE FUNCTION envelope.sealed_from_source(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, source anyelement)
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_from_source_wrapper';
COMMENT ON FUNCTION envelope.sealed_from_source(oid, bytea, text, text, name, tid, anyelement) IS
  'For envelope.seal_column: what the source of a column says, sealed as the policy of the column has it';

CREATE FUNCTION envelope.is_as_source(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, source anyelement)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_as_source_wrapper';
COMMENT ON FUNCTION envelope.is_as_source(oid, bytea, text, text, name, tid, anyelement) IS
  'For envelope.seal_column: whether a value opens and says what its source says; an error where not, if row_at is given';

CREATE FUNCTION envelope.seal_source(relation regclass, column_name name, given text)
  RETURNS TABLE (expression text, emptied text, source_column text)
  LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_seal_source_wrapper';
COMMENT ON FUNCTION envelope.seal_source(regclass, name, text) IS
  'For envelope.seal_column: where the plaintext of a column comes from, in SQL over its row, and the column that is emptied once it is sealed';

CREATE PROCEDURE envelope.seal_column(
    relation regclass, column_name name, source text DEFAULT NULL, batch_size integer DEFAULT 1000,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, verify boolean DEFAULT true, on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    it pg_catalog.record;
    plain pg_catalog.record;
    is_left pg_catalog.text;
    changed pg_catalog.text;
    is_damaged pg_catalog.text;
    is_sound pg_catalog.text;
    complete boolean;
  BEGIN
    PERFORM envelope.sweep_begins('seal');
    COMMIT;  -- in a function an error, before anything is done
    IF verify IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameters source and max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF quiet AND EXISTS (
        SELECT FROM envelope.indexes i
        WHERE i.built AND i.column_name OPERATOR(pg_catalog.=) seal_column.column_name
          AND i.relation OPERATOR(pg_catalog.=)
              COALESCE(pg_catalog.pg_partition_root(seal_column.relation), seal_column.relation)::envelope.table_ref::pg_catalog.text) THEN
      RAISE EXCEPTION 'column "%" of table % has search indexes, and no trigger would make the terms of what is sealed',
        column_name, relation
        USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'CALL it without quiet.';
    END IF;
    SELECT * INTO it FROM envelope.sweep_expressions(relation, column_name, NULL, on_damage);
    IF quiet AND envelope.index_columns(relation, column_name) OPERATOR(pg_catalog.<>) '{}' THEN
      RAISE EXCEPTION 'column "%" of table % has search indexes, whose terms no trigger would make', column_name, relation
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'CALL it without quiet => true: the sealing trigger makes them.';
    END IF;
    IF it.former IS NOT NULL AND NOT envelope.has_key_privilege(relation, 'manage') THEN
      RAISE EXCEPTION 'permission denied to end the binding of column "%" of table %', column_name, relation
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Whoever may manage the table''s keys can call this: SELECT envelope.grant_key(relation, role, ''manage'').';
    END IF;
    -- Who had begun to write when the former context was the only one binds values to that.
    IF it.former IS NOT NULL THEN
      CALL envelope.wait_for_writers(relation, row_lock_timeout, pg_catalog.format(
        'the values in column "%s" of table %s cannot be bound yet', column_name, relation));
    END IF;
    is_left := pg_catalog.format('envelope.is_unsealed(%s, ctid)', it.cell);
    changed := pg_catalog.format('envelope.sealed_in_place(%s, ctid)', it.cell);
    is_damaged := it.is_damaged;
    is_sound := it.is_sound;
    SELECT pg_catalog.replace(s.expression, '%', '%%') AS expression, pg_catalog.replace(s.emptied, '%', '%%') AS emptied,
           s.source_column
      INTO plain FROM envelope.seal_source(relation, column_name, source) s;
    IF plain.expression IS NOT NULL THEN
      -- Of a value that says anything else than its source one of both would be lost.
      is_sound := pg_catalog.format('envelope.is_as_source(%s, ctid, %s)', it.cell, plain.expression);
      IF is_damaged IS NOT NULL THEN
        is_damaged := pg_catalog.format('NOT envelope.is_as_source(%s, NULL, %s)', it.cell, plain.expression);
      END IF;
      changed := pg_catalog.format(
        'CASE WHEN %s IS NULL THEN envelope.sealed_from_source(%s, ctid, %s) WHEN %s THEN %s END',
        it.target, it.cell, plain.expression, CASE WHEN plain.emptied IS NULL THEN 'true' ELSE is_sound END, changed);
      is_left := pg_catalog.format('(%s %s IS NOT NULL OR %s)',
        CASE WHEN plain.emptied IS NULL THEN it.target OPERATOR(pg_catalog.||) ' IS NULL AND' ELSE '' END,
        plain.expression, is_left);
    END IF;
    CALL envelope.sweep(
      'seal', relation, column_name, it.value, is_left,
      pg_catalog.format('%s = %s', it.target, changed)
        OPERATOR(pg_catalog.||) COALESCE(', ' OPERATOR(pg_catalog.||) plain.emptied OPERATOR(pg_catalog.||) ' = NULL', ''),
      is_damaged, CASE WHEN verify OR it.former IS NOT NULL THEN is_sound END,
      is_damaged IS NOT NULL OR it.former IS NOT NULL OR plain.expression IS NOT NULL AND plain.source_column IS NULL,
      plain.source_column::pg_catalog.name, plain.emptied IS NOT NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, false, complete);
    -- Of what was left alone something may open under the former context some day.
    IF it.former IS NOT NULL AND complete AND it.is_whole THEN
      PERFORM envelope.binding_done(relation, column_name);
    END IF;
  END $$;
COMMENT ON PROCEDURE envelope.seal_column(
    regclass, name, text, integer, interval, bigint, interval, boolean, boolean, text) IS
  'Seals what a column holds in clear, or what its source says, in batches with a commit each; goes on where it was cut off';

-- The life of a key.

-- The life of a key: rotation, its KEKs, the oldest version that is taken.
CREATE FUNCTION envelope.rotate_key(
    relation regclass, reason text DEFAULT NULL, activate boolean DEFAULT true)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_make_next_key_wrapper';
COMMENT ON FUNCTION envelope.rotate_key(regclass, text, boolean) IS
  'Makes the next version of a table''s data key, which seals from now on, or if activate is false once envelope.activate_key says so; the one before still opens; gives the key id';

CREATE FUNCTION envelope.activate_key(key_id uuid, reason text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_activate_key_wrapper';
COMMENT ON FUNCTION envelope.activate_key(uuid, text) IS
  'Has a pending data key seal from now on, or an index key make index terms; the one before still opens. Without a reason, that of the rotation is kept';
COMMENT ON FUNCTION envelope.rotate_due(integer) IS
  'For a job: rotates data keys that are beyond their tables'' limits (rotate_after and the like), at most max_keys of those that you may manage; a row for each';

CREATE FUNCTION envelope.unfollow_keyring(relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unfollow_keyring_wrapper';
COMMENT ON FUNCTION envelope.unfollow_keyring(regclass) IS
  'Says that neither replication nor imports bring a table''s data keys any more: they are made and rotated here from now on';
COMMENT ON FUNCTION envelope.rewrap(text, text, regclass, boolean) IS
  'Moves wrapped data keys from one KEK to another (or wraps them anew, if both are the same), of one table or of all that you may manage; a row for each';
COMMENT ON FUNCTION envelope.add_kek(regclass, text, jsonb) IS
  'Wraps a table''s data keys by a further KEK, which is tried after those that are there; gives the number of keys that were not under it';
COMMENT ON FUNCTION envelope.drop_kek(regclass, text) IS
  'Takes a KEK away from a table''s data keys, once another KEK has given each of them back; gives the number of keys';
COMMENT ON FUNCTION envelope.set_minimum_version(regclass, integer) IS
  'Refuses values under older versions of a table''s data key; 1 takes all';

-- Policies.

-- Policies: what a column is, said once.
CREATE FUNCTION envelope.set_policy(
    relation regclass, column_name name, form text DEFAULT 'sealed', value_type text DEFAULT NULL,
    source name DEFAULT NULL, tag text DEFAULT NULL, bind name[] DEFAULT '{}', block integer DEFAULT NULL,
    mask text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_set_policy_wrapper';
COMMENT ON FUNCTION envelope.set_policy(regclass, name, text, text, name, text, name[], integer, text) IS
  'Says what a column is: how plaintext comes in, its type, which columns of its row its values are bound to';

CREATE FUNCTION envelope.drop_policy(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_drop_policy_wrapper';
COMMENT ON FUNCTION envelope.drop_policy(regclass, name) IS
  'Ends the policy of a column, which stays registered; false if it has none';

CREATE FUNCTION envelope.binding_done(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_binding_done_wrapper';
COMMENT ON FUNCTION envelope.binding_done(regclass, name) IS
  'Once all values of a column are under its row context of today: those under the former one are refused from now on; false if there is none';

CREATE FUNCTION envelope.row_context(relation regclass, column_name name, VARIADIC parts text[] DEFAULT '{}')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_row_context_wrapper';
COMMENT ON FUNCTION envelope.row_context(regclass, name, text[]) IS
  'The row context that the policy of a column gives a value, from the texts of its bound columns; empty without bound columns';

-- The error names no value, as the DETAIL line of a CHECK that fails would.
CREATE FUNCTION envelope.must_be_empty(value anyelement)
  RETURNS boolean LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_must_be_empty_wrapper';
COMMENT ON FUNCTION envelope.must_be_empty(anyelement) IS
  'For a CHECK of a source column: true for NULL, else an error that shows no value';

CREATE FUNCTION envelope_mirror()
  RETURNS trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'envelope_mirror_wrapper';
COMMENT ON FUNCTION envelope_mirror() IS
  'Trigger BEFORE INSERT OR UPDATE ... FOR EACH ROW, with arguments sealed_column=source_column: as envelope_seal, but the source keeps its plaintext, and what is written to either is in both';

-- Not in sessions that play what others have done.
CREATE FUNCTION envelope.watch_policies()
  RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_watch_policies_wrapper';
REVOKE ALL ON FUNCTION envelope.watch_policies() FROM PUBLIC;
COMMENT ON FUNCTION envelope.watch_policies() IS
  'Event trigger: refuses sealing triggers that would not seal a column as its policy says';

CREATE EVENT TRIGGER envelope_watch_policies ON ddl_command_end
  WHEN TAG IN ('CREATE TRIGGER')
  EXECUTE FUNCTION envelope.watch_policies();
COMMENT ON EVENT TRIGGER envelope_watch_policies IS
  'Refuses sealing triggers that would not seal a column as its policy says';

-- Index keys.

-- Index keys: the data keys under which index terms are made.
CREATE FUNCTION envelope.rotate_index_key(
    relation regclass, reason text DEFAULT NULL, activate boolean DEFAULT true)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_rotate_index_key_wrapper';
COMMENT ON FUNCTION envelope.rotate_index_key(regclass, text, boolean) IS
  'Makes the next version of a table''s index key, under which index terms are written from now on, or if activate is false once envelope.activate_key says so; searches ask for those of the one before as well; gives the key id';

-- Search indexes.

CREATE TABLE envelope.column_index (
  id            uuid PRIMARY KEY,
  relation      envelope.table_ref NOT NULL,
  column_name   name NOT NULL,
  index_column  name NOT NULL,
  rule          text NOT NULL,
  label         text NOT NULL,
  term_length   integer CHECK (term_length OPERATOR(pg_catalog.>=) 8 AND term_length OPERATOR(pg_catalog.<=) 32),
  keys_of       envelope.table_ref,
  key_id        uuid,
  is_unique     boolean NOT NULL DEFAULT false,
  boundaries    bytea,
  built         boolean NOT NULL DEFAULT false
);

CREATE INDEX column_index_relation ON envelope.column_index (relation);

CREATE INDEX column_index_keys_of ON envelope.column_index (keys_of);

CREATE UNIQUE INDEX column_index_once ON envelope.column_index (relation, index_column)
  WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.column_index IS
  'Columns that hold the terms or tokens of sealed values, so that those can be searched, and how they are made';
COMMENT ON COLUMN envelope.column_index.column_name IS 'The column whose sealed values are indexed';
COMMENT ON COLUMN envelope.column_index.index_column IS 'The column that holds their terms or tokens';
COMMENT ON COLUMN envelope.column_index.rule IS
  'What is computed from a value, frozen: the kind of index, its parameters, the normal form or type';
COMMENT ON COLUMN envelope.column_index.label IS
  'The column''s name in its terms, frozen: two columns with other labels have other terms of equal values';
COMMENT ON COLUMN envelope.column_index.term_length IS 'Bytes of a term after its two bytes of key id; NULL: the column holds tokens';
COMMENT ON COLUMN envelope.column_index.keys_of IS
  'The table whose index keys are used; NULL: this one''s, "-": one that is gone';
COMMENT ON COLUMN envelope.column_index.key_id IS
  'The index key that terms are pinned to, or that queries ask tokens of; NULL: the active one';
COMMENT ON COLUMN envelope.column_index.is_unique IS 'A unique index stands, or is to stand, on the index column';
COMMENT ON COLUMN envelope.column_index.boundaries IS 'Of buckets: the boundaries of the classes, sealed under the index key';
COMMENT ON COLUMN envelope.column_index.built IS 'Every row has its terms or tokens';
-- Dumps carry the rows, and the database's owner may take them.
GRANT SELECT ON envelope.column_index TO pg_database_owner;

SELECT pg_catalog.pg_extension_config_dump('envelope.column_index', '');

CREATE FUNCTION envelope.add_index(
    relation regclass, column_name name, kind text, index_column name DEFAULT NULL, form text DEFAULT NULL,
    options jsonb DEFAULT '{}', label text DEFAULT NULL, share_label boolean DEFAULT false,
    keys_of regclass DEFAULT NULL, force boolean DEFAULT false)
  RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_add_index_wrapper';
COMMENT ON FUNCTION envelope.add_index(
    regclass, name, text, name, text, jsonb, text, boolean, regclass, boolean) IS
  'Adds a search index to a sealed column, which the sealing trigger keeps from then on; gives the statements to run next';

CREATE FUNCTION envelope.index_leakage(relation regclass, column_name name, kind text, options jsonb DEFAULT '{}')
  RETURNS TABLE (measure text, value text, remark text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_leakage_wrapper';
COMMENT ON FUNCTION envelope.index_leakage(regclass, name, text, jsonb) IS
  'What a search index would give away of the values that a column has, before it is added';

CREATE FUNCTION envelope.drop_index(relation regclass, index_column name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_drop_index_wrapper';
COMMENT ON FUNCTION envelope.drop_index(regclass, name) IS
  'Ends a search index; its column stays, and may be dropped; false if there is no such index';

CREATE FUNCTION envelope.swap_index(relation regclass, index_column name, new_index_column name)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_swap_index_wrapper';
COMMENT ON FUNCTION envelope.swap_index(regclass, name, name) IS
  'Lets the second column of a unique search index, built under the rotated index key, take the place of the first, and ends that one';

CREATE FUNCTION envelope.split_classes(relation regclass, index_column name)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_split_classes_wrapper';
COMMENT ON FUNCTION envelope.split_classes(regclass, name) IS
  'Splits the classes of a search index of kind buckets that have outgrown the others; how many. Its rows get the new ones when it is built again';

-- The keyring of an index is that of the topmost table, its own or the one whose keys it uses.
CREATE VIEW envelope.indexes WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, i.column_name, i.index_column,
         CASE WHEN pg_catalog.strpos(i.rule, ' ') OPERATOR(pg_catalog.=) 0 THEN 'exact'
              ELSE pg_catalog.split_part(i.rule, ' ', 1) END AS kind,
         pg_catalog.split_part(
           CASE WHEN pg_catalog.strpos(i.rule, ' ') OPERATOR(pg_catalog.=) 0 THEN i.rule
                ELSE pg_catalog.split_part(i.rule, ' ', 2) END, '/', 1) AS form,
         i.rule, i.label, i.term_length, i.is_unique, i.built,
         i.keys_of::pg_catalog.text AS keys_of, i.key_id,
         EXISTS (SELECT FROM envelope.keyring_table r
                 JOIN envelope.data_key k ON k.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND k.purpose OPERATOR(pg_catalog.=) 'index' AND k.state OPERATOR(pg_catalog.=) 'decrypt-only'
                  AND NOT k.pending
                 WHERE r.relation OPERATOR(pg_catalog.=) COALESCE(i.keys_of, i.relation) AND r.seals) AS waiting
  FROM envelope.column_index i
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.relation::pg_catalog.oid
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
     OR EXISTS (SELECT FROM pg_catalog.pg_class o
                WHERE o.oid OPERATOR(pg_catalog.=) i.keys_of::pg_catalog.oid AND pg_catalog.pg_has_role(o.relowner, 'USAGE'))
     OR EXISTS (SELECT FROM envelope.keyring_table r
                JOIN envelope.key_grant g ON g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                 AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE')
                WHERE (r.relation OPERATOR(pg_catalog.=) i.relation OR r.relation OPERATOR(pg_catalog.=) i.keys_of) AND r.seals);
COMMENT ON VIEW envelope.indexes IS
  'Search indexes of your tables, and of those whose keys you have a right on or own (of all, for members of pg_monitor), by their own keys or by those of keys_of; waiting: the index key before is not retired yet';
GRANT SELECT ON envelope.indexes TO PUBLIC;

-- Building search indexes.

-- The terms of rows that are there, online.
-- In schema envelope, where nobody can put one of the same name. terms: what stands in the index column.
CREATE FUNCTION envelope.is_unindexed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name,
    terms anyelement)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_is_unindexed_wrapper';
COMMENT ON FUNCTION envelope.is_unindexed(oid, bytea, text, text, name, tid, name, anyelement) IS
  'For envelope.build_index: whether the terms of a value are to be made, because there are none, or none of now';

CREATE FUNCTION envelope.is_unindexable(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name)
  RETURNS boolean LANGUAGE c STABLE PARALLEL UNSAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_is_unindexable_wrapper';
COMMENT ON FUNCTION envelope.is_unindexable(oid, bytea, text, text, name, tid, name) IS
  'For envelope.build_index: whether a value does not open, or is none that the index can take';

CREATE FUNCTION envelope.indexed(
    relation oid, value bytea, context text, former_context text, column_name name, row_at tid, index_column name,
    terms anyelement)
  RETURNS anyelement LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_indexed_wrapper';
COMMENT ON FUNCTION envelope.indexed(oid, bytea, text, text, name, tid, name, anyelement) IS
  'For envelope.build_index, where no trigger fires: the terms of a value; for whoever may manage the table''s keys';

CREATE FUNCTION envelope.index_goal(relation regclass, column_name name, index_column name, quiet boolean)
  RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_goal_wrapper';
COMMENT ON FUNCTION envelope.index_goal(regclass, name, name, boolean) IS
  'For envelope.build_index: what the rows are brought to, the index key and the classes';

CREATE FUNCTION envelope.index_built(relation regclass, index_column name, goal text)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_built_wrapper';
COMMENT ON FUNCTION envelope.index_built(regclass, name, text) IS
  'For envelope.build_index: notes that all rows have their terms, as envelope.index_left has just seen it; false when one is left, or they need others by now';

CREATE FUNCTION envelope.index_left_on_nodes(relation regclass, index_column name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_left_on_nodes_wrapper';
COMMENT ON FUNCTION envelope.index_left_on_nodes(regclass, name) IS
  'For envelope.build_index: whether the table is distributed; an error when a row of it is left without its terms';

-- The sealing trigger makes the terms, where it is given no bytes, or no elements. Where none fires they are made here.
CREATE PROCEDURE envelope.build_index(
    relation regclass, column_name name, index_column name, batch_size integer DEFAULT 1000,
    pause interval DEFAULT '0', max_lag bigint DEFAULT NULL, row_lock_timeout interval DEFAULT '10 s',
    quiet boolean DEFAULT false, on_damage text DEFAULT 'error')
  LANGUAGE plpgsql
  AS $$
  DECLARE
    it pg_catalog.record;
    goal pg_catalog.text;
    target pg_catalog.text;
    terms pg_catalog.text;
    cell pg_catalog.text;
    complete boolean;
    is_elsewhere boolean;
    built boolean := false;
  BEGIN
    PERFORM envelope.sweep_begins('index');
    COMMIT;  -- in a function an error, before anything is done
    IF index_column IS NULL OR quiet IS NULL OR pause IS NULL OR row_lock_timeout IS NULL THEN
      RAISE EXCEPTION 'only the parameter max_lag may be NULL' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT * INTO it FROM envelope.sweep_expressions(relation, column_name, NULL, on_damage);
    target := pg_catalog.replace(pg_catalog.format('%I', index_column), '%', '%%');
    cell := pg_catalog.format('%s, ctid, %s', it.cell, pg_catalog.replace(pg_catalog.format('%L', index_column), '%', '%%'));
    WHILE NOT built LOOP
      goal := envelope.index_goal(relation, column_name, index_column, quiet);
      SELECT CASE WHEN a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.bytea'::pg_catalog.regtype THEN '''''::pg_catalog.bytea'
                  ELSE '''{}''::pg_catalog.int8[]' END INTO terms
        FROM pg_catalog.pg_attribute a
        WHERE a.attrelid OPERATOR(pg_catalog.=) relation AND a.attname OPERATOR(pg_catalog.=) index_column AND NOT a.attisdropped;
      -- Of a distributed table the shards are built by their nodes. Here it is seen that they are, of one replica of each:
      -- once before others' writes are waited for, since from then on the nodes that were asked are known to know of the index.
      is_elsewhere := envelope.index_left_on_nodes(relation, index_column);
      COMMIT;
      -- Who had begun to write before the index was added, or its key rotated, writes none of these terms.
      CALL envelope.wait_for_writers(relation, row_lock_timeout, pg_catalog.format(
        'the index in column "%s" of table %s cannot be built yet', index_column, relation));
      IF is_elsewhere THEN
        PERFORM envelope.index_left_on_nodes(relation, index_column);
      ELSE
        CALL envelope.sweep(
          'index', relation, index_column, it.value, pg_catalog.format('envelope.is_unindexed(%s, %s)', cell, target),
          pg_catalog.format('%s = %s', target,
                            CASE WHEN quiet THEN pg_catalog.format('envelope.indexed(%s, %s)', cell, terms) ELSE terms END),
          CASE WHEN it.is_damaged IS NOT NULL THEN pg_catalog.format('envelope.is_unindexable(%s)', cell) END,
          NULL, true, NULL, NULL, batch_size, pause, max_lag, row_lock_timeout, quiet, false, complete);
      END IF;
      built := envelope.index_built(relation, index_column, goal);
      COMMIT;
    END LOOP;
  END $$;
COMMENT ON PROCEDURE envelope.build_index(
    regclass, name, name, integer, interval, bigint, interval, boolean, text) IS
  'Gives every row the terms that a search index has of its value, in batches with a commit each; goes on where it was cut off';

-- Questions to search indexes.

-- Search: from a value to the terms and tokens that stand in index columns, and what compares them.
-- As && and @> of bigint[], which are not leakproof: under row security and security barriers conditions that may show
-- values of rows are no index conditions.
CREATE FUNCTION envelope.any_token_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_any_token_support_wrapper';
COMMENT ON FUNCTION envelope.any_token_support(internal) IS
  'For the planner: envelope.any_token is the condition && of a GIN index';

CREATE FUNCTION envelope.any_token(stored bigint[], asked bigint[])
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
  SUPPORT envelope.any_token_support
  AS 'MODULE_PATHNAME', 'envelope_any_token_wrapper';
COMMENT ON FUNCTION envelope.any_token(bigint[], bigint[]) IS
  'Whether a row has one of the tokens, as && by a GIN index, and by the index under row security, too: for ranges';

CREATE FUNCTION envelope.all_tokens_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_all_tokens_support_wrapper';
COMMENT ON FUNCTION envelope.all_tokens_support(internal) IS
  'For the planner: envelope.all_tokens is the condition @> of a GIN index';

CREATE FUNCTION envelope.all_tokens(stored bigint[], asked bigint[])
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
  SUPPORT envelope.all_tokens_support
  AS 'MODULE_PATHNAME', 'envelope_all_tokens_wrapper';
COMMENT ON FUNCTION envelope.all_tokens(bigint[], bigint[]) IS
  'Whether a row has all of the tokens, as @> by a GIN index, and by the index under row security, too: for words and parts of words; false where none is asked for';

-- Only a value's own type tells how it is written: of an untyped literal and of an untyped parameter that is text, which
-- is then read as the column's type.
CREATE FUNCTION envelope_search(relation regclass, column_name name, value anycompatible, kind text DEFAULT NULL)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_wrapper';
COMMENT ON FUNCTION envelope_search(regclass, name, anycompatible, text) IS
  'The terms that a row has one of whose sealed value is this one, or begins or ends like it: WHERE ssn_ix = ANY (envelope_search(...))';

CREATE FUNCTION envelope_search_range(
    relation regclass, column_name name, low anycompatible, high anycompatible, kind text DEFAULT NULL)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_range_wrapper';
COMMENT ON FUNCTION envelope_search_range(regclass, name, anycompatible, anycompatible, text) IS
  'The terms that a row has one of whose sealed value is from low to high (NULL: no end): WHERE born_ix = ANY (envelope_search_range(...)), and the opened value compared';

CREATE FUNCTION envelope_search_tokens(relation regclass, column_name name, value anycompatible, kind text DEFAULT NULL)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_tokens_wrapper';
COMMENT ON FUNCTION envelope_search_tokens(regclass, name, anycompatible, text) IS
  'The tokens that a row has all of whose sealed text has these words or this part: WHERE name_ix @> envelope_search_tokens(...), and the opened value compared';

CREATE FUNCTION envelope_search_range_tokens(
    relation regclass, column_name name, low anycompatible, high anycompatible, kind text DEFAULT NULL)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_search_range_tokens_wrapper';
COMMENT ON FUNCTION envelope_search_range_tokens(regclass, name, anycompatible, anycompatible, text) IS
  'The tokens that a row has one of whose sealed value is from low to high (NULL: no end): WHERE pay_ix && envelope_search_range_tokens(...)';

-- What the planner puts in the place of envelope_matches.
CREATE FUNCTION envelope.terms_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible)
  RETURNS bytea[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_terms_asked_wrapper';
COMMENT ON FUNCTION envelope.terms_asked(regclass, name, name, text, anycompatible) IS
  'For envelope_matches: the terms that a row has one of that may match';

-- One term: of an array of such calls the planner knows how many elements it has. There is one for each index key at that
-- time, and one more for a key that comes after that. Strict, so that the planner expects nothing of the latter.
CREATE FUNCTION envelope.term_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible, version bigint)
  RETURNS bytea LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_term_asked_wrapper';
COMMENT ON FUNCTION envelope.term_asked(regclass, name, name, text, anycompatible, bigint) IS
  'For envelope_matches: the term under the index key of that version that a row may have that matches';

CREATE FUNCTION envelope.key_since(relation regclass, column_name name, index_column name, versions bigint[])
  RETURNS bigint LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_key_since_wrapper';
COMMENT ON FUNCTION envelope.key_since(regclass, name, name, bigint[]) IS
  'For envelope_matches: the version of an index key that has come since the statement was planned, when there were those of these versions; NULL if none has';

CREATE FUNCTION envelope.tokens_asked(
    relation regclass, column_name name, index_column name, op text, value anycompatible)
  RETURNS bigint[] LANGUAGE c STABLE PARALLEL SAFE COST 10
  AS 'MODULE_PATHNAME', 'envelope_tokens_asked_wrapper';
COMMENT ON FUNCTION envelope.tokens_asked(regclass, name, name, text, anycompatible) IS
  'For envelope_matches: the tokens that a row has all of that may match; of an order, one of';

CREATE FUNCTION envelope.recheck_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_recheck_support_wrapper';
COMMENT ON FUNCTION envelope.recheck_support(internal) IS
  'For the planner: envelope.recheck is true of nearly all rows that it is asked of';

CREATE FUNCTION envelope.recheck(
    relation regclass, column_name name, sealed anyelement, index_column name, op text, value anycompatible, context text)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.recheck_support
  AS 'MODULE_PATHNAME', 'envelope_recheck_wrapper';
COMMENT ON FUNCTION envelope.recheck(regclass, name, anyelement, name, text, anycompatible, text) IS
  'For envelope_matches: whether the opened value matches, by what the index in that column keeps of it';

CREATE FUNCTION envelope.matches_support(internal)
  RETURNS internal LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_matches_support_wrapper';
COMMENT ON FUNCTION envelope.matches_support(internal) IS
  'For the planner: envelope_matches is a condition of the index column, and a recheck of the rows found';

CREATE FUNCTION envelope_matches(
    relation regclass, column_name name, sealed bytea, index_column anyelement, op text, value anycompatible,
    context text DEFAULT '', index_name name DEFAULT NULL)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.matches_support
  AS 'MODULE_PATHNAME', 'envelope_matches_wrapper';
COMMENT ON FUNCTION envelope_matches(regclass, name, bytea, anyelement, text, anycompatible, text, name) IS
  'Whether the sealed value is =, <, <=, >, >= the value, or has it as prefix, suffix, part (contains) or words; finds such rows by the index on index_column';

CREATE FUNCTION envelope_matches(
    relation regclass, column_name name, sealed envelope.sealed, index_column anyelement, op text, value anycompatible,
    context text DEFAULT '', index_name name DEFAULT NULL)
  RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 100
  SUPPORT envelope.matches_support
  AS 'MODULE_PATHNAME', 'envelope_matches_wrapper';
COMMENT ON FUNCTION envelope_matches(regclass, name, envelope.sealed, anyelement, text, anycompatible, text, name) IS
  'Whether the sealed value is =, <, <=, >, >= the value, or has it as prefix, suffix, part (contains) or words; finds such rows by the index on index_column';

-- Whether columns are protected.

-- Whether columns are protected as they should be.
CREATE FUNCTION envelope.lint(relation regclass DEFAULT NULL)
  RETURNS TABLE (relation text, column_name name, severity text, sqlstate text, message text, remedy text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_lint_wrapper';
COMMENT ON FUNCTION envelope.lint(regclass) IS
  'What is wrong with the protection of the columns of a table, or of all tables of yours (all, for members of pg_monitor): a row for each finding, with the statement that mends it';

-- From a column of plaintext to a sealed one, and back.

-- From a column of plaintext to a sealed one, and back.
CREATE FUNCTION envelope.plan(relation regclass, columns name[], options jsonb DEFAULT '{}')
  RETURNS TABLE (step integer, sql text, lock text, remark text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_plan_wrapper';
COMMENT ON FUNCTION envelope.plan(regclass, name[], jsonb) IS
  'The statements, in their order, that protect columns of a table, each with the lock that it takes; changes nothing';

CREATE FUNCTION envelope.protect(
    relation regclass, column_name name, value_type regtype DEFAULT NULL, form text DEFAULT 'sealed',
    source name DEFAULT NULL, tag text DEFAULT NULL, bind name[] DEFAULT '{}', block integer DEFAULT NULL,
    mask text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_protect_wrapper';
COMMENT ON FUNCTION envelope.protect(regclass, name, regtype, text, name, text, name[], integer, text) IS
  'Protects a column of a table that may be locked: seals what is there in one rewrite, and what arrives from then on';

CREATE FUNCTION envelope.unprotect(relation regclass, column_name name, to_type regtype DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unprotect_wrapper';
COMMENT ON FUNCTION envelope.unprotect(regclass, name, regtype) IS
  'Makes a protected column one of plaintext again, from wherever its adoption has come to; needs decrypt';

-- Opened values.

-- What shows opened values beside the rest of a row.
CREATE FUNCTION envelope_decrypt_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_or_null(regclass, bytea, text) IS
  'As envelope_decrypt; NULL for roles that may not decrypt. Whatever else is wrong is an error';

CREATE FUNCTION envelope_decrypt_or_null(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_or_null(regclass, envelope.sealed, text) IS
  'As envelope_decrypt; NULL for roles that may not decrypt. Whatever else is wrong is an error';

CREATE FUNCTION envelope_decrypt_text_or_null(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text_or_null(regclass, bytea, text) IS
  'As envelope_decrypt_or_null, for values that were sealed as text';

CREATE FUNCTION envelope_decrypt_text_or_null(relation regclass, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text_or_null(regclass, envelope.sealed, text) IS
  'As envelope_decrypt_or_null, for values that were sealed as text';

CREATE FUNCTION envelope_decrypt_as_or_null(
    relation regclass, sealed bytea, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as_or_null(regclass, bytea, anyelement, text) IS
  'As envelope_decrypt_or_null, for values that were sealed with their type';

CREATE FUNCTION envelope_decrypt_as_or_null(
    relation regclass, sealed envelope.sealed, type_of anyelement, context text DEFAULT '')
  RETURNS anyelement LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_as_or_null_wrapper';
COMMENT ON FUNCTION envelope_decrypt_as_or_null(regclass, envelope.sealed, anyelement, text) IS
  'As envelope_decrypt_or_null, for values that were sealed with their type';

CREATE FUNCTION envelope.masked(relation regclass, column_name name, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_masked_wrapper';
COMMENT ON FUNCTION envelope.masked(regclass, name, bytea, text) IS
  'The last four characters of a sealed text, if the column''s policy has that mask; for roles that may read the column and not decrypt';

CREATE FUNCTION envelope.masked(
    relation regclass, column_name name, sealed envelope.sealed, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_masked_wrapper';
COMMENT ON FUNCTION envelope.masked(regclass, name, envelope.sealed, text) IS
  'The last four characters of a sealed text, if the column''s policy has that mask; for roles that may read the column and not decrypt';

CREATE FUNCTION envelope.open_view(
    relation regclass, view_name text, write text DEFAULT 'table', mask jsonb DEFAULT '{}',
    execute boolean DEFAULT false)
  RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 3
  AS 'MODULE_PATHNAME', 'envelope_open_view_wrapper';
COMMENT ON FUNCTION envelope.open_view(regclass, text, text, jsonb, boolean) IS
  'Prints the statements that make a view with the opened values of a table, and runs them if execute is true';

-- For every type, arrays and enums too, which no cast is for.
CREATE FUNCTION envelope.form_of(value anyelement)
  RETURNS envelope.sealed LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_sealed_from_wrapper';
COMMENT ON FUNCTION envelope.form_of(anyelement) IS
  'For envelope.write_through: the canonical form of a value, filled, for the trigger to seal';

CREATE FUNCTION envelope.write_through()
  RETURNS trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'envelope_write_through_wrapper';
COMMENT ON FUNCTION envelope.write_through() IS
  'Trigger INSTEAD OF INSERT OR UPDATE OR DELETE of a view that envelope.open_view makes: writes to the view''s table';

-- History and evidence.

-- What an auditor asks: which keys there are, what was done to them, and how columns are protected.
CREATE FUNCTION envelope.library(OUT version text, OUT kms text[], OUT cryptoperiod bigint)
  RETURNS SETOF record LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
  AS 'MODULE_PATHNAME', 'envelope_library_wrapper';
COMMENT ON FUNCTION envelope.library() IS
  'The library that this session has loaded: its version, the schemes of the KEKs that it was built for, and envelope.cryptoperiod in seconds';

-- A key that was made or changed before there was a history, or in the database that it was imported from, has what
-- its own row tells: when it was made, and its last change. Those rows are not `recorded`. Of one that was imported, all
-- of that is what the import said.
CREATE VIEW envelope.key_events WITH (security_barrier) AS
  SELECT e.at, e.event, e.table_name AS relation, e.keyring_id, e.key_id, k.purpose, k.version,
         CASE WHEN e.event OPERATOR(pg_catalog.=) ANY (ARRAY['rotate', 'activate']) THEN
           (SELECT b.key_id FROM envelope.data_key b
            WHERE b.keyring_id OPERATOR(pg_catalog.=) k.keyring_id AND b.purpose OPERATOR(pg_catalog.=) k.purpose
              AND b.version OPERATOR(pg_catalog.<) k.version
            ORDER BY b.version DESC LIMIT 1)
         END AS former_key_id,
         e.kek, e.role, e.login_role, e.grantee, e.verb, e.count, e.kms_request_id, e.detail, e.recorded
  FROM (SELECT n.at, n.event, n.table_name, n.keyring_id, n.key_id, n.kek, n.role, n.login_role, n.grantee, n.verb,
               n.count, n.kms_request_id, n.detail, true AS recorded
        FROM envelope.key_event n
        UNION ALL
        SELECT d.created_at, 'create', r.table_name, d.keyring_id, d.key_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               CASE WHEN i.is_so THEN 'as imported' END, false
        FROM envelope.data_key d
        LEFT JOIN envelope.keyring r ON r.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
        CROSS JOIN LATERAL (
          SELECT EXISTS (SELECT FROM envelope.key_event n
                         WHERE n.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
                           AND n.event OPERATOR(pg_catalog.=) 'import'
                           AND (n.key_id IS NULL AND n.detail OPERATOR(pg_catalog.=) 'was not here'
                                OR n.key_id OPERATOR(pg_catalog.=) d.key_id
                                   AND n.detail OPERATOR(pg_catalog.~~) '%, was not here')) AS is_so) i
        WHERE NOT EXISTS (SELECT FROM envelope.key_event n
                          WHERE n.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
                            AND n.key_id OPERATOR(pg_catalog.=) d.key_id
                            AND n.event OPERATOR(pg_catalog.=) ANY (ARRAY['create', 'rotate']))
        UNION ALL
        SELECT d.state_changed_at,
               CASE WHEN d.state OPERATOR(pg_catalog.=) 'destroyed' THEN 'destroy'
                    WHEN d.state OPERATOR(pg_catalog.=) 'retired' THEN 'retire' ELSE 'decrypt-only' END,
               r.table_name, d.keyring_id, d.key_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
               CASE WHEN i.is_so THEN pg_catalog.concat_ws(': ', 'as imported', d.reason) ELSE d.reason END, false
        FROM envelope.data_key d
        LEFT JOIN envelope.keyring r ON r.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
        CROSS JOIN LATERAL (
          SELECT EXISTS (SELECT FROM envelope.key_event n
                         WHERE n.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
                           AND n.event OPERATOR(pg_catalog.=) 'import'
                           AND (n.key_id IS NULL AND n.detail OPERATOR(pg_catalog.=) 'was not here'
                                OR n.key_id OPERATOR(pg_catalog.=) d.key_id
                                   AND n.detail OPERATOR(pg_catalog.~~) '%, was not here')) AS is_so) i
        WHERE d.state OPERATOR(pg_catalog.<>) 'active'
          AND NOT (d.pending AND d.state OPERATOR(pg_catalog.=) 'decrypt-only')
          AND NOT EXISTS (
            SELECT FROM envelope.key_event n
            LEFT JOIN envelope.data_key s ON s.key_id OPERATOR(pg_catalog.=) n.key_id
            WHERE n.keyring_id OPERATOR(pg_catalog.=) d.keyring_id
              AND CASE
                    WHEN d.state OPERATOR(pg_catalog.=) 'destroyed' THEN
                      n.key_id OPERATOR(pg_catalog.=) d.key_id AND n.event OPERATOR(pg_catalog.=) 'destroy'
                    WHEN d.state OPERATOR(pg_catalog.=) 'retired' THEN
                      n.key_id OPERATOR(pg_catalog.=) d.key_id AND n.event OPERATOR(pg_catalog.=) 'retire'
                    ELSE n.key_id OPERATOR(pg_catalog.=) d.key_id
                         AND n.event OPERATOR(pg_catalog.=) ANY (ARRAY['unretire', 'import'])
                      OR n.event OPERATOR(pg_catalog.=) 'rotate' AND s.purpose OPERATOR(pg_catalog.=) d.purpose
                         AND s.version OPERATOR(pg_catalog.>) d.version
                  END)
       ) AS e
  LEFT JOIN envelope.data_key k ON k.key_id OPERATOR(pg_catalog.=) e.key_id
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
     OR EXISTS (SELECT FROM envelope.keyring_table t
                LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.relation::pg_catalog.oid
                WHERE t.keyring_id OPERATOR(pg_catalog.=) e.keyring_id AND t.seals
                  AND (pg_catalog.pg_has_role(c.relowner, 'USAGE')
                       OR pg_catalog.pg_has_role(t.former_owner::pg_catalog.oid, 'USAGE')))
     OR EXISTS (SELECT FROM envelope.key_grant g
                WHERE g.keyring_id OPERATOR(pg_catalog.=) e.keyring_id AND g.verb OPERATOR(pg_catalog.=) 'manage'
                  AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE'));
COMMENT ON VIEW envelope.key_events IS
  'What was done to the keys that you own, owned or may manage, and to the rights on them (all, and what was done to columns, for members of pg_monitor); not recorded: what a key''s own row tells of the time before the history';
GRANT SELECT ON envelope.key_events TO PUBLIC;

-- Known where the library is preloaded, to those who may read the figures of all sessions.
CREATE FUNCTION envelope.last_uses()
  RETURNS TABLE (key_id uuid, kek text, last_used_at timestamptz)
  LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    IF pg_catalog.to_regclass('envelope.stats_cluster') IS NULL OR pg_catalog.to_regclass('envelope.stats_kms') IS NULL
       OR NOT pg_catalog.has_table_privilege('envelope.stats_cluster', 'SELECT')
       OR NOT pg_catalog.has_table_privilege('envelope.stats_kms', 'SELECT') THEN
      RETURN;
    END IF;
    RETURN QUERY EXECUTE $query$
      SELECT s.key_id, NULL::pg_catalog.text, pg_catalog.max(s.last_unwrap)
      FROM envelope.stats_cluster s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid
      WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
      GROUP BY s.key_id
      UNION ALL
      SELECT NULL::pg_catalog.uuid, s.kek, pg_catalog.max(s.last_at)
      FROM envelope.stats_kms s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid
      WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND s.outcome OPERATOR(pg_catalog.=) 'ok' AND s.operation OPERATOR(pg_catalog.<>) 'describe'
      GROUP BY s.kek
    $query$;
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    -- The library is not preloaded.
    RETURN;
  END $$;
COMMENT ON FUNCTION envelope.last_uses() IS
  'For envelope.crypto_inventory: when data keys were last unwrapped, and KEKs last used, in this database since the figures were last reset; no row where that is not known';

-- The end of a cryptoperiod is when a key has to stop sealing, or did. `unknown` says why a column is NULL.
CREATE VIEW envelope.crypto_inventory WITH (security_barrier) AS
  WITH used AS MATERIALIZED (SELECT u.key_id, u.kek, u.last_used_at FROM envelope.last_uses() u),
  sorts (purpose, kind, serves, algorithm, standard) AS (VALUES
    ('seal', 'data key', 'seals and opens values', 'XAES-256-GCM',
     'C2SP XAES-256-GCM: NIST SP 800-38D, SP 800-38B, SP 800-108r1; HKDF-Expand: RFC 5869'),
    ('index', 'index key', 'makes the terms of search indexes', 'HMAC-SHA-256',
     'FIPS 198-1, FIPS 180-4; HKDF-Expand: RFC 5869')),
  -- In the China regions of AWS the symmetric key spec is another cipher.
  providers (pattern, provider, algorithm, bits, standard, no_algorithm, no_creation, no_end) AS (VALUES
    ('^aws-kms://arn:[^:]*:kms:cn-', 'AWS KMS', 'SM4', 128, 'key spec SYMMETRIC_DEFAULT', NULL, 'the KMS knows',
     'the KMS rotates it, as is set there'),
    ('^aws-kms://(?!arn:[^:]*:kms:cn-)', 'AWS KMS', 'AES-256-GCM', 256, 'key spec SYMMETRIC_DEFAULT', NULL,
     'the KMS knows', 'the KMS rotates it, as is set there'),
    ('^vault([+]http)?://', 'OpenBao or Vault transit', NULL, 256,
     'aes256-gcm96, chacha20-poly1305 or xchacha20-poly1305',
     'it is the type of the transit key, one of those in standard: OpenBao or Vault tells which', 'the KMS knows',
     'OpenBao or Vault rotates it, as is set there'),
    ('^pkcs11:', 'PKCS#11 token', 'AES-256-GCM', 256, 'CKM_AES_GCM: NIST SP 800-38D', NULL, 'the token may know',
     'whoever administers the token replaces it; envelope.rewrap moves keys to another KEK'),
    ('^kmip://', 'KMIP server', 'AES-256-GCM', 256, 'NIST SP 800-38D', NULL, 'the KMIP server knows',
     'whoever administers the server replaces it; envelope.rewrap moves keys to another KEK'),
    ('^file://', 'key file', 'XAES-256-GCM', 256, 'C2SP XAES-256-GCM; HKDF-Expand: RFC 5869', NULL,
     'the file may tell', 'nothing rotates a key file; envelope.rewrap moves keys to another KEK')),
  limits AS (
    SELECT r.keyring_id,
           CASE WHEN pg_catalog.jsonb_typeof(r.limits OPERATOR(pg_catalog.->) 'rotate_after') OPERATOR(pg_catalog.=) 'number'
                THEN (r.limits OPERATOR(pg_catalog.->>) 'rotate_after')::pg_catalog.float8 END AS rotate_after,
           COALESCE(
             CASE WHEN pg_catalog.jsonb_typeof(r.limits OPERATOR(pg_catalog.->) 'cryptoperiod') OPERATOR(pg_catalog.=) 'number'
                  THEN (r.limits OPERATOR(pg_catalog.->>) 'cryptoperiod')::pg_catalog.float8 END,
             l.cryptoperiod::pg_catalog.float8) AS cryptoperiod,
           pg_catalog.jsonb_exists(r.limits, 'cryptoperiod') AS is_own,
           pg_catalog.jsonb_exists_any(r.limits, ARRAY['rotate_after_seals', 'rotate_after_bytes']) AS counts
    FROM envelope.keyring r CROSS JOIN envelope.library() l
  ),
  -- What ends it first. 0 is never.
  periods AS (
    SELECT DISTINCT ON (l.keyring_id) l.keyring_id, l.counts, p.period, p.period_of
    FROM limits l
    LEFT JOIN LATERAL (VALUES
      (l.rotate_after, 'the table''s limit rotate_after'),
      (l.cryptoperiod, CASE WHEN l.is_own THEN 'the table''s limit cryptoperiod' ELSE 'envelope.cryptoperiod' END)
    ) AS p (period, period_of) ON p.period OPERATOR(pg_catalog.>) 0
    ORDER BY l.keyring_id, p.period
  ),
  -- Since when a version seals, or has sealed: a pending one does not yet, and one that came when two servers had rotated
  -- apart never has here.
  versions AS (
    SELECT k.*, p.period, p.period_of, p.counts, b.began,
           pg_catalog.lead(b.began) OVER versions AS replaced_at,
           pg_catalog.lead(k.version) OVER versions AS replaced_by
    FROM envelope.keys k JOIN periods p ON p.keyring_id OPERATOR(pg_catalog.=) k.keyring_id
    CROSS JOIN LATERAL (
      SELECT CASE WHEN k.state OPERATOR(pg_catalog.=) 'pending' THEN NULL
                  WHEN pg_catalog.count(*) FILTER (WHERE n.event OPERATOR(pg_catalog.=) 'import'
                         AND n.detail OPERATOR(pg_catalog.~~) 'decrypt-only, was not here%') OPERATOR(pg_catalog.>) 0
                       AND pg_catalog.count(*) FILTER (WHERE n.event OPERATOR(pg_catalog.=) 'activate'
                         OR n.event OPERATOR(pg_catalog.=) 'import' AND n.detail OPERATOR(pg_catalog.~~) 'active,%')
                         OPERATOR(pg_catalog.=) 0 THEN NULL
                  ELSE COALESCE(pg_catalog.max(n.at) FILTER (WHERE n.event OPERATOR(pg_catalog.=) 'activate'), k.created_at)
             END AS began
      FROM envelope.key_event n
      WHERE n.keyring_id OPERATOR(pg_catalog.=) k.keyring_id AND n.key_id OPERATOR(pg_catalog.=) k.key_id
    ) b
    WINDOW versions AS (PARTITION BY k.keyring_id, k.purpose, b.began IS NULL ORDER BY k.version)
  ),
  ends AS (
    SELECT v.*,
           CASE WHEN v.state OPERATOR(pg_catalog.=) 'pending' THEN NULL
                WHEN v.state OPERATOR(pg_catalog.=) 'active' THEN
                  CASE WHEN v.purpose OPERATOR(pg_catalog.=) 'seal' AND v.period IS NOT NULL
                       THEN v.created_at OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => LEAST(v.period, 1e11)) END
                WHEN v.began IS NOT NULL AND v.replaced_by IS NOT NULL THEN v.replaced_at
                ELSE v.state_changed_at
           END AS ends_at,
           CASE WHEN v.state OPERATOR(pg_catalog.=) 'pending' THEN NULL
                WHEN v.state OPERATOR(pg_catalog.=) 'active' THEN
                  CASE WHEN v.purpose OPERATOR(pg_catalog.=) 'seal' THEN v.period_of END
                WHEN v.began IS NOT NULL AND v.replaced_by IS NOT NULL
                  THEN 'replaced by version ' OPERATOR(pg_catalog.||) v.replaced_by::pg_catalog.text
                ELSE v.state
           END AS ends_by
    FROM versions v
  ),
  keks AS (
    SELECT w.kek, pg_catalog.min(k.created_at) AS first_key,
           CASE WHEN w.kek OPERATOR(pg_catalog.~~) 'aws-kms://arn:%' THEN pg_catalog.split_part(w.kek, ':', 5) END AS region,
           pg_catalog.current_setting('envelope.aws_endpoint_url', true) AS aws_endpoints,
           -- Not for all to read: current_setting would be an error.
           (SELECT s.setting FROM pg_catalog.pg_settings s
            WHERE s.name OPERATOR(pg_catalog.=) 'envelope.pkcs11_module') AS pkcs11_module
    FROM envelope.keys k CROSS JOIN LATERAL pg_catalog.unnest(k.keks) AS w (kek)
    GROUP BY w.kek
  )
  SELECT s.kind, e.relation, e.keyring_id, e.key_id, e.version, NULL::pg_catalog.text AS kek,
         s.serves AS purpose, s.algorithm, s.standard, 256 AS bits, e.created_at,
         e.ends_at AS cryptoperiod_ends, e.ends_by AS cryptoperiod_basis,
         e.state, e.state_changed_at, e.reason, e.keks,
         NULL::pg_catalog.text AS provider, NULL::pg_catalog.text AS region, NULL::pg_catalog.text AS endpoint,
         u.last_used_at,
         pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
           'cryptoperiod_ends',
           CASE WHEN e.ends_at IS NOT NULL THEN NULL
                WHEN e.state OPERATOR(pg_catalog.=) 'pending' THEN 'it does not seal yet: envelope.activate_key'
                WHEN e.purpose OPERATOR(pg_catalog.=) 'index' THEN 'nothing rotates an index key by itself: envelope.rotate_index_key'
                WHEN e.counts THEN 'no time is set; it ends by what is sealed: the table''s limits rotate_after_seals, rotate_after_bytes'
                ELSE 'neither the table''s limits nor envelope.cryptoperiod set one' END,
           'last_used_at',
           CASE WHEN u.last_used_at IS NOT NULL THEN NULL
                WHEN e.state OPERATOR(pg_catalog.=) 'destroyed' THEN 'it cannot be used any more'
                ELSE 'no unwrap is known: the figures of all sessions need preloading, begin with a restart, and are for pg_read_all_stats' END)) AS unknown
  FROM ends e
  JOIN sorts s ON s.purpose OPERATOR(pg_catalog.=) e.purpose
  LEFT JOIN used u ON u.key_id OPERATOR(pg_catalog.=) e.key_id
  UNION ALL
  SELECT 'kek', NULL, NULL, NULL, NULL, k.kek, 'wraps data keys and index keys', p.algorithm, p.standard, p.bits,
         NULL, NULL, NULL, 'in use', NULL, NULL, NULL, p.provider, k.region,
         CASE WHEN p.provider OPERATOR(pg_catalog.=) 'AWS KMS' THEN COALESCE(
                (SELECT pg_catalog.btrim(pg_catalog.substr(a.pair, pg_catalog.strpos(a.pair, '=') OPERATOR(pg_catalog.+) 1))
                 FROM pg_catalog.regexp_split_to_table(k.aws_endpoints, ',') AS a (pair)
                 WHERE pg_catalog.btrim(pg_catalog.split_part(a.pair, '=', 1)) OPERATOR(pg_catalog.=) k.region),
                pg_catalog."substring"(k.aws_endpoints, '^\s*(https?://[^,]+?)\s*$'),
                'AWS''s own of the region')
              WHEN k.kek OPERATOR(pg_catalog.~) '^(vault|vault[+]http|kmip)://' THEN pg_catalog."substring"(k.kek, '^[a-z+]+://[^/]+')
              WHEN p.provider OPERATOR(pg_catalog.=) 'PKCS#11 token'
                THEN COALESCE('module ' OPERATOR(pg_catalog.||) pg_catalog."substring"(k.pkcs11_module, '^.+$'), 'a module of this server')
              ELSE 'a file of this server' END,
         u.last_used_at,
         pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
           'algorithm', p.no_algorithm,
           'created_at', p.no_creation OPERATOR(pg_catalog.||) '; the oldest key that it wraps here is of ' OPERATOR(pg_catalog.||)
             pg_catalog.to_char(k.first_key AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'cryptoperiod_ends', p.no_end,
           'last_used_at', CASE WHEN u.last_used_at IS NULL
             THEN 'no use is known: the figures of all sessions need preloading, begin with a restart, and are for pg_read_all_stats; the log of its KMS knows' END))
  FROM keks k
  LEFT JOIN providers p ON k.kek OPERATOR(pg_catalog.~) p.pattern
  LEFT JOIN used u ON u.kek OPERATOR(pg_catalog.=) k.kek;
COMMENT ON VIEW envelope.crypto_inventory IS
  'An inventory of your keys (of all, for members of pg_monitor): each data key, index key and KEK with its purpose, algorithm, strength, the end of its cryptoperiod, state, place and last use; unknown: why a column is NULL';
GRANT SELECT ON envelope.crypto_inventory TO PUBLIC;

CREATE FUNCTION envelope.refusals_of_kms()
  RETURNS jsonb LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
  DECLARE
    counted jsonb;
  BEGIN
    IF pg_catalog.to_regclass('envelope.stats_kms') IS NULL
       OR NOT pg_catalog.has_table_privilege('envelope.stats_kms', 'SELECT') THEN
      RETURN NULL;
    END IF;
    EXECUTE $query$
      SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
               'kek', s.kek, 'operation', s.operation, 'outcome', s.outcome, 'requests', s.requests, 'last_at', s.last_at)
               ORDER BY s.kek, s.operation, s.outcome), '[]')
      FROM envelope.stats_kms s JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.datid
      WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND s.outcome OPERATOR(pg_catalog.<>) 'ok'
    $query$ INTO counted;
    RETURN counted;
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    RETURN NULL;
  END $$;
COMMENT ON FUNCTION envelope.refusals_of_kms() IS
  'For envelope.evidence: requests that the KMS did not answer well, counted since the figures were last reset; NULL where they are not known';

-- Figures of all sessions.

-- What all sessions of the server together have done, and how its KMSs are.
-- Those who may read everybody's statistics may read these, by the views or by themselves.
CREATE FUNCTION envelope.figures_of_keys()
  RETURNS TABLE (datid oid, key_id uuid, values_sealed bigint, values_opened bigint, values_hashed bigint,
                 bytes_sealed bigint, bytes_opened bigint, cache_hits bigint, lease_hits bigint, lease_waits bigint,
                 total_lease_wait_ms double precision, kms_requests bigint, kms_failures bigint, kek_fallovers bigint,
                 backends_holding integer, last_unwrap timestamptz, keys_evicted bigint, stats_reset timestamptz)
  LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_figures_of_keys_wrapper';
REVOKE ALL ON FUNCTION envelope.figures_of_keys() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION envelope.figures_of_keys() TO pg_read_all_stats;
COMMENT ON FUNCTION envelope.figures_of_keys() IS 'What envelope.stats_cluster shows, by database and key';

-- A key is known in its own database alone. It may have been destroyed or forgotten since.
CREATE VIEW envelope.stats_cluster WITH (security_barrier) AS
  SELECT f.datid, d.datname,
         CASE WHEN t.relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
              THEN t.relation::pg_catalog.oid END AS relid,
         CASE WHEN t.relation::pg_catalog.text OPERATOR(pg_catalog.<>) '-'
              THEN t.relation::pg_catalog.text ELSE r.table_name END AS relation,
         f.key_id, k.purpose, k.version,
         f.values_sealed, f.values_opened, f.values_hashed, f.bytes_sealed, f.bytes_opened,
         f.cache_hits, f.lease_hits, f.lease_waits, f.total_lease_wait_ms,
         f.kms_requests, f.kms_failures, f.kek_fallovers,
         f.backends_holding, f.last_unwrap, f.keys_evicted, f.stats_reset
  FROM envelope.figures_of_keys() f
  LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) f.datid
  LEFT JOIN envelope.data_key k
    ON k.key_id OPERATOR(pg_catalog.=) f.key_id AND d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
  LEFT JOIN envelope.keyring r ON r.keyring_id OPERATOR(pg_catalog.=) k.keyring_id
  LEFT JOIN envelope.keyring_table t ON t.keyring_id OPERATOR(pg_catalog.=) r.keyring_id AND t.seals;
COMMENT ON VIEW envelope.stats_cluster IS
  'What all sessions have done with each data key since the server started or envelope.stats_reset() was called; the row without a key sums what keys had that lost their place in the table';
GRANT SELECT ON envelope.stats_cluster TO pg_read_all_stats;

CREATE FUNCTION envelope.figures_of_kms()
  RETURNS TABLE (datid oid, kek text, provider text, operation text, outcome text, requests bigint,
                 total_latency_ms double precision, latency_buckets bigint[], last_at timestamptz, rows_evicted bigint,
                 stats_reset timestamptz)
  LANGUAGE c VOLATILE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_figures_of_kms_wrapper';
REVOKE ALL ON FUNCTION envelope.figures_of_kms() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION envelope.figures_of_kms() TO pg_read_all_stats;
COMMENT ON FUNCTION envelope.figures_of_kms() IS 'What envelope.stats_kms shows, by database';

CREATE VIEW envelope.stats_kms WITH (security_barrier) AS
  SELECT f.datid, d.datname, f.kek, f.provider, f.operation, f.outcome, f.requests, f.total_latency_ms, f.latency_buckets,
         f.last_at, f.rows_evicted, f.stats_reset
  FROM envelope.figures_of_kms() f
  LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) f.datid;
COMMENT ON VIEW envelope.stats_kms IS
  'What all sessions have asked each KEK since the server started or envelope.stats_reset() was called, by operation and outcome, and how long it took; envelope.latency_bounds() has the upper bounds of latency_buckets';
GRANT SELECT ON envelope.stats_kms TO pg_read_all_stats;

CREATE FUNCTION envelope.figures_of_leases()
  RETURNS TABLE (slots integer, used integer, ready integer, asked integer, refused integer,
                 backends_unlocked integer, lookups bigint, hits bigint, waits bigint, takeovers bigint,
                 evictions bigint, table_full bigint, stats_reset timestamptz)
  LANGUAGE c VOLATILE PARALLEL SAFE ROWS 1
  AS 'MODULE_PATHNAME', 'envelope_figures_of_leases_wrapper';
REVOKE ALL ON FUNCTION envelope.figures_of_leases() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION envelope.figures_of_leases() TO pg_read_all_stats;
COMMENT ON FUNCTION envelope.figures_of_leases() IS 'What envelope.stats_leases shows';

CREATE VIEW envelope.stats_leases WITH (security_barrier) AS SELECT * FROM envelope.figures_of_leases();
COMMENT ON VIEW envelope.stats_leases IS
  'The table of leases: its places and what stands in them now, and what it was asked since the server started or envelope.stats_reset() was called; and how many sessions hold keys in memory that is not locked';
GRANT SELECT ON envelope.stats_leases TO pg_read_all_stats;

CREATE FUNCTION envelope.latency_bounds()
  RETURNS double precision[] LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_latency_bounds_wrapper';
COMMENT ON FUNCTION envelope.latency_bounds() IS
  'The upper bounds, in milliseconds, of what envelope.stats_kms counts in latency_buckets; the last is Infinity';

CREATE FUNCTION envelope.stats_reset()
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_stats_reset_wrapper';
REVOKE ALL ON FUNCTION envelope.stats_reset() FROM PUBLIC;
COMMENT ON FUNCTION envelope.stats_reset() IS
  'Sets the figures of envelope.stats_cluster, envelope.stats_kms and envelope.stats_leases to zero, for all databases';

CREATE FUNCTION envelope.health(ask boolean DEFAULT false)
  RETURNS TABLE (kek text, provider text, in_use_by_keys integer, reachable boolean, unwraps boolean,
                 makes_keys boolean, last_success timestamptz, last_failure timestamptz, last_failure_class text,
                 source text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_health_wrapper';
REVOKE ALL ON FUNCTION envelope.health(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION envelope.health(boolean) TO pg_monitor;
COMMENT ON FUNCTION envelope.health(boolean) IS
  'How each KEK in use is, by what sessions saw of it last; with ask => true, by asking it now, within envelope.kms_timeout. A KMS that fails is a row, not an error';

-- Other nodes.

-- Other nodes of this database.
CREATE FUNCTION envelope.sync_keyrings(
    servers name[] DEFAULT NULL, dry_run boolean DEFAULT false, relations regclass[] DEFAULT NULL,
    grants boolean DEFAULT true, activate boolean DEFAULT false)
  RETURNS TABLE (node text, relation text, step text, ok boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_sync_keyrings_wrapper';
COMMENT ON FUNCTION envelope.sync_keyrings(name[], boolean, regclass[], boolean, boolean) IS
  'Brings the keyrings of tables to the other nodes: those of Citus, or servers by their names; a row for each step, with what it did or why it failed';

-- What sync_keyrings calls over there, as whom it connects: it checks what import_keyring checks.
CREATE FUNCTION envelope.take_keyrings(batch text)
  RETURNS text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_take_keyrings_wrapper';
COMMENT ON FUNCTION envelope.take_keyrings(text) IS
  'For envelope.sync_keyrings, which calls it on the other nodes: takes the keyrings of many tables; gives the steps of each as JSON';

-- What a node says of itself.

-- What nodes that are to have the same keys say of themselves.
CREATE FUNCTION envelope.node_state(relations text[] DEFAULT '{}', named_only boolean DEFAULT false)
  RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_node_state_wrapper';
COMMENT ON FUNCTION envelope.node_state(text[], boolean) IS
  'What this node says of itself to others that are to have the same keys, without a secret: versions, settings, and the keyrings that you may manage (all, for members of pg_monitor) with their keys, limits and rights';

-- What each column of a view is.
COMMENT ON COLUMN envelope.keys.keyring_id IS 'The keyring that it is of';
COMMENT ON COLUMN envelope.keys.relation IS 'The table that seals with the keyring, or the one that last did';
COMMENT ON COLUMN envelope.keys.key_id IS 'Derived from the key, so that it commits to it';
COMMENT ON COLUMN envelope.keys.purpose IS 'What it is for: seal (values) or index (terms of search indexes)';
COMMENT ON COLUMN envelope.keys.version IS 'Counts up with each rotation, by purpose';
COMMENT ON COLUMN envelope.keys.state IS 'active: it seals and opens; pending: it opens, and will seal once envelope.activate_key says so; decrypt-only: it opens; retired: it does not open until envelope.unretire_key; destroyed: never again';
COMMENT ON COLUMN envelope.keys.keks IS 'KEKs that it is wrapped by, in the order in which they are tried';
COMMENT ON COLUMN envelope.keys.created_at IS 'When it was made, by the clock of the server that made it';
COMMENT ON COLUMN envelope.keys.state_changed_at IS 'When the state last changed';
COMMENT ON COLUMN envelope.keys.reason IS 'Why the state last changed, as whoever changed it said';
COMMENT ON COLUMN envelope.keys.orphaned IS 'No table seals with the keyring';
COMMENT ON COLUMN envelope.keys.is_taken IS 'Values under this version are not below the keyring''s minimum version';
COMMENT ON COLUMN envelope.keys.kms_contexts IS 'The encryption context of each wrap, in the order of keks';
COMMENT ON COLUMN envelope.keys.context_binding IS 'What binds these contexts, by the weakest of the KEKs: kms policy and log, or cipher';
COMMENT ON COLUMN envelope.key_privileges.relation IS 'The table whose keys they are';
COMMENT ON COLUMN envelope.key_privileges.grantee IS 'Who may; members of the role may, too';
COMMENT ON COLUMN envelope.key_privileges.verb IS 'What: encrypt, decrypt, search or manage';
COMMENT ON COLUMN envelope.key_privileges.origin IS 'Why: owner (of the table), grant (envelope.grant_key), manage (includes decrypt and search), or share (owner of a table that the keyring is shared with)';
COMMENT ON COLUMN envelope.key_privileges.keyring_id IS 'The keyring';
COMMENT ON COLUMN envelope.stats.keys_cached IS 'Unwrapped keys in this session''s memory';
COMMENT ON COLUMN envelope.stats.memory_locked IS 'That memory cannot be swapped out';
COMMENT ON COLUMN envelope.stats.kms_requests IS 'KMS operations that this session has sent; reading a key file is none';
COMMENT ON COLUMN envelope.stats.kms_failures IS 'Those of them that failed or were cancelled';
COMMENT ON COLUMN envelope.stats.kek_fallovers IS 'Keys that another KEK than their first one unwrapped';
COMMENT ON COLUMN envelope.sealed_columns.relation IS 'The table';
COMMENT ON COLUMN envelope.sealed_columns.column_name IS 'The column that holds sealed values';
COMMENT ON COLUMN envelope.sealed_columns.registered IS 'By envelope.register_column or a policy';
COMMENT ON COLUMN envelope.sealed_columns.triggers IS 'Sealing triggers that name the column';
COMMENT ON COLUMN envelope.indexes.relation IS 'The table';
COMMENT ON COLUMN envelope.indexes.column_name IS 'The sealed column that can be searched';
COMMENT ON COLUMN envelope.indexes.index_column IS 'The column that holds its terms';
COMMENT ON COLUMN envelope.indexes.kind IS 'How it is searched: exact, prefix(n), words, buckets, ...';
COMMENT ON COLUMN envelope.indexes.form IS 'What is done to a value before a term is made of it, or the type of a range';
COMMENT ON COLUMN envelope.indexes.rule IS 'Kind, form and version in one: part of what terms are made of';
COMMENT ON COLUMN envelope.indexes.label IS 'Part of what terms are made of: columns that share a label, and keys, have the same terms';
COMMENT ON COLUMN envelope.indexes.term_length IS 'Bytes of a term';
COMMENT ON COLUMN envelope.indexes.is_unique IS 'A unique index is to stand on the terms';
COMMENT ON COLUMN envelope.indexes.built IS 'Every row has its terms';
COMMENT ON COLUMN envelope.indexes.keys_of IS 'The table whose index keys make the terms; NULL: this one';
COMMENT ON COLUMN envelope.indexes.key_id IS 'The index key that a unique index is pinned to, or whose tokens queries ask for';
COMMENT ON COLUMN envelope.indexes.waiting IS 'The index key was rotated, and the one before is not retired yet: queries ask for its terms, too';
COMMENT ON COLUMN envelope.progress.relation IS 'The table or partition';
COMMENT ON COLUMN envelope.progress.column_name IS 'The column; for index the one that holds the terms';
COMMENT ON COLUMN envelope.progress.key_id IS 'The active key that values are brought to';
COMMENT ON COLUMN envelope.progress.pass IS 'How often the table is being read: until a pass finds nothing left';
COMMENT ON COLUMN envelope.progress.rows_done IS 'Rows dealt with so far';
COMMENT ON COLUMN envelope.progress.rows_left IS 'Rows that are left: an estimate';
COMMENT ON COLUMN envelope.progress.rows_skipped IS 'Rows that others held, or changed first';
COMMENT ON COLUMN envelope.progress.rows_per_second IS 'Since it last began or went on';
COMMENT ON COLUMN envelope.progress.eta IS 'When it will have ended, at that speed';
COMMENT ON COLUMN envelope.progress.started_at IS 'When it began';
COMMENT ON COLUMN envelope.progress.updated_at IS 'When it last got on';
COMMENT ON COLUMN envelope.progress.finished_at IS 'When it ended; NULL: it has not';
COMMENT ON COLUMN envelope.progress.rows_plaintext IS 'Values in clear, left alone; known once it has ended';
COMMENT ON COLUMN envelope.progress.rows_of_others IS 'Values of keyrings that the table does not open with, left alone';
COMMENT ON COLUMN envelope.progress.rows_unknown IS 'Values under keys that are not in this database, left alone';
COMMENT ON COLUMN envelope.progress.rows_destroyed IS 'Values under destroyed keys, left alone';
COMMENT ON COLUMN envelope.progress.rows_damaged IS 'Other values under keys of the table that do not open, passed by';
COMMENT ON COLUMN envelope.progress.work IS 'What is done: reencrypt, seal or index';
COMMENT ON COLUMN envelope.key_events.at IS 'When';
COMMENT ON COLUMN envelope.key_events.event IS 'What was done, as in the audit: create, rotate, destroy, grant, ...';
COMMENT ON COLUMN envelope.key_events.relation IS 'The table, by its name of that day';
COMMENT ON COLUMN envelope.key_events.keyring_id IS 'The keyring';
COMMENT ON COLUMN envelope.key_events.key_id IS 'The data key';
COMMENT ON COLUMN envelope.key_events.purpose IS 'What the key is for: seal or index';
COMMENT ON COLUMN envelope.key_events.version IS 'The key''s version';
COMMENT ON COLUMN envelope.key_events.former_key_id IS 'Of a rotation: the key whose place the new one took';
COMMENT ON COLUMN envelope.key_events.kek IS 'The KEK, where one was used or changed';
COMMENT ON COLUMN envelope.key_events.role IS 'Whose right counted, by its name of that day';
COMMENT ON COLUMN envelope.key_events.login_role IS 'Who logged in';
COMMENT ON COLUMN envelope.key_events.grantee IS 'Of a right: who was given it, or lost it';
COMMENT ON COLUMN envelope.key_events.verb IS 'Of a right: encrypt, decrypt, search or manage';
COMMENT ON COLUMN envelope.key_events.count IS 'How many, where more than one thing was done';
COMMENT ON COLUMN envelope.key_events.kms_request_id IS 'The KMS''s number of the request that drew a new key';
COMMENT ON COLUMN envelope.key_events.detail IS 'The reason, or the new value';
COMMENT ON COLUMN envelope.key_events.recorded IS 'From the history; not so: what a key''s own row tells of the time before the history, or of where it was imported from';
COMMENT ON COLUMN envelope.crypto_inventory.kind IS 'data key, index key or kek';
COMMENT ON COLUMN envelope.crypto_inventory.relation IS 'The table whose key it is';
COMMENT ON COLUMN envelope.crypto_inventory.keyring_id IS 'The keyring';
COMMENT ON COLUMN envelope.crypto_inventory.key_id IS 'The data key or index key';
COMMENT ON COLUMN envelope.crypto_inventory.version IS 'Its version';
COMMENT ON COLUMN envelope.crypto_inventory.kek IS 'The KEK, by its URI';
COMMENT ON COLUMN envelope.crypto_inventory.purpose IS 'What it is used for, in words';
COMMENT ON COLUMN envelope.crypto_inventory.algorithm IS 'The algorithm that it is used with';
COMMENT ON COLUMN envelope.crypto_inventory.standard IS 'Where that is specified';
COMMENT ON COLUMN envelope.crypto_inventory.bits IS 'The strength of the key in bits';
COMMENT ON COLUMN envelope.crypto_inventory.created_at IS 'When it was made';
COMMENT ON COLUMN envelope.crypto_inventory.cryptoperiod_ends IS 'When it has to stop sealing, or did';
COMMENT ON COLUMN envelope.crypto_inventory.cryptoperiod_basis IS 'What says so: a limit, a setting, its successor, its state';
COMMENT ON COLUMN envelope.crypto_inventory.state IS 'active, pending, decrypt-only, retired or destroyed; of a KEK: in use';
COMMENT ON COLUMN envelope.crypto_inventory.state_changed_at IS 'When the state last changed';
COMMENT ON COLUMN envelope.crypto_inventory.reason IS 'Why the state last changed';
COMMENT ON COLUMN envelope.crypto_inventory.keks IS 'KEKs that it is wrapped by, in the order in which they are tried';
COMMENT ON COLUMN envelope.crypto_inventory.provider IS 'What holds the KEK';
COMMENT ON COLUMN envelope.crypto_inventory.region IS 'The region of the KEK';
COMMENT ON COLUMN envelope.crypto_inventory.endpoint IS 'Where the KEK is reached';
COMMENT ON COLUMN envelope.crypto_inventory.last_used_at IS 'When the data key was last unwrapped, or the KEK last used, here, since the figures were last reset';
COMMENT ON COLUMN envelope.crypto_inventory.unknown IS 'Why a column of these is NULL, by its name';
COMMENT ON COLUMN envelope.stats_cluster.datid IS 'The database; NULL in the row that sums keys which lost their place';
COMMENT ON COLUMN envelope.stats_cluster.datname IS 'Its name';
COMMENT ON COLUMN envelope.stats_cluster.relid IS 'The table, in the database that you are connected to';
COMMENT ON COLUMN envelope.stats_cluster.relation IS 'Its name, or the one that it last had';
COMMENT ON COLUMN envelope.stats_cluster.key_id IS 'The data key';
COMMENT ON COLUMN envelope.stats_cluster.purpose IS 'What it is for: seal or index';
COMMENT ON COLUMN envelope.stats_cluster.version IS 'Its version';
COMMENT ON COLUMN envelope.stats_cluster.values_sealed IS 'Values sealed';
COMMENT ON COLUMN envelope.stats_cluster.values_opened IS 'Values opened';
COMMENT ON COLUMN envelope.stats_cluster.values_hashed IS 'Values of which it made terms, to store or to search for';
COMMENT ON COLUMN envelope.stats_cluster.bytes_sealed IS 'Bytes of plaintext sealed';
COMMENT ON COLUMN envelope.stats_cluster.bytes_opened IS 'Bytes of plaintext opened';
COMMENT ON COLUMN envelope.stats_cluster.cache_hits IS 'Values whose key was in the session''s own memory';
COMMENT ON COLUMN envelope.stats_cluster.lease_hits IS 'Times that a session took the key from a lease';
COMMENT ON COLUMN envelope.stats_cluster.lease_waits IS 'Times that a session waited while another one asked for the key';
COMMENT ON COLUMN envelope.stats_cluster.total_lease_wait_ms IS 'How long they waited, together, in milliseconds';
COMMENT ON COLUMN envelope.stats_cluster.kms_requests IS 'Times that a KMS, or a key file, was asked to unwrap it';
COMMENT ON COLUMN envelope.stats_cluster.kms_failures IS 'Times that this failed or was cancelled';
COMMENT ON COLUMN envelope.stats_cluster.kek_fallovers IS 'Times that another KEK than its first one unwrapped it';
COMMENT ON COLUMN envelope.stats_cluster.backends_holding IS 'Sessions that had it in memory when their last transaction ended';
COMMENT ON COLUMN envelope.stats_cluster.last_unwrap IS 'When it was last unwrapped';
COMMENT ON COLUMN envelope.stats_cluster.keys_evicted IS 'How many keys lost their place, in the row that sums them; else 0';
COMMENT ON COLUMN envelope.stats_cluster.stats_reset IS 'Since when is counted';
COMMENT ON COLUMN envelope.stats_kms.datid IS 'The database that asked';
COMMENT ON COLUMN envelope.stats_kms.datname IS 'Its name';
COMMENT ON COLUMN envelope.stats_kms.kek IS 'The KEK, by the name that it was asked by';
COMMENT ON COLUMN envelope.stats_kms.provider IS 'The scheme of its URI';
COMMENT ON COLUMN envelope.stats_kms.operation IS 'What was asked for: generate, wrap, unwrap, rewrap or describe';
COMMENT ON COLUMN envelope.stats_kms.outcome IS 'What came of it: ok, denied, credentials, key_state, throttled, unavailable, invalid_wrap, bad_uri, not_built_in or cancelled';
COMMENT ON COLUMN envelope.stats_kms.requests IS 'How often';
COMMENT ON COLUMN envelope.stats_kms.total_latency_ms IS 'How long all of them took, together, in milliseconds';
COMMENT ON COLUMN envelope.stats_kms.latency_buckets IS 'How many took up to each bound of envelope.latency_bounds(), and longer than the one before it';
COMMENT ON COLUMN envelope.stats_kms.last_at IS 'When that last came';
COMMENT ON COLUMN envelope.stats_kms.rows_evicted IS 'How many rows lost their place, in the row that sums them; else 0';
COMMENT ON COLUMN envelope.stats_kms.stats_reset IS 'Since when is counted';
COMMENT ON COLUMN envelope.stats_leases.slots IS 'Places in the table: envelope.shared_keys';
COMMENT ON COLUMN envelope.stats_leases.used IS 'Places in use';
COMMENT ON COLUMN envelope.stats_leases.ready IS 'Of them: leases';
COMMENT ON COLUMN envelope.stats_leases.asked IS 'Of them: keys for which a session asks a KMS';
COMMENT ON COLUMN envelope.stats_leases.refused IS 'Of them: what a KMS has refused';
COMMENT ON COLUMN envelope.stats_leases.backends_unlocked IS 'Sessions that hold keys in memory that could not be locked';
COMMENT ON COLUMN envelope.stats_leases.lookups IS 'Keys that were looked for';
COMMENT ON COLUMN envelope.stats_leases.hits IS 'Keys that were found';
COMMENT ON COLUMN envelope.stats_leases.waits IS 'Times that a session waited for another one''s request';
COMMENT ON COLUMN envelope.stats_leases.takeovers IS 'Times that one of those that waited went on in the place of one that gave up';
COMMENT ON COLUMN envelope.stats_leases.evictions IS 'Expired leases that were given up for others';
COMMENT ON COLUMN envelope.stats_leases.table_full IS 'Times that there was no room, and a session asked for itself alone';
COMMENT ON COLUMN envelope.stats_leases.stats_reset IS 'Since when is counted';

-- Triggers.

CREATE FUNCTION envelope.keep_out()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_out_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_out() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_out() IS
  'Trigger: lets only its owner and superusers change a table of the catalog';

CREATE FUNCTION envelope.stay_local()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_stay_local_wrapper';
REVOKE ALL ON FUNCTION envelope.stay_local() FROM PUBLIC;
COMMENT ON FUNCTION envelope.stay_local() IS 'Trigger: leaves out what replication brings';

CREATE FUNCTION envelope.follow()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_follow_wrapper';
REVOKE ALL ON FUNCTION envelope.follow() FROM PUBLIC;
COMMENT ON FUNCTION envelope.follow() IS
  'Trigger: notes of a data key that replication brings that its keyring comes from elsewhere';

CREATE FUNCTION envelope.keep_identity()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_identity_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_identity() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_identity() IS
  'Trigger: refuses that the row of a data key becomes that of another';

CREATE FUNCTION envelope.keep_destroyed()
  RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_keep_destroyed_wrapper';
REVOKE ALL ON FUNCTION envelope.keep_destroyed() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_destroyed() IS
  'Trigger: refuses that a destroyed data key is used again';

CREATE FUNCTION envelope.keep_history()
  RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    RAISE EXCEPTION 'the history of keys is not changed: rows are only added to envelope.key_event'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'It is what shows an auditor what was done to keys.';
  END $$;
REVOKE ALL ON FUNCTION envelope.keep_history() FROM PUBLIC;
COMMENT ON FUNCTION envelope.keep_history() IS 'Trigger: refuses to change or delete what the history of keys has';

-- As sql/finalize.sql has them. The tables of 0.1.0 have those of envelope.invalidate() that fire AFTER.
DO $$
DECLARE
  tables pg_catalog.text[];
  trigger pg_catalog.text;
  definition pg_catalog.text;
  catalog_table pg_catalog.text;
  cached pg_catalog.text[] := '{keyring, keyring_table, data_key, wrapped_key, key_grant, sealed_column, column_index}';
  others pg_catalog.text[] := '{key_use, reencryption, followed_keyring, key_event}';
  of_this_node pg_catalog.text[] := '{reencryption, followed_keyring}';
  added pg_catalog.text[] := '{column_index}';
BEGIN
  FOR tables, trigger, definition IN VALUES
    (added, 'invalidate', 'AFTER INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.invalidate()'),
    (added, 'invalidate_truncate', 'AFTER TRUNCATE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.invalidate()'),
    (others, 'keep_out', 'AFTER INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.keep_out()'),
    (cached OPERATOR(pg_catalog.||) others, 'keep_out_before', 'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_out()'),
    (of_this_node, 'stay_local', 'BEFORE INSERT OR UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.stay_local()'),
    ('{data_key}', 'follow', 'AFTER INSERT ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.follow()'),
    ('{data_key}', 'keep_identity', 'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.key_id OPERATOR(pg_catalog.<>) NEW.key_id
             OR OLD.keyring_id OPERATOR(pg_catalog.<>) NEW.keyring_id
             OR OLD.purpose OPERATOR(pg_catalog.<>) NEW.purpose
             OR OLD.version OPERATOR(pg_catalog.<>) NEW.version)
       EXECUTE FUNCTION envelope.keep_identity()'),
    ('{data_key}', 'keep_destroyed', 'BEFORE UPDATE ON envelope.%I FOR EACH ROW
       WHEN (OLD.state OPERATOR(pg_catalog.=) ''destroyed'' AND NEW.state OPERATOR(pg_catalog.<>) ''destroyed'')
       EXECUTE FUNCTION envelope.keep_destroyed()'),
    ('{key_event}', 'keep_history', 'BEFORE UPDATE OR DELETE ON envelope.%I
       FOR EACH ROW EXECUTE FUNCTION envelope.keep_history()'),
    ('{key_event}', 'keep_history_truncate', 'BEFORE TRUNCATE ON envelope.%I
       FOR EACH STATEMENT EXECUTE FUNCTION envelope.keep_history()')
  LOOP
    FOREACH catalog_table IN ARRAY tables LOOP
      EXECUTE pg_catalog.format('CREATE TRIGGER %I ' OPERATOR(pg_catalog.||) definition, trigger, catalog_table);
      EXECUTE pg_catalog.format('ALTER TABLE envelope.%I ENABLE ALWAYS TRIGGER %I', catalog_table, trigger);
    END LOOP;
  END LOOP;
END $$;

-- An event trigger's commands cannot be altered.
DROP EVENT TRIGGER envelope_watch_drops;
CREATE EVENT TRIGGER envelope_watch_drops ON ddl_command_start
  WHEN TAG IN (
    'DROP ACCESS METHOD', 'DROP AGGREGATE', 'DROP COLLATION', 'DROP DOMAIN', 'DROP EXTENSION',
    'DROP FOREIGN DATA WRAPPER', 'DROP FOREIGN TABLE', 'DROP FUNCTION', 'DROP LANGUAGE',
    'DROP MATERIALIZED VIEW', 'DROP OPERATOR', 'DROP OPERATOR CLASS', 'DROP OPERATOR FAMILY',
    'DROP OWNED', 'DROP PROCEDURE', 'DROP ROUTINE', 'DROP SCHEMA', 'DROP SEQUENCE', 'DROP SERVER',
    'DROP TABLE', 'DROP TEXT SEARCH CONFIGURATION', 'DROP TEXT SEARCH DICTIONARY',
    'DROP TEXT SEARCH PARSER', 'DROP TEXT SEARCH TEMPLATE', 'DROP TRANSFORM', 'DROP TYPE',
    'DROP VIEW', 'ALTER EXTENSION', 'ALTER FOREIGN TABLE', 'ALTER OPERATOR FAMILY', 'ALTER TABLE',
    'ALTER TYPE')
  EXECUTE FUNCTION envelope.watch_drops();
ALTER EVENT TRIGGER envelope_watch_drops ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER envelope_watch_drops IS
  'Keeps the keyrings of dropped tables, and the extension that holds them';

-- What has gained a parameter was made anew, beside the old one. What users did to that one goes over: its owner, its
-- settings (ALTER ... SET) and its rights.
-- PostgreSQL takes what a script grants for the extension's own, which no dump has: these are taken out of that list.
DO $$
DECLARE
  old pg_catalog.regprocedure;
  new pg_catalog.regprocedure;
  before pg_catalog.record;
  given pg_catalog.record;
BEGIN
  FOR old, new IN VALUES
    ('envelope.flush_cache()'::pg_catalog.regprocedure,
     'envelope.flush_cache(boolean)'::pg_catalog.regprocedure),
    ('envelope.import_keyring(jsonb, regclass)',
     'envelope.import_keyring(jsonb, regclass, boolean, boolean, text)'),
    ('envelope.check()',
     'envelope.check(boolean, name[])'),
    ('envelope.reencrypt_window(regclass, name, integer, boolean)',
     'envelope.reencrypt_window(text, regclass, name, integer, boolean, regclass, boolean, boolean, name, boolean)'),
    ('envelope.reencrypt_note(regclass, name, integer, bigint, bigint, bigint, bigint)',
     'envelope.reencrypt_note(text, regclass, name, integer, bigint, bigint, bigint, bigint, bigint)'),
    ('envelope.reencrypt_rows(regclass, name, text, integer, bigint, bigint, uuid[], boolean)',
     'envelope.reencrypt_rows(text, text, text, boolean, integer, bigint, bigint, uuid[], uuid, boolean)'),
    ('envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean)',
     'envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean, boolean, text)'),
    ('envelope.rotate_key(regclass, text)',
     'envelope.rotate_key(regclass, text, boolean)')
  LOOP
    SELECT pg_catalog.quote_ident(r.rolname) AS owner, p.proconfig, p.proacl, i.initprivs INTO before
      FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) p.proowner
      LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid OPERATOR(pg_catalog.=) p.oid
        AND i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
      WHERE p.oid OPERATOR(pg_catalog.=) old;
    EXECUTE pg_catalog.format('ALTER ROUTINE %s OWNER TO %s', new, before.owner);
    -- As they stand there: SET would have lists taken apart and quoted. Those of the new one that the old one did not
    -- have stay.
    UPDATE pg_catalog.pg_proc p
      SET proconfig = before.proconfig OPERATOR(pg_catalog.||) ARRAY(
        SELECT n.setting FROM pg_catalog.unnest(p.proconfig) n (setting)
        WHERE pg_catalog.split_part(n.setting, '=', 1) OPERATOR(pg_catalog.<>) ALL (ARRAY(
          SELECT pg_catalog.split_part(o.setting, '=', 1) FROM pg_catalog.unnest(before.proconfig) o (setting))))
      WHERE p.oid OPERATOR(pg_catalog.=) new AND before.proconfig IS NOT NULL;
    -- Nobody changed them.
    CONTINUE WHEN before.proacl IS NULL
      OR COALESCE(before.proacl OPERATOR(pg_catalog.=) before.initprivs, false);
    EXECUTE pg_catalog.format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, %s', new, before.owner);
    -- PUBLIC is 0. A role that is gone has no name, and gets nothing.
    FOR given IN
      SELECT a.is_grantable,
             CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
                  ELSE pg_catalog.quote_ident(r.rolname) END AS grantee
      FROM pg_catalog.aclexplode(before.proacl) a
      LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
      WHERE a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR r.rolname IS NOT NULL
    LOOP
      EXECUTE pg_catalog.format('GRANT EXECUTE ON ROUTINE %s TO %s', new, given.grantee)
        OPERATOR(pg_catalog.||) CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END;
    END LOOP;
    DELETE FROM pg_catalog.pg_init_privs i
      WHERE i.classoid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND i.objoid OPERATOR(pg_catalog.=) new;
    -- The roles that the list names, from PostgreSQL 17 on.
    DELETE FROM pg_catalog.pg_shdepend d
      WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
        AND d.objid OPERATOR(pg_catalog.=) new AND d.deptype OPERATOR(pg_catalog.=) 'i'
        AND d.dbid OPERATOR(pg_catalog.=) (
          SELECT b.oid FROM pg_catalog.pg_database b
          WHERE b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
  END LOOP;
END $$;

DROP PROCEDURE envelope.reencrypt(regclass, name, integer, text, interval, bigint, interval, boolean, boolean);
DROP FUNCTION envelope.check();
DROP FUNCTION envelope.flush_cache();
DROP FUNCTION envelope.import_keyring(jsonb, regclass);
DROP FUNCTION envelope.reencrypt_note(regclass, name, integer, bigint, bigint, bigint, bigint);
DROP FUNCTION envelope.reencrypt_rows(regclass, name, text, integer, bigint, bigint, uuid[], boolean);
DROP FUNCTION envelope.reencrypt_verify(regclass, name, text, bigint, bigint, uuid);
DROP FUNCTION envelope.reencrypt_window(regclass, name, integer, boolean);
DROP FUNCTION envelope.rotate_key(regclass, text);

-- Every session reads this table when it first meets a table of the application, and waits for a lock on it: so it
-- comes last.

ALTER TABLE envelope.sealed_column
  ADD COLUMN form           text CHECK (form OPERATOR(pg_catalog.=) ANY (ARRAY['sealed', 'source', 'bytea'])),
  ADD COLUMN value_type     envelope.type_ref NOT NULL DEFAULT '-',
  ADD COLUMN value_typmod   integer NOT NULL DEFAULT -1,
  ADD COLUMN source         name,
  ADD COLUMN block          integer CHECK (block OPERATOR(pg_catalog.>) 0),
  ADD COLUMN mask           text CHECK (mask OPERATOR(pg_catalog.=) 'last4'),
  ADD COLUMN former_tag     text,
  ADD COLUMN former_bound   text[];
COMMENT ON COLUMN envelope.sealed_column.form IS
  'How plaintext comes in: into a column of type envelope.sealed, from a source column, as bytea; NULL: registered only, no policy';
COMMENT ON COLUMN envelope.sealed_column.value_type IS 'The type of what is sealed; none: bytes as they come';
COMMENT ON COLUMN envelope.sealed_column.value_typmod IS 'Its modifier, as numeric(10,2) has one; -1: none';
COMMENT ON COLUMN envelope.sealed_column.source IS 'The column where plaintext comes in';
COMMENT ON COLUMN envelope.sealed_column.block IS
  'Sealed values are filled up to a multiple of so many bytes; NULL: as the type has it';
COMMENT ON COLUMN envelope.sealed_column.mask IS 'What a view shows to roles that may not open';
COMMENT ON COLUMN envelope.sealed_column.former_tag IS
  'With former_bound, the row context that values had before; they are taken until all are sealed anew';
COMMENT ON COLUMN envelope.sealed_column.former_bound IS 'The columns of that context; NULL: there is none';

CREATE VIEW envelope.policies WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, p.column_name, p.form,
         CASE WHEN p.value_type::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
              THEN pg_catalog.format_type(p.value_type::pg_catalog.oid, p.value_typmod) END AS value_type,
         p.source, p.tag, p.bound_columns, p.block, p.mask
  FROM envelope.sealed_column p
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relation::pg_catalog.oid
  WHERE p.form IS NOT NULL
    AND (pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
         OR EXISTS (SELECT FROM envelope.keyring_table r
                    JOIN envelope.key_grant g ON g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                     AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE')
                    WHERE r.relation OPERATOR(pg_catalog.=) p.relation AND r.seals));
COMMENT ON VIEW envelope.policies IS
  'What the columns of your tables, and of those whose keys you have a right on, are (of all, for members of pg_monitor), as envelope.set_policy was told';
GRANT SELECT ON envelope.policies TO PUBLIC;

-- Key order is that of jsonb, array order is that of the queries: two calls over the same catalog differ in `made` alone.
CREATE FUNCTION envelope.evidence(since timestamptz)
  RETURNS jsonb LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
  SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
  DECLARE
    made jsonb;
    build jsonb;
    settings jsonb;
    inventory jsonb;
    rights jsonb;
    history jsonb;
    refusals jsonb;
    protection jsonb;
    more jsonb;
  BEGIN
    IF NOT pg_catalog.pg_has_role('pg_monitor', 'USAGE') THEN
      RAISE EXCEPTION 'permission denied to make evidence of all keys of the database'
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Superusers and members of pg_monitor may: GRANT pg_monitor TO the role. Of your own keys envelope.crypto_inventory and envelope.key_events tell.';
    END IF;
    IF evidence.since IS NULL THEN
      RAISE EXCEPTION 'since must not be NULL'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'The whole history: envelope.evidence(''-infinity'').';
    END IF;

    made := pg_catalog.jsonb_build_object(
      'at', pg_catalog.now(), 'since', evidence.since, 'role', CURRENT_USER, 'login_role', SESSION_USER,
      'database', pg_catalog.current_database(), 'on_standby', pg_catalog.pg_is_in_recovery(),
      'system_identifier', (SELECT c.system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system() c));

    -- Before the settings: it has the library loaded.
    SELECT pg_catalog.jsonb_build_object(
             'extension_version', x.extversion, 'library_version', l.version, 'kms_built_in', l.kms,
             'server_version', pg_catalog.version(),
             'preloaded', pg_catalog.current_setting('shared_preload_libraries') OPERATOR(pg_catalog.~) 'pgrx-example',
             'format_of_values', 'envelope/1',
             'fips_140', 'no claim is made')
      INTO build
      FROM pg_catalog.pg_extension x CROSS JOIN envelope.library() l
      WHERE x.extname OPERATOR(pg_catalog.=) 'pgrx-example';

    SELECT pg_catalog.jsonb_object_agg(s.name, pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
             'value', s.setting, 'unit', s.unit, 'source', s.source,
             'pending_restart', CASE WHEN s.pending_restart THEN true END)))
      INTO settings
      FROM pg_catalog.pg_settings s
      WHERE (s.name OPERATOR(pg_catalog.~~) 'envelope.%' AND s.name OPERATOR(pg_catalog.<>) 'envelope.planted_setting')
         OR s.name OPERATOR(pg_catalog.=) ANY (ARRAY[
              'data_checksums', 'log_destination', 'logging_collector', 'log_line_prefix', 'log_min_messages',
              'log_min_duration_statement', 'log_parameter_max_length', 'log_parameter_max_length_on_error',
              'log_statement', 'server_encoding', 'shared_preload_libraries', 'ssl', 'ssl_min_protocol_version',
              'wal_level']);
    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
             'database', d.datname, 'role', r.rolname, 'setting', c.setting)
             ORDER BY d.datname NULLS FIRST, r.rolname NULLS FIRST, c.setting), '[]')
      INTO more
      FROM pg_catalog.pg_db_role_setting s
      LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
      LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
      CROSS JOIN pg_catalog.unnest(s.setconfig) AS c (setting)
      WHERE c.setting OPERATOR(pg_catalog.~~) 'envelope.%'
        AND (s.setdatabase OPERATOR(pg_catalog.=) 0::pg_catalog.oid
             OR d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database());
    settings := pg_catalog.jsonb_build_object('in_force', settings, 'of_roles_and_databases', more, 'may_be_set_by', '[]'::jsonb);
    IF pg_catalog.to_regclass('pg_catalog.pg_parameter_acl') IS NOT NULL THEN
      EXECUTE $query$
        SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                 'setting', p.parname, 'role', COALESCE(r.rolname, 'PUBLIC'), 'privilege', a.privilege_type)
                 ORDER BY p.parname, r.rolname, a.privilege_type), '[]')
        FROM pg_catalog.pg_parameter_acl p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
        WHERE p.parname OPERATOR(pg_catalog.~~) 'envelope.%' AND r.rolsuper IS NOT TRUE
      $query$ INTO more;
      settings := pg_catalog.jsonb_set(settings, '{may_be_set_by}', more);
    END IF;

    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_strip_nulls(pg_catalog.to_jsonb(i))
             ORDER BY i.kind, i.relation, i.keyring_id, i.version, i.key_id, i.kek), '[]')
      INTO inventory FROM envelope.crypto_inventory i;

    -- Who may by being a member, too; superusers may all.
    WITH grantees AS MATERIALIZED (
      SELECT g.grantee, ARRAY(
               SELECT m.rolname FROM pg_catalog.pg_roles m
               WHERE NOT m.rolsuper
                 AND m.oid OPERATOR(pg_catalog.<>) pg_catalog.to_regrole(g.grantee)::pg_catalog.oid
                 AND pg_catalog.pg_has_role(m.oid, pg_catalog.to_regrole(g.grantee)::pg_catalog.oid, 'USAGE')
               ORDER BY m.rolname) AS members
      FROM (SELECT DISTINCT p.grantee FROM envelope.key_privileges p) AS g)
    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
             'relation', p.relation, 'keyring_id', p.keyring_id, 'verb', p.verb, 'role', p.grantee, 'by', p.origin,
             'members', g.members)
             ORDER BY p.relation, p.keyring_id, p.verb, p.grantee, p.origin), '[]')
      INTO rights
      FROM envelope.key_privileges p JOIN grantees g ON g.grantee OPERATOR(pg_catalog.=) p.grantee;
    SELECT pg_catalog.jsonb_build_object('on_keys', rights,
             'superusers', ARRAY(SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolsuper ORDER BY r.rolname),
             'may_create_roles', ARRAY(SELECT r.rolname FROM pg_catalog.pg_roles r
                                       WHERE r.rolcreaterole AND NOT r.rolsuper ORDER BY r.rolname),
             'owner_of_database', (SELECT r.rolname FROM pg_catalog.pg_database d
                                   JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) d.datdba
                                   WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()),
             'owner_of_schema', (SELECT r.rolname FROM pg_catalog.pg_namespace n
                                 JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
                                 WHERE n.nspname OPERATOR(pg_catalog.=) 'envelope'),
             'may_add_triggers', (
               SELECT COALESCE(pg_catalog.jsonb_agg(DISTINCT pg_catalog.jsonb_build_object(
                        'relation', s.relation, 'role', COALESCE(r.rolname, 'PUBLIC'))), '[]')
               FROM envelope.sealed_columns s
               JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(s.relation)
               CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
               LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee
               WHERE a.privilege_type OPERATOR(pg_catalog.=) 'TRIGGER'
                 AND a.grantee OPERATOR(pg_catalog.<>) c.relowner))
      INTO rights;

    SELECT pg_catalog.jsonb_build_object(
             'recorded_from', (SELECT pg_catalog.min(e.at) FROM envelope.key_events e WHERE e.recorded),
             'events', COALESCE(pg_catalog.jsonb_agg(v.event ORDER BY e.at, e.keyring_id, e.version, e.event), '[]'),
             'rotations', COALESCE(pg_catalog.jsonb_agg(v.event ORDER BY e.at, e.keyring_id, e.version)
               FILTER (WHERE e.event OPERATOR(pg_catalog.=) ANY (ARRAY['rotate', 'activate', 'decrypt-only'])), '[]'),
             'destructions', COALESCE(pg_catalog.jsonb_agg(v.event ORDER BY e.at, e.keyring_id, e.version)
               FILTER (WHERE e.event OPERATOR(pg_catalog.=) ANY (ARRAY['destroy', 'forget'])), '[]'))
      INTO history
      FROM envelope.key_events e
      CROSS JOIN LATERAL (SELECT pg_catalog.jsonb_strip_nulls(pg_catalog.to_jsonb(e))) AS v (event)
      WHERE e.at OPERATOR(pg_catalog.>=) evidence.since;
    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_strip_nulls(pg_catalog.to_jsonb(p))
             ORDER BY p.relation, p.column_name, p.work), '[]')
      INTO more FROM envelope.progress p
      WHERE COALESCE(p.finished_at, p.updated_at) OPERATOR(pg_catalog.>=) evidence.since;
    history := history OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object('reencryptions', more);

    refusals := pg_catalog.jsonb_build_object(
      'audit', pg_catalog.current_setting('envelope.audit', true),
      'where', 'the server''s log: lines that begin with "envelope audit:", event refuse, with sqlstate, role and table',
      'by_kms', envelope.refusals_of_kms());

    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
             'relation', s.relation, 'column', s.column_name, 'registered', s.registered,
             'triggers', (
               SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                        'name', t.tgname,
                        'fires', (SELECT f.fires FROM (VALUES
                          ('O', 'except in replica sessions'), ('A', 'always'), ('R', 'in replica sessions only'),
                          ('D', 'never: it is disabled')) AS f (code, fires)
                          WHERE f.code OPERATOR(pg_catalog.=) t.tgenabled::pg_catalog.text))
                        ORDER BY t.tgname), '[]')
               FROM pg_catalog.pg_trigger t
               WHERE t.tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(s.relation)
                 AND t.tgname OPERATOR(pg_catalog.=) ANY (s.triggers)),
             'policy', (SELECT pg_catalog.to_jsonb(p) OPERATOR(pg_catalog.-) 'relation' OPERATOR(pg_catalog.-) 'column_name'
                        FROM envelope.policies p
                        WHERE p.relation OPERATOR(pg_catalog.=) s.relation
                          AND p.column_name OPERATOR(pg_catalog.=) s.column_name),
             'indexes', (SELECT pg_catalog.jsonb_agg(pg_catalog.to_jsonb(i) OPERATOR(pg_catalog.-) 'relation' OPERATOR(pg_catalog.-) 'column_name'
                                ORDER BY i.index_column)
                         FROM envelope.indexes i
                         WHERE i.relation OPERATOR(pg_catalog.=) s.relation
                           AND i.column_name OPERATOR(pg_catalog.=) s.column_name)))
             ORDER BY s.relation, s.column_name), '[]')
      INTO protection FROM envelope.sealed_columns s;
    SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(f)
             ORDER BY f.relation, f.column_name, f.severity, f.sqlstate, f.message), '[]')
      INTO more FROM envelope.lint() f;
    SELECT pg_catalog.jsonb_build_object('columns', protection, 'findings', more,
             'guards_not_in_force', (
               SELECT COALESCE(pg_catalog.jsonb_agg(g.guard ORDER BY g.guard), '[]')
               FROM (SELECT pg_catalog.format('trigger %I of table %s', t.tgname, t.tgrelid::pg_catalog.regclass) AS guard
                     FROM pg_catalog.pg_trigger t
                     JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
                     JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
                     WHERE n.nspname OPERATOR(pg_catalog.=) 'envelope' AND NOT t.tgisinternal
                       AND t.tgenabled OPERATOR(pg_catalog.<>) 'A'
                     UNION ALL
                     SELECT pg_catalog.format('event trigger %I', t.evtname) FROM pg_catalog.pg_event_trigger t
                     WHERE t.evtname OPERATOR(pg_catalog.~~) 'envelope\_%'
                       AND t.evtenabled OPERATOR(pg_catalog.<>) ALL (ARRAY['O', 'A']::pg_catalog."char"[])) AS g))
      INTO protection;

    RETURN pg_catalog.jsonb_build_object(
      'format', 'envelope/evidence', 'format_version', 1,
      'made', made, 'build', build, 'settings', settings, 'inventory', inventory, 'rights', rights, 'history', history,
      'refusals', refusals, 'protection', protection,
      'not_recorded', pg_catalog.jsonb_build_array(
        'Who opened which values, refused calls, exports of keyrings and checks: they are in the server''s log as far as envelope.audit asks for them.',
        'What the KMS did and refused: its own log has that. kms_request_id joins the two where it is given.',
        'What a superuser wrote to the tables of schema envelope by hand.',
        'What was done before recorded_from: events with recorded false are what a key''s own row tells of it.',
        'Copies of wrapped keys in backups, WAL, replicas and exports, which a destruction here does not reach.',
        'The values: nothing was read of any sealed column but what envelope.lint looks at, and none of it is here.'));
  END $$;
COMMENT ON FUNCTION envelope.evidence(timestamptz) IS
  'For an auditor: settings, keys, rights, what was done to keys since then, refusals as far as they are known, and the protection of columns, as one document without a secret; for superusers and members of pg_monitor';
COMMENT ON COLUMN envelope.policies.relation IS 'The table';
COMMENT ON COLUMN envelope.policies.column_name IS 'The column that holds sealed values';
COMMENT ON COLUMN envelope.policies.form IS 'How plaintext comes in: into a column of type envelope.sealed, from a source column, as bytea';
COMMENT ON COLUMN envelope.policies.value_type IS 'The type of what is sealed; NULL: bytes as they come';
COMMENT ON COLUMN envelope.policies.source IS 'The column where plaintext comes in';
COMMENT ON COLUMN envelope.policies.tag IS 'The column in the row context: its name when the policy was made, frozen';
COMMENT ON COLUMN envelope.policies.bound_columns IS 'Columns whose values are in the row context';
COMMENT ON COLUMN envelope.policies.block IS 'Sealed values are filled up to a multiple of so many bytes; NULL: as the type has it';
COMMENT ON COLUMN envelope.policies.mask IS 'What a view shows to roles that may not open';

-- Whoever runs the update owns what it has made. The extension writes as the owner of schema envelope: all that is new
-- becomes that role's. An event trigger's owner must be a superuser.
DO $$
DECLARE
  owner pg_catalog.record;
  made pg_catalog.record;
BEGIN
  SELECT n.nspowner AS oid, r.rolname AS name, r.rolsuper AS is_superuser INTO owner
    FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
    WHERE n.nspname OPERATOR(pg_catalog.=) 'envelope';
  FOR made IN
    SELECT m.classid, m.objid, i.type, i.identity
    FROM pg_catalog.pg_depend m
    JOIN pg_catalog.pg_extension x ON x.oid OPERATOR(pg_catalog.=) m.refobjid
     AND x.extname OPERATOR(pg_catalog.=) 'pgrx-example'
    JOIN pg_catalog.pg_roles r ON r.rolname OPERATOR(pg_catalog.=) CURRENT_USER
    CROSS JOIN LATERAL pg_catalog.pg_identify_object(m.classid, m.objid, m.objsubid) i
    WHERE m.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
      AND m.deptype OPERATOR(pg_catalog.=) 'e' AND r.oid OPERATOR(pg_catalog.<>) owner.oid
      AND (i.type OPERATOR(pg_catalog.<>) 'event trigger' OR owner.is_superuser)
      AND COALESCE(
        (SELECT o.relowner FROM pg_catalog.pg_class o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid),
        (SELECT o.proowner FROM pg_catalog.pg_proc o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid),
        -- From 17 on arrays and row types are members, too. They follow what they are made of.
        (SELECT o.typowner FROM pg_catalog.pg_type o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid
           AND o.typarray OPERATOR(pg_catalog.<>) 0::pg_catalog.oid AND o.typrelid OPERATOR(pg_catalog.=) 0::pg_catalog.oid),
        (SELECT o.oprowner FROM pg_catalog.pg_operator o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid),
        (SELECT o.opcowner FROM pg_catalog.pg_opclass o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid),
        (SELECT o.opfowner FROM pg_catalog.pg_opfamily o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid),
        (SELECT o.evtowner FROM pg_catalog.pg_event_trigger o WHERE m.classid OPERATOR(pg_catalog.=) o.tableoid AND o.oid OPERATOR(pg_catalog.=) m.objid)
      ) OPERATOR(pg_catalog.=) r.oid
  LOOP
    EXECUTE pg_catalog.format('ALTER %s %s OWNER TO %I', made.type, made.identity, owner.name);
    -- PostgreSQL has noted by role which rights the extension gives, and notes it anew.
    IF EXISTS (SELECT FROM pg_catalog.pg_init_privs i
               WHERE made.classid OPERATOR(pg_catalog.=) i.classoid AND i.objoid OPERATOR(pg_catalog.=) made.objid) THEN
      EXECUTE pg_catalog.format(
        CASE WHEN made.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass
             THEN 'REVOKE ALL ON ROUTINE %s FROM PUBLIC' ELSE 'REVOKE INSERT ON %s FROM PUBLIC' END,
        made.identity);
    END IF;
  END LOOP;
END $$;
