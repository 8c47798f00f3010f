-- Schema, types and tables. What stands here is data at rest: columns are only ever added.

CREATE SCHEMA envelope;
COMMENT ON SCHEMA envelope IS
  'Administration and catalog of column-level envelope encryption (extension pgrx-example)';
REVOKE ALL ON SCHEMA envelope FROM PUBLIC;
GRANT USAGE ON SCHEMA envelope TO PUBLIC;

-- A table, a role or a type, held by OID and written by name, so that no OID ever leaves the
-- database: a dump, a replica or another cluster reads the name and finds its own OID, or 0 when
-- nothing there bears it. A number is never read as an OID.

CREATE TYPE envelope.table_ref;

CREATE FUNCTION envelope.table_ref_in(cstring) RETURNS envelope.table_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'table_ref_in_wrapper';
CREATE FUNCTION envelope.table_ref_out(envelope.table_ref) RETURNS cstring
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'table_ref_out_wrapper';
CREATE FUNCTION envelope.table_ref_recv(internal) RETURNS envelope.table_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'table_ref_recv_wrapper';
CREATE FUNCTION envelope.table_ref_send(envelope.table_ref) RETURNS bytea
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'table_ref_send_wrapper';

CREATE TYPE envelope.table_ref (
  INPUT = envelope.table_ref_in, OUTPUT = envelope.table_ref_out,
  RECEIVE = envelope.table_ref_recv, SEND = envelope.table_ref_send,
  LIKE = pg_catalog.oid
);
COMMENT ON TYPE envelope.table_ref IS
  'A table: held by OID, written as its schema-qualified name, "-" when it is gone';
COMMENT ON FUNCTION envelope.table_ref_in(cstring) IS 'Name to table, 0 when nothing bears it';
COMMENT ON FUNCTION envelope.table_ref_out(envelope.table_ref) IS 'Table to schema-qualified name';
COMMENT ON FUNCTION envelope.table_ref_recv(internal) IS 'Name to table, binary protocol';
COMMENT ON FUNCTION envelope.table_ref_send(envelope.table_ref) IS 'Table to name, binary protocol';

CREATE TYPE envelope.role_ref;

CREATE FUNCTION envelope.role_ref_in(cstring) RETURNS envelope.role_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'role_ref_in_wrapper';
CREATE FUNCTION envelope.role_ref_out(envelope.role_ref) RETURNS cstring
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'role_ref_out_wrapper';
CREATE FUNCTION envelope.role_ref_recv(internal) RETURNS envelope.role_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'role_ref_recv_wrapper';
CREATE FUNCTION envelope.role_ref_send(envelope.role_ref) RETURNS bytea
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'role_ref_send_wrapper';

CREATE TYPE envelope.role_ref (
  INPUT = envelope.role_ref_in, OUTPUT = envelope.role_ref_out,
  RECEIVE = envelope.role_ref_recv, SEND = envelope.role_ref_send,
  LIKE = pg_catalog.oid
);
COMMENT ON TYPE envelope.role_ref IS
  'A role: held by OID, written as its name, "-" when it is gone';
COMMENT ON FUNCTION envelope.role_ref_in(cstring) IS 'Name to role, 0 when nothing bears it';
COMMENT ON FUNCTION envelope.role_ref_out(envelope.role_ref) IS 'Role to name';
COMMENT ON FUNCTION envelope.role_ref_recv(internal) IS 'Name to role, binary protocol';
COMMENT ON FUNCTION envelope.role_ref_send(envelope.role_ref) IS 'Role to name, binary protocol';

CREATE TYPE envelope.type_ref;

CREATE FUNCTION envelope.type_ref_in(cstring) RETURNS envelope.type_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_in_wrapper';
CREATE FUNCTION envelope.type_ref_out(envelope.type_ref) RETURNS cstring
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_out_wrapper';
CREATE FUNCTION envelope.type_ref_recv(internal) RETURNS envelope.type_ref
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_recv_wrapper';
CREATE FUNCTION envelope.type_ref_send(envelope.type_ref) RETURNS bytea
  LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'type_ref_send_wrapper';

CREATE TYPE envelope.type_ref (
  INPUT = envelope.type_ref_in, OUTPUT = envelope.type_ref_out,
  RECEIVE = envelope.type_ref_recv, SEND = envelope.type_ref_send,
  LIKE = pg_catalog.oid
);
COMMENT ON TYPE envelope.type_ref IS
  'A type: held by OID, written as its schema-qualified name, "-" when it is gone';
COMMENT ON FUNCTION envelope.type_ref_in(cstring) IS 'Name to type, 0 when nothing bears it';
COMMENT ON FUNCTION envelope.type_ref_out(envelope.type_ref) IS 'Type to schema-qualified name';
COMMENT ON FUNCTION envelope.type_ref_recv(internal) IS 'Name to type, binary protocol';
COMMENT ON FUNCTION envelope.type_ref_send(envelope.type_ref) IS 'Type to name, binary protocol';

-- Comparison and indexing are those of oid.
CREATE CAST (envelope.table_ref AS pg_catalog.oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.regclass AS envelope.table_ref) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (envelope.role_ref AS pg_catalog.oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.regrole AS envelope.role_ref) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (envelope.type_ref AS pg_catalog.oid) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (pg_catalog.regtype AS envelope.type_ref) WITHOUT FUNCTION AS ASSIGNMENT;

-- No foreign keys, and no trigger that reads another of these tables: pg_restore -j loads them
-- in any order. The administration functions keep them whole.
-- Column order is read by position in src/catalog/: only ever add at the end, with a default.

CREATE TABLE envelope.keyring (
  keyring_id   uuid PRIMARY KEY,
  table_name   text NOT NULL,
  default_kek  text,
  kms_context  jsonb,
  limits       jsonb NOT NULL DEFAULT '{}',
  minimum_version  integer NOT NULL DEFAULT 1
                   CHECK (minimum_version OPERATOR(pg_catalog.>) 0)
);
CREATE INDEX keyring_table_name ON envelope.keyring (table_name COLLATE "C");
COMMENT ON TABLE envelope.keyring IS
  'The data keys of a table, kept when the table is dropped: backups may need them';
COMMENT ON COLUMN envelope.keyring.table_name IS 'Its table, as last seen: for people, and for the WARNING to whoever makes a table of that name';
COMMENT ON COLUMN envelope.keyring.default_kek IS
  'KEK for its first data key; NULL: envelope.default_kek. Later ones go under the KEKs of the newest';
COMMENT ON COLUMN envelope.keyring.kms_context IS 'KMS encryption context for its first wrap';
COMMENT ON COLUMN envelope.keyring.limits IS 'Limits that differ from the settings';
COMMENT ON COLUMN envelope.keyring.minimum_version IS
  'Values under versions of its key below this one are refused';

CREATE TABLE envelope.keyring_table (
  id            uuid PRIMARY KEY,
  keyring_id    uuid NOT NULL,
  relation      envelope.table_ref NOT NULL,
  seals         boolean NOT NULL,
  former_owner  envelope.role_ref NOT NULL DEFAULT '-'
);
CREATE INDEX keyring_table_relation ON envelope.keyring_table (relation);
CREATE INDEX keyring_table_keyring ON envelope.keyring_table (keyring_id);
CREATE UNIQUE INDEX keyring_table_seals ON envelope.keyring_table (relation)
  WHERE seals AND relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.keyring_table IS
  'Which tables use a keyring: a table seals with one and may open with more';
COMMENT ON COLUMN envelope.keyring_table.seals IS 'New values of the table are sealed with this keyring';
COMMENT ON COLUMN envelope.keyring_table.former_owner IS
  'Who owned the table when it was dropped: that role may give the keyring to another table';

CREATE TABLE envelope.data_key (
  key_id            uuid PRIMARY KEY,
  keyring_id        uuid NOT NULL,
  purpose           text NOT NULL CHECK (purpose OPERATOR(pg_catalog.=) ANY (ARRAY['seal', 'index'])),
  version           integer NOT NULL CHECK (version OPERATOR(pg_catalog.>) 0),
  state             text NOT NULL
                    CHECK (state OPERATOR(pg_catalog.=)
                           ANY (ARRAY['active', 'decrypt-only', 'retired', 'destroyed'])),
  created_at        timestamptz NOT NULL DEFAULT pg_catalog.now(),
  state_changed_at  timestamptz NOT NULL DEFAULT pg_catalog.now(),
  reason            text,
  pending           boolean NOT NULL DEFAULT false,
  UNIQUE (keyring_id, purpose, version)
);
CREATE UNIQUE INDEX data_key_active ON envelope.data_key (keyring_id, purpose)
  WHERE state OPERATOR(pg_catalog.=) 'active';
COMMENT ON TABLE envelope.data_key IS
  'Data keys: which exist and what they may do; the keys themselves stand wrapped in wrapped_key';
COMMENT ON COLUMN envelope.data_key.key_id IS 'Derived from the key, so that it commits to it';
COMMENT ON COLUMN envelope.data_key.state IS
  'active: it seals and opens, one of a keyring and purpose; decrypt-only: it opens, or is pending; retired: it does not open; destroyed: never again';
COMMENT ON COLUMN envelope.data_key.reason IS 'Why the state last changed';
COMMENT ON COLUMN envelope.data_key.pending IS
  'The key opens, and seals nothing until envelope.activate_key says so: the other nodes get it first';

CREATE TABLE envelope.wrapped_key (
  key_id       uuid NOT NULL,
  kek          text NOT NULL,
  kms_context  jsonb NOT NULL,
  wrapped      bytea NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT pg_catalog.now(),
  verified_at  timestamptz,
  position     integer NOT NULL DEFAULT 1,
  PRIMARY KEY (key_id, kek)
);
COMMENT ON TABLE envelope.wrapped_key IS
  'Data keys wrapped by a KEK; one data key may stand under several';
COMMENT ON COLUMN envelope.wrapped_key.kms_context IS 'Encryption context, as it was when wrapped';
COMMENT ON COLUMN envelope.wrapped_key.verified_at IS
  'When it was last unwrapped and compared: when it was written, or took the place of another';
COMMENT ON COLUMN envelope.wrapped_key.position IS
  'The order in which the wraps of a data key are tried, the lowest first';

CREATE TABLE envelope.key_grant (
  id          uuid PRIMARY KEY,
  keyring_id  uuid NOT NULL,
  grantee     envelope.role_ref NOT NULL,
  verb        text NOT NULL
              CHECK (verb OPERATOR(pg_catalog.=) ANY (ARRAY['encrypt', 'decrypt', 'search', 'manage']))
);
CREATE INDEX key_grant_keyring ON envelope.key_grant (keyring_id);
CREATE UNIQUE INDEX key_grant_once ON envelope.key_grant (keyring_id, grantee, verb)
  WHERE grantee::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.key_grant IS 'Rights on a keyring beyond those of the table''s owner';

CREATE TABLE envelope.sealed_column (
  id             uuid PRIMARY KEY,
  relation       envelope.table_ref NOT NULL,
  column_name    name NOT NULL,
  tag            text NOT NULL,
  bound_columns  text[] NOT NULL DEFAULT '{}',
  index_rules    jsonb NOT NULL DEFAULT '[]',
  form           text CHECK (form OPERATOR(pg_catalog.=) ANY (ARRAY['sealed', 'source', 'bytea'])),
  value_type     envelope.type_ref NOT NULL DEFAULT '-',
  value_typmod   integer NOT NULL DEFAULT -1,
  source         name,
  block          integer CHECK (block OPERATOR(pg_catalog.>) 0),
  mask           text CHECK (mask OPERATOR(pg_catalog.=) 'last4'),
  former_tag     text,
  former_bound   text[]
);
CREATE INDEX sealed_column_relation ON envelope.sealed_column (relation);
CREATE UNIQUE INDEX sealed_column_once ON envelope.sealed_column (relation, column_name)
  WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.sealed_column IS 'Columns known to hold sealed values, and their row context';
COMMENT ON COLUMN envelope.sealed_column.tag IS
  'The column in the row context: its name when the policy was made, frozen';
COMMENT ON COLUMN envelope.sealed_column.bound_columns IS 'Columns whose values are in the row context';
COMMENT ON COLUMN envelope.sealed_column.form IS
  'How plaintext comes in: into a column of type envelope.sealed, from a source column, as bytea; NULL: registered only, no policy';
COMMENT ON COLUMN envelope.sealed_column.value_type IS 'The type of what is sealed; none: bytes as they come';
COMMENT ON COLUMN envelope.sealed_column.value_typmod IS 'Its modifier, as numeric(10,2) has one; -1: none';
COMMENT ON COLUMN envelope.sealed_column.source IS 'The column where plaintext comes in';
COMMENT ON COLUMN envelope.sealed_column.block IS
  'Sealed values are filled up to a multiple of so many bytes; NULL: as the type has it';
COMMENT ON COLUMN envelope.sealed_column.mask IS 'What a view shows to roles that may not open';
COMMENT ON COLUMN envelope.sealed_column.former_tag IS
  'With former_bound, the row context that values had before; they are taken until all are sealed anew';
COMMENT ON COLUMN envelope.sealed_column.former_bound IS 'The columns of that context; NULL: there is none';

-- Re-encryption and sealing under way, and the last ones that ended, a row of each a table and column. Pages are
-- counted in the table's own file: the rows mean nothing elsewhere, and dumps leave them out. What a value is
-- sealed under stands in the value; to lose these rows loses time, nothing else.
CREATE TABLE envelope.reencryption (
  id              uuid PRIMARY KEY,
  relation        envelope.table_ref NOT NULL,
  column_name     name NOT NULL,
  key_id          uuid NOT NULL,
  pass            integer NOT NULL DEFAULT 1,
  next_block      bigint NOT NULL DEFAULT 0,
  blocks          bigint NOT NULL,
  window_blocks   integer NOT NULL,
  found           bigint NOT NULL DEFAULT 0,
  moved           bigint NOT NULL DEFAULT 0,
  left_before     bigint NOT NULL DEFAULT 0,
  rows_done       bigint NOT NULL DEFAULT 0,
  rows_skipped    bigint NOT NULL DEFAULT 0,
  started_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  resumed_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  rows_at_resume  bigint NOT NULL DEFAULT 0,
  updated_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  finished_at     timestamptz,
  rows_plaintext  bigint NOT NULL DEFAULT 0,
  rows_of_others  bigint NOT NULL DEFAULT 0,
  rows_unknown    bigint NOT NULL DEFAULT 0,
  rows_destroyed  bigint NOT NULL DEFAULT 0,
  rows_damaged    bigint NOT NULL DEFAULT 0,
  work            text NOT NULL DEFAULT 'reencrypt'
                  CHECK (work OPERATOR(pg_catalog.=) ANY (ARRAY['reencrypt', 'seal', 'index']))
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX reencryption_once ON envelope.reencryption (relation, column_name, work)
  WHERE relation::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid;
COMMENT ON TABLE envelope.reencryption IS 'How far CALL envelope.reencrypt, envelope.seal_column and envelope.build_index have come';
COMMENT ON COLUMN envelope.reencryption.key_id IS 'The active key that values are brought to';
COMMENT ON COLUMN envelope.reencryption.pass IS 'How often the table is being read: until a pass finds nothing left';
COMMENT ON COLUMN envelope.reencryption.next_block IS 'Pages before it were read in this pass';
COMMENT ON COLUMN envelope.reencryption.found IS 'Values under other keys that this pass has met';
COMMENT ON COLUMN envelope.reencryption.moved IS 'Those of them that it brought to the active key';
COMMENT ON COLUMN envelope.reencryption.left_before IS 'Values that the pass before could not have';
COMMENT ON COLUMN envelope.reencryption.rows_plaintext IS 'Values in clear, left alone; known once it has ended';
COMMENT ON COLUMN envelope.reencryption.rows_of_others IS 'Values of keyrings that the table does not open with, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_unknown IS 'Values under keys that are not in this database, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_destroyed IS 'Values under destroyed keys, left alone';
COMMENT ON COLUMN envelope.reencryption.rows_damaged IS
  'Other values under keys of the table that do not open, and were passed by: in this pass, or the last one';
COMMENT ON COLUMN envelope.reencryption.work IS
  'What is done: values are re-encrypted, or sealed, or the column of a search index gets their terms';

-- Written by sessions that seal, one row for many values; nobody's cache depends on it.
CREATE TABLE envelope.key_use (
  id      uuid PRIMARY KEY,
  key_id  uuid NOT NULL,
  seals   bigint NOT NULL,
  bytes   bigint NOT NULL
);
CREATE INDEX key_use_key ON envelope.key_use (key_id);
COMMENT ON TABLE envelope.key_use IS
  'Samples of what was sealed under active keys whose limits count it; their sum is an estimate';
COMMENT ON COLUMN envelope.key_use.seals IS 'Values for which this sample stands';
COMMENT ON COLUMN envelope.key_use.bytes IS 'Bytes of plaintext for which this sample stands';

-- Written when a data key arrives by replication, and by an import that says so. It is about this database alone: dumps
-- leave it out, and what arrives for it is left out.
CREATE TABLE envelope.followed_keyring (
  keyring_id  uuid PRIMARY KEY,
  origin      text NOT NULL,
  since       timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE envelope.followed_keyring IS
  'Keyrings whose data keys come from elsewhere: they are made and rotated there';
COMMENT ON COLUMN envelope.followed_keyring.origin IS
  'The replication origin that brought one last; empty: envelope.import_keyring brings them';

-- What was done to keys, to the rights on them and to the columns that they protect: a row for each event that the
-- audit has, written in the same transaction and never changed. Names are those of that day. No wrap, no value.
CREATE TABLE envelope.key_event (
  id              uuid PRIMARY KEY,
  at              timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
  event           text NOT NULL,
  role            text NOT NULL,
  login_role      text NOT NULL,
  table_name      text,
  keyring_id      uuid,
  key_id          uuid,
  kek             text,
  kms_request_id  text,
  grantee         text,
  verb            text,
  count           bigint,
  detail          text
);
CREATE INDEX key_event_at ON envelope.key_event (at);
CREATE INDEX key_event_keyring ON envelope.key_event (keyring_id);
COMMENT ON TABLE envelope.key_event IS
  'The history of keys, of the rights on them and of protected columns: rows are only added';
COMMENT ON COLUMN envelope.key_event.event IS 'As in the audit: create, rotate, destroy, grant, ...';
COMMENT ON COLUMN envelope.key_event.role IS 'Whose right counted, by its name of that day';
COMMENT ON COLUMN envelope.key_event.login_role IS 'Who logged in';
COMMENT ON COLUMN envelope.key_event.kms_request_id IS 'The KMS''s number of the request that drew a new key';
COMMENT ON COLUMN envelope.key_event.detail IS 'The reason, or the new value';

-- Dumps carry the rows, and the database's owner may take them.
GRANT SELECT ON envelope.keyring, envelope.keyring_table, envelope.data_key, envelope.wrapped_key,
  envelope.key_grant, envelope.sealed_column, envelope.key_use, envelope.key_event TO pg_database_owner;
SELECT pg_catalog.pg_extension_config_dump('envelope.keyring', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.keyring_table', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.data_key', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.wrapped_key', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.key_grant', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.sealed_column', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.key_use', '');
SELECT pg_catalog.pg_extension_config_dump('envelope.key_event', '');
