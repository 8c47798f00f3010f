-- The life of a key: rotation.
\set VERBOSITY sqlstate
CREATE TABLE lc (id int, v bytea);
CREATE VIEW lc_keys AS SELECT version, state, reason, state_changed_at > created_at AS changed
FROM envelope.keys WHERE relation = 'public.lc' ORDER BY version;
CREATE VIEW lc_opened AS
SELECT id, (envelope.inspect(v)).version, envelope_decrypt_text('lc', v) AS opened FROM lc ORDER BY id;

-- There must be a key to rotate, and a right to it, and a place to write to.
SELECT envelope.rotate_key('lc');
SELECT envelope.rotate_key(NULL);
SELECT envelope.rotate_key('lc', repeat('x', 2000));
INSERT INTO lc VALUES (1, envelope_encrypt('lc', 'one'));
SET ROLE envelope_other;
SELECT envelope.rotate_key('lc');
SELECT * FROM envelope.rotate_due();
RESET ROLE;
BEGIN READ ONLY;
SELECT envelope.rotate_key('lc');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM envelope.rotate_due();
ROLLBACK;

-- The next version seals, the one before opens.
SELECT envelope.rotate_key('lc') = (SELECT key_id FROM envelope.inspect(envelope_encrypt('lc', ''))) AS seals;
INSERT INTO lc VALUES (2, envelope_encrypt('lc', 'two'));
TABLE lc_opened;
TABLE lc_keys;
SELECT envelope.flush_cache() AS flushed;
TABLE lc_opened;
SELECT count(*) AS sound FROM envelope.check() WHERE relation = 'public.lc' AND ok;

-- What is rolled back is gone from catalog and cache.
BEGIN;
SELECT envelope.rotate_key('lc', 'rolled back') IS NOT NULL AS rotated;
SELECT (envelope.inspect(envelope_encrypt('lc', ''))).version;
ROLLBACK;
SELECT (envelope.inspect(envelope_encrypt('lc', ''))).version;
BEGIN;
SAVEPOINT s;
SELECT envelope.rotate_key('lc') IS NOT NULL AS rotated;
ROLLBACK TO s;
INSERT INTO lc VALUES (3, envelope_encrypt('lc', 'under two'));
SAVEPOINT s;
SELECT envelope.rotate_key('lc', 'in a savepoint') IS NOT NULL AS rotated;
SELECT envelope.rotate_key('lc', 'again') IS NOT NULL AS rotated;
RELEASE s;
INSERT INTO lc VALUES (4, envelope_encrypt('lc', 'under four'));
COMMIT;
SELECT envelope.flush_cache() AS flushed;
TABLE lc_opened;
TABLE lc_keys;

-- Rotation by the number of values: small numbers are counted one by one.
CREATE TABLE lc_sealed (n serial, v bytea);
CREATE VIEW lc_versions AS SELECT string_agg((envelope.inspect(v)).version::text, ' ' ORDER BY n) FROM lc_sealed;
SELECT envelope.set_limits('lc', '{"rotate_after_seals": 3}');
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', '') FROM generate_series(1, 7);
TABLE lc_versions;
SELECT seals FROM envelope.key_use;
SELECT version, state, reason FROM lc_keys WHERE version > 3;
-- By bytes.
SELECT envelope.set_limits('lc', '{"rotate_after_bytes": 1}');
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', repeat('x', 400)::bytea) FROM generate_series(1, 4);
TABLE lc_versions;
-- By age; not in a transaction that must not write, or whose snapshot may be older than the key.
SELECT envelope.set_limits('lc', '{"rotate_after": 86400}');
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', '') FROM generate_series(1, 2);
UPDATE envelope.data_key SET created_at = now() - interval '25 hours' WHERE state = 'active';
BEGIN READ ONLY;
SELECT count(envelope_encrypt('lc', '')) FROM generate_series(1, 2);
ROLLBACK;
SET envelope.auto_create_key = off;
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', '') FROM generate_series(1, 2);
RESET envelope.auto_create_key;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', '') FROM generate_series(1, 2);
COMMIT;
TABLE lc_versions;
INSERT INTO lc_sealed (v) SELECT envelope_encrypt('lc', '') FROM generate_series(1, 2);
TABLE lc_versions;
-- By a job; nothing is due twice.
UPDATE envelope.data_key SET created_at = now() - interval '25 hours' WHERE state = 'active';
SELECT relation, new_key_id IS NOT NULL AS rotated, sqlstate FROM envelope.rotate_due();
SELECT relation, new_key_id IS NOT NULL AS rotated, sqlstate FROM envelope.rotate_due();
SELECT envelope.set_limits('lc', '{"rotate_after": 0, "rotate_after_seals": 0}');
SELECT version, state, reason FROM lc_keys WHERE version > 6;
-- A cryptoperiod only tells.
UPDATE envelope.data_key SET created_at = now() - interval '400 days' WHERE state = 'active';
-- Not for keys of tables that are gone: they seal nothing.
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation LIKE 'gone.%';
SELECT relation, sqlstate, message ~ '400 days' AS says FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
SELECT envelope.set_limits('lc', '{"cryptoperiod": 40000000}');
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
SET envelope.cryptoperiod = '1d';
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
SELECT envelope.set_limits('lc', '{}');
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
SET envelope.cryptoperiod = 0;
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
RESET envelope.cryptoperiod;
SELECT envelope.rotate_key('lc') IS NOT NULL AS rotated;
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';

DROP VIEW lc_opened, lc_keys, lc_versions;
DROP TABLE lc, lc_sealed;
