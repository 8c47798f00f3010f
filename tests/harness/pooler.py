"""PgBouncer in front of a cluster, as the tests' own process."""

import contextlib

import psycopg

from . import process


@contextlib.contextmanager
def in_transaction_mode(cluster, dbname, log, user="postgres", size=1, clients=100):
    """The port where so many clients share server connections, a transaction at a time: `size` of them."""
    port, base = process.free_port(), cluster.base
    ini, users = base / "bouncer.ini", base / "bouncer.users"
    users.write_text(f'"{user}" ""\n')
    ini.write_text(f"""[databases]
{dbname} = host={base} port={cluster.port} dbname={dbname} pool_size={size}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
max_client_conn = {clients}
""")
    for path in (ini, users):
        path.chmod(0o644)
    with open(log, "wb") as out:
        server = process.spawn(["/usr/sbin/pgbouncer", ini], env={"PATH": "/usr/bin"}, log=out, as_server_user=True)

    def answers():
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host="127.0.0.1", port=port, dbname=dbname, user=user, connect_timeout=60).close()
            return True

    try:
        process.wait_until(answers, "pgbouncer answers")
        yield port
    finally:
        server.terminate()
        server.wait(60)
