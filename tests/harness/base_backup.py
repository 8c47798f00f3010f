"""Clusters made of another one's files: base backups, standbys, points in time."""

import os

from . import place, process
from .cluster import Cluster


class BaseBackup(Cluster):
    """A cluster from pg_basebackup of a running one, with its settings unless `conf` has others. Not started."""

    def __init__(self, origin, conf=None, standby=False):
        self._origin, self._standby = origin, standby
        super().__init__({**origin.conf, **(conf or {})}, origin.env)

    def _make_data(self, initdb):
        connection = f"host={self._origin.base} port={self._origin.port} user=postgres"
        mode = ["-R"] if self._standby else []
        self._as_server("pg_basebackup", "-D", self.data, "-d", connection, "-c", "fast", *mode)

    def start(self, outlive=False):
        """`conf` may have named a point in time: then the server recovers to it."""
        if "restore_command" in self.conf:
            signal = self.data / "recovery.signal"
            signal.touch()
            if os.geteuid() == 0:
                user = place.server_user()
                os.chown(signal, user.pw_uid, user.pw_gid)
        return super().start(outlive)

    def caught_up(self):
        """Waits until the standby has replayed what its origin has written."""
        position = self._origin.sql("SELECT pg_current_wal_lsn()")[0][0]
        process.wait_until(
            lambda: self.sql("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", (position,))[0][0], "replay")
        return self

    def promote(self):
        self.sql("SELECT pg_promote()")
        process.wait_until(lambda: not self.sql("SELECT pg_is_in_recovery()")[0][0], "promotion")
        return self
