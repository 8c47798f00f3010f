-- table_ref and role_ref: OIDs inside, names outside.
\set VERBOSITY sqlstate
CREATE SCHEMA "Odd schema";
CREATE TABLE "Odd schema"."a.b""c" ();
CREATE TABLE plain ();
CREATE TABLE refs (t envelope.table_ref, r envelope.role_ref);
INSERT INTO refs VALUES ('plain', 'envelope_owner'), ('"Odd schema"."a.b""c"', '"envelope_other"'),
  ('gone.away', 'nobody_of_that_name'), ('-', '-'), ('1259', '10');
SELECT t, r, t = 0 AS no_table, r = 0 AS no_role FROM refs;
SELECT t::regclass = 'plain'::regclass AS same FROM (SELECT t::oid FROM refs LIMIT 1) AS s;
-- Renames and moves are followed; what is dropped is gone.
ALTER TABLE plain RENAME TO renamed;
ALTER TABLE renamed SET SCHEMA "Odd schema";
DROP TABLE "Odd schema"."a.b""c";
SELECT t FROM refs;
INSERT INTO refs VALUES ('a.b.c.d', NULL);
INSERT INTO refs VALUES ('', NULL);
-- The binary protocol says the same.
COPY refs TO PROGRAM 'cat > refs.bin' (FORMAT binary);
CREATE TABLE back (LIKE refs);
COPY back FROM PROGRAM 'cat refs.bin' (FORMAT binary);
SELECT * FROM back;
SELECT encode(envelope.table_ref_send(t), 'escape') FROM back LIMIT 1;
DROP TABLE refs, back;
DROP SCHEMA "Odd schema" CASCADE;
