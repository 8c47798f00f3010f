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
