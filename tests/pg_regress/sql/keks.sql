\set VERBOSITY sqlstate
CREATE TABLE t (v bytea);
-- URIs that are none, or not allowed here.
SELECT envelope.create_key('t', 'nonsense');
SELECT envelope.create_key('t', 'file://relative');
SELECT envelope.create_key('t', 'file:///');
SELECT envelope.create_key('t', 'aws-kms://');
SELECT envelope.create_key('t', 'aws-kms://arn:aws:s3:::bucket');
SELECT envelope.create_key('t', 'file:///etc/hostname');
SELECT envelope.create_key('t', 'aws-kms://arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab');
-- Allowed, but no key file, or not ours alone: nothing is written.
SET envelope.allowed_keks = 'file:///etc/*';
SELECT envelope.create_key('t', 'file:///etc/no-such-file');
SELECT envelope.create_key('t', 'file:///etc/hostname');
SELECT step, ok, sqlstate FROM envelope.check_kek('file:///etc/hostname');
SELECT step, ok, sqlstate FROM envelope.check_kek('file:///tmp/kek');
SELECT step, ok, sqlstate FROM envelope.check_kek('nonsense');
-- The directory of key files is left out by that: the default no longer does.
SELECT envelope_encrypt('t', '');
RESET envelope.allowed_keks;
-- A context of the KMS is an object of strings.
SELECT envelope.create_key('t', NULL, '[]');
SELECT envelope.create_key('t', NULL, '{"a": 1}');
SELECT envelope.create_key('t', NULL, '{"a": {"b": "c"}}');
SELECT envelope.create_key('t', NULL, jsonb_build_object('a', repeat('x', 8192)));
SELECT envelope.create_key('t', NULL, jsonb_build_object('a', repeat('x', 1000000)));
SELECT envelope.create_key('t', 'file:///' || repeat('x', 5000));
SELECT count(*) FROM envelope.keys WHERE relation = 'public.t';
-- It is stored as it was given.
SELECT envelope.create_key('t', NULL, '{"tenant": "ü", "a": ""}') IS NOT NULL AS made;
SELECT w.kms_context FROM envelope.wrapped_key w JOIN envelope.keys k USING (key_id)
WHERE k.relation = 'public.t';
SELECT envelope.flush_cache() > 0 AS flushed;
SELECT envelope_decrypt_text('t', envelope_encrypt('t', 'opens')) AS opened;
-- A KEK that is no longer allowed seals no more; what it sealed opens.
INSERT INTO t VALUES (envelope_encrypt('t', 'before'));
SET envelope.allowed_keks = 'file:///nowhere/*';
SELECT envelope_encrypt('t', '');
SELECT envelope_decrypt_text('t', v) FROM t;
RESET envelope.allowed_keks;
SELECT length(envelope_encrypt('t', '')) AS sealed;
-- A KEK can be tried.
SELECT step, ok, sqlstate, message
FROM envelope.check_kek((SELECT kek FROM envelope.wrapped_key LIMIT 1));

-- A key whose wrap is gone seals no more.
BEGIN;
DELETE FROM envelope.wrapped_key WHERE kms_context ? 'tenant';
SELECT envelope_encrypt('t', '');
ROLLBACK;
-- Limits of its own: tighter only, numbers only, and never such that nothing could be used.
SELECT envelope.set_limits('t', '{"cache_ttl": 0}');
SELECT envelope.set_limits('t', '{"cache_ttl": "1"}');
SELECT envelope.set_limits('t', '{"cache_tll": 1}');
SELECT envelope.set_limits('t', NULL);
SELECT envelope.set_limits('t', '{"cache_ttl": 1, "cache_max_uses": 1, "cache_max_bytes": 1, "cache_max_stale": 0}');
SELECT count(envelope_decrypt_text('t', v)) FROM t, generate_series(1, 5);
-- What a later version may write there keeps no value from opening.
UPDATE envelope.keyring SET limits = '{"cache_ttl": 0, "from_the_future": []}' WHERE kms_context ? 'tenant';
SELECT envelope_decrypt_text('t', v) FROM t;
SELECT envelope.set_limits('t', '{}');
-- Keys can be had ahead of time.
SELECT envelope.flush_cache() > 0 AS flushed;
SELECT envelope.warm('t') AS unwrapped, envelope.warm('t') AS again;
-- After a restore: can every key be had from here?
SELECT relation, ok, sqlstate FROM envelope.check() WHERE relation = 'public.t';
BEGIN;
UPDATE envelope.wrapped_key SET kek = kek || '.gone' WHERE kms_context ? 'tenant';
SELECT relation, ok, sqlstate FROM envelope.check() WHERE NOT ok;
DELETE FROM envelope.wrapped_key WHERE kms_context ? 'tenant';
SELECT relation, kek, ok, sqlstate, message ~ 'no wrapped key' AS says FROM envelope.check() WHERE NOT ok;
UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = (SELECT key_id FROM t, envelope.inspect(v));
SELECT relation, key_id IS NULL AS keyring, ok, sqlstate FROM envelope.check() WHERE NOT ok ORDER BY 2;
SET LOCAL ROLE envelope_other;
SELECT count(*) FROM envelope.check();
ROLLBACK;
-- The catalog's damage is found. A wrap of another key, a changed context, a wrap that is none.
BEGIN;
UPDATE envelope.wrapped_key SET kms_context = '{}' WHERE kms_context ? 'tenant';
SELECT envelope.flush_cache() > 0 AS flushed;
SELECT envelope_decrypt('t', v) FROM t;
ROLLBACK;
CREATE TABLE u (v bytea);
SELECT envelope.create_key('u', NULL, '{"tenant": "ü", "a": ""}') IS NOT NULL AS made;
BEGIN;
UPDATE envelope.wrapped_key w SET wrapped =
  (SELECT o.wrapped FROM envelope.wrapped_key o WHERE o.kms_context ? 'tenant' AND o.key_id <> w.key_id)
WHERE kms_context ? 'tenant';
SELECT envelope.flush_cache() >= 0 AS flushed;
SELECT envelope_decrypt('t', v) FROM t;
ROLLBACK;
BEGIN;
UPDATE envelope.wrapped_key SET wrapped = '\x00' WHERE kms_context ? 'tenant';
SELECT envelope.flush_cache() >= 0 AS flushed;
SELECT envelope_decrypt('t', v) FROM t;
ROLLBACK;
-- The state of a key decides, at once.
BEGIN;
UPDATE envelope.data_key SET state = 'retired' WHERE key_id = (SELECT key_id FROM t, envelope.inspect(v));
SELECT envelope_decrypt('t', v) FROM t;
ROLLBACK;
BEGIN;
UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = (SELECT key_id FROM t, envelope.inspect(v));
SELECT envelope_decrypt_text('t', v) FROM t;
SELECT envelope_encrypt('t', '');
ROLLBACK;
BEGIN;
UPDATE envelope.data_key SET state = 'decrypt-only' WHERE key_id = (SELECT key_id FROM t, envelope.inspect(v));
SELECT envelope.create_key('t') IS NOT NULL AS made;
SELECT version, state FROM envelope.keys WHERE relation = 'public.t' ORDER BY version;
SELECT envelope_decrypt_text('t', v) FROM t;
COMMIT;
SELECT version FROM envelope.inspect(envelope_encrypt('t', ''));
-- Once a wrap is under a KEK that is no file, no key file is made.
BEGIN;
UPDATE envelope.wrapped_key SET kek = 'aws-kms://alias/x' WHERE kms_context ? 'tenant';
CREATE TABLE x (v bytea);
SELECT envelope_encrypt('x', '');
ROLLBACK;
DROP TABLE t, u;
