-- The reviewed list: what the extension's objects are, and who may do what with them.
\pset format unaligned
SELECT p.oid::regprocedure AS function, p.provolatile AS vol, p.proparallel AS par,
       p.prosecdef AS definer, p.proisstrict AS strict, p.proconfig AS config,
       has_function_privilege('envelope_other', p.oid, 'EXECUTE') AS public_may
FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgrx-example')
ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT c.oid::regclass AS relation, c.relkind AS kind,
       array(SELECT acl.grantee::regrole || ':' || acl.privilege_type
             FROM aclexplode(c.relacl) acl WHERE acl.grantee <> c.relowner ORDER BY 1) AS others
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgrx-example')
ORDER BY c.oid::regclass::text COLLATE "C";
-- All of it belongs to who made the extension.
SELECT d.classid::regclass, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
WHERE d.deptype = 'e' AND e.extname = 'pgrx-example'
  AND e.extowner IS DISTINCT FROM CASE d.classid
      WHEN 'pg_proc'::regclass THEN (SELECT proowner FROM pg_proc p WHERE p.oid = d.objid)
      WHEN 'pg_class'::regclass THEN (SELECT relowner FROM pg_class c WHERE c.oid = d.objid)
      WHEN 'pg_type'::regclass THEN (SELECT typowner FROM pg_type t WHERE t.oid = d.objid)
      WHEN 'pg_namespace'::regclass THEN (SELECT nspowner FROM pg_namespace n WHERE n.oid = d.objid)
      WHEN 'pg_event_trigger'::regclass THEN (SELECT evtowner FROM pg_event_trigger t WHERE t.oid = d.objid)
      ELSE e.extowner END;
-- Everything explains itself.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS no_comment
FROM pg_depend d
WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgrx-example')
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
  AND d.classid NOT IN ('pg_cast'::regclass)
  AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (
    SELECT FROM pg_type t WHERE t.oid = d.objid AND (t.typrelid <> 0 OR t.typelem <> 0)))
ORDER BY 1;
-- And every column of a view.
SELECT c.oid::regclass AS view, a.attname AS no_comment
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND d.objsubid = 0
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pgrx-example')
  AND col_description(c.oid, a.attnum) IS NULL
ORDER BY 1, 2;
-- Dumps carry every table but what is of one database alone: the progress of re-encryption, whose keys come by
-- replication. Every table has a primary key, and those of keys tell of their changes.
SELECT c.relname, c.oid = ANY (e.extconfig) AS dumped,
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS has_key,
       array(SELECT t.tgname || ' ' || t.tgenabled::text FROM pg_trigger t
             WHERE t.tgrelid = c.oid ORDER BY 1) AS triggers,
       array(SELECT conname FROM pg_constraint f WHERE f.conrelid = c.oid AND contype = 'f') AS foreign_keys
FROM pg_class c, pg_extension e
WHERE e.extname = 'pgrx-example' AND c.relnamespace = 'envelope'::regnamespace AND c.relkind = 'r'
ORDER BY 1;
SELECT envelope.flush_cache() AS loaded;
SELECT name, setting, unit, context FROM pg_settings WHERE name LIKE 'envelope.%'
  AND name <> 'envelope.file_kek_directory' ORDER BY 1;
SELECT e.evtname, e.evtevent, e.evtfoid::regprocedure AS function, e.evtenabled AS enabled, cardinality(e.evttags) AS tags
FROM pg_event_trigger e JOIN pg_depend d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid
WHERE d.deptype = 'e' ORDER BY 1;
