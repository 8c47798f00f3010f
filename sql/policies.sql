-- Policies: what a column is, said once.

CREATE FUNCTION envelope.set_policy(
    relation regclass, column_name name, form text DEFAULT 'sealed', value_type text DEFAULT NULL,
    source name DEFAULT NULL, tag text DEFAULT NULL, bind name[] DEFAULT '{}', block integer DEFAULT NULL,
    mask text DEFAULT NULL)
  RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_set_policy_wrapper';
COMMENT ON FUNCTION envelope.set_policy(regclass, name, text, text, name, text, name[], integer, text) IS
  'Says what a column is: how plaintext comes in, its type, which columns of its row its values are bound to';

CREATE FUNCTION envelope.drop_policy(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_drop_policy_wrapper';
COMMENT ON FUNCTION envelope.drop_policy(regclass, name) IS
  'Ends the policy of a column, which stays registered; false if it has none';

CREATE FUNCTION envelope.binding_done(relation regclass, column_name name)
  RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE
  AS 'MODULE_PATHNAME', 'envelope_binding_done_wrapper';
COMMENT ON FUNCTION envelope.binding_done(regclass, name) IS
  'Once all values of a column are under its row context of today: those under the former one are refused from now on; false if there is none';

CREATE FUNCTION envelope.row_context(relation regclass, column_name name, VARIADIC parts text[] DEFAULT '{}')
  RETURNS text LANGUAGE c STABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_row_context_wrapper';
COMMENT ON FUNCTION envelope.row_context(regclass, name, text[]) IS
  'The row context that the policy of a column gives a value, from the texts of its bound columns; empty without bound columns';

-- The error names no value, as the DETAIL line of a CHECK that fails would.
CREATE FUNCTION envelope.must_be_empty(value anyelement)
  RETURNS boolean LANGUAGE c IMMUTABLE PARALLEL SAFE
  AS 'MODULE_PATHNAME', 'envelope_must_be_empty_wrapper';
COMMENT ON FUNCTION envelope.must_be_empty(anyelement) IS
  'For a CHECK of a source column: true for NULL, else an error that shows no value';

CREATE VIEW envelope.policies WITH (security_barrier) AS
  SELECT c.oid::pg_catalog.regclass::envelope.table_ref::pg_catalog.text AS relation, p.column_name, p.form,
         CASE WHEN p.value_type::pg_catalog.oid OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
              THEN pg_catalog.format_type(p.value_type::pg_catalog.oid, p.value_typmod) END AS value_type,
         p.source, p.tag, p.bound_columns, p.block, p.mask
  FROM envelope.sealed_column p
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) p.relation::pg_catalog.oid
  WHERE p.form IS NOT NULL
    AND (pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role(c.relowner, 'USAGE')
         OR EXISTS (SELECT FROM envelope.keyring_table r
                    JOIN envelope.key_grant g ON g.keyring_id OPERATOR(pg_catalog.=) r.keyring_id
                     AND pg_catalog.pg_has_role(g.grantee::pg_catalog.oid, 'USAGE')
                    WHERE r.relation OPERATOR(pg_catalog.=) p.relation AND r.seals));
COMMENT ON VIEW envelope.policies IS
  'What the columns of your tables, and of those whose keys you have a right on, are (of all, for members of pg_monitor), as envelope.set_policy was told';
GRANT SELECT ON envelope.policies TO PUBLIC;

CREATE FUNCTION envelope_mirror()
  RETURNS trigger LANGUAGE c
  AS 'MODULE_PATHNAME', 'envelope_mirror_wrapper';
COMMENT ON FUNCTION envelope_mirror() IS
  'Trigger BEFORE INSERT OR UPDATE ... FOR EACH ROW, with arguments sealed_column=source_column: as envelope_seal, but the source keeps its plaintext, and what is written to either is in both';

-- Not in sessions that play what others have done.
CREATE FUNCTION envelope.watch_policies()
  RETURNS event_trigger LANGUAGE c AS 'MODULE_PATHNAME', 'envelope_watch_policies_wrapper';
REVOKE ALL ON FUNCTION envelope.watch_policies() FROM PUBLIC;
COMMENT ON FUNCTION envelope.watch_policies() IS
  'Event trigger: refuses sealing triggers that would not seal a column as its policy says';
CREATE EVENT TRIGGER envelope_watch_policies ON ddl_command_end
  WHEN TAG IN ('CREATE TRIGGER')
  EXECUTE FUNCTION envelope.watch_policies();
COMMENT ON EVENT TRIGGER envelope_watch_policies IS
  'Refuses sealing triggers that would not seal a column as its policy says';
