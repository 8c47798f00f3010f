-- A dropped table leaves its keys, and its OID to whoever comes next.
\set VERBOSITY sqlstate
CREATE VIEW links AS
  SELECT k.table_name, t.relation, t.seals, count(d.key_id) AS keys
  FROM envelope.keyring k JOIN envelope.keyring_table t USING (keyring_id)
  JOIN envelope.data_key d USING (keyring_id)
  WHERE k.table_name LIKE '%dropped%' GROUP BY 1, 2, 3 ORDER BY 1;
RESET ROLE;
CREATE SCHEMA gone AUTHORIZATION envelope_owner;
SET ROLE envelope_owner;
CREATE TABLE gone.dropped_1 (v bytea);
CREATE TABLE gone.dropped_2 (v bytea);
CREATE TABLE gone.dropped_3 (v bytea) PARTITION BY LIST (v);
CREATE TABLE gone.dropped_3a PARTITION OF gone.dropped_3 DEFAULT;
SELECT envelope.create_key('gone.dropped_1') IS NOT NULL AS one,
       envelope.create_key('gone.dropped_2') IS NOT NULL AS two,
       envelope.create_key('gone.dropped_3a') IS NOT NULL AS three;
ALTER TABLE gone.dropped_1 RENAME TO dropped_renamed;
RESET ROLE;
TABLE links;
-- Rolled back, nothing happened.
BEGIN;
DROP TABLE gone.dropped_2;
TABLE links;
ROLLBACK;
TABLE links;
SET ROLE envelope_owner;
DROP TABLE gone.dropped_renamed;
DROP TABLE gone.dropped_3a;
RESET ROLE;
TABLE links;
DROP SCHEMA gone CASCADE;
TABLE links;
DROP VIEW links;
