\set VERBOSITY sqlstate
CREATE TABLE events (id int, day int, body bytea) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id);
CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES IN (1, 2, 3);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON events
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('body');

-- All partitions seal with the root's key, also when named directly; there is one key in all.
INSERT INTO events VALUES (1, 1, 'one'), (2, 11, 'two');
INSERT INTO events_1 VALUES (3, 2, 'three');
INSERT INTO events_2a VALUES (1, 12, 'four');
SELECT relation, version FROM envelope.keys WHERE relation LIKE 'public.events%';
SELECT id, tableoid::regclass, envelope_decrypt_text('events', body) AS by_root,
       envelope_decrypt_text(tableoid, body) AS by_partition
FROM events ORDER BY day;

-- A row that moves keeps its sealed bytes and opens.
CREATE TABLE before AS SELECT id, body FROM events WHERE id = 3;
UPDATE events SET day = 13 WHERE id = 3;
SELECT e.tableoid::regclass, e.body = b.body AS same_bytes, envelope_decrypt_text('events', e.body)
FROM events e JOIN before b USING (id);

-- A table that had a key of its own opens with both once attached, and seals with the root's.
CREATE TABLE events_3 (id int, day int, body bytea);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON events_3
  FOR EACH ROW EXECUTE FUNCTION envelope_seal('body');
INSERT INTO events_3 VALUES (5, 25, 'five');
DROP TRIGGER seal ON events_3;
ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES FROM (20) TO (30);
INSERT INTO events VALUES (6, 26, 'six');
SELECT id, envelope_decrypt_text('events_3', body) FROM events_3 ORDER BY id;
SELECT envelope_decrypt_text('events', body) FROM events WHERE id = 5;
SELECT count(DISTINCT key_id) AS keys FROM events_3, envelope.inspect(body);

-- Inheritance: each table has its own key; tableoid names the right one.
CREATE TABLE base (id int, v bytea);
CREATE TABLE derived () INHERITS (base);
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON base FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON derived FOR EACH ROW EXECUTE FUNCTION envelope_seal('v');
INSERT INTO base VALUES (1, 'base');
INSERT INTO derived VALUES (2, 'derived');
SELECT tableoid::regclass, envelope_decrypt_text(tableoid, v) FROM base ORDER BY id;
SELECT envelope_decrypt_text('base', v) FROM base ORDER BY id DESC;

DROP TABLE events, before, derived, base;

-- Who may manage the root's keys may not so manage those that a partition had before it was attached.
CREATE TABLE visits (id int, v bytea) PARTITION BY RANGE (id);
CREATE TABLE visits_1 (id int, v bytea);
INSERT INTO visits_1 VALUES (1, envelope_encrypt_text('visits_1', 'its own'));
SELECT envelope.rotate_key('visits_1') IS NOT NULL AS rotated;
SELECT envelope.create_key('visits') IS NOT NULL AS made;
ALTER TABLE visits ATTACH PARTITION visits_1 FOR VALUES FROM (0) TO (10);
SELECT envelope.grant_key('visits', 'envelope_other', 'manage, encrypt');
GRANT SELECT, UPDATE ON visits, visits_1 TO envelope_other;
SELECT key_id AS old, keks[1] AS kek FROM envelope.keys WHERE relation = 'public.visits_1' AND version = 1 \gset
SET ROLE envelope_other;
SELECT envelope.retire_key(:'old');
SELECT envelope.destroy_key(:'old', 'why', shred => true);
SELECT envelope.shred('visits', 'why');
CALL envelope.reencrypt('visits', 'v');
SELECT table_name FROM envelope.rewrap(:'kek', :'kek', dry_run => true) ORDER BY 1;
SELECT DISTINCT relation FROM envelope.check();
RESET ROLE;
SELECT envelope_decrypt_text('visits_1', v) FROM visits_1;
-- Whoever was granted those may.
SELECT envelope.grant_key('visits_1', 'envelope_other', 'manage');
SET ROLE envelope_other;
SELECT envelope.retire_key(:'old');
SELECT envelope.unretire_key(:'old');
SELECT DISTINCT relation FROM envelope.check() ORDER BY 1;
-- To name a key is not to learn whose it is.
SET ROLE envelope_owner;
CREATE FUNCTION pg_temp.refused(key_id uuid) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
  PERFORM envelope.retire_key(key_id);
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ' ' || replace(SQLERRM, key_id::text, 'ID');
END $$;
SELECT pg_temp.refused(:'old');
RESET ROLE;
DROP TABLE visits;
