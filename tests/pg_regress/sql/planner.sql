-- What a plan opens, and when.
CREATE TABLE cards (id int, pan bytea);
CREATE TRIGGER seal BEFORE INSERT ON cards FOR EACH ROW EXECUTE FUNCTION envelope_seal('pan');
INSERT INTO cards SELECT i, convert_to('4929' || i, 'UTF8') FROM generate_series(1, 100) AS i;
ANALYZE cards;

-- Conditions on other columns first, wherever they stand.
EXPLAIN (COSTS OFF) SELECT id FROM cards
  WHERE envelope_decrypt_text('cards', pan) = '49297' AND id = 7;

-- With a sort and a LIMIT only what is shown is opened.
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, envelope_decrypt_text('cards', pan) FROM cards ORDER BY id LIMIT 1;
-- Without one opened values go through the sort, unless it stands in a subquery, as SECURITY.md has it.
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, envelope_decrypt_text('cards', pan) FROM cards ORDER BY id;
EXPLAIN (COSTS OFF, VERBOSE) SELECT id, envelope_decrypt_text('cards', pan)
  FROM (SELECT id, pan FROM cards ORDER BY id) AS sorted;

-- A column of a view that nobody reads is not opened: a damaged value does not matter.
CREATE VIEW opened AS SELECT id, envelope_decrypt_text('cards', pan) AS pan FROM cards;
ALTER TABLE cards DISABLE TRIGGER seal;
UPDATE cards SET pan = '\x00' WHERE id = 2;
SELECT count(*) FROM opened;
SELECT id FROM opened WHERE id < 3 ORDER BY id;
\set VERBOSITY sqlstate
SELECT pan FROM opened WHERE id = 2;
\set VERBOSITY default

-- In parallel, when there is enough to do.
SET parallel_setup_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*) FROM cards WHERE envelope_decrypt_text('cards', pan) = '49297';
RESET parallel_setup_cost;
RESET min_parallel_table_scan_size;

DROP VIEW opened;
DROP TABLE cards;
