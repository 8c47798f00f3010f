"""A server for measuring: enough memory for the tables, and nothing that chance decides. After a
checkpoint the write-ahead log goes on in files that are there, as on a server that has been running for a while: a new
one takes longer the more of it is written, and the longer the newer the machine's memory is."""

from harness.cluster import Cluster

CONF = {"shared_buffers": "1GB", "max_wal_size": "8GB", "min_wal_size": "4GB", "checkpoint_timeout": "1h",
        "synchronous_commit": "on", "max_parallel_workers_per_gather": "0", "jit": "off", "log_min_messages": "warning"}


def server(conf=None, **kw):
    return Cluster(conf={**CONF, **(conf or {})}, **kw)


def extensions(connection):
    connection.execute('CREATE EXTENSION "pgrx-example"')
    connection.execute("CREATE EXTENSION pgcrypto")


def sealed_table(connection, name, columns="id int, v bytea"):
    """A table whose column v the trigger seals, and its key."""
    connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.execute(f"CREATE TRIGGER seal BEFORE INSERT OR UPDATE ON {name} FOR EACH ROW "
                       "EXECUTE FUNCTION envelope_seal('v')")
    connection.execute(f"SELECT envelope.create_key('{name}')")
