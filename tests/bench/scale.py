"""Workers, and many tables in one backend."""

import statistics

from . import place, sizes, timing

PARALLEL_ROWS = 5_000_000
TABLES = (10, 10_000)
VALUES = 1_000_000
ORDERS = {"run": "(round - 1) / 20, md5(i::text), round", "turn": "round, md5(i::text)"}


def parallel():
    """Milliseconds of a scan that opens 5,000,000 values of 16 bytes, and of one that hashes them, without a worker, by
    one and by two."""
    with place.server() as cluster, cluster.connect() as connection:
        # Else the plan that was made for one process is kept for two.
        connection.prepare_threshold = None
        place.extensions(connection)
        connection.execute("CREATE TABLE bench (v bytea)")
        connection.execute("SELECT envelope.create_key('bench')")
        connection.execute("INSERT INTO bench SELECT envelope_encrypt('bench', substr(sha512(convert_to(g::text, "
                           f"'UTF8')), 1, 16)) FROM generate_series(1, {PARALLEL_ROWS}) g")
        connection.execute("VACUUM ANALYZE bench")
        connection.execute("SET parallel_leader_participation = off")
        queries = {
            "open": "SELECT sum(octet_length(envelope_decrypt('bench', v))) FROM bench",
            "sha512": "SELECT sum(octet_length(sha512(v))) FROM bench",
        }

        force = "debug_parallel_query" if connection.info.server_version >= 160_000 else "force_parallel_mode"

        def scan(query, workers):
            connection.execute(f"SET max_parallel_workers_per_gather = {workers}")
            # The planner sees no use in a single worker.
            connection.execute(f"SET {force} = {'on' if workers == 1 else 'off'}")
            plan = str(connection.execute("EXPLAIN " + query).fetchall())
            assert (f"Workers Planned: {workers}" in plan) == (workers > 0), plan
            return lambda: connection.execute(query)

        took = {(name, workers): [] for name in queries for workers in (0, 1, 2)}
        for _ in range(timing.REPETITIONS + 1):
            for (name, workers), samples in took.items():
                samples.append(timing.timed(scan(queries[name], workers)))
        return {f"{name} {workers}": statistics.median(samples[1:]) / 1e6 for (name, workers), samples in took.items()}


def many_keys():
    """Nanoseconds a value of 16 bytes, sealed for so many tables: 20 values of a table and then of the next, or of each
    in turn, so that no key is in the processor's cache; the cipher alone, in turn too; and bytes of memory a key."""
    with place.server() as cluster:
        with cluster.connect() as connection:
            make_tables(connection)
        # A new backend: it has none of the keys.
        with cluster.connect() as connection:
            pid = connection.info.backend_pid
            many = f"turn_{max(TABLES)} WHERE round = 1"
            connection.execute(f"SELECT count(t::text) FROM {many}")
            connection.execute("SELECT envelope_encrypt('t1', 'x')")
            before = timing.resident(pid)
            connection.execute(f"SELECT sum(octet_length(envelope_encrypt(t, 'x'))) FROM {many}")
            memory = (timing.resident(pid) - before) * 1024 / (max(TABLES) - 1)
            texts = {}
            for name in (f"{how}_{count}" for how in ORDERS for count in TABLES):
                texts[name] = f"SELECT sum(octet_length(envelope_encrypt(t, 'sixteen bytes ok'))) FROM {name}"
                texts["bare", name] = f"SELECT sum(octet_length('sixteen bytes ok'::bytea || ''::bytea)) FROM {name}"
            # In one transaction a key's run of nonces is begun once, in the round that warms up.
            with connection.transaction():
                took = timing.queries(connection, texts, VALUES)
            ns = {name: took[name] - took["bare", name] for name in texts if isinstance(name, str)}
            return {"ns": ns, "bytes a key": memory, "cipher alone": {str(keys): sizes.in_turn(keys) for keys in TABLES}}


def make_tables(connection):
    """Tables t1, t2, … with a key each, and tables that list so many of them."""
    place.extensions(connection)
    connection.execute("CREATE PROCEDURE make(low int, high int) LANGUAGE plpgsql AS $$BEGIN "
                       "FOR i IN low..high LOOP EXECUTE format('CREATE TABLE t%s (v bytea)', i); "
                       "PERFORM envelope.create_key(format('t%s', i)::regclass); "
                       "IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END$$")
    connection.execute(f"CALL make(1, {max(TABLES)})")
    for count in TABLES:
        for how, order in ORDERS.items():
            # Tables in an order that is not that of memory.
            connection.execute(f"CREATE TABLE {how}_{count} AS SELECT ('t' || i)::regclass AS t, round "
                               f"FROM generate_series(1, {count}) i, generate_series(1, {VALUES // count}) round "
                               f"ORDER BY {order}")
    connection.execute("VACUUM ANALYZE")
