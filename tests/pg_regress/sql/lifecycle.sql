-- The life of a key: rotation, its KEKs, the oldest version that is taken.
\set VERBOSITY sqlstate
CREATE TABLE lc (id int, v bytea);
CREATE VIEW lc_keys AS SELECT version, state, reason, is_taken, state_changed_at > created_at AS changed
FROM envelope.keys WHERE relation = 'public.lc' ORDER BY version;
CREATE VIEW lc_opened AS
SELECT id, (envelope.inspect(v)).version, envelope_decrypt_text('lc', v) AS opened FROM lc ORDER BY id;

-- There must be a key to rotate, and a right to it, and a place to write to.
SELECT envelope.rotate_key('lc');
SELECT envelope.rotate_key(NULL);
SELECT envelope.rotate_key('lc', repeat('x', 5000));
INSERT INTO lc VALUES (1, envelope_encrypt('lc', 'one'));
SET ROLE envelope_other;
SELECT envelope.rotate_key('lc');
SELECT envelope.add_kek('lc', 'file:///x');
SELECT envelope.drop_kek('lc', 'file:///x');
SELECT * FROM envelope.rewrap('file:///x', 'file:///y', 'lc');
SELECT * FROM envelope.rotate_due();
SELECT envelope.set_minimum_version('lc', 1);
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

-- Older versions are refused, to read and by the trigger, for as long as one wants.
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON lc FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
SELECT envelope.set_minimum_version('lc', 5);
SELECT envelope.set_minimum_version('lc', 0);
SELECT envelope.set_minimum_version('lc', NULL);
SELECT envelope.set_minimum_version('lc', 2);
SELECT envelope_decrypt_text('lc', v) FROM lc WHERE id = 1;
INSERT INTO lc SELECT 5, v FROM lc WHERE id = 1;
UPDATE lc SET id = 10 WHERE id = 1;
SELECT id, envelope_decrypt_text('lc', v) FROM lc WHERE id <> 10 ORDER BY id;
TABLE lc_keys;
BEGIN;
SELECT envelope.set_minimum_version('lc', 4);
SELECT envelope_decrypt_text('lc', v) FROM lc WHERE id = 2;
ROLLBACK;
SELECT envelope_decrypt_text('lc', v) FROM lc WHERE id = 2;
SELECT envelope.set_minimum_version('lc', 1);
TABLE lc_opened;
DROP TRIGGER seal ON lc;

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
-- By age; not in a transaction that must not write, or that keeps one snapshot.
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
-- A cryptoperiod only tells. 400 days are given in hours, since some days have 23.
UPDATE envelope.data_key SET created_at = now() - interval '9600 hours' WHERE state = 'active';
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

-- A second key file beside the first.
COPY (SELECT 1) TO PROGRAM 'cat > ../data.kek/input; umask 077; head -c 32 /dev/urandom > ../data.kek/second';
COPY (SELECT 1) TO PROGRAM 'cat > ../data.kek/input; umask 077; head -c 32 /dev/urandom > ../data.kek/third';
SELECT kek AS first, regexp_replace(kek, '[^/]*$', 'second') AS second,
       regexp_replace(kek, '[^/]*$', 'third') AS third FROM envelope.wrapped_key LIMIT 1 \gset
CREATE VIEW lc_keks AS
SELECT array(SELECT regexp_replace(k, '.*/', '') FROM unnest(keks) k) AS keks, count(*) AS keys, min(version) AS from_version
FROM envelope.keys WHERE relation = 'public.lc' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS keys FROM lc_keys \gset
SELECT envelope.drop_kek('lc', :'first');
SELECT envelope.drop_kek('lc', :'second');
SELECT envelope.add_kek('lc', :'second') = :keys AS all_of_them;
SELECT envelope.add_kek('lc', :'second') AS again;
SELECT envelope.add_kek('lc', 'file:///etc/hostname');
SELECT envelope.add_kek('lc', NULL);
SELECT envelope.add_kek('lc', :'third', '[]');
-- They are tried in the order in which they were added; new keys are under all of them.
SELECT envelope.rotate_key('lc') IS NOT NULL AS rotated;
TABLE lc_keks;
SELECT count(*) = 2 * (:keys + 1) AS sound FROM envelope.check() WHERE relation = 'public.lc' AND ok;
-- One that is gone is no reason to fall over, since it refuses; nor can a new key be without it.
COPY (SELECT 1) TO PROGRAM 'cat > ../data.kek/input; mv ../data.kek/second ../data.kek/away';
SELECT envelope.rotate_key('lc');
SELECT envelope.drop_kek('lc', :'first');
SELECT (SELECT count(*) FROM lc_keys) = :keys + 1 AS unchanged;
TABLE lc_keks;
COPY (SELECT 1) TO PROGRAM 'cat > ../data.kek/input; mv ../data.kek/away ../data.kek/second';
-- The first goes, since the second gives every key back; values open without it.
SELECT envelope.drop_kek('lc', :'first') = :keys + 1 AS all_of_them;
TABLE lc_keks;
SELECT envelope.flush_cache() > 0 AS flushed;
TABLE lc_opened;
SELECT envelope.drop_kek('lc', :'second');
-- Moved: of one table, of all; anew under the same one; what was done is not done again.
SELECT count(*) = :keys + 1 AS all_of_them, count(*) FILTER (WHERE done) AS done
FROM envelope.rewrap(:'second', :'third', 'lc', dry_run => true);
TABLE lc_keks;
BEGIN;
SELECT count(*) FILTER (WHERE done) = :keys + 1 AS all_of_them FROM envelope.rewrap(:'second', :'third', 'lc');
TABLE lc_keks;
ROLLBACK;
TABLE lc_keks;
SELECT count(*) FILTER (WHERE done) = :keys + 1 AS all_of_them FROM envelope.rewrap(:'second', :'third');
SELECT count(*) FROM envelope.rewrap(:'second', :'third');
TABLE lc_keks;
SELECT string_agg(encode(wrapped, 'hex'), '' ORDER BY key_id) AS before FROM envelope.wrapped_key WHERE kek = :'third' \gset
SELECT count(*) FILTER (WHERE done) = :keys + 1 AS all_of_them FROM envelope.rewrap(:'third', :'third');
SELECT string_agg(encode(wrapped, 'hex'), '' ORDER BY key_id) <> :'before' AS anew FROM envelope.wrapped_key WHERE kek = :'third';
-- To where the keys are already: the wrap there is tried, and the other one goes.
SELECT envelope.add_kek('lc', :'second') = :keys + 1 AS added;
SELECT count(*) FILTER (WHERE done) = :keys + 1 AS all_of_them FROM envelope.rewrap(:'second', :'third');
TABLE lc_keks;
SELECT envelope.flush_cache() >= 0 AS flushed;
TABLE lc_opened;
SELECT count(*) FROM envelope.check() WHERE NOT ok AND relation = 'public.lc';
-- Not to where it is not allowed; not from an alias, which may stand for another KEK by now.
SET envelope.allowed_keks = 'file:///nowhere/*';
SELECT * FROM envelope.rewrap(:'third', :'second');
RESET envelope.allowed_keks;
SELECT * FROM envelope.rewrap('aws-kms://alias/x', :'second');
SELECT * FROM envelope.rewrap(NULL, :'second');
SELECT * FROM envelope.rewrap(:'third', :'second', dry_run => NULL);
-- A key whose wrap is damaged has its row, and stays as it is; the others go on.
BEGIN;
UPDATE envelope.wrapped_key SET kms_context = '{}'
 WHERE key_id = (SELECT key_id FROM envelope.keys WHERE relation = 'public.lc' AND version = 2);
SELECT k.version, r.done, r.sqlstate FROM envelope.rewrap(:'third', :'second') r JOIN envelope.keys k USING (key_id)
WHERE k.version < 4 ORDER BY 1;
ROLLBACK;
-- The keys of a dropped table move too.
DROP VIEW lc_opened;
DROP TABLE lc;
SELECT DISTINCT table_name, done FROM envelope.rewrap(:'third', :'first');
SELECT count(*) FROM envelope.rotate_due();
DROP VIEW lc_keys, lc_keks, lc_versions;
DROP TABLE lc_sealed;
