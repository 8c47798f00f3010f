-- As in Citus, tables that are made elsewhere and then moved: nothing can be created in pg_catalog.
CREATE SCHEMA citus_stand_in;
CREATE TABLE citus_stand_in.pg_dist_partition (
  logicalrelid  regclass NOT NULL PRIMARY KEY,
  partmethod    "char" NOT NULL,
  partkey       text
);
CREATE TABLE citus_stand_in.pg_dist_shard (
  logicalrelid  regclass NOT NULL,
  shardid       bigint NOT NULL
);
CREATE UNIQUE INDEX pg_dist_shard_shardid_index ON citus_stand_in.pg_dist_shard (shardid);
CREATE TABLE citus_stand_in.pg_dist_placement (
  placementid   bigint GENERATED ALWAYS AS IDENTITY,
  shardid       bigint NOT NULL,
  groupid       int NOT NULL
);
CREATE INDEX pg_dist_placement_shardid_index ON citus_stand_in.pg_dist_placement (shardid);
CREATE TABLE citus_stand_in.pg_dist_local_group (groupid int NOT NULL PRIMARY KEY);
INSERT INTO citus_stand_in.pg_dist_local_group VALUES (0);

-- Citus has sessions look again at a table whose shards or placements change. So does a change of the table's own row.
CREATE FUNCTION citus_stand_in.look_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE pg_catalog.pg_class SET relname = relname
  WHERE oid IN (SELECT logicalrelid FROM pg_catalog.pg_dist_shard WHERE shardid IN (NEW.shardid, OLD.shardid));
  RETURN OLD;
END $$;
CREATE TRIGGER look_again AFTER INSERT OR UPDATE ON citus_stand_in.pg_dist_shard
  FOR EACH ROW EXECUTE FUNCTION citus_stand_in.look_again();
CREATE TRIGGER look_again_before BEFORE DELETE ON citus_stand_in.pg_dist_shard
  FOR EACH ROW EXECUTE FUNCTION citus_stand_in.look_again();
CREATE TRIGGER look_again AFTER INSERT OR UPDATE OR DELETE ON citus_stand_in.pg_dist_placement
  FOR EACH ROW EXECUTE FUNCTION citus_stand_in.look_again();

ALTER TABLE citus_stand_in.pg_dist_partition SET SCHEMA pg_catalog;
ALTER TABLE citus_stand_in.pg_dist_shard SET SCHEMA pg_catalog;
ALTER TABLE citus_stand_in.pg_dist_placement SET SCHEMA pg_catalog;
ALTER TABLE citus_stand_in.pg_dist_local_group SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.pg_dist_partition, pg_catalog.pg_dist_shard, pg_catalog.pg_dist_placement,
  pg_catalog.pg_dist_local_group TO public;

-- Citus makes the call on each placement, in a session of its own on that node. Here: the calls. (run_command_on_shards
-- makes it on one placement of each shard: not on all replicas.)
CREATE FUNCTION citus_stand_in.run_command_on_placements(table_name regclass, command text)
  RETURNS TABLE (groupid int, call text) LANGUAGE sql STABLE AS $$
  SELECT p.groupid, format(command, format('%I.%s_%s', c.relnamespace::regnamespace, c.relname, s.shardid))
  FROM pg_catalog.pg_dist_shard s JOIN pg_catalog.pg_class c ON c.oid = s.logicalrelid
  JOIN pg_catalog.pg_dist_placement p ON p.shardid = s.shardid
  WHERE s.logicalrelid = table_name ORDER BY s.shardid, p.groupid $$;
ALTER FUNCTION citus_stand_in.run_command_on_placements(regclass, text) SET SCHEMA pg_catalog;
