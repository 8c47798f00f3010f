"""A PostgreSQL cluster of a test's own, driven from outside."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg

from . import place, process, template

# In place of the machine's defaults: small, quick to start, and nothing that would hide bytes or slow a crash test.
BASE_CONF = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "log_min_messages": "info",
    "log_line_prefix": "%m [%p] ",
    "autovacuum": "off",
}
# ENVELOPE_LEASES=on: every cluster of the tests preloads the library and shares leases, unless a test says otherwise.
LEASES = {"shared_preload_libraries": "pgrx-example"} if os.environ.get("ENVELOPE_LEASES") == "on" else {}


def has_extension(pg_bin):
    return (pg_bin.parent / "lib" / "pgrx-example.so").exists()


class _Connection(psycopg.Connection):
    """One that a failed test leaves although a thread of its waits in it for another connection of the test."""

    def __exit__(self, kind, *rest):
        if kind:
            with contextlib.suppress(psycopg.Error):
                self.cancel()
        return super().__exit__(kind, *rest)


class Cluster:
    """`conf` are lines for postgresql.conf, `env` variables of the server's environment (AWS_*). Everything lives in
    one temporary directory, sockets too; its path is short, as a socket's must be. `pg_bin` are the binaries of another
    major's server."""

    def __init__(self, conf=None, env=None, initdb=(), pg_bin=place.PG_BIN):
        self.pg_bin = pg_bin
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="envelope-", dir="/tmp"))
        self.data = self.base / "data"
        self.log = self.base / "log"
        self.log.touch()
        # Names the socket only, in this directory.
        self.port = 5432
        self.conf = {**BASE_CONF, **(LEASES if has_extension(pg_bin) else {}), **(conf or {})}
        self.env = dict(env or {})
        self.postmaster = None
        self._databases = 0
        if os.geteuid() == 0:
            user = place.server_user()
            for path in (self.base, self.log):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._make_data(initdb)
        # The user's part stands apart, so that set() can rewrite it.
        with open(self.data / "postgresql.conf", "a") as f:
            f.write("include 'test.conf'\n")
        self._write_conf()

    def _make_data(self, initdb):
        """The data directory, as initdb makes it with these options."""
        self._as_server("/bin/cp", "-a", template.data_directory(initdb, self.pg_bin), self.data)

    def _as_server(self, program, *args):
        process.run_as_server(self.pg_bin / program, *args, env=self._environment())

    def _environment(self):
        # Nothing of the caller's, above all no credentials: the SDK's default chain would find them.
        clean = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.base),
                 "AWS_EC2_METADATA_DISABLED": "true"}
        return {**clean, **self.env}

    def _write_conf(self):
        quoted = {k: str(v).replace("'", "''") for k, v in self.conf.items()}
        text = "".join(f"{k} = '{v}'\n" for k, v in quoted.items())
        path = self.data / "test.conf"
        # Whole or not at all, for who reads it meanwhile.
        new = path.with_suffix(".new")
        new.write_text(text)
        if os.geteuid() == 0:
            user = place.server_user()
            os.chown(new, user.pw_uid, user.pw_gid)
        new.rename(path)

    def set(self, **conf):
        """Changes settings (`envelope__kms_timeout` stands for `envelope.kms_timeout`; None takes one away), as an
        editor and a reload would."""
        for name, value in conf.items():
            name = name.replace("__", ".")
            if value is None:
                self.conf.pop(name, None)
            else:
                self.conf[name] = value
        self._write_conf()
        if self.running():
            os.kill(self.postmaster.pid, signal.SIGHUP)

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, outlive=False):
        with open(self.log, "ab") as log:
            self.postmaster = process.spawn(
                [self.pg_bin / "postgres", "-D", self.data, "-p", self.port, "-k", self.base],
                env=self._environment(), log=log, as_server_user=True, outlive=outlive)
        process.wait_until(self._answers, f"server start; its log ends:\n{self.log_tail()}")
        return self

    def _answers(self):
        if self.postmaster.poll() is not None:
            raise RuntimeError(f"server did not start:\n{self.log_tail()}")
        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False

    def running(self):
        return self.postmaster is not None and self.postmaster.poll() is None

    def stop(self, how=signal.SIGINT):
        """Fast shutdown unless told otherwise; immediate when it does not come about."""
        if not self.running():
            return
        self.postmaster.send_signal(how)
        try:
            self.postmaster.wait(60)
        except subprocess.TimeoutExpired:
            self.postmaster.send_signal(signal.SIGQUIT)
            self.postmaster.wait(60)

    def restart(self):
        self.stop()
        return self.start()

    def kill9(self, then=lambda children: None):
        """A crash: the postmaster by SIGKILL, `then` what befalls its children; waits until every one has ended, at the
        latest when it has noticed."""
        # It starts no more while they are listed.
        self.postmaster.send_signal(signal.SIGSTOP)
        pids = process.children(self.postmaster.pid)
        self.postmaster.kill()
        then(pids)
        self.postmaster.wait()
        process.wait_until(lambda: not any(map(process.alive, pids)), "children end after the postmaster")

    def kill9_backend(self, pid):
        """One of them by SIGKILL; waits until the postmaster has ended all others and answers again."""
        with self.connect() as witness:
            os.kill(pid, signal.SIGKILL)
            process.wait_until(lambda: self._is_cut(witness), "the postmaster ends all sessions")
        process.wait_until(self._answers, "the server is back")

    @staticmethod
    def _is_cut(connection):
        try:
            connection.execute("SELECT 1")
            return False
        except psycopg.Error:
            return True

    def upgrade_from(self, old, mode="--copy"):
        """Takes over all that is in another cluster, by pg_upgrade; both are stopped."""
        done = subprocess.run(
            [self.pg_bin / "pg_upgrade", "-U", "postgres", "-b", old.pg_bin, "-B", self.pg_bin, "-d", old.data,
             "-D", self.data, "-p", str(process.free_port()), "-P", str(process.free_port()), "-s", self.base,
             # Its default, and an option by name from PostgreSQL 16 only.
             *([] if mode == "--copy" else [mode])],
            cwd=self.base, env=self._environment(), capture_output=True, text=True, **process.server_identity())
        logs = self.data.glob("pg_upgrade_output.d/*/log/*dump*")
        told = [path.read_text(errors="replace")[-2000:] for path in logs]
        assert done.returncode == 0, "\n".join([done.stdout, done.stderr, *told])

    def destroy(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self if self.running() else self.start()

    def __exit__(self, *_):
        self.destroy()

    def log_tail(self, lines=25):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # -- use ----------------------------------------------------------------------------------------------------

    def connect(self, dbname="postgres", user="postgres", **kw):
        kw.setdefault("autocommit", True)
        kw.setdefault("connect_timeout", 60)
        return _Connection.connect(host=str(self.base), port=self.port, dbname=dbname, user=user, **kw)

    def sql(self, query, params=None, dbname="postgres", user="postgres"):
        """Runs one statement in a connection of its own; its rows, or None when it gives none."""
        with self.connect(dbname, user) as c:
            cur = c.execute(query, params)
            return cur.fetchall() if cur.description else None

    def create_database(self, name):
        """A database with the extension. From a cluster's second on they are copies of one that is kept for that."""
        self._databases += 1
        if self._databases == 1:
            self._create_extension_in(name)
            return
        if self._databases == 2:
            self._create_extension_in("with_extension")
            self.sql("ALTER DATABASE with_extension ALLOW_CONNECTIONS false")
        with self.connect() as c:
            # As before PostgreSQL 15: files are copied, and do not go through the WAL, which has it write twice as much.
            by_files = "STRATEGY file_copy" if c.info.server_version >= 150000 else ""
            c.execute(f"CREATE DATABASE {name} TEMPLATE with_extension {by_files}")

    def _create_extension_in(self, name):
        self.sql(f"CREATE DATABASE {name}")
        self.sql('CREATE EXTENSION "pgrx-example"', dbname=name)

    def client_env(self, dbname="postgres", user="postgres"):
        return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PGHOST": str(self.base), "PGPORT": str(self.port),
                "PGUSER": user, "PGDATABASE": dbname}

    def client(self, program, *args, dbname="postgres", user="postgres", options=""):
        """Runs pg_dump, pg_restore, psql of the server's own version; what it printed. `options` are PGOPTIONS."""
        env = {**self.client_env(dbname, user), "PGOPTIONS": options}
        done = subprocess.run([str(self.pg_bin / program), *map(str, args)], env=env,
                              stdin=subprocess.DEVNULL, text=True, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{program} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout
