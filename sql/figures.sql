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
