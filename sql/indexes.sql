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
