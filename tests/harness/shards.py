"""A worker of a distributed database, as far as its catalog says: by the extension that stands in for Citus (tests/shim)."""

import contextlib
import itertools

_shards = itertools.count(102_008)

# As which another node's sessions come.
INTERNAL = "citus_internal gpid=10000012199"


def worker(db, group=1):
    """Makes `db` a node of that group; 0 is the coordinator's."""
    db.sql("CREATE EXTENSION citus")
    db.sql("UPDATE pg_dist_local_group SET groupid = %s", (group,))


def distribute(db, table):
    db.sql("INSERT INTO pg_dist_partition VALUES (%s, 'h', NULL)", (table,))


def shard(db, table, name=None, group=1, like=None):
    """A shard of `table`, a distributed one, with the table's triggers; its name."""
    number = next(_shards)
    name = (name or f"{table}_%s") % number
    db.sql(f"CREATE TABLE {name} (LIKE {like or table} INCLUDING ALL)")
    db.sql(f"ALTER TABLE {name} OWNER TO postgres")
    for trigger, in db.sql("SELECT replace(pg_get_triggerdef(oid), %s, %s) FROM pg_trigger "
                           "WHERE tgrelid = %s::regclass AND NOT tgisinternal",
                           (f" ON public.{table} ", f" ON public.{name} ", table)):
        db.sql(trigger)
    db.sql("INSERT INTO pg_dist_shard VALUES (%s, %s)", (table, number))
    db.sql("INSERT INTO pg_dist_placement (shardid, groupid) VALUES (%s, %s)", (number, group))
    return name


def elsewhere(db, table):
    """Rows of `table` that a SELECT gives as another node's do: the table that they say they stand in means nothing here."""
    name = f"{table}_elsewhere"
    db.sql(f"CREATE TABLE {name} () INHERITS ({table})")
    return name


@contextlib.contextmanager
def internal(db, application=INTERNAL):
    """A session of another node's."""
    with db.connect(application_name=application) as c:
        yield c
