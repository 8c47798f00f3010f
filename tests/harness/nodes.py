"""Other nodes as servers of CREATE SERVER, by a wrapper that is none: what is read are the options."""

import json


def server(db, name, **options):
    """A server and the superuser's mapping; `user` and `password` are of the mapping."""
    if not db.sql("SELECT 1 FROM pg_foreign_data_wrapper WHERE fdwname = 'nodes'"):
        db.sql("CREATE FOREIGN DATA WRAPPER nodes")
    mapping = {key: options.pop(key) for key in ("password", "sslcert", "sslkey", "passfile") if key in options}
    mapping["user"] = options.pop("user", "postgres")
    db.sql(f"CREATE SERVER {name} FOREIGN DATA WRAPPER nodes{_options(options)}")
    db.sql(f"CREATE USER MAPPING FOR postgres SERVER {name}{_options(mapping)}")


def _options(options):
    quoted = [f"{key} '{str(value).replace(chr(39), chr(39) * 2)}'" for key, value in options.items()]
    return f" OPTIONS ({', '.join(quoted)})" if quoted else ""


def to(db):
    """Where the database `db` is."""
    return {"host": db.cluster.base, "port": db.cluster.port, "dbname": db.name}


COLUMNS = "node, relation, step, ok, sqlstate, message"


def sync(db, *servers, user="postgres", **wish):
    """Rows of sync_keyrings, without messages: (node, relation, step, ok, sqlstate)."""
    return [row[:5] for row in told(db, *servers, user=user, **wish)]


def told(db, *servers, user="postgres", **wish):
    wish = {"servers": list(servers) or None, **wish}
    given = ", ".join(f"{name} => %s{_TYPES.get(name, '')}" for name in wish)
    return db.sql(f"SELECT {COLUMNS} FROM envelope.sync_keyrings({given})", tuple(wish.values()), user=user)


_TYPES = {"servers": "::name[]", "relations": "::regclass[]"}


def exported(db, table="people"):
    return json.dumps(db.value("SELECT envelope.export_keyring(%s::text::regclass)", (table,)))
