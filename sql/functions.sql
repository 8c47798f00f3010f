-- Functions that queries use, in the extension's schema. To seal or open a short value takes some 20
-- times as long as a comparison of integers, which is what COST tells the planner: it then opens after
-- cheap conditions, after a sort with LIMIT, and in parallel.

CREATE FUNCTION envelope_encrypt(relation regclass, plaintext bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_encrypt_wrapper';
COMMENT ON FUNCTION envelope_encrypt(regclass, bytea, text) IS
  'Seals bytes under the active data key of a table; a context that is bound in must be given again to open';

CREATE FUNCTION envelope_decrypt(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS bytea LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_wrapper';
COMMENT ON FUNCTION envelope_decrypt(regclass, bytea, text) IS
  'Opens a value that was sealed for a table; an error if it was changed or the context differs';

CREATE FUNCTION envelope_encrypt_text(relation regclass, plaintext text, context text DEFAULT '')
  RETURNS bytea LANGUAGE c VOLATILE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_encrypt_text_wrapper';
COMMENT ON FUNCTION envelope_encrypt_text(regclass, text, text) IS
  'As envelope_encrypt, for text: it is sealed as UTF-8 whatever the server''s encoding';

CREATE FUNCTION envelope_decrypt_text(relation regclass, sealed bytea, context text DEFAULT '')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE COST 20
  AS 'MODULE_PATHNAME', 'envelope_decrypt_text_wrapper';
COMMENT ON FUNCTION envelope_decrypt_text(regclass, bytea, text) IS
  'As envelope_decrypt, for values that were sealed as text';

CREATE FUNCTION envelope_context(tag text, VARIADIC parts text[])
  RETURNS text LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_context_wrapper';
COMMENT ON FUNCTION envelope_context(text, text[]) IS
  'Makes the context that binds a value to its column (tag) and row (parts)';

CREATE FUNCTION envelope_seal()
  RETURNS trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'envelope_seal_wrapper';
COMMENT ON FUNCTION envelope_seal() IS
  'Trigger BEFORE INSERT OR UPDATE ... FOR EACH ROW: seals what arrives in the columns named as arguments; with ''sealed=source'', what arrives in the source, which is emptied';

-- Administration.

CREATE FUNCTION envelope.create_key(
    relation regclass, kek text DEFAULT NULL, kms_context jsonb DEFAULT NULL)
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_create_key_wrapper';
COMMENT ON FUNCTION envelope.create_key(regclass, text, jsonb) IS
  'Makes the data key of a table, under a KEK and a KMS encryption context; gives its key id';

CREATE FUNCTION envelope.is_sealed(value bytea)
  RETURNS boolean LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_is_sealed_wrapper';
COMMENT ON FUNCTION envelope.is_sealed(bytea) IS
  'Whether a value has the shape of a sealed value, for CHECK constraints; opens nothing';

CREATE FUNCTION envelope.flush_cache(everywhere boolean DEFAULT false)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_flush_keys_wrapper';
COMMENT ON FUNCTION envelope.flush_cache(boolean) IS
  'Wipes this session''s unwrapped data keys from memory; gives their number. Everywhere: of all sessions, with all leases';

CREATE FUNCTION envelope.warm(relation regclass)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_warm_wrapper';
COMMENT ON FUNCTION envelope.warm(regclass) IS
  'Unwraps a table''s data keys now, so that a later transaction need not wait for the KMS; gives the number that it unwrapped';

CREATE FUNCTION envelope.set_limits(relation regclass, limits jsonb)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_set_limits_wrapper';
COMMENT ON FUNCTION envelope.set_limits(regclass, jsonb) IS
  'Sets a table''s own limits: of its cached keys, tighter than the settings; session_max_values, 1 to draw every nonce anew; and of its key''s turn: rotate_after, rotate_after_seals, rotate_after_bytes, cryptoperiod';

CREATE FUNCTION envelope.grant_key(relation regclass, role name, verb text)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_grant_key_wrapper';
COMMENT ON FUNCTION envelope.grant_key(regclass, name, text) IS
  'Lets a role encrypt, decrypt, search or manage (which includes decrypt and search) with the keys of a table';

CREATE FUNCTION envelope.revoke_key(relation regclass, role name, verb text)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_revoke_key_wrapper';
COMMENT ON FUNCTION envelope.revoke_key(regclass, name, text) IS
  'Takes back what envelope.grant_key gave';

CREATE FUNCTION envelope.has_key_privilege(relation regclass, verb text)
  RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_has_key_privilege_wrapper';
COMMENT ON FUNCTION envelope.has_key_privilege(regclass, text) IS
  'Whether the current role has one of the given rights on the keys of a table';

CREATE FUNCTION envelope.has_key_privilege(role name, relation regclass, verb text)
  RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_has_key_privilege_by_name_wrapper';
COMMENT ON FUNCTION envelope.has_key_privilege(name, regclass, text) IS
  'Whether a role, by name, has one of the given rights on the keys of a table';

CREATE FUNCTION envelope.has_key_privilege(role oid, relation regclass, verb text)
  RETURNS boolean LANGUAGE c STABLE STRICT PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_has_key_privilege_by_oid_wrapper';
COMMENT ON FUNCTION envelope.has_key_privilege(oid, regclass, text) IS
  'Whether a role, by OID, has one of the given rights on the keys of a table';
-- Keyrings of tables that are dropped, copied, attached, moved.

CREATE FUNCTION envelope.adopt_keyring(keyring_id uuid, relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_adopt_keyring_wrapper';
COMMENT ON FUNCTION envelope.adopt_keyring(uuid, regclass) IS
  'Gives a table the keyring of a dropped table: to seal with if it has none, else to open with';

CREATE FUNCTION envelope.share_keyring(from_relation regclass, to_relation regclass)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_share_keyring_wrapper';
COMMENT ON FUNCTION envelope.share_keyring(regclass, regclass) IS
  'Lets a table also open with the keyring that another table seals with';

CREATE FUNCTION envelope.unshare_keyring(
    from_relation regclass, to_relation regclass, force boolean DEFAULT false)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_unshare_keyring_wrapper';
COMMENT ON FUNCTION envelope.unshare_keyring(regclass, regclass, boolean) IS
  'Takes share_keyring back; refuses while the other table holds a value of the keyring, unless force is true';

CREATE FUNCTION envelope.export_keyring(relation regclass)
  RETURNS jsonb LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_export_keyring_wrapper';
COMMENT ON FUNCTION envelope.export_keyring(regclass) IS
  'Gives the keyrings of a table as JSON, their data keys wrapped, for envelope.import_keyring elsewhere';

CREATE FUNCTION envelope.import_keyring(
    keyring jsonb, relation regclass DEFAULT NULL, follow boolean DEFAULT false,
    grants boolean DEFAULT false, resolve text DEFAULT 'error')
  RETURNS uuid LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_take_keyring_wrapper';
COMMENT ON FUNCTION envelope.import_keyring(jsonb, regclass, boolean, boolean, text) IS
  'Brings exported keyrings here, with what has happened to them since they were last imported, and gives them to a table; gives the id of the one that seals';

CREATE FUNCTION envelope.check_kek(uri text)
  RETURNS TABLE (step text, ok boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_check_kek_wrapper';
REVOKE ALL ON FUNCTION envelope.check_kek(text) FROM PUBLIC;
COMMENT ON FUNCTION envelope.check_kek(text) IS
  'Tries a KEK: generates a data key, unwraps it, compares; a row for each step, the failed one last';

CREATE FUNCTION envelope.check(nodes boolean DEFAULT false, servers name[] DEFAULT NULL)
  RETURNS TABLE (relation text, keyring_id uuid, key_id uuid, kek text,
                 ok boolean, sqlstate text, message text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_check_nodes_wrapper';
COMMENT ON FUNCTION envelope.check(boolean, name[]) IS
  'Unwraps every data key that you may manage (all, for superusers), past the cache, and checks that active keys may seal; a row for each wrapped key, for each break, for what a restore would lose, and for each error that envelope.lint finds; with nodes, or servers of CREATE SERVER, also for each difference between this node and the others';

CREATE FUNCTION envelope.session_stats(
    OUT keys_cached integer, OUT memory_locked boolean,
    OUT kms_requests bigint, OUT kms_failures bigint, OUT kek_fallovers bigint)
  RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED ROWS 1
  AS 'MODULE_PATHNAME', 'envelope_stats_wrapper';
COMMENT ON FUNCTION envelope.session_stats() IS 'What envelope.stats shows';

CREATE VIEW envelope.stats AS SELECT * FROM envelope.session_stats();
COMMENT ON VIEW envelope.stats IS
  'This session: unwrapped keys in memory, whether that memory is locked, KMS operations and failures, keys that another KEK than their first one unwrapped';
GRANT SELECT ON envelope.stats TO PUBLIC;

-- Tables' owners and those who were given a right see their keys, owners also those of tables that are
-- gone; members of pg_monitor see all. Nobody sees a wrapped key.
CREATE VIEW envelope.keys WITH (security_barrier) AS
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
GRANT SELECT ON envelope.keys TO PUBLIC;

-- A row a table, role and verb, however the role came by it; members of the role may do the same.
CREATE VIEW envelope.key_privileges WITH (security_barrier) AS
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
GRANT SELECT ON envelope.key_privileges TO PUBLIC;

-- OFFSET 0 has a value looked at once, not once for each column.
CREATE FUNCTION envelope.inspect(
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
