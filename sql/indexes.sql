-- Search indexes: which columns hold the terms or tokens of sealed values, and how those are made.

-- Column order is read by position in src/catalog/rows/indexes.rs: only ever add at the end, with a default.
CREATE TABLE envelope.column_index (
  id            uuid PRIMARY KEY,
  relation      envelope.table_ref NOT NULL,
  column_name   name NOT NULL,
  index_column  name NOT NULL,
  rule          text NOT NULL,
  label         text NOT NULL,
  term_length   integer CHECK (term_length OPERATOR(pg_catalog.>=) 8 AND term_length OPERATOR(pg_catalog.<=) 32),
  keys_of       envelope.table_ref,
  key_id        uuid,
  is_unique     boolean NOT NULL DEFAULT false,
  boundaries    bytea,
  built         boolean NOT NULL DEFAULT false
);
CREATE INDEX column_index_relation ON envelope.column_index (relation);
CREATE INDEX column_index_keys_of ON envelope.column_index (keys_of);
CREATE UNIQUE INDEX column_index_once ON envelope.column_index (relation, index_column)
  WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.column_index IS
  'Columns that hold the terms or tokens of sealed values, so that those can be searched, and how they are made';
COMMENT ON COLUMN envelope.column_index.column_name IS 'The column whose sealed values are indexed';
COMMENT ON COLUMN envelope.column_index.index_column IS 'The column that holds their terms or tokens';
COMMENT ON COLUMN envelope.column_index.rule IS
  'What is computed from a value, frozen: the kind of index, its parameters, the normal form or type';
COMMENT ON COLUMN envelope.column_index.label IS
  'The column''s name in its terms, frozen: two columns with other labels have other terms of equal values';
COMMENT ON COLUMN envelope.column_index.term_length IS 'Bytes of a term after its two bytes of key id; NULL: the column holds tokens';
COMMENT ON COLUMN envelope.column_index.keys_of IS
  'The table whose index keys are used; NULL: this one''s, "-": one that is gone';
COMMENT ON COLUMN envelope.column_index.key_id IS
  'The index key that terms are pinned to, or that queries ask tokens of; NULL: the active one';
COMMENT ON COLUMN envelope.column_index.is_unique IS 'A unique index stands, or is to stand, on the index column';
COMMENT ON COLUMN envelope.column_index.boundaries IS 'Of buckets: the boundaries of the classes, sealed under the index key';
COMMENT ON COLUMN envelope.column_index.built IS 'Every row has its terms or tokens';

-- Dumps carry the rows, and the database's owner may take them.
GRANT SELECT ON envelope.column_index TO pg_database_owner;
SELECT pg_catalog.pg_extension_config_dump('envelope.column_index', '');

CREATE FUNCTION envelope.add_index(
    relation regclass, column_name name, kind text, index_column name DEFAULT NULL, form text DEFAULT NULL,
    options jsonb DEFAULT '{}', label text DEFAULT NULL, share_label boolean DEFAULT false,
    keys_of regclass DEFAULT NULL, force boolean DEFAULT false)
  RETURNS SETOF text LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_add_index_wrapper';
COMMENT ON FUNCTION envelope.add_index(
    regclass, name, text, name, text, jsonb, text, boolean, regclass, boolean) IS
  'Adds a search index to a sealed column, which the sealing trigger keeps from then on; gives the statements to run next';

CREATE FUNCTION envelope.index_leakage(relation regclass, column_name name, kind text, options jsonb DEFAULT '{}')
  RETURNS TABLE (measure text, value text, remark text)
  LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_index_leakage_wrapper';
COMMENT ON FUNCTION envelope.index_leakage(regclass, name, text, jsonb) IS
  'What a search index would give away of the values that a column has, before it is added';

CREATE FUNCTION envelope.drop_index(relation regclass, index_column name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_drop_index_wrapper';
COMMENT ON FUNCTION envelope.drop_index(regclass, name) IS
  'Ends a search index; its column stays, and may be dropped; false if there is no such index';

CREATE FUNCTION envelope.swap_index(relation regclass, index_column name, new_index_column name)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_swap_index_wrapper';
COMMENT ON FUNCTION envelope.swap_index(regclass, name, name) IS
  'Lets the second column of a unique search index, built under the rotated index key, take the place of the first, and ends that one';

CREATE FUNCTION envelope.split_classes(relation regclass, index_column name)
  RETURNS integer LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_split_classes_wrapper';
COMMENT ON FUNCTION envelope.split_classes(regclass, name) IS
  'Splits the classes of a search index of kind buckets that have outgrown the others; how many. Its rows get the new ones when it is built again';

-- The keyring of an index is that of the topmost table, its own or the one whose keys it uses.
CREATE VIEW envelope.indexes WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, i.column_name, i.index_column,
         CASE WHEN pg_catalog.strpos(i.rule, ' ') OPERATOR(pg_catalog.=) 0 THEN 'exact'
              ELSE pg_catalog.split_part(i.rule, ' ', 1) END AS kind,
         pg_catalog.split_part(
           CASE WHEN pg_catalog.strpos(i.rule, ' ') OPERATOR(pg_catalog.=) 0 THEN i.rule
                ELSE pg_catalog.split_part(i.rule, ' ', 2) END, '/', 1) AS form,
         i.rule, i.label, i.term_length, i.is_unique, i.built,
         i.keys_of::pg_catalog.text AS keys_of, i.key_id,
         EXISTS (SELECT FROM envelope.keyring_table r
                 JOIN envelope.data_key k ON k.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                  AND k.purpose OPERATOR(pg_catalog.=) 'index' AND k.state OPERATOR(pg_catalog.=) 'decrypt-only'
                  AND NOT k.pending
                 WHERE r.relation OPERATOR(pg_catalog.=) COALESCE(i.keys_of, i.relation) AND r.seals) AS waiting
  FROM envelope.column_index i
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.relation::pg_catalog.oid
  WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
     OR EXISTS (SELECT FROM pg_catalog.pg_class o
                WHERE o.oid OPERATOR(pg_catalog.=) i.keys_of::pg_catalog.oid AND pg_catalog.pg_has_role(o.relowner, 'USAGE'))
     OR EXISTS (SELECT FROM envelope.keyring_table r
                JOIN envelope.key_grant g ON g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                 AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE')
                WHERE (r.relation OPERATOR(pg_catalog.=) i.relation OR r.relation OPERATOR(pg_catalog.=) i.keys_of) AND r.seals);
COMMENT ON VIEW envelope.indexes IS
  'Search indexes of your tables, and of those whose keys you have a right on or own (of all, for members of pg_monitor), by their own keys or by those of keys_of; waiting: the index key before is not retired yet';
GRANT SELECT ON envelope.indexes TO PUBLIC;
