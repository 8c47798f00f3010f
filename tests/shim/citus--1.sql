-- As in Citus, a table that is made elsewhere and then moved: nothing can be created in pg_catalog.
CREATE SCHEMA citus_stand_in;
CREATE TABLE citus_stand_in.pg_dist_partition (
  logicalrelid  regclass NOT NULL PRIMARY KEY,
  partmethod    "char" NOT NULL,
  partkey       text
);
ALTER TABLE citus_stand_in.pg_dist_partition SET SCHEMA pg_catalog;
GRANT SELECT ON pg_catalog.pg_dist_partition TO public;
