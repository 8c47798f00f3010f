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

-- The nodes, and the function that asks them. Here a node's name is where its sockets are, and its database is called as this
-- one; it is asked by dblink, which the test has created.
CREATE TABLE citus_stand_in.pg_dist_node (
  nodeid        int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  groupid       int NOT NULL,
  nodename      text NOT NULL,
  nodeport      int NOT NULL DEFAULT 5432,
  isactive      bool NOT NULL DEFAULT true,
  noderole      text NOT NULL DEFAULT 'primary',
  nodecluster   name NOT NULL DEFAULT 'default'
);
ALTER TABLE citus_stand_in.pg_dist_node SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.pg_dist_node TO public;
CREATE FUNCTION citus_stand_in.master_run_on_worker(
    worker_name text[], port int[], command text[], parallel bool,
    OUT node_name text, OUT node_port int, OUT success bool, OUT result text)
  RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
  FOR i IN 1 .. cardinality(worker_name) LOOP
    node_name := worker_name[i];
    node_port := port[i];
    BEGIN
      PERFORM dblink_connect_u('citus', format('host=%s port=%s dbname=%s user=%s', node_name, node_port,
                                               current_database(), current_user));
      BEGIN
        SELECT * INTO result FROM dblink('citus', command[i]) AS answer(text text);
        success := true;
      EXCEPTION WHEN OTHERS THEN
        success := false;
        result := 'ERROR:  ' || SQLERRM;
      END;
      PERFORM dblink_disconnect('citus');
    EXCEPTION WHEN OTHERS THEN
      success := false;
      result := format('failed to connect to %s:%s', node_name, node_port);
    END;
    RETURN NEXT;
  END LOOP;
END $$;
ALTER FUNCTION citus_stand_in.master_run_on_worker(text[], int[], text[], bool) SET SCHEMA pg_catalog;
